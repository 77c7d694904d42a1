r"""The verifier: is the final answer of a response right? In RL this is the reward.

    python reward.py 'So it is \boxed{\frac{1}{2}}.' 0.5    prints `correct`, and the answer found
    python reward.py --file PAIRS.jsonl                     grades {"response", "answer"} lines

How it decides. `extract` takes the last \boxed{...}, else the text after the last ####.
`equivalent` is a ladder from cheap to dear: plain numbers as text, the same text, the same value,
a proof by sympy. This is exact mathematics, without tolerance: 0.333 is not 1/3. A text that can't
be read equals only the same text. The last two rungs are in support/verifier/; its README.md says
how LaTeX becomes values, and its answers.md has examples.

How it is bounded. The text is model output, so it may be hostile. It is never evaluated. Parsing
has limits on length, depth and the size of numbers. sympy runs in its own process, with limits on
memory and on work. All these limits are counts, never clocks. So a verdict doesn't depend on how
busy the machine is, nor on earlier verdicts.
"""

import re
from itertools import pairwise
from typing import NamedTuple

from support.verifier.compare_values import same_answer
from support.verifier.spelling import plain_number

MAX_RESPONSE = 200_000  # characters; of a longer response only the end is searched for an answer

# ---- The answer in a response --------------------------------------------------------------------

BRACE = re.compile(
    r"""(?xs)
    \\{1,4} (?:boxed|fbox)                               # \boxed, also if it was escaped twice,
        (?: \s{0,9}\{                                    # and then {
          | \s{1,9}(?P<bare>[+-]?\.?\d[\d.,/]*|[A-Za-z]\b) )  # or a number or letter without braces
    | \\.                                                # \{ and \} are no braces
    | [{}]"""
)
NAME = r"(?P<name>\\?[A-Za-z]+'?(?:_\{?\w+\}?|\(\w+\))?\s?=\s?)?"  # x =, f(2) =, or nothing
DOUBT = (
    r"(?:\b(?:maybe|perhaps|possibly|alternatively"
    r"|(?:but )?(?:it )?(?:could|might|may)(?: also)? be)\b)"
)
SEPARATOR = (
    r"(?:[,;&\s$~*(/?]|\\q?quad|\\[()\[\],;:& ]|\\text\s?\{|\}|\band\b|\\?l?or\b"
    rf"|\.(?=\W*(?:or\b|{DOUBT}))|\b(?:else|even|probably)\b|{DOUBT})"
)
BETWEEN = re.compile(rf"(?i)(?=.*(?:[,;&/]|quad|and|or|{DOUBT})){SEPARATOR}*{NAME}", re.DOTALL)
BEFORE = re.compile(rf"(?:^|[^\w\\]){NAME}$")


class Box(NamedTuple):
    r"""Where a \boxed{...} is in a response."""

    start: int
    end: int
    content: slice


def extract(response: str) -> str | None:
    r"""The final answer in a response: the last \boxed{}, else the text after the last ####.

    \fbox{} is a box too. Boxes with nothing but a comma or "and" between them are one answer.
    None if there is neither a box nor ####, if the last box is never closed, or if the answer is
    empty.
    """
    if not isinstance(response, str):
        return None
    response = response[-MAX_RESPONSE:]
    boxes = find_boxes(response)
    if boxes is None:
        return None
    if boxes:
        return join_boxes(response, boxes) or None
    _, marker, line = response.rpartition("####")
    if not marker:
        return None
    line = line.strip(" \t").split("\n")[0]
    answer = line.split("<|")[0].strip()  # <| begins a chat template's special token
    return answer or None


def find_boxes(response: str) -> list[Box] | None:
    """The boxes that aren't inside another, in order. None if the last box is never closed."""
    braces = []  # open now: where a box starts and its content, None for any other brace
    boxes = []
    for match in BRACE.finditer(response):
        text = match[0]
        if match["bare"]:
            boxes.append(Box(match.start(), match.end(), slice(*match.span("bare"))))
        elif text == "{":
            braces.append(None)
        elif text.endswith("{") and text != r"\{":
            braces.append(match.span())
        elif text == "}" and braces:
            opening = braces.pop()
            if opening is not None:
                boxes.append(close_box(response, boxes, opening, match))
    open_boxes = [opening for opening in braces if opening is not None]
    if open_boxes and (not boxes or open_boxes[-1][0] > boxes[-1].start):
        return None
    return boxes


def close_box(response: str, boxes: list[Box], opening, closing) -> Box:
    """The box that ends here. It takes the boxes inside it off the list."""
    start, content_start = opening
    content = slice(content_start, closing.start())
    while boxes and boxes[-1].start > start:
        inner = boxes.pop()
        around = response[content_start : inner.start] + response[inner.end : closing.start()]
        if not around.strip():  # a box around nothing but a box means the inner one
            content = inner.content
    return Box(start, closing.end(), content)


def join_boxes(response: str, boxes: list[Box]) -> str:
    """The last box's content; or x=1, x=2 of all boxes that belong together, names included."""
    if len(boxes) == 1:
        return response[boxes[0].content].strip()
    parts = []
    joiner = ", "
    beginning = Box(boxes[0].start, 0, slice(0))
    for previous, box in reversed(list(pairwise([beginning] + boxes))):
        between = response[previous.end : box.start]
        command = response[box.start : box.start + 6]  # boxes don't join an fbox
        joined = None
        if len(between) < 100 and response.startswith(command, previous.start):
            joined = BETWEEN.fullmatch(between)
        label = joined or BEFORE.search(between[-30:])
        name = label["name"] if label and (parts or joined) else None
        parts.append((name or "") + response[box.content].strip())
        if not joined:
            break
        if re.search(rf"(?i)or\b|{DOUBT}", between):
            joiner = " or "
        elif "and" in between:
            joiner = " and "
    distinct = dict.fromkeys(reversed(parts))
    return joiner.join(distinct)


# ---- The verdict ---------------------------------------------------------------------------------


def equivalent(prediction: str, answer: str) -> bool:
    """Do the two texts write the same answer? Symmetric. An empty text equals nothing."""
    try:
        prediction = prediction.strip()
        answer = answer.strip()

        # 1. Plain numbers as text, of any length: 1,000.0 is 1000.
        # This is nearly all the traffic, and takes microseconds.
        number = plain_number(prediction)
        answer_number = plain_number(answer)
        if number is not None and answer_number is not None:
            return number == answer_number

        # 2. The same text.
        if prediction == answer:
            return answer != ""

        # 3. The same value: rationals exactly, everything else part by part.
        # 4. Where two parts are expressions, sympy has to prove that their difference is zero.
        return same_answer(prediction, answer)
    except Exception:  # noqa: BLE001
        return False  # a policy looks for the input that stops the run; whatever it finds is wrong


def verify(response: str, answer: str) -> bool:
    """Is the final answer of this response right? False if there is none."""
    prediction = extract(response)
    return prediction is not None and equivalent(prediction, answer)


def verify_batch(responses: list[str], answers: list[str]) -> list[bool]:
    """`verify` for each pair, one after the other.

    A plain number takes microseconds, a question for sympy some milliseconds. No verdict costs
    sympy more than twice prover.MAX_WORK: one to two seconds on an idle core. So a batch of n takes
    at most about 2n seconds. Only an attack on the verifier comes near.
    """
    return [verify(response, answer) for response, answer in zip(responses, answers, strict=True)]


if __name__ == "__main__":
    from support.verifier.grade import main

    main()
