"""Handoff, advantages and the loss, each against a loop written from the page."""

import itertools
import math
from typing import get_args

import pytest
import torch
from conftest import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from data.tokenizer import Tiktoken
from rollout import make_handoff
from tandem import (
    Handoff,
    Schedule,
    Uniforms,
    advantages,
    check_authorship,
    kl_exact,
    kl_k3,
    policy_loss,
)

pytestmark = pytest.mark.fast

SCHEDULES = get_args(Schedule)
V = 10
BOUNDARY = torch.arange(V) < 3  # tokens 0, 1, 2 begin a word
DELIMITER = torch.arange(V) == 9
FIRST_HALF = torch.arange(V) > 6  # tokens 7, 8, 9 end in a first half
SECOND_HALF = torch.arange(V) % 2 == 0  # even tokens begin with a second half
HALVES = (FIRST_HALF, SECOND_HALF)


def torch_generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_tokens(rows: int, length: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(0, V, (rows, length), generator=torch_generator(seed))


def flat_logprobs(rows: int) -> list[torch.Tensor]:
    """Of both models, which know nothing.  (B, V) each"""
    return [torch.full((rows, V), -math.log(V))] * 2


def authors_of(handoff: Handoff, tokens: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """The author of every token of (B, T)."""
    B, T = tokens.shape
    authors = [handoff.start(B, torch_generator(seed))]
    for t in range(T - 1):
        authors.append(handoff.next(tokens[:, t], flat_logprobs(B)))
    return torch.stack(authors, dim=1)


def drawn_numbers(rows: int, calls: int, seed: int) -> torch.Tensor:
    """The numbers that a generator of this seed gives to each call.  (calls, B)"""
    generator = torch_generator(seed)
    numbers = [torch.rand(rows, generator=generator) for _ in range(calls)]
    return torch.stack(numbers)


# ---- Who writes ---------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 8),
    calls=st.integers(1, 12),
    seed=st.integers(0, 1000),
)
def test_every_call_draws_a_number_for_all_rows_and_kept_rows_and_parts_see_their_own(
    rows, calls, seed
):
    """A row's numbers are a matrix's column, whichever rows are kept and wherever a part begins."""
    matrix = drawn_numbers(rows, 2 * calls, seed)  # (calls, B)
    chooser = torch_generator(seed + 1)
    uniforms = Uniforms(rows, torch_generator(seed))
    present = torch.arange(rows)
    for call in range(calls):
        assert torch.equal(uniforms(), matrix[call, present])
        count = max(1, len(present) - call % 2)
        kept = torch.randperm(len(present), generator=chooser)[:count]
        uniforms = uniforms.at(kept)
        present = present[kept]
    # A part leaves the whole as it was.
    part = uniforms.part(torch.arange(len(present)))
    of_the_part = [part() for _ in range(calls)]
    of_the_whole = [uniforms() for _ in range(calls)]
    expected = matrix[calls:, present]
    assert torch.equal(torch.stack(of_the_part), expected)
    assert torch.equal(torch.stack(of_the_whole), expected)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 6),
    length=st.integers(1, 30),
    max_gap=st.integers(1, 6),
    seed=st.integers(0, 999),
    p=st.sampled_from([0, 0.5, 0.8, 1]),
)
def test_word_redraws_after_a_boundary_or_at_the_gap_and_nowhere_else(
    rows, length, max_gap, seed, p
):
    """The gap is counted from the last draw. A plain loop says where draws fall."""
    tokens = random_tokens(rows, length, seed)
    handoff = Handoff("word", p_senior=p, max_gap=max_gap, boundary=BOUNDARY)
    authors = authors_of(handoff, tokens, seed)  # (B, T)
    uniforms = drawn_numbers(rows, length, seed)  # (T, B)
    for row in range(rows):
        gap = 0
        author = bool(uniforms[0, row] < p)
        for t in range(length):
            assert authors[row, t] == author
            gap += 1
            new_word = tokens[row, t] < 3
            if t + 1 < length and (new_word or gap == max_gap):
                gap = 0
                author = bool(uniforms[t + 1, row] < p)


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_word_draws_are_fair_and_independent_across_rows_and_along_them(p):
    """40,000 draws. A bound of 5 standard deviations gives a false alarm once in 10⁵ at most."""
    # Every token begins a word, so every author is drawn.
    tokens = torch.zeros(200, 200, dtype=torch.long)  # (B, T)
    handoff = Handoff("word", p_senior=p, boundary=BOUNDARY)
    authors = authors_of(handoff, tokens, seed=3).double()  # (B, T)
    deviation = math.sqrt(p * (1 - p))
    bound = 5 / math.sqrt(authors.numel())
    assert abs(authors.mean() - p) < bound * deviation
    centred = (authors - p) / deviation
    between_rows = centred[1:] * centred[:-1]
    along_a_row = centred[:, 1:] * centred[:, :-1]
    assert abs(between_rows.mean()) < 5 / math.sqrt(between_rows.numel())
    assert abs(along_a_row.mean()) < 5 / math.sqrt(along_a_row.numel())


def strict_turns(schedule: str, tokens: list[int], chunk: int, halves: bool) -> list[bool]:
    """The author of every token, from the table of schedules."""
    author = True
    written = 0
    before = 0  # the token before; 0 ends in no first half
    authors = []
    for token in tokens:
        authors.append(author)
        written += 1
        delimiter = token == 9
        in_two_halves = halves and before > 6 and token % 2 == 0
        over = {
            "step": delimiter or in_two_halves,
            "chunk": written == chunk,
            "alternate": True,
            "solo": False,
        }
        if over[schedule]:
            author = not author
            written = 0
        before = token
    return authors


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("halves", [None, HALVES])
def test_authors_are_those_of_the_table_and_the_same_when_other_rows_are_dropped(schedule, halves):
    """Strict turns against a plain loop, and all of them against the whole batch."""

    def new() -> Handoff:
        return Handoff(
            schedule,
            max_gap=4,
            chunk=3,
            boundary=BOUNDARY,
            delimiter=DELIMITER,
            halves=halves,
        )

    tokens = random_tokens(40, 50)
    whole = authors_of(new(), tokens, seed=5)
    if schedule in ("step", "chunk", "alternate", "solo"):
        for authors, row in zip(whole.tolist(), tokens.tolist(), strict=True):
            assert authors == strict_turns(schedule, row, 3, halves is not None)

    handoff = new()
    rows = torch.arange(40)
    chooser = torch_generator(6)
    author = handoff.start(40, torch_generator(5))
    for t in range(49):
        assert torch.equal(author, whole[rows, t])
        if t % 3 == 0 and len(rows) > 2:
            shuffled = torch.randperm(len(rows), generator=chooser)
            kept = shuffled[:-2].sort().values
            handoff.select(kept)
            rows = rows[kept]
        author = handoff.next(tokens[rows, t], flat_logprobs(len(rows)))
    assert len(rows) == 6


def test_a_blank_line_of_two_tokens_ends_a_step():
    """No token of single bytes contains a blank line. The junior gets its turns all the same."""
    tokenizer = Tiktoken({bytes([b]): b for b in range(256)})
    ids = tokenizer.encode("3 + 4 = 7.\n\n7 + 1\n= 8.\n\n8 - 2 = 6.")
    assert not tokenizer.delimiter()[ids].any()
    handoff = make_handoff("step", tokenizer, tiny(0, vocab_size=258))
    authors = authors_of(handoff, torch.tensor([ids]))[0].tolist()
    by_junior = [i for i, senior in zip(ids, authors, strict=True) if not senior]
    assert tokenizer.decode(by_junior) == "7 + 1\n= 8.\n\n"


ONE_HALF = (DELIMITER,)
HALF_A_LIST = (DELIMITER, [True])
BAD_HANDOFFS = [
    ("schedule", dict(schedule="words")),
    ("chunk", dict(schedule="chunk", chunk=0)),
    ("p_senior", dict(schedule="token", p_senior=1.5)),
    ("p_senior", dict(schedule="token", p_senior=-0.1)),
    ("p_senior", dict(schedule="token", p_senior=float("nan"))),
    ("p_senior", dict(schedule="token", p_senior="0.5")),
    ("max_gap", dict(schedule="token", max_gap=0)),
    ("max_gap", dict(schedule="token", max_gap=2.5)),
    ("boundary", dict(schedule="word", boundary=None)),
    ("boundary", dict(schedule="word", boundary=BOUNDARY.long())),
    ("boundary", dict(schedule="word", boundary=[True, False])),
    ("delimiter", dict(schedule="step")),
    ("halves", dict(schedule="step", delimiter=DELIMITER, halves=ONE_HALF)),
    ("halves", dict(schedule="step", delimiter=DELIMITER, halves=HALF_A_LIST)),
]


def test_bad_handoffs_name_the_argument():
    for name, arguments in BAD_HANDOFFS:
        with pytest.raises(ValueError, match=name):
            Handoff(**arguments)


def test_an_author_who_never_writes_although_due_stops_the_run():
    def word(p: float) -> Handoff:
        return Handoff("word", p_senior=p, boundary=BOUNDARY)

    alternate = Handoff("alternate")
    chunk = Handoff("chunk")
    for handoff in (word(0.5), word(0.01), alternate, chunk):
        check_authorship(handoff, 1, 5000)
        check_authorship(handoff, 5000, 1)
        check_authorship(handoff, 0, 999)  # too few to tell
        with pytest.raises(RuntimeError, match="junior wrote none"):
            check_authorship(handoff, 2000, 0)
        with pytest.raises(RuntimeError, match="senior wrote none"):
            check_authorship(handoff, 0, 1000)
    check_authorship(word(1), 2000, 0)
    check_authorship(word(0), 0, 2000)
    check_authorship(Handoff("solo"), 2000, 0)
    with pytest.raises(RuntimeError, match="solo"):
        check_authorship(Handoff("solo"), 2000, 1)
    with pytest.raises(RuntimeError, match="solo"):
        check_authorship(Handoff("solo"), 0, 1)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_as_many_tokens_as_rows_are_asked_for(schedule):
    """A row that is dropped elsewhere but not here would get another row's author."""
    mask = torch.ones(9, dtype=torch.bool)  # (V,)
    handoff = Handoff(schedule, boundary=mask, delimiter=mask)
    two = torch.zeros(2, dtype=torch.long)  # (B,)
    handoff.start(4)
    with pytest.raises(ValueError, match="tokens"):
        handoff.next(two)
    with pytest.raises(ValueError, match="tokens"):
        handoff.next(torch.zeros(4, 1, dtype=torch.long))
    handoff.select(torch.tensor([0, 3]))
    assert handoff.next(two).shape == (2,)


# ---- What a response is worth -------------------------------------------------------------------

REWARDS = [
    [1, 0, 0, 1],
    [1, 1, 1, 1],
    [0, 0, 0, 0],
    [0.5, 2, -1, 0],
]


@pytest.mark.parametrize("baseline", ["group", "rloo", "ema", "none"])
@pytest.mark.parametrize("std", [False, True])
def test_advantages_are_those_of_the_equations(baseline, std):
    rewards = torch.tensor(REWARDS, dtype=torch.double).flatten()
    found = advantages(rewards, 4, baseline, normalize_std=std, running_mean=0.3)
    expected = []
    for group in REWARDS:
        mean = sum(group) / 4
        variance = sum((r - mean) ** 2 for r in group) / 3
        divisor = math.sqrt(variance) + 1e-6 if std else 1
        for r in group:
            mean_of_the_others = (sum(group) - r) / 3
            baselines = {"group": mean, "rloo": mean_of_the_others, "ema": 0.3, "none": 0.0}
            expected.append((r - baselines[baseline]) / divisor)
    expected = torch.tensor(expected, dtype=torch.double)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)
    assert found.data_ptr() != rewards.data_ptr()


def test_advantages_of_bools_are_float32():
    rewards = torch.tensor(REWARDS).flatten()
    assert advantages(rewards > 0, 4).dtype == torch.float32


BAD_ADVANTAGES = [
    ("group_size", dict(group_size=3)),
    ("group_size", dict(group_size=0)),
    ("group_size", dict(group_size=1, baseline="rloo")),
    ("group_size", dict(group_size=1, normalize_std=True)),
    ("baseline", dict(group_size=4, baseline="mean")),
    ("running_mean", dict(group_size=4, baseline="ema")),
]


def test_bad_advantages_name_the_argument():
    for name, arguments in BAD_ADVANTAGES:
        with pytest.raises(ValueError, match=name):
            advantages(torch.zeros(8), **arguments)


# ---- The loss -----------------------------------------------------------------------------------


def loss_inputs(rows=6, length=9, seed=0):
    """Random log-probs, old log-probs, advantages, and weights of 0, 0.15 and 1."""
    shape = (rows, length)
    generator = torch_generator(seed)
    logprobs = -torch.rand(shape, generator=generator) * 3
    old = logprobs + 0.4 * torch.randn(shape, generator=generator)
    advantage = torch.randn(rows, generator=generator)
    kinds = torch.randint(0, 3, shape, generator=generator)
    weights = torch.tensor([0.0, 0.15, 1.0])[kinds]
    return logprobs, old, advantage, weights


@pytest.mark.parametrize("clip", [None, 0.2])
def test_the_loss_is_that_of_the_equations(clip):
    logprobs, old, advantage, weights = (x.double() for x in loss_inputs())
    total = kl = clipped = worst = 0.0
    for row, t in itertools.product(range(6), range(9)):
        w = weights[row, t].item()
        a = advantage[row].item()
        logprob = logprobs[row, t].item()
        ratio = math.exp(logprob - old[row, t].item())
        if w == 0:
            continue
        if clip is None:
            total += w * -a * logprob
        else:
            kept = min(max(ratio, 1 - clip), 1 + clip)
            total += w * -min(ratio * a, kept * a)
            clipped += w * (abs(ratio - 1) > clip)
        kl += w * (ratio - 1 - math.log(ratio))
        worst = max(worst, abs(ratio - 1))
    loss, stats = policy_loss(logprobs, old, advantage, weights, clip)
    weight = weights.sum().item()
    assert loss.item() == approx(total / weight, rel=1e-12)
    assert stats["approx_kl"].item() == approx(kl / weight, rel=1e-9)
    assert stats["clip_fraction"].item() == approx(clipped / weight, rel=1e-6)
    assert stats["ratio_error"].item() == approx(worst, rel=1e-9)


@pytest.mark.parametrize("clip", [None, 0.2])
def test_one_global_denominator_makes_micro_batches_add_up(clip):
    logprobs, old, advantage, weights = loss_inputs()
    logprobs.requires_grad_(True)
    whole, stats = policy_loss(logprobs, old, advantage, weights, clip)
    (gradient,) = torch.autograd.grad(whole, logprobs)

    total = weights.sum()
    losses = []
    part_stats = []
    for rows in ([0], [1, 2, 3], [4, 5]):
        part = (tensor[rows] for tensor in (logprobs, old, advantage, weights))
        loss, found = policy_loss(*part, clip, total)
        losses.append(loss)
        part_stats.append(found)
    summed = sum(losses)
    (summed_gradient,) = torch.autograd.grad(summed, logprobs)
    assert summed.item() == approx(whole.item(), abs=1e-6)
    torch.testing.assert_close(summed_gradient, gradient, atol=1e-6, rtol=0)
    for name in ("approx_kl", "clip_fraction"):
        added = sum(found[name] for found in part_stats)
        assert added.item() == approx(stats[name].item(), abs=1e-6)


@pytest.mark.parametrize("clip", [None, 0.2])
@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_positions_of_zero_weight_may_hold_anything(clip, garbage):
    logprobs, old, advantage, weights = loss_inputs()
    clean = logprobs.clone().requires_grad_(True)
    expected, _ = policy_loss(clean, old, advantage, weights, clip)
    expected.backward()

    idle = weights == 0
    dirty = logprobs.masked_fill(idle, garbage).requires_grad_(True)
    dirty_old = old.masked_fill(idle, -garbage)
    loss, stats = policy_loss(dirty, dirty_old, advantage, weights, clip)
    loss.backward()
    assert loss.item() == expected.item()
    assert torch.equal(dirty.grad, clean.grad)
    assert (dirty.grad[idle] == 0).all()
    assert all(value.isfinite() for value in stats.values())


def test_weights_that_are_all_0_or_shapes_that_do_not_fit_are_an_error_and_no_rows_are_none():
    logprobs, old, advantage, weights = loss_inputs()
    no_weight = torch.zeros_like(weights)
    with pytest.raises(ValueError, match="weights"):
        policy_loss(logprobs, old, advantage, no_weight)
    loss, _ = policy_loss(logprobs, old, advantage, no_weight, denominator=3.0)
    assert loss == 0
    # (N, 1) would broadcast to (N, N, T).
    with pytest.raises(ValueError, match="advantages"):
        policy_loss(logprobs, old, advantage[:, None], weights)  # neither (N,) nor (N, T)
    no_rows = torch.zeros(0, 9)
    loss, _ = policy_loss(no_rows, no_rows, torch.zeros(0), no_rows, denominator=1.0)
    assert loss == 0


@pytest.mark.parametrize("clip", [None, 0.2, math.inf])
def test_advantages_of_tokens_are_each_tokens_own(clip):
    """A response's advantage is that of all its tokens. A batch is the sum of its columns."""
    logprobs, old, advantage, weights = loss_inputs()
    N, T = weights.shape
    of_tokens = advantage[:, None].expand(N, T)
    by_response, _ = policy_loss(logprobs, old, advantage, weights, clip)
    by_token, _ = policy_loss(logprobs, old, of_tokens, weights, clip)
    assert by_token == by_response
    of_tokens = of_tokens * torch.arange(T)
    whole, _ = policy_loss(logprobs, old, of_tokens, weights, clip)
    total = weights.sum()
    columns = 0.0
    for t in range(T):
        column = slice(t, t + 1)
        arguments = [x[:, column] for x in (logprobs, old, of_tokens, weights)]
        columns += policy_loss(*arguments, clip, total)[0]
    assert whole.item() == approx(columns.item(), rel=1e-5)


def test_an_infinite_clip_is_reinforce_with_its_ratio():
    logprobs, old, advantage, weights = loss_inputs()
    logprobs.requires_grad_(True)
    loss, stats = policy_loss(logprobs, old, advantage, weights, math.inf)
    loss.backward()
    ratio = (logprobs - old).exp().detach()
    expected = -ratio * advantage[:, None] * weights / weights.sum()
    torch.testing.assert_close(logprobs.grad, expected)
    torch.testing.assert_close(loss.detach(), expected.sum())
    assert stats["clip_fraction"] == 0


def test_a_ratio_beyond_floating_point_has_a_finite_gradient():
    logprobs = torch.tensor([[-0.1, -1.0]], requires_grad=True)
    old = torch.tensor([[-200.0, -1.0]])
    weights = torch.ones(1, 2)
    loss, _ = policy_loss(logprobs, old, torch.ones(1), weights, clip=0.2)
    loss.backward()
    assert loss.isfinite()
    assert logprobs.grad.isfinite().all()


def test_the_gradient_at_the_first_update_is_reinforce_whether_clipped_or_not():
    logprobs, _, advantage, weights = loss_inputs()
    gradients = []
    for clip in (None, 0.2):
        leaf = logprobs.clone().requires_grad_(True)
        loss, _ = policy_loss(leaf, logprobs, advantage, weights, clip)
        loss.backward()
        gradients.append(leaf.grad)
    reinforce, clipped = gradients
    expected = -advantage[:, None] * weights / weights.sum()  # (N, T)
    torch.testing.assert_close(reinforce, expected)
    torch.testing.assert_close(clipped, reinforce)


def test_kl_estimators():
    """The exact KL is that of the sum. The estimates of k3 have it as their expectation."""
    logits = torch.randn(2, 5, dtype=torch.double, generator=torch_generator(0))
    senior, junior = logits.log_softmax(dim=-1)  # (V,) each
    exact = 0.0
    for s, j in zip(senior.tolist(), junior.tolist(), strict=True):
        exact += math.exp(s) * (s - j)
    assert kl_exact(senior, junior).item() == approx(exact, rel=1e-12)

    # A row for each token.
    tokens = torch.arange(5)
    rows = senior.expand(5, 5)
    other_rows = junior.expand(5, 5)
    estimates = kl_k3(rows, other_rows, tokens)  # (V,)
    expectation = (senior.exp() * estimates).sum()  # over the senior's own tokens
    assert expectation.item() == approx(exact, rel=1e-12)
    assert (estimates >= 0).all()
    assert (kl_k3(rows, rows, tokens) == 0).all()
