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

GROWTH = 512  # slots by which a cache grows


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
    """Keys and values of every token so far, in place: (B, KV, S, hd) a layer, of which the first `filled` slots count.

    Prompts of different lengths are padded on the left; `start` (B,) is the first slot of each that holds a token. After
    `share(G)` a row of slots belongs to G texts, side by side in the batch, that begin with its prompt: they all see the
    prompt's slots, and behind them each every G-th. So a prompt is stored, and read at every token, once for its group.
    """

    def __init__(self, config: GPTConfig, batch_size: int, limit: int, start: Tensor | None = None, *, like: Tensor):
        """`limit` is the most tokens that a text may have, padding included. Memory is taken as they come."""
        self.config, self.limit, self.dtype = config, limit, compute_dtype(like)
        self.start = torch.zeros(batch_size, dtype=torch.long, device=like.device) if start is None else start  # (B,)
        self.begin = self.start[:, None]
        self.length = 0  # tokens of a text
        self.group, self.shared = 1, 0  # texts of a row, and slots that they share
        empty = like.new_empty(batch_size, config.n_kv_heads, 0, config.head_dim, dtype=self.dtype)
        self.k, self.v = [empty] * config.n_layers, [empty] * config.n_layers  # (B, KV, S, hd) of every layer

    @property
    def filled(self) -> int:
        return self.shared + self.group * (self.length - self.shared)

    def read(self, T: int) -> Tensor:
        """Make room for T more tokens of every text (one, once rows are shared). Their positions, (texts, T)."""
        if T > 1 and self.group > 1:
            raise ValueError("texts that share a prompt read one token at a time")
        if self.filled + T * self.group > self.k[0].shape[2]:
            if self.group > 1 and self.length > 2 * self.shared:
                self.part()  # to pass by the others' slots costs more now than the prompt's
            else:
                self.move(T=T)
        first, self.first, self.length = self.length, self.filled, self.length + T
        if T == 1:
            self.mask = self.seen[..., : self.filled]  # (B, 1, G · H / KV, S)
        else:
            self.mask = additive_mask(visible(first, self.length, self.start)[:, None], self.config, self.dtype)
        return (torch.arange(first, self.length, device=self.start.device) - self.begin).clamp(min=0)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The new tokens' queries (texts, H, T, hd) on their keys and values and all before.  -> (texts, H, T, hd)"""
        for layers, new in ((self.k, k), (self.v, v)):  # (texts, KV, T, hd) each
            slots = layers[layer][:, :, self.first : self.filled].unflatten(2, (self.group, -1))  # (B, KV, G, T, hd)
            slots.copy_(new.unflatten(0, (-1, self.group)).transpose(1, 2))
        k, v = (layers[layer][:, :, : self.filled] for layers in (self.k, self.v))  # (B, KV, S, hd) each
        return masked_attention(q, k, v, self.mask)

    def share(self, group: int) -> None:
        """All that was read is the prompt of `group` texts from now on."""
        self.group, self.shared = group, self.length
        self.move()

    def part(self) -> None:
        """Give every text a row of its own."""
        group, shared, filled = self.group, self.shared, self.filled

        def own_rows(old: Tensor) -> Tensor:  # (B, KV, S, hd) -> (texts, KV, length, hd)
            own = old[:, :, shared:filled].unflatten(2, (-1, group)).permute(0, 3, 1, 2, 4)  # (B, G, KV, tokens, hd)
            return torch.cat((old[:, :, :shared].repeat_interleave(group, dim=0), own.flatten(0, 1)), dim=2)

        self.start, self.group, self.shared = self.start.repeat_interleave(group), 1, 0
        self.move(own_rows)

    def keep(self, texts: Tensor) -> None:
        """Go on with these texts, (M,) indices into the present ones, of a row all or none."""
        rows, filled = texts[:: self.group] // self.group, self.filled
        self.start = self.start[rows]
        self.move(lambda old: old[:, :, :filled][rows])

    def move(self, take=lambda old: old, T: int = 1) -> None:
        """Into memory for T more tokens and GROWTH slots, or for all that may come; and say what a new token sees."""
        S = min(self.filled + max(T * self.group, GROWTH), self.shared + self.group * (self.limit - self.shared))
        for layers in (self.k, self.v):  # one layer at a time: old and new are never in memory together
            for layer, old in enumerate(layers):
                taken = take(old)
                layers[layer] = old.new_empty(*taken.shape[:2], S, taken.shape[3])
                layers[layer][:, :, : taken.shape[2]] = taken
        self.begin = self.start.repeat_interleave(self.group)[:, None]  # (texts, 1)
        slots, texts = (torch.arange(n, device=self.start.device) for n in (S, self.group))  # (S,), (G,)
        own = (slots < self.shared) | ((slots - self.shared) % self.group == texts[:, None])  # (G, S)
        seen = own & (slots >= self.start[:, None])[:, None]  # (B, G, S)
        self.seen = additive_mask(seen[:, :, None], self.config, self.dtype)  # (B, 1, G · H / KV, S)


class SharedPrompts:
    """N responses to D distinct prompts, every prompt read once: one row of all prompts' tokens, then all responses'.

    There is no padding in it: norms and products don't ask where a token stands. Attention alone lays the tokens out,
    as a rollout does: prompts padded on the left, `start` (D,) is where each begins; behind prompt `prompt_of` (N,)
    each response, padded on the right, `mask` (N, T) has its tokens. P is the longest prompt's length.
    """

    def __init__(self, config: GPTConfig, start: Tensor, P: int, prompt_of: Tensor, mask: Tensor, *, like: Tensor):
        (N, T), D, slots = mask.shape, len(start), torch.arange(P + mask.shape[1], device=start.device)
        self.length = P + T
        is_token = torch.cat(((slots[:P] >= start[:, None]).flatten(), mask.flatten()))  # (D · P + N · T,)
        self.tokens = is_token.nonzero()[:, 0]  # (M,) slots that hold the row's tokens
        place = (is_token.cumsum(0) - 1).clamp(min=0)  # in the row, of each slot's token; any where there is none
        prompts, responses = place[: D * P].view(D, P), place[D * P :].view(N, T)
        keys = torch.cat((prompts[prompt_of], responses), dim=1)  # (N, P + T)
        self.before = keys[:, P - 1 : -1]  # (N, T) place of the token before each of a response
        starts = start[prompt_of]  # (N,)
        self.parts = [  # places of queries and of keys, and which keys a query sees
            (prompts, prompts, additive_mask(visible(0, P, start)[:, None], config, compute_dtype(like))),
            (responses, keys, additive_mask(visible(P, P + T, starts)[:, None], config, compute_dtype(like))),
        ]
        positions = torch.cat(((slots[:P] - start[:, None]).flatten(), (slots[P:] - starts[:, None]).flatten()))
        self.positions = positions[self.tokens][None]  # (1, M)

    def read(self, T: int) -> Tensor:
        return self.positions

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries (1, H, M, hd): a prompt's on its own keys, a response's on its prompt's and its own."""
        laid_out = []
        for queries, keys, mask in self.parts:
            y = masked_attention(self.take(q, queries), self.take(k, keys), self.take(v, keys), mask)  # (B, H, T, hd)
            laid_out.append(y.transpose(1, 2).flatten(0, 1).flatten(1))  # (B · T, H · hd)
        y = torch.cat(laid_out).index_select(0, self.tokens)  # (M, H · hd)
        return y.unflatten(1, (q.shape[1], -1)).transpose(0, 1)[None]

    @staticmethod
    def take(x: Tensor, places: Tensor) -> Tensor:
        """(1, heads, M, hd) at places (B, T) -> (B, heads, T, hd)"""
        rows = x[0].transpose(0, 1).flatten(1)  # (M, heads · hd)
        return rows.index_select(0, places.flatten()).view(*places.shape, *x.shape[1::2]).transpose(1, 2)


def visible(first: int, end: int, start: Tensor) -> Tensor:
    """Which slots the tokens in slots first..end-1 may see: those of their row up to their own.  (B, T, S) bool

    Padding sees itself alone: a softmax over nothing would be NaN, and would spread.
    """
    keys = torch.arange(end, device=start.device)  # (S,)
    queries = keys[first:, None]  # (T, 1)
    written = keys >= start[:, None, None]  # (B, 1, S)
    return written & (keys <= queries) | (keys == queries)


def additive_mask(seen: Tensor, config: GPTConfig, dtype: torch.dtype) -> Tensor:
    """What attention adds to the scores: 0 where a key is seen, else -inf.  (B, G, T, S) -> (B, 1, G · H / KV · T, S)

    Once for all layers, and in the precision of attention: from booleans each layer would make its own.
    """
    mask = seen.new_zeros(seen.shape, dtype=dtype).masked_fill_(~seen, -torch.inf)[:, :, None]  # (B, G, 1, T, S)
    return mask.expand(-1, -1, config.n_heads // config.n_kv_heads, -1, -1).flatten(1, 3)[:, None]


def fold(x: Tensor, B: int, KV: int) -> Tensor:
    """Put side by side what reads, or becomes, one head's slots of a row.  (texts, heads, T, hd) -> (B, KV, ·, hd)"""
    return x.reshape(B, len(x) // B, KV, -1, x.shape[-1]).transpose(1, 2).flatten(2, 3)


def masked_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Queries (texts, H, T, hd) on the keys and values (B, KV, S, hd) of their rows.  -> (texts, H, T, hd)

    The heads and texts that share keys become queries of one head: keys are read once, most of a decode step's time.
    """
    B, KV, _, hd = k.shape
    y = F.scaled_dot_product_attention(fold(q, B, KV), k, v, attn_mask=mask)  # (B, KV, G · H / KV · T, hd)
    return y.reshape(B, KV, len(q) // B, -1, hd).transpose(1, 2).reshape(q.shape)


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
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=H != KV)  # (B, H, T, hd)
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
        self.checkpoint_activations = False  # keep a layer's input alone for the gradient, and compute the rest again
        for name, parameter in self.named_parameters():
            if (
                parameter.dim() == 2 and not parameter.is_meta
            ):  # what adds to the residual stream starts smaller the more layers add to it
                residual = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * config.n_layers) if residual else 0.02)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.weight.device

    def drop_ids(self, vocab_size: int) -> None:
        """Keep so many rows of the embedding and the head: other ids can be neither read nor written, nor weigh in KL."""
        for layer in {self.embedding, self.head}:
            layer.weight = nn.Parameter(layer.weight.detach()[:vocab_size].clone())
        if self.config.tie_embeddings:
            self.head.weight = self.embedding.weight
        self.config.vocab_size = vocab_size

    def forward(self, tokens: Tensor, context: KVCache | SharedPrompts | None = None) -> Tensor:
        """Tokens (B, T) -> logits (B, T, V)."""
        return self.head(self.hidden(tokens, context))

    def hidden(self, tokens: Tensor, context: KVCache | SharedPrompts | None = None) -> Tensor:
        """Tokens (B, T) -> the last layer's normalized states (B, T, C), to which `head` gives logits.

        Without a context the tokens are whole texts, padded on the right if at all, where causal attention never looks.
        With a cache they are the next T of its texts; SharedPrompts says what else they can be.
        """
        T = tokens.shape[1]
        positions = torch.arange(T, device=tokens.device)[None] if context is None else context.read(T)  # (B or 1, T)
        length, most = T if context is None else context.length, self.config.max_seq_len
        if length > most:
            raise ValueError(f"{length} tokens are more than the context of {most} (max_seq_len)")
        x = self.embedding(tokens).to(self.norm.weight.dtype)  # (B, T, C); of a frozen model it may be bfloat16
        rope = self.rope(positions)
        recompute = self.checkpoint_activations and torch.is_grad_enabled() and not isinstance(context, KVCache)
        for layer, block in enumerate(self.blocks):
            inputs = (x, layer, rope, context)
            if recompute:
                x = checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False)  # (B, T, C)
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


def store_matrices(model: GPT, dtype: torch.dtype) -> None:
    """Store a frozen model's matrices in this precision once; autocast would convert them at every token.

    The norms stay as they are, and so does an embedding that would lose by it: there the sum of the layers begins.
    """
    embedding = model.embedding.weight
    exact = torch.equal(embedding, embedding.to(dtype))  # it came in this precision
    for module in model.modules():
        if isinstance(module, nn.Linear) or (module is model.embedding and exact):
            for name, parameter in module.named_parameters(recurse=False):
                setattr(module, name, nn.Parameter(parameter.detach().to(dtype), requires_grad=False))
    if exact and model.config.tie_embeddings:
        model.head.weight = model.embedding.weight  # one tensor again


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


def load_model(path: str | Path, content: dict | None = None) -> GPT:
    """The model in one of our checkpoints, in eval mode, on the CPU. ValueError if there is none; see `load`.

    `content` is that of the file, if it was loaded already.
    """
    content = content or load(path)
    try:
        return from_state(GPTConfig(**content["config"]), content["model"])
    except Exception as error:  # noqa: BLE001
        raise ValueError(f"{path} holds no model of this project ({error}); give one that train.py wrote") from None
