r"""The verifier: is the final answer of a response right?  In RL this is the reward.

    python reward.py 'So it is \boxed{\frac{1}{2}}.' 0.5      prints `correct`, and the answer that it extracted
    python reward.py --file PAIRS.jsonl                       {"response", "answer"} a line, graded

How it decides. `extract` takes the last balanced \boxed{...} (or \fbox), else the last `#### x`. `equivalent` is a
ladder from cheap to dear: plain numbers as text, the same text, the same value, a proof by sympy. support/verifier/latex.py
reads texts into values, and lists the kinds it reads; support/verifier/prover.py runs sympy. This is exact mathematics, without
tolerance: 0.333 is not 1/3. A text that can't be read equals only the same text. support/verifier/answers.md has examples.

How it is bounded. The text is model output, so it may be hostile. It is never evaluated: a tokenizer and a recursive
descent build values, and check limits on length, depth and number size before they compute anything. sympy can't be
bounded that way, so it runs in its own process, with limits on memory and on work. All these limits are counts, never
clocks: a verdict doesn't depend on how busy the machine is, nor on earlier verdicts.
"""

import json
import os
import re
import sys
from fractions import Fraction

from tqdm import tqdm

from support.verifier import latex, prover, spelling, values
from support.verifier.values import (
    INFINITY,
    SCALARS,
    SETS,
    add,
    has_symbol,
    kind_of,
    negative,
    require,
    solution_of,
    substitute,
)

MAX_RESPONSE = 200_000  # characters; of a longer response only the end is searched for an answer
MAX_COMPARISONS = 5_000  # of parts with parts, for one verdict
MAX_WORK = prover.MAX_WORK  # of sympy for one verdict: after so much, it asks nothing more
SALTS = "0123456789abcdef"  # of the order that the variables in a set are given, in tries
QUESTION_WORK = (
    2_000  # for a question as such: the process that answers it starts in some milliseconds
)
BRACE = re.compile(
    r"\\{1,4}(?:boxed|fbox)(?:\s{0,9}\{|\s{1,9}(?:[+-]?\.?\d[\d.,/]*|[A-Za-z]\b))|\\.|[{}]",
    re.DOTALL,
)
SEPARATOR = r"(?:[,;&\s$~*]|\\q?quad|\\[()\[\],;:& ]|\\text\s?\{|\}|\band\b|\\?l?or\b)"
NAME = r"(?P<name>\\?[A-Za-z]+'?(?:_\{?\w+\}?|\(\w+\))?\s?=\s?)?"
BETWEEN = re.compile(
    rf"(?=.*(?:[,;&]|quad|and|or)){SEPARATOR}*{NAME}", re.DOTALL
)  # of \boxed{1}, \boxed{2}
BEFORE = re.compile(rf"(?:^|[^\w\\]){NAME}$")


def extract(response: str) -> str | None:
    r"""The final answer in a response: the content of the last \boxed{} or \fbox{}, else the text after the last ####.

    Boxes with nothing but a comma or "and" between them are one answer. None if there is neither a box nor ####, if the
    last box is never closed, or if the answer is empty.
    """
    if not isinstance(response, str):
        return None
    response = response[-MAX_RESPONSE:]
    open_braces = []  # the span of a box, None for any other brace
    boxes = []  # of those that are closed and not in another box: (start, end, span of its content)
    for match in BRACE.finditer(response):
        if match[0][-1] == "{" and match[0] != "\\{":
            open_braces.append(match.span() if len(match[0]) > 1 else None)
        elif match[0] == "}" and open_braces and (box := open_braces.pop()):
            content = (box[1], match.start())
            while (
                boxes and boxes[-1][0] > box[0]
            ):  # a box around nothing but a box means the inner one
                start, end, inner = boxes.pop()
                around = response[box[1] : start] + response[end : match.start()]
                content = content if around.strip() else inner
            boxes.append((box[0], match.end(), content))
        elif len(match[0]) > 6:  # \boxed 5
            content = re.search(r"\s\S+$", match[0])
            boxes.append((*match.span(), (match.start() + content.start(), match.end())))
    if any(box and (not boxes or box[0] > boxes[-1][0]) for box in open_braces):
        return None
    if boxes:
        return (
            one_answer(response, boxes) if len(boxes) > 1 else response[slice(*boxes[0][2])].strip()
        ) or None
    _, found, line = response.rpartition("####")
    answer = line.strip(" \t").split("\n")[0].split("<|")[0]  # <|: a chat template's special token
    return (found and answer.strip()) or None


def one_answer(response: str, boxes: list) -> str:
    """The last box's content; or of all boxes that belong together, with the names on their left: x=1, x=2."""
    parts, joiner = [], ", "
    for i in reversed(range(len(boxes))):
        start, _, content = boxes[i]
        previous, end = boxes[i - 1][:2] if i else (start, 0)
        between = response[end:start] if start - end < 100 else ""
        joined = (
            BETWEEN.fullmatch(between)
            if response[previous:].startswith(response[start : start + 6])
            else None
        )
        name = joined or BEFORE.search(response[max(end, start - 30) : start])
        parts.append(
            (name["name"] or "" if name and (parts or joined) else "")
            + response[slice(*content)].strip()
        )
        if not joined:
            break
        joiner = " or " if re.search(r"or\b", between) else " and " if "and" in between else joiner
    return joiner.join(dict.fromkeys(reversed(parts)))


def equivalent(prediction: str, answer: str) -> bool:
    """Do the two texts write the same answer? Symmetric. An empty text equals nothing."""
    try:
        return climb(prediction.strip(), answer.strip())
    except Exception:  # noqa: BLE001  A policy looks for the input that stops the run; whatever it finds is wrong.
        return False


def climb(prediction: str, answer: str) -> bool:
    """The ladder from cheap to dear; it stops at the first step that knows."""
    # 1. Plain numbers, as text of any length: 1,000.0 is 1000. This is nearly all the traffic, and takes microseconds.
    number, answer_number = spelling.plain_number(prediction), spelling.plain_number(answer)
    if number is not None and answer_number is not None:
        return number == answer_number

    # 2. The same text, first as it stands, then with spacing and style aside.
    if prediction == answer or max(len(prediction), len(answer)) > spelling.MAX_TEXT:
        return prediction == answer != ""
    key, readings = latex.read(prediction)
    answer_key, answer_readings = latex.read_reference(answer)
    if key == answer_key:
        return key != ""

    # 3. Some reading of the one is the same value as some reading of the other: rationals exactly, the rest in parts.
    # 4. Where two parts are expressions, sympy has to prove that their difference is zero.
    budget = Budget()
    return any(same(a, b, budget) for a in readings for b in answer_readings)


def verify(response: str, answer: str) -> bool:
    """Is the final answer of this response right? False if there is none."""
    prediction = extract(response)
    return prediction is not None and equivalent(prediction, answer)


def verify_batch(responses: list[str], answers: list[str]) -> list[bool]:
    """`verify` for each pair, one after the other.

    A plain number takes microseconds, a question for sympy some milliseconds. No verdict costs sympy more than twice
    MAX_WORK, about a second, so a batch of n takes at most about n seconds. Only an attack on the verifier comes near.
    """
    return [verify(response, answer) for response, answer in zip(responses, answers, strict=True)]


def close() -> None:
    """End sympy's process, if there is one. A later verdict that needs one starts a new one."""
    prover.close()


# ---- The same value? -------------------------------------------------------------------------------------------------


class Budget:
    """The cost of one verdict so far, in counts."""

    def __init__(self):
        self.comparisons = 0
        self.work = 0

    def ask(self, question: str, a, b) -> str:
        if self.work > MAX_WORK:
            return "unknown"
        reply, work = prover.ask(question, a, b)
        self.work += work + QUESTION_WORK
        return reply


def same(a, b, budget) -> bool:
    budget.comparisons += 1
    require(budget.comparisons <= MAX_COMPARISONS)  # sets in sets in sets
    if a == b:
        return True
    kinds = {kind_of(a), kind_of(b)}
    if kinds <= SCALARS:
        return same_scalar(a, b, budget)
    if kinds == {"relation"}:
        return same_relation(a, b, budget)
    if "relation" in kinds:
        relation, other = (a, b) if kind_of(a) == "relation" else (b, a)
        name, value = solution_of(relation)
        return name is not None and same(value, other, budget)
    if "choice" in kinds:
        return same_choice(a, b, budget)
    if kinds & {"where", "builder"}:
        return same_where(a, b, kinds, budget)
    if "unit" in kinds:
        return same_quantity(split_unit(a), split_unit(b), budget)
    if kinds <= SETS and kinds & {"union", "and", "without", "comma"}:
        return same_set(a, b, budget)
    if "list" in kinds and kinds & {
        "union",
        "and",
        "without",
        "comma",
    }:  # (1, 2], (3, ∞) is their union
        items, other = (a[1:], b) if kind_of(a) == "list" else (b[1:], a)
        return all(map(values.is_interval, items)) and same(("union", *items), other, budget)
    if kinds <= {"list", "set"} or kinds == {"or"}:
        named = [{item[2] for item in value[1:] if kind_of(item) == "relation"} for value in (a, b)]
        ordered = len(named[0] | named[1]) > 1 and not all(named)  # x=1, y=2 is 1, 2, but not 2, 1
        return (same_row if ordered else same_items)(a[1:], b[1:], budget)
    if "set" in kinds:  # {42} is 42
        container, other = (a, b) if kind_of(a) == "set" else (b, a)
        return len(container) == 2 and same(container[1], other, budget)
    return kinds <= {"pair", "tuple", "list", "matrix"} and same_vector(a, b, kinds, budget)


def same_scalar(a, b, budget) -> bool:
    """Numbers and expressions that aren't written alike."""
    if INFINITY in (a, b):
        return False
    simple = all(isinstance(value, Fraction) or value[0] == "symbol" for value in (a, b))
    return not simple and budget.ask("equal", a, b) == "equal"


def split_unit(value):
    return value[1:] if kind_of(value) == "unit" else (value, "")


def same_quantity(a, b, budget) -> bool:
    """A unit that only one side has makes no difference. 50% is 0.5, and next to a number without a unit also 50."""
    (x, x_unit), (y, y_unit) = a, b
    if (x_unit == y_unit or not (x_unit and y_unit)) and same(x, y, budget):
        return True
    if {x_unit, y_unit} != {"%", ""}:
        return False
    percent, number = (x, y) if x_unit == "%" else (y, x)
    return kind_of(percent) == "rational" and same(percent / 100, number, budget)


def same_vector(a, b, kinds, budget) -> bool:
    """Ordered containers: (1, 2), [1, 2], a bare 1, 2, a matrix."""
    shapes = [(len(value) - 1, len(value[1])) for value in (a, b) if value[0] == "matrix"]
    if len(set(shapes)) > 1 or (len(kinds) > 1 and any(1 not in shape for shape in shapes)):
        return False
    brackets = {value[3] for value in (a, b) if value[0] == "pair"}
    if len(brackets) > 1:  # (1, 2) isn't [1, 2]
        return False
    if len(kinds) > 1 and brackets & {"(]", "[)"}:  # nor is the half-open interval a list
        return False
    return same_row(entries(a), entries(b), budget)


def entries(value):
    if value[0] == "matrix":
        return [entry for row in value[1:] for entry in row]
    return value[1:3] if value[0] == "pair" else value[1:]


def same_row(a, b, budget) -> bool:
    return len(a) == len(b) and all(same(x, y, budget) for x, y in zip(a, b, strict=True))


def same_items(a, b, budget) -> bool:
    """In any order, repetitions aside."""
    if set(a) == set(b):
        return True
    if not all(any(same(x, y, budget) for y in b) for x in a):
        return False
    return all(any(same(x, y, budget) for x in a) for y in b)


def same_set(a, b, budget) -> bool:
    """Sets of real numbers, made of intervals, numbers and other sets: do they have the same points?

    It is enough to look at the ends of all intervals and between them. Variables are tried in many orders.
    """
    try:
        ends = set(values.ends(a) + values.ends(b))
        for salt in [""] if all(values.position(end) is not None for end in ends) else SALTS:
            at = {end: values.position(end, salt) for end in ends}
            require(None not in at.values())
            ranks, last = {}, None
            for end in sorted(ends, key=at.get):
                near = last is not None and abs(at[end] - at[last]) < 1e-9 * max(1, abs(at[end]))
                ranks[end] = ranks[last] if near and same(end, last, budget) else 2 * len(ranks) + 1
                last = end
            if values.points(a, ranks) != values.points(b, ranks):
                return False
        return True
    except values.Unreadable:  # tuples, complex numbers, units
        a, b = (value[1] if value[0] == "union" and len(value) == 2 else value for value in (a, b))
        if a[0] != b[0] or a[0] == "pair":
            return a[0] == b[0] and same_vector(a, b, {"pair"}, budget)
        return (same_row if a[0] == "without" else same_items)(a[1:], b[1:], budget)


def same_relation(a, b, budget) -> bool:
    _, operators, *members = a
    _, other_operators, *other_members = b
    (name, value), (other_name, other_value) = solution_of(a), solution_of(b)
    if name and other_name and (names := one_name(name, other_name)) is not None:
        uses = {name: has_symbol(value, ("symbol", name)) for name in {*names, *names.values()}}
        free = all(
            old == new or (uses[old] and (new in names or not uses[new]))
            for old, new in names.items()
        )
        return free and same(substitute(value, names), other_value, budget)
    if operators != other_operators:
        return False
    if same_row(members, other_members, budget):
        return True
    if len(operators) != 1 or operators[0] not in ("=", "≠", "<", "≤"):
        return False
    gap, other_gap = (add(left, negative(right)) for left, right in (members, other_members))
    ratio = budget.ask("ratio", gap, other_gap)  # 2x - y + 1 = 0 is y = 2x + 1; -x < 1 is x > -1
    return ratio == "positive" or (ratio == "negative" and operators[0] in ("=", "≠"))


def one_name(a, b) -> dict | None:
    """The names to change in the one to make it the other: x for t if they are f(t) and f(x). E is E(x, 0). Or None."""
    if a == b or not isinstance(a, tuple) or not isinstance(b, tuple):
        return {} if a == b else None
    a, b = map(as_call, (a, b))
    kinds = {a[0], b[0]}
    if (
        not kinds <= {"symbol", "call", "word"}
        or kinds == {"word"}
        or a[1].partition("(")[0] != b[1].partition("(")[0]
    ):
        return None
    if kinds != {"call"}:
        return {}
    old, new = (
        [part[1] for part in call[2:] if kind_of(part) == "expression" and part[0] == "symbol"]
        for call in (a, b)
    )
    renamed = (
        a[1] not in values.FUNCTIONS | values.ACCENTS
        and len(old) == len(a) - 2 == len(set(new)) == len(b) - 2
    )
    return (
        dict(zip(old, new, strict=True))
        if renamed and not {"e", "i", "pi"} & {*old, *new}
        else None
    )


def as_call(value):
    """P(x), which is read as a word, as f(x) is."""
    match = re.fullmatch(r"(\\?\w+)\((\w(?:,\w)*)\)", value[1]) if value[0] == "word" else None
    return (
        ("call", match[1], *(("symbol", name) for name in match[2].split(","))) if match else value
    )


def same_choice(a, b, budget) -> bool:
    """(B) 42 is B, and also 42. Two that have both must agree in both."""
    if kind_of(a) == kind_of(b):
        return a[1] == b[1] and same(a[2], b[2], budget)
    choice, other = (a, b) if kind_of(a) == "choice" else (b, a)
    return other == ("symbol", choice[1]) or same(choice[2], other, budget)


def same_where(a, b, kinds, budget) -> bool:
    """2k for k in Z is 2n for n in Z; and 2k: a condition that only one side has makes no difference, but in a set."""
    (x, *conditions), (y, *others) = (
        value[1:] if kind_of(value) in ("where", "builder") else [value] for value in (a, b)
    )
    if not conditions or not others:
        return "builder" not in kinds and same(x, y, budget)
    (name, _), (other, _) = solution_of(conditions[0]), solution_of(others[0])
    if name and other and name[0] == other[0] == "symbol" and not has_symbol(x, other):  # 2k and 2n
        x, *conditions = (substitute(value, {name[1]: other[1]}) for value in (x, *conditions))
    return same(x, y, budget) and same_items(conditions, others, budget)


# ---- Command line ----------------------------------------------------------------------------------------------------

USAGE = """usage: python reward.py RESPONSE ANSWER
       python reward.py --file PAIRS.jsonl > GRADED.jsonl

Prints `correct` or `incorrect`, and the final answer that was extracted from RESPONSE.
With --file, reads a JSON object with "response" and "answer" a line, and writes it with "correct" and "extracted"; a
progress bar and the totals go to stderr. Exit code 0, or 2 if the arguments or the file can't be used."""


def main(arguments: list[str]) -> int:
    sys.stdout.reconfigure(errors="backslashreplace")
    if arguments in (["--help"], ["-h"]):
        print(USAGE)
        return 0
    if len(arguments) == 1 and arguments[0].startswith("--file="):
        arguments = arguments[0].split("=", 1)
    if len(arguments) != 2 or (arguments[0] != "--file" and re.match("--[a-z]", arguments[0])):
        print(
            "reward.py: expected RESPONSE ANSWER or --file FILE.jsonl; --help explains",
            file=sys.stderr,
        )
        return 2
    if arguments[0] == "--file":
        return verify_file(arguments[1])
    print("correct" if verify(*arguments) else "incorrect")
    print("extracted:", extract(arguments[0]))
    return 0


def verify_file(path: str) -> int:
    rows = []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):  # noqa: B007  the error names it
                if line.strip():
                    rows.append(json.loads(line))
                    _ = (
                        rows[-1]["response"] + "",
                        rows[-1]["answer"] + "",
                    )  # a TypeError if it isn't text
    except OSError as error:
        print(f"reward.py: can't read {path}: {error.strerror}; check the path", file=sys.stderr)
        return 2
    except (ValueError, LookupError, TypeError, RecursionError):
        expected = 'expected a JSON object with strings "response" and "answer"'
        print(f"reward.py: {path}, line {number}: {expected}", file=sys.stderr)
        return 2
    counts = {"correct": 0, "without an answer": 0}
    for row in tqdm(rows, desc="grading", unit="pair", disable=None):
        row |= {
            "correct": verify(row["response"], row["answer"]),
            "extracted": extract(row["response"]),
        }
        counts["correct"] += row["correct"]
        counts["without an answer"] += row["extracted"] is None
        tqdm.write(json.dumps(row))
    print(
        f"{len(rows)} pairs: " + ", ".join(f"{n} {name}" for name, n in counts.items()),
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code)
