"""A run's directory: config.json, metrics.jsonl (a line a step), samples.txt, checkpoint.pt, junior.pt, eval.json.

It is all that evaluating or showing a run needs, here or on another machine.
"""

import json
from pathlib import Path

from cli import UserError
from data.tokenizer import Tokenizer
from model import GPT, load_model


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


def read_json(path: Path) -> dict:
    """A JSON file of a run's, or a UserError that says what to do."""
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise UserError(
            f"{path} can't be read ({error.strerror}); is {path.parent} a finished run of train.py?"
        ) from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is no JSON ({error}); run it again with another --out") from None


def read_metrics(directory: Path) -> list[dict]:
    """The steps of a run so far, a dictionary each."""
    path = directory / "metrics.jsonl"
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}); is {directory} a run of train.py?") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path} has a broken line ({error}); run it again with another --out") from None


def write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def load_pair(directory: Path, tokenizer: Tokenizer) -> tuple[dict, GPT, GPT]:
    """A run's (config, trained senior, frozen junior)."""
    config = read_json(directory / "config.json")
    return (
        config,
        load_checked(directory / "checkpoint.pt", tokenizer),
        load_checked(directory / "junior.pt", tokenizer),
    )


def free_directory(wanted: Path) -> Path:
    """`wanted`, or wanted-2, wanted-3 … : the first that doesn't exist yet."""
    path, n = wanted, 2
    while path.exists():
        path, n = wanted.with_name(f"{wanted.name}-{n}"), n + 1
    return path
