"""A run with another's options: --like. (--resume is test_run's.)"""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from test_train import SMALL, main, write_problems

from support.runs.earlier import earlier_options
from support.runs.options import UserError, parse
from train import Config

ROOT = Path(__file__).parent.parent


def config_of(directory: Path) -> dict:
    return json.loads((directory / "config.json").read_text())


def written(directory: Path, *words: str) -> Path:
    """A directory with the options of a run that was started with these words."""
    directory.mkdir()
    options = vars(parse(Config, words, "")) | {"resume": None, "like": None}
    (directory / "config.json").write_text(json.dumps(options))
    return directory


def parsed(*words) -> Config:
    return parse(Config, [str(word) for word in words], "", partial(earlier_options, Config))


def test_a_run_like_another_has_its_options_but_for_those_given(tmp_path):
    out = tmp_path / "run"
    assert main(*SMALL, "--p-senior=0.4", "--save-every=1", "--out", out) == 0
    other = tmp_path / "other"
    assert main("--like", out, "--seed=1", "--schedule=solo", "--out", other) == 0
    changed = {"seed": 1, "schedule": "solo", "out": str(other)}
    assert config_of(other) == config_of(out) | changed
    assert (other / "eval.json").exists()
    assert main("--resume", other) == 0  # it stands for itself


def test_a_default_follows_from_the_options_of_the_new_run(tmp_path):
    word = written(tmp_path / "word", "--steps=9")
    assert parsed("--like", word, "--loss=grpo") == Config(steps=9, loss="grpo", like=str(word))
    grpo = written(tmp_path / "grpo", "--loss=grpo", "--clip=0.2")
    found = parsed("--like", grpo, "--loss=reinforce")
    assert (found.clip, found.mini_batches, found.normalize_std) == (None, 1, False)
    other_world = parsed("--like", word, "--world=phrasings")
    assert other_world.max_new_tokens == Config(world="phrasings").max_new_tokens
    # Another value was a choice, and stays.
    chosen = written(tmp_path / "chosen", "--loss=grpo", "--clip=0.1", "--max-new-tokens=20")
    found = parsed("--like", chosen, "--world=phrasings")
    assert (found.clip, found.max_new_tokens) == (0.1, 20)
    with pytest.raises(UserError, match="--clip belongs to --loss grpo"):
        parsed("--like", chosen, "--loss=reinforce")


def test_names_of_the_other_run_are_not_taken_over_and_mistakes_are_one_line(tmp_path):
    words = ("--out=a", "--export=b", "--device=cpu", "--save-every=7")
    found = parsed("--like", written(tmp_path / "run", *words))
    assert (found.out, found.export, found.device, found.save_every) == (None, None, "cpu", 7)
    with pytest.raises(UserError, match="--resume goes on with a run, --like begins another"):
        parsed("--like", tmp_path / "run", "--resume", tmp_path / "run")
    with pytest.raises(UserError, match="absent/config.json"):
        parsed("--like", tmp_path / "absent")
    fork = tmp_path / "fork"
    fork.mkdir()
    options = config_of(tmp_path / "run") | {"colour": "red"}
    (fork / "config.json").write_text(json.dumps(options))
    with pytest.raises(UserError, match="colour"):
        parsed("--like", fork)


def test_problems_that_are_gone_are_read_from_the_copy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_problems(Path("data.jsonl"), "train", 20)
    write_problems(Path("test.jsonl"), "test", 4)
    words = [*SMALL, "--data=data.jsonl", "--test-data=test.jsonl"]
    assert main(*words, "--steps=0", "--out=run") == 0
    assert parsed("--like=run").data == "data.jsonl"  # one group with it
    Path("data.jsonl").unlink()
    found = parsed("--like=run")
    assert (found.data, found.test_data) == ("run/data.jsonl", "test.jsonl")
    assert main("--like=run", "--seed=1", "--out=other") == 0


def test_the_line_of_the_first_page_trains_several_seeds(tmp_path):
    """As it stands there, with another number of steps."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith("for seed in")]
    assert main(*SMALL, "--out", tmp_path / "runs" / "word") == 0
    line = line.replace("python train.py", f"{sys.executable} {ROOT / 'train.py'}")
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    runs = sorted((tmp_path / "runs").iterdir())
    assert [config_of(run)["seed"] for run in runs] == [0, *range(1, len(runs))]
    assert len(runs) >= 3
    words = [sys.executable, ROOT / "evaluate.py", *runs]
    compared = subprocess.run(words, capture_output=True, text=True, check=False)
    assert f"word (n={len(runs)})" in compared.stdout
