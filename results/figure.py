"""Draw the figure of the README's first page.

    python -m results.figure results/jargon.json runs/word --seed 7 --out results/tandem.svg

On its left is handoff during training. On its right are three responses to one problem: the
senior's alone, the pair's before training, and the pair's after it.
"""

import textwrap
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from evaluate import Sampling, answer
from support.reports.display import by_author
from support.reports.figure import draw_line, during_training, load_matplotlib, save
from support.reports.results import RunResults, group_runs, is_plain_rl, read_results
from support.runs.options import UserError, command, parse
from support.runs.problem_files import load_problems
from support.runs.saved import load_run

AUTHOR_COLORS = {True: "#c6dcf5", False: "#fcd7ab"}  # behind the text: senior, junior
TEXT_SIZE = 8.4  # points
COLUMNS, LINES = 73, 14  # monospaced characters and lines of this size that fit on the right
BLOCK = 26  # characters from one response to the next
Part = tuple[str, bool | None]  # a text, and whether the senior wrote it; None: neither model


@dataclass
class Options:
    """The options of `python -m results.figure`."""

    results: str
    """file that evaluate.py --json printed, of tandem RL and plain RL with --eval-every"""
    run: str
    """directory of the run whose pair writes the response"""
    out: str = "figure.svg"
    """where to draw the figure, a .svg or .png"""
    seed: int = 0
    """seed of the response"""


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, __doc__)
    try:
        plt = load_matplotlib()
    except ImportError:
        raise UserError("figures need matplotlib: pip install matplotlib") from None
    figure = plt.figure(figsize=(9.4, 2.9))
    training = figure.add_axes((0.07, 0.17, 0.33, 0.72))
    draw_training(training, group_runs(read_results(Path(options.results))))
    responses = figure.add_axes((0.44, 0.05, 0.55, 0.93))
    draw_responses(responses, Path(options.run), options.seed)
    save(figure, options.out)
    print(f"figure: {options.out}")


def draw_training(axis, groups: dict[str, list[RunResults]]) -> None:
    """Handoff and solo at the steps at which the runs were measured."""
    for runs in groups.values():
        handoff = during_training(runs, "handoff/pass@1")
        if not handoff:
            name = runs[0].name
            raise UserError(f"{name} wasn't measured during training; --eval-every does that")
        color, label = 0, "tandem RL"
        if is_plain_rl(runs):
            color, label = 7, "plain RL"  # grey
        draw_line(axis, color, handoff, 1.0, label)
        solo = during_training(runs, "solo/pass@1")
        draw_line(axis, color, solo, 1.0, style="--")
    axis.set_title("problems solved together (handoff)")
    axis.set(xlabel="step", ylabel="share, by turns of a step")
    axis.set_ylim(0, 1.1)
    axis.text(0, 1.03, "the senior alone (dashed): at no cost", va="bottom", size=TEXT_SIZE)
    axis.legend(loc="center right", frameon=False)


def draw_responses(axis, directory: Path, seed: int) -> None:
    """Three responses to the first test problem, coloured by author."""
    run = load_run(directory)
    context = min(run.senior.config.max_seq_len, run.junior.config.max_seq_len)
    _, problems, _ = load_problems(run.config, run.tokenizer, context, 1)
    sampling = Sampling.from_config(run.config)
    sampling = replace(sampling, samples=1, seed=seed)
    axis.set_xlim(0, COLUMNS)
    axis.set_ylim(LINES, 0)
    axis.set_axis_off()
    question = textwrap.wrap(problems[0].question, COLUMNS)
    for y, line in enumerate(question, 1):
        draw_text(axis, 0, y, [(line, None)])
    shown = (
        ("senior alone", "before training", run.before, "solo"),
        ("both, word by word", "before training", run.before, "word"),
        ("both, word by word", "after training", run.senior, "word"),
    )
    for i, (writers, when, senior, schedule) in enumerate(shown):
        bar = tqdm(disable=True)
        answers = answer(senior, run.junior, run.tokenizer, problems, schedule, sampling, bar)
        verdict = "right" if answers.right[0] else "wrong"
        x = i * BLOCK
        y = len(question) + 2
        axis.text(x, y, writers, size=TEXT_SIZE + 1, weight="bold")
        axis.text(x, y + 1.2, f"{when}: {verdict}", size=TEXT_SIZE + 1)
        for line in layout(by_author(answers.rollout, 0, run.tokenizer)):
            draw_text(axis, x, y + 2.8, line)
            y += 1.25
    authors = [("written by: ", None), (" senior ", True), ("  ", None), (" junior ", False)]
    draw_text(axis, 0, LINES - 0.6, authors)


def layout(parts: list[Part]) -> list[list[Part]]:
    """The lines of a text that aren't empty."""
    lines = [[]]
    for text, by_senior in parts:
        first, *others = text.split("\n")
        lines[-1].append((first, by_senior))
        lines += [[(other, by_senior)] for other in others]
    return [line for line in lines if any(text for text, _ in line)]


def draw_text(axis, x: float, y: float, parts: list[Part]) -> None:
    """A monospaced line, coloured by author. It is cut at the panel's edge."""
    for text, by_senior in parts:
        if by_senior is not None:
            color = AUTHOR_COLORS[by_senior]
            axis.barh(y - 0.25, len(text), 1.2, x, color=color, linewidth=0)
        axis.text(x, y, text, size=TEXT_SIZE, family="monospace", parse_math=False)
        x += len(text)


if __name__ == "__main__":
    main()
