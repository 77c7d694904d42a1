"""How well a junior follows transcripts of any system: no training, no run, a file and a small model.

    python evaluate.py --transcripts FILE.jsonl --junior smollm2
    python evaluate.py --transcripts runs/word/human.jsonl --junior data/junior.pt --json

A line is {"question", "response", "answer", "group"}; the last two may be missing. Of each group, with 95% intervals by
Student's t over its questions:

solo        the share of responses that are right
legibility  the junior's cross-entropy of a response, nats a token, asked the question in its own chat template
handoff     the share that come out right if the junior alone goes on after 0, ¼, ½ or ¾ of the reasoning steps
"""

import json
import math
import re
import sys
from dataclasses import dataclass, field
from itertools import groupby
from statistics import fmean
from typing import Literal

import torch
from tqdm import tqdm

from model import GPT, autocast
from reward import extract, verify, verify_batch
from rollout import generate, seeded, token_logprobs
from support.reports.compare import measures_table
from support.reports.results import interval
from support.runs.options import UserError, command, option, parse, pick_device
from support.runs.pair import load_any
from support.runs.problem_files import read_json_lines, read_problems, short
from tandem import Handoff

SHARES = (0.0, 0.25, 0.5, 0.75)  # of the steps, before the junior goes on
MEASURES = (
    ("solo ↑", "solo", 1.0),
    ("legibility: junior's cross-entropy, nats ↓", "cross_entropy", math.inf),
    *((f"handoff after {share:.0%} of the steps ↑", f"handoff/{share}", 1.0) for share in SHARES),
    ("reasoning steps", "steps", math.inf),
)
STRETCH = 40  # tokens that are shown of a response
SURPRISED = (1.0, 3.0)  # nats, from where a token is yellow, and red


@dataclass
class Options:
    transcripts: str | None = None
    """JSON Lines file of {"question", "response", "answer", "group"}; the last two may be missing"""
    junior: str | None = None
    """the model that reads and goes on: checkpoint, Hugging Face directory, GGUF file, or smollm2"""
    data: str | None = None
    """JSON Lines file of {"question", "answer"}, for transcripts without an answer"""
    prompt_template: str = "{question}"
    """the junior is asked this"""
    chat_template: Literal["own", "none"] = "own"
    """own: the junior's, if it has one; none: the question and a blank line"""
    samples: int = 1
    """ways in which the junior goes on, at each of the four points"""
    max_new_tokens: int = 512
    """tokens that the junior may add"""
    temperature: float = 0.7
    """of the junior"""
    worst: int = 3
    """responses of which the least legible stretch is shown"""
    batch_size: int = 64
    """responses that the junior goes on with at a time"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """of matrix products and attention"""
    seed: int = 0
    """of the junior's draws"""
    json: bool = False
    """print the results as JSON, with every transcript"""
    device: str = "auto"
    """auto (CUDA, then MPS, then the CPU), cuda, mps or cpu"""

    def __post_init__(self):
        for name, needed in (
            ("transcripts", "a JSON Lines file"),
            ("junior", "a model, smollm2 for example"),
        ):
            if getattr(self, name) is None:
                raise ValueError(f"{option(name)} is missing: give {needed}")
        if (
            min(self.samples, self.max_new_tokens, self.batch_size) < 1
            or self.worst < 0
            or self.temperature < 0
        ):
            raise ValueError(
                "--samples, --max-new-tokens and --batch-size are at least 1, the other numbers 0"
            )
        if "{question}" not in self.prompt_template:
            raise ValueError(
                "--prompt-template has no {question} in it, where the question is put; write it there"
            )


@dataclass
class Transcript:
    question: str
    response: str
    answer: str | None
    group: str
    prompt: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    surprise: list[float] = field(
        default_factory=list
    )  # -log p of each token under the junior, nats
    handoff: dict[str, float] = field(default_factory=dict)  # accuracy by share of the steps

    @property
    def right(self) -> bool | None:
        return None if self.answer is None else verify(self.response, self.answer)

    @property
    def steps(self) -> list[str]:
        """The reasoning steps, with what ends them: paragraphs, or lines where there is one paragraph alone."""
        end = "\n\n" if "\n\n" in self.response.strip() else "\n"
        return re.split(rf"(?<={end})(?!\s)", self.response.strip())

    def begun(self, share: float) -> str:
        """The first ⌊share · steps⌋ steps."""
        steps = self.steps
        return "".join(steps[: int(share * len(steps))])

    def encode(self, tokenizer, template: str) -> None:
        """Set prompt and tokens. ValueError for a character that the tokenizer lacks."""
        self.prompt, self.tokens = (
            tokenizer.prompt(self.question, template),
            tokenizer.encode(self.response),
        )

    def measures(self) -> dict:
        found = {
            "solo": self.right,
            "cross_entropy": fmean(self.surprise),
            "steps": len(self.steps),
        }
        return found | {f"handoff/{share}": self.handoff.get(str(share)) for share in SHARES}


def read_transcripts(path: str, answers: dict[str, str]) -> list[Transcript]:
    """The lines of a file; an answer that is missing is the one of `answers`. UserError names a bad line."""

    def read(row) -> Transcript:
        texts = [
            row.get(name) if isinstance(row, dict) else None for name in ("question", "response")
        ]
        if not all(isinstance(text, str) and text.strip() for text in texts):
            found, expected = (
                short(json.dumps(row)),
                '{"question": "…", "response": "…"}, neither empty',
            )
            raise ValueError(
                f'found {found}; expected {expected}, and "answer" and "group" if you have them'
            )
        answer, group = row.get("answer"), row.get("group", "all")
        answer = (
            answers.get(texts[0])
            if answer in (None, "")
            else (extract(str(answer)) or str(answer).strip())
        )
        return Transcript(*texts, answer, str(group))

    return read_json_lines(path, read)


def prepare(
    transcripts: list[Transcript], tokenizer, template: str, context: int
) -> list[Transcript]:
    """With tokens; without those that are longer than the junior's context, which a line counts."""
    for number, transcript in enumerate(transcripts, 1):
        try:
            transcript.encode(tokenizer, template)
        except ValueError as error:
            raise UserError(f"transcript {number}: {error}") from None
    fits = [t for t in transcripts if len(t.prompt) + len(t.tokens) < context]
    if not fits:
        raise UserError(
            f"no transcript fits the junior's context of {context} tokens; give another --junior"
        )
    if len(fits) < len(transcripts):
        left_out = len(transcripts) - len(fits)
        print(
            f"left out: {left_out} longer than the junior's context of {context} tokens",
            file=sys.stderr,
        )
    for group in dict.fromkeys(t.group for t in fits):
        answers = [t.answer for t in fits if t.group == group]
        if missing := answers.count(None):
            note = f"{missing} of {len(answers)} responses have no answer, so no accuracy; give them, or --data"
            print(f"group {group}: {note}", file=sys.stderr)
    return fits


@torch.no_grad()
def read_all(junior: GPT, transcripts: list[Transcript]) -> None:
    """The junior's surprise at each token of each response."""
    for transcript in tqdm(transcripts, "reading", unit="response", leave=False):
        text = torch.tensor(
            [transcript.prompt + transcript.tokens], device=junior.device
        )  # (1, P + T)
        states = junior.hidden(text)[0, len(transcript.prompt) - 1 : -1]  # (T, C)
        transcript.surprise = (
            -token_logprobs(junior, states, text[0, len(transcript.prompt) :], 1.0)
        ).tolist()


def continued(model: GPT, tokenizer, begun: list[list[int]], most: int, **sampling) -> list[str]:
    """What a model alone writes after each of these prompts with the beginning of a response: at most so many tokens.

    Fewer if its context has no room after the longest. `sampling` are further arguments of `generate`.
    """
    room = min(most, model.config.max_seq_len - max(map(len, begun)))
    limits = {"end": tokenizer.end, "pad": tokenizer.pad, "max_new_tokens": room}
    return generate(model, None, begun, Handoff("solo"), **limits, **sampling).texts(tokenizer)


def go_on(junior: GPT, tokenizer, transcripts: list[Transcript], options) -> None:
    """The accuracy of each response that has an answer if the junior goes on after a share of its steps."""
    graded = [t for t in transcripts if t.answer is not None]
    with tqdm(
        total=len(graded) * len(SHARES) * options.samples,
        desc="going on",
        unit="response",
        leave=False,
    ) as bar:
        for share in SHARES:
            begun = {id(t): t.prompt + tokenizer.encode(t.begun(share)) for t in graded}
            rows = sorted(
                [t for t in graded for _ in range(options.samples)], key=lambda t: len(begun[id(t)])
            )
            right = {id(t): [] for t in graded}
            for first in range(0, len(rows), options.batch_size):
                part = rows[first : first + options.batch_size]
                generator = seeded(options.seed, "transcripts", share, first)
                sampling = {"temperature": options.temperature, "generator": generator, "bar": bar}
                written = continued(
                    junior,
                    tokenizer,
                    [begun[id(t)] for t in part],
                    options.max_new_tokens,
                    **sampling,
                )
                texts = [t.begun(share) + text for t, text in zip(part, written, strict=True)]
                for t, verdict in zip(
                    part, verify_batch(texts, [t.answer for t in part]), strict=True
                ):
                    right[id(t)].append(verdict)
            for t in graded:
                t.handoff[str(share)] = fmean(right[id(t)])


def by_question(transcripts: list[Transcript]) -> dict[str, list[dict]]:
    """{group: measurements, one a question: the mean of its transcripts}. None where an answer is missing."""
    groups = {}
    for transcript in transcripts:
        groups.setdefault(transcript.group, {}).setdefault(transcript.question, []).append(
            transcript.measures()
        )
    return {
        group: [mean_of(some) for some in questions.values()] for group, questions in groups.items()
    }


def mean_of(measured: list[dict]) -> dict:
    columns = {name: [row[name] for row in measured] for name in measured[0]}
    means = {name: None if None in values else fmean(values) for name, values in columns.items()}
    handoff = {str(share): means.pop(f"handoff/{share}") for share in SHARES}
    return means | {"handoff": handoff}


def stretch(transcript: Transcript) -> tuple[int, int]:
    """The STRETCH tokens at which the junior is most surprised together."""
    size = min(STRETCH, len(transcript.tokens))
    sums = torch.tensor(transcript.surprise).unfold(0, size, 1).sum(dim=1)  # (T - size + 1,)
    first = int(sums.argmax())
    return first, first + size


def show(transcript: Transcript, tokenizer, color: bool) -> str:
    """The least legible stretch: red or ⟦in brackets⟧ where the junior is surprised, yellow where a little."""
    first, end = stretch(transcript)
    level = [sum(surprise >= least for least in SURPRISED) for surprise in transcript.surprise]
    text = "" if first == 0 else "… "
    for found, part in groupby(range(first, end), key=level.__getitem__):
        piece = tokenizer.decode([transcript.tokens[t] for t in part]).replace("\n\n", " ¶ ")
        style = ("{}", "\x1b[33m{}\x1b[0m", "\x1b[31m{}\x1b[0m") if color else ("{}", "{}", "⟦{}⟧")
        text += style[found].format(piece)
    return text + ("" if end == len(transcript.tokens) else " …")


def summary(groups: dict[str, list[dict]]) -> dict:
    """{group: {measure: [mean, low, high]}}: what the table shows, for --json; None where it shows nothing."""
    found = {}
    for group, measured in groups.items():
        found[group] = {"questions": len(measured)}
        for _, path, upper in MEASURES:
            values = [
                row["handoff"][path[8:]] if path.startswith("handoff") else row[path]
                for row in measured
            ]
            spread = (
                interval(list(map(float, values)), 0, upper)
                if None not in values
                else (math.nan,) * 3
            )
            found[group][path] = [None if math.isnan(number) else number for number in spread]
    return found


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, __doc__)
    device = pick_device(options.device)
    junior, tokenizer = load_any(options.junior, options.chat_template)
    junior = junior.to(device).eval()
    answers = {}
    if options.data:
        problems, _ = read_problems(
            options.data, tokenizer, options.prompt_template, junior.config.max_seq_len
        )
        answers = {problem.question: problem.answer for problem in problems}
    transcripts = read_transcripts(options.transcripts, answers)
    transcripts = prepare(
        transcripts, tokenizer, options.prompt_template, junior.config.max_seq_len
    )
    with autocast(options.precision, device):
        read_all(junior, transcripts)
        go_on(junior, tokenizer, transcripts, options)
    groups = by_question(transcripts)
    worst = sorted(transcripts, key=lambda t: -fmean(t.surprise))[: options.worst]
    if options.json:
        lines = [
            {"question": t.question, "response": t.response, "group": t.group, **t.measures()}
            for t in transcripts
        ]
        print(
            json.dumps({"junior": options.junior, "groups": summary(groups), "transcripts": lines})
        )
        return
    print(measures_table(groups, f"the junior is {options.junior}", MEASURES))
    print(
        f"\n{len(transcripts)} responses; three questions or more: mean [95% confidence interval by Student's t]"
    )
    color = sys.stdout.isatty()
    how = (
        "red where the junior is surprised, yellow where a little"
        if color
        else "⟦where the junior is surprised⟧"
    )
    for transcript in worst:
        print(f"\n{transcript.group}, {fmean(transcript.surprise):.2f} nats a token ({how})")
        print(f"  {transcript.question}\n  {show(transcript, tokenizer, color)}")


if __name__ == "__main__":
    main()
