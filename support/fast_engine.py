"""How the models read, fast: the functions of engine.py, with the same results up to rounding.

The rows of a group share their prompt, in the caches and in an update. Two models read at the same
time. Each layer's attention reads every key once for all query heads that share it.
"""

import functools
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from threadpoolctl import ThreadpoolController
from torch import Tensor

from model import GPT, GPTConfig, compute_dtype
from tandem import upload

GROWTH = 512  # slots by which a cache grows
THREADS_PAY = 500_000  # parameters of a model from which two threads are faster: smaller ones wait for Python's lock


class KVCache:
    """Keys and values of every token so far, (B, KV, S, hd) a layer, of which the first `filled` slots count.

    Prompts of different lengths are padded on the left: `start` (B,) is the first slot of each that holds a token.
    After `share_prompt(G)` one row serves the G texts of a prompt. Its slots are [prompt, token 0 of texts 0..G-1,
    token 1 of texts 0..G-1, …]; text g sees the prompt and every G-th slot after it. So a prompt is stored, and read
    at every token, once for its group.
    """

    def __init__(
        self,
        config: GPTConfig,
        batch_size: int,
        limit: int,
        start: Tensor | None = None,
        *,
        like: Tensor,
    ):
        """`limit` is the most tokens that a text may have, padding included. Memory is taken as they come."""
        self.config = config
        self.limit = limit
        self.dtype = compute_dtype(like)
        if start is None:
            start = torch.zeros(batch_size, dtype=torch.long, device=like.device)
        self.start = start  # (B,)
        self.begin = start[:, None]  # (texts, 1)
        self.length = 0  # tokens of a text
        self.group = 1  # texts of a row
        self.shared = 0  # slots that they share
        empty = like.new_empty(batch_size, config.n_kv_heads, 0, config.head_dim, dtype=self.dtype)
        self.k = [empty] * config.n_layers  # (B, KV, S, hd) of every layer
        self.v = [empty] * config.n_layers

    @property
    def filled(self) -> int:
        return self.shared + self.group * (self.length - self.shared)

    def read(self, T: int) -> Tensor:
        """Make room for T more tokens of every text (one, once rows are shared). Their positions, (texts, T)."""
        if T > 1 and self.group > 1:
            raise ValueError("texts that share a prompt read one token at a time")
        if self.filled + T * self.group > self.k[0].shape[2]:
            if self.group > 1 and self.length > 2 * self.shared:
                self.split_groups()  # skipping the other texts' slots now costs more than a copy of the prompt
            else:
                self.reallocate(T=T)
        before = self.length
        self.first = self.filled
        self.length += T
        if T == 1:
            self.mask = self.seen[..., : self.filled]  # (B, 1, G · H / KV, S)
        else:
            seen = visible(before, self.length, self.start)  # (B, T, S)
            self.mask = additive_mask(seen[:, None], self.config, self.dtype)
        positions = torch.arange(before, self.length, device=self.start.device)  # (T,)
        return (positions - self.begin).clamp(min=0)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The new tokens' queries (texts, H, T, hd) on their keys and values and all before.  -> (texts, H, T, hd)"""
        for layers, new in ((self.k, k), (self.v, v)):  # (texts, KV, T, hd) each
            slots = layers[layer][:, :, self.first : self.filled]  # (B, KV, T · G, hd)
            slots = slots.unflatten(2, (self.group, -1))  # (B, KV, G, T, hd)
            slots.copy_(new.unflatten(0, (-1, self.group)).transpose(1, 2))
        keys = self.k[layer][:, :, : self.filled]  # (B, KV, S, hd)
        values = self.v[layer][:, :, : self.filled]  # (B, KV, S, hd)
        return masked_attention(q, keys, values, self.mask)

    def share_prompt(self, group: int) -> None:
        """All that was read is the prompt of `group` texts from now on."""
        self.group = group
        self.shared = self.length
        self.reallocate()

    def split_groups(self) -> None:
        """Give every text a row of its own."""
        group, shared, filled = self.group, self.shared, self.filled

        def own_rows(old: Tensor) -> Tensor:  # (B, KV, S, hd) -> (texts, KV, length, hd)
            prompt = old[:, :, :shared].repeat_interleave(group, dim=0)
            own = old[:, :, shared:filled].unflatten(2, (-1, group))  # (B, KV, tokens, G, hd)
            own = own.permute(0, 3, 1, 2, 4)  # (B, G, KV, tokens, hd)
            return torch.cat((prompt, own.flatten(0, 1)), dim=2)

        self.start = self.start.repeat_interleave(group)
        self.group = 1
        self.shared = 0
        self.reallocate(own_rows)

    def unfinished(self, done: Tensor) -> Tensor:
        """The texts that go on, and with them those that share their row.  (texts,) -> (M,) indices"""
        going = ~done.view(-1, self.group).all(dim=1, keepdim=True)  # (B, 1)
        return going.expand(-1, self.group).flatten().nonzero()[:, 0]

    def select(self, texts: Tensor) -> None:
        """Keep only these texts, (M,) indices, of a row all or none."""
        rows = texts[:: self.group] // self.group  # (B',)
        filled = self.filled
        self.start = self.start[rows]
        self.reallocate(lambda old: old[:, :, :filled][rows])

    def reallocate(self, take=lambda old: old, T: int = 1) -> None:
        """Move what `take` leaves to memory with room for T tokens (+ GROWTH, up to the limit); rebuild the mask."""
        most = self.shared + self.group * (self.limit - self.shared)
        S = min(self.filled + max(T * self.group, GROWTH), most)
        for layers in (
            self.k,
            self.v,
        ):  # one layer at a time: old and new are never in memory together
            for layer, old in enumerate(layers):
                taken = take(old)
                layers[layer] = old.new_empty(*taken.shape[:2], S, taken.shape[3])
                layers[layer][:, :, : taken.shape[2]] = taken
        self.begin = self.start.repeat_interleave(self.group)[:, None]  # (texts, 1)
        slots = torch.arange(S, device=self.start.device)  # (S,)
        texts = torch.arange(self.group, device=self.start.device)  # (G,)
        own = (slots - self.shared) % self.group == texts[:, None]  # (G, S)
        own = own | (slots < self.shared)
        seen = own & (slots >= self.start[:, None])[:, None]  # (B, G, S)
        self.seen = additive_mask(
            seen[:, :, None], self.config, self.dtype
        )  # (B, 1, G · H / KV, S)


class SharedPrompts:
    """N responses to D distinct prompts, every prompt read once: one row of all prompts' tokens, then all responses'.

    Norms and matrix products treat tokens one by one, so they run without padding. Attention alone lays the tokens
    out, as a rollout does: prompts padded on the left, `start` (D,) is where each begins; behind prompt `prompt_of`
    (N,) each response, padded on the right, `mask` (N, T) has its tokens. P is the longest prompt's length.
    """

    def __init__(
        self,
        config: GPTConfig,
        start: Tensor,
        P: int,
        prompt_of: Tensor,
        mask: Tensor,
        *,
        like: Tensor,
    ):
        N, T = mask.shape
        D = len(start)
        dtype = compute_dtype(like)
        self.length = P + T
        slots = torch.arange(P + T, device=start.device)
        is_token = torch.cat(
            ((slots[:P] >= start[:, None]).flatten(), mask.flatten())
        )  # (D · P + N · T,)
        self.tokens = is_token.nonzero()[:, 0]  # (M,) slots that hold the row's tokens
        place = (is_token.cumsum(0) - 1).clamp(
            min=0
        )  # in the row, of each slot's token; any where there is none
        prompts = place[: D * P].view(D, P)
        responses = place[D * P :].view(N, T)
        keys = torch.cat((prompts[prompt_of], responses), dim=1)  # (N, P + T)
        self.before = keys[:, P - 1 : -1]  # (N, T) place of the token before each of a response
        starts = start[prompt_of]  # (N,)
        prompt_mask = additive_mask(visible(0, P, start)[:, None], config, dtype)
        response_mask = additive_mask(visible(P, P + T, starts)[:, None], config, dtype)
        self.parts = [
            (prompts, prompts, prompt_mask),
            (responses, keys, response_mask),
        ]  # of queries, of keys, mask
        of_prompts = (slots[:P] - start[:, None]).flatten()  # (D · P,)
        of_responses = (slots[P:] - starts[:, None]).flatten()  # (N · T,)
        self.positions = torch.cat((of_prompts, of_responses))[self.tokens][None]  # (1, M)

    def read(self, T: int) -> Tensor:
        return self.positions

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries (1, H, M, hd): a prompt's on its own keys, a response's on its prompt's and its own."""
        laid_out = []
        for queries, keys, mask in self.parts:
            y = masked_attention(
                self.take(q, queries), self.take(k, keys), self.take(v, keys), mask
            )  # (B, H, T, hd)
            laid_out.append(y.transpose(1, 2).flatten(0, 1).flatten(1))  # (B · T, H · hd)
        y = torch.cat(laid_out).index_select(0, self.tokens)  # (M, H · hd)
        return y.unflatten(1, (q.shape[1], -1)).transpose(0, 1)[None]

    @staticmethod
    def take(x: Tensor, places: Tensor) -> Tensor:
        """(1, heads, M, hd) at places (B, T) -> (B, heads, T, hd)"""
        rows = x[0].transpose(0, 1).flatten(1)  # (M, heads · hd)
        return (
            rows.index_select(0, places.flatten())
            .view(*places.shape, *x.shape[1::2])
            .transpose(1, 2)
        )


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
    mask = seen.new_zeros(seen.shape, dtype=dtype).masked_fill_(~seen, -torch.inf)[
        :, :, None
    ]  # (B, G, 1, T, S)
    return mask.expand(-1, -1, config.n_heads // config.n_kv_heads, -1, -1).flatten(1, 3)[:, None]


def by_key_head(x: Tensor, B: int, KV: int) -> Tensor:
    """Group all query heads, of all texts of a row, that read the same key head.  (texts, heads, T, hd) -> (B, KV, ·, hd)"""
    return x.reshape(B, len(x) // B, KV, -1, x.shape[-1]).transpose(1, 2).flatten(2, 3)


def masked_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Queries (texts, H, T, hd) on the keys and values (B, KV, S, hd) of their rows.  -> (texts, H, T, hd)

    The heads and texts that share keys become queries of one head: keys are read once, most of a decode step's time.
    """
    B, KV, _, hd = k.shape
    grouped = by_key_head(q, B, KV)  # (B, KV, G · H / KV · T, hd)
    y = F.scaled_dot_product_attention(grouped, k, v, attn_mask=mask)  # (B, KV, G · H / KV · T, hd)
    return y.reshape(B, KV, len(q) // B, -1, hd).transpose(1, 2).reshape(q.shape)


def prefill(models: list[GPT], prompts: list[list[int]], max_new_tokens: int, pad: int):
    """Read the prompts. Of each model, its cache and the logits (B, V) of the first new token.

    Each distinct prompt is read once. Rows of a group share it in the cache, four by four where they stand together.
    """
    padded, start, prompt_of = distinct(prompts, pad, models[0].device)  # (D, P), (D,), (B,)
    group = next(n for n in (4, 2, 1) if comes_in_runs(prompts, n))
    limit = padded.shape[1] + max_new_tokens
    caches, logits = [], []
    for model in models:
        cache = KVCache(model.config, len(start), limit, start, like=model.embedding.weight)
        last = model.hidden(padded, cache)[:, -1]  # (D, C)
        logits.append(model.head(last)[prompt_of])  # (B, V)
        cache.select(prompt_of[::group])
        cache.share_prompt(group)
        caches.append(cache)
    return caches, logits


def comes_in_runs(prompts: list[list[int]], n: int) -> bool:
    """Whether each prompt stands n times in a row, or a multiple of it."""
    runs = [prompts[i : i + n] for i in range(0, len(prompts), n)]
    return all(run.count(run[0]) == n for run in runs)


def distinct(
    prompts: list[list[int]], pad: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """The D distinct prompts, padded on the left (D, P), where each begins (D,), and which is each row's (B,)."""
    numbers = {prompt: i for i, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
    P = max(map(len, numbers))
    padded = torch.tensor(
        [[pad] * (P - len(prompt)) + list(prompt) for prompt in numbers]
    )  # (D, P)
    start = torch.tensor([P - len(prompt) for prompt in numbers])  # (D,)
    prompt_of = torch.tensor([numbers[tuple(prompt)] for prompt in prompts])  # (B,)
    return upload(padded, device), upload(start, device), upload(prompt_of, device)


@contextmanager
def reading(models: list[GPT]):
    """Yield `read(token, caches)`, which feeds a token (B,) to every model and returns their next logits, (B, V) each.

    On a CPU two models that are large enough read at the same time, each in a thread with half of the cores: two
    models side by side use two cores better than one matrix product split in two.
    """

    def one(model: GPT, cache: KVCache, token: Tensor) -> Tensor:
        return model(token[:, None], cache)[:, 0]  # (B, V)

    def in_turn(token: Tensor, caches: list[KVCache]) -> list[Tensor]:
        return [one(model, cache, token) for model, cache in zip(models, caches, strict=True)]

    cores = torch.get_num_threads()
    smallest = min(sum(p.numel() for p in model.parameters()) for model in models)
    if len(models) == 1 or cores < 2 or smallest < THREADS_PAY or models[0].device.type != "cpu":
        yield in_turn
        return

    precision, autocasts = torch.get_autocast_dtype("cpu"), torch.is_autocast_enabled("cpu")

    def begin() -> None:  # what every thread has its own of
        openmp().limit(limits=cores // 2)
        torch.set_grad_enabled(False)
        torch.set_autocast_dtype("cpu", precision)
        torch.set_autocast_enabled("cpu", autocasts)

    def at_once(token: Tensor, caches: list[KVCache]) -> list[Tensor]:
        juniors = thread.submit(one, models[1], caches[1], token)
        return [one(models[0], caches[0], token), juniors.result()]

    with ThreadPoolExecutor(1, initializer=begin) as thread, openmp().limit(limits=cores // 2):
        yield at_once


@functools.cache
def openmp() -> ThreadpoolController:
    """Sets a thread's number of cores. torch.set_num_threads would leave all later matrix products slower."""
    return ThreadpoolController().select(user_api="openmp")


def response_states(model: GPT, rollout, select: Tensor) -> Tensor:
    """The states before the selected response tokens, from which `head` predicts them.  -> (M, C)

    select (N, T) bool has M True. The states come in row-major order, so `out[select] = values` puts values back. One
    uncached forward over prompts and responses, in which the rows of a group read their prompt once.
    """
    T = int(rollout.mask.sum(dim=1).max())  # of these rows
    tokens, mask, select = (x[:, :T] for x in (rollout.tokens, rollout.mask, select))  # (N, T) each
    padded, start, prompt_of = distinct(rollout.prompts, 0, model.device)  # (D, P), (D,), (N,)
    context = SharedPrompts(
        model.config, start, padded.shape[1], prompt_of, mask, like=model.embedding.weight
    )
    text = torch.cat((padded.flatten(), tokens.flatten()))[
        context.tokens
    ]  # (M,), of all prompts and responses
    states = model.hidden(text[None], context)[0]  # (M, C)
    return states.index_select(0, context.before[select])  # of the selected alone
