"""A step: who gets a gradient, and what it leaves alone."""

import copy
import itertools
import math

import pytest
import torch
from conftest import tiny

import evaluate
import rollout
import tandem
import trainer
from cli import UserError
from config import Config
from data.problems import take
from rollout import generate, response_logits
from runs import starting_pair
from tandem import policy_loss
from trainer import Trainer, objective


def trainer_of(tokenizer, *, random_rewards=True, monkeypatch=None, **options) -> Trainer:
    """A trainer of a tiny random pair; its rewards are random too, as such a pair solves nothing."""
    sizes = dict(vocab_size=tokenizer.vocab_size, max_seq_len=80)
    config = Config(**(dict(prompts=2, group_size=4, max_new_tokens=12) | options))
    made = Trainer(config, tiny(0, **sizes), tiny(1, **sizes).requires_grad_(False), tokenizer)
    if monkeypatch is not None:
        flags = torch.Generator().manual_seed(5)
        monkeypatch.setattr(
            trainer.reward, "verify_batch", lambda texts, _: (torch.rand(len(texts), generator=flags) < 0.5).tolist()
        )
    return made


def batch_of(made: Trainer, rewards=None) -> trainer.Batch:
    rollout = made.roll_out(take("train", made.config.prompts, 0), 0)
    n = len(rollout.prompts)
    rewards = torch.arange(n).float() % 2 if rewards is None else rewards
    return made.judge(rollout, rewards)


def gradient(made: Trainer, batch: trainer.Batch) -> list[torch.Tensor]:
    made.senior.zero_grad()
    loss, _ = objective(made.senior, made.junior, batch, made.config, batch.weights.sum())
    loss.backward()
    return [p.grad.clone() for p in made.senior.parameters()]


@pytest.mark.parametrize(
    "options", [{}, {"objective": "grpo"}, {"junior_weight": 0.2}, {"schedule": "solo", "kl_coef": 0.1}]
)
def test_micro_batches_have_the_gradient_and_the_diagnostics_of_the_whole(tokenizer, options):
    whole, parts = (trainer_of(tokenizer, micro_tokens=n, warmup=0, grad_clip=1e9, **options) for n in (10**6, 100))
    batch = batch_of(whole)
    assert len(trainer.micro_batches(batch.rollout, 100)) > 3
    (stats, skipped), (summed, _) = whole.update(batch, 0), parts.update(batch, 0)
    assert stats == pytest.approx(summed, rel=1e-4, abs=1e-6) and not skipped
    for p, q in zip(whole.senior.parameters(), parts.senior.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, atol=1e-6, rtol=1e-3)


def test_a_batch_that_is_written_in_parts_is_the_same_batch(tokenizer, monkeypatch):
    """The parts cut through groups; so do those of the measurements (see test_evaluate)."""
    written = []
    recorded = lambda *words, **named: written.append(len(words[2])) or generate(*words, **named)
    monkeypatch.setattr(rollout, "generate", recorded)
    monkeypatch.setattr(trainer.reward, "verify_batch", lambda texts, _: [len(text) % 2 == 0 for text in texts])
    whole, parts = (trainer_of(tokenizer, prompts=4, rollout_rows=rows) for rows in (512, 3))
    for step in range(2):
        (a, one, _), (b, other, _) = whole.step(step), parts.step(step)
        timeless = [{name: value for name, value in m.items() if "second" not in name} for m in (a, b)]
        assert timeless[0] == pytest.approx(timeless[1], abs=1e-5) and a["skipped_updates"] == 0
        assert torch.equal(one.rollout.tokens, other.rollout.tokens) and one.rollout.prompts == other.rollout.prompts
        assert whole.authors == parts.authors
    assert written == [16, 3, 3, 3, 3, 3, 1] * 2
    assert evaluate.sampling(Config(rollout_rows=3)).batch_size == 3


def test_micro_batches_hold_every_row_once_and_keep_to_their_budget(tokenizer):
    rollout = batch_of(trainer_of(tokenizer)).rollout
    lengths = torch.tensor([len(prompt) for prompt in rollout.prompts]) + rollout.mask.sum(dim=1)
    for budget in (1, 200, 1000):
        parts = trainer.micro_batches(rollout, budget)
        assert torch.cat(parts).sort().values.tolist() == list(range(len(lengths)))
        assert all(len(rows) == 1 or len(rows) * lengths[rows].max() <= budget for rows in parts)


@pytest.mark.parametrize("temperature", [0.6, 1.0])
@pytest.mark.parametrize("schedule", ["word", "step", "solo"])
def test_the_first_updates_ratio_is_1(tokenizer, monkeypatch, schedule, temperature):
    made = trainer_of(
        tokenizer, schedule=schedule, temperature=temperature, monkeypatch=monkeypatch, junior_weight=0.15
    )
    metrics, _, _ = made.step(0)
    assert metrics["skipped_updates"] == 0 and metrics["grad_norm"] > 0
    assert metrics["update_ratio_error"] < 1e-4


@pytest.mark.parametrize("options", [{}, {"objective": "grpo", "mini_batches": 1}, {"junior_weight": 0.2}])
def test_the_gradient_is_that_of_a_loop_over_single_tokens(tokenizer, options):
    """Brute force in float64: a forward for every token that has a weight, on the text before it."""
    made = trainer_of(tokenizer, temperature=0.8, **options)
    batch = batch_of(made)
    reference, loss, weight = copy.deepcopy(made.senior).double(), 0.0, 0.0
    for row, prompt in enumerate(batch.rollout.prompts):
        text = list(prompt)
        for t in range(int(batch.rollout.mask[row].sum())):
            token, senior_wrote = int(batch.rollout.tokens[row, t]), bool(batch.rollout.authorship[row, t])
            w = 1.0 if senior_wrote else made.config.junior_weight
            if w:
                logits = reference(torch.tensor([text]))[0, -1]
                # At the first update ρ = 1, where the clipped objective has the same gradient as REINFORCE.
                loss = loss - w * batch.advantages[row].double() * (logits / 0.8).log_softmax(dim=0)[token]
                weight += w
            text.append(token)
    (loss / weight).backward()
    for found, parameter in zip(gradient(made, batch), reference.parameters(), strict=True):
        torch.testing.assert_close(found.double(), parameter.grad, atol=1e-5, rtol=1e-3)


def test_junior_tokens_and_padding_contribute_nothing_and_the_seniors_end_token_does(tokenizer):
    made = trainer_of(tokenizer, max_new_tokens=30, prompts=16)
    made.senior.embedding.weight.data[tokenizer.end] *= 3  # so that some responses end
    batch = batch_of(made)
    clean, rollout = gradient(made, batch), batch.rollout
    other = rollout.mask & ~rollout.authorship  # the junior's
    assert other.any() and (~rollout.mask).any()
    dirty = copy.deepcopy(batch)
    dirty.rollout.tokens[~rollout.mask] = 7
    for recorded in (dirty.rollout.logprobs, dirty.rollout.partner_logprobs):
        recorded[other] = float("nan")
        recorded[~rollout.mask] = float("inf")
    assert all(torch.equal(a, b) for a, b in zip(gradient(made, dirty), clean, strict=True))
    ends = (rollout.tokens == tokenizer.end) & rollout.authorship
    assert ends.any()
    without = copy.deepcopy(batch)
    without.weights[ends] = 0
    assert any((a - b).abs().max() > 1e-6 for a, b in zip(gradient(made, without), clean, strict=True))


@pytest.mark.parametrize("options", [{}, {"junior_weight": 0.5}, {"schedule": "solo", "kl_coef": 0.1}])
def test_the_junior_is_the_same_to_the_bit_after_training(tokenizer, monkeypatch, options):
    made = trainer_of(tokenizer, monkeypatch=monkeypatch, learning_rate=1e-2, **options)
    junior, senior = copy.deepcopy(made.junior), copy.deepcopy(made.senior)
    for step in range(3):
        made.step(step)
    assert all(torch.equal(a, b) for a, b in zip(junior.parameters(), made.junior.parameters(), strict=True))
    assert all(p.grad is None and not p.requires_grad for p in made.junior.parameters())
    assert not all(torch.equal(a, b) for a, b in zip(senior.parameters(), made.senior.parameters(), strict=True))


def test_junior_self_is_a_frozen_copy(tokenizer):
    senior, junior, own = starting_pair(Config(junior="self"))
    assert own.same_as(tokenizer)
    pairs = list(zip(senior.parameters(), junior.parameters(), strict=True))
    assert all(torch.equal(a, b) and a.data_ptr() != b.data_ptr() for a, b in pairs)
    made = Trainer(Config(), senior, junior, tokenizer)
    assert not any(p.requires_grad for p in made.junior.parameters())


def test_a_batch_without_any_advantage_takes_no_step(tokenizer):
    """Adam would drift on the momentum of the steps before."""
    made = trainer_of(tokenizer)
    made.update(batch_of(made), 0)
    before = copy.deepcopy(made.senior.state_dict())
    for rewards in (torch.zeros(8), torch.ones(8)):
        metrics, skipped = made.update(batch_of(made, rewards), 1)
        assert skipped == 1 and metrics["grad_norm"] == 0
    assert all(torch.equal(a, b) for a, b in zip(before.values(), made.senior.state_dict().values(), strict=True))


def test_clipping_and_kl_are_means_over_the_tokens_that_were_read(tokenizer):
    made = trainer_of(tokenizer, prompts=4, objective="grpo", mini_batches=1)
    batch = batch_of(made, torch.tensor([0] * 8 + [0, 1] * 4).float())  # half of the groups teach nothing
    noise = 0.3 * torch.randn(batch.weights.shape, generator=torch.Generator().manual_seed(0))  # (N, T)
    batch.rollout.logprobs += noise
    metrics, _ = made.update(batch, 0)
    log_ratio = -noise[8:][batch.weights[8:] != 0]  # (M,)
    ratio = log_ratio.exp()
    assert metrics["clip_fraction"] == pytest.approx(((ratio - 1).abs() > 0.2).float().mean().item(), abs=1e-6)
    assert metrics["approx_kl"] == pytest.approx((ratio - 1 - log_ratio).mean().item(), abs=1e-5)


def test_the_entropy_is_that_of_the_seniors_distributions_and_known_where_nothing_is_learnt(tokenizer, monkeypatch):
    made = trainer_of(tokenizer, prompts=64, group_size=8, temperature=1.3)
    monkeypatch.setattr(trainer.reward, "verify_batch", lambda texts, _: [False] * len(texts))
    metrics, batch, _ = made.step(0)
    assert metrics["skipped_updates"] == 1 and all(math.isfinite(value) for value in metrics.values())
    written = batch.rollout.authorship  # (N, T)
    logits = response_logits(made.senior, batch.rollout, written) / 1.3  # (M, V)
    known = torch.distributions.Categorical(logits=logits)
    surprise = -known.log_prob(batch.rollout.tokens[written])  # (M,)
    error = (surprise - known.entropy()).std() / len(surprise) ** 0.5
    assert metrics["entropy"] == pytest.approx(surprise.mean().item(), rel=1e-5)
    assert abs(metrics["entropy"] - known.entropy().mean()) < 4 * error < 0.1


def test_rows_without_advantage_are_not_read_again_but_count(tokenizer, monkeypatch):
    made = trainer_of(tokenizer, prompts=4, grad_clip=1e9)
    batch = batch_of(made, torch.tensor([0, 0, 0, 0, 0, 1, 1, 0, 1, 1, 1, 1, 1, 0, 0, 0]).float())
    whole = gradient(made, batch)
    read = []
    monkeypatch.setattr(trainer, "response_logits", lambda m, r, s: read.append(len(s)) or response_logits(m, r, s))
    monkeypatch.setattr(made.optimizer, "step", lambda: None)
    made.update(batch, 0)
    assert read == [8]
    for found, parameter in zip(whole, made.senior.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, found, atol=1e-6, rtol=1e-4)


def test_grpo_takes_a_step_a_mini_batch_on_normalized_advantages(tokenizer, monkeypatch):
    made = trainer_of(tokenizer, objective="grpo", learning_rate=1e-2, warmup=0)
    batch = batch_of(made)
    std = (torch.arange(4).float() % 2).std()
    torch.testing.assert_close(batch.advantages[:2], torch.tensor([-0.5, 0.5]) / (std + 1e-6))
    steps = []
    monkeypatch.setattr(made.optimizer, "step", lambda: steps.append(made.senior.embedding.weight.grad.clone()))
    made.update(batch, 0)
    assert len(steps) == 2 and not torch.equal(*steps)
    assert (made.config.clip, made.config.mini_batches) == (0.2, 2)


def test_the_second_mini_batch_of_grpo_sees_ratios_that_moved(tokenizer, monkeypatch):
    made = trainer_of(tokenizer, objective="grpo", learning_rate=1e-2, warmup=0, clip=0.1)
    calls = []

    def recorded(logprobs, old_logprobs, advantages, weights, clip, denominator):
        ratio = (logprobs - old_logprobs).detach().exp()[weights != 0]
        calls.append((clip, (ratio - 1).abs().max().item(), denominator == weights.sum()))
        return policy_loss(logprobs, old_logprobs, advantages, weights, clip, denominator)

    monkeypatch.setattr(trainer, "policy_loss", recorded)
    metrics, _ = made.update(batch_of(made), 0)
    (clip, first, whole), (_, second, _) = calls
    assert clip == 0.1 and first < 1e-4 and second > 0.1 and whole
    assert metrics["update_ratio_error"] == pytest.approx(first, abs=1e-6) and metrics["clip_fraction"] > 0


def test_bfloat16_computes_coarsely_and_keeps_its_weights_in_float32(tokenizer, monkeypatch):
    """An update of 1e-5 would vanish in weights of bfloat16. The ratio is measured as ever, and as coarse."""
    made, exact = (
        trainer_of(tokenizer, precision=precision, learning_rate=1e-5, warmup=0, monkeypatch=monkeypatch)
        for precision in ("bfloat16", "float32")
    )
    before, step = copy.deepcopy(made.senior.state_dict()), made.optimizer.step
    monkeypatch.setattr(
        made.optimizer, "step", lambda: step() if made.senior.norm.weight.grad.dtype == torch.float32 else None
    )
    error = made.step(0)[0]["update_ratio_error"]
    assert exact.step(0)[0]["update_ratio_error"] < 1e-4 < error < 0.5
    moved = [(a - b).abs() for a, b in zip(before.values(), made.senior.state_dict().values(), strict=True)]
    assert all(p.dtype == torch.float32 for p in made.senior.parameters())
    assert all(0 < step.max() < 2e-5 for step in moved)


def test_no_gradient_takes_memory_while_responses_are_written(tokenizer, monkeypatch):
    made = trainer_of(tokenizer, monkeypatch=monkeypatch)
    metrics, _, _ = made.step(0)
    assert metrics["grad_norm"] > 0 and all(p.grad is None for p in made.senior.parameters())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_checkpointed_activations_change_no_update(tokenizer, precision):
    pair = [trainer_of(tokenizer, checkpoint_activations=on, precision=precision, warmup=0) for on in (False, True)]
    batch = batch_of(pair[0])
    (stats, _), (again, _) = (made.update(batch, 0) for made in pair)
    assert pair[1].senior.checkpoint_activations and stats == again and stats["grad_norm"] > 0
    assert all(torch.equal(a, b) for a, b in zip(*(made.senior.parameters() for made in pair), strict=True))


def test_gradients_are_clipped_and_weights_decay_only_if_asked(tokenizer):
    made = trainer_of(tokenizer, grad_clip=1e-3)
    metrics, _ = made.update(batch_of(made), 0)
    norm = torch.stack([p.grad.norm() for p in made.senior.parameters()]).norm()
    assert metrics["grad_norm"] > 1e-3 and norm.item() == pytest.approx(1e-3, rel=1e-2)
    assert made.optimizer.param_groups[0]["weight_decay"] == 0
    assert trainer_of(tokenizer, weight_decay=0.5).optimizer.param_groups[0]["weight_decay"] == 0.5


@pytest.mark.parametrize("estimator", ["k3", "exact"])
def test_the_kl_penalty_is_the_mean_over_the_seniors_tokens(tokenizer, estimator):
    """Against a float64 loop, at the temperature that sampled."""
    made = trainer_of(tokenizer, kl_coef=0.3, kl_estimator=estimator, temperature=0.8)
    batch = batch_of(made, torch.ones(8))  # no advantage: the penalty is all there is
    senior, junior = copy.deepcopy(made.senior).double(), copy.deepcopy(made.junior).double()
    values = []
    for row, prompt in enumerate(batch.rollout.prompts):
        text = list(prompt)
        for t in range(int(batch.rollout.mask[row].sum())):
            token = int(batch.rollout.tokens[row, t])
            if batch.rollout.authorship[row, t]:
                with torch.no_grad():
                    p, q = ((m(torch.tensor([text]))[0, -1] / 0.8).log_softmax(dim=0) for m in (senior, junior))
                d = q[token] - p[token]
                values.append((p.exp() * (p - q)).sum().item() if estimator == "exact" else (d.exp() - d - 1).item())
            text.append(token)
    loss, _ = objective(made.senior, made.junior, batch, made.config, batch.weights.sum())
    assert loss.item() == pytest.approx(0.3 * sum(values) / len(values), rel=1e-4)


@pytest.mark.parametrize("estimator", ["k3", "exact"])
def test_the_kl_penalty_pulls_toward_the_junior(tokenizer, estimator):
    """With no advantage in the batch the penalty alone trains; its value falls."""
    made = trainer_of(
        tokenizer, schedule="solo", kl_coef=1.0, kl_estimator=estimator, learning_rate=1e-2, warmup=0, prompts=4
    )
    batch = batch_of(made, torch.ones(16))
    losses = [made.update(batch, step)[0]["loss"] for step in range(25)]
    assert losses[0] > 0.1 and losses[-1] < 0.5 * losses[0]


def test_the_ema_baseline_is_the_mean_before_this_batch(tokenizer):
    made = trainer_of(tokenizer, baseline="ema")
    batch_of(made, torch.ones(8))
    assert made.running_mean == 1.0
    batch = batch_of(made, torch.zeros(8))
    assert (batch.advantages == -1).all() and made.running_mean == pytest.approx(0.9)


@pytest.mark.parametrize("schedule", ["word", "solo"])
def test_the_metrics_of_a_step_are_those_of_its_batch(tokenizer, monkeypatch, schedule):
    """Every number but those of the update, recounted token by token; and each response is held to its own answer."""
    seen = {}

    def judge(texts, answers):
        seen.update(texts=texts, answers=answers)
        return [i % 3 == 0 for i in range(len(texts))]

    made = trainer_of(tokenizer, schedule=schedule, prompts=4, max_new_tokens=20)
    made.senior.embedding.weight.data[tokenizer.end] *= 3  # so that some responses end
    monkeypatch.setattr(trainer.reward, "verify_batch", judge)
    metrics, batch, problems = made.step(3)
    r = batch.rollout
    assert seen["answers"] == [p.answer for p in problems for _ in range(4)]
    assert r.prompts == [tokenizer.encode(p.prompt) for p in problems for _ in range(4)]
    senior = junior = changes = truncated = 0
    for row, mask in enumerate(r.mask.tolist()):
        authors = [a for a, m in zip(r.authorship[row].tolist(), mask, strict=True) if m]
        tokens = [t for t, m in zip(r.tokens[row].tolist(), mask, strict=True) if m]
        assert tokenizer.decode(tokens) == seen["texts"][row]
        senior, junior = senior + sum(authors), junior + len(authors) - sum(authors)
        changes += sum(a != b for a, b in itertools.pairwise(authors))
        truncated += tokens[-1] != tokenizer.end
        assert batch.weights[row].tolist() == [float(a) for a in r.authorship[row].tolist()]
    rewards = [i % 3 == 0 for i in range(16)]
    assert metrics["step"] == 3 and metrics["reward"] == pytest.approx(sum(rewards) / 16)
    assert metrics["senior_fraction"] == pytest.approx(senior / (senior + junior))
    assert (junior == 0) == (schedule == "solo") and metrics["handoffs"] == pytest.approx(changes / 16)
    assert metrics["response_length"] == pytest.approx((senior + junior) / 16)
    assert 0 < truncated < 16 and metrics["truncated_fraction"] == pytest.approx(truncated / 16)
    assert metrics["zero_advantage_fraction"] == 0 and metrics["skipped_updates"] == 0
    for i in range(4):  # advantages: within the group of one prompt
        group = rewards[4 * i : 4 * i + 4]
        expected = [reward - sum(group) / 4 for reward in group]
        assert batch.advantages[4 * i : 4 * i + 4].tolist() == pytest.approx(expected)


def test_every_step_has_problems_and_random_numbers_of_its_own(tokenizer, monkeypatch):
    runs = []
    for seed, step in ((0, 0), (0, 0), (0, 1), (1, 0)):
        made = trainer_of(tokenizer, seed=seed, monkeypatch=monkeypatch)
        _, batch, problems = made.step(step)
        runs.append((problems, batch.rollout.authorship.tolist()))
    assert runs[0] == runs[1]
    assert all(runs[i][0] != runs[j][0] for i, j in ((0, 2), (0, 3), (2, 3)))
    made, problems = trainer_of(tokenizer), take("train", 2, 0)
    first, again, other = (made.roll_out(problems, step) for step in (0, 0, 1))
    assert torch.equal(first.tokens, again.tokens) and not torch.equal(first.tokens, other.tokens)


def test_options_reach_the_sampler(tokenizer, monkeypatch):
    seen = {}

    def recorded(senior, junior, prompts, handoff, **arguments):
        seen.update(arguments, junior=junior, handoff=handoff)
        return generate(senior, junior, prompts, handoff, **arguments)

    monkeypatch.setattr(rollout, "generate", recorded)
    options = dict(schedule="chunk", p_senior=0.3, max_gap=7, chunk=5, temperature=0.9, max_new_tokens=11)
    made = trainer_of(tokenizer, **options)
    batch_of(made)
    handoff = seen["handoff"]
    assert (handoff.schedule, handoff.p_senior, handoff.max_gap, handoff.chunk) == ("chunk", 0.3, 7, 5)
    assert (seen["temperature"], seen["max_new_tokens"], seen["junior"]) == (0.9, 11, made.junior)
    assert (seen["end"], seen["pad"]) == (tokenizer.end, tokenizer.pad)
    assert "top_p" not in seen and "top_k" not in seen
    batch_of(trainer_of(tokenizer, schedule="solo"))
    assert seen["junior"] is None
    assert evaluate.sampling(Config(eval_temperature=0.4, max_gap=9)).temperature == 0.4


def test_learning_rate_warms_up_and_stays(tokenizer):
    made = trainer_of(tokenizer, learning_rate=1e-3, warmup=4)
    rates = []
    for step in range(6):
        made.update(batch_of(made), step)
        rates.append(made.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3, 1e-3])


def test_a_lost_authorship_stops_the_run(tokenizer, monkeypatch):
    """An authorship that is always the senior's would be plain RL under the name of tandem RL."""
    made = trainer_of(tokenizer, prompts=8)

    monkeypatch.setattr(tandem.Handoff, "_draw", lambda handoff: torch.ones_like(handoff.rows, dtype=torch.bool))
    with pytest.raises(UserError, match="stopped at step 0: the senior got"):
        for step in range(20):
            made.roll_out(take("train", 8, step), 0)
