"""Compare runs side by side: tables of groups of seeds, differences from the control, a figure."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from support.reports.figure import draw_comparison
from support.reports.results import (
    FEWEST,
    MEASURES,
    Run,
    group_runs,
    interval,
    is_plain_rl,
    look_up,
    read_runs,
)
from support.runs.options import UserError, command, option, parse


@dataclass
class Options:
    runs: list[str]
    """directories that train.py wrote, or files that --json printed"""
    control: str | None = None
    """group to subtract from the others; if not given, plain RL: --schedule solo without --kl-coef"""
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
    """measure again, and the accuracy where the junior takes over after 0, 10 … 100% of the senior's response too"""
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
            most = 1 if name == "top_p" else 10**9
            if not least[name] <= value <= most:
                raise ValueError(
                    f"{option(name)} is {value}; it must be at least {least[name]} and at most {most}"
                )
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
        print("[\n" + ",\n".join(json.dumps(asdict(run)) for run in runs) + "\n]")
    else:
        tables = [
            results_table(groups),
            difference_table(groups, options.control),
            curve_table(groups),
        ]
        print("\n\n".join(filter(None, tables)))
    first = Path(options.runs[0]).resolve()
    path = options.figure or (
        first.with_suffix(".svg") if first.is_file() else first.with_name("comparison.svg")
    )
    try:
        draw_comparison(groups, path)
        print(f"figure: {path}", file=sys.stderr)
    except ImportError:
        print("no figure: pip install matplotlib draws one", file=sys.stderr)
    except UserError as error:
        if options.figure:
            raise
        print(f"no figure: {error}", file=sys.stderr)


def table(columns: dict[str, list[dict]], head: str = "", measures=MEASURES) -> str:
    """Measurements side by side: a column for each list of them, a row a measure."""
    return markdown(
        head, {name: cells(measured, measures) for name, measured in columns.items()}, measures
    )


def cells(measurements: list[dict], measures=MEASURES) -> list[str]:
    """Of each measure: one or two values as they are, the mean and its interval of more."""
    column = []
    for _, path, upper in measures:
        values = [look_up(measurement, path) for measurement in measurements]
        if None in values:
            column.append("-")
        elif len(values) < FEWEST:
            column.append(", ".join(f"{value:.3f}" for value in values))
        else:
            column.append("{:.3f} [{:.3f}, {:.3f}]".format(*interval(values, 0, upper)))
    return column


def markdown(head: str, columns: dict[str, list[str]], measures) -> str:
    """A table in Markdown, padded so that it reads well as it is. More than 6 columns become rows."""
    rows = [[head, *(label for label, *_ in measures)]] + [
        [name, *column] for name, column in columns.items()
    ]
    if len(columns) <= 6:
        rows = list(zip(*rows, strict=True))
    widths = [max(8, *map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    aligned = " | ".join([f"{{:{widths[0]}}}", *(f"{{:>{width}}}" for width in widths[1:])])
    return "\n".join(f"| {aligned.format(*row)} |" for row in rows)


def results_table(groups: dict[str, list[Run]]) -> str:
    """A column for each group, one for each pair that they began with, and a line that says how to read them."""
    columns, sizes = {}, {}
    for name, (first, *others) in groups.items():
        if cells([first.before]) not in map(cells, columns.values()):
            columns[f"before {name}" if columns else "before"] = [first.before]
        columns[f"{name} (n={len(others) + 1})"] = [run.after for run in (first, *others)]
        sizes[
            f"{first.problems} {first.config['eval_split']} problems × {first.samples} responses"
        ] = None
    how = "three seeds or more: mean [95% confidence interval by Student's t, on these problems]; two: both values"
    return f"{table(columns)}\n\n{' or '.join(sizes)}; {how}"


def difference_table(groups: dict[str, list[Run]], control: str | None) -> str:
    """The groups minus the control, by default plain RL, paired by seed, if they have three pairs and one `before`."""
    control = control or next((name for name, runs in groups.items() if is_plain_rl(runs)), None)
    theirs, columns = groups.get(control, []), {}
    by_seed = {run.seed: run for run in theirs}
    for name, runs in groups.items():
        pairs = [(run, by_seed[run.seed]) for run in runs if run.seed in by_seed]
        if (
            name == control
            or len(pairs) < FEWEST
            or cells([runs[0].before]) != cells([theirs[0].before])
        ):
            continue
        column, ratios = columns.setdefault(f"{name} (n={len(pairs)})", []), []
        for _, path, _ in MEASURES:
            both = [[look_up(run.after, path) for run in pair] for pair in pairs]
            if any(None in values for values in both):
                column.append("-")
                continue
            mean, low, high = interval([a - b for a, b in both])
            column.append(
                f"{mean:+.3f} [{low:+.3f}, {high:+.3f}] {'*' if low > 0 or high < 0 else ' '}"
            )
            if path in ("drift/kl", "legibility/cross_entropy"):
                ours, other = map(sum, zip(*both, strict=True))
                ratios.append(f"{other / ours:.3g} ×  " if ours else "-")
        column += ratios
    rows = [
        *MEASURES,
        *((f"{name} of {control} ÷ {name} of this",) for name in ("KL", "cross-entropy")),
    ]
    how = "mean difference [the same interval]; * it excludes 0 (row by row, not corrected for their number)"
    return (
        f"{markdown(f'minus {control}, paired by seed', columns, rows)}\n\n{how}" if columns else ""
    )


def curve_table(groups: dict[str, list[Run]]) -> str:
    """The handoff curves; empty where none was measured."""
    tenths = [(str(tenth / 10), f"handoff_curve/{tenth / 10}", 1.0) for tenth in range(11)]
    columns = {"before": [next(iter(groups.values()))[0].before]}
    columns |= {
        f"{name} (n={len(runs)})": [vars(run) for run in runs] for name, runs in groups.items()
    }
    measured = {
        name: some for name, some in columns.items() if all(m.get("handoff_curve") for m in some)
    }
    return (
        table(measured, "the senior's share before the junior takes over", tenths)
        if measured
        else ""
    )
