"""Two models and the tokenizer of both: a world's pair, a run's pair, or other people's models."""

from pathlib import Path
from types import SimpleNamespace

from data.problems import WORLDS
from data.tokenizer import Tokenizer, load_tokenizer
from model import GPT
from support.models.pretrained import load_pretrained
from support.models.tokenizers import conversion, directory_tokenizer
from support.models.weights import drop_ids
from support.runs.files import data_copies, read_json, read_model, read_torch
from support.runs.options import UserError


def base_directory(world: str) -> Path:
    """The directory of the senior and the junior of a run in this world, if none are given."""
    if world == "jargon":
        return Path(__file__).parents[2] / "data"
    return Path("runs") / f"base-{world}"


def load_run(directory: str | Path) -> SimpleNamespace:
    """A run on disk: its `config`, the `step` reached, and its models.

    `before` is the senior that it began with, `senior` the one of the checkpoint. `junior` and
    `tokenizer` never change.
    """
    directory = Path(directory)
    needed = ("schedule", "seed", "steps", "data", "test_data", "max_new_tokens")
    options = read_json(directory / "config.json", *needed)
    options |= data_copies(options, directory)
    path = directory / "checkpoint.pt"
    content = read_torch(path)
    senior, junior, tokenizer = load_pair(path, directory / "junior.pt", content=content)
    before, _ = load_any(directory / "senior.pt")
    return SimpleNamespace(
        config=SimpleNamespace(**options),
        step=content.get("step"),
        before=before,
        senior=senior,
        junior=junior,
        tokenizer=tokenizer,
    )


def starting_pair(config) -> tuple[GPT, GPT, Tokenizer]:
    """Senior and junior before training, two objects, on the CPU, and the tokenizer of both."""
    base = base_directory(config.world)
    senior = config.senior or base / "senior.pt"
    junior = base / "junior.pt"
    if WORLDS[config.world].unfamiliar is None:
        junior = "self"
    junior = config.junior or junior
    for path in (senior, junior):
        if isinstance(path, Path) and not path.exists():
            raise UserError(
                f"{path} is missing; python train.py --pretrain --world {config.world} makes it"
            )
    if junior == "self":
        junior = senior
    return load_pair(senior, junior, config.chat_template)


def load_pair(
    senior, junior, chat_template: str = "own", content: dict | None = None
) -> tuple[GPT, GPT, Tokenizer]:
    """Two models of one vocabulary, and its tokenizer.

    If both are one file, it is read twice: otherwise training one would change both. `content` is
    the content of the senior's checkpoint, if it was read already.
    """
    first, tokenizer = load_any(senior, chat_template, content)
    second, other = load_any(junior, chat_template)
    if not tokenizer.same_as(other):
        raise UserError(
            f"{senior} and {junior} can't write one text, in two vocabularies; try --junior self"
        )
    return first, second, tokenizer


def load_any(
    path, chat_template: str = "own", content: dict | None = None
) -> tuple[GPT, Tokenizer]:
    """A model on the CPU and its tokenizer.

    `path` is a checkpoint of ours, a Hugging Face directory, a GGUF file, smollm2, or the name of a
    model on the hub.
    """
    path = Path(path)
    if (path / "checkpoint.pt").exists():
        raise UserError(f"{path} is a run of train.py; give its {path / 'checkpoint.pt'}")
    if path.suffix != ".pt":
        return load_of_others(path, chat_template)
    model = read_model(path, content)
    tokenizer = directory_tokenizer(path.parent / "tokenizer") or load_tokenizer()
    size = model.config.vocab_size
    known = tokenizer.vocab_size
    if size != known:
        raise UserError(
            f"{path} has a vocabulary of {size}, the tokenizer one of {known}; give another model"
        )
    return model, tokenizer


def load_of_others(path: Path, chat_template: str) -> tuple[GPT, Tokenizer]:
    """Other people's model and tokenizer, with one vocabulary. UserError if it has no tokenizer."""
    model, tokenizer = load_pretrained(path, chat_template)
    if tokenizer is None:
        if (path / "merges.txt").exists() and not (path / "tokenizer.json").exists():
            make = conversion("AutoTokenizer", path, path)
            raise UserError(
                f"{path} has merges.txt and no tokenizer.json, which is read here; make it: {make}"
            )
        raise UserError(f"{path} has no tokenizer of byte-level BPE; give a model that has")
    # Qwen2.5's sizes have one tokenizer, and rows for 151,936 or 152,064 ids.
    size = tokenizer.drop_unused()
    drop_ids(model, size)
    return model, tokenizer
