"""Co-writing: what is recorded is what was sampled, and both models have read all of it."""

import itertools
import threading
from dataclasses import fields

import pytest
import torch
from conftest import own_logprobs, response_logits, tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from model import GPT, autocast
from rollout import Rollout, generate, response_states, sample, seeded, to_logprobs, token_logprobs
from support.fast_engine import openmp
from support.reports.display import by_author, render
from tandem import Handoff, Uniforms

V, END, PAD = 37, 35, 36
BOUNDARY = torch.arange(V) % 3 == 0
DELIMITER = torch.arange(V) % 7 == 0
PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10], [4], [11, 12]]
SCHEDULES = ["word", "token", "step", "chunk", "alternate", "solo"]


def roll(
    senior, junior, prompts=PROMPTS, schedule="word", *, p=0.5, seed=0, new=20, **arguments
) -> Rollout:
    authors = Handoff(
        schedule, p_senior=p, max_gap=4, chunk=3, boundary=BOUNDARY, delimiter=DELIMITER
    )
    generator = torch.Generator().manual_seed(seed)
    common = dict(end=END, pad=PAD, max_new_tokens=new, temperature=1.0, generator=generator)
    return generate(senior, junior, prompts, authors, **(common | arguments))


def recomputed(model, rollout, temperature) -> torch.Tensor:
    """Log-probs (N, T) of the responses by the training forward."""
    with torch.no_grad():
        full = to_logprobs(response_logits(model, rollout, rollout.mask), temperature)  # (M, V)
    return own_logprobs(full, rollout, rollout.mask)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("temperature", [0.6, 1.0])
def test_recorded_logprobs_are_those_of_the_training_forward(schedule, temperature):
    """So the first update's ratio is 1 within 1e-4; and both caches held every token, whoever wrote it."""
    senior, junior = tiny(0), tiny(1, n_layers=1, d_model=12)
    rollout = roll(senior, junior, PROMPTS * 4, schedule, temperature=temperature)
    by_senior, by_junior = (recomputed(model, rollout, temperature) for model in (senior, junior))
    own = torch.where(rollout.authorship, by_senior, by_junior)
    assert ((rollout.logprobs - own).exp() - 1).abs().max() < 1e-4
    assert ((rollout.senior_logprobs - by_senior).exp() - 1).abs().max() < 1e-4
    assert ((rollout.junior_logprobs - by_junior).exp() - 1).abs().max() < 1e-4
    assert (by_senior - by_junior).abs().max() > 1  # the two are different models


def test_the_training_forward_gives_the_float64_log_probs_of_single_rows():
    """Of selected tokens alone, in row-major order; the others are 0 when tokens' entries are put back."""
    model, rollout = tiny(0), roll(tiny(0), tiny(1), PROMPTS * 2)
    select = rollout.mask & (
        torch.rand(rollout.mask.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    )
    found = to_logprobs(response_logits(model, rollout, select), 0.7)  # (M, V)
    put_back, reference, m = own_logprobs(found, rollout, select), tiny(0).double(), 0
    for row, t in itertools.product(range(len(rollout.prompts)), range(rollout.mask.shape[1])):
        if not select[row, t]:
            assert put_back[row, t] == 0
            continue
        text = torch.tensor([rollout.prompts[row] + rollout.tokens[row, :t].tolist()])
        expected = (reference(text)[0, -1] / 0.7).log_softmax(dim=0)  # (V,)
        torch.testing.assert_close(found[m].double(), expected, atol=1e-4, rtol=0)
        assert put_back[row, t] == found[m, rollout.tokens[row, t]]
        m += 1
    assert m == len(found) > 20 and found.requires_grad


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("ends", [END, [END, 3, 17]])
def test_mask_end_and_padding(schedule, ends):
    """A row ends at any of the end tokens, whoever wrote it, and the token belongs to the row."""
    rollout = roll(tiny(0), tiny(1), PROMPTS * 8, schedule, new=30, end=ends)
    ends, by_senior = {ends} if ends == END else set(ends), set()
    lengths = rollout.mask.sum(dim=1).tolist()
    assert min(lengths) < rollout.tokens.shape[1] == max(lengths) and len(set(lengths)) > 4
    for row, length in enumerate(lengths):
        tokens = rollout.tokens[row].tolist()
        assert rollout.mask[row].tolist() == [t < length for t in range(len(tokens))]
        assert not ends & set(tokens[: length - 1])  # an end token ends the row …
        assert tokens[length - 1] in ends or length == 30  # … and belongs to it
        if tokens[length - 1] in ends:
            by_senior.add((tokens[length - 1], bool(rollout.authorship[row, length - 1])))
        assert set(tokens[length:]) <= {PAD}
    outside = ~rollout.mask
    assert (rollout.senior_logprobs[outside] == 0).all() and (
        rollout.junior_logprobs[outside] == 0
    ).all()
    assert not rollout.authorship[outside].any()
    assert {token for token, _ in by_senior} == ends and (
        schedule == "solo" or len({who for _, who in by_senior}) == 2
    )


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(SCHEDULES),
    st.integers(0, 10_000),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.integers(1, 12),
)
def test_the_author_changes_only_where_the_schedule_lets_it(schedule, seed, p, new):
    rollout = roll(tiny(0), tiny(1), schedule=schedule, seed=seed, p=p, new=new)
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
    """Whoever a row is beside, and when others end. `wrapped`: the numbers are those of rows within a larger batch."""
    rollouts = []
    for size in (batch_size, None):
        generator = torch.Generator().manual_seed(seed)
        numbers = Uniforms(20, generator).at(torch.arange(4, 19)) if wrapped else generator
        how = dict(max_turns=max_turns, new=new, generator=numbers, batch_size=size)
        rollouts.append(roll(tiny(0), tiny(1), PROMPTS * 3, schedule, **how))
    for field in fields(Rollout)[1:]:
        a, b = (getattr(rollout, field.name) for rollout in rollouts)
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4 if a.is_floating_point() else 0)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_two_threads_read_what_one_after_the_other_reads_to_the_bit(monkeypatch, precision):
    """Without gradients, and in the precision of the thread that began them, whose threads it has again at the end."""
    senior, junior, threads = tiny(0), tiny(1, n_layers=3), set()

    def watched(model, tokens, cache, forward=GPT.forward):
        threads.add((threading.current_thread().name, torch.get_num_threads()))
        assert not torch.is_grad_enabled() and torch.is_autocast_enabled("cpu") == (
            precision == "bfloat16"
        )
        return forward(model, tokens, cache)

    monkeypatch.setattr(GPT, "forward", watched)
    monkeypatch.setattr("support.fast_engine.THREADS_PAY", 0)
    rollouts, used = [], []
    for n in (4, 2, 1):  # cores: halved between two threads; a single one has one thread
        with openmp().limit(limits=n), autocast(precision, senior.device):
            rollouts.append(roll(senior, junior, PROMPTS * 4))
            assert torch.get_num_threads() == n
        used.append([cores for _, cores in threads])
        threads.clear()
    assert used == [[2, 2], [1, 1], [1]]
    assert all(
        torch.equal(*(getattr(r, field.name) for r in rollouts[1:]))
        for field in fields(Rollout)[1:]
    )


def test_a_fault_in_either_thread_ends_the_rollout_and_gives_the_cores_back(monkeypatch):
    senior, junior = tiny(0), tiny(1)
    for guilty in (senior, junior):
        with monkeypatch.context() as patch:

            def fails(model, tokens, cache, forward=GPT.forward, guilty=guilty):
                if model is guilty:
                    raise RuntimeError("out of order")
                return forward(model, tokens, cache)

            patch.setattr(GPT, "forward", fails)
            patch.setattr("support.fast_engine.THREADS_PAY", 0)
            with openmp().limit(limits=2):
                with pytest.raises(RuntimeError, match="out of order"):
                    roll(senior, junior)
                assert torch.get_num_threads() == 2


@pytest.mark.parametrize("schedule", ["word", "solo"])
def test_rows_of_a_group_have_the_same_responses_wherever_they_stand(schedule):
    """Side by side, where they share their prompt in the cache, or apart, where they don't."""
    order = torch.randperm(32, generator=torch.Generator().manual_seed(0))
    grouped = [prompt for prompt in PROMPTS[:3] + PROMPTS[4:] for _ in range(8)]
    mixed = [grouped[i] for i in order.tolist()]
    generator = lambda: torch.Generator().manual_seed(3)
    how = dict(new=40, end=[END, 3, 17])
    a = roll(tiny(0), tiny(1), grouped, schedule, generator=Uniforms(32, generator()), **how)
    b = roll(
        tiny(0), tiny(1), mixed, schedule, generator=Uniforms(32, generator()).at(order), **how
    )
    assert len(set(a.mask.sum(dim=1).tolist())) > 8  # they end one by one
    for field in fields(Rollout)[1:]:
        x, y = getattr(a, field.name)[order], getattr(b, field.name)
        torch.testing.assert_close(x, y, rtol=0, atol=1e-4 if x.is_floating_point() else 0)


@pytest.mark.parametrize("most", [1, 100, 10**9])
def test_chunks_have_the_log_probs_and_the_gradient_of_the_whole(monkeypatch, most):
    model, rollout = tiny(0), roll(tiny(0), tiny(1), PROMPTS * 2)
    tokens, found = rollout.tokens[rollout.mask], []
    for logits in (10**9, most):
        monkeypatch.setattr("rollout.LOGITS", logits)
        model.zero_grad()
        logprobs = token_logprobs(
            model, response_states(model, rollout, rollout.mask), tokens, 0.7
        )  # (M,)
        logprobs.square().sum().backward()
        found.append([logprobs.detach(), *(parameter.grad for parameter in model.parameters())])
    for a, b in zip(
        *found, strict=True
    ):  # of up to 720: another machine rounds sums in another order
        torch.testing.assert_close(a, b, atol=3e-6 * a.abs().max().item(), rtol=1e-4)


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


@pytest.mark.parametrize("temperature", [0.6, 1.0])
def test_draws_follow_the_softmax(temperature):
    """Chi-squared over 36 degrees of freedom; above 90 has a chance of 2 in 10⁶."""
    n = 100_000
    logits = torch.randn(V, generator=torch.Generator().manual_seed(4)) * 1.5
    p = (logits.double() / temperature).softmax(dim=0)
    own = to_logprobs(logits, temperature).expand(n, V)
    counts = sample(own, torch.rand(n, generator=torch.Generator().manual_seed(5))).bincount(
        minlength=V
    )
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
    own = (
        torch.tensor([-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]).log_softmax(dim=0).expand(4, 5)
    )
    edges = torch.tensor([0.0, 0.5, 1 - 2**-24, 0.49999997])
    assert set(sample(own, edges).tolist()) <= {1, 3}
    assert sample(own[:1], edges[:1]).item() == 1 and sample(own[:1], edges[2:3]).item() == 3


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
    found = to_logprobs(logits.float(), temperature, top_p, top_k).exp()
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-4)


def test_top_p_and_top_k_bind_both_authors():
    senior, junior = tiny(0), tiny(1)
    rollout = roll(senior, junior, PROMPTS * 20, "token", top_k=3, top_p=0.9)
    for model, wrote in (
        (senior, rollout.authorship),
        (junior, rollout.mask & ~rollout.authorship),
    ):
        with torch.no_grad():
            without = response_logits(model, rollout, wrote)  # (M, V)
        own = own_logprobs(to_logprobs(without, 1.0, 0.9, 3), rollout, wrote)[wrote]
        assert len(own) > 100 and own.isfinite().all()  # none outside the nucleus
        assert (rollout.logprobs[wrote] - own).abs().max() < 1e-4
        assert (
            own - own_logprobs(without, rollout, wrote)[wrote]
        ).abs().max() > 0.05  # which was renormalized


def test_turns_are_limited_and_counted_by_row_when_others_have_ended():
    rollout = roll(tiny(0), tiny(1), PROMPTS * 4, "chunk", new=30, max_turns=4, end=-1)
    assert (rollout.mask.sum(dim=1) == 12).all() and rollout.tokens.shape[
        1
    ] == 12  # 4 turns of 3 tokens
    rollout = roll(tiny(0), tiny(1), PROMPTS * 8, "step", new=50, max_turns=4)
    fates = {"ended": 0, "out of turns": 0}
    for row, length in enumerate(rollout.mask.sum(dim=1).tolist()):
        authors, last = rollout.authorship[row, :length].tolist(), rollout.tokens[row, length - 1]
        turns = 1 + sum(a != b for a, b in itertools.pairwise(authors))
        assert turns <= 4
        fates["ended"] += int(last == END)
        if last != END and length < 50:
            assert turns == 4 and DELIMITER[last]
            fates["out of turns"] += 1
    assert min(fates.values()) > 4


def test_bad_requests_name_what_is_wrong():
    senior = tiny(0)
    bad = [
        ("prompts", dict(prompts=[[1], []])),
        ("prompts", dict(prompts=[])),
        ("max_seq_len", dict(prompts=[[1] * 50])),
    ]
    bad += [("temperature", dict(temperature=-1)), ("temperature", dict(temperature=float("nan")))]
    bad += [("top_p", dict(top_p=0.0)), ("top_k", dict(top_k=0)), ("max_turns", dict(max_turns=0))]
    bad += [("max_new_tokens", dict(new=0)), ("junior", dict(schedule="word"))]
    for name, arguments in bad:
        with pytest.raises(ValueError, match=name):
            roll(senior, None, **{"schedule": "solo"} | arguments)
    with pytest.raises(ValueError, match="vocabular"):
        roll(senior, tiny(1, vocab_size=38))


def test_a_response_is_shown_in_the_pieces_of_its_authors(tokenizer):
    ids = [*tokenizer.encode("3 + 4 = 7.\n\n"), tokenizer.end, tokenizer.pad]
    shape = (1, len(ids))
    authorship = torch.tensor([[True, False, False] + [True] * (len(ids) - 5) + [False, False]])
    mask = torch.tensor([[True] * (len(ids) - 1) + [False]])
    rollout = Rollout(
        [[1]], torch.tensor([ids]), authorship, mask, torch.zeros(shape), torch.zeros(shape)
    )
    assert by_author(rollout, 0, tokenizer) == [("3", True), (" + ", False), ("4 = 7.\n\n", True)]
    assert rollout.texts(tokenizer) == ["3 + 4 = 7.\n\n"]
    assert render(rollout, 0, tokenizer, color=False) == "3⟦ + ⟧4 = 7.\n\n"
    assert render(rollout, 0, tokenizer, color=True).count("\x1b[33m") == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("how", [{}, {"temperature": 0}, {"top_p": 0.9, "top_k": 5}])
@pytest.mark.parametrize("guilty", ["senior", "junior"])
def test_a_single_logit_that_is_nan_or_infinite_is_found(guilty, how, value):
    """Whoever writes, at whichever token, though of NaNs an id beyond V would be drawn."""
    models, calls = {"senior": tiny(0), "junior": tiny(1)}, []

    def inject(module, inputs, logits):
        calls.append(logits)
        if len(calls) == 6:
            logits = logits.clone()
            logits.view(-1, V)[2, 11] = value
        return logits

    models[guilty].head.register_forward_hook(inject)
    with pytest.raises(FloatingPointError, match=f"the {guilty}'s logits"):
        roll(*models.values(), new=8, end=-1, **how)
    calls.clear()
    roll(*models.values(), new=5, end=-1, **how)  # the sixth is never asked for


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_a_logit_of_minus_infinity_is_a_token_that_is_never_drawn(temperature):
    senior, junior = tiny(0), tiny(1)
    never = lambda module, inputs, logits: logits.index_fill(-1, torch.tensor([11]), -torch.inf)
    for model in (senior, junior):
        model.head.register_forward_hook(never)
    rollout = roll(senior, junior, PROMPTS * 20, temperature=temperature)
    assert not (rollout.tokens == 11).any() and rollout.logprobs.isfinite().all()


def test_generators_for_different_purposes_differ():
    numbers = [
        torch.rand(1, generator=seeded(*parts)).item()
        for parts in ((0, 1), (1, 0), (0, "1", "a"), (0, 1, "b"))
    ]
    assert len(set(numbers)) == 4
    assert torch.rand(1, generator=seeded(0, 1)).item() == numbers[0]


def test_a_schedule_of_a_fork_needs_the_documented_methods_alone():
    """generate calls start(batch_size, generator, device) and next(tokens), whatever else it has to count."""

    class Third(Handoff):
        def start(self, batch_size, generator=None, device=None):
            self.t = 0
            return super().start(batch_size, generator, device)

        def next(self, tokens):
            self.t += 1
            return super().next(tokens) if self.t % 3 else ~self.author

    made = generate(
        tiny(0),
        tiny(1),
        [[1], [3]],
        Third("alternate"),
        end=35,
        pad=36,
        max_new_tokens=6,
        temperature=1,
    )
    assert made.authorship.shape[0] == 2 and not made.authorship.all()
