"""On a pretended GPU: no operation mixes devices, and a rollout doesn't wait for the GPU at every token."""

import pytest
import torch
import torch.nn.functional as F
from conftest import tiny
from pretended_gpu import pretended_gpu, to_gpu

from model import GPT, autocast
from rollout import Rollout, generate
from tandem import Handoff
from train import Config, update


def pair() -> tuple[GPT, GPT]:
    return tiny(0, max_seq_len=128), tiny(
        1, max_seq_len=128, n_layers=1, d_model=12
    ).requires_grad_(False)


def roll(senior, junior, schedule="word", new=64, precision="float32") -> Rollout:
    """Six responses to three prompts. No token ends them."""
    handoff = Handoff(schedule, boundary=torch.arange(senior.config.vocab_size) % 3 == 0, max_gap=4)
    common = dict(
        end=-1,
        pad=0,
        max_new_tokens=new,
        temperature=1.0,
        generator=torch.Generator().manual_seed(0),
    )
    with autocast(precision, senior.device):
        prompts = [prompt for prompt in ([1, 2, 3], [4], [5, 6]) for _ in range(2)]
        return generate(senior, None if schedule == "solo" else junior, prompts, handoff, **common)


def step_launches(senior, junior, schedule="word", precision="float32"):
    """What a decode step launches, by operation: a rollout of 3 tokens less one of 2."""
    counts = []
    for new in (3, 2):
        with pretended_gpu() as log:
            roll(to_gpu(senior), to_gpu(junior), schedule, new, precision)
        counts.append(log.launches)
    return counts[0] - counts[1]


def test_operations_on_both_devices_raise():
    with pretended_gpu():
        x, host, q = (
            torch.ones(4, 4, device="cuda"),
            torch.ones(4, 4),
            torch.ones(1, 2, 3, 8, device="cuda"),
        )
        mixed = (
            lambda: x + host,
            lambda: x.index_select(0, torch.arange(2)),
            lambda: host[x.long()[0]],
            lambda: torch.tensor(1.0).mul_(x[0, 0]),
            lambda: torch.rand(3, device="cuda", generator=torch.Generator()),
            lambda: F.scaled_dot_product_attention(q, q.cpu(), q),
            lambda: F.scaled_dot_product_attention(q, q.bfloat16(), q),
            lambda: F.scaled_dot_product_attention(q, q, q, attn_mask=torch.zeros(3, 3)),
            lambda: F.scaled_dot_product_attention(
                q, q, q, torch.zeros(3, 3, dtype=torch.bfloat16, device="cuda")
            ),
        )
        for operation in mixed:
            with pytest.raises(RuntimeError):
                operation()
        assert (x + torch.tensor(1.0)).device.type == (torch.tensor(1.0) * x).device.type == "cuda"


def test_waits_for_the_gpu_are_noted():
    with pretended_gpu() as log:
        x, host, rows = (
            torch.ones(4, 4, device="cuda"),
            torch.ones(4, 4),
            torch.arange(2, device="cuda"),
        )
        waiting = (
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
        )
        others = (
            lambda: x[rows, None, 1:],
            lambda: x.__setitem__(x > 0, 2.0),
            lambda: x.__setitem__(slice(2), 2.0),
            lambda: host.to("cuda", non_blocking=True),
            lambda: torch.isin(rows, rows).cumsum(0),
            lambda: torch.where(x > 0, x, 0.0),
            lambda: x.to("cuda:0"),
        )
        for count, operations in ((1, waiting), (0, others)):
            for operation in operations:
                log.waits.clear()
                operation()
                assert sum(log.waits.values()) == count, operation.__code__.co_firstlineno
                assert all(where.startswith("test_gpu.py:") for where in log.waits)


def test_a_fault_in_the_project_is_found(monkeypatch):
    """A wait at every token, and a mask that is left on the CPU."""
    start, next_author = Handoff.start, Handoff.next

    def next_with_a_wait(self, tokens):
        tokens[0].item()
        return next_author(self, tokens)

    def start_on_the_cpu(self, *arguments):
        author = start(self, *arguments)
        self.boundary = self.boundary.cpu()
        return author

    with monkeypatch.context() as patch, pretended_gpu() as log:
        patch.setattr(Handoff, "next", next_with_a_wait)
        roll(*map(to_gpu, pair()), new=9)
    line = next_with_a_wait.__code__.co_firstlineno + 1
    assert log.waits[f"test_gpu.py:{line} _local_scalar_dense"] == 9
    monkeypatch.setattr(Handoff, "start", start_on_the_cpu)
    with (
        pretended_gpu(),
        pytest.raises(RuntimeError, match=r"tandem.py:\d+ index: .* on the CPU and on cuda:0"),
    ):
        roll(*map(to_gpu, pair()), new=9)


@pytest.mark.parametrize("schedule", ["word", "solo"])
def test_a_rollout_waits_when_it_looks_for_finished_rows_alone(schedule):
    counts, expected = {}, roll(*pair(), schedule)
    for new in (32, 64):
        with pretended_gpu() as log:
            found = roll(*map(to_gpu, pair()), schedule, new)
        counts[new] = log.waits
    assert found.tokens.device.type == "cuda" and found.tokens.held.equal(expected.tokens)
    assert counts[64].total() <= 8, counts[64]
    assert counts[64].total() - counts[32].total() <= (64 - 32) / 16, counts[64] - counts[32]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_rollout_and_its_update_run(precision):
    """In float32 the update is the CPU's; in bfloat16 it sees the rollout's distribution up to rounding."""
    results = []
    for place in (lambda model: model, to_gpu):
        senior, junior = map(place, pair())
        with pretended_gpu() as log:
            rollout = roll(senior, junior, new=12, precision=precision)
            A = torch.tensor([1.0, -1.0] * 3, device=senior.device)
            optimizer, gate = (
                torch.optim.AdamW(senior.parameters(), foreach=False),
                rollout.authorship.float(),
            )
            results.append(
                update(senior, junior, optimizer, rollout, A, gate, 0, Config(precision=precision))
            )
    assert log.launches["mm"] > 100 and senior.head.weight is senior.embedding.weight
    if precision == "float32":
        assert results[1]["grad_norm"] == pytest.approx(results[0]["grad_norm"], rel=1e-4)
    assert results[1]["update_ratio_error"] < (1e-4 if precision == "float32" else 0.1)


def test_launches_of_a_decode_step():
    """A layer's four products, attention and two norms, each a launch; of both models under `word`."""
    for schedule, layers in (("word", 2 + 1), ("solo", 2)):
        models = 2 if schedule == "word" else 1
        step = step_launches(*pair(), schedule)
        assert step["mm"] == 4 * layers + models and step["rms_norm"] == 2 * layers + models
        assert step["scaled_dot_product_attention"] == layers
    assert (
        step_launches(*pair(), precision="bfloat16")["_to_copy"]
        > step_launches(*pair())["_to_copy"]
    )
