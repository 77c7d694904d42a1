"""The numbers of a step: diagnostics of its update, and the line in metrics.jsonl. README.md explains how to read them."""

import math

import torch
from torch import Tensor

from data.problems import jargon_rate
from rollout import Rollout
from support import ranks


def mini_batch_stats(parts: list[dict], grad_norm: Tensor, total: Tensor, read: Tensor, step: int) -> dict[str, float]:
    """A mini-batch's diagnostics from those of its parts. FloatingPointError if the loss or the gradient isn't finite."""
    zero, stats = grad_norm.new_zeros(()), {"grad_norm": float(grad_norm)}
    for name in ("loss", "approx_kl", "clip_fraction"):
        value = ranks.sum(sum((part[name] for part in parts), zero))
        if name != "loss":  # a mean over the tokens that were read again
            value = value * total / ranks.sum(read)
        stats[name] = float(value)
    stats["ratio_error"] = float(ranks.max(max((part["ratio_error"] for part in parts), default=zero)))
    for name, key in (("loss", "loss"), ("gradient", "grad_norm")):
        if not math.isfinite(stats[key]):
            raise FloatingPointError(
                f"step {step}: the {name} is not finite; a smaller --learning-rate may help a new run"
            )
    return stats


def batch_stats(stats: list[dict], mini_batches: int) -> dict[str, float]:
    """Means over the mini-batches that had a gradient. The ratio is that of the first: it must be 1, up to rounding."""
    names = ("loss", "grad_norm", "approx_kl", "clip_fraction")
    means = {name: sum(some[name] for some in stats) / max(1, len(stats)) for name in names}
    first = stats[0]["ratio_error"] if stats else 0.0
    return means | {"update_ratio_error": first, "skipped_updates": mini_batches - len(stats)}


def metrics(step, rollout: Rollout, texts, rewards, A, stats: dict, problems, tokenizer, group_size: int) -> dict:
    """The line of a step in metrics.jsonl, but for the times. Sums are added up over the ranks, then divided."""
    lengths = rollout.mask.sum(dim=1)  # (N,)
    last = rollout.tokens.gather(1, lengths[:, None] - 1)[:, 0]  # (N,)
    truncated = ~torch.isin(last, torch.tensor(tokenizer.end, device=last.device))  # (N,)
    authors = rollout.authorship  # (N, T)
    handoffs = (authors[:, 1:] != authors[:, :-1]) & rollout.mask[:, 1:]  # (N, T - 1)
    flat = (A == 0).view(-1, group_size).all(dim=1)  # (P,) groups that teach nothing
    surprise = -(rollout.senior_logprobs * authors).sum()  # nats; a mean of it estimates the senior's entropy
    jargon, N = jargon_rate(texts, problems[0].world), len(A)
    ratios = {
        "reward": (rewards.sum(), N),
        "senior_fraction": (authors.sum(), lengths.sum()),
        "handoffs": (handoffs.sum(), N),
        "zero_advantage_fraction": (flat.sum(), len(flat)),
        "response_length": (lengths.sum(), N),
        "truncated_fraction": (truncated.sum(), N),
    }
    means = {name: float(ranks.sum(above) / ranks.sum(below)) for name, (above, below) in ratios.items()}
    return {
        "step": step,
        **means,
        **stats,
        "entropy": float(ranks.sum(surprise)) / max(1, int(ranks.sum(authors.sum()))),
        "jargon_rate": None if jargon is None else float(ranks.sum(jargon)) / ranks.size(),
        "tokens": int(ranks.sum(lengths.sum())),  # Run makes tokens_per_second of it
    }
