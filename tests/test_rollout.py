"""Co-writing: what is recorded is what was sampled, and both models have read all of it."""

import functools
import itertools
import json
import math

import pytest
import torch
from conftest import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

import benchmark
import rollout as rollout_module
from rollout import COLUMNS, Rollout, draw, generate, join, log_probs, render, response_logits
from tandem import Handoff

V, END, PAD = 37, 35, 36
BOUNDARY = torch.arange(V) % 3 == 0
DELIMITER = torch.arange(V) % 7 == 0
PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10], [4], [11, 12]]
SCHEDULES = ["word", "token", "step", "chunk", "alternate", "solo"]


def handoff(schedule="word", **arguments) -> Handoff:
    return Handoff(schedule, boundary=BOUNDARY, delimiter=DELIMITER, **({"chunk": 3, "max_gap": 4} | arguments))


def roll(senior, junior, prompts=PROMPTS, schedule="word", *, seed=0, temperature=1.0, new=20, **arguments) -> Rollout:
    names = ("p_senior", "max_gap", "chunk")
    authors = handoff(schedule, **{name: arguments.pop(name) for name in names if name in arguments})
    generator = torch.Generator().manual_seed(seed)
    common = dict(end=END, pad=PAD, max_new_tokens=new, temperature=temperature, generator=generator)
    return generate(senior, junior, prompts, authors, **(common | arguments))


def recomputed(model, rollout, temperature) -> torch.Tensor:
    """Log-probs (N, T) of the responses by the training forward."""
    out = torch.zeros_like(rollout.logprobs)
    with torch.no_grad():
        full = log_probs(response_logits(model, rollout, rollout.mask), temperature)  # (M, V)
    out[rollout.mask] = full.gather(1, rollout.tokens[rollout.mask][:, None])[:, 0]
    return out


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("temperature", [0.6, 1.0])
def test_recorded_logprobs_are_those_of_the_training_forward(schedule, temperature):
    """So the first update's ratio is 1 within 1e-4; and both caches held every token, whoever wrote it."""
    senior, junior = tiny(0), tiny(1, n_layers=1, d_model=12)
    rollout = roll(senior, junior, PROMPTS * 4, schedule, temperature=temperature)
    by_senior = recomputed(senior, rollout, temperature)
    by_junior = recomputed(junior, rollout, temperature)
    own = torch.where(rollout.authorship, by_senior, by_junior)
    partner = torch.where(rollout.authorship, by_junior, by_senior).masked_fill(~rollout.mask, 0)
    assert ((rollout.logprobs - own).exp() - 1).abs().max() < 1e-4
    assert ((rollout.partner_logprobs - partner).exp() - 1).abs().max() < 1e-4
    assert (by_senior - by_junior).abs().max() > 1  # the two are different models


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_mask_end_and_padding(schedule):
    rollout = roll(tiny(0), tiny(1), PROMPTS * 8, schedule, new=30)
    lengths = rollout.mask.sum(dim=1).tolist()
    assert min(lengths) < rollout.tokens.shape[1] == max(lengths)
    assert len(set(lengths)) > 5
    for row, length in enumerate(lengths):
        tokens = rollout.tokens[row].tolist()
        assert rollout.mask[row].tolist() == [t < length for t in range(len(tokens))]
        assert END not in tokens[: length - 1]  # an end token ends the row …
        assert tokens[length - 1] == END or length == 30  # … and belongs to it
        assert set(tokens[length:]) <= {PAD}
    outside = ~rollout.mask
    assert (rollout.logprobs[outside] == 0).all() and (rollout.partner_logprobs[outside] == 0).all()
    assert not rollout.authorship[outside].any()


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SCHEDULES), st.integers(0, 10_000), st.sampled_from([0.0, 0.3, 1.0]), st.integers(1, 12))
def test_the_author_changes_only_where_the_schedule_lets_it(schedule, seed, p, new):
    rollout = roll(tiny(0), tiny(1), schedule=schedule, seed=seed, p_senior=p, new=new)
    for row in range(len(PROMPTS)):
        length, gap = int(rollout.mask[row].sum()), 0
        authors, tokens = rollout.authorship[row].tolist(), rollout.tokens[row].tolist()
        if schedule in ("word", "token") and p in (0, 1):
            assert authors[:length] == [p == 1] * length
        if schedule not in ("word", "token"):
            assert authors[0]
        for t in range(1, length):
            gap += 1
            free = {
                "word": bool(BOUNDARY[tokens[t - 1]]) or gap % 4 == 0,
                "token": True,
                "step": bool(DELIMITER[tokens[t - 1]]),
                "chunk": t % 3 == 0,
                "alternate": True,
                "solo": False,
            }[schedule]
            assert free or authors[t] == authors[t - 1]
            if schedule == "word" and BOUNDARY[tokens[t - 1]]:
                gap = 0


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prompts, new", [([[3, 4, 5]], 8), ([[3]], 1), ([[1] * n for n in range(1, 9)], 1)])
def test_a_batch_of_one_and_a_response_of_length_one(schedule, prompts, new):
    rollout = roll(tiny(0), tiny(1), prompts, schedule, new=new)
    assert rollout.tokens.shape[0] == len(prompts) and 1 <= rollout.tokens.shape[1] <= new
    assert rollout.mask[:, 0].all()


def test_rows_that_have_ended_do_not_disturb_others():
    """The same rows beside others that end early, and beside others that never do, are the same to the bit of a draw."""
    senior, junior = tiny(0), tiny(1)
    watched, companions = [[1, 2, 3], [9]], [[4], [5, 5]] * 8
    ending, going = [], []
    for seed in range(6):
        ended = roll(senior, junior, watched + companions, seed=seed, new=24)
        ending.append((ended.mask.sum(dim=1) < ended.tokens.shape[1]).sum().item())
        # No row ends when no token is the end: then the companions go on, and only the watched rows are compared.
        endless = roll(senior, junior, watched + companions, seed=seed, new=24, end=-1)
        for row in range(len(watched)):
            length = int(ended.mask[row].sum())
            assert torch.equal(ended.tokens[row, :length], endless.tokens[row, :length])
            assert torch.equal(ended.authorship[row, :length], endless.authorship[row, :length])
            torch.testing.assert_close(ended.logprobs[row, :length], endless.logprobs[row, :length], atol=1e-4, rtol=0)
        going.append(length)
    assert min(ending) > 4 and max(going) > 8


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(SCHEDULES),
    st.integers(0, 10_000),
    st.lists(st.integers(1, 14), max_size=4, unique=True),
    st.sampled_from([None, 3]),
    st.sampled_from([1, 12, 30]),
)
def test_the_parts_of_a_batch_are_its_rows(schedule, seed, cuts, max_turns, new):
    """Tokens, authors and counts of draws, some rows ending early (of 30 tokens, a third), wherever it is cut."""
    senior, junior, prompts = tiny(0), tiny(1), PROMPTS * 3
    how = dict(schedule=schedule, seed=seed, max_turns=max_turns, new=new)
    whole = roll(senior, junior, prompts, **how)
    edges = [0, *sorted(cuts), len(prompts)]
    parts = [roll(senior, junior, prompts[a:b], share=(a, 15), **how) for a, b in itertools.pairwise(edges)]
    joined = join(parts, PAD)
    for name in COLUMNS:
        torch.testing.assert_close(getattr(joined, name), getattr(whole, name), rtol=0, atol=1e-4)
    assert joined.prompts == prompts
    assert (joined.draws, joined.senior_draws) == (whole.draws, whole.senior_draws)


@pytest.mark.parametrize("schedule", ["word", "token"])
def test_draws_are_counted_until_a_row_ends_and_not_after(schedule):
    """Recounted along each row's own tokens; how long the others go on doesn't matter."""
    rollout, draws = roll(tiny(0), tiny(1), PROMPTS * 8, schedule, new=30), 0
    assert len(set(rollout.mask.sum(dim=1).tolist())) > 5
    for tokens, mask in zip(rollout.tokens.tolist(), rollout.mask.tolist(), strict=True):
        draws, gap = draws + 1, 0
        for token in tokens[: sum(mask)]:
            gap += 1
            if schedule == "token" or BOUNDARY[token] or gap == 4:
                draws, gap = draws + 1, 0
    assert rollout.draws == draws
    if schedule == "token":  # each draw but the one after the last token is to be seen
        assert 0 <= rollout.senior_draws - rollout.authorship.sum() <= len(PROMPTS) * 8


def test_temperature_0_is_the_likeliest_token_of_the_author():
    senior, junior = tiny(0), tiny(1)
    rollout = roll(senior, junior, schedule="alternate", temperature=0.0)
    for row, prompt in enumerate(PROMPTS):
        text = list(prompt)
        for t in range(int(rollout.mask[row].sum())):
            author = senior if t % 2 == 0 else junior
            with torch.no_grad():
                assert rollout.tokens[row, t] == author(torch.tensor([text]))[0, -1].argmax()
            text.append(int(rollout.tokens[row, t]))
    assert (rollout.logprobs == 0).all()


def test_prompts_of_any_length_in_one_batch_are_read_as_they_are_alone():
    senior = tiny(0)
    together = roll(senior, None, schedule="solo", temperature=0.0)
    for row, prompt in enumerate(PROMPTS):
        alone = roll(senior, None, [prompt], "solo", temperature=0.0)
        length = int(alone.mask.sum())
        assert torch.equal(together.tokens[row, :length], alone.tokens[0, :length])


@pytest.mark.parametrize("temperature", [0.6, 1.0])
def test_draws_follow_the_softmax(temperature):
    """Chi-squared over 36 degrees of freedom; above 90 has a chance of 2 in 10⁶."""
    n = 100_000
    logits = torch.randn(V, generator=torch.Generator().manual_seed(4)) * 1.5
    p = (logits.double() / temperature).softmax(dim=0)
    own = log_probs(logits, temperature).expand(n, V)
    counts = draw(own, torch.rand(n, generator=torch.Generator().manual_seed(5))).bincount(minlength=V)
    assert ((counts - n * p) ** 2 / (n * p)).sum() < 90


def test_generated_first_tokens_follow_the_softmax_of_their_author():
    """The same through `generate`: both authors' first tokens, 2 × about 4,000 of them, against the dense softmax."""
    senior, junior = tiny(0), tiny(1)
    rollout = roll(senior, junior, [[1, 2]] * 8000, "token", new=1, temperature=0.8)
    for model, wrote in ((senior, rollout.authorship[:, 0]), (junior, ~rollout.authorship[:, 0])):
        with torch.no_grad():
            p = (model(torch.tensor([[1, 2]]))[0, -1].double() / 0.8).softmax(dim=0)
        counts, n = rollout.tokens[wrote, 0].bincount(minlength=V), int(wrote.sum())
        common = n * p > 5
        observed = torch.cat([counts[common], counts[~common].sum()[None]]).double()
        expected = torch.cat([n * p[common], (n * p[~common]).sum()[None]])
        assert ((observed - expected) ** 2 / expected.clamp(min=1e-9)).sum() < 90


def test_no_draw_falls_on_a_token_without_probability():
    own = torch.tensor([-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]).log_softmax(dim=0).expand(4, 5)
    edges = torch.tensor([0.0, 0.5, 1 - 2**-24, 0.49999997])
    assert set(draw(own, edges).tolist()) <= {1, 3}
    assert draw(own[:1], edges[:1]).item() == 1 and draw(own[:1], edges[2:3]).item() == 3


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 1.0), st.integers(1, 12), st.floats(0.2, 2.0))
def test_top_k_and_top_p_keep_what_a_plain_loop_keeps(seed, top_p, top_k, temperature):
    logits = torch.randn(10, generator=torch.Generator().manual_seed(seed)).double()
    order = logits.argsort(descending=True).tolist()[:top_k]
    p = (logits / temperature).exp()
    p = {i: (p[i] / p[order].sum()).item() for i in order}
    kept, total = [], 0.0
    for i in order:
        if total < top_p - 1e-6:  # so close to top_p the order of summation decides: not compared
            kept.append(i)
        elif total < top_p + 1e-6:
            return
        total += p[i]
    expected = torch.zeros(10).double()
    for i in kept:
        expected[i] = p[i] / sum(p[j] for j in kept)
    found = log_probs(logits.float(), temperature, top_p, top_k).exp()
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-4)


def test_top_p_and_top_k_bind_both_authors():
    senior, junior = tiny(0), tiny(1)
    rollout = roll(senior, junior, PROMPTS * 20, "token", top_k=3, top_p=0.9)
    for model, wrote in ((senior, rollout.authorship), (junior, rollout.mask & ~rollout.authorship)):
        with torch.no_grad():
            logits = response_logits(model, rollout, wrote)
        token = rollout.tokens[wrote]
        own = log_probs(logits, 1.0, 0.9, 3).gather(1, token[:, None])[:, 0]
        assert own.isfinite().all()  # none outside the nucleus
        assert len(token) > 100
        assert (rollout.logprobs[wrote] - own).abs().max() < 1e-4
        without = log_probs(logits, 1.0).gather(1, token[:, None])[:, 0]
        assert (own - without).abs().max() > 0.05  # the nucleus was renormalized


def test_turns_are_limited():
    rollout = roll(tiny(0), tiny(1), PROMPTS * 4, "chunk", new=30, max_turns=4, end=-1)
    assert rollout.tokens.shape[1] == 12  # 4 turns of 3 tokens
    assert (rollout.mask.sum(dim=1) == 12).all()


def test_turns_are_counted_by_row_when_others_have_ended():
    rollout = roll(tiny(0), tiny(1), PROMPTS * 8, "step", new=50, max_turns=4)
    fates = {"ended": 0, "out of turns": 0}
    for row, length in enumerate(rollout.mask.sum(dim=1).tolist()):
        authors, last = rollout.authorship[row, :length].tolist(), rollout.tokens[row, length - 1]
        turns = 1 + sum(a != b for a, b in itertools.pairwise(authors))
        assert turns <= 4
        if last == END:
            fates["ended"] += 1
        elif length < 50:
            assert turns == 4 and DELIMITER[last]
            fates["out of turns"] += 1
    assert min(fates.values()) > 4


def test_the_same_generator_gives_the_same_rollout():
    a, b, other = (roll(tiny(0), tiny(1), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(a.tokens, b.tokens) and torch.equal(a.authorship, b.authorship)
    assert not torch.equal(a.tokens, other.tokens)


def test_bad_requests_name_what_is_wrong():
    senior = tiny(0)
    with pytest.raises(ValueError, match="junior"):
        roll(senior, None, schedule="word")
    with pytest.raises(ValueError, match="prompts"):
        roll(senior, None, [[1], []], "solo")
    with pytest.raises(ValueError, match="prompts"):
        roll(senior, None, [], "solo")
    with pytest.raises(ValueError, match="max_seq_len"):
        roll(senior, None, [[1] * 50], "solo")
    for temperature in (-1, float("nan")):
        with pytest.raises(ValueError, match="temperature"):
            roll(senior, None, schedule="solo", temperature=temperature)
    with pytest.raises(ValueError, match="top_p"):
        roll(senior, None, schedule="solo", top_p=0.0)
    with pytest.raises(ValueError, match="top_k"):
        roll(senior, None, schedule="solo", top_k=0)
    with pytest.raises(ValueError, match="max_turns"):
        roll(senior, None, schedule="solo", max_turns=0)
    for share in ((11, 15), (-1, 15), (0, 4)):
        with pytest.raises(ValueError, match="share"):
            roll(senior, None, schedule="solo", share=share)
    with pytest.raises(ValueError, match="vocabular"):
        roll(senior, tiny(1, vocab_size=38))


def test_rendering_marks_the_junior(tokenizer):
    ids = tokenizer.encode("3 + 4 = 7.\n\n")
    shape = (1, len(ids))
    authorship = torch.tensor([[True, False, False] + [True] * (len(ids) - 3)])
    ones = torch.ones(shape, dtype=torch.bool)
    rollout = Rollout([[1]], torch.tensor([ids]), authorship, ones, torch.zeros(shape), torch.zeros(shape))
    assert render(rollout, 0, tokenizer, color=False) == "3⟦ + ⟧4 = 7.\n\n"
    assert render(rollout, 0, tokenizer, color=True).count("\x1b[33m") == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize("guilty", ["senior", "junior"])
def test_a_single_logit_that_is_not_finite_is_found(guilty, temperature, value):
    """Whoever writes, at whichever token, though -inf would never be drawn and NaN would be drawn as an id beyond V."""
    models = {"senior": tiny(0), "junior": tiny(1)}
    calls = []

    def inject(module, inputs, logits):
        calls.append(logits)
        if len(calls) == 6:
            logits = logits.clone()
            logits.view(-1, V)[2, 11] = value
        return logits

    models[guilty].head.register_forward_hook(inject)
    with pytest.raises(FloatingPointError, match=f"the {guilty}'s logits"):
        roll(*models.values(), temperature=temperature, new=8)
    calls.clear()
    roll(*models.values(), temperature=temperature, new=5)  # the sixth is never asked for


def test_the_benchmark_prints_its_measurements_as_json(monkeypatch, capsys):
    small = functools.partial(benchmark.benchmark, small=True)
    monkeypatch.setattr(benchmark, "benchmark", small)
    rollout_module.main(["--benchmark", "--json", "--device", "cpu"])
    measured = json.loads(capsys.readouterr().out)
    names = """solo_tokens_per_second tandem_tokens_per_second tandem_over_solo_time update_seconds update_mfu
    step_solo_seconds step_tandem_seconds matmul_gflops copy_gb_per_second decode_floor_milliseconds"""
    assert set(names.split()) <= measured.keys()
    measured.pop("growth_over_cache_reading")  # of so little work a difference of timings is noise, of either sign
    assert all(math.isfinite(value) and value > 0 for value in measured.values())


def test_showing_needs_a_run(capsys):
    with pytest.raises(SystemExit) as stopped:
        rollout_module.main([])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and "--benchmark" in error and len(error.splitlines()) == 1


def test_a_schedule_of_a_fork_needs_the_documented_methods_alone():
    """generate calls start(batch_size, generator, device) and next(tokens), whatever else it has to count."""

    class Third(Handoff):
        def start(self, batch_size, generator=None, device=None):
            return super().start(batch_size, generator, device)

        def next(self, tokens):
            self.t = getattr(self, "t", 0) + 1
            return super().next(tokens) if self.t % 3 else ~self.author

    handoff = Third("alternate")
    arguments = dict(end=35, pad=36, max_new_tokens=6, temperature=1.0)
    made = generate(tiny(0), tiny(1), [[1, 2], [3]], handoff, **arguments)
    assert made.authorship.shape[0] == 2 and not made.authorship.all()
