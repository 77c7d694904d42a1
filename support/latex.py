r"""The reader of LaTeX under reward.py: a text becomes values that can be compared exactly. Nothing is ever evaluated.

    text -> normalize: one character for each way to write it -> tokenize -> parse: recursive descent -> values

The grammar. Items are a list, whatever separates them; a text with ± is read twice, once for each sign.

    items     = statement { ("," | ";" | "and" | "or") statement }
    statement = ["=" | "≈"] member { ("=" | "<" | "≤" | ">" | "≥" | "≠" | "≈" | "∈" | "→") member }
    member    = word { word } | sum { "∪" sum } [unit] | sum { ":" sum } [unit]
    sum       = product { ("+" | "-" | "±" | "∓") product }
    product   = factor { ["*" | "/"] factor }                   1/2x is half of x
    factor    = { "+" | "-" | "±" | "∓" } power                 -2^2 is -4
    power     = atom { "!" | "°" | "^" factor }                 2^3^2 is 2^9
    atom      = number | name ["(" items ")"] | function ["_" group] ["^" factor] power | bracket items bracket
              | "|" sum "|" | "frac" group group | "sqrt" ["[" sum "]"] group | "∞" | "∅" | matrix
    group     = "{" items "}" | one token: of a number, one digit

How each kind of answer is read. Anything else, and 1/0, which has no value, is only compared as text.

    numbers    1,234 1{,}234 1\,234 1 234 are 1234; 5e-1 is 1/2; 0.1\overline{6} is 1/6; 1011_2 is a name
    mixed      2\frac{1}{2}, 2 1/2 and 2½ are 5/2, but 2\frac{3}{2} is a product
    units      42\text{ cm}, 42 apples, \$42 and 42nd have a unit, which is never converted; 50\% has the unit %
    functions  e and i are the constants; \log without a base is natural; ° is a unit unless a sine or its like is open
    \sum       and \prod, \int, \lim have parts, and are never carried out
    letters    one to three are a product of variables, more are a word; x and X differ, Yes and yes don't
    sequences  (1,2), \langle 1,2\rangle and a column matrix; "," binds more tightly than ";" if both occur
    sets       \{1,2\} is a set; 1, 2 and "1 and 2" are lists; \pm 2 is the list 2, -2
    intervals  (1,2] is a pair; x < 3 and x \in (1,2] are relations, which have an interval as their solution
    ratios     1:2 is 1/2, and 1:2:4 is the tuple 1/4, 1/2, 1
    choices    (B) 42 and B: 42 are B, and also 42

An ambiguous text has several readings: 1,234 is a number or a list; 1,22 a list or 1.22; 5 m is 5 metres or 5·m.
A pair in brackets of one kind, (1,2) or [1,2], may be an interval, a tuple or a list: reward.py compares it as any.
"""

import math
import re
import unicodedata
from contextlib import suppress
from fractions import Fraction
from functools import lru_cache, partial

MAX_TEXT = 10_000  # characters
MAX_TOKENS = 2_000
MAX_DEPTH = 40  # brackets, functions and exponents inside one another
MAX_BITS = 14_000  # of a numerator or denominator: about 4,200 digits, below Python's own limit on int <-> str


class Unreadable(Exception):
    """This text is not in the grammar, has no value (1/0), or would be too large."""


def require(condition) -> None:
    if not condition:
        raise Unreadable


def table(rows: str) -> dict[str, str]:
    """Every word of a row stands for the row's first word."""
    return {word: row.split()[0] for row in rows.split(";") for word in row.split()}


def read(text: str) -> tuple[str, list]:
    """The text's key for comparison as text, and its readings: none if it can't be read, several if it is ambiguous."""
    text = normalize(text)
    spellings = [COMMA_GROUP.sub(lambda match: match[0].replace(",", ""), text), text]  # 1,234: a number, or 1 and 234
    if spellings[0] == text and DECIMAL_COMMA.fullmatch(text):
        spellings.append(text.replace(",", "."))
    if choice := CHOICE.fullmatch(text):
        spellings += choice.groups()
    if (unit := SHORT_UNIT.fullmatch(text)) and unit["name"] in UNITS:
        spellings.append(f"{unit['number']} \\text{{{unit['name']}{unit['power']}}}")
    readings = []
    for spelling in dict.fromkeys(spellings):
        with suppress(Unreadable, RecursionError):
            readings.append(parse(tokenize(MIXED_NUMBER.sub(mixed_number, spelling))))
    return text_key(tokenize(text)), readings


read_reference = lru_cache(maxsize=512)(read)  # all responses of a group are held against one answer

# ---- Normalize: one character for every way to write it --------------------------------------------------------------
PLAIN_NUMBER = re.compile(r"([+-]?)(?:\\?\$)?([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.([0-9]*))?")  # +1,050.50
EXPLICIT_GROUP = re.compile(r"(?<=\d)(?:\{,\}|,\\!\s{0,9}|\\[,;:! ]|~)(?=\d{3}(?!\d))")  # 1{,}234  1\,234
SPACED_GROUP = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?: \d{3})+(?![\d/.]| \d| ?\\[dtc]?frac)")  # 1 234
COMMA_GROUP = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?!\d|,\d)")  # 1,234
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+[^\d,;(\[{]*")  # 1,22
SHORT_UNIT = re.compile(r"(?P<number>[+-]?[\d.,/]+) (?P<name>[A-Za-z]{1,2})(?P<power>[/^{}A-Za-z\d]{0,9})")  # 12 m/s
CHOICE = re.compile(r"(?:\\[a-z]{4,6}\s?\{)?\(?([A-J])[).:]\s?\}?[.:]?\s?([\d\\$-][^(),;:A-Z]*)")  # (B) 42  B: 42
MIXED_NUMBER = re.compile(  # 2\frac{1}{2}, 2\frac12, 2 1/2, but neither an exponent nor an argument
    r"(?<![\d.^_}\]])(?<!frac|sqrt)(?<!binom)(\d+)(?:(?:[ ~]|\\[,;! ]){0,3}"
    r"\\[dtc]?frac ?(?:\{ ?(\d+) ?\}|(\d)) ?(?:\{ ?(\d+) ?\}|(\d)(?!\d))|(?:[ ~]|\\[,;! ]){1,3}(\d+) ?/ ?(\d+))"
)
DEGREE = re.compile(r"(?:\^\s?(?:\{\s?\\circ\s?\}|\\circ|\\degree)|\\degree|°)(?:\s?[CF]\b)?")
CHARACTERS = table("- − – — ‒ ⁻; ' ′ ’; * × · ⋅ ∙ ∗; / ÷ ∕ ⁄; ≤ ⩽; ≥ ⩾; ≈ ≃; ° º; . 。")
CHARACTERS |= {"√": "\\sqrt ", "∛": "\\sqrt[3]", "ℝ": "\\mathbb R"}


def normalize(text: str) -> str:
    if not text.isascii():
        text = re.sub("[⁰¹²³⁴-⁹⁺⁻ⁿ]+", r"^{\g<0>}", text)
        text = re.sub("[₀-₉]+", r"_{\g<0>}", text)
        text = "".join(char if char.isascii() else fold_character(char) for char in text)
        require(len(text) <= MAX_TEXT)  # one character can stand for eighteen
    text = re.sub(r"\\\$|[€£¥¢₹]", "", text).replace("$", " ").replace("...", "\\ldots ")
    if "\\begin" not in text:
        text = re.sub(r"\\\\(?=[A-Za-z])", r"\\", text)  # \\frac, from a source that was escaped twice
    text = re.sub(r"\\mathbb\s?(?:\{R\}|R)", r"(-\\infty,\\infty)", DEGREE.sub("°", text))
    text = text.lstrip(" \t\r\n*`").rstrip(" \t\r\n*`.,;:\\")
    return SPACED_GROUP.sub(lambda match: match[0].replace(" ", ""), EXPLICIT_GROUP.sub("", text))


@lru_cache(maxsize=1024)
def fold_character(char: str) -> str:
    """Greek letters by name, vulgar fractions as \\frac, digits of any script and full-width forms as ASCII."""
    if char in CHARACTERS:
        return CHARACTERS[char]
    if char.isdecimal():
        return str(int(char))
    if (category := unicodedata.category(char)) in ("Zs", "Cf"):  # a space, or a mark that has no width
        return " " if category == "Zs" else ""
    if greek := re.fullmatch("GREEK (SMALL|CAPITAL) LETTER ([A-Z]+)", unicodedata.name(char, "")):
        name = greek[2].replace("LAMDA", "LAMBDA")
        return f"\\{name.lower() if greek[1] == 'SMALL' else name.capitalize()} "
    numerator, slash, denominator = unicodedata.normalize("NFKC", char).partition("⁄")
    return f"\\frac{{{numerator}}}{{{denominator}}}" if slash else numerator


def mixed_number(match) -> str:
    """As a sum; but 2\\frac{3}{2} is a product, as it stands."""
    whole, numerator, denominator = filter(None, match.groups())
    if len(match[0]) < 300 and 0 < int(numerator) < int(denominator):
        return rf"({whole}+\frac{{{numerator}}}{{{denominator}}})"
    return match[0]


def plain_number(text: str) -> str | None:
    """The canonical text of an integer or decimal of any length ("+1,050.50" -> "1050.5"), None for anything else."""
    if (match := PLAIN_NUMBER.fullmatch(text)) is None:
        return None
    sign, whole, decimals = match.groups("")
    whole = whole.replace(",", "").lstrip("0")
    decimals = decimals.rstrip("0")
    number = f"{whole}.{decimals}" if decimals else whole or "0"
    return "-" + number if sign == "-" and number != "0" else number


# ---- Tokenize: (kind, text, is there space before it) with kinds number, name, function, word, op --------------------
SYMBOLS = table("^ **; = == :=; ≤ <= =<; ≥ >=; ≠ !=; ≈ ~=; ± +-")
COMMANDS = table(r"""* cdot times ast; / div; = equiv; < lt; > gt; ≤ le leq leqslant leqq; ≥ ge geq geqslant geqq;
    ≠ ne neq; ≈ approx sim simeq doteq; → to rightarrow; ± pm; ∓ mp; ∪ cup; ∈ in; ∅ emptyset varnothing; ∞ infty;
    | lvert rvert vert mid; : colon; or lor vee; ⟨ langle; ⟩ rangle; ⌊ lfloor; ⌋ rfloor; ⌈ lceil; ⌉ rceil; \{ { lbrace;
    \} } rbrace; frac dfrac tfrac cfrac; binom dbinom tbinom; sqrt; over; choose; sum; prod; int; lim; %""")
FUNCTIONS = table("""sin; cos; tan; cot; sec; csc; asin arcsin; acos arccos; atan arctan; sinh; cosh; tanh; log ln; lg;
    exp; abs; floor; ceil ceiling; factorial; binomial""")
NAMES = table("""alpha; beta; gamma; delta; epsilon varepsilon; zeta; eta; theta vartheta; iota; kappa; lambda; mu; nu;
    xi; pi; rho; sigma; tau; upsilon; phi varphi; chi; psi; omega; Gamma; Delta; Theta; Lambda; Xi; Pi; Sigma; Phi; Psi;
    Omega; ell""")
PLAIN = table("and; or; sqrt; ∞ infinity inf oo")
OPERATORS = {"symbol": SYMBOLS, "command": COMMANDS, "letters": PLAIN}
UNITS = table("""% percent pct; degree degrees deg; mm millimeter millimetre; cm centimeter centimetre; m meter metre;
    km kilometer kilometre; inch inches; ft foot feet; mg milligram; g gram; kg kilogram; lb lbs pound; oz ounce;
    ml milliliter millilitre; l liter litre; s sec second; min minute; h hr hour; / per; ^2 square sq; ^3 cubic;
    dollar USD; euro EUR""")
IGNORED = """left right middle big Big bigg Bigg bigl bigr Bigl Bigr large Large displaystyle textstyle limits quad
    qquad boxed fbox mathbf mathit mathsf mathcal mathbb boldsymbol bm text textbf textit mathrm rm bf overline
    underline bar vec hat widehat tilde overrightarrow angle triangle phantom ensuremath""".split()
TOKEN = re.compile(r"""(?xs)  # verbose; "." is also a line break
    (?P<space>\s+|~|\\[,;:!>\ ()\[\]]|\\(?:left|right)\s?\.|\\(?:text)?color\s?\{\w+\}
        |(?<=\d)\^?\{?(?:\\text\{)?(?:st|nd|rd|th)\b\}{0,2})  # 42nd, 42^{\text{nd}}
    | \\(?:text|textbf|textit|textrm|textnormal|mbox|hbox|mathrm|operatorname)\*?\s?\{(?P<text>[^{}\\]*)\}
    | \\(?P<edge>begin|end)\s?\{(?P<environment>\w+)\*?\}(?:\{[lcr|\s]*\})?
    | (?P<number>\d*\.\d*\\(?:overline|bar)\s?\{\d+\} | (?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)
    | \\(?P<command>[A-Za-z]+|.) | (?P<letters>[^\W\d_]+) | (?P<symbol>\*\*|[<>=!~:]=|=<|\+-|.)""")


def tokenize(text: str, prose: bool = False) -> list[tuple[str, str, bool]]:
    r"""`prose` is the inside of \text{}, where every run of letters is a word."""
    tokens, spaced = [], False
    for match in TOKEN.finditer(text):
        kind, value = match.lastgroup, match[match.lastgroup]
        if kind == "space" or (kind == "command" and value in IGNORED):
            spaced = spaced or kind == "space" or value.endswith("quad")
            continue
        after_word = len(value) > 1 and tokens and tokens[-1][0] == "word"  # years old
        is_word = len(value) > 3 or not value.isascii() or (len(value) > 1 and value in UNITS) or after_word
        if kind == "text":
            upright = value in FUNCTIONS or (value in ("e", "i") and "mathrm" in match[0])
            tokens += tokenize(value, prose=not upright)
        elif kind == "number":
            tokens.append((kind, value, spaced))
        elif kind == "environment":
            tokens.append(("op", f"{match['edge']} {value}", spaced))
        elif kind == "symbol" or value in OPERATORS[kind]:
            tokens.append(("op", OPERATORS[kind].get(value, value), spaced))
        elif not prose and value in FUNCTIONS:
            tokens.append(("function", FUNCTIONS[value], spaced))
        elif not prose and value in NAMES:
            tokens.append(("name", NAMES[value], spaced))
        elif prose or (kind == "letters" and is_word):
            tokens.append(("word", value, spaced))
        elif kind == "command":
            tokens.append(("op", "\\" + value, spaced))  # unknown, and so unreadable
        else:
            tokens += [("name", letter, spaced and i == 0) for i, letter in enumerate(value)]
        spaced = kind == "text"
    require(len(tokens) <= MAX_TOKENS)
    return tokens


def text_key(tokens) -> str:
    """Texts with the same key are the same. A space counts only between letters or digits; 11/2 isn't 1 1/2."""
    key = ""
    for kind, text, spaced in tokens:
        if kind == "name" and len(text) > 1:
            text = "\\" + text
        key += " " + text if spaced and key[-1:].isalnum() and text[:1].isalnum() else text
    words = key.split()
    prose = all(map(str.isalpha, words)) and max(map(len, words), default=0) > 2
    return key.casefold() if prose or key.casefold() == "no" else key  # Yes is yes, but X isn't x


# ---- Values: a Fraction, or a tuple that begins with its kind --------------------------------------------------------
#   expressions   ("symbol", name)  ("+", terms...)  ("*", factors...)  ("^", base, exponent)  ("call", name, args...)
#   containers    ("tuple", items...)  ("set", items...)  ("list", items...)  ("union", parts...)  ("matrix", rows...)
#                 ("pair", left, right, brackets): an interval, or if the brackets are round perhaps a tuple
#   statements    ("relation", operators, members...)  ("unit", value, unit)  ("word", text)
EXPRESSIONS = {"symbol", "+", "*", "^", "call"}
SCALARS = {"rational", "expression"}
INFINITY = ("symbol", "∞")
MINUS_ONE = Fraction(-1)


def kind_of(value) -> str:
    if isinstance(value, Fraction):
        return "rational"
    return "expression" if value[0] in EXPRESSIONS else value[0]


def bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def combine(operator: str, *values):
    """A sum or product: nested ones of its kind flattened, the rationals computed, the rest sorted."""
    require(all(kind_of(value) in SCALARS for value in values))  # no set plus a number
    identity = Fraction(1 if operator == "*" else 0)
    constant, rest = identity, []
    for value in values:
        nested = isinstance(value, tuple) and value[0] == operator
        for part in value[1:] if nested else [value]:
            if not isinstance(part, Fraction):
                rest.append(part)
                continue
            constant = constant * part if operator == "*" else constant + part
            require(bits(constant) <= MAX_BITS)
    if INFINITY in rest:  # only ∞ and -∞ are values
        require(len(rest) == 1 and abs(constant) == identity)
    if not rest or (operator == "*" and constant == 0):
        return constant
    rest.sort(key=repr)
    if constant != identity:
        rest = [constant, *rest]
    return rest[0] if len(rest) == 1 else (operator, *rest)


def power(base, exponent):
    """A power: computed if it is rational and small enough, else itself."""
    require(kind_of(base) in SCALARS and kind_of(exponent) in SCALARS and INFINITY not in (base, exponent))
    if isinstance(exponent, Fraction):
        require(base != 0 or exponent > 0)
        if base == ("symbol", "i"):
            exponent %= 4
        whole = isinstance(base, Fraction) and exponent.denominator == 1
        if whole and (abs(base) == 1 or bits(base) * abs(exponent) <= MAX_BITS):
            return base**exponent.numerator
    return base if exponent == 1 else ("^", base, exponent)


add, multiply = partial(combine, "+"), partial(combine, "*")
inverse = partial(power, exponent=MINUS_ONE)


def call(function: str, *arguments):
    """A function of arguments: computed if that is exact and cheap, else itself."""
    require(function not in FUNCTIONS or all(kind_of(argument) in SCALARS for argument in arguments))
    first, last = arguments[0], arguments[-1]
    if function == "exp":
        return power(("symbol", "e"), first)
    if function == "lg":
        return multiply(call("log", first), inverse(call("log", Fraction(10))))
    if all(isinstance(argument, Fraction) and argument.denominator == 1 for argument in arguments):
        if function == "factorial" and 0 <= first <= MAX_BITS // 10:
            return Fraction(math.factorial(first.numerator))
        if function == "binomial" and 0 <= last <= first <= MAX_BITS:
            return Fraction(math.comb(first.numerator, last.numerator))
    return ("call", function, *arguments)


def parse_number(text: str) -> Fraction:
    """12, 1.5, .5, 1.2e3 or 0.1\\overline{6}."""
    require(len(text) <= MAX_BITS // 4)
    if repeating := re.fullmatch(r"(\d*)\.(\d*)\\\w+\s?\{(\d+)\}", text):
        whole, fixed, block = repeating.groups()
        repeated = Fraction(int(block), 10 ** len(block) - 1)
        return (int(whole + fixed or "0") + repeated) / 10 ** len(fixed)
    _, _, exponent = text.lower().partition("e")
    require(len(exponent) <= 5 and abs(int(exponent or "0")) <= MAX_BITS // 4)
    return add(Fraction(text))  # which checks its size


def is_name(value, inner: bool = False) -> bool:
    """Does this name a quantity, as the left of `x = 42` does? x, f(2), AB, (p, q), x + y: no number is in it."""
    if isinstance(value, Fraction):
        return inner and value == -1  # x - y, V_1/V_2
    kind, *parts = value
    if kind == "*":
        return all(is_name(part, inner or not isinstance(parts[0], Fraction)) for part in parts)
    if kind == "^":
        return inner and parts[1] == -1 and is_name(parts[0])
    if kind == "+":
        return all(is_name(part, not isinstance(part, Fraction)) for part in parts)
    if kind in ("tuple", "pair"):  # A:B:C is the tuple A/C, B/C, 1
        return parts[0] != 1 and all(part == 1 or isinstance(part, str) or is_name(part) for part in parts)
    return kind in ("word", "call") or (kind == "symbol" and value != INFINITY)


# ---- Parse: recursive descent, one method a level of precedence ------------------------------------------------------
SIGNS = {"+", "-", "±", "∓"}
SEPARATORS = {",", ";", "and", "or"}
RELATIONS = {"=", "<", ">", "≤", "≥", "≠", "≈", "∈", "→"}
FLIP = {">": "<", "≥": "≤"}
CLOSERS = {"(": {")", "]"}, "[": {")", "]"}, "{": {"}", "over", "choose"}}
CLOSERS |= {"\\{": {"\\}"}, "⟨": {"⟩"}, "⌊": {"⌋"}, "⌈": {"⌉"}}
FACTOR_STARTS = {"(", "[", "{", "⌊", "⌈", "frac", "binom", "sqrt", "∞", "sum", "prod", "int", "lim"}
TRIGONOMETRIC = {"sin", "cos", "tan", "cot", "sec", "csc"}
SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}


def parse(tokens):
    """The value of an answer. An answer with ± is read twice, and is the list of both."""
    signs = {"±", "∓"} & {text for _, text, _ in tokens}
    items = []
    for minus in ("-∓", "-±") if signs else ("-",):
        parser = Parser(tokens, minus)
        part = parser.items(closers=set())
        require(part and parser.kind == "end")
        one_set = signs and len(part) == 1 and kind_of(part[0]) == "set"
        items += part[0][1:] if one_set else part
    return items[0] if len(items) == 1 else ("list", *items)


class Parser:
    def __init__(self, tokens, minus: str):
        self.tokens = [("end", "", False), *reversed(tokens)]  # the next one is the last
        self.minus = minus  # the signs that mean minus in this reading
        self.depth = self.bars = self.angles = 0  # open powers, | and trigonometric functions
        self.kind = self.text = ""
        self.take()

    def take(self) -> str:
        """Take the next token, whose kind and text are known; returns its text."""
        require(self.kind != "end")
        self.previous = self.text
        self.kind, self.text, _ = self.tokens.pop()
        self.operator = self.text if self.kind == "op" else None
        return self.previous

    def accept(self, *operators) -> bool:
        return self.operator in operators and bool(self.take())

    def items(self, closers) -> list:
        """Statements between separators, up to a closer. Where there are ; and commas, the ; separates tuples."""
        groups, separators = [[]], set()
        while True:
            while self.operator in SEPARATORS:
                separators.add(self.operator)
                if self.take() == ";":
                    groups.append([])
            if self.kind == "end" or self.operator in closers:
                break
            require(not groups[-1] or self.previous in SEPARATORS)
            groups[-1].append(self.statement())
        if {";", ","} <= separators:
            return [group[0] if len(group) == 1 else ("tuple", *group) for group in groups if group]
        return [item for group in groups for item in group]

    def statement(self):
        self.accept("=", "≈")  # = 42
        members, operators = [self.member()], []
        while self.operator in RELATIONS:
            operators.append(self.take())
            members.append(self.member())
        if operators[:1] == ["≈"] and is_name(members[0]):
            operators[0] = "="  # x ≈ 11 says that x is 11
        if "≈" in operators:  # but x = 1/3 ≈ 0.33 says that x is 1/3
            end = operators.index("≈")
            operators, members = operators[:end], members[: end + 1]
        if operators and FLIP.keys() >= set(operators):  # 5 > x is x < 5
            operators, members = [FLIP[operator] for operator in reversed(operators)], members[::-1]
        return ("relation", tuple(operators), *members) if operators else members[0]

    def member(self):
        if self.kind == "word":
            text = self.take()
            while self.kind == "word":
                text += " " + self.take()
            return ("symbol", text) if len(text) == 1 else ("word", text.casefold())
        parts, operator = [self.sum()], self.operator
        while operator in ("∪", ":") and self.accept(operator):
            parts.append(self.sum())
        if operator == "∪":
            sets = all(kind_of(part) == "set" for part in parts)
            return ("set", *(item for part in parts for item in part[1:])) if sets else ("union", *parts)
        if operator == ":":  # 1:2:3 is 2:4:6
            parts = [multiply(part, inverse(parts[-1])) for part in parts]
        value = ("tuple", *parts) if len(parts) > 2 else parts[0]
        if self.kind == "word" and self.text in SCALES:
            value = multiply(value, Fraction(10 ** SCALES[self.take()]))
        unit = "%" if self.accept("%") else self.unit()
        return ("unit", value, unit) if unit else value

    def unit(self) -> str:
        """Words after a number, in one spelling: km/h for kilometers per hour, cm^2 for square centimetres."""
        unit = power_first = ""
        while self.kind == "word" or (unit and (self.operator in ("^", "/", "{", "}") or unit[-1] in "^/-")):
            word = self.take()
            require(word.casefold() not in ("not", "no", "never", "except", "isn"))  # 42 not
            word = word.casefold() if len(word) > 2 else word
            singular = word.removesuffix("s")
            word = UNITS.get(word) or UNITS.get(singular) or singular.strip("{}")
            if word in ("^2", "^3"):
                power_first = word
            else:
                space = " " if unit[-1:].isalpha() and word.isalpha() else ""
                unit, power_first = unit + space + word + power_first, ""
        return "" if unit.startswith("unit") else unit  # square units are a unit that wasn't given

    def sum(self):
        terms = [self.product()]
        while self.operator in SIGNS:
            terms.append(self.product())  # which reads the sign
        return add(*terms) if len(terms) > 1 else terms[0]

    def product(self):
        factors = [self.factor()]
        while True:
            if self.accept("*"):
                factors.append(self.factor())
            elif self.accept("/"):
                factors.append(inverse(self.factor()))
            elif self.starts_factor():
                factors.append(self.power())
            else:
                return multiply(*factors) if len(factors) > 1 else factors[0]

    def starts_factor(self) -> bool:
        """Does a factor follow without a sign? A number only after a bracket or a factorial: 4 2 isn't 8."""
        if self.kind == "number":
            return self.previous in (")", "}", "!")
        opens = self.operator == "|" and not self.bars
        return opens or self.operator in FACTOR_STARTS or self.kind in ("name", "function")

    def factor(self):
        negative = False
        while self.operator in SIGNS:
            negative ^= self.take() in self.minus
        value = self.power()
        return multiply(MINUS_ONE, value) if negative else value

    def power(self):
        self.depth += 1
        require(self.depth <= MAX_DEPTH)
        value = self.atom()
        while self.operator in ("!", "°", "^"):
            operator = self.take()
            if operator == "^":
                value = power(value, self.factor())
            elif operator == "!":
                value = call("factorial", value)
                require(self.operator != "!")  # the double factorial is another function
            elif self.angles:
                value = multiply(value, ("symbol", "pi"), Fraction(1, 180))
        self.depth -= 1
        return value

    def atom(self):
        kind, text = self.kind, self.take()
        if kind == "number":  # 1011_2, in another base, is equal only to itself
            return ("symbol", text + self.subscript()) if self.operator == "_" else parse_number(text)
        if kind == "name":
            text += self.subscript()
            while self.accept("'"):
                text += "'"
            called = (text in ("f", "g", "h") or text[-1] == "'") and self.accept("(")
            return ("call", text, *self.arguments()) if called else ("symbol", text)
        if kind == "function":
            return self.function(text)
        require(kind == "op")
        if text in CLOSERS:
            return self.bracket(text)
        if text == "|":
            self.bars += 1
            value = self.sum()
            self.bars -= 1
            require(self.accept("|"))
            return call("abs", value)
        if text == "frac":
            return multiply(self.argument(), inverse(self.argument()))
        if text == "binom":
            return call("binomial", self.argument(), self.argument())
        if text == "sqrt":
            return self.root()
        if text in ("∞", "∅"):
            return INFINITY if text == "∞" else ("set",)
        if text in ("sum", "prod", "int", "lim"):  # read as far as their parts go, never carried out
            limits = []
            while self.operator in ("_", "^"):
                limits += self.take(), self.argument()
            return ("call", text, *limits, self.product())
        require(re.fullmatch("begin ([pbB]?matrix|array)", text))
        rows, end = [[]], "end" + text[5:]
        while not self.accept(end):
            rows[-1].append(self.statement())
            if self.accept("\\\\") and self.operator != end:
                rows.append([])
            elif self.operator != end:
                require(self.accept("&"))
        return ("matrix", *map(tuple, rows))

    def subscript(self) -> str:
        """The text of a subscript, if there is one."""
        if not self.accept("_"):
            return ""
        text, depth = "", 0
        while not text or depth > 0:
            text += self.take()
            depth += {"{": 1, "}": -1}.get(self.previous, 0)
        return "_" + text.replace("{", "").replace("}", "")

    def arguments(self) -> list:  # after the opening bracket
        arguments = self.items({")"})
        require(self.accept(")"))
        return arguments

    def argument(self):
        r"""A command's argument: a group, or one token, which in TeX is one digit: \frac12."""
        if self.kind == "number" and self.text.isdigit() and len(self.text) > 1:
            self.tokens.append(("number", self.text[1:], False))
            self.text = self.text[0]
        return self.atom()

    def root(self):
        index = Fraction(2)
        if self.accept("["):
            index = self.sum()
            require(self.accept("]"))
        value = self.atom()
        if kind_of(index) == kind_of(value) == "rational" and index % 2 == 1 and value < 0:
            return multiply(MINUS_ONE, power(-value, 1 / index))  # the real root, as everybody means it
        return power(value, inverse(index))

    def function(self, function: str):
        r"""\sin x, \sin(x), \sin^2 x, \log_2 8, \sin 2x; but \sin x + 1 and \sin x \cos x end after x."""
        base = self.argument() if self.accept("_") else None
        exponent = self.factor() if self.accept("^") else Fraction(1)
        angle = 1 if function in TRIGONOMETRIC else 0  # in which ° means something
        self.angles += angle
        if self.accept("("):
            arguments = self.arguments()
        else:
            arguments = [self.power()]
            while self.starts_factor() and self.kind != "function" and self.operator != "(":
                arguments[0] = multiply(arguments[0], self.power())
        self.angles -= angle
        require(len(arguments) == (2 if function == "binomial" else 1))
        if exponent == -1 and "a" + function in FUNCTIONS:
            return call("a" + function, *arguments)
        value = call(function, *arguments)
        if base is not None:
            value = multiply(value, inverse(call("log", base)))
        return power(value, exponent)

    def bracket(self, opening: str):
        items = self.items(CLOSERS[opening])
        closing = self.take()
        if closing in ("over", "choose") and len(items) == 1:  # {1 \over 2}
            below = self.bracket("{")
            return call("binomial", *items, below) if closing == "choose" else multiply(*items, inverse(below))
        brackets = opening + closing
        if opening == "\\{" or (opening == "{" and len(items) > 1):
            return ("set", *items)
        if len(items) == 1 and brackets in ("()", "[]", "{}"):
            return items[0]
        if len(items) == 1 and opening in ("⌊", "⌈"):
            return call("floor" if opening == "⌊" else "ceil", *items)
        if len(items) == 2 and opening in ("(", "["):
            return ("pair", *items, brackets)
        require(len(items) > 1 and brackets not in ("(]", "[)"))
        return ("tuple", *items)
