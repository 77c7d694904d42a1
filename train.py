"""Tandem RL from the first problem to the table of results. The whole loop is `train`, then `update`.

python train.py                                    # tandem RL: the senior gives up its jargon, in minutes
python train.py --schedule solo                    # the control: plain RL, the senior writes alone
python train.py --loss grpo                        # the paper's clipped objective
python train.py --resume runs/word                 # go on with a run that was stopped or killed
python train.py --pretrain --world work            # train another world's base pair, for --world work
torchrun --nproc_per_node=2 train.py               # the same run on two GPUs, or in two processes
"""

import math
import time
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from data.problems import WORLDS, Problem, WorldName, epoch_batch, first_problems, jargon_rate
from evaluate import Sampling, evaluate
from model import autocast
from reward import verify_batch
from rollout import (
    generate,
    in_chunks,
    make_handoff,
    put_back,
    response_logprobs,
    response_states,
    seeded,
    to_logprobs,
)
from support.models.base_pairs import pretrain
from support.reports.compare import measures_table
from support.runs import ranks
from support.runs.config_checks import check_config
from support.runs.host_adamw import HostAdamW
from support.runs.options import UserError, command, parse
from support.runs.run import Run, saved_options
from tandem import (
    Baseline,
    Schedule,
    Uniforms,
    advantages,
    check_authorship,
    kl_exact,
    kl_k3,
    policy_loss,
)


@dataclass
class Config:
    """Everything that a run depends on."""

    schedule: Schedule = "word"
    """who writes the next token: word (the paper's), token, step, chunk, alternate, or solo, the control"""
    p_senior: float = 0.5
    """probability that a draw of the author picks the senior (word, token)"""
    max_gap: int = 32
    """tokens after which word draws again although no new word began"""
    chunk: int = 16
    """tokens a turn (chunk)"""
    senior: str | None = None
    """checkpoint, Hugging Face directory or GGUF file of the senior, or smollm2; the world's if not given"""
    junior: str | None = None
    """the same of the junior, or self: a frozen copy of the senior; the world's if not given (phrasings: self)"""

    world: WorldName = "jargon"
    """generator of the problems, and its base pair: shipped for jargon, else in runs/base-WORLD (--pretrain)"""
    data: str | None = None
    """JSON Lines file of problems, {"question": …, "answer": …} each; the world's own if not given"""
    test_data: str | None = None
    """file of the problems to measure on; if not given, a tenth of --data is held out"""
    prompt_template: str = "{question}"
    """the model is asked this; for example '{question} Put the final answer in \\boxed{}.'"""
    chat_template: Literal["own", "none"] = "own"
    """own: the model's, if it has one; none: the question and a blank line"""
    max_prompt_tokens: int | None = None
    """leave out the problems of --data with longer prompts; as fits the context if not given"""

    steps: int = 250
    """RL steps, a batch of rollouts each; 0 only measures the pair"""
    prompts_per_step: int = 16
    """problems a step"""
    group_size: int = 8
    """rollouts a problem, G"""
    max_new_tokens: int | None = None
    """tokens a response may have; as the world's solutions need (jargon, work: 64) if not given"""
    temperature: float = 1.0
    """of both models while training; the loss sees the same distribution"""

    loss: Literal["reinforce", "grpo"] = "reinforce"
    """reinforce: -A·log π; grpo: the clipped ratio, on normalized advantages, in two mini-batches"""
    baseline: Baseline = "group"
    """a reward is compared with: its group's mean, the mean of the others in it, a running mean, nothing"""
    normalize_std: bool | None = None
    """divide advantages by their group's standard deviation; true for grpo if not given"""
    clip: float | None = None
    """ε of the clipped ratio (grpo alone); 0.2 if not given"""
    mini_batches: int | None = None
    """optimizer steps a batch; 2 for grpo, else 1, if not given"""
    junior_weight: float = 0.0
    """weight λ of the junior's tokens in the loss, 0 in the paper; they have no importance correction"""
    kl_coef: float = 0.0
    """weight of a penalty on KL(senior‖junior) a token: the kl_reg control, with --schedule solo"""
    kl_estimator: Literal["k3", "exact"] = "exact"
    """k3 (the paper's) sees the sampled token alone, and its gradient hardly a senior far off; exact the whole vocabulary"""

    learning_rate: float = 2e-4
    """AdamW's, constant after the warm-up"""
    warmup_steps: int = 10
    """steps over which the learning rate rises to its value"""
    weight_decay: float = 0.0
    """AdamW's"""
    grad_clip: float = 1.0
    """largest norm of a gradient"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """of matrix products and attention; bfloat16 is for GPUs (trained weights stay float32; see update_ratio_error)"""
    checkpoint_activations: bool = False
    """keep one state a layer in an update and compute the rest again: much less memory, a third more work"""
    offload_optimizer: bool = False
    """keep AdamW's moments in host memory between steps; for GPUs, 8 bytes a parameter less"""
    micro_batch_tokens: int = 4096
    """tokens, padding included, that an update reads at a time; the gradient is the same up to rounding"""
    rollout_batch_size: int = 512
    """responses written at a time; the same responses up to rounding, in less memory"""

    eval_problems: int = 100
    """test problems measured before and after"""
    eval_samples: int = 4
    """responses to each of them"""
    eval_temperature: float = 0.7
    """of both models while measuring"""
    eval_every: int | None = None
    """measure every so many steps too, into evals.jsonl; it changes nothing of the run; not at all if not given"""

    seed: int = 0
    """of everything random"""
    out: str | None = None
    """directory of the run; runs/SCHEDULE if not given, or the first of runs/SCHEDULE-2, -3 … that is free"""
    resume: str | None = None
    """directory of a run to go on with; its options hold, but for --steps and those that change no number"""
    export: str | None = None
    """new directory for the trained senior in Hugging Face's form, which transformers loads"""
    save_every: int = 20
    """steps between checkpoints, and between the co-written responses that are shown"""
    device: str = "auto"
    """auto (CUDA, then MPS, then the CPU), cuda, mps or cpu"""
    pretrain: bool = False
    """train the world's supervised base pair instead, into --out; --seed, --device and --world apply"""

    def __post_init__(self):
        grpo = self.loss == "grpo"
        defaults = {
            "normalize_std": grpo,
            "mini_batches": 2 if grpo else 1,
            "clip": 0.2 if grpo else None,
        }
        defaults["max_new_tokens"] = WORLDS[self.world].max_new_tokens
        for name, value in defaults.items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        check_config(self)


def train(config: Config) -> Run:
    """A whole run, or the rest of one. Under torchrun every process runs it, on its share of each step's problems."""
    with Run(
        config
    ) as run:  # a new directory, or the one to resume; faults and Ctrl-C say how to go on
        senior, junior, tokenizer, train_problems, test_problems = (
            run.load()
        )  # the junior is frozen
        adamw = HostAdamW if config.offload_optimizer else torch.optim.AdamW
        optimizer = adamw(
            senior.parameters(), weight_decay=config.weight_decay, fused=True
        )  # `update` sets the rate
        handoff = make_handoff(
            config.schedule, tokenizer, senior, config
        )  # decides who writes the next token
        writers = (senior, None if config.schedule == "solo" else junior)
        limits = {
            "end": tokenizer.end,
            "pad": tokenizer.pad,
            "max_new_tokens": config.max_new_tokens,
        }
        tested = (senior, junior, tokenizer, test_problems, Sampling.from_config(config))
        run.restore(senior, optimizer)

        for step in run.steps():
            if (
                run.first and run.begin_evaluation_if_due()
            ):  # before the first step, and every --eval-every
                run.log_eval(*evaluate(*tested, f"at step {step}"))
            run.begin_step()
            # Problems, G rows each. Under torchrun each process takes its share of them.
            problems = ranks.share(next_problems(train_problems, step, config))  # P
            problems = [
                problem for problem in problems for _ in range(config.group_size)
            ]  # N = P · G
            prompts = [
                tokenizer.prompt(problem.question, config.prompt_template) for problem in problems
            ]

            # Rollout: senior and junior write every response together.
            with autocast(config.precision, senior.device):
                uniforms = random_numbers(
                    step, config, senior.device
                )  # from the step's number: nothing to save
                sampling = {"temperature": config.temperature, "generator": uniforms} | limits
                rollout = generate(
                    *writers, prompts, handoff, batch_size=config.rollout_batch_size, **sampling
                )
            count_authors(
                run.state, handoff, rollout
            )  # a lost mask would silently turn this into plain RL
            run.lap("rollout")

            # Reward: the verifier grades the finished text, so the two are rewarded as a team ...
            texts = rollout.texts(tokenizer)
            verdicts = verify_batch(texts, [problem.answer for problem in problems])
            rewards = torch.tensor(verdicts, dtype=torch.float, device=senior.device)  # (N,) 0 or 1
            run.lap("reward")
            A = group_advantages(rewards, run.state, config)  # (N,)

            # ... but only the senior is trained, and only on the tokens that it wrote, its end token included.
            gate = rollout.authorship + config.junior_weight * (
                rollout.mask & ~rollout.authorship
            )  # (N, T)
            stats = update(senior, junior, optimizer, rollout, A, gate, step, config)
            run.lap("update")

            run.log_step(
                metrics(
                    step, rollout, texts, rewards, A, stats, problems, tokenizer, config.group_size
                )
            )
            run.show_step(rollout, rewards)
            run.save_or_stop(senior, optimizer)
        if run.first:
            run.log_eval(*evaluate(*tested, "after"))
        run.finish(senior)
    return run


def update(
    senior, junior, optimizer, rollout, A: Tensor, gate: Tensor, step: int, config: Config
) -> dict:
    """An optimizer step a mini-batch (GRPO: two a batch), each an average over all of its senior tokens."""
    optimizer.param_groups[0]["lr"] = config.learning_rate * min(
        1.0, (step + 1) / max(1, config.warmup_steps)
    )
    stats = []  # of each mini-batch
    for rows in torch.arange(len(A), device=A.device).chunk(config.mini_batches):  # whole groups
        total = ranks.sum(
            gate[rows].sum()
        )  # ONE count of senior tokens, not one a micro-batch or a process
        # A row without an advantage has no gradient: it counts in the average, but needn't be read again.
        read = rows[(gate[rows] != 0).any(dim=1) & ((A[rows] != 0) | (config.kl_coef > 0))]  # (M,)
        if (
            ranks.sum(len(read)) == 0
        ):  # e.g. every group all right or all wrong: Adam must not move on momentum alone
            continue
        parts = []  # stats of each micro-batch
        for part in micro_batches(rollout, read, config.micro_batch_tokens):
            micro = rollout[part]  # n responses
            weights = gate[part]  # (n, T)
            with autocast(config.precision, senior.device):
                logprobs = response_logprobs(
                    senior, micro, weights != 0, config.temperature
                )  # (n, T), with grad
                loss, part_stats = policy_loss(
                    logprobs, micro.senior_logprobs, A[part], weights, config.clip, total
                )
                if config.kl_coef:  # the kl_reg control
                    kl = kl_to_junior(senior, junior, micro, logprobs, config)  # (n, T)
                    loss = loss + config.kl_coef * kl.sum() / total
            loss.backward()
            parts.append(part_stats | {"loss": loss.detach()})
        ranks.sum_gradients(senior)
        grad_norm = torch.nn.utils.clip_grad_norm_(senior.parameters(), config.grad_clip)
        stats.append(mini_batch_stats(parts, grad_norm, total, gate[read].sum(), step))
        optimizer.step()
        optimizer.zero_grad(
            set_to_none=True
        )  # its memory is the caches' while responses are written
    return batch_stats(stats, config.mini_batches)


def kl_to_junior(senior, junior, rollout, logprobs: Tensor, config: Config) -> Tensor:
    """KL(senior‖junior) of the next token, in nats, where the senior wrote; 0 elsewhere.  (N, T), with grad"""
    own = rollout.authorship  # (N, T)
    if config.kl_estimator == "k3":
        with torch.no_grad():
            junior_logprobs = response_logprobs(junior, rollout, own, config.temperature)  # (N, T)
        return kl_k3(logprobs.where(own, 0.0), junior_logprobs)

    def of_states(states: Tensor, junior_states: Tensor) -> Tensor:
        senior_logprobs = to_logprobs(senior.head(states), config.temperature)  # (m, V)
        junior_logprobs = to_logprobs(junior.head(junior_states), config.temperature)  # (m, V)
        return kl_exact(senior_logprobs, junior_logprobs)  # (m,)

    states = response_states(senior, rollout, own)  # (M, C)
    with torch.no_grad():
        junior_states = response_states(junior, rollout, own)  # (M, C)
    return put_back(in_chunks(of_states, senior.config.vocab_size, states, junior_states), own)


def next_problems(train_problems: list[Problem] | None, step: int, config: Config) -> list[Problem]:
    """The problems of a step: new ones of the world, or the next of the file's, in a new order at every pass."""
    if train_problems is None:
        return first_problems(
            "train", config.prompts_per_step, f"{config.seed}/{step}", config.world
        )
    return epoch_batch(train_problems, config.prompts_per_step, config.seed, step)


def random_numbers(step: int, config: Config, device: torch.device) -> Uniforms:
    """Each row's random numbers, from the step's number: nothing to save, and resume is exact. The ranks' rows differ."""
    P, G = config.prompts_per_step, config.group_size
    own = ranks.share(
        torch.arange(P * G).view(P, G)
    ).flatten()  # (N,) places of this rank's rows in the batch
    return Uniforms(P * G, seeded(config.seed, step, "rollout"), device).at(own)


def count_authors(state: dict, handoff, rollout) -> None:
    by_senior, all_tokens = int(rollout.authorship.sum()), int(rollout.mask.sum())
    state["senior_tokens"] += int(ranks.sum(by_senior))
    state["junior_tokens"] += int(ranks.sum(all_tokens - by_senior))
    check_authorship(handoff, state["senior_tokens"], state["junior_tokens"])


def group_advantages(rewards: Tensor, state: dict, config: Config) -> Tensor:
    """`advantages` of a step's rewards, with the running mean of the steps before (at first, this step's own)."""
    mean = float(ranks.sum(rewards.mean())) / ranks.size()
    before = mean if state["running_mean"] is None else state["running_mean"]
    state["running_mean"] = 0.9 * before + 0.1 * mean
    options = {"normalize_std": config.normalize_std, "running_mean": before}
    return advantages(rewards, config.group_size, config.baseline, **options)  # (N,)


def micro_batches(rollout, rows: Tensor, budget: int) -> list[Tensor]:
    """Split rows into micro-batches of at most `budget` tokens, padding included.  (n,) each

    The rows of a prompt, which is read once, stay together where they can, beside those of about the same length.
    """
    lengths, longest, parts = rollout.mask.sum(dim=1).tolist(), {}, []
    prompts, rows = list(map(tuple, rollout.prompts)), rows.tolist()
    for row in rows:
        longest[prompts[row]] = max(lengths[row], longest.get(prompts[row], 0))
    D = P = T = 0  # of the last part: distinct prompts, the longest of them, the longest response
    for row in sorted(rows, key=lambda row: (-longest[prompts[row]], prompts[row], -lengths[row])):
        another = not parts or prompts[row] != prompts[parts[-1][-1]]
        D, P, T = D + another, max(P, len(prompts[row])), max(T, lengths[row])
        if parts and D * P + (len(parts[-1]) + 1) * T <= budget:
            parts[-1].append(row)
        else:  # a single row may be longer than the budget
            parts.append([row])
            D, P, T = 1, len(prompts[row]), lengths[row]
    return [torch.tensor(part, device=rollout.mask.device) for part in parts]


def mini_batch_stats(
    parts: list[dict], grad_norm: Tensor, total: Tensor, read: Tensor, step: int
) -> dict[str, float]:
    """A mini-batch's diagnostics from those of its parts. FloatingPointError if the loss or the gradient isn't finite."""
    zero, stats = grad_norm.new_zeros(()), {"grad_norm": float(grad_norm)}
    for name in ("loss", "approx_kl", "clip_fraction"):
        value = ranks.sum(sum((part[name] for part in parts), zero))
        if name != "loss":  # a mean over the tokens that were read again
            value = value * total / ranks.sum(read)
        stats[name] = float(value)
    stats["ratio_error"] = float(
        ranks.max(max((part["ratio_error"] for part in parts), default=zero))
    )
    for name, key in (("loss", "loss"), ("gradient", "grad_norm")):
        if not math.isfinite(stats[key]):
            raise FloatingPointError(
                f"step {step}: the {name} is not finite; try a new run, a smaller --learning-rate"
            )
    return stats


def batch_stats(stats: list[dict], mini_batches: int) -> dict[str, float]:
    """Means over the mini-batches that had a gradient. The ratio is that of the first: it must be 1, up to rounding."""
    names = ("loss", "grad_norm", "approx_kl", "clip_fraction")
    means = {name: sum(some[name] for some in stats) / max(1, len(stats)) for name in names}
    first = stats[0]["ratio_error"] if stats else 0.0
    return means | {"update_ratio_error": first, "skipped_updates": mini_batches - len(stats)}


def metrics(
    step, rollout, texts, rewards, A, stats: dict, problems, tokenizer, group_size: int
) -> dict:
    """The line of a step in metrics.jsonl, but for the times. Sums are added up over the ranks, then divided."""
    lengths = rollout.mask.sum(dim=1)  # (N,)
    last = rollout.tokens.gather(1, lengths[:, None] - 1)[:, 0]  # (N,)
    truncated = ~torch.isin(last, torch.tensor(tokenizer.end, device=last.device))  # (N,)
    authors = rollout.authorship  # (N, T)
    handoffs = (authors[:, 1:] != authors[:, :-1]) & rollout.mask[:, 1:]  # (N, T - 1)
    flat = (A == 0).view(-1, group_size).all(dim=1)  # (P,) groups that teach nothing
    surprise = -(
        rollout.senior_logprobs * authors
    ).sum()  # nats; a mean of it estimates the senior's entropy
    jargon, N = jargon_rate(texts, problems[0].world), len(A)
    ratios = {
        "reward": (rewards.sum(), N),
        "senior_fraction": (authors.sum(), lengths.sum()),
        "handoffs": (handoffs.sum(), N),
        "zero_advantage_fraction": (flat.sum(), len(flat)),
        "response_length": (lengths.sum(), N),
        "truncated_fraction": (truncated.sum(), N),
    }
    means = {
        name: float(ranks.sum(above) / ranks.sum(below)) for name, (above, below) in ratios.items()
    }
    return {
        "step": step,
        **means,
        **stats,
        "entropy": float(ranks.sum(surprise)) / max(1, int(ranks.sum(authors.sum()))),
        "jargon_rate": None if jargon is None else float(ranks.sum(jargon)) / ranks.size(),
        "tokens": int(ranks.sum(lengths.sum())),  # Run makes tokens_per_second of it
    }


@command
def main(argv: list[str]) -> None:
    started = time.perf_counter()
    ranks.join()
    config = parse(Config, argv, __doc__, saved_options)
    if config.pretrain:
        if ranks.size() > 1:
            raise UserError("--pretrain is one process's work; start it without torchrun")
        pretrain(config)
    else:
        run = train(config)
        if run.first:
            print(f"\n{run.problems} test problems × {config.eval_samples} responses\n")
            print(measures_table({"before": [run.before], "after": [run.after]}))
            print(f"\n{time.perf_counter() - started:.0f} s; everything is in {run.directory}")
    ranks.leave()


if __name__ == "__main__":
    main()
