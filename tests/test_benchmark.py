"""The command `python rollout.py`: what it measures, and what it needs to show anything."""

import functools
import json
import math
from dataclasses import replace

import pytest
import torch
from pretended_gpu import pretended_gpu, to_gpu

from support.reports import show
from support.reports.benchmark import SMOLLM2, benchmark, on_gpu


def test_the_benchmark_prints_its_measurements_as_json_or_as_a_table(monkeypatch, capsys, tmp_path):
    """Every number that users may rely on is there, positive and finite."""
    monkeypatch.setattr(show, "benchmark", functools.partial(benchmark, small=True))
    show.main(["--benchmark", "--json", "--device", "cpu"])
    measured = json.loads(capsys.readouterr().out)
    names = """
        solo_tokens_per_second tandem_tokens_per_second tandem_over_solo_time
        tandem_over_own_forwards update_seconds update_mfu step_solo_seconds step_tandem_seconds
        matmul_gflops copy_gb_per_second decode_floor_milliseconds tokens_per_second_rows_4
        tokens_per_second_length_8
    """
    assert set(names.split()) <= measured.keys()
    assert all(math.isfinite(value) and value > 0 for value in measured.values())
    fixed = {"some_rate": 1234.5678, "parameters": 869504, "update_seconds": 0.25}
    for n in (8, 32):
        fixed |= {f"tokens_per_second_rows_{n}": n, f"tokens_per_second_length_{n}": n}
    monkeypatch.setattr(show, "benchmark", lambda tokenizer, device: fixed)
    show.main(["--benchmark"])
    table = {}
    for line in capsys.readouterr().out.splitlines():
        name, number, unit = [cell.strip() for cell in line.split("|")[1:-1]]
        table[name] = (number, unit)
    assert table["some rate"] == ("1,234.568", "")
    assert table["parameters"] == ("869,504", "")  # a count is no fraction
    assert table["update seconds"] == ("0.250", "s")
    assert table["tokens per second rows 8"] == ("8", "tokens/s")
    pytest.importorskip("matplotlib")
    show.main(["--benchmark", "--figure", str(tmp_path / "speed.svg")])
    assert "<svg" in (tmp_path / "speed.svg").read_text()


def test_the_work_on_a_gpu_runs_on_a_pretended_one(monkeypatch):
    """Times mean nothing there; a GPU counts the waits itself."""
    for name in ("synchronize", "max_memory_allocated", "set_sync_debug_mode"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: 0)
    monkeypatch.setattr("support.reports.benchmark.GPT.to", lambda model, _: to_gpu(model))
    shape = replace(SMOLLM2, n_layers=1, d_model=48, d_ff=32, vocab_size=64)
    with pretended_gpu():
        found = on_gpu(torch.device("cuda", 0), shape, 1, 4)
    assert found["bfloat16_tandem_tokens_per_second"] > 0
    assert found["bfloat16_waits_of_a_rollout"] == 0


@pytest.mark.parametrize(
    "arguments, remedy",
    [
        ([], "--benchmark"),
        (["run", "--samples", "0"], "--samples"),
        (["absent"], "absent/config.json"),
        (["--benchmark", "--device", "abacus"], "--device cpu"),
    ],
)
def test_what_cannot_be_shown_is_said_in_one_line(arguments, remedy, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        show.main(arguments)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and len(error.splitlines()) == 1 and remedy in error
