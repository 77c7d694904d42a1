"""The prover under reward.py: sympy in one bounded process. It says whether two expressions are equal, or their ratio.

A clock would make an answer depend on how busy the machine is. So the worker counts sympy's work: each call of a Python
function, and in modules whose loops call nothing, each line. A question that needs more than MAX_WORK is "unknown".
The worker imports sympy, then forks for each question. So no question finds caches that another one filled, its count
depends on itself alone, and its process can end wherever sympy is. Without fork (Windows) each gets a new worker.

The worker starts on first need, serves any thread under a lock, and has a limit on memory. The one clock is generous,
and only for a stuck process: the worker is replaced and asked once more, and such a failure is never remembered.
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

MAX_WORK = (
    500_000  # calls and lines for one question: 0.3 to 0.6 s; most need less than a fiftieth of it
)
MAX_QUESTION = 20_000  # characters
MAX_EXPONENT = 500  # sympy computes a power as soon as it sees it
MAX_POWER_BITS = 1_000_000  # of such a power
MAX_PRIME_BITS = 1_000  # of a number that sympy asks whether it is prime
MAX_ARGUMENT = 10_000  # of a factorial or binomial
MEMORY_BYTES = 2 << 30  # of address space
START_SECONDS = 60.0  # for the worker to import sympy, which takes half a second
WALL_SECONDS = 10.0  # for one question; only a stuck process needs so long
LOOPS = (
    "sympy.polys",
    "sympy.ntheory",
    "sympy.external",
    "sympy.core.intfunc",
)  # modules whose loops call nothing
LOOPS += (
    "mpmath.libmp.libelefun",
    "mpmath.libmp.libhyper",
    "mpmath.libmp.gammazeta",
    "mpmath.libmp.libintmath",
)


@lru_cache(maxsize=256)  # the rollouts of a group repeat each other; an exception isn't remembered
def ask(question: str, a, b) -> tuple[str, int]:
    """(reply, work): "equal" is answered by equal, different or unknown, "ratio" by positive, negative or unknown."""
    line = json.dumps(
        [MAX_WORK, question, a, b], default=lambda value: ["rational", *value.as_integer_ratio()]
    )
    if len(line) > MAX_QUESTION:
        return "unknown", 0
    try:
        with WORKER.lock:
            for _ in range(2):  # once more if the process was gone before the question, or stuck
                if WORKER.process is None:
                    WORKER.start()
                if reply := WORKER.exchange(line + "\n", WALL_SECONDS):
                    word, work = reply.split()
                    return word, int(work)
        raise TimeoutError(f"no reply within {WALL_SECONDS:g} seconds, twice")
    except (
        OSError
    ) as error:  # never silently: False for every such answer would look like a bad policy
        warnings.warn(
            f"sympy's process failed, so an answer counts as wrong: {error}", stacklevel=2
        )
        raise


class Worker:
    """Starts, asks, kills and replaces the process. A timer that kills it ends a blocking read, on any platform."""

    def __init__(self):
        self.lock = threading.RLock()
        self.process = None

    def start(self) -> None:
        command = [
            sys.executable,
            "-P",
            os.path.abspath(__file__),
            "--worker",
        ]  # -P: nothing beside it is imported
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "PYTHONHASHSEED": "0",
        }
        streams = dict(
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.process = subprocess.Popen(command, **streams, env=environment, start_new_session=True)
        if self.exchange("", START_SECONDS) != "ready":
            self.stop()
            raise OSError("it ended before it was ready; is sympy installed?")

    def exchange(self, line: str, seconds: float) -> str:
        """Write a line, read a line; "" if the process died, of itself or because the time was up. Then it is gone."""
        timer, reply = threading.Timer(seconds, self.kill), ""
        timer.start()
        try:
            with suppress(OSError):
                self.process.stdin.write(line)
                self.process.stdin.flush()
                reply = self.process.stdout.readline().strip()
        finally:
            timer.cancel()
            timer.join()
            if (
                not reply
            ):  # or Ctrl-C: a reply that nobody read must not be taken for the next one's
                self.stop()
        return reply

    def kill(self) -> None:
        with suppress(OSError, AttributeError):  # it has ended; Windows has no groups of processes
            os.killpg(
                self.process.pid, signal.SIGKILL
            )  # its forks too, as it has a session of its own
        self.process.kill()

    def stop(self) -> None:
        """End the process, if there is one. A later question starts a new one."""
        with self.lock:
            if self.process:
                with (
                    suppress(OSError),
                    self.process,
                ):  # it closes the pipes, even on an unsent line, and waits
                    self.kill()
            self.process = None


WORKER = Worker()
close = atexit.register(WORKER.stop)
if hasattr(os, "register_at_fork"):  # a forked child must not talk to its parent's worker
    os.register_at_fork(after_in_child=WORKER.__init__)

# ---- In the worker -------------------------------------------------------------------------------
FUNCTIONS = {
    "+": "Add",
    "*": "Mul",
    "^": "Pow",
    "abs": "Abs",
    "ceil": "ceiling",
    "factorial": "factorial",
}
FUNCTIONS |= {
    f: f for f in "sin cos tan cot sec csc asin acos atan sinh cosh tanh log floor binomial".split()
}


def serve() -> None:
    """Answer a JSON question a line with a line: the reply and its work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that asks
    with suppress(
        ImportError, ValueError, OSError
    ):  # Windows has no limits; a lower one is in force; macOS refuses
        import resource

        resource.setrlimit(
            resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1])
        )
    gc.disable()  # a collection would copy every page of a fork, which ends soon anyway
    import sympy
    from sympy.core.random import seed

    seed(0)  # sympy shuffles what it tries
    sympy.Dummy._base_dummy_index = 10**6  # a random number, on which the order of terms depends
    n, two = ["symbol", "n"], ["rational", 2, 1]
    squares = [["^", ["call", name, n], two] for name in ("sin", "cos")]
    product = ["*", n, ["call", "factorial", ["+", n, ["rational", -1, 1]]], ["+", *squares]]
    for compare in (
        equal,
        ratio,
    ):  # n! and n (n-1)! (sin^2 n + cos^2 n), so that sympy imports what it needs later
        compare(sympy, ["call", "factorial", n], product)
    print("ready", flush=True)
    for line in sys.stdin:
        if not hasattr(os, "fork") or (child := os.fork()) == 0:
            answer(sympy, line)
        if os.waitpid(child, 0)[1]:  # it crashed, as with too deep a recursion in C
            print("unknown", MAX_WORK, flush=True)


def answer(sympy, line: str) -> None:
    """Print the reply and its work, and end the process."""
    work = 0

    def end(reply: str) -> None:
        sys.settrace(None)
        with suppress(OSError):  # nobody waits for it any more
            print(reply, work, flush=True)
        os._exit(0)

    def count(frame, event, argument):
        nonlocal work
        name = frame.f_code.co_name
        if name in (
            "__eq__",
            "_hashable_content",
        ):  # by a dict; how often depends on the addresses of classes
            return None
        work += 1
        if work > limit or (name in ("isprime", "_eval_power") and is_long(name, frame.f_locals)):
            end("unknown")
        return (
            count if frame.f_globals.get("__name__", "").startswith(LOOPS) else None
        )  # count: its lines too

    limit, question, a, b = json.loads(line)
    try:
        sys.settrace(count)
        reply = (equal if question == "equal" else ratio)(sympy, a, b)
    except Exception:  # noqa: BLE001  whatever sympy stumbles over, it has proved nothing
        reply = "unknown"
    end(reply)


def is_long(function: str, local) -> bool:
    """Is this a long call in C, which can't be counted: a large power, or a large number that may be prime?"""
    n, base, exponent = map(local.get, ("n", "self", "expt"))
    if function == "isprime":
        return isinstance(n, int) and n.bit_length() > MAX_PRIME_BITS
    rational = getattr(base, "is_Rational", False) and getattr(exponent, "is_Integer", False)
    bits = max(abs(base.p), base.q).bit_length() if rational else 0
    return bits > 1 and bits * abs(exponent.p) > MAX_POWER_BITS


def build(sympy, value, **assumptions):
    """The sympy expression of a value. Whatever it doesn't know, or would compute at length, is a symbol of itself."""
    kind, *parts = value
    if kind == "rational":
        return sympy.Rational(*parts)
    if kind == "symbol":
        return {"pi": sympy.pi, "e": sympy.E, "i": sympy.I}.get(parts[0]) or sympy.Symbol(
            parts[0], **assumptions
        )
    function = parts.pop(0) if kind == "call" else kind
    arguments = (
        [build(sympy, part, **assumptions) for part in parts] if function in FUNCTIONS else []
    )
    small = (
        function in FUNCTIONS
    )  # how large is the number that sympy would compute as soon as it sees this?
    if function in ("factorial", "binomial"):
        small = all(not x.is_Rational or abs(x) <= MAX_ARGUMENT for x in arguments)
    elif function == "^":
        base, exponent = arguments
        computed = exponent.is_Rational or exponent.has(sympy.log)  # e^(n log 2) is 2^n
        small = not computed or all(
            abs(number) <= MAX_EXPONENT for number in exponent.atoms(sympy.Rational)
        )
        small = small or (base.is_Symbol and exponent.is_Integer and abs(exponent) <= MAX_ARGUMENT)
        coefficient, _ = base.as_coeff_Mul()  # a rational base, or the 2 of 2x
        if (small or base.is_Rational) and coefficient.is_Rational and exponent.is_Rational:
            small = (
                max(abs(coefficient.p), coefficient.q).bit_length() * abs(exponent)
                <= MAX_POWER_BITS
            )
    return (
        getattr(sympy, FUNCTIONS[function])(*arguments)
        if small
        else sympy.Symbol(json.dumps(value), **assumptions)
    )


def equal(sympy, a, b) -> str:
    """ "equal" if sympy proves it for positive variables and no sample point, negative ones included, denies it."""
    x, y = (build(sympy, value, real=True) for value in (a, b))
    difference = x - y
    if difference == 0:
        return "equal"
    if difference.has(sympy.nan, sympy.oo, sympy.zoo):
        return "unknown"
    symbols = sorted(difference.free_symbols, key=str)
    for point in range(6 if symbols else 1):
        values = {}
        for i, symbol in enumerate(
            symbols
        ):  # between 0 and 1, above 1, negative, of both signs, far below 0, one negative
            samples = (
                (3 * i + 2, 3 * i + 5),
                (5 * i + 11, 7),
                (-4 * i - 5, 3),
                ((-1) ** i * (7 * i + 4), 5),
            )
            samples += (-13 * i - 95, 2), (3 * i - 1, 2)
            values[symbol] = sympy.Rational(*samples[point])
        sides = [side.evalf(20, subs=values, maxn=200, chop=True) for side in (x, y)]
        if not difference.has(sympy.I) and not all(side.is_real for side in sides):
            continue  # outside the domain of one of them
        with suppress(
            ArithmeticError
        ):  # strict: 20 digits that are certain, or this exception, as it is if it is zero
            gap = difference.evalf(20, subs=values, maxn=200, strict=True)
            if gap.is_number and gap.is_finite and gap != 0:
                return "different"
    difference = build(sympy, a, positive=True) - build(sympy, b, positive=True)
    if difference.is_algebraic:  # a number made of roots
        unknown = sympy.Dummy()
        return "equal" if sympy.minimal_polynomial(difference, unknown) == unknown else "different"
    for rewrite in (
        sympy.expand,
        lambda x: x.rewrite(sympy.exp),
        sympy.gammasimp,
    ):  # quick, and nearly always enough
        numerator, _ = sympy.fraction(sympy.together(rewrite(difference)))
        if sympy.expand(numerator) == 0:
            return "equal"
    return "equal" if sympy.simplify(difference) == 0 or difference.equals(0) else "unknown"


def ratio(sympy, a, b) -> str:
    """The sign of a / b if that is a constant: then a = 0 and b = 0 are the same equation."""
    a, b = (build(sympy, value, real=True) for value in (a, b))
    quotient = sympy.simplify(a / b)
    if quotient.is_number and quotient.is_finite and quotient.is_nonzero and quotient.is_real:
        return "positive" if quotient > 0 else "negative"
    return "unknown"


if __name__ == "__main__" and sys.argv[1:] == ["--worker"]:
    serve()
