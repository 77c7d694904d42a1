r"""The verifier against mpmath: expressions drawn as trees, written in two ways, and with one edit.

mpmath computes the value of a tree at three points. The tree is written as LaTeX twice: as it is,
and after rewriting by rules that keep its value. The verifier sees the two texts, and has to find
them equal in 99% of all cases: some identities have no proof within its bounds. It must never find
a tree equal to one that differs by an edit, and by mpmath in value.
"""

import mpmath
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from reward import equivalent

POINTS = [{"x": 0.37, "y": 1.91}, {"x": 2.3, "y": 0.61}, {"x": 1.73, "y": 5.2}]
DIGITS = 40


def integers(least: int, most: int):
    return st.integers(least, most).map(lambda n: ("number", str(n)))


numbers = st.one_of(
    integers(0, 12),
    st.tuples(st.integers(0, 9), st.integers(1, 99)).map(
        lambda pair: ("number", f"{pair[0]}.{pair[1]:02}")
    ),
)
names = st.sampled_from([("name", "x"), ("name", "y"), ("name", "pi"), ("name", "e")])
leaves = st.one_of(numbers, names)


def larger(tree):
    """Trees with one more node on top."""
    two = st.tuples(st.sampled_from(["+", "-", "*", "/"]), tree, tree)
    whole = integers(0, 6)
    root = st.tuples(st.just("sqrt"), numbers)
    radicand = st.tuples(st.sampled_from(["+", "-"]), numbers, root)
    return st.one_of(
        two,
        two,
        st.tuples(st.just("^"), tree, integers(-3, 4)),
        st.tuples(st.sampled_from(["sqrt", "abs", "negative"]), tree),
        st.tuples(st.sampled_from(["sin", "cos", "exp"]), leaves),
        st.tuples(st.just("ln"), integers(2, 9)),
        st.tuples(st.just("!"), whole),
        st.tuples(st.just("binom"), whole, whole),
        st.tuples(st.just("cbrt"), radicand),
    )


trees = st.recursive(leaves, larger, max_leaves=6)


# ---- The value, by mpmath ------------------------------------------------------------------------


def cube_root(x):
    return -mpmath.cbrt(-x) if mpmath.im(x) == 0 and mpmath.re(x) < 0 else mpmath.cbrt(x)


APPLY = {  # 0^0 has no value here
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "^": lambda a, b: a ** int(b) if a or b > 0 else 1 / a,
    "sqrt": mpmath.sqrt,
    "abs": abs,
    "negative": lambda a: -a,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "exp": mpmath.exp,
    "ln": mpmath.log,
    "!": mpmath.factorial,
    "binom": mpmath.binomial,
    "cbrt": cube_root,
}


def value(tree, point):
    kind, *parts = tree
    if kind == "number":
        return mpmath.mpf(parts[0])
    if kind == "name":
        return name_value(parts[0], point)
    arguments = [value(part, point) for part in parts]
    return APPLY[kind](*arguments)


def name_value(name: str, point: dict):
    if name in point:
        return mpmath.mpf(str(point[name]))
    return mpmath.pi() if name == "pi" else mpmath.e()


def values(tree) -> list:
    """At three points. An example whose value isn't a number, or isn't real, is left out."""
    with mpmath.workdps(DIGITS):
        try:
            found = [value(tree, point) for point in POINTS]
        except (ZeroDivisionError, ValueError, OverflowError):
            assume(False)
        for x in found:
            assume(mpmath.isfinite(x) and mpmath.im(x) == 0 and abs(x) < 1e12)
        return found


def differ(a, b, tolerance) -> bool:
    return any(abs(x - y) > tolerance * (1 + abs(x)) for x, y in zip(a, b, strict=True))


# ---- The text ------------------------------------------------------------------------------------

SPELLINGS = {
    "+": ["A+B", "A + B", r"A\,+\,B"],
    "-": ["A-B", "A − B"],
    "*": [r"A \cdot B", r"A\times B", "A*B", "(A)(B)"],
    "/": [r"\frac{A}{B}", r"\dfrac{A}{B}", "A/B", r"{A \over B}"],
    "^": ["A^{B}", "A**(B)", "{A}^{B}"],
    "sqrt": [r"\sqrt{A}", r"\sqrt {A}", "√(A)"],
    "abs": ["|A|", r"\left|A\right|", r"\lvert A \rvert", "abs(A)"],
    "negative": ["(-A)", "-(A)"],
    "sin": [r"\sin A", r"\sin(A)", r"\sin{A}"],
    "cos": [r"\cos A", r"\cos\left(A\right)"],
    "exp": ["e^{A}", r"\exp(A)"],
    "ln": [r"\ln A", r"\log(A)", r"\ln{A}"],
    "!": ["A!", r"A\,!"],
    "binom": [r"\binom{A}{B}", r"\dbinom{A}{B}", r"{A \choose B}"],
    "cbrt": [r"\sqrt[3]{A}", "∛(A)"],
}
NAMES = {"pi": [r"\pi", "π", r"\pi "], "e": ["e", r"\mathrm{e}"], "x": ["x", "{x}"], "y": ["y"]}
BRACKETS = ["(A)", r"\left(A\right)", "[A]"]


def spell(tree, draw) -> str:
    kind, *parts = tree
    if kind == "number":
        return parts[0]
    if kind == "name":
        return draw(st.sampled_from(NAMES[parts[0]]))
    form = draw(st.sampled_from(SPELLINGS[kind]))
    for letter, part in zip("AB", parts, strict=False):
        text = spell(part, draw).replace("A", "\0").replace("B", "\1")
        if part[0] not in ("number", "name") or text.startswith("-"):
            text = draw(st.sampled_from(BRACKETS)).replace("A", text)
        form = form.replace(letter, text)
    return form.replace("\0", "A").replace("\1", "B")


# ---- The same value written otherwise, and one edit ----------------------------------------------

ONE, TWO, THREE = (("number", str(n)) for n in (1, 2, 3))


def rewritings(tree) -> list:
    kind, *parts = tree
    a, b = (*parts, None, None)[:2]
    found = [
        ("*", tree, ONE),
        ("/", ("*", THREE, tree), THREE),
        ("-", ("+", tree, TWO), TWO),
        ("negative", ("negative", tree)),
    ]
    if kind in ("+", "*"):
        found += [(kind, b, a)] * 3
    found += {
        "-": [("+", ("negative", b), a), ("negative", ("-", b, a))],
        "+": [("-", a, ("negative", b))],
        "/": [("*", a, ("^", b, ("number", "-1"))), ("/", ("negative", a), ("negative", b))],
        "sqrt": [("^", a, ("/", ONE, TWO))],
        "exp": [("^", ("name", "e"), a)],
        "negative": [("*", ("negative", ONE), a), ("-", ("number", "0"), a)],
    }.get(kind, [])
    if kind == "*" and a[0] in "+-":
        found += [(a[0], ("*", a[1], b), ("*", a[2], b))] * 3
    if kind == "^" and parts[1] == TWO:
        found += [("*", a, a)] * 3
    return found


def changed(tree, draw, choices):
    """The tree with one node, drawn at random, replaced by one of its `choices`."""
    kind, *parts = tree
    inner = [
        i for i, part in enumerate(parts) if isinstance(part, tuple) and (kind != "^" or i == 0)
    ]
    if inner and draw(st.booleans()):
        i = draw(st.sampled_from(inner))
        parts[i] = changed(parts[i], draw, choices)
        return (kind, *parts)
    return draw(st.sampled_from(choices(tree)))


def edits(tree) -> list:
    kind, *parts = tree
    if kind == "number":
        return [
            ("number", parts[0] + "1"),
            ("negative", tree),
            ("number", "1" + parts[0]),
            ("name", "x"),
        ]
    if kind == "name":
        return [("name", name) for name in NAMES if name != parts[0]]
    swaps = {
        "+": "-*",
        "-": "+/",
        "*": "+/",
        "/": "*-",
        "sin": ["cos"],
        "cos": ["sin"],
        "sqrt": ["abs"],
        "abs": ["negative"],
    }
    found = [(other, *parts) for other in swaps.get(kind, [])] + [parts[0], ("negative", tree)]
    return found + ([(kind, parts[1], parts[0])] if kind in "-/" else [])


def check(examples: int, **options) -> None:
    found = []

    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        **options,
    )
    @given(trees, st.data())
    def compare(tree, data):
        original = values(tree)
        other = changed(changed(tree, data.draw, rewritings), data.draw, rewritings)
        assume(not differ(original, values(other), mpmath.mpf(10) ** -30))
        text = spell(tree, data.draw)
        again = spell(other, data.draw)
        found.append((equivalent(text, again), text, again))
        wrong = changed(tree, data.draw, edits)
        if differ(original, values(wrong), 1e-9):
            wrong = spell(wrong, data.draw)
            assert not equivalent(text, wrong) and not equivalent(wrong, text), (text, wrong)

    compare()
    missed = [example for example in found if not example[0]]
    assert len(found) > examples / 2 and len(missed) <= len(found) / 100, missed[:5]


def test_two_spellings_are_equal_and_one_edit_is_not():
    check(1000, derandomize=True)


@pytest.mark.slow
def test_many_more_expressions():
    check(20_000)
