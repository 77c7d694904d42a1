"""The method: who writes the next token, what a response is worth, the loss on the senior's tokens.

`Handoff` decides the author of every token. `advantages` compares the rewards within a group.
`policy_loss` is REINFORCE, or GRPO's clipped objective, behind the senior gate. No model appears
here: log-probabilities go in.

Left out, as in the paper: a KL term and an entropy bonus in the loss, and credit assignment within
a response: all its tokens have the same advantage. The two KLs serve the `kl_reg` control alone.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

Schedule = Literal["word", "token", "step", "chunk", "alternate", "solo"]
Baseline = Literal["group", "rloo", "ema", "none"]


class Handoff:
    """Decides, token by token and row by row, who writes: True the senior, False the junior.

    At a trigger, `word` (the paper's) and `token` draw the author: the senior with probability
    p_senior. So the author may stay the same. The turns of `step`, `chunk` and `alternate` are
    strict: a trigger hands over.

    | schedule  | trigger                                                 | first author |
    | word      | a token that begins with a space; max_gap tokens        | drawn        |
    |           | without a draw                                          |              |
    | token     | every token                                             | drawn        |
    | step      | a token that contains the step delimiter, or completes  | senior       |
    |           | it (see `halves`)                                       |              |
    | chunk     | `chunk` tokens since the last handoff                   | senior       |
    | alternate | every token                                             | senior       |
    | solo      | nothing: always the senior                              | senior       |

    boundary, delimiter: (V,) bool masks of the tokens that begin with a space, and that contain the
    step delimiter, a blank line. It may be split over two tokens: `halves` are two (V,) bool masks,
    of the tokens that end with its first half, and of those that begin with its second. One object
    serves one rollout at a time: `start` sets the state of its rows. A bad argument is a ValueError
    that names it.
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
        check_handoff(p_senior, max_gap, chunk)
        check_mask("boundary", boundary, needed=schedule == "word")
        check_mask("delimiter", delimiter, needed=schedule == "step")
        check_halves(halves)
        self.schedule = schedule
        self.p_senior = p_senior
        self.max_gap = max_gap
        self.chunk = chunk
        self.boundary = boundary
        self.delimiter = delimiter
        self.halves = halves
        self.random = schedule in ("word", "token")  # authors are drawn

    def start(self, batch_size: int, generator=None, device=None) -> Tensor:
        """The author of each row's first token.  (B,) bool

        All random numbers come from `generator`: a torch.Generator, which may be on another device
        than the rows, or Uniforms. None is torch's own.
        """
        if not isinstance(generator, Uniforms):
            generator = Uniforms(batch_size, generator, device)
        self.uniforms = generator
        device = generator.device
        if self.boundary is not None:
            self.boundary = upload(self.boundary, device)  # (V,)
        if self.delimiter is not None:
            self.delimiter = upload(self.delimiter, device)  # (V,)
        if self.halves is not None:
            self.halves = [upload(half, device) for half in self.halves]  # (V,) each
        self.author = torch.ones(batch_size, dtype=torch.bool, device=device)  # (B,)
        self.gap = torch.zeros_like(self.author, dtype=torch.long)  # (B,) tokens since a trigger
        self.half = torch.zeros_like(self.author)  # (B,) the last token ended in a first half
        if self.random:
            self.author = self.uniforms() < self.p_senior
        return self.author

    def next(self, tokens: Tensor, logprobs: list[Tensor] | None = None) -> Tensor:
        """The author of each row's next token, after the tokens (B,) just emitted.  (B,) bool

        Both models have read these. `logprobs` are theirs of the next token, (B, V) of the senior
        and of the junior, for a schedule that decides by them; the six here don't.
        """
        if tokens.shape != self.author.shape:
            shape = tuple(tokens.shape)
            raise ValueError(f"tokens is {shape}; give one of each of the {len(self.author)} rows")
        self.gap = self.gap + 1  # (B,)
        match self.schedule:
            case "word":
                new_word = self.boundary[tokens]  # (B,) bool
                triggered = new_word | (self.gap >= self.max_gap)
            case "step":
                triggered = self.delimiter[tokens]
                if self.halves is not None:
                    ends, begins = self.halves
                    triggered = triggered | (self.half & begins[tokens])
                    self.half = ends[tokens]
            case "chunk":
                triggered = self.gap >= self.chunk
            case "token" | "alternate":
                triggered = torch.ones_like(self.author)
            case "solo":
                triggered = torch.zeros_like(self.author)
        self.gap = self.gap.masked_fill(triggered, 0)
        if self.random:
            drawn = self.uniforms() < self.p_senior  # for every row, used or not: rows stay apart
            self.author = torch.where(triggered, drawn, self.author)
        else:
            self.author = self.author ^ triggered
        return self.author

    def select(self, rows: Tensor) -> None:
        """Keep only these rows, (M,) indices. Each row keeps its own stream of random numbers."""
        self.uniforms = self.uniforms.at(rows)
        self.author = self.author[rows]
        self.gap = self.gap[rows]
        self.half = self.half[rows]


def advantages(
    rewards: Tensor,
    group_size: int,
    baseline: Baseline = "group",
    *,
    normalize_std: bool = False,
    running_mean: float | None = None,
) -> Tensor:
    """How much better each response did than expected: A_j in the paper's objective.  (N,) -> (N,)

    A group is `group_size` rows side by side, the rollouts of one prompt. The baseline is its mean
    (`group`), the mean of the others in it (`rloo`), a running mean that the caller keeps (`ema`),
    or 0 (`none`). `normalize_std` divides by the group's unbiased standard deviation + 1e-6, as
    GRPO does. A bad argument is a ValueError that names it.
    """
    check_choice("baseline", baseline, Baseline)
    check_groups(len(rewards), group_size, baseline, normalize_std, running_mean)
    if not rewards.is_floating_point():
        rewards = rewards.float()
    groups = rewards.view(-1, group_size)  # (N/G, G)
    match baseline:
        case "group":
            centred = groups - groups.mean(dim=1, keepdim=True)  # (N/G, G)
        case "rloo":
            others = groups.sum(dim=1, keepdim=True) - groups  # (N/G, G)
            centred = groups - others / (group_size - 1)
        case "ema":
            centred = groups - running_mean
        case "none":
            centred = groups.clone()
    if normalize_std:
        spread = groups.std(dim=1, keepdim=True)  # (N/G, 1)
        centred = centred / (spread + 1e-6)
    return centred.reshape(-1)  # (N,)


def policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    weights: Tensor,
    clip: float | None = None,
    denominator: float | Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The policy gradient behind the senior gate, Σ w·loss_t / Σ w.  -> the loss, its stats

    advantages (N,), or (N, T) where a response's tokens differ; logprobs, old_logprobs, weights
    (N, T). The weight w is the gate: 1 where the senior wrote, `junior_weight` where the junior
    did, 0 elsewhere. Without `clip` it is REINFORCE, our default: loss_t = -A·log π. With `clip` it
    is GRPO, the paper's: loss_t = -min(ρA, clip(ρ, 1-ε, 1+ε)A), ρ = π/π_old. An infinite clip is
    REINFORCE with its ratio, for a batch that takes several steps: loss_t = -ρA. Only the gradient
    means something: the value of REINFORCE's loss may rise while the policy gets better.

    Micro-batches and ranks pass the `denominator` of the whole mini-batch: then their losses and
    gradients add up. Anything may stand where the weight is 0, NaN included. ValueError if the
    shapes don't fit, or if all weights are 0 without a denominator.

    The stats add up too, but for ratio_error, the largest |ρ - 1|. approx_kl estimates KL(π_old‖π)
    in nats a token. clip_fraction is the share of tokens whose ratio left the range.
    """
    shapes = {tuple(x.shape) for x in (logprobs, old_logprobs, weights)}
    if len(shapes) > 1 or advantages.shape not in (weights.shape, weights.shape[:1]):
        raise ValueError(
            "advantages is (N,) or (N, T), and logprobs, old_logprobs and weights are (N, T)"
        )
    if denominator is None:
        denominator = weights.sum()
        if not denominator > 0:
            raise ValueError("weights are all 0: no token to train on (or pass a denominator)")

    ignored = weights == 0  # (N, T), masked before any arithmetic
    logprobs = logprobs.masked_fill(ignored, 0.0)  # (N, T)
    old_logprobs = old_logprobs.detach().masked_fill(ignored, 0.0)  # (N, T)
    A = by_token(advantages)  # (N, 1) or (N, T)
    log_ratio = logprobs - old_logprobs  # (N, T)
    ratio = log_ratio.clamp(-20, 20).exp()  # ρ; infinite, it would give NaN even where clipped
    if clip is None:
        loss = -A * logprobs  # (N, T)
    else:
        clipped = ratio.clamp(1 - clip, 1 + clip)  # (N, T)
        loss = -torch.minimum(ratio * A, clipped * A)  # (N, T)

    # The senior gate: the junior's tokens have weight 0. One global count divides.
    gated = (weights * loss).masked_fill(ignored, 0.0)  # (N, T)
    return gated.sum() / denominator, loss_stats(ratio, log_ratio, weights, clip, denominator)


def by_token(A: Tensor) -> Tensor:
    """Advantages that fit (N, T): of responses, (N,), become (N, 1); of tokens stay as they are."""
    return A[:, None] if A.dim() == 1 else A


@torch.no_grad()
def loss_stats(
    ratio: Tensor,
    log_ratio: Tensor,
    weights: Tensor,
    clip: float | None,
    denominator: float | Tensor,
) -> dict[str, Tensor]:
    """See `policy_loss`. At tokens of weight 0 the ratio is 1."""
    error = (ratio - 1).abs()  # (N, T)
    outside = torch.zeros_like(error) if clip is None else error > clip  # (N, T)
    kl = ratio - 1 - log_ratio  # (N, T)
    return {
        "approx_kl": (weights * kl).sum() / denominator,
        "clip_fraction": (weights * outside).sum() / denominator,
        "ratio_error": error.max() if error.numel() else error.sum(),
    }


def kl_exact(logprobs: Tensor, junior_logprobs: Tensor, tokens: Tensor | None = None) -> Tensor:
    """KL(π_θ‖π_jun) in nats, over the whole vocabulary; needs no token.  (M, V) twice -> (M,)"""
    return (logprobs.exp() * (logprobs - junior_logprobs)).sum(dim=-1)


def kl_k3(logprobs: Tensor, junior_logprobs: Tensor, tokens: Tensor) -> Tensor:
    """The paper's estimate of KL(π_θ‖π_jun) from the token, in nats.  (M, V), (M, V), (M,) -> (M,)

    exp(d) - d - 1, d = log π_jun - log π_θ. Its value is unbiased on the senior's own samples. As a
    loss, its gradient is that of KL(π_jun‖π_θ), which is weak far from the junior.
    """
    d = (junior_logprobs - logprobs).gather(-1, tokens[..., None])  # (M, 1)
    return (d.exp() - d - 1).squeeze(-1)


# ---- Helpers ------------------------------------------------------------------------------------


class Uniforms:
    """Random numbers in [0, 1), one a row and call.

    Every call draws for all `total` rows of a batch, and gives the numbers of the present rows. So
    a row's numbers depend neither on how long other rows run, nor on how the batch is split.
    """

    def __init__(
        self,
        total: int,
        generator: torch.Generator | None = None,
        device=None,
        rows: Tensor | None = None,
    ):
        self.total = total
        self.device = torch.device(device or "cpu")
        self.generator = torch.default_generator if generator is None else generator
        if rows is None:
            rows = torch.arange(total, device=self.device)
        self.rows = rows  # (B,) places in the batch

    def __call__(self) -> Tensor:
        generator = self.generator
        numbers = torch.rand(self.total, generator=generator, device=generator.device)  # (total,)
        return upload(numbers, self.device)[self.rows]  # (B,)

    def at(self, rows: Tensor) -> "Uniforms":
        """The same stream for only these rows, (M,) indices into the present ones."""
        rows = self.rows[rows.to(self.device)]
        return Uniforms(self.total, self.generator, self.device, rows)

    def part(self, rows: Tensor) -> "Uniforms":
        """A copy of the stream for these rows, as if they were written with the whole batch."""
        part = self.at(rows)
        part.generator = self.generator.clone_state()
        return part


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy to `device` without waiting. A blocking copy at every token would stall a GPU."""
    return tensor.to(device, non_blocking=device.type == "cuda")


def check_choice(name: str, value, choices) -> None:
    allowed = get_args(choices)
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; choose from {', '.join(allowed)}")


def check_handoff(p_senior: float, max_gap: int, chunk: int) -> None:
    if not isinstance(p_senior, int | float) or not 0 <= p_senior <= 1:
        raise ValueError(f"p_senior is {p_senior!r}; a probability lies between 0 and 1")
    for name, value in (("max_gap", max_gap), ("chunk", chunk)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}; it counts tokens and is at least 1")


def check_mask(name: str, mask, needed: bool) -> None:
    if mask is None:
        if needed:
            raise ValueError(f"{name} is missing: the schedule needs this (V,) bool mask")
        return
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.dim() != 1:
        raise ValueError(f"{name} must be a (V,) bool tensor over the vocabulary")


def check_halves(halves) -> None:
    if halves is None:
        return
    if len(halves) != 2:
        raise ValueError("halves must be two (V,) bool masks of the vocabulary")
    for half in halves:
        check_mask("halves", half, needed=True)


def check_groups(
    count: int,
    group_size: int,
    baseline: Baseline,
    normalize_std: bool,
    running_mean: float | None,
) -> None:
    if group_size < 1 or count % group_size:
        raise ValueError(f"group_size is {group_size}, which doesn't divide the {count} rewards")
    if group_size == 1 and (baseline == "rloo" or normalize_std):
        raise ValueError("group_size is 1: rloo and normalize_std compare at least 2 rollouts")
    if baseline == "ema" and running_mean is None:
        raise ValueError("running_mean is missing: the ema baseline subtracts it")


def check_authorship(handoff: Handoff, senior_tokens: int, junior_tokens: int) -> None:
    """RuntimeError if an author who should write wrote none of 1,000 tokens, or a junior in `solo`.

    A lost authorship mask would silently turn tandem RL into plain RL. The counts are a run's.
    """
    solo = handoff.schedule == "solo"
    total = senior_tokens + junior_tokens
    if solo and junior_tokens:
        wrote = f"the junior wrote {junior_tokens} tokens"
        raise RuntimeError(f"schedule solo, but {wrote}: the authorship is wrong")
    senior_expected = not handoff.random or handoff.p_senior > 0
    junior_expected = not solo and (not handoff.random or handoff.p_senior < 1)
    silent = None
    if senior_expected and senior_tokens == 0:
        silent = "senior"
    if junior_expected and junior_tokens == 0:
        silent = "junior"
    if silent and total >= 1000:
        wrote = f"the {silent} wrote none of {total} tokens under schedule {handoff.schedule}"
        raise RuntimeError(f"{wrote}: no tandem; do the masks belong to this tokenizer?")
