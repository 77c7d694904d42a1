"""A run's files: made once, written whole, and checked when they are read."""

import json
import os
import zipfile
from dataclasses import asdict
from pathlib import Path

import torch

from model import GPT, GPTConfig
from support.models.weights import from_state
from support.runs.options import UserError

LOGS = ("metrics.jsonl", "evals.jsonl")
DATA = ("data.jsonl", "test_data.jsonl")
FILES = (
    "config.json",
    "checkpoint.pt",
    "senior.pt",
    "junior.pt",
    "eval.json",
    "tokenizer",
    *LOGS,
    *DATA,
)


def new_directory(given: str | Path | None, default: Path, keep: tuple[str, ...] = ()) -> Path:
    """Create and return `given`, or the first free one of default, default-2, …"""
    path, n = Path(given or default), 2
    while given is None and os.path.lexists(path):
        path, n = default.with_name(f"{default.name}-{n}"), n + 1
    refuse_a_run(path, keep)
    try:
        path.mkdir(parents=True, exist_ok=given is not None)
    except OSError as error:
        raise UserError(f"{path} can't be made ({error.strerror}); give another --out") from None
    return path


def refuse_a_run(path: Path, keep: tuple[str, ...] = ()) -> None:
    """A run is never overwritten: UserError if the directory holds a file that a run writes."""
    for name in FILES:
        if name not in keep and (path / name).exists():
            raise UserError(
                f"{path} holds a run's {name}, never overwritten; give --resume {path}, or another --out"
            )


def own_data(options: dict, directory: Path) -> dict[str, str]:
    """The run's copies of the files of --data and --test-data, if it has these options."""
    return {
        name: str(directory / f"{name}.jsonl")
        for name in ("data", "test_data")
        if options[name] is not None
    }


def write_torch(content: dict, path: str | Path) -> None:
    """Write plain values and tensors to a torch file. At every instant the old file or the new one is there, whole."""
    partial = Path(f"{path}.partial")
    try:
        with open(partial, "wb") as file:
            try:
                torch.save(content, file)
            except (
                RuntimeError
            ):  # torch's word for a full disk; writing on brings up the system's own
                file.write(bytes(2**20))
                raise
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        partial.unlink(missing_ok=True)  # a full disk needs the room
        raise
    partial.replace(path)


def read_torch(path: str | Path) -> dict:
    """Read a torch file of plain values and tensors: mapped, not copied, into memory. Nothing in the file is run.

    torch accepts most flipped bytes, so the sums that the file holds are checked. UserError if anything is wrong.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"{damaged} is not what was written")
        return dict(torch.load(path, map_location="cpu", mmap=True, weights_only=True))
    except Exception as error:  # noqa: BLE001 (anything may stand in a file)
        what = str(error).partition("\n")[0]
        raise UserError(
            f"{path} is missing, damaged, or not a checkpoint of this project ({what})"
        ) from None


def write_model(model: GPT, path: str | Path, **more) -> None:
    """Write the architecture, the weights and `more` (plain values and tensors) to one file."""
    write_torch({"config": asdict(model.config), "model": model.state_dict(), **more}, path)


def read_model(path: str | Path, content: dict | None = None) -> GPT:
    """The model in one of our checkpoints, in eval mode, on the CPU. UserError if there is none.

    `content` is that of the file, if it was loaded already.
    """
    content = content or read_torch(path)
    try:
        return from_state(GPTConfig(**content["config"]), content["model"])
    except Exception as error:  # noqa: BLE001
        raise UserError(
            f"{path} holds no model of this project ({error}); give one that train.py wrote"
        ) from None


def read_json(path: Path, *keys: str) -> dict:
    """A JSON file of a run that has these keys."""
    return read_lines(path, *keys, whole=True)[0]


def read_lines(path: Path, *keys: str, whole: bool = False) -> list[dict]:
    """A log of a run: a dictionary a line, or one that is the whole file, all with these keys."""
    try:
        text = path.read_text(encoding="utf-8")
        rows = [json.loads(part) for part in ([text] if whole else text.splitlines())]
    except OSError as error:
        raise UserError(
            f"{path} can't be read ({error.strerror}); is {path.parent} a finished run?"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON ({error}); restore it, or begin a new run") from None
    if not all(isinstance(row, dict) and row.keys() >= set(keys) for row in rows):
        raise UserError(
            f"{path} is not what train.py writes ({', '.join(keys)} expected); restore it"
        )
    return rows


def write_json(path: Path, content: dict) -> None:
    """Plain values as a JSON file that people can read, whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)
