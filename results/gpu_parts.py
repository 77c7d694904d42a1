"""The parts of `bash results/gpu.sh`. A pair of SmolLM2-135M's shape has random weights here."""

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from data.tokenizer import load_tokenizer
from model import GPTConfig
from support import fast_engine
from support.models.memory import totals
from support.reports.benchmark import SMOLLM2, benchmark, bfloat16_work, host_waits, medians
from support.runs.files import read_json, read_lines
from support.runs.options import UserError
from train import Config

PROMPT = 32  # tokens
OF_A_PROMPT = 8  # responses
ARMS = {"solo": "solo", "tandem": "word"}  # and their schedules
OF_A_STEP = ("seconds_rollout", "seconds_reward", "seconds_update", "tokens_per_second")
SHORT_RUN = ("--steps", "3", "--eval-problems", "8")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")


@dataclass
class Scale:
    """The work that is measured."""

    shape: GPTConfig
    groups: int  # of a step
    tokens: int  # of its responses
    few: int  # tokens of a short rollout
    rows: tuple[int, ...]  # of rollouts whose speeds are compared
    repeats: int  # of which the median counts


FULL = Scale(SMOLLM2, 16, 256, 64, (8, 32, 128, 512), 3)
TINY = Scale(replace(SMOLLM2, vocab_size=256, n_layers=2, d_model=48), 2, 16, 8, (8, 16), 1)


def make_pair(device: torch.device, scale: Scale) -> tuple[Callable, Callable, Config]:
    """`work` of a bfloat16 pair, and its config."""
    torch.manual_seed(0)
    config = Config(
        precision="bfloat16",
        prompts_per_step=scale.groups,
        group_size=OF_A_PROMPT,
        max_new_tokens=scale.tokens,
        micro_batch_tokens=2**14,
        data="random prompts",
        max_prompt_tokens=PROMPT,
    )
    prompts = prompts_for(scale.groups * OF_A_PROMPT)
    write, learn = bfloat16_work(device, scale.shape, prompts, scale.tokens, config)
    return write, learn, config


def prompts_for(n: int) -> list[list[int]]:
    """The prompts of n responses."""
    return [[1 + i // OF_A_PROMPT] * PROMPT for i in range(n)]


def train_run(device: torch.device, options: tuple, launcher: tuple = ()) -> dict:
    """A run of train.py: its wall time, medians over its steps, and two measures after it."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, *launcher, "train.py", "--device", device.type, "--out", folder]
        started = time.perf_counter()
        ended = subprocess.run([*words, *options], capture_output=True, text=True, check=False)
        numbers = {"wall_seconds": time.perf_counter() - started}
        if ended.returncode != 0:
            raise UserError(reason(ended.stderr.splitlines()))
        steps = read_lines(Path(folder, "metrics.jsonl"), *OF_A_STEP)
        after = read_json(Path(folder, "eval.json"), "after")["after"]
    for name in OF_A_STEP:
        numbers[name] = statistics.median(step[name] for step in steps)
    for name in ("solo", "handoff"):
        numbers[f"{name}_after"] = after[name]["pass@1"]
    return numbers


def reason(said: list[str]) -> str:
    """Why a command failed: the first line that names an error, else the last."""
    for line in said:
        if "error: " in line.lower():
            return line.removeprefix("error: ")
    return said[-1] if said else "it said nothing"


# The parts: (device, scale) -> numbers


def describe_device(device: torch.device, scale: Scale) -> dict:
    about = {"name": "CPU", "torch": torch.__version__, "cuda": torch.version.cuda}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        about["name"] = properties.name
        about["memory_gb"] = properties.total_memory / 1e9
        about["compute_capability"] = f"{properties.major}.{properties.minor}"
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        with contextlib.suppress(OSError):  # there is no nvidia-smi
            said = subprocess.run(query, capture_output=True, text=True, check=False).stdout
            about["driver"] = said.partition("\n")[0]
    return about


def default_run(device: torch.device, scale: Scale) -> dict:
    return train_run(device, () if scale is FULL else SHORT_RUN)


def two_processes(device: torch.device, scale: Scale) -> dict:
    """A run of two processes. On one GPU neither train.py nor nccl takes them."""
    try:
        return {"possible": True} | train_run(device, SHORT_RUN, TORCHRUN)
    except UserError as error:
        if "every process needs a GPU" not in str(error):
            raise
        return {"possible": False, "said": str(error)}


def reference_work(device: torch.device, scale: Scale) -> dict:
    return benchmark(load_tokenizer(), device, small=scale is TINY)


def steps_and_memory(device: torch.device, scale: Scale) -> dict:
    """A step's seconds, and its peaks of memory beside those that support.models.memory says."""
    write, learn, config = make_pair(device, scale)
    tasks = {}
    for arm, schedule in ARMS.items():
        tasks[f"{arm}_rollout"] = partial(write, schedule)
        tasks[f"{arm}_update"] = partial(learn, write(schedule))
    seconds = medians(tasks, scale.repeats, device)
    numbers = {}
    for arm, schedule in ARMS.items():
        computed = totals(scale.shape, scale.shape, replace(config, schedule=schedule))
        numbers[f"{arm}_step_seconds"] = seconds[f"{arm}_rollout"] + seconds[f"{arm}_update"]
        for phase in ("rollout", "update"):
            name = f"{arm}_{phase}"
            numbers[f"{name}_seconds"] = seconds[name]
            numbers[f"{name}_computed_gb"] = computed[f"{phase}_gb"]
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
                tasks[name]()
                peak = torch.cuda.max_memory_allocated(device) / 1e9
                numbers[f"{name}_peak_gb"] = peak
                numbers[f"{name}_peak_over_computed"] = peak / computed[f"{phase}_gb"]
    return numbers


def launches(device: torch.device, scale: Scale) -> dict:
    """Launches of a decode step: a rollout of 17 tokens less one of 1. Host waits of a rollout.

    On a CPU the operators of a step are counted instead.
    """
    write, _, _ = make_pair(device, scale)
    numbers = {}
    for arm, schedule in ARMS.items():
        write(schedule, new_tokens=17)
        count, busy = traced(partial(write, schedule, new_tokens=17), device)
        first, first_busy = traced(partial(write, schedule, new_tokens=1), device)
        if device.type == "cpu":
            numbers[f"{arm}_operators_a_step"] = (count - first) / 16
            continue
        numbers[f"{arm}_launches_a_step"] = (count - first) / 16
        numbers[f"{arm}_gpu_milliseconds_a_step"] = (busy - first_busy) / 16
        waits = host_waits(partial(write, schedule, new_tokens=scale.few))
        numbers[f"{arm}_host_waits_of_{scale.few}_tokens"] = waits
    return numbers


def traced(task: Callable, device: torch.device) -> tuple[int, float]:
    """The number of a task's kernels and copies, or of its operators, and their milliseconds."""
    name = device.type.upper()
    with profile(activities=[getattr(ProfilerActivity, name)]) as trace:
        task()
    # A GPU's trace also has the host's calls.
    kind = getattr(DeviceType, name)
    spans = [event.time_range for event in trace.events() if event.device_type == kind]
    return len(spans), sum(span.elapsed_us() for span in spans) / 1e3


def graphs(device: torch.device, scale: Scale) -> dict:
    """A tandem rollout without and with CUDA graphs, in turn, and whether its tokens are equal."""
    write, _, _ = make_pair(device, scale)
    tokens = {}  # of the last rollout, (N, T)

    def rollout(name: str) -> None:
        fast_engine.GRAPHS = name == "with"
        tokens[name] = write("word").tokens

    tasks = {name: partial(rollout, name) for name in ("without", "with")}
    seconds = medians(tasks, scale.repeats, device)
    numbers = {}
    for name in tasks:
        numbers[f"seconds_{name}_graphs"] = seconds[name]
        numbers[f"tokens_per_second_{name}_graphs"] = tokens[name].numel() / seconds[name]
    numbers["without_over_with_time"] = seconds["without"] / seconds["with"]
    equal = tokens["without"] == tokens["with"]  # (N, T)
    numbers["equal_tokens_share"] = float(equal.float().mean())
    return numbers


def rows(device: torch.device, scale: Scale) -> dict:
    """The speed of a short tandem rollout, by its rows."""
    write, _, _ = make_pair(device, scale)
    tasks = {n: partial(write, "word", prompts_for(n), scale.few) for n in scale.rows}
    seconds = medians(tasks, scale.repeats, device)
    return {f"tokens_per_second_rows_{n}": n * scale.few / seconds[n] for n in scale.rows}


def attention(device: torch.device, scale: Scale) -> dict:
    """A short tandem rollout and its update, without and with cuDNN's attention, twice each.

    cuDNN makes a plan for each shape. The second time it has all of them.
    """
    write, learn, _ = make_pair(device, scale)
    numbers = {}
    for cudnn in ("without", "with"):
        torch.backends.cuda.enable_cudnn_sdp(cudnn == "with")
        for time_of in ("first", "second"):
            started = time.perf_counter()
            rollout = write("word", new_tokens=scale.few)
            rollout.tokens.tolist()  # a GPU has to be done
            written = time.perf_counter()
            learn(rollout)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            learnt = time.perf_counter()
            numbers[f"{time_of}_rollout_seconds_{cudnn}_cudnn"] = written - started
            numbers[f"{time_of}_update_seconds_{cudnn}_cudnn"] = learnt - written
    return numbers


GPU_PARTS = {  # function, limit in seconds: 470 in all
    "device": (describe_device, 20),
    "default_run": (default_run, 130),
    "smollm2": (steps_and_memory, 60),
    "launches": (launches, 30),
    "graphs": (graphs, 40),
    "rows": (rows, 30),
    "attention": (attention, 50),
    "benchmark": (reference_work, 80),
    "processes": (two_processes, 30),
}
