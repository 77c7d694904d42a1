"""A run's directory, and how nothing in it is lost: claimed by one process, files written whole, logs cut to the step.

It holds all that evaluating, showing or resuming the run needs, here or elsewhere: config.json, metrics.jsonl (a line a
step), evals.jsonl (a line a measurement), senior.pt and junior.pt (the pair before training), checkpoint.pt, eval.json,
and where the run brought them tokenizer/, data.jsonl and test_data.jsonl.

Every random number comes from (seed, step, purpose), so a checkpoint needs no random state. It holds the weights, the
optimizer, a few counts, and the lengths of the logs, which grow beyond it until the next one.
"""

import contextlib
import errno
import json
import os
import signal
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

from data.tokenizer import Tokenizer, load_tokenizer
from model import GPT
from rollout import Rollout
from support.models import memory
from support.models.pretrained import check_export, save_pretrained
from support.models.tokenizers import save_tokenizer
from support.models.weights import store_matrices
from support.reports.display import legend, render, show_answers
from support.runs import ranks
from support.runs.files import (
    LOGS,
    new_directory,
    own_data,
    read_json,
    read_lines,
    read_torch,
    refuse_a_run,
    write_json,
    write_model,
)
from support.runs.options import UserError, option
from support.runs.pair import load_pair, starting_pair
from support.runs.problem_files import load_problems

FREE = ("steps", "save_every", "eval_every", "device", "export")  # may change on --resume
FREE += (
    "checkpoint_activations",
    "offload_optimizer",
    "rollout_batch_size",
    "micro_batch_tokens",
)  # for memory
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)  # a full or failing disk
LESS_MEMORY = {  # options that need less, by phase
    "loading": "--precision bfloat16, or smaller models",
    "rollout": "a smaller --rollout-batch-size, --offload-optimizer",
    "update": "--checkpoint-activations, --offload-optimizer, a smaller --micro-batch-tokens",
    "evaluation": "a smaller --rollout-batch-size, --offload-optimizer",
}
NEXT_PHASE = {"rollout": "reward", "reward": "update", "update": "evaluation"}
CUT_OFF = """warning: in 5 steps more than 9 in 10 responses were cut off, at --max-new-tokens {}. Is that too few, or has
the model no end that it uses? Its generation_config.json, or else its config.json, says which ids end a response."""
NO_SIGNAL = """warning: no learning signal: in 5 steps every group was all right or all wrong (mean reward {:.2f}).
Try easier or harder problems, a better senior, a larger --group-size, a higher --temperature, more --max-new-tokens"""


class Run:
    """One run in its directory: `with Run(config) as run`. On ranks other than the first it writes and says nothing."""

    def __init__(self, config):
        self.config, self.first = config, ranks.rank() == 0
        self.directory = Path(config.resume) if config.resume else None
        self.step, self.saved, self.stopped, self.in_step, self.phase = 0, None, 0, False, "loading"
        self.before = self.after = None  # measures
        self.state = {"running_mean": None, "senior_tokens": 0, "junior_tokens": 0}
        self.logs, self.seconds, self.color = {}, {}, sys.stdout.isatty()
        self.held = (
            contextlib.ExitStack()
        )  # log files, the lock, and the handlers that were there before

    def __enter__(self):
        tqdm.get_lock()  # a signal while tqdm makes its lock would end in tqdm
        on_signals(self.held, self.stop)
        return self

    def __exit__(self, kind, error, trace) -> None:
        """Whatever ends the run early, say how to go on."""
        self.held.close()
        no_memory = isinstance(error, torch.OutOfMemoryError)
        if isinstance(error, SystemExit | KeyboardInterrupt):
            self.say(f"\nstopped; {self.how_to_go_on()}", sys.stderr)
        elif (
            no_memory
            or isinstance(error, FloatingPointError)
            or getattr(error, "errno", None) in DISK
        ):
            fault = error
            if no_memory:
                fault = f"the GPU has too little memory for the {self.phase}; try {LESS_MEMORY[self.phase]}"
            if (
                not self.first
            ):  # the others' mistakes are the first's too, but a fault may be one's alone
                print(f"stopped: rank {ranks.rank()}: {fault}", file=sys.stderr)
            raise UserError(f"stopped: {fault}; {self.how_to_go_on()}") from None

    def stop(self, number: int, frame) -> None:
        """The first Ctrl-C or SIGTERM lets a step end and be saved; the second, or where nothing is unsaved, stops at once."""
        if not self.in_step or self.stopped:
            sys.unraisablehook = lambda _: (
                None
            )  # a progress bar that is just being made has nothing to say of its end
            raise SystemExit(128 + number)
        self.stopped = number
        if self.first:
            os.write(
                2, b"\nstopping after this step; once more stops at once\n"
            )  # print may be what was interrupted

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
        """(senior, frozen junior, tokenizer, problems to train on or None if generated, problems to measure on)."""
        config, self.checkpoint = self.config, None
        if config.resume and self.first:
            self.claim()
        saved = config.resume and (self.directory / "checkpoint.pt").exists()
        logs = [self.directory / name for name in LOGS] if config.resume else []
        if not saved and any(log.exists() and log.stat().st_size for log in logs):
            raise UserError(
                f"{self.directory} has lost its checkpoint.pt; restore it, or begin a new run"
            )
        if saved:  # otherwise the run ended before its first step, and begins again
            path = self.directory / "checkpoint.pt"
            self.checkpoint = read_checkpoint(path, config.steps)
            senior, junior, tokenizer = load_pair(
                path, self.directory / "junior.pt", content=self.checkpoint
            )
            config = replace(config, **own_data(vars(config), self.directory))
        else:
            senior, junior, tokenizer = starting_pair(config)
        context = min(senior.config.max_seq_len, junior.config.max_seq_len)
        train_problems, test_problems, note = load_problems(
            config, tokenizer, context, config.eval_problems
        )
        self.tokenizer, self.problems = tokenizer, len(test_problems)
        if config.export:
            check_export(senior, config.export)
        device = ranks.device(config.device)
        if self.first:
            self.write_own_files(senior, junior)
        self.say(f"device: {device}, {torch.get_num_threads()} CPU threads{crowded()}", sys.stderr)
        if device.type == "cuda":
            self.say(memory.summary(senior.config, junior.config, config), sys.stderr)
        self.say(f"{note}\n{legend(self.color)}; ¶ is a blank line")
        if config.precision == "bfloat16":
            store_matrices(junior, torch.bfloat16)
        senior.checkpoint_activations = config.checkpoint_activations
        return (
            senior.to(device),
            junior.to(device).requires_grad_(False),
            tokenizer,
            train_problems,
            test_problems,
        )

    def write_own_files(self, senior: GPT, junior: GPT) -> None:
        """Make a new run's directory, now that all else is known to be good, and write what the run needs into it."""
        if self.directory is None:
            self.directory = new_directory(self.config.out, Path("runs") / self.config.schedule)
            self.claim()
            refuse_a_run(self.directory)  # another process may have begun and ended one meanwhile
        write_json(self.directory / "config.json", asdict(self.config) | {"resume": None})
        if self.checkpoint is None:
            for name, own in own_data(vars(self.config), self.directory).items():
                Path(own).write_bytes(Path(getattr(self.config, name)).read_bytes())
            if not self.tokenizer.same_as(load_tokenizer()):
                (self.directory / "tokenizer").mkdir(exist_ok=True)
                save_tokenizer(self.tokenizer, self.directory / "tokenizer")
            write_model(senior, self.directory / "senior.pt")
            write_model(junior, self.directory / "junior.pt")

    def claim(self) -> None:
        """The directory is this process's alone. The system frees the lock when the process ends, however it ends."""
        try:
            self.held.enter_context(FileLock(self.directory / ".lock", timeout=0))
        except OSError as error:
            why = (
                "it is in use by another process" if isinstance(error, Timeout) else error.strerror
            )
            raise UserError(
                f"{self.directory} can't be written to ({why}); wait, or give another --out"
            ) from None

    def restore(self, senior: GPT, optimizer: torch.optim.Optimizer) -> None:
        """Go on from the checkpoint, or begin with one: what the logs hold beyond it is dropped."""
        lengths = dict.fromkeys(LOGS, 0)
        if self.checkpoint is not None:
            optimizer.load_state_dict(self.checkpoint["optimizer"])
            self.step = self.saved = self.checkpoint["step"]
            self.state, lengths = self.checkpoint["state"], self.checkpoint["lengths"]
        if self.first:
            for name, length in lengths.items():
                self.logs[name] = self.held.enter_context(open(self.directory / name, "a"))  # noqa: SIM115
                self.logs[name].truncate(length)
                self.logs[name].seek(length)  # truncating leaves tell() behind the end
            if lengths["evals.jsonl"] > 0:
                self.before = read_lines(self.directory / "evals.jsonl", "step")[0]
                del self.before["step"]
        del self.checkpoint
        self.save_or_stop(senior, optimizer)  # a new run begins with one
        self.phase = "evaluation"

    def steps(self) -> tqdm:
        """The numbers of the steps that are left, under a progress bar."""
        name, steps = (
            "solo RL" if self.config.schedule == "solo" else "tandem RL",
            self.config.steps,
        )
        left = range(self.step, steps)
        self.bar = tqdm(
            left, name, initial=self.step, total=steps, unit="step", disable=not self.first
        )
        return self.bar

    def begin_step(self) -> None:
        """From here to `checkpoint`, Ctrl-C waits for the step to end."""
        self.in_step, self.phase, self.lapped = True, "rollout", time.perf_counter()

    def lap(self, name: str) -> None:
        """The seconds since the last lap were this part's."""
        now = time.perf_counter()
        self.seconds[name], self.lapped, self.phase = now - self.lapped, now, NEXT_PHASE[name]

    def log_step(self, metrics: dict) -> None:
        self.step += 1
        if not self.first:
            return
        metrics |= {f"seconds_{name}": seconds for name, seconds in self.seconds.items()}
        metrics["tokens_per_second"] = metrics.pop("tokens") / self.seconds["rollout"]
        print(json.dumps(metrics), file=self.logs["metrics.jsonl"], flush=True)
        shown = ("reward", "jargon_rate", "senior_fraction")
        self.bar.set_postfix({name: metrics[name] for name in shown if metrics[name] is not None})
        if self.step == 5:
            rows = read_lines(self.directory / "metrics.jsonl", "grad_norm", "truncated_fraction")
            if not any(row["grad_norm"] for row in rows):
                self.say(NO_SIGNAL.format(metrics["reward"]))
            if sum(row["truncated_fraction"] for row in rows) > 0.9 * len(rows):
                self.say(CUT_OFF.format(self.config.max_new_tokens))

    def show_step(self, rollout: Rollout, rewards: torch.Tensor) -> None:
        """Print the first response, coloured by author, after the first step and at every saved one."""
        if self.first and (
            self.step % self.config.save_every == 0 or self.step in (1, self.config.steps)
        ):
            text = render(rollout, 0, self.tokenizer, self.color).replace("\n\n", " ¶ ")
            self.say(f"after {self.step:>3} steps  {'right' if rewards[0] else 'wrong'}  {text}")

    def begin_evaluation_if_due(self) -> bool:
        """Before the first step, and at every multiple of --eval-every, also when it was interrupted."""
        every = (
            self.config.eval_every or self.config.steps
        )  # the latter isn't reached before the end
        due = self.before is None or (self.step > 0 and self.step % every == 0)
        self.in_step = self.in_step and not due  # Ctrl-C doesn't wait for a measurement
        return due

    def log_eval(self, measures: dict, answers: dict) -> None:
        """Keep a measurement. Before and after training, print some answers."""
        print(json.dumps({"step": self.step} | measures), file=self.logs["evals.jsonl"], flush=True)
        label = (
            "before" if self.before is None else "after" if self.step == self.config.steps else None
        )
        self.before, self.after = self.before or measures, measures
        if label is not None:
            self.say(f"\n{label}\n{show_answers(answers, self.tokenizer, self.color)}\n")

    def save_or_stop(self, senior: GPT, optimizer: torch.optim.Optimizer) -> None:
        """Save every `save_every` steps, before measuring, after the last one, and on Ctrl-C, which then ends the run."""
        self.stopped = int(
            ranks.max(self.stopped)
        )  # all stop after the same step, whichever was asked
        every = (self.config.save_every, self.config.eval_every or self.config.steps)
        due = (
            any(self.step % n == 0 for n in every if n)
            or self.step == self.config.steps
            or self.stopped
        )
        if due and self.first and self.saved != self.step:
            if not all(parameter.isfinite().all() for parameter in senior.parameters()):
                raise FloatingPointError(
                    f"after {self.step} steps: the senior's weights are not finite"
                )
            for (
                log
            ) in self.logs.values():  # all that the checkpoint stands for is on the disk before it
                os.fsync(log.fileno())
            lengths = {name: log.tell() for name, log in self.logs.items()}
            more = {
                "step": self.step,
                "state": self.state,
                "lengths": lengths,
                "optimizer": optimizer.state_dict(),
            }
            write_model(senior, self.directory / "checkpoint.pt", **more)
        self.saved = self.step if due else self.saved
        self.in_step = (
            self.saved != self.step
        )  # with a step unsaved, Ctrl-C waits for the end of the next
        if self.stopped:
            raise SystemExit(128 + self.stopped)

    def finish(self, senior: GPT) -> None:
        if not self.first:
            return
        result = {"before": self.before, "after": self.after, "problems": self.problems}
        result |= {
            "samples": self.config.eval_samples,
            "config": asdict(self.config) | {"resume": None},
        }
        if self.config.export:  # before eval.json, which says that all is done
            save_pretrained(senior, self.tokenizer, self.config.export)
        write_json(self.directory / "eval.json", result)


def crowded() -> str:
    """What to do where other programs keep the cores busy: threads that wait for each other spin, and all get slow."""
    threads, cores = torch.get_num_threads(), os.cpu_count() or 1
    load = (
        os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    )  # of the last minute; Windows doesn't say
    if threads == 1 or load + threads < 1.5 * cores:
        return ""
    remedy = "two runs at once are several times faster with OMP_NUM_THREADS=1 each"
    return f" (other programs keep {load:.1f} of {cores} cores busy: {remedy})"


def on_signals(held: contextlib.ExitStack, handler) -> None:
    """Call `handler` on Ctrl-C and SIGTERM until `held` is closed, which puts the handlers back that were there."""
    with contextlib.suppress(ValueError):  # beside the main thread there are no signals
        for number in (signal.SIGINT, signal.SIGTERM):
            held.callback(signal.signal, number, signal.signal(number, handler))


def read_checkpoint(path: Path, steps: int) -> dict:
    """A checkpoint to go on from, to `steps`, if the logs hold all that it stands for."""
    saved = read_torch(path)
    if not {"step", "state", "lengths", "optimizer"} <= saved.keys():
        raise UserError(f"{path} holds no state of a run; begin a new run with --senior {path}")
    if steps < saved["step"]:
        raise UserError(
            f"{path} is of step {saved['step']}, beyond --steps {steps}; give at least as many"
        )
    for name, length in saved["lengths"].items():
        log = path.with_name(name)
        if not log.exists() or log.stat().st_size < length:
            raise UserError(
                f"{log} is shorter than when {path} was saved; restore it, or begin a new run"
            )
    return saved


def saved_options(given: dict) -> dict:
    """The options given; of a run to `resume`, its saved ones with those given that may change."""
    if "resume" not in given:
        return given
    path = Path(given["resume"]) / "config.json"
    saved = read_json(path, "schedule", "seed", "steps")
    for name, value in given.items():
        if name not in (*FREE, "resume") and value != saved.get(name):
            raise UserError(
                f"{option(name)} {value} contradicts {saved.get(name)} in {path}; begin a new run for it"
            )
    done = path.with_name("eval.json")
    if (
        "export" not in given
        and done.exists()
        and read_json(done, "config")["config"]["export"] == saved["export"]
    ):
        saved["export"] = None  # it is done
    return saved | given
