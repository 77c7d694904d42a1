"""The supervised base: what is learnt from a solution, and the pair that the project ships."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import compare
import evaluate
import pretrain
import rollout
import runs
import train
from data.problems import WORLDS, problems, take
from evaluate import Sampling, solo_accuracy
from model import GPT, GPTConfig, load_model
from pretrain import Recipe, solution_batch, train_base
from runs import read_metrics


def test_solutions_are_learnt_and_prompts_and_padding_are_not(tokenizer):
    stream = problems("train", 0)
    inputs, targets = solution_batch(stream, random.Random(0), tokenizer, 8, {"jargon": 0.5, "plain": 0.5})
    assert inputs.shape == targets.shape
    for row, problem in enumerate(take("train", 8, 0)):
        learnt = targets[row] >= 0
        ids = targets[row][learnt].tolist()
        assert ids[-1] == tokenizer.end and tokenizer.decode(ids).endswith(rf"\boxed{{{problem.answer}}}")
        prompt = tokenizer.encode(problem.prompt)
        assert inputs[row, : len(prompt)].tolist() == prompt and learnt.nonzero()[0] == len(prompt) - 1
        assert torch.equal(inputs[row, len(prompt) : len(prompt) + len(ids) - 1], targets[row][learnt][:-1])


TINY = Recipe(
    GPTConfig(n_layers=1, d_model=32, d_ff=64),
    steps=40,
    early={"jargon": 1.0},
    late={"jargon": 1.0},
    learning_rate=5e-2,
    batch_size=8,
)


def test_supervised_training_learns_and_is_seeded(tokenizer):
    first, again = (train_base(TINY, tokenizer, 0, torch.device("cpu"), "tiny") for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    inputs, targets = solution_batch(problems("validation", 0), random.Random(0), tokenizer, 32, TINY.late)
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(first(inputs)[targets >= 0], targets[targets >= 0])
    assert loss < 4  # a model that knows nothing has log 512 = 6.2


@pytest.fixture
def few_validated(monkeypatch):
    """What a recipe made is measured on 20 problems rather than 500."""
    monkeypatch.setattr(pretrain, "solo_accuracy", lambda model, asked, *more: solo_accuracy(model, asked[:20], *more))


def test_the_pretrain_command_makes_a_pair_that_train_takes(tmp_path, monkeypatch, capsys, few_validated):
    monkeypatch.setitem(pretrain.RECIPES, "jargon", (TINY, TINY))
    train.main(["--pretrain", "--out", str(tmp_path / "base")])
    printed = capsys.readouterr().out
    assert printed.count("solo pass@1") == 2 and "python train.py --world jargon --senior" in printed
    short = ["--steps=1", "--prompts=2", "--eval-problems=1", "--eval-samples=1", f"--out={tmp_path / 'run'}"]
    train.main([f"--senior={tmp_path / 'base/senior.pt'}", f"--junior={tmp_path / 'base/junior.pt'}", *short])
    assert (tmp_path / "run" / "eval.json").exists()


def short_run(*more: str) -> list[str]:
    return ["--steps=1", "--prompts=2", "--eval-problems=2", "--eval-samples=2", "--out=run", *more]


def test_a_run_in_another_world_starts_from_its_own_pair_and_stays_in_it(tmp_path, monkeypatch, capsys, few_validated):
    """A senior that writes nothing but coarse steps: the run counts them, and so do what shows and measures it again."""
    monkeypatch.chdir(tmp_path)
    coarse = replace(TINY, early={"coarse": 1.0}, late={"coarse": 1.0}, steps=80)
    monkeypatch.setitem(pretrain.RECIPES, "work", (coarse, replace(TINY, early={"plain": 1.0}, late={"plain": 1.0})))
    train.main(["--pretrain", "--world", "work"])
    assert "use them: python train.py --world work\n" in capsys.readouterr().out  # it looks there by itself
    train.main(["--pretrain", "--world", "work", "--out", "other"])
    assert "python train.py --world work --senior other/senior.pt --junior other/junior.pt\n" in capsys.readouterr().out
    train.main(short_run("--world=work"))
    junior, kept = (load_model(path).state_dict() for path in ("runs/base-work/junior.pt", "run/junior.pt"))
    assert all(torch.equal(junior[key], kept[key]) for key in junior)
    found, (row,) = json.loads(Path("run/eval.json").read_text()), read_metrics(Path("run"))
    assert (
        found["config"]["world"] == "work" and found["before"]["jargon_rate"] >= 0.5 and row["jargon_rate"] is not None
    )
    monkeypatch.setattr(compare, "draw_figure", lambda *_: False)
    evaluate.main(["run", "--problems=3", "--samples=1"])
    assert json.loads(Path("run/eval-3x1-t0.7-p1-kall.json").read_text())["after"]["jargon_rate"] is not None
    with pytest.raises(SystemExit):
        train.main(["--pretrain", "--world", "work"])
    assert "never overwritten" in capsys.readouterr().err


def test_a_pretraining_that_was_interrupted_keeps_its_senior(tmp_path, monkeypatch, capsys, few_validated):
    """Once it trained neither: the senior's file was taken for a run, and a run asked for the junior's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(pretrain.RECIPES, "work", (replace(TINY, early={"plain": 1.0}, late={"plain": 1.0}),) * 2)
    train.main(["--pretrain", "--world", "work"])
    senior, junior = (Path(f"runs/base-work/{name}.pt").read_bytes() for name in ("senior", "junior"))
    Path("runs/base-work/junior.pt").unlink()
    capsys.readouterr()
    train.main(["--pretrain", "--world", "work"])
    assert "runs/base-work/senior.pt: kept, it is there already\n" in capsys.readouterr().out
    assert [Path(f"runs/base-work/{name}.pt").read_bytes() for name in ("senior", "junior")] == [senior, junior]


def test_a_world_without_a_junior_is_self_paired(tmp_path, monkeypatch, capsys, few_validated):
    monkeypatch.chdir(tmp_path)
    phrased = replace(TINY, model=replace(TINY.model, max_seq_len=160), early={"phrased": 1.0}, late={"phrased": 1.0})
    monkeypatch.setitem(pretrain.RECIPES, "phrasings", (replace(phrased, steps=2), None))
    train.main(["--pretrain", "--world", "phrasings"])
    assert "jargon" not in capsys.readouterr().out and not Path("runs/base-phrasings/junior.pt").exists()
    train.main(short_run("--world=phrasings", "--schedule=solo"))
    first, junior = (load_model(path).state_dict() for path in ("runs/base-phrasings/senior.pt", "run/junior.pt"))
    assert all(torch.equal(first[key], junior[key]) for key in first)
    train.main(["--resume=run", "--steps=2"])
    asked = [take("train", 2, f"0/{step}", "phrasings")[0].question for step in (0, 1)]
    assert [part.split("\n")[0] for part in Path("run/samples.txt").read_text().split("\n\n")[:-1]] == asked
    row, found = read_metrics(Path("run"))[-1], json.loads(Path("run/eval.json").read_text())
    assert row["jargon_rate"] is None and found["after"]["jargon_rate"] is None
    assert found["config"]["max_new_tokens"] == WORLDS["phrasings"].max_new_tokens
    rollout.main(["run", "--samples=1"])
    assert take("test", 1, "evaluation", "phrasings")[0].question in capsys.readouterr().out


@pytest.mark.parametrize("world", WORLDS)
def test_recipes_teach_the_worlds_languages_to_models_with_room_for_them(world):
    numbers, (senior, junior) = WORLDS[world], pretrain.RECIPES[world]
    room = numbers.max_prompt_tokens + numbers.max_new_tokens
    for recipe in filter(None, (senior, junior)):
        assert recipe.model.max_seq_len >= room
        for shares in (recipe.early, recipe.late):
            assert sum(shares.values()) == pytest.approx(1) and set(shares) <= set(numbers.languages)
    assert set(senior.early) == set(senior.late) == set(numbers.languages)
    assert (junior is None) == (numbers.foreign is None)
    if junior:  # it never sees what is foreign to it, and the senior at last sees hardly anything else
        assert set(junior.early) | set(junior.late) == {"plain"} and senior.late["plain"] <= 0.15


@pytest.mark.parametrize("recipe, millions", list(zip(pretrain.RECIPES["hard"], (25, 8), strict=True)))
def test_the_models_of_the_hard_world_are_of_the_stated_sizes(recipe, millions):
    with torch.device("meta"):
        model = GPT(recipe.model)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(millions * 1e6, rel=0.05)


@pytest.mark.parametrize(
    "name, accuracy, jargon", [("senior", (0.97, 1.0), (0.9, 1.0)), ("junior", (0.88, 0.94), (0, 0))]
)
def test_the_shipped_pair_is_as_described(tokenizer, name, accuracy, jargon):
    """On 1,000 fresh problems of the validation split, seeded: a model is in its range, or it isn't."""
    path = runs.SHIPPED / f"{name}.pt"
    assert path.stat().st_size < 2_000_000
    solved, spoken = solo_accuracy(
        load_model(path), take("validation", 1000, "shipped"), tokenizer, Sampling(samples=1)
    )
    assert accuracy[0] <= solved <= accuracy[1] and jargon[0] <= spoken <= jargon[1]
