"""What runs came to, side by side: groups of seeds, tables with their uncertainty, one figure.

evaluate.py has the measures and the command, `python evaluate.py runs/*`. Here runs, or the results that --json printed of
them, are read; runs that differ in nothing but their seed are a group, and a group is a column: the mean over its seeds
and a 95% confidence interval by Student's t. A second table has the differences from the control, paired by seed.
"""

import contextlib
import json
import math
import re
import statistics
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import checkpoint
from cli import UserError, check_types, pick_device, say_device
from config import ASIDE, Config
from data.problems import take
from evaluate import Sampling, evaluate, handoff_curve, sampling
from runs import (
    fingerprint,
    fingerprints,
    last_checkpoint,
    load_pair,
    problems_of,
    read_config,
    read_json,
    read_lines,
    read_metrics,
    starting_pair,
    weights_fingerprint,
    write_json,
)

ROWS = (  # of the tables: what it is called, where it is in a measurement, the most that it can be (the least is 0)
    ("solo pass@1 ↑", ("solo", "pass@1"), 1.0),
    ("handoff pass@1, step by step ↑", ("handoff", "pass@1"), 1.0),
    ("handoff pass@1, word by word ↑", ("handoff_word", "pass@1"), 1.0),
    ("drift: KL to the junior, nats ↓", ("drift", "kl"), math.inf),
    ("drift: acceptance ↑", ("drift", "acceptance"), 1.0),
    ("legibility: junior's cross-entropy, nats ↓", ("legibility", "cross_entropy"), math.inf),
    ("jargon rate", ("jargon_rate",), 1.0),
    ("response length, tokens", ("response_length",), math.inf),
)
RATIOS = {"KL": ("drift", "kl"), "cross-entropy": ("legibility", "cross_entropy")}  # they differ by factors
SOURCES = ("senior", "junior", "data", "test_data")  # paths: fingerprints say better what was in the files
MEASURED = "world prompt_template max_prompt_tokens".split()  # what a measurement depends on, beside the sources
MEASURED += "eval_split eval_problems eval_samples eval_temperature eval_top_p eval_top_k".split()
TENTHS = tuple(str(tenth / 10) for tenth in range(11))  # of the handoff curve


@dataclass
class Run:
    """A run as the tables and the figure need it: what --json prints, and what a file of that is read into."""

    name: str
    seed: int
    config: dict  # the other options, but for ASIDE
    before: dict | None  # M of eval.json, of the pair that it began with, and its handoff_curve; None if not measured
    after: dict  # M of the trained pair
    problems: int
    samples: int
    curve: dict  # reward and jargon_rate, a number (or None) a step each
    along: list  # of --eval-every: M and the step, a dictionary each
    handoff_curve: dict | None
    fingerprints: dict | None = None  # of the pair and the problems; earlier versions didn't keep them

    def __post_init__(self):
        """ValueError, TypeError or LookupError if it isn't that: from a file, it may be anything."""
        check_types(self)
        for measures in (self.after, *([self.before] if self.before else []), *self.along):
            for label, path, _ in ROWS:
                _require_numbers([look_up(measures, path)], label, unknown=path == ("jargon_rate",))
        for key in ("reward", "jargon_rate"):
            _require_numbers(self.curve[key], key, unknown=True)
        _require_numbers([measures["step"] for measures in self.along], "step")
        for curve in filter(None, (self.handoff_curve, begun_curve(self))):
            _require_numbers([curve[tenth] for tenth in TENTHS], "handoff_curve")
        options = asdict(Config()) | {"eval_split": "test", "eval_top_p": None, "eval_top_k": None} | self.config
        self.config = {k: v for k, v in options.items() if k not in ("seed", *ASIDE)}


def _require_numbers(values: list, what: str, unknown: bool = False) -> None:
    for value in values:
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not (number or (unknown and value is None)):
            raise ValueError(f"{what} is {json.dumps(value)}, not a number")


def begun_curve(run: Run) -> dict | None:
    """The handoff curve of what it began with, if that was measured."""
    return (run.before or {}).get("handoff_curve")


def look_up(measures: dict, path: tuple[str, ...]) -> float | None:
    """One number of a measurement, None where it doesn't apply."""
    for key in path:
        measures = measures[key]
    return measures


# ---------------------------------------------------------------------------------------------------- reading


def read_runs(options: "Options") -> list[Run]:
    """The runs of all the directories and files that were given, each once, with names of their own."""
    found, starts, paths = {}, {}, list(dict.fromkeys(Path(given).resolve() for given in options.runs))
    others = [path for path in paths if len(paths) > 1 and path.is_dir() and not (path / "config.json").exists()]
    if others:
        print(f"no runs, so left out: {', '.join(map(str, others))} (no config.json)", file=sys.stderr)
    for path in paths:
        if path in others:
            continue
        if path.suffix in (".png", ".svg"):  # `runs/*` has the figure in it that was drawn there
            continue
        if path.suffix == ".json" or path.is_file():
            if options.again:
                raise UserError(f"{path} has results, which can't be measured again; give the directories of the runs")
            runs = read_results(path)
        else:
            runs = [read_run(path, options, starts)]
        for run in runs:
            if run.name in found:
                run.name = str(path / run.name if path.is_file() else path)
            found[run.name] = run
    if not found:
        raise UserError("there are no runs to compare; give directories that train.py wrote")
    return list(found.values())


def read_results(path: Path) -> list[Run]:
    """The runs of a file that --json printed."""
    try:
        runs = [Run(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
        if len({run.name for run in runs}) < len(runs):
            raise ValueError("two runs of one name")
        return runs
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}); check the path") from None
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise UserError(f"{path} is not what evaluate.py --json prints ({error}); print it again") from None


def read_run(directory: Path, options: "Options", starts: dict) -> Run:
    """A run from its directory: its eval.json, or what is measured again."""
    path = directory / "eval.json"
    content = measured_again(directory, options, starts) if options.again else read_json(path, "before", "after")
    metrics = read_metrics(directory)
    along = directory / "measures.jsonl"
    try:
        return Run(
            name=directory.name,
            seed=content["config"]["seed"],
            config=content["config"],
            before=content["before"],
            after=content["after"],
            problems=content["problems"],
            samples=content["samples"],
            curve={key: [row[key] and round(row[key], 4) for row in metrics] for key in ("reward", "jargon_rate")},
            along=read_lines(along, "step", *(path[0] for _, path, _ in ROWS)) if along.exists() else [],
            handoff_curve=content.get("handoff_curve"),
            fingerprints=content.get("fingerprints"),
        )
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is not what train.py wrote: measures are missing or no numbers ({error}); "
            f"--resume {directory} mends it"
        ) from None


def measured_again(directory: Path, options: "Options", starts: dict) -> dict:
    """A run's pair measured on more problems or otherwise; kept in the run, in an eval-*.json of that name.

    What was so measured of the very same checkpoint isn't measured again. `starts` keeps what the pairs that runs began
    with measure, as many of them began with the same.
    """
    config = read_config(directory)
    asked = {name: getattr(options, name) for name in ("samples", "temperature", "top_p", "top_k")}
    how = replace(sampling(config), **{name: value for name, value in asked.items() if value is not None})
    n = options.problems or config.eval_problems
    split = "validation" if options.validation else "test"
    if options.validation and config.data is not None:
        raise UserError(
            f"{directory} has no validation problems, as {config.data} was split in two; leave --validation out"
        )
    last, files = last_checkpoint(directory) or directory / "checkpoint.pt", fingerprints(config, directory)
    key = {"split": split, "problems": n, "sampling": asdict(how), "files": {"checkpoint": fingerprint(last)} | files}
    result = None
    for path in sorted(directory.glob("eval-*x*.json")):
        with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):  # a broken one is written anew
            content = json.loads(path.read_text(encoding="utf-8"))
            found = content.get("key") == key and {"before", "fingerprints"} <= content.keys()
            if found and (content.get("handoff_curve") or not options.handoff_curve):
                result = content
    missing = lambda begun: not begun or (options.handoff_curve and "handoff_curve" not in begun)
    if result and not missing(result["before"]):
        return result

    config, senior, junior, tokenizer = load_pair(directory)
    if options.validation:
        problems = take(split, n, "evaluation", config.world)
    else:
        _, problems, _ = problems_of(config, n, tokenizer, senior, junior)
    device = pick_device(options.device)
    say_device(device)
    junior = junior.to(device)
    if result is None:
        state = checkpoint.read(last)
        known = (state.get("fingerprints") or {}) | files
        same = (
            split == "test"
            and n == config.eval_problems
            and how == sampling(config)
            and known == state.get("fingerprints")
        )
        measures, responses = evaluate(senior.to(device), junior, problems, tokenizer, how, directory.name)
        curve = None
        if options.handoff_curve:
            curve = handoff_curve(junior, responses["solo"], tokenizer, how, directory.name)
        names = {"eval_split": split, "eval_problems": n} | {f"eval_{name}": getattr(how, name) for name in asked}
        result = {
            "before": state.get("before") if same else None,
            "after": measures,
            "handoff_curve": curve,
            "problems": len(problems),
            "samples": how.samples,
            "sampling": asdict(how),
            "config": config.record() | names,
            "fingerprints": known,
            "key": key,
        }
    try:
        if missing(result["before"]):
            known = result["fingerprints"]
            result["before"] = start_again(
                config, directory, known, how, problems, options.handoff_curve, device, starts
            )
    except UserError as error:
        print(f"what {directory} began with isn't measured: {error}", file=sys.stderr)
    sizes = (
        "validation-" * options.validation
        + f"{len(problems)}x{how.samples}-t{how.temperature}-p{how.top_p or 1}-k{how.top_k or 'all'}"
    )
    path = directory / f"eval-{sizes}.json"
    try:
        write_json(path, result)
    except OSError as error:
        print(f"{path} can't be written ({error.strerror}); the measurement is only printed", file=sys.stderr)
    return result


def start_again(
    config: Config, directory: Path, known: dict, how: Sampling, problems: list, curve: bool, device, starts: dict
) -> dict:
    """M, on these problems, of the pair that a run began with, of which it keeps the junior alone.

    The senior is the one that its options name, if that still has the weights of which the run has the fingerprint; a
    UserError says why it isn't to be had.
    """
    if "senior" not in known:
        raise UserError("its senior is not known: an earlier version wrote the run, without the fingerprint")
    pair = repr((known, config.prompt_template, how, problems))
    if pair not in starts:
        senior, junior, tokenizer = starting_pair(replace(config, junior=str(directory / "junior.pt")))
        if weights_fingerprint(senior) != known["senior"]:
            raise UserError(f"{config.senior or 'the senior of its world'} has other weights by now")
        junior = junior.to(device)
        starts[pair], responses = evaluate(senior.to(device), junior, problems, tokenizer, how, "before")
        if curve:
            starts[pair]["handoff_curve"] = handoff_curve(junior, responses["solo"], tokenizer, how, "before")
    return starts[pair]


# ---------------------------------------------------------------------------------------------------- uncertainty


def t_quantile(df: int, level: float = 0.95) -> float:
    """The t with P(|T| ≤ t) = level under Student's distribution of df ≥ 1 degrees of freedom.

    By the finite sums for whole df (Abramowitz & Stegun 26.7.3 and 26.7.4) in the angle arctan(t/√df), and bisection.
    """
    low, high, odd = 0.0, math.pi / 2, df % 2
    for _ in range(60):
        angle = (low + high) / 2
        total, term = 0.0, math.cos(angle) ** odd
        for power in range(odd, df - 1, 2):
            total += term
            term *= math.cos(angle) ** 2 * (power + 1) / (power + 2)
        total *= math.sin(angle)
        inside = (angle + total) * 2 / math.pi if odd else total
        low, high = (angle, high) if inside < level else (low, angle)
    return math.sqrt(df) * math.tan(low)


def interval(values: list[float], least: float = -math.inf, most: float = math.inf) -> tuple[float, float, float]:
    """(mean, low, high): the 95% confidence interval of the mean, cut to what it can be; NaN and NaN for one value."""
    mean = statistics.fmean(values)
    if len(values) == 1:
        return mean, math.nan, math.nan
    half = t_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, max(mean - half, least), min(mean + half, most)


# ---------------------------------------------------------------------------------------------------- groups


def grouped(runs: list[Run]) -> dict[str, list[Run]]:
    """The runs that differ in nothing but their seed, by the name of their group, in the order of their first.

    Seniors, juniors and problems are told apart by what was in their files, where a run knows that.

    Where a seed comes twice, what differs is not in the options (the code, say): the names of the directories tell them
    apart. A group is called as its directories are, without a number at the end, if no other is; else by its schedule
    and the options in which it differs from the control, or the first.
    """
    groups = _split(runs, lambda run: _agreement(run, run.config))
    for finer in (_stem, lambda run: run.name):
        groups = [part for group in groups for part in (_split(group, finer) if _repeats(group) else [group])]
    reference = next((group for group in groups if is_control(group)), groups[0])[0].config
    firsts = [group[0].name for group in groups]
    options = [_differing(group[0].config, reference) for group in groups]
    stems = [stem.pop() if len(stem := {_stem(run) for run in group}) == 1 else "" for group in groups]
    short = [stem if stem and stems.count(stem) == 1 else told for stem, told in zip(stems, options, strict=True)]
    names = next(names for names in (short, options, firsts) if len(set(names)) == len(groups))
    return dict(zip(firsts if len(runs) == len(groups) else names, groups, strict=True))


def _split(runs: list[Run], key) -> list[list[Run]]:
    parts = {}
    for run in runs:
        parts.setdefault(key(run), []).append(run)
    return list(parts.values())


def _agreement(run: Run, options) -> str:
    """What another run must share with this one: its pair, its problems and these options."""
    known = run.fingerprints if "senior" in (run.fingerprints or {}) else {name: run.config[name] for name in SOURCES}
    rest = {name: run.config[name] for name in options if name not in SOURCES}
    return json.dumps([known, rest, run.problems, run.samples], sort_keys=True)


def _repeats(group: list[Run]) -> bool:
    return len({run.seed for run in group}) < len(group)


def _stem(run: Run) -> str:
    return re.sub(r"-\d+$", "", run.name)


def _differing(config: dict, reference: dict) -> str:
    changed = [
        f"--{k.replace('_', '-')} {f'{v:g}' if isinstance(v, float) else v}"
        for k, v in config.items()
        if k != "schedule" and v != reference.get(k)
    ]
    return " ".join([config["schedule"], *changed])


def is_control(group: list[Run]) -> bool:
    """Whether it is plain RL: the senior writes alone, and nothing draws it to the junior."""
    return group[0].config["schedule"] == "solo" and not group[0].config["kl_coef"]


# ---------------------------------------------------------------------------------------------------- tables


def cell(values: list[float | None], most: float = math.inf) -> str:
    """What a table shows of a measure's values: the mean and its interval, or the number where there is one alone."""
    if None in values:
        return "-"
    mean, low, high = interval(values, 0, most)
    return f"{mean:.3f}" if len(values) == 1 else f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def cells(column: list[dict]) -> list[str]:
    """A column of the table: the measurements of a group's runs, a cell a measure."""
    return [cell([look_up(measures, path) for measures in column], most) for _, path, most in ROWS]


def markdown(head: str, labels: list[str], columns: dict[str, list[str]]) -> str:
    """A table in Markdown, so that it can be pasted, and padded, so that it can be read as it is.

    More than 6 columns are turned into rows: many groups are easier to follow down a page.
    """
    rows = [[head, *labels], *([name, *column] for name, column in columns.items())]
    if len(columns) <= 6:
        rows = list(zip(*rows, strict=True))
    widths = [max(8 if i else 1, *(len(row[i]) for row in rows)) for i in range(len(rows[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [[f"{row[0]:{widths[0]}}", *map(str.rjust, row[1:], widths[1:])] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def table(columns: dict[str, list[dict]]) -> str:
    """Measurements side by side: a column a group of them, a row a measure."""
    return markdown("", [label for label, _, _ in ROWS], {name: cells(column) for name, column in columns.items()})


def results(groups: dict[str, list[Run]]) -> str:
    """The table of all groups, a column for what they began with, and a line on how to read it."""
    columns, starts, missing = {}, [], []
    for name, runs in groups.items():
        befores = [run.before for run in runs]
        if None in befores:
            missing.append(name)
        else:
            if all(cells([before]) == cells(befores[:1]) for before in befores):  # measured of one pair, not n times
                befores = befores[:1]
            if cells(befores) not in starts:  # one column for all that began with the same pair
                starts.append(cells(befores))
                columns[f"before {name}" if columns else "before"] = befores
        columns[f"{name} (n={len(runs)})"] = [run.after for run in runs]
    if missing:
        print(
            f"no column `before` of {', '.join(missing)}: what they began with was not measured on these problems",
            file=sys.stderr,
        )
    sizes = {
        name: f"{runs[0].problems} {runs[0].config['eval_split']} problems × {runs[0].samples} responses"
        for name, runs in groups.items()
    }
    distinct = set(sizes.values())
    line = distinct.pop() if len(distinct) == 1 else "; ".join(f"{name}: {size}" for name, size in sizes.items())
    if any(len(runs) > 1 for runs in groups.values()):
        line += (
            "; mean [95% confidence interval by Student's t over n seeds, on these problems (the same for all "
            "seeds), clipped to the measure's range]"
        )
    return f"{table(columns)}\n\n{line}"


def differences(groups: dict[str, list[Run]], control: str | None) -> str:
    """Tables of the groups minus their control, over the seeds that both have; empty where none share two.

    The control is the group of that name, or else the first of plain RL that a group can be compared with: both began
    with the same pair and were measured on the same problems, in the same way. Groups without such are left out.
    """
    controls = [control] if control else [name for name, group in groups.items() if is_control(group)]
    key = {name: _agreement(group[0], MEASURED) for name, group in groups.items()}
    own = {name: next((other for other in controls if key[other] == key[name]), None) for name in groups}
    if controls and None in own.values():
        print(
            f"no differences of {', '.join(name for name in own if own[name] is None)}: no control is known to have begun "
            "with the same pair, in the same world, and to have been measured on the same problems, in the same way",
            file=sys.stderr,
        )
    tables = [_minus(groups, other, [name for name in groups if own[name] == other != name]) for other in controls]
    note = (
        "mean difference [95% confidence interval by Student's t over n seeds, on these problems]; * the interval "
        "excludes 0 (row by row, not corrected for their number); ratios are of the means"
    )
    return "\n\n".join([*filter(None, tables), note]) if any(tables) else ""


def _minus(groups: dict[str, list[Run]], control: str, names: list[str]) -> str:
    """The table of these groups minus one control; empty where none shares two seeds with it."""
    columns, theirs = {}, {run.seed: run.after for run in groups[control]}
    for name in names:
        pairs = [(run.after, theirs[run.seed]) for run in groups[name] if run.seed in theirs]
        if len(pairs) < 2:
            continue
        column = []
        for _, path, _ in ROWS:
            values = [(look_up(ours, path), look_up(other, path)) for ours, other in pairs]
            if any(None in pair for pair in values):
                column.append("-")
                continue
            mean, low, high = interval([ours - other for ours, other in values])
            column.append(f"{mean:+.3f} [{low:+.3f}, {high:+.3f}] {'*' if low > 0 or high < 0 else ' '}")
        for path in RATIOS.values():
            ours, other = (statistics.fmean(look_up(pair[i], path) for pair in pairs) for i in (0, 1))
            column.append(f"{float(f'{other / ours:.3g}'):,.10g} ×  " if ours else "-")
        columns[f"{name} (n={len(pairs)})"] = column
    ratios = [f"{name} of {control} ÷ {name} of this" for name in RATIOS]
    labels = [*(label for label, _, _ in ROWS), *ratios]
    return markdown(f"minus {control}, paired by seed", labels, columns) if columns else ""


def curves(groups: dict[str, list[Run]]) -> str:
    """The table of the handoff curves; empty where none was measured."""
    columns, starts = {}, []
    for name, runs in groups.items():
        begun = begun_curve(runs[0])
        if begun and begun not in starts:
            starts.append(begun)
            columns[f"before {name}" if columns else "before"] = [cell([begun[f]]) for f in TENTHS]
        if all(run.handoff_curve for run in runs):
            columns[f"{name} (n={len(runs)})"] = [cell([run.handoff_curve[f] for run in runs], 1.0) for f in TENTHS]
    return markdown("the senior's share before the junior takes over", list(TENTHS), columns) if columns else ""


# ---------------------------------------------------------------------------------------------------- figure


def draw_figure(groups: dict[str, list[Run]], paths: list[Path]) -> bool:
    """One figure of all groups: a line, or a bar, is a mean over seeds, its band, or whisker, the 95% interval.

    Reward and jargon rate over the steps, the measures along the way and the handoff curve where there are such, and the
    four measures in the end. The same runs give the same file. False, and no figure, where matplotlib isn't installed;
    UserError where there are too many groups, or a path can't be written.
    """
    try:
        import matplotlib
    except ImportError:
        return False
    if len(groups) > 9:
        raise UserError(f"{len(groups)} groups are more than a figure has colours for; give at most 9")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    four = (  # title, where it is in a measurement, the most it can be
        ("solo pass@1", ("solo", "pass@1"), 1.0),
        ("handoff pass@1, step by step", ("handoff", "pass@1"), 1.0),
        ("drift: KL to the junior, nats", ("drift", "kl"), math.inf),
        ("legibility: junior's cross-entropy, nats", ("legibility", "cross_entropy"), math.inf),
    )
    # A panel: title, x axis, the most it can be, and of each group {x: values over the seeds}; bars have no x axis.
    above, along, end = [], [], []
    for key, title in (("reward", "reward of the rollouts"), ("jargon_rate", "jargon rate of the rollouts")):
        width = max(1, max(len(run.curve[key]) for runs in groups.values() for run in runs) // 50)
        lines = [_by_x(_thinned(run.curve[key], width) for run in runs) for runs in groups.values()]
        above.append((f"{title}, means of {width} steps" if width > 1 else title, "step", 1.0, lines))
    lines = [
        _by_x([(float(f), run.handoff_curve[f]) for f in TENTHS if run.handoff_curve] for run in runs)
        for runs in groups.values()
    ]
    begun = next(filter(None, (begun_curve(runs[0]) for runs in groups.values())), None)
    lines += [_by_x([[(float(f), begun[f]) for f in TENTHS]])] if begun else []
    above.append(("accuracy when the junior finishes", "share that the senior wrote before", 1.0, lines))
    for title, path, most in four:
        lines = [_by_x(((m["step"], look_up(m, path)) for m in run.along) for run in runs) for runs in groups.values()]
        along.append((title, "step", most, lines))
        bars = [{i: [look_up(run.after, path) for run in runs]} for i, runs in enumerate(groups.values())]
        end.append((title, None, most, bars))
    rows = [[panel for panel in row if any(panel[3])] for row in (above, along, end)]
    rows = [rows[0], *filter(None, rows[1:])]  # the first has room for the legend

    with matplotlib.rc_context({"svg.hashsalt": "tandem", "font.size": 9, "axes.titlesize": 10}):
        size = (16, 3 * len(rows))
        figure, axes = plt.subplots(len(rows), 4, figsize=size, layout="constrained", squeeze=False)
        for axis in axes.flat:
            axis.set_axis_off()  # until something is drawn in it
        for i, row in enumerate(rows):
            for axis, panel in zip(axes[i], row, strict=False):
                _draw(axis, *panel)
        names = [f"{name} (n={len(runs)})" for name, runs in groups.items()] + ["before"] * bool(begun)
        patches = [matplotlib.patches.Patch(color=f"C{i}") for i in range(len(names))]
        axes[0, len(rows[0])].legend(patches, names, loc="center left", frameon=False, fontsize=10)
        figure.draw_without_rendering()  # the layout once for all files: one must not depend on what else is drawn
        figure.set_layout_engine("none")
        try:
            for path in paths:
                figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
        except (OSError, ValueError) as error:
            raise UserError(f"{path} can't be drawn ({error}); give --figure the path of a .png or .svg") from None
        finally:
            plt.close(figure)
    return True


def _draw(axis, title: str, x: str | None, most: float, groups: list[dict[float, list[float]]]) -> None:
    """A panel: a line a group with its band, or, where there is no x axis, a bar a group with its whisker."""
    axis.set_axis_on()
    means = []
    for color, values in enumerate(groups):
        if not values:
            continue
        summary = [interval(seeds, 0, most) for seeds in values.values()]
        mean, low, high = (list(numbers) for numbers in zip(*summary, strict=True))
        means += mean
        if x is None:
            whisker = None if math.isnan(low[0]) else [[mean[0] - low[0]], [high[0] - mean[0]]]
            bar = axis.bar(list(values), mean, color=f"C{color}", yerr=whisker, capsize=3)
            axis.bar_label(bar, fmt="%.3g", padding=2, fontsize=8)
        else:
            axis.plot(list(values), mean, color=f"C{color}", linewidth=1.2)
            axis.fill_between(list(values), low, high, color=f"C{color}", alpha=0.2, linewidth=0)
    axis.set(title=title, xlabel=x or "after training")
    if x is None:
        beside = max(0.6, (4 - len(groups)) / 2)  # few bars needn't fill a panel
        axis.set(xticks=[], xlim=(-beside, len(groups) - 1 + beside))
        axis.set_ylim(0, 1.15 if most == 1 else 1.15 * axis.dataLim.y1 or 1)
    elif most == 1:
        axis.set_ylim(-0.03, 1.03)
    elif max(means) > 10 * min(means) > 0:
        axis.set_yscale("log")
    else:
        axis.set_ylim(0, 1.1 * axis.dataLim.y1 or 1)
    axis.spines[["top", "right"]].set_visible(False)


def _thinned(curve: list[float | None], width: int) -> list[tuple[float, float]]:
    """The points (step, mean) of each `width` steps in turn: a few hundred noisy ones can't be told apart."""
    parts = {first: [v for v in curve[first : first + width] if v is not None] for first in range(0, len(curve), width)}
    return [(first + (width - 1) / 2, statistics.fmean(known)) for first, known in parts.items() if known]


def _by_x(lines) -> dict[float, list[float]]:
    """The values of several lines of points, where all lines have one: a mean is of the same runs all along. {x: values}"""
    known = [{x: value for x, value in line if value is not None} for line in lines]
    return {x: [line[x] for line in known] for x in sorted(set.intersection(*map(set, known)))}


# ---------------------------------------------------------------------------------------------------- the command


@dataclass
class Options:
    """What `python evaluate.py` takes."""

    runs: list[str]
    """directories that train.py wrote, or files of results that --json printed"""
    control: str | None = None
    """group that the others are compared with; if not given, the first with --schedule solo and no --kl-coef that was
    measured in the same way and began with the same pair"""
    problems: int | None = None
    """measure the pairs again, on this many problems of the test split; of --problems, --samples, --validation,
    --temperature, --top-p and --top-k, those that aren't given stay as the run has them"""
    samples: int | None = None
    """measure the pairs again, with this many responses to a problem"""
    validation: bool = False
    """measure the pairs again, on the validation split of the generated problems: for choosing options, a learning rate say"""
    temperature: float | None = None
    """measure the pairs again, with both models at this temperature"""
    top_p: float | None = None
    """measure the pairs again, with both models cut to this nucleus (the paper: 0.8)"""
    top_k: int | None = None
    """measure the pairs again, with both models cut to this many likeliest tokens (the paper: 20)"""
    handoff_curve: bool = False
    """measure again, and the accuracy where the junior takes over after 0, 10 … 100% of the senior's response too"""
    json: bool = False
    """print the results as JSON, a run a line"""
    figure: str | None = None
    """where to draw the figure, if matplotlib is installed, a .png or .svg, or both where it has no such ending; if not
    given, comparison beside the first run, or a file of results' own name"""
    device: str = "auto"
    """auto (CUDA, then MPS, then the CPU), cuda, mps or cpu"""

    def __post_init__(self):
        for name in ("problems", "samples", "top_k"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= (self.temperature or 0) < float("inf") or not 0 < (1 if self.top_p is None else self.top_p) <= 1:
            raise ValueError("--temperature must be at least 0, --top-p above 0 and at most 1")

    @property
    def again(self) -> bool:
        """Whether the pairs are to be measured again, rather than what their runs measured shown."""
        settings = (self.problems, self.samples, self.temperature, self.top_p, self.top_k)
        return self.handoff_curve or self.validation or any(value is not None for value in settings)


def compare(options: Options) -> None:
    """Read the runs, print the tables or the JSON, draw the figure."""
    runs = read_runs(options)
    groups = grouped(runs)
    if options.control not in (None, *groups):
        raise UserError(f"--control {options.control} is no group; choose from {', '.join(groups)}")
    if options.json:
        print("[\n" + ",\n".join(json.dumps(asdict(run)) for run in runs) + "\n]")
    else:
        tables = (results(groups), differences(groups, options.control), curves(groups))
        print("\n\n".join(table for table in tables if table))
    first = Path(options.runs[0])
    figure = first.with_suffix("") if first.suffix == ".json" else first.resolve().parent / "comparison"
    figure = Path(options.figure or figure)
    paths = [figure] if figure.suffix else [figure.with_suffix(".png"), figure.with_suffix(".svg")]
    try:
        drawn = draw_figure(groups, paths)
        note = f"figure: {' and '.join(map(str, paths))}" if drawn else "no figure: pip install matplotlib draws one"
    except UserError as error:
        if options.figure:
            raise
        note = f"no figure: {error}"  # which wasn't asked for
    print(note, file=sys.stderr)
