"""The memory that `support.models.memory` computes, against the peak that an allocator counts."""

import copy
import functools
import json
import shlex
import weakref
from pathlib import Path

import pytest
import torch
from conftest import tiny
from pretended_gpu import pretended_gpu, to_gpu
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from model import GPT, GPTConfig, autocast, save_model
from rollout import generate
from support.models import memory
from support.models.weights import store_matrices
from support.runs.host_adamw import HostAdamW
from support.runs.options import command
from tandem import Handoff
from train import Config, update

ROOT = Path(__file__).parent.parent
MIDDLE = GPTConfig(4000, 4, 6, 3, 32, 192, 512, max_seq_len=256)
QWEN = dict(
    model_type="qwen3",
    num_hidden_layers=36,
    num_attention_heads=32,
    num_key_value_heads=8,
    head_dim=128,
)
QWEN |= dict(
    hidden_size=2560, intermediate_size=9728, vocab_size=151936, max_position_embeddings=40960
)
QWEN |= dict(rope_theta=1e6, rms_norm_eps=1e-6, tie_word_embeddings=True, hidden_act="silu")

main = command(functools.partial(memory.print_memory, Config))


class Counting(TorchDispatchMode):
    """Counts the bytes of all tensors that are alive: `now`, and at their `peak`."""

    def __init__(self, tensors):
        super().__init__()
        self.alive, self.now, self.peak = {}, 0, 0
        for tensor in tensors:
            self.see(tensor)

    def see(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.alive:
            self.alive[storage._cdata] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.gone, storage._cdata)

    def gone(self, key: int) -> None:
        self.now -= self.alive.pop(key)

    def __torch_dispatch__(self, operation, types, arguments=(), named=None):
        found = operation(*arguments, **(named or {}))
        for x in tree_leaves(found):
            if isinstance(x, torch.Tensor):
                self.see(x)
        return found


def measured(senior: GPT, junior: GPT, config: Config) -> dict[str, float]:
    """GB at the peak of a second rollout and update. All responses have the greatest length."""
    if config.precision == "bfloat16":
        for parameter in junior.parameters():  # as if they came so
            parameter.data.copy_(parameter.bfloat16())
        store_matrices(junior, torch.bfloat16)
    senior.checkpoint_activations = config.checkpoint_activations
    torch.manual_seed(0)
    V, P, G = senior.config.vocab_size, config.max_prompt_tokens, config.group_size
    prompts = [[1 + i] * P for i in range(config.prompts_per_step) for _ in range(G)]
    handoff = Handoff(config.schedule, boundary=torch.arange(V) % 3 == 0)
    optimizer = torch.optim.AdamW(senior.parameters(), fused=True)
    how = dict(end=-1, pad=0, max_new_tokens=config.max_new_tokens, temperature=1.0)
    writers, found = (senior, None if config.schedule == "solo" else junior), {}
    with Counting([*senior.parameters(), *junior.parameters()]) as counting:
        for step in range(2):
            for name in ("rollout", "update"):
                counting.peak = counting.now
                if name == "rollout":
                    with autocast(config.precision, senior.device):
                        rollout = generate(
                            *writers, prompts, handoff, batch_size=config.rollout_batch_size, **how
                        )
                    gate, A = (
                        rollout.authorship.float(),
                        torch.tensor([1.0, -1.0] * (len(prompts) // 2)),
                    )
                else:
                    update(senior, junior, optimizer, rollout, A, gate, step, config)
                found[f"{name}_gb"] = counting.peak / 1e9
    return found


@pytest.mark.parametrize(
    "shape, options",
    [
        ("default", {}),
        ("default", dict(checkpoint_activations=True)),
        ("default", dict(schedule="solo", rollout_batch_size=32)),
        ("middle", dict(micro_batch_tokens=1000)),
        ("middle", dict(micro_batch_tokens=1000, checkpoint_activations=True, max_new_tokens=100)),
        ("middle", dict(precision="bfloat16", micro_batch_tokens=300)),
    ],
)
def test_the_computed_memory_is_within_a_tenth_of_the_measured(shape, options):
    if shape == "default":
        config = Config(max_prompt_tokens=40, data="problems.jsonl", **options)
        senior, junior = GPT(GPTConfig()), GPT(GPTConfig(n_layers=2, d_model=64, d_ff=176))
    else:
        small = dict(
            prompts_per_step=4,
            group_size=4,
            max_new_tokens=24,
            max_prompt_tokens=60,
            data="problems.jsonl",
        )
        config = Config(**(small | {"senior": "a directory"} | options))
        senior, junior = GPT(MIDDLE), GPT(MIDDLE)
    found = measured(senior, junior.requires_grad_(False), config)
    computed = memory.totals(senior.config, junior.config, config)
    for name in ("rollout_gb", "update_gb"):
        assert computed[name] == pytest.approx(found[name], rel=0.1), (name, computed, found)


def test_parameters_are_counted_as_they_are():
    for sizes in ({}, dict(qk_norm=True, tie_embeddings=False), dict(qkv_bias=True)):
        model = tiny(0, **sizes)
        assert memory.parameters(model.config) == sum(
            parameter.numel() for parameter in model.parameters()
        )


def test_the_command_says_what_a_model_needs_before_it_is_loaded(tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps(QWEN))
    script = (ROOT / "results" / "paper.sh").read_text(encoding="utf-8").partition('train.py" ')[2]
    values = {"$senior": str(tmp_path), "$data": "p.jsonl", "${@:3}": "--json"}
    main([values.get(word, word) for word in shlex.split(script.replace(chr(92) + "\n", " "))])
    found = json.loads(capsys.readouterr().out)
    assert (
        found["peak_gb"]
        == max(found[f"{phase}_gb"] for phase in ("rollout", "update", "evaluate"))
        <= 76
    )
    assert found["card_gb"] == 80 and found["phases"]["rollout"]["senior"] == 4 * 4_022_468_096
    others = "--data p.jsonl --max-prompt-tokens 1024 --max-new-tokens 3000 --precision bfloat16"
    others += " --rollout-batch-size 43"
    main([str(tmp_path / "config.json"), *others.split(), "--checkpoint-activations"])
    shown = capsys.readouterr().out
    assert "a card of 141 GB holds it" in shown
    assert "--offload-optimizer true would save 32" in shown
    main([])
    shown = capsys.readouterr().out
    assert "a card of 16 GB holds it" in shown
    assert "memory, computed, in MB: rollout" in shown  # of the small pair there would be 0.0 GB
    assert "senior 1.53, junior 0.60" in shown


def test_another_worlds_pair_is_the_one_that_its_run_would_take(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["--world", "work"])
    assert "runs/base-work/senior.pt" in (error := capsys.readouterr().err)
    assert error.count("\n") == 1
    (tmp_path / "runs" / "base-work").mkdir(parents=True)
    for name, layers in (("senior", 3), ("junior", 1)):
        save_model(tiny(0, n_layers=layers), tmp_path / "runs" / "base-work" / f"{name}.pt")
    pair = memory.configs(Config(world="work"))
    assert [shape.n_layers for shape in pair] == [3, 1]


@pytest.mark.parametrize("model", ["absent", "absent/config.json", "empty"])
def test_a_model_that_says_no_shape_is_one_line(tmp_path, monkeypatch, capsys, model):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as stopped:
        main([model])
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.count("\n") == 1
    assert model in error
    assert "config.json" in error


def test_moments_in_host_memory_take_the_same_steps_to_the_bit():
    models, optimizers = [tiny(0), tiny(0)], []
    for model, kind in zip(models, (torch.optim.AdamW, HostAdamW), strict=True):
        optimizers.append(kind(model.parameters(), lr=1e-2, weight_decay=0.1, fused=True))
    for step in range(4):
        for model, optimizer in zip(models, optimizers, strict=True):
            model(torch.arange(6)[None] + step).logsumexp(dim=-1).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        # either's is the other's
        optimizers[1].load_state_dict(copy.deepcopy(optimizers[step % 2].state_dict()))
    assert all(
        torch.equal(a, b) for a, b in zip(*(model.parameters() for model in models), strict=True)
    )


def test_moments_in_host_memory_are_there_between_steps():
    with pretended_gpu():
        model = to_gpu(tiny(0))
        optimizer = HostAdamW(model.parameters(), foreach=False)
        for _ in range(2):
            for parameter in model.parameters():
                parameter.grad = torch.ones_like(parameter)
            optimizer.step()
            state = [value for values in optimizer.state.values() for value in values.values()]
            assert state and {value.device.type for value in state} == {"cpu"}
        assert all(
            len(group["params"]) == len(list(model.parameters()))
            for group in optimizer.param_groups
        )


def test_a_junior_that_came_in_bfloat16_is_one_tensor_less():
    model = tiny(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
    store_matrices(model, torch.bfloat16)
    assert model.head.weight is model.embedding.weight
    assert model.embedding.weight.dtype == torch.bfloat16
