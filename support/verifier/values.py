"""The values that an answer can have, and exact arithmetic: support/verifier/latex.py reads values, reward.py compares them.

A value is a Fraction, or a tuple that begins with its kind:

    expressions   ("symbol", name)  ("+", terms...)  ("*", factors...)  ("^", base, exponent)  ("call", name, args...)
    containers    ("tuple", items...)  ("list", items...)  ("matrix", rows...)
                  ("pair", left, right, brackets): an interval, or if both brackets are of a kind perhaps a tuple
    sets          ("set", items...)  ("union", sets...)  ("and", sets...)  ("without", set, set)  a pair
    statements    ("relation", operators, members...)  ("or", relations...)
                  ("where", value, conditions...)  ("builder", value, conditions...)
    the rest      ("unit", value, unit)  ("choice", letter, value)  ("word", text)
"""

import math
import re
import zlib
from fractions import Fraction
from functools import partial

MAX_BITS = 14_000  # of a numerator or denominator: about 4,200 digits, below Python's own limit on int <-> str
EXPRESSIONS = {"symbol", "+", "*", "^", "call"}
SCALARS = {"rational", "expression"}
SETS = {"set", "pair", "union", "and", "without", "comma"}
FUNCTIONS = set(
    "sin cos tan cot sec csc asin acos atan sinh cosh tanh log abs floor ceil factorial binomial".split()
)
ACCENTS = {"bar", "hat", "tilde", "vec", "dot", "ddot"}
INFINITY = ("symbol", "∞")
MINUS_ONE = Fraction(-1)
REALS = ("pair", ("*", MINUS_ONE, INFINITY), INFINITY, "()")


class Unreadable(Exception):
    """This text is not in the grammar, has no value (1/0), or would be too large."""


def require(condition) -> None:
    if not condition:
        raise Unreadable


def kind_of(value) -> str:
    if isinstance(value, Fraction):
        return "rational"
    return "expression" if value[0] in EXPRESSIONS else value[0]


def bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


# ---- Expressions ---------------------------------------------------------------------------------


def combine(operator: str, *values):
    """A sum or product: nested ones flattened, the rationals computed, equal bases joined, the rest sorted."""
    identity = Fraction(1 if operator == "*" else 0)
    constant, rest = identity, []
    for value in values:
        require(isinstance(value, Fraction) or value[0] in EXPRESSIONS)  # no set plus a number
        for part in (
            value[1:] if not isinstance(value, Fraction) and value[0] == operator else [value]
        ):
            if not isinstance(part, Fraction):
                rest.append(part)
                continue
            constant = constant * part if operator == "*" else constant + part
            require(bits(constant) <= MAX_BITS)
    if not rest:
        return constant
    if INFINITY in rest:  # only ∞ and -∞ are values
        require(len(rest) == 1 and abs(constant) == identity)
    if operator == "*" and constant == 0:
        return constant
    if operator == "*" and len(rest) > 1:
        powers = {}
        for part in rest:
            base, exponent = part[1:] if part[0] == "^" else (part, Fraction(1))
            powers.setdefault(base, []).append(exponent)
        if len(powers) < len(rest):  # x^2 x^3 is x^5
            return multiply(
                constant, *(power(base, add(*exponents)) for base, exponents in powers.items())
            )
    rest.sort(key=repr)
    if constant != identity:
        rest = [constant, *rest]
    return rest[0] if len(rest) == 1 else (operator, *rest)


def power(base, exponent):
    """A power: computed if it is rational and small enough, else itself."""
    whole = isinstance(exponent, Fraction) and exponent.denominator == 1
    if isinstance(base, Fraction):
        require(base or (isinstance(exponent, Fraction) and exponent > 0))
        if whole and (
            abs(base.numerator) == base.denominator
            or bits(base) * abs(exponent.numerator) <= MAX_BITS
        ):
            return base**exponent.numerator
    require(
        kind_of(base) in SCALARS
        and kind_of(exponent) in SCALARS
        and INFINITY not in (base, exponent)
    )
    if base == ("symbol", "i") and whole:
        exponent %= 4
    if whole and exponent in (0, 1):
        return base if exponent else Fraction(1)
    if whole and isinstance(base, tuple) and base[0] == "^":  # (x^2)^3 is x^6
        return power(base[1], multiply(base[2], exponent))
    if whole and isinstance(base, tuple) and base[0] == "*":  # (2x)^3 is 2^3 x^3
        return multiply(*(power(factor, exponent) for factor in base[1:]))
    if (
        whole
        and isinstance(base, tuple)
        and base[0] == "+"
        and (exponent % 2 == 0 or abs(exponent) > 100)
    ):
        opposite = add(*(negative(term) for term in base[1:]))  # (1-x)^2 is (x-1)^2
        minus = [sum("Fraction(-" in repr(term) for term in terms) for terms in (base, opposite)]
        if (minus[1], repr(opposite)) < (minus[0], repr(base)):
            return (
                power(opposite, exponent)
                if exponent % 2 == 0
                else negative(power(opposite, exponent))
            )
    return ("^", base, exponent)


add, multiply = partial(combine, "+"), partial(combine, "*")
inverse = partial(power, exponent=MINUS_ONE)


def negative(value):
    return multiply(MINUS_ONE, value)


def real_power(base, exponent):
    """A power, real where it can be: an odd root of a negative number is negative, as everybody means it."""
    odd = (
        isinstance(exponent, Fraction)
        and exponent.denominator % 2 == 1
        and exponent.denominator > 1
    )
    if odd and (position(base) or 0) < -1e-9:
        magnitude = power(negative(base), exponent)
        return negative(magnitude) if exponent.numerator % 2 else magnitude
    return power(base, exponent)


def call(function: str, *arguments):
    """A function of arguments: computed if that is exact and cheap, else itself."""
    require(
        function not in FUNCTIONS | {"exp", "lg"}
        or all(kind_of(argument) in SCALARS for argument in arguments)
    )
    first, last = arguments[0], arguments[-1]
    if function == "exp":
        return power(("symbol", "e"), first)
    if function in ("abs", "floor", "ceil") and isinstance(first, Fraction):
        return Fraction({"abs": abs, "floor": math.floor, "ceil": math.ceil}[function](first))
    if function == "lg":
        return multiply(call("log", first), inverse(call("log", Fraction(10))))
    if all(isinstance(argument, Fraction) and argument.denominator == 1 for argument in arguments):
        if function == "factorial" and 0 <= first <= MAX_BITS // 10:
            return Fraction(math.factorial(first.numerator))
        if function == "binomial" and 0 <= last <= first <= MAX_BITS:
            return Fraction(math.comb(first.numerator, last.numerator))
    return ("call", function, *arguments)


def position(value, salt: str = ""):
    """Where a real number lies: a Fraction, or a float near it. None if it isn't real, or has variables and no `salt`.

    With salt, a variable lies somewhere beyond 10 or -10.
    """
    try:
        if isinstance(value, Fraction):
            return value if bits(value) < 1_000 else None
        kind, *parts = value
        if kind == "symbol":
            code = zlib.crc32((salt + parts[0]).encode())
            variable = (10 + code / 2**32) * (1 if code % 2 else -1) if salt else None
            return {"pi": math.pi, "e": math.e, "∞": math.inf, "i": None}.get(parts[0], variable)
        function = parts.pop(0) if kind == "call" else kind
        parts = [position(part, salt) for part in parts]
        compute = {"+": math.fsum, "*": math.prod, "^": lambda pair: pair[0] ** pair[1]}.get(
            function
        )
        number = (
            compute(parts)
            if compute
            else getattr(math, {"abs": "fabs"}.get(function, function))(*parts)
        )
        return None if isinstance(number, complex) else number
    except (ArithmeticError, ValueError, TypeError, AttributeError, LookupError):
        return None


def substitute(value, names: dict):
    """The value with other names for its variables, in subscripts too."""
    if isinstance(value, str | Fraction):
        return value
    kind, *parts = value
    if kind == "symbol":
        name, mark, subscript = parts[0].partition("_")
        letter = "[a-zA-Z]" if len(subscript) < 3 else "(?<![a-zA-Z])[a-zA-Z](?![a-zA-Z])"
        subscript = re.sub(letter, lambda match: names.get(match[0], match[0]), subscript)
        return ("symbol", names.get(name, name) + mark + subscript)
    parts = [substitute(part, names) for part in parts]
    if kind in ("+", "*"):
        return combine(kind, *parts)
    return power(*parts) if kind == "^" else (kind, *parts)


def has_symbol(value, symbol) -> bool:
    return value == symbol or (
        isinstance(value, tuple) and any(has_symbol(part, symbol) for part in value[1:])
    )


# ---- Sets of real numbers ------------------------------------------------------------------------


def ends(value) -> list:
    """The numbers and the ends of intervals that a set is made of."""
    if kind_of(value) in SCALARS:
        return [value]
    parts = [part for part in value[1:] if not isinstance(part, str)]
    require(
        value[0] in SETS
        and (value[0] not in ("set", "pair") or all(kind_of(part) in SCALARS for part in parts))
    )
    return [end for part in parts for end in ends(part)]


def is_interval(value) -> bool:
    """Surely an interval, or a number: (1, 2) may be a tuple."""
    if kind_of(value) == "pair":
        return value[3] in ("(]", "[)") or INFINITY in value or REALS[1] in value
    return kind_of(value) in SCALARS


def contains(value, rank: int, ranks: dict) -> bool:
    """Is this point in the set? An end has an odd rank, the numbers between two ends the even rank between theirs."""
    kind, *parts = value if isinstance(value, tuple) and value[0] in SETS else ("set", value)
    if kind == "set":
        return any(ranks[part] == rank for part in parts)
    if kind == "pair":
        left, right, brackets = ranks[parts[0]], ranks[parts[1]], parts[2]
        inside = left <= rank <= right and (rank > left or brackets[0] == "[")
        return inside and (rank < right or brackets[1] == "]")
    inside = [contains(part, rank, ranks) for part in parts]
    if kind == "without":
        return inside[0] and not inside[1]
    return any(inside) if kind == "union" else all(inside)


def points(value, ranks: dict) -> list[bool]:
    """Which ends of intervals and numbers between them are in the set? x < 1, x > 5 is "or", as none is in both."""
    inside = [contains(value, rank, ranks) for rank in range(2 * len(ranks) + 1)]
    return (
        points(("union", *value[1:]), ranks) if value[0] == "comma" and not any(inside) else inside
    )


# ---- Statements ----------------------------------------------------------------------------------


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
        return parts[0] != 1 and all(
            part == 1 or isinstance(part, str) or is_name(part) for part in parts
        )
    return kind in ("word", "call") or (kind == "symbol" and parts[0] not in ("∞", "pi"))


def solution_of(value) -> tuple:
    """(name, value) of x = 42, 42 = x, x = y = 42; (name, set) of x < 3, 1 < x ≤ 2, |x| < 3, x ≠ 3, x ∈ (1, 2).

    (None, None) of other relations, and of what is no relation.
    """
    return (kind_of(value) == "relation" and solve(value)) or (None, None)


def solve(relation) -> tuple | None:
    _, operators, *members = relation
    if set(operators) <= {"=", "∈"}:
        if all(is_name(member) or member == members[-1] for member in members[:-1]):
            value = members[-1]
            return members[0], ("union", value) if operators[-1] == "∈" and kind_of(
                value
            ) == "pair" else value
        return (members[1], members[0]) if operators == ("=",) and is_name(members[1]) else None
    if operators == ("≠",) and is_name(members[1]) and not is_name(members[0]):
        members = members[::-1]
    if operators in (("≠",), ("∉",)) and is_name(members[0]):
        return members[0], (
            "without",
            REALS,
            ("set", members[1]) if operators == ("≠",) else members[1],
        )
    if len(members) == 2 and (solution := solution_of_absolute(*members, operators[0])):
        return solution
    if len(members) == 2 and is_name(members[0]):  # x < 3 is -∞ < x < 3
        operators, members = ("<", *operators), [REALS[1], *members]
    elif len(members) == 2:
        operators, members = (*operators, "<"), [*members, INFINITY]
    if not set(operators) <= {"<", "≤"} or [is_name(member) for member in members] != [
        False,
        True,
        False,
    ]:
        return None
    left, name, right = members
    opening = "(" if operators[0] == "<" else "["
    closing = ")" if operators[1] == "<" else "]"
    return name, ("union", ("pair", left, right, opening + closing))


def solution_of_absolute(left, right, operator):
    """|x| < 3 and |x - 2| ≤ 3 are intervals; 3 < |x| is the rest of the numbers."""
    inside = isinstance(left, tuple) and left[:2] == ("call", "abs")
    absolute, bound = (left, right) if inside else (right, left)
    if (
        not isinstance(absolute, tuple)
        or absolute[:2] != ("call", "abs")
        or operator not in ("<", "≤")
    ):
        return None
    name, shift = absolute[2], Fraction(0)
    if (
        kind_of(name) == "expression"
        and name[0] == "+"
        and len(name) == 3
        and isinstance(name[1], Fraction)
    ):
        _, shift, name = name
    if (
        not is_name(name)
        or (isinstance(bound, Fraction) and bound < 0)
        or kind_of(bound) not in SCALARS
    ):
        return None
    brackets = "()" if inside == (operator == "<") else "[]"
    within = (
        "union",
        ("pair", add(negative(bound), negative(shift)), add(bound, negative(shift)), brackets),
    )
    return name, within if inside else ("without", REALS, within)
