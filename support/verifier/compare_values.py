"""Are two answers the same value? Numbers and expressions exactly, everything else part by part.

`same_answer` reads two texts and compares each reading of the one with each of the other. `same`
chooses a `same_…` function by the kinds of the two values. Two expressions that aren't written
alike go to sympy, in prover.py.
"""

import re
from fractions import Fraction
from functools import partial
from math import isclose

from support.verifier import latex, prover, values
from support.verifier.spelling import MAX_TEXT
from support.verifier.values import SCALARS, ensure, has_symbol, kind_of, solution_of, substitute

MAX_COMPARISONS = 5_000  # of parts with parts, for one verdict
# A question as such costs so much work: the process that answers it starts in some milliseconds.
QUESTION_WORK = 2_000
COMBINED_SETS = {"union", "and", "without", "comma"}
VECTORS = {"pair", "tuple", "list", "matrix"}
HALF_OPEN = {"(]", "[)"}
CONSTANTS = {"e", "i", "pi"}
INTEGERS = ("integer", ("symbol", "Z"))
is_near = partial(isclose, rel_tol=1e-9, abs_tol=1e-9)
CALL = re.compile(r"(\\?\w+)\((\w(?:,\w)*)\)")  # P(x), P(x,y)


def same_answer(prediction: str, answer: str) -> bool:
    """Do the two texts read as the same answer? May raise Unreadable."""
    if max(len(prediction), len(answer)) > MAX_TEXT:
        return False
    key, readings = latex.read_answer(prediction)
    answer_key, answer_readings = latex.read_reference(answer)
    if key == answer_key:
        return key != ""
    budget = Budget()
    for a in readings:
        for b in answer_readings:
            if same(a, b, budget) or same_series(a, b, budget):
                return True
    return False


def same_series(a, b, budget) -> bool:
    """nπ is kπ, and 2 + 3t for some integer t is 2 + 3x: a parameter may have any name."""
    x, conditions = split_conditions(a)
    y, other_conditions = split_conditions(b)
    if conditions and other_conditions:
        return False
    domains = [condition[-1] for condition in conditions + other_conditions]
    over_integers = any(domain in INTEGERS for domain in domains)
    old = values.parameters_of(x, over_integers)
    new = values.parameters_of(y, over_integers)
    if old == new or len(old) != 1 or len(new) != 1:
        return False
    names = {old.pop(): new.pop()}
    return same(substitute(x, names), y, budget)


class Budget:
    """The cost of one verdict so far, in counts."""

    def __init__(self):
        self.comparisons = 0
        self.work = 0

    def compare(self) -> None:
        """Count a comparison. There can be many: of sets in sets in sets."""
        self.comparisons += 1
        ensure(self.comparisons <= MAX_COMPARISONS)

    def ask(self, question: str, a, b) -> str:
        """Ask sympy, unless this verdict has used its work."""
        if self.work > prover.MAX_WORK:
            return "unknown"
        answer, work = prover.ask(question, a, b)
        self.work += work + QUESTION_WORK
        return answer


def same(a, b, budget) -> bool:
    """Are two values of any kinds the same?"""
    budget.compare()
    if a == b:
        return True
    kinds = {kind_of(a), kind_of(b)}
    if kinds <= SCALARS:
        return same_scalar(a, b, budget)
    if kinds == {"relation"}:
        return same_relation(a, b, budget)
    if kinds & {"where", "builder"}:
        return same_where(a, b, budget)
    if "relation" in kinds:  # x = 42 is 42
        relation, other = kind_first("relation", a, b)
        name, value = solution_of(relation)
        return name is not None and same(value, other, budget)
    if "choice" in kinds:
        return same_choice(a, b, budget)
    if "letters" in kinds:
        return same_letters(a, b)
    if "unit" in kinds:
        return same_quantity(a, b, budget)
    if kinds <= values.SETS and kinds & COMBINED_SETS:
        return same_set(a, b, budget)
    if "list" in kinds and kinds & COMBINED_SETS:  # (1, 2], (3, ∞) is their union
        (_, *items), other = kind_first("list", a, b)
        all_intervals = all(values.is_interval(item) for item in items)
        return all_intervals and same(("union", *items), other, budget)
    if kinds <= {"list", "set"} or kinds == {"or"}:
        if is_ordered(a, b):
            return same_row(a[1:], b[1:], budget)
        if kinds == {"list"}:
            return same_list(a[1:], b[1:], budget)
        return same_items(a[1:], b[1:], budget)
    if "set" in kinds:  # {42} is 42
        (_, *items), other = kind_first("set", a, b)
        return len(items) == 1 and same(items[0], other, budget)
    return kinds <= VECTORS and same_vector(a, b, budget)


def kind_first(kind: str, a, b):
    """The two values, the one of this kind first."""
    return (a, b) if kind_of(a) == kind else (b, a)


# ---- Numbers and quantities ----------------------------------------------------------------------


def same_scalar(a, b, budget) -> bool:
    """Numbers and expressions that aren't written alike."""
    if values.INFINITY in (a, b) or (is_simple(a) and is_simple(b)):
        return False
    return budget.ask("equal", a, b) == "equal"


def is_simple(value) -> bool:
    return isinstance(value, Fraction) or value[0] == "symbol"


def same_quantity(a, b, budget) -> bool:
    """A unit that only one side has makes no difference. So 50% is 50. It is also 0.5."""
    x, x_unit = split_unit(a)
    y, y_unit = split_unit(b)
    fits = x_unit == y_unit or 1 in (x_unit, y_unit)
    if fits and same(x, y, budget):
        return True
    if {x_unit, y_unit} == {("symbol", "degree"), 1}:  # 90° is π/2
        degrees, radians = (x, y) if y_unit == 1 else (y, x)
        half_turn = values.multiply(values.PI, Fraction(1, 180))
        is_radian = kind_of(degrees) in SCALARS and has_symbol(radians, values.PI)
        return is_radian and same(values.multiply(degrees, half_turn), radians, budget)
    if {x_unit, y_unit} != {("symbol", "%"), 1}:
        return False
    percent, number = (x, y) if y_unit == 1 else (y, x)
    return kind_of(percent) == "rational" and same(percent / 100, number, budget)


def split_unit(value):
    return value[1:] if kind_of(value) == "unit" else (value, 1)


# ---- Vectors, lists and sets ---------------------------------------------------------------------


def same_vector(a, b, budget) -> bool:
    """Ordered containers: (1, 2), [1, 2], a bare 1, 2, a matrix."""
    alike = a[0] == b[0]
    matrices = [value for value in (a, b) if value[0] == "matrix"]
    shapes = {(len(matrix) - 1, len(matrix[1])) for matrix in matrices}
    if len(shapes) > 1:
        return False
    if not alike and any(1 not in shape for shape in shapes):  # only a row or column is a vector
        return False
    brackets = {value[3] for value in (a, b) if value[0] == "pair"}
    if len(brackets) > 1:  # (1, 2) isn't [1, 2]
        return False
    if not alike and brackets & HALF_OPEN:  # nor is the half-open interval a list
        return False
    return same_row(entries(a), entries(b), budget)


def entries(value):
    if value[0] == "matrix":
        return [entry for row in value[1:] for entry in row]
    return value[1:3] if value[0] == "pair" else value[1:]


def same_row(a, b, budget) -> bool:
    """The same items in the same order."""
    if len(a) != len(b):
        return False
    return all(same(x, y, budget) for x, y in zip(a, b, strict=True))


def same_items(a, b, budget) -> bool:
    """The same items in any order, repetitions aside."""
    if set(a) == set(b):
        return True
    return are_among(a, b, budget) and are_among(b, a, budget)


def are_among(a, b, budget) -> bool:
    return all(any(same(x, y, budget) for y in b) for x in a)


def same_list(a, b, budget) -> bool:
    """The same items in any order, each as often. Only pairs, as solutions, are a set."""
    if all(kind_of(item) in VECTORS for item in a):
        return same_items(a, b, budget)
    rest = list(b)
    for x in a:
        partner = next((y for y in rest if same(x, y, budget)), None)
        if partner is None:
            return False
        rest.remove(partner)
    return not rest


def is_ordered(a, b) -> bool:
    """Does the order count? x=1, y=2 is 1, 2, but not 2, 1."""
    names = named_in(a)
    other_names = named_in(b)
    return len(names | other_names) > 1 and not (names and other_names)


def named_in(items) -> set:
    """The left sides of the relations among these items."""
    return {item[2] for item in items[1:] if kind_of(item) == "relation"}


def same_set(a, b, budget) -> bool:
    """Do two sets of real numbers have the same points? They are made of intervals and numbers.

    It is enough to look at the ends of all intervals and between them.
    """
    try:
        ends = values.ends(a) + values.ends(b)
        ranks = rank_ends(set(ends), budget)
        return values.points(a, ranks) == values.points(b, ranks)
    except values.Unreadable:  # tuples, complex numbers, variables, units
        return same_parts(a, b, budget)


def rank_ends(ends: set, budget) -> dict:
    """Each end's rank on the line, an odd number. Ends that are the same number share a rank."""
    at = {end: values.position(end) for end in ends}
    ensure(None not in at.values())
    ranks = {}
    last = None
    for end in sorted(ends, key=at.get):
        if last is not None and is_near(at[end], at[last]) and same(end, last, budget):
            ranks[end] = ranks[last]
        else:
            ranks[end] = 2 * len(ranks) + 1
        last = end
    return ranks


def same_parts(a, b, budget) -> bool:
    """Sets of whatever has no place on the line."""
    a = a[1] if a[0] == "union" and len(a) == 2 else a
    b = b[1] if b[0] == "union" and len(b) == 2 else b
    if a[0] != b[0]:
        return False
    if a[0] == "pair":
        return same_vector(a, b, budget)
    if a[0] == "without":
        return same_row(a[1:], b[1:], budget)
    return same_items(a[1:], b[1:], budget)


# ---- Relations, choices and conditions -----------------------------------------------------------


def same_relation(a, b, budget) -> bool:
    """x = 42 is 42 = x, f(x) = 2x is f(t) = 2t, and an equation is any multiple of itself."""
    name, value = solution_of(a)
    other_name, other_value = solution_of(b)
    names = renaming(name, other_name) if name and other_name else None
    if names is not None:
        return can_rename(value, names) and same(substitute(value, names), other_value, budget)
    _, operators, *members = a
    _, other_operators, *other_members = b
    if operators != other_operators:
        return False
    if same_row(members, other_members, budget):
        return True
    if operators not in (("=",), ("≠",), ("<",), ("≤",)):
        return False
    # 2x - y + 1 = 0 is y = 2x + 1; -x < 1 is x > -1
    ratio = budget.ask("ratio", gap(members), gap(other_members))
    same_on_both_sides = operators[0] in ("=", "≠")
    return ratio == "positive" or (ratio in ("negative", "constant") and same_on_both_sides)


def gap(members):
    """The left side minus the right."""
    left, right = members
    return values.add(left, values.negative(right))


def renaming(a, b) -> dict | None:
    """The renaming that turns name `a` into `b`, None if there is none.

    It is {"t": "x"} for f(t) and f(x), and {} for E and E(x, 0).
    """
    if a == b:
        return {}
    if not isinstance(a, tuple) or not isinstance(b, tuple):
        return None
    a, b = as_call(a), as_call(b)
    kinds = {a[0], b[0]}
    if not kinds <= {"symbol", "call", "word"} or kinds == {"word"}:
        return None
    if a[1].partition("(")[0] != b[1].partition("(")[0]:
        return None
    if kinds != {"call"}:
        return {}
    old = variables_of(a)
    new = variables_of(b)
    if a[1] in values.FUNCTIONS | values.ACCENTS or CONSTANTS & {*old, *new}:
        return None
    if len(a) == len(b) and len(old) == len(set(new)) == len(a) - 2:
        return dict(zip(old, new, strict=True))
    return None


def as_call(value):
    """P(x), which is read as a word, as f(x) is."""
    match = CALL.fullmatch(value[1]) if value[0] == "word" else None
    if match is None:
        return value
    variables = [("symbol", name) for name in match[2].split(",")]
    return ("call", match[1], *variables)


def variables_of(call) -> list[str]:
    """The arguments of a call that are variables."""
    return [part[1] for part in call[2:] if values.is_a(part, "symbol")]


def can_rename(value, names: dict) -> bool:
    """Does the value use each old name, and no new one that isn't itself renamed?"""
    used = values.letters_of(value)
    for old, new in names.items():
        if old != new and (old not in used or new in used - names.keys()):
            return False
    return True


def same_choice(a, b, budget) -> bool:
    """(B) 42 is B, and also 42. Two that have both must agree in both."""
    if kind_of(a) == kind_of(b):
        return a[1] == b[1] and same(a[2], b[2], budget)
    (_, letter, content), other = kind_first("choice", a, b)
    if other in (("symbol", letter), ("word", letter)):
        return True
    return same(content, other, budget)


def same_letters(a, b) -> bool:
    r"""HT is \text{HT} and H \cdot T, but not TH: it may name an outcome."""
    (_, text), other = kind_first("letters", a, b)
    if kind_of(other) == "word":
        return other[1] == text.casefold()
    letters = [("symbol", letter) for letter in text]
    return other == values.multiply(*letters)


def same_where(a, b, budget) -> bool:
    """2k for k in Z is 2n for n in Z, and also 2k.

    A condition that only one side has makes no difference, except in a set.
    """
    x, conditions = split_conditions(a)
    y, other_conditions = split_conditions(b)
    if not conditions or not other_conditions:
        in_set = "builder" in (kind_of(a), kind_of(b))
        return not in_set and same(x, y, budget)
    name, _ = solution_of(conditions[0])
    other, _ = solution_of(other_conditions[0])
    both_variables = name and other and name[0] == other[0] == "symbol"
    if both_variables and not has_symbol(x, other):  # 2k and 2n
        new_name = {name[1]: other[1]}
        x = substitute(x, new_name)
        conditions = [substitute(condition, new_name) for condition in conditions]
    return same(x, y, budget) and same_items(conditions, other_conditions, budget)


def split_conditions(value) -> tuple:
    """(value, its conditions)"""
    if kind_of(value) in ("where", "builder"):
        return value[1], value[2:]
    return value, ()
