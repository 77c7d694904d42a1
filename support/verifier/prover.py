"""The prover: sympy in one bounded process. Are two expressions equal, or what is their ratio?

A clock would make an answer depend on how busy the machine is. So the worker counts sympy's calls
of Python functions, and in modules whose loops call nothing, each line. A question that needs more
than MAX_WORK is "unknown". The worker imports sympy, then forks for each question. So no question
finds caches that another one filled, and its process can end wherever sympy is. Without fork
(Windows) each question gets a new worker.

The worker starts on first need, serves any thread under a lock, and has a limit on memory. The one
clock is generous, and only for a stuck process: the worker is replaced and asked once more, and
such a failure is never remembered.
"""

import atexit
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import warnings
from contextlib import suppress
from functools import lru_cache

# Calls and lines for one question: 0.3 to 0.8 s. Most questions need less than a fiftieth of it.
MAX_WORK = 290_000
MAX_QUESTION = 20_000  # characters
MAX_EXPONENT = 500  # sympy computes a power as soon as it sees it
MAX_POWER_BITS = 1_000_000  # of such a power
MAX_PRIME_BITS = 1_000  # of a number that sympy asks whether it is prime
MAX_ARGUMENT = 10_000  # of a factorial or binomial
MEMORY_BYTES = 2 << 30  # of address space
START_SECONDS = 60.0  # for the worker to import sympy, which takes half a second
WALL_SECONDS = 10.0  # for one question; only a stuck process needs so long
# modules whose loops call nothing
LOOPS = """sympy.polys sympy.ntheory sympy.external sympy.core.intfunc mpmath.libmp.libelefun
    mpmath.libmp.libhyper mpmath.libmp.gammazeta mpmath.libmp.libintmath"""


@lru_cache(maxsize=256)  # the rollouts of a group repeat each other; an exception isn't remembered
def ask(question: str, a, b) -> tuple[str, int]:
    """(reply, work). The reply to "equal" is equal, different or unknown.

    The reply to "ratio" is positive, negative or unknown.
    """
    line = json.dumps([MAX_WORK, question, a, b], default=lambda number: number.as_integer_ratio())
    if len(line) > MAX_QUESTION:
        return "unknown", 0
    try:
        with WORKER.lock:
            return WORKER.ask(line)
    except OSError as error:
        # Never silently: False for every such answer would look like a bad policy.
        message = f"sympy's process failed, so an answer counts as wrong: {error}"
        warnings.warn(message, stacklevel=2)
        raise


class Worker:
    """Starts, asks, kills and replaces the process.

    A timer that kills it ends a blocking read, on any platform.
    """

    def __init__(self):
        self.lock = threading.RLock()
        self.process = None

    def ask(self, line: str) -> tuple[str, int]:
        """Ask once more if the process was gone before the question, or stuck."""
        for _ in range(2):
            if self.process is None:
                self.start()
            answer = self.exchange(line + "\n", WALL_SECONDS)
            if answer:
                word, work = answer.split()
                return word, int(work)
        raise TimeoutError(f"no reply within {WALL_SECONDS:g} seconds, twice")

    def start(self) -> None:
        # -P: nothing beside this file is imported.
        command = [sys.executable, "-P", os.path.abspath(__file__), "--worker"]
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        environment["PYTHONHASHSEED"] = "0"
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            start_new_session=True,
        )
        if self.exchange("", START_SECONDS) != "ready":
            self.stop()
            raise OSError("it ended before it was ready; is sympy installed?")

    def exchange(self, line: str, seconds: float) -> str:
        """Write a line, read a line.

        "" if the process died, of itself or because the time was up. Then it is gone.
        """
        timer = threading.Timer(seconds, self.kill)
        answer = ""
        timer.start()
        try:
            with suppress(OSError):
                self.process.stdin.write(line)
                self.process.stdin.flush()
                answer = self.process.stdout.readline().strip()
        finally:
            timer.cancel()
            timer.join()
            # Also after Ctrl-C: a reply that nobody read must not be taken for the next one's.
            if not answer:
                self.stop()
        return answer

    def kill(self) -> None:
        """Kill the process and its forks: it has a session of its own."""
        with suppress(OSError, AttributeError):  # it has ended; Windows has no groups of processes
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()

    def stop(self) -> None:
        """End the process, if there is one. A later question starts a new one."""
        with self.lock:
            if self.process:
                # `with` closes the pipes, even on an unsent line, and waits.
                with suppress(OSError), self.process:
                    self.kill()
            self.process = None


WORKER = Worker()
close = atexit.register(WORKER.stop)
if hasattr(os, "register_at_fork"):  # a forked child must not talk to its parent's worker
    os.register_at_fork(after_in_child=WORKER.__init__)

# ---- In the worker -------------------------------------------------------------------------------

SAME_NAMES = "sin cos asin acos atan sinh cosh tanh log floor binomial factorial"
SYMPY_NAMES = {name: name for name in SAME_NAMES.split()}
QUOTIENTS = {"tan": ["sin", "cos"], "cot": ["cos", "sin"], "sec": ["cos"], "csc": ["sin"]}
SYMPY_NAMES |= {"+": "Add", "*": "Mul", "^": "Pow", "abs": "Abs", "ceil": "ceiling"}


def serve() -> None:
    """Answer a JSON question a line with a line: the reply and its work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that asks
    limit_memory()
    gc.disable()  # a collection would copy every page of a fork, which ends soon anyway
    import sympy
    from sympy.core.random import seed

    sympy.Dummy._base_dummy_index = 10**6  # a random number, on which the order of terms depends
    warm_up(sympy)
    seed(2)  # sympy shuffles what it tries
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork() if hasattr(os, "fork") else 0
        if child == 0:
            reply(sympy, line)
        _, status = os.waitpid(child, 0)
        if status:  # it crashed, as with too deep a recursion in C
            print("unknown", MAX_WORK, flush=True)


def limit_memory() -> None:
    # Windows has no limits; a lower one is in force; macOS refuses.
    with suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, most))


def warm_up(sympy) -> None:
    """Compare n! and n (n-1)! (sin^2 n + cos^2 n), so that sympy imports what it needs later."""
    n = ["symbol", "n"]
    before = ["+", n, [-1, 1]]
    squares = [["^", ["call", name, n], [2, 1]] for name in ("sin", "cos")]
    left = ["call", "factorial", n]
    right = ["*", n, ["call", "factorial", before], ["+", *squares]]
    equal(sympy, left, right)
    ratio(sympy, left, right)


def reply(sympy, line: str) -> None:
    """Print the reply to a question and its work, and end the process."""
    limit, question, a, b = json.loads(line)
    work = 0

    def end(word: str) -> None:
        sys.settrace(None)
        with suppress(OSError):  # nobody waits for it any more
            print(word, work, flush=True)
        os._exit(0)

    def count(frame, event, argument):
        nonlocal work
        name = frame.f_code.co_name
        # A dict calls these; how often depends on the addresses of classes.
        if name in ("__eq__", "_hashable_content"):
            return None
        work += 1
        if work > limit:
            end("unknown")
        if name in ("isprime", "_eval_power") and is_long(name, frame.f_locals):
            end("unknown")
        counts_lines = frame.f_globals.get("__name__", "").startswith(tuple(LOOPS.split()))
        return count if counts_lines else None

    try:
        sys.settrace(count)
        word = equal(sympy, a, b) if question == "equal" else ratio(sympy, a, b)
    except Exception:  # noqa: BLE001  whatever sympy stumbles over, it has proved nothing
        word = "unknown"
    end(word)


def is_long(function: str, local: dict) -> bool:
    """Is this a long call in C, which can't be counted?

    That is a large power, or a question whether a large number is prime.
    """
    if function == "isprime":
        n = local.get("n")
        return isinstance(n, int) and n.bit_length() > MAX_PRIME_BITS
    base = local.get("self")
    exponent = local.get("expt")
    if not getattr(base, "is_Rational", False) or not getattr(exponent, "is_Integer", False):
        return False
    bits = rational_bits(base)
    return bits > 1 and bits * abs(exponent.p) > MAX_POWER_BITS


def rational_bits(number) -> int:
    return max(abs(number.p), number.q).bit_length()


def build(sympy, value, **assumptions):
    """The sympy expression of a value.

    Whatever it doesn't know, or would compute at length, is a symbol of itself.
    """
    kind, *parts = value
    if isinstance(kind, int):
        return sympy.Rational(*value)
    if kind == "symbol":
        constant = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I}.get(parts[0])
        return constant or sympy.Symbol(parts[0], **assumptions)
    function = parts.pop(0) if kind == "call" else kind
    if function in QUOTIENTS:  # tan x is sin x / cos x
        *upper, lower = [["call", name, *parts] for name in QUOTIENTS[function]]
        inverse = ["^", lower, [-1, 1]]
        return build(sympy, ["*", *upper, inverse], **assumptions)
    if function in SYMPY_NAMES:
        arguments = [build(sympy, part, **assumptions) for part in parts]
        if is_small(sympy, function, arguments):
            return getattr(sympy, SYMPY_NAMES[function])(*arguments)
    return sympy.Symbol(json.dumps(value), **assumptions)


def is_small(sympy, function: str, arguments: list) -> bool:
    """Is the number small that sympy would compute as soon as it sees this?"""
    if function in ("factorial", "binomial"):
        return all(not x.is_Rational or abs(x) <= MAX_ARGUMENT for x in arguments)
    if function == "^":
        return is_small_power(sympy, *arguments)
    return True


def is_small_power(sympy, base, exponent) -> bool:
    computed = exponent.is_Rational or exponent.has(sympy.log)  # e^(n log 2) is 2^n
    numbers = exponent.atoms(sympy.Rational) if computed else ()
    small = all(abs(number) <= MAX_EXPONENT for number in numbers)
    if base.is_Symbol and exponent.is_Integer and abs(exponent) <= MAX_ARGUMENT:
        small = True
    coefficient, _ = base.as_coeff_Mul()  # a rational base, or the 2 of 2x
    if (small or base.is_Rational) and coefficient.is_Rational and exponent.is_Rational:
        return rational_bits(coefficient) * abs(exponent) <= MAX_POWER_BITS
    return small


def equal(sympy, a, b) -> str:
    """Are two expressions equal?

    "equal" if sympy proves it for positive variables, and no sample point, negative ones included,
    denies it.
    """
    x = build(sympy, a, real=True)
    y = build(sympy, b, real=True)
    difference = x - y
    if vanishes(sympy, difference):
        return "equal"
    if difference.has(sympy.nan, sympy.oo, sympy.zoo):
        return "unknown"
    symbols = sorted(difference.free_symbols, key=str)
    for values in sample_points(sympy, symbols):
        sides = [side.evalf(20, subs=values, maxn=200, chop=True) for side in (x, y)]
        if not difference.has(sympy.I) and not all(side.is_real for side in sides):
            continue  # outside the domain of one of them
        # strict: 20 digits that are certain, or an exception. A zero gives an exception too.
        with suppress(ArithmeticError):
            gap = difference.evalf(20, subs=values, maxn=200, strict=True)
            if gap.is_number and gap.is_finite and gap != 0:
                return "different"
    return prove_zero(sympy, build(sympy, a, positive=True) - build(sympy, b, positive=True))


def sample_points(sympy, symbols: list):
    """Values for the symbols: one point without symbols, else six."""
    for point in range(6 if symbols else 1):
        values = {}
        for i, symbol in enumerate(symbols):
            samples = [
                (3 * i + 2, 3 * i + 5),  # between 0 and 1
                (5 * i + 11, 7),  # above 1
                (-4 * i - 5, 3),  # negative
                ((-1) ** i * (7 * i + 4), 5),  # of both signs
                (-13 * i - 95, 2),  # far below 0
                (3 * i - 1, 2),  # one negative
            ]
            values[symbol] = sympy.Rational(*samples[point])
        yield values


def vanishes(sympy, expression) -> bool:
    """Is it 0 once it has one denominator and no brackets?"""
    numerator, _ = sympy.fraction(sympy.together(expression))
    return expression == 0 or sympy.expand(numerator) == 0


def prove_zero(sympy, difference) -> str:
    if difference.is_algebraic:  # a number made of roots
        unknown = sympy.Dummy()
        is_zero = sympy.minimal_polynomial(difference, unknown) == unknown
        return "equal" if is_zero else "different"

    def in_exponentials(expression):
        return expression.rewrite(sympy.exp)

    def with_factors(expression):
        return sympy.factor(expression, deep=True)

    if is_multiple_of_pi(sympy, difference):
        return "equal"  # as it is near 0
    # Quick, and nearly always enough.
    for rewrite in (sympy.expand, in_exponentials, sympy.gammasimp, with_factors):
        if vanishes(sympy, rewrite(difference)):
            return "equal"
    if sympy.simplify(difference) == 0 or difference.equals(0):
        return "equal"
    return "unknown"


def is_multiple_of_pi(sympy, number) -> bool:
    """Is its tangent 0? Sums of arctangents are compared so."""
    if number.free_symbols or not number.has(sympy.atan):
        return False
    return sympy.simplify(sympy.expand_trig(sympy.tan(number))) == 0


def ratio(sympy, a, b) -> str:
    """The sign of a / b if that is a constant: then a = 0 and b = 0 are the same equation.

    "constant" if it is complex, or only that of the numerators: P = IV and I = P/V.
    """
    x = build(sympy, a, real=True)
    y = build(sympy, b, real=True)
    if not x.free_symbols or not y.free_symbols:  # 2 = 3 and 4 = 5
        return "unknown"
    quotient = sympy.simplify(x / y)
    reply = "positive" if quotient.is_positive else "constant"
    if quotient.is_negative:
        reply = "negative"
    if not quotient.is_number:
        reply = "constant"
        upper, lower = [sympy.fraction(sympy.together(side))[0] for side in (x, y)]
        quotient = sympy.simplify(upper / lower)
    is_constant = quotient.is_number and quotient.is_finite and quotient.is_zero is False
    return reply if is_constant else "unknown"


if __name__ == "__main__" and sys.argv[1:] == ["--worker"]:
    serve()
