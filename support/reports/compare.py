"""Compare runs side by side: tables of groups of seeds, differences from the control, a figure."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from support.reports.figure import draw_comparison, without_matplotlib
from support.reports.measures import (
    FEWEST_SEEDS,
    RUN_MEASURES,
    cells,
    interval,
    look_up,
    markdown,
    measures_table,
)
from support.reports.results import RunResults, group_runs, is_plain_rl, read_runs
from support.runs.options import UserError, command, option, parse


@dataclass
class Options:
    runs: list[str]
    """directories that train.py wrote, or files that --json printed"""
    control: str | None = None
    """group to subtract from the others; by default plain RL: --schedule solo without --kl-coef"""
    problems: int | None = None
    """measure again, on this many problems; settings that aren't given stay as the run has them"""
    samples: int | None = None
    """measure again, with this many responses to a problem"""
    validation: bool = False
    """measure again, on the validation split: for choosing options, a learning rate say"""
    temperature: float | None = None
    """measure again, with both models at this temperature"""
    top_p: float | None = None
    """measure again, with both models cut to this nucleus (the paper: 0.8)"""
    top_k: int | None = None
    """measure again, with both models cut to this many likeliest tokens (the paper: 20)"""
    handoff_curve: bool = False
    """measure again, also the accuracy if the junior goes on after 0, 10 … 100% of a response"""
    json: bool = False
    """print the results as JSON, a run a line"""
    figure: str | None = None
    """where to draw the figure, a .png or .svg; comparison.svg beside the first run if not given"""
    device: str = "auto"
    """auto (CUDA, then MPS, then the CPU), cuda, mps or cpu"""

    def __post_init__(self):
        least = {"problems": 1, "samples": 1, "temperature": 0, "top_p": 1e-6, "top_k": 1}
        given = {name: getattr(self, name) for name in least if getattr(self, name) is not None}
        for name, value in given.items():
            low = least[name]
            high = 1 if name == "top_p" else 10**9
            if not low <= value <= high:
                bounds = f"at least {low} and at most {high}"
                raise ValueError(f"{option(name)} is {value}; it must be {bounds}")
        self.measure_again = bool(given or self.validation or self.handoff_curve)
        self.sampling = {name: value for name, value in given.items() if name != "problems"}


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, __doc__)
    runs = read_runs(options)
    groups = group_runs(runs)
    if options.control not in (None, *groups):
        raise UserError(f"--control {options.control} is no group; choose from {', '.join(groups)}")
    if options.json:
        rows = [json.dumps(asdict(run)) for run in runs]
        print("[\n" + ",\n".join(rows) + "\n]")
    else:
        tables = [results_table(groups), difference_table(groups, options.control)]
        tables.append(curve_table(groups))
        print("\n\n".join(filter(None, tables)))
    path = options.figure or beside(Path(options.runs[0]).resolve())
    try:
        draw_comparison(groups, path)
        print(f"figure: {path}", file=sys.stderr)
    except ImportError:
        without_matplotlib(options.figure)
    except UserError as error:
        if options.figure:
            raise
        print(f"no figure: {error}", file=sys.stderr)


def beside(first: Path) -> Path:
    """Where the figure goes: next to the first run or file."""
    if first.is_file():
        return first.with_suffix(".svg")
    return first.with_name("comparison.svg")


def results_table(groups: dict[str, list[RunResults]]) -> str:
    """A column a group, one for each pair that they began with, and a line on how to read them."""
    columns, sizes = {}, []
    for name, runs in groups.items():
        first = runs[0]
        if cells([first.before]) not in map(cells, columns.values()):
            label = f"before {name}" if columns else "before"
            columns[label] = [first.before]
        columns[f"{name} (n={len(runs)})"] = [run.after for run in runs]
        split = first.config["eval_split"]
        size = f"{first.problems} {split} problems × {first.samples} responses"
        if size not in sizes:
            sizes.append(size)
    how = "three seeds or more: mean [95% confidence interval by Student's t, on these problems]"
    return f"{measures_table(columns)}\n\n{' or '.join(sizes)}; {how}; two: both values"


def difference_table(groups: dict[str, list[RunResults]], control: str | None) -> str:
    """The groups minus the control, by default plain RL, paired by seed.

    A group is subtracted if three of its seeds have a pair, and both began with the same measures.
    """
    if control is None:
        control = next((name for name, runs in groups.items() if is_plain_rl(runs)), None)
    theirs = groups.get(control, [])
    by_seed = {run.seed: run for run in theirs}
    columns = {}
    for name, runs in groups.items():
        pairs = [(run, by_seed[run.seed]) for run in runs if run.seed in by_seed]
        if name == control or len(pairs) < FEWEST_SEEDS:
            continue
        if cells([runs[0].before]) == cells([theirs[0].before]):
            columns[f"{name} (n={len(pairs)})"] = differences(pairs)
    if not columns:
        return ""
    labels = list(RUN_MEASURES)
    for measure in ("KL", "cross-entropy"):
        labels.append((f"{measure} of {control} ÷ {measure} of this",))
    shown = markdown(f"minus {control}, paired by seed", columns, labels)
    how = "mean difference [the same interval]; * it excludes 0"
    return f"{shown}\n\n{how} (row by row, not corrected for their number)"


def differences(pairs: list[tuple[RunResults, RunResults]]) -> list[str]:
    """A cell a measure, then by how many times the control's KL and cross-entropy are larger."""
    column, ratios = [], []
    for _, path, _ in RUN_MEASURES:
        ours = [look_up(run.after, path) for run, _ in pairs]
        theirs = [look_up(control.after, path) for _, control in pairs]
        if None in ours + theirs:
            column.append("-")
            continue
        mean, low, high = interval([a - b for a, b in zip(ours, theirs, strict=True)])
        star = "*" if low > 0 or high < 0 else " "
        column.append(f"{mean:+.3f} [{low:+.3f}, {high:+.3f}] {star}")
        if path in ("drift/kl", "legibility/cross_entropy"):
            ratio = f"{sum(theirs) / sum(ours):.3g} ×  " if sum(ours) else "-"
            ratios.append(ratio)
    return column + ratios


def curve_table(groups: dict[str, list[RunResults]]) -> str:
    """The handoff curves; empty if none was measured."""
    first, *_ = next(iter(groups.values()))
    columns = {"before": [first.before]}
    for name, runs in groups.items():
        columns[f"{name} (n={len(runs)})"] = [vars(run) for run in runs]
    measured = {}
    for name, some in columns.items():
        if all(measurement.get("handoff_curve") for measurement in some):
            measured[name] = some
    if not measured:
        return ""
    shares = [str(tenth / 10) for tenth in range(11)]
    tenths = [(share, f"handoff_curve/{share}", 1.0) for share in shares]
    return measures_table(measured, "the senior's share before the junior takes over", tenths)
