r"""The reader of LaTeX: a text becomes values that can be compared exactly. It is never evaluated.

    text -> spelling.normalize: one character or command for each way to write it
         -> tokens.tokenize -> parser.parse_tokens: recursive descent -> values

README.md has the grammar, how each kind of answer is read, and which texts have several readings. A
text that can't be read is only compared as text; so is 1/0, which has no value.
"""

import re
from contextlib import suppress
from functools import lru_cache

from support.verifier import words
from support.verifier.parser import parse_tokens
from support.verifier.spelling import MIXED_NUMBER, mixed_number, normalize
from support.verifier.tokens import text_key, tokenize
from support.verifier.values import Unreadable, kind_of


def matrix(match) -> str:
    """[[1, 2], [3, 4]]"""
    rows = re.findall(r"\[([^][]*)\]", match[0].replace(",", "&"))
    return "\\begin{pmatrix}" + r"\\".join(rows) + "\\end{pmatrix}"


KNOWN = sorted(words.UNITS.keys() | words.SCALES.keys(), key=len, reverse=True)
UNIT = f"(?:{'|'.join(map(re.escape, KNOWN))})"
OF_UNIT = rf"(?:\s|~|\\[,;: ])*(?:\\?%|[¤€£¥₹°]|(?:\\\w+\s?\{{\s?)?{UNIT}s?\b)"
AMOUNT = r"((?:[^A-Za-z\\]|\\(?:times|cdot|pm)\b|(?<=\d)[eE](?=[-+\d]))*[\d)}])"
GAP = r"(?:\s+|(?<=\.\d)(?=[A-Z])|(?<=\.\d\d)(?=[A-Z]))"
OTHER_SPELLINGS = [  # of the texts that are ambiguous
    # 1,22  3,05  0,125; but neither 2,5 nor 1,20 nor -5,0
    (r"^([+-]?(?:0(?=,\d\d)|\d+(?=,(?:\d\d$|0)))),(\d*[1-9])$", r"\1.\2"),
    # €2,50  2,5 kg  2,5\%
    (rf"^([¤€£¥₹]\s?[+-]?\d+|[+-]?\d+(?=,\d+{OF_UNIT})),(?!0+\b)(\d+)(\D*)$", r"\1.\2\3"),
    # 3 * 10^8 m/s  8.3 J mol^{-1} K^{-1}  5 (g)  0.64N
    (rf"^{AMOUNT}{GAP}(\(?{UNIT}\b(?:[-/*^{{}}()\d\s]|{UNIT}\b)*)$", r"\1 \\text{\2}"),
    # A(1,2)  C(12,3)  _{12}C_3
    (r"^([A-MO-TV-Z])\s?(\([^()]*,[^()]*\))$", r"\1=\2"),
    (r"(?<![A-Za-z\\])C\s?\(\s?(\d+)\s?,\s?(\d+)\s?\)", r"\\binom{\1}{\2}"),
    (r"(?<![\w}])[_^]\s?\{?(\d+)\}?\s?C\s?_\s?\{?(\d+)\}?", r"\\binom{\1}{\2}"),
    (r"^\[\s*(?:\[[^][]*\][,\s]*){2,}\]$", matrix),
    (r"^0?(\d\d?):(\d\d)$", r"T_{a\1:\2}"),
    (r"^0?(\d\d?):(\d\d)$", r"T_{p\1:\2}"),
    (r"^(?:\\text\s?\{)?\(([a-h])\)\}?$", lambda match: match[1].upper()),
]
OTHER_SPELLINGS = [(re.compile(pattern), new) for pattern, new in OTHER_SPELLINGS]
CHOICE = re.compile(
    r"""(?xs)  # (B) 42  B: 42  \textbf{(B)}\ 42  C. Paris, but neither E. coli nor A: B
    \s?(?P<open>\\[a-z]{4,6}\s?\{\s?)?\(?(?:\\[a-z]{4,6}\s?\{)?(?P<letter>[A-J])\}?\s?
    (?:\)|\.(?=\s*(?:\}|[A-Z\d\\¤]|\w\W|\w+\ \w+\ \w+))|:(?=[\s\d¤\\])|[-–—]\ (?=[A-Z][a-z]))
    (?P<close>\s?\})?[.:]?\s?(?P<content>(?!\s?[A-J]\W*$).+)"""
)
HEDGE = re.compile(
    r"""(?x)  # in a choice: another letter, or a change of mind
    (?<![A-Za-z\\])(?:[B-HJ]|A(?!\ [a-z]))(?![A-Za-z'])
    |(?i:\b(?:or|not|no)\s*(?:$|\}|,|this)|wrong|incorrect|actually|instead|isn't
    |\b(?:is|are)\ (?:not|false|right))"""
)
VERDICT = re.compile(
    r"""(?xis)  # Yes, it is continuous: a sentence, without a second thought, and no value
    (?:\\[a-z]+\s?\{\s?)? (?P<letter>yes|no|true|false)\s?\}?\s?[,.;:–]
    (?!.*(?:\d|=|\b(?:yes|no|true|false|but|wait|or|actually|instead|wrong|maybe|unless|if|only)\b))
    (?=.*[a-z]{2}.*\W[a-z]{2}) (?P<content>.+)"""
)


def read_answer(text: str) -> tuple[str, list]:
    """The text's key for comparison as text, and its readings.

    There are none if it can't be read, several if it is ambiguous.
    """
    text = normalize(text)
    choice = CHOICE.fullmatch(text)
    verdict = VERDICT.fullmatch(text)
    key, readings = read_plain(text)
    if choice:
        readings = read_choice(choice)
    elif verdict:
        readings = [("choice", verdict["letter"].casefold(), ("word", key))]
    return key, readings


# All responses of a group are held against one answer.
read_reference = lru_cache(maxsize=512)(read_answer)


def read_plain(text: str) -> tuple[str, list]:
    """The key and the readings of a normalized text that is no choice."""
    spellings = [text]
    for pattern, new in OTHER_SPELLINGS:
        spellings += [pattern.sub(new, other) for other in spellings if pattern.search(other)]
    keys = []
    readings = []
    for spelling in spellings:
        tokens = tokenize(MIXED_NUMBER.sub(mixed_number, spelling))
        keys.append(text_key(tokens))
        with suppress(Unreadable, RecursionError):
            readings.append(parse_tokens(tokens))
    return keys[0], readings


def read_choice(choice: re.Match) -> list:
    """The readings of (B) 42: a letter, and a content in which no further choice begins."""
    content = choice["content"]
    if choice["open"] and not choice["close"]:
        content = content.replace("}", "", 1)
    content_key, values = read_plain(normalize(content))
    if HEDGE.search(content):
        return []
    values = values or [("word", content_key)]
    return [("choice", choice["letter"], value) for value in values]


def is_sentence(text: str) -> bool:
    """Is this a text of many words and no value, which no response would equal?"""
    long_words = re.findall(r"(?<![\\A-Za-z])[A-Za-z]{2,}", text)
    readings = []
    with suppress(Unreadable):
        _, readings = read_answer(text)
    return len(long_words) > 6 and all(kind_of(value) in ("word", "unit") for value in readings)
