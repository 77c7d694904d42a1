"""A run's numbers in TensorBoard and Weights & Biases, which are pretended here."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch.utils
from test_run import at_step
from test_train import SMALL, main

import train

FOUR = [*SMALL, "--steps=4", "--save-every=2", "--eval-every=2"]


class Writer:
    """TensorBoard's SummaryWriter. `shown` is what TensorBoard shows of a directory."""

    shown: ClassVar[dict[str, dict]] = {}

    def __init__(self, directory: str, purge_step: int):
        self.numbers = self.shown.setdefault(directory, {})
        for name, step in list(self.numbers):
            if step >= purge_step:
                del self.numbers[name, step]

    def add_scalar(self, name: str, number: float, step: int) -> None:
        assert isinstance(number, int | float)
        self.numbers[name, step] = number

    def close(self) -> None:
        pass


class PretendedWandb:
    """A run keeps the first numbers of a step, and takes no step before its last."""

    def __init__(self):
        self.runs = {}
        self.begun = []
        self.ended = 0

    def init(self, *, id: str, resume: str, **about) -> SimpleNamespace:
        assert resume == "allow"
        self.begun.append(about | {"id": id})
        numbers = self.runs.setdefault(id, {})

        def log(new: dict, step: int) -> None:
            last = max((step for _, step in numbers), default=0)
            if step >= last:
                for name, number in new.items():
                    numbers.setdefault((name, step), number)

        return SimpleNamespace(log=log, finish=self.finish)

    def finish(self) -> None:
        self.ended += 1


@pytest.fixture
def tensorboard(monkeypatch) -> dict[str, dict]:
    module = SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setattr(torch.utils, "tensorboard", module, raising=False)
    monkeypatch.setattr(Writer, "shown", {})
    return Writer.shown


@pytest.fixture
def wandb(monkeypatch) -> PretendedWandb:
    module = PretendedWandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def logged(out: Path) -> dict:
    """The numbers of a run's own logs, as a sink gets them."""
    numbers = {}
    for line in (out / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        step = row.pop("step")
        for name, value in row.items():
            if value is not None:
                numbers[f"train/{name}", step] = value
    for line in (out / "evals.jsonl").read_text().splitlines():
        row = json.loads(line)
        numbers["eval/handoff/pass@1", row["step"]] = row["handoff"]["pass@1"]
        numbers["eval/drift/kl", row["step"]] = row["drift"]["kl"]
    return numbers


def without_times(numbers: dict) -> dict:
    return {key: value for key, value in numbers.items() if "second" not in key[0]}


def end_in_step_3(monkeypatch, out: Path, *words) -> None:
    """As a kill does: step 2 is in the logs, and in no checkpoint."""

    def killed(*_):
        raise SystemExit(137)

    with monkeypatch.context() as patch:
        at_step(patch, {3: killed})
        assert main(*FOUR, *words, "--out", out) == 137


def assert_all_there(found: dict, out: Path) -> None:
    expected = logged(out)
    assert {key: found.get(key) for key in expected} == expected
    assert {step for _, step in found} == {0, 1, 2, 3, 4}


def test_tensorboard_shows_the_numbers_of_the_logs_also_of_a_resumed_run(
    tensorboard, tmp_path, monkeypatch
):
    out = tmp_path / "run"
    end_in_step_3(monkeypatch, out, "--log=tensorboard")
    found = tensorboard[str(out / "tensorboard")]
    assert ("train/reward", 2) in found
    assert main("--resume", out) == 0
    assert_all_there(found, out)


def test_a_resumed_run_is_one_run_of_wandb(wandb, tmp_path, monkeypatch):
    out = tmp_path / "run"
    end_in_step_3(monkeypatch, out, "--log=wandb")
    assert main("--resume", out) == 0
    first, second = wandb.begun
    assert first["id"] == second["id"]
    assert first["name"] == "run"
    assert first["config"]["schedule"] == "word"
    assert wandb.ended == 2
    found = wandb.runs[first["id"]]
    expected = without_times(logged(out))  # the times of a step that is taken again are the first
    assert {key: found.get(key) for key in expected} == expected
    # Another run has another id. --log may begin with a resumed run.
    other = tmp_path / "other"
    assert main(*SMALL, "--out", other) == 0
    assert main("--resume", other, "--steps=3", "--log=wandb") == 0
    assert len(wandb.runs) == 2


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_is_one_line_before_anything_is_written(
    name, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, f"torch.utils.{name}", None)
    monkeypatch.delattr(torch.utils, name, raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    assert main(*SMALL, f"--log={name}", "--out", tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"pip install {name}" in error
    assert list(tmp_path.iterdir()) == []


def test_a_sink_of_a_fork_gets_every_line(tmp_path, monkeypatch):
    found = {}
    load = train.Run.load

    def sink(step: int, numbers: dict) -> None:
        for name, number in numbers.items():
            found[name, step] = number

    def with_sink(run):
        run.sinks.append(sink)
        return load(run)

    monkeypatch.setattr(train.Run, "load", with_sink)
    out = tmp_path / "run"
    assert main(*FOUR, "--out", out) == 0
    assert_all_there(found, out)
