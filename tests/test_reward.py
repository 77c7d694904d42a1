r"""The verifier: right pairs and wrong pairs of every kind, hostile input, threads, and fuzzing.

pytest tests/test_reward.py                 under a minute
pytest tests/test_reward.py -m slow         20,000 examples
"""

import json
import os
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import hypothesis
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import reward
from reward import equivalent, extract, verify, verify_batch

REWARD = Path(reward.__file__)
BOUND = 1.5  # seconds, for one verdict on a busy machine


@pytest.fixture(scope="session", autouse=True)
def no_worker_left():
    yield
    reward.close()
    assert reward._WORKER.process is None


# ---- Extraction ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "response, answer",
    [
        (r"\boxed{42}", "42"),
        (r"so $x = \boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"\fbox{7}", "7"),
        (r"\boxed{41} no, wait \boxed{42}", "42"),
        (r"\boxed{41}, and \fbox{42}", "42"),
        (r"\boxed{\boxed{42}}", "42"),
        (r"\boxed{x = \boxed{42}}", r"x = \boxed{42}"),
        (r"\boxed {42}", "42"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{41} then \boxed{42", None),  # the last box is never closed: no answer, not the earlier one
        (r"\boxed{41 no \boxed{42}", "42"),
        (r"stray } and { before \boxed{42}", "42"),
        ("#### 42", "42"),
        ("#### 41\nthen\n#### 42\nbye", "42"),
        ("#### 42<|im_end|>", "42"),
        ("#### 41\n#### ", None),
        (r"\boxed{42} #### 41", "42"),
        (r"\boxed{}", None),
        (r"\boxed{ }", None),
        ("the answer is 42", None),
        ("", None),
        (r"\boxed5", None),
    ],
)
def test_extract(response, answer):
    assert extract(response) == answer


def test_digits_of_a_fraction_survive_the_second_reading_of_a_sign():
    assert equivalent(r"\pm\frac12", r"\{\frac{1}{2}, -\frac{1}{2}\}")
    assert equivalent(r"3\pm\frac1{2}", "2.5, 3.5")
    assert not equivalent(r"\pm\frac12", r"\{2, -2\}")


def test_verify_without_an_answer_is_false():
    assert not verify("the answer is 42", "42")
    assert not verify(r"\boxed{}", "")


# ---- Every kind of answer: pairs that are equal, and pairs that aren't -----------------------------------------------

BIG = "7" * 5000

EQUAL = {
    "integer": [
        ("42", "42"),
        ("+42", "42"),
        ("-0", "0"),
        ("042", "42"),
        ("42.", "42"),
        ("42.00", "42"),
        ("--42", "42"),
    ],
    "bignum": [(BIG, BIG), (BIG, "0" + BIG), (BIG + ".0", BIG), (rf"\frac{{{BIG}}}{{2}}", rf"\frac{{{BIG}}}{{2}}")],
    "thousands": [
        ("1,234", "1234"),
        ("1{,}234", "1234"),
        (r"1\,234", "1234"),
        (r"12,\! 345", "12345"),
        ("1 234", "1234"),
    ],
    "decimal": [("0.5", ".5"), ("1,000.0", "1000"), ("1.22", "1,22"), ("0.1\\overline{6}", "1/6"), ("0.5", "0.50")],
    "percent": [(r"50\%", "50%"), (r"50\%", "0.5"), ("28 percent", r"28\%"), ("28", r"28\%"), ("12.5 pct", "1/8")],
    "money": [(r"\$42.50", "42.5"), (r"\$1,234", "1234"), ("$42$", "42"), ("42 dollars", r"\$42")],
    "scientific": [(r"1.2 \times 10^{3}", "1200"), ("1.2e3", "1200"), ("10^{20}", "1" + "0" * 20), ("5e-1", "1/2")],
    "fraction": [
        ("1/2", "0.5"),
        ("2/6", "1/3"),
        (r"\frac12", r"\dfrac{1}{2}"),
        (r"\frac3{3}", "1"),
        ("-1/2", r"\frac{1}{-2}"),
    ],
    "mixed": [
        (r"2\frac{1}{2}", "5/2"),
        ("1 1/2", "3/2"),
        (r"-2\frac12", "-2.5"),
        ("2½", "5/2"),
        (r"2\frac{3}{2}", "3"),
    ],
    "sqrt": [
        (r"\sqrt{8}", r"2\sqrt{2}"),
        (r"\sqrt2", "√2"),
        ("sqrt(2)", "2^{1/2}"),
        (r"\sqrt[3]{-8}", "-2"),
        (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt2}{2}"),
        (r"\sqrt{3+2\sqrt2}", r"1+\sqrt2"),
        (r"\sqrt{\frac{4}{9}}", "2/3"),
    ],
    "constant": [
        ("x**2", "x^2"),  # found by fuzzing: ** was a product
        (r"2\pi", "2π"),
        (r"\frac{\pi}{2}", "pi/2"),
        ("e^{2}", r"\exp(2)"),
        ("i^2", "-1"),
        ("(1+i)^2", "2i"),
        (r"\infty", "∞"),
        (r"-\infty", "-∞"),
        (r"e^{i\pi}", "-1"),
    ],
    "function": [
        (r"\sin 30^\circ", "1/2"),
        (r"\log_2 8", "3"),
        (r"\ln e", "1"),
        ("5!", "120"),
        (r"\binom{5}{2}", "10"),
        (r"\lfloor 2.5 \rfloor", "2"),
        (r"\lceil 2.5 \rceil", "3"),
        ("|-3|", "3"),
        (r"\sin^{-1} 1", r"\frac{\pi}{2}"),
        (r"\sin 2x", r"2\sin x\cos x"),
        (r"\sin^2 x + \cos^2 x", "1"),
        (r"\cos(\pi/5)", r"\frac{1+\sqrt5}{4}"),
    ],
    "expression": [
        ("(x-1)^2", "x^2-2x+1"),
        ("2x", r"2 \cdot x"),
        ("a+b", "b+a"),
        ("xy", "y x"),
        ("x/2", r"\frac12 x"),
        (r"\frac{x^2-1}{x-1}", "x+1"),
        ("x^{-1}", "1/x"),
        (r"\sqrt{x^2}", "|x|"),
        ("n", "n"),
        ("-(x-y)", "y-x"),
    ],
    "opaque": [
        (r"\sum_{k=0}^{n-1} F_{n-k-1} F_k", r"\sum_{k=0}^{n-1} F_k F_{n-k-1}"),
        ("f(2)+1", "1+f(2)"),
        (r"10^{10^{10}}", "10^{10000000000}"),
    ],
    "tuple": [
        ("(1, 2)", "(1,2)"),
        (r"\left(\frac12, 3\right)", "(0.5,3)"),
        ("(p,q)=(3,2)", "(3,2)"),
        ("1,2", "(1,2)"),
        (r"\langle 1,2,3 \rangle", "(1,2,3)"),
    ],
    "set": [
        (r"\{1,2\}", r"\{2,1\}"),
        ("5,4,3", "3,4,5"),
        (r"\{1,2,2\}", r"\{1,2\}"),
        (r"\pm 2", r"\{-2,2\}"),
        (r"1 \text{ and } 2", "1,2"),
        ("21, 36, and 82", "82, 36, 21"),
        ("1 or 2", "2 or 1"),
        (r"\emptyset", r"\{\}"),
        (r"x = 1 \pm \sqrt2", r"1+\sqrt2, 1-\sqrt2"),
        ("p=5,q=2;p=7,q=2", "(5,2),(7,2)"),
        ("a_3=2, b=1", "b=1, a_{3}=2"),
        ("(1,2),(3,4)", "(3,4),(1,2)"),
        ("x=1, x=2", r"\{1,2\}"),
        ("n=1, 2, 3", "1,2,3"),
    ],
    "interval": [
        ("[0,1)", "[0, 1)"),
        (r"x \in (1,2]", "(1,2]"),
        (r"(1, +\infty)", r"(1,\infty)"),
        ("1<x<=2", "(1,2]"),
        (r"(-\infty,1)\cup(2,3]", r"(2,3] \cup (-\infty,1)"),
        ("x>3", r"(3,\infty)"),
    ],
    "matrix": [
        (r"\begin{pmatrix} 0 & 3 \\ 0 & -1 \end{pmatrix}", r"\begin{bmatrix}0&3\\0&-1\end{bmatrix}"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1,2)"),
    ],
    "equation": [
        ("x = 42", "42"),
        ("x = y = 42", "42"),
        ("42 = x", "42"),
        (r"x \approx 11", "11"),
        (r"x=1/3\approx0.3", "1/3"),
        ("2x-y+1=0", "y=2x+1"),
        ("y=2x+1", "2x+1"),
        ("x-2y=0", "2y-x=0"),
        ("AB = 5", "5"),
        ("f(2)=5", "5"),
        (r"\frac{x^2}{9}+\frac{y^2}{4}=1", "4x^2+9y^2=36"),
    ],
    "inequality": [
        (r"5 \leq x", r"x \geq 5"),
        ("-x >= -1", "x <= 1"),
        (r"x \leqslant 3", r"x\le 3"),
        ("x != 5", r"x \ne 5"),
        ("3 > x > 1", "1 < x < 3"),
        ("2x<6", "x<3"),
    ],
    "ratio": [("11:21", "V_1:V_2=11:21"), ("1:2", "2:4"), ("1:2:3", "2:4:6")],
    "units": [
        (r"42\text{ cm}", "42"),
        ("42 apples", "42"),
        (r"90^\circ", "90"),
        ("90 degrees", "90°"),
        ("5 km/h", "5"),
        (r"15\mbox{ cm}^2", "15 square centimeters"),
        (r"12\pi\text{ m}", r"12\pi"),
        ("42 kilometers per hour", "42 km/h"),
        (r"20^\circ\text{C}", "20"),
        ("x = 5 cm", "5"),
        ("12 m/s", "12"),
        ("5 m", "5 meters"),
        ("15 cm²", "15 square centimetres"),
        ("7 million people", "7,000,000"),
    ],
    "text": [
        (r"\text{Evelyn}", "Evelyn"),
        ("yes", "Yes"),
        ("B", r"\text{(B)}"),
        ("(B)", "B"),
        ("E.", "E"),
        (r"\text{No solution}", "no solution"),
        ("red, blue", "blue, red"),
        (r"\textbf{(B)}\ 42", "42"),
        ("(B) 42", "B"),
    ],
    "style": [
        (r"\mathbf{42}", "42"),
        ("$42$", "42"),
        (r"\(42\)", "42"),
        (r"\displaystyle \frac{1}{2}", "1/2"),
        ("**42**", "42"),
        (r"\left(1,\,2\right)", "(1,2)"),
        ("42,", "42"),
        (r"\\frac{1}{2}", r"\frac{1}{2}"),
    ],
    "unicode": [
        ("−5", "-5"),
        ("４２", "42"),
        ("٤٢", "42"),
        ("x²", "x^2"),
        ("x₁", "x_1"),
        ("3×4", "12"),
        ("90°", "90"),
        ("½", "0.5"),
        ("α", r"\alpha"),
        ("2≤x", r"x\ge 2"),
        ("1\u00a0234", "1234"),
        ("（1，2）", "(1,2)"),
    ],
}

DIFFERENT = {
    "integer": [("42", "43"), ("-42", "42"), ("9007199254740992", "9007199254740993"), ("0.42", "42"), ("1\\,234", "235"),
                ("4 2", "42"), ("42", "4.2")],
    "bignum": [(BIG, BIG + "7"), (BIG, "-" + BIG), (BIG, BIG + ".5"), (rf"\frac{{{BIG}}}{{2}}", "1/2")],
    "thousands": [("1,234", "1.234"), ("1,234", "234"), ("1{,}234", "1, 234"), ("12,34", "1234")],
    "decimal": [("0.333", "1/3"), ("0.99", "1"), ("0.0000000002", "0.0000000001"), ("1e-400", "0"), ("3.14", r"\pi"),
                ("0.\\overline{3}", "0.3")],
    "percent": [(r"50\%", "5"), (r"50\%", "51%"), (r"50\%", "0.05")],
    "money": [(r"\$42.50", "42"), (r"\$4", "40")],
    "scientific": [(r"1.2 \times 10^{3}", "120"), ("1e5", "1e6"), ("2e3", "8")],
    "fraction": [(r"\frac{2}{1}", r"\frac{1}{2}"), (r"\frac12", r"-\frac12"), ("11/2", "1 1/2"), ("1/0", "42"), (r"\frac{1}{0}", "0")],
    "mixed": [(r"2\frac{1}{2}", "1"), ("2½", "21/2"), ("1 1/2", "11/2"), (r"-2\frac12", "-1.5")],
    "sqrt": [(r"\sqrt[3]{2}", r"3\sqrt{2}"), (r"\frac{1+\sqrt{5}}{2}", "2"), (r"\sqrt{2}", "1.4142135623730951"), ("√2", "√3")],
    "constant": [("3", r"\pi"), ("e", r"\pi"), ("i", "1"), (r"\infty", r"-\infty"), (r"\infty", "42"), ("22/7", "π")],
    "function": [(r"\sin(10^{22})-0.85", "0"), ("5!", "24"), ("10!!", "3628800"), (r"\sin x", r"\cos x"), (r"\log_2 8", "8")],
    "expression": [("(x-1)^2", "x^2+2x+1"), ("2y", "2x"), ("x+1", "x+2n+1"), ("|x|", "x"), (r"\sqrt{x^2}", "x"), ("x", "X"),
                   ("x^2", "2x"), ("f(x)", "f(y)"), ("1/2x", "1/(2x)")],
    "tuple": [("(1,2,3)", "(1,2)"), ("(1,2)", "(2,1)"), ("(1,2)", r"\{1,2\}"), ("(1,2)", "12")],
    "set": [(r"\{1,2\}", r"\{1,2,3\}"), (r"\pm 2", "2"), ("1,3", "1,2"), ("n=1,2,3", "n=2,3,4"), ("x=1,y=2", "x=2,y=1"),
            ("21, 36, and 82", "19, 46, and 82")],
    "interval": [("(1,2)", "(1,2]"), ("[1,2]", "(1,2)"), ("D=(0,1.5)", "D=(0,1)"), ("(1,2]", "1,2"), (r"(1,2)\cup(3,4)", "(1,2)")],
    "matrix": [(r"\begin{pmatrix}1&2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
               (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&5\end{pmatrix}")],
    "equation": [("x = 42", "43"), ("2x = 42", "42"), ("x+1=42", "42"), ("0=0", "x+y=1"), ("x=5", "y=5"), ("-x=42", "42"), ("1/x=5", "5"),
                 ("41=42", "42"), ("5 m", "5 s"), ("y=2x+1", "y=2x-1")],
    "inequality": [("x<3", "x>3"), ("x<3", r"x\le3"), (r"2\le x<5", "2<x<5"), ("-x<1", "x<-1"), ("|x|<1", "x<1"), ("x<3", "y<3")],
    "ratio": [("11:21", "21:11"), ("1:2:3", "1:2:4")],
    "units": [(r"41\text{ cm}", "42"), ("42 cm", "42 m"), (r"42\text{ hours }30\text{ minutes}", "42"), ("42 apples 43", "42"), ("7 million", "7")],
    "text": [("Evelyn", "Carla"), ("A", "B"), ("yes", "no"), ("listen", "silent"), ("True", "1"), ("(B) 42", "43")],
    "hedge": [("41 or 42", "42"), (r"41 \text{ or } 42", "42"), (r"\{41,42\}", "42"), (r"\emptyset", "42"), (".*", "42"),
              ("{answer}", "42"), (r"41 \neq 42", "42"), (r"42 \pm 1", "42"), (r"7 \text{ (not } 42)", "42"), ("42 not", "42"), (r"(A) \text{(B)}", "B"), ("(A) 41, (B) 42", "B"), ("41 to 42", "42"), ("x = 41 = 42", "42"),
              (r"x \in \{41, 42\}", "42"), ("42 - 1", "42"), (r"41 \approx 42", "42"), ("x", "42"), (r"\text{not } 42", "42")],
    "malformed": [("", ""), ("", "0"), ("I don't know.", "42"), (".", "42"), ("-", "42"), ("$", "42"), ("{", "42"), (r"\frac{1}", "1"),
                  ("(1,2", "(1,2)x"), ("²", "2"), ("^2", "2"), ("1..2", "1.2"), ("\u202e24", "42"), ("4\x002", "42"), ("zoo", "42")],
}  # fmt: skip


@pytest.mark.parametrize("kind, a, b", [(kind, *pair) for kind, pairs in EQUAL.items() for pair in pairs])
def test_equal(kind, a, b):
    assert equivalent(a, b)
    assert equivalent(b, a)


@pytest.mark.parametrize("kind, a, b", [(kind, *pair) for kind, pairs in DIFFERENT.items() for pair in pairs])
def test_different(kind, a, b):
    assert not equivalent(a, b)
    assert not equivalent(b, a)


# ---- Hostile input: never an exception, never late, never run --------------------------------------------------------

HOSTILE = [
    "9^9^9^9", "10!!!!!!", "((10!)!)!", "factorial(10**9)", r"\binom{10^9}{5\cdot 10^8}", r"\sum_{i=1}^{10^{12}} i^i",
    r"\int e^{x^2}\sin(x^3)\ln(x^5+1) dx", r"\lim_{x\to 0} \sin(1/x)^{x^{-x}}", "0.1^{10^{9}}", "nextprime(10**500)",
    r"(10^{10^9}) \bmod 7", r"(x+1)^{10^9}", "(x+y+z+w)^{400}-x", r"(1+\sqrt2)^{499}", r"\sin(10^{10^{10}})", "1e999999999",
    "1e-400", "e^{e^{e^{e^{10}}}}", "2^{2^{x}}", r"\sin(" * 300 + "x" + ")" * 300, "(" * 5000 + "42" + ")" * 4999, "[" * 9000,
    r"\frac{1}{" * 1000 + "1" + "}" * 1000, "^".join("a" * 5000), "1," * 4000, r"\{" * 50 + r"\pm 1," * 50, "-" * 9000 + "1",
    "(" + r"\pm 1, \{(" * 15 + "1" + r")\}" * 15 + ")", r"2\frac{" * 40, "1 " * 4999, "|" * 9000, "x_{" * 3000, "\\" * 9999,
    r"\text{" * 1500, r"\sqrt[" * 1000, "x+" * 4000, "2^{13000}+" * 800 + "1", "9" * 9999, "0." + "3" * 9000, "1/" * 4999 + "1",
    r"\sqrt{" * 39 + "x" + "}" * 39, "((2^{499/7})^{499/11})^{499/13}", "+".join(f"\\sqrt{{{n}}}" for n in range(2, 60)),
    r"\prod_{n=1}^{\infty} n", "√" * 5000, "\u202e24", "\ud800", "\x00", "ﷺ" * 9000, r"\begin{pmatrix}" * 500, "{" * 9000,
    r"\tan(\tan(\tan(\tan(\tan(x^{7}+y^{9})))))-\tan(y)", r"\cos(x)^{99}\sin(y)^{77}+\tan(x+y)^{55}",
]  # fmt: skip
INJECTIONS = [
    '__import__("os").system("touch {}")', "open('{}','w')", "exec(\"open('{}','w')\")", "().__class__.__base__.__subclasses__()",
    'Symbol("__import__(\'os\').system(\'touch {}\')")', "lambda: open('{}','w')", "x.__class__", "globals()", "input()",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:20])
def test_hostile_input_is_wrong_in_time(text):
    for answer in ("42", "x+1", r"\sqrt{2}"):
        start = time.perf_counter()
        assert not equivalent(text, answer)
        assert time.perf_counter() - start < BOUND
    start = time.perf_counter()
    assert not verify(rf"\boxed{{{text}}}", "42")
    assert not verify(f"#### {text}", "42")
    assert time.perf_counter() - start < BOUND


@pytest.mark.parametrize(
    "response",
    ["1 " * 100_000, r"\boxed{" * 30_000, r"\boxed{" * 20_000 + "42" + "}" * 20_000, "}" * 200_000, "\\" * 200_000]
    + ["#" * 200_000, r"\(" * 40_000, "{" * 200_000, r"\boxed" * 30_000, r"\boxed " + " " * 190_000, r"\fbox{\boxed" * 15_000],
    ids=lambda text: text[:8],
)  # fmt: skip
def test_hostile_responses_are_searched_in_time(response):
    start = time.perf_counter()
    extract(response)
    assert time.perf_counter() - start < 0.5


def test_sets_inside_sets_are_compared_in_time():
    start = time.perf_counter()
    assert not equivalent(r"\{1," * 35 + "1" + r"\}" * 35, r"\{2," * 35 + "1" + r"\}" * 35)
    assert not equivalent(r"\{x,\{y,1\}," * 30 + "1" + r"\}" * 30, r"\{2,\{z,3\}," * 30 + "1" + r"\}" * 30)
    assert time.perf_counter() - start < BOUND


@pytest.mark.parametrize("template", INJECTIONS)
def test_model_text_is_never_run(template, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = template.replace("{}", "pwned")
    for answer in ("42", "x+1", r"\sqrt{2}", text + "+1"):
        for wrapped in (text, f"${text}$", f"{text} + x", rf"\sqrt{{{text}}}"):
            assert not equivalent(wrapped, answer)
    assert not list(tmp_path.iterdir())


def test_integer_limit_of_the_interpreter_is_untouched():
    before = sys.get_int_max_str_digits()
    equivalent("2^{13000}", "2^{12999}")
    assert sys.get_int_max_str_digits() == before


def test_what_is_not_text_is_wrong():
    assert extract(None) is None
    assert not verify(None, "42")
    assert not equivalent("42", 42)


# ---- The worker ------------------------------------------------------------------------------------------------------


def test_rational_answers_need_neither_sympy_nor_the_worker():
    code = (
        "import sys, reward, threading\n"
        r"assert reward.verify(r'\boxed{\frac{3}{6}}', '50\\%') and not reward.verify('#### 1,234', '1235')" "\n"
        "assert 'sympy' not in sys.modules and reward._WORKER.process is None and threading.active_count() == 1\n"
    )  # fmt: skip
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REWARD.parent)


def test_worker_is_replaced_when_it_dies_and_gone_after_close():
    assert equivalent("x(x+1)", "x^2+x")
    first = reward._WORKER.process
    first.kill()
    first.wait()
    assert equivalent("x(x+2)", "x^2+2x")
    assert reward._WORKER.process is not first
    second = reward._WORKER.process
    reward.close()
    assert second.poll() is not None
    reward.close()
    assert equivalent("x(x+3)", "x^2+3x")


def test_worker_that_hangs_is_killed(monkeypatch):
    assert equivalent("x(x+4)", "x^2+4x")
    hanging = reward._WORKER.process
    monkeypatch.setattr(reward, "WALL_SECONDS", 0.0)
    assert not equivalent("x(x+5)", "x^2+5x")
    assert hanging.poll() is not None
    monkeypatch.undo()
    assert equivalent("x(x+6)", "x^2+6x")


def test_interrupted_question_leaves_no_reply_behind(monkeypatch):
    assert equivalent("x(x+8)", "x^2+8x")

    class Interrupted(list):
        def write(self, line):
            reward._WORKER.process.stdin.real.write(line)

        def flush(self):
            self.real.flush()
            raise KeyboardInterrupt

        def close(self):
            self.real.close()

    stdin = Interrupted()
    stdin.real = reward._WORKER.process.stdin
    reward._WORKER.process.stdin = stdin
    with pytest.raises(KeyboardInterrupt):
        equivalent("x(x+9)", "x^2+9x")
    assert not equivalent("x(x+10)", "x^2+9x")


def test_worker_that_does_not_start_makes_a_verdict_false(monkeypatch):
    reward.close()
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    with pytest.warns(UserWarning, match="can't start its worker"):
        assert not equivalent("x(x+7)", "x^2+7x")
    monkeypatch.undo()
    assert equivalent("x(x+7)", "x^2+7x")


def test_script_without_main_guard_is_not_imported_again(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(REWARD.parent)!r})\nimport reward\n"
        "print('started')\nprint(reward.equivalent('x(x+1)', 'x^2+x'))\nprint(reward._WORKER.process.pid)\n"
    )
    done = subprocess.run([sys.executable, str(script)], check=False, capture_output=True, text=True, timeout=60)
    started, verdict, pid = done.stdout.split()
    assert (started, verdict, done.stderr) == ("started", "True", "")
    with pytest.raises(ProcessLookupError):  # gone at exit, without close()
        os.kill(int(pid), 0)


def test_threads_give_the_verdicts_of_one_thread():
    pairs = [pair for pairs in (*EQUAL.values(), *DIFFERENT.values()) for pair in pairs]
    pairs += [(text, "42") for text in HOSTILE[:20]]
    tasks = [pairs[i % len(pairs)] for i in range(1000)]
    expected = [equivalent(*task) for task in tasks]
    reward.close()
    before = threading.active_count()
    results = {}

    def run(name):
        order = range(len(tasks)) if name % 2 else range(len(tasks) - 1, -1, -1)
        found = {i: equivalent(*tasks[i]) for i in order}
        results[name] = [found[i] for i in range(len(tasks))]

    threads = [threading.Thread(target=run, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(results[name] == expected for name in range(8))
    process = reward._WORKER.process
    reward.close()
    assert threading.active_count() == before
    assert process is None or process.poll() is not None


def test_batch():
    responses = [r"\boxed{0.5}", r"\boxed{2}", "nothing", "#### 1,000"]
    assert verify_batch(responses, ["1/2", "3", "4", "1000"]) == [True, False, False, True]
    reward._read_reference.cache_clear()
    verify_batch([rf"\boxed{{x+{i}}}" for i in range(8)], ["x+3"] * 8)
    assert reward._read_reference.cache_info().misses == 1


# ---- Fuzzing ---------------------------------------------------------------------------------------------------------

ALPHABET = ["\\frac", "\\sqrt", "{", "}", "(", ")", "[", "]", "^", "_", "+", "-", "*", "/", "!", "|", ",", ";", "=", "<", ">",
            "1", "2", "10", "0", "1.5", "x", "y", "e", "i", "\\pi", "\\pm", "\\sin", "\\log", "\\infty", "\\cup", "\\in",
            "\\text{ cm}", " and ", "%", "\\{", "\\}", "\\%", "$", " ", "\\begin{pmatrix}", "\\end{pmatrix}", "\\\\", "&", "°",
            "\\binom", "\\lfloor", "\\rfloor", ":", "\\approx", "²", "½", "apples", "\\sum", "99999999999", "'", "."]  # fmt: skip
token_soup = st.lists(st.sampled_from(ALPHABET), max_size=30).map("".join)
raw_text = st.text(max_size=60)


def check_any_text(a, b):
    start = time.perf_counter()
    try:
        forward = reward._equivalent(a.strip(), b.strip())  # without the net, which would hide an exception
    except reward._Unreadable:
        forward = False
    assert time.perf_counter() - start < BOUND
    assert forward == equivalent(a, b) == equivalent(b, a)
    assert equivalent(a, a) or not a.strip()
    assert verify(f"#### {a}", b) in (True, False)
    extract(rf"\boxed{{{a}")


def fraction_texts(value: Fraction) -> list[str]:
    n, d = value.numerator, value.denominator
    texts = [
        f"{n}/{d}",
        rf"\frac{{{n}}}{{{d}}}",
        rf"\dfrac{{{3 * n}}}{{{3 * d}}}",
        f"${2 * n}/{2 * d}$",
        f"x = {n}/{d}",
    ]
    if d == 1:
        texts += [str(n), f"{n}.0", f"{n:,}".replace(",", "{,}")]
    if abs(n) > d > 1:
        texts.append(rf"{'-' * (n < 0)}{abs(n) // d}\frac{{{abs(n) % d}}}{{{d}}}")
    return texts


rationals = st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=500)
polynomials = st.lists(st.integers(-20, 20), min_size=2, max_size=5).filter(lambda p: any(p[1:]))


def polynomial_texts(p) -> list[str]:
    terms = [f"({c})x^{{{k}}}" for k, c in enumerate(p)]
    horner = "0"
    for c in reversed(p):
        horner = f"(({horner}) \\cdot x + {c})" if horner != "0" else f"({c})"
    return [" + ".join(terms), "+".join(reversed(terms)), horner, rf"\frac{{2({'+'.join(terms)})}}{{2}}"]


def check_rationals(x, y, data):
    a, b, c = (data.draw(st.sampled_from(fraction_texts(value))) for value in (x, x, y))
    assert equivalent(a, b)
    assert equivalent(a, c) == (x == y)
    assert equivalent(rf"{a} \text{{ cm}}", b)
    assert equivalent(rf"({a}, {b})", f"({b}, {a})")
    assert equivalent(rf"\{{{a}, {c}\}}", rf"\{{{c}, {b}\}}")
    assert equivalent(f"[{a}, {c})", f"({b}, {c}]") is False
    percent = rf"{100 * x.numerator}\%"
    assert equivalent(percent, str(x.numerator))
    assert equivalent(percent, c) == (y in (x.numerator, 100 * x.numerator))


def larger(pair):
    """Expressions around one expression, which is written in two ways: operands swapped, other commands and brackets."""
    return st.one_of(
        st.tuples(pair, pair).map(lambda p: (f"({p[0][0]}+{p[1][0]})", rf"\left({p[1][1]} + {p[0][1]}\right)")),
        st.tuples(pair, pair).map(lambda p: (f"({p[0][0]}*{p[1][0]})", rf"({p[1][1]}) \cdot ({p[0][1]})")),
        st.tuples(pair, pair).map(lambda p: (rf"\frac{{{p[0][0]}}}{{{p[1][0]}}}", f"({p[0][1]})/({p[1][1]})")),
        st.tuples(pair, st.sampled_from([2, 3, -1, 40, 10**9])).map(
            lambda p: (f"({p[0][0]})^{{{p[1]}}}", f"({p[0][1]})**{p[1]}")
        ),
        pair.map(lambda p: (rf"\sqrt{{{p[0]}}}", f"√({p[1]})")),
        st.tuples(st.sampled_from(["sin", "cos", "tan", "ln", "exp"]), pair).map(
            lambda p: (rf"\{p[0]}\left({p[1][0]}\right)", f"{p[0]}({p[1][1]})")
        ),
        pair.map(lambda p: (f"|{p[0]}|", f"abs({p[1]})")),
        pair.map(lambda p: (f"({p[0]})!", f"factorial({p[1]})")),
    )


atoms = st.sampled_from(
    [("1", "1"), ("2", "2.0"), ("30", "30"), ("0.5", r"\frac12"), ("x", "x"), ("y", "{y}"), (r"\pi", "π"), ("e", "e")]
)
expressions = st.recursive(atoms, larger, max_leaves=8)


def check_expressions(pair):
    a, b = pair
    hypothesis.assume(reward._read(a)[1])  # 1/0 has no value
    start = time.perf_counter()
    assert equivalent(a, b) and equivalent(b, a)
    assert not equivalent(a, f"({b}) + 1")
    assert not equivalent(a, f"{b}, 1")
    assert time.perf_counter() - start < 3 * BOUND


def check_polynomials(p, q, data):
    a, b = (data.draw(st.sampled_from(polynomial_texts(p))) for _ in range(2))
    assert equivalent(a, b)
    if p != q and (p + [0] * 9)[:9] != (q + [0] * 9)[:9]:
        assert not equivalent(a, data.draw(st.sampled_from(polynomial_texts(q))))


def fuzz(max_examples):
    return settings(max_examples=max_examples, deadline=None, suppress_health_check=list(HealthCheck))


@fuzz(600)
@given(token_soup, token_soup)
def test_fuzz_token_soup(a, b):
    check_any_text(a, b)


@fuzz(400)
@given(raw_text, raw_text)
def test_fuzz_raw_text(a, b):
    check_any_text(a, b)


@fuzz(400)
@given(rationals, rationals, st.data())
def test_fuzz_rationals_written_two_ways(x, y, data):
    check_rationals(x, y, data)


@fuzz(100)
@given(polynomials, polynomials, st.data())
def test_fuzz_polynomials_written_two_ways(p, q, data):
    check_polynomials(p, q, data)


@fuzz(200)
@given(expressions)
def test_fuzz_expressions_written_two_ways(pair):
    check_expressions(pair)


@pytest.mark.slow
def test_fuzz_slow():
    fuzz(9000)(given(token_soup, token_soup)(check_any_text))()
    fuzz(4000)(given(raw_text, raw_text)(check_any_text))()
    fuzz(6000)(given(rationals, rationals, st.data())(check_rationals))()
    fuzz(2000)(given(expressions)(check_expressions))()
    fuzz(1000)(given(polynomials, polynomials, st.data())(check_polynomials))()


# ---- Command line ----------------------------------------------------------------------------------------------------


def run(*arguments):
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, str(REWARD), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )


def test_command_line():
    right, wrong = run(r"so \boxed{\frac{1}{2}}", "0.5"), run("no answer", "-5")
    assert (right.returncode, right.stdout) == (0, "correct\nextracted: \\frac{1}{2}\n")
    assert (wrong.returncode, wrong.stdout) == (0, "incorrect\nextracted: None\n")
    assert run("--help").returncode == 0 and "usage" in run("--help").stdout


def test_command_line_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"response": "#### 42", "answer": "42"}\n\n{"response": "none", "answer": "1"}\n')
    done = run("--file", str(path))
    assert done.returncode == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"correct": True, "extracted": "42"},
        {"correct": False, "extracted": None},
    ]
    assert done.stderr == "1 of 2 correct\n"
    assert run(f"--file={path}").stdout == done.stdout


@pytest.mark.parametrize(
    "content", [None, "not json\n", '{"response": "x"}\n', '["a", "b"]\n', '{"response": 1, "answer": "1"}']
)
def test_command_line_errors_are_one_line(content, tmp_path):
    path = tmp_path / "rows.jsonl"
    if content is not None:
        path.write_text(content)
    done = run("--file", str(path))
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "rows.jsonl" in done.stderr
    for arguments in ((), ("one",), ("a", "b", "c"), ("--unknown", "x")):
        done = run(*arguments)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and "--help" in done.stderr
