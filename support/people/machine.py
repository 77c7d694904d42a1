"""A model in the raters' place: answers to a study, to try it out or to compare with people. No person took part in it.

    python -m support.people machine study --junior data/junior.pt

take-over: the model goes on from what is shown. check: it solves the problem itself, and takes a response for right if
its answer is the same; of four tries, as many as agree with the first say how sure. rate: by its own cross-entropy of the
response, from 5, below 0.1 nats a token, to 1, from 3 nats on.
"""

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

from tqdm import tqdm

from reward import equivalent, extract
from rollout import seeded
from support.people.score import read_key
from support.people.transcripts import Transcript, continued, read_all
from support.runs.options import UserError, command, parse, pick_device
from support.runs.pair import load_any

TRIES = 4
STRANGE = (0.1, 0.3, 1.0, 3.0)  # nats a token, from each of which on the rating is one less


@dataclass
class Options:
    study: str
    """directory that `make` wrote"""
    junior: str | None = None
    """the model: checkpoint, Hugging Face directory, GGUF file, or smollm2"""
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
            raise ValueError(
                "--noise lies between 0 and 1, --max-new-tokens is at least 1, --temperature 0"
            )


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, __doc__)
    key, out = read_key(Path(options.study) / "key.json"), Path(options.study) / "machine"
    if out.exists():
        raise UserError(f"{out} exists; score it, or delete it")
    junior, tokenizer = load_any(options.junior)
    junior = junior.to(pick_device(options.device)).eval()
    out.mkdir()
    for rater, items in tqdm(key["raters"].items(), "raters"):
        answers = answer_all(junior, tokenizer, items, key["prompt_template"], options, rater)
        content = {"format": "tandem-study", "version": 1, "study": key["study"], "rater": rater}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        content |= {
            "began": now,
            "finished": now,
            "withdrawn": False,
            "answers": answers,
            "machine": options.junior,
        }
        (out / f"rater-{rater}.json").write_text(json.dumps(content), encoding="utf-8")
    print(f"wrote {out}: python -m support.people score {options.study} {out}/*.json")


def answer_all(
    junior, tokenizer, items: list[dict], template: str, options, rater: str
) -> dict[str, dict]:
    """One rater's answers by item. Its draws are its own."""
    rng, answers = random.Random(f"{options.seed}/{rater}"), {}
    over = [item for item in items if item["task"] == "take-over"]
    checked = [item for item in items if item["task"] == "check"]
    begun = [(item, item["shown"]) for item in over] + [
        (item, "") for item in checked for _ in range(TRIES)
    ]
    prompts = [
        tokenizer.prompt(item["question"], template) + tokenizer.encode(start)
        for item, start in begun
    ]
    sampling = {
        "temperature": options.temperature,
        "generator": seeded(options.seed, "machine", rater),
    }
    texts = continued(
        junior, tokenizer, prompts, options.max_new_tokens, batch_size=256, **sampling
    )
    found = [extract(start + text) or "" for (_, start), text in zip(begun, texts, strict=True)]
    for item, own in zip(over, found, strict=False):
        answers[item["id"]] = {"working": "", "answer": own}
    for n, item in enumerate(checked):
        own = found[len(over) + n * TRIES :][:TRIES]
        right = equivalent(own[0], extract(item["shown"]) or "") if own[0] else False
        answers[item["id"]] = {
            "right": right,
            "sure": sum(equivalent(other, own[0]) for other in own if other) or 1,
        }
    for item in items:
        if item["task"] == "rate":
            response = Transcript(item["question"], item["shown"], None, "")
            response.encode(tokenizer, template)
            read_all(junior, [response])
            strange = fmean(response.surprise)
            answers[item["id"]] = {
                "rating": 5 - sum(strange >= least for least in STRANGE),
                "stopped": "",
            }
        if rng.random() < options.noise:
            guess = {
                "answer": str(rng.randint(0, 99)),
                "right": rng.random() < 0.5,
                "rating": rng.randint(1, 5),
            }
            answers[item["id"]] |= {
                name: guess[name] for name in guess if name in answers[item["id"]]
            }
        answers[item["id"]] |= item.get("expected", {})  # it can't read what checks attention
    return answers
