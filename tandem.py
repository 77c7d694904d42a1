"""The method: who writes the next token, what a response is worth, and the loss on what the senior wrote.

`Handoff` decides the author of every token; `advantages` compares the rewards within a group; `policy_loss` is
REINFORCE, or GRPO's clipped objective, behind the senior gate. It knows nothing of models: log-probabilities go in.

Left out, as in the paper: a KL term and an entropy bonus in the objective (`kl_k3` and `kl_exact` at the end serve the
`kl_reg` control and the evaluation), and any credit within a response: every token of it has the same advantage.
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

Schedule = Literal["word", "token", "step", "chunk", "alternate", "solo"]
Baseline = Literal["group", "rloo", "ema", "none"]


class Handoff:
    """Decides, token by token and row by row, who writes: True the senior, False the junior. `word` is the paper's.

    At a trigger, `word` and `token` draw the author anew (the senior with probability p_senior; it may stay the same),
    and the strict turns of `step`, `chunk` and `alternate` hand over for certain:

    | schedule    | trigger                                                   | first author |
    | word        | a token that begins a word, or max_gap tokens since a draw| drawn        |
    | token       | every token                                               | drawn        |
    | step        | a token with the step delimiter in it                     | senior       |
    | chunk       | `chunk` tokens since the last handoff                     | senior       |
    | alternate   | every token                                               | senior       |
    | solo        | nothing: always the senior                                | senior       |

    boundary, delimiter: (V,) bool over the vocabulary, which tokens begin a word, which end a step.
    `drew` (B,) bool says, after `start` and after each `next`, whose author was drawn just now.
    Raises ValueError naming the argument that is wrong.
    """

    def __init__(
        self,
        schedule: Schedule,
        *,
        p_senior: float = 0.5,
        max_gap: int = 32,
        chunk: int = 16,
        boundary: Tensor | None = None,
        delimiter: Tensor | None = None,
    ):
        if schedule not in get_args(Schedule):
            raise ValueError(f"schedule is {schedule!r}; choose from {', '.join(get_args(Schedule))}")
        if not (isinstance(p_senior, int | float) and 0 <= p_senior <= 1):
            raise ValueError(f"p_senior is {p_senior!r}; a probability lies between 0 and 1")
        for name, value in (("max_gap", max_gap), ("chunk", chunk)):
            if not (isinstance(value, int) and value >= 1):
                raise ValueError(f"{name} is {value!r}; it counts tokens and is at least 1")
        for name, mask, user in (("boundary", boundary, "word"), ("delimiter", delimiter, "step")):
            if mask is None and schedule == user:
                raise ValueError(
                    f"{name} is missing: the schedule {user!r} needs this (V,) bool mask of the vocabulary"
                )
            if mask is not None and not (isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.dim() == 1):
                raise ValueError(f"{name} must be a (V,) bool tensor over the vocabulary")
        self.schedule, self.p_senior, self.max_gap, self.chunk = schedule, p_senior, max_gap, chunk
        self.boundary, self.delimiter = boundary, delimiter
        self.drawn = schedule in ("word", "token")

    def start(self, batch_size: int, generator: torch.Generator | None = None, device=None) -> Tensor:
        """The author of each row's first token.  (B,) bool

        All randomness comes from `generator` (torch's own if None), which may be on another device than the rows.
        """
        self.generator, self.batch_size = generator, batch_size
        self.device = torch.device("cpu" if device is None else device)
        masks = (self.boundary, self.delimiter)
        self.boundary, self.delimiter = (mask if mask is None else mask.to(self.device) for mask in masks)  # (V,)
        self.rows = torch.arange(batch_size, device=self.device)  # (B,) where a row stood at the start
        self.gap = torch.zeros_like(self.rows)  # (B,) tokens since the last trigger
        self.drew = torch.full_like(self.rows, self.drawn, dtype=torch.bool)  # (B,)
        self.author = self._draw() if self.drawn else torch.ones_like(self.drew)  # (B,)
        return self.author

    def next(self, tokens: Tensor) -> Tensor:
        """The author of each row's next token, given the tokens (B,) just emitted.  (B,) bool"""
        if tokens.shape != self.author.shape:
            raise ValueError(
                f"tokens is {tuple(tokens.shape)}, not one of each of the {len(self.author)} rows that go on"
            )
        self.gap = self.gap + 1  # (B,)
        triggered = self._triggered(tokens)  # (B,) bool
        self.gap = self.gap.masked_fill(triggered, 0)
        if self.drawn:
            self.drew = triggered
            self.author = torch.where(triggered, self._draw(), self.author)
        else:
            self.author = self.author ^ triggered
        return self.author

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows (indices into the present ones) alone; their draws stay what they would have been."""
        self.rows, self.gap, self.drew, self.author = (x[rows] for x in (self.rows, self.gap, self.drew, self.author))

    def _triggered(self, tokens: Tensor) -> Tensor:
        match self.schedule:
            case "word":
                return self.boundary[tokens] | (self.gap >= self.max_gap)
            case "step":
                return self.delimiter[tokens]
            case "chunk":
                return self.gap >= self.chunk
            case _:  # token and alternate: always; solo: never
                return torch.full_like(self.author, self.schedule != "solo")

    def _draw(self) -> Tensor:
        # One number for every row that there was at the start: a row's draws depend on no other row's fate.
        where = self.generator.device if self.generator is not None else self.device
        uniform = torch.rand(self.batch_size, generator=self.generator, device=where).to(self.device)[self.rows]  # (B,)
        return uniform < self.p_senior


def check_authorship(handoff: Handoff, senior_tokens: int, junior_tokens: int, draws: int, senior_draws: int) -> None:
    """RuntimeError if the authors, counted since the run began, are not those that the schedule asks for.

    A lost authorship mask turns tandem RL into plain RL without a word, so it is tested and not trusted. Draws may be
    6 standard deviations from p_senior (chance: 2 in 10⁹); an author who is due to write must have by 1,000 tokens.
    """
    p = handoff.p_senior if handoff.drawn else 0.5
    if handoff.schedule == "solo":
        if junior_tokens:
            raise RuntimeError(f"schedule solo, but the junior wrote {junior_tokens} tokens: the authorship is wrong")
        return
    if handoff.drawn and (variance := draws * p * (1 - p)) >= 100:  # enough for the normal approximation
        deviation = (senior_draws - draws * p) / math.sqrt(variance)
        if abs(deviation) > 6:
            raise RuntimeError(
                f"the senior got {senior_draws} of {draws} draws, {deviation:+.1f} standard deviations from "
                f"p_senior = {p}: the draws are not what they should be"
            )
    for author, tokens, share in (("senior", senior_tokens, p), ("junior", junior_tokens, 1 - p)):
        due = not handoff.drawn or draws == 0 or draws * share >= 30  # 30 draws expected, none fell: chance e^-30
        if tokens == 0 and senior_tokens + junior_tokens >= 1000 and due and share > 0:
            raise RuntimeError(
                f"the {author} wrote none of {senior_tokens + junior_tokens} tokens under schedule {handoff.schedule}: "
                "no tandem; check the masks, or choose smaller chunks"
            )


def advantages(
    rewards: Tensor,
    group_size: int,
    baseline: Baseline = "group",
    *,
    normalize_std: bool = False,
    running_mean: float | None = None,
) -> Tensor:
    """How much better each response did than was to be expected: A_j in the paper's objective.  (N,) -> (N,)

    Groups are contiguous rows: the `group_size` rollouts of one prompt. The baseline is the group's mean, the mean of
    the *others* in it (`rloo`), a running mean that the caller keeps (`ema`), or nothing. `normalize_std` divides by
    the group's unbiased standard deviation + 1e-6, as GRPO does. ValueError where these can't be had.
    """
    if baseline not in get_args(Baseline):
        raise ValueError(f"baseline is {baseline!r}; choose from {', '.join(get_args(Baseline))}")
    if group_size < 1 or len(rewards) % group_size:
        raise ValueError(f"group_size is {group_size}, which doesn't divide the {len(rewards)} rewards into groups")
    if group_size == 1 and (baseline == "rloo" or normalize_std):
        raise ValueError("group_size is 1: the rloo baseline and normalize_std compare at least 2 rollouts a group")
    if baseline == "ema" and running_mean is None:
        raise ValueError("running_mean is missing: the ema baseline subtracts it")
    rewards = rewards if rewards.is_floating_point() else rewards.float()
    groups = rewards.view(-1, group_size)  # (N/G, G)
    match baseline:
        case "group":
            centred = groups - groups.mean(dim=1, keepdim=True)
        case "rloo":
            centred = groups - (groups.sum(dim=1, keepdim=True) - groups) / (group_size - 1)
        case "ema":
            centred = groups - running_mean
        case "none":
            centred = groups.clone()
    if normalize_std:
        centred = centred / (groups.std(dim=1, keepdim=True) + 1e-6)
    return centred.reshape(-1)  # (N,)


def policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    weights: Tensor,
    clip: float | None = None,
    denominator: float | Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The paper's objective, the policy gradient behind the senior gate: Σ w·loss_t / Σ w over the whole batch at once.

    advantages (N,); logprobs, old_logprobs, weights (N, T). A weight is 1 where the senior wrote, `junior_weight` where
    the junior did, 0 elsewhere. Without `clip`, REINFORCE: loss_t = -A·logprob_t, whose *gradient* is what matters; its
    value is near 0 whenever the advantages are. With it, GRPO: loss_t = -min(ρA, clip(ρ, 1-ε, 1+ε)A), ρ = π/π_old.
    Micro-batches and ranks pass the `denominator` of the whole, so that their losses and gradients add up to its own.
    What has weight 0 may hold anything, NaN included: it is masked before any arithmetic. ValueError if all has, or if
    the shapes are others.

    The stats add up like the loss, but for ratio_error, the largest |ρ - 1|: approx_kl (an estimate of KL(π_old‖π),
    nats a token) and clip_fraction (the share of tokens whose ratio left the clipping range; 0 without one).
    """
    if not (logprobs.shape == old_logprobs.shape == weights.shape and advantages.shape == weights.shape[:1]):
        raise ValueError("advantages must be (N,), and logprobs, old_logprobs and weights (N, T)")
    trained = weights != 0  # (N, T)
    if denominator is None:
        denominator = weights.sum()
        if not denominator > 0:
            raise ValueError("weights are all 0: no token to train on (pass a denominator if others have some)")
    logprobs = logprobs.masked_fill(~trained, 0.0)  # (N, T)
    old_logprobs = old_logprobs.detach().masked_fill(~trained, 0.0)  # (N, T)
    advantage = advantages[:, None]  # (N, 1)
    log_ratio = logprobs - old_logprobs  # (N, T)
    ratio = log_ratio.clamp(-20, 20).exp()  # (N, T); an infinite ratio would make the gradient NaN even where clipped
    if clip is None:
        loss = -advantage * logprobs  # (N, T)
    else:
        loss = -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)  # (N, T)

    def mean(x: Tensor) -> Tensor:
        return (weights * x).masked_fill(~trained, 0.0).sum() / denominator

    with torch.no_grad():
        error = (ratio - 1).abs()  # (N, T); 0 where nothing is trained
        outside = error > clip if clip is not None else torch.zeros_like(trained)
        stats = {
            "approx_kl": mean(ratio - 1 - log_ratio),
            "clip_fraction": mean(outside.float()),
            "ratio_error": error.max() if error.numel() else error.sum(),
        }
    return mean(loss), stats


def kl_k3(logprobs: Tensor, junior_logprobs: Tensor) -> Tensor:
    """exp(d) - d - 1, d = log π_jun - log π_θ, of sampled tokens (any shape): estimates KL(π_θ‖π_jun), in nats.

    Its value is unbiased on the senior's own samples; as a loss its gradient is that of KL(π_jun‖π_θ), which hardly
    sees a senior far from the junior.
    """
    d = junior_logprobs - logprobs
    return d.exp() - d - 1


def kl_exact(logprobs: Tensor, junior_logprobs: Tensor) -> Tensor:
    """KL(π_θ‖π_jun) in nats, from log-probabilities over the whole vocabulary.  (..., V), (..., V) -> (...)"""
    return (logprobs.exp() * (logprobs - junior_logprobs)).sum(dim=-1)
