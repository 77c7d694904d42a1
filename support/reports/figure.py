"""The figure that compares groups of runs, drawn by matplotlib. The same runs give the same file."""

from dataclasses import replace
from pathlib import Path

from support.reports.results import MEASURES, Run, interval, look_up
from support.runs.options import UserError

SHOWN = [MEASURES[i] for i in (0, 1, 3, 5)]  # solo, handoff step by step, KL, cross-entropy


def draw_comparison(groups: dict[str, list[Run]], path: str | Path) -> None:
    """Lines and bars are means over a group's seeds, bands and whiskers their 95% intervals."""
    plt = load_matplotlib()
    first = next(iter(groups.values()))[0]
    before = replace(first, after=first.before, handoff_curve=first.before.get("handoff_curve"))
    before.along, before.curve = [], {"reward": [], "jargon_rate": []}
    names = [f"{name} (n={len(runs)})" for name, runs in groups.items()]
    drawn = [panels(runs) for runs in groups.values()] + [panels([before])]
    figure = plt.figure(figsize=(16, 9), layout="constrained")
    for panel in drawn[0]:
        place, title, xlabel, upper = panel
        lines = [lines_of[panel] for lines_of in drawn]
        if any(lines):
            axis = figure.add_subplot(3, 4, place, title=title, xlabel=xlabel)
            for i, line in enumerate(lines):
                draw_line(axis, i, line, upper)
            axis.set_ylim(0, 1.03 if upper == 1 else None)
    colors = [plt.Rectangle((0, 0), 1, 1, color=f"C{i}") for i in range(len(drawn))]
    figure.legend(colors, [*names, "before"], loc="upper right", frameon=False)
    save(figure, path)


def panels(runs: list[Run]) -> dict:
    """{(place, title, x-axis, largest y): {x: y of each run}} of a group. There are 3 × 4 places."""
    rewards = shared([dict(enumerate(run.curve["reward"])) for run in runs])
    jargon = shared([dict(enumerate(run.curve["jargon_rate"])) for run in runs])
    handoff = shared([run.handoff_curve or {} for run in runs])
    found = {
        (1, "reward of the rollouts", "step", 1.0): rewards,
        (2, "jargon rate of the rollouts", "step", 1.0): jargon,
        (
            3,
            "accuracy when the junior finishes",
            "share that the senior wrote before",
            1.0,
        ): handoff,
    }
    for place, (label, path, upper) in enumerate(SHOWN, 5):
        title = label.rstrip(" ↑↓")
        during = [{m["step"]: look_up(m, path) for m in run.along} for run in runs]
        found[place, title, "before and after training", upper] = {
            0: [look_up(run.after, path) for run in runs]
        }
        found[place + 4, title, "step", upper] = shared(during)
    return found


def shared(lines: list[dict]) -> dict:
    """The points that all runs have, so that each mean is over the same runs. There may be no jargon: None."""
    points = {x: [line[x] for line in lines] for x in sorted(set.intersection(*map(set, lines)))}
    return {x: values for x, values in points.items() if None not in values}


def draw_line(axis, i: int, line: dict, upper: float, label: str | None = None) -> None:
    """The means of group i and their intervals, in colour i. A single point is a bar with its height in it."""
    points = [interval(values, 0, upper) for values in line.values()]
    if len(points) == 1:
        mean, low, high = points[0]
        axis.bar(i, mean, color=f"C{i}", yerr=[[mean - low], [high - mean]], capsize=3)
        axis.text(i - 0.3, 0, f" {mean:.3g}", rotation=90, va="bottom")
        axis.set_xticks([])
    elif points:
        mean, low, high = zip(*points, strict=True)
        axis.plot(list(line), mean, color=f"C{i}", label=label, linewidth=1.2)
        axis.fill_between(list(line), low, high, color=f"C{i}", alpha=0.2, linewidth=0)


def load_matplotlib():
    """matplotlib.pyplot, set so that the same figure is the same file. ImportError where it isn't installed."""
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    plt.rcParams |= {"svg.hashsalt": "tandem", "axes.spines.top": False, "axes.spines.right": False}
    return plt


def save(figure, path: str | Path) -> None:
    """Write a figure, then give its memory back: pyplot holds every figure until it is closed."""
    try:
        figure.savefig(path, dpi=150, metadata={"Date": None})
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} can't be drawn ({error}); give the path of a .png or .svg"
        ) from None
    finally:
        load_matplotlib().close(figure)
