"""A GPT with RMSNorm, rotary positions, grouped-query attention and SwiGLU.

The shape is Llama's, and Qwen's with `qkv_bias` or `qk_norm`. The names of the tensors are ours.
Read `GPT.hidden` first, then `Attention.forward`: everything else serves these two.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@dataclass
class GPTConfig:
    """The architecture. Sizes count units. The defaults are the senior that the project ships."""

    vocab_size: int = 512  # V
    n_layers: int = 3
    n_heads: int = 4  # H, query heads
    n_kv_heads: int = 2  # KV, key and value heads; H / KV query heads share one
    head_dim: int = 32  # hd
    d_model: int = 96  # C
    d_ff: int = 256  # ff
    max_seq_len: int = 128  # prompt and response together
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    qk_norm: bool = False  # Qwen3: queries and keys are normalized per head
    tie_embeddings: bool = True
    qkv_bias: bool = False  # Qwen2
    rope_scaling: dict | None = None  # Llama 3.1: the arguments of Rope.stretch

    def __post_init__(self):
        sizes = ["vocab_size", "n_layers", "n_heads", "n_kv_heads"]
        sizes += ["head_dim", "d_model", "d_ff", "max_seq_len"]
        for name in sizes:
            size = getattr(self, name)
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} is {size!r}; it counts, and is at least 1")
        if self.n_heads % self.n_kv_heads:
            heads, shared = self.n_heads, self.n_kv_heads
            raise ValueError(f"n_heads ({heads}) must be a multiple of n_kv_heads ({shared})")
        if self.head_dim % 2:
            raise ValueError(f"head_dim is {self.head_dim}; rotary positions need an even number")


class Rope(nn.Module):
    """Rotary positions: the pair (x_i, x_{i+hd/2}) of a head turns by position · theta^(-2i/hd)."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        even = torch.arange(0, config.head_dim, 2).double()  # (hd/2,)
        frequency = config.rope_theta ** -(even / config.head_dim)  # (hd/2,)
        if config.rope_scaling:
            frequency = self.stretch(frequency, **config.rope_scaling)
        position = torch.arange(config.max_seq_len).double()  # (S,)
        angle = position[:, None] * frequency  # (S, hd/2)
        cos = angle.cos().float().repeat(1, 2)  # (S, hd)
        sin = angle.sin().float()  # (S, hd/2)
        sin = torch.cat((-sin, sin), dim=1)  # (S, hd)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    @staticmethod
    def stretch(
        frequency: Tensor,  # (hd/2,)
        factor: float,
        low_freq_factor: float,
        high_freq_factor: float,
        original_max_position_embeddings: int,
        **others,
    ) -> Tensor:
        """Llama 3.1: slow turns get slower by `factor`, fast ones stay. Others lie between."""
        turns = original_max_position_embeddings * frequency / (2 * math.pi)  # (hd/2,)
        kept = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor)  # (hd/2,)
        kept = kept.clamp(0, 1)
        return frequency * (kept + (1 - kept) / factor)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Positions (B or 1, T) -> cosines and signed sines, (B or 1, 1, T, hd) each."""
        cos = self.cos[positions]  # (B, T, hd)
        sin = self.sin[positions]  # (B, T, hd)
        return cos[:, None], sin[:, None]


def rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Turn queries or keys (B, heads, T, hd): (a, b) becomes (a cos - b sin, b cos + a sin)."""
    cos, sin = rope
    half = x.shape[-1] // 2
    swapped = x.roll(half, dims=-1)  # (B, heads, T, hd): (b, a)
    return torch.addcmul(x * cos, swapped, sin)  # `sin` holds (-sin, sin)


class Attention(nn.Module):
    """Causal self-attention. One projection gives the queries, keys and values of all heads."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.n_heads = config.n_heads
        self.n_kv_heads = config.n_kv_heads
        self.head_dim = config.head_dim
        q_width = config.n_heads * config.head_dim
        kv_width = config.n_kv_heads * config.head_dim
        qkv_width = q_width + 2 * kv_width
        self.qkv = nn.Linear(config.d_model, qkv_width, bias=config.qkv_bias)
        self.out = nn.Linear(q_width, config.d_model, bias=False)
        self.qk_norm = config.qk_norm
        if self.qk_norm:
            self.q_norm = nn.RMSNorm(config.head_dim, config.norm_eps)
            self.k_norm = nn.RMSNorm(config.head_dim, config.norm_eps)

    def forward(self, x: Tensor, layer: int, rope, context) -> Tensor:
        """States (B, T, C) -> what to add to them, (B, T, C). GPT.hidden explains `context`."""
        H, KV = self.n_heads, self.n_kv_heads
        qkv = self.qkv(x).unflatten(2, (-1, self.head_dim))  # (B, T, H + 2 KV, hd)
        qkv = qkv.transpose(1, 2)  # (B, H + 2 KV, T, hd)
        qk, v = qkv.split([H + KV, KV], dim=1)  # (B, H + KV, T, hd), (B, KV, T, hd)
        if self.qk_norm:
            q, k = qk.split([H, KV], dim=1)
            qk = torch.cat((self.q_norm(q), self.k_norm(k)), dim=1)
        qk = rotate(qk, rope)
        q, k = qk.split([H, KV], dim=1)  # (B, H, T, hd), (B, KV, T, hd)
        if context is None:
            shared = H != KV
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=shared)
        else:
            y = context.attend(layer, q, k, v)
        y = y.transpose(1, 2).flatten(2)  # (B, T, H · hd)
        return self.out(y)


class SwiGLU(nn.Module):
    """The feed-forward half of a block: down(silu(gate(x)) · up(x)).  (B, T, C) -> (B, T, C)"""

    def __init__(self, config: GPTConfig):
        super().__init__()
        C = config.d_model
        ff = config.d_ff
        self.gate_up = nn.Linear(C, 2 * ff, bias=False)
        self.down = nn.Linear(ff, C, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        both = self.gate_up(x)  # (B, T, 2 ff)
        gate, up = both.chunk(2, dim=-1)  # (B, T, ff) each
        return self.down(F.silu(gate) * up)  # (B, T, C)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)).  (B, T, C) -> (B, T, C)"""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.d_model, config.norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = nn.RMSNorm(config.d_model, config.norm_eps)
        self.mlp = SwiGLU(config)

    def forward(self, x: Tensor, layer: int, rope, context) -> Tensor:
        normed = self.attention_norm(x)  # (B, T, C)
        x = x + self.attention(normed, layer, rope, context)  # (B, T, C)
        return x + self.mlp(self.mlp_norm(x))  # (B, T, C)


class GPT(nn.Module):
    """`model(tokens)` gives logits; `model(tokens, cache)`, of tokens that follow the cache's."""

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
        self.checkpoint_activations = False  # less memory: the gradient computes each layer again
        self.init_weights()

    def init_weights(self) -> None:
        """GPT-2's: what adds to the residual stream starts smaller, the more layers there are."""
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2 or parameter.is_meta:
                continue
            std = 0.02
            if name.endswith(("out.weight", "down.weight")):
                std /= math.sqrt(2 * self.config.n_layers)
            nn.init.normal_(parameter, std=std)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.weight.device

    def forward(self, tokens: Tensor, context=None) -> Tensor:
        """Tokens (B, T) -> logits (B, T, V)."""
        return self.head(self.hidden(tokens, context))

    def hidden(self, tokens: Tensor, context=None) -> Tensor:
        """Tokens (B, T) -> the normalized states of the last layer, (B, T, C). `head` takes them.

        Without a context, the tokens are whole texts. Causal attention never looks at padding on
        their right. A context says where the tokens stand and what they attend to. It has two
        methods, `read` and `attend`: engine.KVCache is one.
        """
        if context is None:
            length = tokens.shape[1]
            positions = torch.arange(length, device=tokens.device)[None]  # (1, T)
        else:
            positions = context.read(tokens.shape[1])  # (B or 1, T)
            length = context.length
        if length > self.config.max_seq_len:
            most = self.config.max_seq_len
            raise ValueError(f"{length} tokens are more than the context of {most} (max_seq_len)")
        x = self.embedding(tokens)  # (B, T, C)
        x = x.to(self.norm.weight.dtype)  # a frozen model's embedding may be in bfloat16
        rope = self.rope(positions)
        recompute = self.checkpoint_activations and torch.is_grad_enabled()
        for layer, block in enumerate(self.blocks):
            if recompute:
                x = checkpoint(block, x, layer, rope, context, use_reentrant=False)  # (B, T, C)
            else:
                x = block(x, layer, rope, context)  # (B, T, C)
        return self.norm(x)


def compute_dtype(like: Tensor) -> torch.dtype:
    """The precision in which attention computes. Caches and masks are kept in it."""
    kind = like.device.type
    if torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return like.dtype


def autocast(precision: str, device: torch.device):
    """Within, matrix products and attention compute in this precision.

    Weights, gradients and sums stay in float32: an update of 1e-5 would vanish in weights of
    bfloat16, which have 8 bits.
    """
    low = precision == "bfloat16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=low)


def save_model(model: GPT, path: str | Path) -> None:
    """Write the architecture and the weights to one file."""
    config = asdict(model.config)
    torch.save({"config": config, "model": model.state_dict()}, path)


def load_model(path: str | Path) -> GPT:
    """The model in a file of `save_model`, or in a run's checkpoint.pt: in eval mode, on the CPU.

    `weights_only` lets torch run nothing in the file. support/runs/files.py reads the same files
    with care for damaged ones.
    """
    saved = torch.load(path, map_location="cpu", weights_only=True)
    config = GPTConfig(**saved["config"])
    model = GPT(config)
    model.load_state_dict(saved["model"])
    return model.eval()
