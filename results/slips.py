r"""How many slips a senior puts right, by step of training, in the world `slips`.

    python -m results.slips runs/slips/word-? runs/slips/solo-? --out results/slips-right.json
    python -m results.slips results/slips-right.json --figure results/slips-right.svg

A slip is a step whose arithmetic is wrong, `So 19 + 8 = 37.` The next paragraph puts it right,
`So 37? 19 + 8 = 27.`, or goes on from it, `So 37 - 5 = 32.` The token behind `So 37` decides. If
the senior wrote that token, it was the senior's turn to put the slip right.
"""

import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

import torch
from tqdm import tqdm

from data.problems import first_problems, result_of
from evaluate import Sampling, answer
from rollout import Rollout
from support.reports.figure import draw_line, load_matplotlib, save
from support.runs.files import read_json
from support.runs.options import UserError, command, parse
from support.runs.pair import load_any
from support.runs.progress import progress

# A step, and how the next paragraph begins.
STEP = re.compile(r"So (\d+) ([+-]) (\d+) = (\d+)\.(?=\n\n(So \4)(?!\d))")
WRITTEN_BY = {"handoff": ("step", 0.7), "rollout": ("word", 1.0), "solo": ("solo", 0.7)}
TITLES = {
    ("handoff", "juniors"): "the junior's slips, by turns of a step",
    ("rollout", "juniors"): "the junior's slips, word by word",
    ("solo", "own"): "its own slips, alone",
}
FEWEST_SLIPS = 10  # of a share
COLORS = {"word": (0, "tandem RL"), "solo": (7, "plain RL")}


@dataclass
class Options:
    """The options of `python -m results.slips`."""

    runs: list[str]
    """directories of runs with --keep-every, or one file that --out wrote"""
    problems: int = 100
    """test problems at every kept step, 4 responses each"""
    out: str | None = None
    """where to write the counts, as JSON"""
    figure: str | None = None
    """where to draw the shares, a .svg or .png; needs matplotlib"""


@dataclass
class Slip:
    """A wrong step."""

    by_senior: bool  # who wrote its result
    senior_next: bool  # who decided how the next paragraph goes on
    put_right: bool  # by the next paragraph


@dataclass
class Counts:
    """The slips in a run's responses at one step of training."""

    arm: str  # the run's schedule
    seed: int
    step: int
    responses: str  # handoff: by turns of a step; rollout: by words, as in training; or solo
    own: int = 0  # slips of the senior that were its turn to put right
    own_right: int = 0  # how many of them it put right
    juniors: int = 0  # slips of the junior that were the senior's turn to put right
    juniors_right: int = 0  # how many of them it put right
    solved: float = 0.0  # share of the problems


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, __doc__)
    first = options.runs[0]
    if first.endswith(".json"):
        counts = read_counts(Path(first))
    else:
        counts = count_runs(options.runs, options.problems)
    if options.out is not None:
        rows = [json.dumps(asdict(count)) for count in counts]
        text = "[\n" + ",\n".join(rows) + "\n]\n"
        Path(options.out).write_text(text, encoding="utf-8")
    print(shares_table(counts))
    if options.figure is not None:
        draw(counts, options.figure)


def read_counts(path: Path) -> list[Counts]:
    """What --out wrote."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [Counts(**row) for row in rows]


def slips_of(text: str, authors: list[bool]) -> list[Slip]:
    """The slips of a response. `authors` has each character's, True for the senior."""
    slips = []
    for step in STEP.finditer(text):
        total, sign, change, written = step.group(1, 2, 3, 4)
        right = result_of(int(total), sign, int(change))
        if int(written) == right:
            continue
        behind = step.end(5)  # the character that tells a check from the next step
        if behind == len(text):
            continue
        put_right = text.startswith(f"? {total} {sign} {change} = {right}.", behind)
        slips.append(Slip(authors[step.start(4)], authors[behind], put_right))
    return slips


def authors_of_characters(rollout: Rollout, row: int, tokenizer) -> list[bool]:
    """Who wrote each character of a response in ASCII."""
    mask = rollout.mask[row]  # (T,)
    tokens = rollout.tokens[row][mask].tolist()
    by_senior = rollout.authorship[row][mask].tolist()
    authors = []
    for token, author in zip(tokens, by_senior, strict=True):
        authors += [author] * len(tokenizer.decode([token]))
    return authors


def count_runs(directories: list[str], n: int) -> list[Counts]:
    """The slips of runs, at their first step and at each that they kept."""
    problems = first_problems("test", n, "slips", "slips")
    counts = []
    for directory in map(Path, directories):
        needed = ("schedule", "seed", "world", "max_new_tokens")
        config = read_json(directory / "config.json", *needed)
        if config["world"] != "slips":
            raise UserError(f"{directory} is in the world {config['world']}; give runs in slips")
        sampling = Sampling(max_new_tokens=config["max_new_tokens"], seed=config["seed"])
        junior, tokenizer = load_any(directory / "junior.pt")
        kept = {0: directory / "senior.pt"}
        for path in directory.glob("checkpoint-*.pt"):
            kept[int(path.stem.split("-")[1])] = path
        if len(kept) == 1:
            raise UserError(f"{directory} kept no checkpoints; train it with --keep-every 25")
        steps = sorted(kept.items())
        for step, path in progress(steps, desc=str(directory), unit="checkpoint"):
            senior, _ = load_any(path)
            for responses in WRITTEN_BY:
                count = Counts(config["schedule"], config["seed"], step, responses)
                fill(count, senior, junior, tokenizer, problems, sampling)
                counts.append(count)
    return counts


@torch.no_grad()
def fill(count: Counts, senior, junior, tokenizer, problems, sampling: Sampling) -> None:
    """Write responses to the problems, and count their slips."""
    schedule, temperature = WRITTEN_BY[count.responses]
    sampling = replace(sampling, temperature=temperature)
    with tqdm(disable=True) as bar:
        answers = answer(senior, junior, tokenizer, problems, schedule, sampling, bar)
    count.solved = sum(answers.right) / len(answers.right)
    for row, text in enumerate(answers.texts):
        authors = authors_of_characters(answers.rollout, row, tokenizer)
        for slip in slips_of(text, authors):
            if not slip.senior_next:
                continue
            if slip.by_senior:
                count.own += 1
                count.own_right += slip.put_right
            else:
                count.juniors += 1
                count.juniors_right += slip.put_right


def shares(counts: list[Counts], arm: str, responses: str, whose: str) -> dict[int, list[float]]:
    """The share of slips put right, a number a seed. `whose`: own or juniors.

    Only the steps are there at which every seed has enough slips.
    """
    of_steps = {}
    for count in counts:
        if count.arm == arm and count.responses == responses:
            right = getattr(count, f"{whose}_right")
            slips = getattr(count, whose)
            of_steps.setdefault(count.step, []).append((right, slips))
    lines = {}
    for step, seeds in sorted(of_steps.items()):
        if min(slips for _, slips in seeds) >= FEWEST_SLIPS:
            lines[step] = [right / slips for right, slips in seeds]
    return lines


def shares_table(counts: list[Counts], every: int = 1) -> str:
    """The mean shares at each step, or at every so many, as Markdown."""
    columns = {}
    for (responses, whose), title in TITLES.items():
        for arm, (_, label) in COLORS.items():
            columns[f"{title}: {label}"] = shares(counts, arm, responses, whose)
    lines = ["| step | " + " | ".join(columns) + " |"]
    lines.append("| ---: " * (len(columns) + 1) + "|")
    for step in sorted({count.step for count in counts if count.step % every == 0}):
        cells = [str(step)]
        for line in columns.values():
            seeds = line.get(step)
            cells.append(f"{fmean(seeds):.3f}" if seeds else "-")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(counts: list[Counts], path: str) -> None:
    """Three panels: the junior's slips in handoff, in training's rollouts, the senior's own."""
    try:
        plt = load_matplotlib()
    except ImportError:
        raise UserError("figures need matplotlib: pip install matplotlib") from None
    figure = plt.figure(figsize=(9.4, 2.9), layout="constrained")
    for place, ((responses, whose), title) in enumerate(TITLES.items(), 1):
        axis = figure.add_subplot(1, 3, place)
        for arm, (color, label) in COLORS.items():
            draw_line(axis, color, shares(counts, arm, responses, whose), 1.0, label)
        axis.set_title(title, size=10)
        axis.set(xlabel="step", ylim=(0, 1.03))
        if place == 1:
            axis.set_ylabel("share that the senior puts right")
            axis.legend(frameon=False)
    save(figure, path)


if __name__ == "__main__":
    main()
