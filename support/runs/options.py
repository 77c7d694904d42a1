"""Command lines from dataclasses: a field is an option, and the string under it is its help.

A string that stands apart from the fields is the title of those behind it.
"""

import argparse
import ast
import contextlib
import dataclasses
import glob
import inspect
import itertools
import os
import shlex
import sys
import typing


class UserError(ValueError):
    """A mistake of the user's: one line that names the thing and the remedy."""


def command(main):
    """Decorate `main(argv)`. A user's mistake becomes one line on stderr and exit code 2.

    A bug stays a traceback.
    """

    def wrapped(argv: list[str] | None = None) -> None:
        # The shell may have closed them: then they are None.
        sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
        sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
        if hasattr(sys.stdout, "reconfigure"):  # a notebook's has all characters
            sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may lack ⟦ or ↑
        try:
            main(sys.argv[1:] if argv is None else argv)
        except UserError as error:
            end_with(str(error))
        except RuntimeError as error:
            if type(error).__name__ != "OutOfMemoryError":  # torch's, imported or not
                raise
            end_with("the GPU has too little memory for this; --device cpu has more")
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        except BrokenPipeError:
            # `| head` has read enough. The rest of the buffer has nowhere to go.
            with contextlib.suppress(OSError, AttributeError):  # a stream may have no number
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, sys.stdout.fileno())
            raise SystemExit(141) from None

    return wrapped


def end_with(mistake: str) -> typing.NoReturn:
    """Say a user's mistake in one line, and exit. On each machine, its first process speaks."""
    rank = os.environ.get("RANK", "0")
    if os.environ.get("LOCAL_RANK", rank) == "0":
        line = " ".join(mistake.split())
        print(f"error: {line}", file=sys.stderr)
    raise SystemExit(2) from None


def quoted(path) -> str:
    """A path as a word of a command that can be pasted."""
    return shlex.quote(str(path))


def in_color(stream) -> bool:
    """Whether to write colours to it: to a terminal, unless NO_COLOR or TERM=dumb forbid it."""
    is_terminal = getattr(stream, "isatty", bool)  # bool() is False
    forbidden = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return is_terminal() and not forbidden


class OptionParser(argparse.ArgumentParser):
    """Says a mistake as a UserError."""

    def error(self, message: str) -> typing.NoReturn:
        raise UserError(f"{message}; see --help")


def parse(cls: type, argv: list[str], description: str, complete=lambda given: given):
    """An instance of `cls` from argv. A field without a default is a positional argument.

    `complete(given)` returns the options given, and may add some.
    """
    parser = OptionParser(
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser, cls)
    if field_titles(cls):  # so many options that a list of their names helps nobody
        parser.usage = "%(prog)s [--option VALUE] ..."
    words = list(spelled_out(map(str, argv), flags_of(cls)))
    given = vars(parser.parse_intermixed_args(words))
    added = []
    for name, value in complete(given).items():
        if name not in given and value is not None:
            added.append(f"{option(name)}={value}")  # checked like the others
    values = vars(parser.parse_intermixed_args(added + words))
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = matching(value)
    try:
        options = cls(**values)
    except ValueError as error:
        raise UserError(str(error)) from None
    for name, value in values.items():
        if value == "":
            raise UserError(f"{option(name)} is empty; give a value, or leave it out")
    return options


def matching(names: list[str]) -> list[str]:
    """Names of files. A shell on Windows leaves their wildcards, runs/* for example."""
    found = []
    for name in names:
        known = os.path.exists(name)
        found += [name] if known else sorted(glob.glob(name)) or [name]
    return found


def add_arguments(parser: argparse.ArgumentParser, cls: type) -> None:
    """Add an option, or a positional argument, for each field of `cls`."""
    hints = typing.get_type_hints(cls)
    docs = field_docs(cls)
    titles = field_titles(cls)
    group = parser
    for field in dataclasses.fields(cls):
        kind = hints[field.name]
        members = typing.get_args(kind)
        optional = type(None) in members  # X | None
        if optional:
            kind = members[0]
        if field.name in titles:
            group = parser.add_argument_group(titles[field.name])
        is_list = typing.get_origin(kind) is list
        help_text = docs[field.name].replace("%", "%%")
        if field.default is dataclasses.MISSING:
            nargs = "?" if optional else None
            if is_list:
                nargs = "+"
            group.add_argument(field.name, nargs=nargs, help=help_text)
            continue
        if field.default is not None:
            help_text += f" (default {field.default})"
        argument = {"help": help_text, "default": argparse.SUPPRESS}
        if typing.get_origin(kind) is typing.Literal:
            argument["choices"] = typing.get_args(kind)
        else:
            argument["type"] = boolean if kind is bool else kind
            argument["metavar"] = kind.__name__.upper()
        group.add_argument(option(field.name), **argument)


def flags_of(cls: type) -> set[str]:
    """The options that need no value: true is meant."""
    hints = typing.get_type_hints(cls)
    return {option(name) for name, hint in hints.items() if bool in (hint, *typing.get_args(hint))}


def option(name: str) -> str:
    """A field's name as it is typed: max_gap is --max-gap."""
    return "--" + name.replace("_", "-")


def spelled_out(argv: typing.Iterable[str], flags: set[str]) -> typing.Iterator[str]:
    """The words of a command line, with options spelled in one way.

    Names have hyphens, not underscores. A bare `--flag` becomes `--flag=true`.
    """
    for word, following in itertools.pairwise([*argv, ""]):
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            name = option(name[2:])
        if value.startswith("~/"):  # the shell expands it behind a space alone
            value = os.path.expanduser(value)
        bare = not equals and following.lower() not in ("true", "false")
        if name in flags and bare:
            yield f"{name}=true"
        else:
            yield name + equals + value


def boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def field_docs(cls: type) -> dict[str, str]:
    """The string literal under each field of a dataclass, read from its source."""
    docs = {}
    body = ast.parse(inspect.getsource(cls)).body[0].body
    for field, text in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            words = ast.literal_eval(text.value).split()
            docs[field.target.id] = " ".join(words)
    return docs


def field_titles(cls: type) -> dict[str, str]:
    """The titles of groups of fields, by the first field of each, read from the source."""
    titles = {}
    body = ast.parse(inspect.getsource(cls)).body[0].body
    for before, text, field in zip(body, body[1:], body[2:], strict=False):
        behind_text = isinstance(before, ast.Expr) and isinstance(text, ast.Expr)
        if behind_text and isinstance(field, ast.AnnAssign):
            titles[field.target.id] = ast.literal_eval(text.value)
    return titles
