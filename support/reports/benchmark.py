"""Speed on a fixed reference work, with random weights: `python rollout.py --benchmark [--json]`.

All tasks are measured in turn, again and again, so a slow moment slows all of them. The floor is
the arithmetic at the measured rate of a matrix product, and the bytes at the measured bandwidth of
a copy. On CUDA a bfloat16 pair of SmolLM2-135M's shape is measured too, with its memory and with
how often a rollout waits for the GPU.
"""

import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from data.tokenizer import Tokenizer
from model import GPT, GPTConfig, autocast
from rollout import Rollout, generate, make_handoff, prefill, reading
from support.models.weights import store_matrices
from support.reports.figure import load_matplotlib, save
from support.runs.progress import progress
from tandem import Handoff

SIZES = {
    "vocab_size": 512,
    "d_model": 128,
    "n_layers": 4,
    "n_heads": 4,
    "n_kv_heads": 4,
    "head_dim": 32,
    "d_ff": 352,
}

SPEED_UNITS = {  # of a measurement whose name has this in it; the first one counts
    "tokens_per_second": "tokens/s",
    "gb_per_second": "GB/s",
    "gflops": "GFLOP/s",
    "milliseconds": "ms",
    "_over_": "times",
    "seconds": "s",
    "peak_gb": "GB",
    "mfu": "of matmul's rate",
}

SMOLLM2 = GPTConfig(49152, 30, 9, 3, 64, 576, 1536, max_seq_len=1024)


def medians(tasks: dict[str, Callable], repeats: int, device: torch.device) -> dict[str, float]:
    """Seconds of each task: medians over rounds through all of them, after a round of warm-up."""
    seconds = {name: [] for name in tasks}
    for _ in progress(range(repeats + 1), desc="benchmark", unit="round", leave=False):
        for name, task in tasks.items():
            started = time.perf_counter()
            task()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def work(
    senior: GPT, junior: GPT, prompts: list, T: int, handoff: Callable, config
) -> tuple[Callable, Callable]:
    """write(schedule) gives a Rollout of exactly T tokens a prompt, learn(rollout) takes a step."""
    from train import update

    optimizer = torch.optim.AdamW(senior.parameters(), fused=True)

    def write(schedule: str, prompts=prompts, new_tokens=T) -> Rollout:
        partner = None if schedule == "solo" else junior
        with autocast(config.precision, senior.device):
            return generate(
                senior,
                partner,
                prompts,
                handoff(schedule),
                end=-1,  # no token ends a row
                pad=0,
                max_new_tokens=new_tokens,
                temperature=1.0,
                generator=torch.Generator().manual_seed(0),
            )

    def learn(rollout: Rollout) -> None:
        A = torch.ones(len(prompts), device=senior.device)  # (N,); no row is left out
        update(senior, junior, optimizer, rollout, A, rollout.authorship.float(), 0, config)

    return write, learn


def benchmark(tokenizer: Tokenizer, device: torch.device, small: bool = False) -> dict[str, float]:
    """The numbers that `--json` prints. `small` is for tests: the same tasks, with less work."""
    from train import Config  # the command that leads here starts below train

    groups, G, T, size, repeats = (2, 4, 8, 256, 1) if small else (16, 8, 64, 2048, 5)
    lengths = (T, 4 * T, 16 * T)
    batches = (G, 4 * G, 16 * G, 64 * G)
    torch.manual_seed(0)
    shape = GPTConfig(**SIZES, max_seq_len=40 + max(lengths))
    senior = GPT(shape).to(device)
    junior = GPT(shape).to(device).requires_grad_(False)
    ids = torch.randint(0, 256, (groups, 40)).tolist()
    prompts = []
    for i, row in enumerate(ids):
        length = 24 + 16 * i // (groups - 1)  # 24 to 40 tokens
        prompts += [row[:length]] * G
    N = len(prompts)
    prompt_tokens = sum(map(len, prompts))

    def handoff(schedule: str) -> Handoff:
        return make_handoff(schedule, tokenizer, senior)

    write, learn = work(senior, junior, prompts, T, handoff, Config())
    written = write("solo")

    @torch.no_grad()
    def forwards() -> None:
        """Lower bound for tandem: both models just read the same tokens."""
        caches, _ = prefill([senior, junior], prompts, T, tokenizer.pad)
        with reading([senior, junior]) as read:
            for token in written.tokens.T[: T - 1]:
                read(token, caches)

    a = torch.randn(size, size, device=device)
    b = torch.randn(size, size, device=device)
    source = torch.empty(4 * size**2, device=device)  # 64 MiB
    target = torch.empty_like(source)
    tasks = {
        "matmul": lambda: a @ b,
        "copy": lambda: target.copy_(source),
        "solo": lambda: write("solo"),
        "tandem": lambda: write("word"),
        "forwards": forwards,
        "update": lambda: learn(written),
        "step solo": lambda: learn(write("solo")),
        "step tandem": lambda: learn(write("word")),
    }
    s = medians(tasks, repeats, device)
    curves = {}
    for n in lengths:
        curves[f"{n} new tokens"] = partial(write, "solo", prompts[: N // 4], n)
    for n in batches:
        curves[f"{n} rows"] = partial(write, "solo", (prompts * n)[:n])
    s |= medians(curves, 1, device)

    rate = 2 * size**3 / s["matmul"]  # FLOP a second
    bandwidth = 2 * source.nbytes / s["copy"]  # bytes a second, read and written
    parameters = sum(p.numel() for p in senior.parameters())  # the tied embedding once
    tokens_in_caches = prompt_tokens + N * T / 2  # at a step, averaged
    cached = tokens_in_caches * 2 * shape.n_layers * shape.n_kv_heads * shape.head_dim
    floor = 2 * parameters * N / rate + 4 * (parameters + cached) / bandwidth  # of a decode step
    measured = {
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
        "update_mfu": 6 * parameters * (prompt_tokens + N * T) / s["update"] / rate,
        "step_solo_seconds": s["step solo"],
        "step_tandem_seconds": s["step tandem"],
        "step_tandem_over_solo": s["step tandem"] / s["step solo"],
    }
    for n in lengths:
        measured[f"milliseconds_per_token_length_{n}"] = 1e3 * s[f"{n} new tokens"] / n
    for n in batches:
        measured[f"milliseconds_per_row_batch_{n}"] = 1e3 * s[f"{n} rows"] / n
    for n in lengths:
        measured[f"tokens_per_second_length_{n}"] = N // 4 * n / s[f"{n} new tokens"]
    for n in batches:
        measured[f"tokens_per_second_rows_{n}"] = n * T / s[f"{n} rows"]
    if device.type == "cuda":
        measured |= on_gpu(device, SMOLLM2, repeats)
    return measured


def on_gpu(device: torch.device, shape: GPTConfig, repeats: int, T: int = 64) -> dict[str, float]:
    """The same work by a bfloat16 pair of a real shape, with random weights."""
    from train import Config

    senior = GPT(shape).to(device)
    junior = GPT(shape).to(device).requires_grad_(False)
    store_matrices(junior, torch.bfloat16)
    prompts = [[1 + i] * 32 for i in range(16) for _ in range(8)]
    boundary = torch.arange(shape.vocab_size) % 3 == 0
    config = Config(precision="bfloat16", micro_batch_tokens=2**14)
    handoff = partial(Handoff, boundary=boundary)
    write, learn = work(senior, junior, prompts, T, handoff, config)
    tasks = {
        "solo": lambda: write("solo"),
        "tandem": lambda: write("word"),
        "step": lambda: learn(write("word")),
    }
    s = medians(tasks, repeats, device)
    with warnings.catch_warnings(record=True) as waits:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        write("word")
        torch.cuda.set_sync_debug_mode("default")
    return {
        "bfloat16_solo_tokens_per_second": len(prompts) * T / s["solo"],
        "bfloat16_tandem_tokens_per_second": len(prompts) * T / s["tandem"],
        "bfloat16_step_tandem_seconds": s["step"],
        "bfloat16_peak_gb": torch.cuda.max_memory_allocated(device) / 1e9,
        "bfloat16_waits_of_a_rollout": len(waits),
    }


def draw_speed(measured: dict[str, float], path: str | Path) -> None:
    """Tokens a second over the rows and over the length."""
    figure = load_matplotlib().figure(figsize=(9, 4), layout="constrained")
    for place, name in enumerate(("rows", "length"), 1):
        speeds = {}
        for label, speed in measured.items():
            if f"_per_second_{name}_" in label:
                speeds[int(label.split("_")[-1])] = speed
        axis = figure.add_subplot(1, 2, place)
        axis.set(xlabel=name, ylabel="new tokens a second", xscale="log")
        axis.plot(list(speeds), list(speeds.values()), marker="o")
        axis.set_xticks(list(speeds), list(map(str, speeds)))
        axis.set_ylim(0)
    save(figure, path)


def speed_table(measured: dict[str, float]) -> str:
    """The measurements in Markdown, a line each."""
    width = max(map(len, measured))
    last = max(map(len, SPEED_UNITS.values()))
    lines = [f"| {'':{width}} | {'median':>10} | {'unit':{last}} |"]
    lines.append(f"| {'-' * width} | {'-' * 9}: | {'-' * last} |")
    for name, value in measured.items():
        unit = next((unit for part, unit in SPEED_UNITS.items() if part in name), "")
        shown = f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"
        lines.append(f"| {name.replace('_', ' '):{width}} | {shown:>10} | {unit:{last}} |")
    return "\n".join(lines)
