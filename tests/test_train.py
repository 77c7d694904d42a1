"""An update: who gets a gradient, and what it leaves alone. Then the loop, and the commands as a user meets them."""

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
from torch import Tensor

import evaluate
import rollout
import support.reports.compare
import support.reports.show
import tandem
import train
from data.problems import first_problems
from model import GPT, autocast, load_model, save_model
from rollout import Rollout, generate, make_handoff, response_logprobs, seeded, to_logprobs
from support.runs.pair import load_run
from tandem import advantages, policy_loss
from train import Config, update

ROOT = Path(__file__).parent.parent
SMALL = "--steps 2 --prompts-per-step 2 --group-size 4 --eval-problems 2 --eval-samples 1 --warmup-steps 2".split()
METRICS = """step reward senior_fraction handoffs loss grad_norm entropy approx_kl clip_fraction zero_advantage_fraction
response_length truncated_fraction jargon_rate update_ratio_error skipped_updates seconds_rollout seconds_reward
seconds_update tokens_per_second""".split()


@dataclass
class Batch:
    """A tiny random pair, what it wrote, and what that is worth."""

    senior: GPT
    junior: GPT
    rollout: Rollout
    A: Tensor  # (N,)
    gate: Tensor  # (N, T)
    config: Config


def batch_of(tokenizer, rewards: Tensor | None = None, ends: float = 1.0, **options) -> Batch:
    """Every second response is right if no rewards are given, as such a pair solves nothing. `ends` ends some early."""
    sizes = dict(vocab_size=tokenizer.vocab_size, max_seq_len=80)
    small = dict(prompts_per_step=2, group_size=4, max_new_tokens=12, warmup_steps=0, grad_clip=1e9)
    config = Config(**(small | options))
    senior, junior = tiny(0, **sizes), tiny(1, **sizes).requires_grad_(False)
    senior.embedding.weight.data[tokenizer.end] *= ends
    problems = first_problems("train", config.prompts_per_step, 0)
    prompts = [
        tokenizer.prompt(problem.question) for problem in problems for _ in range(config.group_size)
    ]
    handoff = make_handoff(config.schedule, tokenizer, senior, config)
    partner = None if config.schedule == "solo" else junior
    limits = dict(end=tokenizer.end, pad=tokenizer.pad, max_new_tokens=config.max_new_tokens)
    with autocast(config.precision, senior.device):
        generator = seeded(0, "test")
        r = generate(
            senior,
            partner,
            prompts,
            handoff,
            temperature=config.temperature,
            generator=generator,
            **limits,
        )
    rewards = torch.arange(len(prompts)).float() % 2 if rewards is None else rewards
    A = advantages(rewards, config.group_size, config.baseline, normalize_std=config.normalize_std)
    return Batch(
        senior, junior, r, A, r.authorship + config.junior_weight * (r.mask & ~r.authorship), config
    )


def update_of(batch: Batch, steps=(0,), senior: GPT | None = None, **options) -> SimpleNamespace:
    """Updates of a copy of the senior, by default one: the stats, and the gradients of each optimizer step."""
    senior, gradients, config = (
        senior or copy.deepcopy(batch.senior),
        [],
        replace(batch.config, **options),
    )
    senior.checkpoint_activations = config.checkpoint_activations
    optimizer = torch.optim.AdamW(senior.parameters(), weight_decay=config.weight_decay, fused=True)
    optimizer.register_step_pre_hook(
        lambda *_: gradients.append([p.grad.clone() for p in senior.parameters()])
    )
    for step in steps:
        stats = update(
            senior, batch.junior, optimizer, batch.rollout, batch.A, batch.gate, step, config
        )
    return SimpleNamespace(stats=stats, gradients=gradients, senior=senior, optimizer=optimizer)


def same(a, b) -> bool:
    """Whether two models are equal to the bit."""
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def brute_force(batch: Batch) -> tuple[Tensor, list[Tensor]]:
    """The loss of REINFORCE in float64 and its gradient: a forward for every token with a weight, on the text before it."""
    senior, junior = copy.deepcopy(batch.senior).double(), copy.deepcopy(batch.junior).double()
    config, loss, total = batch.config, 0.0, 0.0
    for row, prompt in enumerate(batch.rollout.prompts):
        text = list(prompt)
        for t in range(int(batch.rollout.mask[row].sum())):
            token = int(batch.rollout.tokens[row, t])
            if weight := 1.0 if batch.rollout.authorship[row, t] else config.junior_weight:
                p, q = (
                    (model(torch.tensor([text]))[0, -1] / config.temperature).log_softmax(dim=0)
                    for model in (senior, junior)
                )
                d = q[token] - p[token]
                kl = (
                    (p.exp() * (p - q)).sum() if config.kl_estimator == "exact" else d.exp() - d - 1
                )
                penalty = (
                    config.kl_coef * kl * batch.rollout.authorship[row, t]
                )  # of the senior's tokens alone
                loss = loss + penalty - weight * batch.A[row].double() * p[token]
                total += weight
            text.append(token)
    (loss / total).backward()
    return (loss / total).detach(), [p.grad for p in senior.parameters()]


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
    """At the first update ρ = 1, where the clipped objective has the gradient of REINFORCE. Without any advantage the
    penalty is all there is."""
    batch = batch_of(
        tokenizer, torch.ones(8) if "kl_coef" in options else None, temperature=0.8, **options
    )
    done, (loss, expected) = update_of(batch), brute_force(batch)
    if batch.config.loss == "reinforce":
        assert done.stats["loss"] == pytest.approx(loss.item(), rel=1e-4)
    for found, gradient in zip(done.gradients[0], expected, strict=True):
        torch.testing.assert_close(found.double(), gradient, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize(
    "options", [{}, {"loss": "grpo"}, {"junior_weight": 0.2}, {"schedule": "solo", "kl_coef": 0.1}]
)
def test_micro_batches_have_the_gradient_and_the_diagnostics_of_the_whole(tokenizer, options):
    batch = batch_of(tokenizer, learning_rate=1e-6, **options)
    assert len(train.micro_batches(batch.rollout, torch.arange(8), 60)) > 3
    whole, parts = (update_of(batch, micro_batch_tokens=n) for n in (10**6, 60))
    assert (
        whole.stats == pytest.approx(parts.stats, rel=1e-4, abs=1e-6)
        and whole.stats["skipped_updates"] == 0
    )
    for a, b in zip(whole.gradients, parts.gradients, strict=True):
        for p, q in zip(a, b, strict=True):
            torch.testing.assert_close(p, q, atol=1e-6, rtol=1e-3)


def test_micro_batches_hold_every_row_once_and_keep_to_their_budget(tokenizer):
    written = batch_of(tokenizer, ends=3.0).rollout
    lengths = written.mask.sum(dim=1)  # (N,)

    def tokens(part) -> int:  # each distinct prompt is read once
        prompts = {tuple(written.prompts[row]) for row in part.tolist()}
        return len(prompts) * max(map(len, prompts)) + len(part) * int(lengths[part].max())

    for rows in (torch.arange(8), torch.tensor([1, 4, 6])):
        for budget in (1, 200, 1000):
            parts = train.micro_batches(written, rows, budget)
            assert torch.cat(parts).sort().values.tolist() == rows.tolist()
            assert all(len(part) == 1 or tokens(part) <= budget for part in parts)
    assert train.micro_batches(written, torch.tensor([], dtype=torch.long), 100) == []


def test_micro_batches_keep_to_their_budget_whatever_the_lengths():
    draw = random.Random(0)
    for _ in range(200):
        prompts = [[draw.randrange(50)] * draw.randint(1, 30) for _ in range(6)]
        written = rollout.blank(
            [prompt for prompt in prompts for _ in range(4)], 40, 0, torch.device("cpu")
        )
        lengths = [draw.randint(1, 40) for _ in written.prompts]
        written.mask[:] = torch.arange(40) < torch.tensor(lengths)[:, None]
        rows, budget = torch.tensor(sorted(draw.sample(range(24), 17))), draw.randint(1, 400)
        parts = [part.tolist() for part in train.micro_batches(written, rows, budget)]
        assert sorted(row for part in parts for row in part) == rows.tolist()
        for part in parts:
            read = {tuple(written.prompts[row]) for row in part}
            tokens = len(read) * max(map(len, read)) + len(part) * max(lengths[row] for row in part)
            assert len(part) == 1 or tokens <= budget


@pytest.mark.parametrize("temperature", [0.6, 1.0])
@pytest.mark.parametrize("schedule", ["word", "step", "solo"])
def test_the_first_updates_ratio_is_1(tokenizer, schedule, temperature):
    batch = batch_of(tokenizer, schedule=schedule, temperature=temperature, junior_weight=0.15)
    stats = update_of(batch).stats
    assert (
        stats["skipped_updates"] == 0
        and stats["grad_norm"] > 0
        and stats["update_ratio_error"] < 1e-4
    )


def test_junior_tokens_and_padding_contribute_nothing_and_the_seniors_end_token_does(tokenizer):
    batch = batch_of(tokenizer, ends=3.0, max_new_tokens=30, prompts_per_step=16)
    clean, written = update_of(batch).gradients[0], batch.rollout
    by_junior = written.mask & ~written.authorship  # (N, T)
    assert by_junior.any() and (~written.mask).any()
    dirty = copy.deepcopy(batch)
    dirty.rollout.tokens[~written.mask] = 7
    for recorded in (dirty.rollout.senior_logprobs, dirty.rollout.junior_logprobs):
        recorded[by_junior] = float("nan")
        recorded[~written.mask] = float("inf")
    assert all(torch.equal(a, b) for a, b in zip(update_of(dirty).gradients[0], clean, strict=True))
    ends = (written.tokens == tokenizer.end) & written.authorship
    assert ends.any()
    batch.gate = batch.gate.masked_fill(ends, 0)
    assert any(
        (a - b).abs().max() > 1e-6
        for a, b in zip(update_of(batch).gradients[0], clean, strict=True)
    )


@pytest.mark.parametrize(
    "options", [{}, {"junior_weight": 0.5}, {"schedule": "solo", "kl_coef": 0.1}]
)
def test_the_junior_is_the_same_to_the_bit_after_training(tokenizer, options):
    batch = batch_of(tokenizer, learning_rate=1e-2, **options)
    junior = copy.deepcopy(batch.junior)
    assert not same(update_of(batch, range(3)).senior, batch.senior)
    assert same(batch.junior, junior) and all(p.grad is None for p in batch.junior.parameters())


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
        assert stats["skipped_updates"] == 1 and stats["grad_norm"] == stats["loss"] == 0
    assert same(before, done.senior) and len(done.gradients) == 1


def test_rows_without_advantage_are_not_read_again_but_count(tokenizer, monkeypatch):
    """And clipping and KL are means over the tokens that were read."""
    rewards, read = torch.tensor([0, 0, 0, 0, 0, 1, 1, 0, 1, 1, 1, 1, 1, 0, 0, 0]).float(), []
    batch = batch_of(
        tokenizer, rewards, prompts_per_step=4, loss="grpo", mini_batches=1, normalize_std=False
    )
    recorded = lambda senior, rows, *rest: (
        read.append(len(rows.prompts)) or response_logprobs(senior, rows, *rest)
    )
    monkeypatch.setattr(train, "response_logprobs", recorded)
    done = update_of(batch)
    assert (
        read == [int(((batch.gate != 0).any(dim=1) & (batch.A != 0)).sum())] and 6 <= read[0] <= 8
    )
    full = to_logprobs(response_logits(batch.senior, batch.rollout, batch.gate != 0), 1.0)  # (M, V)
    logprobs = own_logprobs(full, batch.rollout, batch.gate != 0)  # (N, T), all rows of them
    policy_loss(logprobs, batch.rollout.senior_logprobs, batch.A, batch.gate)[0].backward()
    for found, parameter in zip(done.gradients[0], batch.senior.parameters(), strict=True):
        torch.testing.assert_close(found, parameter.grad, atol=1e-6, rtol=1e-3)
    noise = 0.3 * torch.randn(
        batch.gate.shape, generator=torch.Generator().manual_seed(0)
    )  # (N, T)
    batch.rollout.senior_logprobs += noise
    trained = (batch.gate != 0) & (batch.A != 0)[:, None]  # (N, T)
    log_ratio = -noise[trained]  # (M,)
    ratio, stats = log_ratio.exp(), update_of(batch).stats
    assert stats["clip_fraction"] == pytest.approx(
        ((ratio - 1).abs() > 0.2).float().mean().item(), abs=1e-6
    )
    assert stats["approx_kl"] == pytest.approx((ratio - 1 - log_ratio).mean().item(), abs=1e-5)


def test_grpo_takes_a_step_a_mini_batch_and_the_second_sees_ratios_that_moved(
    tokenizer, monkeypatch
):
    batch, calls = batch_of(tokenizer, loss="grpo", learning_rate=1e-2, clip=0.1), []
    assert (
        Config(loss="grpo").clip == 0.2
        and batch.config.mini_batches == 2
        and batch.config.normalize_std
    )
    std = (torch.arange(4).float() % 2).std()
    torch.testing.assert_close(batch.A[:2], torch.tensor([-0.5, 0.5]) / (std + 1e-6))

    def recorded(logprobs, old_logprobs, advantages, weights, clip, denominator):
        ratio = (logprobs - old_logprobs).detach().exp()[weights != 0]
        calls.append((clip, (ratio - 1).abs().max().item(), denominator == weights.sum()))
        return policy_loss(logprobs, old_logprobs, advantages, weights, clip, denominator)

    monkeypatch.setattr(train, "policy_loss", recorded)
    done = update_of(batch)
    (clip, first, whole), (_, second, _) = calls
    assert clip == 0.1 and first < 1e-4 and second > 0.1 and whole
    assert len(done.gradients) == 2 and not torch.equal(done.gradients[0][0], done.gradients[1][0])
    assert (
        done.stats["update_ratio_error"] == pytest.approx(first, abs=1e-6)
        and done.stats["clip_fraction"] > 0
    )


def test_bfloat16_computes_coarsely_and_keeps_its_weights_in_float32(tokenizer):
    """An update of 1e-5 would vanish in weights of bfloat16. The ratio is measured as ever, and as coarse."""
    coarse, exact = (
        batch_of(tokenizer, precision=p, learning_rate=1e-5) for p in ("bfloat16", "float32")
    )
    done = update_of(coarse)
    assert (
        update_of(exact).stats["update_ratio_error"] < 1e-4
        and done.stats["update_ratio_error"] < 0.5
    )
    assert {p.dtype for p in [*done.senior.parameters(), *done.gradients[0]]} == {torch.float32}
    for before, after in zip(coarse.senior.parameters(), done.senior.parameters(), strict=True):
        assert 0 < (before - after).abs().max() < 2e-5


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_checkpointed_activations_change_no_update(tokenizer, precision):
    batch = batch_of(tokenizer, precision=precision)
    kept, again = (update_of(batch, checkpoint_activations=on) for on in (False, True))
    assert (
        again.senior.checkpoint_activations
        and kept.stats == again.stats
        and kept.stats["grad_norm"] > 0
    )
    assert same(kept.senior, again.senior)


def test_gradients_are_clipped_and_freed_and_the_learning_rate_warms_up_and_stays(tokenizer):
    """Gradients take no memory while responses are written."""
    batch = batch_of(tokenizer, learning_rate=1e-3, warmup_steps=4)
    done = [update_of(batch, [step], grad_clip=1e-3) for step in range(6)]
    norm = torch.stack([gradient.norm() for gradient in done[0].gradients[0]]).norm()
    assert done[0].stats["grad_norm"] > 1e-3 and norm.item() == pytest.approx(1e-3, rel=1e-2)
    assert all(p.grad is None for p in done[0].senior.parameters())
    rates = [some.optimizer.param_groups[0]["lr"] for some in done]
    assert rates == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3, 1e-3])


def test_the_ema_baseline_is_the_mean_of_the_steps_before():
    config, state = Config(baseline="ema", group_size=4), {"running_mean": None}
    assert (train.group_advantages(torch.ones(8), state, config) == 0).all()
    assert state["running_mean"] == 1.0
    assert (train.group_advantages(torch.zeros(8), state, config) == -1).all()
    assert state["running_mean"] == pytest.approx(0.9)


@pytest.mark.parametrize("schedule", ["word", "solo"])
def test_the_metrics_of_a_step_are_those_of_its_batch(tokenizer, schedule):
    """Recounted token by token."""
    rewards = torch.tensor([i % 3 == 0 or i > 11 for i in range(16)]).float()
    batch = batch_of(
        tokenizer, rewards, ends=3.0, schedule=schedule, prompts_per_step=4, max_new_tokens=20
    )
    r = batch.rollout
    stats, config = {"loss": 7.0}, batch.config
    found = train.metrics(3, r, rewards, batch.A, 0.25, stats, tokenizer, config)
    senior = junior = changes = truncated = 0
    surprise = []
    for row, mask in enumerate(r.mask.tolist()):
        authors = [a for a, m in zip(r.authorship[row].tolist(), mask, strict=True) if m]
        tokens = [t for t, m in zip(r.tokens[row].tolist(), mask, strict=True) if m]
        senior, junior = senior + sum(authors), junior + len(authors) - sum(authors)
        changes += sum(a != b for a, b in pairwise(authors))
        truncated += tokens[-1] != tokenizer.end
        surprise += [
            -logprob for logprob, a in zip(r.logprobs[row].tolist(), authors, strict=False) if a
        ]
        assert batch.gate[row].tolist() == [float(a) for a in r.authorship[row].tolist()]
    assert found["step"] == 3
    assert found["loss"] == 7.0
    assert found["reward"] == pytest.approx(rewards.mean().item())
    assert found["senior_fraction"] == pytest.approx(senior / (senior + junior))
    assert (junior == 0) == (schedule == "solo")
    assert found["handoffs"] == pytest.approx(changes / 16)
    assert found["response_length"] == pytest.approx((senior + junior) / 16)
    assert found["tokens"] == senior + junior
    assert 0 < truncated < 16 and found["truncated_fraction"] == pytest.approx(truncated / 16)
    assert found["zero_advantage_fraction"] == 0.25
    assert found["jargon_rate"] == 0.25
    assert found["entropy"] == pytest.approx(sum(surprise) / senior, rel=1e-5)


def test_the_entropy_is_that_of_the_seniors_distributions(tokenizer):
    batch = batch_of(
        tokenizer, torch.zeros(512), prompts_per_step=64, group_size=8, temperature=1.3
    )
    r = batch.rollout
    wrong, config = torch.zeros(512), batch.config
    found = train.metrics(0, r, wrong, batch.A, None, {}, tokenizer, config)
    logits = response_logits(batch.senior, r, r.authorship) / 1.3  # (M, V)
    known = torch.distributions.Categorical(logits=logits)
    surprise = -known.log_prob(r.tokens[r.authorship])  # (M,)
    error = (surprise - known.entropy()).std() / len(surprise) ** 0.5
    assert found["entropy"] == pytest.approx(surprise.mean().item(), rel=1e-5)
    assert abs(found["entropy"] - known.entropy().mean()) < 4 * error < 0.1


def test_every_step_has_problems_and_random_numbers_of_its_own():
    drawn = []
    for seed, step in ((0, 0), (0, 0), (0, 1), (1, 0)):
        config = Config(seed=seed, prompts_per_step=5, group_size=3)
        numbers = train.random_numbers(step, config, torch.device("cpu"))
        drawn.append(
            (train.next_problems(None, step, config), torch.stack([numbers(), numbers()]).tolist())
        )
    assert drawn[0] == drawn[1] and len(drawn[0][1][0]) == 15
    assert all(
        drawn[i][part] != drawn[j][part] for i, j in ((0, 2), (0, 3), (2, 3)) for part in (0, 1)
    )
    cards, config = first_problems("train", 10, 0), Config(prompts_per_step=5)
    dealt = [problem for step in range(6) for problem in train.next_problems(cards, step, config)]
    assert dealt[:10] != dealt[10:20] != dealt[20:]
    assert all(
        sorted(p.question for p in dealt[i : i + 10]) == sorted(p.question for p in cards)
        for i in (0, 10, 20)
    )
    assert train.next_problems(cards, 3, replace(config, seed=1)) != dealt[15:20]


def test_a_loss_that_is_not_finite_is_named(tokenizer):
    batch = batch_of(tokenizer)
    senior, batch.A = copy.deepcopy(batch.senior), batch.A * float("inf")
    with pytest.raises(FloatingPointError, match="step 3: the loss is not finite"):
        update_of(batch, [3], senior)
    assert same(senior, batch.senior)


def main(*words) -> int:
    """The command in this process; its exit code."""
    try:
        train.main([*map(str, words)])
    except SystemExit as end:
        return end.code
    return 0


def metrics(directory: Path) -> list[dict]:
    """The log of a run without its times."""
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return [
        {name: value for name, value in json.loads(line).items() if "second" not in name}
        for line in lines
    ]


def test_options_reach_the_sampler_and_a_run_asks_in_its_template_wherever_it_asks(
    tmp_path, monkeypatch, tokenizer
):
    seen, optimizers, adamw = [], [], torch.optim.AdamW

    def recorded(senior, junior, prompts, handoff, **arguments):
        seen.append(arguments | {"prompts": prompts, "junior": junior, "handoff": handoff})
        return generate(senior, junior, prompts, handoff, **arguments)

    for module in (train, evaluate, rollout):
        monkeypatch.setattr(module, "generate", recorded)
    monkeypatch.setattr(
        torch.optim,
        "AdamW",
        lambda *given, **named: optimizers.append(named) or adamw(*given, **named),
    )
    how = "--schedule chunk --p-senior 0.3 --max-gap 7 --chunk 5 --temperature 0.9 --max-new-tokens 20".split()
    run, template = tmp_path / "run", "Think. {question} Put the final answer in \\boxed{}."
    more = [
        "--rollout-batch-size=3",
        "--weight-decay=0.5",
        "--eval-temperature=0.4",
        "--prompt-template",
        template,
    ]
    assert main(*SMALL, *how, *more, "--steps=1", "--out", run) == 0
    assert optimizers[0]["weight_decay"] == 0.5
    (batch,) = (call for call in seen if call["temperature"] == 0.9)
    assert len(batch["prompts"]) == 8 and batch["junior"] is not None
    handoff = batch["handoff"]
    assert (handoff.schedule, handoff.p_senior, handoff.max_gap, handoff.chunk) == (
        "chunk",
        0.3,
        7,
        5,
    )
    names = ("max_new_tokens", "batch_size", "end", "pad")
    assert {tuple(c[name] for name in names) for c in seen} == {
        (20, 3, tokenizer.end, tokenizer.pad)
    }
    assert {c["temperature"] for c in seen} == {0.9, 0.4} and not any(
        c.get("top_p") or c.get("top_k") for c in seen
    )
    monkeypatch.setattr(support.reports.compare, "draw_comparison", lambda *_: None)
    support.reports.compare.main([str(run), "--samples=2"])
    assert main("--resume", run, "--steps=2") == main("--resume", run) == 0
    before, after = (
        tokenizer.encode(part) for part in ("Think.", " Put the final answer in \\boxed{}.\n\n")
    )
    asked = [prompt for call in seen for prompt in call["prompts"]]
    assert len(asked) > 60 and all(
        p[: len(before)] == before and p[-len(after) :] == after for p in asked
    )
    support.reports.show.main([str(run), "--prompt", "Ada has 5 hats?"])
    expected = tokenizer.prompt("Ada has 5 hats?", template)
    assert seen[-1]["prompts"][0] == expected and expected[: len(before)] == before


def test_a_lost_authorship_is_a_traceback_not_a_users_mistake(tmp_path, monkeypatch):
    """An authorship that is always the senior's would be plain RL under the name of tandem RL."""
    monkeypatch.setattr(
        tandem.Uniforms, "__call__", lambda self: torch.zeros(len(self.rows))
    )  # all below p_senior
    with pytest.raises(RuntimeError, match="the junior wrote none of"):
        train.main([*SMALL, "--steps=20", "--prompts-per-step=8", f"--out={tmp_path / 'run'}"])
    assert len(metrics(tmp_path / "run")) < 2


def test_a_run_in_bfloat16_keeps_its_junior_in_it_and_computes_the_same(tmp_path, monkeypatch):
    """As if the junior's weights were float32, and converted at every token; and with activations computed twice."""
    small, kinds = [*SMALL, "--precision=bfloat16"], []

    def spied(senior, junior, *rest):
        kinds.append(
            (senior.head.weight.dtype, junior.head.weight.dtype, junior.embedding.weight.dtype)
        )
        return evaluate.evaluate(senior, junior, *rest)

    monkeypatch.setattr(train, "evaluate", spied)
    assert main(*small, "--out", tmp_path / "run") == 0
    assert kinds == [(torch.float32, torch.bfloat16, torch.float32)] * 2
    assert same(load_model(tmp_path / "run" / "junior.pt"), load_model(ROOT / "data" / "junior.pt"))
    assert main("--resume", tmp_path / "run", "--steps=3", "--checkpoint-activations") == 0
    assert kinds.pop()[1] == torch.bfloat16
    monkeypatch.setattr("support.runs.run.store_matrices", lambda *_: None)
    assert (
        main(*small, "--steps=3", "--out", tmp_path / "float32") == 0
        and kinds.pop()[1] == torch.float32
    )
    assert metrics(tmp_path / "run") == metrics(tmp_path / "float32")
    both = [json.loads((tmp_path / name / "eval.json").read_text()) for name in ("run", "float32")]
    assert both[0]["before"] == both[1]["before"] and both[0]["after"] == both[1]["after"]


def test_a_run_without_signal_says_so_and_trains_nothing(tokenizer, tmp_path, capsys):
    save_model(tiny(0, vocab_size=tokenizer.vocab_size, max_seq_len=128), tmp_path / "senior.pt")
    hopeless = [
        *SMALL,
        "--steps=6",
        "--max-new-tokens=8",
        f"--senior={tmp_path / 'senior.pt'}",
        "--junior=self",
    ]
    assert main(*hopeless, "--out", tmp_path / "run") == 0
    printed = capsys.readouterr().out
    assert printed.count("were cut off, at --max-new-tokens 8.") == 1  # a random model ends nothing
    assert (
        printed.count("warning: no learning signal") == 1
        and "all wrong" in printed
        and "--group-size" in printed
    )
    assert all(
        row["skipped_updates"] == 1 and row["zero_advantage_fraction"] == 1
        for row in metrics(tmp_path / "run")
    )
    assert all(math.isfinite(value) for row in metrics(tmp_path / "run") for value in row.values())
    assert same(load_model(tmp_path / "senior.pt"), load_model(tmp_path / "run" / "checkpoint.pt"))


def test_zero_steps_measure_the_pair_once(tmp_path, monkeypatch, capsys):
    labels = []
    monkeypatch.setattr(
        train, "evaluate", lambda *given: labels.append(given[-1]) or evaluate.evaluate(*given)
    )
    out = tmp_path / "run"
    assert main(*SMALL, "--steps=0", "--out", out) == 0
    found = json.loads((out / "eval.json").read_text())
    assert labels == ["after"] and found["before"] == found["after"]
    assert "before |    after |" in capsys.readouterr().out
    assert same(load_model(out / "checkpoint.pt"), load_model(ROOT / "data" / "senior.pt"))
    assert metrics(out) == [] and len((out / "evals.jsonl").read_text().splitlines()) == 1
    assert main("--resume", out, "--steps=1") == 0
    assert labels == ["after", "at step 0", "after"] and len(metrics(out)) == 1
    assert json.loads((out / "eval.json").read_text())["before"] == found["before"]


def run(*words, cwd=None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=cwd, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """A shortened default run, started from another directory."""
    cwd = tmp_path_factory.mktemp("somewhere")
    return cwd / "runs" / "word", run(ROOT / "train.py", *SMALL, cwd=cwd)


def test_a_short_run_writes_and_prints_what_it_promises(finished):
    directory, done = finished
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1] and all(
        sorted(row) == sorted(METRICS) for row in rows
    )
    found = json.loads((directory / "eval.json").read_text())
    assert set(found) == {"before", "after", "problems", "samples", "config"}
    assert found["config"] == json.loads((directory / "config.json").read_text())
    assert (found["problems"], found["samples"]) == (2, 1)
    along = [json.loads(line) for line in (directory / "evals.jsonl").read_text().splitlines()]
    assert along == [{"step": 0} | found["before"], {"step": 2} | found["after"]]
    assert torch.load(directory / "checkpoint.pt", weights_only=True)["step"] == 2
    for name, given in (("senior.pt", "senior.pt"), ("junior.pt", "junior.pt")):
        assert same(load_model(directory / name), load_model(ROOT / "data" / given))
    named = "config.json metrics.jsonl evals.jsonl eval.json senior.pt junior.pt checkpoint.pt .lock".split()
    assert {path.name for path in directory.iterdir()} == set(named)
    assert "| handoff pass@1, step by step ↑" in done.stdout and "device: cpu" in done.stderr
    assert (
        "after   1 steps  " in done.stdout
        and "⟦" in done.stdout
        and "everything is in runs/word" in done.stdout
    )


def test_the_same_seed_gives_the_same_metrics_and_evaluating_changes_no_run(finished, tmp_path):
    directory, _ = finished
    assert main(*SMALL, "--out", tmp_path / "again", "--eval-problems=3", "--eval-every=1") == 0
    assert main(*SMALL, "--out", tmp_path / "other", "--seed=1") == 0
    assert metrics(tmp_path / "again") == metrics(directory) != metrics(tmp_path / "other")


def test_runs_can_be_compared_measured_again_and_shown(finished, tmp_path, monkeypatch, capsys):
    directory, _ = finished
    for name, pair in (("solo", ()), ("self", ["--junior=self"])):
        assert main(*SMALL, "--schedule", "solo", *pair, "--out", tmp_path / name) == 0
    assert same(
        load_model(tmp_path / "self" / "junior.pt"), load_model(ROOT / "data" / "senior.pt")
    )
    figure = ["--figure", tmp_path / "figure.png"]
    compared = run(ROOT / "evaluate.py", directory, tmp_path / "solo", tmp_path / "self", *figure)
    header = [cell.strip() for cell in compared.stdout.splitlines()[0].split("|")[2:-1]]
    assert compared.returncode == 0 and header == [
        "before",
        "word (n=1)",
        "solo (n=1)",
        "before self",
        "self (n=1)",
    ]
    assert "no figure" in compared.stderr or (tmp_path / "figure.png").stat().st_size > 10_000
    shown = run(ROOT / "rollout.py", directory, "--samples=2")
    assert shown.returncode == 0 and shown.stdout.count("→ ") == 2 and "⟦" in shown.stdout

    monkeypatch.setattr(support.reports.compare, "draw_comparison", lambda *_: None)
    printed = []
    for words in ([directory], ["--samples=2"]):
        capsys.readouterr()
        support.reports.compare.main([str(directory), "--json", *map(str, words)])
        printed += json.loads(capsys.readouterr().out)
    measured = json.loads((directory / "eval.json").read_text())
    assert [row["name"] for row in printed] == ["word", "word"] and "pass@2" in printed[1]["after"][
        "solo"
    ]
    assert all(
        printed[0][key] == measured[key] for key in ("before", "after", "problems", "samples")
    )
    support.reports.show.main(
        [str(directory), "--prompt", "Ada has 5 hats. Ada buys 7 more. How many hats has Ada?"]
    )
    assert capsys.readouterr().out.count("Ada has 5 hats") == 3


def test_a_run_on_problems_of_files_knows_no_jargon_and_needs_the_files_no_more(
    tmp_path, monkeypatch, capsys
):
    """Long problems are left out. When the files are gone, the run is resumed, evaluated and shown from its copies."""
    monkeypatch.chdir(tmp_path)
    for name, count, split in (("data", 20, "train"), ("test_data", 4, "test")):
        rows = [
            {"question": p.question, "answer": p.answer} for p in first_problems(split, count, 0)
        ]
        rows.append({"question": "why " * 99, "answer": "2"})
        Path(f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = [*SMALL, "--data=data.jsonl", "--test-data=test_data.jsonl", "--eval-problems=3"]
    assert main(*words, "--steps=3", "--out=whole") == main(*words, "--out=run") == 0
    printed = capsys.readouterr().out
    assert (
        "problems: 20 to train on, 3 of 4 to measure on; 2 left out, whose prompts have more than 64"
        in printed
    )
    found = json.loads(Path("run/eval.json").read_text())
    assert (
        found["problems"] == 3
        and found["before"]["jargon_rate"] is None
        and found["after"]["solo"]["pass@1"] >= 0
    )
    assert all(row["jargon_rate"] is None for row in metrics(Path("run")))
    for name in ("data", "test_data"):
        assert Path(f"{name}.jsonl").read_bytes() == Path(f"run/{name}.jsonl").read_bytes()
        Path(f"{name}.jsonl").unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(Path("run").rename("elsewhere/moved").parent)
    assert main("--resume=moved", "--steps=3") == 0
    assert metrics(Path("moved")) == metrics(tmp_path / "whole")
    capsys.readouterr()
    monkeypatch.setattr(support.reports.compare, "draw_comparison", lambda *_: None)
    support.reports.compare.main(["moved", "--problems=100", "--json"])  # there are 4
    assert json.loads(capsys.readouterr().out)[0]["problems"] == 4
    support.reports.show.main(["moved", "--samples=1"])
    assert "→ " in capsys.readouterr().out and load_run("moved").config.data == "moved/data.jsonl"
