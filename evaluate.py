"""The paper's four measures of a senior and its junior, and the table and figure that compare runs.

    python evaluate.py runs/word runs/solo                          # side by side, from their eval.json
    python evaluate.py runs/word --problems 500 --samples 8         # measure again, on more problems
    python evaluate.py runs/word --json

solo        the senior alone: pass@k
handoff     the two take turns, a reasoning step each (`step`; also under `word`): pass@k of the team
drift       on the senior's solo responses: KL(senior‖junior) a token, and acceptance Σ min(senior, junior)
legibility  on the same: the junior's cross-entropy a token, given the prompt
"""

import hashlib
import json
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tqdm import tqdm

import reward
from cli import UserError, command, parse, pick_device, say_device
from data.problems import Problem, is_jargon
from data.tokenizer import Tokenizer
from model import GPT, autocast
from rollout import Rollout, generate, log_probs, render, response_logits
from runs import load_pair, problems_of, read_json, read_metrics, write_json
from tandem import Handoff, Schedule, kl_exact

LOGITS = 2**28  # of a model that are compared at a time: a GB, or 1,800 tokens if the vocabulary has 150,000


@dataclass
class Sampling:
    """How evaluation samples. The demonstration's defaults; the paper's are top_p 0.8, top_k 20, 8 samples."""

    samples: int = 4  # of each problem
    temperature: float = 0.7
    top_p: float | None = None
    top_k: int | None = None
    max_new_tokens: int = 64
    max_turns: int = 150  # under `step`
    p_senior: float = 0.5  # of `word`
    max_gap: int = 32
    batch_size: int = 512  # rows at a time
    precision: str = "float32"
    seed: int = 0


@dataclass
class Response:
    """One response: row `row` of a rollout, and the verifier's verdict."""

    problem: Problem
    rollout: Rollout
    row: int
    text: str
    right: bool


def seeded(*parts) -> torch.Generator:
    """A generator for one purpose, from (seed, step, purpose …): no two purposes share, so none can disturb another."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased probability that at least one of k samples is right, c of n being so: 1 - C(n-c, k)/C(n, k)."""
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def drift_and_legibility(senior: GPT, junior: GPT, rollout: Rollout) -> dict[str, torch.Tensor]:
    """KL, acceptance and the junior's cross-entropy (nats), each a mean over the tokens of a response.  3 × (N,)

    The models' own distributions are compared, temperature 1 and nothing cut off, whatever the responses were sampled
    with. The end token counts.
    """
    select, V = rollout.mask, senior.config.vocab_size  # (N, T)
    if len(select) > (most := max(1, LOGITS // (select.shape[1] * V))):
        rows = torch.arange(len(select)).split(most)
        parts = [drift_and_legibility(senior, junior, rollout.rows(index)) for index in rows]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    own = log_probs(response_logits(senior, rollout, select), 1.0)  # (M, V)
    partner = log_probs(response_logits(junior, rollout, select), 1.0)  # (M, V)
    tokens = rollout.tokens[select][:, None]  # (M, 1)
    per_token = {
        "kl": kl_exact(own, partner),  # (M,)
        "acceptance": torch.minimum(own.exp(), partner.exp()).sum(dim=-1),  # (M,)
        "cross_entropy": -partner.gather(1, tokens)[:, 0],  # (M,)
    }
    means = {}
    for name, values in per_token.items():
        table = torch.zeros_like(select, dtype=torch.float)  # (N, T)
        table[select] = values
        means[name] = table.sum(dim=1) / select.sum(dim=1)  # (N,)
    return means


def respond(
    senior: GPT,
    junior: GPT,
    problems: list[Problem],
    tokenizer: Tokenizer,
    schedule: Schedule,
    how: Sampling,
    bar: tqdm,
) -> list[Response]:
    """`how.samples` responses to every problem, one after the other, under one schedule."""
    handoff = Handoff(
        schedule,
        p_senior=how.p_senior,
        max_gap=how.max_gap,
        boundary=tokenizer.boundary(senior.config.vocab_size),
        delimiter=tokenizer.delimiter(senior.config.vocab_size),
    )
    asked = [problem for problem in problems for _ in range(how.samples)]  # a row each
    generator, responses = seeded(how.seed, "evaluate", schedule), []
    for first in range(0, len(asked), how.batch_size):
        part = asked[first : first + how.batch_size]
        rollout = generate(
            senior,
            None if schedule == "solo" else junior,
            [tokenizer.prompt(problem.question) for problem in part],
            handoff,
            end=tokenizer.end,
            pad=tokenizer.pad,
            max_new_tokens=how.max_new_tokens,
            temperature=how.temperature,
            top_p=how.top_p,
            top_k=how.top_k,
            max_turns=how.max_turns if schedule == "step" else None,
            generator=generator,
        )
        texts = rollout.text(tokenizer)
        verdicts = reward.verify_batch(texts, [problem.answer for problem in part])
        responses += map(Response, part, [rollout] * len(part), range(len(part)), texts, verdicts)
        bar.update(len(part))
    return responses


def pass_rates(responses: list[Response], samples: int) -> dict[str, float]:
    """pass@1, pass@2, pass@4 … up to the number of samples, each averaged over the problems."""
    right = [response.right for response in responses]
    counts = [sum(right[i : i + samples]) for i in range(0, len(right), samples)]  # right ones of a problem
    ks = [2**i for i in range(samples.bit_length())]
    return {f"pass@{k}": mean([pass_at_k(samples, c, k) for c in counts]) for k in ks}


@torch.no_grad()
def evaluate(
    senior: GPT, junior: GPT, problems: list[Problem], tokenizer: Tokenizer, how: Sampling, label: str = ""
) -> tuple[dict, dict[str, list[Response]]]:
    """The paper's evaluation of a pair: solo, handoff (`step`, and ours, `word`), drift and legibility.

    Returns the measures, as eval.json has them, and the responses behind them: solo, handoff, handoff_word.
    """
    rows = len(problems) * how.samples
    with (
        autocast(how.precision, senior.device),
        tqdm(total=3 * rows, desc=f"evaluating {label}".strip(), unit="response", leave=False) as bar,
    ):
        names = {"solo": "solo", "handoff": "step", "handoff_word": "word"}
        responses = {
            name: respond(senior, junior, problems, tokenizer, schedule, how, bar) for name, schedule in names.items()
        }
    measures = {name: pass_rates(answers, how.samples) for name, answers in responses.items()}
    alone = responses["solo"]
    rollouts = {id(response.rollout): response.rollout for response in alone}.values()
    with autocast(how.precision, senior.device):
        compared = [drift_and_legibility(senior, junior, rollout) for rollout in rollouts]
    kl, acceptance, cross_entropy = (
        torch.cat([c[key] for c in compared]).mean().item() for key in ("kl", "acceptance", "cross_entropy")
    )
    measures["drift"] = {"kl": kl, "acceptance": acceptance}
    measures["legibility"] = {"cross_entropy": cross_entropy}
    generated = all(problem.steps for problem in problems)  # jargon is a word of that world alone
    measures["jargon_rate"] = mean([is_jargon(response.text) for response in alone]) if generated else None
    measures["response_length"] = mean([int(response.rollout.mask[response.row].sum()) for response in alone])
    return measures, responses


@torch.no_grad()
def solo_accuracy(model: GPT, problems: list[Problem], tokenizer: Tokenizer, how: Sampling) -> tuple[float, float]:
    """A model's solo pass@1 and the share of its responses that have jargon in them."""
    with tqdm(total=len(problems) * how.samples, desc="validating", unit="response", leave=False) as bar:
        responses = respond(model, model, problems, tokenizer, "solo", how, bar)
    return mean([r.right for r in responses]), mean([is_jargon(r.text) for r in responses])


def mean(values: list) -> float:
    """Of numbers or booleans."""
    return sum(values) / len(values)


ROWS = (  # of the table: what it is called, where it is in a measurement, which way is better
    ("solo pass@1 ↑", ("solo", "pass@1")),
    ("handoff pass@1, step by step ↑", ("handoff", "pass@1")),
    ("handoff pass@1, word by word ↑", ("handoff_word", "pass@1")),
    ("drift: KL to the junior, nats ↓", ("drift", "kl")),
    ("drift: acceptance ↑", ("drift", "acceptance")),
    ("legibility: junior's cross-entropy, nats ↓", ("legibility", "cross_entropy")),
    ("jargon rate", ("jargon_rate",)),
    ("response length, tokens", ("response_length",)),
)


def look_up(measures: dict, path: tuple[str, ...]) -> float | None:
    """One number of a measurement, None where it doesn't apply."""
    for key in path:
        measures = measures[key]
    return measures


def cell(measures: dict, path: tuple[str, ...]) -> str:
    """One number of a measurement as the table shows it."""
    value = look_up(measures, path)
    return "-" if value is None else f"{value:.3f}"


def table(columns: dict[str, dict]) -> str:
    """Measurements side by side: a column a measurement, a row a measure; Markdown, so that it can be pasted."""
    width = max(len(label) for label, _ in ROWS)
    names = [f"{name:>8}" for name in columns]
    lines = [
        f"| {'':{width}} | {' | '.join(names)} |",
        f"| {'-' * width} | {' | '.join('-' * (len(n) - 1) + ':' for n in names)} |",
    ]
    for label, path in ROWS:
        cells = [f"{cell(column, path):>{len(name)}}" for name, column in zip(names, columns.values(), strict=True)]
        lines.append(f"| {label:{width}} | {' | '.join(cells)} |")
    return "\n".join(lines)


def show_responses(responses: dict[str, list[Response]], tokenizer: Tokenizer, color: bool) -> str:
    """A right and a wrong response, where there are such: the senior's alone, and of the two turn by turn."""
    lines = []
    for name in ("solo", "handoff"):
        for right in (True, False):
            for response in [r for r in responses[name] if r.right == right][:1]:
                text = render(response.rollout, response.row, tokenizer, color).replace("\n\n", " ¶ ")
                verdict = "right" if right else f"wrong, the answer is {response.problem.answer}"
                lines.append(f"  {name}, {verdict}\n    {response.problem.question}\n    {text}")
    return "\n".join(lines)


def draw_figure(runs: dict[str, tuple[dict, list[dict]]], path: Path) -> bool:
    """One figure of (measures, metrics) by run: reward and jargon rate over steps, then the four measures, arm by arm.

    False, and no figure, where matplotlib isn't installed.
    """
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(12, 6.5), layout="constrained")
    for axis, key, title in zip(
        axes[0], ("reward", "jargon_rate"), ("reward of the rollouts", "jargon rate"), strict=False
    ):
        for name, (_, metrics) in runs.items():
            axis.plot([m["step"] for m in metrics], [m[key] for m in metrics], label=name)
        axis.set(title=title, xlabel="step", ylim=(-0.03, 1.03))
    axes[0, 0].legend(frameon=False)
    bars = [
        (axes[0, 2], "solo pass@1", ("solo", "pass@1")),
        (axes[1, 0], "handoff pass@1 (step by step)", ("handoff", "pass@1")),
        (axes[1, 1], "drift: KL to the junior (nats a token)", ("drift", "kl")),
        (axes[1, 2], "legibility: junior's cross-entropy (nats)", ("legibility", "cross_entropy")),
    ]
    for axis, title, key in bars:
        values = [look_up(measures, key) for measures, _ in runs.values()]
        drawn = axis.bar(list(runs), values, color=[f"C{i}" for i in range(len(runs))])
        axis.bar_label(drawn, fmt="%.3g")
        axis.set(title=title)
        axis.margins(y=0.15)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise UserError(f"--figure {path} can't be drawn ({error}); give the path of a .png or .svg") from None
    finally:
        plt.close(figure)
    return True


@dataclass
class Options:
    """What `python evaluate.py` takes."""

    runs: list[str]
    """directories that train.py wrote"""
    problems: int | None = None
    """measure the trained pairs again, on this many test problems"""
    samples: int | None = None
    """measure the trained pairs again, with this many responses to a problem"""
    temperature: float | None = None
    """measure the trained pairs again, with both models at this temperature (0.7 where another setting is given)"""
    top_p: float | None = None
    """measure the trained pairs again, with both models cut to this nucleus (the paper: 0.8)"""
    top_k: int | None = None
    """measure the trained pairs again, with both models cut to this many likeliest tokens (the paper: 20)"""
    json: bool = False
    """print the measurements as JSON"""
    figure: str | None = None
    """where to draw the figure, if matplotlib is installed; comparison.png beside the first run if not given"""
    device: str = "auto"
    """auto (CUDA, then MPS, then the CPU), cuda, mps or cpu"""

    def __post_init__(self):
        for name in ("problems", "samples", "top_k"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= (self.temperature or 0) < float("inf") or not 0 < (1 if self.top_p is None else self.top_p) <= 1:
            raise ValueError("--temperature must be at least 0, --top-p above 0 and at most 1")


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, __doc__)
    settings = (options.problems, options.samples, options.temperature, options.top_p, options.top_k)
    columns, starts, found, directories = {}, [], {}, {}
    for directory in dict.fromkeys(Path(run).resolve() for run in options.runs):
        name = directory.name if directory.name not in found else str(directory)
        if any(value is not None for value in settings):
            found[name] = measure_again(directory, options)
        else:
            found[name] = read_measures(directory / "eval.json")
            before = found[name]["before"]
            shown = [cell(before, path) for _, path in ROWS]
            if shown not in starts:  # one column for all runs that began with the same pair
                starts.append(shown)
                columns[f"before {name}" if columns else "before"] = before
        columns[name], directories[name] = found[name]["after"], directory
    print(json.dumps(found, indent=2) if options.json else table(columns))
    figure = Path(options.figure) if options.figure else Path(options.runs[0]).resolve().parent / "comparison.png"
    curves = {name: (run["after"], read_metrics(directories[name])) for name, run in found.items()}
    drawn = draw_figure(curves, figure)
    print(f"figure: {figure}" if drawn else "no figure: pip install matplotlib draws one", file=sys.stderr)


def read_measures(path: Path) -> dict:
    """A run's eval.json, or a UserError that says what to do."""
    content = read_json(path, "before", "after")
    try:
        table({name: content[name] for name in ("before", "after")})
    except (LookupError, TypeError, ValueError):
        raise UserError(
            f"{path} is not what train.py wrote: measures are missing; --resume {path.parent} mends it"
        ) from None
    return content


def measure_again(directory: Path, options: Options) -> dict:
    """Measure a run's trained pair on more problems or otherwise; kept in the run, in an eval-*.json of that name."""
    config, senior, junior, tokenizer = load_pair(directory)
    how = Sampling(
        samples=options.samples or 4,
        temperature=0.7 if options.temperature is None else options.temperature,
        top_p=options.top_p,
        top_k=options.top_k,
        max_new_tokens=config.max_new_tokens,
        max_gap=config.max_gap,
        precision=config.precision,
    )
    _, problems, _ = problems_of(config, options.problems or 100, tokenizer, senior, junior)
    device = pick_device(options.device)
    say_device(device)
    measures, _ = evaluate(senior.to(device), junior.to(device), problems, tokenizer, how, directory.name)
    n = len(problems)
    result = {
        "after": measures,
        "problems": n,
        "samples": how.samples,
        "sampling": asdict(how),
        "config": config.record(),
    }
    path = directory / f"eval-{n}x{how.samples}-t{how.temperature}-p{how.top_p or 1}-k{how.top_k or 'all'}.json"
    try:
        write_json(path, result)
    except OSError as error:
        print(f"{path} can't be written ({error.strerror}); the measurement is only printed", file=sys.stderr)
    return result


if __name__ == "__main__":
    main()
