"""One HTML page of runs: curves, a table before and after, transcripts side by side, a search.

    python -m support.people page runs/word                                 # runs/page.html
    python -m support.people page runs/word runs/solo --problems 50 --out both.html

The page is one file. It opens from disk, in any browser, and loads nothing. Its curves and table
are the numbers in the runs' own files. The responses are written anew, with fixed seeds: to each
problem the senior's alone and the pair's, a reasoning step each, before and after training. To the
first problems it also has a group of responses as training writes them, with their coins and
advantages. The tint of a token is the junior's surprise, -log p in nats.
"""

import codecs
import json
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor

from data.problems import Problem
from evaluate import Sampling, answer
from model import GPT, autocast
from rollout import Rollout, make_handoff, response_logprobs
from support.reports.explain import RESPONSES, coins, rewards_of, write_groups
from support.reports.figure import SHOWN
from support.reports.measures import RUN_MEASURES, cells, look_up
from support.reports.results import RunResults, pair_key, read_run
from support.runs.devices import pick_device
from support.runs.files import read_lines, write_page
from support.runs.options import command, parse
from support.runs.problem_files import load_problems
from support.runs.progress import progress
from support.runs.saved import load_run
from tandem import advantages

PAGE_TEMPLATE = Path(__file__).with_name("page.html")
DATA_MARK = "@DATA@"  # where a template takes its data
SHOWN_SCHEDULES = {"solo": "the senior alone", "step": "the two, a reasoning step each"}
ROLLOUT_CURVES = {
    "reward": "reward of the rollouts ↑",
    "jargon_rate": "jargon rate of the rollouts",
}
COIN_CURVES = {  # of metrics.jsonl; older runs lack them
    "accuracy_junior_first": "reward where the junior begins ↑",
    "accuracy_senior_first": "reward where the senior begins ↑",
    "senior_opens_in_jargon": "responses that the senior opens in jargon",
}
GROUPED_PROBLEMS = 5  # the first, which also have groups


@dataclass
class Options:
    runs: list[str]
    """directories of finished runs, which train.py wrote"""
    problems: int = 20
    """problems whose responses are shown, the first of those that the run was measured on"""
    out: str | None = None
    """the page, a .html file, overwritten if there; page.html beside the first run if not given"""
    device: str = "auto"
    """auto (CUDA, then MPS, then the CPU), cuda, mps or cpu"""

    def __post_init__(self):
        if self.problems < 1:
            raise ValueError("--problems must be at least 1")


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, __doc__)
    device = pick_device(options.device)
    directories = [Path(directory).resolve() for directory in options.runs]
    directories = list(dict.fromkeys(directories))  # each once
    runs = read_runs_to_show(directories)
    out = directories[0].with_name("page.html")
    if options.out:
        out = Path(options.out)
    write_page(out)
    data = page_data(runs, directories, options.problems, device)
    write_page(out, embed(PAGE_TEMPLATE, data))
    print(f"page: {out}", file=sys.stderr)


def read_runs_to_show(directories: list[Path]) -> list[RunResults]:
    """The runs, with their paths for names where two directories have one name."""
    names = [directory.name for directory in directories]
    runs = []
    for directory in directories:
        run = read_run(directory, SimpleNamespace(measure_again=False), {})
        if names.count(run.name) > 1:
            run.name = str(directory)
        runs.append(run)
    return runs


def embed(template: Path, data: dict) -> str:
    """A template with the data as JSON, in ASCII.

    The JSON has no `<`, so no text in it can end the script block that it stands in.
    """
    content = json.dumps(data, separators=(",", ":"), allow_nan=False)
    content = content.replace("<", r"\u003c")
    return template.read_text(encoding="utf-8").replace(DATA_MARK, content)


def page_data(
    runs: list[RunResults], directories: list[Path], count: int, device: torch.device
) -> dict:
    """All that the page shows."""
    problems = {}
    befores = set()
    for run, directory in zip(runs, directories, strict=True):
        add_responses(problems, befores, directory, run.name, count, device)
    named = []
    for run in runs:
        schedule, steps = run.config["schedule"], run.config["steps"]
        about = f"schedule {schedule}, {steps} steps, seed {run.seed}"
        named.append({"name": run.name, "about": about})
    return {
        "runs": named,
        "curves": curves(runs, directories),
        "table": table_before_and_after(runs),
        "problems": list(problems.values()),
    }


def curves(runs: list[RunResults], directories: list[Path]) -> list[dict]:
    """A chart for each measure that a run has: title, largest y, and a line [(step, y)] a run.

    The largest y is None where the data decide.
    """
    charts = []
    for name, title in ROLLOUT_CURVES.items():
        lines = [list(enumerate(run.curve[name])) for run in runs]
        charts.append({"title": title, "top": 1.0, "lines": lines})
    logs = [read_lines(directory / "metrics.jsonl", "reward") for directory in directories]
    for name, title in COIN_CURVES.items():
        lines = []
        for run, log in zip(runs, logs, strict=True):
            values = [row.get(name) for row in log[: run.config["steps"]]]
            lines.append(list(enumerate(values)))
        charts.append({"title": title, "top": 1.0, "lines": lines})
    for title, path, upper in SHOWN:
        lines = []
        for run in runs:
            steps = [measured["step"] for measured in run.along]
            values = [look_up(measured, path) for measured in run.along]
            lines.append(list(zip(steps, values, strict=True)))
        top = None if upper == math.inf else upper
        charts.append({"title": title, "top": top, "lines": lines})
    for chart in charts:
        chart["lines"] = [without_gaps(line) for line in chart["lines"]]
    return [chart for chart in charts if any(chart["lines"])]


def without_gaps(line: list[tuple]) -> list[tuple]:
    return [(step, y) for step, y in line if y is not None]


def table_before_and_after(runs: list[RunResults]) -> dict:
    """A row a measure; a column for each pair that runs began with, and for each run."""
    columns = {}
    for run in runs:
        before = cells([run.before])
        if before not in columns.values():
            columns[f"before {run.name}" if columns else "before"] = before
    for run in runs:
        columns[run.name] = cells([run.after])
    sizes = {}  # an ordered set
    for run in runs:
        split = run.config["eval_split"]
        sizes[f"{run.problems} {split} problems × {run.samples} responses"] = None
    labels = [label for label, *_ in RUN_MEASURES]
    rows = list(zip(labels, *columns.values(), strict=True))
    caption = " or ".join(sizes)
    return {"caption": caption, "head": list(columns), "rows": rows}


@torch.no_grad()
def add_responses(
    problems: dict, befores: set, directory: Path, name: str, count: int, device: torch.device
) -> None:
    """Add a run's responses to `problems`, by question and answer.

    `befores` has the pairs whose responses before training are there: runs that began with one pair
    show it once.
    """
    run = load_run(directory)
    sampling = replace(Sampling.from_config(run.config), samples=1)
    context = min(run.senior.config.max_seq_len, run.junior.config.max_seq_len)
    _, some, _ = load_problems(run.config, run.tokenizer, context, count)
    junior = run.junior.to(device)

    stages = []  # (when, the run's name or None, senior)
    pair = pair_key(directory, sampling, some)
    if pair not in befores:
        stages.append((f"before {name}" if befores else "before", None, run.before))
        befores.add(pair)
    stages.append((f"{name}, after {run.step} steps", name, run.senior))

    grouped = some[:GROUPED_PROBLEMS]
    total = len(stages) * (len(SHOWN_SCHEDULES) * len(some) + RESPONSES * len(grouped))
    bar = progress(total=total, desc=f"writing {name}", unit="response", leave=False)
    with autocast(sampling.precision, device), bar:
        for when, of_run, senior in stages:
            senior = senior.to(device)
            about = {"when": when, "run": of_run}
            for schedule, who in SHOWN_SCHEDULES.items():
                answers = answer(senior, junior, run.tokenizer, some, schedule, sampling, bar)
                shown = responses(
                    answers.rollout, answers.right, junior, run.tokenizer, sampling.batch_size
                )
                for problem, response in zip(some, shown, strict=True):
                    entry(problems, problem)["responses"].append({"who": who} | about | response)
            groups = training_groups(run, senior, junior, grouped, sampling.batch_size)
            bar.update(RESPONSES * len(grouped))
            for problem, group in zip(grouped, groups, strict=True):
                entry(problems, problem)["groups"].append(about | group)


def entry(problems: dict, problem: Problem) -> dict:
    """The problem on the page, made if it is new."""
    new = {"question": problem.question, "answer": problem.answer, "responses": [], "groups": []}
    return problems.setdefault((problem.question, problem.answer), new)


def training_groups(
    run, senior: GPT, junior: GPT, problems: list[Problem], batch_size: int
) -> list[dict]:
    """Of each problem a group of responses as training writes them, with their advantages."""
    tokenizer, config = run.tokenizer, run.config
    prompts = [tokenizer.prompt(problem.question, config.prompt_template) for problem in problems]
    rollout = write_groups(senior, junior, prompts, tokenizer, config, seed=0)
    rewards = rewards_of(rollout.texts(tokenizer), problems)  # (N,)
    A = advantages(rewards, RESPONSES).tolist()
    right = (rewards > 0).tolist()
    fell = coins(make_handoff(config.schedule, tokenizer, senior, config), rollout)  # (N, T)
    shown = responses(rollout, right, junior, tokenizer, batch_size, fell)
    for response, advantage in zip(shown, A, strict=True):
        response["advantage"] = round(advantage, 3)
    groups = []
    for start in range(0, len(shown), RESPONSES):
        group = shown[start : start + RESPONSES]
        groups.append({"schedule": config.schedule, "responses": group})
    return groups


def responses(
    rollout: Rollout,
    right: list[bool],
    junior: GPT,
    tokenizer,
    batch_size: int,
    fell: Tensor | None = None,  # (N, T) bool, a coin fell before the token
) -> list[dict]:
    """Of each response its verdict, the mean surprise of a token in nats, and its tokens."""
    surprise = surprises(junior, rollout, batch_size)  # (N, T)
    if fell is None:
        fell = torch.zeros_like(rollout.mask)
    found = []
    for row, is_right in enumerate(right):
        mask = rollout.mask[row]  # (T,)
        tokens = tokens_with_surprise(
            rollout.tokens[row][mask].tolist(),
            rollout.authorship[row][mask].tolist(),
            surprise[row][mask].tolist(),
            fell[row][mask].tolist(),
            tokenizer,
        )
        mean = surprise[row][mask].mean().item()
        found.append({"right": is_right, "surprise": round(mean, 3), "tokens": tokens})
    return found


def surprises(junior: GPT, rollout: Rollout, batch_size: int) -> Tensor:
    """(N, T) -log p of each token under the junior's own distribution, nats; 0 behind the end.

    The temperature is 1.
    """
    parts = []
    for rows in torch.arange(len(rollout.prompts)).split(batch_size):
        part = rollout[rows]
        parts.append(-response_logprobs(junior, part, part.mask, 1.0))  # (n, T)
    return torch.cat(parts)


def tokens_with_surprise(
    ids: list[int], by_senior: list[bool], surprise: list[float], fell: list[bool], tokenizer
) -> list[list]:
    """[text, whether the senior wrote it, surprise, marks] of each token.

    The marks are words: `special` for a special token, which has its name for a text, and `coin` if
    a coin fell before it. A token that holds only the first bytes of a character is joined with
    those that end it, and their surprises add up.
    """
    names = {i: name for name, i in tokenizer.special.items()}
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    found = []
    joined = 0.0
    coin = False
    last = len(ids) - 1
    for t, i in enumerate(ids):
        text = decoder.decode(tokenizer.tokens[i], final=t == last)
        joined += surprise[t]
        coin = coin or fell[t]
        if not text and i not in names:
            continue
        marks = []
        if coin:
            marks.append("coin")
        if not text:
            marks.append("special")
        found.append([text or names[i], by_senior[t], round(joined, 3), " ".join(marks)])
        joined = 0.0
        coin = False
    return found
