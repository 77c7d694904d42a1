"""The paper's measures of a senior and its junior, and the command that compares runs by them.

    python evaluate.py runs/word runs/solo                     # side by side, from their eval.json
    python evaluate.py runs/*                                  # seeds of one run are a group
    python evaluate.py runs/word --problems 500 --samples 8    # measure again, on more problems
    python evaluate.py runs/word --handoff-curve               # the junior takes over for good
    python evaluate.py runs/* --json > results.json            # keep them: evaluate.py results.json
    python evaluate.py --transcripts FILE.jsonl --junior smollm2    # any system's responses

solo        the senior alone: pass@k
handoff     the two take turns, a reasoning step each (`step`; also `word`): pass@k of the team
drift       on solo's responses: KL(senior‖junior) a token; acceptance Σ min(senior, junior)
legibility  on the same: the junior's cross-entropy a token, given the prompt
"""

import math
import sys
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor
from tqdm import tqdm

from data.problems import Problem, jargon_rate
from data.tokenizer import Tokenizer
from model import GPT, autocast
from reward import verify_batch
from rollout import Rollout, compare_models, generate, make_handoff, put_back, seeded
from support.runs.progress import progress
from tandem import Handoff, Schedule, Uniforms

SCHEDULES: dict[str, Schedule] = {
    "solo": "solo",
    "handoff": "step",
    "handoff_word": "word",
}


@dataclass
class Sampling:
    """How evaluation samples. The defaults are the demonstration's.

    The paper has top_p 0.8, top_k 20 and 8 samples.
    """

    samples: int = 4  # of each problem
    temperature: float = 0.7
    top_p: float | None = None
    top_k: int | None = None
    max_new_tokens: int = 64
    max_turns: int = 150  # under `step`
    batch_size: int = 512  # rows at a time
    precision: str = "float32"
    prompt_template: str = "{question}"
    seed: int = 0

    @classmethod
    def from_config(cls, config) -> "Sampling":
        """A run's measurements. They have generators of their own, so they change no run."""
        return cls(
            samples=config.eval_samples,
            temperature=config.eval_temperature,
            max_new_tokens=config.max_new_tokens,
            batch_size=config.rollout_batch_size,
            precision=config.precision,
            prompt_template=config.prompt_template,
        )


@dataclass
class Answers:
    """Responses to N = problems × samples prompts under one schedule, and their verdicts."""

    problems: list[Problem]  # N, each problem `samples` times in a row
    rollout: Rollout
    texts: list[str]
    right: list[bool]


@torch.no_grad()
def evaluate(
    senior: GPT,
    junior: GPT,
    tokenizer: Tokenizer,
    problems: list[Problem],
    sampling: Sampling,
    label: str = "",
) -> tuple[dict, dict[str, Answers]]:
    """The paper's evaluation: solo, handoff (`step`, and ours, `word`), drift, legibility.

    Returns the measures, as eval.json has them, and the answers behind them by SCHEDULES' names.
    """
    n = sampling.samples
    N = len(problems) * n
    ks = [2**i for i in range(n.bit_length())]  # 1, 2, 4 … up to n
    answers = {}
    measures = {}
    with (
        autocast(sampling.precision, senior.device),
        progress_bar(f"evaluating {label}", 3 * N) as bar,
    ):
        for name, schedule in SCHEDULES.items():
            answers[name] = answer(senior, junior, tokenizer, problems, schedule, sampling, bar)
            right = right_samples(answers[name], n)
            measures[name] = {f"pass@{k}": fmean(pass_at_k(n, c, k) for c in right) for k in ks}
            if schedule != "solo":
                measures[name]["junior_fraction"] = junior_fraction(answers[name].rollout)
        if warning := without_junior(answers["handoff"]):
            bar.write(warning, file=sys.stderr)
        solo = answers["solo"]
        parts = []
        for rows in torch.arange(N).split(sampling.batch_size):
            parts.append(drift_and_legibility(senior, junior, solo.rollout[rows]))
    means = torch.cat(parts).mean(dim=0)  # (3,)
    kl, acceptance, cross_entropy = means.tolist()
    measures["drift"] = {"kl": kl, "acceptance": acceptance}
    measures["legibility"] = {"cross_entropy": cross_entropy}
    measures["jargon_rate"] = jargon_rate(solo.texts, problems[0].world)
    lengths = solo.rollout.mask.sum(dim=1)  # (N,)
    measures["response_length"] = fmean(lengths.tolist())
    return measures, answers


def answer(
    senior: GPT,
    junior: GPT,
    tokenizer: Tokenizer,
    problems: list[Problem],
    schedule: Schedule,
    sampling: Sampling,
    bar: tqdm,
) -> Answers:
    """`samples` responses to every problem under one schedule, each with its verdict.

    p_senior is 0.5 and max_gap 32, as in the paper, whatever a run trained with.
    """
    problems = [problem for problem in problems for _ in range(sampling.samples)]  # N
    template = sampling.prompt_template
    rollout = generate(
        senior,
        None if schedule == "solo" else junior,
        [tokenizer.prompt(problem.question, template) for problem in problems],
        make_handoff(schedule, tokenizer, senior),
        end=tokenizer.end,
        pad=tokenizer.pad,
        max_new_tokens=sampling.max_new_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        max_turns=sampling.max_turns if schedule == "step" else None,
        generator=seeded(sampling.seed, "evaluate", schedule),
        batch_size=sampling.batch_size,
        bar=bar,
    )
    texts = rollout.texts(tokenizer)
    right = verify_batch(texts, [problem.answer for problem in problems])
    return Answers(problems, rollout, texts, right)


def right_samples(answers: Answers, n: int) -> list[int]:
    """How many of its n samples are right, of each problem."""
    counts = []
    for start in range(0, len(answers.right), n):
        counts.append(sum(answers.right[start : start + n]))
    return counts


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased estimate that at least one of k samples is right, where c of n are.

    1 - C(n-c, k) / C(n, k)
    """
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def junior_fraction(rollout: Rollout) -> float:
    """The junior's share of all tokens."""
    by_senior = rollout.authorship.sum() / rollout.mask.sum()
    return 1 - by_senior.item()


def drift_and_legibility(senior: GPT, junior: GPT, rollout: Rollout) -> Tensor:
    """KL, acceptance and the junior's cross-entropy, a mean over each response's tokens.  (N, 3)

    KL and cross-entropy are in nats. The models' own distributions are compared: temperature 1,
    nothing cut off, whatever the responses were sampled with. The end token counts.
    """

    def measure(senior_logprobs: Tensor, junior_logprobs: Tensor, tokens: Tensor) -> Tensor:
        p = senior_logprobs.exp()  # (m, V)
        q = junior_logprobs.exp()  # (m, V)
        kl = (p * (senior_logprobs - junior_logprobs)).sum(dim=-1)  # (m,) Σ p log(p / q)
        acceptance = torch.minimum(p, q).sum(dim=-1)  # (m,) Σ min(p, q)
        cross_entropy = -junior_logprobs.gather(1, tokens[:, None])[:, 0]  # (m,)
        return torch.stack((kl, acceptance, cross_entropy), dim=1)  # (m, 3)

    mask = rollout.mask  # (N, T)
    lengths = mask.sum(dim=1)  # (N,)
    values = compare_models(measure, senior, junior, rollout, mask, temperature=1.0)  # (M, 3)
    means = []
    for column in values.unbind(dim=1):
        sums = put_back(column, mask).sum(dim=1)  # (N,)
        means.append(sums / lengths)
    return torch.stack(means, dim=1)


def without_junior(handoff: Answers) -> str | None:
    """A warning if the responses have no blank line, so that the junior never got a turn."""
    rollout = handoff.rollout
    alone = (rollout.authorship == rollout.mask).all(dim=1)  # (N,)
    of_several = []  # lines: whether the senior wrote all of them
    for text, senior_alone in zip(handoff.texts, alone.tolist(), strict=True):
        if "\n" in text.strip():
            of_several.append(senior_alone)
    if sum(of_several) <= 0.1 * len(of_several):
        return None
    count = f"{sum(of_several)} of {len(of_several)} responses of several lines"
    return (
        f"warning: handoff measures the senior alone in {count}: "
        "turns end at a blank line; see word by word"
    )


@torch.no_grad()
def solo_accuracy(
    model: GPT,
    tokenizer: Tokenizer,
    problems: list[Problem],
    sampling: Sampling,
) -> tuple[float, float | None]:
    """A model's solo pass@1, and the jargon rate of its responses (None in a world without)."""
    with progress_bar("validating", len(problems) * sampling.samples) as bar:
        answers = answer(model, model, tokenizer, problems, "solo", sampling, bar)
    return fmean(answers.right), jargon_rate(answers.texts, problems[0].world)


@torch.no_grad()
def handoff_curve(
    junior: GPT,
    solo: Answers,
    tokenizer: Tokenizer,
    sampling: Sampling,
    label: str = "",
) -> dict[str, float]:
    """Accuracy against the share of its solo response that the senior writes.

    Of a response of L tokens, the end token included, the senior writes the first ⌊f·L⌋. Then the
    junior takes over for good, within what is left of max_new_tokens. "0.0" is the junior alone,
    "1.0" the senior's response as it is.
    """
    N = len(solo.texts)
    curve = {}
    with (
        autocast(sampling.precision, junior.device),
        progress_bar(f"handoff curve {label}", 10 * N) as bar,
    ):
        for tenth in range(10):
            generator = seeded(sampling.seed, "handoff curve", tenth)
            uniforms = Uniforms(N, generator, junior.device)
            share = str(tenth / 10)
            curve[share] = taken_over(junior, solo, tenth, tokenizer, sampling, uniforms, bar)
    curve["1.0"] = fmean(solo.right)
    return curve


def taken_over(
    junior: GPT,
    solo: Answers,
    tenth: int,
    tokenizer: Tokenizer,
    sampling: Sampling,
    uniforms: Uniforms,
    bar: tqdm,
) -> float:
    """The accuracy if the junior finishes each response after so many tenths of the senior's."""
    rollout = solo.rollout
    begun = []  # of each response, the senior's first tokens
    for tokens, mask in zip(rollout.tokens, rollout.mask, strict=True):
        response = tokens[mask].tolist()
        begun.append(response[: tenth * len(response) // 10])
    texts = [rollout.prompts[row] + begun[row] for row in range(len(begun))]
    order = sorted(range(len(begun)), key=lambda row: len(begun[row]))  # like budgets together
    right = 0
    done = 0
    while done < len(order):
        part = order[done : done + sampling.batch_size]
        budget = sampling.max_new_tokens - len(begun[part[0]])  # the largest of the part
        room = junior.config.max_seq_len - budget
        lengths = [len(texts[row]) for row in part]
        while max(lengths) > room:  # the last ones wait for the next part
            lengths.pop()
        part = part[: len(lengths)]
        places = torch.arange(done, done + len(part))
        ending = generate(
            junior,
            None,
            [texts[row] for row in part],
            Handoff("solo"),
            end=tokenizer.end,
            pad=tokenizer.pad,
            max_new_tokens=budget,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            generator=uniforms.part(places),
            bar=bar,
        )
        finished = []
        for i, row in enumerate(part):
            own_budget = sampling.max_new_tokens - len(begun[row])
            written = ending.tokens[i][ending.mask[i]].tolist()
            finished.append(tokenizer.decode(begun[row] + written[:own_budget]))
        right += sum(verify_batch(finished, [solo.problems[row].answer for row in part]))
        done += len(part)
    return right / len(order)


def progress_bar(what: str, total: int) -> tqdm:
    """A tqdm of responses that leaves no trace."""
    return progress(total=total, desc=what.strip(), unit="response", leave=False)


if __name__ == "__main__":
    if any(word.startswith("--transcripts") for word in sys.argv[1:]):
        from support.people.transcripts import main
    else:
        from support.reports.compare import main

    main()
