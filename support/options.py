"""Command lines from dataclasses: every field is an option, and the string under the field is its help."""

import argparse
import ast
import dataclasses
import functools
import inspect
import itertools
import os
import sys
import textwrap
import typing

import torch


class UserError(ValueError):
    """A mistake of the user's: one line that names the thing and the remedy."""


def command(main):
    """Decorate `main(argv)`. A user's mistake becomes one line on stderr and exit code 2; a bug stays a traceback."""

    @functools.wraps(main)
    def wrapped(argv: list[str] | None = None) -> None:
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # closed by the shell
                setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may lack ⟦ or ↑
        try:
            main(sys.argv[1:] if argv is None else argv)
        except UserError as error:
            if os.environ.get("RANK", "0") == "0":  # of several processes, the first speaks
                print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            raise SystemExit(2) from None
        except torch.OutOfMemoryError:
            print("error: the GPU has too little memory for this; --device cpu has more", file=sys.stderr)
            raise SystemExit(2) from None
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        except BrokenPipeError:  # `| head` has read enough; the rest of the buffer has nowhere to go
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(141) from None

    return wrapped


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> typing.NoReturn:
        raise UserError(f"{message}; see --help")


def parse(cls: type, argv: list[str], description: str, complete=lambda given: given):
    """An instance of the dataclass `cls` from a command line. Raises UserError; --help prints and exits.

    A field without a default is positional. `complete(given)` may add to the options given before `cls` is made of them.
    """
    parser = Parser(description=description, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    hints, docs = typing.get_type_hints(cls), field_docs(cls)
    for field in dataclasses.fields(cls):
        arms = [arm for arm in typing.get_args(hints[field.name]) if arm is not type(None)]
        optional = len(arms) == 1 and typing.get_origin(hints[field.name]) is not list  # X | None
        kind = arms[0] if optional else hints[field.name]
        help_text = docs[field.name].replace("%", "%%")
        if field.default is dataclasses.MISSING:
            several = typing.get_origin(kind) is list
            parser.add_argument(field.name, nargs="+" if several else "?" if optional else None, help=help_text)
            continue
        if field.default is not None:
            help_text += f" (default {field.default})"
        options = {"type": boolean if kind is bool else kind, "metavar": kind.__name__.upper()}
        if typing.get_origin(kind) is typing.Literal:
            options = {"choices": typing.get_args(kind)}
        parser.add_argument(option(field.name), default=argparse.SUPPRESS, help=help_text, **options)
    flags = {option(name) for name, hint in hints.items() if bool in (hint, *typing.get_args(hint))}
    given = vars(parser.parse_intermixed_args(list(spelled_out([*map(str, argv)], flags))))
    values = complete(given)
    if values is not given:  # some are from a file, where anything may stand: they are parsed like words
        words = [f"{option(name)}={value}" for name, value in values.items() if name not in given and value is not None]
        values = given | vars(parser.parse_args(words, argparse.Namespace(**given)))
    try:
        options = cls(**values)
    except ValueError as error:
        raise UserError(str(error)) from None
    for name, value in values.items():
        if value == "":
            raise UserError(f"{option(name)} is empty; give a value, or leave it out")
    return options


def option(name: str) -> str:
    """A field's name as it is typed: max_gap is --max-gap."""
    return "--" + name.replace("_", "-")


def spelled_out(argv: list[str], flags: set[str]) -> typing.Iterator[str]:
    """The words with hyphens for underscores in the options' names, and `--flag=true` for a bare `--flag`."""
    for word, following in itertools.pairwise([*argv, ""]):
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            name = name.replace("_", "-")
        if name in flags and not equals and following.lower() not in ("true", "false"):
            equals, value = "=", "true"
        yield name + equals + value


def boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def field_docs(cls: type) -> dict[str, str]:
    """The string literal under each field of a dataclass, read from its source."""
    docs = {}
    for field, text in itertools.pairwise(ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            docs[field.target.id] = " ".join(ast.literal_eval(text.value).split())
    return docs


def pick_device(name: str) -> torch.device:
    """`auto` takes CUDA, then Apple's MPS, then the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError):
        raise UserError(f"--device {name} can't be used on this machine; try --device cpu or auto") from None
