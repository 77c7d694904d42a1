"""Scores a study: what its raters answered by arm, and how the arms differ.

    python -m support.people score STUDY FILE.json FILE.json …

Prints tables, and writes all numbers to STUDY/scores.json and a figure to STUDY/scores.svg. Intervals are over raters
and problems, both drawn; support/people/statistics.py says how.

Who counts. Left out are raters who withdrew, and raters who failed one or more of the attention checks that they
answered. Practice never counts. An unanswered item is neither right nor wrong; an empty text for an answer, which is "I
can't go on", is wrong. A rater who agrees with nobody is named and stays in. Of several different files of one rater, a
withdrawal counts, else the one with more answers, else the one that was finished later.
"""

import json
import math
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import combinations, product
from pathlib import Path

import numpy as np

from reward import verify
from support.people.statistics import difference, krippendorff_alpha, mean, outsiders
from support.reports.compare import markdown
from support.reports.figure import load_matplotlib, save
from support.runs.files import write_json
from support.runs.options import UserError, command, parse

MAIN = {"take-over": "accuracy", "check": "accuracy", "rate": "rating"}  # measure of a task
GIVEN = {"take-over": "answer", "check": "right", "rate": "rating"}  # field that makes it answered
RANGES = {"accuracy": (0, 1), "seconds": (0, math.inf), "rating": (1, 5), "sureness": (1, 4)}
NEEDED = {
    "practice": set(),
    "attention": {"expected"},
    "item": {"arm", "problem", "answer"},
}  # in the key
FIELDS = {  # of an answer; each may be missing or null
    **dict.fromkeys(("working", "answer", "stopped"), lambda value: type(value) is str),
    **dict.fromkeys(
        ("seconds", "hidden"), lambda value: type(value) in (int, float) and 0 <= value < 1e9
    ),
    "right": lambda value: type(value) is bool,
    "sure": lambda value: type(value) is int and 1 <= value <= 4,
    "rating": lambda value: type(value) is int and 1 <= value <= 5,
}
HOW = "[95% interval over raters and problems, both drawn; - if there is none]; seconds: the geometric mean"
HOW_DIFFERENCES = """Within raters and problems, by least squares; if answers are missing, not quite the difference of the
means. * the interval excludes 0, of a ratio 1 (row by row, not corrected for their number)"""


@dataclass
class Options:
    study: str
    """directory that `make` wrote"""
    answers: list[str]
    """files that raters saved"""
    json: str | None = None
    """where to write all numbers; scores.json in the study's directory if not given"""
    figure: str | None = None
    """where to draw the figure, a .png or .svg; scores.svg in the study's directory if not given"""


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, __doc__)
    study = Path(options.study)
    key = read_key(study / "key.json")
    scores = analyse(key, read_all(options.answers, key))
    print(report(scores))
    path = Path(options.json or study / "scores.json")
    try:
        write_json(path, scores)
    except OSError as error:
        raise UserError(
            f"{path} can't be written ({error.strerror}); give another place with --json"
        ) from None
    path = options.figure or study / "scores.svg"
    try:
        draw(scores, path)
        print(f"figure: {path}", file=sys.stderr)
    except ImportError:
        print("no figure: pip install matplotlib draws one", file=sys.stderr)


# ---- Reading ---------------------------------------------------------------------------------------------------------


def require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def read_key(path: Path) -> dict:
    """What `make` wrote beside the pages. UserError if it isn't that."""
    try:
        key = json.loads(path.read_text(encoding="utf-8-sig"))
        needed = {"study", "arms", "tasks", "prompt_template"}
        require(
            needed <= key.keys() and set(key["tasks"]) <= MAIN.keys(), ", ".join(sorted(needed))
        )
        for rater, items in key["raters"].items():
            for item in items:
                needed = {"id", "task", "kind"} | NEEDED[item["kind"]]
                needed |= {"right"} if (item["kind"], item["task"]) == ("item", "check") else set()
                _ = dict(item.get("expected") or {})
                require(
                    needed <= item.keys() and item["task"] in MAIN,
                    f"rater {rater}, item {item.get('id')}",
                )
    except OSError as error:
        raise UserError(
            f"{path} can't be read ({error.strerror}); give the directory that make wrote"
        ) from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} isn't what make wrote ({error!r}); restore it") from None
    return key


def read(path: str, key: dict) -> dict:
    """The answers of one rater. ValueError says what is wrong with the file."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"it can't be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    known = isinstance(content, dict) and (content.get("format"), content.get("version")) == (
        "tandem-study",
        1,
    )
    require(known, "it isn't what a rater's page saves, or of another version")
    require(
        content.get("study") == key["study"],
        f"it is of study {content.get('study')!r}, not {key['study']!r}",
    )
    rater, answers = content.get("rater"), content.get("answers")
    require(isinstance(rater, str) and rater in key["raters"], f"the study has no rater {rater!r}")
    require(type(content.get("withdrawn")) is bool, "`withdrawn` is neither true nor false")
    require(isinstance(answers, dict), "`answers` is no table")
    unknown = answers.keys() - {item["id"] for item in key["raters"][rater]}
    require(not unknown, f"rater {rater} has no item {', '.join(sorted(unknown))}")
    for number, answer in answers.items():
        require(isinstance(answer, dict), f"item {number} is no table")
        for field, fits in FIELDS.items():
            given = answer.get(field)
            require(given is None or fits(given), f"item {number}: {field} is {given!r}"[:99])
    try:
        finished_at(content)
    except (ValueError, TypeError):
        raise ValueError(f"`finished` is {content['finished']!r}, no time") from None
    return content


def finished_at(content: dict) -> datetime:
    """When the rater finished, in UTC if there is no zone; long ago if they didn't."""
    time = datetime.fromisoformat(content.get("finished") or "0001-01-02")
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def read_all(paths: list[str], key: dict) -> dict[str, dict]:
    """{rater: answers} of the files that can be used, one a rater. A line on stderr for each of the others."""
    copies = {}  # {rater: {content as JSON: its paths}}
    for path in dict.fromkeys(paths):
        try:
            content = read(path, key)
            copies.setdefault(content["rater"], {}).setdefault(
                json.dumps(content, sort_keys=True), []
            ).append(path)
        except ValueError as error:
            print(f"left out: {path}: {error}", file=sys.stderr)
    if not copies:
        raise UserError(
            f"no file has answers to study {key['study']!r}; give those that its raters saved"
        )
    return {rater: only_one(rater, copies[rater]) for rater in sorted(copies)}


def only_one(rater: str, copies: dict[str, list[str]]) -> dict:
    """Of {content as JSON: its paths} the content that counts, in whatever order they are."""

    def rank(text: str) -> tuple:
        content = json.loads(text)
        answered = [
            a
            for a in content["answers"].values()
            if any(a.get(field) is not None for field in GIVEN.values())
        ]
        return content["withdrawn"], len(answered), finished_at(content), text

    taken, paths = max(copies, key=rank), [path for same in copies.values() for path in same]
    if len(paths) > 1:
        rule = "a withdrawal counts, else the one with more answers, else the later"
        which = (
            "all the same, counted once"
            if len(copies) == 1
            else f"{copies[taken][0]} is taken: {rule}"
        )
        print(f"rater {rater} is in {' and '.join(paths)}; {which}", file=sys.stderr)
    return json.loads(taken)


# ---- Scoring ---------------------------------------------------------------------------------------------------------


@cache
def is_right(text: str, answer: str) -> bool:
    """Is a rater's answer right, in a box or not?"""
    return verify(rf"\boxed{{{text}}}", answer) or verify(text, answer)


def attentive(items: list[dict], answers: dict) -> bool:
    """Does a rater pass all attention checks that they answered?"""
    for item in (item for item in items if item["kind"] == "attention"):
        for field, value in item["expected"].items():
            given = answers.get(item["id"], {}).get(field)
            if given is not None and not (
                is_right(given, str(value)) if field == "answer" else given == value
            ):
                return False
    return True


def graded(rater: str, items: list[dict], answers: dict) -> list[dict]:
    """A row for each item that counts, with its measures; an unanswered one has none."""
    rows = []
    for item in (item for item in items if item["kind"] == "item"):
        task, answer = item["task"], answers.get(item["id"], {})
        row = {"rater": rater} | {name: item[name] for name in ("task", "arm", "problem")}
        given = answer.get(GIVEN[task])
        if given is not None:
            right = (
                is_right(given, str(item["answer"]))
                if task == "take-over"
                else given == item.get("right")
            )
            row[MAIN[task]] = given if task == "rate" else int(right)
            row |= (
                {"seconds": answer["seconds"]} if answer.get("seconds") else {}
            )  # 0 has no logarithm
            row |= {"sureness": answer["sure"]} if task == "check" and answer.get("sure") else {}
        row |= (
            {"stopped": answer["stopped"].strip()} if (answer.get("stopped") or "").strip() else {}
        )
        rows.append(row)
    return rows


def analyse(key: dict, files: dict[str, dict]) -> dict:
    """All that scores.json holds, of {rater: answers}. Estimates are [value, low, high], None where there is none."""
    withdrawn = sorted(rater for rater, file in files.items() if file["withdrawn"])
    given = {
        rater: file["answers"] for rater, file in sorted(files.items()) if not file["withdrawn"]
    }
    failed = [rater for rater in given if not attentive(key["raters"][rater], given[rater])]
    counted = [rater for rater in given if rater not in failed]
    if not counted:
        left_out = f"{len(withdrawn)} withdrew, {len(failed)} failed an attention check"
        raise UserError(f"no rater is left to score: {left_out}; collect more answers")
    rows = [row for rater in counted for row in graded(rater, key["raters"][rater], given[rater])]
    rows = [row for row in rows if row["task"] in key["tasks"]]
    levels, differences = [], []
    for task in key["tasks"]:
        for arm in key["arms"]:
            own = [row for row in rows if (row["task"], row["arm"]) == (task, arm)]
            answers = sum(MAIN[task] in row for row in own)
            found = {"task": task, "arm": arm, "answers": answers, "unanswered": len(own) - answers}
            levels.append(found | {name: measured(own, name) for name in RANGES})
        for pair in combinations(key["arms"], 2):
            own = [row for row in rows if row["task"] == task and MAIN[task] in row]
            found = {"task": task, "arms": list(pair), "measure": MAIN[task]}
            found |= {
                "difference": measured(own, MAIN[task], pair),
                "seconds": measured(own, "seconds", pair),
            }
            both = [row for row in own if row["arm"] in pair]
            differences.append(
                found
                | {f"{name}s": len({row[name] for row in both}) for name in ("rater", "problem")}
            )
    table = ratings_table(rows, counted)
    unfinished = [rater for rater in counted if not files[rater].get("finished")]
    alone = [counted[i] for i in outsiders(table)]
    raters = {
        "counted": counted,
        "unfinished": unfinished,
        "withdrawn": withdrawn,
        "failed": failed,
        "alone": alone,
    }
    alpha, ratings = plain([krippendorff_alpha(table)])[0], int(np.sum(~np.isnan(table)))
    found = {"study": key["study"], "raters": raters, "levels": levels, "differences": differences}
    return found | {"alpha": alpha, "ratings": ratings, "answers": rows}


def measured(rows: list[dict], name: str, pair: tuple | None = None) -> list | None:
    """[value, low, high] of a measure: its mean, or the first arm of a pair minus the second; of seconds, their ratio.

    Of seconds the mean is geometric, as they are skewed. None if no row has the measure.
    """
    rows = [row for row in rows if name in row]
    if not rows:
        return None
    arms, raters, problems = (
        np.array([row[label] for row in rows]) for label in ("arm", "rater", "problem")
    )
    estimator = difference(arms, raters, problems, pair) if pair else mean(raters, problems)
    values = np.array([row[name] for row in rows], dtype=float)
    value, half = estimator(np.log(values) if name == "seconds" else values)
    ends = np.array([value, value - half, value + half])
    with np.errstate(over="ignore"):
        ends = np.exp(ends) if name == "seconds" else ends
    low, high = RANGES[name]
    return plain(np.clip(ends, low - high, high - low) if pair else np.clip(ends, low, high))


def ratings_table(rows: list[dict], raters: list[str]) -> np.ndarray:
    """(raters, items) the ratings, an item being the response of an arm to a problem; NaN where there is none."""
    rows = [row for row in rows if "rating" in row]
    items = sorted({(row["arm"], row["problem"]) for row in rows})
    table = np.full((len(raters), len(items)), np.nan)
    for row in rows:
        table[raters.index(row["rater"]), items.index((row["arm"], row["problem"]))] = row["rating"]
    return table


def plain(values) -> list:
    """Numbers for JSON: 6 decimals, None for NaN and infinity."""
    return [
        round(float(value), 6) + 0.0 if math.isfinite(value) else None for value in values
    ]  # no -0.0


# ---- Showing ---------------------------------------------------------------------------------------------------------


def report(scores: dict) -> str:
    """The tables in Markdown, and a line each on raters, agreement and texts."""
    levels, differences, raters = scores["levels"], scores["differences"], scores["raters"]
    columns = {name: [str(found[name]) for found in levels] for name in ("answers", "unanswered")}
    for name in RANGES:
        columns[name] = [
            cell(found[name], ".1f" if name == "seconds" else ".3f") for found in levels
        ]
    first = markdown("", columns, [(f"{found['task']}: {found['arm']}",) for found in levels])
    columns = {"difference": [cell(found["difference"], "+.3f", 0) for found in differences]}
    columns["ratio of seconds"] = [cell(found["seconds"], ".3f", 1) for found in differences]
    columns |= {
        name: [str(found[name]) for found in differences] for name in ("raters", "problems")
    }
    names = ["{task}, {measure}: {arms[0]} - {arms[1]}".format(**found) for found in differences]
    second = markdown("", columns, [(name,) for name in names])
    named = {
        name: f"{len(some)} ({', '.join(some)})" if some else "0" for name, some in raters.items()
    }
    texts = Counter(row["arm"] for row in scores["answers"] if "stopped" in row)
    notes = f"""\
- raters counted: {len(raters["counted"])}, of them unfinished: {named["unfinished"]}
- left out, as they withdrew: {named["withdrawn"]}
- left out, as they failed one or more of the attention checks that they answered: {named["failed"]}
- Krippendorff's alpha of {scores["ratings"]} ratings, ordinal: {cell([scores["alpha"], None, None], ".3f")}
- counted, but agree with nobody (over 5 or more items, no better than their ratings shuffled): {named["alone"]}
- texts on what stopped raters, in the JSON: {", ".join(f"{arm} {n}" for arm, n in sorted(texts.items())) or 0}"""
    return f"{first}\n\n{HOW}\n\n{second}\n\n{HOW_DIFFERENCES}\n\n{notes}"


def cell(estimate: list | None, form: str, null: float = math.nan) -> str:
    """`value [low, high]`, and a star where the interval excludes `null`."""
    value, low, high = estimate or [None] * 3
    if None in (low, high):
        return "-" if value is None else f"{value:{form}}"
    return f"{value:{form}} [{low:{form}}, {high:{form}}]" + (
        " *" if low > null or high < null else ""
    )


def draw(scores: dict, path: str | Path) -> None:
    """A column of panels for each task: its measure and its seconds, a point and an interval for each arm."""
    plt = load_matplotlib()
    tasks = list(dict.fromkeys(found["task"] for found in scores["levels"]))
    figure, axes = plt.subplots(
        2, len(tasks), figsize=(4 * len(tasks), 6), squeeze=False, layout="constrained"
    )
    for (column, task), row in product(enumerate(tasks), range(2)):
        name, own = (
            (MAIN[task], "seconds")[row],
            [found for found in scores["levels"] if found["task"] == task],
        )
        axis = axes[row, column]
        axis.set(
            title=f"{task}: {name}",
            xticks=range(len(own)),
            xticklabels=[found["arm"] for found in own],
        )
        axis.set_xlim(-0.5, len(own) - 0.5)
        for i, found in enumerate(own):
            value, low, high = found[name] or [math.nan] * 3
            low, high = (value, value) if None in (low, high) else (low, high)
            axis.errorbar(
                i, value, [[value - low], [high - value]], color=f"C{i}", marker="o", capsize=4
            )
    save(figure, path)
