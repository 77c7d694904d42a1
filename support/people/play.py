"""`python rollout.py DIR --human`: a person takes the junior's turns.

The verifier grades the response that the senior and the person wrote.
"""

import contextlib
import json
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import reward
import rollout
from data.problems import Problem
from support.reports.display import author_styles, printable
from support.runs.options import UserError, in_color

HELP = """\
  your text   is your turn: a reasoning step; under another --schedule any text, spaces included
  return      passes the turn
  :undo       takes back your last turn, and the senior's text after it
  :quit       ends; so do Ctrl-C and the end of input. The text so far is kept."""


@dataclass
class Turn:
    author: str  # senior or human
    ids: list[int]
    text: str
    seconds: float


class SeniorsTurn:
    """A handoff for `generate` with the senior alone.

    With max_turns=1 the senior's turn ends where the schedule hands over.
    """

    schedule = "solo"

    def __init__(self, handoff: rollout.Handoff):
        self.handoff = handoff
        self.next = handoff.next
        self.select = handoff.select

    def start(self, batch_size: int, generator=None, device=None):
        drawn = self.handoff.start(batch_size, generator, device)  # (B,)
        self.handoff.author = drawn | True  # the senior begins, whoever was drawn
        return self.handoff.author


class Game:
    """One response to one problem, as far as senior and person have written it."""

    def __init__(self, problem: Problem, number: int, senior, tokenizer, config, options):
        self.problem = problem
        self.number = number
        self.senior = senior
        self.tokenizer = tokenizer
        self.options = options
        self.limit = config.max_new_tokens
        self.prompt = tokenizer.prompt(problem.question, config.prompt_template)
        handoff = rollout.make_handoff(options.schedule, tokenizer, senior, config)
        self.handoff = SeniorsTurn(handoff)
        self.turns: list[Turn] = []
        self.draws = 0
        self.began = datetime.now(UTC)

    @property
    def text(self) -> str:
        return "".join(turn.text for turn in self.turns)

    @property
    def ids(self) -> list[int]:
        return [i for turn in self.turns for i in turn.ids]

    @property
    def over(self) -> bool:
        """Whether there is an answer, an end token, or no room."""
        ids = self.ids
        ends = self.tokenizer.end
        if not isinstance(ends, list):
            ends = [ends]
        ended = bool(ids) and ids[-1] in ends
        return ended or len(ids) >= self.limit or reward.extract(self.text) is not None

    def senior_writes(self) -> str:
        """The senior's next turn. It reads the whole text anew, so :undo leaves no trace."""
        began = time.monotonic()
        ids = self.ids
        self.draws += 1  # after :undo it draws anew
        written = rollout.generate(
            self.senior,
            None,
            [self.prompt + ids],
            self.handoff,
            end=self.tokenizer.end,
            pad=self.tokenizer.pad,
            max_new_tokens=self.limit - len(ids),
            temperature=self.options.temperature,
            generator=rollout.seeded(self.options.seed, "human", self.number, self.draws),
            max_turns=1,
        )
        new = written.tokens[0][written.mask[0]].tolist()
        text = self.tokenizer.decode(new)
        self.turns.append(Turn("senior", new, text, time.monotonic() - began))
        return text

    def person_writes(self, text: str, seconds: float) -> None:
        """A person's turn. ValueError for too long a text, or a character without a token."""
        if text and self.options.schedule == "step" and reward.extract(self.text + text) is None:
            text += "\n\n"  # the end of a step
        ids = self.tokenizer.encode(text)
        room = self.limit - len(self.ids)
        if len(ids) > room:
            message = f"that has {len(ids)} tokens, and {room} fit into this response; shorten it"
            raise ValueError(message)
        self.turns.append(Turn("human", ids, text, seconds))

    def undo(self) -> None:
        while self.turns and self.turns.pop().author == "senior":
            pass

    def verdict(self) -> bool | None:
        """Whether the response is right; None if it isn't over, or the problem has no answer."""
        if self.over and self.problem.answer:
            return reward.verify(self.text, self.problem.answer)
        return None

    def record(self) -> dict:
        """A line of human.jsonl. `authors` has s or h for each character of the response."""
        authors = ""
        turns = []
        for turn in self.turns:
            authors += turn.author[0] * len(turn.text)
            seconds = round(turn.seconds, 2)
            turns.append({"author": turn.author, "text": turn.text, "seconds": seconds})
        return {
            "question": self.problem.question,
            "answer": self.problem.answer,
            "response": self.text,
            "authors": authors,
            "turns": turns,
            "finished": self.over,
            "right": self.verdict(),
            "began": self.began.isoformat(timespec="seconds"),
            "schedule": self.options.schedule,
            "temperature": self.options.temperature,
            "seed": self.options.seed,
        }


def play(problems: list[Problem], senior, tokenizer, config, options) -> None:
    """A game for each problem. Finished or broken off, it becomes a line of DIR/human.jsonl."""
    path = Path(options.run) / "human.jsonl"
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 (with it, input() edits a line)
    print(f"The senior begins, then it is your turn.\n{HELP}")
    for number, problem in enumerate(problems):
        game = Game(problem, number, senior, tokenizer, config, options)
        print(f"\n{problem.question}\n")
        try:
            write_together(game, in_color(sys.stdout))
        finally:
            if game.turns:
                keep(game, path)
        ending = {True: "right", False: f"wrong, the answer is {problem.answer}", None: "done"}
        print(f"→ {ending[game.verdict()]}")
    print(f"\n{path} has a line for each response")


def write_together(game: Game, color: bool) -> None:
    """Turn by turn until it is over. SystemExit where the person ends it."""
    senior_style, person_style = author_styles(color)
    before, after = person_style.split("{}") if color else ("", "")
    while not game.over:
        if not game.turns or game.turns[-1].author == "human":
            text = printable(game.senior_writes().strip("\n"))
            print(senior_style.format(text), flush=True)
            continue
        began = time.monotonic()
        try:
            typed = input(f"{before}you> ")
        except EOFError:
            raise SystemExit(0) from None
        finally:
            print(after, end="", flush=True)
        if not sys.stdin.isatty():  # a terminal has shown it
            print(typed)
        word = typed.strip()
        if word == ":quit":
            raise SystemExit(0)
        if word == ":undo":
            game.undo()
        elif word.startswith(":"):
            print(HELP)
        else:
            try:
                game.person_writes(typed, time.monotonic() - began)
            except ValueError as error:
                print(error)


def keep(game: Game, path: Path) -> None:
    """Add the game's line to the file. UserError with the response if it can't be written."""
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(game.record()) + "\n")
    except OSError as error:
        message = f"{path} can't be written ({error.strerror}); the response was {game.text!r}"
        raise UserError(message) from None
