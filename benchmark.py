"""Speed on a fixed reference work, with random weights: `python rollout.py --benchmark [--json]`.

Everything is measured in turn, again and again in one process, and reported as medians: what slows the machine down for
a while slows all of it down. The floor stands beside: arithmetic at the measured rate of a 2048 × 2048 matrix product,
bytes at the measured bandwidth of a copy.
"""

import resource
import statistics
import sys
import time
from collections.abc import Callable

import torch
from tqdm import tqdm

from config import Config
from data.tokenizer import Tokenizer
from model import GPT, GPTConfig, KVCache
from rollout import Rollout, generate
from trainer import Batch, Trainer

SHAPE = dict(vocab_size=512, d_model=128, n_layers=4, n_heads=4, n_kv_heads=4, head_dim=32, d_ff=352)
NEVER = -1  # an end token that isn't in the vocabulary: every response has its full length


def medians(works: dict[str, Callable], repeats: int, device: torch.device, bar: tqdm) -> dict[str, float]:
    """Seconds that each of these takes: medians over rounds through all of them, after a round of warm-up."""
    seconds = {name: [] for name in works}
    for _ in range(repeats + 1):
        for name, work in works.items():
            bar.set_postfix_str(name)
            started = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds[name].append(time.perf_counter() - started)
            bar.update()
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def peak_memory(device: torch.device) -> int:
    """Bytes: of the GPU's tensors, or of the process, PyTorch itself included."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )  # KiB on Linux


def benchmark(tokenizer: Tokenizer, device: torch.device, small: bool = False) -> dict[str, float]:
    """Measure; returns what `--json` prints. `small` is for tests: the same measurements of much less work."""
    groups, G, T, size, repeats = (2, 4, 8, 256, 1) if small else (16, 8, 64, 2048, 5)
    lengths, batches = ((4, 8), (2, 4)) if small else ((64, 256, 1024), (8, 32, 128, 512))
    torch.manual_seed(0)
    config = GPTConfig(**SHAPE, max_seq_len=40 + max(T, *lengths))
    senior, junior = (GPT(config).eval().to(device) for _ in range(2))
    junior.requires_grad_(False)
    ids = torch.randint(0, 256, (groups, 40)).tolist()
    asked = [row[: 24 + 16 * i // max(1, groups - 1)] for i, row in enumerate(ids)]  # 24 to 40 tokens each
    prompts = [prompt for prompt in asked for _ in range(G)]  # N
    N = len(prompts)
    trainers = {
        schedule: Trainer(Config(schedule=schedule, group_size=G), senior, junior, tokenizer)
        for schedule in ("solo", "word")
    }

    def roll(schedule: str, prompts=prompts, new=T) -> Rollout:
        return generate(
            senior,
            None if schedule == "solo" else junior,
            prompts,
            trainers[schedule].handoff,
            end=NEVER,
            pad=tokenizer.pad,
            max_new_tokens=new,
            temperature=1.0,
            generator=torch.Generator().manual_seed(0),
        )

    def judge(schedule: str, rollout: Rollout) -> Batch:
        right = [sum(row) % 2 for row in rollout.tokens.tolist()]  # as good as a coin: every group has a signal
        return trainers[schedule].judge(rollout, torch.tensor(right, dtype=torch.float, device=device))

    def update(batch: Batch, schedule: str) -> None:
        batch.advantages = batch.advantages + 1e-3  # no row is left out
        trainers[schedule].update(batch, 0)

    @torch.no_grad()
    def forwards() -> None:
        """What both models' own reading of the same tokens takes, of the prompts and one by one: the floor of tandem."""
        for model in (senior, junior):
            start = torch.tensor([40 - len(prompt) for prompt in asked], device=device)  # (groups,)
            padded = torch.tensor(
                [[0] * (40 - len(prompt)) + prompt for prompt in asked], device=device
            )  # (groups, 40)
            cache = KVCache(model.config, groups, 40, start, like=model.embedding.weight)
            model.hidden(padded, cache)
            cache.keep(torch.arange(N, device=device) // G, capacity=40 + T)
            for token in batch.rollout.tokens.T[: T - 1]:
                model(token[:, None], cache)

    def step(schedule: str) -> None:
        update(judge(schedule, roll(schedule)), schedule)

    roll("solo", prompts[: N // 4], 4)  # what the first rollout of a process leaves behind isn't its memory
    before = peak_memory(device)
    roll("solo", prompts[: N // 4], lengths[-1])
    grown = peak_memory(device) - before
    batch = judge("solo", roll("solo"))
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    source, target = (torch.empty(size * 8192 if not small else size, device=device) for _ in range(2))  # 64 MiB
    works = {
        "matmul": lambda: a @ b,
        "copy": lambda: target.copy_(source),
        "solo": lambda: roll("solo"),
        "tandem": lambda: roll("word"),
        "forwards": forwards,
        "update": lambda: update(batch, "solo"),
        "step solo": lambda: step("solo"),
        "step tandem": lambda: step("word"),
    }
    few = {f"{n} new tokens": lambda n=n: roll("solo", prompts[: N // 4], n) for n in lengths}
    few |= {f"{n} rows": lambda n=n: roll("solo", (prompts * n)[:n]) for n in batches}
    total = len(works) * (repeats + 1) + len(few) * 2
    with tqdm(total=total, desc="benchmark", unit="run", file=sys.stderr, leave=False) as bar:
        s = medians(works, repeats, device, bar) | medians(few, 1, device, bar)

    rate, bandwidth = 2 * size**3 / s["matmul"], 2 * source.nbytes / s["copy"]  # FLOP/s; bytes/s, read and written
    parameters = sum(p.numel() for p in senior.parameters())  # the tied embedding once
    position = sum(map(len, prompts)) / N + T / 2  # of a new token, on average
    per_position = 2 * config.n_layers * config.n_kv_heads * config.head_dim * 4  # bytes of cache, a row and position
    floor = 2 * parameters * N / rate + (4 * parameters + N * position * per_position) / bandwidth  # of a decode step
    caches = len(prompts[: N // 4]) * (40 + lengths[-1]) * per_position  # of the rollout whose memory was measured
    cost = {n: s[f"{n} new tokens"] / n for n in lengths}  # seconds a token
    slope = (cost[lengths[-1]] - cost[lengths[0]]) / ((lengths[-1] - lengths[0]) / 2)  # seconds a position
    return {
        "matmul_gflops": rate / 1e9,
        "copy_gb_per_second": bandwidth / 1e9,
        "parameters": parameters,
        "solo_tokens_per_second": N * T / s["solo"],
        "tandem_tokens_per_second": N * T / s["tandem"],
        "tandem_over_solo_time": s["tandem"] / s["solo"],
        "tandem_over_own_forwards": s["tandem"] / s["forwards"],
        "solo_step_milliseconds": 1e3 * s["solo"] / T,
        "tandem_step_milliseconds": 1e3 * s["tandem"] / T,
        "decode_floor_milliseconds": 1e3 * floor,
        "update_seconds": s["update"],
        "update_mfu": 6 * parameters * (sum(map(len, prompts)) + N * T) / s["update"] / rate,
        "step_solo_seconds": s["step solo"],
        "step_tandem_seconds": s["step tandem"],
        "step_tandem_over_solo": s["step tandem"] / s["step solo"],
        "peak_memory_mb": peak_memory(device) / 1e6,
        "rollout_memory_over_weights_and_caches": (4 * parameters + grown) / (4 * parameters + caches),
        "growth_over_cache_reading": slope / (len(prompts[: N // 4]) * per_position / bandwidth),
        **{f"milliseconds_per_token_length_{n}": 1e3 * cost[n] for n in lengths},
        **{f"milliseconds_per_row_batch_{n}": 1e3 * s[f"{n} rows"] / n for n in batches},
    }


def table(measured: dict[str, float]) -> str:
    """The measurements, a line each; Markdown, so that it can be pasted."""
    width = max(map(len, measured))
    rows = [f"| {name.replace('_', ' '):{width}} | {value:>10,.3f} |" for name, value in measured.items()]
    return "\n".join([f"| {'':{width}} | {'median':>10} |", f"| {'-' * width} | {'-' * 9}: |", *rows])
