r"""What one GPU does with this project, in at most 8 minutes.

    bash results/gpu.sh                            # into results/gpu.json
    bash results/gpu.sh /tmp/try.json --device cpu # a try of the command itself, with a tiny pair

Each part is a process of its own, with a limit of time. OUT is written after each, so a part that
fails, hangs or runs out of memory stops no other. Parts that OUT has of the same device are kept,
but for those that failed.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from results.gpu_parts import FULL, GPU_PARTS, TINY, reason
from support.runs.devices import pick_device
from support.runs.files import read_json, write_json
from support.runs.options import UserError, command, parse


@dataclass
class Options:
    """The options of `bash results/gpu.sh`."""

    out: str | None
    """where the numbers go, as JSON; results/gpu.json if not given"""
    device: Literal["cuda", "cpu"] = "cuda"
    """cpu tries the command itself, with a tiny pair, in some two minutes"""
    part: str | None = None
    """measure this part alone, in this process, and print its numbers"""


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, __doc__)
    if options.part is None:
        path = Path(options.out or "results/gpu.json")
        words = [sys.executable, "-m", "results.gpu", "--device", options.device, "--part"]
        commands = {name: ([*words, name], limit) for name, (_, limit) in GPU_PARTS.items()}
        return record_parts(commands, path)
    if options.part not in GPU_PARTS:
        raise UserError(f"--part {options.part} isn't there; choose from {', '.join(GPU_PARTS)}")
    measure, _ = GPU_PARTS[options.part]
    scale = FULL if options.device == "cuda" else TINY
    print(json.dumps(measure(pick_device(options.device), scale)))


def record_parts(commands: dict[str, tuple[list[str], float]], path: Path) -> None:
    """Write {"device": numbers, "parts": {name: numbers}} to a file, again after each part.

    `commands` has the words and the limit in seconds of each. The first is `device`, and without
    it nothing can be measured: a UserError.
    """
    device = numbers_of(*commands.pop("device"))
    if "failed" in device:
        raise UserError(device["failed"])
    del device["seconds"]
    record = {"device": device, "parts": {}}
    if path.exists():
        earlier = read_json(path, "device", "parts")
        record = earlier if earlier["device"] == device else record
    parts = record["parts"]
    for name, (words, limit) in commands.items():
        if name in parts and "failed" not in parts[name]:
            continue
        print(f"gpu: {name}, at most {limit} s", file=sys.stderr, flush=True)
        parts[name] = numbers_of(words, limit)
        print(f"gpu: {name}: {json.dumps(parts[name])}", file=sys.stderr, flush=True)
        write_json(path, record)


def numbers_of(words: list[str], limit: float) -> dict:
    """The numbers that a command prints as JSON, or {"failed": why}. And its seconds."""
    started = time.perf_counter()
    # Files, not pipes: what outlives the command would keep a pipe open.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(words, stdout=out, stderr=errors, start_new_session=True)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            end_group(process)
        printed = [line for line in lines_of(out) if line.startswith("{")]
        if code is None:
            numbers = {"failed": f"not done after {limit} s"}
        elif code < 0:
            numbers = {"failed": f"ended by signal {-code}"}
        elif code > 0 or not printed:
            numbers = {"failed": reason(lines_of(errors))}
        else:
            numbers = json.loads(printed[-1])
    return numbers | {"seconds": round(time.perf_counter() - started, 1)}


def end_group(process: subprocess.Popen) -> None:
    """End a process and all that it started. Asked first, torchrun ends its own."""
    with contextlib.suppress(ProcessLookupError):  # none is left
        os.killpg(process.pid, signal.SIGTERM)
        for _ in range(50):
            time.sleep(0.1)
            process.poll()
            os.killpg(process.pid, 0)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def lines_of(file) -> list[str]:
    file.seek(0)
    return file.read().decode(errors="replace").splitlines()


if __name__ == "__main__":
    main()
