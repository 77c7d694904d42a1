"""The plain engine and the fast one read alike: logits, responses, gradients, both precisions."""

from contextlib import contextmanager

import pytest
import torch
from conftest import tiny
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import engine
import rollout
from support import fast_engine
from tandem import Handoff

pytestmark = pytest.mark.fast

# Prompts of several lengths, in groups of four.
PROMPTS = [[1, 2, 3]] * 4 + [[4]] * 4 + [[5, 6, 7, 8, 9]] * 4
# Some of these are repeated, and there are no groups.
OTHERS = [[1, 2, 3], [4], [4], [5, 6, 7, 8, 9], [1, 2, 3], [7, 7]]
T = 24
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
RELATIVE = {torch.float64: 0.0, torch.float32: 1e-4}


def pair(dtype: torch.dtype) -> list:
    senior = tiny(0)
    junior = tiny(1, n_layers=1, n_heads=2, n_kv_heads=2)
    return [senior.to(dtype), junior.to(dtype)]


def assert_near(found, expected, dtype: torch.dtype) -> None:
    """Equal up to the rounding of computations in `dtype`."""
    assert_close(found, expected, rtol=RELATIVE[dtype], atol=TOLERANCE[dtype])


@torch.no_grad()
def logits_of(reader, models, prompts, tokens, lengths) -> torch.Tensor:
    """Of every model, row and token, and 0 behind a row's length. Finished rows leave at once."""
    V = models[0].config.vocab_size
    dtype = models[0].embedding.weight.dtype
    out = torch.zeros(len(models), len(prompts), T, V, dtype=dtype)
    rows = torch.arange(len(prompts))
    caches, logits = reader.prefill(models, prompts, T, pad=0)
    with reader.reading(models) as read:
        for t in range(T):
            out[:, rows, t] = torch.stack(logits)
            done = lengths[rows] <= t + 1
            going = caches[0].unfinished(done)
            if len(going) == 0:
                break
            for cache in caches:
                cache.select(going)
            rows = rows[going]
            logits = read(tokens[rows, t], caches)
    written = torch.arange(T) < lengths[:, None]  # (N, T)
    return out * written[:, :, None]


@pytest.mark.parametrize("prompts", [PROMPTS, OTHERS])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_both_engines_give_the_same_logits_while_rows_finish(prompts, dtype):
    N = len(prompts)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 37, (N, T), generator=generator)
    lengths = torch.randint(1, T + 1, (N,), generator=generator)
    models = pair(dtype)
    plain = logits_of(engine, models, prompts, tokens, lengths)
    fast = logits_of(fast_engine, models, prompts, tokens, lengths)
    assert plain.abs().sum() > 0
    assert_near(plain, fast, dtype)


def generate(models, prompts, schedule: str) -> rollout.Rollout:
    senior, junior = models
    words = torch.arange(37) % 3 == 0  # (V,)
    return rollout.generate(
        senior,
        junior,
        prompts,
        Handoff(schedule, boundary=words, delimiter=words, max_gap=5),
        end=[11, 12],
        pad=0,
        max_new_tokens=T,
        temperature=1.0,
        generator=torch.Generator().manual_seed(2),
    )


def states_and_gradients(reader, senior, written) -> list[torch.Tensor]:
    """The states of the senior's tokens, and the gradient of a random sum of them."""
    generator = torch.Generator().manual_seed(3)
    senior.zero_grad()
    states = reader.response_states(senior, written, written.authorship)  # (M, C)
    weights = torch.randn(states.shape, generator=generator)  # (M, C)
    (states * weights).sum().backward()
    gradients = [parameter.grad for parameter in senior.parameters()]
    found = [gradient for gradient in gradients if gradient is not None]
    return [states.detach(), *found]


@pytest.mark.parametrize("schedule", ["word", "step"])
@pytest.mark.parametrize("prompts", [PROMPTS, OTHERS])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_both_engines_give_the_same_responses_and_gradients(monkeypatch, dtype, prompts, schedule):
    models = pair(dtype)
    fast = generate(models, prompts, schedule)
    monkeypatch.setattr(rollout, "prefill", engine.prefill)
    monkeypatch.setattr(rollout, "reading", engine.reading)
    plain = generate(models, prompts, schedule)
    lengths = plain.mask.sum(dim=1)
    assert lengths.min() < lengths.max()
    assert 0 < plain.authorship.sum() < plain.mask.sum()
    assert torch.equal(plain.tokens, fast.tokens)
    assert torch.equal(plain.authorship, fast.authorship)
    assert torch.equal(plain.mask, fast.mask)
    # Recorded in float32, whatever the precision of the models.
    assert_near(plain.senior_logprobs, fast.senior_logprobs, torch.float32)
    assert_near(plain.junior_logprobs, fast.junior_logprobs, torch.float32)

    senior = models[0]
    slow_found = states_and_gradients(engine, senior, plain)
    fast_found = states_and_gradients(fast_engine, senior, plain)
    assert len(slow_found) > 10
    for one, other in zip(slow_found, fast_found, strict=True):
        size = 1 + one.abs().max().item()
        assert_near(one / size, other / size, dtype)


class Recording(TorchDispatchMode):
    """A CUDA graph, on a CPU: it notes operations, and repeats them with the same tensors.

    While it records, no tensor changes that was there before.
    """

    def __init__(self):
        super().__init__()
        self.operations = []
        self.replays = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = args[0] if function._schema.is_mutable else function(*args, **kwargs)
        self.operations.append((function, args, kwargs, out))
        return out

    def replay(self) -> None:
        self.replays += 1
        for function, args, kwargs, out in self.operations:
            new = function(*args, **kwargs)
            for kept, found in zip(tree_leaves(out), tree_leaves(new), strict=True):
                if kept.data_ptr() != found.data_ptr():  # not changed in place, and no view
                    kept.copy_(found)


@pytest.mark.parametrize("growth", [8, 512])
@pytest.mark.parametrize("schedule", ["word", "solo"])
@pytest.mark.parametrize("prompts", [PROMPTS, OTHERS])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_recorded_token_gives_the_same_responses(monkeypatch, dtype, prompts, schedule, growth):
    models = pair(dtype)
    plain = generate(models, prompts, schedule)
    recordings = []

    def record(step):
        recording = Recording()
        recordings.append(recording)
        with recording:
            filled = step()
        return recording.replay, filled

    @contextmanager
    def reading(models):
        yield fast_engine.RecordedReading(models, record)

    monkeypatch.setattr(rollout, "reading", reading)
    monkeypatch.setattr(fast_engine, "GROWTH", growth)
    recorded = generate(models, prompts, schedule)
    assert len(recordings) > (growth == 8)  # one, and more where a cache grew
    assert sum(recording.replays for recording in recordings) > len(recordings)
    assert torch.equal(plain.tokens, recorded.tokens)
    assert torch.equal(plain.authorship, recorded.authorship)
    assert_near(plain.senior_logprobs, recorded.senior_logprobs, torch.float32)
    assert_near(plain.junior_logprobs, recorded.junior_logprobs, torch.float32)
