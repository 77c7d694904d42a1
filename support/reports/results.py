"""The results of runs: read from their files or measured again, in groups of seeds, with 95% intervals."""

import hashlib
import json
import math
import re
import statistics
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from evaluate import Sampling, evaluate, handoff_curve
from support.runs.files import read_json, read_lines
from support.runs.options import UserError, option, pick_device
from support.runs.pair import load_run
from support.runs.problem_files import load_problems

# The numbers of a measurement, which is the M in eval.json: label, path, largest possible value. The smallest is 0.
MEASURES = (
    ("solo pass@1 ↑", "solo/pass@1", 1.0),
    ("handoff pass@1, step by step ↑", "handoff/pass@1", 1.0),
    ("handoff pass@1, word by word ↑", "handoff_word/pass@1", 1.0),
    ("drift: KL to the junior, nats ↓", "drift/kl", math.inf),
    ("drift: acceptance ↑", "drift/acceptance", 1.0),
    ("legibility: junior's cross-entropy, nats ↓", "legibility/cross_entropy", math.inf),
    ("jargon rate", "jargon_rate", 1.0),
    ("response length, tokens", "response_length", math.inf),
)
# Options that don't change what a run computes, apart from rounding. Runs of one group may differ in them.
IGNORED = ("seed", "out", "resume", "export", "device", "save_every", "eval_every")
IGNORED += (
    "rollout_batch_size",
    "micro_batch_tokens",
    "checkpoint_activations",
    "offload_optimizer",
)
ADDED = {"chat_template": "own"}  # options that older runs don't name, with their default
# Student's t: the middle 95% of its distribution end at ±t, for 1, 2 … 10 degrees of freedom. More take the last: wider.
STUDENT_T = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
FEWEST = (
    3  # seeds that an interval needs: of two it would be ±9 standard deviations, which says nothing
)


@dataclass
class Run:
    """What the tables and the figure need of a run. `evaluate.py --json` prints one a line."""

    name: str
    seed: int
    config: dict  # the options that change what is computed, but for the seed
    before: dict  # M of the pair before training; also its handoff_curve, where that was measured
    after: dict  # M of the trained pair
    problems: int
    samples: int  # responses to a problem
    curve: dict  # reward and jargon_rate of the rollouts, a number or None a step
    along: list  # M and the step, a dictionary each (--eval-every)
    handoff_curve: dict | None = None  # of the trained pair

    def __post_init__(self):
        self.config = ADDED | self.config
        try:
            [
                look_up(m, path)
                for m in (self.before, self.after, *self.along)
                for _, path, _ in MEASURES
            ]
        except (LookupError, TypeError, ValueError) as error:
            raise UserError(
                f"{self.name} is damaged ({error!r}); --problems measures it again"
            ) from None


def look_up(measurement: dict, path: str) -> float | None:
    """A number of a measurement. The jargon rate is None where a world has no jargon."""
    for key in path.split("/"):
        measurement = measurement[key]
    return None if measurement is None else float(measurement)


def interval(
    values: list[float], lower: float = -math.inf, upper: float = math.inf
) -> tuple[float, float, float]:
    """(mean, low, high): the 95% confidence interval, clipped to [lower, upper]; NaN, NaN of fewer than three values."""
    mean = statistics.fmean(values)
    if len(values) < FEWEST:
        return mean, math.nan, math.nan
    half = STUDENT_T[: len(values) - 1][-1] * statistics.stdev(values) / math.sqrt(len(values))
    return mean, max(mean - half, lower), min(mean + half, upper)


def read_runs(options) -> list[Run]:
    """The runs of all directories and files in `options.runs`, with names of their own."""
    runs, befores = {}, {}
    for path in dict.fromkeys(Path(given).resolve() for given in options.runs):
        is_file = path.is_file() or path.suffix == ".json"
        if path.suffix in (".png", ".svg") or (
            path.is_dir() and not (path / "config.json").exists()
        ):
            print(
                f"left out: {path} is no run", file=sys.stderr
            )  # `runs/*` has figures and base pairs too
            continue
        if is_file and options.measure_again:
            raise UserError(
                f"{path} can't be measured again, as it has no models; give the runs' directories"
            )
        for run in read_results(path) if is_file else [read_run(path, options, befores)]:
            if run.name in runs:
                run.name = f"{path}/{run.name}" if is_file else str(path)
            runs[run.name] = run
    if not runs:
        raise UserError("there are no runs to compare; give directories that train.py wrote")
    return list(runs.values())


def read_results(path: Path) -> list[Run]:
    """The runs in a file that `evaluate.py --json` printed."""
    try:
        return [Run(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} can't be read as evaluate.py --json prints it ({error}); print it again"
        ) from None


def read_run(directory: Path, options, befores: dict) -> Run:
    """A run from its directory: the measurement in its eval.json, or a new one."""
    if options.measure_again:
        evaluation = measure_again(directory, options, befores)
    else:
        names = ("before", "after", "problems", "samples", "config")
        found = read_json(directory / "eval.json", *names)
        evaluation = {name: found[name] for name in names}  # another version may have written more
    config = {"eval_split": "test", "eval_top_p": None, "eval_top_k": None} | evaluation.pop(
        "config"
    )
    kept = {name: value for name, value in config.items() if name not in IGNORED}
    steps, path = (
        read_lines(directory / "metrics.jsonl", "reward", "jargon_rate"),
        directory / "evals.jsonl",
    )
    curve = {
        name: [row[name] and round(row[name], 4) for row in steps]
        for name in ("reward", "jargon_rate")
    }
    along = read_lines(path, "step") if path.exists() else []
    if (
        not options.measure_again
    ):  # the run may have gone on since: no later steps beside its measurement
        curve = {name: values[: config["steps"]] for name, values in curve.items()}
        along = [measurement for measurement in along if measurement["step"] <= config["steps"]]
    return Run(directory.name, config["seed"], kept, curve=curve, along=along, **evaluation)


def hash_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # which reads it in parts


def measured_pair(directory: Path, sampling: Sampling, problems: list) -> str:
    """What the responses of a run's pair before training depend on: the same of two runs that began with one pair."""
    return repr(
        ([hash_of(directory / name) for name in ("senior.pt", "junior.pt")], sampling, problems)
    )


def measure_again(directory: Path, options, befores: dict) -> dict:
    """What eval.json would have, of a new measurement. Many runs begin with one pair: `befores` has its measurements."""
    run = load_run(directory)
    if options.validation and run.config.data is not None:
        raise UserError(
            f"{directory} has no validation problems, as it has --data; leave --validation out"
        )
    split, count = (
        "validation" if options.validation else "test",
        options.problems or run.config.eval_problems,
    )
    sampling = replace(Sampling.from_config(run.config), **options.sampling)
    context = min(run.senior.config.max_seq_len, run.junior.config.max_seq_len)
    _, problems, _ = load_problems(run.config, run.tokenizer, context, count, split)
    device = pick_device(options.device)

    def measure(senior, label: str) -> dict:
        junior = run.junior.to(device)
        measurement, answers = evaluate(
            senior.to(device), junior, run.tokenizer, problems, sampling, label
        )
        if options.handoff_curve:
            measurement["handoff_curve"] = handoff_curve(
                junior, answers["solo"], run.tokenizer, sampling, label
            )
        return measurement

    key = measured_pair(directory, sampling, problems)
    befores[key] = befores.get(key) or measure(run.before, "before")
    after = (
        measure(run.senior, directory.name) if run.step else dict(befores[key])
    )  # of no steps it is the same
    config = read_json(directory / "config.json", "seed") | {
        "eval_split": split,
        "eval_problems": count,
    }
    config["steps"] = run.step  # of an unfinished run, fewer than asked for
    config |= {
        f"eval_{name}": getattr(sampling, name)
        for name in ("samples", "temperature", "top_p", "top_k")
    }
    measured = {
        "before": befores[key],
        "handoff_curve": after.pop("handoff_curve", None),
        "after": after,
    }
    return measured | {"config": config, "problems": len(problems), "samples": sampling.samples}


def group_runs(runs: list[Run]) -> dict[str, list[Run]]:
    """The runs that differ in nothing but their seed, by the name of their directories, or by their options."""
    conditions = [
        json.dumps([run.config, run.problems, run.samples], sort_keys=True) for run in runs
    ]
    stems = [re.sub(f"-{run.seed}$", "-SEED", run.name) for run in runs]
    times = Counter(zip(conditions, (run.seed for run in runs), strict=True))
    repeated = {alike for (alike, _), n in times.items() if n > 1}  # of these, each stem is a group
    groups, names = {}, {}
    for run, alike, stem in zip(runs, conditions, stems, strict=True):
        key = (alike, stem if alike in repeated else None)
        groups.setdefault(key, []).append(run)
        names.setdefault(key, set()).add(stem.removesuffix("-SEED"))
    if sum(map(len, names.values())) == len(set.union(*names.values())) == len(groups):
        return {names[key].pop(): group for key, group in groups.items()}
    named = {}
    for first, *others in groups.values():
        words = [first.config["schedule"]]
        for name, value in first.config.items():
            if name != "schedule" and value != runs[0].config.get(name):
                words += [option(name), f"{value:g}" if isinstance(value, float) else str(value)]
        name = " ".join(words)
        named[f"{name} ({first.name})" if name in named else name] = [first, *others]
    return named


def is_plain_rl(group: list[Run]) -> bool:
    """Whether it is the control: the senior writes alone, and no penalty draws it to the junior."""
    return group[0].config["schedule"] == "solo" and not group[0].config["kl_coef"]
