"""A GPT with RMSNorm, rotary positions, grouped-query attention and SwiGLU, and its cache of keys and values.

The shape is Llama's, and Qwen's with `qkv_bias` or `qk_norm`. The names of the tensors are ours. Read `GPT.hidden`
first, then `Attention.forward`: everything else serves these two.
"""

import math
import os
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@dataclass
class GPTConfig:
    """The architecture. Sizes are numbers of units; the defaults are the senior that the project ships."""

    vocab_size: int = 512
    n_layers: int = 3
    n_heads: int = 4
    n_kv_heads: int = 2  # n_heads is a multiple of it: that many query heads share one key and value head
    head_dim: int = 32
    d_model: int = 96
    d_ff: int = 256
    max_seq_len: int = 128  # prompt and response together
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    qk_norm: bool = False  # Qwen3: queries and keys are normalized per head
    tie_embeddings: bool = True
    qkv_bias: bool = False  # Qwen2
    # Llama 3.1: factor, low_freq_factor, high_freq_factor, original_max_position_embeddings
    rope_scaling: dict | None = None

    def __post_init__(self):
        for name in ("vocab_size", "n_layers", "n_heads", "n_kv_heads", "head_dim", "d_model", "d_ff", "max_seq_len"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it counts, and is at least 1")
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_heads ({self.n_heads}) must be a multiple of n_kv_heads ({self.n_kv_heads})")
        if self.head_dim % 2:
            raise ValueError(f"head_dim ({self.head_dim}) must be even: rotary positions turn pairs of coordinates")


class KVCache:
    """Keys and values of every token so far, in place: `capacity` slots a row, of which the first `length` are filled.

    Prompts of different lengths are padded on the left, so that all rows write to the same slot; `start` (B,) is the
    first slot of each row that holds a token, and a token's position is its slot minus its row's start.
    """

    def __init__(self, config: GPTConfig, batch_size: int, capacity: int, start: Tensor | None = None, *, like: Tensor):
        shape, kind = (batch_size, config.n_kv_heads, capacity, config.head_dim), like.device.type
        # In the precision in which attention computes, or all of it would be converted at every token.
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else like.dtype
        layers = range(config.n_layers)
        self.k = [like.new_empty(shape, dtype=dtype) for _ in layers]  # (B, KV, S, hd) for every layer
        self.v = [like.new_empty(shape, dtype=dtype) for _ in layers]  # (B, KV, S, hd) for every layer
        self.start = torch.zeros(batch_size, dtype=torch.long, device=like.device) if start is None else start  # (B,)
        self.length = 0

    def write(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Put the new tokens' keys and values (B, KV, T, hd) behind the old; returns all of them, (B, KV, S, hd)."""
        end = self.length + k.shape[2]
        self.k[layer][:, :, self.length : end] = k
        self.v[layer][:, :, self.length : end] = v
        return self.k[layer][:, :, :end], self.v[layer][:, :, :end]

    def keep(self, rows: Tensor, capacity: int | None = None) -> None:
        """Reorder, repeat or drop rows, (M,) indices into the present ones; optionally grow to `capacity` slots.

        Only filled slots are copied, one layer at a time: old and new are never in memory together.
        """
        for layers in (self.k, self.v):
            for layer, old in enumerate(layers):
                _, KV, S, hd = old.shape
                layers[layer] = old.new_empty(len(rows), KV, capacity or S, hd)
                layers[layer][:, :, : self.length] = old[:, :, : self.length][rows]
        self.start = self.start[rows]


class Rope(nn.Module):
    """Rotary positions: the pair (x_i, x_{i + hd/2}) of a head turns by the angle position · theta^(-2i/head_dim)."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        exponent = torch.arange(0, config.head_dim, 2).double() / config.head_dim  # (hd/2,)
        frequency = config.rope_theta**-exponent  # (hd/2,)
        if config.rope_scaling:
            frequency = self.stretch(frequency, **config.rope_scaling)
        angle = torch.arange(config.max_seq_len).double()[:, None] * frequency  # (S, hd/2)
        cos, sin = angle.cos().float(), angle.sin().float()  # (S, hd/2) each
        self.register_buffer("cos", torch.cat((cos, cos), dim=-1), persistent=False)  # (S, hd)
        self.register_buffer("sin", torch.cat((-sin, sin), dim=-1), persistent=False)  # (S, hd)

    @staticmethod
    def stretch(frequency: Tensor, factor, low_freq_factor, high_freq_factor, original_max_position_embeddings, **_):
        """Llama 3.1: slow turns are slowed by `factor`, fast ones left alone, those between interpolated."""
        turns = original_max_position_embeddings * frequency / (2 * math.pi)  # over the original context
        kept = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0, 1)  # (hd/2,)
        return frequency * (kept + (1 - kept) / factor)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Positions (B or 1, T) -> cosines and signed sines, (B or 1, 1, T, hd) each."""
        return self.cos[positions][:, None], self.sin[positions][:, None]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn queries or keys (B, heads, T, hd): (a, b) becomes (a cos - b sin, b cos + a sin)."""
    swapped = x.roll(x.shape[-1] // 2, dims=-1)  # (B, heads, T, hd): the halves of every head, in the other order
    return torch.addcmul(x * cos, swapped, sin)  # `sin` holds (-sin, sin)


class Attention(nn.Module):
    """Causal self-attention; the queries, keys and values of all heads come from one projection."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.n_heads, self.n_kv_heads, self.head_dim = config.n_heads, config.n_kv_heads, config.head_dim
        heads = config.n_heads + 2 * config.n_kv_heads
        self.qkv = nn.Linear(config.d_model, heads * config.head_dim, bias=config.qkv_bias)
        self.out = nn.Linear(config.n_heads * config.head_dim, config.d_model, bias=False)
        self.qk_norm = config.qk_norm
        if self.qk_norm:
            self.q_norm = nn.RMSNorm(config.head_dim, config.norm_eps)
            self.k_norm = nn.RMSNorm(config.head_dim, config.norm_eps)

    def forward(self, x: Tensor, rope, mask: Tensor | None, cache: KVCache | None, layer: int) -> Tensor:
        """States (B, T, C) -> what attention adds to them (B, T, C). `rope` is (cos, sin), `layer` where the cache writes."""
        B, T, _ = x.shape
        H, KV, hd = self.n_heads, self.n_kv_heads, self.head_dim
        qkv = self.qkv(x).view(B, T, -1, hd).transpose(1, 2)  # (B, H + 2 KV, T, hd)
        qk, v = qkv.split([H + KV, KV], dim=1)  # (B, H + KV, T, hd), (B, KV, T, hd)
        if self.qk_norm:
            qk = torch.cat((self.q_norm(qk[:, :H]), self.k_norm(qk[:, H:])), dim=1)
        q, k = rotate(qk, *rope).split([H, KV], dim=1)  # (B, heads, T, hd)
        if cache is not None:
            k, v = cache.write(layer, k, v)  # (B, KV, S, hd)
        if T == 1:
            # A decode step spends most of its time reading keys and values. The H / KV query heads that share them
            # become H / KV queries of one head, (B, H, 1, hd) -> (B, KV, H / KV, hd), so they are read once.
            q = q.reshape(B, KV, H // KV, hd)
        # Without a cache the new tokens are all there is, and causal; with one, `mask` says who sees whom.
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=cache is None, enable_gqa=q.shape[1] != KV
        )  # (B, H, T, hd), or (B, KV, H / KV, hd) if T is 1
        return self.out(y.reshape(B, H, T, hd).transpose(1, 2).reshape(B, T, -1))  # (B, T, C)


class SwiGLU(nn.Module):
    """The feed-forward half of a block: down(silu(gate(x)) · up(x)).  (B, T, C) -> (B, T, C)"""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.gate_up = nn.Linear(config.d_model, 2 * config.d_ff, bias=False)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)  # (B, T, ff) each
        return self.down(F.silu(gate) * up)  # (B, T, C)


class Block(nn.Module):
    """Attention, then SwiGLU, each on normalized states and added to them.  (B, T, C) -> (B, T, C)"""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.d_model, config.norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = nn.RMSNorm(config.d_model, config.norm_eps)
        self.mlp = SwiGLU(config)

    def forward(self, x: Tensor, rope, mask: Tensor | None, cache: KVCache | None, layer: int) -> Tensor:
        x = x + self.attention(self.attention_norm(x), rope, mask, cache, layer)  # (B, T, C)
        return x + self.mlp(self.mlp_norm(x))  # (B, T, C)


class GPT(nn.Module):
    """`model(tokens)` gives logits; `model(tokens, cache)` the same for tokens that follow those in the cache."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.RMSNorm(config.d_model, config.norm_eps)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.head.weight = self.embedding.weight
        self.rope = Rope(config)
        self.checkpoint_activations = False  # keep a layer's input alone for the gradient, and compute the rest again
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:  # what adds to the residual stream starts smaller the more layers add to it
                residual = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * config.n_layers) if residual else 0.02)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.weight.device

    def forward(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        """Tokens (B, T) -> logits (B, T, V). With a cache they take its next T slots."""
        return self.head(self.hidden(tokens, cache))

    def hidden(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        """Tokens (B, T) -> the last layer's normalized states (B, T, C), to which `head` gives logits.

        Whoever needs the logits of a few positions only calls `head` on those.
        """
        T = tokens.shape[1]
        first = cache.length if cache is not None else 0
        if first + T > self.config.max_seq_len:
            raise ValueError(f"{first + T} tokens are more than the context of {self.config.max_seq_len} (max_seq_len)")
        slots = torch.arange(first, first + T, device=tokens.device)  # (T,)
        positions, mask = slots[None], None  # (1, T)
        x = self.embedding(tokens)  # (B, T, C)
        if cache is not None:
            positions = (slots - cache.start[:, None]).clamp(min=0)  # (B, T)
            seen = self.visible(first, first + T, cache.start)  # (B, 1, T, S)
            # As what is added to the scores, here and once: from a mask of booleans every layer would make its own.
            mask = x.new_zeros(seen.shape).masked_fill(~seen, -torch.inf)  # (B, 1, T, S)
        rope = self.rope(positions)
        recompute = self.checkpoint_activations and torch.is_grad_enabled() and cache is None
        for layer, block in enumerate(self.blocks):
            inputs = (x, rope, mask, cache, layer)
            if recompute:
                x = checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False)  # (B, T, C)
            else:
                x = block(*inputs)  # (B, T, C)
        if cache is not None:
            cache.length += T
        return self.norm(x)

    @staticmethod
    def visible(first: int, end: int, start: Tensor) -> Tensor:
        """Which slots the tokens in slots first..end-1 may see: those of their row up to their own.  (B, 1, T, S) bool

        Padding sees itself alone: a softmax over nothing would be NaN, and would spread.
        """
        keys = torch.arange(end, device=start.device)  # (S,)
        queries = keys[first:, None]  # (T, 1)
        written = keys >= start[:, None, None]  # (B, 1, S)
        causal = keys <= queries  # (T, S)
        return (written & causal | (keys == queries))[:, None]  # (B, 1, T, S)


def autocast(precision: str, device: torch.device):
    """Within, matrix products and attention compute in this precision; weights, gradients and sums stay in float32.

    An update of 1e-5 would vanish in weights of bfloat16, which have 8 bits.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def store_matrices(model: GPT, dtype: torch.dtype) -> None:
    """Store a frozen model's matrices in this precision once; autocast would convert them at every token.

    The norms stay as they are, and so does the embedding, where the float32 sum of the layers begins.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            for name, parameter in module.named_parameters(recurse=False):
                setattr(module, name, nn.Parameter(parameter.detach().to(dtype), requires_grad=False))


def from_state(config: GPTConfig, state: dict[str, Tensor]) -> GPT:
    """A model of these very tensors, in eval mode. ValueError if they don't fit the architecture, or aren't finite."""
    if config.n_layers > len(state):  # before so many are made
        raise ValueError(f"{config.n_layers} layers, but {len(state)} tensors")
    with torch.device("meta"):  # no memory, no random numbers
        model = GPT(config)
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise ValueError(f"the weights don't fit the architecture: {' '.join(str(error).split())}") from None
    if config.tie_embeddings:
        model.head.weight = model.embedding.weight
    model.rope = Rope(config)
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise ValueError("some weights are NaN or infinite")
    return model.eval()


def save(content: dict, path: str | Path) -> None:
    """Write plain values and tensors to a torch file. At every instant the old file or the new one is there, whole."""
    partial = Path(f"{path}.partial")
    try:
        with open(partial, "wb") as file:
            try:
                torch.save(content, file)
            except RuntimeError:  # torch's word for a full disk; writing on brings up the system's own
                file.write(bytes(2**20))
                raise
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        partial.unlink(missing_ok=True)  # a full disk needs the room
        raise
    partial.replace(path)


def load(path: str | Path) -> dict:
    """Read a torch file of plain values and tensors: mapped, not copied, into memory. Nothing in the file is run.

    torch accepts most flipped bytes, so the sums that the file holds are checked. ValueError if anything is wrong.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"{damaged} is not what was written")
        return dict(torch.load(path, map_location="cpu", mmap=True, weights_only=True))
    except Exception as error:  # noqa: BLE001 (anything may stand in a file)
        what = str(error).partition("\n")[0]
        raise ValueError(f"{path} is missing, damaged, or not a checkpoint of this project ({what})") from None


def save_model(model: GPT, path: str | Path, **more) -> None:
    """Write the architecture, the weights and `more` (plain values and tensors) to one file."""
    save({"config": asdict(model.config), "model": model.state_dict(), **more}, path)


def load_model(path: str | Path) -> GPT:
    """The model in one of our checkpoints, in eval mode, on the CPU. ValueError if there is none; see `load`."""
    content = load(path)
    try:
        return from_state(GPTConfig(**content["config"]), content["model"])
    except Exception as error:  # noqa: BLE001
        raise ValueError(f"{path} holds no model of this project ({error}); give one that train.py wrote") from None
