"""One batch down the page: problems -> generate -> verify -> advantages -> policy_loss -> optimizer.

Start reading at `Trainer.step`. Only the senior is trained, and only on the tokens that it wrote (λ = 0).
"""

import itertools
import sys
import time
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

import ranks
import reward
from cli import UserError
from config import Config
from data.problems import Problem, deal, jargon_rate, take
from data.tokenizer import Tokenizer
from model import GPT, autocast, store_matrices
from rollout import Rollout, generate_in_parts, handoff_for, log_probs, response_logits, seeded
from tandem import advantages, check_authorship, kl_exact, kl_k3, policy_loss

METRICS = """step reward senior_fraction handoffs loss grad_norm entropy approx_kl clip_fraction zero_advantage_fraction
response_length truncated_fraction jargon_rate update_ratio_error skipped_updates seconds_rollout seconds_reward
seconds_update tokens_per_second""".split()


@dataclass
class Batch:
    """What one step learns from: the team's responses and what each is worth."""

    rollout: Rollout
    rewards: Tensor  # (N,) 0 or 1
    advantages: Tensor  # (N,)
    weights: Tensor  # (N, T): 1 senior, junior_weight junior, 0 elsewhere: the senior gate

    def rows(self, index: Tensor) -> "Batch":
        """The part of these rows, (M,) indices."""
        return Batch(self.rollout.rows(index), self.rewards[index], self.advantages[index], self.weights[index])


def micro_batches(rollout: Rollout, budget: int) -> list[Tensor]:
    """Which rows to read together: (M,) indices each, rows of like length, at most `budget` tokens with the padding.

    Activations take memory in proportion to the budget, and rows of like length need little padding. Of several ranks,
    each rank gets its own rows, about equal in number and length.
    """
    lengths = torch.tensor([len(prompt) for prompt in rollout.prompts]) + rollout.mask.sum(dim=1).cpu()  # (N,)
    order, parts = lengths.argsort(descending=True, stable=True), []  # (N,)
    order = order[ranks.rank() :: ranks.size()]
    while len(order):
        rows = max(1, budget // int(lengths[order[0]]))  # a single row may be longer than the budget
        parts.append(order[:rows])
        order = order[rows:]
    return parts


def objective(
    senior: GPT, junior: GPT, batch: Batch, config: Config, total_weight: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a mini-batch and its diagnostics: the senior reads the sequences again, this time with a gradient.

    `batch` may be a part of the mini-batch, whose weights add up to `total_weight`: the one global count of tokens. The
    losses of the parts, and their gradients, add up to the whole's; so do the diagnostics, but for ratio_error, the
    largest.
    """
    rollout, trained = batch.rollout, batch.weights != 0  # (N, T)
    full = log_probs(response_logits(senior, rollout, trained), config.temperature)  # (M, V)
    tokens = rollout.tokens[trained][:, None]  # (M, 1)
    logprobs = torch.zeros_like(rollout.logprobs)  # (N, T)
    logprobs[trained] = full.gather(1, tokens)[:, 0]
    # What the senior gave each token when it was sampled: beside the author's where the junior wrote.
    old_logprobs = torch.where(rollout.authorship, rollout.logprobs, rollout.partner_logprobs)  # (N, T)
    loss, stats = policy_loss(
        logprobs, old_logprobs, batch.advantages, batch.weights, config.clip, denominator=total_weight
    )
    if config.kl_coef:
        with torch.no_grad():
            theirs = log_probs(response_logits(junior, rollout, trained), config.temperature)  # (M, V)
        if config.kl_estimator == "exact":
            kl = kl_exact(full, theirs)  # (M,)
        else:
            kl = kl_k3(logprobs[trained], theirs.gather(1, tokens)[:, 0])  # (M,)
        weights = batch.weights[trained]  # (M,)
        loss = loss + config.kl_coef * (weights * kl).sum() / total_weight
    stats["loss"] = loss.detach()
    return loss, stats


class Trainer:
    """The state of a run. Its random numbers are derived from (seed, step, purpose), so that none of theirs is in it.

    `problems` are what is trained on, in a new order at every pass; None is the generated world, new at every step.
    """

    def __init__(
        self, config: Config, senior: GPT, junior: GPT, tokenizer: Tokenizer, problems: list[Problem] | None = None
    ):
        self.config, self.senior, self.junior, self.tokenizer = config, senior, junior.requires_grad_(False), tokenizer
        self.problems = problems
        senior.checkpoint_activations = config.checkpoint_activations
        self.optimizer = torch.optim.AdamW(
            senior.parameters(),
            lr=config.learning_rate,
            betas=(0.9, 0.999),
            weight_decay=config.weight_decay,
            foreach=False,  # a GPU's default holds a copy of all weights meanwhile
        )
        numbers = dict(p_senior=config.p_senior, max_gap=config.max_gap, chunk=config.chunk)
        self.handoff = handoff_for(config.schedule, tokenizer, senior, **numbers)
        self.running_mean: float | None = None  # of the rewards (baseline ema)
        self.authors = {"senior_tokens": 0, "junior_tokens": 0, "draws": 0, "senior_draws": 0}
        self.faults = 0  # updates dropped in a row

    def settle_junior(self) -> None:
        """Put the junior, once it is saved, beside the senior, its matrices in the precision in which they are used."""
        if self.config.precision == "bfloat16":
            store_matrices(self.junior, torch.bfloat16)
        self.junior.to(self.senior.device)

    def state(self) -> dict:
        """What a checkpoint needs beside the weights."""
        names = ("running_mean", "authors", "faults")
        return {"optimizer": self.optimizer.state_dict(), **{name: getattr(self, name) for name in names}}

    def load_state(self, state: dict) -> None:
        """Go on from what `state` gave; a UserError if that can't be."""
        try:
            self.optimizer.load_state_dict(state["optimizer"])
            self.running_mean, self.authors, self.faults = state["running_mean"], state["authors"], state["faults"]
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise UserError(f"the checkpoint's state is not one of this run ({error}); begin a new run") from None

    def step(self, step: int) -> tuple[dict, Batch | None, list[Problem]]:
        """One RL step, from fresh problems to the optimizer. Returns its metrics, its batch and the problems.

        Under --on-nonfinite skip the batch is None, and its metrics too, where sampling failed.
        """
        config, clock = self.config, [time.perf_counter()]
        if self.problems is None:
            problems = take("train", config.prompts, f"{config.seed}/{step}", config.world)
        else:
            problems = deal(self.problems, config.prompts, config.seed, step)
        try:
            with autocast(config.precision, self.senior.device):
                rollout = self.roll_out(problems, step)
        except FloatingPointError as error:
            self.fault(step, str(error))
            return dict.fromkeys(METRICS) | {"step": step, "skipped_updates": config.mini_batches}, None, problems
        clock.append(time.perf_counter())
        texts = rollout.text(self.tokenizer)
        answers, own = [p.answer for p in problems for _ in range(config.group_size)], ranks.share(len(texts))
        verdicts = ranks.gather(reward.verify_batch, texts[own], answers[own])
        clock.append(time.perf_counter())
        rewards = torch.tensor(verdicts, dtype=torch.float, device=self.senior.device)  # (N,)
        batch = self.judge(rollout, rewards)
        updates, skipped = self.update(batch, step)
        self.optimizer.zero_grad()  # their memory is the caches' while responses are written
        clock.append(time.perf_counter())

        lengths = rollout.mask.sum(dim=1)  # (N,)
        last = rollout.tokens.gather(1, lengths[:, None] - 1)[:, 0]  # (N,)
        changes = (rollout.authorship[:, 1:] != rollout.authorship[:, :-1]) & rollout.mask[:, 1:]  # (N, T - 1)
        idle = (batch.advantages == 0).view(-1, config.group_size).all(dim=1)  # (P,)
        seconds = [after - before for before, after in itertools.pairwise(clock)]
        metrics = {
            "step": step,
            "reward": rewards.mean().item(),
            "senior_fraction": (rollout.authorship.sum() / rollout.mask.sum()).item(),
            "handoffs": changes.sum(dim=1).float().mean().item(),
            # Of the senior's next token, in nats: the mean of -log π over those that it drew estimates it, for nothing.
            "entropy": -(rollout.logprobs * rollout.authorship).sum().item() / max(1, int(rollout.authorship.sum())),
            **updates,
            "zero_advantage_fraction": idle.float().mean().item(),
            "response_length": lengths.float().mean().item(),
            "truncated_fraction": (last != self.tokenizer.end).float().mean().item(),
            "jargon_rate": jargon_rate(texts, problems[0].world),
            "skipped_updates": skipped,
            **dict(zip(("seconds_rollout", "seconds_reward", "seconds_update"), seconds, strict=True)),
            "tokens_per_second": lengths.sum().item() / seconds[0],
        }
        return metrics, batch, problems

    def roll_out(self, problems: list[Problem], step: int) -> Rollout:
        """G responses to every problem, senior and junior together; the authors are counted and checked."""
        config = self.config
        rollout = generate_in_parts(
            self.senior,
            None if config.schedule == "solo" else self.junior,
            [ids for p in problems for ids in [self.tokenizer.prompt(p.question)] * config.group_size],
            self.handoff,
            most=config.rollout_rows,
            end=self.tokenizer.end,
            pad=self.tokenizer.pad,
            max_new_tokens=config.max_new_tokens,
            temperature=config.temperature,
            generator=seeded(config.seed, step, "rollout"),
        )
        senior_tokens = int(rollout.authorship.sum())
        self.authors["senior_tokens"] += senior_tokens
        self.authors["junior_tokens"] += int(rollout.mask.sum()) - senior_tokens
        self.authors["draws"] += rollout.draws
        self.authors["senior_draws"] += rollout.senior_draws
        try:
            check_authorship(self.handoff, **self.authors)
        except RuntimeError as error:
            raise UserError(f"stopped at step {step}: {error}") from None
        return rollout

    def judge(self, rollout: Rollout, rewards: Tensor) -> Batch:
        """What each response and each of its tokens weighs in the loss."""
        config = self.config
        if self.running_mean is None:
            self.running_mean = rewards.mean().item()
        advantage = advantages(
            rewards,
            config.group_size,
            config.baseline,
            normalize_std=config.normalize_std,
            running_mean=self.running_mean,
        )  # (N,)
        self.running_mean = 0.9 * self.running_mean + 0.1 * rewards.mean().item()
        weights = rollout.authorship.float() + config.junior_weight * (rollout.mask & ~rollout.authorship)  # (N, T)
        return Batch(rollout, rewards, advantage, weights)

    def fault(self, step: int, what: str) -> None:
        """What --on-nonfinite says: stop, or drop the update, of which the third in a row stops."""
        self.faults += 1
        if self.config.on_nonfinite == "stop" or self.faults == 3:
            raise FloatingPointError(
                f"step {step}: {what}" + " (the third time in a row)" * (self.faults == 3) + "; a smaller "
                "--learning-rate may help a new run, --on-nonfinite skip drops such updates"
            )
        tqdm.write(f"step {step}: {what}; the update is dropped", file=sys.stderr)

    def update(self, batch: Batch, step: int) -> tuple[dict[str, float], int]:
        """An optimizer step a mini-batch. Without any advantage there is none: Adam would drift on its momentum."""
        config = self.config
        self.optimizer.param_groups[0]["lr"] = config.learning_rate * min(1.0, (step + 1) / max(1, config.warmup))
        done, skipped = [], 0
        for mini_batch in torch.arange(len(batch.rewards)).chunk(config.mini_batches):  # whole groups
            part = batch.rows(mini_batch)
            weight = part.weights.sum()
            useful = (part.weights != 0).any(dim=1)  # (N,)
            if not config.kl_coef:  # a row without advantage has no gradient: it counts, but needn't be read again
                useful = useful & (part.advantages != 0)
            part = part.rows(useful.nonzero()[:, 0])
            if not len(part.rewards):
                skipped += 1
                continue
            self.optimizer.zero_grad(set_to_none=True)
            parts = ranks.gather(self.backward, part, weight)
            ranks.add_gradients(self.senior.parameters())
            stats = {name: sum(s[name] for s in parts) for name in parts[0]}
            stats["ratio_error"] = max(s["ratio_error"] for s in parts)
            for name in ("approx_kl", "clip_fraction"):  # means over the tokens that were read
                stats[name] = stats[name] * weight / part.weights.sum()
            stats["grad_norm"] = torch.nn.utils.clip_grad_norm_(self.senior.parameters(), config.grad_clip)
            if not (stats["loss"] + stats["grad_norm"]).isfinite():
                quantity = "gradient" if stats["loss"].isfinite() else "loss"
                self.fault(step, f"the {quantity} is not finite")
                skipped += 1
                continue
            self.optimizer.step()
            self.faults = 0
            done.append({name: value.item() for name, value in stats.items()})
        names = ("loss", "grad_norm", "approx_kl", "clip_fraction")
        means = {name: sum(d[name] for d in done) / len(done) if done else 0.0 for name in names}
        return {**means, "update_ratio_error": done[0]["ratio_error"] if done else 0.0}, skipped

    def backward(self, batch: Batch, weight: Tensor) -> list[dict[str, Tensor]]:
        """Add this rank's part of a mini-batch's gradient to `p.grad`; the diagnostics of each of its micro-batches."""
        parts = []
        for rows in micro_batches(batch.rollout, self.config.micro_tokens):
            with autocast(self.config.precision, self.senior.device):
                loss, stats = objective(self.senior, self.junior, batch.rows(rows), self.config, weight)
            loss.backward()
            parts.append(stats)
        return parts
