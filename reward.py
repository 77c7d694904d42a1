r"""The verifier: is the final answer of a response right?  In RL this is the reward.

    python reward.py 'So it is \boxed{\frac{1}{2}}.' 0.5      prints `correct` and what it extracted
    python reward.py --file rows.jsonl                        {"response", "answer"} a line -> a verdict a line

How it decides. `extract` takes the last balanced \boxed{...} (or \fbox), else the last `#### x`. `equivalent` then goes
from cheap to dear, and stops at the first step that knows:

    1. plain numbers, as text        1,000.0 = 1000, of any length; nearly all the traffic, microseconds
    2. text after normalization      the same tokens, spacing and style aside
    3. structure                     both sides read into a small tree of tuples; rationals are exact `Fraction`s, sums and
                                     products are sorted; lists, sets, intervals, matrices, equations part by part
    4. numbers at sample points      to 20 proven digits, which can only say "different"
    5. symbolic simplification       sympy has to prove that the difference is zero

It is exact mathematics, without tolerance: 0.333 is not 1/3. What can't be read equals only the same text.

How it is bounded. The text is model output, so it may be hostile. It is never evaluated: an own tokenizer and recursive
descent build the tree, with limits on length, depth and number size that are checked before anything is computed;
a power or factorial too large to compute stays a symbol of itself. Steps 4 and 5 can't be bounded that way, and threads
can't be stopped, so they run in one worker process: started on first need, used under a lock from any thread, limited in
CPU time and memory, killed and replaced when it is late, gone after `close()` or at exit. sympy is imported only there.
"""

import atexit
import json
import math
import os
import re
import subprocess
import sys
import threading
import time
import unicodedata
import warnings
from contextlib import suppress
from fractions import Fraction
from functools import lru_cache

MAX_RESPONSE = 200_000  # characters; of a longer response only the end is searched for an answer
MAX_TEXT = 10_000  # characters of an answer that is read rather than only compared
MAX_TOKENS = 2_000
MAX_DEPTH = 40  # brackets, functions and exponents inside one another
MAX_BITS = 14_000  # of a numerator or denominator: about 4,200 digits, below Python's own limit on int <-> str
MAX_COMPARISONS = 5_000  # of parts with parts, for one verdict
MAX_QUESTION = 20_000  # characters that the worker is asked
MAX_EXPONENT = 500  # in the worker; sympy computes a power as soon as it sees it
CPU_SECONDS = 0.25  # of the worker, for one question
WALL_SECONDS = 0.4  # then it is killed (it may sit in one long C call, or the machine may be busy)
VERDICT_SECONDS = 0.2  # after so much time with the worker, one verdict asks it nothing more
START_SECONDS = 20.0  # for the worker to import sympy (0.3 s on a quiet machine)
MEMORY_BYTES = 2 << 30  # of address space, for the worker


class _Unreadable(Exception):
    """This text is not in the grammar, has no value (1/0), or would be too large."""


def _require(condition) -> None:
    if not condition:
        raise _Unreadable


# ---- Public functions ------------------------------------------------------------------------------------------------


def extract(response: str) -> str | None:
    r"""The final answer in a response: what the last \boxed{} or \fbox{} holds, else what follows the last `####`.

    None if there is neither, if the last box is never closed, or if the answer is empty.
    """
    if not isinstance(response, str):
        return None
    response = response[-MAX_RESPONSE:]
    open_braces = []  # the span of a box, None for any other brace
    last = None  # the box that closed last: (start, end, span of its content)
    for match in _BRACE.finditer(response):
        if match[0][-1] == "{" and match[0] != "\\{":
            open_braces.append(match.span() if len(match[0]) > 1 else None)
        elif match[0] == "}" and open_braces and (box := open_braces.pop()):
            content = (box[1], match.start())
            if last and last[0] > box[0]:  # a box around nothing but a box means the inner one
                around = response[box[1] : last[0]] + response[last[1] : match.start()]
                content = content if around.strip() else last[2]
            last = (box[0], match.end(), content)
    if any(box and (last is None or box[0] > last[0]) for box in open_braces):
        return None
    if last:
        return response[slice(*last[2])].strip() or None
    _, found, line = response.rpartition("####")
    answer = line.strip(" \t").split("\n")[0].split("<|")[0]  # <|: a chat template's special token
    return (found and answer.strip()) or None


def equivalent(prediction: str, answer: str) -> bool:
    """Do the two texts write the same answer? Symmetric. An empty text equals nothing."""
    try:
        return _equivalent(prediction.strip(), answer.strip())
    except Exception:  # noqa: BLE001  A policy looks for the input that stops the run; whatever it finds is wrong.
        return False


def _equivalent(prediction: str, answer: str) -> bool:
    left, right = _plain_number(prediction), _plain_number(answer)
    if left is not None and right is not None:
        return left == right
    if prediction == answer or max(len(prediction), len(answer)) > MAX_TEXT:
        return prediction == answer != ""
    (left, left_readings), (right, right_readings) = _read(prediction), _read_reference(answer)
    if left == right:
        return left != ""
    judge = _Judge()
    return any(judge.same(a, b) for a in left_readings for b in right_readings)


def verify(response: str, answer: str) -> bool:
    """Is the final answer of this response right? False if there is none."""
    prediction = extract(response)
    return prediction is not None and equivalent(prediction, answer)


def verify_batch(responses: list[str], answers: list[str]) -> list[bool]:
    """`verify` for each pair. A reference answer is read once, however many responses of its group it is held against."""
    return [verify(response, answer) for response, answer in zip(responses, answers, strict=True)]


def close() -> None:
    """End the worker process, if there is one. A later verdict that needs one starts a new one."""
    with _WORKER.lock:
        _WORKER.stop()


# ---- Normalization: one character for every way to write it ----------------------------------------------------------

_BRACE = re.compile(r"\\{1,4}(?:boxed|fbox)\s{0,9}\{|\\.|[{}]", re.DOTALL)
_PLAIN_NUMBER = re.compile(r"([+-]?)(?:\\?\$)?([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.([0-9]*))?")
_EXPLICIT_GROUP = re.compile(r"(?<=\d)(?:\{,\}|,\\!\s{0,9}|\\[,;:! ]|~)(?=\d{3}(?!\d))")  # 1{,}234  1\,234
_SPACED_GROUP = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?: \d{3})+(?![\d/.]| \d| ?\\[dtc]?frac)")  # 1 234
_COMMA_GROUP = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?!\d|,\d)")  # 1,234
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+[^\d,;(\[{]*")  # 1,22
_CHOICE = re.compile(r"(?:\\[a-z]{4,6}\s?\{)?\(?([A-J])[).:]\s?\}?[.:]?\s?([\d\\$-][^(),;:A-Z]*)")  # (B) 42
_SHORT_UNIT = re.compile(r"([+-]?[\d.,/]+) ([A-Za-z]{1,2})([/^{}A-Za-z\d]{0,9})")  # 5 m, 12 m/s
_MIXED = re.compile(  # 2\frac{1}{2} or 2 1/2
    r"(?<![\d.^_}\]])(?<!frac|sqrt)(?<!binom)(\d+)(?:(?:[ ~]|\\[,;! ]){0,3}\\[dtc]?frac ?(?:\{ ?(\d+) ?\}|(\d)) ?"
    r"(?:\{ ?(\d+) ?\}|(\d)(?!\d))|(?:[ ~]|\\[,;! ]){1,3}(\d+) ?/ ?(\d+))"
)
_DEGREE = re.compile(r"(?:\^\s?(?:\{\s?\\circ\s?\}|\\circ|\\degree)|\\degree|°)(?:\s?[CF]\b)?")

_SCRIPT = re.compile("([⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+)|[₀₁₂₃₄₅₆₇₈₉]+")
_CHARACTERS = dict(zip("−–—‒′’×·⋅∙∗÷∕⁄⩽⩾≃º。√∛", [*"----''*****///≤≥≈°.", "\\sqrt ", "\\sqrt[3]"], strict=True))


@lru_cache(maxsize=1024)
def _fold_character(char: str) -> str:
    """Greek letters by name, vulgar fractions as \\frac, digits of any script and full-width forms as ASCII."""
    if char in _CHARACTERS:
        return _CHARACTERS[char]
    category = unicodedata.category(char)
    if category in ("Nd", "Cf", "Zs"):
        return str(unicodedata.decimal(char)) if category == "Nd" else " " * (category == "Zs")
    if name := re.fullmatch("GREEK (SMALL|CAPITAL) LETTER ([A-Z]+)", unicodedata.name(char, "")):
        letter = name[2].replace("LAMDA", "LAMBDA")
        return f"\\{letter.lower() if name[1] == 'SMALL' else letter.capitalize()} "
    numerator, slash, denominator = unicodedata.normalize("NFKC", char).partition("⁄")
    return f"\\frac{{{numerator}}}{{{denominator}}}" if slash else numerator


def _normalize(text: str) -> str:
    if not text.isascii():
        text = _SCRIPT.sub(lambda m: f"{'^' if m[1] else '_'}{{{unicodedata.normalize('NFKC', m[0])}}}", text)
        text = "".join(char if char.isascii() else _fold_character(char) for char in text.replace("ℝ", "\\mathbb R"))
        _require(len(text) <= MAX_TEXT)  # one character can stand for eighteen
    text = re.sub(r"\\\$|[€£¥¢₹]", "", text).replace("$", " ").replace("...", "\\ldots ")
    if "\\begin" not in text:
        text = re.sub(r"\\\\(?=[A-Za-z])", r"\\", text)  # \\frac, from a source that was escaped twice
    text = re.sub(r"\\mathbb\s?(?:\{R\}|R)", r"(-\\infty,\\infty)", _DEGREE.sub("°", text))
    text = _EXPLICIT_GROUP.sub("", text.lstrip(" \t\r\n*`").rstrip(" \t\r\n*`.,;:\\"))
    return _SPACED_GROUP.sub(lambda match: match[0].replace(" ", ""), text)


def _mixed_number(match) -> str:
    """As a sum; but 2\\frac{3}{2} is a product, as it stands."""
    whole, numerator, denominator = filter(None, match.groups())
    proper = len(match[0]) < 300 and 0 < int(numerator) < int(denominator)
    return rf"({whole}+\frac{{{numerator}}}{{{denominator}}})" if proper else match[0]


def _plain_number(text: str) -> str | None:
    """The canonical text of an integer or decimal of any length ("+1,050.50" -> "1050.5"), None for anything else."""
    match = _PLAIN_NUMBER.fullmatch(text)
    if match is None:
        return None
    sign, whole, decimals = match.groups("")
    whole, decimals = whole.replace(",", "").lstrip("0"), decimals.rstrip("0")
    return f"{sign.strip('+')}{whole}.{decimals}".rstrip(".") if whole or decimals else "0"


# ---- Tables ----------------------------------------------------------------------------------------------------------


def _table(rows: str) -> dict[str, str]:
    """Every word of a row stands for the row's first word."""
    return {word: row.split()[0] for row in rows.split(";") for word in row.split()}


_SYMBOLS = _table("^ **; = == :=; ≤ <= =<; ≥ >=; ≠ !=; ≈ ~=; ± +-")
_COMMANDS = _table(r"""* cdot times ast; / div; = equiv; < lt; > gt; ≤ le leq leqslant leqq; ≥ ge geq geqslant geqq;
    ≠ ne neq; ≈ approx sim simeq doteq; → to rightarrow; ± pm; ∓ mp; ∪ cup; ∈ in; ∅ emptyset varnothing; ∞ infty;
    | lvert rvert vert mid; : colon; or lor vee; ⟨ langle; ⟩ rangle; ⌊ lfloor; ⌋ rfloor; ⌈ lceil; ⌉ rceil;
    \{ { lbrace; \} } rbrace; frac dfrac tfrac cfrac; binom dbinom tbinom; sqrt; over; choose; sum; prod; int; lim; %""")
_FUNCTIONS = _table("""sin; cos; tan; cot; sec; csc; asin arcsin; acos arccos; atan arctan; sinh; cosh; tanh; log ln; lg;
    exp; abs; floor; ceil ceiling; factorial; binomial""")
_NAMES = _table("""alpha; beta; gamma; delta; epsilon varepsilon; zeta; eta; theta vartheta; iota; kappa; lambda; mu; nu;
    xi; pi; rho; sigma; tau; upsilon; phi varphi; chi; psi; omega; Gamma; Delta; Theta; Lambda; Xi; Pi; Sigma; Phi; Psi;
    Omega; ell""")
_PLAIN = _table("and; or; sqrt; ∞ infinity inf oo")
_UNITS = _table("""% percent pct; degree degrees deg; mm millimeter millimetre; cm centimeter centimetre; m meter metre;
    km kilometer kilometre; inch inches; ft foot feet; mg milligram; g gram; kg kilogram; lb lbs pound; oz ounce;
    ml milliliter millilitre; l liter litre; s sec second; min minute; h hr hour; / per; ^2 square sq; ^3 cubic;
    dollar USD; euro EUR""")
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_NEGATIONS = {"not", "no", "never", "except", "isn"}  # "42 not" isn't 42 with a unit
_TRIGONOMETRIC = {"sin", "cos", "tan", "cot", "sec", "csc"}
_SEPARATORS = {",", ";", "and", "or"}
_RELATIONS = {"=", "<", ">", "≤", "≥", "≠", "≈", "∈", "→"}
_CLOSERS = {"(": ")]", "[": ")]", "{": ["}", "over", "choose"], "\\{": ["\\}"], "⟨": "⟩", "⌊": "⌋", "⌈": "⌉"}
_FACTOR_STARTS = {"(", "[", "{", "⌊", "⌈", "frac", "binom", "sqrt", "∞", "sum", "prod", "int", "lim"}
_IGNORED = _table("""left; right; middle; big; Big; bigg; Bigg; bigl; bigr; Bigl; Bigr; large; Large; displaystyle; textstyle;
    limits; quad; qquad; boxed; fbox; mathbf; mathit; mathsf; mathcal; mathbb; boldsymbol; bm; text; textbf; textit; mathrm;
    rm; bf; overline; underline; bar; vec; hat; widehat; tilde; overrightarrow; angle; triangle; phantom; ensuremath""")


# ---- Tokens: (kind, text, is there space before it) with kinds number, name, function, word, op ----------------------

_TOKEN = re.compile(
    r"""(?P<space>\s+|~|\\[,;:!>\ ()\[\]]|\\(?:left|right)\s?\.|\\(?:text)?color\s?\{\w+\}
        |(?<=\d)\^?\{?(?:\\text\{)?(?:st|nd|rd|th)\b\}{0,2})  # 42nd, 42^{\text{nd}}
    | \\(?:text|textbf|textit|textrm|textnormal|mbox|hbox|mathrm|operatorname)\*?\s?\{(?P<text>[^{}\\]*)\}
    | \\(?P<edge>begin|end)\s?\{(?P<environment>\w+)\*?\}(?:\{[lcr|\s]*\})?
    | (?P<number>\d*\.\d*\\(?:overline|bar)\s?\{\d+\} | (?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)
    | \\(?P<command>[A-Za-z]+|.)
    | (?P<letters>[^\W\d_]+)
    | (?P<symbol>\*\*|[<>=!~:]=|=<|\+-|.)""",
    re.VERBOSE | re.DOTALL,
)


def _tokenize(text: str, prose: bool = False) -> list[tuple[str, str, bool]]:
    r"""`prose` is the inside of \text{}, where every run of letters is a word."""
    tokens, spaced = [], False
    for match in _TOKEN.finditer(text):
        kind, value = match.lastgroup, match[match.lastgroup]
        unit = value in _UNITS or (tokens and tokens[-1][0] == "word")  # apples, cm and years old; but xy is a product
        if kind == "space" or (kind == "command" and value in _IGNORED):
            spaced = spaced or kind == "space" or value.endswith("quad")
            continue
        if kind == "text":
            upright = value in _FUNCTIONS or (value in ("e", "i") and "mathrm" in match[0])
            tokens += _tokenize(value, prose=not upright)
        elif kind == "number":
            tokens.append((kind, value, spaced))
        elif kind == "environment":
            tokens.append(("op", f"{match['edge']} {value}", spaced))
        elif kind == "symbol" or value in (_COMMANDS if kind == "command" else _PLAIN):
            table = {"symbol": _SYMBOLS, "command": _COMMANDS, "letters": _PLAIN}[kind]
            tokens.append(("op", table.get(value, value), spaced))
        elif not prose and (value in _FUNCTIONS or value in _NAMES):
            kind, table = ("function", _FUNCTIONS) if value in _FUNCTIONS else ("name", _NAMES)
            tokens.append((kind, table[value], spaced))
        elif prose or (kind == "letters" and (len(value) >= 4 or not value.isascii() or (len(value) > 1 and unit))):
            tokens.append(("word", value, spaced))
        elif kind == "command":
            tokens.append(("op", "\\" + value, spaced))  # unknown, and so unreadable
        else:
            tokens += [("name", letter, spaced and i == 0) for i, letter in enumerate(value)]
        spaced = kind == "text"
    _require(len(tokens) <= MAX_TOKENS)
    return tokens


def _text_key(tokens) -> str:
    """What is equal in this is the same text. A space counts only between letters or digits; 11/2 isn't 1 1/2."""
    key = ""
    for kind, text, spaced in tokens:
        text = "\\" + text if kind == "name" and len(text) > 1 else text
        key += (" " if spaced and key[-1:].isalnum() and text[:1].isalnum() else "") + text
    words = key.split()
    prose = all(map(str.isalpha, words)) and max(map(len, words), default=0) > 2
    return key.casefold() if prose or key.casefold() == "no" else key  # Yes is yes, but X isn't x


def _read(text: str) -> tuple[str, list]:
    """The text's key for comparison as text, and its readings: none if it can't be read, several if it is ambiguous."""
    text = _normalize(text)
    variants = [_COMMA_GROUP.sub(lambda match: match[0].replace(",", ""), text), text]  # 1,234: a number, or 1 and 234
    if variants[0] == text and _DECIMAL_COMMA.fullmatch(text):
        variants.append(text.replace(",", "."))
    if choice := _CHOICE.fullmatch(text):
        variants += choice.groups()
    if (unit := _SHORT_UNIT.fullmatch(text)) and unit[2] in _UNITS:
        variants.append(f"{unit[1]} \\text{{{unit[2]}{unit[3]}}}")
    readings = []
    for variant in dict.fromkeys(variants):
        with suppress(_Unreadable, RecursionError):
            readings.append(_parse(_tokenize(_MIXED.sub(_mixed_number, variant))))
    return _text_key(_tokenize(text)), readings


_read_reference = lru_cache(maxsize=512)(_read)


# ---- Values: a Fraction, or a tuple that begins with what it is ------------------------------------------------------
#
#   expressions   ("symbol", name)  ("+", terms...)  ("*", factors...)  ("^", base, exponent)  ("call", function, args...)
#   containers    ("tuple", items...)  ("set", items...)  ("list", items...)  ("union", parts...)  ("matrix", rows...)
#                 ("pair", left, right, brackets): an interval, or if the brackets are round perhaps a tuple
#   statements    ("relation", operators, members...)  ("unit", value, unit)  ("word", text)

_EXPRESSIONS = {"symbol", "+", "*", "^", "call"}
_INFINITY = ("symbol", "∞")
_MINUS = Fraction(-1)


def _kind(value) -> str:
    if isinstance(value, Fraction):
        return "rational"
    return "expression" if value[0] in _EXPRESSIONS else value[0]


def _bounded(value: Fraction) -> Fraction:
    _require(max(value.numerator.bit_length(), value.denominator.bit_length()) <= MAX_BITS)
    return value


def _need_scalars(*values) -> None:
    _require(all(_kind(value) in ("rational", "expression") for value in values))  # no set plus a number


def _combine(operator: str, *values):
    """A sum or product: nested ones of its kind flattened, the rationals computed, the rest sorted."""
    _need_scalars(*values)
    constant, rest = Fraction(operator == "*"), []
    for value in values:
        for part in value[1:] if isinstance(value, tuple) and value[0] == operator else [value]:
            if isinstance(part, Fraction):
                constant = _bounded(constant * part if operator == "*" else constant + part)
            else:
                rest.append(part)
    _require(_INFINITY not in rest or (len(rest) == 1 and abs(constant) == (operator == "*")))  # only ∞ and -∞
    if not rest or (operator == "*" and constant == 0):
        return constant
    rest = [constant] * (constant != (operator == "*")) + sorted(rest, key=repr)
    return rest[0] if len(rest) == 1 else (operator, *rest)


def _multiply(*factors):
    return _combine("*", *factors)


def _power(base, exponent):
    """A power: computed if it is rational and small enough, else itself."""
    _need_scalars(base, exponent)
    _require(_INFINITY not in (base, exponent) and (base != 0 or not isinstance(exponent, Fraction) or exponent > 0))
    if base == ("symbol", "i") and isinstance(exponent, Fraction):
        exponent %= 4
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if bits * abs(exponent) <= MAX_BITS or abs(base) == 1:
            return base**exponent.numerator
    return base if exponent == 1 else ("^", base, exponent)


def _inverse(value):
    return _power(value, _MINUS)


def _call(function: str, *arguments):
    """A function of arguments: computed if that is exact and cheap, else itself."""
    if function in _FUNCTIONS:
        _need_scalars(*arguments)
    first, last = arguments[0], arguments[-1]
    if function == "exp":
        return _power(("symbol", "e"), first)
    if function == "lg":
        return _multiply(_call("log", first), _inverse(_call("log", Fraction(10))))
    if all(isinstance(argument, Fraction) and argument.denominator == 1 for argument in arguments):
        if function == "factorial" and 0 <= first <= MAX_BITS // 10:
            return Fraction(math.factorial(first.numerator))
        if function == "binomial" and 0 <= last <= first <= MAX_BITS:
            return Fraction(math.comb(first.numerator, last.numerator))
    return ("call", function, *arguments)


def _number(text: str) -> Fraction:
    """12, 1.5, .5, 1.2e3 or 0.1\\overline{6}."""
    exponent = text.lower().partition("e")[2] if "\\" not in text else ""
    _require(len(text) <= MAX_BITS // 4 and len(exponent) <= 5 and abs(int(exponent or "0")) <= MAX_BITS // 4)
    if repeating := re.fullmatch(r"(\d*)\.(\d*)\\\w+\s?\{(\d+)\}", text):
        whole, fixed, block = repeating.groups()
        return (int(whole + fixed or "0") + Fraction(int(block), 10 ** len(block) - 1)) / 10 ** len(fixed)
    return _bounded(Fraction(text))


# ---- Parser: recursive descent, one method a level of precedence -----------------------------------------------------


class _Parser:
    def __init__(self, tokens, plus_minus: str):
        self.tokens = [*tokens, ("end", "", False)]
        self.position = self.depth = 0
        self.bars = 0  # open |
        self.angles = 0  # open trigonometric functions, in which ° means something
        self.plus_minus = plus_minus  # what ± stands for; ∓ is the other

    @property
    def kind(self) -> str:
        return self.tokens[self.position][0]

    @property
    def operator(self) -> str:
        """The next token if it is an operator, else a space."""
        return self.tokens[self.position][1] if self.kind == "op" else " "

    def take(self) -> str:
        _require(self.kind != "end")
        self.position += 1
        return self.tokens[self.position - 1][1]

    def accept(self, operators) -> bool:
        found = self.operator in operators
        self.position += found
        return found

    def expect(self, operator: str) -> None:
        _require(self.accept([operator]))

    def items(self, closers) -> list:
        """Statements between separators, up to a closer. Where there are ; and commas, the ; separates tuples."""
        groups, separators = [[]], set()
        while True:
            while self.operator in _SEPARATORS:
                separators.add(self.operator)
                groups += [[]] if self.take() == ";" else []
            if self.kind == "end" or self.operator in closers:
                break
            _require(not groups[-1] or self.tokens[self.position - 1][1] in _SEPARATORS)
            groups[-1].append(self.statement())
        if {";", ","} <= separators:
            return [("tuple", *group) if len(group) > 1 else group[0] for group in groups if group]
        return [item for group in groups for item in group]

    def statement(self):
        """Members and the relations between them: 42, x = y = 42, 1 < x ≤ 2, x ∈ (1, 2)."""
        self.accept("=≈")  # = 42
        members, operators = [self.member()], []
        while self.operator in _RELATIONS:
            operators.append(self.take())
            members.append(self.member())
        if operators[:1] == ["≈"] and _is_name(members[0]):
            operators[0] = "="  # x ≈ 11 says that x is 11
        if "≈" in operators:  # but x = 1/3 ≈ 0.33 says that x is 1/3
            end = operators.index("≈")
            operators, members = operators[:end], members[: end + 1]
        if operators and set(operators) <= {">", "≥"}:  # 5 > x is x < 5
            operators, members = ["<≤"[operator == "≥"] for operator in reversed(operators)], members[::-1]
        return ("relation", tuple(operators), *members) if operators else members[0]

    def member(self):
        """Words; or a value, a union of values, or a ratio, with its unit if it has one."""
        if self.kind == "word":
            words = [self.take()]
            while self.kind == "word":
                words.append(self.take())
            text = " ".join(words)
            return ("symbol", text) if len(text) == 1 else ("word", text.casefold())
        parts = [self.sum()]
        if (operator := self.operator) in ("∪", ":"):
            while self.accept([operator]):
                parts.append(self.sum())
            if operator == "∪":
                sets = all(_kind(part) == "set" for part in parts)
                return ("set", *(item for part in parts for item in part[1:])) if sets else ("union", *parts)
            parts = [_multiply(part, _inverse(parts[-1])) for part in parts]  # 1:2:3 is 2:4:6
        value = ("tuple", *parts) if len(parts) > 2 else parts[0]
        if self.kind == "word" and self.tokens[self.position][1] in _SCALES:
            value = _multiply(value, Fraction(10 ** _SCALES[self.take()]))
        unit = "%" if self.accept("%") else self.unit()
        return ("unit", value, unit) if unit else value

    def unit(self) -> str:
        """Words after a number, in one spelling: km/h for kilometers per hour, cm^2 for square centimetres."""
        unit = power = ""
        while self.kind == "word" or (unit and (self.operator in "^/{}" or unit[-1] in "^/-")):
            word = self.take()
            _require(word.casefold() not in _NEGATIONS)
            word = word.casefold() if len(word) > 2 else word
            word = _UNITS.get(word) or _UNITS.get(word.removesuffix("s")) or word.removesuffix("s").strip("{}")
            if word in ("^2", "^3"):
                power = word
            else:
                unit, power = unit + (" " if unit[-1:].isalpha() and word.isalpha() else "") + word + power, ""
        return "" if unit.startswith("unit") else unit  # square units are a unit that wasn't given

    def sum(self):
        terms = [self.product()]
        while self.operator in "+-±∓":
            terms.append(self.product())  # which reads the sign
        return _combine("+", *terms) if len(terms) > 1 else terms[0]

    def product(self):
        """Factors with or without a sign between them, from the left: 1/2x is half of x."""
        factors = [self.factor()]
        while self.operator in "*/" or self.starts_factor():
            if self.accept("/"):
                factors.append(_inverse(self.factor()))
            else:
                factors.append(self.factor() if self.accept("*") else self.power())
        return _multiply(*factors) if len(factors) > 1 else factors[0]

    def starts_factor(self) -> bool:
        """Does a factor follow without a sign? A number only after a bracket or a factorial: 4 2 isn't 8."""
        if self.kind == "number":
            return self.tokens[self.position - 1][1] in (")", "}", "!")
        starts = self.operator in _FACTOR_STARTS or (self.operator == "|" and not self.bars)
        return starts or self.kind in ("name", "function")

    def factor(self):
        """Signs, then a power: -2^2 is -4."""
        negative = False
        while self.operator in "+-±∓":
            sign = self.take()
            negative ^= (sign == "-") if sign in "+-" else (sign == "±") == (self.plus_minus == "-")
        value = self.power()
        return _multiply(_MINUS, value) if negative else value

    def power(self):
        """An atom, then ! and °, then ^ and an exponent, which binds to the right: 2^3^2 is 2^9."""
        self.depth += 1
        _require(self.depth <= MAX_DEPTH)
        value = self.atom()
        while self.operator in "!°^":
            operator = self.take()
            if operator == "^":
                value = _power(value, self.factor())
            elif operator == "!":
                value = _call("factorial", value)
                _require(self.operator != "!")  # the double factorial is another function
            elif self.angles:
                value = _multiply(value, ("symbol", "pi"), Fraction(1, 180))
        self.depth -= 1
        return value

    def atom(self):
        kind, text = self.kind, self.take()
        if kind == "number":  # 1011_2, in another base, is equal only to itself
            return ("symbol", text + self.subscript()) if self.operator == "_" else _number(text)
        if kind in ("name", "function"):
            return self.name(text) if kind == "name" else self.function(text)
        _require(kind == "op")
        if text in _CLOSERS:
            return self.bracket(text)
        if text == "|":
            self.bars += 1
            value = self.sum()
            self.bars -= 1
            self.expect("|")
            return _call("abs", value)
        if text == "frac":
            return _multiply(self.argument(), _inverse(self.argument()))
        if text == "binom":
            return _call("binomial", self.argument(), self.argument())
        if text == "sqrt":
            return self.root()
        if text in ("∞", "∅"):
            return _INFINITY if text == "∞" else ("set",)
        if text in ("sum", "prod", "int", "lim"):  # read as far as their parts go, never carried out
            limits = []
            while self.operator in "_^":
                limits += self.take(), self.argument()
            return ("call", text, *limits, self.product())
        _require(re.fullmatch("begin ([pbB]?matrix|array)", text))
        return self.matrix("end" + text[5:])

    def name(self, text: str):
        text += self.subscript()
        while self.accept("'"):
            text += "'"
        if (text in "fgh" or text[-1] == "'") and self.accept("("):
            arguments = self.items(")")
            self.expect(")")
            return ("call", text, *arguments)
        return ("symbol", text)

    def subscript(self) -> str:
        """The text of a subscript, if there is one."""
        start, depth = self.position, self.accept("_")
        if depth and self.take() == "{":
            while depth:
                depth += {"{": 1, "}": -1}.get(self.take(), 0)
        return re.sub("[{}]", "", "".join(text for _, text, _ in self.tokens[start : self.position]))

    def argument(self):
        r"""A command's argument: a group, or one token, which in TeX is one digit: \frac12."""
        kind, text, _ = self.tokens[self.position]
        if kind == "number" and text.isdigit() and len(text) > 1:
            self.tokens[self.position : self.position + 1] = (kind, text[0], False), (kind, text[1:], False)
        return self.atom()

    def root(self):
        index = Fraction(2)
        if self.accept("["):
            index = self.sum()
            self.expect("]")
        value = self.atom()
        if isinstance(index, Fraction) and isinstance(value, Fraction) and index % 2 == 1 and value < 0:
            return _multiply(_MINUS, _power(-value, 1 / index))  # the real root, as everybody means it
        return _power(value, _inverse(index))

    def function(self, function: str):
        r"""\sin x, \sin(x), \sin^2 x, \log_2 8, \sin 2x; but \sin x + 1 and \sin x \cos x end after x."""
        base = self.argument() if self.accept("_") else None
        exponent = self.factor() if self.accept("^") else Fraction(1)
        self.angles += function in _TRIGONOMETRIC
        if self.accept("("):
            arguments = self.items(")")
            self.expect(")")
        else:
            arguments = [self.power()]
            while self.starts_factor() and self.kind != "function" and self.operator != "(":
                arguments[0] = _multiply(arguments[0], self.power())
        self.angles -= function in _TRIGONOMETRIC
        _require(len(arguments) == (2 if function == "binomial" else 1))
        if exponent == -1 and "a" + function in _FUNCTIONS:
            return _call("a" + function, *arguments)
        value = _call(function, *arguments)
        if base is not None:
            value = _multiply(value, _inverse(_call("log", base)))
        return _power(value, exponent)

    def bracket(self, opening: str):
        items = self.items(_CLOSERS[opening])
        closing = self.take()
        if closing in ("over", "choose") and len(items) == 1:  # {1 \over 2}
            below = self.bracket("{")
            return _call("binomial", *items, below) if closing == "choose" else _multiply(*items, _inverse(below))
        brackets = opening + closing
        if opening == "\\{" or (opening == "{" and len(items) > 1):
            return ("set", *items)
        if len(items) == 1 and brackets in ("()", "[]", "{}"):
            return items[0]
        if len(items) == 1 and opening in "⌊⌈":
            return _call("floor" if opening == "⌊" else "ceil", *items)
        if len(items) == 2 and opening in "([":
            return ("pair", *items, brackets)
        _require(len(items) > 1 and brackets not in ("(]", "[)"))
        return ("tuple", *items)

    def matrix(self, end: str):
        rows = [[]]
        while not self.accept([end]):
            rows[-1].append(self.statement())
            if self.accept(["\\\\"]) and self.operator != end:
                rows.append([])
            elif self.operator != end:
                self.expect("&")
        return ("matrix", *map(tuple, rows))


def _parse(tokens):
    """The value of an answer. What has a ± in it is read twice, and is the list of both."""
    signs, items = "+-" if {"±", "∓"} & {text for _, text, _ in tokens} else "+", []
    for sign in signs:
        parser = _Parser(tokens, sign)
        part = parser.items("")
        _require(part and parser.kind == "end")
        items += part[0][1:] if len(signs) > len(part) == 1 and _kind(part[0]) == "set" else part
    return items[0] if len(items) == 1 else ("list", *items)


# ---- Comparison ------------------------------------------------------------------------------------------------------


def _is_name(value, inner: bool = False) -> bool:
    """Does this name a quantity, as the left of `x = 42` does? x, f(2), AB, (p, q), x + y: nothing with a number in it."""
    if isinstance(value, Fraction):
        return inner and value == -1  # x - y, V_1/V_2
    kind, *parts = value
    if kind == "*":
        return all(_is_name(part, inner or not isinstance(parts[0], Fraction)) for part in parts)
    if kind == "^":
        return inner and parts[1] == -1 and _is_name(parts[0])
    if kind == "+":
        return all(_is_name(part, not isinstance(part, Fraction)) for part in parts)
    if kind in ("tuple", "pair"):  # A:B:C is the tuple A/C, B/C, 1
        return all(part == 1 or _is_name(part) for part in parts if not isinstance(part, str)) and parts[0] != 1
    return kind in ("word", "call") or (kind == "symbol" and value != _INFINITY)


def _given(relation):
    """(name, value) for x = 42, 42 = x and x = y = 42; (name, interval) for x < 3, 1 < x ≤ 2 and x ∈ (1, 2); or None."""
    _, operators, *members = relation
    if set(operators) <= {"=", "∈"}:
        if all(_is_name(member) or member == members[-1] for member in members[:-1]):
            return members[0], members[-1]
        return (members[1], members[0]) if operators == ("=",) and _is_name(members[1]) else None
    if len(members) == 2 and _is_name(members[0]):
        operators, members = ("<", *operators), [("*", _MINUS, _INFINITY), *members]
    elif len(members) == 2:
        operators, members = (*operators, "<"), [*members, _INFINITY]
    if len(members) != 3 or not set(operators) <= {"<", "≤"} or list(map(_is_name, members)) != [False, True, False]:
        return None
    brackets = ("(" if operators[0] == "<" else "[") + (")" if operators[1] == "<" else "]")
    return members[1], ("pair", members[0], members[2], brackets)


class _Judge:
    """Compares the values of one verdict, and keeps count of what that costs."""

    def __init__(self):
        self.comparisons = 0
        self.seconds = 0.0  # with the worker

    def same(self, a, b) -> bool:
        self.comparisons += 1
        _require(self.comparisons <= MAX_COMPARISONS)  # sets in sets in sets
        if a == b:
            return True
        kinds = {_kind(a), _kind(b)}
        if kinds == {"rational"} or (kinds <= {"rational", "expression"} and _INFINITY in (a, b)):
            return False
        if kinds <= {"rational", "expression"}:
            simple = all(isinstance(value, Fraction) or value[0] == "symbol" for value in (a, b))
            return not simple and self.ask("equal", a, b) == "equal"
        if kinds == {"relation"}:
            return self.same_relation(a, b)
        if "relation" in kinds:
            relation, other = (a, b) if _kind(a) == "relation" else (b, a)
            given = _given(relation)
            return given is not None and self.same(given[1], other)
        if "unit" in kinds:
            return self.same_quantity(*(value[1:] if _kind(value) == "unit" else (value, "") for value in (a, b)))
        return self.same_container(a, b, kinds)

    def same_quantity(self, a, b) -> bool:
        """A unit that only one side has makes no difference. 50% is 0.5, and next to a number without a unit also 50."""
        (x, x_unit), (y, y_unit) = a, b
        if (x_unit == y_unit or not (x_unit and y_unit)) and self.same(x, y):
            return True
        x, y = (y, x) if y_unit == "%" else (x, y)
        return {x_unit, y_unit} == {"%", ""} and _kind(x) == "rational" and self.same(x / 100, y)

    def same_container(self, a, b, kinds) -> bool:
        if kinds <= {"list", "set", "union"}:
            return self.same_items(a[1:], b[1:])
        if "set" in kinds:  # {42} is 42
            container, other = (a, b) if _kind(a) == "set" else (b, a)
            return len(container) == 2 and self.same(container[1], other)
        if not kinds <= {"pair", "tuple", "list", "matrix"}:
            return False
        if kinds == {"matrix"} and [len(row) for row in a[1:]] != [len(row) for row in b[1:]]:
            return False
        brackets = {value[3] for value in (a, b) if value[0] == "pair"}
        if len(brackets) > 1 or (len(kinds) > 1 and brackets & {"(]", "[)"}):  # (1, 2) isn't (1, 2]
            return False
        return self.same_rows(_vector(a), _vector(b))

    def same_rows(self, a, b) -> bool:
        return len(a) == len(b) and all(self.same(x, y) for x, y in zip(a, b, strict=True))

    def same_items(self, a, b) -> bool:
        """In any order, repetitions aside."""
        if set(a) == set(b):
            return True
        return all(any(self.same(x, y) for y in b) for x in a) and all(any(self.same(x, y) for x in a) for y in b)

    def same_relation(self, a, b) -> bool:
        a_given, b_given = _given(a), _given(b)
        if a_given and b_given and a_given[0] == b_given[0]:
            return self.same(a_given[1], b_given[1])
        if a[1] != b[1] or self.same_rows(a[2:], b[2:]):
            return a[1] == b[1]
        if len(a) != 4 or a[1][0] not in "=≠<≤":
            return False
        a_gap, b_gap = (_combine("+", left, _multiply(_MINUS, right)) for left, right in (a[2:], b[2:]))
        ratio = self.ask("ratio", a_gap, b_gap)  # 2x - y + 1 = 0 is y = 2x + 1; -x < 1 is x > -1
        return ratio == "positive" or (ratio == "negative" and a[1][0] in "=≠")

    def ask(self, question: str, a, b) -> str:
        if self.seconds > VERDICT_SECONDS:
            return "unknown"
        reply, seconds = _ask(question, a, b)
        self.seconds += seconds
        return reply


def _vector(value):
    """The items of an ordered container: (1, 2), [1, 2], a bare 1, 2, a matrix row by row."""
    if value[0] == "matrix":
        return sum(value[1:], ())
    return value[1:3] if value[0] == "pair" else value[1:]


# ---- Worker: the one process in which sympy runs ---------------------------------------------------------------------


class _Worker:
    """Starts, asks, kills and replaces the process. A timer that kills it ends a blocking read, on any platform."""

    def __init__(self):
        self.lock, self.process, self.ready = threading.Lock(), None, False

    def ask(self, question: str) -> tuple[str, float]:
        """(reply, seconds it took); "unknown" if it took too long."""
        with self.lock:
            for _ in range(2):  # once more if the process was gone before the question
                if self.process is None:
                    self.start()
                if not self.ready and self.exchange("", START_SECONDS) != "ready":
                    self.stop()
                    raise OSError("it ended before it was ready; is sympy installed?")
                self.ready = True
                start = time.monotonic()
                reply = self.exchange(question + "\n", WALL_SECONDS)
                seconds = time.monotonic() - start
                if reply:
                    return reply, seconds
                self.stop()
                if seconds >= WALL_SECONDS:
                    self.start()  # not waited for: it gets ready while the caller goes on
                    break
        return "unknown", seconds

    def start(self) -> None:
        self.ready = False
        self.process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "0"},
        )

    def exchange(self, line: str, seconds: float) -> str:
        """Write a line, read a line; "" if the process dies first, of itself or because the time is up."""
        timer = threading.Timer(seconds, self.process.kill)
        timer.start()
        try:
            self.process.stdin.write(line)
            self.process.stdin.flush()
            return self.process.stdout.readline().strip()
        except OSError:
            return ""
        except BaseException:  # Ctrl-C: a reply that nobody read must not be taken for the next one's
            self.stop()
            raise
        finally:
            timer.cancel()
            timer.join()

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()
            process.stdout.close()
            with suppress(OSError):  # an unsent line
                process.stdin.close()


_WORKER = _Worker()
atexit.register(close)
if hasattr(os, "register_at_fork"):  # a forked child must not talk to its parent's worker
    os.register_at_fork(after_in_child=_WORKER.__init__)


@lru_cache(maxsize=256)  # the rollouts of a group repeat each other
def _ask(question: str, a, b) -> tuple[str, float]:
    line = json.dumps([question, a, b], default=lambda value: ["rational", *value.as_integer_ratio()])
    if len(line) > MAX_QUESTION:
        return "unknown", 0.0
    try:
        return _WORKER.ask(line)
    except OSError as error:  # said once, because False for every such answer would look like a bad policy
        message = f"reward.py can't start its worker process, only simple answers are verified: {error}"
        warnings.warn(message, stacklevel=2)
        raise


class _OutOfTime(BaseException):
    """Not an Exception, so that no handler inside sympy takes it."""


def _serve() -> None:
    """The worker's loop: a JSON question a line, a word a line in reply. sympy's own time limit is CPU time, so that a
    verdict doesn't depend on what else the machine does."""
    import signal

    def out_of_time(*_):
        raise _OutOfTime

    def limit_cpu(seconds):
        if sys.platform != "win32":  # there the parent's timer is the only limit
            signal.setitimer(signal.ITIMER_PROF, seconds)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes our stdin
    with suppress(ImportError, ValueError, OSError):  # Windows has none; a lower limit is in force; macOS refuses it
        import resource

        signal.signal(signal.SIGPROF, out_of_time)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    import sympy

    print("ready", flush=True)
    for line in sys.stdin:
        try:
            limit_cpu(CPU_SECONDS)
            question, a, b = json.loads(line)
            reply = (_equal if question == "equal" else _ratio)(sympy, a, b)
        except (_OutOfTime, Exception):  # noqa: BLE001  whatever sympy stumbles over, it has proved nothing
            reply = "unknown"
        limit_cpu(0)
        print(reply, flush=True)


_SYMPY_NAMES = {"abs": "Abs", "ceil": "ceiling"}


def _build(sympy, value, **assumptions):
    """The sympy expression of a value. What sympy would choke on, or doesn't know, becomes a symbol of itself."""
    kind, *parts = value
    if kind == "rational":
        return sympy.Rational(*parts)
    if kind == "symbol":
        constants = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I}
        return constants.get(parts[0]) or sympy.Symbol(parts[0], **assumptions)
    rational = [part[0] == "rational" for part in parts]
    if kind == "^" and not (rational[1] and abs(sympy.Rational(*parts[1][1:])) > MAX_EXPONENT):
        return sympy.Pow(*(_build(sympy, part, **assumptions) for part in parts))
    if kind in "+*":
        return (sympy.Add if kind == "+" else sympy.Mul)(*(_build(sympy, part, **assumptions) for part in parts))
    if kind == "call" and parts[0] in _FUNCTIONS and not (parts[0] in ("factorial", "binomial") and all(rational[1:])):
        function = getattr(sympy, _SYMPY_NAMES.get(parts[0], parts[0]))
        return function(*(_build(sympy, part, **assumptions) for part in parts[1:]))
    return sympy.Symbol(json.dumps(value), **assumptions)


def _equal(sympy, a, b) -> str:
    """ "equal" if sympy proves it for positive variables and no sample point, negative ones included, denies it."""
    x, y = (_build(sympy, value, real=True) for value in (a, b))
    difference = x - y
    if difference == 0 or difference.has(sympy.nan, sympy.oo, sympy.zoo):
        return "equal" if difference == 0 else "unknown"
    symbols = sorted(difference.free_symbols, key=str)
    for point in range(4 if symbols else 1):
        values = {symbol: sympy.Rational(*_sample(i)[point]) for i, symbol in enumerate(symbols)}
        sides = [side.evalf(20, subs=values, maxn=200, chop=True) for side in (x, y)]
        if not difference.has(sympy.I) and not all(side.is_real for side in sides):
            continue  # outside the domain of one of them
        try:  # strict: 20 digits that are certain, or PrecisionExhausted, which is what happens if it is zero
            gap = difference.evalf(20, subs=values, maxn=200, strict=True)
        except ArithmeticError:
            continue
        if gap.is_number and gap.is_finite and gap != 0:
            return "different"
    difference = _build(sympy, a, positive=True) - _build(sympy, b, positive=True)
    for rewrite in (sympy.expand, lambda x: x.rewrite(sympy.exp), sympy.gammasimp):  # quick, and nearly always enough
        if sympy.expand(sympy.fraction(sympy.together(rewrite(difference)))[0]) == 0:
            return "equal"
    return "equal" if sympy.simplify(difference) == 0 or difference.equals(0) else "unknown"


def _sample(i: int):
    """Four values, as fractions, of the i-th variable: between 0 and 1, above 1, negative, of both signs."""
    return (3 * i + 2, 3 * i + 5), (5 * i + 11, 7), (-4 * i - 5, 3), ((7 * i + 4) * (-1) ** i, 5)


def _ratio(sympy, a, b) -> str:
    """The sign of a / b if that is a constant: then a = 0 and b = 0 are the same equation."""
    a, b = (_build(sympy, value, real=True) for value in (a, b))
    ratio = sympy.simplify(a / b)
    if ratio.is_number and ratio.is_finite and ratio.is_nonzero and ratio.is_real:
        return "positive" if ratio > 0 else "negative"
    return "unknown"


# ---- Command line ----------------------------------------------------------------------------------------------------

_USAGE = """usage: python reward.py RESPONSE ANSWER
       python reward.py --file FILE.jsonl

Prints `correct` or `incorrect`, and the final answer that was extracted from RESPONSE.
With --file, reads one {"response": ..., "answer": ...} a line and writes one {"correct": ..., "extracted": ...} a line;
a count goes to stderr. Exit code 0, or 2 if the arguments or the file can't be used."""


def main(arguments: list[str]) -> int:
    sys.stdout.reconfigure(errors="backslashreplace")
    if arguments in (["--help"], ["-h"]):
        print(_USAGE)
        return 0
    if len(arguments) == 1 and arguments[0].startswith("--file="):
        arguments = arguments[0].split("=", 1)
    if len(arguments) != 2 or (arguments[0] != "--file" and re.match("--[a-z]", arguments[0])):
        print("reward.py: expected RESPONSE ANSWER or --file FILE.jsonl; --help explains", file=sys.stderr)
        return 2
    if arguments[0] != "--file":
        print("correct" if verify(*arguments) else "incorrect")
        print("extracted:", extract(arguments[0]))
        return 0
    rows = []
    try:
        with open(arguments[1], encoding="utf-8", errors="replace") as file:
            for line in filter(str.strip, file):
                row = json.loads(line)
                rows.append((row["response"] + "", row["answer"] + ""))  # a TypeError if it isn't text
    except OSError as error:
        print(f"reward.py: can't read {arguments[1]}: {error.strerror}; check the path", file=sys.stderr)
        return 2
    except (ValueError, LookupError, TypeError, RecursionError):
        expected = 'expected a JSON object with strings "response" and "answer"'
        print(f"reward.py: {arguments[1]}, row {len(rows) + 1}: {expected}", file=sys.stderr)
        return 2
    correct = 0
    for response, answer in rows:
        verdict = verify(response, answer)
        correct += verdict
        print(json.dumps({"correct": verdict, "extracted": extract(response)}))
    print(f"{correct} of {len(rows)} correct", file=sys.stderr)
    return 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--worker"]:
        sys.exit(_serve())
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code)
