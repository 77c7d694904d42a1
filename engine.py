"""How the models read, plainly: a cache of keys and values; one forward over prompt and response.

support/fast_engine.py has the same functions, faster. Its results are the same up to rounding.
Read this file. rollout.py runs that one.
"""

from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from model import GPT, compute_dtype


class KVCache:
    """Keys and values of every token so far: (B, KV, S, hd) a layer, of which `length` slots count.

    Prompts of different lengths are padded on the left: `start` (B,) is the first slot of each row
    that holds a token.
    """

    def __init__(self, model: GPT, start: Tensor, slots: int):
        config = model.config
        dtype = compute_dtype(model.embedding.weight)
        shape = (config.n_layers, len(start), config.n_kv_heads, slots, config.head_dim)
        self.k = torch.zeros(shape, dtype=dtype, device=start.device)  # (layers, B, KV, S, hd)
        self.v = torch.zeros_like(self.k)  # (layers, B, KV, S, hd)
        self.start = start[:, None, None]  # (B, 1, 1)
        self.length = 0

    def read(self, T: int) -> Tensor:
        """The next T tokens of every row are to be read. Their positions in its text, (B, T)."""
        first = self.length
        self.length = first + T
        slots = torch.arange(self.length, device=self.k.device)  # (S,)
        queries = slots[first:, None]  # (T, 1)
        written = slots >= self.start  # (B, 1, S)
        itself = slots == queries  # (T, S), for padding: a softmax over nothing would be NaN
        seen = written & (slots <= queries) | itself  # (B, T, S)
        self.mask = seen[:, None]  # (B, 1, T, S), one for all heads
        positions = slots[first:] - self.start[:, 0]  # (B, T)
        return positions.clamp(min=0)

    def attend(
        self,
        layer: int,
        q: Tensor,  # (B, H, T, hd)
        k: Tensor,  # (B, KV, T, hd)
        v: Tensor,  # (B, KV, T, hd)
    ) -> Tensor:  # (B, H, T, hd)
        """Keep the new tokens' keys and values. Attend to them and to all before."""
        end = self.length
        new = slice(end - k.shape[2], end)
        self.k[layer, :, :, new] = k
        self.v[layer, :, :, new] = v
        keys = self.k[layer, :, :, :end]  # (B, KV, S, hd)
        values = self.v[layer, :, :, :end]  # (B, KV, S, hd)
        groups = q.shape[1] != k.shape[1]  # several query heads share a key head
        return F.scaled_dot_product_attention(q, keys, values, self.mask, enable_gqa=groups)

    def unfinished(self, done: Tensor) -> Tensor:
        """The rows that go on.  (B,) -> (M,) indices"""
        return (~done).nonzero()[:, 0]

    def select(self, rows: Tensor) -> None:
        """Keep only these rows, (M,) indices."""
        self.k = self.k[:, rows]
        self.v = self.v[:, rows]
        self.start = self.start[rows]


def prefill(
    models: list[GPT],
    prompts: list[list[int]],  # B of them
    max_new_tokens: int,
    pad: int,
) -> tuple[list[KVCache], list[Tensor]]:
    """Read the prompts. Of each model: its cache, and the logits (B, V) of the first new token."""
    device = models[0].device
    P = max(map(len, prompts))
    rows = []
    start = []
    for prompt in prompts:
        padding = P - len(prompt)
        rows.append([pad] * padding + prompt)
        start.append(padding)
    padded = torch.tensor(rows, device=device)  # (B, P)
    start = torch.tensor(start, device=device)  # (B,)
    caches = []
    logits = []
    for model in models:
        cache = KVCache(model, start, P + max_new_tokens)
        states = model.hidden(padded, cache)  # (B, P, C)
        logits.append(model.head(states[:, -1]))  # (B, V)
        caches.append(cache)
    return caches, logits


@contextmanager
def reading(models: list[GPT]):
    """Yield `read(token, caches)`: every model reads the tokens (B,), and gives logits (B, V)."""

    def read(token: Tensor, caches: list[KVCache]) -> list[Tensor]:
        logits = []
        for model, cache in zip(models, caches, strict=True):
            logits.append(model(token[:, None], cache)[:, 0])  # (B, V)
        return logits

    yield read


def response_states(model: GPT, rollout, select: Tensor) -> Tensor:
    """The states before the selected response tokens, from which `head` predicts them.  (M, C)

    select (N, T) bool; M is its number of True. The states come in row-major order, so
    `out[select] = values` puts values back. One forward over prompts and responses, no cache.
    """
    lengths = rollout.mask.sum(dim=1)  # (N,)
    texts = []
    starts = []
    for prompt, tokens, length in zip(rollout.prompts, rollout.tokens, lengths, strict=True):
        question = torch.tensor(prompt, device=model.device)  # (P,)
        texts.append(torch.cat((question, tokens[:length])))
        starts.append(len(prompt))
    text = pad_sequence(texts, batch_first=True)  # (N, S), padded on the right
    states = model.hidden(text)  # (N, S, C)
    row, t = select.nonzero(as_tuple=True)  # (M,) each
    start = torch.tensor(starts, device=model.device)[row]  # (M,) where the response begins
    return states[row, start + t - 1]
