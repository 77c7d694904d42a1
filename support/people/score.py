"""Scores a study: what its raters answered by arm, and how the arms differ.

    python -m support.people score STUDY FILE.json FILE.json …

Prints tables, and writes all numbers to STUDY/scores.json and a figure to STUDY/scores.svg.
Intervals are over raters and problems, both drawn; support/people/statistics.py says how.

Who counts. Raters who withdrew are left out. So are raters who failed one or more of the attention
checks that they answered. Practice never counts. An unanswered item is neither right nor wrong. An
empty text for an answer means "I can't go on" and is wrong. A rater who agrees with nobody is named
and stays in. Of several different files of one rater, a withdrawal counts, else the one with more
answers, else the one that was finished later.
"""

import json
import math
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np

from reward import verify
from support.people.statistics import (
    difference_estimator,
    krippendorff_alpha,
    mean_estimator,
    outsiders,
)
from support.reports.figure import load_matplotlib, save, without_matplotlib
from support.reports.measures import markdown
from support.runs.files import write_json
from support.runs.options import UserError, command, parse

TASK_MEASURE = {"take-over": "accuracy", "check": "accuracy", "rate": "rating"}
TASK_FIELD = {
    "take-over": "answer",
    "check": "right",
    "rate": "rating",
}  # it makes an item answered
RANGES = {  # smallest and largest value of a measure
    "accuracy": (0, 1),
    "seconds": (0, math.inf),
    "rating": (1, 5),
    "sureness": (1, 4),
}
KEY_FIELDS = {"study", "arms", "tasks", "prompt_template"}
ITEM_FIELDS = {  # of the key, by the kind of an item
    "practice": set(),
    "attention": {"expected"},
    "item": {"arm", "problem", "answer"},
}
HOW = (
    "[95% interval over raters and problems, both drawn; - if there is none]; "
    "seconds: the geometric mean"
)
HOW_DIFFERENCES = (
    "Within raters and problems, by least squares; "
    "if answers are missing, not quite the difference of the\nmeans. "
    "* the interval excludes 0, of a ratio 1 (row by row, not corrected for their number)"
)


@dataclass
class Options:
    study: str
    """directory that `make` wrote"""
    answers: list[str]
    """files that raters saved, or directories of them"""
    json: str | None = None
    """where to write all numbers; scores.json in the study's directory if not given"""
    figure: str | None = None
    """where to draw the figure, a .png or .svg; scores.svg in the study's directory if not given"""


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, __doc__)
    study = Path(options.study)
    key = read_key(study / "key.json")
    scores = analyse(key, read_all_answers(options.answers, key))
    print(scores_report(scores))
    path = Path(options.json or study / "scores.json")
    try:
        write_json(path, scores)
    except OSError as error:
        message = f"{path} can't be written ({error.strerror}); give another place with --json"
        raise UserError(message) from None
    path = options.figure or study / "scores.svg"
    try:
        draw_scores(scores, path)
        print(f"figure: {path}", file=sys.stderr)
    except ImportError:
        without_matplotlib(options.figure)


# ---- Reading -------------------------------------------------------------------------------------


def check_that(condition: bool, message: str) -> None:
    """ValueError with the message if the condition doesn't hold."""
    if not condition:
        raise ValueError(message)


def read_key(path: Path) -> dict:
    """The key that `make` wrote beside the pages. UserError if it is damaged."""
    try:
        key = json.loads(path.read_bytes())
        check_key(key)
    except OSError as error:
        message = f"{path} can't be read ({error.strerror}); give the directory that make wrote"
        raise UserError(message) from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} isn't what make wrote ({error!r}); restore it") from None
    return key


def check_key(key: dict) -> None:
    """Any of read_key's errors if something that scoring needs is missing."""
    known = KEY_FIELDS <= key.keys() and set(key["tasks"]) <= TASK_MEASURE.keys()
    check_that(known, ", ".join(sorted(KEY_FIELDS)))
    for rater, items in key["raters"].items():
        for item in items:
            needed = {"id", "task", "kind"} | ITEM_FIELDS[item["kind"]]
            if item["kind"] == "item" and item["task"] == "check":
                needed.add("right")
            dict(item.get("expected") or {})  # raises for anything but a table
            known = needed <= item.keys() and item["task"] in TASK_MEASURE
            check_that(known, f"rater {rater}, item {item.get('id')}")


def read_answers(path: str, key: dict) -> dict:
    """The answers of one rater. ValueError says what is wrong with the file."""
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise ValueError(f"it can't be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None

    made_here = (
        isinstance(content, dict)
        and content.get("format") == "tandem-study"
        and content.get("version") == 1
    )
    check_that(made_here, "it isn't what a rater's page saves, or of another version")
    study = content.get("study")
    check_that(study == key["study"], f"it is of study {study!r}, not {key['study']!r}")
    rater = content.get("rater")
    known = isinstance(rater, str) and rater in key["raters"]
    check_that(known, f"the study has no rater {rater!r}")
    withdrawn = content.get("withdrawn")
    check_that(type(withdrawn) is bool, "`withdrawn` is neither true nor false")

    answers = content.get("answers")
    check_that(isinstance(answers, dict), "`answers` is no table")
    items = {item["id"] for item in key["raters"][rater]}
    unknown = sorted(answers.keys() - items)
    check_that(not unknown, f"rater {rater} has no item {', '.join(unknown)}")
    for number, answer in answers.items():
        check_that(isinstance(answer, dict), f"item {number} is no table")
        for field, fits in ANSWER_FIELDS.items():
            value = answer.get(field)
            check_that(value is None or fits(value), f"item {number}: {field} is {value!r}"[:99])
    try:
        finished_at(content)
    except (ValueError, TypeError):
        raise ValueError(f"`finished` is {content['finished']!r}, no time") from None
    return content


def is_text(value) -> bool:
    return type(value) is str


def is_seconds(value) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e9


def is_yes_or_no(value) -> bool:
    return type(value) is bool


def is_sureness(value) -> bool:
    return type(value) is int and 1 <= value <= 4


def is_rating(value) -> bool:
    return type(value) is int and 1 <= value <= 5


ANSWER_FIELDS = {  # of an answer; each may be missing or null
    "working": is_text,
    "answer": is_text,
    "stopped": is_text,
    "seconds": is_seconds,
    "hidden": is_seconds,
    "right": is_yes_or_no,
    "sure": is_sureness,
    "rating": is_rating,
}


def finished_at(content: dict) -> datetime:
    """When the rater finished, in UTC if there is no zone; long ago for an unfinished file."""
    time = datetime.fromisoformat(content.get("finished") or "0001-01-02")
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def read_all_answers(paths: list[str], key: dict) -> dict[str, dict]:
    """{rater: content} of the usable files, one a rater. Each other file is a line on stderr."""
    copies = {}  # {rater: {content as JSON: its paths}}
    files = []
    for path in paths:
        inside = sorted(Path(path).glob("*.json"))  # nothing if it is no directory
        files += [str(file) for file in inside] or [path]
    for path in dict.fromkeys(files):
        try:
            content = read_answers(path, key)
        except ValueError as error:
            print(f"left out: {path}: {error}", file=sys.stderr)
            continue
        of_rater = copies.setdefault(content["rater"], {})
        text = json.dumps(content, sort_keys=True)
        of_rater.setdefault(text, []).append(path)
    if not copies:
        message = f"no file has answers to study {key['study']!r}; give those that its raters saved"
        raise UserError(message)
    return {rater: only_one(rater, copies[rater]) for rater in sorted(copies)}


def only_one(rater: str, copies: dict[str, list[str]]) -> dict:
    """The content that counts, of {content as JSON: its paths} in any order."""
    taken = max(copies, key=precedence)
    paths = [path for same in copies.values() for path in same]
    if len(paths) > 1:
        which = "all the same, counted once"
        if len(copies) > 1:
            rule = "a withdrawal counts, else the one with more answers, else the later"
            which = f"{copies[taken][0]} is taken: {rule}"
        print(f"rater {rater} is in {' and '.join(paths)}; {which}", file=sys.stderr)
    return json.loads(taken)


def precedence(text: str) -> tuple:
    """Of two contents as JSON, the one with the larger precedence counts."""
    content = json.loads(text)
    answered = 0
    for answer in content["answers"].values():
        answered += any(answer.get(field) is not None for field in TASK_FIELD.values())
    return content["withdrawn"], answered, finished_at(content), text


# ---- Scoring -------------------------------------------------------------------------------------


@cache
def is_right(text: str, answer: str) -> bool:
    """Is a rater's answer right, in a box or not?"""
    return verify(rf"\boxed{{{text}}}", answer) or verify(text, answer)


def attentive(items: list[dict], answers: dict) -> bool:
    """Does a rater pass all attention checks that they answered?"""
    for item in items:
        if item["kind"] != "attention":
            continue
        answer = answers.get(item["id"], {})
        for field, expected in item["expected"].items():
            value = answer.get(field)
            if value is None:
                continue
            passed = value == expected
            if field == "answer":
                passed = is_right(value, str(expected))
            if not passed:
                return False
    return True


def graded(rater: str, items: list[dict], answers: dict) -> list[dict]:
    """A row for each item that counts, with its measures; an unanswered one has none."""
    rows = []
    for item in items:
        if item["kind"] != "item":
            continue
        row = {"rater": rater}
        row |= {name: item[name] for name in ("task", "arm", "problem")}
        row |= measures_of(item, answers.get(item["id"], {}))
        rows.append(row)
    return rows


def measures_of(item: dict, answer: dict) -> dict:
    """Accuracy or rating, seconds, sureness and the text on what stopped the rater, where given."""
    task = item["task"]
    value = answer.get(TASK_FIELD[task])
    measures = {}
    if value is not None:
        if task == "take-over":
            measures["accuracy"] = int(is_right(value, str(item["answer"])))
        elif task == "check":
            measures["accuracy"] = int(value == item.get("right"))
        else:
            measures["rating"] = value
        if answer.get("seconds"):  # 0 has no logarithm
            measures["seconds"] = answer["seconds"]
        if task == "check" and answer.get("sure"):
            measures["sureness"] = answer["sure"]
    stopped = (answer.get("stopped") or "").strip()
    if stopped:
        measures["stopped"] = stopped
    return measures


def analyse(key: dict, files: dict[str, dict]) -> dict:
    """The content of scores.json, from {rater: content of the rater's file}.

    Estimates are [value, low, high], None where there is none.
    """
    raters = count_raters(key, files)
    counted = raters["counted"]
    rows = []
    for rater in counted:
        rows += graded(rater, key["raters"][rater], files[rater]["answers"])
    rows = [row for row in rows if row["task"] in key["tasks"]]
    levels, differences = [], []
    for task in key["tasks"]:
        of_task = [row for row in rows if row["task"] == task]
        for arm in key["arms"]:
            levels.append(level(task, arm, of_task))
        for pair in combinations(key["arms"], 2):
            differences.append(arm_difference(task, pair, of_task))
    ratings = ratings_table(rows, counted)
    raters["alone"] = [counted[i] for i in outsiders(ratings)]
    return {
        "study": key["study"],
        "raters": raters,
        "levels": levels,
        "differences": differences,
        "alpha": plain_numbers([krippendorff_alpha(ratings)])[0],
        "ratings": int(np.sum(~np.isnan(ratings))),
        "answers": rows,
    }


def count_raters(key: dict, files: dict[str, dict]) -> dict[str, list[str]]:
    """Who counts, who didn't finish, who withdrew, who failed an attention check."""
    withdrawn = sorted(rater for rater, file in files.items() if file["withdrawn"])
    stayed = sorted(files.keys() - set(withdrawn))
    failed = []
    for rater in stayed:
        if not attentive(key["raters"][rater], files[rater]["answers"]):
            failed.append(rater)
    counted = [rater for rater in stayed if rater not in failed]
    if not counted:
        left_out = f"{len(withdrawn)} withdrew, {len(failed)} failed an attention check"
        raise UserError(f"no rater is left to score: {left_out}; collect more answers")
    unfinished = [rater for rater in counted if not files[rater].get("finished")]
    return {
        "counted": counted,
        "unfinished": unfinished,
        "withdrawn": withdrawn,
        "failed": failed,
    }


def level(task: str, arm: str, of_task: list[dict]) -> dict:
    """The estimates of an arm in a task, from the task's rows."""
    rows = [row for row in of_task if row["arm"] == arm]
    answers = sum(TASK_MEASURE[task] in row for row in rows)
    result = {"task": task, "arm": arm, "answers": answers, "unanswered": len(rows) - answers}
    for name in RANGES:
        result[name] = measured(rows, name)
    return result


def arm_difference(task: str, pair: tuple[str, str], of_task: list[dict]) -> dict:
    """The estimates of the first arm minus the second in a task, from the task's rows."""
    measure = TASK_MEASURE[task]
    rows = [row for row in of_task if measure in row]
    of_both = [row for row in rows if row["arm"] in pair]
    return {
        "task": task,
        "arms": list(pair),
        "measure": measure,
        "difference": measured(rows, measure, pair),
        "seconds": measured(rows, "seconds", pair),
        "raters": len({row["rater"] for row in of_both}),
        "problems": len({row["problem"] for row in of_both}),
    }


def measured(rows: list[dict], name: str, pair: tuple | None = None) -> list | None:
    """[value, low, high] of a measure's mean, or of the first arm of a pair minus the second.

    Seconds are skewed: their mean is geometric, and two arms have a ratio of them in place of a
    difference. None if no row has the measure.
    """
    rows = [row for row in rows if name in row]
    if not rows:
        return None
    raters = np.array([row["rater"] for row in rows])
    problems = np.array([row["problem"] for row in rows])
    if pair is None:
        estimator = mean_estimator(raters, problems)
    else:
        arms = np.array([row["arm"] for row in rows])
        estimator = difference_estimator(arms, raters, problems, pair)

    values = np.array([row[name] for row in rows], dtype=float)
    if name == "seconds":
        values = np.log(values)
    value, half = estimator(values)
    ends = np.array([value, value - half, value + half])
    if name == "seconds":
        with np.errstate(over="ignore"):
            ends = np.exp(ends)

    low, high = RANGES[name]
    if pair is not None:
        low, high = low - high, high - low
    return plain_numbers(np.clip(ends, low, high))


def ratings_table(rows: list[dict], raters: list[str]) -> np.ndarray:
    """(raters, items) the ratings, NaN where there is none.

    An item is the response of an arm to a problem.
    """
    ratings = {}  # {(rater, item): rating}
    for row in rows:
        if "rating" in row:
            ratings[row["rater"], (row["arm"], row["problem"])] = row["rating"]
    items = sorted({item for _, item in ratings})
    table = np.full((len(raters), len(items)), np.nan)
    for (rater, item), rating in ratings.items():
        table[raters.index(rater), items.index(item)] = rating
    return table


def plain_numbers(values) -> list:
    """Numbers for JSON: 6 decimals, no -0.0, None for NaN and infinity."""
    numbers = []
    for value in values:
        number = None
        if math.isfinite(value):
            number = round(float(value), 6) + 0.0
        numbers.append(number)
    return numbers


# ---- Showing -------------------------------------------------------------------------------------


def scores_report(scores: dict) -> str:
    """The tables in Markdown, and a line each on raters, agreement and texts."""
    parts = [levels_table(scores["levels"]), HOW]
    parts += [differences_table(scores["differences"]), HOW_DIFFERENCES]
    parts.append(notes(scores))
    return "\n\n".join(parts)


def levels_table(levels: list[dict]) -> str:
    """A row a task and arm: answers, and the mean of each measure."""
    columns = {}
    for name in ("answers", "unanswered"):
        columns[name] = [str(level[name]) for level in levels]
    for name in RANGES:
        form = ".1f" if name == "seconds" else ".3f"
        columns[name] = [cell(level[name], form) for level in levels]
    labels = [(f"{level['task']}: {level['arm']}",) for level in levels]
    return markdown("", columns, labels)


def differences_table(differences: list[dict]) -> str:
    """A row a task and pair of arms: the difference, the ratio of seconds, raters, problems."""
    columns = {"difference": [], "ratio of seconds": [], "raters": [], "problems": []}
    labels = []
    for found in differences:
        columns["difference"].append(cell(found["difference"], "+.3f", 0))
        columns["ratio of seconds"].append(cell(found["seconds"], ".3f", 1))
        columns["raters"].append(str(found["raters"]))
        columns["problems"].append(str(found["problems"]))
        first, second = found["arms"]
        labels.append((f"{found['task']}, {found['measure']}: {first} - {second}",))
    return markdown("", columns, labels)


def notes(scores: dict) -> str:
    """Who counted, the agreement of ratings, and the texts on what stopped raters."""
    named = {}
    for name, raters in scores["raters"].items():
        named[name] = f"{len(raters)} ({', '.join(raters)})" if raters else "0"
    counted = len(scores["raters"]["counted"])
    alpha = cell([scores["alpha"], None, None], ".3f")
    texts = Counter(row["arm"] for row in scores["answers"] if "stopped" in row)
    by_arm = ", ".join(f"{arm} {count}" for arm, count in sorted(texts.items()))
    failed = "as they failed one or more of the attention checks that they answered"
    alone = "agree with nobody (over 5 or more items, no better than their ratings shuffled)"
    return f"""\
- raters counted: {counted}, of them unfinished: {named["unfinished"]}
- left out, as they withdrew: {named["withdrawn"]}
- left out, {failed}: {named["failed"]}
- Krippendorff's alpha of {scores["ratings"]} ratings, ordinal: {alpha}
- counted, but {alone}: {named["alone"]}
- texts on what stopped raters, in the JSON: {by_arm or 0}"""


def cell(estimate: list | None, form: str, null: float = math.nan) -> str:
    """`value [low, high]`, and a star where the interval excludes `null`."""
    value, low, high = estimate or [None] * 3
    if value is None:
        return "-"
    if low is None or high is None:
        return f"{value:{form}}"
    star = " *" if low > null or high < null else ""
    return f"{value:{form}} [{low:{form}}, {high:{form}}]{star}"


def draw_scores(scores: dict, path: str | Path) -> None:
    """A column of panels for each task: its measure above, its seconds below, a point an arm."""
    plt = load_matplotlib()
    tasks = list(dict.fromkeys(level["task"] for level in scores["levels"]))
    size = (4 * len(tasks), 6)
    figure, axes = plt.subplots(2, len(tasks), figsize=size, squeeze=False, layout="constrained")
    for column, task in enumerate(tasks):
        levels = [level for level in scores["levels"] if level["task"] == task]
        draw_panel(axes[0, column], f"{task}: {TASK_MEASURE[task]}", TASK_MEASURE[task], levels)
        draw_panel(axes[1, column], f"{task}: seconds", "seconds", levels)
    save(figure, path)


def draw_panel(axis, title: str, name: str, levels: list[dict]) -> None:
    """A point and an interval for each arm's measure `name`."""
    axis.set_title(title)
    axis.set_xticks(range(len(levels)), [level["arm"] for level in levels])
    axis.set_xlim(-0.5, len(levels) - 0.5)
    for i, level in enumerate(levels):
        value, low, high = level[name] or [math.nan] * 3
        if low is None or high is None:
            low, high = value, value
        below, above = [value - low], [high - value]
        axis.errorbar(i, value, [below, above], color=f"C{i}", marker="o", capsize=4)
