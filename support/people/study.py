"""A blind study of legibility: a page for each rater, the key, and the protocol.

    python -m support.people make runs/word runs/solo --raters 12 --items 24 --out study

A run is an arm. Its senior answers each problem alone; a rater takes over after the first steps of a response, says
whether one is right, or rates how easy it is to follow. Nobody learns which arm wrote what: key.json says it.
"""

import hashlib
import itertools
import json
import random
import re
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from tqdm import tqdm

from data.problems import Problem
from evaluate import Sampling, answer
from reward import extract, verify, verify_batch
from rollout import seeded
from support.people.page import embed
from support.people.statistics import latin_square, power, smallest_difference
from support.people.transcripts import Transcript, continued
from support.runs.options import UserError, command, parse, pick_device
from support.runs.pair import load_run
from support.runs.problem_files import load_problems

TASKS = ("take-over", "check", "rate")
MINUTES = {"take-over": 1.5, "check": 0.75, "rate": 0.6}  # an item, for the page's "it takes about"
TEMPLATE, PROTOCOL = (Path(__file__).with_name(name) for name in ("study.html", "protocol.md"))


@dataclass
class Options:
    runs: list[str]
    """directories that train.py wrote, an arm each"""
    before: bool = False
    """make the first run's senior before training an arm too"""
    raters: int = 12
    """people, a page each"""
    items: int | None = None
    """responses that each rater sees, over all tasks; 24, or the next multiple of tasks × arms, if not given"""
    tasks: str = "take-over,check,rate"
    """what raters do, in blocks of as many items each"""
    out: str = "study"
    """new directory of the pages, the key and the protocol"""
    samples: int = 8
    """responses to a problem, among which wrong ones are looked for, and times that the machine takes over"""
    temperature: float = 0.7
    """of both models"""
    seed: int = 0
    """of everything random"""
    device: str = "auto"
    """auto (CUDA, then MPS, then the CPU), cuda, mps or cpu"""

    def __post_init__(self):
        self.blocks = self.tasks.split(",")
        arms = len(self.runs) + self.before
        if not set(self.blocks) <= set(TASKS) or len(set(self.blocks)) < len(self.blocks):
            raise ValueError(f"--tasks {self.tasks}: give some of {','.join(TASKS)}, each once")
        if arms < 2:
            raise ValueError("a study compares: give at least two runs, or --before")
        if not 2 <= self.raters <= 1000 or self.samples < 1 or not 0 <= self.temperature < 10:
            raise ValueError(
                "--raters is from 2 to 1000, --samples at least 1, --temperature from 0 to 10"
            )
        if self.items is None:
            self.items = -(-24 // (len(self.blocks) * arms)) * len(self.blocks) * arms
        if self.items < 1 or self.items % (len(self.blocks) * arms):
            of_each = f"{len(self.blocks)} tasks × {arms} arms"
            raise ValueError(
                f"--items {self.items} must be a multiple of {of_each}, so that arms are balanced"
            )


@dataclass
class Arm:
    """What raters see of one senior, a text for each of the K problems, and what the machine makes of it."""

    name: str
    shown: list[str]
    machine: list[float]  # the share of `samples` times that the junior, taking over, is right


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, __doc__)
    out, device = Path(options.out), pick_device(options.device)
    if out.exists():
        raise UserError(f"{out} exists; give a new --out")
    problems, tasks, arms, template = make_arms(options, device)
    expected = powers(arms, tasks, options)
    print(expected)
    key = make_key(problems, tasks, arms, options, template)
    try:
        out.mkdir(parents=True)
        for rater, items in key["raters"].items():
            (out / f"rater-{rater}.html").write_text(
                page(key["study"], rater, items), encoding="utf-8"
            )
        text = json.dumps(key, indent=1)
        (out / "key.json").write_text(text, encoding="utf-8")
        (out / "protocol.md").write_text(protocol(key, text, expected, options), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{out} can't be written ({error.strerror}); give another --out") from None
    print(
        f"\nwrote to {out}: {options.raters} pages, key.json (leave it closed), and protocol.md, which says how to go on"
    )


def make_arms(options, device) -> tuple[list[Problem], list[str], list[Arm], str]:
    """K problems of the first run's test split, the task of each, the arms, and how a model is asked.

    One junior, the first run's, takes over in all arms.
    """
    arms, K, runs = {}, options.items, [load_run(directory) for directory in options.runs]
    first = runs[0]
    context = min(first.senior.config.max_seq_len, first.junior.config.max_seq_len)
    _, problems, _ = load_problems(first.config, first.tokenizer, context, K)
    if len(problems) < K:
        raise UserError(
            f"{options.runs[0]} has {len(problems)} problems to measure on; give fewer --items"
        )
    tasks = [task for task in options.blocks for _ in range(K // len(options.blocks))]  # K
    seniors = [("before", first, first.before)] if options.before else []
    for directory, run in zip(options.runs, runs, strict=True):
        seniors.append((Path(directory).resolve().name, run, run.senior))
    for name, run, senior in seniors:
        if name in arms:
            raise UserError(f"two arms are named {name}; rename a directory")
        arms[name] = make_arm(
            name, senior.to(device), first.junior.to(device), run, problems, tasks, options
        )
    return problems, tasks, list(arms.values()), first.config.prompt_template


@torch.no_grad()
def make_arm(
    name: str, senior, junior, run, problems: list[Problem], tasks: list[str], options
) -> Arm:
    """Solo responses of a senior, made into what raters see. The draws are the same in all arms."""
    K, S, rng = len(problems), options.samples, random.Random(options.seed)
    own = {"samples": S, "temperature": options.temperature, "seed": options.seed}
    sampling = replace(Sampling.from_config(run.config), **own)
    with tqdm(
        total=2 * K * S, desc=f"{name} writes, the junior goes on", unit="response", leave=False
    ) as bar:
        found = answer(senior, junior, run.tokenizer, problems, "solo", sampling, bar)
        responses = [found.texts[i : i + S] for i in range(0, K * S, S)]  # K × S
        begun = [cut(some[0], rng.random()) for some in responses]
        machine = goes_on(junior, run.tokenizer, problems, begun, sampling, bar)
    checked = [k for k in range(K) if tasks[k] == "check"]
    wrong = set(rng.sample(checked, len(checked) // 2))
    shown = []
    for k, (task, some, problem) in enumerate(zip(tasks, responses, problems, strict=True)):
        whole = pick(some, problem.answer, k not in wrong, rng) if task == "check" else some[0]
        shown.append(begun[k] if task == "take-over" else whole)
    return Arm(name, shown, machine)


def cut(response: str, share: float) -> str:
    """The first steps of a response, at least one of several, and not all but the last, which is the answer."""
    steps = Transcript("", response, None, "").steps
    return "".join(steps[: min(1 + int(share * max(1, len(steps) - 2)), len(steps) - 1)])


def pick(responses: list[str], answer: str, right: bool, rng: random.Random) -> str:
    """A response that is right, or one that isn't: if there is none, an error is put into one. As asked, if possible."""
    fitting = [response for response in responses if verify(response, answer) == right]
    return (
        fitting[0] if fitting else responses[0] if right else with_error(responses[0], answer, rng)
    )


def with_error(response: str, answer: str, rng: random.Random) -> str:
    """The response with another number for its answer, in its last step and in what follows. As it is, if it has none."""
    steps, found = Transcript("", response, None, "").steps, extract(response) or ""
    if not re.fullmatch(r"\d+", found):
        return response
    other = (
        str(int(found) + rng.choice([1, 2, 10]))
        if int(found) < 11
        else str(int(found) - rng.choice([1, 2, 10]))
    )
    last = "".join(steps[-2:])
    changed = "".join(steps[:-2]) + re.sub(rf"(?<!\d){found}(?!\d)", other, last)
    return response if verify(changed, answer) else changed


@torch.no_grad()
def goes_on(
    junior, tokenizer, problems: list[Problem], begun: list[str], sampling: Sampling, bar
) -> list[float]:
    """The share of `samples` times that the junior alone comes to the right answer from the beginning of each.  K"""
    prompts = [tokenizer.prompt(problem.question, sampling.prompt_template) for problem in problems]
    prompts = [prompt + tokenizer.encode(text) for prompt, text in zip(prompts, begun, strict=True)]
    rows = [k for k in range(len(problems)) for _ in range(sampling.samples)]
    draws = {"temperature": sampling.temperature, "generator": seeded(sampling.seed, "study")}
    limits = {"batch_size": sampling.batch_size, "bar": bar}
    written = continued(
        junior, tokenizer, [prompts[k] for k in rows], sampling.max_new_tokens, **draws, **limits
    )
    texts = [begun[k] + text for k, text in zip(rows, written, strict=True)]
    right = verify_batch(texts, [problems[k].answer for k in rows])
    return [fmean(right[i : i + sampling.samples]) for i in range(0, len(right), sampling.samples)]


def powers(arms: list[Arm], tasks: list[str], options) -> str:
    """What the study can find, a line for each two arms, if raters do as the junior does, some better and some worse."""
    own = [k for k, task in enumerate(tasks) if task == "take-over"]
    if not own:
        return "Power is computed for take-over, which is left out."
    design = latin_square(options.raters, len(own), len(arms))  # as make_key has it
    accuracies = np.array([[arm.machine[problem] for problem in own] for arm in arms])  # (A, P)
    lines = [
        f"{options.raters} raters × {len(own)} responses to take over; the junior in their place:"
    ]
    ordered = sorted(
        range(len(arms)), key=lambda n: -accuracies[n].mean()
    )  # the advantage of the better one
    for pair in itertools.combinations(ordered, 2):
        one, other = (accuracies[n].mean() for n in pair)
        found = power(accuracies, design, pair)
        least = smallest_difference(accuracies, design, pair)
        reach = "none that there is room for" if least is None else f"one of {least:.2f}"
        names = f"{arms[pair[0]].name} and {arms[pair[1]].name}"
        lines.append(
            f"- {names}: right {one:.2f} and {other:.2f}; found with {found:.0%}. With 80%: {reach}."
        )
    return "\n".join(lines)


# ---- Who sees what ---------------------------------------------------------------------------------------------------

EXAMPLE = "Ada has 5 hats. Ada buys 7 more. Then Ada loses 2. How many hats does Ada have?"
PRACTICE = {
    "take-over": ("5 + 7 = 12.\n\n", "The answer is 10: 12 - 2 = 10."),
    "check": (
        "5 + 7 = 12.\n\n12 - 2 = 9.\n\n\\boxed{9}",
        "It is wrong: 12 - 2 is 10. A box holds the answer.",
    ),
    "rate": (
        "5 + 7 = 12.\n\n12 - 2 = 10.\n\n\\boxed{10}",
        "There is no right rating: say how it is for you. A solution can be easy to follow and wrong.",
    ),
}
ATTENTION = {  # what is shown, and what shows that it was read
    "take-over": (
        "This one checks that you read what you are shown. Give 17 as the answer.",
        {"answer": "17"},
    ),
    "check": (
        "This one checks that you read what you are shown. Say that it is wrong.",
        {"right": False},
    ),
    "rate": ("This one checks that you read what you are shown. Rate it 2.", {"rating": 2}),
}


def make_key(
    problems: list[Problem], tasks: list[str], arms: list[Arm], options, template: str
) -> dict:
    """What key.json holds: the items of each rater in their order.

    Rater r sees problem k of a block in arm (k + r) mod A, so every rater sees all arms as often, and every problem is
    seen in all arms as often if raters are a multiple of A. Where a block begins turns with the rater.
    """
    A, raters = len(arms), {}
    for r in range(options.raters):
        items = []
        for block, task in enumerate(options.blocks):
            own = [k for k in range(len(problems)) if tasks[k] == task]
            turn = (r // A * 3 + r) % len(own)
            shown, told = PRACTICE[task]
            items.append(dict(kind="practice", task=task, question=EXAMPLE, shown=shown, told=told))
            for k in own[turn:] + own[:turn]:
                arm, problem = arms[(k + r) % A], problems[k]
                item = dict(
                    kind="item", task=task, arm=arm.name, problem=k, question=problem.question
                )
                items.append(item | dict(shown=arm.shown[k], answer=problem.answer))
                if task == "check":
                    items[-1]["right"] = verify(arm.shown[k], problem.answer)
            for check in range(
                [0, len(options.blocks) - 1].count(block)
            ):  # in the first block and in the last
                shown, expected = ATTENTION[task]
                item = dict(
                    kind="attention", task=task, question=problems[own[check]].question, shown=shown
                )
                back = 1 + (r + check * 2) % max(
                    1, len(own) - 1
                )  # within the block, not at its beginning
                items.insert(len(items) - back, item | dict(expected=expected))
        raters[f"{r + 1:02}"] = [dict(id=f"{i:02}", **item) for i, item in enumerate(items, 1)]
    content = {"arms": [arm.name for arm in arms], "tasks": options.blocks, "raters": raters}
    content["machine"] = {arm.name: arm.machine for arm in arms}
    study = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:10]
    about = {"study": study, "seed": options.seed, "runs": options.runs}
    return about | content | {"prompt_template": template}


def page(study: str, rater: str, items: list[dict]) -> str:
    """A rater's page. It doesn't say who wrote what, nor what is right."""
    seen = [{name: item[name] for name in ("id", "task", "question", "shown")} for item in items]
    for item, one in zip(items, seen, strict=True):
        if item["kind"] == "practice":
            one["practice"] = item["told"]
    minutes = round(sum(MINUTES[item["task"]] for item in items) + 2)
    return embed(TEMPLATE, {"study": study, "rater": rater, "minutes": minutes, "items": seen})


def protocol(key: dict, text: str, expected: str, options) -> str:
    """The page that says how the study is run and scored, before anyone took part."""
    values = {
        "STUDY": key["study"],
        "SEAL": hashlib.sha256(text.encode()).hexdigest(),
        "ARMS": ", ".join(key["arms"]),
        "RATERS": options.raters,
        "ITEMS": options.items,
        "TASKS": ", ".join(options.blocks),
        "POWER": expected,
        "OUT": options.out,
    }
    return re.sub(
        r"@([A-Z]+)@", lambda name: str(values[name[1]]), PROTOCOL.read_text(encoding="utf-8")
    )
