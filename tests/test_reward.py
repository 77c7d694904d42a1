r"""The verifier: right pairs and wrong pairs of every kind, hostile input, threads, and fuzzing.

pytest tests/test_reward.py                 under a minute
pytest tests/test_reward.py -m slow         20,000 examples
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import hypothesis
import pytest
from answers import page, pairs, verdict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import reward
from reward import equivalent, extract, verify, verify_batch
from support.verifier import prover
from support.verifier.compare_values import same_answer
from support.verifier.latex import Unreadable, read_answer, read_reference
from support.verifier.spelling import plain_number

REWARD = Path(reward.__file__)
BOUND = 6  # seconds, for one verdict on a busy machine; 1 on a quiet one


@pytest.fixture(scope="session", autouse=True)
def no_worker_left():
    yield
    prover.close()
    assert prover.WORKER.process is None


# ---- Extraction ----------------------------------------------------------------------------------


EXTRACTED = [
    (r"\boxed{42}", "42"),
    (r"so $x = \boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
    (r"\fbox{7}", "7"),
    (r"\boxed {42}", "42"),
    (r"\boxed{41} no, wait \boxed{42}", "42"),
    (r"\boxed{41}, and \fbox{42}", "42"),
    (r"\boxed{\boxed{42}}", "42"),
    (r"\boxed{x = \boxed{42}}", r"x = \boxed{42}"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    (r"\boxed{41 no \boxed{42}", "42"),
    (
        r"\boxed{41} then \boxed{42",
        None,
    ),  # the last box is never closed: no answer, not the earlier one
    (r"stray } and { before \boxed{42}", "42"),
    ("#### 42", "42"),
    ("#### 41\nthen\n#### 42\nbye", "42"),
    (r"so $\boxed{3}, \boxed{5}, \boxed{7}$.", "3, 5, 7"),
    (r"$x=\boxed{1}$ and $x=\boxed{-2}$.", "x=1 and x=-2"),
    (r"\boxed{3} or $\boxed{5}$", "3 or 5"),
    (r"The answer is \boxed{12} or possibly \boxed{15}.", "12 or 15"),
    (r"\boxed{12}. Or it might be \boxed{15}", "12 or 15"),
    (r"\boxed{12} (or \boxed{15})", "12 or 15"),
    (r"\boxed{12}, alternatively \boxed{15}", "12 or 15"),
    (r"\boxed{12} but it could also be \boxed{15}", "12 or 15"),
    (r"\boxed{12}/\boxed{15}", "12, 15"),
    (r"\boxed{12}, or rather \boxed{15}", "15"),
    (r"\[\boxed{3}\] \text{and} \[\boxed{5}\]", "3 and 5"),
    (r"\boxed{42}, \boxed{42}", "42"),
    (r"\boxed{41}. \boxed{42}", "42"),
    (r"\boxed{41} and so \boxed{42}", "42"),
    (r"\boxed{41}, and \fbox{42}", "42"),
    (r"n=\boxed{5}", "5"),
    (r"so \boxed 42.", "42."),
    (r"$\boxed x$", "x"),
    (r"in a \boxed format. #### 42", "42"),
    (r"\theta=\boxed{1},\ \theta=\boxed{2}", r"\theta=1, \theta=2"),
    ("#### 42<|im_end|>", "42"),
    ("#### 41\n#### ", None),
    (r"\boxed{42} #### 41", "42"),
    (r"\boxed{}", None),
    (r"\boxed{ }", None),
    ("the answer is 42", None),
    ("", None),
    (r"\boxed5", None),
    (None, None),
]


@pytest.mark.parametrize("response, answer", EXTRACTED)
def test_extract(response, answer):
    assert extract(response) == answer


def test_without_a_text_to_compare_the_verdict_is_false():
    assert not verify("the answer is 42", "42")
    assert not verify(r"\boxed{}", "")
    assert not verify(None, "42")
    assert not equivalent("42", 42)


# ---- Every kind of answer: tests/answers.jsonl has the cases -------------------------------------

PAIRS = [(pair["kind"], verdict(pair), pair["prediction"], pair["answer"]) for pair in pairs()]


@pytest.mark.parametrize("kind, equal, a, b", PAIRS)
def test_pairs(kind, equal, a, b):
    assert equivalent(a, b) is equivalent(b, a) is equal


def test_the_documentation_has_these_cases():
    """python tests/answers.py > support/verifier/answers.md"""
    path = REWARD.parent / "support/verifier/answers.md"
    assert path.read_text(encoding="utf-8") == page() + "\n"


# ---- Hostile input: never an exception, never late, never run ------------------------------------

HOSTILE = [
    r"\{1," * 35 + "1" + r"\}" * 35,
    r"\{x,\{y,1\}," * 30 + "1" + r"\}" * 30,  # compared with others of their shape
    "9^9^9^9",
    "10!!!!!!",
    "((10!)!)!",
    "factorial(10**9)",
    r"\binom{10^9}{5\cdot 10^8}",
    r"\sum_{i=1}^{10^{12}} i^i",
    r"\int e^{x^2}\sin(x^3)\ln(x^5+1) dx",
    r"\lim_{x\to 0} \sin(1/x)^{x^{-x}}",
    "0.1^{10^{9}}",
    "nextprime(10**500)",
    r"(10^{10^9}) \bmod 7",
    r"(x+1)^{10^9}",
    "(x+y+z+w)^{400}-x",
    r"(1+\sqrt2)^{499}",
    r"\sin(10^{10^{10}})",
    "1e999999999",
    "1e-400",
    "e^{e^{e^{e^{10}}}}",
    "2^{2^{x}}",
    r"\sin(" * 300 + "x" + ")" * 300,
    "(" * 5000 + "42" + ")" * 4999,
    "[" * 9000,
    r"\frac{1}{" * 1000 + "1" + "}" * 1000,
    "^".join("a" * 5000),
    "1," * 4000,
    r"\{" * 50 + r"\pm 1," * 50,
    "-" * 9000 + "1",
    "(" + r"\pm 1, \{(" * 15 + "1" + r")\}" * 15 + ")",
    r"2\frac{" * 40,
    "1 " * 4999,
    "|" * 9000,
    "x_{" * 3000,
    "\\" * 9999,
    r"\text{" * 1500,
    r"\sqrt[" * 1000,
    "x+" * 4000,
    "2^{13000}+" * 800 + "1",
    "9" * 9999,
    "0." + "3" * 9000,
    "1/" * 4999 + "1",
    r"\sqrt{" * 39 + "x" + "}" * 39,
    "((2^{499/7})^{499/11})^{499/13}",
    "+".join(f"\\sqrt{{{n}}}" for n in range(2, 60)),
    r"\prod_{n=1}^{\infty} n",
    "√" * 5000,
    "\u202e24",
    "\ud800",
    "\x00",
    "ﷺ" * 9000,
    r"\begin{pmatrix}" * 500,
    "{" * 9000,
    r"\tan(\tan(\tan(\tan(\tan(x^{7}+y^{9})))))-\tan(y)",
    r"\cos(x)^{99}\sin(y)^{77}+\tan(x+y)^{55}",
    "(x-x+10^9)!",
    "2^{x-x+10^9}",
    r"e^{10^9\ln 2}",
    r"3^{\frac{10^9\ln 5}{\ln 3}}",
    "(((2^{400}x)^{500})^{500})^{500}",
    r"\binom{x}{10^8}",
    r"\binom{10^9}{x}",
    r"\sin(e^{e^{20}})",
    r"\lfloor (1+\sqrt2)^{499} \rfloor",
    "e^{e^{e^{30}}}",
    r"\phantom{" * 1000,
    "]a," * 3000,
    "1 x " * 2500,
    r"\begin{aligned}" * 600,
    r"\left\{\begin{array}" * 400,
    "(I) " * 2500,
    r"\{x | " * 1500,
    r"x>0\text{ and }" * 600 + "x>1",
    "x \\ne 1, " * 1000,
    r"\pm" * 4000,
    r"(\pm1)" * 4 + r"\{\pm1," * 30,
    "one " * 2400,
    "minus " * 1600,
    r"5\text{ m" + "(" * 2000 + "s",
    "0." + "12" * 2000 + r"\ldots",
    r"\mathbb{R}\setminus" * 500,
    "f(" * 3000 + ")" * 3000 + "=1",
    r"\bar" * 2500 + "x",
    r"\sum_{i=1}^n" * 700 + "i",
    r"x\in" * 2000 + "(0,1)",
    "¤" * 9000,
    "(" * 30 + "1,000" + ")" * 30 + ", 1" * 3000,
    "x^{1000000000}+" * 500 + "1",
    "(1+x)^{9999}(1-x)^{9999}-1",
    r"\text{Answer: }" * 600,
    r"\binom{e^{\lfloor 2^{400}\rfloor}}{(\ln\pi)^{40}}-499^{500}",
    r"\sin(\ln(1/7)\lfloor 2^{400}\rfloor)",
]
INJECTIONS = [
    '__import__("os").system("touch {}")',
    "open('{}','w')",
    "exec(\"open('{}','w')\")",
    "().__class__.__base__.__subclasses__()",
    "Symbol(\"__import__('os').system('touch {}')\")",
    "lambda: open('{}','w')",
    "x.__class__",
    "globals()",
    "input()",
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:20])
def test_hostile_input_is_wrong_in_time(text):
    nested = r"\{2," * 35 + "1" + r"\}" * 35
    nested_twice = r"\{2,\{z,3\}," * 30 + "1" + r"\}" * 30
    for answer in ("42", "x+1", r"\sqrt{2}", nested, nested_twice):
        start = time.perf_counter()
        assert not equivalent(text, answer)
        assert time.perf_counter() - start < BOUND
    start = time.perf_counter()
    assert not verify(rf"\boxed{{{text}}}", "42")
    assert not verify(f"#### {text}", "42")
    assert time.perf_counter() - start < BOUND


RESPONSES = [
    "1 " * 100_000,
    r"\boxed{" * 30_000,
    r"\boxed{" * 20_000 + "42" + "}" * 20_000,
    "}" * 200_000,
    "\\" * 200_000,
    "#" * 200_000,
    r"\(" * 40_000,
    "{" * 200_000,
    r"\boxed" * 30_000,
    r"\boxed " + " " * 190_000,
    r"\fbox{\boxed" * 15_000,
]


@pytest.mark.parametrize("response", RESPONSES, ids=lambda text: text[:8])
def test_hostile_responses_are_searched_in_time(response):
    start = time.perf_counter()
    extract(response)
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize("template", INJECTIONS)
def test_model_text_is_never_run(template, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = template.replace("{}", "pwned")
    for answer in ("42", "x+1", r"\sqrt{2}", text + "+1"):
        for wrapped in (text, f"${text}$", f"{text} + x", rf"\sqrt{{{text}}}"):
            assert not equivalent(wrapped, answer)
    assert not list(tmp_path.iterdir())


# ---- The worker ----------------------------------------------------------------------------------


def test_rational_answers_need_neither_sympy_nor_the_worker():
    code = (
        "import sys, reward, threading\n"
        "from support.verifier.prover import WORKER\n"
        "assert reward.verify(r'\\boxed{\\frac{3}{6}}', r'50\\%')\n"
        "assert not reward.verify('#### 1,234', '1235')\n"
        "assert not {'sympy', 'torch'} & set(sys.modules)\n"
        "assert WORKER.process is None and threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REWARD.parent)


def test_worker_is_replaced_when_it_dies_and_gone_after_close():
    assert equivalent("x(x+1)", "x^2+x")
    first = prover.WORKER.process
    first.kill()
    first.wait()
    assert equivalent("x(x+2)", "x^2+2x")
    second = prover.WORKER.process
    prover.close()
    prover.close()
    assert second.poll() is not None
    assert equivalent("x(x+3)", "x^2+3x")


def test_answer_that_came_too_late_is_not_remembered(monkeypatch):
    """The clock strikes twice: the answer is wrong this once, with a warning.

    It is right as soon as the worker replies.
    """
    pair = ("(x-11)^2", "x^2-22x+121")
    prover.close()
    monkeypatch.setattr(prover, "WALL_SECONDS", 0.0)
    with pytest.warns(UserWarning, match="no reply"):
        assert not equivalent(*pair)
    monkeypatch.undo()
    assert equivalent(*pair)


def test_stuck_worker_is_replaced_and_asked_once_more(monkeypatch, recwarn):
    """The clock strikes once, while the worker doesn't answer: the verdict is right, silently."""
    assert equivalent("x(x+4)", "x^2+4x")
    stuck = prover.WORKER.process
    os.kill(stuck.pid, signal.SIGSTOP)
    monkeypatch.setattr(prover, "WALL_SECONDS", 1.0)
    monkeypatch.setattr(prover.Worker, "start", start_patiently(monkeypatch))
    assert equivalent("x(x+5)", "x^2+5x")
    assert stuck.poll() is not None and not recwarn.list


def start_patiently(monkeypatch):
    """A start after which the clock is generous again."""
    start = prover.Worker.start

    def patient(worker):
        monkeypatch.setattr(prover, "WALL_SECONDS", 60.0)
        start(worker)

    return patient


def test_interrupted_question_leaves_no_reply_behind(monkeypatch):
    assert equivalent("x(x+8)", "x^2+8x")

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(prover.WORKER.process.stdout, "readline", interrupted)
    with pytest.raises(KeyboardInterrupt):
        equivalent("x(x+9)", "x^2+9x")
    assert not equivalent("x(x+10)", "x^2+9x")


def test_worker_that_does_not_start_makes_a_verdict_false(monkeypatch):
    prover.close()
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    with pytest.warns(UserWarning, match="sympy's process failed"):
        assert not equivalent("x(x+7)", "x^2+7x")
    monkeypatch.undo()
    assert equivalent("x(x+7)", "x^2+7x")


def test_script_without_main_guard_is_not_imported_again(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(REWARD.parent)!r})\nimport reward\n"
        "print('started')\nprint(reward.equivalent('x(x+1)', 'x^2+x'))\n"
        "from support.verifier import prover\nprint(prover.WORKER.process.pid)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], check=False, capture_output=True, text=True, timeout=60
    )
    started, verdict, pid = done.stdout.split()
    assert (started, verdict, done.stderr) == ("started", "True", "")
    with pytest.raises(ProcessLookupError):  # gone at exit, without close()
        os.kill(int(pid), 0)


def test_threads_give_the_verdicts_of_one_thread():
    limit = sys.get_int_max_str_digits()  # which is the program's, not ours to change
    pairs = [(a, b) for _, _, a, b in PAIRS] + [(text, "42") for text in HOSTILE[:20]]
    tasks = [pairs[i % len(pairs)] for i in range(1000)]
    expected = [equivalent(*task) for task in tasks]
    prover.close()
    before = threading.active_count()

    def run(name):
        order = range(len(tasks)) if name % 2 else range(len(tasks) - 1, -1, -1)
        found = {i: equivalent(*tasks[i]) for i in order}
        return [found[i] for i in range(len(tasks))]

    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(run, range(8)))
    process = prover.WORKER.process
    prover.close()
    assert threading.active_count() == before
    assert process is None or process.poll() is not None
    assert sys.get_int_max_str_digits() == limit


# ---- Work is counted, not timed ------------------------------------------------------------------

QUESTIONS = [  # quick and slow ones, one that never ends
    (r"\sqrt{3+2\sqrt2}", r"1+\sqrt2"),
    ("n!", r"n\cdot(n-1)!"),
    (r"\sinh x", r"\frac{e^x-e^{-x}}{2}"),
    ("x(x+1)", "x^2+x"),
    (r"\sin 2x", r"2\sin x\cos x"),
    ("e^{e^{e^{30}}}", "e^{e^{e^{30}}}+1"),
    (r"\cos(\pi/5)", r"\frac{1+\sqrt5}{4}"),
    ("x", "|x|"),
]


def answers(pairs) -> list[tuple[str, int]]:
    """The worker's reply to each pair, and its count of work: nothing from the cache."""
    prover.ask.cache_clear()
    return [prover.ask("equal", read_answer(a)[1][0], read_answer(b)[1][0]) for a, b in pairs]


def test_a_count_does_not_depend_on_earlier_questions():
    forward = answers(QUESTIONS)
    backward = answers(QUESTIONS[::-1])[::-1]
    prover.close()
    alone = answers(QUESTIONS[1:2])  # by a new worker
    assert forward == backward and forward[1:2] == alone
    assert [reply for reply, _ in forward] == ["equal"] * 5 + ["unknown", "equal", "different"]
    most = max(work for reply, work in forward if reply == "equal")
    assert most < prover.MAX_WORK / 2  # there is room


def test_the_limit_is_exact_whatever_was_asked_before(monkeypatch):
    pair = QUESTIONS[2]
    work = answers([pair])[0][1]
    for before in ([], QUESTIONS[:2], QUESTIONS[3:5]):
        answers(before)
        for limit, expected in ((work, "equal"), (work - 1, "unknown")):
            monkeypatch.setattr(prover, "MAX_WORK", limit)
            assert answers([pair])[0][0] == expected
        monkeypatch.undo()


def test_a_busy_machine_changes_no_verdict_and_no_count():
    pairs = QUESTIONS[:2] + QUESTIONS[5:6]
    quiet = answers(pairs)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        assert answers(pairs) == quiet
        prover.ask.cache_clear()
        assert [equivalent(a, b) for a, b in pairs] == [True, True, False]
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_a_verdict_asks_nothing_more_once_it_has_used_its_work():
    used = []

    def ask(question, a, b):
        used.append(300_000)
        return "unknown", 300_000

    roots = [",".join(rf"\sqrt{{{n}}}" for n in range(first, first + 9)) for first in (2, 102)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prover, "ask", ask)
        assert not equivalent(*roots)
    assert prover.MAX_WORK < sum(used) <= 2 * prover.MAX_WORK


def test_many_questions_in_one_verdict_are_bounded():
    roots = [",".join(rf"\sqrt{{{n}}}" for n in range(first, first + 70)) for first in (2, 102)]
    start = time.perf_counter()
    assert not equivalent(*roots)
    assert time.perf_counter() - start < BOUND


# ---- Batches -------------------------------------------------------------------------------------


def test_batch():
    responses = [r"\boxed{0.5}", r"\boxed{2}", "nothing", "#### 1,000"]
    assert verify_batch(responses, ["1/2", "3", "4", "1000"]) == [True, False, False, True]
    read_reference.cache_clear()
    verify_batch([rf"\boxed{{x+{i}}}" for i in range(8)], ["x+3"] * 8)
    assert read_reference.cache_info().misses == 1


# ---- Fuzzing -------------------------------------------------------------------------------------

ALPHABET = [
    "\\frac", "\\sqrt", "{", "}", "(", ")", "[", "]", "^", "_", "+", "-", "*", "/", "!", "|", ",",
    ";", "=", "<", ">", "1", "2", "10", "0", "1.5", "x", "y", "e", "i", "\\pi", "\\pm", "\\sin",
    "\\log", "\\infty", "\\cup", "\\in", "\\text{ cm}", " and ", "%", "\\{", "\\}", "\\%", "$", " ",
    "\\begin{pmatrix}", "\\end{pmatrix}", "\\\\", "&", "°", "\\binom", "\\lfloor", "\\rfloor", ":",
    "\\approx", "²", "½", "apples", "\\sum", "99999999999", "'", ".", "\\cap", "\\setminus",
    "\\mid", " or ", " for all ", " where ", " if ", "\\dots", "\\bar", "\\mathbb{R}", "\\ne", "≥",
    "\\text{ is }", "\\begin{cases}", "\\end{cases}", "f(", "P(", "k", "\\$", "€", "\\text{ m/s}",
    "half", "two", "hundred", "minus ", "(A) ", "A: ", "\\mp", "\\text{all real numbers except }",
    "squared", "\\circ", "dx",
]  # fmt: skip
token_soup = st.lists(st.sampled_from(ALPHABET), max_size=30).map("".join)
raw_text = st.text(max_size=60)


def check_any_text(a, b):
    text, other = a.strip(), b.strip()
    start = time.perf_counter()
    forward = False
    with suppress(Unreadable):
        forward = same_answer(text, other)  # without the net, which would hide an exception
    assert time.perf_counter() - start < BOUND
    assert equivalent(a, b) == equivalent(b, a)
    if plain_number(text) is None and text != other:
        assert equivalent(a, b) == forward
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
    return [
        " + ".join(terms),
        "+".join(reversed(terms)),
        horner,
        rf"\frac{{2({'+'.join(terms)})}}{{2}}",
    ]


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


ATOMS = [
    ("1", "1"),
    ("2", "2.0"),
    ("30", "30"),
    ("0.5", r"\frac12"),
    ("x", "x"),
    ("y", "{y}"),
    (r"\pi", "π"),
    ("e", "e"),
]
# Expressions of A and B, each in two ways: operands swapped, other commands and brackets.
LARGER = [
    ("(A+B)", r"\left(B + A\right)"),
    ("(A*B)", r"(B) \cdot (A)"),
    (r"\frac{A}{B}", "(A)/(B)"),
    (r"\sqrt{A}", "√(A)"),
    ("|A|", "abs(A)"),
    ("(A)!", "factorial(A)"),
    (r"\tan\left(A\right)", "tan(A)"),
    (r"\sin{A}", "sin(A)"),
    (r"\ln\left(A\right)", "log(A)"),
    (r"\exp(A)", "e^{A}"),
    ("(A)^3", "(A)**3"),
    ("A^{-1}", "1/(A)"),
    ("(A)^{40}", "{A}**40"),
    ("(A)^{1000000000}", "(A)**1000000000"),
]


def larger(pair):
    """Expressions around expressions that are themselves written in two ways."""

    def fill(parts):
        forms, first, second = parts
        texts = [form.replace("A", f"({a})") for form, a in zip(forms, first, strict=True)]
        return tuple(text.replace("B", b) for text, b in zip(texts, second, strict=True))

    return st.tuples(st.sampled_from(LARGER), pair, pair).map(fill)


expressions = st.recursive(st.sampled_from(ATOMS), larger, max_leaves=8)


def check_expressions(pair):
    a, b = pair
    hypothesis.assume(read_answer(a)[1])  # 1/0 has no value
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


FUZZ = {  # what is checked, of what, in how many examples: normally, and in the slow test
    "tokens": (check_any_text, (token_soup, token_soup), 600, 9000),
    "raw text": (check_any_text, (raw_text, raw_text), 400, 4000),
    "rationals": (check_rationals, (rationals, rationals, st.data()), 400, 6000),
    "polynomials": (check_polynomials, (polynomials, polynomials, st.data()), 100, 1000),
    "expressions": (check_expressions, (expressions,), 200, 2000),
}


RUNS = [(name, 0) for name in FUZZ]
RUNS += [pytest.param(name, 1, marks=pytest.mark.slow) for name in FUZZ]


@pytest.mark.parametrize("name, slow", RUNS)
def test_fuzz(name, slow):
    check, strategies, *examples = FUZZ[name]
    most = examples[slow]
    profile = settings(max_examples=most, deadline=None, suppress_health_check=list(HealthCheck))
    profile(given(*strategies)(check))()


# ---- Command line --------------------------------------------------------------------------------


def run(*arguments):
    command = [sys.executable, str(REWARD), *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, env=environment
    )


def test_command_line(tmp_path):
    right, wrong = run(r"so \boxed{\frac{1}{2}}", "0.5"), run("no answer", "-5")
    assert (right.returncode, right.stdout) == (0, "correct\nextracted: \\frac{1}{2}\n")
    assert (wrong.returncode, wrong.stdout) == (0, "incorrect\nextracted: None\n")
    assert run("--help").returncode == 0 and "usage" in run("--help").stdout
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"response": "#### 42", "answer": "42"}\n\n{"response": "none", "answer": "1"}\n'
    )
    done = run("--file", str(path))
    rows = [
        {"response": "#### 42", "answer": "42", "correct": True, "extracted": "42"},
        {"response": "none", "answer": "1", "correct": False, "extracted": None},
    ]
    assert done.returncode == 0 and [json.loads(line) for line in done.stdout.splitlines()] == rows
    assert done.stderr == "2 pairs: 1 correct, 1 without an answer\n"
    assert run(f"--file={path}").stdout == done.stdout


def test_a_response_or_answer_may_look_like_an_option_or_be_empty():
    for response, answer in (
        ("-3", "-3"),
        ("--", "x"),
        ("--3 #### 4", "4"),
        ("", ""),
        ("a", "--b"),
    ):
        done = run(response, answer)
        verdict = "correct" if verify(response, answer) else "incorrect"
        assert done.returncode == 0 and done.stderr == ""
        assert done.stdout == f"{verdict}\nextracted: {extract(response)}\n"


@pytest.mark.parametrize("matrix", ["", "k & 1", "1 & k"])
def test_a_series_of_matrices_is_read(matrix):
    series = rf"\sum_{{k=1}}^n\begin{{pmatrix}}{matrix}\end{{pmatrix}}"
    assert equivalent(series, series.replace("k", "i"))  # one name for the index, everywhere
    assert not equivalent(series, "1")
    if matrix:
        assert not equivalent(series, series.replace("{k=1}", "{i=1}"))


def test_the_command_imports_no_torch():
    """Which takes seconds."""
    command = [sys.executable, "-X", "importtime", str(REWARD), "#### 4", "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = [line.split("|")[-1].strip() for line in done.stderr.splitlines()]
    assert "support.verifier.grade" in imported and "torch" not in imported


def test_a_notebook_may_run_the_command_and_then_import_the_module():
    """%run clears the module that it ran, so nothing may go on using it."""
    script = f"""
import runpy, sys
sys.argv = ["reward.py", "4", "4"]
sys.path.insert(0, {str(REWARD.parent)!r})
ran = runpy.run_path({str(REWARD)!r}, run_name="__main__")
ran.clear()
from reward import verify
assert verify("#### 4", "4") and sys.modules["reward"].__name__ == "reward"
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_command_line_errors_are_one_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    broken = ["not json\n", '{"response": "x"}\n', '["a", "b"]\n', '{"response": 1, "answer": "1"}']
    for content in (None, *broken):
        if content is not None:
            path.write_text(content)
        done = run("--file", str(path))
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.count("\n") == 1 and "rows.jsonl" in done.stderr
    path.write_text('{"response": "x", "answer": "1"}\n\n{"response": "x"}\n')
    assert "rows.jsonl, line 3: expected" in run("--file", str(path)).stderr
    for arguments in ((), ("one",), ("a", "b", "c"), ("--unknown", "x")):
        done = run(*arguments)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and "--help" in done.stderr
