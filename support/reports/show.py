"""The command `python rollout.py`: responses, a step explained, a person's turn, the benchmark."""

import json
import sys
from dataclasses import dataclass

import reward
import rollout
from data.problems import Problem
from data.tokenizer import load_tokenizer
from support.people.play import play
from support.reports.benchmark import benchmark, draw_speed, machine_name, speed_curves, speed_table
from support.reports.display import legend, render
from support.reports.explain import explain, shipped_run
from support.reports.figure import load_matplotlib, without_matplotlib
from support.runs.devices import pick_device
from support.runs.options import UserError, command, in_color, parse
from support.runs.problem_files import load_problems
from support.runs.saved import load_run
from tandem import Schedule


@dataclass
class Options:
    run: str | None
    """directory that train.py wrote; --explain takes the shipped pair without one"""
    prompt: str | None = None
    """a question of your own; test problems if not given"""
    samples: int = 3
    """responses to show"""
    schedule: Schedule | None = None
    """who writes the next token; word if not given, step with --human, the run's with --explain"""
    temperature: float = 0.7
    """of both models; --explain takes the run's"""
    seed: int = 0
    """of the draws"""
    explain: bool = False
    """show a step of RL with all its numbers: four responses, a row a token"""
    html: str | None = None
    """where --explain also writes its tables, a .html file, overwritten if there"""
    human: bool = False
    """take the junior's turns yourself; what you two write is kept in the run's human.jsonl"""
    problems: int = 3
    """problems to solve with --human"""
    benchmark: bool = False
    """measure the speed on a fixed work instead, in about a minute; needs no run"""
    json: bool = False
    """print the measurements of --benchmark as JSON"""
    figure: str | None = None
    """where to draw how both engines' speed grows, a .png or .svg; takes two more minutes"""
    device: str = "auto"
    """auto (CUDA, then MPS, then the CPU), cuda, mps or cpu"""

    def __post_init__(self):
        if self.samples < 1 or not 0 <= self.temperature < float("inf"):
            raise ValueError("--samples must be at least 1, --temperature at least 0")
        if self.run is None and not (self.benchmark or self.explain):
            raise ValueError(
                "give the directory of a run that train.py wrote, --explain or --benchmark"
            )
        if self.html and not self.explain:
            raise ValueError("--html belongs to --explain; leave it out")
        if self.explain and (self.human or self.benchmark or self.prompt):
            raise ValueError("--explain needs problems with an answer; give it alone")
        if (self.json or self.figure) and not self.benchmark:
            raise ValueError("--json and --figure belong to --benchmark; leave them out")
        if self.schedule is None and not self.explain:
            self.schedule = "step" if self.human else "word"
        if self.human and self.schedule == "solo":
            remedy = "leave it out, and a turn is a reasoning step"
            raise ValueError(f"--schedule solo never hands over to --human; {remedy}")
        if self.problems < 1:
            raise ValueError("--problems must be at least 1")


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, rollout.__doc__)
    device = pick_device(options.device)
    if options.benchmark:
        return show_speed(options, device)
    if options.run is None:
        run = shipped_run()
    else:
        run = load_run(options.run)
    run.senior.to(device)
    run.junior.to(device)
    if options.explain:
        run.config.schedule = options.schedule or run.config.schedule
        problems, prompts = asked(run, options, 16)
        return explain(run, problems, prompts, options)
    if options.human:
        problems, _ = asked(run, options, options.problems)
        return play(problems, run.senior, run.tokenizer, run.config, options)
    problems, prompts = asked(run, options, options.samples)
    show_responses(run, problems, prompts, options)


def show_speed(options: Options, device) -> None:
    if options.figure:
        try:
            load_matplotlib()
        except ImportError:
            without_matplotlib(options.figure)
    machine = machine_name(device)
    tokenizer = load_tokenizer()
    measured = benchmark(tokenizer, device)
    if options.figure:
        measured |= speed_curves(tokenizer, device, measured)
    if options.json:
        print(json.dumps({"machine": machine} | measured, indent=2))
    else:
        print(f"{machine}\n\n{speed_table(measured)}")
    if options.figure:
        draw_speed(measured, options.figure)


def asked(run, options: Options, count: int) -> tuple[list[Problem], list[list[int]]]:
    """Test problems, or the user's own, and their prompts."""
    config, tokenizer = run.config, run.tokenizer
    context = min(run.senior.config.max_seq_len, run.junior.config.max_seq_len)
    if options.prompt is None:
        _, problems, _ = load_problems(config, tokenizer, context, count)
    else:
        problems = [Problem(options.prompt, "")] * (1 if options.human else count)
    template = config.prompt_template
    try:
        prompts = [tokenizer.prompt(problem.question, template) for problem in problems]
    except ValueError as error:  # a character that the tokenizer lacks
        raise UserError(f"--prompt: {error}") from None
    room = context - config.max_new_tokens
    longest = max(map(len, prompts))
    if longest > room:
        raise UserError(f"--prompt has {longest} tokens; {room} fit into the context: shorten it")
    return problems, prompts


def show_responses(run, problems: list[Problem], prompts: list[list[int]], options) -> None:
    tokenizer = run.tokenizer
    responses = rollout.generate(
        run.senior,
        None if options.schedule == "solo" else run.junior,
        prompts,
        rollout.make_handoff(options.schedule, tokenizer, run.senior, run.config),
        end=tokenizer.end,
        pad=tokenizer.pad,
        max_new_tokens=run.config.max_new_tokens,
        temperature=options.temperature,
        generator=rollout.seeded(options.seed, "show"),
    )
    color = in_color(sys.stdout)
    print(legend(color))
    for row, text in enumerate(responses.texts(tokenizer)):
        problem = problems[row]
        print(f"\n{problem.question}\n\n{render(responses, row, tokenizer, color)}")
        if problem.answer:
            right = reward.verify(text, problem.answer)
            print("\n→ right" if right else f"\n→ wrong, the answer is {problem.answer}")
