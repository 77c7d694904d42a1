"""A run's directory: one process claims it, files are written whole, logs are cut to the step.

The directory holds everything that evaluating, showing or resuming the run needs, here or
elsewhere: config.json, metrics.jsonl (a line a step), evals.jsonl (a line a measurement), senior.pt
and junior.pt (the pair before training), checkpoint.pt, eval.json. A run that brought its own
tokenizer or problems keeps them too, in tokenizer/, data.jsonl and test_data.jsonl. models.json has
the commits of models from the hub.

Every random number comes from (seed, step, purpose), so a checkpoint needs no random state. It
holds the weights, the optimizer, a few counts, and the lengths of the logs. The logs grow beyond
these lengths until the next checkpoint.
"""

import contextlib
import errno
import json
import os
import signal
import sys
import time
import zlib
from dataclasses import asdict, replace
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

from data.tokenizer import Tokenizer, load_tokenizer
from model import GPT
from rollout import Rollout
from support.models import memory
from support.models.hub import commits
from support.models.pretrained import check_export, save_pretrained
from support.models.tokenizers import save_tokenizer
from support.models.weights import store_matrices
from support.reports.display import legend, render, show_answers
from support.runs import ranks
from support.runs.fields import NO_EFFECT, OF_ONE_RUN, marked
from support.runs.files import (
    LOGS,
    data_copies,
    directory_of,
    new_directory,
    read_lines,
    read_torch,
    refuse_a_run,
    write_json,
    write_model,
)
from support.runs.options import UserError, in_color, option, quoted
from support.runs.pair import load_models, model_names, starting_models
from support.runs.problem_files import load_problems
from support.runs.progress import progress
from support.runs.sinks import flat, logger_package, opened_sink

# A full or failing disk.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
# A file system without locks, as some network ones are.
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
HANGUP = getattr(signal, "SIGHUP", None)  # Windows has none
LESS_MEMORY = {  # options that need less, by phase
    "loading": "--precision bfloat16, or smaller models",
    "rollout": "a smaller --rollout-batch-size, --offload-optimizer",
    "update": "--checkpoint-activations, --offload-optimizer, a smaller --micro-batch-tokens",
    "evaluation": "a smaller --rollout-batch-size, --offload-optimizer",
}
NEXT_PHASE = {"rollout": "reward", "reward": "update", "update": "evaluation"}
CUT_OFF = (
    "warning: in 5 steps more than 9 in 10 responses were cut off, at --max-new-tokens {}. "
    "Is that too few, or has\nthe model no end that it uses? Its generation_config.json, "
    "or else its config.json, says which ids end a response."
)
LONG_STEP = (
    "warning: a step takes {:.0f} s, and torchrun kills its processes {} s after Ctrl-C: the steps "
    "since the last\ncheckpoint would be lost; {}"
)
NO_SIGNAL = (
    "warning: no learning signal: in 5 steps every group was all right or all wrong "
    "(mean reward {:.2f}).\nTry easier or harder problems, a better senior, "
    "a larger --group-size, a higher --temperature, more --max-new-tokens"
)


class Run:
    """One run in its directory: `with Run(config) as run`.

    Only the first rank writes and speaks.
    """

    def __init__(self, config):
        self.config = config
        self.first = ranks.rank() == 0
        self.directory = directory_of(config.resume) if config.resume else None
        self.checkpoint = None  # the content of the file to resume from
        self.models = {}  # by name: senior, junior, and those of other options
        self.moving = []  # names of models beside the senior that a checkpoint keeps too
        self.step = 0  # steps taken
        self.saved = None  # the step of the last checkpoint
        self.stopped = 0  # the number of the signal that asked to stop
        self.in_step = False  # Ctrl-C lets a step end first
        self.phase = "loading"
        self.before = None  # the first measurement
        self.after = None  # the last measurement
        self.state = {"running_mean": None, "senior_tokens": 0, "junior_tokens": 0}
        self.logs = {}  # open files by name
        self.sinks = []  # functions of a step and its numbers, which get every line of the logs
        self.seconds = {}  # of each phase of a step
        self.warned = False  # of torchrun's patience
        self.color = in_color(sys.stdout)
        self.to_close = contextlib.ExitStack()  # log files, the lock, earlier signal handlers

    def __enter__(self):
        tqdm.get_lock()  # a signal while tqdm makes its lock would end in tqdm
        on_signals(self.to_close, self.stop)
        return self

    def __exit__(self, kind, error, trace) -> None:
        """Whatever ends the run early, say how to go on."""
        self.to_close.close()
        if isinstance(error, SystemExit | KeyboardInterrupt):
            self.say(f"\nstopped; {self.how_to_go_on()}", sys.stderr)
            return
        fault = self.known_fault(error)
        if fault is None:  # no error, or a bug, which stays a traceback
            return
        if self.first:
            raise UserError(f"stopped: {fault}; {self.how_to_go_on()}") from None
        # A user's mistake is every rank's, but such a fault may be only this one's.
        rank = ranks.rank()
        print(f"stopped: rank {rank}: {fault}; {self.how_to_go_on()}", file=sys.stderr)
        raise SystemExit(2) from None

    def known_fault(self, error):
        """The fault to tell if memory, the disk, a rank or the numbers ended the run, else None."""
        if isinstance(error, torch.OutOfMemoryError):
            remedy = LESS_MEMORY[self.phase]
            return f"the GPU has too little memory for the {self.phase}; try {remedy}"
        if self.is_gone() and isinstance(error, OSError | UserError):
            return f"{self.directory} was moved or deleted"
        lost = ranks.lost(error)
        if lost is not None:
            return f"another process of the run is lost ({lost})"
        on_disk = getattr(error, "errno", None) in DISK_ERRORS
        if on_disk or isinstance(error, FloatingPointError):
            return error
        return None

    def stop(self, number: int, frame) -> None:
        """The first Ctrl-C or SIGTERM lets a step end and saves it. The second stops at once.

        Between steps, where nothing is unsaved, the first one stops at once too.
        """
        if number == HANGUP:  # the terminal is gone, and printing would fail
            sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        if not self.in_step or self.stopped:
            # A progress bar that is just being made complains when it is deleted.
            sys.unraisablehook = lambda _: None
            raise SystemExit(128 + number)
        self.stopped = number
        if self.first and number != HANGUP:
            words = b"; once more stops at once"
            if ranks.size() > 1:
                words = b", if torchrun waits for its end"
            # The signal may have interrupted a print, so this isn't one.
            os.write(2, b"\nstopping after this step" + words + b"\n")

    def how_to_go_on(self) -> str:
        """The command that goes on, and from which step."""
        if self.directory is None:
            return "nothing was written"
        if self.is_gone():
            return "if it is elsewhere now, python train.py --resume goes on there"
        command = f"python train.py --resume {quoted(self.directory)}"
        if not self.first:
            return f"on the first machine, {command} goes on"
        checkpoint = self.directory / "checkpoint.pt"
        if self.saved is not None:
            return f"{checkpoint} is of step {self.saved}: {command} goes on"
        if checkpoint.exists():  # of a run to resume, which was still being loaded
            return f"{checkpoint} is as it was: {command} goes on"
        return f"nothing was saved yet: {command} begins again"

    def is_gone(self) -> bool:
        """Whether somebody took the directory away while the run was in it.

        Other ranks may be on machines that never had it.
        """
        return self.first and self.directory is not None and not self.directory.exists()

    def say(self, text: str, file=None) -> None:
        """Print above the progress bar, on the first rank only."""
        if self.first:
            tqdm.write(text, file=file or sys.stdout)

    def load(self) -> tuple[GPT, GPT, Tokenizer, list | None, list]:
        """(senior, frozen junior, tokenizer, problems to train on, problems to measure on).

        The problems to train on are None if they are generated. `models` has all models by name.
        """
        config = self.config
        if config.log:
            logger_package(config.log)  # or a UserError, before anything is written
        self.models, tokenizer = self.load_models()
        senior = self.models["senior"]
        if self.checkpoint is not None:
            config = replace(config, **data_copies(vars(config), self.directory))
        context = min(model.config.max_seq_len for model in self.models.values())
        train_problems, test_problems, note = load_problems(
            config, tokenizer, context, config.eval_problems
        )
        self.tokenizer = tokenizer
        self.problems = len(test_problems)
        if config.export:
            check_export(senior, config.export)
        device = ranks.device(config.device)
        self.compare_ranks(train_problems, test_problems)
        if self.first:
            self.write_inputs()
        self.directory = Path(ranks.of_first(str(self.directory)))
        threads = torch.get_num_threads()
        self.say(f"device: {device}, {threads} CPU threads{busy_hint()}", sys.stderr)
        if device.type == "cuda":
            junior = self.models["junior"]
            self.say(memory.memory_line(senior.config, junior.config, config), sys.stderr)
        self.say(f"{note}\n{legend(self.color)}; ¶ is a blank line")
        senior.checkpoint_activations = config.checkpoint_activations
        for name, model in self.models.items():
            if name != "senior":  # frozen
                model.requires_grad_(False)
                if config.precision == "bfloat16":
                    store_matrices(model, torch.bfloat16)
            self.models[name] = model.to(device)
        senior = self.models["senior"]
        junior = self.models["junior"]
        return senior, junior, tokenizer, train_problems, test_problems

    def load_models(self) -> tuple[dict[str, GPT], Tokenizer]:
        """The models and their tokenizer, from the run to resume, or as it began."""
        if not self.config.resume:
            return starting_models(self.config)
        if self.first:
            self.claim()
        path = self.directory / "checkpoint.pt"
        if path.exists():
            self.checkpoint = read_checkpoint(path, self.config.steps)
            names = model_names(self.config)
            paths = {name: self.directory / f"{name}.pt" for name in names}
            return load_models(paths | {"senior": path}, content=self.checkpoint)
        logs = [self.directory / name for name in LOGS]
        if any(log.exists() and log.stat().st_size for log in logs):
            raise UserError(
                f"{self.directory} has lost its checkpoint.pt; restore it, or begin a new run"
            )
        # The run ended before its first step, and begins again.
        own = {name: self.directory / f"{name}.pt" for name in model_names(self.config)}
        if all(path.exists() for path in own.values()):
            return load_models(own)
        return starting_models(self.config)

    def compare_ranks(self, *problems: list | None) -> None:
        """UserError if the ranks begin with different things. Each machine has its own files."""
        if ranks.size() == 1:
            return
        may_differ = marked(type(self.config), NO_EFFECT) + marked(type(self.config), OF_ONE_RUN)
        content = {}
        for name, value in vars(self.config).items():
            if name not in may_differ:
                content[f"values of {option(name)}"] = value
        content["checkpoints"] = self.checkpoint and self.checkpoint["step"]
        content["models"] = [checksum(model) for model in self.models.values()]
        content["problems"] = problems
        for name, own in content.items():
            if not ranks.agree(own):
                raise UserError(
                    f"the processes have different {name}; "
                    "give every machine the same command and the same files"
                )

    def write_inputs(self) -> None:
        """Write what the run begins from into its directory, and make the directory of a new run.

        By now everything else is known to be good.
        """
        if self.directory is None:
            self.directory = new_directory(self.config.out, Path("runs") / self.config.schedule)
            try:
                self.claim()
            except UserError:
                with contextlib.suppress(OSError):  # it isn't empty: it was there before
                    self.directory.rmdir()
                    self.directory = None
                raise
            refuse_a_run(self.directory)  # another process may have begun and ended one meanwhile
        write_json(self.directory / "config.json", self.saved_config())
        if self.checkpoint is not None:
            return
        if not (self.directory / "senior.pt").exists():  # else the run begins again
            names = model_names(self.config)
            of_hub = commits({name: getattr(self.config, name) for name in names})
            if of_hub:
                write_json(self.directory / "models.json", of_hub)
        for name, copy in data_copies(vars(self.config), self.directory).items():
            original = Path(getattr(self.config, name))
            Path(copy).write_bytes(original.read_bytes())
        if not self.tokenizer.same_as(load_tokenizer()):
            directory = self.directory / "tokenizer"
            directory.mkdir(exist_ok=True)
            save_tokenizer(self.tokenizer, directory)
        for name, model in self.models.items():
            write_model(model, self.directory / f"{name}.pt")

    def saved_config(self) -> dict:
        """The options as files keep them, without the names of this and of other runs."""
        return asdict(self.config) | {"resume": None, "like": None}

    def claim(self) -> None:
        """Take the directory for this process.

        The system frees the lock when the process ends, however it ends.
        """
        lock = FileLock(self.directory / ".lock", timeout=0)
        try:
            self.to_close.enter_context(lock)
        except Timeout:
            raise UserError(
                f"{self.directory} is in use by another process; wait, or give another --out"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise UserError(
                    f"{self.directory} can't be written to ({error.strerror}); give another --out"
                ) from None
            warning = f"warning: {self.directory} is on a file system without locks"
            self.say(f"{warning}; start no second run in it", sys.stderr)

    def restore(self, senior: GPT, optimizer: torch.optim.Optimizer) -> None:
        """Go on from the checkpoint, or save one of a new run. Cut the logs to its lengths."""
        lengths = dict.fromkeys(LOGS, 0)
        if self.checkpoint is not None:
            optimizer.load_state_dict(self.checkpoint["optimizer"])
            self.step = self.checkpoint["step"]
            self.saved = self.step
            self.state = self.checkpoint["state"]
            lengths = self.checkpoint["lengths"]
            for name in self.moving:
                self.models[name].load_state_dict(self.checkpoint["moving"][name])
        if self.first:
            for name, length in lengths.items():
                log = open(self.directory / name, "a")  # noqa: SIM115
                self.logs[name] = self.to_close.enter_context(log)
                log.truncate(length)
                log.seek(length)  # truncating leaves tell() behind the end
            if self.config.log:
                self.open_log()
            if lengths["evals.jsonl"] > 0:
                self.before = read_lines(self.directory / "evals.jsonl", "step")[0]
                del self.before["step"]
        del self.checkpoint  # its memory
        self.save_or_stop(senior, optimizer)  # a new run begins with a checkpoint
        self.phase = "evaluation"

    def open_log(self) -> None:
        """Let the numbers from this step on go to --log too."""
        options = self.saved_config()
        sink = opened_sink(self.config.log, self.directory, self.step, options, self.to_close)
        self.sinks.append(sink)

    def steps(self) -> tqdm:
        """The numbers of the remaining steps, under a progress bar."""
        name = "solo RL" if self.config.schedule == "solo" else "tandem RL"
        total = self.config.steps
        remaining = range(self.step, total)
        self.bar = progress(
            remaining, name, initial=self.step, total=total, unit="step", disable=not self.first
        )
        return self.bar

    def begin_step(self) -> None:
        """From here to `save_or_stop`, Ctrl-C waits for the step to end."""
        self.in_step = True
        self.phase = "rollout"
        self.lap_began = time.perf_counter()

    def lap(self, name: str) -> None:
        """The seconds since the last lap were this phase's."""
        now = time.perf_counter()
        self.seconds[name] = now - self.lap_began
        self.lap_began = now
        self.phase = NEXT_PHASE[name]

    def log_step(self, metrics: dict) -> None:
        """Count the step. Write its line of metrics, and warn after five steps of no use."""
        self.step += 1
        if not self.first:
            return
        for name, seconds in self.seconds.items():
            metrics[f"seconds_{name}"] = seconds
        metrics["tokens_per_second"] = metrics.pop("tokens") / self.seconds["rollout"]
        print(json.dumps(metrics), file=self.logs["metrics.jsonl"], flush=True)
        numbers = flat(metrics, "train")
        self.send(numbers.pop("train/step"), numbers)
        shown = ("reward", "jargon_rate", "senior_fraction")
        known = {name: metrics[name] for name in shown if metrics[name] is not None}
        self.bar.set_postfix(known, refresh=False)
        self.warn_of_torchrun()
        if self.step == 5:
            rows = read_lines(self.directory / "metrics.jsonl", "grad_norm", "truncated_fraction")
            if not any(row["grad_norm"] for row in rows):
                self.say(NO_SIGNAL.format(metrics["reward"]))
            if sum(row["truncated_fraction"] for row in rows) > 0.9 * len(rows):
                self.say(CUT_OFF.format(self.config.max_new_tokens))

    def send(self, step: int, numbers: dict[str, float]) -> None:
        for sink in self.sinks:
            sink(step, numbers)

    def warn_of_torchrun(self) -> None:
        """Say once if a step takes about as long as torchrun waits after Ctrl-C, or longer."""
        step_seconds = sum(self.seconds.values())
        seconds, remedy = ranks.patience()
        if ranks.size() > 1 and step_seconds > 0.8 * seconds and not self.warned:
            self.warned = True
            self.say(LONG_STEP.format(step_seconds, seconds, remedy), sys.stderr)

    def show_step(self, rollout: Rollout, right: torch.Tensor) -> None:
        """Print the first response, coloured by author: after the first, saved and last steps."""
        saved = self.step % self.config.save_every == 0
        if not self.first or not (saved or self.step in (1, self.config.steps)):
            return
        text = render(rollout, 0, self.tokenizer, self.color).replace("\n\n", " ¶ ")
        verdict = "right" if right[0] else "wrong"
        self.say(f"after {self.step:>3} steps  {verdict}  {text}")

    def begin_evaluation_if_due(self) -> bool:
        """Whether to measure now: before the first step, and at every multiple of --eval-every.

        An interrupted measurement is due again. Ctrl-C doesn't wait for a measurement to end.
        """
        every = self.config.eval_every or self.config.steps  # the last step is measured anyway
        due = self.before is None or (self.step > 0 and self.step % every == 0)
        if due:
            self.in_step = False
        return due

    def log_eval(self, measured: tuple[dict, dict]) -> None:
        """Keep a measurement. Before and after training, print some answers."""
        measures, answers = measured
        print(json.dumps({"step": self.step} | measures), file=self.logs["evals.jsonl"], flush=True)
        self.send(self.step, flat(measures, "eval"))
        label = "after" if self.step == self.config.steps else None
        if self.before is None:
            label = "before"
            self.before = measures
        self.after = measures
        if label is not None:
            self.say(f"\n{label}\n{show_answers(answers, self.tokenizer, self.color)}\n")

    def save_or_stop(self, senior: GPT, optimizer: torch.optim.Optimizer) -> None:
        """Save if a checkpoint is due. End the run if Ctrl-C or SIGTERM asked for it.

        A checkpoint is due every `save_every` steps, before measuring, after the last step, and
        before the run is ended.
        """
        # All ranks stop after the same step, whichever was asked.
        self.stopped = int(ranks.max(self.stopped))
        if self.saving_is_due():
            if self.first and self.saved != self.step:
                self.save(senior, optimizer)
            self.saved = self.step
        # While a step is unsaved, Ctrl-C waits for the end of the next one.
        self.in_step = self.saved != self.step
        if self.stopped:
            raise SystemExit(128 + self.stopped)

    def saving_is_due(self) -> bool:
        config = self.config
        if self.stopped or self.step == config.steps:
            return True
        every = (config.save_every, config.eval_every, config.keep_every)
        return any(self.step % n == 0 for n in every if n)

    def save(self, senior: GPT, optimizer: torch.optim.Optimizer) -> None:
        """Write checkpoint.pt, and perhaps a copy to keep. Before it the logs are on the disk."""
        if not all(parameter.isfinite().all() for parameter in senior.parameters()):
            raise FloatingPointError(
                f"after {self.step} steps: the senior's weights are not finite"
            )
        for log in self.logs.values():
            os.fsync(log.fileno())
        moving = {name: self.models[name].state_dict() for name in self.moving}
        lengths = {name: log.tell() for name, log in self.logs.items()}
        files = ["checkpoint.pt"]
        keep = self.config.keep_every
        if keep and self.step > 0 and self.step % keep == 0:
            files.insert(0, f"checkpoint-{self.step}.pt")
        for file in files:
            write_model(
                senior,
                self.directory / file,
                step=self.step,
                moving=moving,
                state=self.state,
                lengths=lengths,
                optimizer=optimizer.state_dict(),
            )

    def finish(self, senior: GPT) -> None:
        """Export the senior if asked to, then write eval.json, which says that all is done."""
        if not self.first:
            return
        if self.config.export:
            save_pretrained(senior, self.tokenizer, self.config.export)
        result = {
            "before": self.before,
            "after": self.after,
            "problems": self.problems,
            "samples": self.config.eval_samples,
            "config": self.saved_config(),
        }
        write_json(self.directory / "eval.json", result)


def busy_hint() -> str:
    """A remedy if other programs keep the cores busy, else nothing.

    Threads that wait for each other spin, and all of them get slow.
    """
    threads = torch.get_num_threads()
    if threads == 1 or not hasattr(os, "getloadavg"):  # Windows doesn't tell the load
        return ""
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0]  # of the last minute
    if load + threads < 1.5 * cores:
        return ""
    remedy = "two runs at once are several times faster with OMP_NUM_THREADS=1 each"
    return f" (other programs keep {load:.1f} of {cores} cores busy: {remedy})"


def checksum(model: GPT) -> int:
    """Of the weights, the same on every machine."""
    found = 0
    for weight in model.state_dict().values():
        found = zlib.crc32(weight.flatten().view(torch.uint8).numpy(), found)
    return found


def on_signals(to_close: contextlib.ExitStack, handler) -> None:
    """Call `handler` on Ctrl-C, SIGTERM and a lost terminal until `to_close` is closed.

    Closing it puts the earlier handlers back.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if HANGUP and signal.getsignal(HANGUP) != signal.SIG_IGN:  # nohup ignores it
        numbers.append(HANGUP)
    with contextlib.suppress(ValueError):  # beside the main thread there are no signals
        for number in numbers:
            earlier = signal.signal(number, handler)
            to_close.callback(signal.signal, number, earlier)


def read_checkpoint(path: Path, steps: int) -> dict:
    """A checkpoint that a run of `steps` steps can go on from. UserError if the logs are cut."""
    saved = read_torch(path)
    if not {"step", "state", "lengths", "optimizer"} <= saved.keys():
        raise UserError(f"{path} holds no state of a run; begin a new run with --senior {path}")
    reached = saved["step"]
    if steps < reached:
        raise UserError(
            f"{path} is of step {reached}, beyond --steps {steps}; give at least as many"
        )
    for name, length in saved["lengths"].items():
        log = path.with_name(name)
        if not log.exists() or log.stat().st_size < length:
            raise UserError(
                f"{log} is shorter than when {path} was saved; restore it, or begin a new run"
            )
    return saved
