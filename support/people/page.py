"""One HTML page of runs: curves, the table before and after, and transcripts side by side, with a search.

    python -m support.people page runs/word                                 # runs/page.html
    python -m support.people page runs/word runs/solo --problems 50 --out both.html

The page is one file. It opens from disk, in any browser, and loads nothing. Curves and table are those of the runs'
own files. The responses are written anew, with fixed seeds: to each problem the senior's alone and the pair's, a
reasoning step each, before and after training. A token's tint is the junior's surprise, -log p in nats.
"""

import codecs
import itertools
import json
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor
from tqdm import tqdm

from evaluate import Sampling, answer
from model import GPT, autocast
from rollout import Rollout, response_logprobs
from support.reports.compare import cells
from support.reports.figure import SHOWN
from support.reports.results import RUN_MEASURES, RunResults, look_up, pair_key, read_run
from support.runs.options import UserError, command, parse, pick_device
from support.runs.pair import load_run
from support.runs.problem_files import load_problems

TEMPLATE, PLACE = Path(__file__).with_name("page.html"), "@DATA@"
SCHEDULES = {"solo": "the senior alone", "step": "the two, a reasoning step each"}


@dataclass
class Options:
    runs: list[str]
    """directories of finished runs, which train.py wrote"""
    problems: int = 20
    """problems whose responses are shown, the first of those that the run was measured on"""
    out: str | None = None
    """the page, a .html file, overwritten if it is there; page.html beside the first run if not given"""
    device: str = "auto"
    """auto (CUDA, then MPS, then the CPU), cuda, mps or cpu"""

    def __post_init__(self):
        if self.problems < 1:
            raise ValueError("--problems must be at least 1")


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, __doc__)
    device = pick_device(options.device)
    directories = list(dict.fromkeys(Path(given).resolve() for given in options.runs))
    runs = [
        read_run(directory, SimpleNamespace(measure_again=False), {}) for directory in directories
    ]
    for run, directory in zip(runs, directories, strict=True):
        if [path.name for path in directories].count(run.name) > 1:
            run.name = str(directory)
    out = Path(options.out) if options.out else directories[0].with_name("page.html")
    write_page(out)
    write_page(out, embed(TEMPLATE, page_data(runs, directories, options.problems, device)))
    print(f"page: {out}", file=sys.stderr)


def write_page(path: Path, text: str | None = None) -> None:
    """Write a page, whole or not at all. Without a text, only see that it can be written: before the work."""
    if path.suffix != ".html" or path.is_dir():  # so no other file is overwritten
        raise UserError(f"{path} is no name of a page; give an --out that ends in .html")
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_text(text or "", encoding="utf-8")
        partial.unlink() if text is None else partial.replace(path)
    except OSError as error:
        raise UserError(f"{path} can't be written ({error.strerror}); give another --out") from None


def embed(template: Path, data: dict) -> str:
    """A template with the data as JSON, in ASCII. Without a `<`, no text can end the block that it stands in."""
    content = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", r"\u003c")
    return template.read_text(encoding="utf-8").replace(PLACE, content)


def page_data(
    runs: list[RunResults], directories: list[Path], count: int, device: torch.device
) -> dict:
    """All that the page shows."""
    problems, befores, about = {}, set(), "schedule {schedule}, {steps} steps, seed {seed}"
    for run, directory in zip(runs, directories, strict=True):
        add_responses(problems, befores, directory, run.name, count, device)
    named = [{"name": run.name, "about": about.format(**run.config, seed=run.seed)} for run in runs]
    return {
        "runs": named,
        "curves": curves(runs),
        "table": table(runs),
        "problems": list(problems.values()),
    }


def curves(runs: list[RunResults]) -> list[dict]:
    """A chart a measure that any run has: its title, its largest y (None: the data's), a line [(step, y)] a run."""
    charts = []
    for name, title in (
        ("reward", "reward of the rollouts ↑"),
        ("jargon_rate", "jargon rate of the rollouts"),
    ):
        charts.append((title, 1.0, [enumerate(run.curve[name]) for run in runs]))
    for label, path, upper in SHOWN:
        lines = [
            [(measured["step"], look_up(measured, path)) for measured in run.along] for run in runs
        ]
        charts.append((label, None if upper == math.inf else upper, lines))
    charts = [
        (*chart, [[(x, y) for x, y in line if y is not None] for line in lines])
        for *chart, lines in charts
    ]
    return [
        {"title": title, "top": top, "lines": lines} for title, top, lines in charts if any(lines)
    ]


def table(runs: list[RunResults]) -> dict:
    """A row a measure, a column for each pair that runs began with, and one for each run."""
    columns = {}
    for run in runs:
        if cells([run.before]) not in columns.values():
            columns[f"before {run.name}" if columns else "before"] = cells([run.before])
    columns |= {run.name: cells([run.after]) for run in runs}
    sizes = [
        f"{run.problems} {run.config['eval_split']} problems × {run.samples} responses"
        for run in runs
    ]
    rows = zip([label for label, *_ in RUN_MEASURES], *columns.values(), strict=True)
    return {"caption": " or ".join(dict.fromkeys(sizes)), "head": list(columns), "rows": list(rows)}


@torch.no_grad()
def add_responses(
    problems: dict, befores: set, directory: Path, name: str, count: int, device: torch.device
) -> None:
    """Add a run's responses to `problems`, by question and answer. Runs that began with one pair show it once."""
    run = load_run(directory)
    sampling = replace(Sampling.from_config(run.config), samples=1)
    context = min(run.senior.config.max_seq_len, run.junior.config.max_seq_len)
    _, some, _ = load_problems(run.config, run.tokenizer, context, count)
    junior, stages = run.junior.to(device), [(f"{name}, after {run.step} steps", name, run.senior)]
    pair = pair_key(directory, sampling, some)
    if pair not in befores:
        stages.insert(0, (f"before {name}" if befores else "before", None, run.before))
        befores.add(pair)
    bar = tqdm(
        total=len(stages) * len(SCHEDULES) * len(some),
        desc=f"writing {name}",
        unit="response",
        leave=False,
    )
    with autocast(sampling.precision, device), bar:
        for (when, of_run, senior), (schedule, who) in itertools.product(stages, SCHEDULES.items()):
            answers = answer(
                senior.to(device), junior, run.tokenizer, some, schedule, sampling, bar
            )
            for problem, response in zip(
                some, responses(answers, junior, run.tokenizer, sampling), strict=True
            ):
                new = {"question": problem.question, "answer": problem.answer, "responses": []}
                known = problems.setdefault((problem.question, problem.answer), new)
                known["responses"].append({"who": who, "when": when, "run": of_run, **response})


def responses(answers, junior: GPT, tokenizer, sampling: Sampling) -> list[dict]:
    """Of each response its verdict, its tokens as `pieces` has them, and the mean surprise of a token, nats."""
    surprise, found = surprises(junior, answers.rollout, sampling.batch_size), []
    for row, right in enumerate(answers.right):
        mask = answers.rollout.mask[row]  # (T,)
        columns = [
            x[row][mask].tolist()
            for x in (answers.rollout.tokens, answers.rollout.authorship, surprise)
        ]
        mean = round(surprise[row][mask].mean().item(), 3)
        found.append({"right": right, "surprise": mean, "tokens": pieces(*columns, tokenizer)})
    return found


def surprises(junior: GPT, rollout: Rollout, batch_size: int) -> Tensor:
    """-log p of each token under the junior's own distribution (temperature 1), nats; 0 behind the end.  (N, T)"""
    parts = []
    for rows in torch.arange(len(rollout.prompts)).split(batch_size):
        part = rollout[rows]
        parts.append(-response_logprobs(junior, part, part.mask, 1.0))  # (n, T)
    return torch.cat(parts)


def pieces(ids: list[int], by_senior: list[bool], surprise: list[float], tokenizer) -> list[list]:
    """[text, whether the senior wrote it, surprise] of each token; a fourth, True, if the text is a special name.

    A token that holds only the first bytes of a character is joined with those that end it, and their surprises add up.
    """
    names = {i: name for name, i in tokenizer.special.items()}
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    found, joined = [], 0.0
    for t, (i, author, nats) in enumerate(zip(ids, by_senior, surprise, strict=True), 1):
        text, joined = decoder.decode(tokenizer.tokens[i], final=t == len(ids)), joined + nats
        if text or i in names:
            found.append([text or names[i], author, round(joined, 3), *([] if text else [True])])
            joined = 0.0
    return found
