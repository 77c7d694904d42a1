"""Handoff, advantages and the loss, each against a loop written from the page."""

import itertools
import math

import pytest
import torch
from conftest import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from data.tokenizer import Tiktoken
from rollout import make_handoff
from tandem import Handoff, Uniforms, advantages, check_authorship, kl_exact, kl_k3, policy_loss

V = 10
BOUNDARY = torch.arange(V) < 3  # tokens 0, 1, 2 begin a word
DELIMITER = torch.arange(V) == 9
HALVES = (
    torch.arange(V) > 6,
    torch.arange(V) % 2 == 0,
)  # tokens 7, 8, 9 end in a first half; even ones begin a second


def authors_of(handoff: Handoff, tokens: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """The author of every token of (B, T)."""
    generator = torch.Generator().manual_seed(seed)
    authors = [handoff.start(len(tokens), generator)]
    authors += [handoff.next(tokens[:, t]) for t in range(tokens.shape[1] - 1)]
    return torch.stack(authors, dim=1)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.integers(1, 12), st.integers(0, 1000))
def test_every_call_draws_a_number_for_all_rows_and_kept_rows_and_parts_see_their_own(
    rows, calls, seed
):
    """The numbers of a row are the column of a matrix, whichever rows are kept and wherever a part begins."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.stack(
        [torch.rand(rows, generator=generator) for _ in range(2 * calls)]
    )  # (calls, B)
    uniforms, chooser = (
        Uniforms(rows, torch.Generator().manual_seed(seed)),
        torch.Generator().manual_seed(seed + 1),
    )
    present = torch.arange(rows)
    for call in range(calls):
        assert torch.equal(uniforms(), matrix[call, present])
        kept = torch.randperm(len(present), generator=chooser)[: max(1, len(present) - call % 2)]
        uniforms, present = uniforms.at(kept), present[kept]
    part = uniforms.part(torch.arange(len(present)))
    first, again = (
        [part() for _ in range(calls)],
        [uniforms() for _ in range(calls)],
    )  # a part leaves the whole as it was
    for numbers in (first, again):
        assert torch.equal(torch.stack(numbers), matrix[calls:, present])


def random_tokens(rows: int, length: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(0, V, (rows, length), generator=torch.Generator().manual_seed(seed))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(1, 30),
    st.integers(1, 6),
    st.integers(0, 999),
    st.sampled_from([0, 0.5, 0.8, 1]),
)
def test_word_redraws_after_a_boundary_or_at_the_gap_and_nowhere_else(
    rows, length, max_gap, seed, p
):
    """The counter restarts at each draw, whatever drew it: a second counter, in a plain loop, says where draws fall."""
    tokens = random_tokens(rows, length, seed)
    handoff = Handoff("word", p_senior=p, max_gap=max_gap, boundary=BOUNDARY)
    authors = authors_of(handoff, tokens, seed)
    generator = torch.Generator().manual_seed(seed)
    uniforms = torch.stack(
        [torch.rand(rows, generator=generator) for _ in range(length)], dim=1
    )  # (B, T)
    for row in range(rows):
        gap, author = 0, bool(uniforms[row, 0] < p)
        for t in range(length):
            assert authors[row, t] == author
            gap += 1
            if t + 1 < length and (tokens[row, t] < 3 or gap == max_gap):
                gap, author = 0, bool(uniforms[row, t + 1] < p)


def test_word_draws_are_fair_and_independent_across_rows_and_along_them():
    """40,000 draws at each p. Each bound is 5 standard deviations: a false alarm has a chance below 1 in 10⁵."""
    rows, length = 200, 200
    tokens = torch.zeros(
        rows, length, dtype=torch.long
    )  # every token begins a word: every author is drawn
    for p in (0.2, 0.5, 0.9):
        handoff = Handoff("word", p_senior=p, boundary=BOUNDARY)
        authors = authors_of(handoff, tokens, seed=3).double()  # (B, T)
        n = authors.numel()
        assert abs(authors.mean() - p) < 5 * math.sqrt(p * (1 - p) / n)
        centred = (authors - p) / math.sqrt(p * (1 - p))
        for neighbours in (
            centred[1:] * centred[:-1],
            centred[:, 1:] * centred[:, :-1],
        ):  # between rows, along a row
            assert abs(neighbours.mean()) < 5 / math.sqrt(neighbours.numel())


def strict_turns(schedule: str, tokens: list[int], chunk: int, halves: bool) -> list[bool]:
    """The author of every token, from the table of schedules."""
    author, written, authors = True, 0, []
    for t, token in enumerate(tokens):
        authors.append(author)
        written += 1
        ended = token == 9 or (halves and t > 0 and tokens[t - 1] > 6 and token % 2 == 0)
        if (
            (schedule == "step" and ended)
            or (schedule == "chunk" and written == chunk)
            or schedule == "alternate"
        ):
            author, written = not author, 0
    return authors


@pytest.mark.parametrize("schedule", ["word", "token", "step", "chunk", "alternate", "solo"])
@pytest.mark.parametrize("halves", [None, HALVES])
def test_authors_are_those_of_the_table_and_the_same_when_other_rows_are_dropped(schedule, halves):
    """Strict turns against a plain loop; drawn ones, whose loop is above, against the whole batch."""
    tokens = random_tokens(40, 50)
    new = lambda: Handoff(
        schedule, max_gap=4, chunk=3, boundary=BOUNDARY, delimiter=DELIMITER, halves=halves
    )
    whole = authors_of(new(), tokens, seed=5)
    if schedule not in ("word", "token"):
        expected = [strict_turns(schedule, row, 3, halves is not None) for row in tokens.tolist()]
        assert whole.tolist() == expected
    handoff, rows, chooser = new(), torch.arange(40), torch.Generator().manual_seed(6)
    author = handoff.start(40, torch.Generator().manual_seed(5))
    for t in range(49):
        assert torch.equal(author, whole[rows, t])
        if t % 3 == 0 and len(rows) > 2:
            kept = torch.randperm(len(rows), generator=chooser)[:-2].sort().values
            handoff.select(kept)
            rows = rows[kept]
        author = handoff.next(tokens[rows, t])
    assert len(rows) == 6


def test_a_blank_line_of_two_tokens_ends_a_step():
    """A vocabulary of single bytes, in which no token contains a blank line: the junior gets its turns all the same."""
    tokenizer = Tiktoken({bytes([b]): b for b in range(256)})
    ids = tokenizer.encode("3 + 4 = 7.\n\n7 + 1\n= 8.\n\n8 - 2 = 6.")
    assert not tokenizer.delimiter()[ids].any()
    handoff = make_handoff("step", tokenizer, tiny(0, vocab_size=258))
    authors = authors_of(handoff, torch.tensor([ids]))[0].tolist()
    by_junior = [i for i, senior in zip(ids, authors, strict=True) if not senior]
    assert tokenizer.decode(by_junior) == "7 + 1\n= 8.\n\n"


def test_bad_handoffs_name_the_argument():
    bad = [("schedule", dict(schedule="words")), ("chunk", dict(schedule="chunk", chunk=0))]
    bad += [
        ("p_senior", dict(schedule="token", p_senior=p)) for p in (1.5, -0.1, float("nan"), "0.5")
    ]
    bad += [("max_gap", dict(schedule="token", max_gap=gap)) for gap in (0, 2.5)]
    bad += [
        ("boundary", dict(schedule="word", boundary=mask))
        for mask in (None, BOUNDARY.long(), [True, False])
    ]
    bad += [("delimiter", dict(schedule="step"))]
    for halves in ((DELIMITER,), (DELIMITER, [True])):
        bad.append(("halves", dict(schedule="step", delimiter=DELIMITER, halves=halves)))
    for name, arguments in bad:
        with pytest.raises(ValueError, match=name):
            Handoff(arguments.pop("schedule"), **arguments)


def test_an_author_who_never_writes_although_due_stops_the_run():
    word = lambda p: Handoff("word", p_senior=p, boundary=BOUNDARY)
    for handoff in (word(0.5), word(0.01), Handoff("alternate"), Handoff("chunk")):
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
    for tokens in ((2000, 1), (0, 1)):
        with pytest.raises(RuntimeError, match="solo"):
            check_authorship(Handoff("solo"), *tokens)


REWARDS = [[1, 0, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0], [0.5, 2, -1, 0]]


@pytest.mark.parametrize(
    "baseline, std", [*itertools.product(["group", "rloo", "ema", "none"], [False, True])]
)
def test_advantages_are_those_of_the_equations(baseline, std):
    rewards, expected = torch.tensor(REWARDS, dtype=torch.double).flatten(), []
    found = advantages(rewards, 4, baseline, normalize_std=std, running_mean=0.3)
    for group in REWARDS:
        mean = sum(group) / 4
        deviation = math.sqrt(sum((r - mean) ** 2 for r in group) / 3)
        for r in group:
            subtracted = {"group": mean, "rloo": (sum(group) - r) / 3, "ema": 0.3, "none": 0.0}[
                baseline
            ]
            expected.append((r - subtracted) / (deviation + 1e-6 if std else 1))
    torch.testing.assert_close(
        found, torch.tensor(expected, dtype=torch.double), atol=1e-9, rtol=1e-9
    )
    assert (
        found.data_ptr() != rewards.data_ptr() and advantages(rewards > 0, 4).dtype == torch.float32
    )


def test_bad_advantages_name_the_argument():
    bad = [("group_size", dict(group_size=3)), ("group_size", dict(group_size=0))]
    bad += [
        ("group_size", dict(group_size=1, baseline="rloo")),
        ("group_size", dict(group_size=1, normalize_std=True)),
    ]
    bad += [
        ("baseline", dict(group_size=4, baseline="mean")),
        ("running_mean", dict(group_size=4, baseline="ema")),
    ]
    for name, arguments in bad:
        with pytest.raises(ValueError, match=name):
            advantages(torch.zeros(8), **arguments)


@pytest.mark.parametrize("schedule", ["word", "token", "step", "chunk", "alternate", "solo"])
def test_as_many_tokens_as_rows_are_asked_for(schedule):
    """A forgotten `keep` would be a lost authorship otherwise."""
    handoff = Handoff(
        schedule,
        boundary=torch.ones(9, dtype=torch.bool),
        delimiter=torch.ones(9, dtype=torch.bool),
    )
    handoff.start(4)
    for tokens in (torch.zeros(2, dtype=torch.long), torch.zeros(4, 1, dtype=torch.long)):
        with pytest.raises(ValueError, match="tokens"):
            handoff.next(tokens)
    handoff.select(torch.tensor([0, 3]))
    assert handoff.next(torch.zeros(2, dtype=torch.long)).shape == (2,)


def loss_inputs(rows=6, length=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logprobs = -torch.rand(rows, length, generator=generator) * 3
    old = logprobs + 0.4 * torch.randn(rows, length, generator=generator)
    advantage = torch.randn(rows, generator=generator)
    weights = torch.tensor([0.0, 0.15, 1.0])[
        torch.randint(0, 3, (rows, length), generator=generator)
    ]
    return logprobs, old, advantage, weights


@pytest.mark.parametrize("clip", [None, 0.2])
def test_the_loss_is_that_of_the_equations(clip):
    logprobs, old, advantage, weights = (x.double() for x in loss_inputs())
    total = kl = clipped = worst = 0.0
    for row, t in itertools.product(range(6), range(9)):
        w, a, ratio = (
            weights[row, t].item(),
            advantage[row].item(),
            math.exp(logprobs[row, t] - old[row, t]),
        )
        if clip is None:
            total += w * -a * logprobs[row, t].item()
        else:
            total += w * -min(ratio * a, min(max(ratio, 1 - clip), 1 + clip) * a)
            clipped += w * (abs(ratio - 1) > clip)
        kl += w * (ratio - 1 - math.log(ratio))
        worst = max(worst, abs(ratio - 1) if w else 0)
    loss, stats = policy_loss(logprobs, old, advantage, weights, clip)
    weight = weights.sum().item()
    assert loss.item() == pytest.approx(total / weight, rel=1e-12)
    assert stats["approx_kl"].item() == pytest.approx(kl / weight, rel=1e-9)
    assert stats["clip_fraction"].item() == pytest.approx(clipped / weight, rel=1e-6)
    assert stats["ratio_error"].item() == pytest.approx(worst, rel=1e-9)


@pytest.mark.parametrize("clip", [None, 0.2])
def test_one_global_denominator_makes_micro_batches_add_up(clip):
    logprobs, old, advantage, weights = loss_inputs()
    logprobs.requires_grad_(True)
    whole, stats = policy_loss(logprobs, old, advantage, weights, clip)
    (gradient,) = torch.autograd.grad(whole, logprobs)
    parts = [slice(0, 1), slice(1, 4), slice(4, 6)]
    pieces = [
        policy_loss(logprobs[p], old[p], advantage[p], weights[p], clip, weights.sum())
        for p in parts
    ]
    summed = sum(loss for loss, _ in pieces)
    assert summed.item() == pytest.approx(whole.item(), abs=1e-6)
    torch.testing.assert_close(
        torch.autograd.grad(summed, logprobs)[0], gradient, atol=1e-6, rtol=0
    )
    for name in ("approx_kl", "clip_fraction"):
        assert sum(s[name] for _, s in pieces).item() == pytest.approx(stats[name].item(), abs=1e-6)


@pytest.mark.parametrize("clip", [None, 0.2])
@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_positions_of_zero_weight_may_hold_anything(clip, garbage):
    logprobs, old, advantage, weights = loss_inputs()
    clean = logprobs.clone().requires_grad_(True)
    expected, _ = policy_loss(clean, old, advantage, weights, clip)
    expected.backward()
    idle = weights == 0
    dirty = logprobs.masked_fill(idle, garbage).requires_grad_(True)
    loss, stats = policy_loss(dirty, old.masked_fill(idle, -garbage), advantage, weights, clip)
    loss.backward()
    assert loss.item() == expected.item() and torch.equal(dirty.grad, clean.grad)
    assert (dirty.grad[idle] == 0).all() and all(value.isfinite() for value in stats.values())


def test_weights_that_are_all_0_or_shapes_that_do_not_fit_are_an_error_and_no_rows_are_none():
    logprobs, old, advantage, weights = loss_inputs()
    with pytest.raises(ValueError, match="weights"):
        policy_loss(logprobs, old, advantage, torch.zeros_like(weights))
    assert policy_loss(logprobs, old, advantage, torch.zeros_like(weights), denominator=3.0)[0] == 0
    with pytest.raises(ValueError, match="advantages"):
        policy_loss(logprobs, old, advantage[:, None], weights)  # would broadcast to (N, N, T)
    nothing = torch.zeros(0, 9)
    assert policy_loss(nothing, nothing, torch.zeros(0), nothing, denominator=1.0)[0] == 0


def test_a_ratio_beyond_floating_point_has_a_finite_gradient():
    logprobs = torch.tensor([[-0.1, -1.0]], requires_grad=True)
    old = torch.tensor([[-200.0, -1.0]])
    loss, _ = policy_loss(logprobs, old, torch.ones(1), torch.ones(1, 2), clip=0.2)
    loss.backward()
    assert loss.isfinite() and logprobs.grad.isfinite().all()


def test_the_gradient_at_the_first_update_is_reinforce_whether_clipped_or_not():
    logprobs, _, advantage, weights = loss_inputs()
    gradients = []
    for clip in (None, 0.2):
        leaf = logprobs.clone().requires_grad_(True)
        policy_loss(leaf, logprobs, advantage, weights, clip)[0].backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(gradients[0], -advantage[:, None] * weights / weights.sum())
    torch.testing.assert_close(gradients[1], gradients[0])


def test_kl_estimators():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, dtype=torch.double, generator=generator)
    senior, junior = logits.log_softmax(dim=-1)  # (V,) each
    pairs = zip(senior.tolist(), junior.tolist(), strict=True)
    exact = sum(math.exp(s) * (s - j) for s, j in pairs)
    assert kl_exact(senior, junior).item() == pytest.approx(exact, rel=1e-12)
    rows, other_rows = senior.expand(5, 5), junior.expand(5, 5)  # a row for each token
    estimates = kl_k3(rows, other_rows, torch.arange(5))  # (V,)
    expectation = (senior.exp() * estimates).sum()  # over the senior's own tokens
    assert expectation.item() == pytest.approx(exact, rel=1e-12)
    assert (estimates >= 0).all() and (kl_k3(rows, rows, torch.arange(5)) == 0).all()
