r"""The command `python reward.py`: is the final answer of a response right?

    python reward.py RESPONSE ANSWER
    python reward.py --file PAIRS.jsonl > GRADED.jsonl

The first prints `correct` or `incorrect`, and the final answer that was extracted from RESPONSE.
The second reads a JSON object with "response" and "answer" a line, as --data is read, and writes it
with "correct" and "extracted". A progress bar and the totals go to stderr. A response that begins
with an option's name, such as --file, can be graded from a file.
"""

import json
import re
import sys
from dataclasses import dataclass

from tqdm import tqdm

from reward import extract, verify
from support.runs.json_lines import read_json_lines
from support.runs.options import UserError, command, parse
from support.runs.progress import progress


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
    rows = read_json_lines(path, read_pair)
    correct = 0
    without_answer = 0
    for row in progress(rows, desc="grading", unit="pair", leave=False):
        row["correct"] = verify(row["response"], str(row["answer"]))
        row["extracted"] = extract(row["response"])
        correct += row["correct"]
        without_answer += row["extracted"] is None
        tqdm.write(json.dumps(row))
    totals = f"{len(rows)} pairs: {correct} correct, {without_answer} without an answer"
    print(totals, file=sys.stderr)


def read_pair(row) -> dict:
    """A row with a text "response" and an "answer", a text or a number; else a ValueError."""
    texts = row if isinstance(row, dict) else {}
    response = texts.get("response")
    answer = texts.get("answer")
    if not isinstance(response, str) or type(answer) not in (str, int, float):
        raise ValueError('expected an object, {"response": "…", "answer": "…"}')
    json.dumps(row, allow_nan=False)  # a ValueError: NaN is no JSON, and couldn't be written again
    return row
