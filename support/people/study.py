"""A blind study of legibility: a page for each rater, the key, and the protocol.

    python -m support.people make runs/word runs/solo --raters 12 --items 24 --out study

A run is an arm. Its senior answers each problem alone. A rater takes over after the first steps of
a response, says whether one is right, or rates how easy it is to follow. Nobody learns which arm
wrote which response: key.json says it.
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

from data.problems import Problem
from evaluate import Sampling, answer
from reward import extract, verify, verify_batch
from rollout import seeded
from support.people.page import embed
from support.people.statistics import latin_square, smallest_difference, study_power
from support.people.transcripts import continue_texts, reasoning_steps
from support.runs.devices import pick_device
from support.runs.options import UserError, command, parse
from support.runs.problem_files import load_problems
from support.runs.progress import progress
from support.runs.saved import load_run

TASKS = ("take-over", "check", "rate")
MINUTES = {"take-over": 1.5, "check": 0.75, "rate": 0.6}  # an item, for the page's "it takes about"
RATER_TEMPLATE = Path(__file__).with_name("study.html")
PROTOCOL = Path(__file__).with_name("protocol.md")


@dataclass
class Options:
    runs: list[str]
    """directories that train.py wrote, an arm each"""
    before: bool = False
    """make the first run's senior before training an arm too"""
    raters: int = 12
    """people, a page each"""
    items: int | None = None
    """responses that each rater sees; by default 24, or the next multiple of tasks × arms"""
    tasks: str = "take-over,check,rate"
    """the raters' tasks, in blocks of as many items each"""
    out: str = "study"
    """new directory of the pages, the key and the protocol"""
    samples: int = 8
    """responses to a problem, some of which may be wrong; and the machine's tries to take over"""
    temperature: float = 0.7
    """of both models"""
    seed: int = 0
    """of everything random"""
    device: str = "auto"
    """auto (CUDA, then MPS, then the CPU), cuda, mps or cpu"""

    def __post_init__(self):
        self.blocks = self.tasks.split(",")
        distinct = set(self.blocks)
        if not distinct <= set(TASKS) or len(distinct) < len(self.blocks):
            raise ValueError(f"--tasks {self.tasks}: give some of {','.join(TASKS)}, each once")
        arms = len(self.runs) + self.before
        if arms < 2:
            raise ValueError("a study compares: give at least two runs, or --before")
        if not 2 <= self.raters <= 1000 or self.samples < 1 or not 0 <= self.temperature < 10:
            message = "--raters is from 2 to 1000, --samples at least 1, --temperature from 0 to 10"
            raise ValueError(message)
        unit = len(self.blocks) * arms
        if self.items is None:
            self.items = -(-24 // unit) * unit
        if self.items < 1 or self.items % unit:
            of_each = f"{len(self.blocks)} tasks × {arms} arms"
            message = f"must be a multiple of {of_each}, so that arms are balanced"
            raise ValueError(f"--items {self.items} {message}")


@dataclass
class Arm:
    """A senior's text for each of the K problems, and the machine's results with them."""

    name: str
    shown: list[str]  # K
    machine: list[float]  # K, the share of `samples` times that the junior, taking over, is right


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, __doc__)
    out = Path(options.out)
    device = pick_device(options.device)
    if out.exists():
        raise UserError(f"{out} exists; give a new --out")
    problems, tasks, arms, template = make_arms(options, device)
    expected = expected_power(arms, tasks, options)
    print(expected)
    key = make_key(problems, tasks, arms, options, template)
    try:
        write_study_files(out, key, expected, options)
    except OSError as error:
        raise UserError(f"{out} can't be written ({error.strerror}); give another --out") from None
    files = "key.json (leave it closed), and protocol.md, which says how to go on"
    print(f"\nwrote to {out}: {options.raters} pages, {files}")


def write_study_files(out: Path, key: dict, expected: str, options) -> None:
    out.mkdir(parents=True)
    for rater, items in key["raters"].items():
        page = rater_page(key["study"], rater, items)
        (out / f"rater-{rater}.html").write_text(page, encoding="utf-8")
    text = json.dumps(key, indent=1)
    (out / "key.json").write_text(text, encoding="utf-8")
    (out / "protocol.md").write_text(protocol(key, text, expected, options), encoding="utf-8")


# ---- The arms ------------------------------------------------------------------------------------


def make_arms(options, device) -> tuple[list[Problem], list[str], list[Arm], str]:
    """K problems of the first run's test split, the task of each, the arms, the prompt's template.

    One junior, the first run's, takes over in all arms.
    """
    runs = [load_run(directory) for directory in options.runs]
    first = runs[0]
    K = options.items
    context = min(first.senior.config.max_seq_len, first.junior.config.max_seq_len)
    _, problems, _ = load_problems(first.config, first.tokenizer, context, K)
    if len(problems) < K:
        count = f"{options.runs[0]} has {len(problems)} problems to measure on"
        raise UserError(f"{count}; give fewer --items")
    tasks = tasks_of_problems(options)

    seniors = []  # (name, run, senior)
    if options.before:
        seniors.append(("before", first, first.before))
    for directory, run in zip(options.runs, runs, strict=True):
        seniors.append((Path(directory).resolve().name, run, run.senior))

    arms = {}
    junior = first.junior.to(device)
    for name, run, senior in seniors:
        if name in arms:
            raise UserError(f"two arms are named {name}; rename a directory")
        senior = senior.to(device)
        arms[name] = make_arm(name, senior, junior, run, problems, tasks, options)
    return problems, tasks, list(arms.values()), first.config.prompt_template


def tasks_of_problems(options) -> list[str]:
    """The task of each of the K problems: blocks of the same length."""
    tasks = []
    for task in options.blocks:
        tasks += [task] * (options.items // len(options.blocks))
    return tasks


@torch.no_grad()
def make_arm(
    name: str, senior, junior, run, problems: list[Problem], tasks: list[str], options
) -> Arm:
    """Solo responses of a senior, made into texts for the raters. All arms have the same draws."""
    K = len(problems)
    S = options.samples
    rng = random.Random(options.seed)
    sampling = replace(
        Sampling.from_config(run.config),
        samples=S,
        temperature=options.temperature,
        seed=options.seed,
    )
    title = f"{name} writes, the junior goes on"
    total = 2 * K * S
    with progress(total=total, desc=title, unit="response", leave=False) as bar:
        solo = answer(senior, junior, run.tokenizer, problems, "solo", sampling, bar)
        responses = [solo.texts[i : i + S] for i in range(0, K * S, S)]  # K × S
        begun = [cut(some[0], rng.random()) for some in responses]  # K
        machine = take_over(junior, run.tokenizer, problems, begun, sampling, bar)

    checked = [k for k in range(K) if tasks[k] == "check"]
    wrong = set(rng.sample(checked, len(checked) // 2))
    shown = []
    for k, task in enumerate(tasks):
        if task == "take-over":
            shown.append(begun[k])
        elif task == "check":
            shown.append(pick(responses[k], problems[k].answer, k not in wrong, rng))
        else:
            shown.append(responses[k][0])
    return Arm(name, shown, machine)


def cut(response: str, share: float) -> str:
    """The first steps of a response: at least one of several, and never all but the last.

    The last step is the answer alone.
    """
    steps = reasoning_steps(response)
    choices = max(1, len(steps) - 2)
    count = min(1 + int(share * choices), len(steps) - 1)
    return "".join(steps[:count])


def pick(responses: list[str], answer: str, right: bool, rng: random.Random) -> str:
    """A right response, or a wrong one. Where none is wrong, an error is put in."""
    for response in responses:
        if verify(response, answer) == right:
            return response
    if right:
        return responses[0]
    return with_error(responses[0], answer, rng)


def with_error(response: str, answer: str, rng: random.Random) -> str:
    """The response with another number for its answer, in its last step and in the box after it.

    A response without a number for an answer stays as it is.
    """
    steps = reasoning_steps(response)
    number = extract(response) or ""
    if not re.fullmatch(r"\d+", number):
        return response
    change = rng.choice([1, 2, 10])
    other = int(number) - change
    if int(number) < 11:
        other = int(number) + change
    last = "".join(steps[-2:])
    last = re.sub(rf"(?<!\d){number}(?!\d)", str(other), last)
    changed = "".join(steps[:-2]) + last
    return response if verify(changed, answer) else changed


@torch.no_grad()
def take_over(
    junior, tokenizer, problems: list[Problem], begun: list[str], sampling: Sampling, bar
) -> list[float]:
    """K: the share of `samples` times that the junior alone is right from the beginning of each."""
    S = sampling.samples
    prompts = []  # K × S
    answers = []
    for problem, text in zip(problems, begun, strict=True):
        prompt = tokenizer.prompt(problem.question, sampling.prompt_template)
        prompts += [prompt + tokenizer.encode(text)] * S
        answers += [problem.answer] * S
    written = continue_texts(
        junior,
        tokenizer,
        prompts,
        sampling.max_new_tokens,
        temperature=sampling.temperature,
        generator=seeded(sampling.seed, "study"),
        batch_size=sampling.batch_size,
        bar=bar,
    )
    texts = [begun[i // S] + text for i, text in enumerate(written)]
    right = verify_batch(texts, answers)
    of_problems = [right[i : i + S] for i in range(0, len(right), S)]  # K × S
    return [fmean(verdicts) for verdicts in of_problems]


def expected_power(arms: list[Arm], tasks: list[str], options) -> str:
    """The differences that the study can find, a line for each two arms.

    Raters are taken to do as well as the junior, some better and some worse.
    """
    over = [k for k, task in enumerate(tasks) if task == "take-over"]
    if not over:
        return "Power is computed for take-over, which is left out."
    design = latin_square(options.raters, len(over), len(arms))  # as make_key has it
    machine = np.array([arm.machine for arm in arms])  # (A, K)
    accuracies = machine[:, over]  # (A, P)
    means = [row.mean() for row in accuracies]  # A
    size = f"{options.raters} raters × {len(over)} responses to take over"
    lines = [f"{size}; the junior in their place:"]
    best_first = sorted(range(len(arms)), key=lambda arm: -means[arm])
    for pair in itertools.combinations(best_first, 2):
        one, other = pair
        power = study_power(accuracies, design, pair)
        least = smallest_difference(accuracies, design, pair)
        reach = "none that there is room for" if least is None else f"one of {least:.2f}"
        names = f"{arms[one].name} and {arms[other].name}"
        right = f"right {means[one]:.2f} and {means[other]:.2f}"
        lines.append(f"- {names}: {right}; found with {power:.0%}. With 80%: {reach}.")
    return "\n".join(lines)


# ---- Who sees what -------------------------------------------------------------------------------

EXAMPLE = "Ada has 5 hats. Ada buys 7 more. Then Ada loses 2. How many hats does Ada have?"
PRACTICE = {  # the text of a task's practice item, and the feedback
    "take-over": ("5 + 7 = 12.\n\n", "The answer is 10: 12 - 2 = 10."),
    "check": (
        "5 + 7 = 12.\n\n12 - 2 = 9.\n\n\\boxed{9}",
        "It is wrong: 12 - 2 is 10. A box holds the answer.",
    ),
    "rate": (
        "5 + 7 = 12.\n\n12 - 2 = 10.\n\n\\boxed{10}",
        "There is no right rating: say how it is for you."
        + " A solution can be easy to follow and wrong.",
    ),
}
ATTENTION = {  # the text that checks attention, and the answer of a rater who read it
    "take-over": (
        "This one checks that you read what you are shown. Give 17 as the answer.",
        {"answer": "17"},
    ),
    "check": (
        "This one checks that you read what you are shown. Say that it is wrong.",
        {"right": False},
    ),
    "rate": (
        "This one checks that you read what you are shown. Rate it 2.",
        {"rating": 2},
    ),
}


def make_key(
    problems: list[Problem], tasks: list[str], arms: list[Arm], options, template: str
) -> dict:
    """The content of key.json: the items of each rater in their order.

    Rater r sees problem k of a block in arm (k + r) mod A. So every rater sees all arms equally
    often. If the number of raters is a multiple of A, every problem is seen in all arms equally
    often. The first problem of a block turns with the rater.
    """
    raters = {}
    for r in range(options.raters):
        items = []
        for block in range(len(options.blocks)):
            items += make_block(r, block, problems, tasks, arms, options)
        numbered = [{"id": f"{i:02}"} | item for i, item in enumerate(items, 1)]
        raters[f"{r + 1:02}"] = numbered
    content = {
        "arms": [arm.name for arm in arms],
        "tasks": options.blocks,
        "raters": raters,
        "machine": {arm.name: arm.machine for arm in arms},
    }
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    study = digest[:10]
    about = {"study": study, "seed": options.seed, "runs": options.runs}
    return about | content | {"prompt_template": template}


def make_block(
    r: int, block: int, problems: list[Problem], tasks: list[str], arms: list[Arm], options
) -> list[dict]:
    """Rater r's items of one task: practice, the problems, and perhaps a check of attention."""
    task = options.blocks[block]
    A = len(arms)
    shown, told = PRACTICE[task]
    practice = {"kind": "practice", "task": task, "question": EXAMPLE, "shown": shown}
    items = [practice | {"told": told}]

    numbers = [k for k in range(len(problems)) if tasks[k] == task]
    turn = (r // A * 3 + r) % len(numbers)
    for k in numbers[turn:] + numbers[:turn]:
        arm = arms[(k + r) % A]
        items.append(make_item(task, k, problems[k], arm))

    # The first block has a check of attention, and the last one has; a block alone has two.
    checks = [0, len(options.blocks) - 1].count(block)
    for check in range(checks):
        shown, expected = ATTENTION[task]
        question = problems[numbers[check]].question
        item = {"kind": "attention", "task": task, "question": question, "shown": shown}
        # within the block, not at its beginning
        back = 1 + (r + check * 2) % max(1, len(numbers) - 1)
        items.insert(len(items) - back, item | {"expected": expected})
    return items


def make_item(task: str, k: int, problem: Problem, arm: Arm) -> dict:
    """An item that counts: arm's response to problem k."""
    item = {
        "kind": "item",
        "task": task,
        "arm": arm.name,
        "problem": k,
        "question": problem.question,
        "shown": arm.shown[k],
        "answer": problem.answer,
    }
    if task == "check":
        item["right"] = verify(arm.shown[k], problem.answer)
    return item


def rater_page(study: str, rater: str, items: list[dict]) -> str:
    """A rater's page. It says neither who wrote a response nor whether it is right."""
    seen = []
    for item in items:
        one = {name: item[name] for name in ("id", "task", "question", "shown")}
        if item["kind"] == "practice":
            one["practice"] = item["told"]
        seen.append(one)
    minutes = sum(MINUTES[item["task"]] for item in items)
    minutes = round(minutes + 2)  # two for the instructions
    data = {"study": study, "rater": rater, "minutes": minutes, "items": seen}
    return embed(RATER_TEMPLATE, data)


def protocol(key: dict, text: str, expected: str, options) -> str:
    """The page that says how the study is run and scored, written before anyone takes part.

    `text` is the content of key.json, which the protocol seals with its hash.
    """
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
    template = PROTOCOL.read_text(encoding="utf-8")
    return re.sub(r"@([A-Z]+)@", lambda name: str(values[name[1]]), template)
