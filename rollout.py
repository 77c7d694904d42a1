"""Two models, two caches, one text: `generate` writes it, `python rollout.py DIR` shows some.

    python rollout.py runs/word                # a run's pair on three test problems
    python rollout.py runs/word --prompt "Ada has 5 hats. Ada buys 7 more. How many hats …"
    python rollout.py runs/word --human        # you take the junior's turns
    python rollout.py --explain                # one step of RL with all its numbers
    python rollout.py --benchmark              # the speed of both models and of an update

Both models read every token, whoever wrote it. The author's distribution gives the next one.
"""

import hashlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from model import GPT
from support.fast_engine import prefill, reading, response_states  # plainly: from engine import …
from tandem import Handoff, Schedule, Uniforms, upload

CHECK_EVERY = {"cpu": 4, "cuda": 16}  # tokens between checks for finished rows; a GPU's host waits
FULL_ENOUGH = 0.75  # share of unfinished rows above which all stay: to leave some out is a copy
TENSORS = "tokens authorship mask senior_logprobs junior_logprobs".split()  # of a Rollout
MAX_LOGITS = 2**25  # the largest tensor of logits at a time: 128 MB


@dataclass
class Rollout:
    """N responses and who wrote them. T is the length of the longest response alone."""

    prompts: list[list[int]]
    tokens: Tensor  # (N, T) long; `pad` after the end
    authorship: Tensor  # (N, T) bool, True = the senior wrote it
    mask: Tensor  # (N, T) bool, True = a token of the response, the end token included
    senior_logprobs: Tensor  # (N, T) of the token, whoever wrote it: log π_old of the paper's ratio
    junior_logprobs: Tensor  # (N, T) of the same token, by the junior; NaN if it read nothing

    def __getitem__(self, rows: Tensor) -> "Rollout":
        """Only these rows, (M,) indices."""
        return Rollout(
            prompts=[self.prompts[row] for row in rows.tolist()],
            tokens=self.tokens[rows],
            authorship=self.authorship[rows],
            mask=self.mask[rows],
            senior_logprobs=self.senior_logprobs[rows],
            junior_logprobs=self.junior_logprobs[rows],
        )

    @classmethod
    def join(cls, parts: list["Rollout"], rows: list[Tensor], pad: int) -> "Rollout":
        """Several as one, in a new order: response i of part k becomes response rows[k][i].

        The shorter ones get `pad`. So partners can share a batch, and groups stay together.
        """
        N = sum(map(len, rows))
        lengths = [part.tokens.shape[1] for part in parts]
        out = blank([[]] * N, max(lengths), pad, rows[0].device)
        for part, places in zip(parts, rows, strict=True):
            for i, prompt in enumerate(part.prompts):
                out.prompts[places[i]] = prompt
            for name in TENSORS:
                column = getattr(part, name)  # (n, T of the part)
                T = column.shape[1]
                joined = getattr(out, name)  # (N, T of the longest)
                joined[places, :T] = column
        return out

    @property
    def logprobs(self) -> Tensor:
        """Of each token under the distribution that gave it, its author's.  (N, T)"""
        return torch.where(self.authorship, self.senior_logprobs, self.junior_logprobs)

    def texts(self, tokenizer) -> list[str]:
        """The responses as N strings."""
        rows = self.tokens.tolist()
        lengths = self.mask.sum(dim=1).tolist()
        pairs = zip(rows, lengths, strict=True)
        return [tokenizer.decode(tokens[:length]) for tokens, length in pairs]


@torch.no_grad()
def generate(
    senior: GPT,
    junior: GPT | None,
    prompts: list[list[int]],
    handoff: Handoff,
    *,
    end: int | list[int],
    pad: int,
    max_new_tokens: int,
    temperature: float,
    top_p: float | None = None,
    top_k: int | None = None,
    max_turns: int | None = None,
    generator: torch.Generator | Uniforms | None = None,
    batch_size: int | None = None,
    bar=None,
) -> Rollout:
    """Let senior and junior answer each prompt together, as `handoff` says: the paper's rollout.

    A response ends with an `end` token, whoever writes it, after max_new_tokens, or after max_turns
    turns. Temperature 0 is argmax. It, top_p and top_k apply to both models. junior=None needs the
    schedule solo. All random numbers come from `generator`, by default torch's own; it may be on
    another device. At most `batch_size` rows are generated at a time, with the same results. If
    that splits the batch, `generator` isn't advanced. `bar` is a tqdm of responses.

    Raises ValueError for bad arguments, FloatingPointError if logits are NaN or infinite.
    """
    models = [senior] if junior is None else [senior, junior]
    check_models(models, prompts, handoff, max_new_tokens)
    check_sampling(max_new_tokens, max_turns, temperature, top_p, top_k)
    device = senior.device
    out = blank(prompts, max_new_tokens, pad, device)
    ends = upload(torch.tensor(end), device)
    check_every = CHECK_EVERY.get(device.type, 4)
    if not isinstance(generator, Uniforms):
        generator = Uniforms(len(prompts), generator, device)

    def next_logprobs(logits: list[Tensor]) -> list[Tensor]:
        found = []
        for of_model in logits:
            found.append(to_logprobs(of_model, temperature, top_p, top_k))
        return found

    for rows, uniforms in in_parts(len(prompts), batch_size, generator):  # all at once by default
        part = [prompts[row] for row in rows.tolist()]  # B prompts
        rows = upload(rows, device)  # (B,)
        caches, logits = prefill(models, part, max_new_tokens, pad)  # (B, V) of each model
        author = handoff.start(len(part), uniforms, device)  # (B,) True: the senior writes
        done = torch.zeros_like(author)  # (B,)
        turns = torch.ones_like(rows)  # (B,)

        logprobs = next_logprobs(logits)  # (B, V) of each model
        with reading(models) as read:
            for t in range(max_new_tokens):
                # Both models have read the text so far. The author's distribution gives the token.
                distribution = logprobs[0]  # (B, V)
                if junior is not None:
                    distribution = torch.where(author[:, None], distribution, logprobs[1])
                token = sample(distribution, uniforms())  # (B,)
                token = token.masked_fill(done, pad)
                write(out, rows, t, token, author, ~done, logprobs)  # the end token counts
                done = done | torch.isin(token, ends)

                if t + 1 == max_new_tokens:
                    break
                if (t + 1) % check_every == 0:
                    going = caches[0].unfinished(done)  # (M,)
                    if len(going) == 0:
                        break
                    if len(going) <= FULL_ENOUGH * len(rows):  # finished rows take no more work
                        rows = rows[going]
                        token = token[going]
                        author = author[going]
                        done = done[going]
                        turns = turns[going]
                        uniforms = uniforms.at(going)
                        handoff.select(going)
                        for cache in caches:
                            cache.select(going)
                logits = read(token, caches)  # BOTH read the token, whoever wrote it: (B, V) each
                logprobs = next_logprobs(logits)

                before = author
                author = next_author(handoff, token, logprobs)  # e.g. a coin, if a new word began
                turns = turns + (author != before)
                if max_turns is not None:
                    done = done | (turns > max_turns)
        del caches, logits, logprobs, distribution  # before the next part has its own
        if bar is not None:
            bar.update(len(part))
    return finished(out, junior is None)


def next_author(handoff: Handoff, token: Tensor, logprobs: list[Tensor]) -> Tensor:
    """Ask the schedule who writes next. A fork's may do without the models' log-probs.  (B,)"""
    if "logprobs" in inspect.signature(handoff.next).parameters:
        return handoff.next(token, logprobs)
    return handoff.next(token)


def in_parts(N: int, batch_size: int | None, uniforms: Uniforms):
    """Yield the rows (B,) and the random numbers of each part of at most `batch_size` rows.

    Every part starts from a copy of the generator's state and takes only the numbers of its own
    rows. So splitting the batch changes no row's draws.
    """
    if batch_size is None or batch_size >= N:
        yield torch.arange(N), uniforms
        return
    for rows in torch.arange(N).split(batch_size):
        yield rows, uniforms.part(rows)


def to_logprobs(
    logits: Tensor,
    temperature: float,
    top_p: float | None = None,
    top_k: int | None = None,
) -> Tensor:
    """Log-probs of the distribution that is sampled, which the loss must see.  (..., V) -> (..., V)

    Divide the logits by the temperature (0: all on the largest). Keep the `top_k` likeliest tokens,
    then the likeliest that together reach `top_p`. Renormalize. None keeps all.
    """
    logits = logits.float()
    if temperature == 0:
        best = logits.argmax(dim=-1)  # (...)
        best = F.one_hot(best, logits.shape[-1]).bool()  # (..., V)
        logits = logits.masked_fill(~best, -torch.inf)
        return logits.log_softmax(dim=-1)
    if temperature != 1:
        logits = logits / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        likeliest = logits.topk(top_k, dim=-1).values  # (..., k)
        logits = logits.masked_fill(logits < likeliest[..., -1:], -torch.inf)
    if top_p is not None and top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)  # (..., V) each
        p = ordered.softmax(dim=-1)  # (..., V)
        before = p.cumsum(dim=-1) - p  # (..., V) the likelier tokens' sum
        cut = torch.zeros_like(p, dtype=torch.bool)
        cut = cut.scatter(-1, order, before >= top_p)  # (..., V)
        logits = logits.masked_fill(cut, -torch.inf)
    return logits.log_softmax(dim=-1)


def sample(logprobs: Tensor, uniform: Tensor) -> Tensor:
    """Draw by inverting the cumulative distribution; `uniform` in [0, 1).  (B, V), (B,) -> (B,)"""
    cumulative = logprobs.exp().cumsum(dim=-1)  # (B, V)
    total = cumulative[:, -1]  # (B,) 1, up to rounding
    target = uniform * (1 - 1e-6) * total  # a hair below: no token of probability 0 is drawn
    drawn = torch.searchsorted(cumulative, target[:, None], right=True)  # (B, 1)
    last = cumulative.shape[1] - 1
    return drawn[:, 0].clamp(max=last)  # of NaNs, which `finished` reports, it would be V


def make_handoff(schedule: Schedule, tokenizer, model: GPT, config=None) -> Handoff:
    """The Handoff of a tokenizer and a model's vocabulary, with a run's settings or the paper's.

    A run's options are settings of Handoff where they have its names.
    """
    V = model.config.vocab_size
    settings = {
        "boundary": tokenizer.boundary(V),
        "delimiter": tokenizer.delimiter(V),
        "halves": tokenizer.halves(V),
    }
    for name in inspect.signature(Handoff).parameters:
        if name != "schedule" and hasattr(config, name):
            settings[name] = getattr(config, name)
    return Handoff(schedule, **settings)


def seeded(*parts) -> torch.Generator:
    """A generator of its own for (seed, step, purpose …): evaluation can't change training."""
    name = "/".join(map(str, parts))
    digest = hashlib.sha256(name.encode()).digest()
    seed = int.from_bytes(digest[:8], "big") >> 1
    return torch.Generator().manual_seed(seed)


def response_logprobs(
    model: GPT,
    rollout: Rollout,
    select: Tensor,  # (N, T) bool
    temperature: float,
) -> Tensor:
    """Log-probs of the selected response tokens, with grad, and 0 elsewhere.  (N, T)"""
    states = response_states(model, rollout, select)  # (M, C)
    tokens = rollout.tokens[select]  # (M,)
    logprobs = token_logprobs(model, states, tokens, temperature)  # (M,)
    return put_back(logprobs, select)


def token_logprobs(model: GPT, states: Tensor, tokens: Tensor, temperature: float) -> Tensor:
    """Log-probs of the tokens (M,) that follow the states (M, C).  (M,)"""

    def of_chunk(states: Tensor, tokens: Tensor) -> Tensor:
        logprobs = to_logprobs(model.head(states), temperature)  # (m, V)
        return logprobs.gather(1, tokens[:, None])[:, 0]  # (m,)

    return in_chunks(of_chunk, model.config.vocab_size, states, tokens)


def compare_models(
    measure: Callable[[Tensor, Tensor, Tensor], Tensor],
    senior: GPT,
    junior: GPT,
    rollout: Rollout,
    select: Tensor,  # (N, T) bool
    temperature: float,
) -> Tensor:
    """`measure` at the selected tokens, from both models' log-probs over the whole vocabulary.

    It gets the senior's (m, V), the junior's (m, V) and the tokens (m,).  -> (M,) or (M, k)
    """

    def of_chunk(senior_states: Tensor, junior_states: Tensor, tokens: Tensor) -> Tensor:
        senior_logprobs = to_logprobs(senior.head(senior_states), temperature)  # (m, V)
        junior_logprobs = to_logprobs(junior.head(junior_states), temperature)  # (m, V)
        return measure(senior_logprobs, junior_logprobs, tokens)

    senior_states = response_states(senior, rollout, select)  # (M, C)
    junior_states = response_states(junior, rollout, select)  # (M, C)
    tokens = rollout.tokens[select]  # (M,)
    return in_chunks(of_chunk, senior.config.vocab_size, senior_states, junior_states, tokens)


def in_chunks(function: Callable, V: int, *columns: Tensor) -> Tensor:
    """function(*columns), in chunks of at most MAX_LOGITS logits: all at once might fill a GPU.

    The backward pass computes each chunk again.
    """
    size = max(1, MAX_LOGITS // V)
    chunks = [column.split(size) for column in columns]
    if len(chunks[0]) == 1:
        return function(*columns)
    parts = []
    for chunk in zip(*chunks, strict=True):
        parts.append(checkpoint(function, *chunk, use_reentrant=False))
    return torch.cat(parts)


def put_back(values: Tensor, select: Tensor) -> Tensor:
    """Values (M,) where `select` (N, T) is True, in row-major order, and 0 elsewhere.  (N, T)"""
    out = values.new_zeros(select.shape)  # (N, T)
    return out.masked_scatter(select, values)


def blank(prompts: list[list[int]], T: int, pad: int, device: torch.device) -> Rollout:
    """A Rollout to write into."""
    tokens = torch.full((len(prompts), T), pad, device=device)  # (N, T)
    no = torch.zeros_like(tokens, dtype=torch.bool)  # (N, T)
    zero = torch.zeros_like(tokens, dtype=torch.float)  # (N, T)
    return Rollout(prompts, tokens, no, no.clone(), zero, zero.clone())


def write(
    out: Rollout,
    rows: Tensor,  # (B,)
    t: int,
    token: Tensor,  # (B,)
    author: Tensor,  # (B,)
    going: Tensor,  # (B,)
    logprobs: list[Tensor],  # (B, V) of each model
) -> None:
    """Column t of these rows: token, author, and the token's log-prob under each model."""
    out.tokens[rows, t] = token
    out.mask[rows, t] = going
    out.authorship[rows, t] = author & going
    columns = [out.senior_logprobs, out.junior_logprobs]
    for column, of_model in zip(columns, logprobs, strict=False):  # without a junior, the first
        logprob = of_model.gather(1, token[:, None])[:, 0]  # (B,)
        column[rows, t] = logprob.masked_fill(~going, 0.0)


def finished(out: Rollout, alone: bool) -> Rollout:
    """Without the columns that nobody wrote. FloatingPointError if a log-prob is NaN.

    Those of a junior that wasn't there become NaN, so that nobody takes them for some.
    """
    written = out.mask.any(dim=0).sum()
    nan_senior = out.senior_logprobs.isnan().sum()
    nan_junior = out.junior_logprobs.isnan().sum()
    counts = torch.stack((written, nan_senior, nan_junior)).tolist()  # at once: a GPU's host waits
    T, nan_senior, nan_junior = counts
    if nan_senior or nan_junior:
        name = "senior" if nan_senior else "junior"
        raise FloatingPointError(f"the {name}'s logits are not finite")
    junior_logprobs = out.junior_logprobs
    if alone:
        junior_logprobs = junior_logprobs.masked_fill(out.mask, torch.nan)
    return Rollout(
        prompts=out.prompts,
        tokens=out.tokens[:, :T],
        authorship=out.authorship[:, :T],
        mask=out.mask[:, :T],
        senior_logprobs=out.senior_logprobs[:, :T],
        junior_logprobs=junior_logprobs[:, :T],
    )


def check_models(
    models: list[GPT],
    prompts: list[list[int]],
    handoff: Handoff,
    max_new_tokens: int,
) -> None:
    """ValueError if these models can't answer these prompts together."""
    if len(models) == 1 and handoff.schedule != "solo":
        raise ValueError(f"junior is None, but the schedule {handoff.schedule!r} needs one")
    sizes = {model.config.vocab_size for model in models}
    if len(sizes) > 1:
        raise ValueError(
            "senior and junior can't write one text: their vocabularies differ in size"
        )
    if not prompts or not all(prompts):
        raise ValueError("prompts: at least one, and none of them empty")
    longest = max(map(len, prompts))
    context = min(model.config.max_seq_len for model in models)
    if longest + max_new_tokens > context:
        asked = f"a prompt of {longest} tokens and max_new_tokens ({max_new_tokens})"
        raise ValueError(f"{asked} exceed the context of {context} (max_seq_len)")


def check_sampling(
    max_new_tokens: int,
    max_turns: int | None,
    temperature: float,
    top_p: float | None,
    top_k: int | None,
) -> None:
    """ValueError names the argument that can't be."""
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens is {max_new_tokens}; it must be at least 1")
    if max_turns is not None and max_turns < 1:
        raise ValueError(f"max_turns is {max_turns}; it must be at least 1")
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature is {temperature}; it must be at least 0")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p}; it must be above 0 and at most 1")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k is {top_k}; it must be at least 1")


if __name__ == "__main__":
    from support.reports.show import main

    main()
