"""The values that an answer can have, and exact arithmetic with them: support/latex.py reads them, reward.py compares them.

A value is a Fraction, or a tuple that begins with its kind:

    expressions   ("symbol", name)  ("+", terms...)  ("*", factors...)  ("^", base, exponent)  ("call", name, args...)
    containers    ("tuple", items...)  ("set", items...)  ("list", items...)  ("union", parts...)  ("matrix", rows...)
                  ("pair", left, right, brackets): an interval, or if both brackets are of a kind perhaps a tuple or list
    statements    ("relation", operators, members...)  ("or", relations...)  ("where", value, conditions...)
    the rest      ("unit", value, unit)  ("choice", letter, value)  ("word", text)
"""

import math
import re
from fractions import Fraction
from functools import partial
from itertools import pairwise

MAX_BITS = 14_000  # of a numerator or denominator: about 4,200 digits, below Python's own limit on int <-> str
EXPRESSIONS = {"symbol", "+", "*", "^", "call"}
SCALARS = {"rational", "expression"}
FUNCTIONS = set("sin cos tan cot sec csc asin acos atan sinh cosh tanh log abs floor ceil factorial binomial".split())
INFINITY = ("symbol", "∞")
MINUS_ONE = Fraction(-1)
MINUS_INFINITY = ("*", MINUS_ONE, INFINITY)
REALS = [(MINUS_INFINITY, INFINITY, "()")]


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


# ---- Expressions -----------------------------------------------------------------------------------------------------


def combine(operator: str, *values):
    """A sum or product: nested ones of its kind flattened, the rationals computed, equal bases joined, the rest sorted."""
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
    if operator == "*" and len(rest) > 1:
        powers = {}
        for part in rest:
            base, exponent = part[1:] if part[0] == "^" else (part, Fraction(1))
            powers.setdefault(base, []).append(exponent)
        if len(powers) < len(rest):  # x^2 x^3 is x^5
            return multiply(constant, *(power(base, add(*exponents)) for base, exponents in powers.items()))
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
        if exponent.denominator == 1 and isinstance(base, tuple) and base[0] == "^":
            return power(base[1], multiply(base[2], exponent))
        whole = isinstance(base, Fraction) and exponent.denominator == 1
        if exponent == 0 or (whole and (abs(base) == 1 or bits(base) * abs(exponent) <= MAX_BITS)):
            return Fraction(1) if exponent == 0 else base**exponent.numerator
    return base if exponent == 1 else ("^", base, exponent)


add, multiply = partial(combine, "+"), partial(combine, "*")
inverse = partial(power, exponent=MINUS_ONE)


def negative(value):
    return multiply(MINUS_ONE, value)


def root(value, index=Fraction(2)):
    """The real root, where an odd one of a negative number is asked for, as everybody means it."""
    if isinstance(index, Fraction) and index % 2 == 1 and (approximate(value) or 0) < -1e-9:
        return negative(power(negative(value), inverse(index)))
    return power(value, inverse(index))


def call(function: str, *arguments):
    """A function of arguments: computed if that is exact and cheap, else itself."""
    require(function not in FUNCTIONS | {"exp", "lg"} or all(kind_of(argument) in SCALARS for argument in arguments))
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


def approximate(value) -> float | None:
    """A number that is near the value; None if it has variables, isn't real or isn't a number."""
    try:
        number = estimate(value)
    except (ArithmeticError, ValueError, TypeError, LookupError, AttributeError):
        return None
    return number if isinstance(number, float) else None


def estimate(value) -> float:
    if isinstance(value, Fraction):
        return float(value)
    kind, *parts = value
    if kind == "symbol":
        return {"pi": math.pi, "e": math.e, "∞": math.inf}[parts[0]]
    if kind == "call":
        function, *parts = parts
        return float(getattr(math, "fabs" if function == "abs" else function)(*map(estimate, parts)))
    compute = {"+": math.fsum, "*": math.prod, "^": lambda pair: pair[0] ** pair[1]}[kind]
    return compute([estimate(part) for part in parts])


def substitute(value, names: dict):
    """The value with other names for its variables, in subscripts too."""
    if isinstance(value, str | Fraction):
        return value
    kind, *parts = value
    if kind == "symbol":
        name, mark, subscript = parts[0].partition("_")
        subscript = re.sub(r"(?<![a-zA-Z])[a-zA-Z](?![a-zA-Z])", lambda match: names.get(match[0], match[0]), subscript)
        return ("symbol", names.get(name, name) + mark + subscript)
    parts = [substitute(part, names) for part in parts]
    if kind in ("+", "*"):
        return combine(kind, *parts)
    return power(*parts) if kind == "^" else (kind, *parts)


def has_symbol(value, symbol) -> bool:
    return value == symbol or (isinstance(value, tuple) and any(has_symbol(part, symbol) for part in value[1:]))


# ---- Sets of real numbers: lists of intervals (left, right, brackets), a number being [x, x] -------------------------


def intervals_of(value) -> list | None:
    kind, *parts = value if isinstance(value, tuple) else ("rational",)
    if kind == "pair":
        return [tuple(parts)]
    if kind == "set" and all(kind_of(part) in SCALARS for part in parts):
        return [(part, part, "[]") for part in parts]
    found = [intervals_of(part) for part in parts] if kind == "union" else [None]
    return None if None in found else sum(found, [])


def set_of(intervals: list):
    if all(left == right for left, right, _ in intervals):
        return ("set", *(left for left, _, _ in intervals))
    return ("pair", *intervals[0]) if len(intervals) == 1 else ("union", *(("pair", *part) for part in intervals))


def position(end):
    """Where an end of an interval lies; None for an expression with variables, and for huge numbers."""
    if isinstance(end, Fraction):
        return end if bits(end) < 1_000 else None
    return -math.inf if end == MINUS_INFINITY else approximate(end)


def merged(intervals: list) -> list:
    """The same set in disjoint intervals, in order: [1, 2] and [2, 3] are [1, 3]. Unreadable if the order isn't known."""
    intervals = [interval for interval in intervals if interval[0] != interval[1] or interval[2] == "[]"]
    at = {end: position(end) for interval in intervals for end in interval[:2]}
    if len(intervals) < 2:
        return intervals
    require(None not in at.values() and all(b - a > 1e-9 for a, b in pairwise(sorted(at.values()))))
    result = []
    for left, right, brackets in sorted(intervals, key=lambda part: (at[part[0]], part[2][0] == "(")):
        start, end, around = result[-1] if result else (None, None, "")
        if result and (at[left] < at[end] or (left == end and (brackets[0] == "[" or around[1] == "]"))):
            if (at[right], brackets[1] == "]") > (at[end], around[1] == "]"):
                result[-1] = (start, right, around[0] + brackets[1])
        elif at[left] <= at[right]:
            result.append((left, right, brackets))
    return result


def complement(intervals: list) -> list:
    gaps, left, bracket = [], MINUS_INFINITY, "("
    for start, end, brackets in merged(intervals):
        gaps.append((left, start, bracket + (")" if brackets[0] == "[" else "]")))
        left, bracket = end, "(" if brackets[1] == "]" else "["
    gaps.append((left, INFINITY, bracket + ")"))
    return [gap for gap in gaps if gap[0] != gap[1] or gap[2] == "[]"]


def intersection(*sets: list) -> list:
    sets = [part for part in sets if part != REALS] or [REALS]
    return sets[0] if len(sets) == 1 else complement([gap for part in sets for gap in complement(part)])


def combine_sets(operator: str, a, b):
    """a ∪ b, a ∩ b or a without b. Other unions than those of real numbers are kept in parts."""
    x, y = intervals_of(a), intervals_of(b)
    try:
        require(x is not None and y is not None)
        if operator == "∪":
            return set_of(merged(x + y))
        return set_of(intersection(x, y if operator == "∩" else complement(y)))
    except Unreadable:
        require(operator == "∪")
        parts = [part for side in (a, b) for part in (side[1:] if kind_of(side) == "union" else [side])]
        sets = all(kind_of(part) == "set" for part in parts)
        return ("set", *(item for part in parts for item in part[1:])) if sets else ("union", *parts)


# ---- Statements ------------------------------------------------------------------------------------------------------


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


def solution_of(relation):
    """(name, value) for x = 42, 42 = x, x = y = 42; (name, set) for x < 3, 1 < x ≤ 2, |x| < 3, x ≠ 3, x ∈ (1, 2); or None."""
    _, operators, *members = relation
    if set(operators) <= {"=", "∈"}:
        if all(is_name(member) or member == members[-1] for member in members[:-1]):
            return members[0], members[-1]
        return (members[1], members[0]) if operators == ("=",) and is_name(members[1]) else None
    if operators in (("≠",), ("∉",)) and is_name(members[0]):
        excluded = intervals_of(("set", members[1]) if operators == ("≠",) else members[1])
        return (members[0], set_of(complement(excluded))) if excluded else None
    if len(members) == 2 and (solution := solution_of_absolute(*members, operators[0])):
        return solution
    if len(members) == 2 and is_name(members[0]):  # x < 3 is -∞ < x < 3
        operators, members = ("<", *operators), [MINUS_INFINITY, *members]
    elif len(members) == 2:
        operators, members = (*operators, "<"), [*members, INFINITY]
    if not set(operators) <= {"<", "≤"} or [is_name(member) for member in members] != [False, True, False]:
        return None
    left, name, right = members
    opening = "(" if operators[0] == "<" else "["
    closing = ")" if operators[1] == "<" else "]"
    return name, ("pair", left, right, opening + closing)


def solution_of_absolute(left, right, operator):
    """|x| < 3 and |x - 2| ≤ 3 are intervals; 3 < |x| is the rest of the numbers."""
    inside = isinstance(left, tuple) and left[:2] == ("call", "abs")
    absolute, bound = (left, right) if inside else (right, left)
    if not isinstance(absolute, tuple) or absolute[:2] != ("call", "abs") or operator not in ("<", "≤"):
        return None
    name, shift = absolute[2], Fraction(0)
    if kind_of(name) == "expression" and name[0] == "+" and len(name) == 3 and isinstance(name[1], Fraction):
        _, shift, name = name
    if not is_name(name) or (isinstance(bound, Fraction) and bound < 0) or kind_of(bound) not in SCALARS:
        return None
    brackets = "()" if inside == (operator == "<") else "[]"
    within = [(add(negative(bound), negative(shift)), add(bound, negative(shift)), brackets)]
    return name, set_of(within if inside else complement(within))
