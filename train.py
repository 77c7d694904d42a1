"""Tandem RL from the first problem to the table of results. The loop is `train`, then `update`.

python train.py                            # tandem RL: the senior gives up its jargon, in minutes
python train.py --schedule solo            # the control: plain RL, the senior writes alone
python train.py --loss grpo                # the paper's clipped objective
python train.py --resume runs/word         # continue a run that was stopped or killed
python train.py --like runs/word --seed 1  # a new run with another's options
python train.py --pretrain --world work    # train another world's base pair, for --world work
torchrun --nproc_per_node=2 train.py       # the same run on two GPUs, or in two processes
"""

import math
import time
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from data.problems import WORLDS, Problem, WorldName, epoch_batch, first_problems, jargon_rate
from evaluate import Sampling, evaluate
from model import autocast
from reward import verify
from rollout import compare_models, generate, make_handoff, response_logprobs, seeded
from support.models.base_pairs import pretrain
from support.reports.measures import measures_table
from support.runs import ranks
from support.runs.config_checks import check_config
from support.runs.earlier import earlier_options
from support.runs.fields import (
    Count,
    ModelPath,
    NoEffect,
    NotNegative,
    OfOneRun,
    Positive,
    Probability,
    Temperature,
    Whole,
)
from support.runs.host_adamw import HostAdamW
from support.runs.options import UserError, command, parse
from support.runs.run import Run
from tandem import (
    Baseline,
    Handoff,
    Schedule,
    Uniforms,
    advantages,
    by_token,
    check_authorship,
    kl_exact,
    kl_k3,
    policy_loss,
)


@dataclass
class Config:
    """Everything that a run depends on. A new option is a field here, and nothing else.

    Its type may say more: its range (Count, Probability …), or that it changes no result.
    """

    "the eight to know first"

    schedule: Schedule = "word"
    """who writes the next token: word (the paper's), token, step, chunk, alternate, or solo: plain
    RL"""
    steps: Whole = 250
    """RL steps, a batch of rollouts each; 0 only measures the pair"""
    seed: Whole = 0
    """of everything random"""
    senior: ModelPath | None = None
    """checkpoint, Hugging Face directory, GGUF file or name on the hub of the senior, or smollm2;
    default: the world's"""
    junior: ModelPath | None = None
    """the same for the junior, or self: a frozen copy of the senior; default: the world's, in
    phrasings and slips self"""
    data: str | None = None
    """JSON Lines file of problems, {"question": …, "answer": …} each; default: the world's own"""
    out: OfOneRun[str | None] = None
    """directory of the run; default: the first free one of runs/SCHEDULE, runs/SCHEDULE-2, -3 …"""
    resume: OfOneRun[str | None] = None
    """run to continue, with its own options; only --steps and options that don't affect results may
    differ"""

    "method"

    p_senior: Probability = 0.5
    """probability that a draw of the author picks the senior (word, token)"""
    max_gap: Count = 32
    """tokens after which word draws again although no new word began"""
    chunk: Count = 16
    """tokens a turn (chunk)"""
    temperature: Temperature = 1.0
    """of both models while training; the loss sees the same distribution"""
    loss: Literal["reinforce", "grpo"] = "reinforce"
    """reinforce: -A·log π; grpo: the clipped ratio, normalized advantages, two mini-batches"""
    baseline: Baseline = "group"
    """group: the group's mean; rloo: the mean of its other rollouts; ema: a running mean; none:
    0"""
    normalize_std: bool | None = None
    """divide advantages by their group's standard deviation; default: true for grpo"""
    clip: float | None = None
    """ε of the clipped ratio, for grpo; default 0.2"""
    junior_weight: NotNegative = 0.0
    """weight λ of the junior's tokens in the loss, 0 in the paper; there is no importance
    correction"""
    kl_coef: NotNegative = 0.0
    """weight of a penalty on KL(senior‖junior) a token: the kl_reg control, with --schedule solo"""
    kl_estimator: Literal["k3", "exact"] = "exact"
    """exact: KL over the whole vocabulary; k3: the paper's one-sample estimate, whose gradient is
    weak far from the junior"""

    "models"

    chat_template: Literal["own", "none"] = "own"
    """own: the model's, if it has one; none: the question and a blank line"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """of matrix products and attention; bfloat16 is for GPUs; trained weights stay in float32"""

    "problems"

    world: WorldName = "jargon"
    """generator of the problems and its base pair: shipped for jargon and slips, else made by
    --pretrain"""
    test_data: str | None = None
    """file of the problems to measure on; default: a tenth of --data is held out"""
    prompt_template: str = "{question}"
    """what the model is asked; for example '{question} Put the final answer in \\boxed{}.'"""
    max_prompt_tokens: Count | None = None
    """leave out problems of --data with longer prompts; default: as fits the context"""
    prompts_per_step: Count = 16
    """problems a step"""
    group_size: Count = 8
    """rollouts a problem, G"""
    max_new_tokens: Count | None = None
    """tokens a response may have; default: as the world's solutions need (jargon, work: 64)"""
    eval_problems: Count = 100
    """test problems measured before and after"""
    eval_samples: Count = 4
    """responses to each of them"""
    eval_temperature: NotNegative = 0.7
    """of both models while measuring"""

    "optimization"

    learning_rate: Positive | None = None
    """of AdamW, constant after the warm-up; default: as the world's pair learns best (jargon,
    work: 2e-4; phrasings, slips: 1e-4)"""
    warmup_steps: Whole = 10
    """steps over which the learning rate rises to its value"""
    weight_decay: NotNegative = 0.0
    """of AdamW"""
    grad_clip: Positive = 1.0
    """largest norm of a gradient"""
    mini_batches: Count | None = None
    """parts of a batch, an optimizer step each; default: 2 for grpo, else 1"""
    epochs: Count = 1
    """passes over a batch; where it takes several steps, the ratio counts, for reinforce too"""

    "memory"

    checkpoint_activations: NoEffect[bool] = False
    """compute each layer again in an update: much less memory, a third more work"""
    offload_optimizer: NoEffect[bool] = False
    """keep AdamW's moments in host memory between steps: a GPU saves 8 bytes a parameter"""
    micro_batch_tokens: NoEffect[Count] = 4096
    """tokens, padding included, that an update reads at a time; results equal up to rounding"""
    rollout_batch_size: NoEffect[Count] = 512
    """responses written at a time; fewer take less memory, results are equal up to rounding"""

    "run"

    like: OfOneRun[str | None] = None
    """run whose options the new one has, but for those given beside it"""
    log: NoEffect[Literal["tensorboard", "wandb"] | None] = None
    """also send every number of the logs there; needs the package of that name"""
    eval_every: NoEffect[Count | None] = None
    """also evaluate every N steps, into evals.jsonl; off by default; the run itself doesn't
    change"""
    save_every: NoEffect[Count] = 20
    """steps between checkpoints, and between the responses that are shown"""
    keep_every: NoEffect[Count | None] = None
    """also keep the checkpoint of every N steps, as checkpoint-N.pt; off by default"""
    export: NoEffect[OfOneRun[str | None]] = None
    """new directory for the trained senior in Hugging Face's form, which transformers loads"""
    device: NoEffect[str] = "auto"
    """auto (CUDA, then MPS, then the CPU), cuda, mps or cpu"""
    pretrain: bool = False
    """train the world's supervised base pair instead, into --out; --seed, --device and --world
    apply"""

    def __post_init__(self):
        grpo = self.loss == "grpo"
        if self.normalize_std is None:
            self.normalize_std = grpo
        if self.mini_batches is None:
            self.mini_batches = 2 if grpo else 1
        if self.clip is None and grpo:
            self.clip = 0.2
        if self.max_new_tokens is None:
            self.max_new_tokens = WORLDS[self.world].max_new_tokens
        if self.learning_rate is None:
            self.learning_rate = WORLDS[self.world].learning_rate
        check_config(self)


def train(config: Config) -> Run:
    """A whole run, or the rest of one. Under torchrun every process runs it, on its share."""
    # A new directory, or one to resume. Faults and Ctrl-C say how to go on.
    with Run(config) as run:
        senior, junior, tokenizer, train_problems, test_problems = run.load()  # junior: frozen
        optimizer = make_optimizer(senior, config)
        handoff = make_handoff(config.schedule, tokenizer, senior, config)  # who writes next
        partner = None if config.schedule == "solo" else junior
        sampling = Sampling.from_config(config)
        run.restore(senior, optimizer)

        for step in run.steps():
            if run.first and run.begin_evaluation_if_due():  # before the first step, and on the way
                label = f"at step {step}"
                run.log_eval(evaluate(senior, junior, tokenizer, test_problems, sampling, label))
            run.begin_step()

            # Problems, G rows each. Under torchrun each process takes its share of them.
            problems = ranks.share(next_problems(train_problems, step, config))  # P
            problems = [problem for problem in problems for _ in range(config.group_size)]  # N
            template = config.prompt_template
            prompts = [tokenizer.prompt(problem.question, template) for problem in problems]

            # Rollout: senior and junior write every response together.
            with autocast(config.precision, senior.device):
                rollout = generate(
                    senior,
                    partner,
                    prompts,
                    handoff,
                    end=tokenizer.end,
                    pad=tokenizer.pad,
                    max_new_tokens=config.max_new_tokens,
                    temperature=config.temperature,
                    generator=random_numbers(step, config, senior.device),
                    batch_size=config.rollout_batch_size,
                )
            count_authors(run.state, handoff, rollout)
            run.lap("rollout")

            # Reward: the verifier grades the finished text, so the two are rewarded as a team ...
            texts = rollout.texts(tokenizer)
            pairs = zip(texts, problems, strict=True)
            right = [verify(text, problem.answer) for text, problem in pairs]
            right = torch.tensor(right, device=senior.device)  # (N,) bool
            rewards = reward(right, rollout, config)  # (N,)
            run.lap("reward")
            A = group_advantages(rewards, run.state, config)  # (N,)

            # ... but only the senior is trained, and only on the tokens that it wrote.
            by_junior = rollout.mask & ~rollout.authorship  # (N, T)
            gate = rollout.authorship + config.junior_weight * by_junior  # (N, T) of each loss
            stats = update(senior, junior, optimizer, rollout, A, gate, step, config)
            run.lap("update")

            line = metrics(step, rollout, right, rewards, A, stats, tokenizer, config)
            run.log_step(line | language_metrics(rollout, right, texts, problems))
            run.show_step(rollout, right)
            run.save_or_stop(senior, optimizer)
        if run.first:
            run.log_eval(evaluate(senior, junior, tokenizer, test_problems, sampling, "after"))
        run.finish(senior)
    return run


def reward(right: Tensor, rollout, config: Config) -> Tensor:
    """The reward that a response is trained on. A response is shown as right or not.  (N,)"""
    rewards = right.float()  # 1 if the answer is right, else 0
    return rewards


def update(senior, junior, optimizer, rollout, A: Tensor, gate: Tensor, step: int, config) -> dict:
    """An optimizer step a mini-batch (GRPO: two a batch). `gate` (N, T): weights of every loss."""
    optimizer.param_groups[0]["lr"] = learning_rate(step, config)
    clip = ratio_clip(config)
    stats = []  # of each mini-batch
    for rows in mini_batches(A, config):  # whole groups
        total = ranks.sum(gate[rows].sum())  # ONE count of senior tokens, not one a micro-batch
        read = rows[has_gradient(A[rows], gate[rows], config)]  # (M,)
        if ranks.sum(len(read)) == 0:  # no gradient, but Adam would still move by momentum: skip
            continue
        parts = []  # stats of each micro-batch
        for part in micro_batches(rollout, read, config.micro_batch_tokens):
            micro = rollout[part]  # n responses
            old = micro.senior_logprobs  # (n, T)
            weights = gate[part]  # (n, T)
            with autocast(config.precision, senior.device):
                logprobs = response_logprobs(senior, micro, weights != 0, config.temperature)
                loss, part_stats = policy_loss(logprobs, old, A[part], weights, clip, total)
                if config.kl_coef:  # the kl_reg control: KL(senior‖junior) of the senior's tokens
                    measure = kl_exact if config.kl_estimator == "exact" else kl_k3
                    own = micro.authorship  # (n, T)
                    kl = compare_models(measure, senior, junior, micro, own, config.temperature)
                    loss = loss + config.kl_coef * (weights[own] * kl).sum() / total
            loss.backward()
            parts.append(part_stats | {"loss": loss.detach()})
        ranks.sum_gradients(senior)
        grad_norm = torch.nn.utils.clip_grad_norm_(senior.parameters(), config.grad_clip)
        stats.append(mini_batch_stats(parts, grad_norm, total, gate[read].sum(), step))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)  # the caches take its memory in the next rollout
    return batch_stats(stats, config.mini_batches * config.epochs)


def mini_batches(A: Tensor, config: Config) -> tuple[Tensor, ...]:
    """The rows of every optimizer step: those of each part of the batch, in every epoch again."""
    rows = torch.arange(len(A), device=A.device)  # (N,)
    return rows.chunk(config.mini_batches) * config.epochs


def ratio_clip(config: Config) -> float | None:
    """How far from 1 the ratio may go. None: there is no ratio, as it is 1 in a single step."""
    steps = config.mini_batches * config.epochs
    if config.clip is None and steps > 1:
        return math.inf  # REINFORCE's ratio counts, unclipped
    return config.clip


def make_optimizer(senior, config: Config) -> torch.optim.AdamW:
    """AdamW. `update` sets the learning rate."""
    adamw = HostAdamW if config.offload_optimizer else torch.optim.AdamW
    return adamw(senior.parameters(), weight_decay=config.weight_decay, fused=True)


def learning_rate(step: int, config: Config) -> float:
    """Constant, after a linear warm-up."""
    warm_up = max(1, config.warmup_steps)
    return config.learning_rate * min(1.0, (step + 1) / warm_up)


def next_problems(train_problems: list[Problem] | None, step: int, config: Config) -> list[Problem]:
    """The problems of a step: new ones of the world, or the file's next, shuffled every pass."""
    count = config.prompts_per_step
    if train_problems is None:
        return first_problems("train", count, f"{config.seed}/{step}", config.world)
    return epoch_batch(train_problems, count, config.seed, step)


def random_numbers(step: int, config: Config, device: torch.device) -> Uniforms:
    """A step's random numbers come from its number: nothing to save, and resume is exact."""
    total = config.prompts_per_step * config.group_size
    places = torch.arange(total).view(-1, config.group_size)
    own = ranks.share(places).flatten()  # (N,) this rank's rows in the batch
    uniforms = Uniforms(total, seeded(config.seed, step, "rollout"), device)
    return uniforms.at(own)


def count_authors(state: dict, handoff: Handoff, rollout) -> None:
    """Stop if an author is missing: a lost mask would silently turn tandem RL into plain RL."""
    by_senior = int(rollout.authorship.sum())
    by_junior = int(rollout.mask.sum()) - by_senior
    state["senior_tokens"] += int(ranks.sum(by_senior))
    state["junior_tokens"] += int(ranks.sum(by_junior))
    check_authorship(handoff, state["senior_tokens"], state["junior_tokens"])


def group_advantages(rewards: Tensor, state: dict, config: Config) -> Tensor:
    """`advantages` of a step's rewards (N,). `ema` compares with the steps before."""
    mean = float(ranks.sum(rewards.mean())) / ranks.size()
    before = state["running_mean"]
    if before is None:
        before = mean
    state["running_mean"] = 0.9 * before + 0.1 * mean
    return advantages(
        rewards,
        config.group_size,
        config.baseline,
        normalize_std=config.normalize_std,
        running_mean=before,
    )


def has_gradient(A: Tensor, gate: Tensor, config: Config) -> Tensor:
    """The rows that an update must read: without an advantage a row's gradient is 0.  (N,) bool"""
    counts = gate != 0  # (N, T)
    if config.kl_coef == 0:  # else the penalty has a gradient everywhere
        counts = counts & (by_token(A) != 0)
    return counts.any(dim=1)


def micro_batches(rollout, rows: Tensor, budget: int) -> list[Tensor]:
    """Split rows into micro-batches of at most `budget` tokens, padding included.  (n,) each

    Rows of one prompt stay together where they can: it is read once. Rows of like length follow.
    """
    prompts = list(map(tuple, rollout.prompts))
    lengths = rollout.mask.sum(dim=1).tolist()
    rows = rows.tolist()
    longest = {}  # response to each prompt
    for row in rows:
        prompt = prompts[row]
        longest[prompt] = max(lengths[row], longest.get(prompt, 0))
    order = sorted(rows, key=lambda row: (-longest[prompts[row]], prompts[row], -lengths[row]))

    parts = []
    for row in order:
        if parts and padded_tokens(prompts, lengths, parts[-1] + [row]) <= budget:
            parts[-1].append(row)
        else:  # a single row may exceed the budget
            parts.append([row])
    return [torch.tensor(part, device=rollout.mask.device) for part in parts]


def padded_tokens(prompts: list[tuple], lengths: list[int], rows: list[int]) -> int:
    """Tokens that the forward over these rows reads: each distinct prompt once, every response."""
    distinct = {prompts[row] for row in rows}
    P = max(map(len, distinct))
    T = max(lengths[row] for row in rows)
    return len(distinct) * P + len(rows) * T


def mini_batch_stats(
    parts: list[dict],
    grad_norm: Tensor,
    total: Tensor,
    read: Tensor,
    step: int,
) -> dict[str, float]:
    """A mini-batch's diagnostics. FloatingPointError if its loss or its gradient isn't finite.

    `total` is the weight of all of its tokens, `read` of those that were read: approx_kl and
    clip_fraction are means over the latter.
    """
    zero = grad_norm.new_zeros(())
    stats = {"grad_norm": float(grad_norm)}
    read = ranks.sum(read)
    for name in ("loss", "approx_kl", "clip_fraction"):
        value = ranks.sum(sum((part[name] for part in parts), zero))
        if name != "loss":
            value = value * total / read
        stats[name] = float(value)
    errors = [part["ratio_error"] for part in parts]
    stats["ratio_error"] = float(ranks.max(max(errors, default=zero)))
    for name, key in (("loss", "loss"), ("gradient", "grad_norm")):
        if not math.isfinite(stats[key]):
            remedy = "try a new run, a smaller --learning-rate"
            raise FloatingPointError(f"step {step}: the {name} is not finite; {remedy}")
    return stats


def batch_stats(stats: list[dict], due: int) -> dict[str, float]:
    """Means over the optimizer steps that had a gradient, and the first one's ratio error."""
    means = {}
    for name in ("loss", "grad_norm", "approx_kl", "clip_fraction"):
        means[name] = sum(some[name] for some in stats) / max(1, len(stats))
    means["update_ratio_error"] = stats[0]["ratio_error"] if stats else 0.0  # rounding, or a bug
    means["skipped_updates"] = due - len(stats)
    return means


def metrics(
    step: int,
    rollout,
    right: Tensor,  # (N,) bool
    rewards: Tensor,  # (N,)
    A: Tensor,  # (N,) or (N, T)
    stats: dict,
    tokenizer,
    config: Config,
) -> dict:
    """The line of a step in metrics.jsonl, but for the times."""
    N = len(A)
    authors = rollout.authorship  # (N, T)
    lengths = rollout.mask.sum(dim=1)  # (N,)
    last = rollout.tokens.gather(1, lengths[:, None] - 1)[:, 0]  # (N,)
    ends = torch.tensor(tokenizer.end, device=last.device)
    truncated = ~torch.isin(last, ends)  # (N,)
    changes = authors[:, 1:] != authors[:, :-1]  # (N, T - 1)
    handoffs = changes & rollout.mask[:, 1:]  # (N, T - 1)
    zero = A == 0  # (N,) or (N, T)
    of_groups = zero.reshape(N // config.group_size, -1)  # (N/G, G) or (N/G, G · T)
    equal = of_groups.all(dim=1)  # (N/G,) groups that teach nothing
    surprise = -(rollout.senior_logprobs * authors).sum()  # nats
    junior_surprise = -(rollout.junior_logprobs * authors).sum()  # nats; NaN without a junior
    drift = junior_surprise - surprise  # Σ log π_senior - log π_junior
    own = authors.sum()  # the senior's tokens
    line = {
        "step": step,
        "reward": over_ranks(rewards.sum(), N),
        "accuracy": over_ranks(right.sum(), N),  # the share of right responses
        "senior_fraction": over_ranks(authors.sum(), lengths.sum()),  # of the tokens
        "handoffs": over_ranks(handoffs.sum(), N),  # changes of author a response
        "zero_advantage_fraction": over_ranks(equal.sum(), len(equal)),  # all right or all wrong
        "response_length": over_ranks(lengths.sum(), N),  # tokens
        "truncated_fraction": over_ranks(truncated.sum(), N),  # responses without an end
    }
    line |= stats
    line["entropy"] = float(ranks.sum(surprise)) / max(1, int(ranks.sum(own)))  # the senior's
    # Of the rollout, which two write: estimates. Evaluation measures the senior's own responses.
    line["legibility_estimate"] = known(over_ranks(junior_surprise, own))
    line["drift_estimate"] = known(over_ranks(drift, own))
    line["tokens"] = int(ranks.sum(lengths.sum()))  # Run makes tokens_per_second of it
    return line


def language_metrics(
    rollout,
    right: Tensor,  # (N,) bool
    texts: list[str],  # N
    problems: list[Problem],  # N
) -> dict[str, float | None]:
    """The jargon of the responses, and what their first author decides.

    An author who begins no response has None for accuracy.
    """
    by_senior = rollout.authorship[:, 0]  # (N,) the first coin
    line = {"jargon_rate": jargon_over_ranks(texts, problems)}
    for name, first in (("senior", by_senior), ("junior", ~by_senior)):
        count = int(ranks.sum(first.sum()))
        solved = int(ranks.sum((right & first).sum()))
        line[f"accuracy_{name}_first"] = solved / count if count else None
    openings = []  # the senior's first steps
    for text, senior in zip(texts, by_senior.tolist(), strict=True):
        first_step, _, _ = text.partition("\n\n")
        openings.append(first_step if senior else "")
    line["senior_opens_in_jargon"] = jargon_over_ranks(openings, problems)  # of all responses
    return line


def jargon_over_ranks(texts: list[str], problems: list[Problem]) -> float | None:
    """`jargon_rate` of all ranks' texts."""
    jargon = jargon_rate(texts, problems[0].world)
    if jargon is None:
        return None
    return float(ranks.sum(jargon)) / ranks.size()


def known(number: float) -> float | None:
    """None for NaN, which JSON lacks: there was no junior, or no token of the senior's."""
    return None if math.isnan(number) else number


def over_ranks(above: Tensor, below: Tensor | int) -> float:
    """A ratio of sums over all ranks."""
    return float(ranks.sum(above) / ranks.sum(below))


@command
def main(argv: list[str]) -> None:
    started = time.perf_counter()
    ranks.join()
    config = parse(Config, argv, __doc__, partial(earlier_options, Config))
    if config.pretrain:
        if ranks.size() > 1:
            raise UserError("--pretrain is one process's work; start it without torchrun")
        pretrain(config)
    else:
        run = train(config)
        if run.first:
            print(f"\n{run.problems} test problems × {config.eval_samples} responses\n")
            print(measures_table({"before": [run.before], "after": [run.after]}))
            seconds = time.perf_counter() - started
            print(f"\n{seconds:.0f} s; everything is in {run.directory}")
            print(f"in a browser: python -m support.people page {run.directory}")
    ranks.leave()


if __name__ == "__main__":
    main()
