"""The method on one page is that of the large files: its authors, loss, gradient, and curve."""

import json
from pathlib import Path
from statistics import fmean, stdev

import pytest
import torch
from conftest import tiny

import minimal
import rollout
from data.problems import first_problems
from rollout import generate, make_handoff, seeded
from tandem import Handoff, advantages
from train import Config, update

RESULTS = Path(__file__).parent.parent / "results"


@pytest.mark.fast
def test_a_coin_falls_where_handoff_draws(tokenizer):
    N = 50
    generator = torch.Generator().manual_seed(5)
    handoff = Handoff("word", boundary=tokenizer.boundary(), max_gap=minimal.MAX_GAP)
    expected = handoff.start(N, generator)
    torch.manual_seed(5)
    author = torch.rand(N) < minimal.P_SENIOR
    gap = torch.zeros(N, dtype=torch.long)
    assert torch.equal(author, expected)
    seldom = torch.Generator().manual_seed(1)
    words = tokenizer.boundary().nonzero()[:, 0]
    others = (~tokenizer.boundary()).nonzero()[:, 0]
    changes = 0
    for _ in range(200):
        begins = torch.rand(N, generator=seldom) < 0.04  # so gaps reach their limit, too
        some_word = words[torch.randint(len(words), (N,), generator=seldom)]
        other = others[torch.randint(len(others), (N,), generator=seldom)]
        token = torch.where(begins, some_word, other)
        before = author
        author, gap = minimal.flip_coins(author, gap, token)
        assert torch.equal(author, handoff.next(token))
        changes += int((author != before).sum())
    assert changes > 100


@pytest.mark.fast
@pytest.mark.parametrize("turns", [False, True])
def test_the_authors_of_a_rollout_are_those_of_handoff(tokenizer, monkeypatch, turns):
    """On the same draws: tokens come from a generator of their own."""
    sizes = dict(vocab_size=tokenizer.vocab_size, max_seq_len=128)
    senior, junior = tiny(0, **sizes), tiny(1, **sizes)
    prompts = [tokenizer.prompt(problem.question) for problem in first_problems("train", 20, 0)]
    own = torch.Generator().manual_seed(3)
    draw = torch.multinomial
    monkeypatch.setattr(torch, "multinomial", lambda p, n: draw(p, n, generator=own))
    torch.manual_seed(5)
    tokens, authorship, mask = minimal.co_write(senior, junior, prompts, 1.0, turns)

    handoff = Handoff(
        "step" if turns else "word",
        boundary=tokenizer.boundary(),
        delimiter=tokenizer.delimiter(),
        max_gap=minimal.MAX_GAP,
    )
    generator = torch.Generator().manual_seed(5)
    author = handoff.start(20, generator)
    for t in range(minimal.T):
        kept = mask[:, t]
        assert torch.equal(authorship[:, t][kept], author[kept])
        assert not authorship[:, t][~kept].any()
        author = handoff.next(tokens[:, t])
    assert 0 < authorship.sum() < mask.sum()


@pytest.mark.fast
def test_its_loss_and_gradient_are_those_of_update(tokenizer, monkeypatch):
    """In float64, on given rollouts."""
    exact = lambda logits, temperature: (logits / temperature).log_softmax(dim=-1)
    sizes = dict(vocab_size=tokenizer.vocab_size, max_seq_len=128)
    senior, junior = tiny(0, **sizes).double(), tiny(1, **sizes).double()
    problems = [problem for problem in first_problems("train", 3, 0) for _ in range(4)]
    prompts = [tokenizer.prompt(problem.question) for problem in problems]
    given = generate(
        senior,
        junior,
        prompts,
        make_handoff("word", tokenizer, senior),
        end=tokenizer.end,
        pad=tokenizer.pad,
        max_new_tokens=24,
        temperature=1.0,
        generator=seeded(0, "minimal"),
    )
    A = advantages(torch.tensor([1, 0, 0, 1, 0, 0, 0, 1, 1, 1, 0, 1]).double(), 4)

    loss = minimal.gated_loss(senior, prompts, given.tokens, given.authorship, A)
    loss.backward()
    found = [parameter.grad.clone() for parameter in senior.parameters()]
    senior.zero_grad()

    gradients = []
    optimizer = torch.optim.AdamW(senior.parameters(), fused=True)
    remember = lambda *_: gradients.extend(p.grad.clone() for p in senior.parameters())
    optimizer.register_step_pre_hook(remember)
    monkeypatch.setattr(rollout, "to_logprobs", exact)  # which is float32 otherwise
    config = Config(prompts_per_step=3, group_size=4, grad_clip=1e9, micro_batch_tokens=200)
    gate = given.authorship.double()
    stats = update(senior, junior, optimizer, given, A, gate, 0, config)

    assert loss.item() == pytest.approx(stats["loss"], rel=1e-9)
    assert any(gradient.abs().max() > 1e-3 for gradient in found)
    for gradient, expected in zip(found, gradients, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_after_40_steps_it_is_where_the_five_seeds_are(capsys):
    """Means of steps 30 to 39 lie in the 95% prediction interval of the committed runs."""
    runs = json.loads((RESULTS / "jargon.json").read_text())
    seeds = [run["curve"] for run in runs if run["config"]["schedule"] == "word"]
    assert len(seeds) == 5
    history = minimal.main(40)
    for column, name in enumerate(["reward", "jargon_rate"]):
        found = fmean(numbers[column] for numbers in history[30:])
        theirs = [fmean(curve[name][30:40]) for curve in seeds]
        half = 2.7764 * stdev(theirs) * (1 + 1 / 5) ** 0.5  # Student's t of 4 degrees of freedom
        low, high = fmean(theirs) - half, fmean(theirs) + half
        with capsys.disabled():
            print(f"\n{name}: {found:.3f}, expected {low:.3f} to {high:.3f}")
        assert low <= found <= high
