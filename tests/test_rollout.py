"""Co-writing: what is recorded is what was sampled, and both models have read all of it."""

import itertools
from collections import Counter
from dataclasses import fields
from typing import get_args

import pytest
import torch
from conftest import own_logprobs, response_logits, tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from model import GPT
from rollout import Rollout, generate, response_states, sample, seeded, to_logprobs, token_logprobs
from support.reports.display import by_author, printable, render
from tandem import Handoff, Schedule, Uniforms

pytestmark = pytest.mark.fast

V, END, PAD = 37, 35, 36
BOUNDARY = torch.arange(V) % 3 == 0
DELIMITER = torch.arange(V) % 7 == 0
PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10], [4], [11, 12]]
SCHEDULES = get_args(Schedule)
TENSORS = [field.name for field in fields(Rollout) if field.name != "prompts"]


def torch_generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def roll(
    senior, junior, prompts=PROMPTS, schedule="word", *, p=0.5, seed=0, new=20, **arguments
) -> Rollout:
    """A rollout of at most `new` tokens a row. `arguments` are those of `generate`."""
    handoff = Handoff(
        schedule,
        p_senior=p,
        max_gap=4,
        chunk=3,
        boundary=BOUNDARY,
        delimiter=DELIMITER,
    )
    defaults = dict(
        end=END,
        pad=PAD,
        max_new_tokens=new,
        temperature=1.0,
        generator=torch_generator(seed),
    )
    return generate(senior, junior, prompts, handoff, **(defaults | arguments))


def assert_same_rollouts(one: Rollout, other: Rollout) -> None:
    """Equal, and up to rounding where there are log-probs."""
    for name in TENSORS:
        found = getattr(one, name)
        atol = 1e-4 if found.is_floating_point() else 0
        assert_close(found, getattr(other, name), rtol=0, atol=atol)


@torch.no_grad()
def recomputed(model: GPT, rollout: Rollout, temperature: float) -> torch.Tensor:
    """Log-probs of the responses by the training forward.  (N, T)"""
    logits = response_logits(model, rollout, rollout.mask)  # (M, V)
    return own_logprobs(to_logprobs(logits, temperature), rollout, rollout.mask)


def largest_ratio_error(logprobs: torch.Tensor, others: torch.Tensor) -> float:
    ratio = (logprobs - others).exp()
    return (ratio - 1).abs().max().item()


# ---- The recorded log-probs ---------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("temperature", [0.6, 1.0])
def test_recorded_logprobs_are_those_of_the_training_forward(schedule, temperature):
    """The first update's ratio is 1 within 1e-4. Both caches held every token, whoever wrote it."""
    senior = tiny(0)
    junior = tiny(1, n_layers=1, d_model=12)
    rollout = roll(senior, junior, PROMPTS * 4, schedule, temperature=temperature)
    by_senior = recomputed(senior, rollout, temperature)  # (N, T)
    by_junior = recomputed(junior, rollout, temperature)  # (N, T)
    own = torch.where(rollout.authorship, by_senior, by_junior)  # (N, T)
    assert largest_ratio_error(rollout.logprobs, own) < 1e-4
    assert largest_ratio_error(rollout.senior_logprobs, by_senior) < 1e-4
    assert largest_ratio_error(rollout.junior_logprobs, by_junior) < 1e-4
    # The two are different models.
    assert (by_senior - by_junior).abs().max() > 1


def test_the_training_forward_gives_the_float64_log_probs_of_single_rows():
    """Of selected tokens alone, in row-major order. Put back, the others are 0."""
    model = tiny(0)
    reference = tiny(0).double()
    rollout = roll(model, tiny(1), PROMPTS * 2)
    chance = torch.rand(rollout.mask.shape, generator=torch_generator(0))  # (N, T)
    select = rollout.mask & (chance < 0.5)  # (N, T)
    logits = response_logits(model, rollout, select)  # (M, V)
    found = to_logprobs(logits, 0.7)  # (M, V)
    put_back = own_logprobs(found, rollout, select)  # (N, T)
    m = 0
    N, T = select.shape
    for row, t in itertools.product(range(N), range(T)):
        if not select[row, t]:
            assert put_back[row, t] == 0
            continue
        token = rollout.tokens[row, t]
        before = rollout.tokens[row, :t].tolist()
        text = torch.tensor([rollout.prompts[row] + before])
        logits = reference(text)[0, -1]  # (V,)
        expected = (logits / 0.7).log_softmax(dim=0)
        assert_close(found[m].double(), expected, atol=1e-4, rtol=0)
        assert put_back[row, t] == found[m, token]
        m += 1
    assert m == len(found) > 20
    assert found.requires_grad


@pytest.mark.parametrize("most", [1, 100, 10**9])
def test_chunks_have_the_log_probs_and_the_gradient_of_the_whole(monkeypatch, most):
    model = tiny(0)
    rollout = roll(model, tiny(1), PROMPTS * 2)
    tokens = rollout.tokens[rollout.mask]  # (M,)
    found = []
    for logits_at_a_time in (10**9, most):
        monkeypatch.setattr("rollout.MAX_LOGITS", logits_at_a_time)
        model.zero_grad()
        states = response_states(model, rollout, rollout.mask)  # (M, C)
        logprobs = token_logprobs(model, states, tokens, 0.7)  # (M,)
        logprobs.square().sum().backward()
        gradients = [parameter.grad for parameter in model.parameters()]
        found.append([logprobs.detach(), *gradients])
    # Gradients reach 720, and another machine rounds sums in another order.
    for whole, chunked in zip(*found, strict=True):
        atol = 3e-6 * whole.abs().max().item()
        assert_close(whole, chunked, atol=atol, rtol=1e-4)


# ---- Rows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("ends", [END, [END, 3, 17]])
def test_mask_end_and_padding(schedule, ends):
    """A row ends at any of the end tokens, whoever wrote it, and the token belongs to the row."""
    rollout = roll(tiny(0), tiny(1), PROMPTS * 8, schedule, new=30, end=ends)
    ends = {ends} if ends == END else set(ends)
    T = rollout.tokens.shape[1]
    lengths = rollout.mask.sum(dim=1).tolist()
    assert min(lengths) < T == max(lengths)
    assert len(set(lengths)) > 4
    found_ends = set()
    writers = set()
    for row, length in enumerate(lengths):
        tokens = rollout.tokens[row].tolist()
        last = tokens[length - 1]
        assert rollout.mask[row].tolist() == [t < length for t in range(T)]
        assert not ends & set(tokens[: length - 1])
        assert last in ends or length == 30
        assert set(tokens[length:]) <= {PAD}
        if last in ends:
            found_ends.add(last)
            writers.add(bool(rollout.authorship[row, length - 1]))
    assert found_ends == ends
    assert schedule == "solo" or writers == {True, False}
    outside = ~rollout.mask
    assert (rollout.senior_logprobs[outside] == 0).all()
    assert (rollout.junior_logprobs[outside] == 0).all()
    assert not rollout.authorship[outside].any()


@settings(max_examples=25, deadline=None)
@given(
    schedule=st.sampled_from(SCHEDULES),
    seed=st.integers(0, 10_000),
    p=st.sampled_from([0.0, 0.3, 1.0]),
    new=st.integers(1, 12),
)
def test_the_author_changes_only_where_the_schedule_lets_it(schedule, seed, p, new):
    rollout = roll(tiny(0), tiny(1), schedule=schedule, seed=seed, p=p, new=new)
    for row, length in enumerate(rollout.mask.sum(dim=1).tolist()):
        authors = rollout.authorship[row, :length].tolist()
        tokens = rollout.tokens[row, :length]
        drawn = schedule in ("word", "token")
        if drawn and p in (0, 1):
            assert authors == [p == 1] * length
        if not drawn:
            assert authors[0]
        gap = 0
        for t in range(1, length):
            gap += 1
            new_word = bool(BOUNDARY[tokens[t - 1]])
            free = {
                "word": new_word or gap % 4 == 0,
                "token": True,
                "step": bool(DELIMITER[tokens[t - 1]]),
                "chunk": t % 3 == 0,
                "alternate": True,
                "solo": False,
            }
            may_change = free.get(schedule, True)  # of a fork's schedule nothing is known here
            assert may_change or authors[t] == authors[t - 1]
            if schedule == "word" and new_word:
                gap = 0


@settings(max_examples=30, deadline=None)
@given(
    schedule=st.sampled_from(SCHEDULES),
    seed=st.integers(0, 10_000),
    batch_size=st.integers(1, 14),
    max_turns=st.sampled_from([None, 3]),
    new=st.sampled_from([1, 12, 30]),
    wrapped=st.booleans(),
)
def test_a_batch_in_parts_has_the_same_responses(
    schedule, seed, batch_size, max_turns, new, wrapped
):
    """Whoever a row is beside, and when others end.

    `wrapped`: the random numbers are those of rows within a larger batch.
    """

    def written(batch_size: int | None) -> Rollout:
        numbers = torch_generator(seed)
        if wrapped:
            numbers = Uniforms(20, numbers).at(torch.arange(4, 19))
        return roll(
            tiny(0),
            tiny(1),
            PROMPTS * 3,
            schedule,
            new=new,
            max_turns=max_turns,
            generator=numbers,
            batch_size=batch_size,
        )

    assert_same_rollouts(written(batch_size), written(None))


@pytest.mark.parametrize("schedule", ["word", "solo"])
def test_rows_of_a_group_have_the_same_responses_wherever_they_stand(schedule):
    """Side by side, where they share their prompt in the cache, or apart, where they don't."""

    def written(prompts: list, uniforms: Uniforms) -> Rollout:
        ends = [END, 3, 17]
        return roll(tiny(0), tiny(1), prompts, schedule, new=40, end=ends, generator=uniforms)

    order = torch.randperm(32, generator=torch_generator(0))
    distinct = PROMPTS[:3] + PROMPTS[4:]
    grouped = [prompt for prompt in distinct for _ in range(8)]
    mixed = [grouped[i] for i in order.tolist()]
    together = written(grouped, Uniforms(32, torch_generator(3)))
    apart = written(mixed, Uniforms(32, torch_generator(3)).at(order))
    # They end one by one.
    lengths = together.mask.sum(dim=1).tolist()
    assert len(set(lengths)) > 8
    assert_same_rollouts(together[order], apart)


def turns_of(authors: list[bool]) -> int:
    changes = [a != b for a, b in itertools.pairwise(authors)]
    return 1 + sum(changes)


def test_turns_are_limited_and_counted_by_row_when_others_have_ended():
    rollout = roll(tiny(0), tiny(1), PROMPTS * 4, "chunk", new=30, max_turns=4, end=-1)
    # 4 turns of 3 tokens.
    assert (rollout.mask.sum(dim=1) == 12).all()
    assert rollout.tokens.shape[1] == 12

    rollout = roll(tiny(0), tiny(1), PROMPTS * 8, "step", new=50, max_turns=4)
    ended = 0
    out_of_turns = 0
    for row, length in enumerate(rollout.mask.sum(dim=1).tolist()):
        authors = rollout.authorship[row, :length].tolist()
        last = int(rollout.tokens[row, length - 1])
        turns = turns_of(authors)
        assert turns <= 4
        if last == END:
            ended += 1
        elif length < 50:
            assert turns == 4
            assert DELIMITER[last]
            out_of_turns += 1
    assert ended > 4
    assert out_of_turns > 4


# ---- Sampling -----------------------------------------------------------------------------------


@torch.no_grad()
def test_temperature_0_is_the_likeliest_token_of_the_author():
    senior = tiny(0)
    junior = tiny(1)
    rollout = roll(senior, junior, schedule="alternate", temperature=0.0)
    for row, prompt in enumerate(PROMPTS):
        text = list(prompt)
        length = int(rollout.mask[row].sum())
        for t in range(length):
            author = senior if t % 2 == 0 else junior
            logits = author(torch.tensor([text]))[0, -1]  # (V,)
            token = int(rollout.tokens[row, t])
            assert token == logits.argmax()
            text.append(token)
    assert (rollout.logprobs == 0).all()


def chi_squared(counts: torch.Tensor, expected: torch.Tensor) -> float:
    """Above 90 it has a chance of 2 in 10⁶ at 36 degrees of freedom."""
    return ((counts - expected) ** 2 / expected).sum().item()


@pytest.mark.parametrize("temperature", [0.6, 1.0])
def test_draws_follow_the_softmax(temperature):
    n = 100_000
    logits = torch.randn(V, generator=torch_generator(4)) * 1.5
    uniform = torch.rand(n, generator=torch_generator(5))
    p = (logits.double() / temperature).softmax(dim=0)
    own = to_logprobs(logits, temperature).expand(n, V)
    counts = sample(own, uniform).bincount(minlength=V)
    assert chi_squared(counts, n * p) < 90


def test_generated_first_tokens_follow_the_softmax_of_their_author():
    """The same through `generate`: both authors wrote about 4,000 first tokens."""
    senior = tiny(0)
    junior = tiny(1)
    rollout = roll(senior, junior, [[1, 2]] * 8000, "token", new=1, temperature=0.8)
    by_senior = rollout.authorship[:, 0]  # (N,)
    for model, wrote in ((senior, by_senior), (junior, ~by_senior)):
        with torch.no_grad():
            logits = model(torch.tensor([[1, 2]]))[0, -1].double()  # (V,)
        counts = rollout.tokens[wrote, 0].bincount(minlength=V)  # (V,)
        expected = wrote.sum() * (logits / 0.8).softmax(dim=0)  # (V,)
        # Rare tokens are counted together.
        common = expected > 5
        rare_count = counts[~common].sum()
        rare_expected = expected[~common].sum().clamp(min=1e-9)
        counts = torch.cat([counts[common], rare_count[None]])
        expected = torch.cat([expected[common], rare_expected[None]])
        assert chi_squared(counts, expected) < 90


def test_no_draw_falls_on_a_token_without_probability():
    never = -torch.inf
    logits = torch.tensor([never, 0.0, never, 0.0, never])
    logprobs = logits.log_softmax(dim=0).expand(4, 5)
    lowest, highest = 0.0, 1 - 2**-24
    edges = torch.tensor([lowest, 0.5, highest, 0.49999997])
    drawn = sample(logprobs, edges).tolist()
    assert set(drawn) <= {1, 3}
    assert sample(logprobs[:1], torch.tensor([lowest])).item() == 1
    assert sample(logprobs[:1], torch.tensor([highest])).item() == 3


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    top_p=st.floats(0.05, 1.0),
    top_k=st.integers(1, 12),
    temperature=st.floats(0.2, 2.0),
)
def test_top_k_and_top_p_keep_what_a_plain_loop_keeps(seed, top_p, top_k, temperature):
    logits = torch.randn(10, generator=torch_generator(seed)).double()
    likeliest = logits.argsort(descending=True).tolist()[:top_k]
    scaled = (logits / temperature).exp()
    p = scaled / scaled[likeliest].sum()
    kept = []
    total = 0.0
    for i in likeliest:
        # So close to top_p the order of summation decides: not compared.
        if abs(total - top_p) < 1e-6:
            return
        if total < top_p:
            kept.append(i)
        total += p[i].item()
    expected = torch.zeros(10).double()
    expected[kept] = p[kept] / p[kept].sum()
    found = to_logprobs(logits.float(), temperature, top_p, top_k).exp()
    assert_close(found.double(), expected, atol=1e-5, rtol=1e-4)


def test_top_p_and_top_k_bind_both_authors():
    senior = tiny(0)
    junior = tiny(1)
    rollout = roll(senior, junior, PROMPTS * 20, "token", top_k=3, top_p=0.9)
    by_junior = rollout.mask & ~rollout.authorship
    for model, wrote in ((senior, rollout.authorship), (junior, by_junior)):
        with torch.no_grad():
            logits = response_logits(model, rollout, wrote)  # (M, V)
        nucleus = to_logprobs(logits, 1.0, top_p=0.9, top_k=3)  # (M, V)
        own = own_logprobs(nucleus, rollout, wrote)[wrote]  # (M,)
        raw = own_logprobs(logits, rollout, wrote)[wrote]  # (M,)
        assert len(own) > 100
        # No token is outside the nucleus, whose probabilities were renormalized.
        assert own.isfinite().all()
        assert (rollout.logprobs[wrote] - own).abs().max() < 1e-4
        assert (own - raw).abs().max() > 0.05


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("how", [{}, {"temperature": 0}, {"top_p": 0.9, "top_k": 5}])
@pytest.mark.parametrize("guilty", ["senior", "junior"])
def test_a_single_logit_that_is_nan_or_infinite_is_found(guilty, how, value):
    """Whoever writes, at whichever token. From NaNs an id beyond V would be drawn."""
    senior = tiny(0)
    junior = tiny(1)
    calls = Counter()

    def inject(module, inputs, logits):
        calls["head"] += 1
        if calls["head"] == 6:
            logits = logits.clone()
            logits.view(-1, V)[2, 11] = value
        return logits

    model = senior if guilty == "senior" else junior
    model.head.register_forward_hook(inject)
    with pytest.raises(FloatingPointError, match=f"the {guilty}'s logits"):
        roll(senior, junior, new=8, end=-1, **how)
    calls.clear()
    roll(senior, junior, new=5, end=-1, **how)  # never asks for the sixth


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_a_logit_of_minus_infinity_is_a_token_that_is_never_drawn(temperature):
    def never(module, inputs, logits):
        return logits.index_fill(-1, torch.tensor([11]), -torch.inf)

    senior = tiny(0)
    junior = tiny(1)
    senior.head.register_forward_hook(never)
    junior.head.register_forward_hook(never)
    rollout = roll(senior, junior, PROMPTS * 20, temperature=temperature)
    assert not (rollout.tokens == 11).any()
    assert rollout.logprobs.isfinite().all()


def test_generators_for_different_purposes_differ():
    def number(*parts) -> float:
        return torch.rand(1, generator=seeded(*parts)).item()

    numbers = {
        number(0, 1),
        number(1, 0),
        number(0, "1", "a"),
        number(0, 1, "b"),
    }
    assert len(numbers) == 4
    assert number(0, 1) in numbers


# ---- Requests, schedules, display ---------------------------------------------------------------

BAD_REQUESTS = [
    ("prompts", dict(prompts=[[1], []])),
    ("prompts", dict(prompts=[])),
    ("max_seq_len", dict(prompts=[[1] * 50])),
    ("temperature", dict(temperature=-1)),
    ("temperature", dict(temperature=float("nan"))),
    ("top_p", dict(top_p=0.0)),
    ("top_k", dict(top_k=0)),
    ("max_turns", dict(max_turns=0)),
    ("max_new_tokens", dict(new=0)),
    ("junior", dict(schedule="word")),
]


def test_bad_requests_name_what_is_wrong():
    senior = tiny(0)
    for name, arguments in BAD_REQUESTS:
        request = dict(schedule="solo") | arguments
        with pytest.raises(ValueError, match=name):
            roll(senior, None, **request)
    with pytest.raises(ValueError, match="vocabular"):
        roll(senior, tiny(1, vocab_size=38))


class EveryThird(Handoff):
    """After every third token the author isn't the one that the schedule has."""

    def start(self, batch_size, generator=None, device=None):
        self.t = 0
        return super().start(batch_size, generator, device)

    def next(self, tokens):
        self.t += 1
        if self.t % 3 == 0:
            return ~self.author
        return super().next(tokens)


class Unsure(Handoff):
    """The senior writes where the junior's distribution is the flatter one."""

    def start(self, batch_size, generator=None, device=None):
        self.seen = []
        return super().start(batch_size, generator, device)

    def next(self, tokens, logprobs=None):
        senior, junior = logprobs  # (B, V) each
        self.seen.append((tokens, senior, junior))
        return junior.max(dim=1).values < senior.max(dim=1).values


def of_two_prompts(handoff: Handoff) -> Rollout:
    return generate(
        tiny(0),
        tiny(1),
        [[1], [3]],
        handoff,
        end=35,
        pad=36,
        max_new_tokens=6,
        temperature=1,
        generator=torch_generator(0),
    )


def test_a_schedule_of_a_fork_needs_the_documented_methods_alone():
    """generate calls start(batch_size, generator, device), and next(tokens) if that is all."""
    rollout = of_two_prompts(EveryThird("alternate"))
    assert rollout.authorship.shape[0] == 2
    assert not rollout.authorship.all()


def test_a_schedule_may_decide_by_the_log_probs_of_the_token_that_it_decides_on():
    handoff = Unsure("alternate")
    rollout = of_two_prompts(handoff)
    assert len(handoff.seen) == 5
    for t, (tokens, senior, junior) in enumerate(handoff.seen, 1):
        by_senior = junior.max(dim=1).values < senior.max(dim=1).values
        going = rollout.mask[:, t]
        assert torch.equal(tokens[going], rollout.tokens[going, t - 1])
        assert torch.equal(rollout.authorship[going, t], by_senior[going])
        following = rollout.tokens[:, t, None]
        recorded = senior.gather(1, following)[:, 0]
        assert torch.equal(rollout.senior_logprobs[going, t], recorded[going])
        recorded = junior.gather(1, following)[:, 0]
        assert torch.equal(rollout.junior_logprobs[going, t], recorded[going])


def test_parts_are_joined_in_the_order_of_their_rows():
    """As if they were written together, whatever their lengths."""
    whole = roll(tiny(0), tiny(1), PROMPTS * 2, new=12)
    parts = [whole[torch.tensor([4, 1, 7])], whole[torch.tensor([0, 2, 3, 5, 6, 8, 9])]]
    parts[0] = shortened(parts[0])
    rows = [torch.tensor([4, 1, 7]), torch.tensor([0, 2, 3, 5, 6, 8, 9])]
    joined = Rollout.join(parts, rows, PAD)
    assert joined.prompts == whole.prompts
    for name in TENSORS:
        assert torch.equal(getattr(joined, name), getattr(whole, name)), name


def shortened(rollout: Rollout) -> Rollout:
    """Without the columns that hold only padding."""
    T = int(rollout.mask.sum(dim=1).max())
    tensors = {name: getattr(rollout, name)[:, :T] for name in TENSORS}
    return Rollout(rollout.prompts, **tensors)


def test_the_log_probs_of_a_junior_that_read_nothing_are_no_numbers():
    rollout = roll(tiny(0), None, schedule="solo")
    assert rollout.junior_logprobs[rollout.mask].isnan().all()
    assert torch.equal(rollout.logprobs, rollout.senior_logprobs)
    beside = roll(tiny(0), tiny(1), schedule="solo")
    assert torch.equal(beside.tokens, rollout.tokens)
    assert beside.junior_logprobs[rollout.mask].isfinite().all()


def test_a_response_is_shown_in_the_pieces_of_its_authors(tokenizer):
    """The junior wrote two tokens in the middle, and the end token, which isn't shown."""
    ids = [*tokenizer.encode("3 + 4 = 7.\n\n"), tokenizer.end, tokenizer.pad]
    T = len(ids)
    places = torch.arange(T)[None]  # (1, T)
    by_junior = (places == 1) | (places == 2) | (places >= T - 2)  # (1, T)
    rollout = Rollout(
        prompts=[[1]],
        tokens=torch.tensor([ids]),
        authorship=~by_junior,
        mask=places < T - 1,
        senior_logprobs=torch.zeros(1, T),
        junior_logprobs=torch.zeros(1, T),
    )
    assert by_author(rollout, 0, tokenizer) == [("3", True), (" + ", False), ("4 = 7.\n\n", True)]
    assert rollout.texts(tokenizer) == ["3 + 4 = 7.\n\n"]
    assert render(rollout, 0, tokenizer, color=False) == "3⟦ + ⟧4 = 7.\n\n"
    assert render(rollout, 0, tokenizer, color=True).count("\x1b[33m") == 1


def test_a_model_cannot_steer_the_terminal():
    text = "a\tb\n\x1b[2J\x07\x9b é\r"
    assert printable(text) == "a\tb\n\\x1b[2J\\x07\\x9b é\\r"
