"""The figure that compares groups of runs. The same runs give the same file."""

import sys
from dataclasses import replace
from pathlib import Path

from support.reports.measures import RUN_MEASURES, interval, look_up
from support.reports.results import RunResults
from support.runs.options import UserError

SHOWN_PATHS = ("solo/pass@1", "handoff/pass@1", "drift/kl", "legibility/cross_entropy")
SHOWN = [measure for measure in RUN_MEASURES if measure[1] in SHOWN_PATHS]


def draw_comparison(groups: dict[str, list[RunResults]], path: str | Path) -> None:
    """Lines and bars are means over a group's seeds, bands and whiskers their 95% intervals."""
    plt = load_matplotlib()
    figure = plt.figure(figsize=(16, 9), layout="constrained")
    names = [f"{name} (n={len(runs)})" for name, runs in groups.items()]
    drawn = [panels(runs) for runs in groups.values()]
    names.append("before")
    first, *_ = next(iter(groups.values()))
    drawn.append(panels([before_training(first)]))
    for panel in drawn[0]:
        place, title, xlabel, ylabel, upper = panel
        lines = [panels_of_group[panel] for panels_of_group in drawn]
        if not any(lines):
            continue
        axis = figure.add_subplot(3, 4, place)
        axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
        for i, line in enumerate(lines):
            draw_line(axis, i, line, upper)
        axis.set_ylim(0, 1.03 if upper == 1 else None)
    corner, size = (0, 0), 1
    patches = [plt.Rectangle(corner, size, size, color=f"C{i}") for i in range(len(drawn))]
    figure.legend(patches, names, loc="upper right", frameon=False)
    save(figure, path)


def without_matplotlib(asked: str | None) -> None:
    """Say that there is no figure. UserError if --figure asked for one."""
    if asked:
        raise UserError(
            "--figure is drawn by matplotlib, which isn't installed: pip install matplotlib"
        ) from None
    print("no figure: pip install matplotlib draws one", file=sys.stderr)


def before_training(run: RunResults) -> RunResults:
    """The pair that a run began with, as a run that did nothing."""
    before = replace(run, after=run.before, along=[])
    before.handoff_curve = run.before.get("handoff_curve")
    before.curve = {"reward": [], "jargon_rate": []}
    return before


def panels(runs: list[RunResults]) -> dict:
    """{(place, title, x-axis, y-axis, largest y): {x: y of each run}}. There are 3 × 4 places."""
    rewards, jargon = of_rollouts(runs, "reward"), of_rollouts(runs, "jargon_rate")
    handoff = shared([run.handoff_curve or {} for run in runs])
    before = "share that the senior wrote before"
    lines = {
        (1, "reward of the rollouts", "step", "mean reward", 1.0): rewards,
        (2, "jargon rate of the rollouts", "step", "share of responses", 1.0): jargon,
        (3, "when the junior finishes", before, "share of problems solved", 1.0): handoff,
    }
    for place, (label, path, upper) in enumerate(SHOWN, 5):
        title = label.removesuffix(" ↑").removesuffix(", nats ↓")
        ylabel = "share of problems solved" if upper == 1 else "nats a token"
        after = [look_up(run.after, path) for run in runs]
        during = during_training(runs, path)
        lines[place, title, "before and after training", ylabel, upper] = {0: after}
        lines[place + 4, title, "step", ylabel, upper] = during
    return lines


def of_rollouts(runs: list[RunResults], name: str) -> dict[int, list[float]]:
    """A number of the rollouts at each step."""
    curves = [run.curve[name] for run in runs]
    return shared([dict(enumerate(curve)) for curve in curves])


def during_training(runs: list[RunResults], path: str) -> dict[int, list[float]]:
    """A measure at each step at which all runs were measured."""
    lines = []
    for run in runs:
        lines.append({m["step"]: look_up(m, path) for m in run.along})
    return shared(lines)


def shared(lines: list[dict]) -> dict:
    """The points that all runs have, so that each mean is over the same runs.

    A world without jargon has None for its rate.
    """
    everywhere = set.intersection(*map(set, lines))
    points = {}
    for x in sorted(everywhere):
        values = [line[x] for line in lines]
        if None not in values:
            points[x] = values
    return points


def draw_line(
    axis, i: int, line: dict, upper: float, label: str | None = None, style: str = "-"
) -> None:
    """The means of group i and their intervals, in colour i. A single point is a bar."""
    points = [interval(values, 0, upper) for values in line.values()]
    if len(points) == 1:
        draw_bar(axis, i, points[0])
    elif points:
        mean, low, high = zip(*points, strict=True)
        steps = list(line)
        color = f"C{i}"
        (curve,) = axis.plot(steps, mean, style, color=color, label=label)
        curve.set_linewidth(1.2)
        band = axis.fill_between(steps, low, high, color=color, alpha=0.2)
        band.set_linewidth(0)


def draw_bar(axis, i: int, point: tuple[float, float, float]) -> None:
    """A bar. Its number stands upright in its left half, its interval in the right half."""
    mean, low, high = point
    left, right = i - 0.2, i + 0.2
    lengths = [[mean - low], [high - mean]]
    axis.bar(i, mean, color=f"C{i}", alpha=0.6)
    axis.errorbar(right, mean, lengths, fmt="none", ecolor="black", capsize=2)
    axis.text(left, 0, f" {mean:.3g}", rotation=90, ha="center", va="bottom")
    axis.set_xticks([])


def load_matplotlib():
    """matplotlib.pyplot, set so that the same figure is the same file."""
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    plt.rcParams |= {"svg.hashsalt": "tandem", "axes.spines.top": False, "axes.spines.right": False}
    return plt


def save(figure, path: str | Path) -> None:
    """Write a figure, then give its memory back: pyplot holds every figure until it is closed."""
    try:
        figure.savefig(path, dpi=150, metadata={"Date": None})
    except (OSError, ValueError) as error:
        remedy = "give the path of a .png or .svg"
        raise UserError(f"{path} can't be drawn ({error}); {remedy}") from None
    finally:
        load_matplotlib().close(figure)
