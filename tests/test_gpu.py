"""On a pretended GPU: no operation mixes devices, and a rollout doesn't wait at every token."""

import pytest
import torch
import torch.nn.functional as F
from conftest import tiny
from pretended_gpu import pretended_gpu, to_gpu

from model import GPT, autocast
from rollout import Rollout, generate
from support import fast_engine
from tandem import Handoff
from train import Config, update


def pair() -> tuple[GPT, GPT]:
    senior = tiny(0, max_seq_len=128)
    junior = tiny(1, max_seq_len=128, n_layers=1, d_model=12).requires_grad_(False)
    return senior, junior


def pair_on_gpu() -> tuple[GPT, GPT]:
    senior, junior = pair()
    return to_gpu(senior), to_gpu(junior)


def roll(senior, junior, schedule="word", new=64, precision="float32") -> Rollout:
    """Six responses to three prompts. No token ends them."""
    boundary = torch.arange(senior.config.vocab_size) % 3 == 0
    handoff = Handoff(schedule, boundary=boundary, max_gap=4)
    prompts = [[1, 2, 3], [1, 2, 3], [4], [4], [5, 6], [5, 6]]
    with autocast(precision, senior.device):
        return generate(
            senior,
            None if schedule == "solo" else junior,
            prompts,
            handoff,
            end=-1,
            pad=0,
            max_new_tokens=new,
            temperature=1.0,
            generator=torch.Generator().manual_seed(0),
        )


def step_launches(schedule="word", precision="float32"):
    """The launches of a decode step, by operation: a rollout of 3 tokens less one of 2."""
    counts = {}
    for new in (2, 3):
        with pretended_gpu() as log:
            roll(*pair_on_gpu(), schedule, new, precision)
        counts[new] = log.launches
    return counts[3] - counts[2]


def test_operations_on_both_devices_raise():
    attention = F.scaled_dot_product_attention
    with pretended_gpu():
        x = torch.ones(4, 4, device="cuda")
        host = torch.ones(4, 4)
        q = torch.ones(1, 2, 3, 8, device="cuda")
        half_mask = torch.zeros(3, 3, dtype=torch.bfloat16, device="cuda")
        mixed = [
            lambda: x + host,
            lambda: x.index_select(0, torch.arange(2)),
            lambda: host[x.long()[0]],
            lambda: torch.tensor(1.0).mul_(x[0, 0]),
            lambda: torch.rand(3, device="cuda", generator=torch.Generator()),
            lambda: attention(q, q.cpu(), q),
            lambda: attention(q, q.bfloat16(), q),
            lambda: attention(q, q, q, attn_mask=torch.zeros(3, 3)),
            lambda: attention(q, q, q, half_mask),
        ]
        for operation in mixed:
            with pytest.raises(RuntimeError):
                operation()
        one = torch.tensor(1.0)
        assert (x + one).device.type == (one * x).device.type == "cuda"


def test_waits_for_the_gpu_are_noted():
    with pretended_gpu() as log:
        x = torch.ones(4, 4, device="cuda")
        host = torch.ones(4, 4)
        rows = torch.arange(2, device="cuda")
        waiting = [
            lambda: x[torch.arange(2)],
            lambda: x.sum().item(),
            lambda: bool(x.any()),
            lambda: rows.tolist(),
            lambda: x[x > 0],
            lambda: x.nonzero(),
            lambda: x.masked_select(x > 0),
            lambda: torch.equal(x, x),
            lambda: x[:2].repeat_interleave(rows, 0),
            lambda: torch.tensor([1, 2], device="cuda"),
            lambda: x.copy_(host),
            lambda: host.copy_(x),
            lambda: x.cpu(),
            lambda: x.__setitem__(rows, 2.0),
        ]
        others = [
            lambda: x[rows, None, 1:],
            lambda: x.__setitem__(x > 0, 2.0),
            lambda: x.__setitem__(slice(2), 2.0),
            lambda: host.to("cuda", non_blocking=True),
            lambda: torch.isin(rows, rows).cumsum(0),
            lambda: torch.where(x > 0, x, 0.0),
            lambda: x.to("cuda:0"),
        ]
        for operation in waiting + others:
            log.waits.clear()
            operation()
            count = 1 if operation in waiting else 0
            assert log.waits.total() == count, operation.__code__.co_firstlineno
            assert all(where.startswith("test_gpu.py:") for where in log.waits)


def test_a_wait_at_every_token_is_found(monkeypatch):
    next_author = Handoff.next

    def next_with_a_wait(self, tokens):
        tokens[0].item()
        return next_author(self, tokens)

    monkeypatch.setattr(Handoff, "next", next_with_a_wait)
    with pretended_gpu() as log:
        roll(*pair_on_gpu(), new=9)
    line = next_with_a_wait.__code__.co_firstlineno + 1
    assert log.waits[f"test_gpu.py:{line} _local_scalar_dense"] == 8  # none before the first token


def test_a_mask_that_is_left_on_the_cpu_is_found(monkeypatch):
    start = Handoff.start

    def start_on_the_cpu(self, *arguments):
        author = start(self, *arguments)
        self.boundary = self.boundary.cpu()
        return author

    monkeypatch.setattr(Handoff, "start", start_on_the_cpu)
    error = r"tandem.py:\d+ index: .* on the CPU and on cuda:0"
    with pretended_gpu(), pytest.raises(RuntimeError, match=error):
        roll(*pair_on_gpu(), new=9)


@pytest.mark.parametrize("schedule", ["word", "solo"])
def test_a_rollout_waits_when_it_looks_for_finished_rows_alone(schedule):
    waits = {}
    for new in (32, 64):
        with pretended_gpu() as log:
            found = roll(*pair_on_gpu(), schedule, new)
        waits[new] = log.waits
    expected = roll(*pair(), schedule)
    assert found.tokens.device.type == "cuda"
    assert found.tokens.held.equal(expected.tokens)
    assert waits[64].total() <= 8, waits[64]
    more = waits[64].total() - waits[32].total()
    assert more <= (64 - 32) / 16, waits[64] - waits[32]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_graph_could_record_a_token(monkeypatch, precision):
    """Its reading never waits for the GPU, and copies nothing from the host."""
    with pretended_gpu() as log:
        expected = roll(*pair_on_gpu(), precision=precision)
    replays = []

    def record(step):
        logits = []

        def replay():
            waits = log.waits.total()
            logits[:] = step()
            replays.append(log.waits.total() - waits)

        return replay, logits

    monkeypatch.setattr(fast_engine, "GRAPHS", True)
    monkeypatch.setattr(fast_engine, "record_graph", record)
    with pretended_gpu() as log:
        found = roll(*pair_on_gpu(), precision=precision)
    assert len(replays) > 50 and set(replays) == {0}
    assert found.tokens.held.equal(expected.tokens.held)


def roll_and_update(senior, junior, precision) -> dict:
    """The metrics of an update by a short rollout."""
    rollout = roll(senior, junior, new=12, precision=precision)
    advantages = torch.tensor([1.0, -1.0] * 3, device=senior.device)
    optimizer = torch.optim.AdamW(senior.parameters(), foreach=False)
    gate = rollout.authorship.float()
    config = Config(precision=precision)
    return update(senior, junior, optimizer, rollout, advantages, gate, 0, config)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_rollout_and_its_update_run(precision):
    """In float32 the update is the CPU's; in bfloat16 it sees the rollout's distribution nearly."""
    with pretended_gpu():
        on_cpu = roll_and_update(*pair(), precision)
    senior, junior = pair_on_gpu()
    with pretended_gpu() as log:
        on_gpu = roll_and_update(senior, junior, precision)
    assert log.launches["mm"] > 100
    assert senior.head.weight is senior.embedding.weight
    if precision == "float32":
        assert on_gpu["grad_norm"] == pytest.approx(on_cpu["grad_norm"], rel=1e-4)
    assert on_gpu["update_ratio_error"] < (1e-4 if precision == "float32" else 0.1)


@pytest.mark.parametrize("schedule, models, layers", [("word", 2, 2 + 1), ("solo", 1, 2)])
def test_launches_of_a_decode_step(schedule, models, layers):
    """A layer's four products, attention and two norms, each a launch; of both models in `word`."""
    step = step_launches(schedule)
    assert step["mm"] == 4 * layers + models
    assert step["rms_norm"] == 2 * layers + models
    assert step["scaled_dot_product_attention"] == layers


def test_bfloat16_converts_at_every_step():
    converted = step_launches(precision="bfloat16")["_to_copy"]
    assert converted > step_launches(precision="float32")["_to_copy"]
