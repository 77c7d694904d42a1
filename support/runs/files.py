"""A run's files: made once, written whole, and checked when they are read."""

import contextlib
import json
import os
import tempfile
import zipfile
from dataclasses import asdict
from pathlib import Path

import torch

from model import GPT, GPTConfig
from support.models.weights import from_state
from support.runs.options import UserError, quoted

LOGS = ("metrics.jsonl", "evals.jsonl")
DATA = ("data.jsonl", "test_data.jsonl")
FILES = ("config.json", "checkpoint.pt", "senior.pt", "junior.pt", "eval.json", "tokenizer")
FILES += ("models.json",)
FILES += LOGS + DATA
STREAMS = ("/dev", "/dev/fd", "/proc/self/fd")  # what is here may be a redirected stdout


def new_directory(given: str | Path | None, default: Path, keep: tuple[str, ...] = ()) -> Path:
    """Create and return `given`, or the first free one of default, default-2, …

    A run's files in it are refused, except those to `keep`.
    """
    path = Path(given or default)
    if given is not None:
        refuse_a_run(path, keep)
    n = 2
    while True:
        try:
            path.mkdir(parents=True, exist_ok=given is not None)
            return path
        except OSError as error:
            if given is not None or not os.path.lexists(path):
                raise UserError(
                    f"{path} can't be made ({error.strerror}); give another --out"
                ) from None
        path = default.with_name(f"{default.name}-{n}")  # another run has the last one
        n += 1


def refuse_a_run(path: Path, keep: tuple[str, ...] = ()) -> None:
    """UserError if the directory holds a file that a run writes: no run is ever overwritten."""
    for name in FILES:
        if name not in keep and (path / name).exists():
            raise UserError(
                f"{path} holds a run's {name}, never overwritten; "
                f"give --resume {quoted(path)}, or another --out"
            )


def directory_of(run: str) -> Path:
    """The directory of a run that is named by itself or by its checkpoint.pt."""
    path = Path(run)
    return path.parent if path.name == "checkpoint.pt" else path


def data_copies(options: dict, directory: Path) -> dict[str, str]:
    """The run's copies of the files of --data and --test-data, if it has these options."""
    given = [name for name in ("data", "test_data") if options[name] is not None]
    return {name: str(directory / f"{name}.jsonl") for name in given}


@contextlib.contextmanager
def writing(path: str | Path):
    """Within, an open binary file for the new content of `path`.

    At every instant the old file or the new one is there, whole. A link stays a link, to the new
    content. What is no plain file, as a pipe or /dev/stdout, is written through.
    """
    path = Path(path)
    if str(path.parent) in STREAMS or (path.exists() and not path.is_file()):
        with open(path, "ab") as file:
            yield file
        return
    target = Path(os.path.realpath(path))
    partial = target.with_name(f"{target.name}.partial")
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        partial.unlink(missing_ok=True)  # a full disk needs the room
        raise
    partial.replace(target)


def write_torch(content: dict, path: str | Path) -> None:
    """Write plain values and tensors to a torch file, whole or not at all."""
    with writing(path) as file:
        try:
            torch.save(content, file)
        except RuntimeError:
            # torch says this of a full disk. Writing more brings up the system's own error.
            file.write(bytes(2**20))
            raise


def read_torch(path: str | Path) -> dict:
    """Read a torch file of plain values and tensors. Nothing in the file is run.

    The tensors are mapped into memory, not copied. torch accepts most flipped bytes, so the sums
    that the file holds are checked. UserError if anything is wrong.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged:
                raise zipfile.BadZipFile(f"{damaged} is not what was written")
        return dict(torch.load(path, map_location="cpu", mmap=True, weights_only=True))
    except Exception as error:  # noqa: BLE001 (anything may stand in a file)
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{path} is missing, damaged, or not a checkpoint of this project ({reason})"
        ) from None


def write_model(model: GPT, path: str | Path, **more) -> None:
    """Write the architecture, the weights and `more` (plain values and tensors) to one file."""
    write_torch({"config": asdict(model.config), "model": model.state_dict(), **more}, path)


def read_model(path: str | Path, content: dict | None = None) -> GPT:
    """The model in one of our checkpoints, in eval mode, on the CPU. UserError if there is none.

    `content` is the content of the file, if it was read already.
    """
    content = content or read_torch(path)
    try:
        return from_state(GPTConfig(**content["config"]), content["model"])
    except Exception as error:  # noqa: BLE001
        raise UserError(
            f"{path} holds no model of this project ({error}); give one that train.py wrote"
        ) from None


def read_json(path: Path, *keys: str) -> dict:
    """The dictionary in a JSON file of a run. It has these keys, or UserError."""
    return read_rows(path, keys, lambda text: [text])[0]


def read_lines(path: Path, *keys: str) -> list[dict]:
    """A log of a run: a dictionary a line, with these keys, or UserError."""
    return read_rows(path, keys, str.splitlines)


def read_rows(path: Path, keys: tuple[str, ...], cut) -> list[dict]:
    """The dictionaries in a file, whose text `cut` takes apart."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = [json.loads(part) for part in cut(text)]
    except OSError as error:
        raise UserError(
            f"{path} can't be read ({error.strerror}); is {path.parent} a finished run?"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON ({error}); restore it, or begin a new run") from None
    for row in rows:
        if not isinstance(row, dict) or not row.keys() >= set(keys):
            expected = ", ".join(keys)
            raise UserError(f"{path} is not what train.py writes ({expected} expected); restore it")
    return rows


def write_json(path: Path, content: dict) -> None:
    """Plain values as a JSON file that people can read, whole or not at all."""
    with writing(path) as file:
        file.write(json.dumps(content, indent=2).encode() + b"\n")


def write_page(path: Path, text: str | None = None, option: str = "--out") -> None:
    """Write a page, whole or not at all. Without a text, only see that it can be written.

    `option` is the one that gave the path.
    """
    if path.suffix != ".html" or path.is_dir():  # so no other file is overwritten
        raise UserError(f"{path} is no name of a page; give an {option} that ends in .html")
    try:
        if text is None:
            with tempfile.TemporaryFile(dir=Path(os.path.realpath(path)).parent):
                return
        with writing(path) as file:
            file.write(text.encode())
    except OSError as error:
        why = error.strerror
        raise UserError(f"{path} can't be written ({why}); give another {option}") from None
