"""Two models, two caches, one text: `generate` writes responses with both, and `python rollout.py DIR` shows some.

    python rollout.py runs/word                                    # a run's pair on three test problems
    python rollout.py runs/word --prompt "Ada has 5 hats. Ada buys 7 more. How many hats does Ada have?"
    python rollout.py runs/word --human                            # you take the junior's turns
    python rollout.py --benchmark                                  # the speed of both models and of an update

Both models read every token, whoever wrote it. The distribution of the author gives the next one.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from model import GPT
from support.fast_engine import prefill, reading, response_states  # or `from engine`: read it there
from tandem import Handoff, Schedule, Uniforms, upload

LOOK_EVERY, ON_A_GPU = (
    4,
    16,
)  # tokens between looks for finished rows: a look makes the host wait for a GPU
FULL_ENOUGH = 0.75  # share of unfinished rows above which finished ones are not dropped: dropping copies the caches
LOGITS = 2**25  # most logits that an update or a measurement has in memory in one tensor, 128 MB

TENSORS = ("tokens", "authorship", "mask", "senior_logprobs", "junior_logprobs")


@dataclass
class Rollout:
    """N responses and who wrote them. Every tensor is (N, T), the response alone; T is the longest one's length."""

    prompts: list[list[int]]
    tokens: Tensor  # long; `pad` after the end
    authorship: Tensor  # bool, True = the senior wrote it
    mask: Tensor  # bool, True = a token of the response, the end token included
    senior_logprobs: Tensor  # of the token, whoever wrote it: log π_old of the paper's ratio
    junior_logprobs: (
        Tensor  # of the same token, under the junior's distribution (0 if there is no junior)
    )

    def __getitem__(self, rows: Tensor) -> "Rollout":
        """These rows alone, (M,) indices."""
        tensors = {name: getattr(self, name)[rows] for name in TENSORS}
        return Rollout([self.prompts[i] for i in rows.tolist()], **tensors)

    @property
    def logprobs(self) -> Tensor:
        """Those of the distribution that each token was drawn from, its author's.  (N, T)"""
        return torch.where(self.authorship, self.senior_logprobs, self.junior_logprobs)

    def texts(self, tokenizer) -> list[str]:
        """The responses as N strings."""
        rows = zip(self.tokens.tolist(), self.mask.sum(dim=1).tolist(), strict=True)
        return [tokenizer.decode(tokens[:length]) for tokens, length in rows]


def blank(prompts: list[list[int]], T: int, pad: int, device: torch.device) -> Rollout:
    """A Rollout to write into."""
    tokens = torch.full((len(prompts), T), pad, device=device)  # (N, T), like all of these
    authorship, mask = (
        torch.zeros_like(tokens, dtype=torch.bool),
        torch.zeros_like(tokens, dtype=torch.bool),
    )
    senior_logprobs, junior_logprobs = (
        torch.zeros_like(tokens).float(),
        torch.zeros_like(tokens).float(),
    )
    return Rollout(prompts, tokens, authorship, mask, senior_logprobs, junior_logprobs)


def to_logprobs(
    logits: Tensor, temperature: float, top_p: float | None = None, top_k: int | None = None
) -> Tensor:
    """The log of the distribution that is sampled, and that the loss must see.  (..., V) -> (..., V)

    Logits over the temperature (0: all on the largest), cut to the `top_k` likeliest tokens (at least 1), then to the
    likeliest that together reach `top_p` (in (0, 1]), renormalized; None cuts nothing.
    """
    if temperature == 0:
        best = F.one_hot(logits.argmax(dim=-1), logits.shape[-1]).bool()  # (..., V)
        return logits.float().masked_fill(~best, -torch.inf).log_softmax(dim=-1)
    logits = logits.float() if temperature == 1 else logits.float() / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k, dim=-1).values[..., -1:]  # (..., 1)
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p is not None and top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)  # (..., V) each
        probabilities = ordered.softmax(dim=-1)  # (..., V)
        before = (
            probabilities.cumsum(dim=-1) - probabilities
        )  # (..., V) what the likelier tokens have together
        cut = torch.zeros_like(before, dtype=torch.bool).scatter(
            -1, order, before >= top_p
        )  # (..., V)
        logits = logits.masked_fill(cut, -torch.inf)
    return logits.log_softmax(dim=-1)


def sample(logprobs: Tensor, uniform: Tensor) -> Tensor:
    """Draw by inverting the cumulative distribution: one uniform number a row.  (B, V), (B,) in [0, 1) -> (B,)"""
    cumulative = logprobs.exp().cumsum(dim=-1)  # (B, V)
    # Relative to the actual sum, and a hair below it: rounding must not reach a token without probability.
    target = uniform * (1 - 1e-6) * cumulative[:, -1]  # (B,)
    drawn = torch.searchsorted(cumulative, target[:, None], right=True)[:, 0]  # (B,)
    return drawn.clamp(
        max=cumulative.shape[1] - 1
    )  # of NaNs, which `generate` reports, it would be V


def seeded(*parts) -> torch.Generator:
    """A generator from (seed, step, purpose …). Purposes have separate streams, so evaluation can't change training."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def make_handoff(schedule: Schedule, tokenizer, model: GPT, config=None) -> Handoff:
    """Handoff for this tokenizer, with a run's p_senior, max_gap and chunk. Masks have the model's vocabulary."""
    V = model.config.vocab_size
    masks = {
        "boundary": tokenizer.boundary(V),
        "delimiter": tokenizer.delimiter(V),
        "halves": tokenizer.halves(V),
    }
    if config is None:  # the paper's
        return Handoff(schedule, **masks)
    return Handoff(
        schedule, p_senior=config.p_senior, max_gap=config.max_gap, chunk=config.chunk, **masks
    )


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
    """Let senior and junior answer each prompt together, authors as `handoff` says: the paper's rollout.

    A response ends with an `end` token, whoever writes it, after max_new_tokens, or when max_turns turns are over.
    All randomness comes from `generator` (torch's own if None; it may be on another device): see `Uniforms`. Temperature
    0 is argmax; it, top_p and top_k apply to both models. junior=None needs the schedule solo. `batch_size` rows are
    written at a time: the same responses in less memory. Where there are more, the generator is left as it was. `bar`
    is a tqdm of responses. Raises ValueError for bad arguments, FloatingPointError if logits are NaN or infinite.
    """
    models = [senior] if junior is None else [senior, junior]
    check_arguments(models, prompts, handoff, max_new_tokens, temperature, top_p, top_k, max_turns)
    device, out = senior.device, blank(prompts, max_new_tokens, pad, senior.device)
    ends, look_every = (
        upload(torch.tensor(end), device),
        ON_A_GPU if device.type == "cuda" else LOOK_EVERY,
    )
    if not isinstance(generator, Uniforms):
        generator = Uniforms(len(prompts), generator, device)

    for rows in torch.arange(len(prompts)).split(batch_size or len(prompts)):
        part, rows = [prompts[i] for i in rows.tolist()], upload(rows, device)  # B, (B,)
        caches, logits = prefill(models, part, max_new_tokens, pad)  # (B, V) each
        # Each part replays the whole batch's random numbers from their start, so splitting changes nothing.
        uniforms = generator.part(rows) if len(rows) < len(prompts) else generator
        author = handoff.start(len(rows), uniforms, device)  # (B,) True: the senior writes
        done, turns = torch.zeros_like(author), torch.ones_like(rows)  # (B,) each
        with reading(models) as read:
            for t in range(max_new_tokens):
                logprobs = [
                    to_logprobs(x, temperature, top_p, top_k) for x in logits
                ]  # (B, V) of each model
                of_author = (
                    logprobs[0] if junior is None else torch.where(author[:, None], *logprobs)
                )  # (B, V)
                token = sample(of_author, uniforms()).masked_fill(
                    done, pad
                )  # (B,) the author draws
                write(
                    out, rows, t, token, author, ~done, logprobs
                )  # before `done` changes: the end token counts
                previous, author = author, handoff.next(token)  # (B,)
                turns = turns + (author != previous)
                done = done | torch.isin(token, ends) | (turns > (max_turns or math.inf))
                if t + 1 == max_new_tokens:
                    break
                if t % look_every == look_every - 1:
                    going = caches[0].unfinished(done)  # (M,)
                    if len(going) == 0:
                        break
                    if len(going) <= FULL_ENOUGH * len(
                        rows
                    ):  # B shrinks: finished rows take no more work
                        rows, done, turns, author, token = (
                            x[going] for x in (rows, done, turns, author, token)
                        )
                        uniforms = uniforms.at(going)
                        for state in (handoff, *caches):
                            state.select(going)
                logits = read(
                    token, caches
                )  # BOTH read the token, whoever wrote it: (B, V) of each model
        del caches, logits, logprobs, of_author  # before the next part has its own
        if bar is not None:
            bar.update(len(part))
    return finished(out)


def write(
    out: Rollout,
    rows: Tensor,
    t: int,
    token: Tensor,
    author: Tensor,
    going: Tensor,
    logprobs: list[Tensor],
):
    """Column t of these rows: their tokens (B,), authors (B,), and the log-probs under each model's (B, V)."""
    out.tokens[rows, t] = token
    out.mask[rows, t] = going
    out.authorship[rows, t] = author & going
    for column, of_model in zip((out.senior_logprobs, out.junior_logprobs), logprobs, strict=False):
        column[rows, t] = of_model.gather(1, token[:, None])[:, 0].masked_fill(~going, 0.0)  # (B,)


def check_arguments(
    models, prompts, handoff, max_new_tokens, temperature, top_p, top_k, max_turns
) -> None:
    if len(models) == 1 and handoff.schedule != "solo":
        raise ValueError(f"junior is None, but the schedule {handoff.schedule!r} needs one")
    if len({model.config.vocab_size for model in models}) > 1:
        raise ValueError(
            "senior and junior have vocabularies of different sizes: they can't write one text"
        )
    if not prompts or not all(map(len, prompts)):
        raise ValueError("prompts: at least one, and none of them empty")
    if not (
        max_new_tokens >= 1
        and 0 <= temperature < math.inf
        and (max_turns is None or max_turns >= 1)
    ):
        raise ValueError(
            f"max_new_tokens ({max_new_tokens}) and max_turns are at least 1, temperature ({temperature}) 0"
        )
    if (top_p is not None and not 0 < top_p <= 1) or (top_k is not None and top_k < 1):
        raise ValueError(f"top_p ({top_p}) is above 0 and at most 1, top_k ({top_k}) at least 1")
    longest, context = max(map(len, prompts)), min(model.config.max_seq_len for model in models)
    if longest + max_new_tokens > context:
        raise ValueError(
            f"a prompt of {longest} tokens and max_new_tokens ({max_new_tokens}) exceed {context} (max_seq_len)"
        )


def finished(out: Rollout) -> Rollout:
    """Without the columns that nobody wrote. A bad logit leaves a log-prob that is NaN: FloatingPointError."""
    bad = [logprobs.isnan().sum() for logprobs in (out.senior_logprobs, out.junior_logprobs)]
    *bad, T = torch.stack(
        (*bad, out.mask.any(dim=0).sum())
    ).tolist()  # at once: a GPU is waited for
    for name, count in zip(("senior", "junior"), bad, strict=True):
        if count:
            raise FloatingPointError(f"the {name}'s logits are not finite")
    return Rollout(out.prompts, **{name: getattr(out, name)[:, :T] for name in TENSORS})


def response_logprobs(model: GPT, rollout: Rollout, select: Tensor, temperature: float) -> Tensor:
    """Log-probs of the selected (N, T) response tokens, with grad, and 0 elsewhere.  (N, T)"""
    states = response_states(model, rollout, select)  # (M, C)
    logprobs = token_logprobs(model, states, rollout.tokens[select], temperature)  # (M,)
    return put_back(logprobs, select)


def token_logprobs(model: GPT, states: Tensor, tokens: Tensor, temperature: float) -> Tensor:
    """Log-probs of the tokens (M,) that follow the states (M, C).  (M,)"""

    def of_tokens(states: Tensor, tokens: Tensor) -> Tensor:
        logprobs = to_logprobs(model.head(states), temperature)  # (m, V)
        return logprobs.gather(1, tokens[:, None])[:, 0]  # (m,)

    return in_chunks(of_tokens, model.config.vocab_size, states, tokens)


def in_chunks(function: Callable, V: int, *columns: Tensor) -> Tensor:
    """function(*columns), of as many rows at a time as have LOGITS logits: a large vocabulary's would fill a GPU.

    The gradient computes each chunk again.
    """
    parts = list(zip(*(column.split(max(1, LOGITS // V)) for column in columns), strict=True))
    if len(parts) == 1:
        return function(*columns)
    return torch.cat([checkpoint(function, *part, use_reentrant=False) for part in parts])


def put_back(values: Tensor, select: Tensor) -> Tensor:
    """Values (M,) where `select` (N, T) is True, in row-major order, and 0 elsewhere.  (N, T)"""
    return torch.zeros(select.shape, device=values.device).masked_scatter(select, values.float())


if __name__ == "__main__":
    from support.reports.show import main

    main()
