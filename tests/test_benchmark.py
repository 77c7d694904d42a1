"""The command `python rollout.py`: what it measures, and what it needs to show anything."""

import functools
import json
import math

import pytest

from support import show
from support.benchmark import benchmark


def test_the_benchmark_prints_its_measurements_as_json_or_as_a_table(monkeypatch, capsys):
    """Every number that users may rely on is there, positive and finite; how large it is depends on the machine."""
    monkeypatch.setattr(show, "benchmark", functools.partial(benchmark, small=True))
    show.main(["--benchmark", "--json", "--device", "cpu"])
    measured = json.loads(capsys.readouterr().out)
    names = """solo_tokens_per_second tandem_tokens_per_second tandem_over_solo_time tandem_over_own_forwards
    update_seconds update_mfu step_solo_seconds step_tandem_seconds matmul_gflops copy_gb_per_second
    decode_floor_milliseconds"""
    assert set(names.split()) <= measured.keys()
    assert all(math.isfinite(value) and value > 0 for value in measured.values())
    monkeypatch.setattr(show, "benchmark", lambda tokenizer, device: {"some_rate": 1234.5678})
    show.main(["--benchmark"])
    assert "| some rate |  1,234.568 |" in capsys.readouterr().out


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
