"""The world: arithmetic word problems, and two languages in which to reason about them.

    python -m data.problems            # print a few problems with both solutions

A problem is a question in words and the number that answers it; its 2-4 steps of addition and subtraction can be
written down in *plain* (`19 + 8 = 27.`) or in *jargon* (`zub 8 19 ~ 27;`), which nobody reads who hasn't learnt it.
The generator is endless and seeded. A hash of the question decides its split, so no problem is in two of them.
Problems of your own come from a JSON Lines file instead: `load_problems`.
"""

import functools
import hashlib
import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import reward
from cli import UserError

Split = Literal["train", "validation", "test"]
Language = Literal["plain", "jargon"]

NAMES = (
    "Ada Ben Carla Dan Ella Finn Grace Hugo Iris Jack Kim Leo Mia "
    "Noah Olga Paul Rosa Sam Tina Umar Vera Will Xena Yuri Zoe"
).split()
OBJECTS = (
    "apples balls books cards coins cups eggs figs hats keys "
    "kites nuts pears pens pins ribbons shells spoons stamps stones tickets"
).split()
GAINS = "buys, finds, gets, wins, makes, is given, picks up, collects, earns".split(", ")  # … 7 more
LOSSES = "gives away, loses, sells, breaks, throws away, lends out, leaves behind, hides, drops".split(", ")  # … 7
MAX_PROMPT_TOKENS = 60  # no prompt of this world is longer
JARGON_VERBS = {"+": "zub", "-": "kef"}
MAX_TOTAL, MAX_CHANGE = 60, 12  # every total lies in 1..60, every step adds or takes away 2..12


@dataclass(frozen=True)
class Problem:
    """A question and its answer; `steps`, known in the generated world alone, are (total, sign, change, new total)."""

    question: str
    answer: str
    steps: tuple[tuple[int, str, int, int], ...] = ()

    @property
    def prompt(self) -> str:
        """What a model reads before it writes: the question and a blank line."""
        return self.question + "\n\n"


def make_problem(rng: random.Random) -> Problem:
    """One problem of 2-4 steps, of whichever split."""
    name, objects = rng.choice(NAMES), rng.choice(OBJECTS)
    total = start = rng.randint(2, 50)
    steps, sentences = [], []
    for _ in range(rng.randint(2, 4)):
        change = rng.randint(2, MAX_CHANGE)
        can_add, can_subtract = total + change <= MAX_TOTAL, total - change >= 1
        sign = "+" if can_add and (not can_subtract or rng.random() < 0.5) else "-"
        new_total = total + change if sign == "+" else total - change
        phrase = f"{rng.choice(GAINS)} {change} more" if sign == "+" else f"{rng.choice(LOSSES)} {change}"
        then = "Then " if sentences and rng.random() < 0.5 else ""
        sentences.append(f"{then}{name} {phrase}.")
        steps.append((total, sign, change, new_total))
        total = new_total
    question = f"{name} has {start} {objects}. {' '.join(sentences)} How many {objects} does {name} have?"
    return Problem(question, str(total), tuple(steps))


def split_of(question: str) -> Split:
    """The split that a question belongs to, by its hash alone: a tenth test, a tenth validation, the rest train."""
    bucket = hashlib.sha256(question.encode()).digest()[0] % 10
    return "test" if bucket == 0 else "validation" if bucket == 1 else "train"


def problems(split: Split, seed: int | str) -> Iterator[Problem]:
    """An endless stream of problems of one split; the same seed gives the same stream on every machine."""
    rng = random.Random(f"{split}/{seed}")  # a string seeds through SHA-512, whatever the process's hash seed
    while True:
        problem = make_problem(rng)
        if split_of(problem.question) == split:
            yield problem


def take(split: Split, n: int, seed: int | str) -> list[Problem]:
    """The first n problems of the stream."""
    return list(itertools.islice(problems(split, seed), n))


def write_solution(problem: Problem, language: Language) -> str:
    r"""The reasoning, a step a paragraph, then `\boxed{answer}`."""
    if language == "plain":
        lines = [f"{total} {sign} {change} = {new}." for total, sign, change, new in problem.steps]
    else:
        lines = [f"{JARGON_VERBS[sign]} {change} {total} ~ {new};" for total, sign, change, new in problem.steps]
    return "\n\n".join([*lines, rf"\boxed{{{problem.answer}}}"])


def is_jargon(response: str) -> bool:
    """Whether a response has any jargon in it: a jargon verb, or jargon's sign for "makes"."""
    return "~" in response or any(verb in response for verb in JARGON_VERBS.values())


def problem_sets(
    data: str | None,
    test_data: str | None,
    n: int,
    *,
    count: Callable[[str], int],
    room: int,
    max_prompt_tokens: int | None = None,
) -> tuple[list[Problem] | None, list[Problem], str]:
    """The problems of a run: (those to train on, up to n to measure on, a line that says how many there are).

    From the generated world, which is endless (None), or from files (load_problems); without a second one a tenth of the
    first is held out, by the hash of the question. Prompts, of as many tokens as `count` says, may have `room`; problems
    with more than `max_prompt_tokens` are left out.
    """
    if data is None:
        return None, take("test", n, "evaluation"), "problems: generated, new ones at every step"
    most, leave_out = max_prompt_tokens or room, max_prompt_tokens is not None
    train, left_out = load_problems(data, count, most, leave_out)
    if test_data is not None:
        test, also_left_out = load_problems(test_data, count, most, leave_out)
        left_out += also_left_out
    else:
        test = [problem for problem in train if split_of(problem.question) == "test"]
        train = [problem for problem in train if split_of(problem.question) != "test"]
        if not train or not test:
            raise UserError(f"{data} has too few problems to hold a tenth out; give more, or --test-data")
    longer = f"; {left_out} with prompts of more than {most} tokens left out" * leave_out
    return (
        train,
        test[:n],
        f"problems: {len(train)} to train on, {min(n, len(test))} of {len(test)} to measure on{longer}",
    )


def load_problems(
    path: str | Path, count: Callable[[str], int], most: int, leave_out: bool
) -> tuple[list[Problem], int]:
    """The problems of a JSON Lines file: an object a line, with `question` (text) and `answer` (text or a number).

    Of an answer with a `\\boxed{}` or a `####` (GSM8K's) in it, what these mark is taken. Prompts of more than `most`
    tokens, as `count` counts them, are left out, and their number is returned as well; or they are an error. A UserError
    names the file, the line and what is wrong.
    """
    found, left_out = [], 0
    try:
        raw = Path(path).read_bytes()
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}); check the path") from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: byte 0x{raw[error.start]:02x} is no UTF-8; save the file as UTF-8"
        ) from None
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines, which cuts at U+2028 within a string
        if not line.strip():
            continue
        try:
            problem = _problem(line)
        except ValueError as error:
            raise UserError(f"{path}, line {number}: {error}") from None
        if (length := count(problem.question)) <= most:
            found.append(problem)
        elif leave_out:
            left_out += 1
        else:
            raise UserError(
                f"{path}, line {number}: the prompt has {length} tokens, {most} fit into the context; "
                f"--max-prompt-tokens {most} leaves such problems out"
            )
    if not found:
        raise UserError(f"{path} has no problem" + f" of up to {most} tokens" * bool(left_out) + "; give one that has")
    return found, left_out


def _problem(line: str) -> Problem:
    """One line of a JSON Lines file; a ValueError says what is wrong with it."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"no JSON ({error}); mend or delete it") from None
    if not isinstance(row, dict):
        raise UserError('not an object; expected {"question": …, "answer": …}')
    for name, kinds in (("question", str), ("answer", str | int | float)):
        if name not in row:
            raise UserError(f'no field "{name}"; expected {{"question": …, "answer": …}}')
        if not isinstance(row[name], kinds) or isinstance(row[name], bool):
            raise UserError(f'"{name}" is {json.dumps(row[name])}; expected text' + " or a number" * (name == "answer"))
    question, given = row["question"], str(row["answer"])
    (question + given).encode()  # a ValueError where half of a surrogate pair was escaped
    if not question.strip():
        raise UserError('"question" is empty')
    marked = "####" in given or "\\boxed" in given
    answer = reward.extract(given) or ("" if marked else given.strip())
    if answer in ("nan", "inf", "-inf") or not reward.verify(rf"\boxed{{{answer}}}", answer):
        raise UserError(
            f'"answer" is {given!r}, which the verifier can\'t read; give the final answer alone, or in a box'
        )
    return Problem(question, answer)


def deal(problems: list[Problem], n: int, seed: int, step: int) -> list[Problem]:
    """The n problems of a step: the list is gone through again and again, in a new order each time."""
    places = (divmod(i, len(problems)) for i in range(step * n, (step + 1) * n))
    return [problems[_order(len(problems), f"{seed}/{turn}")[place]] for turn, place in places]


@functools.lru_cache(maxsize=2)
def _order(n: int, seed: str) -> list[int]:
    return random.Random(seed).sample(range(n), n)


if __name__ == "__main__":
    for problem in take("train", 3, seed=0):
        print(f"{problem.question}\n\n{write_solution(problem, 'plain')}\n\n--- in jargon ---\n")
        print(f"{write_solution(problem, 'jargon')}\n\n{'=' * 80}")
