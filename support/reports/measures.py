"""The numbers of a measurement, and a table of them with 95% intervals."""

import math
import statistics

# The numbers of a measurement, the M in eval.json: label, path, largest possible value.
# The smallest possible value is 0.
RUN_MEASURES = (
    ("solo pass@1 ↑", "solo/pass@1", 1.0),
    ("handoff pass@1, step by step ↑", "handoff/pass@1", 1.0),
    ("handoff pass@1, word by word ↑", "handoff_word/pass@1", 1.0),
    ("drift: KL to the junior, nats ↓", "drift/kl", math.inf),
    ("drift: acceptance ↑", "drift/acceptance", 1.0),
    ("legibility: junior's cross-entropy, nats ↓", "legibility/cross_entropy", math.inf),
    ("jargon rate", "jargon_rate", 1.0),
    ("response length, tokens", "response_length", math.inf),
)
# Student's t: 95% of its distribution lie within ±t, for 1, 2 … 10 degrees of freedom. More degrees
# take the last one, which is a little too wide for them.
STUDENT_T = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
FEWEST_SEEDS = 3  # of an interval: of two seeds it would be ±9 standard deviations


def look_up(measurement: dict, path: str) -> float | None:
    """A number of a measurement. The jargon rate is None where a world has no jargon."""
    for key in path.split("/"):
        measurement = measurement[key]
    return None if measurement is None else float(measurement)


def interval(values: list[float], lower: float = -math.inf, upper: float = math.inf) -> tuple:
    """(mean, low, high): the 95% confidence interval, clipped to [lower, upper].

    Fewer than three values have none: low and high are NaN.
    """
    n = len(values)
    mean = statistics.fmean(values)
    if n < FEWEST_SEEDS:
        return mean, math.nan, math.nan
    t = STUDENT_T[min(n - 1, len(STUDENT_T)) - 1]
    half = t * statistics.stdev(values) / math.sqrt(n)
    return mean, max(mean - half, lower), min(mean + half, upper)


def measures_table(columns: dict[str, list[dict]], head: str = "", measures=RUN_MEASURES) -> str:
    """Measurements side by side: a column for each list of them, a row a measure."""
    shown = {name: cells(measurements, measures) for name, measurements in columns.items()}
    return markdown(head, shown, measures)


def cells(measurements: list[dict], measures=RUN_MEASURES) -> list[str]:
    """A cell a measure: one or two values, or the mean and its interval of three or more."""
    column = []
    for _, path, upper in measures:
        values = [look_up(measurement, path) for measurement in measurements]
        if None in values:
            column.append("-")
        elif len(values) < FEWEST_SEEDS:
            column.append(", ".join(f"{value:.3f}" for value in values))
        else:
            mean, low, high = interval(values, 0, upper)
            column.append(f"{mean:.3f} [{low:.3f}, {high:.3f}]")
    return column


def markdown(head: str, columns: dict[str, list[str]], measures) -> str:
    """A table in Markdown, padded so that its source reads well. Over 6 columns become rows."""
    labels = [label for label, *_ in measures]
    rows = [[head] + labels]
    for name, column in columns.items():
        rows.append([name] + column)
    for row in rows:
        row[:] = [text.replace("\n", " ").replace("|", r"\|") for text in row]
    if len(columns) <= 6:
        rows = list(zip(*rows, strict=True))
    widths = []
    for column in zip(*rows, strict=True):
        longest = max(map(len, column))
        widths.append(max(8, longest))
    first = widths[0]
    numbers = widths[1:]
    rule = ["-" * first]
    padded = [f"{{:{first}}}"]
    for width in numbers:
        rule.append("-" * (width - 1) + ":")
        padded.append(f"{{:>{width}}}")
    line = "| " + " | ".join(padded) + " |"
    rows.insert(1, rule)
    return "\n".join(line.format(*row) for row in rows)
