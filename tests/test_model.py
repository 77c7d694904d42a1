"""The model against another library's, and its cached path against one uncached forward."""

import pytest
import torch
from conftest import tiny

from model import GPT, GPTConfig, KVCache, autocast, load_model, save_model, store_matrices

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
def test_cached_chunked_and_ragged_generation_gives_the_logits_of_one_forward(dtype, tolerance, qk_norm):
    model = tiny(0, qk_norm=qk_norm).to(dtype)
    reference = tiny(0, qk_norm=qk_norm).double()
    total = 20
    tokens, start = left_padded(PROMPTS, total)
    cache = KVCache(model.config, len(PROMPTS), total, start, like=model.embedding.weight)
    chunks = [7, 1, 3, 1, 1, 5, 2]  # the prompts, then chunks of several sizes on a cache that isn't empty
    assert sum(chunks) == total
    with torch.no_grad():
        logits = torch.cat([model(part, cache) for part in tokens.split(chunks, dim=1)], dim=1)  # (B, T, V)
        for row in range(len(PROMPTS)):
            alone = reference(tokens[row : row + 1, start[row] :])[0]  # (T - start, V)
            assert (logits[row, start[row] :] - alone).abs().max() < tolerance * alone.abs().max()
    assert cache.length == total


def test_both_halves_of_a_cache_follow_the_rows_that_are_kept_or_repeated():
    model = tiny(0)
    tokens, start = left_padded(PROMPTS, 12)
    rows = torch.tensor([2, 0, 0, 3])
    cache = KVCache(model.config, len(PROMPTS), 12, start, like=model.embedding.weight)
    with torch.no_grad():
        model(tokens[:, :8], cache)
        cache.keep(rows)
        logits = model(tokens[rows, 8:], cache)  # (4, 4, V)
        for i, row in enumerate(rows.tolist()):
            alone = model(tokens[row : row + 1, start[row] :])[0, -4:]
            torch.testing.assert_close(logits[i], alone, atol=1e-5, rtol=1e-5)


def test_what_comes_later_or_stands_beside_changes_nothing():
    model = tiny(0)
    tokens, _ = left_padded([5, 5], 10)
    other = tokens.clone()
    other[0, 6:] = 1
    other[1] = 2
    with torch.no_grad():
        torch.testing.assert_close(model(tokens)[0, :6], model(other)[0, :6], atol=1e-6, rtol=0)
        assert (model(tokens)[0, 6:] - model(other)[0, 6:]).abs().max() > 1e-2


def copy_weights(ours: GPT, theirs) -> None:
    """A transformers model's tensors, fused as ours are."""
    source = theirs.state_dict()
    state = {"embedding.weight": source["model.embed_tokens.weight"], "norm.weight": source["model.norm.weight"]}
    state["head.weight"] = source["lm_head.weight"]
    for i in range(ours.config.n_layers):
        a, b = f"model.layers.{i}.", f"blocks.{i}."
        for kind in ("weight", "bias") if ours.config.qkv_bias else ("weight",):
            parts = [source[f"{a}self_attn.{x}_proj.{kind}"] for x in "qkv"]
            state[f"{b}attention.qkv.{kind}"] = torch.cat(parts)
        state[f"{b}attention.out.weight"] = source[f"{a}self_attn.o_proj.weight"]
        if ours.config.qk_norm:
            for x in "qk":
                state[f"{b}attention.{x}_norm.weight"] = source[f"{a}self_attn.{x}_norm.weight"]
        state[f"{b}mlp.gate_up.weight"] = torch.cat([source[f"{a}mlp.{x}_proj.weight"] for x in ("gate", "up")])
        state[f"{b}mlp.down.weight"] = source[f"{a}mlp.down_proj.weight"]
        state[f"{b}attention_norm.weight"] = source[f"{a}input_layernorm.weight"]
        state[f"{b}mlp_norm.weight"] = source[f"{a}post_attention_layernorm.weight"]
    ours.load_state_dict(state)


LLAMA_3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


@pytest.mark.parametrize("family", ["Llama", "Llama 3 rope", "Qwen2", "Qwen3"])
def test_the_architecture_is_that_of_transformers(family):
    transformers = pytest.importorskip("transformers")
    name = family.split()[0]
    sizes = dict(vocab_size=37, max_position_embeddings=64, rms_norm_eps=1e-5, tie_word_embeddings=False)
    sizes |= dict(hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4)
    sizes |= dict(num_key_value_heads=2, head_dim=8)
    rope = {"rope_theta": 500.0, "rope_type": "default"} | (LLAMA_3_ROPE if "rope" in family else {})
    config = getattr(transformers, f"{name}Config")(**sizes, rope_parameters=rope)
    torch.manual_seed(0)
    theirs = getattr(transformers, f"{name}ForCausalLM")(config).double().eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(mean=1.0 if parameter.dim() == 1 else 0.0, std=0.3)
    ours = GPT(
        GPTConfig(
            vocab_size=37,
            n_layers=2,
            n_heads=4,
            n_kv_heads=2,
            head_dim=8,
            d_model=32,
            d_ff=24,
            max_seq_len=64,
            rope_theta=500.0,
            tie_embeddings=False,
            qkv_bias=name == "Qwen2",
            qk_norm=name == "Qwen3",
            rope_scaling=LLAMA_3_ROPE if "rope" in family else None,
        )
    )
    copy_weights(ours, theirs)
    ours = ours.double().eval()
    tokens = torch.randint(0, 37, (2, 64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        # Both compute cosines and sines in float32, hence the tolerance.
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-4, rtol=1e-4)


def test_a_saved_model_is_loaded_to_the_bit_and_in_eval_mode(tmp_path):
    model = tiny(3)
    save_model(model.train(), tmp_path / "m.pt", step=7)
    loaded = load_model(tmp_path / "m.pt")
    assert not loaded.training and loaded.config == model.config
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))


class Payload:
    """Would create a file if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_files_that_are_no_checkpoint_are_refused_and_not_run(tmp_path):
    path, trace = tmp_path / "m.pt", tmp_path / "trace"
    torch.save({"config": Payload(str(trace)), "model": {}}, path)
    with pytest.raises(ValueError, match="not a checkpoint"):
        load_model(path)
    assert not trace.exists()
    path.write_text("hello")
    with pytest.raises(ValueError, match="not a checkpoint"):
        load_model(path)
    torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="not a checkpoint"):
        load_model(path)
    save_model(tiny(0), path)
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["config"]["d_ff"] = 99
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match="not a checkpoint"):
        load_model(path)
    path.write_bytes(b"\x80\x02X\x03\x00\x00\x00\xff\xfe\xfdq\x00.")  # a pickle with a string that is no UTF-8
    with pytest.raises(ValueError, match="not a checkpoint"):
        load_model(path)
    with pytest.raises(ValueError, match="can't be read"):
        load_model(tmp_path / "absent.pt")


def test_bad_sizes_and_too_long_inputs_name_what_is_wrong():
    with pytest.raises(ValueError, match="n_heads"):
        GPTConfig(n_heads=4, n_kv_heads=3)
    with pytest.raises(ValueError, match="head_dim"):
        GPTConfig(head_dim=7)
    with pytest.raises(ValueError, match="max_seq_len"):
        tiny(0)(torch.zeros(1, 65, dtype=torch.long))


def test_under_autocast_the_cache_has_its_precision_and_gives_the_same_logits():
    model, tokens = tiny(0), torch.randint(0, 37, (3, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), autocast("bfloat16", model.device):
        cache = KVCache(model.config, 3, 12, like=model.embedding.weight)
        cached = torch.cat(
            [model(tokens[:, :5], cache), *(model(tokens[:, t : t + 1], cache) for t in range(5, 12))], 1
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

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast(precision, model.device):
            loss = model(tokens)[:, :-1].float().log_softmax(dim=-1).gather(2, tokens[:, 1:, None]).mean()
        loss.backward()
        losses.append(loss.item())
        gradients.append([parameter.grad for parameter in model.parameters()])
        kept.append(sum(tensor.nbytes for tensor in saved.values()))
    assert losses[0] == losses[1] and all(torch.equal(*pair) for pair in zip(*gradients, strict=True))
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


@pytest.mark.parametrize("sizes", [{}, dict(tie_embeddings=False, qkv_bias=True), dict(qk_norm=True)])
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
    assert all((kind == torch.float32) == ("norm" in name or "embedding" in name) for name, kind in kinds.items())
    assert kinds["head.weight"] == torch.bfloat16 and not model.head.weight.requires_grad
    assert sum(parameter.nbytes for parameter in model.parameters()) < 0.75 * whole
