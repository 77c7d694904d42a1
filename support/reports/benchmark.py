"""Speed on a fixed reference work, with random weights: `python rollout.py --benchmark [--json]`.

All tasks are measured in turn, again and again, so a slow moment slows all of them. The floor is
the arithmetic at the measured rate of a matrix product, plus the bytes at the measured bandwidth of
a copy. On CUDA a bfloat16 pair of SmolLM2-135M's shape is measured too, with its memory and with
how often a rollout waits for the GPU. `--figure FILE` adds tandem rollouts of more rows and of
longer responses, by the fast engine and by the plain one.
"""

import os
import platform
import re
import statistics
import time
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

import engine
import rollout as rollouts
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

ROWS = (8, 32, 128, 512)  # of a rollout of LENGTHS[0] new tokens
LENGTHS = (64, 256, 1024, 4096)  # new tokens of a rollout of ROWS[0] rows
SPEED_LINES = {  # of the figure: colour, style, legend
    "floor": ("C7", "--", "at the floor"),
    "fast": ("C0", "o-", "fast engine"),
    "plain": ("C1", "o-", "plain engine"),
}


def machine_name(device: torch.device) -> str:
    """The processor, its cores, the GPU if the device is one, and the version of torch."""
    processor = platform.processor() or platform.machine()
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        named = re.search("model name.*: (.*)", listing.read_text())
        if named:
            processor = named[1]
    parts = [processor, f"{os.cpu_count()} cores", f"{torch.get_num_threads()} threads"]
    if device.type == "cuda":
        parts.append(torch.cuda.get_device_name(device))
    parts.append(f"torch {torch.__version__}")
    return ", ".join(parts)


def timed(task: Callable, device: torch.device) -> float:
    """Seconds of a task, until the device has done it."""
    started = time.perf_counter()
    task()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def medians(tasks: dict[str, Callable], repeats: int, device: torch.device) -> dict[str, float]:
    """Seconds of each task: medians over rounds through all of them, after a round of warm-up."""
    seconds = {name: [] for name in tasks}
    for _ in progress(range(repeats + 1), desc="benchmark", unit="round", leave=False):
        for name, task in tasks.items():
            seconds[name].append(timed(task, device))
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


def reference(device: torch.device, groups: int, G: int, T: int) -> tuple[GPT, GPT, list]:
    """A pair with random weights, and groups · G prompts of 24 to 40 tokens. T more fit behind."""
    torch.manual_seed(0)
    shape = GPTConfig(**SIZES, max_seq_len=40 + T)
    senior = GPT(shape).to(device)
    junior = GPT(shape).to(device).requires_grad_(False)
    ids = torch.randint(0, 256, (groups, 40)).tolist()
    prompts = []
    for i, row in enumerate(ids):
        length = 24 + 16 * i // (groups - 1)
        prompts += [row[:length]] * G
    return senior, junior, prompts


def benchmark(tokenizer: Tokenizer, device: torch.device, small: bool = False) -> dict[str, float]:
    """The numbers that `--json` prints. `small` is for tests: the same tasks, with less work."""
    from train import Config  # the command that leads here starts below train

    groups, G, T, size, repeats = (2, 4, 8, 256, 1) if small else (16, 8, 64, 2048, 5)
    senior, junior, prompts = reference(device, groups, G, T)
    handoff = partial(make_handoff, tokenizer=tokenizer, model=senior)
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

    rate = 2 * size**3 / s["matmul"]  # FLOP a second
    bandwidth = 2 * source.nbytes / s["copy"]  # bytes a second, read and written
    parameters = count_parameters(senior)
    new_tokens = len(prompts) * T
    read_tokens = sum(map(len, prompts)) + new_tokens
    measured = {
        "matmul_gflops": rate / 1e9,
        "copy_gb_per_second": bandwidth / 1e9,
        "parameters": parameters,
        "solo_tokens_per_second": new_tokens / s["solo"],
        "tandem_tokens_per_second": new_tokens / s["tandem"],
        "tandem_over_solo_time": s["tandem"] / s["solo"],
        "tandem_over_own_forwards": s["tandem"] / s["forwards"],
        "solo_step_milliseconds": 1e3 * s["solo"] / T,
        "tandem_step_milliseconds": 1e3 * s["tandem"] / T,
        "decode_floor_milliseconds": 1e3 * decode_floor(senior, prompts, T, rate, bandwidth),
        "update_seconds": s["update"],
        "update_mfu": 6 * parameters * read_tokens / s["update"] / rate,
        "step_solo_seconds": s["step solo"],
        "step_tandem_seconds": s["step tandem"],
        "step_tandem_over_solo": s["step tandem"] / s["step solo"],
    }
    if device.type == "cuda":
        measured |= on_gpu(device, SMOLLM2, repeats)
    return measured


def decode_floor(model: GPT, prompts: list, T: int, rate: float, bandwidth: float) -> float:
    """The least seconds of a decode step of one float32 model, averaged over T new tokens.

    The weights' arithmetic at `rate` FLOP a second, plus the bytes of the weights and of the keys
    and values so far, at `bandwidth` bytes a second. Attention's arithmetic isn't counted.
    """
    shape = model.config
    rows = len(prompts)
    parameters = count_parameters(model)
    tokens_in_caches = sum(map(len, prompts)) + rows * T / 2  # halfway
    cached = tokens_in_caches * 2 * shape.n_layers * shape.n_kv_heads * shape.head_dim
    arithmetic = 2 * parameters * rows / rate
    return arithmetic + 4 * (parameters + cached) / bandwidth


def count_parameters(model: GPT) -> int:
    """The number of weights. The tied embedding counts once."""
    return sum(p.numel() for p in model.parameters())


@contextmanager
def plain_engine():
    """Within it, generate() reads by engine.py rather than by support/fast_engine.py."""
    fast = (rollouts.prefill, rollouts.reading)
    rollouts.prefill = engine.prefill
    rollouts.reading = engine.reading
    try:
        yield
    finally:
        rollouts.prefill, rollouts.reading = fast


def speed_curves(
    tokenizer: Tokenizer,
    device: torch.device,
    measured: dict[str, float],
    rows: tuple[int, ...] = ROWS,
    lengths: tuple[int, ...] = LENGTHS,
    enough: float = 2.0,
) -> dict[str, float]:
    """Tokens a second of tandem rollouts, by both engines, as the rows or the new tokens grow.

    The floor of both models follows from the rates that benchmark() measured. The engines take
    turns at each point, until the fast one took `enough` seconds. Medians count.
    """
    from train import Config

    senior, junior, prompts = reference(device, 16, 8, max(lengths))
    handoff = partial(make_handoff, tokenizer=tokenizer, model=senior)
    write, _ = work(senior, junior, prompts, lengths[0], handoff, Config())
    rate = 1e9 * measured["matmul_gflops"]
    bandwidth = 1e9 * measured["copy_gb_per_second"]
    points = [(n, lengths[0]) for n in rows]
    points += [(rows[0], T) for T in lengths[1:]]
    speeds = {}
    for n, T in progress(points, desc="curves", unit="point", leave=False):
        asked = (prompts * n)[:n]
        task = partial(write, "word", asked, T)
        fast = []
        plain = []
        while sum(fast) < enough or not fast:
            fast.append(timed(task, device))
            with plain_engine():
                plain.append(timed(task, device))
        floor = 2 * decode_floor(senior, asked, T, rate, bandwidth)
        found = {
            "floor": n / floor,
            "fast": n * T / statistics.median(fast),
            "plain": n * T / statistics.median(plain),
        }
        for line, speed in found.items():
            if T == lengths[0]:
                speeds[f"{line}_tokens_per_second_rows_{n}"] = speed
            if n == rows[0]:
                speeds[f"{line}_tokens_per_second_length_{T}"] = speed
    return speeds


def on_gpu(device: torch.device, shape: GPTConfig, repeats: int, T: int = 64) -> dict[str, float]:
    """The same work by a bfloat16 pair of a real shape, with random weights."""
    from train import Config

    prompts = [[1 + i] * 32 for i in range(16) for _ in range(8)]
    config = Config(precision="bfloat16", micro_batch_tokens=2**14)
    write, learn = bfloat16_work(device, shape, prompts, T, config)
    tasks = {
        "solo": lambda: write("solo"),
        "tandem": lambda: write("word"),
        "step": lambda: learn(write("word")),
    }
    s = medians(tasks, repeats, device)
    return {
        "bfloat16_solo_tokens_per_second": len(prompts) * T / s["solo"],
        "bfloat16_tandem_tokens_per_second": len(prompts) * T / s["tandem"],
        "bfloat16_step_tandem_seconds": s["step"],
        "bfloat16_peak_gb": torch.cuda.max_memory_allocated(device) / 1e9,
        "bfloat16_waits_of_a_rollout": host_waits(lambda: write("word")),
    }


def bfloat16_work(
    device: torch.device, shape: GPTConfig, prompts: list, T: int, config
) -> tuple[Callable, Callable]:
    """`work` of a bfloat16 pair of this shape, with random weights."""
    senior = GPT(shape).to(device)
    junior = GPT(shape).to(device).requires_grad_(False)
    store_matrices(junior, torch.bfloat16)
    handoff = partial(Handoff, boundary=torch.arange(shape.vocab_size) % 3 == 0)
    return work(senior, junior, prompts, T, handoff, config)


def host_waits(task: Callable) -> int:
    """How often the host waits for the GPU."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        task()
        torch.cuda.set_sync_debug_mode("default")
    return sum("called a synchronizing" in str(warning.message) for warning in caught)


def draw_speed(measured: dict[str, float], path: str | Path) -> None:
    """Tokens a second against the rows and against the length. Takes what speed_curves() found."""
    figure = load_matplotlib().figure(figsize=(9, 4), layout="constrained")
    titles = {"rows": "rows of a rollout", "length": "new tokens of a row"}
    left = None
    for place, (name, title) in enumerate(titles.items(), 1):
        axis = figure.add_subplot(1, 2, place, sharey=left)
        left = axis
        axis.set(xlabel=title, xscale="log", yscale="log")
        for line, (color, style, label) in SPEED_LINES.items():
            speeds = speeds_of(measured, f"{line}_tokens_per_second_{name}_")
            axis.plot(list(speeds), list(speeds.values()), style, color=color, label=label)
        axis.set_xticks(list(speeds), list(map(str, speeds)))
        axis.set_xticks([], minor=True)
    figure.axes[0].set_ylabel("new tokens a second")
    figure.axes[0].legend(frameon=False)
    save(figure, path)


def speeds_of(measured: dict[str, float], prefix: str) -> dict[int, float]:
    """{rows or length: tokens a second} of the measurements whose names begin so."""
    speeds = {}
    for name, speed in measured.items():
        if name.startswith(prefix):
            size = name.removeprefix(prefix)
            speeds[int(size)] = speed
    return speeds


def speed_table(measured: dict[str, float]) -> str:
    """The measurements in Markdown, a line each."""
    width = max(map(len, measured))
    last = max(map(len, SPEED_UNITS.values()))
    lines = [f"| {'':{width}} | {'median':>10} | {'unit':{last}} |"]
    lines.append(f"| {'-' * width} | {'-' * 9}: | {'-' * last} |")
    for name, value in measured.items():
        unit = speed_unit(name)
        shown = f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"
        lines.append(f"| {name.replace('_', ' '):{width}} | {shown:>10} | {unit:{last}} |")
    return "\n".join(lines)


def speed_unit(name: str) -> str:
    """Of a measurement with this name."""
    for part, unit in SPEED_UNITS.items():
        if part in name:
            return unit
    return ""
