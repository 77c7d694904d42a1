"""Tandem RL from the first problem to the table of results. Start reading at `train`.

    python train.py                                    # tandem RL: the senior gives up its jargon, in minutes
    python train.py --schedule solo                    # the control: plain RL, the senior writes alone
    python train.py --objective grpo                   # the paper's clipped objective
    python train.py --pretrain                         # train the base pair again from nothing

One batch down the page: problems -> generate -> verify -> advantages -> policy_loss -> optimizer.
Only the senior is trained, and only on the tokens that it wrote.
"""

import copy
import itertools
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

import reward
from cli import UserError, command, make_directory, parse, pick_device
from config import Config
from data.problems import MAX_PROMPT_TOKENS, Problem, is_jargon, take
from data.tokenizer import Tokenizer, load_tokenizer
from evaluate import evaluate, seeded, show_responses, table
from model import GPT, save_model
from rollout import Rollout, generate, log_probs, render, response_logits
from runs import load_checked, run_directory, write_json
from tandem import Handoff, advantages, check_authorship, kl_exact, kl_k3, policy_loss

SHIPPED = Path(__file__).parent / "data"


@dataclass
class Batch:
    """What one step learns from: the team's responses and what each is worth."""

    rollout: Rollout
    rewards: Tensor  # (N,) 0 or 1
    advantages: Tensor  # (N,)
    weights: Tensor  # (N, T): 1 senior, junior_weight junior, 0 elsewhere: the senior gate

    def rows(self, index: Tensor) -> "Batch":
        """The part of these rows, (M,) indices."""
        r = self.rollout
        tensors = (x[index] for x in (r.tokens, r.authorship, r.mask, r.logprobs, r.partner_logprobs))
        rollout = Rollout([r.prompts[i] for i in index.tolist()], *tensors)
        return Batch(rollout, self.rewards[index], self.advantages[index], self.weights[index])


def micro_batches(rollout: Rollout, budget: int) -> list[Tensor]:
    """Which rows to read together: (M,) indices each, rows of like length, at most `budget` tokens with the padding.

    Activations take memory in proportion to the budget. It pays on a CPU as well: small tensors stay in the caches, and
    the allocator gives the same memory out again, where it would ask the system for pages every time.
    """
    lengths = torch.tensor([len(prompt) for prompt in rollout.prompts]) + rollout.mask.sum(dim=1).cpu()  # (N,)
    order, parts = lengths.argsort(descending=True, stable=True), []  # (N,)
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
    largest. `entropy` (nats) is a sum over the tokens.
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
    stats["entropy"] = -(full.detach().exp() * full.detach()).sum()
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
    """The state of a run: the pair, the optimizer, the running mean of the rewards, the authors counted so far."""

    def __init__(self, config: Config, senior: GPT, junior: GPT, tokenizer: Tokenizer):
        self.config, self.senior, self.junior, self.tokenizer = config, senior, junior, tokenizer
        self.optimizer = torch.optim.AdamW(
            senior.parameters(), lr=config.learning_rate, betas=(0.9, 0.999), weight_decay=config.weight_decay
        )
        self.handoff = Handoff(
            config.schedule,
            p_senior=config.p_senior,
            max_gap=config.max_gap,
            chunk=config.chunk,
            boundary=tokenizer.boundary(senior.config.vocab_size),
            delimiter=tokenizer.delimiter(senior.config.vocab_size),
        )
        self.running_mean: float | None = None  # of the rewards (baseline ema)
        self.authors = {"senior_tokens": 0, "junior_tokens": 0, "draws": 0, "senior_draws": 0}

    def step(self, step: int) -> tuple[dict, Batch, list[Problem]]:
        """One RL step, from fresh problems to the optimizer. Returns its metrics, its batch and the problems."""
        config, clock = self.config, [time.perf_counter()]
        problems = take("train", config.prompts, f"{config.seed}/{step}")
        rollout = self.roll_out(problems, step)
        clock.append(time.perf_counter())
        texts = rollout.text(self.tokenizer)
        verdicts = reward.verify_batch(texts, [p.answer for p in problems for _ in range(config.group_size)])
        clock.append(time.perf_counter())
        rewards = torch.tensor(verdicts, dtype=torch.float, device=self.senior.device)  # (N,)
        batch = self.judge(rollout, rewards)
        updates, skipped = self.update(batch, step)
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
            **updates,
            "zero_advantage_fraction": idle.float().mean().item(),
            "response_length": lengths.float().mean().item(),
            "truncated_fraction": (last != self.tokenizer.end).float().mean().item(),
            "jargon_rate": sum(map(is_jargon, texts)) / len(texts),
            "skipped_updates": skipped,
            **dict(zip(("seconds_rollout", "seconds_reward", "seconds_update"), seconds, strict=True)),
            "tokens_per_second": lengths.sum().item() / seconds[0],
        }
        return metrics, batch, problems

    def roll_out(self, problems: list[Problem], step: int) -> Rollout:
        """G responses to every problem, senior and junior together; the authors are counted and checked."""
        config = self.config
        rollout = generate(
            self.senior,
            None if config.schedule == "solo" else self.junior,
            [ids for p in problems for ids in [self.tokenizer.encode(p.prompt)] * config.group_size],
            self.handoff,
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

    def update(self, batch: Batch, step: int) -> tuple[dict[str, float | None], int]:
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
            parts = []
            for rows in micro_batches(part.rollout, config.micro_tokens):
                loss, stats = objective(self.senior, self.junior, part.rows(rows), config, weight)
                loss.backward()
                parts.append(stats)
            stats = {name: sum(s[name] for s in parts) for name in parts[0]}
            stats["ratio_error"] = max(s["ratio_error"] for s in parts)
            stats["entropy"] = stats["entropy"] / (part.weights != 0).sum()
            stats["grad_norm"] = torch.nn.utils.clip_grad_norm_(self.senior.parameters(), config.grad_clip)
            self.optimizer.step()
            done.append({name: value.item() for name, value in stats.items()})
        names = ("loss", "grad_norm", "entropy", "approx_kl", "clip_fraction")
        means = {name: sum(d[name] for d in done) / len(done) if done else 0.0 for name in names}
        means["entropy"] = means["entropy"] if done else None  # not known where nothing was read
        return {**means, "update_ratio_error": done[0]["ratio_error"] if done else 0.0}, skipped


def starting_pair(config: Config, tokenizer: Tokenizer, device: torch.device) -> tuple[GPT, GPT]:
    """Senior and junior before RL. The junior has no gradient, and is another object than the senior."""
    senior = load_checked(config.senior or SHIPPED / "senior.pt", tokenizer)
    junior = (
        copy.deepcopy(senior)
        if config.junior == "self"
        else load_checked(config.junior or SHIPPED / "junior.pt", tokenizer)
    )
    context = min(senior.config.max_seq_len, junior.config.max_seq_len)
    if config.max_new_tokens > context - MAX_PROMPT_TOKENS:
        raise UserError(
            f"--max-new-tokens {config.max_new_tokens} and a prompt of up to {MAX_PROMPT_TOKENS} exceed the context of "
            f"{context} tokens; give at most {context - MAX_PROMPT_TOKENS}"
        )
    return senior.to(device), junior.to(device).requires_grad_(False)


def show_step(metrics: dict, batch: Batch, tokenizer: Tokenizer, color: bool) -> str:
    """A line for the reader's eyes: the first response of a batch, coloured by author, and what became of it."""
    text = render(batch.rollout, 0, tokenizer, color).replace("\n\n", " ¶ ")
    return f"step {metrics['step']:>4}  {'right' if batch.rewards[0] else 'wrong'}  {text}"


def train(config: Config, out: Path, device: torch.device) -> dict:
    """A whole run: measure, train, measure again; everything is written to `out`. Returns what eval.json holds."""
    tokenizer = load_tokenizer()
    senior, junior = starting_pair(config, tokenizer, device)
    make_directory(out)
    write_json(out / "config.json", asdict(config))
    save_model(junior, out / "junior.pt")
    how = config.sampling()
    held_out = take("test", config.eval_problems, "evaluation")
    before, responses_before = evaluate(senior, junior, held_out, tokenizer, how, "before")

    trainer = Trainer(config, senior, junior, tokenizer)
    color, without_signal = sys.stdout.isatty(), 0
    print(
        "senior in cyan, junior in yellow" if color else "what the junior wrote is in ⟦brackets⟧",
        "(¶ is a blank line)",
    )
    if config.baseline in ("group", "rloo") and not config.kl_coef:
        print("the loss is near 0 by construction (advantages average 0): its gradient teaches; watch the reward")
    bar = tqdm(range(config.steps), desc="solo RL" if config.schedule == "solo" else "tandem RL", unit="step")
    with open(out / "metrics.jsonl", "w") as metrics_file, open(out / "samples.txt", "w") as samples_file:
        try:
            for step in bar:
                metrics, batch, problems = trainer.step(step)
                metrics_file.write(json.dumps(metrics) + "\n")
                metrics_file.flush()
                bar.set_postfix_str(
                    f"reward {metrics['reward']:.2f}, jargon {metrics['jargon_rate']:.2f}, senior "
                    f"{metrics['senior_fraction']:.2f}, loss {metrics['loss']:+.4f}, "
                    f"{metrics['tokens_per_second']:.0f} tokens/s"
                )
                without_signal += metrics["skipped_updates"] == config.mini_batches
                if step == 4 and without_signal == 5:
                    tqdm.write(no_signal(metrics["reward"]))
                if step % config.save_every == 0 or step == config.steps - 1:
                    tqdm.write(show_step(metrics, batch, tokenizer, color))
                    samples_file.write(f"{problems[0].question}\n{show_step(metrics, batch, tokenizer, False)}\n\n")
                    samples_file.flush()
                    save_model(senior, out / "checkpoint.pt", step=step + 1)
        except KeyboardInterrupt:
            save_model(senior, out / "checkpoint.pt", step=step)
            bar.close()
            print(f"\nstopped; the senior so far is in {out}: python evaluate.py {out} --problems 100", file=sys.stderr)
            raise

    after, responses_after = evaluate(senior, junior, held_out, tokenizer, how, "after")
    result = {
        "before": before,
        "after": after,
        "problems": config.eval_problems,
        "samples": how.samples,
        "config": asdict(config),
    }
    write_json(out / "eval.json", result)
    print(f"\nbefore\n{show_responses(responses_before, tokenizer, color)}")
    print(f"after\n{show_responses(responses_after, tokenizer, color)}")
    print(
        f"\n{config.eval_problems} test problems × {how.samples} responses\n\n{table({'before': before, 'after': after})}"
    )
    return result


def no_signal(reward_mean: float) -> str:
    """What to say when the first steps had no group with both right and wrong responses."""
    fate, remedy = (
        ("all wrong", "easier problems or a better senior") if reward_mean < 0.5 else ("all right", "harder problems")
    )
    return (
        f"warning: no learning signal: in 5 steps every group was of one kind, at last {fate}. Nothing is being trained. "
        f"Try {remedy}, a larger --group-size, a higher --temperature, or more --max-new-tokens"
    )


@command
def main(argv: list[str]) -> None:
    config = parse(Config, argv, __doc__)
    started = time.perf_counter()
    device = pick_device(config.device)
    out = run_directory(config.out, Path("runs") / ("base" if config.pretrain else config.schedule))
    if config.pretrain:
        from pretrain import pretrain

        make_directory(out)
        return pretrain(out, config.seed, device, load_tokenizer())
    train(config, out, device)
    print(f"\n{time.perf_counter() - started:.0f} s; everything is in {out}: python rollout.py {out} shows more of it")


if __name__ == "__main__":
    main()
