"""The method: who writes the next token, what a response is worth, and the loss on what the senior wrote.

`Handoff` decides the author of every token. `advantages` compares the rewards within a group. `policy_loss` is
REINFORCE, or GRPO's clipped objective, behind the senior gate. No model appears here: log-probabilities go in.

Left out, as in the paper: a KL term and an entropy bonus in the loss (`kl_k3` and `kl_exact` at the end serve the
`kl_reg` control), and credit assignment within a response: all its tokens have the same advantage.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

Schedule = Literal["word", "token", "step", "chunk", "alternate", "solo"]
Baseline = Literal["group", "rloo", "ema", "none"]


class Handoff:
    """Decides, token by token and row by row, who writes: True the senior, False the junior.

    At a trigger, `word` (the paper's) and `token` draw the author anew: the senior with probability p_senior, so the
    author may stay the same. The strict turns of `step`, `chunk` and `alternate` hand over for certain:

    | schedule    | trigger                                                     | first author |
    | word        | a token with a space at its front, or max_gap tokens since  | drawn        |
    |             | a draw                                                      |              |
    | token       | every token                                                 | drawn        |
    | step        | a token with the step delimiter in it, or its second half   | senior       |
    |             | after its first (see `halves`)                              |              |
    | chunk       | `chunk` tokens since the last handoff                       | senior       |
    | alternate   | every token                                                 | senior       |
    | solo        | nothing: always the senior                                  | senior       |

    boundary, delimiter: (V,) bool masks of the tokens that begin with a space, and that contain the step delimiter. halves:
    two (V,) bool masks of the tokens that end in the delimiter's first half, and that begin with its second. One object
    serves one rollout at a time: `start` sets the state of its rows. Raises ValueError that names the argument.
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
        halves: tuple[Tensor, Tensor] | None = None,
    ):
        check_choice("schedule", schedule, Schedule)
        if not (isinstance(p_senior, int | float) and 0 <= p_senior <= 1):
            raise ValueError(f"p_senior is {p_senior!r}; a probability lies between 0 and 1")
        for name, value in (("max_gap", max_gap), ("chunk", chunk)):
            if not (isinstance(value, int) and value >= 1):
                raise ValueError(f"{name} is {value!r}; it counts tokens and is at least 1")
        check_mask("boundary", boundary, needed=schedule == "word")
        check_mask("delimiter", delimiter, needed=schedule == "step")
        if halves is not None and len(halves) != 2:
            raise ValueError("halves must be two (V,) bool masks of the vocabulary")
        for half in halves or ():
            check_mask("halves", half, needed=True)
        self.schedule = schedule
        self.p_senior, self.max_gap, self.chunk = p_senior, max_gap, chunk
        self.boundary, self.delimiter, self.halves = boundary, delimiter, halves
        self.random = schedule in ("word", "token")  # whether authors are drawn

    def start(
        self, batch_size: int, generator: "torch.Generator | Uniforms | None" = None, device=None
    ):
        """The author of each row's first token.  (B,) bool

        All randomness comes from `generator` (torch's own if None), which may be on another device than the rows.
        """
        if not isinstance(generator, Uniforms):
            generator = Uniforms(batch_size, generator, device)
        self.uniforms, device = generator, generator.device
        if self.boundary is not None:
            self.boundary = upload(self.boundary, device)  # (V,)
        if self.delimiter is not None:
            self.delimiter = upload(self.delimiter, device)  # (V,)
        if self.halves is not None:
            self.halves = [upload(half, device) for half in self.halves]  # (V,) each
        self.gap = torch.zeros(
            batch_size, dtype=torch.long, device=device
        )  # (B,) tokens since the last trigger
        self.half = torch.zeros_like(
            self.gap, dtype=torch.bool
        )  # (B,) the last token ended in a first half
        self.author = (
            generator() < self.p_senior if self.random else torch.ones_like(self.half)
        )  # (B,)
        return self.author

    def next(self, tokens: Tensor) -> Tensor:
        """The author of each row's next token, given the tokens (B,) just emitted.  (B,) bool"""
        if tokens.shape != self.author.shape:
            raise ValueError(
                f"tokens is {tuple(tokens.shape)}; give one of each of the {len(self.author)} rows"
            )
        self.gap = self.gap + 1  # (B,)
        match self.schedule:
            case "word":
                triggered = self.boundary[tokens] | (self.gap >= self.max_gap)  # (B,) bool
            case "step":
                triggered = self.delimiter[tokens]
                if self.halves is not None:
                    ends, begins = self.halves
                    triggered = triggered | (self.half & begins[tokens])
                    self.half = ends[tokens]
            case "chunk":
                triggered = self.gap >= self.chunk
            case _:  # token and alternate: always; solo: never
                triggered = torch.full_like(self.author, self.schedule != "solo")
        self.gap = self.gap.masked_fill(triggered, 0)
        if (
            self.random
        ):  # a number for every row at every token, used or not: so rows don't depend on each other
            self.author = torch.where(triggered, self.uniforms() < self.p_senior, self.author)
        else:
            self.author = self.author ^ triggered
        return self.author

    def select(self, rows: Tensor) -> None:
        """Go on with these rows alone, (M,) indices into the present ones; their draws stay the same."""
        self.uniforms = self.uniforms.at(rows)
        self.author = self.author[rows]  # (M,)
        self.gap = self.gap[rows]  # (M,)
        self.half = self.half[rows]  # (M,)


class Uniforms:
    """Random numbers in [0, 1), one a row and call.

    Every call draws for all `total` rows of a batch, and returns the numbers of the rows that go on. So a row's numbers
    depend neither on how long other rows run, nor on how the batch is split into parts.
    """

    def __init__(
        self,
        total: int,
        generator: torch.Generator | None = None,
        device=None,
        rows: Tensor | None = None,
    ):
        self.total, self.device = total, torch.device(device or "cpu")
        self.generator = torch.default_generator if generator is None else generator
        self.rows = (
            torch.arange(total, device=self.device) if rows is None else rows
        )  # (B,) places in the batch

    def __call__(self) -> Tensor:
        numbers = torch.rand(
            self.total, generator=self.generator, device=self.generator.device
        )  # (total,)
        return upload(numbers, self.device)[self.rows]  # (B,)

    def at(self, rows: Tensor) -> "Uniforms":
        """The same stream for these rows alone, (M,) indices into the present ones."""
        return Uniforms(self.total, self.generator, self.device, self.rows[rows.to(self.device)])

    def part(self, rows: Tensor) -> "Uniforms":
        """A copy of the stream for these rows, as if they were written with the whole batch."""
        part = self.at(rows)
        part.generator = self.generator.clone_state()
        return part


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor there. The host doesn't wait for a GPU to take it, as it would at every token otherwise."""
    return tensor.to(device, non_blocking=device.type == "cuda")


def check_choice(name: str, value, choices) -> None:
    if value not in get_args(choices):
        raise ValueError(f"{name} is {value!r}; choose from {', '.join(get_args(choices))}")


def check_mask(name: str, mask, needed: bool) -> None:
    if mask is None and needed:
        raise ValueError(
            f"{name} is missing: the schedule needs this (V,) bool mask of the vocabulary"
        )
    if mask is not None and not (
        isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.dim() == 1
    ):
        raise ValueError(f"{name} must be a (V,) bool tensor over the vocabulary")


def check_authorship(handoff: Handoff, senior_tokens: int, junior_tokens: int) -> None:
    """RuntimeError if an author who is due to write has written none of 1,000 tokens, or a junior writes in `solo`.

    A lost authorship mask would turn tandem RL into plain RL without a word: the counts of the run so far are tested.
    """
    solo, total = handoff.schedule == "solo", senior_tokens + junior_tokens
    if solo and junior_tokens:
        raise RuntimeError(
            f"schedule solo, but the junior wrote {junior_tokens} tokens: the authorship is wrong"
        )
    senior_due = not handoff.random or handoff.p_senior > 0
    junior_due = not solo and (not handoff.random or handoff.p_senior < 1)
    for author, tokens, due in (
        ("senior", senior_tokens, senior_due),
        ("junior", junior_tokens, junior_due),
    ):
        if due and tokens == 0 and total >= 1000:
            raise RuntimeError(
                f"the {author} wrote none of {total} tokens under schedule {handoff.schedule}: no tandem; "
                "do the masks belong to this tokenizer?"
            )


def advantages(
    rewards: Tensor,
    group_size: int,
    baseline: Baseline = "group",
    *,
    normalize_std: bool = False,
    running_mean: float | None = None,
) -> Tensor:
    """How much better each response did than expected: A_j in the paper's objective.  (N,) -> (N,)

    Groups are contiguous rows: the `group_size` rollouts of one prompt. The baseline is the group's mean, the mean of
    the *others* in it (`rloo`), a running mean that the caller keeps (`ema`), or nothing. `normalize_std` divides by
    the group's unbiased standard deviation + 1e-6, as GRPO does. ValueError names the argument that is wrong.
    """
    check_choice("baseline", baseline, Baseline)
    if group_size < 1 or len(rewards) % group_size:
        raise ValueError(
            f"group_size is {group_size}, which doesn't divide the {len(rewards)} rewards into groups"
        )
    if group_size == 1 and (baseline == "rloo" or normalize_std):
        raise ValueError(
            "group_size is 1: the rloo baseline and normalize_std compare at least 2 rollouts a group"
        )
    if baseline == "ema" and running_mean is None:
        raise ValueError("running_mean is missing: the ema baseline subtracts it")
    rewards = rewards if rewards.is_floating_point() else rewards.float()
    groups = rewards.view(-1, group_size)  # (N/G, G)
    match baseline:
        case "group":
            centred = groups - groups.mean(dim=1, keepdim=True)  # (N/G, G)
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
    """The policy gradient behind the senior gate, Σ w·loss_t / Σ w: REINFORCE (our default) or the paper's GRPO.

    advantages (N,); logprobs, old_logprobs, weights (N, T). A weight is 1 where the senior wrote, `junior_weight` where
    the junior did, 0 elsewhere. Without `clip`, REINFORCE: loss_t = -A·logprob_t. With it, GRPO:
    loss_t = -min(ρA, clip(ρ, 1-ε, 1+ε)A), ρ = π/π_old. Only the gradient is meaningful: the value of REINFORCE's loss
    is minus a covariance of advantage and log-probability, which may rise while the policy gets better.
    Micro-batches and ranks pass the `denominator` of the whole mini-batch, so that their losses and gradients add up.
    Where the weight is 0 anything may stand, NaN included: it is masked before any arithmetic. ValueError if all
    weights are 0 without a denominator, or if the shapes don't fit.

    The stats add up like the loss, but for ratio_error, the largest |ρ - 1|: approx_kl (an estimate of KL(π_old‖π),
    nats a token) and clip_fraction (the share of tokens whose ratio left the clipping range; 0 without one).
    """
    if not (
        logprobs.shape == old_logprobs.shape == weights.shape
        and advantages.shape == weights.shape[:1]
    ):
        raise ValueError("advantages must be (N,), and logprobs, old_logprobs and weights (N, T)")
    trained = weights != 0  # (N, T)
    if denominator is None:
        denominator = weights.sum()
        if not denominator > 0:
            raise ValueError(
                "weights are all 0: no token to train on (pass a denominator if others have some)"
            )
    logprobs = logprobs.masked_fill(~trained, 0.0)  # (N, T)
    old_logprobs = old_logprobs.detach().masked_fill(~trained, 0.0)  # (N, T)
    advantage = advantages[:, None]  # (N, 1)
    log_ratio = logprobs - old_logprobs  # (N, T)
    ratio = log_ratio.clamp(
        -20, 20
    ).exp()  # (N, T); an infinite ratio would make the gradient NaN even where clipped
    if clip is None:
        loss = -advantage * logprobs  # (N, T)
    else:
        loss = -torch.minimum(
            ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage
        )  # (N, T)

    with torch.no_grad():  # at tokens of weight 0 the ratio is 1
        error = (ratio - 1).abs()  # (N, T)
        outside = error > clip if clip is not None else torch.zeros_like(trained)  # (N, T)
        stats = {
            "approx_kl": (weights * (ratio - 1 - log_ratio)).sum() / denominator,
            "clip_fraction": (weights * outside).sum() / denominator,
            "ratio_error": error.max() if error.numel() else error.sum(),
        }
    # The senior gate, by one global count: Σ w·loss_t / Σ w.
    return (weights * loss).masked_fill(~trained, 0.0).sum() / denominator, stats


def kl_k3(logprobs: Tensor, junior_logprobs: Tensor) -> Tensor:
    """exp(d) - d - 1, d = log π_jun - log π_θ, of sampled tokens (any shape): estimates KL(π_θ‖π_jun), in nats.

    Its value is unbiased on the senior's own samples. As a loss, its gradient is that of KL(π_jun‖π_θ), which hardly
    sees a senior far from the junior.
    """
    d = junior_logprobs - logprobs
    return d.exp() - d - 1


def kl_exact(logprobs: Tensor, junior_logprobs: Tensor) -> Tensor:
    """KL(π_θ‖π_jun) in nats, from log-probabilities over the whole vocabulary.  (..., V), (..., V) -> (...)"""
    return (logprobs.exp() * (logprobs - junior_logprobs)).sum(dim=-1)
