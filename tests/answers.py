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
RULES = r"""
Rules to rely on, each for both sides alike:

- A comma between two numbers makes a list: `2,5` isn't 2.5. It is a decimal comma beside a unit or
  a currency (`2,5 kg`, `€2,50`), and where it can hardly be a list: with two decimals (`1,22`),
  with a zero behind it (`3,05`), with several decimals behind a bare 0 (`0,125`). Without a unit it
  never is where the decimals end in 0 (`1,20`), and nowhere if they are all 0 (`-3,0`).
- A list is in any order, and each item counts as often as it is there: `2,3` isn't `2,2,3`. Sets
  drop repetitions, and so do lists of pairs.
- Only `name = value` is its value. `xy = 6`, `x+y = 6` and `|x| = 6` are equations, not 6. Names
  are `x`, `f(2)`, `P(X=2)`, `AB`, `|AB|`, `\sin A`, `dy/dx`, `(p, q)`, `x:y:z`, words, and
  `\text{m+n}`.
- A unit that only one side has makes no difference, but units aren't converted. A unit needs a
  number in front of it.
- Nouns are units. Words that change the number aren't: pairs, dozen, half, thousand, quintillion,
  twofold. `10 quarters`, `6 cubes` and `6 times` are counted. Of fewer, `5 quarters` is 5/4, and
  the others aren't read.
- A degree is a unit. It is π/180 in a sine or its like, and beside a value with π.
- Capitals in another order are another answer where they stand alone: `HT` isn't `TH`.
- Two boxes with "or", "possibly" or the like between them are both the answer.
"""


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
        RULES,
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
