"""The paper's four measures of a senior and its junior, and the command that compares runs by them (compare.py).

    python evaluate.py runs/word runs/solo                          # side by side, from their eval.json
    python evaluate.py runs/*                                       # runs that differ in their seed are a group
    python evaluate.py runs/word --problems 500 --samples 8         # measure again, on more problems
    python evaluate.py runs/word --handoff-curve                    # and where the junior takes over for good
    python evaluate.py runs/* --json > results.json                 # python evaluate.py results.json shows it again

solo        the senior alone: pass@k
handoff     the two take turns, a reasoning step each (`step`; also under `word`): pass@k of the team
drift       on the senior's solo responses: KL(senior‖junior) a token, and acceptance Σ min(senior, junior)
legibility  on the same: the junior's cross-entropy a token, given the prompt
"""

import math
from dataclasses import dataclass

import torch
from tqdm import tqdm

import ranks
import reward
from cli import command, parse
from config import Config
from data.problems import Problem, jargon_rate
from data.tokenizer import Tokenizer
from model import GPT, autocast
from rollout import Rollout, generate, generate_in_parts, handoff_for, log_probs, render, response_logits, seeded
from tandem import Handoff, Schedule, kl_exact

LOGITS = 2**28  # of a model that are compared at a time: a GB, or 1,800 tokens if the vocabulary has 150,000


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
    seed: int = 0


@dataclass
class Response:
    """One response: row `row` of a rollout, and the verifier's verdict."""

    problem: Problem
    rollout: Rollout
    row: int
    text: str
    right: bool


def sampling(config: Config) -> Sampling:
    """How the measurements before and after sample: with generators of their own, so that they change no run."""
    return Sampling(
        samples=config.eval_samples,
        temperature=config.eval_temperature,
        max_new_tokens=config.max_new_tokens,
        batch_size=config.rollout_rows,
        precision=config.precision,
    )


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased probability that at least one of k samples is right, c of n being so: 1 - C(n-c, k)/C(n, k)."""
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def drift_and_legibility(senior: GPT, junior: GPT, rollout: Rollout) -> dict[str, torch.Tensor]:
    """KL, acceptance and the junior's cross-entropy (nats), each a mean over the tokens of a response.  3 × (N,)

    The models' own distributions are compared, temperature 1 and nothing cut off, whatever the responses were sampled
    with. The end token counts.
    """
    select = rollout.mask  # (N, T)
    own = log_probs(response_logits(senior, rollout, select), 1.0)  # (M, V)
    partner = log_probs(response_logits(junior, rollout, select), 1.0)  # (M, V)
    tokens = rollout.tokens[select][:, None]  # (M, 1)
    per_token = {
        "kl": kl_exact(own, partner),  # (M,)
        "acceptance": torch.minimum(own.exp(), partner.exp()).sum(dim=-1),  # (M,)
        "cross_entropy": -partner.gather(1, tokens)[:, 0],  # (M,)
    }
    means = {}
    for name, values in per_token.items():
        table = torch.zeros_like(select, dtype=torch.float)  # (N, T)
        table[select] = values
        means[name] = table.sum(dim=1) / select.sum(dim=1)  # (N,)
    return means


def respond(
    senior: GPT,
    junior: GPT,
    problems: list[Problem],
    tokenizer: Tokenizer,
    schedule: Schedule,
    how: Sampling,
    bar: tqdm,
) -> list[Response]:
    """`how.samples` responses to every problem, one after the other, under one schedule.

    Its numbers are the paper's, p_senior 0.5 and max_gap 32, whatever a run trained with: runs are to be compared.
    """
    handoff = handoff_for(schedule, tokenizer, senior)
    asked = [problem for problem in problems for _ in range(how.samples)]  # a row each
    rollout = generate_in_parts(
        senior,
        None if schedule == "solo" else junior,
        [tokenizer.prompt(problem.question) for problem in asked],
        handoff,
        most=how.batch_size,
        end=tokenizer.end,
        pad=tokenizer.pad,
        max_new_tokens=how.max_new_tokens,
        temperature=how.temperature,
        top_p=how.top_p,
        top_k=how.top_k,
        max_turns=how.max_turns if schedule == "step" else None,
        generator=seeded(how.seed, "evaluate", schedule),
        bar=bar,
    )
    texts, own = rollout.text(tokenizer), ranks.share(len(asked))
    verdicts = ranks.gather(reward.verify_batch, texts[own], [problem.answer for problem in asked[own]])
    return list(map(Response, asked, [rollout] * len(asked), range(len(asked)), texts, verdicts))


def pass_rates(responses: list[Response], samples: int) -> dict[str, float]:
    """pass@1, pass@2, pass@4 … up to the number of samples, each averaged over the problems."""
    right = [response.right for response in responses]
    counts = [sum(right[i : i + samples]) for i in range(0, len(right), samples)]  # right ones of a problem
    ks = [2**i for i in range(samples.bit_length())]
    return {f"pass@{k}": mean([pass_at_k(samples, c, k) for c in counts]) for k in ks}


@torch.no_grad()
def evaluate(
    senior: GPT, junior: GPT, problems: list[Problem], tokenizer: Tokenizer, how: Sampling, label: str = ""
) -> tuple[dict, dict[str, list[Response]]]:
    """The paper's evaluation of a pair: solo, handoff (`step`, and ours, `word`), drift and legibility.

    Returns the measures, as eval.json has them, and the responses behind them: solo, handoff, handoff_word.
    """
    rows = len(problems) * how.samples
    with (
        autocast(how.precision, senior.device),
        tqdm(total=3 * rows, desc=f"evaluating {label}".strip(), unit="response", leave=False) as bar,
    ):
        names = {"solo": "solo", "handoff": "step", "handoff_word": "word"}
        responses = {
            name: respond(senior, junior, problems, tokenizer, schedule, how, bar) for name, schedule in names.items()
        }
    measures = {name: pass_rates(answers, how.samples) for name, answers in responses.items()}
    alone = responses["solo"]
    rollout = alone[0].rollout
    most = max(1, LOGITS // (rollout.mask.shape[1] * senior.config.vocab_size))
    parts = [rollout.rows(torch.tensor(part)) for part in ranks.parts(rows, min(most, how.batch_size))]
    with autocast(how.precision, senior.device):
        compared = ranks.gather(lambda: [drift_and_legibility(senior, junior, part) for part in parts])
    kl, acceptance, cross_entropy = (
        torch.cat([c[key] for c in compared]).mean().item() for key in ("kl", "acceptance", "cross_entropy")
    )
    measures["drift"] = {"kl": kl, "acceptance": acceptance}
    measures["legibility"] = {"cross_entropy": cross_entropy}
    measures["jargon_rate"] = jargon_rate([response.text for response in alone], problems[0].world)
    measures["response_length"] = mean([int(response.rollout.mask[response.row].sum()) for response in alone])
    return measures, responses


@torch.no_grad()
def solo_accuracy(
    model: GPT, problems: list[Problem], tokenizer: Tokenizer, how: Sampling
) -> tuple[float, float | None]:
    """A model's solo pass@1 and the jargon rate of its responses."""
    with tqdm(total=len(problems) * how.samples, desc="validating", unit="response", leave=False) as bar:
        responses = respond(model, model, problems, tokenizer, "solo", how, bar)
    return mean([r.right for r in responses]), jargon_rate([r.text for r in responses], problems[0].world)


def mean(values: list) -> float:
    """Of numbers or booleans."""
    return sum(values) / len(values)


def show_responses(responses: dict[str, list[Response]], tokenizer: Tokenizer, color: bool) -> str:
    """A right and a wrong response, where there are such: the senior's alone, and of the two turn by turn."""
    lines = []
    for name in ("solo", "handoff"):
        for right in (True, False):
            for response in [r for r in responses[name] if r.right == right][:1]:
                text = render(response.rollout, response.row, tokenizer, color).replace("\n\n", " ¶ ")
                verdict = "right" if right else f"wrong, the answer is {response.problem.answer}"
                lines.append(f"  {name}, {verdict}\n    {response.problem.question}\n    {text}")
    return "\n".join(lines)


@torch.no_grad()
def handoff_curve(
    junior: GPT, solo: list[Response], tokenizer: Tokenizer, how: Sampling, label: str = ""
) -> dict[str, float]:
    """Accuracy against the share of its solo response that the senior writes before the junior takes over for good.

    Of a response of L tokens, the end token included, the senior writes the first ⌊f·L⌋; the junior alone finishes it
    within what is left of max_new_tokens. "0.0" is the junior alone, "1.0" the senior: its response as it is.
    """
    accuracy, context = {}, junior.config.max_seq_len
    whole = [r.rollout.tokens[r.row][r.rollout.mask[r.row]].tolist() for r in solo]
    with (
        autocast(how.precision, junior.device),
        tqdm(total=10 * len(solo), desc=f"handoff curve {label}".strip(), unit="response", leave=False) as bar,
    ):
        for tenth in range(10):
            # (what the senior wrote, prompt, response) a row, the shortest first: rows of like budgets are read together.
            rows = [(w[: tenth * len(w) // 10], r.rollout.prompts[r.row], r) for w, r in zip(whole, solo, strict=True)]
            rows.sort(key=lambda row: len(row[0]))
            generator, texts = seeded(how.seed, "handoff curve", tenth), []
            while part := rows[len(texts) : len(texts) + how.batch_size]:
                budget = how.max_new_tokens - len(part[0][0])  # the largest of them
                fits = [len(prompt) + len(prefix) + budget <= context for prefix, prompt, _ in part]
                part = part[: fits.index(False)] if False in fits else part
                rollout = generate(
                    junior,
                    None,
                    [prompt + prefix for prefix, prompt, _ in part],
                    Handoff("solo"),
                    end=tokenizer.end,
                    pad=tokenizer.pad,
                    max_new_tokens=budget,
                    temperature=how.temperature,
                    top_p=how.top_p,
                    top_k=how.top_k,
                    generator=generator.clone_state(),
                    share=(len(texts), len(rows)),
                )
                for (prefix, _, _), tokens, kept in zip(part, rollout.tokens, rollout.mask, strict=True):
                    own = tokens[kept][: how.max_new_tokens - len(prefix)]  # no row knows of the others' budgets
                    texts.append(tokenizer.decode(prefix + own.tolist()))
                bar.update(len(part))
            right = sum(reward.verify_batch(texts, [response.problem.answer for _, _, response in rows]))
            accuracy[str(tenth / 10)] = right / len(solo)
    return accuracy | {"1.0": mean([response.right for response in solo])}


@command
def main(argv: list[str]) -> None:
    import compare  # it reads runs, and prints and draws what was measured here

    compare.compare(parse(compare.Options, argv, __doc__))


if __name__ == "__main__":
    main()
