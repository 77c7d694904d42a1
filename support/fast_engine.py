"""How the models read, fast: the functions of engine.py, with the same results up to rounding.

The rows of a group share their prompt, in the caches and in an update. Each layer's attention reads
every key once for all query heads that share it.
"""

import os
from collections.abc import Callable
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

import engine
from model import GPT, GPTConfig, compute_dtype
from tandem import upload

GROWTH = 512  # slots by which a cache grows
# On CUDA: replay a recording of both models' reading, in place of a launch an operation.
GRAPHS = os.environ.get("TANDEM_CUDA_GRAPHS") == "1"


class KVCache:
    """Keys and values of every token so far, (B, KV, S, hd) a layer; `filled` slots of them count.

    Prompts of different lengths are padded on the left: `start` (B,) is the first slot of each row
    that holds a token. After `share_prompt(G)` one row serves the G texts of a prompt. Its slots
    are [prompt, token 0 of texts 0..G-1, token 1 of texts 0..G-1, …]; text g sees the prompt and
    every G-th slot after it. So a prompt is stored, and read at every token, once for its group.
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
        """A text has at most `limit` tokens, padding included. Memory grows with the tokens."""
        self.config = config
        self.limit = limit
        self.dtype = compute_dtype(like)
        device = like.device
        if start is None:
            start = torch.zeros(batch_size, dtype=torch.long, device=device)
        self.start = start  # (B,)
        self.begin = start[:, None]  # (texts, 1)
        self.length = 0  # tokens of a text
        self.group = 1  # texts of a row
        self.shared = 0  # slots that they share
        shape = (batch_size, config.n_kv_heads, 0, config.head_dim)
        empty = torch.empty(shape, dtype=self.dtype, device=device)
        self.k = [empty] * config.n_layers  # (B, KV, S, hd) of every layer
        self.v = [empty] * config.n_layers

    @property
    def filled(self) -> int:
        """The number of slots that hold a token or padding."""
        return self.shared + self.group * (self.length - self.shared)

    def read(self, T: int) -> Tensor:
        """Begin to read the next T tokens of every text. Their positions, (texts, T).

        Once rows are shared, T is 1.
        """
        if T > 1 and self.group > 1:
            raise ValueError("texts that share a prompt read one token at a time")
        self.make_room(T)
        before = self.length
        self.first = self.filled
        self.length += T
        if T == 1:
            self.mask = self.seen[..., : self.filled]  # (B, 1, G · H / KV, S)
        else:
            seen = visible(before, self.length, self.start)[:, None]  # (B, 1, T, S)
            self.mask = additive_mask(seen, self.config, self.dtype)
        slots = torch.arange(before, self.length, device=self.start.device)  # (T,)
        positions = slots - self.begin  # (texts, T)
        return positions.clamp(min=0)

    def make_room(self, T: int) -> None:
        """Reallocate if the next T tokens of every text don't fit."""
        room = self.k[0].shape[2]
        if self.filled + T * self.group > room:
            # Skipping the other texts' slots can cost more than a copy of the prompt.
            if self.group > 1 and self.length > 2 * self.shared:
                self.split_groups()
            else:
                self.reallocate(T=T)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The new tokens' queries on all keys so far and their own.  (texts, H, T, hd)"""
        keys = self.append(self.k[layer], k)  # (B, KV, S, hd)
        values = self.append(self.v[layer], v)  # (B, KV, S, hd)
        return masked_attention(q, keys, values, self.mask)

    def append(self, stored: Tensor, new: Tensor) -> Tensor:
        """Store the new (texts, KV, T, hd) behind the old, and return all.  (B, KV, S, hd)"""
        slots = stored[:, :, self.first : self.filled]  # (B, KV, T · G, hd)
        slots = slots.unflatten(2, (self.group, -1))  # (B, KV, G, T, hd)
        by_row = new.unflatten(0, (-1, self.group))  # (B, G, KV, T, hd)
        slots.copy_(by_row.transpose(1, 2))
        return stored[:, :, : self.filled]

    def share_prompt(self, group: int) -> None:
        """All that was read is the prompt of `group` texts from now on."""
        self.group = group
        self.shared = self.length
        self.reallocate()

    def split_groups(self) -> None:
        """Give every text a row of its own."""
        group = self.group
        shared = self.shared
        filled = self.filled

        def own_rows(old: Tensor) -> Tensor:
            """(B, KV, S, hd) -> (texts, KV, length, hd)"""
            prompt = old[:, :, :shared]  # (B, KV, P, hd)
            prompt = prompt.repeat_interleave(group, dim=0)  # (texts, KV, P, hd)
            own = old[:, :, shared:filled]  # (B, KV, tokens · G, hd)
            own = own.unflatten(2, (-1, group))  # (B, KV, tokens, G, hd)
            own = own.permute(0, 3, 1, 2, 4)  # (B, G, KV, tokens, hd)
            own = own.flatten(0, 1)  # (texts, KV, tokens, hd)
            return torch.cat((prompt, own), dim=2)

        self.start = self.start.repeat_interleave(group)
        self.group = 1
        self.shared = 0
        self.reallocate(own_rows)

    def unfinished(self, done: Tensor) -> Tensor:
        """The texts that go on, and those that share a row with them.  (texts,) -> (M,) indices"""
        by_row = done.view(-1, self.group)  # (B, G)
        going = ~by_row.all(dim=1, keepdim=True)  # (B, 1)
        going = going.expand(-1, self.group).flatten()  # (texts,)
        return going.nonzero()[:, 0]

    def select(self, texts: Tensor) -> None:
        """Keep only these texts, (M,) indices: all texts of a row, or none."""
        rows = texts[:: self.group] // self.group  # (B',)
        filled = self.filled
        self.start = self.start[rows]
        self.reallocate(lambda old: old[:, :, :filled][rows])

    def reallocate(self, take=lambda old: old, T: int = 1) -> None:
        """Reallocate with room for T tokens (+ GROWTH, up to the limit) and rebuild the mask.

        `take` gives what is kept of each layer's keys or values.
        """
        most = self.shared + self.group * (self.limit - self.shared)
        more = max(T * self.group, GROWTH)
        S = min(self.filled + more, most)
        for layers in (self.k, self.v):
            # One layer at a time: the old and the new cache are never in memory together.
            for layer, old in enumerate(layers):
                kept = take(old)
                B, KV, filled, hd = kept.shape
                layers[layer] = old.new_empty(B, KV, S, hd)
                layers[layer][:, :, :filled] = kept
        self.begin = self.start.repeat_interleave(self.group)[:, None]  # (texts, 1)
        slots = torch.arange(S, device=self.start.device)  # (S,)
        texts = torch.arange(self.group, device=self.start.device)  # (G,)
        text_of = (slots - self.shared) % self.group  # (S,)
        own = text_of == texts[:, None]  # (G, S)
        own = own | (slots < self.shared)
        begun = slots >= self.start[:, None]  # (B, S)
        seen = own & begun[:, None]  # (B, G, S)
        seen = seen[:, :, None]  # (B, G, 1, S)
        self.seen = additive_mask(seen, self.config, self.dtype)  # (B, 1, G · H / KV, S)


class SharedPrompts:
    """N responses to D distinct prompts, every prompt read once.

    All tokens stand in one row: first those of all prompts, then those of all responses. Norms and
    matrix products treat tokens one by one, so they run without padding. Attention alone lays the
    tokens out, as a rollout does. Prompts are padded on the left to P tokens: `start` (D,) is where
    each begins. Behind prompt `prompt_of` (N,) stands each response, padded on the right; `mask`
    (N, T) has its tokens.
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
        self.length = P + T
        slots = torch.arange(P + T, device=start.device)
        in_prompt = slots[:P] >= start[:, None]  # (D, P)
        is_token = flat_cat(in_prompt, mask)  # (D · P + N · T,)
        self.tokens = is_token.nonzero()[:, 0]  # (M,) slots that hold the row's tokens
        # The place in the row of each slot's token; any place where the slot holds none.
        place = is_token.cumsum(0) - 1  # (D · P + N · T,)
        place = place.clamp(min=0)
        prompts = place[: D * P].view(D, P)
        responses = place[D * P :].view(N, T)
        keys = torch.cat((prompts[prompt_of], responses), dim=1)  # (N, P + T)
        self.before = keys[:, P - 1 : -1]  # (N, T) place of the token before each of a response

        starts = start[prompt_of]  # (N,)
        prompt_sees = visible(0, P, start)  # (D, P, P)
        response_sees = visible(P, P + T, starts)  # (N, T, P + T)
        dtype = compute_dtype(like)
        prompt_mask = additive_mask(prompt_sees[:, None], config, dtype)
        response_mask = additive_mask(response_sees[:, None], config, dtype)
        self.parts = [  # of queries, of keys, mask
            (prompts, prompts, prompt_mask),
            (responses, keys, response_mask),
        ]

        of_prompts = slots[:P] - start[:, None]  # (D, P)
        of_responses = slots[P:] - starts[:, None]  # (N, T)
        positions = flat_cat(of_prompts, of_responses)  # (D · P + N · T,)
        self.positions = positions[self.tokens][None]  # (1, M)

    def read(self, T: int) -> Tensor:
        """The positions of the row's tokens.  (1, M)"""
        return self.positions

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """A prompt's queries on its own keys, a response's on its prompt's too.  (1, H, M, hd)"""
        _, H, _, hd = q.shape
        laid_out = []
        for query_places, key_places, mask in self.parts:
            queries = self.take(q, query_places)  # (B, H, T, hd)
            keys = self.take(k, key_places)  # (B, KV, S, hd)
            values = self.take(v, key_places)  # (B, KV, S, hd)
            y = masked_attention(queries, keys, values, mask)  # (B, H, T, hd)
            y = y.transpose(1, 2)  # (B, T, H, hd)
            laid_out.append(y.flatten(0, 1).flatten(1))  # (B · T, H · hd)
        y = torch.cat(laid_out)  # (D · P + N · T, H · hd)
        y = y.index_select(0, self.tokens)  # (M, H · hd)
        y = y.unflatten(1, (H, hd))  # (M, H, hd)
        return y.transpose(0, 1)[None]

    @staticmethod
    def take(x: Tensor, places: Tensor) -> Tensor:
        """(1, heads, M, hd) at places (B, T) -> (B, heads, T, hd)"""
        _, heads, _, hd = x.shape
        B, T = places.shape
        rows = x[0].transpose(0, 1).flatten(1)  # (M, heads · hd)
        taken = rows.index_select(0, places.flatten())  # (B · T, heads · hd)
        taken = taken.view(B, T, heads, hd)
        return taken.transpose(1, 2)


def flat_cat(a: Tensor, b: Tensor) -> Tensor:
    """All elements of a, then all of b, in one row."""
    return torch.cat((a.flatten(), b.flatten()))


def visible(first: int, end: int, start: Tensor) -> Tensor:
    """The slots that the tokens in slots first..end-1 see.  (B, T, S) bool

    A token sees its row's tokens up to itself. Padding sees itself alone: a softmax over nothing
    would be NaN, and would spread.
    """
    keys = torch.arange(end, device=start.device)  # (S,)
    queries = keys[first:, None]  # (T, 1)
    written = keys >= start[:, None, None]  # (B, 1, S)
    return written & (keys <= queries) | (keys == queries)


def additive_mask(seen: Tensor, config: GPTConfig, dtype: torch.dtype) -> Tensor:
    """Attention adds this to the scores: 0 where a key is seen, else -inf.

    (B, G, T, S) bool -> (B, 1, G · H / KV · T, S). It is made once for all layers, and in the
    precision of attention: from booleans each layer would make its own.
    """
    queries_a_key = config.n_heads // config.n_kv_heads
    mask = seen.new_zeros(seen.shape, dtype=dtype)  # (B, G, T, S)
    mask = mask.masked_fill_(~seen, -torch.inf)
    mask = mask[:, :, None]  # (B, G, 1, T, S)
    mask = mask.expand(-1, -1, queries_a_key, -1, -1)  # (B, G, H / KV, T, S)
    return mask.flatten(1, 3)[:, None]


def masked_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Queries (texts, H, T, hd) on the keys and values (B, KV, S, hd) of their rows.

    Group all query heads, of all texts of a row, that read the same key head: they become queries
    of one head. Keys are read once, and reading them is most of a decode step's time.
    """
    B, KV, _, hd = k.shape
    G = len(q) // B
    by_text = q.reshape(B, G, KV, -1, hd)  # (B, G, KV, H / KV · T, hd)
    by_key = by_text.transpose(1, 2)  # (B, KV, G, H / KV · T, hd)
    grouped = by_key.flatten(2, 3)  # (B, KV, G · H / KV · T, hd)
    y = F.scaled_dot_product_attention(grouped, k, v, attn_mask=mask)  # the same shape
    y = y.reshape(by_key.shape)
    y = y.transpose(1, 2)  # (B, G, KV, H / KV · T, hd)
    return y.reshape(q.shape)


def prefill(models: list[GPT], prompts: list[list[int]], max_new_tokens: int, pad: int):
    """Read the prompts. Of each model, its cache and the logits (B, V) of the first new token.

    Each distinct prompt is read once. Rows of a group that stand together share it in the cache,
    four by four.
    """
    padded, start, prompt_of = distinct(prompts, pad, models[0].device)  # (D, P), (D,), (B,)
    group = shared_by(prompts)
    limit = padded.shape[1] + max_new_tokens
    caches = []
    logits = []
    for model in models:
        weight = model.embedding.weight
        cache = KVCache(model.config, len(start), limit, start, like=weight)
        last = model.hidden(padded, cache)[:, -1]  # (D, C)
        logits.append(model.head(last)[prompt_of])  # (B, V)
        cache.select(prompt_of[::group])
        cache.share_prompt(group)
        caches.append(cache)
    return caches, logits


def shared_by(prompts: list[list[int]]) -> int:
    """The number of texts that can share a row: 4, or else 2, if every n in a row are the same."""
    for n in (4, 2):
        starts = range(0, len(prompts), n)
        if all(prompts[i : i + n] == [prompts[i]] * n for i in starts):
            return n
    return 1


def distinct(prompts, pad: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The D distinct prompts of a list of N.

    Returns them padded on the left (D, P), the slot where each begins (D,), and the number of
    each row's prompt (N,).
    """
    keys = [tuple(prompt) for prompt in prompts]
    different = list(dict.fromkeys(keys))
    number_of = {prompt: i for i, prompt in enumerate(different)}
    P = max(len(prompt) for prompt in different)
    start = [P - len(prompt) for prompt in different]
    padded = []
    for prompt, padding in zip(different, start, strict=True):
        padded.append([pad] * padding + list(prompt))
    prompt_of = [number_of[prompt] for prompt in keys]
    return (
        upload(torch.tensor(padded), device),
        upload(torch.tensor(start), device),
        upload(torch.tensor(prompt_of), device),
    )


@contextmanager
def reading(models: list[GPT]):
    """As engine.reading; on CUDA, if asked, by replays of a recording of both models."""
    if GRAPHS and models[0].device.type == "cuda":
        yield RecordedReading(models, record_graph)
        return
    with engine.reading(models) as read:
        yield read


class NextToken:
    """A cache that reads one token again and again, by tensors that keep their places and shapes.

    So a CUDA graph can record the reading of a token. The queries see all slots, of which the mask
    hides the empty ones. It is good until the cache is reallocated.
    """

    def __init__(self, cache: KVCache):
        device = cache.start.device
        self.cache = cache
        self.slots = torch.arange(cache.k[0].shape[2], device=device)  # (S,)
        self.next = torch.arange(cache.group, device=device) + cache.filled  # (G,) slots to fill
        self.place = torch.tensor(cache.length, device=device)  # () of the token in its text
        for stored in cache.k + cache.v:
            stored[:, :, cache.filled :] = 0.0  # hidden, but 0 · NaN is NaN

    @property
    def length(self) -> int:
        return self.cache.length + 1

    def read(self, T: int) -> Tensor:
        """The positions of the next token, (texts, 1)."""
        empty = self.slots > self.next[-1]  # (S,)
        self.mask = self.cache.seen.masked_fill(empty, -torch.inf)  # (B, 1, G · H / KV, S)
        positions = self.place - self.cache.begin  # (texts, 1)
        return positions.clamp(min=0)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """As KVCache.attend, of T = 1."""
        keys = self.cache.k[layer]  # (B, KV, S, hd)
        values = self.cache.v[layer]  # (B, KV, S, hd)
        for stored, new in ((keys, k), (values, v)):
            by_row = new[:, :, 0].unflatten(0, (-1, self.cache.group))  # (B, G, KV, hd)
            stored.index_copy_(2, self.next, by_row.transpose(1, 2).to(stored.dtype))
        return masked_attention(q, keys, values, self.mask)

    def advance(self) -> None:
        """The next reading is of the token behind."""
        self.next += self.cache.group
        self.place += 1


class RecordedReading:
    """Reads a token as it comes the first time, records it the second, and then replays it.

    It begins anew where a cache was reallocated: a cache grew, or rows left. `record(step)` gives
    a function that repeats all that `step()` does on the device, and the tensors that it fills.
    """

    def __init__(self, models: list[GPT], record: Callable):
        self.models = models
        self.record = record
        self.stored = []  # the first layer's keys of each cache, new wherever it is reallocated

    def __call__(self, token: Tensor, caches: list[KVCache]) -> list[Tensor]:
        for cache in caches:
            cache.make_room(1)
        stored = [cache.k[0] for cache in caches]
        same = [old is new for old, new in zip(self.stored, stored, strict=False)]
        if same and all(same):
            self.token.copy_(token)
            if self.replay is None:
                self.replay, self.logits = self.record(self.step)
            self.replay()
        else:
            self.stored = stored
            self.token = token.clone()  # (texts,)
            self.next = [NextToken(cache) for cache in caches]
            self.replay = None
            self.logits = self.step()  # what autocast keeps is there before the recording
        for cache in caches:
            cache.length += 1
        return self.logits

    def step(self) -> list[Tensor]:
        logits = []
        for model, context in zip(self.models, self.next, strict=True):
            logits.append(model(self.token[:, None], context)[:, 0])  # (texts, V)
            context.advance()
        return logits


def record_graph(step: Callable) -> tuple[Callable, list[Tensor]]:
    """Record a step as a CUDA graph. It doesn't run before it is replayed."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        filled = step()
    return graph.replay, filled


def response_states(model: GPT, rollout, select: Tensor) -> Tensor:
    """The states before the selected response tokens, from which `head` predicts them.  (M, C)

    select (N, T) bool has M True. The states come in row-major order, so `out[select] = values`
    puts values back. One forward without a cache reads prompts and responses; the rows of a group
    read their prompt once.
    """
    weight = model.embedding.weight
    T = int(rollout.mask.sum(dim=1).max())  # these rows may be shorter than the whole rollout's
    tokens = rollout.tokens[:, :T]  # (N, T)
    mask = rollout.mask[:, :T]  # (N, T)
    select = select[:, :T]  # (N, T)
    padded, start, prompt_of = distinct(rollout.prompts, 0, model.device)  # (D, P), (D,), (N,)
    P = padded.shape[1]
    context = SharedPrompts(model.config, start, P, prompt_of, mask, like=weight)
    laid_out = flat_cat(padded, tokens)  # (D · P + N · T,)
    text = laid_out[context.tokens]  # (tokens of all prompts and responses,)
    states = model.hidden(text[None], context)[0]  # (tokens, C)
    return states.index_select(0, context.before[select])  # only the selected
