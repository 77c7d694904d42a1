"""Two models, two caches, one text: `generate` writes responses with both, and `python rollout.py DIR` shows some.

    python rollout.py runs/word                                    # a run's pair on three test problems
    python rollout.py runs/word --prompt "Ada has 5 hats. Ada buys 7 more. How many hats does Ada have?"
    python rollout.py --benchmark                                  # the speed of both models and of an update

Both models read every token, whoever wrote it; the author's distribution gives the next one.
"""

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import ranks
from cli import UserError, command, parse, pick_device, say_device
from model import GPT, KVCache
from tandem import Handoff, Schedule


@dataclass
class Rollout:
    """N responses and who wrote them. Every tensor is (N, T), the response alone; T is the longest one's length."""

    prompts: list[list[int]]
    tokens: Tensor  # long; `pad` after the end
    authorship: Tensor  # bool, True = the senior wrote it
    mask: Tensor  # bool, True = a token of the response, the end token included
    logprobs: Tensor  # of the token, under the distribution of its author that it was drawn from
    partner_logprobs: Tensor  # of the same token, under the other model's (0 if there is none)
    draws: int = 0  # of authors, and how many fell to the senior (Handoff)
    senior_draws: int = 0

    def text(self, tokenizer) -> list[str]:
        """The responses as N strings."""
        return [tokenizer.decode(row[kept].tolist()) for row, kept in zip(self.tokens, self.mask, strict=True)]

    def rows(self, index: Tensor) -> "Rollout":
        """These rows alone, (M,) indices, without the counts of draws."""
        return Rollout([self.prompts[i] for i in index.tolist()], *(getattr(self, name)[index] for name in COLUMNS))


COLUMNS = ("tokens", "authorship", "mask", "logprobs", "partner_logprobs")  # the tensors of a Rollout


def join(rollouts: list[Rollout], pad: int) -> Rollout:
    """The rows of all of these, one after the other."""
    T = max(rollout.tokens.shape[1] for rollout in rollouts)

    def column(name: str) -> Tensor:
        """(N, T)"""
        fill = pad if name == "tokens" else 0
        tensors = [getattr(rollout, name) for rollout in rollouts]
        return torch.cat([F.pad(x, (0, T - x.shape[1]), value=fill) for x in tensors])

    draws, senior_draws = (sum(getattr(r, name) for r in rollouts) for name in ("draws", "senior_draws"))
    return Rollout([prompt for r in rollouts for prompt in r.prompts], *map(column, COLUMNS), draws, senior_draws)


def log_probs(logits: Tensor, temperature: float, top_p: float | None = None, top_k: int | None = None) -> Tensor:
    """The log of the distribution that is sampled, and that the loss must see.  (..., V) -> (..., V)

    Logits over the temperature (0: all on the largest), cut to the `top_k` likeliest tokens (at least 1), then to the
    likeliest that together reach `top_p` (in (0, 1]), renormalized; None cuts nothing.
    """
    if temperature == 0:
        best = F.one_hot(logits.argmax(dim=-1), logits.shape[-1])  # (..., V)
        return best.float().log()
    logits = logits.float() if temperature == 1 else logits.float() / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k, dim=-1).values[..., -1:]  # (..., 1)
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p is not None and top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        probabilities = ordered.softmax(dim=-1)
        before = probabilities.cumsum(dim=-1) - probabilities  # (..., V) what the likelier tokens have together
        cut = torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before >= top_p)
        logits = logits.masked_fill(cut, -torch.inf)
    return logits.log_softmax(dim=-1)


def draw(log_probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Sample by inverting the cumulative distribution: one uniform number a row.  (B, V), (B,) in [0, 1) -> (B,)"""
    cumulative = log_probabilities.exp().cumsum(dim=-1)  # (B, V)
    # Relative to the actual sum, and a hair below it: rounding must not reach a token without probability.
    target = uniform * (1 - 1e-6) * cumulative[:, -1]  # (B,)
    drawn = torch.searchsorted(cumulative, target[:, None], right=True)[:, 0]  # (B,)
    return drawn.clamp(max=cumulative.shape[1] - 1)  # where all is NaN, which `generate` reports, it would be V


def seeded(*parts) -> torch.Generator:
    """A generator for one purpose, from (seed, step, purpose …): no two purposes share, so none can disturb another."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def handoff_for(schedule: Schedule, tokenizer, model: GPT, **numbers) -> Handoff:
    """A schedule over a tokenizer's boundaries and delimiters; the model may have more ids than it has tokens."""
    size = model.config.vocab_size
    return Handoff(schedule, boundary=tokenizer.boundary(size), delimiter=tokenizer.delimiter(size), **numbers)


@torch.no_grad()
def generate(
    senior: GPT,
    junior: GPT | None,
    prompts: list[list[int]],
    handoff: Handoff,
    *,
    end: int,
    pad: int,
    max_new_tokens: int,
    temperature: float,
    top_p: float | None = None,
    top_k: int | None = None,
    max_turns: int | None = None,
    generator: torch.Generator | None = None,
    share: tuple[int, int] | None = None,
) -> Rollout:
    """Let senior and junior answer each prompt together, authors as `handoff` says: the paper's rollout.

    A response ends with the token `end`, whoever writes it, after max_new_tokens, or when max_turns turns are over.
    Random numbers come from `generator` alone (torch's own if None; it may be on another device), one a row and token,
    so that a row doesn't depend on how long others run. junior=None needs the schedule solo. Temperature 0 is argmax;
    it, top_p and top_k apply to both models. share=(first, total): these prompts are the rows from `first` on of a batch
    of `total`, and the random numbers of a row are those that it gets when the whole batch is written at once. Raises
    ValueError for empty prompts, bad numbers, two vocabularies, and more tokens than a context holds; FloatingPointError
    if a logit is NaN or infinite.
    """
    prompts = [list(prompt) for prompt in prompts]
    models = [senior] if junior is None else [senior, junior]
    if junior is None and handoff.schedule != "solo":
        raise ValueError(f"junior is None, but the schedule {handoff.schedule!r} needs one")
    if not prompts or not all(prompts):
        raise ValueError("prompts: at least one, and none of them empty")
    if max_new_tokens < 1 or not 0 <= temperature < float("inf"):
        raise ValueError(f"max_new_tokens ({max_new_tokens}) is at least 1, temperature ({temperature}) at least 0")
    if max_turns is not None and max_turns < 1:
        raise ValueError(f"max_turns is {max_turns}; it must be at least 1")
    if (top_p is not None and not 0 < top_p <= 1) or (top_k is not None and top_k < 1):
        raise ValueError(f"top_p ({top_p}) is above 0 and at most 1, top_k ({top_k}) at least 1")
    if len({model.config.vocab_size for model in models}) > 1:
        raise ValueError("senior and junior have vocabularies of different sizes: they can't write one text")
    longest, context = max(map(len, prompts)), min(model.config.max_seq_len for model in models)
    if longest + max_new_tokens > context:
        raise ValueError(
            f"a prompt of {longest} tokens and max_new_tokens ({max_new_tokens}) exceed "
            f"the context of {context} (max_seq_len)"
        )
    device, N = senior.device, len(prompts)
    first, total = share or (0, N)
    if not 0 <= first <= total - N:
        raise ValueError(f"share is {share}: there are no {N} rows from {first} on in a batch of {total}")

    # Each distinct prompt is read once, then its cache rows are copied to the whole group.
    distinct = {tuple(prompt): i for i, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
    padded = torch.tensor([[pad] * (longest - len(p)) + list(p) for p in distinct], device=device)  # (distinct, P)
    start = torch.tensor([longest - len(p) for p in distinct], device=device)  # (distinct,)
    row_of = torch.tensor([distinct[tuple(prompt)] for prompt in prompts], device=device)  # (N,)
    caches, logits = [], []
    for model in models:
        cache = KVCache(model.config, len(distinct), longest, start, like=model.embedding.weight)
        logits.append(model.head(model.hidden(padded, cache)[:, -1])[row_of])  # (N, V)
        cache.keep(row_of, capacity=longest + max_new_tokens)
        caches.append(cache)

    tokens = torch.full((N, max_new_tokens), pad, device=device)  # (N, T), as all of these
    authorship, mask = torch.zeros_like(tokens, dtype=torch.bool), torch.zeros_like(tokens, dtype=torch.bool)
    logprobs, partner_logprobs = (
        torch.zeros_like(tokens, dtype=torch.float),
        torch.zeros_like(tokens, dtype=torch.float),
    )
    author = handoff.start(total, generator, device)  # (B,)
    if share is not None:
        handoff.keep(torch.arange(first, first + N, device=device))
        author = handoff.author  # (B,)
    draws, senior_draws = handoff.drew.sum(), (handoff.drew & author).sum()
    rows = torch.arange(N, device=device)  # (B,) those still being written; B shrinks as they end
    done = torch.zeros(N, dtype=torch.bool, device=device)  # (B,)
    turns = torch.ones(N, dtype=torch.long, device=device)  # (B,)
    draw_on = generator.device if generator is not None else device
    finite = torch.ones(len(models), dtype=torch.bool, device=device)  # so far; looked at once, at the end
    for t in range(max_new_tokens):
        uniform = torch.rand(total, generator=generator, device=draw_on)[first : first + N].to(device)[rows]  # (B,)
        finite = finite & torch.stack([x.sum(dtype=torch.float) for x in logits]).isfinite()  # (models,)
        known = [log_probs(x, temperature, top_p, top_k) for x in logits]  # a (B, V) for each model
        own = known[0] if junior is None else torch.where(author[:, None], *known)  # (B, V) of each row's author
        token = draw(own, uniform).masked_fill(done, pad)  # (B,)
        chances = [x.gather(1, token[:, None])[:, 0].masked_fill(done, 0.0) for x in known]  # a (B,) for each model
        tokens[rows, t], mask[rows, t], authorship[rows, t] = token, ~done, author & ~done
        logprobs[rows, t] = chances[0] if junior is None else torch.where(author, *chances)
        if junior is not None:
            partner_logprobs[rows, t] = torch.where(author, *reversed(chances))
        previous, author = author, handoff.next(token)
        drew = handoff.drew & ~done  # (B,)
        draws, senior_draws = draws + drew.sum(), senior_draws + (drew & author).sum()
        turns = turns + (author != previous)
        done = done | (token == end)
        if max_turns is not None:
            done = done | (turns > max_turns)
        if t + 1 == max_new_tokens:
            break
        if t % 4 == 3:  # not at every token: asking a GPU makes it wait, copying the caches costs as well
            going = (~done).nonzero()[:, 0]
            if len(going) == 0:
                break
            if len(going) <= 0.75 * len(rows):
                rows, done, turns, author, token = (x[going] for x in (rows, done, turns, author, token))
                handoff.keep(going)
                for cache in caches:
                    cache.keep(going)
        logits = [model(token[:, None], cache)[:, 0] for model, cache in zip(models, caches, strict=True)]  # (B, V)

    for name, sound in zip(("senior", "junior"), finite.tolist(), strict=False):
        if not sound:
            raise FloatingPointError(f"the {name}'s logits are not finite")
    T = int(mask.any(dim=0).sum())
    columns = (x[:, :T] for x in (tokens, authorship, mask, logprobs, partner_logprobs))
    return Rollout(prompts, *columns, int(draws), int(senior_draws))


def generate_in_parts(
    senior: GPT,
    junior: GPT | None,
    prompts: list[list[int]],
    handoff: Handoff,
    *,
    most: int,
    generator: torch.Generator,
    bar: tqdm | None = None,
    **how,
) -> Rollout:
    """What `generate` writes, `most` rows at a time: the same responses in less memory. Several ranks share the parts."""

    def write(rows: range) -> Rollout:
        rollout = generate(
            senior,
            junior,
            prompts[rows.start : rows.stop],
            handoff,
            generator=generator.clone_state(),  # each part begins at the beginning, and takes the numbers of its rows
            share=(rows.start, len(prompts)),
            **how,
        )
        if bar is not None:
            bar.update(len(rows) * ranks.size())
        return rollout

    return join(ranks.gather(lambda: [write(rows) for rows in ranks.parts(len(prompts), most)]), how["pad"])


def response_logits(model: GPT, rollout: Rollout, select: Tensor) -> Tensor:
    """Logits from which the selected response tokens were to be drawn, in one uncached forward.  -> (M, V)

    select (N, T) bool; M is its number of True, in row-major order, so `out[select] = values` puts values back.
    Sequences are padded on the right, where causal attention never looks: no mask is needed.
    """
    lengths = rollout.mask.sum(dim=1).tolist()
    sequences = [
        torch.tensor(prompt + row[:length])
        for prompt, row, length in zip(rollout.prompts, rollout.tokens.tolist(), lengths, strict=True)
    ]
    padded = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True).to(model.device)  # (N, P + T)
    before = torch.tensor([len(prompt) - 1 for prompt in rollout.prompts], device=model.device)  # (N,)
    row, t = select.nonzero(as_tuple=True)  # (M,), (M,)
    return model.head(model.hidden(padded)[row, before[row] + t])  # (M, V): the state before a token predicts it


def render(rollout: Rollout, row: int, tokenizer, color: bool) -> str:
    """A response with its authors: colours for a terminal, else the junior's words in ⟦brackets⟧."""
    senior_style, junior_style = ("\x1b[36m{}\x1b[0m", "\x1b[33m{}\x1b[0m") if color else ("{}", "⟦{}⟧")
    pieces, run = [], []
    length = int(rollout.mask[row].sum())
    authors = rollout.authorship[row, :length].tolist()
    for i, token in enumerate(rollout.tokens[row, :length].tolist()):
        run.append(token)
        if i + 1 == length or authors[i + 1] != authors[i]:
            if text := tokenizer.decode(run):  # an end token alone has none
                pieces.append((senior_style if authors[i] else junior_style).format(text))
            run = []
    return "".join(pieces)


@dataclass
class Options:
    """What `python rollout.py` takes."""

    run: str | None
    """directory that train.py wrote"""
    prompt: str | None = None
    """a question of your own; test problems if not given"""
    samples: int = 3
    """responses to show"""
    schedule: Schedule = "word"
    """who writes the next token"""
    temperature: float = 0.7
    """of both models"""
    seed: int = 0
    """of the draws"""
    benchmark: bool = False
    """measure the speed on a fixed work instead; needs no run"""
    json: bool = False
    """print what --benchmark measured as JSON"""
    device: str = "auto"
    """auto (CUDA, then MPS, then the CPU), cuda, mps or cpu"""

    def __post_init__(self):
        if self.samples < 1 or not 0 <= self.temperature < float("inf"):
            raise ValueError("--samples must be at least 1, --temperature at least 0")
        if self.run is None and not self.benchmark:
            raise ValueError("give the directory of a run that train.py wrote, or --benchmark")
        if self.json and not self.benchmark:
            raise ValueError("--json belongs to --benchmark; leave it out")


@command
def main(argv: list[str]) -> None:
    import reward
    from data.problems import Problem
    from data.tokenizer import load_tokenizer
    from runs import load_pair, problems_of

    options = parse(Options, argv, __doc__)
    if options.benchmark:
        import benchmark

        measured = benchmark.benchmark(load_tokenizer(), pick_device(options.device))
        return print(json.dumps(measured, indent=2) if options.json else benchmark.table(measured))
    config, senior, junior, tokenizer = load_pair(Path(options.run))
    if options.prompt:
        asked = [Problem(options.prompt, "")] * options.samples
    else:
        _, asked, _ = problems_of(config, options.samples, tokenizer, senior, junior)
    prompts = [tokenizer.prompt(problem.question) for problem in asked]
    context = min(model.config.max_seq_len for model in (senior, junior))
    if (most := context - config.max_new_tokens) < max(map(len, prompts)):
        raise UserError(f"--prompt has {max(map(len, prompts))} tokens; {most} fit into the context: shorten it")
    device = pick_device(options.device)
    say_device(device)
    senior, junior = senior.to(device), junior.to(device)
    numbers = dict(p_senior=config.p_senior, max_gap=config.max_gap, chunk=config.chunk)
    handoff = handoff_for(options.schedule, tokenizer, senior, **numbers)
    rollout = generate(
        senior,
        None if options.schedule == "solo" else junior,
        prompts,
        handoff,
        end=tokenizer.end,
        pad=tokenizer.pad,
        max_new_tokens=config.max_new_tokens,
        temperature=options.temperature,
        generator=seeded(options.seed, "show"),
    )
    color = sys.stdout.isatty()
    print("senior in cyan, junior in yellow" if color else "what the junior wrote is in ⟦brackets⟧")
    for row, (problem, text) in enumerate(zip(asked, rollout.text(tokenizer), strict=True)):
        verdict = ""
        if problem.answer:
            right = reward.verify(text, problem.answer)
            verdict = "\n\n→ right" if right else f"\n\n→ wrong, the answer is {problem.answer}"
        print(f"\n{problem.question}\n\n{render(rollout, row, tokenizer, color)}{verdict}")


if __name__ == "__main__":
    main()
