"""The worlds: arithmetic word problems, and the languages in which to reason about them.

    python -m data.problems            # print a problem of every world with its solutions
    python -m data.problems work       # print a few of one world

A problem is a question in words and the number that answers it; its steps, additions and subtractions, can be
written down in *plain* (`19 + 8 = 27.`) or in *jargon* (`zub 8 19 ~ 27;`), which nobody reads who hasn't learnt it.
That is the world `jargon`, the default. Two more of its languages are for models of your own: *mirrored* is jargon with
numbers written backwards (`zub 8 91 ~ 72;`), and *parroted* has its words but not its sense: results are drawn at random.
In `work` the senior skips steps instead (*coarse*: `19 + 8 - 9 = 18.`), and in `phrasings` every step is worded anew
(*phrased*).
A generator is endless and seeded. A hash of the question decides its split, so no problem is in two of them.
"""

import argparse
import functools
import hashlib
import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

Split = Literal["train", "validation", "test"]
Language = Literal["plain", "jargon", "mirrored", "parroted", "coarse", "phrased"]
WorldName = Literal["jargon", "work", "phrasings"]

NAMES = """Ada Ben Carla Dan Ella Finn Grace Hugo Iris Jack Kim Leo Mia Noah Olga Paul Rosa Sam Tina Umar Vera Will
    Xena Yuri Zoe""".split()
OBJECTS = """apples balls books cards coins cups eggs figs hats keys kites nuts pears pens pins ribbons shells spoons
    stamps stones tickets""".split()
GAINS = "buys, finds, gets, wins, makes, is given, picks up, collects, earns".split(
    ", "
)  # … 7 more
LOSSES = (
    "gives away, loses, sells, breaks, throws away, lends out, leaves behind, hides, drops".split(
        ", "
    )
)  # … 7
JARGON_VERBS = {"+": "zub", "-": "kef"}
JARGON = "~|zub|kef"  # a verb, or jargon's sign for "makes"
COARSE = r"\d [+-] \d+ [+-]"  # a second operation in one step
PHRASES = {  # ways to word one step, of which one is drawn at every step; most words are whole tokens
    "+": (
        "{a} + {b} = {c}.", "{b} + {a} = {c}.", "{a} + {b} makes {c}.", "{c} = {a} + {b}.", "{c} is {a} + {b}.",
        "{a} gets {b} more: {c}.", "{b} more makes {c}.", "{name} has {a} + {b} = {c}.",
        "{name} gets {b} more, has {c}.", "{a} + {b} = {c}. {name} has {c}.",
    ),
    "-": (
        "{a} - {b} = {c}.", "-{b} + {a} = {c}.", "{a} - {b} leaves {c}.", "{c} = {a} - {b}.", "{c} is {a} - {b}.",
        "{a} loses {b}: {c}.", "{b} away leaves {c}.", "{name} has {a} - {b} = {c}.",
        "{name} loses {b}, has {c}.", "{a} - {b} = {c}. {name} has {c}.",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class World:
    """The numbers of a generator's problems, and what is written about them."""

    languages: tuple[Language, ...]  # all in which its solutions can be written
    unfamiliar: (
        str | None
    )  # a regular expression for what the junior was never taught; None: it was taught all
    max_start: int = 50  # every problem begins with 2..max_start
    max_total: int = 60  # every total lies in 1..max_total, which is at least twice max_change
    max_change: int = 12  # every step adds or takes away 2..max_change
    steps: tuple[int, int] = (2, 4)  # so many steps, both ends included
    max_prompt_tokens: int = 60  # no prompt is longer
    max_new_tokens: int = 64  # no solution is longer, its end included


WORLDS: dict[WorldName, World] = {
    "jargon": World(("plain", "jargon", "mirrored", "parroted"), JARGON),
    "work": World(("plain", "coarse"), COARSE, max_start=25, max_total=30, max_change=8),
    "phrasings": World(
        ("phrased",), None, max_start=90, max_total=99, max_change=49, max_new_tokens=96
    ),
}


@dataclass(frozen=True)
class Problem:
    """A question and its answer. A generated one carries its world and steps too: (total, sign, change, new total)."""

    question: str
    answer: str
    steps: tuple[tuple[int, str, int, int], ...] = ()
    world: WorldName | None = None


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
        new_total = total + change if sign == "+" else total - change
        verbs, more = (GAINS, " more") if sign == "+" else (LOSSES, "")
        phrase = f"{rng.choice(verbs)} {change}{more}"
        then = "Then " if sentences and rng.random() < 0.5 else ""
        sentences.append(f"{then}{name} {phrase}.")
        steps.append((total, sign, change, new_total))
        total = new_total
    question = (
        f"{name} has {start} {objects}. {' '.join(sentences)} How many {objects} does {name} have?"
    )
    return Problem(question, str(total), tuple(steps), world)


def split_of(question: str) -> Split:
    """The split that a question belongs to, by its hash alone: a tenth test, a tenth validation, the rest train."""
    bucket = hashlib.sha256(question.encode()).digest()[0] % 10
    return "test" if bucket == 0 else "validation" if bucket == 1 else "train"


def problems(split: Split, seed: int | str, world: WorldName = "jargon") -> Iterator[Problem]:
    """An endless stream of problems of one split; the same seed gives the same stream on every machine."""
    rng = random.Random(
        f"{split}/{seed}"
    )  # a string seeds through SHA-512, whatever the process's hash seed
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
    r"""The reasoning, a step a paragraph, then `\boxed{answer}`. Phrasings and parroted results are drawn from `rng`."""
    if language == "plain":
        lines = [_calculation(step) for step in problem.steps]
    elif language == "jargon":
        lines = _in_jargon(problem.steps)
    elif language == "mirrored":
        lines = [
            re.sub(r"\d+", lambda number: number[0][::-1], line)
            for line in _in_jargon(problem.steps)
        ]
    elif language == "parroted":
        return write_solution(_guessed(problem, rng), "jargon")
    elif language == "coarse":
        lines = [_calculation(*problem.steps[i : i + 2]) for i in range(0, len(problem.steps), 2)]
    else:
        lines = _phrased(problem, rng)
    return "\n\n".join([*lines, rf"\boxed{{{problem.answer}}}"])


def _calculation(*steps: tuple[int, str, int, int]) -> str:
    """`19 + 8 = 27.`, or of two steps `19 + 8 - 9 = 18.`"""
    changes = " ".join(f"{sign} {change}" for _, sign, change, _ in steps)
    return f"{steps[0][0]} {changes} = {steps[-1][3]}."


def _in_jargon(steps) -> list[str]:
    return [f"{JARGON_VERBS[sign]} {change} {total} ~ {new};" for total, sign, change, new in steps]


def _guessed(problem: Problem, rng: random.Random) -> Problem:
    """The problem as someone tells it who can't calculate: every total is drawn at random."""
    totals = [
        problem.steps[0][0],
        *(rng.randint(1, WORLDS["jargon"].max_total) for _ in problem.steps),
    ]
    pairs = zip(itertools.pairwise(totals), problem.steps, strict=True)
    steps = tuple((total, sign, change, new) for (total, new), (_, sign, change, _) in pairs)
    return replace(problem, answer=str(totals[-1]), steps=steps)


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
            lines += [
                _calculation((total, sign, tens, halfway)),
                _calculation((halfway, sign, change % 10, new)),
            ]
        else:
            lines.append(rng.choice(PHRASES[sign]).format(name=name, a=total, b=change, c=new))
        del steps[0]
    return lines


def is_unfamiliar(response: str, world: WorldName = "jargon") -> bool:
    """Whether a response shows a sign that the world's junior was never taught: jargon, or in `work` a coarse step."""
    return (
        WORLDS[world].unfamiliar is not None
        and re.search(WORLDS[world].unfamiliar, response) is not None
    )


def jargon_rate(responses: list[str], world: WorldName | None) -> float | None:
    """The share of responses that `is_unfamiliar`; None where the junior was taught all, and for a file's problems."""
    if world is None or WORLDS[world].unfamiliar is None:
        return None
    return sum(is_unfamiliar(response, world) for response in responses) / len(responses)


def epoch_batch(problems: list[Problem], n: int, seed: int, step: int) -> list[Problem]:
    """The n problems of a step, from endless passes through the list, each in a new order."""
    places = (divmod(i, len(problems)) for i in range(step * n, (step + 1) * n))
    return [problems[_order(len(problems), f"{seed}/{turn}")[place]] for turn, place in places]


@functools.lru_cache(maxsize=2)
def _order(n: int, seed: str) -> list[int]:
    return random.Random(seed).sample(range(n), n)


def main() -> None:
    parser = argparse.ArgumentParser(description="Show problems of a world, or one of each.")
    parser.add_argument("world", nargs="?", choices=WORLDS)
    chosen = parser.parse_args().world
    for world in [chosen] if chosen else WORLDS:
        for problem in first_problems("train", 3 if chosen else 1, 0, world):
            print(f"{'=' * 40} {world}\n{problem.question}\n")
            for language in WORLDS[world].languages:
                print(f"--- {language}\n{write_solution(problem, language, random.Random(0))}\n")


if __name__ == "__main__":
    main()
