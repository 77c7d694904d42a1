"""The command `python rollout.py`: what it measures, and what it needs to show anything."""

import functools
import json
import math
import os
import sys
from dataclasses import replace

import pytest
import torch
from pretended_gpu import pretended_gpu, to_gpu

import engine
import rollout
from data.tokenizer import load_tokenizer
from model import GPT, GPTConfig
from support.reports import show
from support.reports.benchmark import (
    SMOLLM2,
    benchmark,
    count_parameters,
    decode_floor,
    draw_speed,
    on_gpu,
    plain_engine,
    speed_curves,
)

TINY = {"rows": (2, 4), "lengths": (2, 8), "enough": 0.0}
POINTS = ("rows_2", "rows_4", "length_2", "length_8")


@pytest.fixture
def less_work(monkeypatch):
    monkeypatch.setattr(show, "benchmark", functools.partial(benchmark, small=True))
    monkeypatch.setattr(show, "speed_curves", functools.partial(speed_curves, **TINY))


def test_the_benchmark_prints_its_measurements_as_json(less_work, capsys):
    """Every number that users may rely on is there, positive and finite."""
    show.main(["--benchmark", "--json", "--device", "cpu"])
    measured = json.loads(capsys.readouterr().out)
    names = """
        solo_tokens_per_second tandem_tokens_per_second tandem_over_solo_time
        tandem_over_own_forwards update_seconds update_mfu step_solo_seconds step_tandem_seconds
        matmul_gflops copy_gb_per_second decode_floor_milliseconds
    """
    assert set(names.split()) <= measured.keys()
    machine = measured.pop("machine")
    assert f"{os.cpu_count()} cores" in machine and f"torch {torch.__version__}" in machine
    assert all(math.isfinite(value) and value > 0 for value in measured.values())
    assert not any("rows" in name for name in measured)


def test_a_figure_is_drawn_of_measurements_that_are_printed_too(less_work, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "speed.svg"
    show.main(["--benchmark", "--json", "--figure", str(path), "--device", "cpu"])
    measured = json.loads(capsys.readouterr().out)
    for line in ("floor", "fast", "plain"):
        for point in POINTS:
            speed = measured[f"{line}_tokens_per_second_{point}"]
            assert math.isfinite(speed) and speed > 0
    drawn = path.read_text()
    labels = ["fast engine", "plain engine", "at the floor"]
    labels += ["rows of a rollout", "new tokens of a row"]
    for text in labels:
        assert f"<!-- {text} -->" in drawn
    draw_speed(measured, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text() == drawn


def test_a_figure_without_matplotlib_is_refused_before_minutes_of_work(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setattr(show, "benchmark", lambda *_: pytest.fail("it was measured"))
    with pytest.raises(SystemExit):
        show.main(["--benchmark", "--figure", "speed.svg", "--device", "cpu"])
    assert "--figure is drawn by matplotlib, which isn't" in capsys.readouterr().err


def test_the_benchmark_prints_its_measurements_as_a_table(monkeypatch, capsys):
    fixed = {"some_rate": 1234.5678, "parameters": 869504, "update_seconds": 0.25}
    fixed["fast_tokens_per_second_rows_8"] = 8
    monkeypatch.setattr(show, "benchmark", lambda tokenizer, device: fixed)
    show.main(["--benchmark"])
    machine, empty, *lines = capsys.readouterr().out.splitlines()
    assert "torch" in machine and empty == ""
    table = {}
    for line in lines:
        name, number, unit = [cell.strip() for cell in line.split("|")[1:-1]]
        table[name] = (number, unit)
    assert table["some rate"] == ("1,234.568", "")
    assert table["parameters"] == ("869,504", "")  # a count is no fraction
    assert table["update seconds"] == ("0.250", "s")
    assert table["fast tokens per second rows 8"] == ("8", "tokens/s")


def test_the_floor_at_a_known_shape():
    """Two layers of width 4, one key head of 2 numbers. Worked out by hand."""
    shape = GPTConfig(10, 2, 2, 1, 2, 4, 8, max_seq_len=16)
    weights = 10 * 4 + 2 * (4 * 4 + 2 * 4 * 2 + 4 * 4 + 3 * 4 * 8 + 2 * 4) + 4
    model = GPT(shape)
    assert count_parameters(model) == weights
    prompts = [[1, 2, 3], [4]]
    T = 6
    products = 2 * weights * 2  # a product and a sum a weight, for two rows
    in_caches = 3 + 3 + 1 + 3  # tokens, halfway: the prompts and half of each response
    numbers = weights + in_caches * 2 * 2 * 2  # keys and values, layers, numbers of a head
    floor = decode_floor(model, prompts, T, rate=1e6, bandwidth=1e5)
    assert floor == pytest.approx(products / 1e6 + 4 * numbers / 1e5)


def test_the_floor_of_a_curve_is_that_of_both_models():
    """At rates that measure nothing: a FLOP a nanosecond, a byte a nanosecond."""
    rates = {"matmul_gflops": 1.0, "copy_gb_per_second": 1.0}
    speeds = speed_curves(load_tokenizer(), torch.device("cpu"), rates, **TINY)
    weights = 869504
    for point, rows, T in zip(POINTS, (2, 4, 2, 2), (2, 2, 2, 8), strict=True):
        in_caches = rows * (24 + T / 2)  # the first prompts have 24 tokens
        numbers = weights + in_caches * 2 * 4 * 4 * 32  # keys, values; layers; heads; their width
        nanoseconds = 2 * (2 * weights * rows + 4 * numbers)
        assert speeds[f"floor_tokens_per_second_{point}"] == pytest.approx(rows * 1e9 / nanoseconds)


@pytest.fixture
def prefills(monkeypatch):
    """The engine and the number of rows of every prefill."""
    noted = []

    def note(module, name: str) -> None:
        prefill = module.prefill

        def noting(models, prompts, *rest):
            assert len(models) == 2  # tandem
            noted.append((name, len(prompts), rest[0]))
            return prefill(models, prompts, *rest)

        monkeypatch.setattr(module, "prefill", noting)

    note(engine, "plain")
    note(rollout, "fast")
    return noted


def test_both_engines_are_measured_at_every_point(prefills):
    rates = {"matmul_gflops": 1.0, "copy_gb_per_second": 1.0}
    speed_curves(load_tokenizer(), torch.device("cpu"), rates, **TINY)
    expected = []
    for rows, T in ((2, 2), (4, 2), (2, 8)):  # the first is a point of both curves
        expected += [("fast", rows, T), ("plain", rows, T)]
    assert prefills == expected


def test_the_engines_take_turns_until_a_point_took_long_enough(prefills, monkeypatch):
    """The median counts, so one slow moment doesn't."""
    seconds = iter([4, 9, 1, 5, 3, 6, 8, 7])  # fast, plain, fast, plain, …

    def timed(task, device) -> float:
        task()
        return next(seconds)

    monkeypatch.setattr("support.reports.benchmark.timed", timed)
    rates = {"matmul_gflops": 1.0, "copy_gb_per_second": 1.0}
    tokenizer = load_tokenizer()
    found = speed_curves(tokenizer, torch.device("cpu"), rates, (4,), (2, 6), enough=7)
    assert [name for name, *_ in prefills] == ["fast", "plain"] * 4
    for point in ("rows_4", "length_2"):
        assert found[f"fast_tokens_per_second_{point}"] == 4 * 2 / 3
        assert found[f"plain_tokens_per_second_{point}"] == 4 * 2 / 6
    assert found["fast_tokens_per_second_length_6"] == 4 * 6 / 8
    assert found["plain_tokens_per_second_length_6"] == 4 * 6 / 7


def test_the_plain_engine_reads_only_within_its_context(monkeypatch):
    fast = (rollout.prefill, rollout.reading)
    with plain_engine():
        assert (rollout.prefill, rollout.reading) == (engine.prefill, engine.reading)
    assert (rollout.prefill, rollout.reading) == fast

    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "prefill", broken)
    rates = {"matmul_gflops": 1.0, "copy_gb_per_second": 1.0}
    with pytest.raises(KeyboardInterrupt):
        speed_curves(load_tokenizer(), torch.device("cpu"), rates, **TINY)
    assert (rollout.prefill, rollout.reading) == fast


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
