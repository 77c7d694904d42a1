"""The plain engine and the fast one read alike: logits, responses and gradients, in both precisions."""

import pytest
import torch
from conftest import tiny
from torch.testing import assert_close

import engine
import rollout
from support import fast_engine
from tandem import Handoff

PROMPTS = [[1, 2, 3]] * 4 + [[4]] * 4 + [[5, 6, 7, 8, 9]] * 4  # ragged, in groups of four
OTHERS = [[1, 2, 3], [4], [4], [5, 6, 7, 8, 9], [1, 2, 3], [7, 7]]  # some repeated, no groups
T = 24
CLOSE = {torch.float64: dict(rtol=0, atol=1e-9), torch.float32: dict(rtol=1e-4, atol=1e-4)}


def pair(dtype: torch.dtype) -> list:
    senior = tiny(0)
    junior = tiny(1, n_layers=1, n_heads=2, n_kv_heads=2)
    return [senior.to(dtype), junior.to(dtype)]


@torch.no_grad()
def logits_of(reader, models, prompts, tokens, lengths) -> torch.Tensor:
    """Of every model, row and token; 0 behind a row's length. Finished rows leave at once."""
    V = models[0].config.vocab_size
    out = torch.zeros(len(models), len(prompts), T, V, dtype=models[0].embedding.weight.dtype)
    rows = torch.arange(len(prompts))
    caches, logits = reader.prefill(models, prompts, T, pad=0)
    with reader.reading(models) as read:
        for t in range(T):
            out[:, rows, t] = torch.stack(logits)
            going = caches[0].unfinished(lengths[rows] <= t + 1)
            if len(going) == 0:
                break
            for cache in caches:
                cache.select(going)
            rows = rows[going]
            logits = read(tokens[rows, t], caches)
    written = torch.arange(T) < lengths[:, None]  # (N, T)
    return out * written[:, :, None]


@pytest.mark.parametrize("prompts", [PROMPTS, OTHERS])
@pytest.mark.parametrize("dtype", CLOSE)
def test_both_engines_give_the_same_logits_while_rows_finish(prompts, dtype):
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 37, (len(prompts), T), generator=generator)
    lengths = torch.randint(1, T + 1, (len(prompts),), generator=generator)
    models = pair(dtype)
    plain = logits_of(engine, models, prompts, tokens, lengths)
    fast = logits_of(fast_engine, models, prompts, tokens, lengths)
    assert plain.abs().sum() > 0
    assert_close(plain, fast, **CLOSE[dtype])


def generate(models, prompts, schedule: str) -> rollout.Rollout:
    words = torch.arange(37) % 3 == 0  # (V,)
    handoff = Handoff(schedule, boundary=words, delimiter=words, max_gap=5)
    sampling = dict(temperature=1.0, generator=torch.Generator().manual_seed(2))
    return rollout.generate(
        *models, prompts, handoff, end=[11, 12], pad=0, max_new_tokens=T, **sampling
    )


@pytest.mark.parametrize("schedule", ["word", "step"])
@pytest.mark.parametrize("prompts", [PROMPTS, OTHERS])
@pytest.mark.parametrize("dtype", CLOSE)
def test_both_engines_give_the_same_responses_and_gradients(monkeypatch, dtype, prompts, schedule):
    models = pair(dtype)
    fast = generate(models, prompts, schedule)
    for name in ("prefill", "reading"):
        monkeypatch.setattr(rollout, name, getattr(engine, name))
    plain = generate(models, prompts, schedule)
    lengths = plain.mask.sum(dim=1)
    assert lengths.min() < lengths.max() and 0 < plain.authorship.sum() < plain.mask.sum()
    for name in ("tokens", "authorship", "mask"):
        assert torch.equal(getattr(plain, name), getattr(fast, name))
    for name in ("senior_logprobs", "junior_logprobs"):  # float32 in both precisions
        assert_close(getattr(plain, name), getattr(fast, name), **CLOSE[torch.float32])

    senior = models[0]
    weights = torch.randn(
        int(plain.authorship.sum()), 16, generator=torch.Generator().manual_seed(3)
    )
    gradients = []
    for reader in (engine, fast_engine):
        senior.zero_grad()
        states = reader.response_states(senior, plain, plain.authorship)  # (M, C)
        (states * weights).sum().backward()
        found = [parameter.grad for parameter in senior.parameters() if parameter.grad is not None]
        gradients.append([states.detach(), *found])
    assert len(gradients[0]) > 10
    for one, other in zip(*gradients, strict=True):
        size = 1 + one.abs().max().item()
        assert_close(one / size, other / size, **CLOSE[dtype])
