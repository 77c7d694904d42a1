"""From tokens to values: recursive descent, one method a level of precedence.

The grammar is in README.md. The parser never goes back, but for a statement with ±, which it reads
once for each choice of the signs. It counts steps and depth, so no text takes it long.
"""

import re
from fractions import Fraction
from itertools import product

from support.verifier import values, words
from support.verifier.tokens import FUNCTION_NAMES, number_value
from support.verifier.values import (
    SETS,
    call,
    ensure,
    inverse,
    is_name,
    kind_of,
    multiply,
    solution_of,
)

MAX_STEPS = 20_000  # tokens taken, those that are read again with another sign included
MAX_DEPTH = 40  # brackets, functions and exponents inside one another
MAX_SIGNS = 4  # ± in one statement

SIGNS = {"+", "-", "±", "∓"}
SEPARATORS = {",", ";", "and", "or", "∧", "∨", "&"}
RELATIONS = {"=", "<", ">", "≤", "≥", "≠", "≈", "∈", "∉", "→"}
FLIP = {">": "<", "≥": "≤"}
CLOSERS = {"(": {")", "]"}, "[": {")", "]"}, "⟨": {"⟩"}, "⌊": {"⌋"}, "⌈": {"⌉"}}
CLOSERS |= {"{": {"}", "over", "choose"}, "\\{": {"\\}", "|", ":"}}
FACTOR_STARTS = set("( [ { ⌊ ⌈ frac binom sqrt ∞ … sum prod int lim".split()) | values.ACCENTS
SET_OPERATORS = {"∪": "union", "∩": "and", "∖": "without"}
KNOWN_ENVIRONMENT = re.compile("begin ([pbB]?matrix|smallmatrix|array|[dr]?cases)")
CASE_WORDS = {"if", "for", "when"}
DOTS = ("symbol", "…")
ONE = Fraction(1)
MEANINGS = {
    "∞": values.INFINITY,
    "∅": ("set",),
    "…": DOTS,
    "R": values.REALS,
}  # of a sign by itself


def parse_tokens(tokens):
    """The value of an answer."""
    parser = AnswerParser(tokens)
    items = parser.items(closers=set(), spread=True)
    ensure(items and parser.kind == "end")
    return as_one(items)


def as_one(items, kind="list"):
    return items[0] if len(items) == 1 else (kind, *items)


# ---- Several relations ---------------------------------------------------------------------------


def join_relations(items: list, separators: set, head=None) -> list:
    """x > 0 and x < 12 are an intersection of sets, x < 0 or x > 12 a union.

    A comma is "and" if any number is in both. Equations are joined only where they are about
    `head`.
    """
    if is_unequal_to_several(items):  # x ≠ 1, 2
        _, _, name, first = items[0]
        return [("relation", ("∉",), name, ("set", first, *items[1:]))]
    kinds = {kind_of(item) for item in items}
    if len(items) < 2 or kinds != {"relation"}:
        ensure(not separators & {"∧", "∨"})  # of statements as such
        return items
    names = {solution_of(item)[0] for item in items}
    equations = all(is_equation(item) for item in items)
    one_name = len(names) == 1 and None not in names
    joint = joint_of(separators)
    if one_name and (not equations or names == {head}):
        sets = [solution_set(item) for item in items]
        if all(kind_of(value) in SETS for value in sets):
            ensure(len(separators - {",", ";"}) < 2)
            combination = "union" if joint == "or" else joint
            return [("relation", ("∈",), names.pop(), (combination, *sets))]
    if joint == "or" and not (equations and len(names) == 1):
        return [("or", *items)]
    return items


def is_unequal_to_several(items: list) -> bool:
    if len(items) < 2 or kind_of(items[0]) != "relation" or items[0][1] != ("≠",):
        return False
    return all(kind_of(item) in values.SCALARS for item in items[1:])


def is_equation(value) -> bool:
    return kind_of(value) == "relation" and value[1] == ("=",)


def joint_of(separators: set) -> str:
    if separators & {"or", "∨"}:
        return "or"
    return "and" if separators & {"and", "∧"} else "comma"


def solution_set(relation):
    _, value = solution_of(relation)
    return ("set", value) if is_equation(relation) else value


def is_condition(last, items) -> bool:
    r"""2\pi k, k \in Z: an inequality or membership of a variable that the others use.

    They don't restrict it themselves.
    """
    name, _ = solution_of(last)
    if name is None or last[1] == ("=",):
        return False
    return all(may_depend(item, name) for item in items)


def may_depend(value, name) -> bool:
    if kind_of(value) in SETS - {"pair"}:
        return False
    return values.has_symbol(value, name) and solution_of(value)[0] != name


# ---- The tokens ahead ----------------------------------------------------------------------------


class Cursor:
    """A place among the tokens, and the token there."""

    def __init__(self, tokens):
        self.tokens = [*tokens, ("end", "", False)]
        self.steps = 0
        self.text = ""
        self.move(0)

    def move(self, at: int) -> None:
        self.at = at
        self.kind, self.text, self.spaced = self.tokens[at]
        self.operator = self.text if self.kind == "op" else None
        self.word = self.text.casefold() if self.kind == "word" else ""

    def take(self) -> str:
        """Take the next token, whose kind and text are known; returns its text."""
        self.steps += 1
        ensure(self.kind != "end" and self.steps <= MAX_STEPS)
        self.previous = self.text
        self.move(self.at + 1)
        return self.previous

    def accept(self, *operators) -> bool:
        return self.operator in operators and bool(self.take())

    def accept_word(self, *choices) -> bool:
        return self.word in choices and bool(self.take())

    def following(self) -> str:
        """The text of the token behind this one."""
        return self.tokens[self.at + 1][1]

    def next_word(self) -> str:
        """The word behind this token, without the s of a plural."""
        kind, text, _ = self.tokens[self.at + 1]
        return text.casefold().removesuffix("s") if kind == "word" and len(text) > 3 else text

    def leads_to_word(self, but=words.QUALIFIERS) -> bool:
        """Is a unit next, behind a sign or a bracket?"""
        at = self.at + 1
        while self.tokens[at][:2] in (("op", "("), ("op", "{")):
            at += 1
        kind, text, _ = self.tokens[at]
        return kind == "word" and text.casefold() not in but

    def split_digit(self) -> None:
        r"""Of a number take the first digit alone, as TeX does: \frac12."""
        first = ("number", self.text[0], False)
        rest = ("number", self.text[1:], False)
        self.tokens[self.at : self.at + 1] = [first, rest]
        self.move(self.at)


# ---- The grammar ---------------------------------------------------------------------------------


class AnswerParser(Cursor):
    def __init__(self, tokens):
        super().__init__(tokens)
        self.depth = 0  # of open powers
        self.bars = 0  # open |
        self.angles = 0  # open trigonometric functions
        self.nesting = 0  # of sums and their like
        self.in_set = False
        self.in_condition = False
        self.in_unit = False
        self.measured = None  # the value whose unit is read
        self.unit_start = 0
        self.choice = ()  # which ± of a statement are minus
        self.signs = 0  # ± in this statement so far
        self.tied = False  # is there a ∓ in it?
        self.sign = ""  # ° or a currency that was seen in this member

    # ---- Items ----

    def items(self, closers, spread=False) -> list:
        """Statements between separators, up to a closer.

        `spread` makes several of one with ±, and joins relations. Where there are ; and commas,
        the ; separates tuples.
        """
        groups = [[]]
        separators = set()
        conditions = []
        last = None
        while True:
            while self.operator in SEPARATORS and self.operator not in closers:
                last = self.take()
                separators.add(last)
                if last == ";":
                    groups.append([])
            if self.kind == "end" or self.operator in closers or self.word in closers:
                break
            if spread and self.at == 0 and self.accept_word("for"):  # \forall x > 0, f(x) = 0
                conditions = [self.statement()]
                continue
            in_bracket = self.operator == "(" and self.following().casefold() in words.QUALIFIERS
            if in_bracket:
                self.take()
            if groups[-1] and self.word in words.QUALIFIERS:
                conditions = self.conditions(groups[-1])
                ensure(not in_bracket or self.accept(")"))
                break
            more = bool(groups[-1]) and self.previous not in SEPARATORS
            self.accept_word("either", "both", "about", "approximately")
            groups[-1] += self.spread() if spread else [self.statement()]
            if more:  # 2 hours 15 minutes
                ensure({kind_of(item) for item in groups[-1]} == {"unit"})
        if {";", ","} <= separators:
            return [as_one(group, "tuple") for group in groups if group]
        items = [item for group in groups for item in group]
        if DOTS in items:
            return [("tuple", *items)]
        may_end = spread and len(items) > 1 and last == "," and not conditions
        if may_end and is_condition(items[-1], items[:-1]):
            conditions = [items.pop()]
        items = join_relations(items, separators)
        ensure(spread or len(items) < 2 or separators <= {",", ";"})  # (1 or 2)
        return [("where", as_one(items), *conditions)] if conditions else items

    def conditions(self, heads: list) -> list:
        r"""for all n \ge 1; where c is a constant: of variables in the heads, in known words."""
        self.in_condition = True
        found = []
        while self.kind != "end" and self.operator not in ("\\}", ")"):
            word = self.word.removesuffix("s")
            if word:
                self.take()
                self.check_condition_word(word, heads)
                if word in words.RESTRICTIONS:
                    found.append(("word", word))
            elif not self.accept(*SEPARATORS):
                statement = self.condition(heads)
                if kind_of(statement) == "relation":
                    found.append(statement)
        if found:
            ensure(not any(is_written_out(value) for value in heads))
        self.in_condition = False
        return found

    def check_condition_word(self, word: str, heads: list) -> None:
        if len(word) == 1 and all(may_depend(value, ("symbol", word)) for value in heads):
            return
        ensure(word in words.FILLERS | words.RESTRICTIONS | words.QUALIFIERS)

    def condition(self, heads: list):
        statement = self.statement()
        name = statement
        if kind_of(statement) == "relation":
            ensure(is_name(statement) or "=" not in statement[1])
            name, _ = solution_of(statement)
        else:
            ensure(is_name(statement))
        ensure(all(may_depend(value, name) for value in heads))
        return statement

    def spread(self) -> list:
        """A statement, once for each choice of its signs.

        Several ± are independent, but all are tied where there is a ∓.
        """
        outer = self.choice, self.signs, self.tied
        start = self.at
        self.choice, self.signs, self.tied = (), 0, False
        found = [self.statement()]
        ensure(self.signs <= MAX_SIGNS)
        end = self.at
        choices = list(product((0, 1), repeat=self.signs))
        for choice in choices[-1:] if self.tied else choices[1:]:
            self.move(start)
            self.choice, self.signs = choice, 0
            value = self.statement()
            if value not in found:
                found.append(value)
            ensure(self.at == end)
        self.choice, self.signs, self.tied = outer
        return found

    # ---- Statements and their members ----

    def statement(self):
        self.accept("=", "≈")  # = 42
        members = [self.member()]
        operators = []
        if kind_of(members[0]) == "word" and self.operator != "end":
            label = members[0][1].split()
            says = label[-1] in ("is", "are", "equals") and not self.word and self.kind != "end"
            if says or self.operator == ":":  # the area is 42, Area: 42
                self.accept(":")
                operators.append("=")
                members.append(self.member())
            if words.NEGATIONS & set(label):
                ensure(not operators and self.operator != "=")
        while self.operator in RELATIONS:
            operators.append(self.take())
            members.append(self.member())
        if operators[:1] == ["≈"] and is_name(members[0]):
            operators[0] = "="  # x ≈ 11 says that x is 11
        if "≈" in operators:  # but x = 1/3 ≈ 0.33 says that x is 1/3
            end = operators.index("≈")
            operators = operators[:end]
            members = members[: end + 1]
        if not operators:
            return members[0]
        if FLIP.keys() >= set(operators):  # 5 > x is x < 5
            operators = [FLIP[operator] for operator in reversed(operators)]
            members.reverse()
        return ("relation", tuple(operators), *members)

    def member(self):
        if self.kind == "letters":
            return ("letters", self.take())
        if self.in_unit:
            return self.product()
        outer = self.sign
        self.sign = ""
        if self.word in ("minus", "negative"):
            next_kind = self.tokens[self.at + 1][0]
            if next_kind == "number" or self.next_word() in words.NUMBERS:
                self.take()
                return values.negative(self.member())
        elif self.word in ("a", "an") and self.next_word() in words.SCALES:
            self.take()
        if self.word in words.NUMBERS or self.word in words.SCALES:
            value = self.number_word()
        elif self.word and self.text not in words.CURRENCIES:
            self.sign = outer
            return self.phrase()
        else:
            value = self.operations()
        value = self.scaled(value)
        if self.kind == "currency":  # 5 €
            self.mark(self.take())
        if self.word in words.NUMBERS:  # 42 (forty-two)
            ensure(self.number_word() == value)
        unit = self.unit(value)
        self.sign = outer
        if unit == 1:
            return value
        if self.at > self.unit_start and is_made_of_letters(value):  # n is even, A parabola
            return ("call", "is", value, unit)
        return ("unit", value, unit)

    def scaled(self, value):
        """3 million, 5 squared"""
        while True:
            if self.word in words.POWERS:
                value = values.exponentiate(value, words.POWERS[self.take().casefold()])
            elif self.word.removesuffix("s") in words.SCALES and not self.is_noun(value):
                scale = self.take().casefold().removesuffix("s")
                value = multiply(value, words.SCALES[scale])
            else:
                return value

    def is_noun(self, value) -> bool:
        """Is this word of things that are counted? 24 cubes, 3 candy bars, 8 more apples."""
        word = self.word.removesuffix("s")
        if self.word in words.MODIFIERS:
            return self.leads_to_word(but=words.STOPS | words.CHANGERS)
        least = words.COUNTED_FROM.get(word)
        if least:
            return isinstance(value, Fraction) and value >= least
        behind_noun = self.tokens[self.at - 1][0] == "word"
        return word in words.NOUNS and (self.word != word or behind_noun)

    def operations(self):
        """Unions and their like, and ratios."""
        value = self.sum()
        ratio = []
        while self.operator in SET_OPERATORS or (self.operator == ":" and not self.in_set):
            operator = self.take()
            ratio = ratio or [value]
            other = self.sum()
            ratio.append(other)
            if operator in SET_OPERATORS:
                if self.previous == "}" and kind_of(other) in values.SCALARS:  # ℝ ∖ {0}
                    other = ("set", other)
                ensure(kind_of(value) in SETS and kind_of(other) in SETS)
                value = (SET_OPERATORS[operator], value, other)
                ratio = []
        ratio = [multiply(part, inverse(ratio[-1])) for part in ratio]  # 1:2:3 is 2:4:6
        if len(ratio) > 2:
            return ("tuple", *ratio)
        return ratio[0] if ratio else value

    def mark(self, sign: str) -> None:
        """Note a sign of this member. It has only one."""
        ensure(self.sign in ("", sign))
        self.sign = sign

    # ---- Words ----

    def number_word(self):
        """two hundred and twenty-five"""
        total = Fraction(0)
        value = Fraction(1)
        if self.word in words.NUMBERS:
            value = words.NUMBERS[self.take().casefold()]
        while True:
            hyphen = self.operator == "-" and not self.spaced and not self.tokens[self.at + 1][2]
            joined = hyphen or self.operator == "and"
            if joined and self.next_word() in words.NUMBERS | words.SCALES:
                self.take()
            if self.word in words.NUMBERS:
                number = words.NUMBERS[self.take().casefold()]
                room = 10 if number < 10 else 100
                ensure(value % room == 0 and (value or total))
                value += number
            elif self.word == "hundred":
                value *= words.SCALES[self.take().casefold()]
            elif self.word in ("thousand", "million", "billion", "trillion"):
                total += value * words.SCALES[self.take().casefold()]
                value = Fraction(0)
            else:
                return total + value

    def phrase(self):
        """Words that are no number: a set, a variable, or a text that equals only itself."""
        text = self.take()
        while self.word and self.continues_phrase(text):
            text += " " + self.take()
        # all real x except 2
        if self.kind == "name" and words.REAL_NUMBERS.fullmatch(text.casefold() + " numbers"):
            if self.following() in RELATIONS:
                return self.statement()
            self.take()
            text += " numbers"
            if self.word:
                text += " " + self.take()
        excludes = text.endswith(("except", "for", "excluding"))
        if self.kind == "name" and self.following() == "=" and not excludes:  # \det A = 2
            text += " " + self.take()
        text = words.SYNONYMS.get(text.casefold(), text)
        if words.NOTHING.fullmatch(text.casefold()):
            return ("set",)
        if words.ENDLESS.fullmatch(text.casefold()):
            return values.INFINITY
        numbers = words.REAL_NUMBERS.fullmatch(text.casefold())
        if numbers:
            value = words.SIGNED[(numbers["sign"] or "").strip()]
            return self.without_excluded(value) if numbers["but"] else value
        if len(text) == 1:
            return ("symbol", text)
        return ("word", text if "(" in text else words.OF_A_KIND.sub("", text.casefold()))

    def continues_phrase(self, text: str) -> bool:
        excludes = text.casefold().endswith((" except", " excluding"))
        return excludes or self.word not in words.STOPS

    def without_excluded(self, value):
        """all real numbers except 2 and 3"""
        ensure(self.kind != "end")
        while self.accept(*SEPARATORS) or self.kind != "end":
            excluded = self.statement()
            if is_equation(excluded):
                excluded = excluded[3]
            if kind_of(excluded) != "set":
                ensure(kind_of(excluded) in values.SCALARS)
                excluded = ("set", excluded)
            value = ("without", value, excluded)
        return value

    def unit(self, value):
        r"""The unit after a member, a product whose names are words, or 1: h^-1 km for km/h."""
        unit = ("symbol", "%") if self.accept("%") else Fraction(1)
        if not self.in_condition:
            self.measured = value
            self.unit_start = self.at
            self.in_unit = True
            unit = self.product(first=unit)
            self.in_unit = False
        for sign in self.sign.split():
            name = ("symbol", sign)
            if not values.has_symbol(unit, name):  # $5 USD
                unit = multiply(unit, name)
        return unit

    def unit_word(self):
        """Take a word that is a unit, and doesn't change the number."""
        if self.accept_word("is", "are") and not self.word:  # n is even
            return Fraction(1)
        word = self.word if len(self.text) > 1 else self.text
        behind_unit = any(kind == "word" for kind, _, _ in self.tokens[self.unit_start : self.at])
        is_noun = self.is_noun(self.measured)
        name = words.unit_of(self.take())
        if name in ("square", "cubic"):
            base = self.unit_word() if self.starts_factor() and self.word else Fraction(1)
            return values.exponentiate(base, Fraction(2 if name == "square" else 3))
        changes = {word, word.removesuffix("s")} & words.CHANGERS or words.OTHER_PARTS.search(word)
        ensure(not changes or is_noun or (behind_unit and len(word) == 1))  # J/(kg K)
        ensure(word < "\u0250" or name in words.UNITS.values())  # 万, тысяч change the number
        if self.operator == "-" and not self.spaced and self.leads_to_word():
            self.take()  # push-ups
        upper, *lower = [("symbol", part) for part in name.split("/") if part != "unit"] or [ONE]
        if self.word in words.POWERS:
            upper = values.exponentiate(upper, words.POWERS[self.take().casefold()])
        return multiply(upper, *map(inverse, lower))

    # ---- Sums, products and powers ----

    def minus(self) -> bool:
        """Take a sign: does it mean minus?"""
        sign = self.take()
        if sign in "+-":
            return sign == "-"
        if sign == "∓":
            self.tied = True
        chosen = self.choice[self.signs : self.signs + 1] == (1,)
        self.signs += 1
        return chosen != (sign == "∓")

    def sum(self):
        terms = [self.product()]
        while self.operator in SIGNS:
            terms.append(self.product())  # which reads the sign
        if len(terms) == 1:
            return terms[0]
        return ("call", "series", *terms) if DOTS in terms else values.add(*terms)

    def product(self, first=None):
        factors = [first or self.factor()]
        while True:
            is_sign = self.operator in ("*", "/") and self.leads_to_word() == self.in_unit
            if is_sign or (self.in_unit and self.word == "per"):
                divide = self.take() != "*"
                factor = self.factor()
                factors.append(inverse(factor) if divide else factor)
            elif self.starts_factor():
                in_bracket = self.operator in ("(", "[")
                factor = self.power()
                if in_bracket and factor == 0 and not isinstance(factors[-1], Fraction):
                    factor = ("call", "at 0", factors.pop())  # I(0), x'(0), y[0]
                factors.append(factor)
            else:
                break
        if len(factors) == 1:
            return factors[0]
        return ("call", "product", *factors) if DOTS in factors else multiply(*factors)

    def starts_factor(self) -> bool:
        """Does a factor follow without a sign?

        A number does so only after a bracket or a factorial: 4 2 isn't 8. But n 2^n, x^2 3^x.
        """
        is_bracket = self.operator in ("(", "{", "frac")
        if self.in_unit:
            is_name = self.word not in {"", *words.STOPS} or self.operator == "\\pmod"
            return is_name or (is_bracket and self.leads_to_word())
        if is_bracket and self.leads_to_word(but=()):
            return False
        if self.kind == "number":
            behind_name = self.tokens[self.at - 1][0] == "name"
            behind_script = self.spaced and self.tokens[self.at - 2][1] in ("^", "_")
            is_power = self.following() == "^" and (behind_name or behind_script)
            return is_power or self.previous in (")", "}", "!", "…")
        opens = self.operator == "|" and not self.bars
        return opens or self.operator in FACTOR_STARTS or self.kind in ("name", "function")

    def factor(self):
        minus = False
        while True:
            is_currency = self.kind == "currency" or (self.word and self.text in words.CURRENCIES)
            if self.operator in SIGNS:
                minus ^= self.minus()
            elif is_currency:
                self.mark(words.CURRENCIES[self.take()])
            else:
                break
        value = self.power()
        return values.negative(value) if minus else value

    def power(self):
        self.depth += 1
        ensure(self.depth <= MAX_DEPTH)
        value = self.atom()
        if self.operator == "_" and self.previous in (")", "}"):  # {g}_{k}, (2516)_8
            if isinstance(value, Fraction):
                value = ("symbol", str(value))
            value = self.with_subscript(value)
        while self.operator == "^" or (self.operator in ("!", "°") and not self.in_unit):
            operator = self.take()
            if operator == "^":
                value = values.real_power(value, self.factor())
            elif operator == "!":
                value = call("factorial", value)
                ensure(self.operator != "!")  # the double factorial is another function
            elif self.angles:
                value = multiply(value, ("symbol", "pi"), Fraction(1, 180))
            elif self.text in ("C", "F"):
                scale = "celsius" if self.text == "C" else "fahrenheit"
                self.mark("degree " + scale)
                self.take()
            else:
                self.mark("degree")
        self.depth -= 1
        return value

    # ---- Atoms ----

    def atom(self):
        if self.in_unit and self.word:
            return self.unit_word()
        kind = self.kind
        text = self.take()
        if self.in_unit and text == "\\pmod":
            return ("symbol", f"mod {self.argument()}")
        if kind == "number":
            if self.operator == "_":  # 1011_2, in another base, is equal only to itself
                return ("symbol", text + self.subscript())
            return number_value(text)
        if kind == "name":
            return self.name(text)
        if kind == "function":
            return self.function(text)
        ensure(kind == "op")
        if text in CLOSERS:
            return self.bracket(text)
        if text == "|":
            return self.absolute()
        if text == "frac":
            above = self.argument()
            return multiply(above, inverse(self.argument()))
        if text == "binom":
            above = self.argument()
            return call("binomial", above, self.argument())
        if text == "sqrt":
            return self.root()
        if text in values.ACCENTS:  # \bar{z}_1 is \bar{z_1}
            return self.with_subscript(("call", text, self.argument()))
        if text in MEANINGS:
            return MEANINGS[text]
        if text in ("sum", "prod", "int", "lim"):
            return self.series(text)
        ensure(KNOWN_ENVIRONMENT.fullmatch(text))
        return self.environment(text.removeprefix("begin "))

    def name(self, text: str):
        """x, x_1, x', f(x)"""
        text += self.subscript()
        while self.accept("'"):
            text += "'"
        if (text in ("f", "g", "h") or text[-1] == "'") and self.accept("("):
            return ("call", text, *self.arguments())
        return ("symbol", text)

    def absolute(self):
        self.bars += 1
        value = self.sum()
        self.bars -= 1
        ensure(self.accept("|"))
        return call("abs", value)

    def root(self):
        index = Fraction(2)
        if self.accept("["):
            index = self.sum()
            ensure(self.accept("]"))
        return values.real_power(self.atom(), inverse(index))

    def series(self, text: str):
        """A sum or its like, read as far as its parts go, never carried out.

        Its variable may have any name.
        """
        limits = []
        while self.operator in ("_", "^"):
            limits.append(self.take())
            limits.append(self.argument())
        self.nesting += 1
        value = ("call", text, *limits, self.product())
        self.nesting -= 1
        bound = bound_variable(limits)
        if text == "int" and self.previous[0] == "d" and len(self.previous) == 2:
            bound = self.previous[1]
        if bound is None:
            return values.substitute(value, {})
        number = f"#{self.nesting}"
        return values.substitute(value, {bound: number, "d" + bound: "d" + number})

    def function(self, function: str):
        r"""\sin x, \sin(x), \sin^2 x, \log_2 8, \sin 2x.

        But \sin x + 1 and \sin x \cos x end after x.
        """
        base = self.argument() if self.accept("_") else None
        exponent = self.factor() if self.accept("^") else Fraction(1)
        angle = 1 if function in values.TRIGONOMETRIC else 0  # in which ° means something
        self.angles += angle
        if self.accept("("):
            arguments = self.arguments()
        else:
            argument = self.power()
            while self.starts_factor() and self.kind not in ("function", "number"):
                if self.operator == "(":
                    break
                argument = multiply(argument, self.power())
            arguments = [argument]
        self.angles -= angle
        ensure(len(arguments) == (2 if function == "binomial" else 1))
        if exponent == -1:
            ensure("a" + function in FUNCTION_NAMES)
            return call("a" + function, *arguments)
        value = call(function, *arguments)
        if base is not None:
            value = multiply(value, inverse(call("log", base)))
        return values.exponentiate(value, exponent)

    def arguments(self) -> list:
        """Of a function, after the opening bracket."""
        arguments = self.items({")"})
        ensure(self.accept(")"))
        return arguments

    def argument(self):
        r"""A command's argument: a group, or one token, which in TeX is one digit: \frac12."""
        if self.kind == "number" and self.text.isdigit() and len(self.text) > 1:
            self.split_digit()
        return self.atom()

    def with_subscript(self, value):
        is_call = kind_of(value) == "expression" and value[0] == "call"
        if is_call and value[1] in values.ACCENTS and self.operator == "_":
            _, accent, name = value
            return ("call", accent, self.with_subscript(name))
        subscript = self.subscript()
        if not subscript:
            return value
        ensure(values.is_a(value, "symbol"))
        return ("symbol", value[1] + subscript)

    def subscript(self) -> str:
        """The text of a subscript, if there is one."""
        if not self.accept("_"):
            return ""
        text = ""
        depth = 0
        while not text or depth > 0:
            part = self.take()
            text += part
            if part == "{":
                depth += 1
            elif part == "}":
                depth -= 1
        text = text.replace("{", "").replace("}", "")
        return f"_{words.NUMBERS.get(text, text)}"  # 1101_{\text{two}}

    # ---- Brackets and environments ----

    def bracket(self, opening: str):
        outer = self.in_set, self.bars
        self.in_set = opening == "\\{"
        if self.in_set:
            self.bars = 1
        elif opening != "{":
            self.bars = 0
        items = self.items(CLOSERS[opening], spread=self.in_set)
        closing = self.take()
        built = self.set_builder(items) if closing in ("|", ":") else None  # {x | x > 3}
        self.in_set, self.bars = outer
        if built:
            return built
        if closing in ("over", "choose") and len(items) == 1:  # {1 \over 2}
            below = self.bracket("{")
            if closing == "choose":
                return call("binomial", *items, below)
            return multiply(*items, inverse(below))
        value = bracketed(items, opening, closing)
        if kind_of(value) == "unit" and value[2] == ("symbol", "degree"):  # \frac{180^\circ}{7}
            self.mark("degree")
            value = value[1]
        return value

    def set_builder(self, heads: list):
        r"""\{x | x > 3\} is an interval, \{2k : k \in Z\} a set of one value and its conditions."""
        ensure(len(heads) == 1)
        conditions = self.items({"\\}"}, spread=True)
        ensure(self.take() == "\\}" and conditions)
        head = heads[0]
        if kind_of(head) == "relation":  # x \in \mathbb{R}
            conditions = join_relations([head, *conditions], {"and"})
            head = head[2]
        conditions = join_relations(conditions, {"or"}, head)
        parts = conditions[0][1:] if kind_of(conditions[0]) == "where" else conditions
        first, *rest = parts
        if is_equation(first) and first[2] == head:  # {x | x = 2k, k in Z}
            value = ("builder", first[3], *rest) if rest else first[3]
            return ("set", value)
        name, solution = solution_of(conditions[0])
        if len(conditions) == 1 and name == head and kind_of(solution) in SETS:
            return solution
        return ("set", ("builder", head, *conditions))

    def environment(self, name: str):
        end = "end " + name
        cases = name.endswith("cases")
        rows = [[]]
        while not self.accept(end):
            while cases and self.accept_word("if", "for", "when", "where"):
                pass
            items = self.items({"&", "\\\\", end, ".", *CASE_WORDS}, spread=cases)
            rows[-1].append(as_one(items))
            self.accept(".")
            if self.accept("\\\\") and self.operator != end:
                rows.append([])
            elif self.operator != end and not (cases and self.word):
                ensure(self.accept("&"))
        columns = {len(row) for row in rows}
        ensure(len(columns) == 1)
        if len(rows) == 1 and columns == {1}:
            return rows[0][0]
        if not cases:
            return ("matrix", *map(tuple, rows))
        if columns == {1}:
            lines = [row[0] for row in rows]
            return as_one(join_relations(lines, {"and"}))
        return ("set", *(("tuple", *row) for row in rows))


# ---- Parts of the grammar that need no tokens ----------------------------------------------------


def is_made_of_letters(value) -> bool:
    """A, xy: an expression without a number, as a unit needs one in front of it."""
    if values.is_a(value, "symbol"):
        return value[1] not in ("pi", "∞", "…") and not value[1][0].isdigit()
    return values.is_a(value, "*") and all(is_made_of_letters(part) for part in value[1:])


def is_written_out(value) -> bool:
    """Is this a set that conditions can't restrict?"""
    return kind_of(value) in SETS and (value[0] != "pair" or value == values.REALS)


def bound_variable(limits: list) -> str | None:
    """The variable of a sum: k in \\sum_{k=1}^n."""
    if not limits or kind_of(limits[1]) != "relation":
        return None
    symbols = [member[1] for member in limits[1][2:] if values.is_a(member, "symbol")]
    return symbols[0] if symbols else None


def bracketed(items: list, opening: str, closing: str):
    """The value of items in brackets: a set, a pair, a tuple, or the one item itself."""
    brackets = opening + closing
    if opening == "\\{" or (opening == "{" and len(items) > 1):
        return ("set", *items)
    if len(items) == 1 and brackets in ("()", "[]", "{}"):
        return items[0]
    if len(items) == 1 and opening in ("⌊", "⌈"):
        return call("floor" if opening == "⌊" else "ceil", *items)
    if len(items) == 2 and opening in ("(", "["):
        return ("pair", *items, brackets)
    ensure(len(items) > 1 and brackets not in ("(]", "[)"))
    return ("tuple", *items)
