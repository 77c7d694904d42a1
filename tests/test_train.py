"""An update: who gets a gradient, and what it leaves alone. Then the loop, and the commands."""

import copy
import json
import math
import random
import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import own_logprobs, response_logits, tiny
from pytest import approx
from torch import Tensor
from torch.testing import assert_close

import evaluate
import rollout
import support.reports.compare
import support.reports.show
import tandem
import train
from data.problems import first_problems, jargon_rate
from model import GPT, autocast, load_model, save_model
from rollout import Rollout, generate, make_handoff, response_logprobs, seeded, to_logprobs
from support.runs.saved import load_run
from tandem import advantages, policy_loss
from train import Config, update

ROOT = Path(__file__).parent.parent
DATA = ROOT / "data"
SMALL = [
    "--steps=2",
    "--prompts-per-step=2",
    "--group-size=4",
    "--eval-problems=2",
    "--eval-samples=1",
    "--warmup-steps=2",
]
METRICS = """
step reward accuracy senior_fraction handoffs loss grad_norm entropy approx_kl clip_fraction
zero_advantage_fraction response_length truncated_fraction jargon_rate accuracy_senior_first
accuracy_junior_first senior_opens_in_jargon legibility_estimate drift_estimate update_ratio_error
skipped_updates seconds_rollout seconds_reward seconds_update tokens_per_second
""".split()


@dataclass
class Batch:
    """A tiny random pair, the responses it wrote, and their advantages."""

    senior: GPT
    junior: GPT
    rollout: Rollout
    A: Tensor  # (N,)
    gate: Tensor  # (N, T)
    config: Config


def batch_of(tokenizer, rewards: Tensor | None = None, ends: float = 1.0, **options) -> Batch:
    """A batch of 2 groups of 4, if `options` of Config say nothing else.

    A random pair solves nothing: without `rewards`, every second response counts as right. A larger
    `ends` lets more responses end early.
    """
    small = dict(
        prompts_per_step=2,
        group_size=4,
        max_new_tokens=12,
        warmup_steps=0,
        grad_clip=1e9,
    )
    config = Config(**(small | options))
    V = tokenizer.vocab_size
    senior = tiny(0, vocab_size=V, max_seq_len=80)
    junior = tiny(1, vocab_size=V, max_seq_len=80).requires_grad_(False)
    senior.embedding.weight.data[tokenizer.end] *= ends
    prompts = []
    for problem in first_problems("train", config.prompts_per_step, 0):
        prompts += [tokenizer.prompt(problem.question)] * config.group_size
    with autocast(config.precision, senior.device):
        written = generate(
            senior,
            None if config.schedule == "solo" else junior,
            prompts,
            make_handoff(config.schedule, tokenizer, senior, config),
            end=tokenizer.end,
            pad=tokenizer.pad,
            max_new_tokens=config.max_new_tokens,
            temperature=config.temperature,
            generator=seeded(0, "test"),
        )
    if rewards is None:
        rewards = torch.arange(len(prompts)).float() % 2  # (N,)
    normalize = config.normalize_std
    A = advantages(rewards, config.group_size, config.baseline, normalize_std=normalize)  # (N,)
    by_junior = written.mask & ~written.authorship  # (N, T)
    gate = written.authorship + config.junior_weight * by_junior  # (N, T)
    return Batch(senior, junior, written, A, gate, config)


def update_of(batch: Batch, steps=(0,), senior: GPT | None = None, **options) -> SimpleNamespace:
    """Updates of a copy of the senior, by default one, with these options instead of the batch's.

    The last one's stats, the gradients of each optimizer step, the senior and its optimizer.
    """
    config = replace(batch.config, **options)
    if senior is None:
        senior = copy.deepcopy(batch.senior)
    senior.checkpoint_activations = config.checkpoint_activations
    optimizer = torch.optim.AdamW(senior.parameters(), weight_decay=config.weight_decay, fused=True)
    gradients = []

    def record(*_):
        gradients.append([parameter.grad.clone() for parameter in senior.parameters()])

    optimizer.register_step_pre_hook(record)
    for step in steps:
        stats = update(
            senior, batch.junior, optimizer, batch.rollout, batch.A, batch.gate, step, config
        )
    return SimpleNamespace(stats=stats, gradients=gradients, senior=senior, optimizer=optimizer)


def same(a: GPT, b: GPT) -> bool:
    """Whether two models are equal to the bit."""
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return all(torch.equal(p, q) for p, q in pairs)


def assert_all_close(found: list[Tensor], expected: list[Tensor], atol: float, rtol: float) -> None:
    for a, b in zip(found, expected, strict=True):
        assert_close(a, b, atol=atol, rtol=rtol)


# ---- The gradient -------------------------------------------------------------------------------


def next_logprobs(model: GPT, text: list[int], temperature: float) -> Tensor:
    """Log-probs of the token that follows the text.  (V,)"""
    logits = model(torch.tensor([text]))[0, -1]  # (V,)
    return (logits / temperature).log_softmax(dim=0)


def kl_penalty(p: Tensor, q: Tensor, token: int, estimator: str) -> Tensor:
    """KL(senior‖junior) of log-probs p and q (V,), or its estimate from the token."""
    if estimator == "exact":
        return (p.exp() * (p - q)).sum()
    d = q[token] - p[token]
    return d.exp() - d - 1


def brute_force(batch: Batch) -> tuple[float, list[Tensor]]:
    """The loss of REINFORCE in float64, and its gradient.

    Every token with a weight has a forward of its own, on the text before it. The gate weighs both
    losses.
    """
    senior = copy.deepcopy(batch.senior).double()
    junior = copy.deepcopy(batch.junior).double()
    written = batch.rollout
    config = batch.config
    loss = 0.0
    total = 0.0
    for row, prompt in enumerate(written.prompts):
        text = list(prompt)
        advantage = batch.A[row].item()
        for t in range(int(written.mask[row].sum())):
            token = int(written.tokens[row, t])
            by_senior = bool(written.authorship[row, t])
            weight = batch.gate[row, t].item()
            if weight > 0:
                p = next_logprobs(senior, text, config.temperature)  # (V,)
                loss = loss - weight * advantage * p[token]
                total += weight
            # The penalty is of the senior's tokens alone.
            if by_senior and config.kl_coef > 0:
                q = next_logprobs(junior, text, config.temperature)  # (V,)
                penalty = kl_penalty(p, q, token, config.kl_estimator)
                loss = loss + weight * config.kl_coef * penalty
            text.append(token)
    loss = loss / total
    loss.backward()
    return loss.item(), [parameter.grad for parameter in senior.parameters()]


@pytest.mark.fast
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"loss": "grpo", "mini_batches": 1},
        {"junior_weight": 0.2},
        {"kl_coef": 0.3, "kl_estimator": "exact"},
        {"kl_coef": 0.3, "kl_estimator": "k3"},
        {"kl_coef": 0.3, "kl_estimator": "k3", "junior_weight": 0.5},
    ],
)
def test_the_gradient_is_that_of_a_loop_over_single_tokens(tokenizer, options):
    """At the first update ρ = 1, where the clipped objective has the gradient of REINFORCE."""
    rewards = None
    if "kl_coef" in options:
        rewards = torch.ones(8)  # without any advantage the penalty is all there is
    batch = batch_of(tokenizer, rewards, temperature=0.8, **options)
    done = update_of(batch)
    loss, expected = brute_force(batch)
    if batch.config.loss == "reinforce":
        assert done.stats["loss"] == approx(loss, rel=1e-4)
    found = [gradient.double() for gradient in done.gradients[0]]
    assert_all_close(found, expected, atol=1e-5, rtol=1e-3)


@pytest.mark.fast
@pytest.mark.parametrize("kl_coef", [0.0, 0.3])
def test_a_normalization_in_the_gate_weighs_policy_and_penalty_alike(tokenizer, kl_coef):
    """1/|o|: every response counts as much. The two parts keep their proportion."""
    batch = batch_of(tokenizer, ends=3.0, kl_coef=kl_coef, max_new_tokens=20)
    own = batch.gate.sum(dim=1, keepdim=True)  # (N, 1)
    batch.gate = batch.gate / own.clamp(min=1)  # the line of the README
    assert len(own.unique()) > 2
    done = update_of(batch)
    loss, expected = brute_force(batch)
    assert done.stats["loss"] == approx(loss, rel=1e-4)
    found = [gradient.double() for gradient in done.gradients[0]]
    assert_all_close(found, expected, atol=1e-5, rtol=1e-3)


@pytest.mark.fast
def test_advantages_may_be_of_tokens(tokenizer):
    """A row is read if any token of it that counts has one."""
    batch = batch_of(tokenizer)
    expected = update_of(batch)
    T = batch.gate.shape[1]
    batch.A = batch.A[:, None].expand(-1, T).clone()  # (N, T)
    found = update_of(batch)
    assert found.stats == expected.stats
    assert same(found.senior, expected.senior)
    batch.A = batch.A.masked_fill(batch.gate != 0, 0.0)  # left for the junior's tokens alone
    assert update_of(batch).stats["skipped_updates"] == 1


@pytest.mark.fast
@pytest.mark.parametrize("loss", ["reinforce", "grpo"])
def test_every_epoch_takes_its_steps_and_the_later_ones_count_their_ratio(tokenizer, loss):
    batch = batch_of(tokenizer, loss=loss, learning_rate=1e-2, mini_batches=1)
    one = update_of(batch)
    done = update_of(batch, epochs=3)
    assert len(done.gradients) == 3
    assert done.stats["skipped_updates"] == 0
    assert done.stats["update_ratio_error"] < 1e-4  # of the first
    assert done.stats["approx_kl"] > 0
    assert_all_close(done.gradients[0], one.gradients[0], atol=1e-6, rtol=1e-3)
    # The second gradient is that of -ρA, by the senior behind the first step.
    second = copy.deepcopy(one.senior)
    gated = batch.gate != 0  # (N, T)
    logprobs = response_logprobs(second, batch.rollout, gated, 1.0)  # (N, T)
    ratio = (logprobs - batch.rollout.senior_logprobs).exp()  # (N, T)
    A = batch.A[:, None]  # (N, 1)
    clip = batch.config.clip or math.inf
    clipped = ratio.clamp(1 - clip, 1 + clip)
    each = -torch.minimum(ratio * A, clipped * A) * batch.gate  # (N, T)
    (each[gated].sum() / batch.gate.sum()).backward()
    expected = [parameter.grad for parameter in second.parameters()]
    assert_all_close(done.gradients[1], expected, atol=1e-5, rtol=1e-3)
    A = torch.zeros(8)
    stats = update(
        copy.deepcopy(batch.senior),
        batch.junior,
        one.optimizer,
        batch.rollout,
        A,
        batch.gate,
        0,
        replace(batch.config, epochs=3),
    )
    assert stats["skipped_updates"] == 3


@pytest.mark.fast
@pytest.mark.parametrize("temperature", [0.6, 1.0])
@pytest.mark.parametrize("schedule", ["word", "step", "solo"])
def test_the_first_updates_ratio_is_1(tokenizer, schedule, temperature):
    batch = batch_of(tokenizer, schedule=schedule, temperature=temperature, junior_weight=0.15)
    stats = update_of(batch).stats
    assert stats["skipped_updates"] == 0
    assert stats["grad_norm"] > 0
    assert stats["update_ratio_error"] < 1e-4


@pytest.mark.fast
def test_junior_tokens_and_padding_contribute_nothing_and_the_seniors_end_token_does(tokenizer):
    batch = batch_of(tokenizer, ends=3.0, max_new_tokens=30, prompts_per_step=16)
    clean = update_of(batch).gradients[0]
    written = batch.rollout
    padding = ~written.mask  # (N, T)
    by_junior = written.mask & ~written.authorship  # (N, T)
    assert by_junior.any()
    assert padding.any()

    dirty = copy.deepcopy(batch)
    dirty.rollout.tokens[padding] = 7
    for recorded in (dirty.rollout.senior_logprobs, dirty.rollout.junior_logprobs):
        recorded[by_junior] = float("nan")
        recorded[padding] = float("inf")
    found = update_of(dirty).gradients[0]
    assert all(torch.equal(a, b) for a, b in zip(found, clean, strict=True))

    ends = written.authorship & (written.tokens == tokenizer.end)  # (N, T)
    assert ends.any()
    batch.gate = batch.gate.masked_fill(ends, 0)
    without_ends = update_of(batch).gradients[0]
    differences = [(a - b).abs().max() for a, b in zip(without_ends, clean, strict=True)]
    assert max(differences) > 1e-6


@pytest.mark.fast
@pytest.mark.parametrize(
    "options", [{}, {"junior_weight": 0.5}, {"schedule": "solo", "kl_coef": 0.1}]
)
def test_the_junior_is_the_same_to_the_bit_after_training(tokenizer, options):
    batch = batch_of(tokenizer, learning_rate=1e-2, **options)
    junior = copy.deepcopy(batch.junior)
    done = update_of(batch, range(3))
    assert not same(done.senior, batch.senior)
    assert same(batch.junior, junior)
    assert all(parameter.grad is None for parameter in batch.junior.parameters())


@pytest.mark.fast
def test_a_batch_without_any_advantage_takes_no_step(tokenizer):
    """Adam would drift on the momentum of the steps before."""
    batch = batch_of(tokenizer)
    done = update_of(batch)
    before = copy.deepcopy(done.senior)
    for rewards in (torch.zeros(8), torch.ones(8)):
        A = advantages(rewards, 4)
        stats = update(
            done.senior, batch.junior, done.optimizer, batch.rollout, A, batch.gate, 1, batch.config
        )
        assert stats["skipped_updates"] == 1
        assert stats["grad_norm"] == 0
        assert stats["loss"] == 0
    assert same(before, done.senior)
    assert len(done.gradients) == 1


def batch_with_equal_groups(tokenizer) -> Batch:
    """Of four groups, one is all wrong and one is all right."""
    all_wrong = [0, 0, 0, 0]
    all_right = [1, 1, 1, 1]
    rewards = [*all_wrong, 0, 1, 1, 0, *all_right, 1, 0, 0, 0]
    return batch_of(
        tokenizer,
        torch.tensor(rewards).float(),
        prompts_per_step=4,
        loss="grpo",
        mini_batches=1,
        normalize_std=False,
    )


@pytest.mark.fast
def test_rows_without_advantage_are_not_read_again_but_count(tokenizer, monkeypatch):
    batch = batch_with_equal_groups(tokenizer)
    read = []

    def recorded(senior, rows, *rest):
        read.append(len(rows.prompts))
        return response_logprobs(senior, rows, *rest)

    monkeypatch.setattr(train, "response_logprobs", recorded)
    done = update_of(batch)
    gated = batch.gate != 0  # (N, T)
    needed = gated.any(dim=1) & (batch.A != 0)  # (N,)
    assert read == [int(needed.sum())]
    assert 6 <= read[0] <= 8

    # The gradient is that of all rows.
    logits = response_logits(batch.senior, batch.rollout, gated)  # (M, V)
    logprobs = own_logprobs(to_logprobs(logits, 1.0), batch.rollout, gated)  # (N, T)
    loss, _ = policy_loss(logprobs, batch.rollout.senior_logprobs, batch.A, batch.gate)
    loss.backward()
    expected = [parameter.grad for parameter in batch.senior.parameters()]
    assert_all_close(done.gradients[0], expected, atol=1e-6, rtol=1e-3)


@pytest.mark.fast
def test_clipping_and_kl_are_means_over_the_tokens_that_were_read(tokenizer):
    batch = batch_with_equal_groups(tokenizer)
    generator = torch.Generator().manual_seed(0)
    noise = 0.3 * torch.randn(batch.gate.shape, generator=generator)  # (N, T)
    batch.rollout.senior_logprobs += noise
    trained = (batch.gate != 0) & (batch.A != 0)[:, None]  # (N, T)
    log_ratio = -noise[trained]  # (M,)
    ratio = log_ratio.exp()
    clipped = (ratio - 1).abs() > 0.2
    kl = ratio - 1 - log_ratio
    stats = update_of(batch).stats
    assert stats["clip_fraction"] == approx(clipped.float().mean().item(), abs=1e-6)
    assert stats["approx_kl"] == approx(kl.mean().item(), abs=1e-5)


@pytest.mark.fast
def test_grpo_takes_a_step_a_mini_batch_and_the_second_sees_ratios_that_moved(
    tokenizer, monkeypatch
):
    batch = batch_of(tokenizer, loss="grpo", learning_rate=1e-2, clip=0.1)
    assert Config(loss="grpo").clip == 0.2
    assert batch.config.mini_batches == 2
    assert batch.config.normalize_std
    std = torch.tensor([0.0, 1.0, 0.0, 1.0]).std()
    expected = torch.tensor([-0.5, 0.5]) / (std + 1e-6)
    assert_close(batch.A[:2], expected)
    clips = []
    errors = []

    def recorded(logprobs, old_logprobs, advantages, weights, clip, denominator):
        ratio = (logprobs - old_logprobs).detach().exp()
        error = (ratio - 1).abs()[weights != 0]
        clips.append(clip)
        errors.append(error.max().item())
        if len(errors) == 1:  # the count of the whole mini-batch
            assert denominator == weights.sum()
        return policy_loss(logprobs, old_logprobs, advantages, weights, clip, denominator)

    monkeypatch.setattr(train, "policy_loss", recorded)
    done = update_of(batch)
    first, second = errors
    assert clips[0] == 0.1
    assert first < 1e-4
    assert second > 0.1
    assert len(done.gradients) == 2
    assert not torch.equal(done.gradients[0][0], done.gradients[1][0])
    assert done.stats["update_ratio_error"] == approx(first, abs=1e-6)
    assert done.stats["clip_fraction"] > 0


@pytest.mark.fast
def test_a_loss_that_is_not_finite_is_named(tokenizer):
    batch = batch_of(tokenizer)
    batch.A = batch.A * float("inf")
    senior = copy.deepcopy(batch.senior)
    with pytest.raises(FloatingPointError, match="step 3: the loss is not finite"):
        update_of(batch, [3], senior)
    assert same(senior, batch.senior)


# ---- Micro-batches, precision, memory -----------------------------------------------------------


@pytest.mark.fast
@pytest.mark.parametrize(
    "options", [{}, {"loss": "grpo"}, {"junior_weight": 0.2}, {"schedule": "solo", "kl_coef": 0.1}]
)
def test_micro_batches_have_the_gradient_and_the_diagnostics_of_the_whole(tokenizer, options):
    batch = batch_of(tokenizer, learning_rate=1e-6, **options)
    rows = torch.arange(8)
    assert len(train.micro_batches(batch.rollout, rows, 60)) > 3
    whole = update_of(batch, micro_batch_tokens=10**6)
    parts = update_of(batch, micro_batch_tokens=60)
    assert whole.stats == approx(parts.stats, rel=1e-4, abs=1e-6)
    assert whole.stats["skipped_updates"] == 0
    for a, b in zip(whole.gradients, parts.gradients, strict=True):
        assert_all_close(a, b, atol=1e-6, rtol=1e-3)


def tokens_read(written: Rollout, rows: list[int]) -> int:
    """By a forward over these rows, padding included. Each distinct prompt is read once."""
    prompts = {tuple(written.prompts[row]) for row in rows}
    longest = max(len(prompt) for prompt in prompts)
    lengths = written.mask.sum(dim=1)  # (N,)
    longest_response = int(lengths[rows].max())
    return len(prompts) * longest + len(rows) * longest_response


def assert_split(written: Rollout, rows: Tensor, budget: int) -> None:
    """The micro-batches hold each of these rows once, and at most `budget` tokens."""
    parts = [part.tolist() for part in train.micro_batches(written, rows, budget)]
    assert sorted(row for part in parts for row in part) == rows.tolist()
    for part in parts:
        assert len(part) == 1 or tokens_read(written, part) <= budget


@pytest.mark.fast
def test_micro_batches_hold_every_row_once_and_keep_to_their_budget(tokenizer):
    written = batch_of(tokenizer, ends=3.0).rollout
    for rows in (torch.arange(8), torch.tensor([1, 4, 6])):
        for budget in (1, 200, 1000):
            assert_split(written, rows, budget)
    no_rows = torch.tensor([], dtype=torch.long)
    assert train.micro_batches(written, no_rows, 100) == []


@pytest.mark.fast
def test_micro_batches_keep_to_their_budget_whatever_the_lengths():
    draw = random.Random(0)
    for _ in range(200):
        prompts = []
        for _ in range(6):
            prompt = [draw.randrange(50)] * draw.randint(1, 30)
            prompts += [prompt] * 4
        written = rollout.blank(prompts, 40, 0, torch.device("cpu"))
        lengths = torch.tensor([draw.randint(1, 40) for _ in prompts])  # (N,)
        written.mask[:] = torch.arange(40) < lengths[:, None]
        rows = sorted(draw.sample(range(24), 17))
        assert_split(written, torch.tensor(rows), budget=draw.randint(1, 400))


@pytest.mark.fast
def test_bfloat16_computes_coarsely_and_keeps_its_weights_in_float32(tokenizer):
    """An update of 1e-5 would vanish in weights of bfloat16. The measured ratio is coarse too."""
    coarse = batch_of(tokenizer, precision="bfloat16", learning_rate=1e-5)
    exact = batch_of(tokenizer, precision="float32", learning_rate=1e-5)
    done = update_of(coarse)
    assert update_of(exact).stats["update_ratio_error"] < 1e-4
    assert done.stats["update_ratio_error"] < 0.5
    assert all(gradient.dtype == torch.float32 for gradient in done.gradients[0])
    for before, after in zip(coarse.senior.parameters(), done.senior.parameters(), strict=True):
        assert after.dtype == torch.float32
        assert 0 < (before - after).abs().max() < 2e-5


@pytest.mark.fast
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_checkpointed_activations_change_no_update(tokenizer, precision):
    batch = batch_of(tokenizer, precision=precision)
    kept = update_of(batch, checkpoint_activations=False)
    again = update_of(batch, checkpoint_activations=True)
    assert again.senior.checkpoint_activations
    assert kept.stats == again.stats
    assert kept.stats["grad_norm"] > 0
    assert same(kept.senior, again.senior)


@pytest.mark.fast
def test_gradients_are_clipped_and_freed_and_the_learning_rate_warms_up_and_stays(tokenizer):
    """Gradients take no memory while responses are written."""
    batch = batch_of(tokenizer, learning_rate=1e-3, warmup_steps=4)
    done = [update_of(batch, [step], grad_clip=1e-3) for step in range(6)]
    first = done[0]
    norms = [gradient.norm() for gradient in first.gradients[0]]
    assert first.stats["grad_norm"] > 1e-3
    assert torch.stack(norms).norm().item() == approx(1e-3, rel=1e-2)
    assert all(parameter.grad is None for parameter in first.senior.parameters())
    rates = [some.optimizer.param_groups[0]["lr"] for some in done]
    assert rates == approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3, 1e-3])


# ---- The parts of a step ------------------------------------------------------------------------


@pytest.mark.fast
def test_the_ema_baseline_is_the_mean_of_the_steps_before():
    config = Config(baseline="ema", group_size=4)
    state = {"running_mean": None}
    assert (train.group_advantages(torch.ones(8), state, config) == 0).all()
    assert state["running_mean"] == 1.0
    assert (train.group_advantages(torch.zeros(8), state, config) == -1).all()
    assert state["running_mean"] == approx(0.9)


def drawn(seed: int, step: int) -> tuple[list, list]:
    """The problems of a step, and the numbers of its first two draws."""
    config = Config(seed=seed, prompts_per_step=5, group_size=3)
    problems = train.next_problems(None, step, config)
    uniforms = train.random_numbers(step, config, torch.device("cpu"))
    numbers = [uniforms().tolist(), uniforms().tolist()]
    return problems, numbers


@pytest.mark.fast
def test_every_step_has_problems_and_random_numbers_of_its_own():
    problems, numbers = drawn(seed=0, step=0)
    assert (problems, numbers) == drawn(seed=0, step=0)
    assert len(numbers[0]) == 15
    later_problems, later_numbers = drawn(seed=0, step=1)
    other_problems, other_numbers = drawn(seed=1, step=0)
    assert problems != later_problems
    assert problems != other_problems
    assert later_problems != other_problems
    assert numbers != later_numbers
    assert numbers != other_numbers
    assert later_numbers != other_numbers


@pytest.mark.fast
def test_problems_of_a_file_are_shuffled_anew_every_pass():
    cards = first_problems("train", 10, 0)
    config = Config(prompts_per_step=5)
    dealt = []
    for step in range(6):
        dealt += train.next_problems(cards, step, config)
    first, second, third = dealt[:10], dealt[10:20], dealt[20:]
    assert first != second
    assert second != third
    questions = sorted(problem.question for problem in cards)
    for one_pass in (first, second, third):
        assert sorted(problem.question for problem in one_pass) == questions
    other_seed = replace(config, seed=1)
    assert train.next_problems(cards, 3, other_seed) != second[5:]


@pytest.mark.fast
@pytest.mark.parametrize("schedule", ["word", "solo"])
def test_the_metrics_of_a_step_are_those_of_its_batch(tokenizer, schedule):
    """Recounted token by token."""
    rewards = torch.tensor([i % 3 == 0 or i > 11 for i in range(16)]).float()
    batch = batch_of(
        tokenizer,
        rewards,
        ends=3.0,
        schedule=schedule,
        prompts_per_step=4,
        max_new_tokens=20,
    )
    written = batch.rollout
    stats = {"loss": 7.0}
    texts = ["zub 8 19 ~ 27;", "kef", "27\n\nzub", "27"] * 4
    problems = first_problems("train", 16, 0)
    right = rewards > 0
    halved = rewards / 2  # trained on another reward than is right or wrong
    found = train.metrics(3, written, right, halved, batch.A, stats, tokenizer, batch.config)
    found |= train.language_metrics(written, right, texts, problems)
    senior = 0
    junior = 0
    changes = 0
    truncated = 0
    surprise = 0.0
    junior_surprise = 0.0
    for row, mask in enumerate(written.mask):
        authors = written.authorship[row][mask].tolist()
        tokens = written.tokens[row][mask].tolist()
        logprobs = written.logprobs[row][mask].tolist()
        of_junior = written.junior_logprobs[row][mask].tolist()
        for author, logprob, other in zip(authors, logprobs, of_junior, strict=True):
            if author:
                senior += 1
                surprise -= logprob
                junior_surprise -= other
            else:
                junior += 1
        changes += sum(a != b for a, b in pairwise(authors))
        truncated += tokens[-1] != tokenizer.end
        assert torch.equal(batch.gate[row], written.authorship[row].float())
    total = senior + junior
    assert (junior == 0) == (schedule == "solo")
    assert 0 < truncated < 16
    assert found["step"] == 3
    assert found["loss"] == 7.0
    # Of tokens' advantages too: a group that teaches nothing has none.
    of_tokens = batch.A[:, None].expand(written.mask.shape)  # (N, T)
    again = train.metrics(3, written, right, halved, of_tokens, stats, tokenizer, batch.config)
    assert again | train.language_metrics(written, right, texts, problems) == found
    assert found["reward"] == approx(rewards.mean().item() / 2)
    assert found["accuracy"] == approx(rewards.mean().item())
    assert found["senior_fraction"] == approx(senior / total)
    assert found["handoffs"] == approx(changes / 16)
    assert found["response_length"] == approx(total / 16)
    assert found["tokens"] == total
    assert found["truncated_fraction"] == approx(truncated / 16)
    assert found["zero_advantage_fraction"] == 0.25
    assert found["jargon_rate"] == 0.75
    assert found["entropy"] == approx(surprise / senior, rel=1e-5)
    if schedule == "solo":  # no junior has read it
        assert found["legibility_estimate"] is None
        assert found["drift_estimate"] is None
        return
    assert found["legibility_estimate"] == approx(junior_surprise / senior, rel=1e-5)
    difference = junior_surprise - surprise
    assert found["drift_estimate"] == approx(difference / senior, rel=1e-4)


@pytest.mark.fast
def test_the_first_coin_is_counted_response_by_response():
    """The third begins in plain words, the last four are the junior's, whatever they say."""
    texts = ["zub 1 2 ~ 3;\n\n3", "kef 1 2 ~ 1;", "3\n\nzub 1 3 ~ 4;", "zub", "kef", "3", "4"]
    by_senior = torch.tensor([True, True, True, False, False, False, False])
    right = torch.tensor([1, 0, 1, 0, 0, 0, 1]).bool()
    written = SimpleNamespace(authorship=by_senior[:, None])
    problems = first_problems("train", 7, 0)
    found = train.language_metrics(written, right, texts, problems)
    assert found == {
        "jargon_rate": approx(5 / 7),
        "accuracy_senior_first": 2 / 3,
        "accuracy_junior_first": 1 / 4,
        "senior_opens_in_jargon": approx(2 / 7),
    }
    nobody = SimpleNamespace(authorship=torch.zeros_like(by_senior)[:, None])
    phrased = first_problems("train", 7, 0, "phrasings")
    found = train.language_metrics(nobody, right, texts, phrased)
    assert found["accuracy_senior_first"] is None
    assert found["accuracy_junior_first"] == approx(3 / 7)
    assert found["senior_opens_in_jargon"] is None


@pytest.mark.fast
def test_the_entropy_is_that_of_the_seniors_distributions(tokenizer):
    """Up to four standard errors of its estimate from the tokens."""
    rewards = torch.zeros(512)
    batch = batch_of(tokenizer, rewards, prompts_per_step=64, group_size=8, temperature=1.3)
    written = batch.rollout
    select = written.authorship  # (N, T)
    right = rewards > 0
    found = train.metrics(0, written, right, rewards, batch.A, {}, tokenizer, batch.config)
    logits = response_logits(batch.senior, written, select) / 1.3  # (M, V)
    known = torch.distributions.Categorical(logits=logits)
    entropy = known.entropy()  # (M,)
    surprise = -known.log_prob(written.tokens[select])  # (M,)
    error = (surprise - entropy).std() / len(surprise) ** 0.5
    assert found["entropy"] == approx(surprise.mean().item(), rel=1e-5)
    assert 4 * error < 0.1
    assert abs(found["entropy"] - entropy.mean()) < 4 * error


# ---- Runs in this process -----------------------------------------------------------------------


def main(*words) -> int:
    """The command in this process. Its exit code."""
    try:
        train.main([str(word) for word in words])
    except SystemExit as end:
        return end.code
    return 0


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def metrics(directory: Path) -> list[dict]:
    """The log of a run without its times."""
    log = []
    for line in read_lines(directory / "metrics.jsonl"):
        log.append({name: value for name, value in line.items() if "second" not in name})
    return log


def draw_no_figure(monkeypatch) -> None:
    monkeypatch.setattr(support.reports.compare, "draw_comparison", lambda *_: None)


def record_generate(monkeypatch) -> list[dict]:
    """A list to which every call of `generate` adds its arguments."""
    calls = []

    def recorded(senior, junior, prompts, handoff, **arguments):
        calls.append(arguments | {"prompts": prompts, "junior": junior, "handoff": handoff})
        return generate(senior, junior, prompts, handoff, **arguments)

    for module in (train, evaluate, rollout):
        monkeypatch.setattr(module, "generate", recorded)
    return calls


def record_optimizers(monkeypatch) -> list[dict]:
    """A list to which every AdamW adds its keyword arguments."""
    made = []
    adamw = torch.optim.AdamW

    def recorded(parameters, **arguments):
        made.append(arguments)
        return adamw(parameters, **arguments)

    monkeypatch.setattr(torch.optim, "AdamW", recorded)
    return made


def test_options_reach_the_sampler_and_a_run_asks_in_its_template_wherever_it_asks(
    tmp_path, monkeypatch, tokenizer
):
    calls = record_generate(monkeypatch)
    optimizers = record_optimizers(monkeypatch)
    directory = tmp_path / "run"
    template = "Think. {question} Put the final answer in \\boxed{}."
    options = [
        "--steps=1",
        "--schedule=chunk",
        "--p-senior=0.3",
        "--max-gap=7",
        "--chunk=5",
        "--temperature=0.9",
        "--max-new-tokens=20",
        "--rollout-batch-size=3",
        "--weight-decay=0.5",
        "--eval-temperature=0.4",
    ]
    assert main(*SMALL, *options, "--prompt-template", template, "--out", directory) == 0
    assert optimizers[0]["weight_decay"] == 0.5
    (training,) = (call for call in calls if call["temperature"] == 0.9)
    assert len(training["prompts"]) == 8
    assert training["junior"] is not None
    handoff = training["handoff"]
    assert handoff.schedule == "chunk"
    assert handoff.p_senior == 0.3
    assert handoff.max_gap == 7
    assert handoff.chunk == 5
    assert {call["temperature"] for call in calls} == {0.9, 0.4}
    for call in calls:
        assert call["max_new_tokens"] == 20
        assert call["batch_size"] == 3
        assert call["end"] == tokenizer.end
        assert call["pad"] == tokenizer.pad
        assert not call.get("top_p")
        assert not call.get("top_k")

    # A measurement, a resumed run and a finished one ask in the template too.
    draw_no_figure(monkeypatch)
    support.reports.compare.main([str(directory), "--samples=2"])
    assert main("--resume", directory, "--steps=2") == 0
    assert main("--resume", directory) == 0
    before = tokenizer.encode("Think.")
    after = tokenizer.encode(" Put the final answer in \\boxed{}.\n\n")
    asked = [prompt for call in calls for prompt in call["prompts"]]
    assert len(asked) > 60
    for prompt in asked:
        assert prompt[: len(before)] == before
        assert prompt[-len(after) :] == after
    question = "Ada has 5 hats?"
    support.reports.show.main([str(directory), "--prompt", question])
    shown = calls[-1]["prompts"][0]
    assert shown == tokenizer.prompt(question, template)
    assert shown[: len(before)] == before


def test_a_lost_authorship_is_a_traceback_not_a_users_mistake(tmp_path, monkeypatch):
    """If every author were the senior, it would be plain RL under the name of tandem RL."""

    def below_p_senior(uniforms):
        return torch.zeros(len(uniforms.rows))

    monkeypatch.setattr(tandem.Uniforms, "__call__", below_p_senior)
    directory = tmp_path / "run"
    with pytest.raises(RuntimeError, match="the junior wrote none of"):
        train.main([*SMALL, "--steps=20", "--prompts-per-step=8", f"--out={directory}"])
    assert len(metrics(directory)) < 2


def test_a_run_in_bfloat16_keeps_its_junior_in_it_and_computes_the_same(tmp_path, monkeypatch):
    """As if the junior's weights were in float32 and converted at every token.

    Activations that are computed twice change nothing either.
    """
    small = [*SMALL, "--precision=bfloat16"]
    coarse = tmp_path / "run"
    exact = tmp_path / "float32"
    kinds = []

    def spied(senior, junior, *rest):
        weights = (senior.head.weight, junior.head.weight, junior.embedding.weight)
        kinds.append([weight.dtype for weight in weights])
        return evaluate.evaluate(senior, junior, *rest)

    monkeypatch.setattr(train, "evaluate", spied)
    assert main(*small, "--out", coarse) == 0
    assert kinds == [[torch.float32, torch.bfloat16, torch.float32]] * 2
    assert same(load_model(coarse / "junior.pt"), load_model(DATA / "junior.pt"))
    assert main("--resume", coarse, "--steps=3", "--checkpoint-activations") == 0
    assert kinds[-1][1] == torch.bfloat16
    monkeypatch.setattr("support.runs.run.store_matrices", lambda *_: None)
    assert main(*small, "--steps=3", "--out", exact) == 0
    assert kinds[-1][1] == torch.float32
    assert metrics(coarse) == metrics(exact)
    found = read_json(coarse / "eval.json")
    expected = read_json(exact / "eval.json")
    assert found["before"] == expected["before"]
    assert found["after"] == expected["after"]


def test_the_jargon_rate_of_a_step_is_that_of_its_texts(tmp_path, monkeypatch):
    steps = []

    def recorded(texts, world):
        steps.append(texts)
        assert world == "jargon"
        return jargon_rate(texts, world)

    monkeypatch.setattr(train, "jargon_rate", recorded)
    assert main(*SMALL, "--out", tmp_path / "run") == 0
    texts, openings = steps[::2], steps[1::2]  # a step asks for both
    log = metrics(tmp_path / "run")
    rates = [jargon_rate(some, "jargon") for some in texts]
    opening_rates = [jargon_rate(some, "jargon") for some in openings]
    assert [row["jargon_rate"] for row in log] == rates
    assert [row["senior_opens_in_jargon"] for row in log] == opening_rates
    assert [len(some) for some in texts] == [8, 8]  # 2 problems × 4
    assert any(rates) and any(opening_rates)


def test_a_run_without_signal_says_so_and_trains_nothing(tokenizer, tmp_path, capsys):
    """A random model solves nothing, and ends nothing."""
    senior = tmp_path / "senior.pt"
    directory = tmp_path / "run"
    save_model(tiny(0, vocab_size=tokenizer.vocab_size, max_seq_len=128), senior)
    hopeless = [*SMALL, "--steps=6", "--max-new-tokens=8", f"--senior={senior}", "--junior=self"]
    assert main(*hopeless, "--out", directory) == 0
    printed = capsys.readouterr().out
    assert printed.count("were cut off, at --max-new-tokens 8.") == 1
    assert printed.count("warning: no learning signal") == 1
    assert "all wrong" in printed
    assert "--group-size" in printed
    for row in metrics(directory):
        assert row["skipped_updates"] == 1
        assert row["zero_advantage_fraction"] == 1
        assert all(math.isfinite(value) for value in row.values())
    assert same(load_model(senior), load_model(directory / "checkpoint.pt"))


def test_zero_steps_measure_the_pair_once(tmp_path, monkeypatch, capsys):
    labels = []

    def recorded(*arguments):
        labels.append(arguments[-1])
        return evaluate.evaluate(*arguments)

    monkeypatch.setattr(train, "evaluate", recorded)
    out = tmp_path / "run"
    assert main(*SMALL, "--steps=0", "--out", out) == 0
    found = read_json(out / "eval.json")
    assert labels == ["after"]
    assert found["before"] == found["after"]
    assert "before |    after |" in capsys.readouterr().out
    assert same(load_model(out / "checkpoint.pt"), load_model(DATA / "senior.pt"))
    assert metrics(out) == []
    assert len(read_lines(out / "evals.jsonl")) == 1

    assert main("--resume", out, "--steps=1") == 0
    assert labels == ["after", "at step 0", "after"]
    assert len(metrics(out)) == 1
    assert read_json(out / "eval.json")["before"] == found["before"]


# ---- The commands -------------------------------------------------------------------------------


def python(*words, cwd=None) -> subprocess.CompletedProcess:
    command = [sys.executable, *words]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """A shortened default run, started from another directory."""
    cwd = tmp_path_factory.mktemp("somewhere")
    done = python(ROOT / "train.py", *SMALL, cwd=cwd)
    return cwd / "runs" / "word", done


def test_a_short_run_writes_and_prints_what_it_promises(finished):
    directory, done = finished
    assert done.returncode == 0, done.stderr
    first, second = read_lines(directory / "metrics.jsonl")
    assert first["step"] == 0
    assert second["step"] == 1
    assert sorted(first) == sorted(METRICS)
    assert sorted(second) == sorted(METRICS)
    found = read_json(directory / "eval.json")
    assert set(found) == {"before", "after", "problems", "samples", "config"}
    assert found["config"] == read_json(directory / "config.json")
    assert found["problems"] == 2
    assert found["samples"] == 1
    before, after = read_lines(directory / "evals.jsonl")
    assert before == {"step": 0} | found["before"]
    assert after == {"step": 2} | found["after"]
    assert torch.load(directory / "checkpoint.pt", weights_only=True)["step"] == 2
    for name in ("senior.pt", "junior.pt"):
        assert same(load_model(directory / name), load_model(DATA / name))
    assert {path.name for path in directory.iterdir()} == {
        "config.json",
        "metrics.jsonl",
        "evals.jsonl",
        "eval.json",
        "senior.pt",
        "junior.pt",
        "checkpoint.pt",
        ".lock",
    }
    assert "device: cpu" in done.stderr
    assert "| handoff pass@1, step by step ↑" in done.stdout
    assert "after   1 steps  " in done.stdout
    assert "⟦" in done.stdout
    assert "everything is in runs/word" in done.stdout
    assert done.stdout.endswith("in a browser: python -m support.people page runs/word\n")


def test_the_same_seed_gives_the_same_metrics_and_evaluating_changes_no_run(finished, tmp_path):
    directory, _ = finished
    again = tmp_path / "again"
    other = tmp_path / "other"
    assert main(*SMALL, "--out", again, "--eval-problems=3", "--eval-every=1") == 0
    assert main(*SMALL, "--out", other, "--seed=1") == 0
    assert metrics(again) == metrics(directory)
    assert metrics(other) != metrics(directory)


def test_runs_can_be_compared_measured_again_and_shown(finished, tmp_path, monkeypatch, capsys):
    directory, _ = finished
    solo = tmp_path / "solo"
    own = tmp_path / "self"
    figure = tmp_path / "figure.png"
    assert main(*SMALL, "--schedule=solo", "--out", solo) == 0
    assert main(*SMALL, "--schedule=solo", "--junior=self", "--out", own) == 0
    assert same(load_model(own / "junior.pt"), load_model(DATA / "senior.pt"))

    compared = python(ROOT / "evaluate.py", directory, solo, own, "--figure", figure)
    assert compared.returncode == 0
    header = compared.stdout.splitlines()[0].split("|")[2:-1]
    names = [cell.strip() for cell in header]
    assert names == ["before", "word (n=1)", "solo (n=1)", "before self", "self (n=1)"]
    assert "no figure" in compared.stderr or figure.stat().st_size > 10_000
    shown = python(ROOT / "rollout.py", directory, "--samples=2")
    assert shown.returncode == 0
    assert shown.stdout.count("→ ") == 2
    assert "⟦" in shown.stdout

    draw_no_figure(monkeypatch)
    capsys.readouterr()
    # A run that is named twice is one run.
    support.reports.compare.main([str(directory), "--json", str(directory)])
    (as_measured,) = json.loads(capsys.readouterr().out)
    support.reports.compare.main([str(directory), "--json", "--samples=2"])
    (measured_again,) = json.loads(capsys.readouterr().out)
    assert as_measured["name"] == measured_again["name"] == "word"
    assert "pass@2" in measured_again["after"]["solo"]
    recorded = read_json(directory / "eval.json")
    for key in ("before", "after", "problems", "samples"):
        assert as_measured[key] == recorded[key]
    question = "Ada has 5 hats. Ada buys 7 more. How many hats has Ada?"
    support.reports.show.main([str(directory), "--prompt", question])
    assert capsys.readouterr().out.count("Ada has 5 hats") == 3


def write_problems(path: Path, split: str, count: int) -> None:
    """A file of this many problems, and of one that is too long."""
    rows = []
    for problem in first_problems(split, count, 0):
        rows.append({"question": problem.question, "answer": problem.answer})
    rows.append({"question": "why " * 99, "answer": "2"})
    path.write_text("\n".join(json.dumps(row) for row in rows))


def test_a_run_on_problems_of_files_knows_no_jargon_and_needs_the_files_no_more(
    tmp_path, monkeypatch, capsys
):
    """When the files are gone, the run is resumed, evaluated and shown from its copies."""
    monkeypatch.chdir(tmp_path)
    write_problems(Path("data.jsonl"), "train", 20)
    write_problems(Path("test_data.jsonl"), "test", 4)
    words = [*SMALL, "--data=data.jsonl", "--test-data=test_data.jsonl", "--eval-problems=3"]
    assert main(*words, "--steps=3", "--out=whole") == 0
    assert main(*words, "--out=run") == 0
    printed = capsys.readouterr().out
    left_out = "2 left out, whose prompts have more than 64"
    assert f"problems: 20 to train on, 3 of 4 to measure on; {left_out}" in printed
    found = read_json(Path("run/eval.json"))
    assert found["problems"] == 3
    assert found["before"]["jargon_rate"] is None
    assert found["after"]["solo"]["pass@1"] >= 0
    assert all(row["jargon_rate"] is None for row in metrics(Path("run")))
    for name in ("data.jsonl", "test_data.jsonl"):
        given = Path(name)
        assert given.read_bytes() == Path("run", name).read_bytes()
        given.unlink()

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Path("run").rename(elsewhere / "moved")
    monkeypatch.chdir(elsewhere)
    assert main("--resume=moved", "--steps=3") == 0
    assert metrics(Path("moved")) == metrics(tmp_path / "whole")
    draw_no_figure(monkeypatch)
    capsys.readouterr()
    # There are 4 problems.
    support.reports.compare.main(["moved", "--problems=100", "--json"])
    (measured,) = json.loads(capsys.readouterr().out)
    assert measured["problems"] == 4
    support.reports.show.main(["moved", "--samples=1"])
    assert "→ " in capsys.readouterr().out
    assert load_run("moved").config.data == "moved/data.jsonl"
