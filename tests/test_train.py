"""The run around the steps, and the command line as a user meets it."""

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch
from conftest import tiny

import compare
import evaluate
import rollout
import train
import trainer
from cli import UserError, field_docs, parse
from config import PRESET_HELP, PRESETS, Config
from data.problems import take
from model import load_model, save_model
from rollout import generate
from runs import completed, load_pair

ROOT = Path(__file__).parent.parent
SMALL = ["--steps", "2", "--prompts", "2", "--group-size", "4", "--eval-problems", "2", "--eval-samples", "1"]
METRICS = """step reward senior_fraction handoffs loss grad_norm entropy approx_kl clip_fraction zero_advantage_fraction
response_length truncated_fraction jargon_rate update_ratio_error skipped_updates seconds_rollout seconds_reward
seconds_update tokens_per_second""".split()


def test_a_run_in_bfloat16_keeps_its_junior_in_it_and_computes_the_same(tmp_path, monkeypatch, capsys):
    """As if the junior's weights were float32, and converted at every token; and with activations computed twice."""
    small, kinds = [*SMALL, "--precision=bfloat16"], []

    def spied(senior, junior, *rest):
        kinds.append((senior.head.weight.dtype, junior.head.weight.dtype, junior.embedding.weight.dtype))
        return evaluate.evaluate(senior, junior, *rest)

    monkeypatch.setattr(train, "evaluate", spied)
    train.main([*small, f"--out={tmp_path / 'run'}"])
    assert kinds == [(torch.float32, torch.bfloat16, torch.float32)] * 2
    kept, given = load_model(tmp_path / "run" / "junior.pt"), load_model(ROOT / "data" / "junior.pt")
    assert all(torch.equal(a, b) for a, b in zip(kept.parameters(), given.parameters(), strict=True))
    train.main([f"--resume={tmp_path / 'run'}", "--steps=3", "--checkpoint-activations"])
    assert kinds.pop()[1] == torch.bfloat16
    monkeypatch.setattr(trainer, "store_matrices", lambda *_: None)
    train.main([*small, "--steps=3", f"--out={tmp_path / 'float32'}"])
    assert without_timings(tmp_path / "run") == without_timings(tmp_path / "float32")
    both = [json.loads((tmp_path / name / "eval.json").read_text()) for name in ("run", "float32")]
    assert both[0]["before"] == both[1]["before"] and both[0]["after"] == both[1]["after"]


@pytest.fixture
def hopeless(tokenizer, tmp_path) -> list[str]:
    """Options of a short run whose pair solves nothing."""
    for name in ("senior", "junior"):
        save_model(tiny(0, vocab_size=tokenizer.vocab_size, max_seq_len=128), tmp_path / f"{name}.pt")
    small = ["--prompts=2", "--group-size=2", "--max-new-tokens=8", "--eval-problems=1", "--eval-samples=1"]
    return [
        f"--senior={tmp_path / 'senior.pt'}",
        f"--junior={tmp_path / 'junior.pt'}",
        f"--out={tmp_path / 'o'}",
        *small,
    ]


def test_a_run_without_signal_says_so_and_trains_nothing(hopeless, tmp_path, capsys):
    train.main([*hopeless, "--steps=5"])
    printed = capsys.readouterr().out
    assert printed.count("warning: no learning signal") == 1 and "all wrong" in printed and "--group-size" in printed
    rows = [json.loads(line) for line in (tmp_path / "o" / "metrics.jsonl").read_text().splitlines()]
    assert all(row["skipped_updates"] == 1 and row["zero_advantage_fraction"] == 1 for row in rows)
    before, after = load_model(tmp_path / "senior.pt"), load_model(tmp_path / "o" / "checkpoint.pt")
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))
    assert "all right" in train.no_signal(1.0) and "harder problems" in train.no_signal(1.0)


def without_timings(path: Path) -> list[dict]:
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if "second" not in k} for row in rows]


def run(*words, cwd=None) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=cwd, timeout=120, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """A shortened default run, started from another directory."""
    cwd = tmp_path_factory.mktemp("somewhere")
    return cwd / "runs" / "word", run(ROOT / "train.py", *SMALL, cwd=cwd)


def test_a_short_run_writes_and_prints_what_it_promises(finished):
    directory, done = finished
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1] and all(sorted(row) == sorted(METRICS) for row in rows)
    found = json.loads((directory / "eval.json").read_text())
    assert set(found) == {"before", "after", "problems", "samples", "config", "fingerprints"}
    assert found["config"] == json.loads((directory / "config.json").read_text())
    assert (found["problems"], found["samples"]) == (2, 1)
    for name in ("checkpoint.pt", "junior.pt", "samples.txt"):
        assert (directory / name).stat().st_size > 0
    assert "| handoff pass@1, step by step ↑" in done.stdout and "device: cpu" in done.stderr
    assert "loss is near 0 by construction" in done.stdout and "step    0" in done.stdout + done.stderr


def test_the_same_seed_gives_the_same_metrics_and_evaluating_changes_no_run(finished, tmp_path):
    directory, _ = finished
    again = run(ROOT / "train.py", *SMALL, "--out", tmp_path / "again", "--eval-problems=3")
    other = run(ROOT / "train.py", *SMALL, "--out", tmp_path / "other", "--seed=1")
    assert again.returncode == other.returncode == 0
    assert without_timings(tmp_path / "again") == without_timings(directory)
    assert without_timings(tmp_path / "other") != without_timings(directory)


def test_runs_can_be_compared_measured_again_and_shown(finished, tmp_path):
    directory, _ = finished
    for name, pair in (("solo", ()), ("self", ["--junior=self"])):
        solo = run(ROOT / "train.py", *SMALL, "--schedule", "solo", *pair, "--out", tmp_path / name)
        assert solo.returncode == 0, solo.stderr
    three = (directory, tmp_path / "solo", tmp_path / "self")
    compared = run(ROOT / "evaluate.py", *three, "--figure", tmp_path / "figure.png")
    header = [cell.strip() for cell in compared.stdout.splitlines()[0].split("|")[2:-1]]
    assert compared.returncode == 0 and header == ["before", "word (n=1)", "solo (n=1)", "before self", "self (n=1)"]
    assert "no figure" in compared.stderr or (tmp_path / "figure.png").stat().st_size > 10_000
    as_json = run(ROOT / "evaluate.py", "--json", directory, directory, "--figure", tmp_path / "figure.png")
    (row,), measured = json.loads(as_json.stdout), json.loads((directory / "eval.json").read_text())
    assert row["name"] == "word" and all(
        row[key] == measured[key] for key in ("before", "after", "problems", "samples")
    )
    again = run(ROOT / "evaluate.py", directory, "--problems=2", "--samples", "2", "--figure", tmp_path / "figure.png")
    assert again.returncode == 0 and "pass@2" in (directory / "eval-2x2-t0.7-p1-kall.json").read_text()
    shown = run(ROOT / "rollout.py", directory, "--samples=2")
    assert shown.returncode == 0 and shown.stdout.count("→ ") == 2 and "⟦" in shown.stdout
    asked = run(ROOT / "rollout.py", directory, "--prompt", "Ada has 5 hats. Ada buys 7 more. How many hats has Ada?")
    assert asked.returncode == 0 and asked.stdout.count("Ada has 5 hats") == 3


def test_a_run_on_problems_of_a_file_knows_no_jargon(tmp_path, capsys):
    rows = [{"question": p.question, "answer": p.answer} for p in take("train", 20, 0) + take("test", 4, 0)]
    (tmp_path / "some.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "run"
    train.main([*SMALL, "--data", str(tmp_path / "some.jsonl"), "--eval-problems=3", "--out", str(out)])
    assert "problems: 20 to train on, 3 of 4 to measure on" in capsys.readouterr().out
    found = json.loads((out / "eval.json").read_text())
    assert found["problems"] == 3 and found["before"]["jargon_rate"] is None and found["after"]["solo"]["pass@1"] >= 0
    assert all(row["jargon_rate"] is None for row in without_timings(out))
    figure = ["--figure", str(tmp_path / "x.png")]
    evaluate.main([str(out), "--problems=100", *figure])  # there are 4
    assert json.loads((out / "eval-4x1-t0.7-p1-kall.json").read_text())["problems"] == 4


def test_a_run_asks_in_its_template_wherever_it_asks(tmp_path, monkeypatch, capsys):
    seen, template = [], "Think. {question} Put the final answer in \\boxed{}."

    def recorded(senior, junior, prompts, *rest, **arguments):
        seen.extend(prompts)
        return generate(senior, junior, prompts, *rest, **arguments)

    monkeypatch.setattr(rollout, "generate", recorded)
    run = str(tmp_path / "run")
    train.main([*SMALL, "--max-new-tokens=20", f"--prompt-template={template}", "--out", run])
    evaluate.main([run, "--samples=4", "--figure", str(tmp_path / "x.png")])
    train.main(["--resume", run, "--steps=3"])
    train.main([*SMALL[2:], "--resume", run])  # finished
    *_, own = load_pair(tmp_path / "run")
    before, after = (own.encode(part) for part in ("Think.", " Put the final answer in \\boxed{}.\n\n"))
    shown = len(seen)
    rollout.main([run, "--prompt", "Ada has 5 hats. How many hats does Ada have?"])
    assert (
        seen[shown] == own.encode("Think. Ada has 5 hats. How many hats does Ada have?")[:-1] + own.encode("?") + after
    )
    assert len(seen) > 60 and all(p[: len(before)] == before and p[-len(after) :] == after for p in seen)
    with pytest.raises(SystemExit):
        train.main(["--resume", run, "--prompt-template={question}!"])
    assert "--prompt-template {question}! contradicts" in capsys.readouterr().err


def test_the_generated_worlds_longest_prompt_counts_the_template(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        train.main([*SMALL, "--prompt-template", "word " * 20 + "{question}"])
    error = capsys.readouterr().err
    assert "exceed the context of 128" in error and "of up to 60 " not in error


def test_zero_steps_measure_the_pair_once(tmp_path, monkeypatch, capsys):
    labels = []
    monkeypatch.setattr(train, "evaluate", lambda *given: labels.append(given[-1]) or evaluate.evaluate(*given))
    train.main([*SMALL, "--steps=0", f"--out={tmp_path / 'run'}"])
    found = json.loads((tmp_path / "run" / "eval.json").read_text())
    assert labels == ["before"] and found["before"] == found["after"]
    assert "before |    after |" in capsys.readouterr().out
    saved, given = load_model(tmp_path / "run" / "checkpoint.pt"), load_model(ROOT / "data" / "senior.pt")
    assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), given.parameters(), strict=True))
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == b""
    train.main([f"--resume={tmp_path / 'run'}", "--steps=1"])
    assert labels == ["before", "after"] and len(without_timings(tmp_path / "run")) == 1
    assert json.loads((tmp_path / "run" / "eval-step-0.json").read_text()) == found


def test_presets_are_options_that_the_command_line_overrides():
    for name, values in PRESETS.items():
        needed = {"senior": "model", "data": "some.jsonl"} if name in ("smollm2", "paper") else {}
        config = parse(Config, [f"--preset={name}", *(f"--{k}={v}" for k, v in needed.items())], "", completed)
        assert config.preset == name
        assert config.record() | values | needed == config.record()
    assert set(get_args(get_type_hints(Config)["preset"])) == set(PRESETS)
    assert parse(Config, [], "", completed) == Config() == parse(Config, ["--preset=laptop"], "", completed)
    words = "--preset paper --senior model --data some.jsonl --group-size 16 --checkpoint-activations false".split()
    config = parse(Config, words, "", completed)
    assert (config.group_size, config.checkpoint_activations, config.junior) == (16, False, "self")
    paper = (config.objective, config.clip, config.mini_batches, config.learning_rate, config.temperature)
    assert paper == ("grpo", 0.2, 2, 1e-6, 0.6) and config.normalize_std
    assert (config.prompts, config.max_new_tokens, config.max_prompt_tokens) == (16, 3000, 1024)
    assert "{question}" in config.prompt_template and "\\boxed{}" in config.prompt_template
    assert parse(Config, [*words, "--objective", "reinforce"], "", completed).clip is None


def test_a_preset_is_kept_with_its_values_and_resumed_from_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(PRESETS, "gpu", {"max_new_tokens": 20, "seed": 3})
    train.main([*SMALL, "--preset=gpu", "--seed=4", f"--out={tmp_path / 'run'}"])
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (saved["preset"], saved["max_new_tokens"], saved["seed"]) == ("gpu", 20, 4)
    monkeypatch.setitem(PRESETS, "gpu", {"max_new_tokens": 30})  # another version of the code
    train.main([f"--resume={tmp_path / 'run'}", "--preset=gpu"])
    assert json.loads((tmp_path / "run" / "config.json").read_text()) == saved


def test_a_figure_leaves_out_what_a_skipped_step_does_not_know(finished, tmp_path):
    pytest.importorskip("matplotlib")
    measures = json.loads((finished[0] / "eval.json").read_text())["after"] | {"jargon_rate": None}
    curve = {"reward": [0.5, None], "jargon_rate": [None, None]}
    run = compare.Run("a run", 0, {}, None, measures, 2, 1, curve, [], None)
    assert compare.draw_figure({"a run": [run]}, [tmp_path / "x.png"])


def test_bad_input_as_a_user_meets_it(finished, tmp_path):
    directory, _ = finished
    (tmp_path / "file").write_text("no directory")
    for words, name in [
        ([ROOT / "train.py", "--unknown"], "--unknown"),
        ([ROOT / "train.py", *SMALL, "--out", tmp_path / "file" / "run"], "file/run"),
        ([ROOT / "train.py", *SMALL, "--out", directory], "never overwritten"),
        ([ROOT / "train.py", "--pretrain", "--out", directory], "never overwritten"),
        ([ROOT / "evaluate.py", tmp_path], "eval.json"),
        ([ROOT / "evaluate.py", directory, "--temperature=nan"], "--temperature"),
        ([ROOT / "rollout.py", "--benchmarks"], "--benchmarks"),
        ([ROOT / "evaluate.py"], "runs"),
        ([ROOT / "rollout.py", tmp_path / "absent"], "config.json"),
        ([ROOT / "rollout.py", directory, "--prompt", "word " * 300], "--prompt"),
    ]:
        done = run(*words, cwd=tmp_path)
        assert done.returncode == 2 and "Traceback" not in done.stderr, words
        lines = [line for line in done.stderr.splitlines() if not line.startswith("device:")]
        assert len(lines) == 1 and name in lines[0], (words, done.stderr)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_figure_that_cannot_be_written_is_a_users_mistake(finished, tmp_path):
    pytest.importorskip("matplotlib")
    for path in (tmp_path / "absent" / "x.png", tmp_path / "x.abacus"):
        done = run(ROOT / "evaluate.py", finished[0], "--figure", path)
        assert done.returncode == 2 and "Traceback" not in done.stderr and "--figure" in done.stderr


def test_without_matplotlib_the_table_is_all_there_is(finished, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # an import of it fails
    evaluate.main([str(finished[0]), "--figure", str(tmp_path / "x.png")])
    printed = capsys.readouterr()
    assert "solo pass@1" in printed.out and "pip install matplotlib" in printed.err and not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "script, options", [("train", Config), ("evaluate", compare.Options), ("rollout", rollout.Options)]
)
def test_help_explains_every_option(script, options):
    done = run(ROOT / f"{script}.py", "--help")
    shown = " ".join(done.stdout.split())
    assert done.returncode == 0
    for field in fields(options):
        assert field.name in shown or f"--{field.name.replace('_', '-')}" in shown
        assert field_docs(options)[field.name] in shown
    assert script != "train" or (
        PRESET_HELP in done.stdout and all(f"\n    {name} " in PRESET_HELP for name in PRESETS)
    )


def test_options_take_both_spellings_and_bare_booleans():
    config = parse(Config, ["--p_senior=0.3", "--group-size", "4", "--normalize_std", "--pretrain=false"], "")
    assert (config.p_senior, config.group_size, config.normalize_std, config.pretrain) == (0.3, 4, True, False)
    with pytest.raises(UserError, match="--p-senior"):
        parse(Config, ["--p-senio=0.3"], "")


def test_a_gpu_too_small_for_the_models_ends_in_one_line(monkeypatch, capsys):
    """Before there is a run, too: in training, evaluating and showing alike."""

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(train, "set_up", full)
    with pytest.raises(SystemExit) as stopped:
        train.main(SMALL)
    error = capsys.readouterr().err
    assert (
        stopped.value.code == 2 and error.startswith("error: the GPU has too little memory") and error.count("\n") == 1
    )


def test_a_file_of_problems_takes_the_place_of_a_presets_world():
    words = ["--preset=gpu", "--data=some.jsonl"]
    assert (
        parse(Config, words, "", completed).world == "jargon"
        and parse(Config, words[:1], "", completed).world == "hard"
    )
