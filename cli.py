"""Command lines from dataclasses: every field is an option, the string under it is its help.

A field without a default is positional, and may be left out if it may be None. Whatever a user gets wrong ends in one line on stderr and exit code 2.
"""

import argparse
import ast
import dataclasses
import difflib
import functools
import inspect
import itertools
import os
import re
import sys
import textwrap
import types
import typing
from pathlib import Path


class UserError(ValueError):
    """A mistake of the user's: one line that names the thing and the remedy."""


def command(main):
    """Decorate `main(argv)`: a UserError becomes one line and exit code 2, Ctrl-C exit code 130, a closed pipe 141."""

    @functools.wraps(main)
    def wrapped(argv: list[str] | None = None) -> None:
        try:
            main(sys.argv[1:] if argv is None else argv)
        except UserError as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            raise SystemExit(2) from None
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        except BrokenPipeError:  # `| head` has read enough; what is left in the buffer has nowhere to go
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(141) from None

    return wrapped


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> typing.NoReturn:
        raise UserError(f"{message}; see --help")


def parse(cls: type, argv: list[str], description: str):
    """An instance of the dataclass `cls` from a command line. Raises UserError; --help prints and exits."""
    parser = _Parser(description=description, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    hints, docs = typing.get_type_hints(cls), field_docs(cls)
    for field in dataclasses.fields(cls):
        help_text = docs.get(field.name, "").replace("%", "%%")
        kind, options = _argument(hints[field.name])
        if field.default is dataclasses.MISSING:
            if isinstance(hints[field.name], types.UnionType):
                options = {"nargs": "?"} | options
            parser.add_argument(field.name, help=help_text, type=kind, **options)
            continue
        shown = "" if field.default is None else f" (default {field.default})"
        name = "--" + field.name.replace("_", "-")
        metavar = None if "choices" in options else getattr(kind, "__name__", "value").upper()
        options = {"metavar": metavar} | options
        parser.add_argument(name, default=argparse.SUPPRESS, help=help_text + shown, type=kind, **options)
    given = vars(parser.parse_intermixed_args(_spelled_out([str(word) for word in argv], hints)))
    try:
        return cls(**given)
    except ValueError as error:
        raise UserError(str(error)) from None


def _spelled_out(argv: list[str], hints: dict) -> list[str]:
    """The command line with hyphens for underscores and `--flag=true` for a bare flag, all its options being known."""
    options = {"--" + name.replace("_", "-"): hint for name, hint in hints.items()}
    words = []
    for word, following in itertools.pairwise([*argv, ""]):
        name, equals, value = word.partition("=")
        if re.fullmatch(r"--[A-Za-z][\w-]*", name):
            name = name.replace("_", "-")
            if name not in options and name != "--help":
                close = difflib.get_close_matches(name, options, n=1)
                raise UserError(f"unknown option {name}; {f'did you mean {close[0]}?' if close else 'see --help'}")
            flag = options.get(name) in (bool, bool | None)
            if flag and not equals and following.lower() not in ("true", "false"):
                equals, value = "=", "true"
        words.append(name + equals + value)
    return words


def _argument(hint) -> tuple[type, dict]:
    """argparse's type and options for a field's annotation; `X | None` is read as X."""
    if isinstance(hint, types.UnionType):
        return _argument(next(arm for arm in hint.__args__ if arm is not type(None)))
    if typing.get_origin(hint) is list:
        return hint.__args__[0], {"nargs": "+"}
    if typing.get_origin(hint) is typing.Literal:
        return str, {"choices": hint.__args__}
    if hint is bool:
        return _boolean, {"metavar": "[BOOL]"}
    return hint, {}


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def field_docs(cls: type) -> dict[str, str]:
    """The string literal under each field of a dataclass, read from its source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body
    docs = {}
    for field, text in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            docs[field.target.id] = " ".join(ast.literal_eval(text.value).split())
    return docs


def pick_device(name: str):
    """`auto` takes CUDA, then Apple's MPS, then the CPU; says which.  -> torch.device"""
    import torch

    if name not in ("auto", "cuda", "mps", "cpu"):
        raise UserError(f"--device is {name!r}; choose from auto, cuda, mps, cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError):
        raise UserError(f"--device {name} can't be used on this machine; try --device cpu or auto") from None
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    print(f"device: {device}{threads}", file=sys.stderr)
    return device


def make_directory(path: Path) -> None:
    """Create a directory, or raise a UserError that says why it can't be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / ".write-test").touch()
        (path / ".write-test").unlink()
    except OSError as error:
        raise UserError(f"{path} can't be written to ({error.strerror}); give another --out") from None
