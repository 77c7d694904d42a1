"""Command lines from dataclasses: every field is an option, and the string under the field is its help."""

import argparse
import ast
import dataclasses
import inspect
import itertools
import os
import sys
import typing

import torch


class UserError(ValueError):
    """A mistake of the user's: one line that names the thing and the remedy."""


def command(main):
    """Decorate `main(argv)`. A user's mistake becomes one line on stderr and exit code 2; a bug stays a traceback."""

    def wrapped(argv: list[str] | None = None) -> None:
        sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 (None if the shell closed it)
        sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may lack ⟦ or ↑
        try:
            main(sys.argv[1:] if argv is None else argv)
        except (UserError, torch.OutOfMemoryError) as error:
            if not isinstance(error, UserError):
                error = "the GPU has too little memory for this; --device cpu has more"
            if os.environ.get("RANK", "0") == "0":  # of several processes, the first speaks
                print("error:", *str(error).split(), file=sys.stderr)
            raise SystemExit(2) from None
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        except (
            BrokenPipeError
        ):  # `| head` has read enough; the rest of the buffer has nowhere to go
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(141) from None

    return wrapped


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> typing.NoReturn:
        raise UserError(f"{message}; see --help")


def parse(cls: type, argv: list[str], description: str, complete=lambda given: given):
    """An instance of `cls` from argv. Fields without a default are positional; `complete(given)` may add options."""
    parser = Parser(
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    hints, docs = typing.get_type_hints(cls), field_docs(cls)
    for field in dataclasses.fields(cls):
        kind, arms = hints[field.name], typing.get_args(hints[field.name])
        optional = type(None) in arms  # X | None
        kind = arms[0] if optional else kind
        help_text = docs[field.name].replace("%", "%%")
        if field.default is dataclasses.MISSING:
            nargs = "+" if typing.get_origin(kind) is list else "?" if optional else None
            parser.add_argument(field.name, nargs=nargs, help=help_text)
            continue
        if field.default is not None:
            help_text += f" (default {field.default})"
        options = {"type": boolean if kind is bool else kind, "metavar": kind.__name__.upper()}
        if typing.get_origin(kind) is typing.Literal:
            options = {"choices": typing.get_args(kind)}
        parser.add_argument(
            option(field.name), default=argparse.SUPPRESS, help=help_text, **options
        )
    flags = {option(name) for name, hint in hints.items() if bool in (hint, *typing.get_args(hint))}
    words = list(spelled_out(map(str, argv), flags))
    given = vars(parser.parse_intermixed_args(words))
    added = {
        name: value
        for name, value in complete(given).items()
        if name not in given and value is not None
    }
    words = [
        f"{option(name)}={value}" for name, value in added.items()
    ] + words  # anything may stand in a file
    values = vars(parser.parse_intermixed_args(words))
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


def spelled_out(argv: typing.Iterable[str], flags: set[str]) -> typing.Iterator[str]:
    """The words with hyphens for underscores in the options' names, and `--flag=true` for a bare `--flag`."""
    for word, following in itertools.pairwise([*argv, ""]):
        name, equals, value = word.partition("=")
        name = option(name[2:]) if name.startswith("--") else name
        bare = name in flags and not equals and following.lower() not in ("true", "false")
        yield f"{name}=true" if bare else name + equals + value


def boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def field_docs(cls: type) -> dict[str, str]:
    """The string literal under each field of a dataclass, read from its source."""
    docs = {}
    for field, text in itertools.pairwise(ast.parse(inspect.getsource(cls)).body[0].body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            docs[field.target.id] = " ".join(ast.literal_eval(text.value).split())
    return docs


def pick_device(name: str) -> torch.device:
    """`auto` takes CUDA, then Apple's MPS, then the CPU. On CUDA it also sets what a rollout there needs."""
    if name == "auto":
        name = (
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    torch.backends.cuda.enable_cudnn_sdp(
        False
    )  # it plans anew for each shape, and a cache has another at every token
    torch.backends.cuda.matmul.allow_tf32 = (
        True  # products in float32 are many times slower without
    )
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError):
        raise UserError(
            f"--device {name} can't be used on this machine; try --device cpu or auto"
        ) from None
