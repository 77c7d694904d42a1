r"""The command `python reward.py`: is the final answer of a response right?

    python reward.py RESPONSE ANSWER
    python reward.py --file PAIRS.jsonl > GRADED.jsonl

The first prints `correct` or `incorrect`, and the final answer that was extracted from RESPONSE.
The second reads a JSON object with "response" and "answer" a line, and writes it with "correct" and
"extracted". A progress bar and the totals go to stderr. A response that begins with an option's
name, such as --file, can be graded from a file.
"""

import json
import re
import sys
from dataclasses import dataclass

from tqdm import tqdm

from reward import extract, verify
from support.runs.options import UserError, command, parse


@dataclass
class Options:
    response: str | None
    """the text whose final answer is graded"""
    answer: str | None
    """the right answer"""
    file: str | None = None
    """grade the pairs in this JSON Lines file"""


@command
def main(argv: list[str]) -> None:
    # Two texts are taken as they are: either may be empty, or begin with a hyphen.
    if len(argv) == 2 and not re.match("--[a-z]", argv[0]):
        options = Options(*argv)
    else:
        options = parse(Options, argv, __doc__)
    both = options.response is not None and options.answer is not None
    if options.file is not None and options.response is None:
        grade_file(options.file)
    elif options.file is None and both:
        grade(options.response, options.answer)
    else:
        raise UserError("expected RESPONSE ANSWER or --file FILE.jsonl; see --help")


def grade(response: str, answer: str) -> None:
    right = verify(response, answer)
    print("correct" if right else "incorrect")
    print("extracted:", extract(response))


def grade_file(path: str) -> None:
    rows = read_pairs(path)
    correct = 0
    without_answer = 0
    for row in tqdm(rows, desc="grading", unit="pair", disable=None):
        row["correct"] = verify(row["response"], row["answer"])
        row["extracted"] = extract(row["response"])
        correct += row["correct"]
        without_answer += row["extracted"] is None
        tqdm.write(json.dumps(row))
    totals = f"{len(rows)} pairs: {correct} correct, {without_answer} without an answer"
    print(totals, file=sys.stderr)


def read_pairs(path: str) -> list[dict]:
    """The objects in a JSON Lines file, each with a text "response" and a text "answer"."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = list(file)
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}; check the path") from None
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = parse_pair(line)
        if row is None:
            expected = 'expected a JSON object with strings "response" and "answer"'
            raise UserError(f"{path}, line {number}: {expected}")
        rows.append(row)
    return rows


def parse_pair(line: str) -> dict | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict):
        return None
    texts = (row.get("response"), row.get("answer"))
    return row if all(isinstance(text, str) for text in texts) else None
