"""A run's directory, and how nothing in it is lost: claimed by one process, written whole, continued to the byte.

config.json, metrics.jsonl (a line a step), samples.txt, measures.jsonl (of --eval-every), checkpoint.pt (previous.pt: the
one before it), junior.pt, eval.json and, where the models brought one, tokenizer/ are all that evaluating, showing or
resuming a run needs, here or elsewhere, but for the file of its --data.
"""

import contextlib
import copy
import hashlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import torch
from filelock import FileLock, Timeout  # torch's own dependency

import checkpoint
import ranks
from cli import Terminated, UserError, handling, interrupt
from config import MAY_CHANGE, PRESETS, Config
from data.foreign import directory_tokenizer
from data.problems import WORLDS, Problem, WorldName, problem_sets
from data.tokenizer import Tokenizer, load_tokenizer
from model import GPT, load_model
from pretrained import load_pretrained

SHIPPED = Path(__file__).parent / "data"
GROWING = ("metrics.jsonl", "samples.txt", "measures.jsonl")  # what steps add to; a checkpoint knows how long they were
A_RUN = ("config.json", "checkpoint.pt", "previous.pt", "junior.pt", "senior.pt", "eval.json", *GROWING)


def new_directory(given: str | None, default: Path, but: str | None = None) -> Path:
    """`given`, which may hold no run (`but` this file), or the first that isn't there of default, default-2, … It is now."""
    path, n = Path(given or default), 2
    try:
        if given is not None:
            refuse_a_run(path, but)
            path.mkdir(parents=True, exist_ok=True)
            return path
        while True:
            try:
                path.mkdir(parents=True)
                return path
            except FileExistsError:
                if not os.path.lexists(path):  # it is a parent, a file or a link to nowhere, that is in the way
                    raise
                path, n = default.with_name(f"{default.name}-{n}"), n + 1
    except OSError as error:
        raise UserError(f"{path} can't be made ({error.strerror}); give another --out") from None


def refuse_a_run(path: Path, but: str | None = None) -> None:
    """UserError if the directory holds anything that a run writes, `but` this: it is never overwritten."""
    if found := next((name for name in A_RUN if name != but and (path / name).exists()), None):
        resume = f"--resume {path} goes on with it, " if (path / "config.json").exists() else ""
        raise UserError(
            f"{path} holds a run already ({found}), which is never overwritten; {resume}another --out begins a new one"
        )


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[Path]:
    """The directory is this process's alone."""
    lock = FileLock(path / ".lock", timeout=0)  # the system frees it when the process ends, however it ends
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"{path} is in use by another process; wait for its end, or give another --out") from None
    except OSError as error:
        raise UserError(f"{path} can't be written to ({error.strerror}); give another directory") from None
    try:
        yield path
    finally:
        lock.release()


def last_checkpoint(directory: Path) -> Path | None:
    """Its checkpoint.pt, or, where a kill came just between the two renames of a save, its previous.pt."""
    paths = (directory / "checkpoint.pt", directory / "previous.pt")
    return next((path for path in paths if path.exists()), None)


def read_state(path: Path) -> dict:
    """A checkpoint to resume from. If it is damaged, the UserError says whether the one before it is good."""
    try:
        state = checkpoint.read(path)
    except ValueError as error:
        previous = path.with_name("previous.pt")
        try:
            step = checkpoint.read(previous)["step"]
        except (ValueError, LookupError):
            raise UserError(f"{error}; there is no good one before it: begin a new run with another --out") from None
        raise UserError(
            f"{error}; the one before it, of step {step}, is good: mv {previous} {path}, then resume"
        ) from None
    kinds = dict(model=dict, step=int, options=dict, before=dict, lengths=dict, fingerprints=dict, trainer=dict)
    sound = all(isinstance(state.get(name), kind) for name, kind in kinds.items()) and state["step"] >= 0
    lengths = {"measures.jsonl": 0} | state["lengths"] if sound else {}  # earlier versions didn't measure along the way
    if not sound or not all(isinstance(lengths.get(name), int) for name in GROWING):
        raise UserError(f"{path} holds no state of a run to go on from; begin a new run with --senior {path}")
    state["lengths"] = lengths
    for name in GROWING:
        file, length = path.with_name(name), lengths[name]
        if (found := file.stat().st_size if file.exists() else 0) < length:
            raise UserError(f"{file} has {found} bytes, {length} when {path} was saved; restore it, or begin a new run")
    return state


def fingerprint(path: Path) -> str:
    """The SHA-256 of a file that a run reads again when it is resumed."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}); check the path") from None


def weights_fingerprint(model: GPT) -> str:
    """The SHA-256 of a model's weights, by whatever file or name they came."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def continued(path: Path, length: int) -> BinaryIO:
    """Open a file to go on after its first `length` bytes: what a killed run wrote beyond its checkpoint is dropped."""
    file = open(path, "ab")  # noqa: SIM115 (the caller closes it)
    file.truncate(length)
    file.seek(length)  # truncating leaves it, and so what tell() says, behind the end
    return file


@contextlib.contextmanager
def finishing_first() -> Iterator[list[type]]:
    """Within, the first Ctrl-C or SIGTERM goes into the list that is given, and is raised at the end; the second at once."""
    asked = []

    def note(number, frame):
        if asked:
            interrupt(number, frame)
        asked.append(KeyboardInterrupt if number == signal.SIGINT else Terminated)
        if ranks.rank() == 0:
            os.write(2, b"\nstopping after this step; once more stops at once\n")  # print may be what was interrupted

    with handling(note):
        yield asked
    if asked:
        raise asked[0]


@contextlib.contextmanager
def says_how_to_go_on(directory: Path) -> Iterator[None]:
    """Whatever ends a run before its end, its user reads what is safe and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"\nstopped; {_how_to_go_on(directory)}", file=sys.stderr)
        raise
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise UserError(f"stopped: {error.strerror or error}{where}; {_how_to_go_on(directory)}") from None
    except torch.OutOfMemoryError:
        raise UserError(
            "stopped: the GPU has too little memory; --checkpoint-activations needs less of it, also when going on, fewer "
            f"--rollout-rows or --micro-tokens do in a new run; {_how_to_go_on(directory)}"
        ) from None
    except FloatingPointError as error:
        raise UserError(f"stopped: {error}; {_how_to_go_on(directory)}") from None


def _how_to_go_on(directory: Path) -> str:
    command = f"python train.py --resume {directory}"
    for name in ("checkpoint.pt", "previous.pt"):
        with contextlib.suppress(ValueError, LookupError):
            step = checkpoint.read(directory / name)["step"]
            return f"the last good checkpoint is {directory / name}, of step {step}: {command} goes on"
    begun = (directory / "config.json").exists()
    return f"nothing was saved yet: {command} begins again" if begun else "nothing was written"


def load_any(path: str | Path) -> tuple[GPT, Tokenizer]:
    """A model, in eval mode on the CPU, and the tokenizer that it goes with; a UserError if they can't be had.

    path: one of our checkpoints, a Hugging Face directory, a GGUF file, or smollm2 (see pretrained.load_pretrained).
    """
    if (Path(path) / "checkpoint.pt").exists():
        raise UserError(f"{path} is a run of train.py; give its {Path(path) / 'checkpoint.pt'}")
    if str(path) == "smollm2" or Path(path).suffix == ".gguf" or Path(path).is_dir():
        model, tokenizer = load_pretrained(path)
        if tokenizer is None:
            raise UserError(f"{path} has no tokenizer of byte-level BPE; give a model that has")
        return model, tokenizer
    try:
        model = load_model(path)
    except ValueError as error:
        raise UserError(str(error)) from None
    tokenizer = directory_tokenizer(Path(path).parent / "tokenizer") or load_tokenizer()
    if model.config.vocab_size != tokenizer.vocab_size:
        raise UserError(
            f"{path} has a vocabulary of {model.config.vocab_size}, the tokenizer one of {tokenizer.vocab_size}: "
            "give a model that was trained with this tokenizer"
        )
    return model, tokenizer


def load_both(senior: str | Path, junior: str | Path, template: str | None = None) -> tuple[GPT, GPT, Tokenizer]:
    """Two models of one vocabulary, and its tokenizer, which asks in a run's `template`; two objects even of one file."""
    first, tokenizer = load_any(senior)
    second, other = load_any(junior) if junior != senior else (copy.deepcopy(first), tokenizer)
    if not tokenizer.same_as(other):
        raise UserError(
            f"{senior} and {junior} have different vocabularies, and can't write one text; try --junior self"
        )
    tokenizer.template = template or "{question}"
    return first, second, tokenizer


def base_directory(world: WorldName) -> Path:
    """Where a run in this world looks for its senior and junior if none are given."""
    return SHIPPED if world == "jargon" else Path("runs") / f"base-{world}"


def starting_pair(config: Config) -> tuple[GPT, GPT, Tokenizer]:
    """Senior and junior before RL, two objects, on the CPU, and the tokenizer of both."""
    base = base_directory(config.world)
    senior = config.senior or base / "senior.pt"
    junior = config.junior or ("self" if WORLDS[config.world].foreign is None else base / "junior.pt")
    for path in (senior, junior):
        if isinstance(path, Path) and base != SHIPPED and not path.exists():
            raise UserError(f"{path} is missing; python train.py --pretrain --world {config.world} makes it")
    return load_both(senior, senior if junior == "self" else junior, config.prompt_template)


def load_pair(directory: Path) -> tuple[Config, GPT, GPT, Tokenizer]:
    """A run's (config, senior as of its last checkpoint, frozen junior, tokenizer)."""
    config, senior = read_config(directory), last_checkpoint(directory) or directory / "checkpoint.pt"
    return config, *load_both(senior, directory / "junior.pt", config.prompt_template)


def resumed_pair(config: Config, directory: Path) -> tuple[GPT, GPT, Tokenizer, dict | None]:
    """Senior, junior, tokenizer and state from the last checkpoint of a run, if that run is still what it was.

    The state is None, and the pair the one that it starts from, where it was killed before its first checkpoint.
    """
    path = last_checkpoint(directory)
    if path is None:
        if any((directory / name).exists() and (directory / name).stat().st_size for name in ("eval.json", *GROWING)):
            raise UserError(
                f"{directory} has lost its checkpoint.pt; restore it, or begin a new run with another --out"
            )
        return *starting_pair(config), None
    state = read_state(path)
    saved = asdict(Config()) | state["options"]
    for name, value in config.record().items():
        if name not in (*MAY_CHANGE, "out") and saved[name] != value:
            option = name.replace("_", "-")
            raise UserError(
                f"{directory / 'config.json'} says --{option} {value}, {path} {saved[name]}; change it back"
            )
    if config.steps < state["step"]:
        raise UserError(
            f"{path} is of step {state['step']}, beyond the --steps {config.steps} of {directory}; give more"
        )
    loaded = load_both(path, directory / "junior.pt", config.prompt_template)
    for name, found in fingerprints(config, directory).items():
        if found != state["fingerprints"].get(name):
            raise UserError(f"{name} is not what it was when {directory} began; put that back, or begin a new run")
    return *loaded, state


def fingerprints(config: Config, directory: Path) -> dict[str, str]:
    """The SHA-256 of every file that the run reads again when it is resumed."""
    files = {"junior.pt": directory / "junior.pt", "--data": config.data, "--test-data": config.test_data}
    return {name: fingerprint(path) for name, path in files.items() if path}


def problems_of(
    config: Config, n: int, tokenizer: Tokenizer, *pair: GPT
) -> tuple[list[Problem] | None, list[Problem], str]:
    """What problem_sets gives, n problems to measure on, if prompts and responses fit the context."""
    context = min(model.config.max_seq_len for model in pair)
    world = WORLDS[config.world].max_prompt_tokens + tokenizer.count("") - 1  # of its prompts the blank line is one
    prompt = config.max_prompt_tokens or (1 if config.data else world)
    room = context - config.max_new_tokens
    if prompt > room:
        raise UserError(
            f"--max-new-tokens {config.max_new_tokens} and a prompt of up to {prompt} exceed the context of "
            f"{context} tokens; give at most {context - prompt}"
        )
    limits = dict(count=tokenizer.count, room=room, max_prompt_tokens=config.max_prompt_tokens, world=config.world)
    return problem_sets(config.data, config.test_data, n, **limits)


def read_config(directory: Path) -> Config:
    """A run's options. Those that an earlier version didn't have are at their defaults, which change nothing."""
    path = directory / "config.json"
    saved = read_json(path, "schedule", "seed", "steps")
    try:
        return Config(**saved)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} is not what train.py wrote ({error}); restore it, or begin a new run") from None


def completed(given: dict) -> dict:
    """All options of a run: those given over their preset's, or over the saved ones of `resume`, if they may change."""
    if "resume" not in given:
        preset = PRESETS[given.get("preset", "laptop")]
        return {k: v for k, v in preset.items() if k != "world" or "data" not in given} | given
    directory = Path(given["resume"])
    saved = asdict(read_config(directory))
    if saved["export"] and Path(saved["export"]).exists() and (directory / "eval.json").exists():
        saved["export"] = None  # it is done
    for name, value in given.items():
        option, path = f"--{name.replace('_', '-')}", directory / "config.json"
        if name == "steps" and value < saved["steps"]:
            raise UserError(f"{option} {value} is less than the {saved['steps']} of {path}; a run can only grow")
        if name not in ("resume", *MAY_CHANGE) and value != saved[name]:
            raise UserError(
                f"{option} {value} contradicts the {saved[name]} of {path}; leave it out, or begin a new run"
            )
    return saved | given


def read_json(path: Path, *keys: str) -> dict:
    """A JSON file of a run's that has these keys, or a UserError that says what to do."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path} can't be read ({error.strerror}); is {path.parent} a run of train.py, and finished?"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON ({error}); restore it, or begin a new run") from None
    if not isinstance(content, dict) or not content.keys() >= set(keys):
        raise UserError(f"{path} is not what train.py writes ({', '.join(keys)} expected); restore it")
    return content


def read_metrics(directory: Path) -> list[dict]:
    """The steps of a run so far, a dictionary each."""
    return read_lines(directory / "metrics.jsonl", "step", "reward", "jargon_rate", "skipped_updates")


def read_lines(path: Path, *keys: str) -> list[dict]:
    """A file of a run's with a dictionary a line, all of which have these keys, or a UserError that says what to do."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if all(row.keys() >= set(keys) for row in rows):
            return rows
        raise ValueError(f"{', '.join(keys)} expected")
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}); is {path.parent} a run of train.py?") from None
    except (ValueError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} has a broken line ({error}); --resume {path.parent} drops what was half written"
        ) from None


def write_json(path: Path, content: dict) -> None:
    """Plain values as a JSON file that people can read, whole or not at all."""
    with checkpoint.replacing(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())
