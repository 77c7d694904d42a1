"""A GPT with RMSNorm, rotary positions, grouped-query attention and SwiGLU, and its cache of keys and values.

The shape is Llama's, and Qwen's with `qkv_bias` or `qk_norm`. The names of the tensors are ours. Read `GPT.hidden`
first, then `Attention.forward`: everything else serves these two.
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
    """The architecture. Sizes are numbers of units; the defaults are the senior that the project ships."""

    vocab_size: int = 512
    n_layers: int = 3
    n_heads: int = 4
    n_kv_heads: int = (
        2  # n_heads is a multiple of it: that many query heads share one key and value head
    )
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
        for name in (
            "vocab_size",
            "n_layers",
            "n_heads",
            "n_kv_heads",
            "head_dim",
            "d_model",
            "d_ff",
            "max_seq_len",
        ):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it counts, and is at least 1")
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"n_heads ({self.n_heads}) must be a multiple of n_kv_heads ({self.n_kv_heads})"
            )
        if self.head_dim % 2:
            raise ValueError(
                f"head_dim ({self.head_dim}) must be even: rotary positions turn pairs of coordinates"
            )


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
    def stretch(
        frequency: Tensor,
        factor,
        low_freq_factor,
        high_freq_factor,
        original_max_position_embeddings,
        **_,
    ):
        """Llama 3.1: slow turns are slowed by `factor`, fast ones left alone, those between interpolated."""
        turns = (
            original_max_position_embeddings * frequency / (2 * math.pi)
        )  # over the original context
        kept = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(
            0, 1
        )  # (hd/2,)
        return frequency * (kept + (1 - kept) / factor)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Positions (B or 1, T) -> cosines and signed sines, (B or 1, 1, T, hd) each."""
        return self.cos[positions][:, None], self.sin[positions][:, None]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn queries or keys (B, heads, T, hd): (a, b) becomes (a cos - b sin, b cos + a sin)."""
    swapped = x.roll(
        x.shape[-1] // 2, dims=-1
    )  # (B, heads, T, hd): the halves of every head, in the other order
    return torch.addcmul(x * cos, swapped, sin)  # `sin` holds (-sin, sin)


class Attention(nn.Module):
    """Causal self-attention; the queries, keys and values of all heads come from one projection."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.n_heads, self.n_kv_heads, self.head_dim = (
            config.n_heads,
            config.n_kv_heads,
            config.head_dim,
        )
        heads = config.n_heads + 2 * config.n_kv_heads
        self.qkv = nn.Linear(config.d_model, heads * config.head_dim, bias=config.qkv_bias)
        self.out = nn.Linear(config.n_heads * config.head_dim, config.d_model, bias=False)
        self.qk_norm = config.qk_norm
        if self.qk_norm:
            self.q_norm = nn.RMSNorm(config.head_dim, config.norm_eps)
            self.k_norm = nn.RMSNorm(config.head_dim, config.norm_eps)

    def forward(self, x: Tensor, layer: int, rope, context) -> Tensor:
        """States (B, T, C) -> what attention adds to them (B, T, C). `rope` is (cos, sin), `context` as in `GPT.hidden`."""
        B, T, _ = x.shape
        H, KV, hd = self.n_heads, self.n_kv_heads, self.head_dim
        qkv = self.qkv(x).view(B, T, -1, hd).transpose(1, 2)  # (B, H + 2 KV, T, hd)
        qk, v = qkv.split([H + KV, KV], dim=1)  # (B, H + KV, T, hd), (B, KV, T, hd)
        if self.qk_norm:
            qk = torch.cat((self.q_norm(qk[:, :H]), self.k_norm(qk[:, H:])), dim=1)
        q, k = rotate(qk, *rope).split([H, KV], dim=1)  # (B, heads, T, hd)
        if context is None:
            y = F.scaled_dot_product_attention(
                q, k, v, is_causal=True, enable_gqa=H != KV
            )  # (B, H, T, hd)
        else:
            y = context.attend(layer, q, k, v)  # (B, H, T, hd)
        return self.out(y.transpose(1, 2).reshape(B, T, -1))  # (B, T, C)


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

    def forward(self, x: Tensor, layer: int, rope, context) -> Tensor:
        x = x + self.attention(self.attention_norm(x), layer, rope, context)  # (B, T, C)
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
        self.checkpoint_activations = (
            False  # keep a layer's input alone for the gradient, and compute the rest again
        )
        for name, parameter in self.named_parameters():
            if (
                parameter.dim() == 2 and not parameter.is_meta
            ):  # what adds to the residual stream starts smaller the more layers add to it
                residual = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(
                    parameter, std=0.02 / math.sqrt(2 * config.n_layers) if residual else 0.02
                )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.weight.device

    def forward(self, tokens: Tensor, context=None) -> Tensor:
        """Tokens (B, T) -> logits (B, T, V)."""
        return self.head(self.hidden(tokens, context))

    def hidden(self, tokens: Tensor, context=None) -> Tensor:
        """Tokens (B, T) -> the last layer's normalized states (B, T, C), to which `head` gives logits.

        Without a context the tokens are whole texts, padded on the right if at all, where causal attention never looks.
        With a cache they are the next T of its texts; SharedPrompts says what else they can be.
        """
        T = tokens.shape[1]
        positions = (
            torch.arange(T, device=tokens.device)[None] if context is None else context.read(T)
        )  # (B or 1, T)
        length, most = T if context is None else context.length, self.config.max_seq_len
        if length > most:
            raise ValueError(f"{length} tokens are more than the context of {most} (max_seq_len)")
        x = self.embedding(tokens).to(
            self.norm.weight.dtype
        )  # (B, T, C); of a frozen model it may be bfloat16
        rope = self.rope(positions)
        recompute = self.checkpoint_activations and torch.is_grad_enabled()
        for layer, block in enumerate(self.blocks):
            inputs = (x, layer, rope, context)
            if recompute:
                x = checkpoint(
                    block, *inputs, use_reentrant=False, preserve_rng_state=False
                )  # (B, T, C)
            else:
                x = block(*inputs)  # (B, T, C)
        return self.norm(x)


def compute_dtype(like: Tensor) -> torch.dtype:
    """The precision in which attention computes, or caches and masks would be converted at every token."""
    kind = like.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else like.dtype


def autocast(precision: str, device: torch.device):
    """Within, matrix products and attention compute in this precision; weights, gradients and sums stay in float32.

    An update of 1e-5 would vanish in weights of bfloat16, which have 8 bits.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def save_model(model: GPT, path: str | Path) -> None:
    """Write the architecture and the weights to one file."""
    torch.save({"config": asdict(model.config), "model": model.state_dict()}, path)


def load_model(path: str | Path) -> GPT:
    """The model in a file of `save_model`, or in a run's checkpoint: in eval mode, on the CPU.

    `weights_only` means that nothing in the file is run. support/runs/files.py reads the same
    file with care for damage.
    """
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model = GPT(GPTConfig(**saved["config"]))
    model.load_state_dict(saved["model"])
    return model.eval()
