"""A model in the raters' place: answers to a study, to try it out or to compare with people.

    python -m support.people machine study --junior data/junior.pt

No person takes part. The model does each task in its own way:

take-over  It goes on from the shown beginning.
check      It solves the problem itself, and calls a response right if the answers are the same. Of
           four tries, the number that agrees with the first says how sure it is.
rate       By its own cross-entropy of the response: from 5, below 0.1 nats a token, to 1, from 3
           nats on.
"""

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

from reward import equivalent, extract
from rollout import seeded
from support.people.score import read_key
from support.people.transcripts import Transcript, continue_texts, measure_surprise
from support.runs.devices import pick_device
from support.runs.options import UserError, command, parse, quoted
from support.runs.pair import load_any
from support.runs.progress import progress

TRIES = 4
RATING_STEPS = (0.1, 0.3, 1.0, 3.0)  # nats a token; each that is reached takes 1 from a rating of 5


@dataclass
class Options:
    study: str
    """directory that `make` wrote"""
    junior: str | None = None
    """the model: checkpoint, Hugging Face directory, GGUF file, smollm2, or name on the hub"""
    noise: float = 0.0
    """probability that an item is answered at random"""
    max_new_tokens: int = 64
    """tokens that the model may write"""
    temperature: float = 0.7
    """of the model"""
    seed: int = 0
    """of everything random"""
    device: str = "auto"
    """auto (CUDA, then MPS, then the CPU), cuda, mps or cpu"""

    def __post_init__(self):
        if self.junior is None:
            raise ValueError("--junior is missing: give a model, data/junior.pt for example")
        if not 0 <= self.noise <= 1 or self.max_new_tokens < 1 or self.temperature < 0:
            message = (
                "--noise lies between 0 and 1, --max-new-tokens is at least 1, --temperature 0"
            )
            raise ValueError(message)


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, __doc__)
    key = read_key(Path(options.study) / "key.json")
    out = Path(options.study) / "machine"
    if out.exists():
        raise UserError(f"{out} exists; score it, or delete it")
    junior, tokenizer = load_any(options.junior)
    junior = junior.to(pick_device(options.device)).eval()
    out.mkdir()
    for rater, items in progress(key["raters"].items(), "raters"):
        answers = answer_all(junior, tokenizer, items, key["prompt_template"], options, rater)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        content = {
            "format": "tandem-study",
            "version": 1,
            "study": key["study"],
            "rater": rater,
            "began": now,
            "finished": now,
            "withdrawn": False,
            "answers": answers,
            "machine": options.junior,
        }
        (out / f"rater-{rater}.json").write_text(json.dumps(content), encoding="utf-8")
    print(f"wrote {out}: python -m support.people score {quoted(options.study)} {quoted(out)}")


def answer_all(
    junior, tokenizer, items: list[dict], template: str, options, rater: str
) -> dict[str, dict]:
    """One rater's answers by item. Each rater has random numbers of their own."""
    answers = answers_in_writing(junior, tokenizer, items, template, options, rater)
    rng = random.Random(f"{options.seed}/{rater}")
    for item in items:
        number = item["id"]
        if item["task"] == "rate":
            rating = rate(junior, tokenizer, item, template)
            answers[number] = {"rating": rating, "stopped": ""}
        if rng.random() < options.noise:
            answers[number] |= guess(rng, answers[number])
        answers[number] |= item.get("expected", {})  # it can't read the checks of attention
    return answers


def answers_in_writing(
    junior, tokenizer, items: list[dict], template: str, options, rater: str
) -> dict[str, dict]:
    """The answers to the items that the model has to write something for: take-over and check."""
    over = [item for item in items if item["task"] == "take-over"]
    checked = [item for item in items if item["task"] == "check"]
    begun = [(item["question"], item["shown"]) for item in over]
    for item in checked:
        begun += [(item["question"], "")] * TRIES
    prompts = []
    for question, start in begun:
        prompts.append(tokenizer.prompt(question, template) + tokenizer.encode(start))
    texts = continue_texts(
        junior,
        tokenizer,
        prompts,
        options.max_new_tokens,
        batch_size=256,
        temperature=options.temperature,
        generator=seeded(options.seed, "machine", rater),
    )
    written = []  # an answer for each beginning, "" if there is none
    for (_, start), text in zip(begun, texts, strict=True):
        written.append(extract(start + text) or "")

    answers = {}
    for item, answer in zip(over, written[: len(over)], strict=True):
        answers[item["id"]] = {"working": "", "answer": answer}
    for n, item in enumerate(checked):
        first = len(over) + n * TRIES
        answers[item["id"]] = verdict(item["shown"], written[first : first + TRIES])
    return answers


def verdict(response: str, tries: list[str]) -> dict:
    """Whether a response has the answer of the first try, and how many tries have that answer."""
    first = tries[0]
    right = first != "" and equivalent(first, extract(response) or "")
    agreeing = sum(equivalent(other, first) for other in tries if other)
    return {"right": right, "sure": agreeing or 1}


def rate(junior, tokenizer, item: dict, template: str) -> int:
    """From 5, easy to follow, to 1: by the model's cross-entropy of the response."""
    response = Transcript(item["question"], item["shown"], None, "")
    response.encode(tokenizer, template)
    measure_surprise(junior, [response])
    cross_entropy = fmean(response.surprise)
    return 5 - sum(cross_entropy >= least for least in RATING_STEPS)


def guess(rng: random.Random, answer: dict) -> dict:
    """Random values for the fields that an answer has."""
    values = {
        "answer": str(rng.randint(0, 99)),
        "right": rng.random() < 0.5,
        "rating": rng.randint(1, 5),
    }
    return {name: value for name, value in values.items() if name in answer}
