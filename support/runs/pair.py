"""Models and their tokenizer: a world's pair, a run's models, or other people's."""

from pathlib import Path

from data.problems import WORLDS
from data.tokenizer import Tokenizer, load_tokenizer
from model import GPT
from support.models.pretrained import load_pretrained
from support.models.tokenizers import conversion, directory_tokenizer
from support.models.weights import drop_ids
from support.runs.fields import MODEL, marked
from support.runs.files import read_model
from support.runs.options import UserError


def base_directory(world: str) -> Path:
    """The directory of the senior and the junior of a run in this world, if none are given."""
    shipped = Path(__file__).parents[2] / "data"
    if world == "jargon":
        return shipped
    if world == "slips":
        return shipped / "slips"
    return Path("runs") / f"base-{world}"


def model_names(config, cls: type | None = None) -> list[str]:
    """The names of a run's models: senior, junior, and other options of this kind that are given.

    `cls` is the class of the options, by default that of `config`.
    """
    names = ["senior", "junior"]
    for name in marked(cls or type(config), MODEL):
        if name not in names and getattr(config, name) is not None:
            names.append(name)
    return names


def starting_models(config) -> tuple[dict[str, GPT], Tokenizer]:
    """A run's models before training by name, all on the CPU, and the tokenizer of all."""
    paths = {name: getattr(config, name) for name in model_names(config)}
    base = base_directory(config.world)
    paths["senior"] = paths["senior"] or base / "senior.pt"
    junior = base / "junior.pt"
    if WORLDS[config.world].unfamiliar is None:
        junior = "self"
    paths["junior"] = paths["junior"] or junior
    for name, path in paths.items():
        if isinstance(path, Path) and not path.exists():
            raise UserError(
                f"{path} is missing; python train.py --pretrain --world {config.world} makes it"
            )
        if path == "self":
            paths[name] = paths["senior"]
    return load_models(paths, config.chat_template)


def load_models(
    paths: dict[str, str | Path], chat_template: str = "own", content: dict | None = None
) -> tuple[dict[str, GPT], Tokenizer]:
    """Models of one vocabulary by name, and its tokenizer.

    A file that two names share is read twice: otherwise training one would change both. `content`
    is the content of the first one's checkpoint, if it was read already.
    """
    models = {}
    tokenizer = None
    for name, path in paths.items():
        models[name], other = load_any(path, chat_template, content)
        content = None
        if tokenizer is None:
            first = path
            tokenizer = other
        if not tokenizer.same_as(other):
            raise UserError(
                f"{first} and {path} can't write one text, in two vocabularies; try --junior self"
            )
    return models, tokenizer


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
