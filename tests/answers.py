"""The pairs of answers in answers.jsonl, and the page of the documentation that shows some of them.

    python tests/answers.py > support/verifier/answers.md

A line of answers.jsonl is {"kind", "equal", "prediction", "answer"}. The kind "not found" has right
answers that the verifier doesn't find to be equal, each with the reason as its "note".
"""

import json
from itertools import groupby
from pathlib import Path

PATH = Path(__file__).with_name("answers.jsonl")
NOT_FOUND = "not found"
MOST_GROUPS = 12  # of a kind and a verdict, on the page
MOST_ANSWERS = 4  # of a group
LONGEST = 200  # characters of an answer that the page can show


def pairs() -> list[dict]:
    with open(PATH, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def verdict(pair: dict) -> bool:
    """The verifier's verdict on a pair."""
    return pair["equal"] and pair["kind"] != NOT_FOUND


def page() -> str:
    """The documentation: a row for each kind, then the right answers that aren't found."""
    shown = [pair for pair in pairs() if can_be_shown(pair)]
    rows = [
        "# What is the same answer",
        "",
        "Made from `tests/answers.jsonl`, which has all cases, by `python tests/answers.py`.",
        "",
        "| kind | the same | not the same |",
        "| --- | --- | --- |",
    ]
    found = [pair for pair in shown if pair["kind"] != NOT_FOUND]
    for kind, of_kind in groupby(found, key=lambda pair: pair["kind"]):
        of_kind = list(of_kind)
        same = cell(of_kind, equal=True)
        different = cell(of_kind, equal=False)
        rows.append(f"| {kind} | {same} | {different} |")
    rows += [
        "",
        "Right answers that the verifier doesn't find to be the same:",
        "",
        "| | why |",
        "| --- | --- |",
    ]
    for pair in shown:
        if pair["kind"] == NOT_FOUND:
            texts = code([pair["prediction"], pair["answer"]], " ")
            rows.append(f"| {texts} | {pair['note']} |")
    return "\n".join(rows)


def can_be_shown(pair: dict) -> bool:
    texts = (pair["prediction"], pair["answer"])
    return all(text.isprintable() and 0 < len(text) < LONGEST for text in texts)


def cell(of_kind: list[dict], equal: bool) -> str:
    """The first pairs with this verdict. Neighbours that begin with one text are a group."""
    chosen = [pair for pair in of_kind if pair["equal"] is equal]
    groups = []
    for first, group in groupby(chosen, key=lambda pair: pair["prediction"]):
        answers = [first] + [pair["answer"] for pair in group]
        groups.append(code(answers[:MOST_ANSWERS], "=" if equal else "≠"))
    return "; ".join(groups[:MOST_GROUPS])


def code(answers: list[str], sign: str) -> str:
    """The texts as code in a cell of a Markdown table, with a sign between them."""
    cells = f" {sign} ".join(f"`{answer}`" for answer in answers)
    cells = cells.replace("|", "\\|")
    return cells.replace("`` `", "`` ` ``")


if __name__ == "__main__":
    print(page())
