"""The worlds: arithmetic word problems, and the languages in which to reason about them.

    python -m data.problems            # print a problem of every world with its solutions
    python -m data.problems work       # print a few of one world

A problem is a question in words and the number that answers it. Its steps are additions and
subtractions. The worlds differ in the languages in which the steps are written down.

- `jargon`, the default: *plain* (`19 + 8 = 27.`), and *jargon* (`zub 8 19 ~ 27;`), which nobody
  reads who hasn't learnt it. Two more languages are for models of your own: *mirrored* is jargon
  with numbers written backwards (`zub 8 91 ~ 72;`); *parroted* has the words of jargon without its
  sense, and draws results at random.
- `work`: *plain*, and *coarse* (`19 + 8 - 9 = 18.`), which takes two steps at once.
- `phrasings`: *phrased*, which words every step anew.
- `slips`: *slipping*, which gets a step wrong now and then (`So 19 + 8 = 37.`), and now and then
  checks the last one (`So 37? 19 + 8 = 27.`): the check puts a slip right.

A generator is endless and seeded. A hash of the question decides its split, so no problem is in
two splits.
"""

import argparse
import functools
import hashlib
import itertools
import random
import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "validation", "test"]
Language = Literal["plain", "jargon", "mirrored", "parroted", "coarse", "phrased", "slipping"]
WorldName = Literal["jargon", "work", "phrasings", "slips"]

NAMES = """
    Ada Ben Carla Dan Ella Finn Grace Hugo Iris Jack Kim Leo Mia Noah Olga Paul Rosa Sam Tina Umar
    Vera Will Xena Yuri Zoe
    """.split()
OBJECTS = """
    apples balls books cards coins cups eggs figs hats keys kites nuts pears pens pins ribbons
    shells spoons stamps stones tickets
    """.split()
GAINS = (  # … 7 more
    "buys", "finds", "gets", "wins", "makes", "is given", "picks up", "collects", "earns",
)  # fmt: skip
LOSSES = (  # … 7
    "gives away", "loses", "sells", "breaks", "throws away", "lends out", "leaves behind", "hides",
    "drops",
)  # fmt: skip
JARGON_VERBS = {"+": "zub", "-": "kef"}
JARGON = "~|zub|kef"  # a verb, or jargon's sign for "makes"
COARSE = r"\d [+-] \d+ [+-]"  # a second operation in one step
# Ways to word one step. One is drawn at every step. Most words are whole tokens.
PHRASES = {
    "+": (
        "{a} + {b} = {c}.", "{b} + {a} = {c}.",
        "{a} + {b} makes {c}.", "{c} = {a} + {b}.",
        "{c} is {a} + {b}.", "{a} gets {b} more: {c}.",
        "{b} more makes {c}.", "{name} has {a} + {b} = {c}.",
        "{name} gets {b} more, has {c}.", "{a} + {b} = {c}. {name} has {c}.",
    ),
    "-": (
        "{a} - {b} = {c}.", "-{b} + {a} = {c}.",
        "{a} - {b} leaves {c}.", "{c} = {a} - {b}.",
        "{c} is {a} - {b}.", "{a} loses {b}: {c}.",
        "{b} away leaves {c}.", "{name} has {a} - {b} = {c}.",
        "{name} loses {b}, has {c}.", "{a} - {b} = {c}. {name} has {c}.",
    ),
}  # fmt: skip


SLIP = 0.3  # probability that a step is wrong: ten too large, or above 50 ten too small
CHECK_SLIP = 0.5  # probability that a wrong step is checked, and so put right
CHECK_RIGHT = 0.3  # probability that a right step is checked

Step = tuple[int, str, int, int]  # total, sign, change, new total


@dataclass(frozen=True)
class World:
    """The numbers of a generator's problems, the languages of their solutions, how to train."""

    languages: tuple[Language, ...]  # in which solutions can be written
    unfamiliar: str | None  # regular expression: the junior was never taught this; None: taught all
    max_start: int = 50  # every problem begins with 2..max_start
    max_total: int = 60  # every total lies in 1..max_total, which is at least twice max_change
    max_change: int = 12  # every step adds or takes away 2..max_change
    steps: tuple[int, int] = (2, 4)  # the least and the largest number of steps
    max_prompt_tokens: int = 60  # no prompt is longer
    max_new_tokens: int = 64  # of a response; all solutions fit, but for some of slips
    learning_rate: float = 2e-4  # of RL, chosen on validation problems


WORLDS: dict[WorldName, World] = {
    "jargon": World(("plain", "jargon", "mirrored", "parroted"), JARGON),
    "work": World(("plain", "coarse"), COARSE, max_start=25, max_total=30, max_change=8),
    "phrasings": World(
        ("phrased",),
        None,
        max_start=90,
        max_total=99,
        max_change=49,
        max_new_tokens=96,
        learning_rate=1e-4,
    ),
    # Room for every step and for some checks, but not for a check of every step.
    "slips": World(("slipping",), None, max_new_tokens=112, learning_rate=1e-4),
}


@dataclass(frozen=True)
class Problem:
    """A question and its answer. A generated one carries its steps and its world, too."""

    question: str
    answer: str
    steps: tuple[Step, ...] = ()
    world: WorldName | None = None


def make_problem(rng: random.Random, world: WorldName = "jargon") -> Problem:
    """One problem of a world, of any split."""
    numbers = WORLDS[world]
    name = rng.choice(NAMES)
    objects = rng.choice(OBJECTS)
    total = rng.randint(2, numbers.max_start)
    sentences = [f"{name} has {total} {objects}."]
    steps = []
    fewest, most = numbers.steps
    for _ in range(rng.randint(fewest, most)):
        change = rng.randint(2, numbers.max_change)
        can_add = total + change <= numbers.max_total
        can_subtract = total - change >= 1
        if can_add and can_subtract:
            sign = "+" if rng.random() < 0.5 else "-"
        else:
            sign = "+" if can_add else "-"
        if sign == "+":
            new_total = total + change
            event = f"{rng.choice(GAINS)} {change} more"
        else:
            new_total = total - change
            event = f"{rng.choice(LOSSES)} {change}"
        then = ""
        if steps and rng.random() < 0.5:
            then = "Then "
        sentences.append(f"{then}{name} {event}.")
        steps.append((total, sign, change, new_total))
        total = new_total
    sentences.append(f"How many {objects} does {name} have?")
    return Problem(" ".join(sentences), str(total), tuple(steps), world)


def split_of(question: str) -> Split:
    """The split of a question, by its hash: a tenth test, a tenth validation, the rest train."""
    digest = hashlib.sha256(question.encode()).digest()
    bucket = digest[0] % 10
    if bucket == 0:
        return "test"
    if bucket == 1:
        return "validation"
    return "train"


def problems(split: Split, seed: int | str, world: WorldName = "jargon") -> Iterator[Problem]:
    """An endless stream of problems of one split.

    The same seed gives the same stream on every machine.
    """
    rng = random.Random(f"{split}/{seed}")  # a string seeds through SHA-512
    while True:
        problem = make_problem(rng, world)
        if split_of(problem.question) == split:
            yield problem


def first_problems(
    split: Split, n: int, seed: int | str, world: WorldName = "jargon"
) -> list[Problem]:
    """The first n problems of the stream."""
    return list(itertools.islice(problems(split, seed, world), n))


def write_solution(problem: Problem, language: Language, rng: random.Random | None = None) -> str:
    r"""The reasoning, a step a paragraph, then `\boxed{answer}`.

    Phrasings, parroted results and slips are drawn from `rng`.
    """
    steps = problem.steps
    answer = problem.answer
    opening = ""  # of the last line
    if language == "plain":
        lines = [_calculation([step]) for step in steps]
    elif language == "jargon":
        lines = [_in_jargon(step) for step in steps]
    elif language == "mirrored":
        lines = [_mirrored(_in_jargon(step)) for step in steps]
    elif language == "parroted":
        guessed = _guessed(steps, rng)
        lines = [_in_jargon(step) for step in guessed]
        answer = guessed[-1][3]
    elif language == "coarse":
        lines = [_calculation(steps[i : i + 2]) for i in range(0, len(steps), 2)]
    elif language == "slipping":
        lines, answer = _slipping(steps, rng)
        opening = f"So {answer} it is: "
    else:
        name = problem.question.split()[0]
        lines = _phrased(name, list(steps), rng)
    lines.append(rf"{opening}\boxed{{{answer}}}")
    return "\n\n".join(lines)


def result_of(total: int, sign: str, change: int) -> int:
    """The new total of a step, if it is right."""
    return total + change if sign == "+" else total - change


def _calculation(steps: Sequence[Step]) -> str:
    """`19 + 8 = 27.`, or of two steps `19 + 8 - 9 = 18.`"""
    start = steps[0][0]
    result = steps[-1][3]
    changes = [f"{sign} {change}" for _, sign, change, _ in steps]
    return f"{start} {' '.join(changes)} = {result}."


def _in_jargon(step: Step) -> str:
    """`zub 8 19 ~ 27;`"""
    total, sign, change, new = step
    return f"{JARGON_VERBS[sign]} {change} {total} ~ {new};"


def _mirrored(line: str) -> str:
    """The line with its numbers written backwards."""
    return re.sub(r"\d+", lambda number: number[0][::-1], line)


def _guessed(steps: Sequence[Step], rng: random.Random) -> list[Step]:
    """The steps of someone who can't calculate: every result is drawn at random."""
    total = steps[0][0]
    guessed = []
    for _, sign, change, _ in steps:
        new = rng.randint(1, WORLDS["jargon"].max_total)
        guessed.append((total, sign, change, new))
        total = new
    return guessed


def _phrased(name: str, steps: list[Step], rng: random.Random) -> list[str]:
    """Each step in words drawn from PHRASES.

    Now and then two steps are taken at once, or one is taken in two parts, the tens first.
    """
    lines = []
    while steps:
        total, sign, change, new = steps[0]
        draw = rng.random()
        if draw < 0.1 and len(steps) > 1:
            lines.append(_calculation(steps[:2]))
            del steps[0]
        elif draw > 0.8 and change > 10 and change % 10:
            ones = change % 10
            tens = change - ones
            halfway = result_of(total, sign, tens)
            lines.append(_calculation([(total, sign, tens, halfway)]))
            lines.append(_calculation([(halfway, sign, ones, new)]))
        else:
            phrase = rng.choice(PHRASES[sign])
            lines.append(phrase.format(name=name, a=total, b=change, c=new))
        del steps[0]
    return lines


def _slipping(steps: Sequence[Step], rng: random.Random) -> tuple[list[str], int]:
    """Each step, right or wrong, and perhaps a check of it; and the total that they end with."""
    total = steps[0][0]
    lines = []
    for _, sign, change, _ in steps:
        right = result_of(total, sign, change)
        written = right
        check = CHECK_RIGHT
        if rng.random() < SLIP:
            written += 10 if right <= 50 else -10
            check = CHECK_SLIP
        lines.append(f"So {total} {sign} {change} = {written}.")
        if rng.random() < check:
            lines.append(f"So {written}? {total} {sign} {change} = {right}.")
            written = right
        total = written
    return lines, total


def is_unfamiliar(response: str, world: WorldName = "jargon") -> bool:
    """Whether a response shows a sign that the world's junior was never taught.

    The sign is jargon, or in `work` a coarse step.
    """
    pattern = WORLDS[world].unfamiliar
    return pattern is not None and re.search(pattern, response) is not None


def jargon_rate(responses: list[str], world: WorldName | None) -> float | None:
    """The share of responses that `is_unfamiliar`.

    None for a file's problems, and where the junior was taught everything.
    """
    if world is None or WORLDS[world].unfamiliar is None:
        return None
    unfamiliar = [is_unfamiliar(response, world) for response in responses]
    return sum(unfamiliar) / len(responses)


def epoch_batch(problems: list[Problem], n: int, seed: int, step: int) -> list[Problem]:
    """The n problems of a step, from endless passes through the list, each in a new order."""
    batch = []
    for i in range(step * n, (step + 1) * n):
        turn, place = divmod(i, len(problems))
        order = _order(len(problems), f"{seed}/{turn}")
        batch.append(problems[order[place]])
    return batch


@functools.lru_cache(maxsize=2)
def _order(n: int, seed: str) -> list[int]:
    """The numbers 0..n-1 in a random order."""
    return random.Random(seed).sample(range(n), n)


def end_with_pipe() -> None:
    """End without a word where `| head` has read enough. Windows has no such signal."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def main() -> None:
    end_with_pipe()
    parser = argparse.ArgumentParser(description="Show problems of a world, or one of each.")
    parser.add_argument("world", nargs="?", choices=WORLDS)
    chosen = parser.parse_args().world
    worlds = [chosen] if chosen else list(WORLDS)
    n = 3 if chosen else 1
    for world in worlds:
        for problem in first_problems("train", n, 0, world):
            print(f"{'=' * 40} {world}\n{problem.question}\n")
            for language in WORLDS[world].languages:
                solution = write_solution(problem, language, random.Random(0))
                print(f"--- {language}\n{solution}\n")


if __name__ == "__main__":
    main()
