"""How well a junior follows transcripts of any system. It needs a file and a small model, no run.

    python evaluate.py --transcripts FILE.jsonl --junior smollm2
    python evaluate.py --transcripts runs/word/human.jsonl --junior data/junior.pt --json

A line is {"question", "response", "answer", "group"}; the last two may be missing. The command
prints of each group, with 95% intervals by Student's t over its questions:

solo        the share of responses that are right
legibility  the junior's cross-entropy of a response, nats a token; it is asked the question in its
            own chat template
handoff     the share of right responses if the junior alone goes on after 0, ¼, ½ or ¾ of the
            reasoning steps
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

from model import GPT, autocast
from reward import verify, verify_batch
from rollout import generate, seeded, token_logprobs
from support.reports.display import printable
from support.reports.measures import interval, measures_table
from support.runs.devices import pick_device
from support.runs.json_lines import read_json_lines, short
from support.runs.options import UserError, command, in_color, option, parse
from support.runs.pair import load_any
from support.runs.problem_files import final_answer, read_problems
from support.runs.progress import progress
from tandem import Handoff

SHARES = (0.0, 0.25, 0.5, 0.75)  # of the steps, before the junior goes on
TRANSCRIPT_MEASURES = (  # label, path, largest possible value
    ("solo ↑", "solo", 1.0),
    ("legibility: junior's cross-entropy, nats ↓", "cross_entropy", math.inf),
    ("handoff after 0% of the steps ↑", "handoff/0.0", 1.0),
    ("handoff after 25% of the steps ↑", "handoff/0.25", 1.0),
    ("handoff after 50% of the steps ↑", "handoff/0.5", 1.0),
    ("handoff after 75% of the steps ↑", "handoff/0.75", 1.0),
    ("reasoning steps", "steps", math.inf),
)
STRETCH = 40  # tokens that are shown of a response
SURPRISED = (1.0, 3.0)  # nats, from where a token is yellow, and red


@dataclass
class Options:
    transcripts: str | None = None
    """JSON Lines file of {"question", "response"} and, if there are, {"answer", "group"}"""
    junior: str | None = None
    """the model that reads and goes on: checkpoint, Hugging Face directory, GGUF file, smollm2, or
    name on the hub"""
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
        needed = {"transcripts": "a JSON Lines file", "junior": "a model, smollm2 for example"}
        for name, example in needed.items():
            if getattr(self, name) is None:
                raise ValueError(f"{option(name)} is missing: give {example}")
        counts = min(self.samples, self.max_new_tokens, self.batch_size)
        if counts < 1 or self.worst < 0 or self.temperature < 0:
            ones = "--samples, --max-new-tokens and --batch-size"
            raise ValueError(f"{ones} are at least 1, the other numbers 0")
        if "{question}" not in self.prompt_template:
            place = "where the question is put; write it there"
            raise ValueError(f"--prompt-template has no {{question}} in it, {place}")


@dataclass
class Transcript:
    question: str
    response: str
    answer: str | None
    group: str
    prompt: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    surprise: list[float] = field(default_factory=list)  # -log p of each token, nats
    handoff: dict[str, float] = field(default_factory=dict)  # accuracy by share of the steps

    @property
    def right(self) -> bool | None:
        return None if self.answer is None else verify(self.response, self.answer)

    @property
    def steps(self) -> list[str]:
        return reasoning_steps(self.response)

    def begun(self, share: float) -> str:
        """The first ⌊share · steps⌋ steps."""
        count = int(share * len(self.steps))
        return "".join(self.steps[:count])

    def encode(self, tokenizer, template: str) -> None:
        """Set prompt and tokens. ValueError for a character that the tokenizer lacks."""
        self.prompt = tokenizer.prompt(self.question, template)
        self.tokens = tokenizer.encode(self.response)
        if not self.tokens:  # an empty response is an end at once
            self.tokens = [tokenizer.closing]

    def measures(self) -> dict:
        measures = {
            "solo": self.right,
            "cross_entropy": fmean(self.surprise),
            "steps": len(self.steps),
        }
        for share in SHARES:
            measures[f"handoff/{share}"] = self.handoff.get(str(share))
        return measures


def reasoning_steps(response: str) -> list[str]:
    """The paragraphs of a response, or the lines of a single one, each with its line breaks."""
    response = response.strip()
    end = "\n\n" if "\n\n" in response else "\n"
    return re.split(rf"(?<={end})(?!\s)", response)


# ---- Reading -------------------------------------------------------------------------------------


def read_transcripts(path: str, answers: dict[str, str]) -> list[Transcript]:
    """The transcripts in a file. UserError names a bad line.

    `answers` by question take the place of answers that are missing.
    """

    def read_row(row) -> Transcript:
        if not isinstance(row, dict) or not has_texts(row):
            expected = '{"question": "…", "response": "…"}, no empty question'
            optional = '"answer" and "group" if you have them'
            message = f"found {short(json.dumps(row))}; expected {expected}, and {optional}"
            raise ValueError(message)
        question, answer = row["question"], row.get("answer")
        if answer in (None, ""):
            answer = answers.get(question)
        else:
            answer = final_answer(answer)
        return Transcript(question, row["response"], answer, str(row.get("group", "all")))

    return read_json_lines(path, read_row)


def has_texts(row: dict) -> bool:
    """Whether a row's question and response are texts. The response may be empty, and is wrong."""
    question = row.get("question")
    response = row.get("response")
    asked = isinstance(question, str) and question.strip() != ""
    return asked and isinstance(response, str)


def prepare(
    transcripts: list[Transcript], tokenizer, template: str, context: int
) -> list[Transcript]:
    """The transcripts that fit the junior's context, encoded. A line counts the others."""
    for number, transcript in enumerate(transcripts, 1):
        try:
            transcript.encode(tokenizer, template)
        except ValueError as error:
            raise UserError(f"transcript {number}: {error}") from None
    fits = [t for t in transcripts if len(t.prompt) + len(t.tokens) < context]
    limit = f"the junior's context of {context} tokens"
    if not fits:
        raise UserError(f"no transcript fits {limit}; give another --junior")
    left_out = len(transcripts) - len(fits)
    if left_out:
        print(f"left out: {left_out} longer than {limit}", file=sys.stderr)
    warn_of_missing_answers(fits)
    return fits


def warn_of_missing_answers(transcripts: list[Transcript]) -> None:
    """A line on stderr for each group that has responses without an answer."""
    groups = {}
    for transcript in transcripts:
        groups.setdefault(transcript.group, []).append(transcript.answer)
    for group, answers in groups.items():
        missing = answers.count(None)
        if missing:
            count = f"{missing} of {len(answers)} responses have no answer"
            note = f"{count}, so no accuracy; give them, or --data"
            print(f"group {group}: {note}", file=sys.stderr)


# ---- Measuring -----------------------------------------------------------------------------------


@torch.no_grad()
def measure_surprise(junior: GPT, transcripts: list[Transcript]) -> None:
    """Set the junior's surprise at each token of each response."""
    for transcript in progress(transcripts, "reading", unit="response", leave=False):
        P = len(transcript.prompt)
        text = torch.tensor(transcript.prompt + transcript.tokens, device=junior.device)  # (P + T,)
        states = junior.hidden(text[None])[0, P - 1 : -1]  # (T, C), each predicts the next token
        logprobs = token_logprobs(junior, states, text[P:], 1.0)  # (T,)
        transcript.surprise = (-logprobs).tolist()


def continue_texts(
    model: GPT, tokenizer, begun: list[list[int]], max_new_tokens: int, **sampling
) -> list[str]:
    """Let a model continue each text, a prompt and the beginning of a response.

    It adds at most `max_new_tokens` tokens, fewer if its context has no room after the longest
    text. `sampling` are further arguments of `generate`.
    """
    longest = max(map(len, begun))
    room = min(max_new_tokens, model.config.max_seq_len - longest)
    rollout = generate(
        model,
        None,
        begun,
        Handoff("solo"),
        end=tokenizer.end,
        pad=tokenizer.pad,
        max_new_tokens=room,
        **sampling,
    )
    return rollout.texts(tokenizer)


def measure_handoff(junior: GPT, tokenizer, transcripts: list[Transcript], options) -> None:
    """Set each response's accuracy if the junior goes on after a share of its steps.

    A response without an answer has none.
    """
    graded = [t for t in transcripts if t.answer is not None]
    total = len(graded) * len(SHARES) * options.samples
    with progress(total=total, desc="going on", unit="response", leave=False) as bar:
        for share in SHARES:
            right = go_on_after(share, junior, tokenizer, graded, options, bar)
            for transcript, verdicts in zip(graded, right, strict=True):
                transcript.handoff[str(share)] = fmean(verdicts)


def go_on_after(
    share: float, junior: GPT, tokenizer, graded: list[Transcript], options, bar
) -> list[list[bool]]:
    """Of each transcript `samples` verdicts if the junior goes on after a share of its steps."""
    begun = [t.begun(share) for t in graded]
    prompts = []
    for transcript, text in zip(graded, begun, strict=True):
        prompts.append(transcript.prompt + tokenizer.encode(text))
    rows = [i for i in range(len(graded)) for _ in range(options.samples)]
    rows.sort(key=lambda i: len(prompts[i]))  # so that a batch has little padding

    right = [[] for _ in graded]
    for first in range(0, len(rows), options.batch_size):
        part = rows[first : first + options.batch_size]
        written = continue_texts(
            junior,
            tokenizer,
            [prompts[i] for i in part],
            options.max_new_tokens,
            temperature=options.temperature,
            generator=seeded(options.seed, "transcripts", share, first),
            bar=bar,
        )
        texts = [begun[i] + text for i, text in zip(part, written, strict=True)]
        answers = [graded[i].answer for i in part]
        for i, verdict in zip(part, verify_batch(texts, answers), strict=True):
            right[i].append(verdict)
    return right


def by_question(transcripts: list[Transcript]) -> dict[str, list[dict]]:
    """{group: measurements, one a question}, each the mean of the question's transcripts.

    A measure that a transcript lacks, for want of an answer, is None.
    """
    groups = {}
    for transcript in transcripts:
        questions = groups.setdefault(transcript.group, {})
        questions.setdefault(transcript.question, []).append(transcript.measures())
    means = {}
    for group, questions in groups.items():
        means[group] = [mean_of(measured) for measured in questions.values()]
    return means


def mean_of(measured: list[dict]) -> dict:
    """The mean of each measure, those of the handoff in a table; None if a value is missing."""
    means = {"handoff": {}}
    for name in measured[0]:
        values = [row[name] for row in measured]
        mean = None if None in values else fmean(values)
        if name.startswith("handoff/"):
            means["handoff"][name.removeprefix("handoff/")] = mean
        else:
            means[name] = mean
    return means


def group_intervals(groups: dict[str, list[dict]]) -> dict:
    """{group: {measure: [mean, low, high]}}, the numbers of the table; None where it has none."""
    results = {}
    for group, measured in groups.items():
        results[group] = {"questions": len(measured)}
        for _, path, upper in TRANSCRIPT_MEASURES:
            results[group][path] = [None] * 3
            values = [value_at(row, path) for row in measured]
            if None not in values:
                spread = interval(values, 0, upper)
                results[group][path] = [None if math.isnan(x) else x for x in spread]
    return results


def value_at(measured: dict, path: str) -> float | None:
    """A measure of a question, or None."""
    if path.startswith("handoff/"):
        value = measured["handoff"][path.removeprefix("handoff/")]
    else:
        value = measured[path]
    return None if value is None else float(value)


# ---- Showing -------------------------------------------------------------------------------------


def stretch(transcript: Transcript) -> tuple[int, int]:
    """The first and the end of the STRETCH tokens that surprise the junior most together."""
    size = min(STRETCH, len(transcript.tokens))
    surprise = torch.tensor(transcript.surprise)  # (T,)
    sums = surprise.unfold(0, size, 1).sum(dim=1)  # (T - size + 1,)
    first = int(sums.argmax())
    return first, first + size


def show(transcript: Transcript, tokenizer, color: bool) -> str:
    """The least legible stretch: red or ⟦in brackets⟧ where the junior is surprised.

    In colour it is yellow where the junior is surprised a little.
    """
    styles = ("{}", "{}", "⟦{}⟧")  # by how many of SURPRISED a token reaches
    if color:
        styles = ("{}", "\x1b[33m{}\x1b[0m", "\x1b[31m{}\x1b[0m")
    levels = []
    for surprise in transcript.surprise:
        levels.append(sum(surprise >= least for least in SURPRISED))
    first, end = stretch(transcript)
    text = "" if first == 0 else "… "
    for level, part in groupby(range(first, end), key=levels.__getitem__):
        piece = printable(tokenizer.decode([transcript.tokens[t] for t in part]))
        text += styles[level].format(piece.replace("\n\n", " ¶ "))
    return text + ("" if end == len(transcript.tokens) else " …")


def print_json(options, groups: dict[str, list[dict]], transcripts: list[Transcript]) -> None:
    lines = []
    for transcript in transcripts:
        texts = {"question": transcript.question, "response": transcript.response}
        lines.append(texts | {"group": transcript.group} | transcript.measures())
    results = {"junior": options.junior, "groups": group_intervals(groups), "transcripts": lines}
    print(json.dumps(results))


def print_table(
    options, groups: dict[str, list[dict]], transcripts: list[Transcript], tokenizer
) -> None:
    """The table of the groups, and the responses that surprise the junior most."""
    print(measures_table(groups, f"the junior is {options.junior}", TRANSCRIPT_MEASURES))
    intervals = "three questions or more: mean [95% confidence interval by Student's t]"
    print(f"\n{len(transcripts)} responses; {intervals}")
    color = in_color(sys.stdout)
    how = "⟦where the junior is surprised⟧"
    if color:
        how = "red where the junior is surprised, yellow where a little"
    worst = sorted(transcripts, key=lambda t: -fmean(t.surprise))
    for transcript in worst[: options.worst]:
        print(f"\n{transcript.group}, {fmean(transcript.surprise):.2f} nats a token ({how})")
        print(f"  {transcript.question}\n  {show(transcript, tokenizer, color)}")


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, __doc__)
    device = pick_device(options.device)
    junior, tokenizer = load_any(options.junior, options.chat_template)
    junior = junior.to(device).eval()
    context = junior.config.max_seq_len
    answers = {}
    if options.data:
        problems, _ = read_problems(options.data, tokenizer, options.prompt_template, context)
        answers = {problem.question: problem.answer for problem in problems}
    transcripts = read_transcripts(options.transcripts, answers)
    transcripts = prepare(transcripts, tokenizer, options.prompt_template, context)
    with autocast(options.precision, device):
        measure_surprise(junior, transcripts)
        measure_handoff(junior, tokenizer, transcripts, options)
    groups = by_question(transcripts)
    if options.json:
        print_json(options, groups, transcripts)
    else:
        print_table(options, groups, transcripts, tokenizer)


if __name__ == "__main__":
    main()
