"""The paper's measures of a senior and its junior, and the command that compares runs by them.

    python evaluate.py runs/word runs/solo                          # side by side, from their eval.json
    python evaluate.py runs/*                                       # runs that differ in their seed are a group
    python evaluate.py runs/word --problems 500 --samples 8         # measure again, on more problems
    python evaluate.py runs/word --handoff-curve                    # and where the junior takes over for good
    python evaluate.py runs/* --json > results.json                 # python evaluate.py results.json shows it again
    python evaluate.py --transcripts FILE.jsonl --junior smollm2    # how well a junior follows any system's responses

solo        the senior alone: pass@k
handoff     the two take turns, a reasoning step each (`step`; also under `word`): pass@k of the team
drift       on the senior's solo responses: KL(senior‖junior) a token, and acceptance Σ min(senior, junior)
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
from rollout import (
    Rollout,
    generate,
    in_chunks,
    make_handoff,
    put_back,
    response_states,
    seeded,
    to_logprobs,
)
from tandem import Handoff, Schedule, Uniforms


@dataclass
class Sampling:
    """How evaluation samples. The demonstration's defaults; the paper's are top_p 0.8, top_k 20, 8 samples."""

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

    def distribution(self, tokenizer: Tokenizer) -> dict:
        """Arguments of `generate`."""
        ids = {"end": tokenizer.end, "pad": tokenizer.pad}
        return ids | {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k}


@dataclass
class Answers:
    """Responses to N = problems × samples prompts under one schedule, and the verifier's verdicts."""

    problems: list[Problem]  # N, each problem `samples` times in a row
    rollout: Rollout
    texts: list[str]
    right: list[bool]


def answer(
    senior, junior, tokenizer, problems, schedule: Schedule, sampling: Sampling, bar: tqdm
) -> Answers:
    """`samples` responses to every problem under one schedule.

    p_senior is 0.5 and max_gap 32, as in the paper, whatever a run trained with: runs are to be compared.
    """
    problems = [problem for problem in problems for _ in range(sampling.samples)]  # N
    rollout = generate(
        senior,
        None if schedule == "solo" else junior,
        [tokenizer.prompt(problem.question, sampling.prompt_template) for problem in problems],
        make_handoff(schedule, tokenizer, senior),
        max_new_tokens=sampling.max_new_tokens,
        max_turns=sampling.max_turns if schedule == "step" else None,
        generator=seeded(sampling.seed, "evaluate", schedule),
        batch_size=sampling.batch_size,
        bar=bar,
        **sampling.distribution(tokenizer),
    )
    texts = rollout.texts(tokenizer)
    return Answers(
        problems, rollout, texts, verify_batch(texts, [problem.answer for problem in problems])
    )


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased probability that at least one of k samples is right, c of n being so: 1 - C(n-c, k)/C(n, k)."""
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def drift_and_legibility(senior: GPT, junior: GPT, rollout: Rollout) -> dict[str, Tensor]:
    """KL, acceptance and the junior's cross-entropy (nats), each a mean over the tokens of a response.  3 × (N,)

    The models' own distributions are compared, temperature 1 and nothing cut off, whatever the responses were sampled
    with. The end token counts.
    """
    mask = rollout.mask  # (N, T)
    V, tokens, lengths = (
        senior.config.vocab_size,
        rollout.tokens[mask],
        mask.sum(dim=1),
    )  # (M,), (N,)
    senior_states, junior_states = (
        response_states(model, rollout, mask) for model in (senior, junior)
    )  # (M, C) each

    def compare(
        senior_states: Tensor, junior_states: Tensor, tokens: Tensor
    ) -> Tensor:  # -> (m, 3)
        senior_logprobs = to_logprobs(senior.head(senior_states), 1.0)  # (m, V)
        junior_logprobs = to_logprobs(junior.head(junior_states), 1.0)  # (m, V)
        p, q = senior_logprobs.exp(), junior_logprobs.exp()  # (m, V) each
        kl = (p * (senior_logprobs - junior_logprobs)).sum(
            dim=-1
        )  # KL(senior‖junior) = Σ p log(p / q)
        acceptance = torch.minimum(p, q).sum(dim=-1)  # Σ min(p, q)
        cross_entropy = -junior_logprobs.gather(1, tokens[:, None])[:, 0]
        return torch.stack((kl, acceptance, cross_entropy), dim=1)

    columns = in_chunks(compare, V, senior_states, junior_states, tokens).unbind(dim=1)  # (M,) each
    names = ("kl", "acceptance", "cross_entropy")
    return {
        name: put_back(x, mask).sum(dim=1) / lengths for name, x in zip(names, columns, strict=True)
    }


@torch.no_grad()
def evaluate(
    senior: GPT,
    junior: GPT,
    tokenizer: Tokenizer,
    problems: list[Problem],
    sampling: Sampling,
    label: str = "",
) -> tuple[dict, dict[str, Answers]]:
    """The paper's evaluation of a pair: solo, handoff (`step`, and ours, `word`), drift and legibility.

    Returns the measures, as eval.json has them, and the answers behind them: solo, handoff, handoff_word.
    """
    n, N = sampling.samples, len(problems) * sampling.samples
    schedules: dict[str, Schedule] = {"solo": "solo", "handoff": "step", "handoff_word": "word"}
    answers, measures, parts = {}, {}, []
    with (
        autocast(sampling.precision, senior.device),
        tqdm(total=3 * N, desc=f"evaluating {label}".strip(), unit="response", leave=False) as bar,
    ):
        for name, schedule in schedules.items():
            some = answers[name] = answer(
                senior, junior, tokenizer, problems, schedule, sampling, bar
            )
            right = [
                sum(some.right[i : i + n]) for i in range(0, N, n)
            ]  # right samples of each problem
            ks = [2**i for i in range(n.bit_length())]  # 1, 2, 4 … up to the number of samples
            measures[name] = {f"pass@{k}": fmean(pass_at_k(n, c, k) for c in right) for k in ks}
            if schedule != "solo":
                by_senior = some.rollout.authorship.sum() / some.rollout.mask.sum()
                measures[name]["junior_fraction"] = 1 - by_senior.item()
            if name == "handoff" and (warning := without_junior(some)):
                bar.write(warning, file=sys.stderr)
        solo = answers["solo"]
        for rows in torch.arange(N).split(sampling.batch_size):
            parts.append(drift_and_legibility(senior, junior, solo.rollout[rows]))
    kl, acceptance, cross_entropy = (
        torch.cat([part[name] for part in parts]).mean().item()
        for name in ("kl", "acceptance", "cross_entropy")
    )
    measures["drift"] = {"kl": kl, "acceptance": acceptance}
    measures["legibility"] = {"cross_entropy": cross_entropy}
    measures["jargon_rate"] = jargon_rate(solo.texts, problems[0].world)
    measures["response_length"] = fmean(solo.rollout.mask.sum(dim=1).tolist())
    return measures, answers


def without_junior(handoff: Answers) -> str | None:
    """What to say where handoff is the senior's solo under another name, as the responses have no step's end."""
    no_junior = (handoff.rollout.authorship == handoff.rollout.mask).all(dim=1).tolist()  # N
    several = [
        alone for alone, text in zip(no_junior, handoff.texts, strict=True) if "\n" in text.strip()
    ]
    if sum(several) <= 0.1 * len(several):
        return None
    of_several = f"{sum(several)} of {len(several)} responses of several lines"
    return f"warning: handoff measures the senior alone in {of_several}: turns end at a blank line; see word by word"


@torch.no_grad()
def solo_accuracy(model: GPT, tokenizer: Tokenizer, problems: list[Problem], sampling: Sampling):
    """A model's solo pass@1, and the jargon rate of its responses (None where there is no jargon)."""
    with tqdm(
        total=len(problems) * sampling.samples, desc="validating", unit="response", leave=False
    ) as bar:
        answers = answer(model, model, tokenizer, problems, "solo", sampling, bar)
    return fmean(answers.right), jargon_rate(answers.texts, problems[0].world)


@torch.no_grad()
def handoff_curve(
    junior: GPT, solo: Answers, tokenizer: Tokenizer, sampling: Sampling, label: str = ""
) -> dict[str, float]:
    """Accuracy against the share of its solo response that the senior writes before the junior takes over for good.

    Of a response of L tokens, the end token included, the senior writes the first ⌊f·L⌋; the junior alone finishes it
    within what is left of max_new_tokens. "0.0" is the junior alone, "1.0" the senior: its response as it is.
    """
    N, curve = len(solo.texts), {}
    with (
        autocast(sampling.precision, junior.device),
        tqdm(
            total=10 * N, desc=f"handoff curve {label}".strip(), unit="response", leave=False
        ) as bar,
    ):
        for tenth in range(10):
            uniforms = Uniforms(N, seeded(sampling.seed, "handoff curve", tenth), junior.device)
            curve[str(tenth / 10)] = taken_over(
                junior, solo, tenth, tokenizer, sampling, uniforms, bar
            )
    return curve | {"1.0": fmean(solo.right)}


def taken_over(
    junior, solo: Answers, tenth: int, tokenizer, sampling: Sampling, uniforms: Uniforms, bar
) -> float:
    """The accuracy of responses that the junior finishes after so many tenths of the senior's."""
    rollout, N = solo.rollout, len(solo.texts)
    begun = []  # of each response, the senior's first tokens
    for tokens, mask in zip(rollout.tokens, rollout.mask, strict=True):
        response = tokens[mask].tolist()
        begun.append(response[: tenth * len(response) // 10])
    order = sorted(
        range(N), key=lambda row: len(begun[row])
    )  # rows of like budgets are written together
    right = done = 0
    while part := order[done : done + sampling.batch_size]:
        budget = sampling.max_new_tokens - len(begun[part[0]])  # the largest of the part
        room = junior.config.max_seq_len - budget
        fits = [len(rollout.prompts[row]) + len(begun[row]) <= room for row in part]
        part = part[: fits.index(False)] if False in fits else part
        ending = generate(
            junior,
            None,
            [rollout.prompts[row] + begun[row] for row in part],
            Handoff("solo"),
            max_new_tokens=budget,
            generator=uniforms.part(torch.arange(done, done + len(part))),
            bar=bar,
            **sampling.distribution(tokenizer),
        )
        texts = []
        for row, tokens, mask in zip(part, ending.tokens, ending.mask, strict=True):
            limit = sampling.max_new_tokens - len(begun[row])  # its own, whatever the part's is
            texts.append(tokenizer.decode(begun[row] + tokens[mask][:limit].tolist()))
        right += sum(verify_batch(texts, [solo.problems[row].answer for row in part]))
        done += len(part)
    return right / N


if __name__ == "__main__":
    if any(word.startswith("--transcripts") for word in sys.argv[1:]):
        from support.people.transcripts import main
    else:
        from support.reports.compare import main

    main()
