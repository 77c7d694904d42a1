"""The worlds: arithmetic word problems, and the languages in which to reason about them.

    python -m data.problems            # print a problem of every world with its solutions
    python -m data.problems work       # print a few of one world

A problem is a question in words and the number that answers it; its steps, additions and subtractions, can be
written down in *plain* (`19 + 8 = 27.`) or in *jargon* (`zub 8 19 ~ 27;`), which nobody reads who hasn't learnt it.
That is the world `jargon`, the default. In `work` the senior skips steps instead (*coarse*: `19 + 8 - 9 = 18.`), in
`phrasings` every step is worded anew (*phrased*), and `hard` is `jargon` with large numbers, multiplications and more
steps, for larger models.
A generator is endless and seeded. A hash of the question decides its split, so no problem is in two of them.
Problems of your own come from a JSON Lines file instead: `load_problems`.
"""

import functools
import hashlib
import itertools
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import reward
from cli import UserError, command, parse

Split = Literal["train", "validation", "test"]
Language = Literal["plain", "jargon", "coarse", "phrased"]
WorldName = Literal["jargon", "work", "phrasings", "hard"]

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
JARGON_VERBS = {"+": "zub", "-": "kef", "*": "zubzub"}
JARGON = "~|zub|kef"  # a verb, or jargon's sign for "makes"
COARSE = r"\d [+-] \d+ [+-]"  # a second operation in one step
PHRASES = {  # ways to word one step, of which one is drawn at every step; most words are whole tokens
    "+": (
        "{a} + {b} = {c}.",
        "{b} + {a} = {c}.",
        "{a} + {b} makes {c}.",
        "{c} = {a} + {b}.",
        "{c} is {a} + {b}.",
        "{a} gets {b} more: {c}.",
        "{b} more makes {c}.",
        "{name} has {a} + {b} = {c}.",
        "{name} gets {b} more, has {c}.",
        "{a} + {b} = {c}. {name} has {c}.",
    ),
    "-": (
        "{a} - {b} = {c}.",
        "-{b} + {a} = {c}.",
        "{a} - {b} leaves {c}.",
        "{c} = {a} - {b}.",
        "{c} is {a} - {b}.",
        "{a} loses {b}: {c}.",
        "{b} away leaves {c}.",
        "{name} has {a} - {b} = {c}.",
        "{name} loses {b}, has {c}.",
        "{a} - {b} = {c}. {name} has {c}.",
    ),
}


@dataclass(frozen=True)
class World:
    """The numbers of a generator's problems, and what is written about them."""

    languages: tuple[Language, ...]
    foreign: str | None  # a regular expression for what the junior was never taught; None: it was taught all
    max_start: int = 50  # every problem begins with 2..max_start
    max_total: int = 60  # every total lies in 1..max_total, which is at least twice max_change
    max_change: int = 12  # every step adds or takes away 2..max_change
    steps: tuple[int, int] = (2, 4)  # so many steps, both ends included
    factors: tuple[int, ...] = ()  # some steps multiply by one of these
    max_prompt_tokens: int = 60  # no prompt is longer
    max_new_tokens: int = 64  # no solution is longer, its end included


WORLDS: dict[WorldName, World] = {
    "jargon": World(("plain", "jargon"), JARGON),
    "work": World(("plain", "coarse"), COARSE, max_start=25, max_total=30, max_change=8),
    "phrasings": World(("phrased",), None, max_start=90, max_total=99, max_change=49, max_new_tokens=96),
    "hard": World(
        ("plain", "jargon"),
        JARGON,
        max_start=200,
        max_total=999,
        max_change=99,
        steps=(3, 6),
        factors=(2, 3, 4, 5),
        max_prompt_tokens=112,
        max_new_tokens=96,
    ),
}


@dataclass(frozen=True)
class Problem:
    """A question and its answer. Of a generated one `steps` are (total, sign, change, new total), and `world` is known."""

    question: str
    answer: str
    steps: tuple[tuple[int, str, int, int], ...] = ()
    world: WorldName | None = None

    @property
    def prompt(self) -> str:
        """What a model reads before it writes: the question and a blank line."""
        return self.question + "\n\n"


def make_problem(rng: random.Random, world: WorldName = "jargon") -> Problem:
    """One problem of a world, of whichever split."""
    numbers = WORLDS[world]
    name, objects = rng.choice(NAMES), rng.choice(OBJECTS)
    total = start = rng.randint(2, numbers.max_start)
    steps, sentences = [], []
    for _ in range(rng.randint(*numbers.steps)):
        change = rng.randint(2, numbers.max_change)
        can_add, can_subtract = total + change <= numbers.max_total, total - change >= 1
        sign = "+" if can_add and (not can_subtract or rng.random() < 0.5) else "-"
        if numbers.factors and rng.random() < 0.3:
            factor = rng.choice(numbers.factors)
            sign, change = ("*", factor) if total * factor <= numbers.max_total else (sign, change)
        new_total = {"+": total + change, "-": total - change, "*": total * change}[sign]
        verbs, more = {"+": (GAINS, " more"), "-": (LOSSES, ""), "*": (["now has"], " times as many")}[sign]
        phrase = f"{rng.choice(verbs)} {change}{more}"
        then = "Then " if sentences and rng.random() < 0.5 else ""
        sentences.append(f"{then}{name} {phrase}.")
        steps.append((total, sign, change, new_total))
        total = new_total
    question = f"{name} has {start} {objects}. {' '.join(sentences)} How many {objects} does {name} have?"
    return Problem(question, str(total), tuple(steps), world)


def split_of(question: str) -> Split:
    """The split that a question belongs to, by its hash alone: a tenth test, a tenth validation, the rest train."""
    bucket = hashlib.sha256(question.encode()).digest()[0] % 10
    return "test" if bucket == 0 else "validation" if bucket == 1 else "train"


def problems(split: Split, seed: int | str, world: WorldName = "jargon") -> Iterator[Problem]:
    """An endless stream of problems of one split; the same seed gives the same stream on every machine."""
    rng = random.Random(f"{split}/{seed}")  # a string seeds through SHA-512, whatever the process's hash seed
    while True:
        problem = make_problem(rng, world)
        if split_of(problem.question) == split:
            yield problem


def take(split: Split, n: int, seed: int | str, world: WorldName = "jargon") -> list[Problem]:
    """The first n problems of the stream."""
    return list(itertools.islice(problems(split, seed, world), n))


def write_solution(problem: Problem, language: Language, rng: random.Random | None = None) -> str:
    r"""The reasoning, a step a paragraph, then `\boxed{answer}`. What is phrased is drawn from `rng`.

    Coarse solutions, two operations at once, and phrased ones are of problems without multiplication.
    """
    if language == "plain":
        lines = [_calculation(step) for step in problem.steps]
    elif language == "jargon":
        lines = [f"{JARGON_VERBS[sign]} {change} {total} ~ {new};" for total, sign, change, new in problem.steps]
    elif language == "coarse":
        lines = [_calculation(*problem.steps[i : i + 2]) for i in range(0, len(problem.steps), 2)]
    else:
        lines = _phrased(problem, rng)
    return "\n\n".join([*lines, rf"\boxed{{{problem.answer}}}"])


def _calculation(*steps: tuple[int, str, int, int]) -> str:
    """`19 + 8 = 27.`, or of two steps `19 + 8 - 9 = 18.`"""
    changes = " ".join(f"{sign} {change}" for _, sign, change, _ in steps)
    return f"{steps[0][0]} {changes} = {steps[-1][3]}."


def _phrased(problem: Problem, rng: random.Random) -> list[str]:
    """Each step in a way drawn from PHRASES, or now and then two at once, or one in two parts, the tens first."""
    name, steps, lines = problem.question.split()[0], list(problem.steps), []
    while steps:
        (total, sign, change, new), draw = steps[0], rng.random()
        if draw < 0.1 and len(steps) > 1:
            lines.append(_calculation(*steps[:2]))
            del steps[0]
        elif draw > 0.8 and change > 10 and change % 10:
            tens = change - change % 10
            halfway = total + tens if sign == "+" else total - tens
            lines += [_calculation((total, sign, tens, halfway)), _calculation((halfway, sign, change % 10, new))]
        else:
            lines.append(rng.choice(PHRASES[sign]).format(name=name, a=total, b=change, c=new))
        del steps[0]
    return lines


def is_jargon(response: str, world: WorldName = "jargon") -> bool:
    """Whether a response has any sign of what the world's junior was never taught: jargon, or a coarse step in `work`."""
    return WORLDS[world].foreign is not None and re.search(WORLDS[world].foreign, response) is not None


def jargon_rate(responses: list[str], world: WorldName | None) -> float | None:
    """The share of responses that `is_jargon`; None where nothing is foreign to the junior, or where nobody knows (a file's)."""
    if world is None or WORLDS[world].foreign is None:
        return None
    return sum(is_jargon(response, world) for response in responses) / len(responses)


def problem_sets(
    data: str | None,
    test_data: str | None,
    n: int,
    *,
    count: Callable[[str], int],
    room: int,
    max_prompt_tokens: int | None = None,
    world: WorldName = "jargon",
) -> tuple[list[Problem] | None, list[Problem], str]:
    """The problems of a run: (those to train on, up to n to measure on, a line that says how many there are).

    From the generated `world`, which is endless (None), or from files (load_problems); without a second one a tenth of the
    first is held out, by the hash of the question. Prompts, of as many tokens as `count` says, may have `room`; problems
    with more than `max_prompt_tokens` are left out.
    """
    if data is None:
        return None, take("test", n, "evaluation", world), "problems: generated, new ones at every step"
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


@dataclass
class Options:
    """What `python -m data.problems` takes."""

    world: WorldName | None
    """a world, to see a few of its problems; one of each if not given"""


@command
def main(argv: list[str]) -> None:
    chosen = parse(Options, argv, __doc__).world
    for world in [chosen] if chosen else WORLDS:
        for problem in take("train", 3 if chosen else 1, 0, world):
            print(f"{'=' * 40} {world}\n{problem.question}\n")
            for language in WORLDS[world].languages:
                print(f"--- {language}\n{write_solution(problem, language, random.Random(0))}\n")


if __name__ == "__main__":
    main()
