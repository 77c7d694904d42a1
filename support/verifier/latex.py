r"""The reader of LaTeX under reward.py: a text becomes values that can be compared exactly. Nothing is ever evaluated.

    text -> normalize: one character for each way to write it -> tokenize -> parse: recursive descent -> values

The grammar. Separated items are a list. A statement with ± is read once for each choice of its signs.

    items     = statement { ("," | ";" | "and" | "or") statement } [("for" | "where" | "with") conditions]
    statement = ["="] [word ":" | name "(" anything ")" "="] member { ("=" | "<" | "≤" | "≠" | "∈" | …) member }
    member    = words | ["$"] sum { ("∪" | "∩" | "∖" | ":") sum } [scale] [unit]
    sum       = product { ("+" | "-" | "±" | "∓") product }
    product   = factor { ["*" | "/"] factor }                   1/2x is half of x
    factor    = { "+" | "-" | "±" | "∓" } power                 -2^2 is -4
    power     = atom { "!" | "°" | "^" factor }                 2^3^2 is 2^9
    atom      = number | name ["(" items ")"] | function ["_" group] ["^" factor] power | bracket items bracket
              | "|" sum "|" | "frac" group group | "sqrt" ["[" sum "]"] group | accent group | "∞" | "…" | environment
    group     = "{" items "}" | one token: of a number, one digit

How each kind of answer is read. Anything else, and 1/0, which has no value, is only compared as text.

    numbers    1,234 1{,}234 1\,234 1 234 are 1234, but 1, 234 is a list; 5e-1 is 1/2; 1011_2 is a name
    repeating  0.1\overline{6} 0.1\dot6 0.1(6) 0.166… are 1/6; other decimals with dots are only compared as text
    words      seven, twenty-five, half, 5 dozen, 5 tenths, 3 million, 5 squared are numbers
    mixed      2\frac{1}{2}, 2 1/2 and 2½ are 5/2, but 2\frac{3}{2} is a product
    units      42\text{ cm}, 42 apples, 90^\circ, \$42, 42nd have a unit, which is never converted; 50\% has the unit %;
               5 m/s, 5 meters per second and 5\frac{m}{s} one unit; 5 pairs, 5 more, 5 not are not read
    functions  e and i are the constants; \log without a base is natural; in a sine or its like ° is π/180
    \sum       and \prod, \int, \lim have parts, and are never carried out; their variable may have any name
    letters    one to three are a product of variables, more are a word; x and X, z and \bar z differ, Yes and yes don't
    sequences  (1,2), \langle 1,2\rangle and a column matrix; "," binds more tightly than ";" if both occur
    sets       \{1,2\} is a set; 1, 2 and "1 and 2" are lists; \pm 2 is the list 2, -2
    signs      several ± are independent of each other; beside a ∓ all are tied
    intervals  (1,2] ]1,2] are pairs; x < 3, |x| < 3, x ≠ 3, x \in (1,2] have a set of numbers as solution
    and, or    of relations are the intersection and the union of their solutions
    ratios     1:2 is 1/2, and 1:2:4 is the tuple 1/4, 1/2, 1
    choices    (B) 42 and B: 42 are B, and also 42; but (A) 42 isn't (B) 42, and (A) B is not read
    names      x=42, f(2)=42, P(X=2)=42, Area: 42, the area is 42 are 42; f(x)=2x is f(t)=2t
    conditions 2^n for all n > 0, 2k where k \in Z, \{2k : k \in Z\}: beside a plain value the condition doesn't matter
    accents    \bar z, \vec z make another name; \phantom{5}, \hspace{5cm}, \tag{5} are nothing
    cases      rows of a value and its condition in any order; rows of one entry are a list

An ambiguous text has several readings: 1,22 is a list or 1.22; 5 m is 5 metres or 5·m.
A pair in brackets of one kind, (1,2) or [1,2], may be an interval, a tuple or a list: reward.py compares it as any.
support/verifier/answers.md has examples of all this, and of right answers that aren't found.
"""

import re
from contextlib import suppress
from fractions import Fraction
from functools import lru_cache
from itertools import product

from support.verifier import words
from support.verifier.spelling import MIXED_NUMBER, mixed_number, normalize
from support.verifier.values import (
    ACCENTS,
    INFINITY,
    MAX_BITS,
    REALS,
    SCALARS,
    SETS,
    Unreadable,
    add,
    call,
    has_symbol,
    inverse,
    is_name,
    kind_of,
    multiply,
    negative,
    power,
    real_power,
    require,
    solution_of,
    substitute,
)
from support.verifier.words import table

WORD_COMMANDS = {word: word for word in "gcd deg dim max min det Pr arg Re Im ker".split()} | {
    "forall": "for"
}
MAX_TOKENS = 2_000
MAX_STEPS = 20_000  # tokens taken, those that are read again with another sign included
MAX_DEPTH = 40  # brackets, functions and exponents inside one another
MAX_SIGNS = 4  # ± in one statement

# ---- Several readings ----------------------------------------------------------------------------
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+[^\d,;(\[{]*")  # 1,22
SHORT_UNIT = re.compile(r"""(?x)  # 12 m/s
    (?P<number>[+-]?[\d.,/]+(?:\s?(?:\*|\\times|\\cdot)\s?10\^\{?-?\d+\}?)?)\ (?P<name>[A-Za-z]{1,3})
    (?P<power>[/^{}A-Za-z\d]{0,9})""")
CHOICE = re.compile(r"""(?xs)  # (B) 42  B: 42  \textbf{(B)}\ 42  C. Paris, but neither E. coli nor A: B
    \s?(?P<open>\\[a-z]{4,6}\s?\{\s?)?\(?(?:\\[a-z]{4,6}\s?\{)?(?P<letter>[A-J])\}?\s?
    (?:\)|\.(?=\s*(?:\}|[A-Z\d\\¤]|\w\W|\w+\ \w+\ \w+))|:(?=[\s\d¤\\])|[-–—]\ (?=[A-Z][a-z]))
    (?P<close>\s?\})?[.:]?\s?(?P<content>(?!\s?[A-J]\W*$).+)""")
HEDGE = re.compile(r"""(?x)  # in a choice: another letter, or a change of mind
    (?<![A-Za-z\\])(?:[B-HJ]|A(?!\ [a-z]))(?![A-Za-z'])
    |(?i:\b(?:or|not|no)\s*(?:$|\}|,|this)|wrong|incorrect|actually|instead|isn't|\b(?:is|are)\ (?:not|false|right))""")


def read(text: str, inside: bool = False) -> tuple[str, list]:
    """The text's key for comparison as text, and its readings: none if it can't be read, several if it is ambiguous.

    `inside` a choice, where no further one begins.
    """
    text = normalize(text)
    spellings = [text]
    if DECIMAL_COMMA.fullmatch(text):
        spellings.append(text.replace(",", "."))
    if (unit := SHORT_UNIT.fullmatch(text)) and unit["name"] in words.UNITS:
        spellings.append(f"{unit['number']} \\text{{{unit['name']}{unit['power']}}}")
    key, readings = None, []
    for spelling in spellings:
        tokens = tokenize(MIXED_NUMBER.sub(mixed_number, spelling))
        key = text_key(tokens) if key is None else key
        with suppress(Unreadable, RecursionError):
            readings.append(parse(tokens))
    if not inside and (choice := CHOICE.fullmatch(text)):
        content = (
            choice["content"].replace("}", "", 1)
            if choice["open"] and not choice["close"]
            else choice["content"]
        )
        content_key, values = read(content, inside=True)
        readings = [
            ("choice", choice["letter"], value) for value in values or [("word", content_key)]
        ]
        readings = [] if HEDGE.search(content) else readings
    return key, readings


def is_sentence(text: str) -> bool:
    """Is this a text of many words and no value, which no response would equal?"""
    found = re.findall(r"(?<![\\A-Za-z])[A-Za-z]{2,}", text)
    readings = []
    with suppress(Unreadable):
        _, readings = read(text)
    return len(found) > 6 and all(kind_of(value) in ("word", "unit") for value in readings)


read_reference = lru_cache(maxsize=512)(
    read
)  # all responses of a group are held against one answer

# ---- Tokenize: (kind, text, is there space before it) with kinds number, name, function, word, currency, op 
SYMBOLS = table("^ **; = == :=; ≤ <= =<; ≥ >=; ≠ !=; ≈ ~=; ± +-")
COMMANDS = table(r"""* cdot times ast; / div; = equiv; < lt; > gt; ≤ le leq leqslant leqq; ≥ ge geq geqslant geqq;
    ≠ ne neq; ≈ approx simeq doteq; → to rightarrow; ± pm; ∓ mp; ∪ cup bigcup; ∩ cap bigcap; ∈ in; ∉ notin; ∖
    setminus smallsetminus backslash; ∅ emptyset varnothing; ∞ infty; … ldots dots cdots dotsc dotsb dotsm dotso
    hdots; | lvert rvert vert mid; : colon; ∨ lor vee; ∧ land wedge; and &; ⟨ langle; ⟩ rangle; [ lbrack; ] rbrack;
    ⌊ lfloor; ⌋ rfloor; ⌈ lceil; ⌉ rceil; \{ { lbrace; \} } rbrace; frac dfrac tfrac cfrac; binom dbinom tbinom;
    sqrt; over; choose; sum; prod; int; lim; %; R; bar overline; hat widehat; tilde widetilde; vec overrightarrow;
    dot; ddot""")
FUNCTIONS = table("""sin; cos; tan; cot; sec; csc; asin arcsin; acos arccos; atan arctan; sinh; cosh; tanh; log ln; lg;
    exp; abs; floor; ceil ceiling; factorial; binomial""")
NAMES = table("""alpha; beta; gamma; delta; epsilon varepsilon; zeta; eta; theta vartheta; iota; kappa; lambda; mu; nu;
    xi; pi; rho; sigma; tau; upsilon; phi varphi; chi; psi; omega; Gamma; Delta; Theta; Lambda; Xi; Pi; Sigma; Phi; Psi;
    Omega; ell; hbar""")
PLAIN = table("and AND; or OR; sqrt; ∞ infinity inf oo")
OPERATORS = {"symbol": SYMBOLS, "command": COMMANDS, "letters": PLAIN}
IGNORED = words.words("""left right middle big Big bigg Bigg bigl bigr Bigl Bigr large Large LARGE huge Huge small
    tiny normalsize footnotesize displaystyle textstyle scriptstyle scriptscriptstyle limits quad qquad thinspace
    enspace enskip medspace thickspace negthinspace negmedspace space null relax boxed fbox framebox mathbf mathit
    mathsf mathtt mathcal mathbb boldsymbol bm pmb bold text textbf textit texttt textsf emph mathrm rm bf mathbin
    mathord mathop underline angle measuredangle triangle ensuremath hline strut mathstrut smash hfil hfill
    centering par noindent newline allowbreak nobreak bigskip smallskip nonumber notag qed""")
QUANTITY_STYLE = re.compile(r"\s|\\left|\\right|\\(?:text|mathrm|operatorname)\*?|[{}]")
DECIMAL_DOTS = re.compile(r"\s?\\[lc]?dots")
TOKEN = re.compile(r"""(?xs)  # verbose; "." is also a line break
    (?P<space>\s+|~|\\[,;:!>\ ()\[\]]|\\(?:left|right)\s?\.|\\(?:text)?color\s?\{(?!white)\w+\}
        |(?<=\d)\^?\{?(?:\\text\{)?(?:st|nd|rd|th)\b\}{0,2})  # 42nd, 42^{\text{nd}}
    | (?P<quantity>(?<![A-Za-z\d\\])(?![fgh]\s?\()(?:\\(?:operatorname|text|mathrm)\*?\s?\{\w+\}|[PE]
            |\\(?:gcd|max|min|Pr|deg|dim|det|arg|Re|Im|(?:var)?phi|psi|P[hs]i|tau|sigma|mu|Gamma|zeta|rho|theta|pi)
            |[a-zA-Z]\^\{-1\}(?=\()|\([a-z]\s?\\circ\s?[a-z]\)
            |[A-Za-z](?=(?:_\w|_\{\w+\})?\s?(?:\[|\(\s?\w+\s?\)|\([^()]*(?:[,=<>|]|\\(?:ca|cu|[gl]e|mid)))))
        (?:_\w|_\{\w+\})?\s?(?:\\left\s?)?[(\[](?:[^()\[\]]|\([^()]*\))*[)\]](?=\s?(?:=|\\approx)))  # P(X = 2) =
    | \\(?:text|textbf|textit|textrm|textnormal|mbox|hbox|mathrm|operatorname)\*?\s?
        \{(?P<text>(?:[^{}\\]|\\(?:cdot|times|[,; %$#&])|\^\{-?\d\})*)\}
    | \\(?P<edge>begin|end)\s*\{\s*(?P<environment>\w+)\*?\s*\}(?:\s*\{[lcr|\s]*\})?
    | (?P<number>\d*\.\d*(?:\\(?:overline|bar|dot)\s?(?:\d|\{\d+\})(?:\d*\\dot\s?(?:\d|\{\d\}))?|\(\d+\))
        |\d*\.\d+\s?\\[lc]?dots\b|(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)
    | \\(?P<command>[A-Za-z]+|.) | (?P<letters>[^\W\d_]+) | (?P<symbol>\*\*|[<>=~:]=|(?<![\d)}])!=|=<|\+-|.)""")


def tokenize(text: str, prose: bool = False) -> list[tuple[str, str, bool]]:
    r"""`prose` is the inside of \text{}, where every run of letters is a word."""
    tokens, spaced = [], False
    for match in TOKEN.finditer(text):
        kind, value = match.lastgroup, match[match.lastgroup]
        if kind == "space" or (kind == "command" and value in IGNORED):
            spaced = spaced or kind == "space" or value.endswith("quad")
            continue
        after_word = tokens and tokens[-1][0] == "word"
        if kind == "text":
            upright = value in FUNCTIONS or (value in ("e", "i") and "mathrm" in match[0])
            tokens += tokenize(value, prose=not upright)
        elif kind == "number":
            tokens.append((kind, DECIMAL_DOTS.sub("…", value), spaced))
        elif kind == "quantity":
            tokens.append(("word", QUANTITY_STYLE.sub("", value), spaced))
        elif kind == "environment":
            tokens.append(("op", f"{match['edge']} {value}", spaced))
        elif kind in ("symbol", "command") and value in words.CURRENCIES:
            tokens.append(("currency", words.CURRENCIES[value], spaced))
        elif kind == "symbol" and value == "." and (prose or after_word):
            continue  # sq. ft.
        elif kind == "symbol" or value in OPERATORS[kind]:
            tokens.append(("op", OPERATORS[kind].get(value, value), spaced))
        elif not prose and value in FUNCTIONS:
            tokens.append(("function", FUNCTIONS[value], spaced))
        elif not prose and value in NAMES:
            tokens.append(("name", NAMES[value], spaced))
        elif prose or (kind == "letters" and is_word(value, tokens, spaced)):
            tokens.append(("word", value, spaced))
        elif kind == "command" and value in WORD_COMMANDS:
            tokens.append(("word", WORD_COMMANDS[value], spaced))
        elif kind == "command":
            tokens.append(("op", "\\" + value, spaced))  # unknown, and so unreadable
        else:
            names = re.findall("d[xyztuvwrs]$|.", value)  # dx isn't d times x
            tokens += [("name", name, spaced and i == 0) for i, name in enumerate(names)]
        spaced = kind == "text"
    require(len(tokens) <= MAX_TOKENS)
    return tokens


def is_word(letters: str, tokens: list, spaced: bool) -> bool:
    """Others of up to three letters, or at a number, are products of variables."""
    before, text, _ = tokens[-1] if tokens else ("", "", False)
    if letters in words.SHORT_UNITS:
        return before in ("number", "word") or text in ("/", "}", ")", "(")
    if len(letters) > 3 or not letters.isascii():
        return before != "number" or spaced or words.unit_of(letters) in words.UNITS.values()
    return len(letters) > 1 and (letters in words.SHORT_WORDS or before == "word")


def text_key(tokens) -> str:
    """Texts with the same key are the same. A space counts only between letters or digits; 11/2 isn't 1 1/2."""
    key = ""
    for kind, text, spaced in tokens:
        if kind == "name" and len(text) > 1:
            text = "\\" + text
        key += " " + text if spaced and key[-1:].isalnum() and text[:1].isalnum() else text
    prose = all(kind == "word" for kind, _, _ in tokens) and any(
        len(text) > 2 for _, text, _ in tokens
    )
    return (
        key.casefold() if prose or key.casefold() in ("no", "yes") else key
    )  # Yes is yes, but X isn't x


def parse_number(text: str) -> Fraction:
    """12, 1.5, .5, 1.2e3, 0.1\\overline{6}, 0.1(6), 0.\\dot{1}4\\dot{2} or 0.166\\ldots"""
    require(len(text) <= MAX_BITS // 4)
    if text.isdigit():
        return Fraction(int(text))
    if text[-1].isdigit() and "\\" not in text:
        _, _, exponent = text.lower().partition("e")
        require(len(exponent) <= 5 and abs(int(exponent or "0")) <= MAX_BITS // 4)
        return add(Fraction(text))  # which checks its size
    whole, _, decimals = text.partition(".")
    if text[-1] == "…":  # a block of digits has to be there twice
        digits = whole + decimals[:-1]
        match = re.search(r"([1-9]|\d*?[1-9]\d*?)\1+$", digits[-60:])
        require(match)
        fixed, block = len(digits) - len(whole), match[1]
        number = int(digits)
    else:
        match = re.fullmatch(r"(\d*)\W\D*(\d+)\D*(\d*)\D*(\d*)\D*", decimals)
        fixed, block = len(match[1]), match[2] + match[3] + match[4]
        number = int(whole + match[1] or "0")
    return (number + Fraction(int(block), 10 ** len(block) - 1)) / 10**fixed


# ---- Parse: recursive descent, one method a level of precedence ----------------------------------
SIGNS = {"+", "-", "±", "∓"}
SEPARATORS = {",", ";", "and", "or", "∧", "∨", "&"}
RELATIONS = {"=", "<", ">", "≤", "≥", "≠", "≈", "∈", "∉", "→"}
FLIP = {">": "<", "≥": "≤"}
CLOSERS = {"(": {")", "]"}, "[": {")", "]"}, "{": {"}", "over", "choose"}}
CLOSERS |= {"\\{": {"\\}", "|", ":"}, "⟨": {"⟩"}, "⌊": {"⌋"}, "⌈": {"⌉"}}
FACTOR_STARTS = {
    "(",
    "[",
    "{",
    "⌊",
    "⌈",
    "frac",
    "binom",
    "sqrt",
    "∞",
    "…",
    "sum",
    "prod",
    "int",
    "lim",
} | ACCENTS
TRIGONOMETRIC = {"sin", "cos", "tan", "cot", "sec", "csc"}
SET_OPERATORS = {"∪": "union", "∩": "and", "∖": "without"}
ENVIRONMENT = re.compile("begin ([pbB]?matrix|smallmatrix|array|[dr]?cases)")
DOTS = ("symbol", "…")


def parse(tokens):
    """The value of an answer."""
    parser = Parser(tokens)
    items = parser.items(closers=set(), spread=True)
    require(items and parser.kind == "end")
    return as_one(items)


def as_one(items):
    return items[0] if len(items) == 1 else ("list", *items)


def join_relations(items: list, separators: set, head=None) -> list:
    """x > 0 and x < 12 are an intersection of sets, x < 0 or x > 12 a union; a comma is "and" if any number is in both.

    Equations are joined only where they are about `head`.
    """
    kinds = [kind_of(item) for item in items]
    if (
        kinds[:1] == ["relation"]
        and items[0][1] == ("≠",)
        and kinds[1:]
        and set(kinds[1:]) <= SCALARS
    ):  # x ≠ 1, 2
        return [("relation", ("∉",), items[0][2], ("set", items[0][3], *items[1:]))]
    if len(items) < 2 or set(kinds) != {"relation"}:
        require(not separators & {"∧", "∨"})  # of statements as such
        return items
    joint = "or" if separators & {"or", "∨"} else "and" if separators & {"and", "∧"} else "comma"
    solutions = [solution_of(item) for item in items]
    names = {name for name, _ in solutions}
    equations = all(item[1] == ("=",) for item in items)
    if len(names) == 1 and None not in names and (not equations or names == {head}):
        pairs = zip(items, solutions, strict=True)
        sets = [("set", value) if item[1] == ("=",) else value for item, (_, value) in pairs]
        if all(kind_of(value) in SETS for value in sets):
            require(len(separators - {",", ";"}) < 2)
            return [("relation", ("∈",), *names, ("union" if joint == "or" else joint, *sets))]
    return [("or", *items)] if joint == "or" and not (equations and len(names) == 1) else items


def is_condition(last, items) -> bool:
    r"""2\pi k, k \in Z: an inequality or membership of a variable that the others use and don't restrict themselves."""
    name, _ = solution_of(last)
    return name is not None and last[1] != ("=",) and all(may_depend(item, name) for item in items)


def may_depend(value, name) -> bool:
    return (
        kind_of(value) not in SETS - {"pair"}
        and has_symbol(value, name)
        and solution_of(value)[0] != name
    )


class Parser:
    def __init__(self, tokens):
        self.tokens = [*tokens, ("end", "", False)]
        self.depth = self.bars = self.angles = self.nesting = (
            0  # open powers, |, trigonometric functions and sums
        )
        self.in_set = self.in_condition = False
        self.choice, self.signs, self.tied = (
            (),
            0,
            False,
        )  # which ± of a statement are minus; how many; is there a ∓?
        self.sign = ""  # ° or a currency that was seen in this member
        self.steps, self.text = 0, ""
        self.move(0)

    def move(self, at: int) -> None:
        self.at = at
        self.kind, self.text, _ = self.tokens[at]
        self.operator = self.text if self.kind == "op" else None
        self.word = self.text.casefold() if self.kind == "word" else ""

    def take(self) -> str:
        """Take the next token, whose kind and text are known; returns its text."""
        self.steps += 1
        require(self.kind != "end" and self.steps <= MAX_STEPS)
        self.previous = self.text
        self.move(self.at + 1)
        return self.previous

    def accept_word(self, *words) -> bool:
        return self.word in words and bool(self.take())

    def next_word(self) -> str:
        kind, text, _ = self.tokens[self.at + 1]
        return text.casefold().removesuffix("s") if kind == "word" and len(text) > 3 else text

    def accept(self, *operators) -> bool:
        return self.operator in operators and bool(self.take())

    def items(self, closers, spread=False) -> list:
        """Statements between separators, up to a closer; `spread` makes several of one with ±, and joins relations.

        Where there are ; and commas, the ; separates tuples.
        """
        groups, separators, conditions, last = [[]], set(), [], None
        while True:
            while self.operator in SEPARATORS and self.operator not in closers:
                separators.add(last := self.operator)
                if self.take() == ";":
                    groups.append([])
            if self.kind == "end" or self.operator in closers or self.word in closers:
                break
            bracket = (
                self.operator == "("
                and self.tokens[self.at + 1][1].casefold() in words.QUALIFIERS
                and self.take()
            )
            if groups[-1] and self.word in words.QUALIFIERS:
                conditions = self.conditions(groups[-1])
                require(not bracket or self.accept(")"))
                break
            require(not groups[-1] or self.previous in SEPARATORS)
            self.accept_word("either", "both", "about", "approximately")
            groups[-1] += self.spread() if spread else [self.statement()]
        items = [item for group in groups for item in group]
        if {";", ","} <= separators:
            return [group[0] if len(group) == 1 else ("tuple", *group) for group in groups if group]
        if DOTS in items:
            return [("tuple", *items)]
        if (
            spread
            and len(items) > 1
            and last == ","
            and not conditions
            and is_condition(items[-1], items[:-1])
        ):
            conditions = [items.pop()]
        items = join_relations(items, separators)
        require(spread or len(items) < 2 or separators <= {",", ";"})  # (1 or 2)
        return [("where", as_one(items), *conditions)] if conditions else items

    def conditions(self, values: list) -> list:
        r"""for all n \ge 1; where c is a constant: of variables that the values use, and in known words."""
        self.in_condition, found = True, []
        while self.kind != "end" and self.operator not in ("\\}", ")"):
            if word := self.word.removesuffix("s"):
                self.take()
                variable = len(word) == 1 and all(
                    may_depend(value, ("symbol", word)) for value in values
                )
                require(variable or word in words.FILLERS | words.RESTRICTIONS | words.QUALIFIERS)
                found += [("word", word)] if word in words.RESTRICTIONS else []
            elif not self.accept(*SEPARATORS):
                statement = self.statement()
                relation = kind_of(statement) == "relation"
                require(is_name(statement) or (relation and "=" not in statement[1]))
                name = solution_of(statement)[0] if relation else statement
                require(all(may_depend(value, name) for value in values))
                found += [statement] if relation else []
        require(
            not found
            or not any(
                kind_of(value) in SETS and (value[0] != "pair" or value == REALS)
                for value in values
            )
        )
        self.in_condition = False
        return found

    def spread(self) -> list:
        """A statement, once for each choice of its signs: independent ±, but all tied where there is a ∓."""
        outer, start = (self.choice, self.signs, self.tied), self.at
        self.choice, self.signs, self.tied = (), 0, False
        values = [self.statement()]
        require(self.signs <= MAX_SIGNS)
        end, choices = self.at, list(product((0, 1), repeat=self.signs))
        for choice in choices[-1:] if self.tied else choices[1:]:
            self.move(start)
            self.choice, self.signs = choice, 0
            value = self.statement()
            values += [value] if value not in values else []
            require(self.at == end)
        self.choice, self.signs, self.tied = outer
        return values

    def minus(self) -> bool:
        """Take a sign: does it mean minus?"""
        sign = self.take()
        if sign in "+-":
            return sign == "-"
        self.tied |= sign == "∓"
        self.signs += 1
        return (self.choice[self.signs - 1 : self.signs] == (1,)) != (sign == "∓")

    def statement(self):
        self.accept("=", "≈")  # = 42
        members, operators = [self.member()], []
        if kind_of(members[0]) == "word" and self.operator != "end":
            label = members[0][1].split()
            says = label[-1] in ("is", "are", "equals") and not self.word and self.kind != "end"
            if says or self.operator == ":":  # Area: 42, the area is 42
                self.accept(":")
                operators.append("=")
                members.append(self.member())
            require(not words.NEGATIONS & set(label) or not (operators or self.operator == "="))
        while self.operator in RELATIONS:
            operators.append(self.operator)
            self.take()
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
        outer, self.sign = self.sign, ""
        if self.word in ("minus", "negative"):
            if self.tokens[self.at + 1][0] == "number" or self.next_word() in words.NUMBERS:
                self.take()
                return negative(self.member())
        elif self.word in ("a", "an") and self.next_word() in words.SCALES:
            self.take()
        if self.word in words.NUMBERS or self.word in words.SCALES:
            value = self.number_word()
        elif self.word and self.text not in words.CURRENCIES:
            self.sign = outer
            return self.phrase()
        else:
            value = self.operations()
        while self.word.removesuffix("s") in words.SCALES or self.word in words.POWERS:
            word = self.take().casefold()
            value = (
                power(value, words.POWERS[word])
                if word in words.POWERS
                else multiply(value, words.SCALES[word.removesuffix("s")])
            )
        if self.kind == "currency":  # 5 €
            self.mark(self.take())
        unit, self.sign = self.unit(), outer
        return ("unit", value, unit) if unit else value

    def operations(self):
        value, ratio = self.sum(), []
        while self.operator in SET_OPERATORS or (self.operator == ":" and not self.in_set):
            operator, ratio = self.take(), ratio or [value]
            ratio.append(other := self.sum())
            if operator in SET_OPERATORS:
                other = (
                    ("set", other) if self.previous == "}" and kind_of(other) in SCALARS else other
                )  # ℝ ∖ {0}
                require(kind_of(value) in SETS and kind_of(other) in SETS)
                value, ratio = (SET_OPERATORS[operator], value, other), []
        ratio = [multiply(part, inverse(ratio[-1])) for part in ratio]  # 1:2:3 is 2:4:6
        return ("tuple", *ratio) if len(ratio) > 2 else ratio[0] if ratio else value

    def number_word(self):
        """two hundred and twenty-five"""
        total, value = (
            Fraction(0),
            words.NUMBERS[self.take().casefold()] if self.word in words.NUMBERS else Fraction(1),
        )
        while True:
            hyphen = (
                self.operator == "-"
                and not self.tokens[self.at][2]
                and not self.tokens[self.at + 1][2]
            )
            if (
                hyphen or self.operator == "and"
            ) and self.next_word() in words.NUMBERS | words.SCALES:
                self.take()
            if self.word in words.NUMBERS:
                number = words.NUMBERS[self.take().casefold()]
                require(value % (10 if number < 10 else 100) == 0 and (value or total))
                value += number
            elif self.word == "hundred":
                value *= words.SCALES[self.take().casefold()]
            elif self.word in ("thousand", "million", "billion", "trillion"):
                total, value = total + value * words.SCALES[self.take().casefold()], Fraction(0)
            else:
                return total + value

    def phrase(self):
        text = self.take()
        while self.word and (
            self.word not in words.STOPS or text.casefold().endswith((" except", " excluding"))
        ):
            text += " " + self.take()
        if self.kind == "name" and words.REAL_NUMBERS.fullmatch(
            text.casefold() + " numbers"
        ):  # all real x except 2
            if self.tokens[self.at + 1][1] in RELATIONS:
                return self.statement()
            self.take()
            text += " numbers" + ("" if not self.word else " " + self.take())
        excludes = text.endswith(("except", "for", "excluding"))
        if (
            self.kind == "name" and self.tokens[self.at + 1][1] == "=" and not excludes
        ):  # \det A = 2
            text += " " + self.take()
        text = words.SYNONYMS.get(text.casefold(), text)
        if words.NOTHING.fullmatch(text.casefold()):
            return ("set",)
        if match := words.REAL_NUMBERS.fullmatch(text.casefold()):
            require(not match["but"] or self.kind != "end")
            value = words.SIGNED[(match["sign"] or "").strip()]
            while match["but"] and (self.accept(*SEPARATORS) or self.kind != "end"):
                excluded = self.statement()
                excluded = (
                    excluded[3]
                    if kind_of(excluded) == "relation" and excluded[1] == ("=",)
                    else excluded
                )
                require(kind_of(excluded) in SCALARS | {"set"})
                value = (
                    "without",
                    value,
                    excluded if kind_of(excluded) == "set" else ("set", excluded),
                )
            return value
        return (
            ("symbol", text)
            if len(text) == 1
            else ("word", text if "(" in text else text.casefold())
        )

    def mark(self, sign: str) -> None:
        require(self.sign in ("", sign))
        self.sign = sign

    def unit(self) -> str:
        r"""The unit after a member in one spelling: h^-1 km for km/h, kilometers per hour and \frac{km}{h}."""
        powers, ahead, below, deep, last = dict.fromkeys(self.sign.split(), 1), 1, False, 0, None
        if self.accept("%"):
            powers["%"] = 1
        while not self.in_condition:
            if self.accept_word("is", "are"):  # n is even
                continue
            if self.word and self.word not in words.STOPS:
                word = self.word if len(self.text) > 1 else self.text
                unit = words.unit_of(self.take())
                changes = {
                    word,
                    word.removesuffix("s"),
                } & words.CHANGERS or words.OTHER_PARTS.search(word)
                changes = changes and not (last and len(word) == 1)  # J/(kg K)
                require(unit in ("square", "cubic") or not changes)
                if unit in words.POWERS and last:
                    powers[last] *= words.POWERS[unit]
                elif unit in ("square", "cubic"):
                    ahead = 2 if unit == "square" else 3
                elif unit == "per":
                    below = True
                else:
                    for i, last in enumerate(unit.split("/")):
                        powers[last] = powers.get(last, 0) + (-ahead if below or i else ahead)
                        powers[last] = 1 if last in words.CURRENCIES else powers[last]  # \$5 USD
                    ahead, below = 1, below and deep > 0
            elif last and self.accept("^"):
                exponent = self.factor()
                require(isinstance(exponent, Fraction) and abs(exponent) < 100)
                powers[last] *= exponent
            elif self.operator in ("/", "*", "(", "{", "frac") and self.leads_to_word(
                but=words.QUALIFIERS
            ):
                below |= self.take() == "/"
                deep += self.previous in ("(", "{")
            elif deep and self.accept(")", "}"):
                deep, below = deep - 1, self.operator == "{"  # the lower half of a fraction
            else:
                break
        powers.pop("unit", None)  # square units are a unit that wasn't given
        return " ".join(
            name if n == 1 else f"{name}^{n}" for name, n in sorted(powers.items()) if n
        )

    def leads_to_word(self, but=()) -> bool:
        """Is a unit next, behind a sign or a bracket?"""
        at = self.at + 1
        while self.tokens[at][:2] in (("op", "("), ("op", "{")):
            at += 1
        return self.tokens[at][0] == "word" and self.tokens[at][1].casefold() not in but

    def sum(self):
        terms = [self.product()]
        while self.operator in SIGNS:
            terms.append(self.product())  # which reads the sign
        if len(terms) == 1:
            return terms[0]
        return ("call", "series", *terms) if DOTS in terms else add(*terms)

    def product(self):
        factors = [self.factor()]
        while True:
            if self.operator in ("*", "/") and not self.leads_to_word():
                factors.append(self.factor() if self.take() == "*" else inverse(self.factor()))
            elif self.starts_factor():
                factors.append(self.power())
            elif len(factors) == 1:
                return factors[0]
            else:
                return ("call", "product", *factors) if DOTS in factors else multiply(*factors)

    def starts_factor(self) -> bool:
        """Does a factor follow without a sign? A number only after a bracket or a factorial: 4 2 isn't 8."""
        if self.kind == "number":
            return self.previous in (")", "}", "!", "…")
        if self.operator in ("(", "{", "frac") and self.leads_to_word():
            return False
        opens = self.operator == "|" and not self.bars
        return opens or self.operator in FACTOR_STARTS or self.kind in ("name", "function")

    def factor(self):
        minus = False
        while (
            self.operator in SIGNS
            or self.kind == "currency"
            or (self.word and self.text in words.CURRENCIES)
        ):
            if self.operator in SIGNS:
                minus ^= self.minus()
            else:
                self.mark(words.CURRENCIES[self.take()])
        value = self.power()
        return negative(value) if minus else value

    def power(self):
        self.depth += 1
        require(self.depth <= MAX_DEPTH)
        value = self.atom()
        if self.operator == "_" and self.previous in (")", "}"):  # {g}_{k}, (2516)_8
            value = self.with_subscript(
                ("symbol", str(value)) if isinstance(value, Fraction) else value
            )
        while self.operator in ("!", "°", "^"):
            operator = self.take()
            if operator == "^":
                value = real_power(value, self.factor())
            elif operator == "!":
                value = call("factorial", value)
                require(self.operator != "!")  # the double factorial is another function
            elif self.angles:
                value = multiply(value, ("symbol", "pi"), Fraction(1, 180))
            else:
                scale = {"C": " celsius", "F": " fahrenheit"}.get(self.text, "")
                self.mark("degree" + scale)
                if scale:
                    self.take()
        self.depth -= 1
        return value

    def atom(self):
        kind, text = self.kind, self.take()
        if kind == "number":  # 1011_2, in another base, is equal only to itself
            return (
                ("symbol", text + self.subscript()) if self.operator == "_" else parse_number(text)
            )
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
            index = Fraction(2)
            if self.accept("["):
                index = self.sum()
                require(self.accept("]"))
            return real_power(self.atom(), inverse(index))
        if text in ACCENTS:
            return self.with_subscript(("call", text, self.argument()))  # \bar{z}_1 is \bar{z_1}
        if text in ("∞", "∅", "…", "R"):
            return {"∞": INFINITY, "∅": ("set",), "…": DOTS, "R": REALS}[text]
        if text in ("sum", "prod", "int", "lim"):
            return self.series(text)
        require(ENVIRONMENT.fullmatch(text))
        return self.environment(text[6:])

    def series(self, text: str):
        """A sum or its like, read as far as its parts go, never carried out. Its variable may have any name."""
        limits = []
        while self.operator in ("_", "^"):
            limits += self.take(), self.argument()
        members = limits[1][2:] if limits and kind_of(limits[1]) == "relation" else ()
        bound = [
            member[1] for member in members if isinstance(member, tuple) and member[0] == "symbol"
        ][:1]
        self.nesting += 1
        value = ("call", text, *limits, self.product())
        self.nesting -= 1
        if text == "int" and self.previous[0] == "d" and len(self.previous) == 2:
            bound = [self.previous[1]]
        return substitute(
            value, {mark + name: f"{mark}#{self.nesting}" for name in bound for mark in ("", "d")}
        )

    def environment(self, name: str):
        rows, end, cases = [[]], "end " + name, name.endswith("cases")
        while not self.accept(end):
            while cases and self.accept_word("if", "for", "when", "where"):
                pass
            rows[-1].append(
                as_one(self.items({"&", "\\\\", end, ".", "if", "for", "when"}, spread=cases))
            )
            self.accept(".")
            if self.accept("\\\\") and self.operator != end:
                rows.append([])
            elif self.operator != end and not (cases and self.word):
                require(self.accept("&"))
        columns = {len(row) for row in rows}
        require(len(columns) == 1)
        if len(rows) == 1 and columns == {1}:
            return rows[0][0]
        if not cases:
            return ("matrix", *map(tuple, rows))
        if columns == {1}:
            return as_one(join_relations([row[0] for row in rows], {"and"}))
        return ("set", *(("tuple", *row) for row in rows))

    def with_subscript(self, value):
        if (
            kind_of(value) == "expression"
            and value[0] == "call"
            and value[1] in ACCENTS
            and self.operator == "_"
        ):
            return ("call", value[1], self.with_subscript(value[2]))
        subscript = self.subscript()
        require(not subscript or (isinstance(value, tuple) and value[0] == "symbol"))
        return ("symbol", value[1] + subscript) if subscript else value

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
            self.tokens[self.at : self.at + 1] = [
                ("number", self.text[0], False),
                ("number", self.text[1:], False),
            ]
            self.move(self.at)
        return self.atom()

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
        if exponent == -1:
            require("a" + function in FUNCTIONS)
            return call("a" + function, *arguments)
        value = call(function, *arguments)
        if base is not None:
            value = multiply(value, inverse(call("log", base)))
        return power(value, exponent)

    def bracket(self, opening: str):
        outer = self.in_set, self.bars
        self.in_set = opening == "\\{"
        self.bars = 1 if self.in_set else self.bars if opening == "{" else 0
        items = self.items(CLOSERS[opening], spread=self.in_set)
        closing = self.take()
        built = self.set_builder(items) if closing in ("|", ":") else None  # {x | x > 3}
        self.in_set, self.bars = outer
        if built:
            return built
        if closing in ("over", "choose") and len(items) == 1:  # {1 \\over 2}
            below = self.bracket("{")
            return (
                call("binomial", *items, below)
                if closing == "choose"
                else multiply(*items, inverse(below))
            )
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

    def set_builder(self, heads: list):
        r"""\{x | x > 3\} is an interval, \{2k : k \in Z\} a set of one value and its conditions."""
        require(len(heads) == 1)
        conditions = self.items({"\\}"}, spread=True)
        require(self.take() == "\\}" and conditions)
        head = heads[0]
        if kind_of(head) == "relation":  # x \in \mathbb{R}
            conditions, head = join_relations([head, *conditions], {"and"}), head[2]
        conditions = join_relations(conditions, {"or"}, head)
        first, *rest = conditions[0][1:] if kind_of(conditions[0]) == "where" else conditions
        if (
            kind_of(first) == "relation" and first[1] == ("=",) and first[2] == head
        ):  # {x | x = 2k, k in Z}
            return ("set", ("builder", first[3], *rest) if rest else first[3])
        name, solution = solution_of(conditions[0])
        if len(conditions) == 1 and name == head and kind_of(solution) in SETS:
            return solution
        return ("set", ("builder", head, *conditions))
