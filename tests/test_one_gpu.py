"""`bash results/gpu.sh`: parts in processes of their own, and the table of their numbers."""

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from pretended_gpu import pretended_gpu, to_gpu

from model import GPT
from results import gpu, gpu_parts, tables
from results.gpu_parts import GPU_PARTS, TINY
from support import fast_engine

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def settings(monkeypatch):
    """A part has a process of its own, and changes these."""
    monkeypatch.setattr(fast_engine, "GRAPHS", False)
    cudnn = torch.backends.cuda.cudnn_sdp_enabled()
    yield
    torch.backends.cuda.enable_cudnn_sdp(cudnn)


def program(text: str) -> list[str]:
    """The words of a command that runs this Python."""
    return [sys.executable, "-c", text]


DEVICE = (program('print(\'{"name": "a card", "torch": "2"}\')'), 30)
GOOD = (program("print('loading')\nprint('{\"a\": 1}')\nprint('bye')"), 30)


def test_a_part_that_fails_or_hangs_stops_no_other(tmp_path, capsys):
    """A hanging part's own processes end too, also those that it put into the background."""
    noted = tmp_path / "pid"
    child = f"import os, time; open({str(noted)!r}, 'w').write(str(os.getpid())); time.sleep(99)"
    hang = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}])"
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    commands = {
        "device": DEVICE,
        "raises": (program("print('{}')\nraise MemoryError('no room')"), 30),
        "mistaken": (program("raise SystemExit('error: no such card')"), 30),
        "hangs": (program(f"{hang}; time.sleep(99)"), 3),
        "killed": (program(killed), 30),
        "silent": (program("pass"), 30),
        "good": GOOD,
    }
    started = time.perf_counter()
    gpu.record_parts(commands, tmp_path / "gpu.json")
    assert time.perf_counter() - started < 30
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert record["device"] == {"name": "a card", "torch": "2"}
    seconds = {name: numbers.pop("seconds") for name, numbers in record["parts"].items()}
    assert record["parts"] == {
        "raises": {"failed": "MemoryError: no room"},
        "mistaken": {"failed": "no such card"},
        "hangs": {"failed": "not done after 3 s"},
        "killed": {"failed": "ended by signal 9"},
        "silent": {"failed": "it said nothing"},
        "good": {"a": 1},
    }
    assert 3 <= seconds["hangs"] < 10
    assert "gpu: hangs, at most 3 s" in capsys.readouterr().err
    with pytest.raises(ProcessLookupError):
        os.kill(int(noted.read_text()), 0)


def test_the_numbers_are_written_after_each_part(tmp_path):
    path = tmp_path / "gpu.json"
    look = f"import pathlib; print(pathlib.Path({str(path)!r}).read_text().replace('\\n', ''))"
    gpu.record_parts({"device": DEVICE, "good": GOOD, "looks": (program(look), 30)}, path)
    assert json.loads(path.read_text())["parts"]["looks"]["parts"]["good"]["a"] == 1


def test_parts_of_the_same_device_are_kept(tmp_path):
    """But for those that failed."""
    path = tmp_path / "gpu.json"
    for name, kept in (("a card", True), ("another", False)):
        parts = {"good": {"a": 7}, "bad": {"failed": "why"}}
        path.write_text(json.dumps({"device": {"name": name, "torch": "2"}, "parts": parts}))
        gpu.record_parts({"device": DEVICE, "good": GOOD, "bad": GOOD}, path)
        record = json.loads(path.read_text())
        assert record["device"]["name"] == "a card"
        assert record["parts"]["good"]["a"] == (7 if kept else 1)
        assert record["parts"]["bad"]["a"] == 1


def test_without_a_gpu_one_line_says_so(tmp_path, capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SystemExit):
        gpu.main([str(tmp_path / "gpu.json")])
    assert "--device cuda can't be used on this machine" in capsys.readouterr().err
    assert not (tmp_path / "gpu.json").exists()


@pytest.mark.parametrize("driver", ["580.65\n", None])
def test_a_gpu_is_described_with_or_without_nvidia_smi(monkeypatch, driver):
    def nvidia_smi(*_, **__):
        if driver is None:
            raise FileNotFoundError("nvidia-smi")
        return subprocess.CompletedProcess([], 0, driver, "")

    card = SimpleNamespace(name="NVIDIA H200", total_memory=150 * 10**9, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    monkeypatch.setattr(gpu_parts.subprocess, "run", nvidia_smi)
    measure, _ = GPU_PARTS["device"]
    found = measure(torch.device("cuda", 0), TINY)
    assert (found["name"], found["memory_gb"]) == ("NVIDIA H200", 150)
    assert found["compute_capability"] == "9.0"
    assert found.get("driver") == (driver and "580.65")


def test_all_parts_take_at_most_eight_minutes():
    assert sum(limit for _, limit in GPU_PARTS.values()) < 480
    assert next(iter(GPU_PARTS)) == "device"
    assert set(GPU_PARTS) == set(tables.GPU_ROWS) | {"device"}


def test_the_parts_that_need_no_process_measure_on_a_cpu():
    """Every number is there, positive and finite."""
    found = {}
    for name in ("device", "smollm2", "launches", "graphs", "rows", "attention"):
        measure, _ = GPU_PARTS[name]
        found |= measure(CPU, TINY)
    assert found["name"] == "CPU" and found["equal_tokens_share"] == 1.0
    assert found["tandem_operators_a_step"] > 1.5 * found["solo_operators_a_step"]
    rollout, update = found["solo_rollout_seconds"], found["solo_update_seconds"]
    assert found["solo_step_seconds"] == rollout + update
    assert found["tandem_rollout_computed_gb"] > found["solo_rollout_computed_gb"]
    numbers = [value for value in found.values() if isinstance(value, float)]
    assert len(numbers) > 25
    assert all(math.isfinite(value) and value > 0 for value in numbers)


def test_the_parts_run_on_a_pretended_gpu(monkeypatch):
    """Times and memory mean nothing there."""
    for name in ("synchronize", "reset_peak_memory_stats", "set_sync_debug_mode"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda *_: 10**9)
    monkeypatch.setattr(GPT, "to", lambda model, _: to_gpu(model))
    monkeypatch.setattr(gpu_parts, "traced", lambda task, _: (task().tokens.shape[1], 1.0))
    recorded = []

    def record_graph(step):
        filled = []
        recorded.append(filled)
        return lambda: filled.__setitem__(slice(None), step()), filled

    monkeypatch.setattr(fast_engine, "record_graph", record_graph)
    scale = replace(TINY, shape=replace(TINY.shape, n_layers=1), few=4, tokens=4, rows=(8,))
    found = {}
    with pretended_gpu():
        for name in ("smollm2", "launches", "rows", "attention", "graphs"):
            measure, _ = GPU_PARTS[name]
            found |= measure(torch.device("cuda", 0), scale)
    computed = found["solo_update_computed_gb"]
    assert found["solo_update_peak_over_computed"] == pytest.approx(1 / computed)
    assert found["tandem_launches_a_step"] == 1 and found["tandem_host_waits_of_4_tokens"] == 0
    assert found["equal_tokens_share"] == 1.0
    assert len(recorded) == 2  # of the four rollouts of `graphs`


def test_two_processes_of_one_gpu_are_refused_in_one_line(monkeypatch):
    said = "error: every process needs a GPU, and there are 1; give torchrun --nproc_per_node=1\n"
    refused = subprocess.CompletedProcess([], 1, "", f"W1130 a warning\n{said}a summary\n=====\n")
    monkeypatch.setattr(gpu_parts.subprocess, "run", lambda *_, **__: refused)
    measure, _ = GPU_PARTS["processes"]
    found = measure(CPU, TINY)
    assert found == {"possible": False, "said": said.strip().removeprefix("error: ")}
    refused.stderr = "torch.OutOfMemoryError: CUDA out of memory.\n"
    with pytest.raises(ValueError, match="out of memory"):
        measure(CPU, TINY)


def test_a_run_of_train_gives_its_medians(monkeypatch):
    """Of a run that a stand-in for train.py leaves behind."""

    def train(words, **_):
        folder = words[words.index("--out") + 1]
        assert words[words.index("--device") + 1] == "cpu" and "--steps" in words
        with open(f"{folder}/metrics.jsonl", "w") as file:
            for n in (1, 2, 9):
                print(json.dumps(dict.fromkeys(gpu_parts.OF_A_STEP, n)), file=file)
        with open(f"{folder}/eval.json", "w") as file:
            measures = {"solo": {"pass@1": 0.5}, "handoff": {"pass@1": 0.25}}
            json.dump({"after": measures}, file)
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(gpu_parts.subprocess, "run", train)
    measure, _ = GPU_PARTS["default_run"]
    found = measure(CPU, TINY)
    assert found.pop("wall_seconds") > 0
    assert found == dict.fromkeys(gpu_parts.OF_A_STEP, 2) | {
        "solo_after": 0.5,
        "handoff_after": 0.25,
    }


def test_the_table_shows_the_numbers_and_the_failures(tmp_path):
    path = tmp_path / "gpu.json"
    assert tables.gpu_table(path) == "not measured"
    parts = {
        "default_run": {"wall_seconds": 61.25, "tokens_per_second": 12345.6, "seconds": 62},
        "smollm2": {"failed": "CUDA out of memory | 1 GB", "seconds": 9},
        "rows": {"tokens_per_second_rows_8": 987.0, "tokens_per_second_rows_512": 0.0123456},
        "processes": {"possible": False, "said": "every process needs a GPU"},
    }
    path.write_text(json.dumps({"device": {"name": "H200", "torch": "2.13"}, "parts": parts}))
    head, rule, *rows = tables.gpu_table(path).splitlines()
    assert head == "| | H200, torch 2.13 |" and rule == "| --- | ---: |"
    assert rows == [
        "| the default run, s | 61.2 |",
        "| new tokens a second of a step | 12,346 |",
        "| `benchmark` failed: it didn't run | - |",
        "| `smollm2` failed: CUDA out of memory / 1 GB | - |",
        "| `launches` failed: it didn't run | - |",
        "| `graphs` failed: it didn't run | - |",
        "| new tokens a second, tandem, 8 rows | 987 |",
        "| new tokens a second, tandem, 512 rows | 0.0123 |",
        "| `attention` failed: it didn't run | - |",
        "| `torchrun --nproc_per_node=2` | every process needs a GPU |",
    ]


def test_the_page_says_whether_a_gpu_has_measured_anything():
    measured = (tables.FOLDER / "gpu.json").exists()
    text = (tables.FOLDER / "README.md").read_text(encoding="utf-8")
    assert measured == ("No GPU has measured this version yet." not in text)
