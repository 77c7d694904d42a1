"""Nothing is lost: checkpoint files, killed and stopped runs, faults of the machine and of the numbers."""

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import tiny

import checkpoint
import compare
import evaluate
import rollout
import train
import trainer
from checkpoint import read
from cli import Terminated, UserError
from data.problems import deal, take
from model import load_model, save_model
from runs import A_RUN, claimed, continued, finishing_first, last_checkpoint, load_pair, new_directory, read_state

ROOT = Path(__file__).parent.parent
SHORT = "--steps 8 --prompts 4 --group-size 4 --save-every 3 --eval-problems 2 --eval-samples 1 --warmup 2".split()


def run(*words) -> subprocess.Popen:
    words = [sys.executable, ROOT / "train.py", *words]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def code_of(process: subprocess.Popen) -> int:
    """Its exit code; what it prints is read meanwhile, or a full pipe would stop it."""
    out, error = process.communicate(timeout=300)
    print(out, error)  # shown if the test fails
    return process.returncode


def main(*words) -> int:
    """The command in this process; its exit code."""
    try:
        train.main([*map(str, words)])
    except SystemExit as end:
        return end.code
    return 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    process = run(*SHORT, "--out", out)
    assert code_of(process) == 0
    return out


def metrics(directory: Path) -> list[dict]:
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if "second" not in name} for line in lines]


def equal(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


def assert_same_run(a: Path, b: Path) -> None:
    """To the bit: weights, optimizer, counters, metrics, samples, measurements. Timings and `out` aside."""
    states, results = [], []
    for directory in (a, b):
        state, result = read(directory / "checkpoint.pt"), json.loads((directory / "eval.json").read_text())
        for config in (state["options"], result["config"]):
            del config["out"], config["save_every"]
        states.append(state | {"lengths": None})
        results.append(result)
    assert metrics(a) == metrics(b)
    assert [row["step"] for row in metrics(a)] == list(range(states[0]["step"]))
    assert [key for key in states[0] if not equal(states[0][key], states[1][key])] == []
    assert results[0] == results[1]
    assert (a / "samples.txt").read_text() == (b / "samples.txt").read_text()


def begin_or_resume(out: Path) -> subprocess.Popen:
    return run("--resume", out) if (out / "config.json").exists() else run(*SHORT, "--out", out)


def wait_for(process: subprocess.Popen, condition) -> None:
    while process.poll() is None and not condition():
        time.sleep(0.0005)


def lines(out: Path) -> int:
    with contextlib.suppress(OSError):
        return (out / "metrics.jsonl").read_bytes().count(b"\n")
    return 0


def end_at(moment: str, process: subprocess.Popen, out: Path, rng: random.Random, number=signal.SIGKILL) -> int:
    """Send a signal while a step is taken, while a checkpoint is being written, or at any time; the exit code."""
    written = lines(out)
    if moment == "saving":
        wait_for(process, lambda: lines(out) > written and (out / "checkpoint.pt.partial").exists())
    elif moment == "stepping":
        wait_for(process, lambda: lines(out) >= written + 1 + rng.randrange(3))
    else:
        wait_for(process, (out / "config.json").exists)
        time.sleep(rng.uniform(0, 3))
    process.send_signal(number)
    process.communicate()
    return process.returncode


def test_a_run_that_is_killed_again_and_again_is_the_same_run(whole, tmp_path):
    out, rng = tmp_path / "run", random.Random(0)
    for moment in ("stepping", "saving", "whenever"):
        assert end_at(moment, begin_or_resume(out), out, rng) == -signal.SIGKILL
        if (last := last_checkpoint(out)) is not None:
            assert read_state(last)["step"] <= lines(out)
    process = begin_or_resume(out)
    assert code_of(process) == 0
    assert_same_run(out, whole)


@pytest.mark.slow
def test_a_longer_run_that_is_ended_in_every_way_is_the_same_run(tmp_path):
    """At least 20 kills and some SIGTERMs and SIGINTs, a few steps apart, at random moments and during saves."""
    longer, whole, out, rng = (
        ["--steps", "150", "--save-every", "2"],
        tmp_path / "whole",
        tmp_path / "run",
        random.Random(1),
    )
    assert code_of(run(*SHORT, *longer, "--out", whole)) == 0
    codes = []
    for i in range(30):
        process = run("--resume", out) if out.exists() else run(*SHORT, *longer, "--out", out)
        number = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[i % 6]
        codes.append(end_at(rng.choice(("stepping", "saving", "whenever")), process, out, rng, number))
    assert codes.count(-signal.SIGKILL) >= 20 and {130, 143} <= set(codes) and 0 not in codes, codes
    assert code_of(run("--resume", out)) == 0
    assert_same_run(out, whole)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_saves_says_how_to_go_on_and_is_the_same_run(whole, tmp_path, number, code):
    out = tmp_path / "run"
    process = run(*SHORT, "--out", out)
    wait_for(process, lambda: lines(out) >= 2)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code and f"--resume {out}" in error and "Traceback" not in error
    assert read(out / "checkpoint.pt")["step"] == lines(out) < 8  # nothing is lost, though 3 steps lie between saves
    assert main("--resume", out) == 0
    assert_same_run(out, whole)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_while_measuring_it_says_how_to_go_on(whole, tmp_path, number, code):
    out = tmp_path / "run"
    process = run(*SHORT, "--eval-problems", "2000", "--out", out)
    wait_for(process, (out / "junior.pt").exists)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code and f"--resume {out}" in error and "Traceback" not in error
    assert lines(out) == 0


def test_what_is_measured_along_the_way_is_neither_lost_nor_there_twice(tmp_path, monkeypatch):
    """Killed after a measurement that no checkpoint stands for, and stopped by hand."""
    small, step = [*SHORT, "--steps", 6, "--eval-every", 2, "--max-new-tokens", 12], trainer.Trainer.step
    assert main(*small, "--out", tmp_path / "whole") == 0
    for number, fault in ((0, OSError(28, "No space")), (4, OSError(28, "No space")), (3, KeyboardInterrupt())):

        def ended(self, at, number=number, fault=fault):
            if at == number:
                raise fault
            return step(self, at)

        monkeypatch.setattr(trainer.Trainer, "step", ended)
        where = ["--resume", tmp_path / "run"] if (tmp_path / "run").exists() else [*small, "--out", tmp_path / "run"]
        assert main(*where) in (2, 130)
    monkeypatch.setattr(trainer.Trainer, "step", step)
    assert main("--resume", tmp_path / "run") == 0
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    written = (tmp_path / "whole" / "measures.jsonl").read_text()
    assert [json.loads(line)["step"] for line in written.splitlines()] == [0, 2, 4, 6]
    assert (tmp_path / "run" / "measures.jsonl").read_text() == written


def test_a_second_interrupt_stops_at_once_and_leaves_the_checkpoint_good(whole, tmp_path, monkeypatch):
    """The first comes in a step, the second while its consequence is being saved."""
    out, step, fsync = tmp_path / "run", trainer.Trainer.step, os.fsync
    sent = []

    def interrupted_step(self, number):
        if number == 4:
            sent.append("in a step")
            signal.raise_signal(signal.SIGINT)
        return step(self, number)

    def interrupted_fsync(file):
        if len(sent) == 1:
            sent.append("in the save")
            signal.raise_signal(signal.SIGINT)
        fsync(file)

    monkeypatch.setattr(trainer.Trainer, "step", interrupted_step)
    monkeypatch.setattr(checkpoint.os, "fsync", interrupted_fsync)
    assert main(*SHORT, "--out", out) == 130 and len(sent) == 2
    assert read(out / "checkpoint.pt")["step"] == 3
    monkeypatch.undo()
    assert main("--resume", out) == 0
    assert_same_run(out, whole)


def test_the_first_interrupt_is_kept_the_second_raised_and_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), finishing_first() as asked:
        signal.raise_signal(signal.SIGTERM)
        assert asked == [Terminated]
    with pytest.raises(KeyboardInterrupt), finishing_first():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not reached")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_run_can_grow_and_saving_more_often_changes_nothing(tmp_path):
    assert main(*SHORT, "--steps", 4, "--out", tmp_path / "a") == 0
    for _ in range(2):  # as many steps as there are is no contradiction
        assert main("--resume", tmp_path / "a", "--steps", 7, "--save-every", 2) == 0
    assert main(*SHORT, "--steps", 7, "--save-every", 2, "--out", tmp_path / "b") == 0
    (tmp_path / "a" / "samples.txt").write_text((tmp_path / "b" / "samples.txt").read_text())  # shown at other steps
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert json.loads((tmp_path / "a" / "config.json").read_text())["steps"] == 7


@pytest.mark.parametrize("options", [["--baseline", "ema"], ["--objective", "grpo"], ["--data"]])
def test_what_else_has_a_state_goes_on_too(tmp_path, options):
    if options == ["--data"]:
        rows = [
            json.dumps({"question": p.question, "answer": p.answer}) for p in take("train", 30, 0) + take("test", 3, 0)
        ]
        (tmp_path / "data.jsonl").write_text("\n".join(rows))
        options = ["--data", tmp_path / "data.jsonl"]
    for name, steps in (("a", 8), ("b", 4)):
        assert main(*SHORT, *options, "--steps", steps, "--save-every", 4, "--out", tmp_path / name) == 0
    assert main("--resume", tmp_path / "b", "--steps", 8) == 0
    (tmp_path / "b" / "samples.txt").write_text((tmp_path / "a" / "samples.txt").read_text())
    assert_same_run(tmp_path / "a", tmp_path / "b")


def test_a_finished_run_that_is_resumed_is_measured_again_and_stays_as_it_is(whole, tmp_path):
    out = copied(whole, tmp_path / "run")
    (out / "eval.json").unlink()
    assert main("--resume", out) == 0
    assert_same_run(out, whole)


def test_a_run_of_an_earlier_version_is_measured_shown_and_resumed(whole, tmp_path, monkeypatch, capsys):
    """It knew fewer options, didn't measure along the way, and kept no fingerprint of its senior."""
    monkeypatch.setattr(compare, "draw_figure", lambda *_: False)
    older = set("eval_every precision rollout_rows export checkpoint_activations world max_prompt_tokens".split())
    out = copied(whole, tmp_path / "run")
    for name in ("config.json", "eval.json"):
        content = json.loads((out / name).read_text())
        options = content.get("config", content)
        for option in older:
            del options[option]
        content.pop("fingerprints", None)
        (out / name).write_text(json.dumps(content))
    state = read(out / "checkpoint.pt")
    state["options"] = {name: value for name, value in state["options"].items() if name not in older}
    del state["lengths"]["measures.jsonl"], state["fingerprints"]["senior"]
    checkpoint.write(state, out / "checkpoint.pt")
    (out / "measures.jsonl").unlink()
    for words in ([], ["--problems=3"]):
        evaluate.main([str(out), *words])
    rollout.main([str(out), "--samples=1"])
    capsys.readouterr()
    assert main("--resume", out, "--steps", 9) == 0
    assert main(*SHORT, "--steps", 9, "--out", tmp_path / "new") == 0
    assert metrics(out) == metrics(tmp_path / "new")
    (a, b) = (json.loads((path / "eval.json").read_text()) for path in (out, tmp_path / "new"))
    assert a["after"] == b["after"] and "senior" not in a["fingerprints"]
    del state["lengths"]["metrics.jsonl"]  # nothing ever was without
    checkpoint.write(state, out / "checkpoint.pt")
    assert main("--resume", out) == 2 and "no state of a run" in capsys.readouterr().err


def copied(directory: Path, to: Path) -> Path:
    to.mkdir()
    for path in directory.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_a_kill_between_the_two_renames_of_a_save_loses_nothing(whole, tmp_path):
    """There is no checkpoint.pt then, only the one before it."""
    out = copied(whole, tmp_path / "run")
    (out / "checkpoint.pt").rename(out / "checkpoint.pt.partial")
    assert main("--resume", out) == 0
    assert_same_run(out, whole)


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("call", range(3))
def test_at_every_instant_of_a_save_a_checkpoint_is_good(tmp_path, monkeypatch, fault, call):
    """A save that ends at its flush, at its first or at its second rename."""
    path, previous, calls = tmp_path / "checkpoint.pt", tmp_path / "previous.pt", []
    for step in range(2):
        checkpoint.write({"step": step}, path, previous)

    def failing(real):
        def called(*words):
            calls.append(words)
            if len(calls) == call + 1:
                raise fault
            return real(*words)

        return called

    monkeypatch.setattr(checkpoint.os, "fsync", failing(os.fsync))
    monkeypatch.setattr(Path, "replace", failing(Path.replace))
    with pytest.raises(type(fault)):
        checkpoint.write({"step": 2}, path, previous)
    assert len(calls) == call + 1
    assert read(last_checkpoint(tmp_path))["step"] == 1
    monkeypatch.undo()
    checkpoint.write({"step": 3}, path, previous)
    assert read(path)["step"] == 3 and not (tmp_path / "checkpoint.pt.partial").exists()


def test_every_flipped_byte_and_every_missing_end_is_found(tmp_path):
    path, rng = tmp_path / "model.pt", random.Random(0)
    save_model(tiny(0), path)
    data = path.read_bytes()
    places = [0, len(data) - 1, len(data) - 64, len(data) - 65, *(rng.randrange(len(data)) for _ in range(200))]
    for place in places:
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :])
        with pytest.raises(ValueError, match="SHA-256"):
            load_model(path)
        path.write_bytes(data[:place])
        with pytest.raises(ValueError, match="SHA-256"):
            load_model(path)
    path.write_bytes(data)
    load_model(path)


def test_a_checkpoint_is_an_ordinary_torch_file_too(tmp_path):
    save_model(tiny(0), tmp_path / "model.pt", step=3)
    assert torch.load(tmp_path / "model.pt", weights_only=True)["step"] == 3


def test_a_damaged_checkpoint_is_refused_and_the_one_before_it_offered(whole, tmp_path, capsys):
    out = copied(whole, tmp_path / "run")
    data = bytearray((out / "checkpoint.pt").read_bytes())
    data[len(data) // 2] ^= 4
    (out / "checkpoint.pt").write_bytes(data)
    assert main("--resume", out) == 2
    error = capsys.readouterr().err
    offer = f"mv {out / 'previous.pt'} {out / 'checkpoint.pt'}"
    assert "checkpoint.pt is damaged" in error and "step 6" in error and offer in error
    subprocess.run(offer.split(), check=True)
    assert main("--resume", out) == 0
    (out / "previous.pt").write_bytes((whole / "previous.pt").read_bytes())
    assert_same_run(out, whole)
    for name in ("checkpoint.pt", "previous.pt"):
        (out / name).write_bytes(data)
    assert main("--resume", out) == 2 and "no good one before it" in capsys.readouterr().err


def test_what_was_half_written_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 0}\n{"step": 1}\n{"st')
    with continued(path, 12) as file:
        file.write(b'{"step": 1, "again": true}\n')
        assert file.tell() == 39
    assert path.read_bytes() == b'{"step": 0}\n{"step": 1, "again": true}\n'


def test_a_second_process_on_a_directory_is_refused(whole, tmp_path):
    out = copied(whole, tmp_path / "run")
    with claimed(out):
        before = {path.name: path.read_bytes() for path in out.iterdir()}
        process = run("--resume", out)
        _, error = process.communicate(timeout=60)
        assert process.returncode == 2 and "in use by another process" in error and "Traceback" not in error
        assert before == {path.name: path.read_bytes() for path in out.iterdir()}
    with claimed(out):
        pass  # the lock is free again


def test_runs_that_begin_at_once_get_a_directory_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    default = Path("runs/word")
    assert [new_directory(None, default) for _ in range(3)] == [default, Path("runs/word-2"), Path("runs/word-3")]


def test_a_link_to_nowhere_is_no_reason_to_look_for_another_name_for_ever(tmp_path):
    (tmp_path / "runs").symlink_to(tmp_path / "unmounted" / "runs")
    with pytest.raises(UserError, match="can't be made"):
        new_directory(None, tmp_path / "runs" / "word")


@pytest.mark.parametrize("name", [*A_RUN, "metrics.jsonl", "samples.txt", "eval.json", "junior.pt", "previous.pt"])
def test_whatever_a_run_writes_is_never_overwritten(tmp_path, name, capsys):
    (tmp_path / name).write_text("precious")
    assert main(*SHORT, "--out", tmp_path) == 2 and "never overwritten" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "precious"


def test_a_run_that_came_and_went_between_look_and_claim_is_not_overwritten(tmp_path, monkeypatch, capsys):
    def other_was_faster(path):
        (path / "metrics.jsonl").write_text("another's")
        return claimed(path)

    monkeypatch.setattr(train, "claimed", other_was_faster)
    assert main(*SHORT, "--out", tmp_path / "run") == 2 and "never overwritten" in capsys.readouterr().err
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == "another's"


def test_everything_a_checkpoint_stands_for_is_on_the_disk_before_it(tmp_path, monkeypatch):
    """A kill just after a save must not find the metrics or samples shorter than the checkpoint says."""
    saved, synced = [], set()
    save, fsync = train.save_model, os.fsync

    def recorded(model, path, previous=None, **more):
        for name, length in more.get("lengths", {}).items():
            file = path.with_name(name)
            saved.append(length)
            assert file.stat().st_size == length and file.stat().st_ino in synced
        synced.clear()
        save(model, path, previous, **more)

    monkeypatch.setattr(train, "save_model", recorded)
    monkeypatch.setattr(train.os, "fsync", lambda file: synced.add(os.fstat(file).st_ino) or fsync(file))
    assert main(*SHORT, "--eval-every", 4, "--out", tmp_path / "run") == 0
    assert len(saved) == 12 and all(last > first for first, last in zip(saved[3:6], saved[9:], strict=True))


def test_a_run_that_grows_keeps_what_was_measured_before(tmp_path, monkeypatch):
    """Stopped on the way, its eval.json would be of a senior that is no more."""
    out = tmp_path / "run"
    assert main(*SHORT, "--steps", 2, "--out", out) == 0
    measured = (out / "eval.json").read_text()
    monkeypatch.setattr(trainer.Trainer, "step", lambda *_: signal.raise_signal(signal.SIGINT) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main("--resume", out, "--steps", 4)
    assert not (out / "eval.json").exists() and (out / "eval-step-2.json").read_text() == measured


def test_a_stop_after_the_last_step_stops(tmp_path, monkeypatch):
    save = train.save_model

    def stopped(*words, **more):
        save(*words, **more)
        if more.get("step") == 2:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(train, "save_model", stopped)
    assert main(*SHORT, "--steps", 2, "--out", tmp_path / "run") == 143
    assert not (tmp_path / "run" / "eval.json").exists()


def test_problems_may_have_moved_but_not_changed(tmp_path, monkeypatch, capsys):
    """--data is relative to where the run began; what counts is what is in the file."""
    rows = [json.dumps({"question": p.question, "answer": p.answer}) for p in take("train", 9, 0) + take("test", 3, 0)]
    (tmp_path / "data.jsonl").write_text("\n".join(rows))
    monkeypatch.chdir(tmp_path)
    assert main(*SHORT, "--steps", 2, "--data", "data.jsonl", "--out", tmp_path / "run") == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert (
        main("--resume", tmp_path / "run", "--steps", 3) == 2 and "data.jsonl can't be read" in capsys.readouterr().err
    )
    assert main("--resume", tmp_path / "run", "--steps", 3, "--data", "../data.jsonl") == 0
    (tmp_path / "data.jsonl").write_text("\n".join(rows[1:]))
    assert main("--resume", "../run") == 2 and "--data is not what it was" in capsys.readouterr().err


def test_faults_are_counted_on_when_a_run_is_resumed(tmp_path, monkeypatch, capsys):
    inject(monkeypatch, "gradient", [2, 3, 4])
    stop = trainer.Trainer.step

    def stopped(self, number):
        done = stop(self, number)
        if number == 3:
            signal.raise_signal(signal.SIGINT)
        return done

    monkeypatch.setattr(trainer.Trainer, "step", stopped)
    options = ["--on-nonfinite", "skip", "--objective", "grpo", "--mini-batches", "1"]
    assert main(*SHORT, *options, "--out", tmp_path / "run") == 130
    capsys.readouterr()
    assert main("--resume", tmp_path / "run") == 2
    assert "step 4" in (error := capsys.readouterr().err) and "third time in a row" in error


def test_a_rollout_that_fails_skips_all_updates_of_its_step(tmp_path, monkeypatch):
    inject(monkeypatch, "logit", [1])
    options = ["--steps", 2, "--on-nonfinite", "skip", "--objective", "grpo"]
    assert main(*SHORT, *options, "--out", tmp_path / "run") == 0
    assert metrics(tmp_path / "run")[1]["skipped_updates"] == 2


def test_what_is_shown_of_a_run_between_the_renames_of_a_save_is_its_previous_checkpoint(whole, tmp_path):
    out = copied(whole, tmp_path / "run")
    (out / "checkpoint.pt").unlink()
    _, senior, _, _ = load_pair(out)
    before = load_model(whole / "previous.pt")
    assert all(torch.equal(a, b) for a, b in zip(senior.parameters(), before.parameters(), strict=True))


@pytest.mark.parametrize("words", [[], ["--resume"]])
def test_a_run_whose_checkpoint_is_damaged_while_it_runs_still_ends_clearly(
    whole, tmp_path, monkeypatch, capsys, words
):
    out = copied(whole, tmp_path / "run") if words else tmp_path / "run"

    def full(self, step):
        (out / "checkpoint.pt").write_text("?")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trainer.Trainer, "step", full)
    assert main(*(["--resume", out, "--steps", 9] if words else [*SHORT, "--out", out])) == 2
    error = capsys.readouterr().err
    assert ("previous.pt, of step" if words else "nothing was saved yet") in error and "No space left" in error


def test_streams_that_are_closed_narrow_or_end_early_are_no_traceback(tmp_path):
    small = " ".join([*SHORT, "--steps 1", f"--out {tmp_path}"])
    train_py = f"{sys.executable} {ROOT / 'train.py'} {small}"
    for words, codes in [
        (f"{train_py}/a >&-", {0}),
        (f"{train_py}/b 2>&-", {0}),
        (f"LC_ALL=C PYTHONUTF8=0 PYTHONIOENCODING=ascii {train_py}/c", {0}),
        (f"{train_py}/d | true; exit ${{PIPESTATUS[0]}}", {0, 141}),
        (f"{sys.executable} {ROOT / 'train.py'} --help | true; exit ${{PIPESTATUS[0]}}", {0, 141}),
        (f"{sys.executable} {ROOT / 'reward.py'} 4 4 | true; exit ${{PIPESTATUS[0]}}", {0, 141}),
    ]:
        done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode in codes and "Traceback" not in done.stderr, (words, done)


def test_a_full_disk_is_a_clear_end_and_the_last_checkpoint_stays_good(whole, tmp_path):
    """The checkpoint before the first step is smaller: the optimizer has no state yet."""
    out, most = tmp_path / "run", 3_000_000
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", *SHORT, "--out", out],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )
    error = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 2 and "Traceback" not in done.stderr and len(error) == 1
    assert "File too large" in error[0] and "checkpoint.pt, of step 0" in error[0] and f"--resume {out}" in error[0]
    assert not (out / "checkpoint.pt.partial").exists()
    assert main("--resume", out) == 0
    assert_same_run(out, whole)


def inject(monkeypatch, where: str, steps) -> None:
    """A NaN into a weight, a gradient or a logit of the senior (or the junior), in these steps."""
    step = trainer.Trainer.step

    def poisoned(self, number):
        if number not in steps:
            return step(self, number)
        model = self.junior if "junior" in where else self.senior
        weight, handles = model.blocks[1].mlp.down.weight, []
        if "weight" in where:
            kept = weight.detach().clone()
            weight.data[3, 5] = float("nan")
        elif where == "gradient":
            handles = [weight.register_hook(lambda gradient: gradient * float("nan"))]
        else:

            def logit(module, inputs, logits):
                if not torch.is_grad_enabled():
                    logits.view(-1, logits.shape[-1])[0, 7] = float("nan")

            handles = [model.head.register_forward_hook(logit)]
        try:
            return step(self, number)
        finally:
            for handle in handles:
                handle.remove()
            if "weight" in where:
                weight.data.copy_(kept)

    monkeypatch.setattr(trainer.Trainer, "step", poisoned)


@pytest.mark.parametrize(
    "where, quantity",
    [
        ("weight", "the senior's logits are not finite"),
        ("logit", "the senior's logits are not finite"),
        ("junior's weight", "the junior's logits are not finite"),
        ("gradient", "the gradient is not finite"),
    ],
)
def test_nan_is_found_within_its_step_and_the_last_checkpoint_is_good(
    whole, tmp_path, monkeypatch, capsys, where, quantity
):
    inject(monkeypatch, where, [4])
    assert main(*SHORT, "--out", tmp_path / "run") == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(error) == 1 and f"step 4: {quantity}" in error[0] and "checkpoint.pt, of step 3" in error[0]
    assert len(metrics(tmp_path / "run")) == 4
    monkeypatch.undo()
    assert main("--resume", tmp_path / "run") == 0
    assert_same_run(tmp_path / "run", whole)


def test_a_loss_that_is_not_finite_is_named(tmp_path, monkeypatch, capsys):
    policy_loss = trainer.policy_loss

    def infinite(*words, **named):
        loss, stats = policy_loss(*words, **named)
        return loss * float("inf"), stats

    monkeypatch.setattr(trainer, "policy_loss", infinite)
    assert main(*SHORT, "--out", tmp_path / "run") == 2
    assert "step 0: the loss is not finite" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["gradient", "logit"])
def test_a_fault_can_be_skipped_but_not_three_in_a_row(tmp_path, monkeypatch, capsys, where):
    inject(monkeypatch, where, [2, 4, 5])
    assert main(*SHORT, "--on-nonfinite", "skip", "--out", tmp_path / "run") == 0
    rows = metrics(tmp_path / "run")
    assert [row["step"] for row in rows] == list(range(8))
    assert [row["skipped_updates"] for row in rows] == [0, 0, 1, 0, 1, 1, 0, 0]
    assert (rows[2]["reward"] is None) == (where == "logit") and rows[3]["loss"] is not None
    assert capsys.readouterr().err.count("the update is dropped") == 3
    monkeypatch.undo()
    inject(monkeypatch, where, [3, 4, 5])
    assert main(*SHORT, "--on-nonfinite", "skip", "--out", tmp_path / "stops") == 2
    assert "step 5" in (error := capsys.readouterr().err) and "third time in a row" in error


def test_a_gpu_without_memory_left_is_a_clear_end(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(trainer, "objective", full)
    assert main(*SHORT, "--out", tmp_path / "run") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "--micro-tokens" in error and "--checkpoint-activations" in error and "of step 0" in error


def test_weights_that_are_not_finite_are_never_saved(tmp_path, monkeypatch, capsys):
    update = trainer.Trainer.update

    def exploding(self, batch, step):
        done = update(self, batch, step)
        if step == 5:
            self.senior.norm.weight.data[0] = float("inf")
        return done

    monkeypatch.setattr(trainer.Trainer, "update", exploding)
    assert main(*SHORT, "--out", tmp_path / "run") == 2
    assert "the senior's weights are not finite" in (error := capsys.readouterr().err) and "of step 3" in error


def test_a_step_deals_the_next_problems_and_another_seed_others():
    cards = take("train", 10, 0)
    dealt = [problem for step in range(6) for problem in deal(cards, 5, 0, step)]
    assert dealt[:10] != dealt[10:20] != dealt[20:] and deal(cards, 5, 0, 3) == dealt[15:20] != deal(cards, 5, 1, 3)
