"""A run's directory, and how nothing in it is lost: claimed by one process, written whole, continued to the byte.

config.json, metrics.jsonl (a line a step), samples.txt, checkpoint.pt (previous.pt: the one before it), junior.pt and
eval.json are all that evaluating, showing or resuming a run needs, here or on another machine.
"""

import contextlib
import hashlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout  # torch's own dependency

import checkpoint
from cli import Terminated, UserError, handling
from data.tokenizer import Tokenizer
from model import GPT, load_model

A_RUN = ("config.json", "metrics.jsonl", "checkpoint.pt", "previous.pt", "senior.pt")  # any of them makes one
STATE = ("model", "step", "optimizer", "options", "lengths", "fingerprints")  # what a checkpoint to resume from holds


@contextlib.contextmanager
def claimed(given: str | None, default: Path, *, resume: bool = False) -> Iterator[Path]:
    """A run's directory, for this process alone: `given`, or the first that doesn't exist of default, default-2, …

    A new run gets a new directory, or one without a run in it: nothing is ever overwritten.
    """
    path = Path(given or default) if resume else _new_directory(given, default)
    lock = FileLock(path / ".lock", timeout=0)  # the system frees it when the process ends, however it ends
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"{path} is in use by another process; wait for its end, or give another --out") from None
    except OSError as error:
        raise UserError(f"{path} can't be written to ({error.strerror}); give another directory") from None
    with lock:
        if not resume:
            _refuse_a_run(path)  # again: another process may have come and gone since the first look
        yield path


def _new_directory(given: str | None, default: Path) -> Path:
    path, n = Path(given or default), 2
    try:
        if given is not None:
            _refuse_a_run(path)
            path.mkdir(parents=True, exist_ok=True)
            return path
        while True:
            try:
                path.mkdir(parents=True)
                return path
            except FileExistsError:
                path, n = default.with_name(f"{default.name}-{n}"), n + 1
    except OSError as error:
        raise UserError(f"{path} can't be written to ({error.strerror}); give another --out") from None


def _refuse_a_run(path: Path) -> None:
    if any((path / name).exists() for name in A_RUN):
        raise UserError(
            f"{path} holds a run, which is never overwritten; --resume {path} goes on with it, or give another --out"
        )


def last_checkpoint(directory: Path) -> Path | None:
    """Its checkpoint.pt, or, where a kill came just between the two renames of a save, its previous.pt."""
    paths = (directory / "checkpoint.pt", directory / "previous.pt")
    return next((path for path in paths if path.exists()), None)


def read_state(path: Path) -> dict:
    """A checkpoint to resume from. If it is damaged, the UserError says whether the one before it is good."""
    try:
        state = checkpoint.read(path)
    except ValueError as error:
        previous = path.with_name("previous.pt")
        try:
            step = checkpoint.read(previous)["step"]
        except (ValueError, LookupError):
            raise UserError(f"{error}; there is no good one before it: begin a new run with another --out") from None
        raise UserError(
            f"{error}; the one before it, of step {step}, is good: mv {previous} {path}, then resume"
        ) from None
    if not isinstance(state, dict) or not state.keys() >= set(STATE):
        raise UserError(f"{path} holds no state of a run to go on from; begin a new run with --senior {path}")
    for name, length in state["lengths"].items():
        file = path.with_name(name)
        if (found := file.stat().st_size if file.exists() else 0) < length:
            raise UserError(f"{file} has {found} bytes, {length} when {path} was saved; restore it, or begin a new run")
    return state


def fingerprint(path: Path) -> str:
    """The SHA-256 of a file that a run depends on."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def continued(path: Path, length: int) -> BinaryIO:
    """Open a file to go on after its first `length` bytes: what a killed run wrote beyond its checkpoint is dropped."""
    file = open(path, "ab")  # noqa: SIM115 (the caller closes it)
    file.truncate(length)
    file.seek(length)  # truncating leaves it, and so what tell() says, behind the end
    return file


@contextlib.contextmanager
def finishing_first() -> Iterator[list[type]]:
    """Within, the first Ctrl-C or SIGTERM only puts its exception into the list that is given; the second raises it."""
    asked = []

    def note(number, _):
        asked.append(KeyboardInterrupt if number == signal.SIGINT else Terminated)
        stack.close()  # from now on as before
        os.write(2, b"\nstopping after this step; once more stops at once\n")  # print may be what was interrupted

    with contextlib.ExitStack() as stack:
        stack.enter_context(handling(note))
        yield asked


@contextlib.contextmanager
def says_how_to_go_on(directory: Path) -> Iterator[None]:
    """Whatever ends a run before its end, its user reads what is safe and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"\nstopped; to go on: python train.py --resume {directory}", file=sys.stderr)
        raise
    except BrokenPipeError:
        raise
    except OSError as error:
        why = f"{error.strerror or error}" + f" ({error.filename})" * bool(error.filename)
        raise UserError(f"stopped: {why}; {_last_good(directory)}, then --resume {directory} goes on") from None
    except FloatingPointError as error:
        raise UserError(
            f"stopped: {error}; {_last_good(directory)}; try a smaller --learning-rate in a new run, or "
            f"--resume {directory} --on-nonfinite skip"
        ) from None


def _last_good(directory: Path) -> str:
    path = last_checkpoint(directory)
    return (
        f"the last good checkpoint is {path}, of step {checkpoint.read(path)['step']}" if path else "no checkpoint yet"
    )


def load_checked(path: str | Path, tokenizer: Tokenizer) -> GPT:
    """A model from a checkpoint of ours, in eval mode; a UserError if it can't be read or has another vocabulary."""
    try:
        model = load_model(path)
    except ValueError as error:
        raise UserError(str(error)) from None
    if model.config.vocab_size != tokenizer.vocab_size:
        raise UserError(
            f"{path} has a vocabulary of {model.config.vocab_size}, the tokenizer one of {tokenizer.vocab_size}: "
            "give a model that was trained with this tokenizer"
        )
    return model


def load_pair(directory: Path, tokenizer: Tokenizer) -> tuple[dict, GPT, GPT]:
    """A run's (config, senior as of its last checkpoint, frozen junior)."""
    config = read_json(
        directory / "config.json", *"p_senior max_gap chunk max_new_tokens data test_data max_prompt_tokens".split()
    )
    senior = load_checked(last_checkpoint(directory) or directory / "checkpoint.pt", tokenizer)
    return config, senior, load_checked(directory / "junior.pt", tokenizer)


def read_json(path: Path, *keys: str) -> dict:
    """A JSON file of a run's that has these keys, or a UserError that says what to do."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path} can't be read ({error.strerror}); is {path.parent} a run of train.py, and finished?"
        ) from None
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error}); make the run again, with another --out") from None
    if not isinstance(content, dict) or not content.keys() >= set(keys):
        raise UserError(f"{path} is not what train.py writes ({', '.join(keys)} expected); make the run again")
    return content


def read_metrics(directory: Path) -> list[dict]:
    """The steps of a run so far, a dictionary each."""
    path = directory / "metrics.jsonl"
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}); is {directory} a run of train.py?") from None
    except ValueError as error:
        raise UserError(f"{path} has a broken line ({error}); --resume {directory} mends it") from None


def write_json(path: Path, content: dict) -> None:
    """Plain values as a JSON file that people can read, whole or not at all."""
    partial = Path(f"{path}.partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)
