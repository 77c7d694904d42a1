"""How the models read, plainly: a cache of keys and values, and one forward over prompt and response.

support/fast_engine.py has the same functions, with the same results up to rounding, and is some
times faster. Read this file; rollout.py runs that one.
"""

from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from model import GPT, compute_dtype


class KVCache:
    """Keys and values of every token so far, (layers, B, KV, S, hd), of which `length` slots are filled.

    Prompts of different lengths are padded on the left: `start` (B,) is the first slot of each row
    that holds a token.
    """

    def __init__(self, model: GPT, start: Tensor, slots: int):
        config = model.config
        dtype = compute_dtype(model.embedding.weight)
        shape = (config.n_layers, len(start), config.n_kv_heads, slots, config.head_dim)
        self.k = torch.zeros(shape, dtype=dtype, device=start.device)  # (layers, B, KV, S, hd)
        self.v = torch.zeros_like(self.k)  # (layers, B, KV, S, hd)
        self.start = start  # (B,)
        self.length = 0

    def read(self, T: int) -> Tensor:
        """Begin to read the next T tokens of every row. Their positions in the row's text, (B, T)."""
        first = self.length
        self.length = first + T
        keys = torch.arange(self.length, device=self.start.device)  # (S,)
        queries = keys[first:, None]  # (T, 1)
        seen = (keys <= queries) & (keys >= self.start[:, None, None])  # (B, T, S)
        seen = seen | (keys == queries)  # padding sees itself, or its softmax would be NaN
        self.mask = seen[:, None]  # (B, 1, T, S)
        return (queries[:, 0] - self.start[:, None]).clamp(min=0)  # (B, T)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The new tokens' queries (B, H, T, hd) on all keys so far and their own.  (B, H, T, hd)"""
        new = slice(self.length - k.shape[2], self.length)
        self.k[layer, :, :, new] = k
        self.v[layer, :, :, new] = v
        keys = self.k[layer, :, :, : self.length]  # (B, KV, S, hd)
        values = self.v[layer, :, :, : self.length]  # (B, KV, S, hd)
        shared = q.shape[1] != k.shape[1]  # several query heads a key head
        return F.scaled_dot_product_attention(q, keys, values, self.mask, enable_gqa=shared)

    def unfinished(self, done: Tensor) -> Tensor:
        """The rows that go on.  (B,) -> (M,) indices"""
        return (~done).nonzero()[:, 0]

    def select(self, rows: Tensor) -> None:
        """Keep only these rows, (M,) indices."""
        self.k = self.k[:, rows]
        self.v = self.v[:, rows]
        self.start = self.start[rows]


def prefill(models: list[GPT], prompts: list[list[int]], max_new_tokens: int, pad: int):
    """Read the prompts. Of each model, its cache and the logits (B, V) of the first new token."""
    device = models[0].device
    P = max(len(prompt) for prompt in prompts)
    padded = [[pad] * (P - len(prompt)) + prompt for prompt in prompts]
    padded = torch.tensor(padded, device=device)  # (B, P)
    start = torch.tensor([P - len(prompt) for prompt in prompts], device=device)  # (B,)
    caches = [KVCache(model, start, P + max_new_tokens) for model in models]
    logits = []
    for model, cache in zip(models, caches, strict=True):
        last = model.hidden(padded, cache)[:, -1]  # (B, C)
        logits.append(model.head(last))  # (B, V)
    return caches, logits


@contextmanager
def reading(models: list[GPT]):
    """Yield `read(token, caches)`: every model reads the tokens (B,), and gives logits (B, V)."""

    def read(token: Tensor, caches: list[KVCache]) -> list[Tensor]:
        pairs = zip(models, caches, strict=True)
        return [model(token[:, None], cache)[:, -1] for model, cache in pairs]  # (B, V) each

    yield read


def response_states(model: GPT, rollout, select: Tensor) -> Tensor:
    """The states before the selected response tokens, from which `head` predicts them.  (M, C)

    select (N, T) bool has M True. The states come in row-major order, so `out[select] = values`
    puts values back.
    """
    lengths = rollout.mask.sum(dim=1).tolist()
    texts = []
    for prompt, response, length in zip(rollout.prompts, rollout.tokens, lengths, strict=True):
        prompt = torch.tensor(prompt, device=model.device)
        texts.append(torch.cat((prompt, response[:length])))
    text = pad_sequence(texts, batch_first=True)  # (N, S), padded on the right
    states = model.hidden(text)  # (N, S, C)
    row, t = select.nonzero(as_tuple=True)  # (M,) each
    before = torch.tensor([len(prompt) - 1 for prompt in rollout.prompts], device=model.device)
    return states[row, before[row] + t]
