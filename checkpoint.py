"""Checkpoint files: whole or not there at all, and known to be what was written before anything is read from them.

A file is an ordinary torch file of plain dicts, numbers and tensors, then its SHA-256 as 64 hexadecimal digits. torch.load
passes over what follows, but by itself accepts nearly every flipped byte.
"""

import contextlib
import hashlib
import io
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import torch

DIGITS = 64  # of a SHA-256 in hexadecimal


@contextlib.contextmanager
def replacing(path: str | Path, previous: Path | None = None) -> Iterator[BinaryIO]:
    """A file to write to, beside `path`; in the end it is flushed to the disk and renamed, the old one to `previous`.

    At every instant one of the two is there, and whole. OSError, and nothing changed, if it can't be written.
    """
    path, partial = Path(path), Path(f"{path}.partial")
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    if previous is not None and path.exists():
        path.replace(previous)
    partial.replace(path)


def write(content: dict, path: str | Path, previous: Path | None = None) -> None:
    """Plain values and tensors to a file that `read` reads."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with replacing(path, previous) as file:
        file.write(buffer.getbuffer())
        file.write(hashlib.sha256(buffer.getbuffer()).hexdigest().encode())


def read(path: str | Path) -> dict:
    """What `write` wrote, its tensors on the CPU. Nothing in the file is run. ValueError if it isn't such a file."""
    try:
        data = memoryview(Path(path).read_bytes())
    except OSError as error:
        raise ValueError(f"checkpoint {path} can't be read: {error.strerror}") from None
    body, digits = data[:-DIGITS], data[-DIGITS:]
    if hashlib.sha256(body).hexdigest().encode() != digits:
        raise ValueError(
            f"{path} is damaged (a byte changed, or the end is missing), or is not a checkpoint of this project: "
            "its SHA-256 doesn't match"
        )
    try:
        return dict(torch.load(io.BytesIO(body), map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, RuntimeError, LookupError, EOFError, TypeError, ValueError, AttributeError):
        raise ValueError(
            f"{path} is not a checkpoint of this project: it holds more than plain values and tensors"
        ) from None
