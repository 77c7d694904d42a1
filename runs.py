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


def read_json(path: Path, *keys: str) -> dict:
    """A JSON file of a run's that has these keys, or a UserError that says what to do."""
    try:
        content = json.loads(path.read_text())
        if not isinstance(content, dict) or not content.keys() >= set(keys):
            raise UserError(f"{path} is not what train.py writes ({', '.join(keys)} expected); make the run again")
        return content
    except OSError as error:
        raise UserError(
            f"{path} can't be read ({error.strerror}); is {path.parent} a finished run of train.py?"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no JSON ({error}); make the run again, with another --out") from None


def read_metrics(directory: Path) -> list[dict]:
    """The steps of a run so far, a dictionary each."""
    path = directory / "metrics.jsonl"
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}); is {directory} a run of train.py?") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path} has a broken line ({error}); make the run again, with another --out") from None


def write_json(path: Path, content: dict) -> None:
    """Plain values as a JSON file that people can read."""
    path.write_text(json.dumps(content, indent=2) + "\n")


def load_pair(directory: Path, tokenizer: Tokenizer) -> tuple[dict, GPT, GPT]:
    """A run's (config, trained senior, frozen junior)."""
    config = read_json(directory / "config.json", "p_senior", "max_gap", "chunk", "max_new_tokens")
    return (
        config,
        load_checked(directory / "checkpoint.pt", tokenizer),
        load_checked(directory / "junior.pt", tokenizer),
    )


def run_directory(given: str | None, default: Path) -> Path:
    """Where a new run goes: `given`, which may hold none, or the first that doesn't exist of default, default-2, …"""
    path, n = Path(given or default), 2
    try:
        while given is None and path.exists():
            path, n = default.with_name(f"{default.name}-{n}"), n + 1
        if any((path / name).exists() for name in ("metrics.jsonl", "checkpoint.pt", "senior.pt")):
            raise UserError(f"{path} holds a run already, which is never overwritten; give another --out")
    except OSError as error:
        raise UserError(f"--out {path} can't be used ({error.strerror}); give another") from None
    return path
