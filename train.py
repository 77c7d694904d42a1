"""Tandem RL from the first problem to the table of results. Start reading at `train`.

    python train.py                                    # tandem RL: the senior gives up its jargon, in minutes
    python train.py --schedule solo                    # the control: plain RL, the senior writes alone
    python train.py --objective grpo                   # the paper's clipped objective
    python train.py --resume runs/word                 # go on with a run that was stopped or killed, to the bit
    python train.py --pretrain                         # train the base pair again from nothing
    python train.py --world work                       # another world, once --pretrain --world work made its pair
    torchrun --nproc_per_node=2 train.py               # the same run on two GPUs, or in two processes

One batch down the page: problems -> generate -> verify -> advantages -> policy_loss -> optimizer.
Only the senior is trained, and only on the tokens that it wrote.
"""

import contextlib
import itertools
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

import ranks
import reward
from cli import UserError, command, parse, say_device
from compare import table
from config import MAY_CHANGE, PRESET_HELP, Config
from data.foreign import save_tokenizer
from data.problems import Problem, deal, jargon_rate, take
from data.tokenizer import Tokenizer, load_tokenizer
from evaluate import Sampling, evaluate, seeded, show_responses
from model import GPT, autocast, save_model, store_matrices
from pretrain import RECIPES, pretrain
from pretrained import check_export, save_pretrained
from rollout import Rollout, generate_in_parts, log_probs, render, response_logits
from runs import (
    GROWING,
    claimed,
    completed,
    continued,
    fingerprint,
    finishing_first,
    last_checkpoint,
    load_both,
    new_directory,
    problems_of,
    read_metrics,
    read_state,
    refuse_a_run,
    says_how_to_go_on,
    write_json,
)
from tandem import Handoff, advantages, check_authorship, kl_exact, kl_k3, policy_loss

SHIPPED = Path(__file__).parent / "data"
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
    each has its own: as many rows as the others, and as long.
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
            parts = ranks.gather(self.backward, part, weight)
            ranks.add_gradients(self.senior.parameters())
            stats = {name: sum(s[name] for s in parts) for name in parts[0]}
            stats["ratio_error"] = max(s["ratio_error"] for s in parts)
            stats["entropy"] = stats["entropy"] / (part.weights != 0).sum()
            stats["grad_norm"] = torch.nn.utils.clip_grad_norm_(self.senior.parameters(), config.grad_clip)
            if not (stats["loss"] + stats["grad_norm"]).isfinite():
                quantity = "gradient" if stats["loss"].isfinite() else "loss"
                self.fault(step, f"the {quantity} is not finite")
                skipped += 1
                continue
            self.optimizer.step()
            self.faults = 0
            done.append({name: value.item() for name, value in stats.items()})
        names = ("loss", "grad_norm", "entropy", "approx_kl", "clip_fraction")
        means = {name: sum(d[name] for d in done) / len(done) if done else 0.0 for name in names}
        means["entropy"] = means["entropy"] if done else None  # not known where nothing was read
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


def starting_pair(config: Config) -> tuple[GPT, GPT, Tokenizer]:
    """Senior and junior before RL, two objects, on the CPU, and the tokenizer of both."""
    base = SHIPPED if config.world == "jargon" else Path("runs") / f"base-{config.world}"
    senior = config.senior or base / "senior.pt"
    junior = config.junior or (base / "junior.pt" if RECIPES[config.world][1] else "self")
    for path in (senior, junior):
        if isinstance(path, Path) and base != SHIPPED and not path.exists():
            raise UserError(f"{path} is missing; python train.py --pretrain --world {config.world} makes it")
    return load_both(senior, senior if junior == "self" else junior, config.prompt_template)


def resumed_pair(config: Config, directory: Path) -> tuple[GPT, GPT, Tokenizer, dict | None]:
    """Senior, junior, tokenizer and state from the last checkpoint of a run, if that run is still what it was.

    The state is None, and the pair the one that it starts from, where it was killed before its first checkpoint.
    """
    path = last_checkpoint(directory)
    if path is None:
        if any((directory / name).exists() and (directory / name).stat().st_size for name in ("eval.json", *GROWING)):
            raise UserError(
                f"{directory} has lost its checkpoint.pt; restore it, or begin a new run with another --out"
            )
        return *starting_pair(config), None
    state = read_state(path)
    for name, value in config.record().items():
        saved = state["options"].get(name)
        if name not in (*MAY_CHANGE, "out") and saved != value:
            option = name.replace("_", "-")
            raise UserError(f"{directory / 'config.json'} says --{option} {value}, {path} {saved}; change it back")
    if config.steps < state["step"]:
        raise UserError(
            f"{path} is of step {state['step']}, beyond the --steps {config.steps} of {directory}; give more"
        )
    loaded = load_both(path, directory / "junior.pt", config.prompt_template)
    for name, found in fingerprints(config, directory).items():
        if found != state["fingerprints"].get(name):
            raise UserError(f"{name} is not what it was when {directory} began; put that back, or begin a new run")
    return *loaded, state


def fingerprints(config: Config, directory: Path) -> dict[str, str]:
    """The SHA-256 of every file that the run reads again when it is resumed."""
    files = {"junior.pt": directory / "junior.pt", "--data": config.data, "--test-data": config.test_data}
    return {name: fingerprint(path) for name, path in files.items() if path}


def show_step(metrics: dict, batch: Batch, tokenizer: Tokenizer, color: bool) -> str:
    """A line for the reader's eyes: the first response of a batch, coloured by author, and what became of it."""
    text = render(batch.rollout, 0, tokenizer, color).replace("\n\n", " ¶ ")
    return f"step {metrics['step']:>4}  {'right' if batch.rewards[0] else 'wrong'}  {text}"


def show_metrics(metrics: dict) -> str:
    """What the progress bar says of a step."""
    jargon = "" if metrics["jargon_rate"] is None else f"jargon {metrics['jargon_rate']:.2f}, "
    return (
        f"reward {metrics['reward']:.2f}, {jargon}senior {metrics['senior_fraction']:.2f}, "
        f"loss {metrics['loss']:+.4f}, {metrics['tokens_per_second']:.0f} tokens/s"
    )


def sampling(config: Config) -> Sampling:
    """How the measurements before and after sample: with generators of their own, so that they change no run."""
    return Sampling(
        samples=config.eval_samples,
        temperature=config.eval_temperature,
        max_new_tokens=config.max_new_tokens,
        p_senior=0.5,
        max_gap=config.max_gap,
        batch_size=config.rollout_rows,
        precision=config.precision,
    )


def set_up(config: Config, directory: Path | None) -> tuple[Trainer, list[Problem], str, dict | None]:
    """The trainer of a run, the problems to measure on, a note about these, and the state from which a run goes on."""
    if config.prompts % ranks.size():
        raise UserError(
            f"{ranks.size()} processes can't share --prompts {config.prompts} evenly; change one of the two"
        )
    senior, junior, tokenizer, state = resumed_pair(config, directory) if directory else (*starting_pair(config), None)
    if config.export:
        check_export(senior, config.export)
    problems, held_out, note = problems_of(config, config.eval_problems, tokenizer, senior, junior)
    device = ranks.pick_device(config.device)
    trainer = Trainer(config, senior.to(device), junior, tokenizer, problems)
    if state:
        trainer.load_state(state["trainer"])
    return trainer, held_out, note, state


def train(config: Config) -> Path:
    """A whole run, or the rest of one: measure, train, measure again. Returns the directory with everything in it."""
    how, color = sampling(config), sys.stdout.isatty()
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(claimed(Path(config.resume))) if config.resume else None
        trainer, held_out, note, state = set_up(config, out)
        senior, junior, tokenizer = trainer.senior, trainer.junior, trainer.tokenizer
        if not config.resume:  # nothing is written before all is known to be good
            out = stack.enter_context(claimed(new_directory(config.out, Path("runs") / config.schedule)))
            refuse_a_run(out)  # which another process may have begun and ended meanwhile
        stack.enter_context(says_how_to_go_on(out))

        write_json(out / "config.json", config.record())
        say_device(senior.device)
        print(note)
        print("senior in cyan, junior in yellow" if color else "what the junior wrote is in ⟦brackets⟧", end="")
        print(" (¶ is a blank line)")
        if state is None:
            save_model(junior, out / "junior.pt")  # as it was given: in float32
            if not tokenizer.same_as(load_tokenizer()):
                (out / "tokenizer").mkdir(exist_ok=True)
                save_tokenizer(tokenizer, out / "tokenizer")
        trainer.settle_junior()
        if state is None:
            before, responses = evaluate(senior, junior, held_out, tokenizer, how, "before")
            print(f"before\n{show_responses(responses, tokenizer, color)}\n")
            lengths = dict.fromkeys(GROWING, 0)
            state = {"step": 0, "before": before, "lengths": lengths, "fingerprints": fingerprints(config, out)}
        elif state["step"] < config.steps and (out / "eval.json").exists():  # it measured what the run then was
            (out / "eval.json").replace(out / f"eval-step-{state['step']}.json")
        go_on(trainer, state, held_out, out, color)

        after, responses = state["before"], None
        if config.steps > 0:
            after, responses = evaluate(senior, junior, held_out, tokenizer, how, "after")
        result = {"before": state["before"], "after": after, "problems": len(held_out), "samples": how.samples}
        write_json(out / "eval.json", result | {"config": config.record()})
        if responses:
            print(f"\nafter\n{show_responses(responses, tokenizer, color)}")
        if config.export:
            save_pretrained(senior, tokenizer, config.export)
        columns = table({"before": [state["before"]], "after": [after]})
        print(f"\n{len(held_out)} test problems × {how.samples} responses\n\n{columns}")
    return out


def follow(config: Config) -> None:
    """What the other ranks do meanwhile: their share of the measurements and of every step. They write no file."""
    trainer, held_out, _, state = set_up(config, Path(config.resume) if config.resume else None)
    trainer.settle_junior()
    measured = trainer.senior, trainer.junior, held_out, trainer.tokenizer, sampling(config)
    if state is None:
        evaluate(*measured)
    with finishing_first() as asked:
        for step in range(state["step"] if state else 0, config.steps):
            trainer.step(step)
            if config.eval_every and (step + 1) % config.eval_every == 0:
                evaluate(*measured)
            if stop := ranks.gather(list, asked):
                raise stop[0]
    if config.steps > 0:
        evaluate(*measured)


def go_on(trainer: Trainer, state: dict, held_out: list[Problem], out: Path, color: bool) -> None:
    """The loop, from the step of `state` on. A checkpoint at every instant stands for all that was written before it."""
    config, tokenizer, first = trainer.config, trainer.tokenizer, state["step"]
    if config.steps > first and config.baseline in ("group", "rloo") and not config.kl_coef:
        print("the loss is near 0 by construction (advantages average 0): its gradient teaches; watch the reward")
    with contextlib.ExitStack() as stack:
        asked = stack.enter_context(finishing_first())
        files = {name: stack.enter_context(continued(out / name, state["lengths"][name])) for name in GROWING}

        def save(step: int) -> None:
            for file in files.values():
                file.flush()
                os.fsync(file.fileno())
            if not all(parameter.isfinite().all() for parameter in trainer.senior.parameters()):
                raise FloatingPointError(f"after {step} steps: the senior's weights are not finite")
            save_model(
                trainer.senior,
                out / "checkpoint.pt",
                out / "previous.pt",
                step=step,
                options=config.record(),
                before=state["before"],
                lengths={name: file.tell() for name, file in files.items()},
                fingerprints=state["fingerprints"],
                trainer=trainer.state(),
            )

        def note(step: int, measures: dict) -> None:
            files["measures.jsonl"].write(json.dumps({"step": step} | measures).encode() + b"\n")
            files["measures.jsonl"].flush()

        if first == 0:
            if config.eval_every and not state["lengths"]["measures.jsonl"]:
                note(0, state["before"])
            save(0)
        bar = tqdm(
            range(first, config.steps),
            desc="solo RL" if config.schedule == "solo" else "tandem RL",
            unit="step",
            initial=first,
            total=config.steps,
        )
        for step in bar:
            metrics, batch, problems = trainer.step(step)
            files["metrics.jsonl"].write(json.dumps(metrics).encode() + b"\n")
            files["metrics.jsonl"].flush()
            if batch is not None:
                bar.set_postfix_str(show_metrics(metrics))
                if step % config.save_every == 0 or step == config.steps - 1:
                    tqdm.write(show_step(metrics, batch, tokenizer, color))
                    shown = f"{problems[0].question}\n{show_step(metrics, batch, tokenizer, False)}\n\n"
                    files["samples.txt"].write(shown.encode())
                if step == 4 and all(row["skipped_updates"] == config.mini_batches for row in read_metrics(out)):
                    tqdm.write(no_signal(metrics["reward"]))
            if config.eval_every and (step + 1) % config.eval_every == 0:
                how, label = sampling(config), f"after step {step}"
                note(step + 1, evaluate(trainer.senior, trainer.junior, held_out, tokenizer, how, label)[0])
            stop = ranks.gather(list, asked)  # all stop after the same step, whichever was asked
            if (step + 1) % config.save_every == 0 or step == config.steps - 1 or stop:
                save(step + 1)
            if stop:
                bar.close()
                raise stop[0]


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
    ranks.join()
    config = parse(Config, argv, f"{__doc__}\n{PRESET_HELP}", completed)
    started = time.perf_counter()
    if config.pretrain:
        if ranks.size() > 1:
            raise UserError("--pretrain is one process's work; start it without torchrun")
        device = ranks.pick_device(config.device)
        with claimed(new_directory(config.out or f"runs/base-{config.world}", Path())) as out:
            say_device(device)
            return pretrain(out, config.seed, device, load_tokenizer(), config.world)
    if ranks.rank() > 0:
        follow(config)
    else:
        out = train(config)
        print(
            f"\n{time.perf_counter() - started:.0f} s; everything is in {out}: python rollout.py {out} shows more of it"
        )
    ranks.leave()


if __name__ == "__main__":
    main()
