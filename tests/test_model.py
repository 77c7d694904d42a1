"""The model against another library's, and its cached path against one uncached forward."""

import pytest
import torch
from conftest import tiny
from torch.testing import assert_close

from model import GPT, GPTConfig, autocast, load_model, save_model
from support.fast_engine import KVCache
from support.models.weights import store_matrices
from support.runs.files import read_model

pytestmark = pytest.mark.fast

PROMPTS = [3, 1, 7, 5]  # lengths


def random_tokens(rows: int, length: int, seed: int = 0) -> torch.Tensor:
    """None of them is 0, which pads."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, 37, (rows, length), generator=generator)


def left_padded(lengths: list[int], total: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random tokens, padded on the left with token 0, (B, total), and each row's start (B,)."""
    tokens = random_tokens(len(lengths), total)  # (B, T)
    start = torch.tensor([max(lengths) - n for n in lengths])  # (B,)
    tokens[torch.arange(total) < start[:, None]] = 0
    return tokens, start


def new_cache(model: GPT, rows: int, limit: int, start: torch.Tensor | None = None) -> KVCache:
    return KVCache(model.config, rows, limit, start, like=model.embedding.weight)


def read_in_chunks(model: GPT, tokens: torch.Tensor, cache: KVCache, sizes: list[int]):
    """The logits of all tokens, read a chunk at a time.  (B, T, V)"""
    logits = [model(part, cache) for part in tokens.split(sizes, dim=1)]
    return torch.cat(logits, dim=1)


# ---- The cache ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("qk_norm", [False, True])
def test_cached_chunked_and_ragged_generation_gives_the_logits_of_one_forward(
    dtype, tolerance, qk_norm
):
    model = tiny(0, qk_norm=qk_norm).to(dtype)
    reference = tiny(0, qk_norm=qk_norm).double()
    tokens, start = left_padded(PROMPTS, 20)  # (B, T), (B,)
    cache = new_cache(model, len(PROMPTS), 20, start)
    # The prompts, then chunks of several sizes on a cache that isn't empty.
    sizes = [7, 1, 3, 1, 1, 5, 2]
    with torch.no_grad():
        logits = read_in_chunks(model, tokens, cache, sizes)  # (B, T, V)
        for row, begin in enumerate(start.tolist()):
            text = tokens[row : row + 1, begin:]
            alone = reference(text)[0]  # (T - start, V)
            error = logits[row, begin:] - alone
            assert error.abs().max() < tolerance * alone.abs().max()
    assert cache.length == sum(sizes) == 20


def test_both_halves_of_a_cache_follow_the_rows_that_are_kept_or_repeated():
    model = tiny(0)
    tokens, start = left_padded(PROMPTS, 12)
    rows = torch.tensor([2, 0, 0, 3])
    cache = new_cache(model, len(PROMPTS), 12, start)
    with torch.no_grad():
        model(tokens[:, :8], cache)
        cache.select(rows)
        logits = model(tokens[rows, 8:], cache)  # (4, 4, V)
        for found, row in zip(logits, rows.tolist(), strict=True):
            text = tokens[row : row + 1, start[row] :]
            alone = model(text)[0, -4:]  # (4, V)
            assert_close(found, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("growth", [1, 5, 512])
@pytest.mark.parametrize("steps_before_keeping", [0, 2, 13])
def test_texts_that_share_a_prompt_have_the_logits_that_they_have_alone(
    monkeypatch, growth, steps_before_keeping
):
    """In slots that grow, with texts dropped, and with a row for each text once texts are long."""
    monkeypatch.setattr("support.fast_engine.GROWTH", growth)
    G = 3
    model = tiny(0)
    prompts, start = left_padded(PROMPTS, 7)  # (B, P), (B,)
    words = random_tokens(len(PROMPTS) * G, 20, seed=1)  # (texts, T)
    repeated = prompts.repeat_interleave(G, dim=0)  # (texts, P)
    texts = torch.cat((repeated, words), dim=1)  # (texts, P + T)
    begins = start.repeat_interleave(G)  # (texts,)
    alone = []
    for text, begin in zip(texts, begins, strict=True):
        logits = model(text[begin:][None])[0]
        alone.append(logits[-20:])  # (T, V)

    cache = new_cache(model, len(PROMPTS), 27, start)
    kept = torch.arange(len(texts))
    groups = set()
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
                assert_close(found, alone[row][t], atol=1e-5, rtol=1e-5)
    assert groups == ({3} if growth == 512 else {1, 3})
    # No more slots than the limit, whatever the cache grows by.
    assert cache.k[0].shape[2] <= 7 + 3 * 20


def test_texts_that_share_a_prompt_part_when_they_are_longer_than_it(monkeypatch):
    monkeypatch.setattr("support.fast_engine.GROWTH", 8)
    model = tiny(0)
    prompts = torch.tensor([[1, 2, 3], [4, 5, 6]])
    cache = new_cache(model, 2, 40)
    groups = []
    with torch.no_grad():
        model(prompts, cache)
        cache.share_prompt(4)
        for t in range(12):
            model(torch.full((8, 1), t), cache)
            groups.append(cache.group)
    assert groups == [4] * 4 + [1] * 8
    assert cache.length == 15
    cache.group = 4
    with pytest.raises(ValueError, match="one token at a time"):
        cache.read(2)


def test_a_cache_is_written_once_whatever_is_kept_for_a_gradient():
    model = tiny(0)
    tokens = torch.arange(8).view(1, 8)
    gradients = []
    for checkpointed in (False, True):
        model.checkpoint_activations = checkpointed
        cache = new_cache(model, 1, 16)
        model.zero_grad()
        logits = model(tokens, cache)  # (B, T, V)
        logits.logsumexp(dim=-1).sum().backward()
        gradients.append(model.embedding.weight.grad)
    kept, computed_again = gradients
    assert_close(kept, computed_again)


# ---- The architecture ---------------------------------------------------------------------------

# Our layer's parts, and those of theirs that are fused in it.
FUSED = {
    "attention.qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "attention.q_norm": ["self_attn.q_norm"],
    "attention.k_norm": ["self_attn.k_norm"],
    "attention.out": ["self_attn.o_proj"],
    "mlp.gate_up": ["mlp.gate_proj", "mlp.up_proj"],
    "mlp.down": ["mlp.down_proj"],
    "attention_norm": ["input_layernorm"],
    "mlp_norm": ["post_attention_layernorm"],
}


def fused(theirs: dict) -> dict:
    """The tensors of a transformers model of two layers, under our names and fused as ours are."""
    state = {
        "embedding.weight": theirs["model.embed_tokens.weight"],
        "norm.weight": theirs["model.norm.weight"],
        "head.weight": theirs["lm_head.weight"],
    }
    for layer in range(2):
        for ours, parts in FUSED.items():
            for kind in ("weight", "bias"):
                names = [f"model.layers.{layer}.{part}.{kind}" for part in parts]
                if names[0] in theirs:
                    found = [theirs[name] for name in names]
                    state[f"blocks.{layer}.{ours}.{kind}"] = torch.cat(found)
    return state


LLAMA_3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


def model_of_transformers(name: str, rope_scaling: dict | None) -> torch.nn.Module:
    """A random model of their library, in float64."""
    transformers = pytest.importorskip("transformers")
    rope = rope_scaling or {"rope_type": "default"}
    config = getattr(transformers, f"{name}Config")(
        vocab_size=37,
        hidden_size=32,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=64,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        rope_parameters={"rope_theta": 500.0} | rope,
    )
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}ForCausalLM")(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            mean = 1.0 if parameter.dim() == 1 else 0.0
            parameter.normal_(mean=mean, std=0.3)
    return model


@pytest.mark.parametrize("family", ["Llama", "Llama 3 rope", "Qwen2", "Qwen3"])
def test_the_architecture_is_that_of_transformers(family):
    name = family.split()[0]
    rope_scaling = LLAMA_3_ROPE if family == "Llama 3 rope" else None
    theirs = model_of_transformers(name, rope_scaling)
    ours = tiny(
        0,
        d_model=32,
        tie_embeddings=False,
        qkv_bias=name == "Qwen2",
        qk_norm=name == "Qwen3",
        rope_theta=500.0,
        rope_scaling=rope_scaling,
    )
    ours.load_state_dict(fused(theirs.state_dict()))
    ours = ours.double()
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 37, (2, 64), generator=generator)
    with torch.no_grad():
        # Both compute cosines and sines in float32, hence the tolerance.
        assert_close(ours(tokens), theirs(tokens).logits, atol=1e-4, rtol=1e-4)


def test_bad_sizes_and_too_long_inputs_name_what_is_wrong():
    with pytest.raises(ValueError, match="n_heads"):
        GPTConfig(n_heads=4, n_kv_heads=3)
    with pytest.raises(ValueError, match="head_dim"):
        GPTConfig(head_dim=7)
    model = tiny(0)
    with pytest.raises(ValueError, match="max_seq_len"):
        model(torch.zeros(1, 65, dtype=torch.long))


# ---- Precision, memory, files -------------------------------------------------------------------


def test_under_autocast_the_cache_has_its_precision_and_gives_the_same_logits():
    model = tiny(0)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 37, (3, 12), generator=generator)
    sizes = [5, 1, 1, 1, 1, 1, 1, 1]
    with torch.no_grad(), autocast("bfloat16", model.device):
        cache = new_cache(model, 3, 12)
        cached = read_in_chunks(model, tokens, cache, sizes)  # (B, T, V)
        whole = model(tokens)
    assert cache.k[0].dtype == torch.bfloat16
    assert cached.dtype == torch.bfloat16
    assert_close(cached, whole, atol=0.15, rtol=0.02)
    with torch.no_grad():
        exact = model(tokens)
    assert_close(cached.float(), exact, atol=0.15, rtol=0.02)
    with autocast("float32", model.device):
        cache = new_cache(model, 3, 12)
    assert cache.k[0].dtype == torch.float32


def loss_and_memory(model: GPT, tokens: torch.Tensor, precision: str) -> tuple[float, int]:
    """A loss whose gradient is left in the model, and the bytes that were kept for it."""
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    saved = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in weights:
            saved[tensor.data_ptr()] = tensor
        return tensor

    def give_back(tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, give_back)
    with hooks, autocast(precision, model.device):
        logits = model(tokens)[:, :-1].float()  # (B, T - 1, V)
        following = tokens[:, 1:, None]  # (B, T - 1, 1)
        loss = logits.log_softmax(dim=-1).gather(2, following).mean()
    loss.backward()
    return loss.item(), sum(tensor.nbytes for tensor in saved.values())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_checkpointed_activations_give_the_same_gradient_from_a_state_a_layer(precision):
    tokens = torch.arange(60).view(2, 30) % 37
    model = tiny(0, n_layers=6)
    thrifty = tiny(0, n_layers=6)
    thrifty.checkpoint_activations = True
    loss, memory = loss_and_memory(model, tokens, precision)
    same_loss, less_memory = loss_and_memory(thrifty, tokens, precision)
    assert loss == same_loss
    for one, other in zip(model.parameters(), thrifty.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
    # The hooks don't see the layers' inputs: 6 layers, 16 features, 4 bytes.
    states = 6 * tokens.numel() * 16 * 4
    assert less_memory + states < memory / 4


@pytest.mark.parametrize(
    "sizes", [{}, dict(tie_embeddings=False, qkv_bias=True), dict(qk_norm=True)]
)
def test_matrices_kept_in_bfloat16_give_the_logits_of_autocast_to_the_bit(sizes):
    model = tiny(0, **sizes)
    tokens = torch.arange(40).view(2, 20) % 37
    whole = sum(parameter.nbytes for parameter in model.parameters())
    with torch.no_grad(), autocast("bfloat16", model.device):
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
        expected = model(tokens)
        store_matrices(model, torch.bfloat16)
        assert torch.equal(model(tokens), expected)
    for name, parameter in model.named_parameters():
        kept_exactly = "norm" in name or "embedding" in name
        assert (parameter.dtype == torch.float32) == kept_exactly
    assert model.head.weight.dtype == torch.bfloat16
    assert not model.head.weight.requires_grad
    assert sum(parameter.nbytes for parameter in model.parameters()) < 0.75 * whole


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("load", [load_model, read_model])
def test_a_saved_model_is_loaded_to_the_bit_and_in_eval_mode(tmp_path, tied, load):
    model = tiny(3, tie_embeddings=tied).train()
    save_model(model, tmp_path / "m.pt")
    loaded = load(tmp_path / "m.pt")
    assert not loaded.training
    assert loaded.config == model.config
    assert (loaded.head.weight is loaded.embedding.weight) == tied
    states = zip(loaded.state_dict().values(), model.state_dict().values(), strict=True)
    assert all(torch.equal(found, saved) for found, saved in states)
