"""JSON Lines of other people: one reader for every command, of every editor's and shell's files."""

import codecs
import json
import re
from collections.abc import Callable
from pathlib import Path

from support.runs.options import UserError

ARRAY = "it is a JSON array; write an object a line instead: jq -c '.[]' FILE > FILE.jsonl"


def read_json_lines(path: str | Path, read: Callable) -> list:
    r"""read(value) of each line that isn't blank. Texts have "\n" for every kind of line break.

    The file is UTF-8 or, as PowerShell writes it, UTF-16. UserError names the file, and the line
    that is no JSON or where `read` raised a ValueError.
    """
    try:
        content = in_utf8(Path(path).read_bytes())
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}); check the path") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-16 ({error.reason}); write it in UTF-8") from None
    found = []
    for number, line in enumerate(content.split(b"\n"), 1):
        try:
            if number == 1 and re.match(rb"\s*\[\s*(\{|$)", line):
                raise ValueError(ARRAY)
            if line.strip():
                row = json.loads(line.decode(), object_pairs_hook=with_plain_newlines)
                found.append(read(row))
        except json.JSONDecodeError as error:
            message = f"it is no JSON ({error.msg}, column {error.colno}); write an object a line"
            raise UserError(f"{path}, line {number}: {message}") from None
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {number}: {error}") from None
    if not found:
        raise UserError(f"{path} has no line; give a file with an object a line")
    return found


def in_utf8(content: bytes) -> bytes:
    """The bytes of a text in UTF-8, without a byte-order mark."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16").encode()
    return content.removeprefix(codecs.BOM_UTF8)


def with_plain_newlines(pairs: list[tuple]) -> dict:
    r"""A JSON object whose texts have "\n" for "\r\n" and "\r": a model never learnt the others."""
    row = {}
    for name, value in pairs:
        if isinstance(value, str):
            value = value.replace("\r\n", "\n").replace("\r", "\n")
        row[name] = value
    return row


def short(text: str) -> str:
    """At most 200 characters of a text."""
    return text if len(text) <= 200 else text[:200] + " …"
