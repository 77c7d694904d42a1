"""Two models and the tokenizer of both: as a world has them, as a run left them, or as other people made them."""

from pathlib import Path
from types import SimpleNamespace

from data.problems import WORLDS
from data.tokenizer import Tokenizer, load_tokenizer
from model import GPT
from support.models.pretrained import load_pretrained
from support.models.tokenizers import directory_tokenizer
from support.models.weights import drop_ids
from support.runs.files import own_data, read_json, read_model, read_torch
from support.runs.options import UserError


def base_directory(world: str) -> Path:
    """Where a run in this world finds its senior and junior if none are given."""
    return (
        Path(__file__).parents[2] / "data" if world == "jargon" else Path("runs") / f"base-{world}"
    )


def load_run(directory: str | Path) -> SimpleNamespace:
    """A run on disk: its `config`, the `step` reached, `before` and `senior` (now), `junior`, `tokenizer`."""
    directory = Path(directory)
    options = read_json(
        directory / "config.json",
        "schedule",
        "seed",
        "steps",
        "data",
        "test_data",
        "max_new_tokens",
    )
    config = SimpleNamespace(**options | own_data(options, directory))
    path = directory / "checkpoint.pt"
    content = read_torch(path)
    senior, junior, tokenizer = load_pair(path, directory / "junior.pt", content=content)
    before, _ = load_any(directory / "senior.pt")
    pair = dict(before=before, senior=senior, junior=junior, tokenizer=tokenizer)
    return SimpleNamespace(config=config, step=content.get("step"), **pair)


def starting_pair(config) -> tuple[GPT, GPT, Tokenizer]:
    """Senior and junior before training, two objects, on the CPU, and the tokenizer of both."""
    base = base_directory(config.world)
    senior = config.senior or base / "senior.pt"
    junior = config.junior or (
        "self" if WORLDS[config.world].unfamiliar is None else base / "junior.pt"
    )
    for path in (senior, junior):
        if isinstance(path, Path) and not path.exists():
            raise UserError(
                f"{path} is missing; python train.py --pretrain --world {config.world} makes it"
            )
    return load_pair(senior, senior if junior == "self" else junior, config.chat_template)


def load_pair(
    senior, junior, chat_template: str = "own", content: dict | None = None
) -> tuple[GPT, GPT, Tokenizer]:
    """Two models of one vocabulary, and its tokenizer. One file is read twice, or to train one would change both.

    `content` is of the senior's checkpoint, if that was read already.
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
    """A model on the CPU and its tokenizer: of our checkpoint, a Hugging Face directory, a GGUF file, or smollm2."""
    path = Path(path)
    if (path / "checkpoint.pt").exists():
        raise UserError(f"{path} is a run of train.py; give its {path / 'checkpoint.pt'}")
    if path.suffix != ".pt":
        found, tokenizer = load_pretrained(path, chat_template)
        if (
            tokenizer is None
            and (path / "merges.txt").exists()
            and not (path / "tokenizer.json").exists()
        ):
            convert = f"python -c \"from transformers import AutoTokenizer as A; A.from_pretrained('{path}').save_pretrained('{path}')\""
            raise UserError(
                f"{path} has merges.txt and no tokenizer.json, which is read here; make it: {convert}"
            )
        if tokenizer is None:
            raise UserError(f"{path} has no tokenizer of byte-level BPE; give a model that has")
        size = (
            tokenizer.drop_unused()
        )  # Qwen2.5's sizes have one tokenizer, and rows for 151,936 or 152,064 ids
        drop_ids(found, size)
        return found, tokenizer
    found = read_model(path, content)
    tokenizer = directory_tokenizer(path.parent / "tokenizer") or load_tokenizer()
    size, known = found.config.vocab_size, tokenizer.vocab_size
    if size != known:
        raise UserError(
            f"{path} has a vocabulary of {size}, the tokenizer one of {known}; give another model"
        )
    return found, tokenizer
