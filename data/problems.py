"""The world: arithmetic word problems, and two languages in which to reason about them.

    python -m data.problems            # print a few problems with both solutions

A problem is a question in words and the number that answers it; its 2-4 steps of addition and subtraction can be
written down in *plain* (`19 + 8 = 27.`) or in *jargon* (`zub 8 19 ~ 27;`), which nobody reads who hasn't learnt it.
The generator is endless and seeded. A hash of the question decides its split, so no problem is in two of them.
"""

import hashlib
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

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


if __name__ == "__main__":
    for problem in take("train", 3, seed=0):
        print(f"{problem.question}\n\n{write_solution(problem, 'plain')}\n\n--- in jargon ---\n")
        print(f"{write_solution(problem, 'jargon')}\n\n{'=' * 80}")
