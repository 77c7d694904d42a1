"""Command lines from dataclasses: every field is an option, the string under it is its help.

A field without a default is positional, and may be left out if it may be None. Whatever a user gets wrong ends in one
line on stderr and exit code 2.
"""

import argparse
import ast
import contextlib
import dataclasses
import difflib
import functools
import inspect
import itertools
import os
import re
import signal
import sys
import textwrap
import threading
import typing


class UserError(ValueError):
    """A mistake of the user's: one line that names the thing and the remedy."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came: another way to be interrupted."""


def interrupt(number: int, _) -> typing.NoReturn:
    """The handler of Ctrl-C and SIGTERM; what they end is not disturbed by more of them."""
    for ended in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ended, signal.SIG_IGN)
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


@contextlib.contextmanager
def handling(handler) -> typing.Iterator[None]:
    """Within, `handler(number, frame)` is called on Ctrl-C and SIGTERM; only a main thread may ask for that."""
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def command(main):
    """Decorate `main(argv)`: what users do wrong, and what their machine refuses, is one line and exit code 2.

    Ctrl-C is exit code 130, SIGTERM 143, a closed pipe 141.
    """

    @functools.wraps(main)
    def wrapped(argv: list[str] | None = None) -> None:
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # closed by the shell
                setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
            with contextlib.suppress(AttributeError):  # a notebook's
                getattr(sys, name).reconfigure(errors="backslashreplace")  # where the terminal has no ⟦
        try:
            with handling(interrupt):
                main(sys.argv[1:] if argv is None else argv)
        except (UserError, FloatingPointError) as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            raise SystemExit(2) from None
        except KeyboardInterrupt as stop:
            raise SystemExit(143 if isinstance(stop, Terminated) else 130) from None
        except BrokenPipeError:  # `| head` has read enough; what is left in the buffer has nowhere to go
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(141) from None
        except OSError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2) from None
        except RuntimeError as error:
            if type(error).__name__ != "OutOfMemoryError":  # torch's, which not every command imports
                raise
            print("error: the GPU has too little memory for this; --device cpu has more", file=sys.stderr)
            raise SystemExit(2) from None

    return wrapped


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> typing.NoReturn:
        raise UserError(f"{message}; see --help")


def parse(cls: type, argv: list[str], description: str, complete=dict):
    """An instance of the dataclass `cls` from a command line. Raises UserError; --help prints and exits.

    `complete` may add to the dictionary of the options that were given before the instance is made of it.
    """
    parser = _Parser(description=description, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    hints, docs = typing.get_type_hints(cls), field_docs(cls)
    for field in dataclasses.fields(cls):
        help_text = docs.get(field.name, "").replace("%", "%%")
        kind, options = _argument(hints[field.name])
        if field.default is dataclasses.MISSING:
            if type(None) in typing.get_args(hints[field.name]):
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
        return cls(**complete(given))
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
    if type(None) in typing.get_args(hint):
        return _argument(next(arm for arm in typing.get_args(hint) if arm is not type(None)))
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


def check_types(instance) -> None:
    """ValueError if a field of a dataclass is not what its annotation says: from a file, it may be anything."""
    for name, hint in typing.get_type_hints(type(instance)).items():
        value, option = getattr(instance, name), f"--{name.replace('_', '-')}"
        if value is None and type(None) in typing.get_args(hint):
            continue
        kind, options = _argument(hint)
        if value not in options.get("choices", [value]):
            raise ValueError(f"{option} is {value!r}; choose from {', '.join(options['choices'])}")
        kind = bool if kind is _boolean else kind
        fits = isinstance(value, (int, float) if kind is float else kind)
        if not fits or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{option} is {value!r}; its type is {kind.__name__}")
        if value == "" or (isinstance(value, int) and abs(value) >= 2**63):
            raise ValueError(f"{option} is {value!r}, which is {'too large' if value else 'empty'}")


def field_docs(cls: type) -> dict[str, str]:
    """The string literal under each field of a dataclass, read from its source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body
    docs = {}
    for field, text in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            docs[field.target.id] = " ".join(ast.literal_eval(text.value).split())
    return docs


def pick_device(name: str):
    """`auto` takes CUDA, then Apple's MPS, then the CPU.  -> torch.device"""
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
    return device


@functools.cache
def say_device(device) -> None:
    """Which device it is, on stderr, once."""
    import torch

    n = torch.get_num_threads()
    threads = f", {n} thread{'s' * (n > 1)}" if device.type == "cpu" else ""
    print(f"device: {device}{threads}", file=sys.stderr)
