"""Checkpoint files: whole or not there at all, and known to be what was written before anything is read from them.

A file is an ordinary torch file of plain dicts, numbers and tensors, then its SHA-256 as 64 hexadecimal digits. torch.load
passes over what follows, but by itself accepts nearly every flipped byte.
"""

import hashlib
import io
import os
import pickle
from pathlib import Path

import torch

DIGITS = 64  # of a SHA-256 in hexadecimal


def write(content: dict, path: str | Path, previous: Path | None = None) -> None:
    """Write beside `path`, flush to the disk, then rename; the file that was there becomes `previous`, if that is given.

    At every instant one of the two is there, and whole. OSError, and nothing changed, if it can't be written.
    """
    buffer, path, partial = io.BytesIO(), Path(path), Path(f"{path}.partial")
    torch.save(content, buffer)
    try:
        with open(partial, "wb") as file:
            file.write(buffer.getbuffer())
            file.write(hashlib.sha256(buffer.getbuffer()).hexdigest().encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    if previous is not None and path.exists():
        path.replace(previous)
    partial.replace(path)


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
        return torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, LookupError, EOFError, TypeError, ValueError, AttributeError):
        raise ValueError(
            f"{path} is not a checkpoint of this project: it holds more than plain values and tensors"
        ) from None
