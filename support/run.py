"""A run's directory, and how nothing in it is lost: claimed by one process, files written whole, logs cut to the step.

config.json, metrics.jsonl (a line a step), evals.jsonl (a line a measurement), senior.pt and junior.pt (the pair before
training), checkpoint.pt, eval.json, and where a run brought them tokenizer/, data.jsonl and test_data.jsonl: all that
evaluating, showing or resuming the run needs, here or elsewhere.

Every random number comes from (seed, step, purpose), so a checkpoint holds no random state: the weights, the optimizer,
a few counts, and the lengths of the logs, which grow beyond it until the next one.
"""

import copy
import errno
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

import model
from data.problems import WORLDS
from data.tokenizer import Tokenizer, load_tokenizer
from evaluate import show_answers
from model import GPT, load_model, save_model, store_matrices
from rollout import legend
from support import ranks
from support.options import UserError, option
from support.pretrained import check_export, load_pretrained, save_pretrained
from support.problem_files import load_problems
from support.tokenizers import directory_tokenizer, save_tokenizer

LOGS = ("metrics.jsonl", "evals.jsonl")
FILES = ("config.json", "checkpoint.pt", "senior.pt", "junior.pt", "eval.json", *LOGS)
# Options that change nothing that is computed, but for steps: they may be given anew when a run is resumed.
FREE = ("steps", "save_every", "eval_every", "device", "export", "checkpoint_activations")
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)  # a full or failing disk


class Run:
    """One run in its directory: `with Run(config) as run`. On ranks other than the first it writes and says nothing."""

    def __init__(self, config):
        self.config, self.first = config, ranks.rank() == 0
        self.directory = Path(config.resume) if config.resume else None
        self.step, self.saved, self.stopped, self.in_step = 0, None, 0, False
        self.before = self.after = None  # measures
        self.state = {"running_mean": None, "senior_tokens": 0, "junior_tokens": 0}
        self.lock, self.logs, self.handlers, self.seconds = None, {}, {}, {}
        self.color = sys.stdout.isatty()

    def __enter__(self) -> Self:
        tqdm.get_lock()  # a signal while tqdm makes its lock would end in tqdm
        if threading.current_thread() is threading.main_thread():
            self.handlers = {number: signal.signal(number, self.stop) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind, error, trace) -> None:
        """Whatever ends the run early, say how to go on."""
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        for log in self.logs.values():
            log.close()
        if self.lock is not None:
            self.lock.release()
        if isinstance(error, SystemExit | KeyboardInterrupt):
            self.say(f"\nstopped; {self.how_to_go_on()}", sys.stderr)
        elif isinstance(error, FloatingPointError) or (isinstance(error, OSError) and error.errno in DISK):
            if not self.first:  # the others' mistakes are the first's too, but a fault may be one's alone
                print(f"stopped: rank {ranks.rank()}: {error}", file=sys.stderr)
            raise UserError(f"stopped: {error}; {self.how_to_go_on()}") from None
        elif isinstance(error, torch.OutOfMemoryError):
            raise UserError(
                "stopped: the GPU has too little memory; --checkpoint-activations needs less of it, and in a new run "
                f"smaller --rollout-batch-size and --micro-batch-tokens do; {self.how_to_go_on()}"
            ) from None

    def stop(self, number: int, frame) -> None:
        """The first Ctrl-C or SIGTERM lets a step end and be saved; the second, or one between steps, stops at once."""
        if not self.in_step or self.stopped:
            raise SystemExit(128 + number)
        self.stopped = number
        if self.first:
            os.write(2, b"\nstopping after this step; once more stops at once\n")  # print may be what was interrupted

    def how_to_go_on(self) -> str:
        if self.directory is None:
            return "nothing was written"
        command = f"python train.py --resume {self.directory}"
        if self.saved is None:
            return f"nothing was saved yet: {command} begins again"
        return f"{self.directory / 'checkpoint.pt'} is of step {self.saved}: {command} goes on"

    def say(self, text: str, file=None) -> None:
        if self.first:
            tqdm.write(text, file=file or sys.stdout)

    def load(self) -> tuple[GPT, GPT, Tokenizer, list | None, list]:
        """(senior, frozen junior, tokenizer, problems to train on or None if generated, problems to measure on).

        A new run's directory is made here, when all of them are known to be good.
        """
        config, self.checkpoint = self.config, None
        if config.resume and self.first:
            self.claim()
        # A run that ended before its files were written, junior.pt last, begins again.
        begun = config.resume and any((self.directory / name).exists() for name in ("junior.pt", "checkpoint.pt"))
        if begun:
            if (self.directory / "checkpoint.pt").exists():
                self.checkpoint = read_checkpoint(self.directory / "checkpoint.pt", config.steps)
            senior = "senior.pt" if self.checkpoint is None else "checkpoint.pt"
            senior, junior, tokenizer = load_pair(self.directory / senior, self.directory / "junior.pt")
            config = replace(config, **own_data(vars(config), self.directory))
        else:
            senior, junior, tokenizer = starting_pair(config)
        context = min(senior.config.max_seq_len, junior.config.max_seq_len)
        train_problems, test_problems, note = load_problems(config, tokenizer, context, config.eval_problems)
        self.tokenizer, self.problems = tokenizer, len(test_problems)
        if config.export:
            check_export(senior, config.export)
        device = ranks.device(config.device)
        if self.first:
            if not config.resume:
                self.directory = new_directory(config.out, Path("runs") / config.schedule)
                self.claim()
                refuse_a_run(self.directory)  # another process may have begun and ended one meanwhile
            write_json(self.directory / "config.json", asdict(self.config) | {"resume": None})
            if not begun:
                self.write_own_files(senior, junior, tokenizer)
            threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
            self.say(f"device: {device}{threads}", sys.stderr)
            self.say(f"{note}\n{legend(self.color)}; ¶ is a blank line")
        if config.precision == "bfloat16":
            store_matrices(junior, torch.bfloat16)
        senior.checkpoint_activations = config.checkpoint_activations
        return senior.to(device), junior.to(device).requires_grad_(False), tokenizer, train_problems, test_problems

    def write_own_files(self, senior: GPT, junior: GPT, tokenizer: Tokenizer) -> None:
        """Write all that the run needs beside its options."""
        for name, own in own_data(vars(self.config), self.directory).items():
            shutil.copyfile(getattr(self.config, name), own)
        if not tokenizer.same_as(load_tokenizer()):
            (self.directory / "tokenizer").mkdir(exist_ok=True)
            save_tokenizer(tokenizer, self.directory / "tokenizer")
        save_model(senior, self.directory / "senior.pt")
        save_model(junior, self.directory / "junior.pt")

    def claim(self) -> None:
        """The directory is this process's alone. The system frees the lock when the process ends, however it ends."""
        self.lock = FileLock(self.directory / ".lock", timeout=0)
        try:
            self.lock.acquire()
        except Timeout:
            raise UserError(f"{self.directory} is in use by another process; wait, or give another --out") from None
        except OSError as error:
            raise UserError(f"{self.directory} can't be written to ({error.strerror}); give another --out") from None

    def restore(self, senior: GPT, optimizer: torch.optim.Optimizer) -> None:
        """Go on from the checkpoint, or begin with one: what the logs hold beyond it is dropped."""
        lengths = dict.fromkeys(LOGS, 0)
        if self.checkpoint is not None:
            optimizer.load_state_dict(self.checkpoint["optimizer"])
            self.step = self.saved = self.checkpoint["step"]
            self.state, lengths = self.checkpoint["state"], self.checkpoint["lengths"]
        if self.first:
            for name, length in lengths.items():
                self.logs[name] = open(self.directory / name, "ab")  # noqa: SIM115 (closed in __exit__)
                self.logs[name].truncate(length)
                self.logs[name].seek(length)  # truncating leaves tell() behind the end
            if self.checkpoint is None:
                self.save(senior, optimizer)
            elif lengths["evals.jsonl"] > 0:
                self.before = read_lines(self.directory / "evals.jsonl", "step")[0]
        del self.checkpoint

    def steps(self) -> Iterator[int]:
        """The numbers of the steps that are left, under a progress bar."""
        name, total = "solo RL" if self.config.schedule == "solo" else "tandem RL", self.config.steps
        with tqdm(desc=name, unit="step", initial=self.step, total=total, disable=not self.first) as self.bar:
            while self.step < total:
                yield self.step

    def begin_step(self) -> None:
        """From here to `checkpoint`, Ctrl-C waits for the step to end."""
        self.in_step, self.lapped = True, time.perf_counter()

    def lap(self, name: str) -> None:
        """The seconds since the last lap were this part's."""
        now = time.perf_counter()
        self.seconds[name], self.lapped = now - self.lapped, now

    def log_step(self, metrics: dict) -> None:
        self.step += 1
        if not self.first:
            return
        metrics |= {f"seconds_{name}": seconds for name, seconds in self.seconds.items()}
        metrics["tokens_per_second"] = metrics.pop("tokens") / self.seconds["rollout"]
        self.log("metrics.jsonl", metrics)
        self.bar.update()
        jargon = "" if metrics["jargon_rate"] is None else f"jargon {metrics['jargon_rate']:.2f}, "
        self.bar.set_postfix_str(
            f"reward {metrics['reward']:.2f}, {jargon}senior {metrics['senior_fraction']:.2f}, "
            f"{metrics['tokens_per_second']:.0f} tokens/s"
        )
        if self.step == 5 and not any(row["grad_norm"] for row in read_lines(self.directory / "metrics.jsonl")):
            self.say(no_signal(metrics["reward"]))

    def evaluation_due(self) -> bool:
        """Before the first step, and at every multiple of --eval-every, also when it was interrupted."""
        every = self.config.eval_every
        return self.before is None or (every is not None and self.step > 0 and self.step % every == 0)

    def log_eval(self, measures: dict, answers: dict) -> None:
        """Keep a measurement. Before and after training, print some answers."""
        self.log("evals.jsonl", {"step": self.step} | measures)
        label = "before" if self.before is None else "after" if self.step == self.config.steps else None
        self.before, self.after = self.before or measures, measures
        if label is not None:
            self.say(f"\n{label}\n{show_answers(answers, self.tokenizer, self.color)}\n")

    def log(self, name: str, row: dict) -> None:
        self.logs[name].write(json.dumps(row).encode() + b"\n")
        self.logs[name].flush()

    def checkpoint_if_due(self, senior: GPT, optimizer: torch.optim.Optimizer) -> None:
        """Save every `save_every` steps, after the last one, and when Ctrl-C was pressed, which then ends the run."""
        self.stopped = int(ranks.max(self.stopped))  # all stop after the same step, whichever was asked
        due = self.step % self.config.save_every == 0 or self.step == self.config.steps or self.stopped
        if due and self.first and self.saved != self.step:
            self.save(senior, optimizer)
        self.in_step = False
        if self.stopped:
            raise SystemExit(128 + self.stopped)

    def save(self, senior: GPT, optimizer: torch.optim.Optimizer) -> None:
        if not all(parameter.isfinite().all() for parameter in senior.parameters()):
            raise FloatingPointError(f"after {self.step} steps: the senior's weights are not finite")
        for log in self.logs.values():  # all that the checkpoint stands for is on the disk before it
            log.flush()
            os.fsync(log.fileno())
        save_model(
            senior,
            self.directory / "checkpoint.pt",
            step=self.step,
            state=self.state,
            lengths={name: log.tell() for name, log in self.logs.items()},
            optimizer=optimizer.state_dict(),
        )
        self.saved = self.step

    def finish(self, senior: GPT) -> None:
        """Write eval.json and the export."""
        if not self.first:
            return
        config = self.config
        before, after = ({k: v for k, v in m.items() if k != "step"} for m in (self.before, self.after))
        result = {"before": before, "after": after, "samples": config.eval_samples, "problems": self.problems}
        write_json(self.directory / "eval.json", result | {"config": asdict(config) | {"resume": None}})
        if config.export:
            save_pretrained(senior, self.tokenizer, config.export)


def no_signal(reward: float) -> str:
    """A warning for a run whose first steps had no group with both right and wrong responses."""
    fate, remedy = "all right", "harder problems"
    if reward < 0.5:
        fate, remedy = "all wrong", "easier problems or a better senior"
    return (
        f"warning: no learning signal: in 5 steps every group was of one kind, at last {fate}. Nothing is being trained. "
        f"Try {remedy}, a larger --group-size, a higher --temperature, or more --max-new-tokens"
    )


def new_directory(given: str | Path | None, default: Path, keep: tuple[str, ...] = ()) -> Path:
    """Create and return `given`, or the first free one of default, default-2, …"""
    path, n = Path(given or default), 2
    while given is None and os.path.lexists(path):
        path, n = default.with_name(f"{default.name}-{n}"), n + 1
    refuse_a_run(path, keep)
    try:
        path.mkdir(parents=True, exist_ok=given is not None)
    except OSError as error:
        raise UserError(f"{path} can't be made ({error.strerror}); give another --out") from None
    return path


def refuse_a_run(path: Path, keep: tuple[str, ...] = ()) -> None:
    """A run is never overwritten: UserError if the directory holds a file that a run writes."""
    for name in FILES:
        if name not in keep and (path / name).exists():
            raise UserError(
                f"{path} holds a run already ({name}), which is never overwritten; --resume {path} goes on with it, "
                "another --out begins a new one"
            )


def own_data(options: dict, directory: Path) -> dict[str, str]:
    """The run's copies of the files of --data and --test-data, if it has these options."""
    return {name: str(directory / f"{name}.jsonl") for name in ("data", "test_data") if options[name] is not None}


def read_checkpoint(path: Path, steps: int) -> dict:
    """A checkpoint to go on from, to `steps`."""
    try:
        state = model.load(path)
        lengths = state["lengths"]
        assert {"step", "state", "optimizer"} <= state.keys()
    except ValueError as error:
        raise UserError(f"{error}; begin a new run with another --out") from None
    except (LookupError, AssertionError):
        raise UserError(f"{path} holds no state of a run; begin a new run with --senior {path}") from None
    if steps < state["step"]:
        raise UserError(f"{path} is of step {state['step']}, beyond --steps {steps}; give at least as many")
    for name, length in lengths.items():
        log = path.with_name(name)
        if not log.exists() or log.stat().st_size < length:
            raise UserError(f"{log} is shorter than when {path} was saved; restore it, or begin a new run")
    return state


def saved_options(given: dict) -> dict:
    """The options given; of a run to `resume`, its saved ones with those given that may change."""
    if "resume" not in given:
        return given
    path = Path(given["resume"]) / "config.json"
    saved = read_json(path, "schedule", "seed", "steps")
    for name, value in given.items():
        if name not in (*FREE, "resume") and value != saved.get(name):
            raise UserError(
                f"{option(name)} {value} contradicts the {saved.get(name)} of {path}; begin a new run for it"
            )
    if "export" not in given and saved.get("export") and path.with_name("eval.json").exists():
        saved["export"] = None  # it is done
    return saved | given


def load_run(directory: str | Path) -> SimpleNamespace:
    """A run on disk: its `config`, `before` and `senior` (the senior before training and now), `junior`, `tokenizer`."""
    directory = Path(directory)
    options = read_json(directory / "config.json", "schedule", "seed", "steps", "data", "test_data", "max_new_tokens")
    config = SimpleNamespace(**options | own_data(options, directory))
    senior, junior, tokenizer = load_pair(directory / "checkpoint.pt", directory / "junior.pt")
    before, _ = load_any(directory / "senior.pt")
    return SimpleNamespace(config=config, before=before, senior=senior, junior=junior, tokenizer=tokenizer)


def starting_pair(config) -> tuple[GPT, GPT, Tokenizer]:
    """Senior and junior before training, two objects, on the CPU, and the tokenizer of both."""
    base = base_directory(config.world)
    senior = config.senior or base / "senior.pt"
    junior = config.junior or ("self" if WORLDS[config.world].unfamiliar is None else base / "junior.pt")
    for path in (senior, junior):
        if isinstance(path, Path) and not path.exists():
            raise UserError(f"{path} is missing; python train.py --pretrain --world {config.world} makes it")
    return load_pair(senior, senior if junior == "self" else junior)


def base_directory(world: str) -> Path:
    """Where a run in this world finds its senior and junior if none are given."""
    return Path(__file__).parent.parent / "data" if world == "jargon" else Path("runs") / f"base-{world}"


def load_pair(senior: str | Path, junior: str | Path) -> tuple[GPT, GPT, Tokenizer]:
    """Two models of one vocabulary, and its tokenizer; two objects even of one file."""
    first, tokenizer = load_any(senior)
    second, other = load_any(junior) if junior != senior else (copy.deepcopy(first), tokenizer)
    if not tokenizer.same_as(other):
        raise UserError(
            f"{senior} and {junior} have different vocabularies and can't write one text; try --junior self"
        )
    return first, second, tokenizer


def load_any(path: str | Path) -> tuple[GPT, Tokenizer]:
    """A model on the CPU and its tokenizer: of our checkpoint, a Hugging Face directory, a GGUF file, or smollm2."""
    if (Path(path) / "checkpoint.pt").exists():
        raise UserError(f"{path} is a run of train.py; give its {Path(path) / 'checkpoint.pt'}")
    if str(path) == "smollm2" or Path(path).suffix == ".gguf" or Path(path).is_dir():
        found, tokenizer = load_pretrained(path)
        if tokenizer is None:
            raise UserError(f"{path} has no tokenizer of byte-level BPE; give a model that has")
        return found, tokenizer
    try:
        found = load_model(path)
    except ValueError as error:
        raise UserError(str(error)) from None
    tokenizer = directory_tokenizer(Path(path).parent / "tokenizer") or load_tokenizer()
    sizes = found.config.vocab_size, tokenizer.vocab_size
    if sizes[0] != sizes[1]:
        raise UserError(f"{path} has a vocabulary of {sizes[0]}, the tokenizer one of {sizes[1]}; give another model")
    return found, tokenizer


def read_json(path: Path, *keys: str) -> dict:
    """A JSON file of a run that has these keys."""
    return read(path, keys, lambda text: [json.loads(text)])[0]


def read_lines(path: Path, *keys: str) -> list[dict]:
    """A log of a run: a dictionary a line, all with these keys."""
    return read(path, keys, lambda text: [json.loads(line) for line in text.splitlines()])


def read(path: Path, keys: tuple[str, ...], parse) -> list[dict]:
    try:
        rows = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}); is {path.parent} a finished run?") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON ({error}); restore it, or begin a new run") from None
    if not all(isinstance(row, dict) and row.keys() >= set(keys) for row in rows):
        raise UserError(f"{path} is not what train.py writes ({', '.join(keys)} expected); restore it")
    return rows


def write_json(path: Path, content: dict) -> None:
    """Plain values as a JSON file that people can read, whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)
