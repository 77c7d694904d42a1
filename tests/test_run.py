"""Nothing is lost: killed and stopped runs, a full disk, NaNs, damaged files, locks, names."""

import contextlib
import errno
import fcntl
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from conftest import tiny
from filelock import FileLock
from test_train import main, metrics, same

import support.runs.files
import support.runs.run
import train
from model import GPTConfig, load_model
from support.models.memory import parameters, phases
from support.runs.fields import ModelPath
from support.runs.files import (
    FILES,
    new_directory,
    read_model,
    read_torch,
    write_model,
    write_torch,
)
from support.runs.options import UserError
from support.runs.pair import starting_models
from support.runs.run import Run, busy_hint
from support.runs.saved import load_run

ROOT = Path(__file__).parent.parent
SHORT = """--steps 8 --prompts-per-step 4 --group-size 4 --save-every 3 --eval-problems 2
--eval-samples 1 --warmup-steps 2""".split()
ALONG = "--steps 6 --eval-every 2 --max-new-tokens 12".split()


def start(*words) -> subprocess.Popen:
    words = [sys.executable, ROOT / "train.py", *words]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen) -> tuple[int, str]:
    """Its exit code and stderr; a full pipe would stop it."""
    out, error = process.communicate(timeout=300)
    print(out, error)  # shown if the test fails
    return process.returncode, error


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert main(*SHORT, "--out", out) == 0
    return out


def assert_same_run(a: Path, b: Path) -> None:
    """To the bit: weights, optimizer, counts, metrics, measurements.

    Times may differ, and --out, --save-every and --device.
    """
    states, results = [], []
    for directory in (a, b):
        result = json.loads((directory / "eval.json").read_text())
        assert result["config"] == json.loads((directory / "config.json").read_text())
        results.append(
            result | {"config": result["config"] | dict.fromkeys(("out", "save_every", "device"))}
        )
        states.append(read_torch(directory / "checkpoint.pt") | {"lengths": None})
    assert metrics(a) == metrics(b)
    assert [row["step"] for row in metrics(a)] == list(range(states[0]["step"]))
    torch.testing.assert_close(*states, rtol=0, atol=0)
    assert results[0] == results[1]
    assert (a / "evals.jsonl").read_text() == (b / "evals.jsonl").read_text()


@pytest.fixture(scope="module")
def along(tmp_path_factory) -> Path:
    """A run that was measured every second step."""
    out = tmp_path_factory.mktemp("along") / "run"
    assert main(*SHORT, *ALONG, "--out", out) == 0
    assert measured_at(out) == [0, 2, 4, 6]
    return out


def measured_at(out: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (out / "evals.jsonl").read_text().splitlines()]


def lines(out: Path, name: str = "metrics.jsonl") -> int:
    with contextlib.suppress(OSError):
        return (out / name).read_bytes().count(b"\n")
    return 0


def wait_for(process: subprocess.Popen, condition) -> None:
    while process.poll() is None and not condition():
        time.sleep(0.0005)


def at_step(monkeypatch, actions: dict, name: str = "update") -> None:
    """Call actions[n] just before the n-th update of train.py, with its arguments.

    `name` is another function than update. The count begins now.
    """
    count, called = iter(range(10**6)), getattr(train, name)

    def disturbed(*words, **named):
        actions.get(next(count), lambda *_: None)(*words)
        return called(*words, **named)

    monkeypatch.setattr(train, name, disturbed)


def fail(error: BaseException):
    def failing(*_, **__):
        raise error

    return failing


def begin_or_resume(out: Path, *words) -> subprocess.Popen:
    return (
        start("--resume", out)
        if (out / "config.json").exists()
        else start(*SHORT, *words, "--out", out)
    )


def end_at(
    moment: str, process: subprocess.Popen, out: Path, rng: random.Random, number=signal.SIGKILL
) -> int:
    """Send a signal in a step, while a checkpoint is written, or at any time. The exit code."""
    written = lines(out)
    if moment == "saving":
        wait_for(process, lambda: lines(out) > written and (out / "checkpoint.pt.partial").exists())
    elif moment == "stepping":
        wait_for(process, lambda: lines(out) >= written + 1 + rng.randrange(3))
    else:
        wait_for(process, (out / "config.json").exists)
        time.sleep(rng.uniform(0, 3))
    process.send_signal(number)
    return ended(process)[0]


def test_a_run_that_is_killed_again_and_again_is_the_same_run(whole, tmp_path):
    out, rng = tmp_path / "run", random.Random(0)
    for moment in ("stepping", "saving", "whenever"):
        assert end_at(moment, begin_or_resume(out), out, rng) == -signal.SIGKILL
        assert not (out / "checkpoint.pt").exists() or read_torch(out / "checkpoint.pt")[
            "step"
        ] <= lines(out)
    assert ended(begin_or_resume(out))[0] == 0
    assert_same_run(out, whole)


@pytest.mark.slow
def test_a_longer_run_that_is_ended_in_every_way_is_the_same_run(tmp_path):
    """At least 20 kills, some SIGTERMs and SIGINTs, a few steps apart: in saves and elsewhere."""
    longer = ["--steps", "150", "--save-every", "2", "--eval-every", "5"]
    whole, out, rng, codes = tmp_path / "whole", tmp_path / "run", random.Random(1), []
    assert ended(start(*SHORT, *longer, "--out", whole))[0] == 0
    for i in range(30):
        number = (*[signal.SIGKILL] * 4, signal.SIGTERM, signal.SIGINT)[i % 6]
        moment = rng.choice(("stepping", "saving", "whenever"))
        codes.append(end_at(moment, begin_or_resume(out, *longer), out, rng, number))
    assert codes.count(-signal.SIGKILL) >= 20 and {130, 143} <= set(codes) and 0 not in codes, codes
    assert ended(start("--resume", out))[0] == 0
    assert_same_run(out, whole)
    assert measured_at(out) == list(range(0, 151, 5))


def test_a_run_that_is_stopped_saves_says_how_to_go_on_and_is_the_same_run(whole, tmp_path):
    out = tmp_path / "run"
    process = start(*SHORT, "--save-every", "100", "--out", out)
    wait_for(process, lambda: lines(out) >= 2)
    process.send_signal(signal.SIGINT)
    code, error = ended(process)
    assert code == 130
    assert f"python train.py --resume {out} goes on" in error
    assert "Traceback" not in error
    # nothing is lost, though no save was due
    assert read_torch(out / "checkpoint.pt")["step"] == lines(out) < 8
    assert main("--resume", out) == 0
    assert_same_run(out, whole)


def test_stopped_between_two_steps_it_loses_none(whole, tmp_path, monkeypatch):
    """Ctrl-C after step 2, which isn't saved yet: the run ends after step 3, which is saved."""
    out, due = tmp_path / "run", train.Run.begin_evaluation_if_due

    def interrupted(run):
        if run.step == 2:
            signal.raise_signal(signal.SIGINT)
        return due(run)

    monkeypatch.setattr(train.Run, "begin_evaluation_if_due", interrupted)
    assert main(*SHORT, "--save-every", "100", "--out", out) == 130
    assert read_torch(out / "checkpoint.pt")["step"] == lines(out) == 3
    monkeypatch.undo()
    assert main("--resume", out) == 0
    assert_same_run(out, whole)


def test_stopped_while_measuring_before_it_stops_at_once_and_begins_again(whole, tmp_path):
    out = tmp_path / "run"
    process = start(*SHORT, "--out", out, "--eval-samples", "20000")
    wait_for(process, (out / "checkpoint.pt").exists)
    process.send_signal(signal.SIGTERM)
    code, error = ended(process)
    assert code == 143 and f"is of step 0: python train.py --resume {out} goes on" in error
    assert "Traceback" not in error and lines(out) == lines(out, "evals.jsonl") == 0
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | {"eval_samples": 1}))
    assert main("--resume", out) == 0
    assert_same_run(out, whole)


def test_stopped_while_a_progress_bar_is_made_it_says_no_more_than_how_to_go_on(tmp_path):
    """A bar without all of its attributes complains when it is deleted."""
    script = f"""
import signal, sys, tqdm
sys.path.insert(0, {str(ROOT)!r})
import train
tqdm.std.tqdm._get_free_pos = lambda *_: signal.raise_signal(signal.SIGTERM)
train.main({[*SHORT, "--out", str(tmp_path / "run")]!r})"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 143
    assert done.stderr.endswith(f"is of step 0: python train.py --resume {tmp_path}/run goes on\n")


def test_stopped_while_measuring_along_the_way_it_stops_at_once_and_measures_again_once(
    along, tmp_path, monkeypatch
):
    out, labels, evaluate = tmp_path / "run", [], train.evaluate

    def stopped(*given):
        labels.append(given[-1])
        if given[-1] == "at step 4":
            signal.raise_signal(signal.SIGTERM)
            raise AssertionError("it went on measuring")
        return evaluate(*given)

    monkeypatch.setattr(train, "evaluate", stopped)
    assert main(*SHORT, *ALONG, "--out", out) == 143
    assert labels == [
        "at step 0",
        "at step 2",
        "at step 4",
    ]
    assert read_torch(out / "checkpoint.pt")["step"] == 4
    # saved before it was measured
    assert measured_at(out) == [
        0,
        2,
    ]
    monkeypatch.undo()
    assert main("--resume", out) == 0
    assert_same_run(out, along)


def test_what_is_measured_along_the_way_is_neither_lost_nor_there_twice(
    along, tmp_path, monkeypatch
):
    """Ended after measurements that no checkpoint counts, and stopped by hand just after one."""
    out, full = tmp_path / "run", fail(OSError(errno.ENOSPC, "No space"))
    interrupt = lambda *_: signal.raise_signal(signal.SIGINT)
    for updates, action, code in ((0, full, 2), (4, full, 2), (0, interrupt, 130), (0, full, 2)):
        with monkeypatch.context() as patch:
            at_step(patch, {updates: action})
            assert (
                main(*(["--resume", out] if out.exists() else [*SHORT, *ALONG, "--out", out]))
                == code
            )
    assert read_torch(out / "checkpoint.pt")["step"] == 5
    assert main("--resume", out) == 0
    assert_same_run(out, along)


def test_a_second_interrupt_stops_at_once_and_leaves_the_checkpoint_good(
    whole, tmp_path, monkeypatch
):
    """The first comes in a step, the second while the step is saved. Handlers are put back."""
    out, fsync, sent, before = tmp_path / "run", os.fsync, [], signal.getsignal(signal.SIGINT)

    def interrupt(file=None):
        if len(sent) == (file is not None):
            sent.append("in the save" if file else "in a step")
            signal.raise_signal(signal.SIGINT)
        return file is None or fsync(file)

    at_step(monkeypatch, {4: lambda *_: interrupt()})
    monkeypatch.setattr(os, "fsync", lambda file: interrupt(file) if sent else fsync(file))
    assert main(*SHORT, "--out", out) == 130 and sent == ["in a step", "in the save"]
    assert read_torch(out / "checkpoint.pt")["step"] == 3
    assert signal.getsignal(signal.SIGINT) == before
    monkeypatch.undo()
    assert main("--resume", out) == 0
    assert_same_run(out, whole)


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "memory", "disk"])
def test_what_ends_a_resumed_run_while_it_loads_says_that_its_checkpoint_is_there(
    whole, tmp_path, monkeypatch, capsys, how
):
    out = shutil.copytree(whole, tmp_path / "my run")
    before = (out / "checkpoint.pt").read_bytes()
    faults = {
        "Ctrl-C": ("load_models", lambda *_, **__: signal.raise_signal(signal.SIGINT)),
        "SIGTERM": ("read_checkpoint", lambda *_: signal.raise_signal(signal.SIGTERM)),
        "memory": ("load_models", fail(torch.OutOfMemoryError("CUDA out of memory."))),
        "disk": ("write_json", fail(OSError(errno.ENOSPC, "No space left on device"))),
    }
    monkeypatch.setattr(support.runs.run, *faults[how])
    assert main("--resume", out, "--steps=9") in (2, 130, 143)
    error = capsys.readouterr().err
    goes_on = f"checkpoint.pt is as it was: python train.py --resume '{out}' goes on"
    assert goes_on in error and "nothing was saved" not in error
    assert (out / "checkpoint.pt").read_bytes() == before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no lost terminals here")
def test_a_lost_terminal_saves_the_step_unless_nohup_goes_on_without_one(whole, tmp_path):
    out = tmp_path / "run"
    earlier = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    process = start(*SHORT, "--save-every", "100", "--out", out)
    signal.signal(signal.SIGHUP, earlier)
    wait_for(process, lambda: lines(out) >= 2)
    process.send_signal(signal.SIGHUP)
    assert ended(process)[0] == 129
    assert read_torch(out / "checkpoint.pt")["step"] == lines(out) < 8
    process = subprocess.Popen(
        ["nohup", sys.executable, ROOT / "train.py", "--resume", out],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(process, lambda: lines(out) >= 6)
    process.send_signal(signal.SIGHUP)
    assert ended(process)[0] == 0
    assert_same_run(out, whole)


@pytest.mark.parametrize("where", ["elsewhere", None])
def test_a_directory_that_is_moved_or_deleted_is_one_line(
    whole, tmp_path, monkeypatch, capsys, where
):
    out = tmp_path / "run"

    def move(*_):
        shutil.move(out, tmp_path / where) if where else shutil.rmtree(out)

    at_step(monkeypatch, {4: move})
    assert main(*SHORT, "--out", out) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: stopped: {out} was moved or deleted; if it is elsewhere now")
    assert not out.exists()
    monkeypatch.undo()
    if where:
        assert main("--resume", tmp_path / where) == 0
        assert_same_run(tmp_path / where, whole)


def test_a_stop_in_the_last_step_stops_before_measuring(whole, tmp_path, monkeypatch):
    at_step(monkeypatch, {7: lambda *_: signal.raise_signal(signal.SIGTERM)})
    assert main(*SHORT, "--out", tmp_path / "run") == 143
    assert not (tmp_path / "run" / "eval.json").exists() and measured_at(tmp_path / "run") == [0]
    monkeypatch.undo()
    assert main("--resume", tmp_path / "run") == 0
    assert_same_run(tmp_path / "run", whole)


def test_a_run_can_grow_or_end_early_and_saving_more_often_changes_nothing(tmp_path, monkeypatch):
    a, b = tmp_path / "a", tmp_path / "b"
    assert main(*SHORT, "--steps", 4, "--out", a) == 0
    assert main("--resume", a) == 0  # a finished run stays as it is
    at_step(monkeypatch, {3: lambda *_: signal.raise_signal(signal.SIGINT)})
    assert main("--resume", a, "--steps", 100, "--save-every", 2) == 130
    monkeypatch.undo()
    assert read_torch(a / "checkpoint.pt")["step"] == 8
    assert json.loads((a / "config.json").read_text())["steps"] == 100
    assert main("--resume", a, "--steps", 7) == 2
    assert main("--resume", a, "--steps", 8) == 0
    assert main(*SHORT, "--save-every", 2, "--out", b) == 0
    assert_same_run(a, b)
    assert measured_at(a) == [0, 8] and json.loads((a / "config.json").read_text())["steps"] == 8


def test_a_checkpoint_that_is_kept_is_that_of_a_shorter_run(tmp_path):
    kept = tmp_path / "kept"
    assert main(*SHORT, "--steps", 5, "--keep-every", 2, "--save-every", 3, "--out", kept) == 0
    found = sorted(path.name for path in kept.glob("checkpoint*"))
    assert found == ["checkpoint-2.pt", "checkpoint-4.pt", "checkpoint.pt"]
    shorter = tmp_path / "shorter"
    assert main(*SHORT, "--steps", 2, "--out", shorter) == 0
    states = []
    for path in (kept / "checkpoint-2.pt", shorter / "checkpoint.pt"):
        states.append(read_torch(path) | {"lengths": None})
    torch.testing.assert_close(*states, rtol=0, atol=0)


@pytest.mark.parametrize(
    "options", [["--baseline", "ema"], ["--loss", "grpo", "--weight-decay", "0.1"]]
)
def test_what_else_has_a_state_goes_on_too(tmp_path, options):
    for name, steps in (("a", 6), ("b", 3)):
        assert main(*SHORT, *options, "--steps", steps, "--out", tmp_path / name) == 0
    assert main("--resume", tmp_path / "b", "--steps", 6, "--device", "cpu") == 0
    assert_same_run(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize(
    "fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
@pytest.mark.parametrize("call", range(3))
def test_at_every_instant_of_a_save_a_checkpoint_is_good(tmp_path, monkeypatch, fault, call):
    """A save may end as its file is opened, at its flush, or at its rename.

    In another order a crash would lose the checkpoint.
    """
    path, calls = tmp_path / "checkpoint.pt", []
    write_torch({"step": 1}, path)

    def failing(name, real):
        def called(*words):
            calls.append(name)
            if len(calls) == call + 1:
                raise fault
            return real(*words)

        return called

    monkeypatch.setattr(support.runs.files, "open", failing("open", open), raising=False)
    monkeypatch.setattr(os, "fsync", failing("fsync", os.fsync))
    monkeypatch.setattr(Path, "replace", failing("replace", Path.replace))
    with pytest.raises(type(fault)) as raised:
        write_torch({"step": 2}, path)
    assert raised.value is fault
    assert calls == ["open", "fsync", "replace"][: call + 1]
    assert read_torch(path) == {"step": 1}
    monkeypatch.undo()
    write_torch({"step": 3}, path)
    assert read_torch(path) == {"step": 3}
    assert [found.name for found in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_flipped_bytes_and_missing_ends_are_found(tmp_path):
    """Every flip in a tensor is found. A flip in the zip's own tables may do no harm.

    Then the model is the same.
    """
    path, rng, sound = tmp_path / "model.pt", random.Random(0), tiny(0)
    write_model(sound, path)
    data = path.read_bytes()
    refused = 0
    for place in [0, len(data) - 1, *(rng.randrange(len(data)) for _ in range(200))]:
        path.write_bytes(data[:place])
        with pytest.raises(ValueError, match="model.pt"):
            read_model(path)
        path.write_bytes(
            data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]
        )
        try:
            assert same(read_model(path), sound), place
        except ValueError as error:
            refused += "model.pt" in str(error)
    assert refused > 100
    weights = sound.embedding.weight.detach().numpy().tobytes()
    first = data.index(weights)
    for place in (first, first + len(weights) // 2, first + len(weights) - 1):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(ValueError, match="model.pt is .*damaged.* is not what was written"):
            read_model(path)


def test_everything_a_checkpoint_stands_for_is_on_the_disk_before_it(tmp_path, monkeypatch):
    """A kill just after a save must not find the logs shorter than the checkpoint says."""
    saved, synced, fsync = [], set(), os.fsync

    def recorded(senior, path, **more):
        for name, length in more.get("lengths", {}).items():
            file = path.with_name(name)
            saved.append((name, length))
            assert file.stat().st_size == length and file.stat().st_ino in synced
        synced.clear()
        write_model(senior, path, **more)

    monkeypatch.setattr(support.runs.run, "write_model", recorded)
    monkeypatch.setattr(os, "fsync", lambda file: synced.add(os.fstat(file).st_ino) or fsync(file))
    assert main(*SHORT, "--eval-every", 4, "--steps", 7, "--out", tmp_path / "run") == 0
    for log in ("metrics.jsonl", "evals.jsonl"):
        lengths = [length for name, length in saved if name == log]
        assert len(lengths) == 5
        assert lengths == sorted(lengths)
        # of steps 0, 3, 4, 6, 7
        assert lengths[0] < lengths[-1]


def test_what_was_half_written_is_dropped(whole, tmp_path):
    out = shutil.copytree(whole, tmp_path / "run")
    for name in ("metrics.jsonl", "evals.jsonl"):
        with (out / name).open("ab") as file:
            file.write(b'{"step": 8}\n{"st')
    (out / "eval.json").unlink()  # a finished run is measured again
    assert main("--resume", out) == 0
    assert_same_run(out, whole)


def test_a_second_process_on_a_directory_is_refused(whole, tmp_path):
    out = shutil.copytree(whole, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with FileLock(out / ".lock"):
        code, error = ended(start("--resume", out))
        assert code == 2 and "in use by another process" in error and "Traceback" not in error
        assert before == {path.name: path.read_bytes() for path in out.iterdir()}
    assert main("--resume", out) == 0  # the lock is free again
    with FileLock(out / ".lock", timeout=0):
        pass


@pytest.mark.parametrize("name", ["ENOSYS", "ENOLCK", "EOPNOTSUPP"])
def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, capsys, recwarn, name):
    """As network file systems are that were mounted without them."""
    monkeypatch.setattr(fcntl, "flock", fail(OSError(getattr(errno, name), "no locks")))
    assert main(*SHORT, "--steps=1", "--out", tmp_path / "run") == 0
    warned = capsys.readouterr().err + "".join(str(warning.message) for warning in recwarn)
    assert "without locks; start no second run" in warned or "flock" in warned
    assert main("--resume", tmp_path / "run", "--steps=2") == 0


def test_a_directory_that_cannot_be_claimed_is_not_left_behind(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(FileLock, "acquire", fail(OSError(errno.EPERM, "Not permitted")))
    for _ in range(2):
        assert main(*SHORT) == 2
        error = capsys.readouterr().err
        assert "runs/word can't be written to (Not permitted); give another --out" in error
    assert list(tmp_path.rglob("*")) == [tmp_path / "runs"]


def test_a_run_is_resumed_by_its_checkpoint_too(whole, tmp_path):
    out = shutil.copytree(whole, tmp_path / "run")
    assert main("--resume", out / "checkpoint.pt", "--steps=9") == 0
    assert len(metrics(out)) == 9 and sorted(os.listdir(out)) == sorted(os.listdir(whole))


def test_directories_for_many_runs_at_once_are_each_ones_own(tmp_path):
    begin, made = threading.Barrier(8), []

    def make():
        for n in range(20):
            begin.wait()
            made.append(new_directory(None, tmp_path / f"runs{n}" / "word"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(made) == len(set(made)) == 160


def test_runs_that_begin_at_once_get_a_directory_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    default = Path("runs/word")
    assert [new_directory(None, default) for _ in range(3)] == [
        default,
        Path("runs/word-2"),
        Path("runs/word-3"),
    ]
    (tmp_path / "gone").symlink_to(tmp_path / "unmounted" / "runs")
    # It doesn't look for another name for ever.
    with pytest.raises(UserError, match="can't be made"):
        new_directory(None, Path("gone") / "word")


@pytest.mark.parametrize("name", FILES)
def test_whatever_a_run_writes_is_never_overwritten(tmp_path, name, capsys):
    (tmp_path / name).write_text("precious")
    assert main(*SHORT, "--out", tmp_path) == 2 and "never overwritten" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"
    assert {
        "config.json",
        "metrics.jsonl",
        "evals.jsonl",
        "senior.pt",
        "junior.pt",
        "checkpoint.pt",
    } <= {*FILES}


def test_a_run_that_came_and_went_between_look_and_claim_is_not_overwritten(
    tmp_path, monkeypatch, capsys
):
    claim = Run.claim

    def other_was_faster(self):
        (self.directory / "metrics.jsonl").write_text("another's")
        claim(self)

    monkeypatch.setattr(Run, "claim", other_was_faster)
    assert main(*SHORT, "--out", tmp_path / "run") == 2
    assert "never overwritten" in capsys.readouterr().err
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == "another's"


def test_junior_self_is_a_frozen_copy(tokenizer, tmp_path):
    models, own = starting_models(train.Config(junior="self"))
    senior, junior = models.values()
    assert own.same_as(tokenizer) and same(senior, junior)
    addresses = [{p.data_ptr() for p in one.parameters()} for one in (senior, junior)]
    assert addresses[0].isdisjoint(addresses[1])
    with Run(train.Config(junior="self", out=str(tmp_path / "run"))) as begun:
        senior, junior, *_ = begun.load()
    assert all(p.requires_grad for p in senior.parameters())
    assert not any(p.requires_grad for p in junior.parameters())


def test_a_run_is_read_as_it_is_now_with_the_senior_that_it_began_with(whole):
    read = load_run(whole)
    assert same(read.before, load_model(ROOT / "data" / "senior.pt"))
    assert read.config.save_every == 3
    assert same(read.senior, load_model(whole / "checkpoint.pt"))
    assert not same(read.senior, read.before)
    assert same(read.junior, load_model(ROOT / "data" / "junior.pt"))


def test_a_model_that_moves_is_in_every_checkpoint(tmp_path, monkeypatch):
    """As a fork's junior, which is another one after every step."""
    restore = train.Run.restore
    update = train.update

    def with_moving_junior(run, senior, optimizer):
        run.moving.append("junior")
        restore(run, senior, optimizer)

    def then_moved(senior, junior, *rest):
        stats = update(senior, junior, *rest)
        junior.embedding.weight.data.mul_(1.01)
        return stats

    monkeypatch.setattr(train.Run, "restore", with_moving_junior)
    monkeypatch.setattr(train, "update", then_moved)
    whole, grown = tmp_path / "whole", tmp_path / "grown"
    options = [*SHORT, "--junior=self", "--schedule=step"]
    assert main(*options, "--steps=3", "--out", whole) == 0
    assert main(*options, "--steps=1", "--out", grown) == 0
    assert main("--resume", grown, "--steps=3") == 0
    assert_same_run(grown, whole)
    read = load_run(grown)
    assert same(read.junior, load_run(whole).junior)
    first = load_model(ROOT / "data" / "senior.pt")
    assert same(read.models_before["junior"], first)
    assert not same(read.junior, first)


def test_a_run_keeps_its_other_models_by_name(tmp_path):
    """A fork's option of this kind. The senior stays the only one that is trained."""

    @dataclass
    class Forked(train.Config):
        second: ModelPath | None = None

    path = ROOT / "data" / "junior.pt"
    with Run(Forked(second=str(path), out=str(tmp_path / "run"))) as run:
        run.load()
    assert list(run.models) == ["senior", "junior", "second"]
    assert same(run.models["second"], load_model(path))
    assert same(load_model(tmp_path / "run" / "second.pt"), load_model(path))
    assert not any(weight.requires_grad for weight in run.models["second"].parameters())
    memory_of_two = phases(GPTConfig(), GPTConfig(), Forked(second=str(path)))
    assert memory_of_two["rollout"]["second"] == 4 * parameters(load_model(path).config)


def test_a_full_disk_is_a_clear_end_and_the_last_checkpoint_stays_good(whole, tmp_path):
    """The checkpoint before the first step is smaller: the optimizer has no state yet."""
    out, most = tmp_path / "run", 3_000_000
    words = [sys.executable, ROOT / "train.py", *SHORT, "--out", out]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    done = subprocess.run(words, capture_output=True, text=True, check=False, preexec_fn=limit)
    error = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 2 and "Traceback" not in done.stderr and len(error) == 1
    assert "File too large" in error[0]
    assert "checkpoint.pt is of step 0" in error[0]
    assert f"--resume {out}" in error[0]
    assert not (out / "checkpoint.pt.partial").exists()
    assert main("--resume", out) == 0
    assert_same_run(out, whole)


@pytest.mark.parametrize(
    "fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
def test_a_run_that_ends_while_its_directory_is_made_says_what_can_be_done(
    tmp_path, monkeypatch, capsys, fault
):
    """Whatever is proposed works: nothing stands in the way of beginning again."""
    out, calls = tmp_path / "run", []

    def full(senior, path, **more):
        calls.append(path.name)
        if len(calls) == 2:
            raise fault
        write_model(senior, path, **more)

    monkeypatch.setattr(support.runs.run, "write_model", full)
    assert main(*SHORT, "--steps=1", "--out", out) in (2, 130) and len(calls) == 2
    error = capsys.readouterr().err
    monkeypatch.undo()
    assert (
        main(
            *(
                ["--resume", out]
                if f"--resume {out} begins again" in error
                else [*SHORT, "--out", out]
            )
        )
        == 0
    )


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug"), FileNotFoundError(errno.ENOENT, "No file"), ValueError()]
)
def test_a_bug_is_a_traceback(tmp_path, monkeypatch, error):
    at_step(monkeypatch, {1: fail(error)})
    with pytest.raises(type(error)):
        train.main([*SHORT, "--out", str(tmp_path / "run")])
    monkeypatch.undo()
    # the lock is free, the checkpoint good
    assert main("--resume", tmp_path / "run", "--steps=2") == 0


@pytest.mark.parametrize("where", ["senior's logits", "junior's logits", "gradient"])
def test_nan_is_found_within_its_step_and_the_last_checkpoint_is_good(
    whole, tmp_path, monkeypatch, capsys, where
):
    def poison(senior, junior, *_):
        spoiled = junior if "junior" in where else senior
        if "logits" in where:
            spoiled.blocks[1].mlp.down.weight.data[3, 5] = float("nan")
        else:
            spoiled.blocks[1].mlp.down.weight.register_hook(
                lambda gradient: gradient * float("nan")
            )

    at_step(monkeypatch, {4: poison}, "generate" if "logits" in where else "update")
    assert main(*SHORT, "--out", tmp_path / "run") == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(error) == 1 and f"the {where} " in error[0] and "not finite" in error[0]
    assert "checkpoint.pt is of step 3" in error[0] and len(metrics(tmp_path / "run")) == 4
    monkeypatch.undo()
    assert main("--resume", tmp_path / "run") == 0
    assert_same_run(tmp_path / "run", whole)


def test_weights_that_are_not_finite_are_never_saved(tmp_path, monkeypatch, capsys):
    explode = lambda senior, junior, optimizer, *_: optimizer.param_groups[0].update(
        weight_decay=float("inf")
    )
    at_step(monkeypatch, {5: explode})
    assert main(*SHORT, "--out", tmp_path / "run") == 2
    assert "the senior's weights are not finite" in (error := capsys.readouterr().err)
    assert "of step 3" in error


def test_a_gpu_without_memory_left_is_a_clear_end(tmp_path, monkeypatch, capsys):
    """In a step, and before there is a run."""
    monkeypatch.setattr(
        train,
        "policy_loss",
        fail(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GB")),
    )
    assert main(*SHORT, "--out", tmp_path / "run") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "--micro-batch-tokens" in error
    assert "--checkpoint-activations" in error
    assert "is of step 0" in error
    monkeypatch.setattr(
        support.runs.run, "starting_models", fail(torch.OutOfMemoryError("CUDA out of memory."))
    )
    assert main(*SHORT, "--out", tmp_path / "other") == 2
    error = capsys.readouterr().err
    assert "the GPU has too little memory" in error
    assert "nothing was written" in error
    assert error.count("\n") == 1


def test_an_export_is_not_forgotten_by_a_run_that_grew_and_was_stopped(tmp_path, monkeypatch):
    """The eval.json of its shorter self doesn't say that the export is done."""
    pytest.importorskip("safetensors")
    out, exported = tmp_path / "run", tmp_path / "exported"
    assert main(*SHORT, "--steps=1", "--out", out) == 0
    with monkeypatch.context() as patch:
        at_step(patch, {0: lambda *_: signal.raise_signal(signal.SIGINT)})
        assert main("--resume", out, "--steps=3", "--export", exported) == 130
        assert not exported.exists()
    assert main("--resume", out) == 0 and (exported / "model.safetensors").exists()
    assert main("--resume", out) == 0  # done, and not done again


@pytest.mark.parametrize(
    "load, threads, said", [(0.3, 2, False), (0.9, 2, False), (1.2, 2, True), (5.0, 1, False)]
)
def test_a_run_on_a_busy_machine_says_what_to_do(load, threads, said, monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert ("OMP_NUM_THREADS=1" in busy_hint()) == said
    monkeypatch.delattr(os, "getloadavg")
    assert busy_hint() == ""
