"""The results of runs: read or measured again, in groups of seeds, with 95% intervals."""

import hashlib
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from evaluate import Sampling, evaluate, handoff_curve
from support.reports.measures import RUN_MEASURES, look_up
from support.runs.devices import pick_device
from support.runs.files import read_json, read_lines
from support.runs.options import UserError, option
from support.runs.problem_files import load_problems
from support.runs.saved import completed, load_run, with_effect


@dataclass
class RunResults:
    """The results of one run. `evaluate.py --json` prints a run a line."""

    name: str
    seed: int
    config: dict  # the options that have an effect, without the seed
    before: dict  # M of the pair before training; also its handoff_curve, if that was measured
    after: dict  # M of the trained pair
    problems: int
    samples: int  # responses to a problem
    curve: dict  # reward and jargon_rate of the rollouts, a number or None a step
    along: list  # M and the step, a dictionary each (--eval-every)
    handoff_curve: dict | None = None  # of the trained pair

    def __post_init__(self):
        self.config = with_effect(completed(self.config, self.name))
        try:
            for measurement in (self.before, self.after, *self.along):
                for _, path, _ in RUN_MEASURES:
                    look_up(measurement, path)
        except (LookupError, TypeError, ValueError) as error:
            remedy = "--problems measures it again"
            raise UserError(f"{self.name} is damaged ({error!r}); {remedy}") from None


def read_runs(options) -> list[RunResults]:
    """The runs of all directories and files in `options.runs`, each with a name of its own."""
    runs, befores = {}, {}
    paths = [Path(given).resolve() for given in options.runs]
    for path in dict.fromkeys(paths):  # each once
        is_file = path.is_file() or path.suffix == ".json"
        if is_no_run(path):
            print(f"left out: {path} is no run", file=sys.stderr)
            continue
        if is_file and options.measure_again:
            remedy = "give the runs' directories"
            raise UserError(f"{path} can't be measured again, as it has no models; {remedy}")
        read = read_results(path) if is_file else [read_run(path, options, befores)]
        for run in read:
            if run.name in runs:
                run.name = f"{path}/{run.name}" if is_file else str(path)
            runs[run.name] = run
    if not runs:
        raise UserError("there are no runs to compare; give directories that train.py wrote")
    return list(runs.values())


def is_no_run(path: Path) -> bool:
    """`runs/*` has figures and base pairs too."""
    is_figure = path.suffix in (".png", ".svg")
    return is_figure or (path.is_dir() and not (path / "config.json").exists())


def read_results(path: Path) -> list[RunResults]:
    """The runs in a file that `evaluate.py --json` printed."""
    try:
        rows = json.loads(path.read_bytes())  # in any encoding of Unicode, as PowerShell writes it
        return [RunResults(**row) for row in rows]
    except (OSError, ValueError, TypeError) as error:
        problem = f"{path} can't be read as evaluate.py --json prints it ({error})"
        raise UserError(f"{problem}; print it again") from None


def read_run(directory: Path, options, befores: dict) -> RunResults:
    """A run from its directory: the measurement in its eval.json, or a new one."""
    if options.measure_again:
        evaluation = measure_again(directory, options, befores)
    else:
        names = ("before", "after", "problems", "samples", "config")
        written = read_json(directory / "eval.json", *names)
        evaluation = {name: written[name] for name in names}  # other versions may write more
    config = {"eval_split": "test", "eval_top_p": None, "eval_top_k": None}
    config |= evaluation.pop("config")
    steps = read_lines(directory / "metrics.jsonl", "reward", "jargon_rate")
    curve = {}
    for name in ("reward", "jargon_rate"):
        curve[name] = [row[name] and round(row[name], 4) for row in steps]
    along = []
    if (directory / "evals.jsonl").exists():
        along = read_lines(directory / "evals.jsonl", "step")
    if not options.measure_again:  # the run may have gone on since: drop the later steps
        last = config["steps"]
        curve = {name: values[:last] for name, values in curve.items()}
        along = [measurement for measurement in along if measurement["step"] <= last]
    seed = config["seed"]
    return RunResults(directory.name, seed, config, curve=curve, along=along, **evaluation)


def hash_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # it reads the file in parts


def pair_key(directory: Path, sampling: Sampling, problems: list) -> str:
    """Cache key of the measurement before training, equal for runs that start from one pair."""
    hashes = [hash_of(directory / name) for name in ("senior.pt", "junior.pt")]
    return repr((hashes, sampling, problems))


def measure_again(directory: Path, options, befores: dict) -> dict:
    """A new measurement, in the form of eval.json.

    Many runs begin with one pair: `befores` keeps its measurements.
    """
    run = load_run(directory)
    if options.validation and run.config.data is not None:
        remedy = "leave --validation out"
        raise UserError(f"{directory} has no validation problems, as it has --data; {remedy}")
    split = "validation" if options.validation else "test"
    count = options.problems or run.config.eval_problems
    sampling = replace(Sampling.from_config(run.config), **options.sampling)
    context = min(run.senior.config.max_seq_len, run.junior.config.max_seq_len)
    _, problems, _ = load_problems(run.config, run.tokenizer, context, count, split)
    device = pick_device(options.device)

    def measure(models: dict, label: str) -> dict:
        senior = models["senior"].to(device)
        junior = models["junior"].to(device)
        measurement, answers = evaluate(senior, junior, run.tokenizer, problems, sampling, label)
        if options.handoff_curve:
            curve = handoff_curve(junior, answers["solo"], run.tokenizer, sampling, label)
            measurement["handoff_curve"] = curve
        return measurement

    key = pair_key(directory, sampling, problems)
    if key not in befores:
        befores[key] = measure(run.models_before, "before")
    if run.step:
        after = measure(run.models, directory.name)
    else:
        after = dict(befores[key])  # after no steps it is the same
    config = read_json(directory / "config.json", "seed")
    config |= {"eval_split": split, "eval_problems": count}
    config["steps"] = run.step  # of an unfinished run, fewer than asked for
    for name in ("samples", "temperature", "top_p", "top_k"):
        config[f"eval_{name}"] = getattr(sampling, name)
    return {
        "before": befores[key],
        "handoff_curve": after.pop("handoff_curve", None),
        "after": after,
        "config": config,
        "problems": len(problems),
        "samples": sampling.samples,
    }


def group_runs(runs: list[RunResults]) -> dict[str, list[RunResults]]:
    """The runs that differ in nothing but their seed, by the name of their directories.

    If such names don't tell the groups apart, they are named by their options.
    """
    conditions = [condition(run) for run in runs]
    times = Counter((alike, run.seed) for alike, run in zip(conditions, runs, strict=True))
    repeated = {alike for (alike, _), n in times.items() if n > 1}  # a seed comes twice
    groups, names = {}, {}
    for alike, run in zip(conditions, runs, strict=True):
        stem = re.sub(f"-{run.seed}$", "-SEED", run.name)
        key = (alike, stem if alike in repeated else None)  # then each stem is a group
        groups.setdefault(key, []).append(run)
        name = stem.removesuffix("-SEED")
        names.setdefault(key, set()).add(name)
    all_names = set.union(*names.values())
    one_name_each = all(len(some) == 1 for some in names.values())
    if one_name_each and len(all_names) == len(groups):
        return {names[key].pop(): group for key, group in groups.items()}
    named = {}
    for group in groups.values():
        name = name_by_options(group[0], runs[0])
        if name in named:
            name = f"{name} ({group[0].name})"
        named[name] = group
    return named


def condition(run: RunResults) -> str:
    """Equal for runs that differ in nothing but their seed."""
    measured = [run.config, run.problems, run.samples]
    return json.dumps(measured, sort_keys=True)


def name_by_options(run: RunResults, first: RunResults) -> str:
    """The run's schedule, and its options that differ from those of the first run."""
    words = [run.config["schedule"]]
    for name, value in run.config.items():
        if name != "schedule" and value != first.config.get(name):
            shown = f"{value:g}" if isinstance(value, float) else str(value)
            words += [option(name), shown]
    return " ".join(words)


def is_plain_rl(group: list[RunResults]) -> bool:
    """Whether it is the control: the senior writes alone, and no penalty draws it to the junior."""
    config = group[0].config
    return config["schedule"] == "solo" and not config["kl_coef"]
