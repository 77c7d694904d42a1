"""`python rollout.py DIR --human`: a person takes the junior's turns, and the verifier grades what the two wrote."""

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
from support.reports.display import author_styles
from support.runs.options import UserError

HELP = """  your text   is your turn: a reasoning step; under another --schedule whatever you type, spaces included
  return      passes the turn
  :undo       takes back your last turn, and what the senior wrote after it
  :quit       ends; so do Ctrl-C and the end of input. What was written is kept."""


@dataclass
class Turn:
    author: str  # senior or human
    ids: list[int]
    text: str
    seconds: float


class SeniorsTurn:
    """A handoff for the senior alone, by which `generate` stops (max_turns=1) where the schedule hands over."""

    schedule = "solo"

    def __init__(self, handoff: rollout.Handoff):
        self.handoff, self.next, self.select = handoff, handoff.next, handoff.select

    def start(self, batch_size: int, generator=None, device=None):
        self.handoff.author = (
            self.handoff.start(batch_size, generator, device) | True
        )  # (B,) whatever was drawn
        return self.handoff.author


class Game:
    """One response to one problem, as far as senior and person have written it."""

    def __init__(self, problem: Problem, number: int, senior, tokenizer, config, options):
        self.problem, self.number = problem, number
        self.senior, self.tokenizer, self.options, self.limit = (
            senior,
            tokenizer,
            options,
            config.max_new_tokens,
        )
        self.prompt = tokenizer.prompt(problem.question, config.prompt_template)
        self.handoff = SeniorsTurn(
            rollout.make_handoff(options.schedule, tokenizer, senior, config)
        )
        self.turns: list[Turn] = []
        self.draws, self.began = 0, datetime.now(UTC)

    @property
    def text(self) -> str:
        return "".join(turn.text for turn in self.turns)

    @property
    def ids(self) -> list[int]:
        return [i for turn in self.turns for i in turn.ids]

    @property
    def over(self) -> bool:
        """Whether there is an answer, an end token, or no room."""
        ids, end = self.ids, self.tokenizer.end
        ended = bool(ids) and ids[-1] in (end if isinstance(end, list) else [end])
        return ended or len(ids) >= self.limit or reward.extract(self.text) is not None

    def senior_writes(self) -> str:
        """The senior's next turn. It reads all that was written before, so nothing depends on what was taken back."""
        began, ids = time.monotonic(), self.ids
        self.draws += 1  # after :undo it draws anew
        generator = rollout.seeded(self.options.seed, "human", self.number, self.draws)
        limits = {
            "end": self.tokenizer.end,
            "pad": self.tokenizer.pad,
            "max_new_tokens": self.limit - len(ids),
        }
        sampling = {"temperature": self.options.temperature, "generator": generator, "max_turns": 1}
        written = rollout.generate(
            self.senior, None, [self.prompt + ids], self.handoff, **limits, **sampling
        )
        own = written.tokens[0][written.mask[0]].tolist()
        self.turns.append(Turn("senior", own, self.tokenizer.decode(own), time.monotonic() - began))
        return self.turns[-1].text

    def person_writes(self, text: str, seconds: float) -> None:
        """A person's turn. ValueError for a character that the tokenizer lacks, and for too long a text."""
        if text and self.options.schedule == "step" and reward.extract(self.text + text) is None:
            text += "\n\n"  # the end of a step
        ids, room = self.tokenizer.encode(text), self.limit - len(self.ids)
        if len(ids) > room:
            raise ValueError(
                f"that has {len(ids)} tokens, and {room} fit into this response; shorten it"
            )
        self.turns.append(Turn("human", ids, text, seconds))

    def undo(self) -> None:
        while self.turns and self.turns.pop().author == "senior":
            pass

    def record(self) -> dict:
        """A line of human.jsonl. `authors` has a letter for each character of the response: s or h."""
        turns = [
            {"author": turn.author, "text": turn.text, "seconds": round(turn.seconds, 2)}
            for turn in self.turns
        ]
        graded = self.over and self.problem.answer
        return {
            "question": self.problem.question,
            "answer": self.problem.answer,
            "response": self.text,
            "authors": "".join(turn.author[0] * len(turn.text) for turn in self.turns),
            "turns": turns,
            "finished": self.over,
            "right": reward.verify(self.text, self.problem.answer) if graded else None,
            "began": self.began.isoformat(timespec="seconds"),
            **{name: getattr(self.options, name) for name in ("schedule", "temperature", "seed")},
        }


def play(problems: list[Problem], senior, tokenizer, config, options) -> None:
    """A game for each problem. Finished or broken off, it becomes a line of DIR/human.jsonl."""
    path, color = Path(options.run) / "human.jsonl", sys.stdout.isatty()
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 (with it, input() edits a line)
    print(f"The senior begins, then it is your turn.\n{HELP}")
    for number, problem in enumerate(problems):
        game = Game(problem, number, senior, tokenizer, config, options)
        print(f"\n{problem.question}\n")
        try:
            write_together(game, color)
        finally:
            if game.turns:
                keep(game, path)
        right = game.record()["right"]
        print(
            {True: "→ right", False: f"→ wrong, the answer is {problem.answer}", None: "→ done"}[
                right
            ]
        )
    print(f"\n{path} has a line for each response")


def write_together(game: Game, color: bool) -> None:
    """Turn by turn until it is over. SystemExit where the person ends it."""
    senior_style, person_style = author_styles(color)
    before, after = person_style.split("{}") if color else ("", "")
    while not game.over:
        if not game.turns or game.turns[-1].author == "human":
            print(senior_style.format(game.senior_writes().strip("\n")), flush=True)
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
        command = typed.strip()
        if command == ":quit":
            raise SystemExit(0)
        if command == ":undo":
            game.undo()
        elif command.startswith(":"):
            print(HELP)
        else:
            try:
                game.person_writes(typed, time.monotonic() - began)
            except ValueError as error:
                print(error)


def keep(game: Game, path: Path) -> None:
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(game.record()) + "\n")
    except OSError as error:
        raise UserError(
            f"{path} can't be written ({error.strerror}); the response was {game.text!r}"
        ) from None
