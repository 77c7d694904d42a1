"""The model against another library's, and its cached path against one uncached forward."""

import itertools

import pytest
import torch
from conftest import tiny

from model import GPTConfig, autocast, load_model, save_model
from support.fast_engine import KVCache
from support.models.weights import store_matrices
from support.runs.files import read_model

PROMPTS = [3, 1, 7, 5]  # lengths, ragged


def left_padded(lengths, total, vocab=37, seed=0):
    """Random tokens, padded on the left with token 0: (B, total) and each row's start (B,)."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, vocab, (len(lengths), total), generator=generator)  # (B, T)
    start = torch.tensor([max(lengths) - n for n in lengths])  # (B,)
    tokens[torch.arange(total) < start[:, None]] = 0
    return tokens, start


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("qk_norm", [False, True])
def test_cached_chunked_and_ragged_generation_gives_the_logits_of_one_forward(
    dtype, tolerance, qk_norm
):
    model = tiny(0, qk_norm=qk_norm).to(dtype)
    reference = tiny(0, qk_norm=qk_norm).double()
    tokens, start = left_padded(PROMPTS, 20)
    cache = KVCache(model.config, len(PROMPTS), 20, start, like=model.embedding.weight)
    chunks = [
        7,
        1,
        3,
        1,
        1,
        5,
        2,
    ]  # the prompts, then chunks of several sizes on a cache that isn't empty
    with torch.no_grad():
        logits = torch.cat(
            [model(part, cache) for part in tokens.split(chunks, dim=1)], dim=1
        )  # (B, T, V)
        for row in range(len(PROMPTS)):
            alone = reference(tokens[row : row + 1, start[row] :])[0]  # (T - start, V)
            assert (logits[row, start[row] :] - alone).abs().max() < tolerance * alone.abs().max()
    assert cache.length == sum(chunks) == 20


def test_both_halves_of_a_cache_follow_the_rows_that_are_kept_or_repeated():
    model = tiny(0)
    tokens, start = left_padded(PROMPTS, 12)
    rows = torch.tensor([2, 0, 0, 3])
    cache = KVCache(model.config, len(PROMPTS), 12, start, like=model.embedding.weight)
    with torch.no_grad():
        model(tokens[:, :8], cache)
        cache.select(rows)
        logits = model(tokens[rows, 8:], cache)  # (4, 4, V)
        for i, row in enumerate(rows.tolist()):
            alone = model(tokens[row : row + 1, start[row] :])[0, -4:]
            torch.testing.assert_close(logits[i], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("growth", [1, 5, 512])
@pytest.mark.parametrize("steps_before_keeping", [0, 2, 13])
def test_texts_that_share_a_prompt_have_the_logits_that_they_have_alone(
    monkeypatch, growth, steps_before_keeping
):
    """While they share it, in slots that grow, where a row is left to each as they get long, and when some are dropped."""
    monkeypatch.setattr("support.fast_engine.GROWTH", growth)
    model, G = tiny(0), 3
    prompts, start = left_padded(PROMPTS, 7)
    words = torch.randint(
        1, 37, (len(PROMPTS) * G, 20), generator=torch.Generator().manual_seed(1)
    )  # (texts, T)
    texts = torch.cat((prompts.repeat_interleave(G, dim=0), words), dim=1)  # (texts, P + T)
    alone = [
        model(text[begin:][None])[0]
        for text, begin in zip(texts, start.repeat_interleave(G), strict=True)
    ]
    cache = KVCache(model.config, len(PROMPTS), 27, start, like=model.embedding.weight)
    kept, groups = torch.arange(len(texts)), set()
    with torch.no_grad():
        model(prompts, cache)
        cache.share_prompt(G)
        for t in range(20):
            if t == steps_before_keeping:
                kept = torch.tensor([9, 10, 11, 0, 1, 2, 9, 10, 11])
                cache.select(kept)
            groups.add(cache.group)
            logits = model(words[kept, t : t + 1], cache)[:, 0]  # (texts, V)
            for row, found in zip(kept.tolist(), logits, strict=True):
                torch.testing.assert_close(
                    found, alone[row][len(alone[row]) - 20 + t], atol=1e-5, rtol=1e-5
                )
    assert groups == ({3} if growth == 512 else {1, 3})
    assert cache.k[0].shape[2] <= 7 + 3 * 20  # no more than the limit, whatever it grows by


def test_texts_that_share_a_prompt_part_when_they_are_longer_than_it(monkeypatch):
    monkeypatch.setattr("support.fast_engine.GROWTH", 8)
    model, prompts = tiny(0), torch.tensor([[1, 2, 3], [4, 5, 6]])
    cache = KVCache(model.config, 2, 40, like=model.embedding.weight)
    with torch.no_grad():
        model(prompts, cache)
        cache.share_prompt(4)
        groups = [model(torch.full((8, 1), t), cache) is None or cache.group for t in range(12)]
    assert groups == [4] * 4 + [1] * 8 and cache.length == 15
    with pytest.raises(ValueError, match="one token at a time"):
        cache.group = 4
        cache.read(2)


def fused(theirs: dict) -> dict:
    """The tensors of a transformers model under our names, fused as ours are."""
    state = {
        "embedding.weight": theirs["model.embed_tokens.weight"],
        "norm.weight": theirs["model.norm.weight"],
    }
    state["head.weight"] = theirs["lm_head.weight"]
    names = {
        "attention.qkv": "self_attn.q_proj self_attn.k_proj self_attn.v_proj",
        "mlp.down": "mlp.down_proj",
    }
    names |= {"attention.q_norm": "self_attn.q_norm", "attention.k_norm": "self_attn.k_norm"}
    names |= {"attention.out": "self_attn.o_proj", "mlp.gate_up": "mlp.gate_proj mlp.up_proj"}
    names |= {"attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm"}
    for i, (ours, parts), kind in itertools.product(range(2), names.items(), ("weight", "bias")):
        found = [theirs.get(f"model.layers.{i}.{part}.{kind}") for part in parts.split()]
        if found[0] is not None:
            state[f"blocks.{i}.{ours}.{kind}"] = torch.cat(found)
    return state


LLAMA_3_ROPE = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
LLAMA_3_ROPE |= dict(original_max_position_embeddings=16)


@pytest.mark.parametrize("family", ["Llama", "Llama 3 rope", "Qwen2", "Qwen3"])
def test_the_architecture_is_that_of_transformers(family):
    transformers = pytest.importorskip("transformers")
    name = family.split()[0]
    sizes = dict(
        vocab_size=37, max_position_embeddings=64, rms_norm_eps=1e-5, tie_word_embeddings=False
    )
    sizes |= dict(
        hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, head_dim=8
    )
    sizes |= dict(num_key_value_heads=2)
    rope = {"rope_theta": 500.0, "rope_type": "default"} | (
        LLAMA_3_ROPE if "rope" in family else {}
    )
    config = getattr(transformers, f"{name}Config")(**sizes, rope_parameters=rope)
    torch.manual_seed(0)
    theirs = getattr(transformers, f"{name}ForCausalLM")(config).double().eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(mean=1.0 if parameter.dim() == 1 else 0.0, std=0.3)
    sizes = dict(
        d_model=32,
        tie_embeddings=False,
        qkv_bias=name == "Qwen2",
        qk_norm=name == "Qwen3",
        rope_theta=500.0,
    )
    ours = tiny(0, **sizes, rope_scaling=LLAMA_3_ROPE if "rope" in family else None)
    ours.load_state_dict(fused(theirs.state_dict()))
    ours = ours.double()
    tokens = torch.randint(0, 37, (2, 64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        # Both compute cosines and sines in float32, hence the tolerance.
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-4, rtol=1e-4)


def test_bad_sizes_and_too_long_inputs_name_what_is_wrong():
    with pytest.raises(ValueError, match="n_heads"):
        GPTConfig(n_heads=4, n_kv_heads=3)
    with pytest.raises(ValueError, match="head_dim"):
        GPTConfig(head_dim=7)
    with pytest.raises(ValueError, match="max_seq_len"):
        tiny(0)(torch.zeros(1, 65, dtype=torch.long))


def test_under_autocast_the_cache_has_its_precision_and_gives_the_same_logits():
    model, tokens = (
        tiny(0),
        torch.randint(0, 37, (3, 12), generator=torch.Generator().manual_seed(0)),
    )
    with torch.no_grad(), autocast("bfloat16", model.device):
        cache = KVCache(model.config, 3, 12, like=model.embedding.weight)
        cached = torch.cat(
            [model(part, cache) for part in tokens.split([5, *[1] * 7], dim=1)], dim=1
        )
        whole = model(tokens)
    assert cache.k[0].dtype == torch.bfloat16 and cached.dtype == torch.bfloat16
    torch.testing.assert_close(cached, whole, atol=0.15, rtol=0.02)
    with torch.no_grad():
        torch.testing.assert_close(cached.float(), model(tokens), atol=0.15, rtol=0.02)
    with autocast("float32", model.device):
        assert KVCache(model.config, 3, 12, like=model.embedding.weight).k[0].dtype == torch.float32


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_checkpointed_activations_give_the_same_gradient_from_a_state_a_layer(precision):
    tokens, losses, gradients, kept = torch.arange(60).view(2, 30) % 37, [], [], []
    for again in (False, True):
        model, saved = tiny(0, n_layers=6), {}
        model.checkpoint_activations = again
        weights = {parameter.data_ptr() for parameter in model.parameters()}

        def keep(tensor, saved=saved, weights=weights):
            if tensor.data_ptr() not in weights:
                saved[tensor.data_ptr()] = tensor
            return tensor

        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
            autocast(precision, model.device),
        ):
            loss = (
                model(tokens)[:, :-1]
                .float()
                .log_softmax(dim=-1)
                .gather(2, tokens[:, 1:, None])
                .mean()
            )
        loss.backward()
        losses.append(loss.item())
        gradients.append([parameter.grad for parameter in model.parameters()])
        kept.append(sum(tensor.nbytes for tensor in saved.values()))
    assert losses[0] == losses[1] and all(
        torch.equal(*pair) for pair in zip(*gradients, strict=True)
    )
    states = 6 * tokens.numel() * 16 * 4  # the layers' inputs, which the hooks don't see
    assert kept[1] + states < kept[0] / 4


def test_a_cache_is_written_once_whatever_is_kept_for_a_gradient():
    model, tokens, found = tiny(0), torch.arange(8).view(1, 8), []
    for model.checkpoint_activations in (False, True):
        cache = KVCache(model.config, 1, 16, like=model.embedding.weight)
        model.zero_grad()
        model(tokens, cache).logsumexp(dim=-1).sum().backward()
        found.append(model.embedding.weight.grad)
    torch.testing.assert_close(*found)


@pytest.mark.parametrize(
    "sizes", [{}, dict(tie_embeddings=False, qkv_bias=True), dict(qk_norm=True)]
)
def test_matrices_kept_in_bfloat16_give_the_logits_of_autocast_to_the_bit(sizes):
    model, tokens = tiny(0, **sizes), torch.arange(40).view(2, 20) % 37
    whole = sum(parameter.nbytes for parameter in model.parameters())
    with torch.no_grad(), autocast("bfloat16", model.device):
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
        expected = model(tokens)
        store_matrices(model, torch.bfloat16)
        assert torch.equal(model(tokens), expected)
    kinds = {name: parameter.dtype for name, parameter in model.named_parameters()}
    assert all(
        (kind == torch.float32) == ("norm" in name or "embedding" in name)
        for name, kind in kinds.items()
    )
    assert kinds["head.weight"] == torch.bfloat16 and not model.head.weight.requires_grad
    assert sum(parameter.nbytes for parameter in model.parameters()) < 0.75 * whole


def test_a_saved_model_is_loaded_to_the_bit_and_in_eval_mode(tmp_path):
    for model in (tiny(3), tiny(3, tie_embeddings=False)):
        save_model(model.train(), tmp_path / "m.pt")
        for loaded in (load_model(tmp_path / "m.pt"), read_model(tmp_path / "m.pt")):
            assert not loaded.training and loaded.config == model.config
            assert all(map(torch.equal, loaded.state_dict().values(), model.state_dict().values()))
            assert (loaded.head.weight is loaded.embedding.weight) == model.config.tie_embeddings
