"""The values that an answer can have, and exact arithmetic with them.

A value is a Fraction, or a tuple that begins with its kind:

    expressions   ("symbol", name)  ("+", terms...)  ("*", factors...)  ("^", base, exponent)
                  ("call", name, args...)
    containers    ("tuple", items...)  ("list", items...)  ("matrix", rows...)
                  ("pair", left, right, brackets): an interval, perhaps a tuple if the brackets
                  are of one kind
    sets          ("set", items...)  ("union", sets...)  ("and", sets...)  ("without", set, set)
                  ("comma", sets...): "and" if any number is in all of them, else "union"
    statements    ("relation", operators, members...)  ("or", relations...)
                  ("where", value, conditions...)  ("builder", value, conditions...)
    the rest      ("unit", value, unit)  ("choice", letter, value)  ("word", text)
                  ("letters", text): a word or a product
"""

import math
import re
from fractions import Fraction
from functools import partial

# Of a numerator or denominator: about 4,200 digits, below Python's own limit on int <-> str.
MAX_BITS = 14_000
EXPRESSIONS = {"symbol", "+", "*", "^", "call"}
SCALARS = {"rational", "expression"}
SETS = {"set", "pair", "union", "and", "without", "comma"}
NAMED_FUNCTIONS = """sin cos tan cot sec csc asin acos atan sinh cosh tanh log abs floor ceil
    factorial binomial"""
FUNCTIONS = set(NAMED_FUNCTIONS.split())
ACCENTS = {"bar", "hat", "tilde", "vec", "dot", "ddot"}
TRIGONOMETRIC = {"sin", "cos", "tan", "cot", "sec", "csc"}
INFINITY = ("symbol", "∞")
PI = ("symbol", "pi")
MINUS_ONE = Fraction(-1)
MINUS_INFINITY = ("*", MINUS_ONE, INFINITY)
REALS = ("pair", MINUS_INFINITY, INFINITY, "()")


class Unreadable(Exception):
    """This text is not in the grammar, has no value (1/0), or would be too large."""


def ensure(condition) -> None:
    if not condition:
        raise Unreadable


def kind_of(value) -> str:
    if isinstance(value, Fraction):
        return "rational"
    return "expression" if value[0] in EXPRESSIONS else value[0]


def bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def is_whole(value) -> bool:
    return isinstance(value, Fraction) and value.denominator == 1


def is_a(value, operator: str) -> bool:
    """Is this a tuple that begins so?"""
    return isinstance(value, tuple) and value[0] == operator


# ---- Expressions ---------------------------------------------------------------------------------


def combine(operator: str, *values):
    """A sum or product: nested ones flattened, the rationals computed, the rest sorted.

    In a product equal bases are joined.
    """
    identity = Fraction(1 if operator == "*" else 0)
    constant = identity
    rest = []
    for part in flatten(operator, values):
        if not isinstance(part, Fraction):
            rest.append(part)
            continue
        constant = constant * part if operator == "*" else constant + part
        ensure(bits(constant) <= MAX_BITS)
    if not rest:
        return constant
    if INFINITY in rest:  # only ∞ and -∞ are values
        ensure(len(rest) == 1 and abs(constant) == identity)
    if operator == "*" and constant == 0:
        return constant
    if operator == "*" and len(rest) > 1:
        powers = exponents_of(rest)
        if len(powers) < len(rest):  # x^2 x^3 is x^5
            joined = [exponentiate(base, add(*exponents)) for base, exponents in powers.items()]
            return multiply(constant, *joined)
    rest.sort(key=repr)
    if constant != identity:
        rest.insert(0, constant)
    return rest[0] if len(rest) == 1 else (operator, *rest)


def flatten(operator: str, values):
    """The values, and in place of a sum in a sum, or a product in a product, its parts."""
    for value in values:
        ensure(isinstance(value, Fraction) or value[0] in EXPRESSIONS)  # no set plus a number
        if is_a(value, operator):
            yield from value[1:]
        else:
            yield value


def exponents_of(factors: list) -> dict:
    """Each base among the factors, with the list of its exponents."""
    powers = {}
    for factor in factors:
        base, exponent = factor[1:] if factor[0] == "^" else (factor, Fraction(1))
        powers.setdefault(base, []).append(exponent)
    return powers


def exponentiate(base, exponent):
    """A power: computed if it is rational and small enough, else itself."""
    whole = is_whole(exponent)
    if isinstance(base, Fraction):
        ensure(base or (isinstance(exponent, Fraction) and exponent > 0))
        if whole and has_small_power(base, exponent):
            return base**exponent.numerator
    ensure(kind_of(base) in SCALARS and kind_of(exponent) in SCALARS)
    ensure(INFINITY not in (base, exponent))
    if is_a(base, "^") and isinstance(exponent, Fraction):  # (x^2)^3 is x^6, (2^9)^(1/3) is 2^3
        is_number = isinstance(base[1], Fraction) and isinstance(base[2], Fraction)
        if whole or (is_number and base[1] > 0):
            return exponentiate(base[1], multiply(base[2], exponent))
    if not whole:
        return ("^", base, exponent)
    if base == ("symbol", "i"):
        exponent %= 4
    if exponent == 0:
        return Fraction(1)
    if exponent == 1:
        return base
    if is_a(base, "*"):  # (2x)^3 is 2^3 x^3
        factors = [exponentiate(factor, exponent) for factor in base[1:]]
        return multiply(*factors)
    even = exponent % 2 == 0
    if is_a(base, "+") and (even or abs(exponent) > 100):
        opposite = add(*map(negative, base[1:]))
        if sign_order(opposite) < sign_order(base):  # (1-x)^2 is (x-1)^2
            turned = exponentiate(opposite, exponent)
            return turned if even else negative(turned)
    return ("^", base, exponent)


def has_small_power(base: Fraction, exponent: Fraction) -> bool:
    if abs(base.numerator) == base.denominator:
        return True
    return bits(base) * abs(exponent.numerator) <= MAX_BITS


def sign_order(terms) -> tuple[int, str]:
    """Of a sum and its opposite, the one with fewer minus signs comes first."""
    minus = sum("Fraction(-" in repr(term) for term in terms)
    return minus, repr(terms)


add, multiply = partial(combine, "+"), partial(combine, "*")
inverse = partial(exponentiate, exponent=MINUS_ONE)


def negative(value):
    return multiply(MINUS_ONE, value)


def real_power(base, exponent):
    """A power, real where it can be: an odd root of a negative number is negative."""
    odd_root = isinstance(exponent, Fraction) and exponent.denominator % 2 == 1
    if odd_root and not is_whole(exponent) and (position(base) or 0) < -1e-9:
        magnitude = exponentiate(negative(base), exponent)
        return negative(magnitude) if exponent.numerator % 2 else magnitude
    return exponentiate(base, exponent)


def call(function: str, *arguments):
    """A function of arguments: computed if that is exact and cheap, else itself."""
    if function in FUNCTIONS | {"exp", "lg"}:
        ensure(all(kind_of(argument) in SCALARS for argument in arguments))
    first, last = arguments[0], arguments[-1]
    if function == "exp":
        return exponentiate(("symbol", "e"), first)
    if function in ("abs", "floor", "ceil") and isinstance(first, Fraction):
        compute = {"abs": abs, "floor": math.floor, "ceil": math.ceil}[function]
        return Fraction(compute(first))
    if function == "lg":
        return multiply(call("log", first), inverse(call("log", Fraction(10))))
    if all(is_whole(argument) for argument in arguments):
        if function == "factorial" and 0 <= first <= MAX_BITS // 10:
            return Fraction(math.factorial(first.numerator))
        if function == "binomial" and 0 <= last <= first <= MAX_BITS:
            return Fraction(math.comb(first.numerator, last.numerator))
    return ("call", function, *arguments)


def position(value):
    """Where a real number lies: a Fraction, or a float near it. None if it isn't real."""
    constants = {"pi": math.pi, "e": math.e, "∞": math.inf}
    try:
        if isinstance(value, Fraction):
            return value if bits(value) < 1_000 else None
        kind, *parts = value
        if kind == "symbol":
            return constants.get(parts[0])
        function = parts.pop(0) if kind == "call" else kind
        number = evaluate_float(function, [position(part) for part in parts])
        return None if isinstance(number, complex) else number
    except (ArithmeticError, ValueError, TypeError, AttributeError, LookupError):
        return None


def evaluate_float(function: str, arguments: list):
    if function == "+":
        return math.fsum(arguments)
    if function == "*":
        return math.prod(arguments)
    if function == "^":
        return arguments[0] ** arguments[1]
    name = "fabs" if function == "abs" else function
    return getattr(math, name)(*arguments)


def substitute(value, names: dict):
    """The value with other names for its variables, in subscripts too."""
    if isinstance(value, str | Fraction):
        return value
    kind, *parts = value
    if kind == "symbol":
        return ("symbol", substitute_name(parts[0], names))
    if kind == "matrix":
        rows = [[substitute(cell, names) for cell in row] for row in parts]
        return ("matrix", *map(tuple, rows))
    parts = [substitute(part, names) for part in parts]
    if kind in ("+", "*"):
        return combine(kind, *parts)
    return exponentiate(*parts) if kind == "^" else (kind, *parts)


def substitute_name(name: str, names: dict) -> str:
    letter, mark, subscript = name.partition("_")
    # Of a long subscript only letters that stand alone are variables.
    pattern = "[a-zA-Z]" if len(subscript) < 3 else "(?<![a-zA-Z])[a-zA-Z](?![a-zA-Z])"
    subscript = re.sub(pattern, lambda match: names.get(match[0], match[0]), subscript)
    return names.get(letter, letter) + mark + subscript


def has_symbol(value, symbol) -> bool:
    return symbol in parts_of(value)


def parts_of(value):
    """The value and all that it is made of, but for numbers and texts."""
    if isinstance(value, tuple):
        yield value
        for part in value[1:]:
            yield from parts_of(part)


def letters_of(value) -> set[str]:
    """The names of all symbols in it."""
    return {part[1] for part in parts_of(value) if part[0] == "symbol"}


def parameters_of(value, over_integers: bool) -> set[str]:
    """The letters that multiply π, or in a linear value `over_integers` all letters."""
    value = solution_of(value)[1] or value
    if over_integers and not any(part[0] == "^" for part in parts_of(value)):
        return letters_of(value) - {"pi"}
    products = [part for part in parts_of(value) if part[0] == "*" and PI in part]
    factors = {factor[1] for product in products for factor in product if is_a(factor, "symbol")}
    return factors & {"k", "l", "m", "n", "ell"}


# ---- Sets of real numbers ------------------------------------------------------------------------


def ends(value) -> list:
    """The numbers and the ends of intervals that a set is made of."""
    if kind_of(value) in SCALARS:
        return [value]
    ensure(value[0] in SETS)
    parts = [part for part in value[1:] if not isinstance(part, str)]
    if value[0] in ("set", "pair"):
        ensure(all(kind_of(part) in SCALARS for part in parts))
    return [end for part in parts for end in ends(part)]


def is_interval(value) -> bool:
    """Surely an interval, or a number: (1, 2) may be a tuple."""
    if kind_of(value) == "pair":
        return value[3] in ("(]", "[)") or INFINITY in value or MINUS_INFINITY in value
    return kind_of(value) in SCALARS


def contains(value, rank: int, ranks: dict) -> bool:
    """Is this point in the set?

    An end has an odd rank, the numbers between two ends the even rank between theirs.
    """
    kind, *parts = value if isinstance(value, tuple) and value[0] in SETS else ("set", value)
    if kind == "set":
        return any(ranks[part] == rank for part in parts)
    if kind == "pair":
        return lies_between(rank, ranks[parts[0]], ranks[parts[1]], brackets=parts[2])
    inside = [contains(part, rank, ranks) for part in parts]
    if kind == "without":
        return inside[0] and not inside[1]
    return any(inside) if kind == "union" else all(inside)


def lies_between(rank: int, left: int, right: int, brackets: str) -> bool:
    if rank == left and brackets[0] != "[":
        return False
    if rank == right and brackets[1] != "]":
        return False
    return left <= rank <= right


def points(value, ranks: dict) -> list[bool]:
    """Which ends of intervals, and numbers between them, are in the set?

    x < 1, x > 5 is "or", as no number is in both.
    """
    inside = [contains(value, rank, ranks) for rank in range(2 * len(ranks) + 1)]
    if value[0] == "comma" and not any(inside):
        return points(("union", *value[1:]), ranks)
    return inside


# ---- Statements ----------------------------------------------------------------------------------


def is_name(value) -> bool:
    """Does this name one quantity, as the left of `x = 42` does?

    x, f(2), AB, dy/dx, (p, q), sin A, |AB|, x:y:z. But xy = 6 and |x| = 3 are equations.
    """
    kind, *parts = value if isinstance(value, tuple) else ("rational",)
    if kind in ("*", "^"):
        return is_title(value)
    if kind in ("tuple", "pair"):  # A:B:C is the tuple A/C, B/C, 1
        others = [part for part in parts if part != 1 and not isinstance(part, str)]
        return parts[0] != 1 and all(is_name(part) or is_title(part, ".") for part in others)
    if kind == "call" and parts[0] in FUNCTIONS | {"series", "product", "is"}:
        is_known = parts[0] in TRIGONOMETRIC or parts[0] == "abs"
        return is_known and is_title(parts[1], "[A-Z]|[a-z]{3}")  # an angle, a side
    return kind in ("word", "call") or (kind == "symbol" and parts[0] not in ("∞", "pi"))


def is_title(value, letters: str = "[A-Z]|d[a-z]") -> bool:
    """A side, a vector, a derivative: letters of this pattern, and quotients of them."""
    if is_a(value, "^"):
        return value[2] == -1 and is_title(value[1], letters)
    if is_a(value, "*"):
        return all(is_title(part, letters) for part in value[1:])
    if is_a(value, "call"):
        return value[1] in ACCENTS
    return is_a(value, "symbol") and re.match(letters, value[1]) is not None


def solution_of(value) -> tuple:
    """(name, value) of x = 42, 42 = x, x = y = 42.

    (name, set) of x < 3, 1 < x ≤ 2, |x| < 3, x ≠ 3, x ∈ (1, 2).
    (None, None) of other relations, and of everything else.
    """
    solution = solve(value) if kind_of(value) == "relation" else None
    return solution or (None, None)


def solve(relation) -> tuple | None:
    _, operators, *members = relation
    if set(operators) <= {"=", "∈"}:
        return solve_equation(operators, members)
    if len(members) == 2:
        left, right = members
        if operators == ("≠",) and is_name(right) and not is_name(left):
            left, right = right, left
        if operators == ("≠",) and is_name(left):
            return left, ("without", REALS, ("set", right))
        if operators == ("∉",) and is_name(left):
            return left, ("without", REALS, right)
        solution = solve_absolute(left, right, operators[0])
        if solution:
            return solution
        if is_name(left):  # x < 3 is -∞ < x < 3
            operators = ("<", *operators)
            members = [MINUS_INFINITY, left, right]
        else:
            operators = (*operators, "<")
            members = [left, right, INFINITY]
    return solve_inequality(operators, members)


def solve_equation(operators, members) -> tuple | None:
    """x = 42, 42 = x, x = y = 42, x ∈ (1, 2)"""
    *names, value = members
    if all(is_name(name) or name == value for name in names):
        is_set = operators[-1] == "∈" and kind_of(value) == "pair"
        return names[0], ("union", value) if is_set else value
    if operators == ("=",) and is_name(value):
        return value, names[0]
    return None


def solve_inequality(operators, members) -> tuple | None:
    """1 < x ≤ 2"""
    named = [is_name(member) for member in members]
    if not set(operators) <= {"<", "≤"} or named != [False, True, False]:
        return None
    left, name, right = members
    opening = "(" if operators[0] == "<" else "["
    closing = ")" if operators[1] == "<" else "]"
    return name, ("union", ("pair", left, right, opening + closing))


def solve_absolute(left, right, operator) -> tuple | None:
    """|x| < 3 and |x - 2| ≤ 3 are intervals; 3 < |x| is the rest of the numbers."""
    inside = is_absolute(left)
    absolute, bound = (left, right) if inside else (right, left)
    if not is_absolute(absolute) or operator not in ("<", "≤"):
        return None
    name = absolute[2]
    shift = Fraction(0)
    if is_a(name, "+") and len(name) == 3 and isinstance(name[1], Fraction):
        _, shift, name = name
    is_negative = isinstance(bound, Fraction) and bound < 0
    if not is_name(name) or is_negative or kind_of(bound) not in SCALARS:
        return None
    back = negative(shift)
    brackets = "()" if inside == (operator == "<") else "[]"
    within = ("union", ("pair", add(negative(bound), back), add(bound, back), brackets))
    return name, within if inside else ("without", REALS, within)


def is_absolute(value) -> bool:
    return is_a(value, "call") and value[1] == "abs"
