"""Supervised training: a batch of solutions, the shipped pair, and fine-tuning of any model."""

import json
import random
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tqdm import tqdm

import train
from data.problems import WORLDS, first_problems, problems
from evaluate import Sampling, answer, solo_accuracy
from model import GPTConfig, load_model
from results.slips import slips_of
from support.models import fine_tune as pretrain
from support.models.base_pairs import RECIPES, Recipe, solution_batch, solved_problems, train_base
from support.reports import compare, show
from support.runs.files import read_lines
from support.runs.pair import base_directory, load_any

SHIPPED = base_directory("jargon")


def test_solutions_are_learnt_and_prompts_and_padding_are_not(tokenizer):
    stream = problems("train", 0)
    pairs = solved_problems(stream, random.Random(0), 8, {"jargon": 0.5, "plain": 0.5})
    inputs, targets = solution_batch(pairs, tokenizer)
    assert inputs.shape == targets.shape
    for row, problem in enumerate(first_problems("train", 8, 0)):
        learnt = targets[row] >= 0
        ids = targets[row][learnt].tolist()
        assert ids[-1] == tokenizer.end
        assert tokenizer.decode(ids).endswith(rf"\boxed{{{problem.answer}}}")
        prompt = tokenizer.prompt(problem.question)
        assert inputs[row, : len(prompt)].tolist() == prompt
        assert learnt.nonzero()[0] == len(prompt) - 1
        assert torch.equal(
            inputs[row, len(prompt) : len(prompt) + len(ids) - 1], targets[row][learnt][:-1]
        )


SIZE, JARGON, PLAIN = GPTConfig(n_layers=1, d_model=32, d_ff=64), {"jargon": 1.0}, {"plain": 1.0}
TINY = Recipe(SIZE, steps=40, early=JARGON, late=JARGON, learning_rate=5e-2, batch_size=8)
PLAIN_TINY = replace(TINY, early=PLAIN, late=PLAIN)


def test_supervised_training_learns_and_is_seeded(tokenizer):
    first, again = (train_base(TINY, tokenizer, 0, torch.device("cpu"), "tiny") for _ in range(2))
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)
    )
    pairs = solved_problems(problems("validation", 0), random.Random(0), 32, TINY.late)
    inputs, targets = solution_batch(pairs, tokenizer)
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(first(inputs)[targets >= 0], targets[targets >= 0])
    assert loss < 4  # a model that knows nothing has log 512 = 6.2


@pytest.fixture
def pretrained(tmp_path, monkeypatch):
    """Pretrains a world's pair by the command, with these recipes, in an empty folder.

    20 problems are measured, not 500.
    """
    few = lambda model, tokenizer, asked, sampling: solo_accuracy(
        model, tokenizer, asked[:20], sampling
    )
    monkeypatch.setattr(pretrain, "solo_accuracy", few)
    monkeypatch.chdir(tmp_path)

    def make(world, recipes, *more):
        monkeypatch.setitem(RECIPES, world, recipes)
        train.main(["--pretrain", "--world", world, *more])

    return make


def short_run(*more: str) -> None:
    short = ["--steps=1", "--prompts-per-step=2", "--eval-problems=2", "--eval-samples=2"]
    train.main([*short, "--out=run", *more])


def test_the_pretrain_command_makes_a_pair_that_train_takes_and_keeps_what_was_made(
    pretrained, capsys
):
    """A pretraining that was interrupted keeps its senior, and makes the same junior."""
    recipes = {"senior": TINY, "junior": PLAIN_TINY}
    pretrained("jargon", recipes, "--out=base")
    printed, pair = (
        capsys.readouterr().out,
        [Path(f"base/{name}.pt") for name in ("senior", "junior")],
    )
    assert printed.count("solo pass@1") == 2
    assert "python train.py --world jargon --senior base/senior.pt" in printed
    short_run("--senior=base/senior.pt", "--junior=base/junior.pt")
    assert Path("run/eval.json").exists()
    made = [path.read_bytes() for path in pair]
    pair[1].unlink()
    pretrained("jargon", recipes, "--out=base")
    assert "base/senior.pt: kept, it is there already\n" in capsys.readouterr().out
    assert [path.read_bytes() for path in pair] == made
    with pytest.raises(SystemExit):
        pretrained("jargon", recipes, "--out=base")
    assert "never overwritten" in capsys.readouterr().err


def test_a_run_in_another_world_starts_from_its_own_pair_and_stays_in_it(
    pretrained, monkeypatch, capsys
):
    """A senior only writes coarse steps. The run counts them, and so does a later measurement."""
    coarse = replace(TINY, early={"coarse": 1.0}, late={"coarse": 1.0}, steps=80)
    pretrained("work", {"senior": coarse, "junior": PLAIN_TINY})
    # it looks there by itself
    assert "use the pair: python train.py --world work\n" in capsys.readouterr().out
    short_run("--world=work")
    junior, kept = (
        load_model(path).state_dict() for path in ("runs/base-work/junior.pt", "run/junior.pt")
    )
    assert all(torch.equal(junior[key], kept[key]) for key in junior)
    found, [row] = (
        json.loads(Path("run/eval.json").read_text()),
        read_lines(Path("run/metrics.jsonl")),
    )
    assert found["config"]["world"] == "work" and row["jargon_rate"] is not None
    assert found["before"]["jargon_rate"] >= 0.5
    monkeypatch.setattr(compare, "draw_comparison", lambda *_: False)
    capsys.readouterr()
    compare.main(["run", "--problems=3", "--samples=1", "--json"])
    assert json.loads(capsys.readouterr().out)[0]["after"]["jargon_rate"] is not None


def test_a_world_without_a_junior_is_self_paired(pretrained, capsys):
    phrased = dict(
        model=replace(SIZE, max_seq_len=160), early={"phrased": 1.0}, late={"phrased": 1.0}, steps=2
    )
    pretrained("phrasings", {"senior": replace(TINY, **phrased)})
    assert "jargon" not in capsys.readouterr().out
    assert not Path("runs/base-phrasings/junior.pt").exists()
    short_run("--world=phrasings", "--schedule=solo")
    first, junior = (
        load_model(path).state_dict() for path in ("runs/base-phrasings/senior.pt", "run/junior.pt")
    )
    assert all(torch.equal(first[key], junior[key]) for key in first)
    train.main(["--resume=run", "--steps=2"])
    row, found = (
        read_lines(Path("run/metrics.jsonl"))[-1],
        json.loads(Path("run/eval.json").read_text()),
    )
    assert row["step"] == 1 and row["jargon_rate"] is None and found["after"]["jargon_rate"] is None
    assert found["config"]["max_new_tokens"] == WORLDS["phrasings"].max_new_tokens
    show.main(["run", "--samples=1"])
    assert (
        first_problems("test", 1, "evaluation", "phrasings")[0].question in capsys.readouterr().out
    )


@pytest.mark.parametrize("world", WORLDS)
def test_recipes_teach_the_worlds_languages_to_models_with_room_for_them(world):
    numbers, recipes = WORLDS[world], RECIPES[world]
    for recipe in recipes.values():
        assert recipe.model.max_seq_len >= numbers.max_prompt_tokens + numbers.max_new_tokens
        for shares in (recipe.early, recipe.late):
            assert sum(shares.values()) == pytest.approx(1)
            assert set(shares) <= set(numbers.languages)
    taught = set(recipes["senior"].early)
    assert (
        taught == set(recipes["senior"].late) == set(numbers.languages) - {"mirrored", "parroted"}
    )
    assert ("junior" in recipes) == (numbers.unfamiliar is not None)
    # The junior never sees the other language. The late senior sees hardly anything else.
    if "junior" in recipes:
        assert set(recipes["junior"].early) | set(recipes["junior"].late) == {"plain"}
        assert recipes["senior"].late["plain"] <= 0.15


@pytest.mark.parametrize(
    "name, accuracy, jargon",
    [("senior", (0.97, 1.0), (0.9, 1.0)), ("junior", (0.88, 0.94), (0, 0))],
)
def test_the_shipped_pair_is_as_described(tokenizer, name, accuracy, jargon):
    """On 1,000 fresh problems of the validation split, seeded: each model is in its range."""
    path = base_directory("jargon") / f"{name}.pt"
    assert path.stat().st_size < 2_000_000
    held_out = first_problems("validation", 1000, "shipped")
    solved, spoken = solo_accuracy(load_model(path), tokenizer, held_out, Sampling(samples=1))
    assert accuracy[0] <= solved <= accuracy[1] and jargon[0] <= spoken <= jargon[1]


def test_the_shipped_senior_of_slips_is_as_described(tokenizer):
    """On 1,000 fresh problems: it slips in three steps of ten, and puts two slips of five right."""
    path = base_directory("slips") / "senior.pt"
    assert path.stat().st_size < 2_000_000
    held_out = first_problems("validation", 1000, "shipped", "slips")
    sampling = Sampling(samples=1, temperature=1.0, max_new_tokens=112)
    with tqdm(disable=True) as bar:
        answers = answer(load_model(path), None, tokenizer, held_out, "solo", sampling, bar)
    steps = slips = put_right = 0
    for text in answers.texts:
        found = slips_of(text, [True] * len(text))
        steps += len(re.findall(r"^So \d+ [+-]", text, re.MULTILINE))
        slips += len(found)
        put_right += sum(slip.put_right for slip in found)
    assert 0.27 < slips / steps < 0.33
    assert 0.35 < put_right / slips < 0.45
    assert 0.5 < sum(answers.right) / 1000 < 0.6


def test_a_recipe_may_begin_from_the_weights_of_a_model(tokenizer):
    """The shipped senior, whose context may be longer: after no step it is that model."""
    recipe = replace(RECIPES["slips"]["senior"], steps=0)
    model = train_base(recipe, tokenizer, 0, "cpu", "senior", "slips")
    assert model.config.max_seq_len == 256
    shipped = load_model(SHIPPED / "senior.pt")
    assert all(map(torch.equal, model.parameters(), shipped.parameters()))


# ---- Any model ----

FEW = "--steps 4 --batch-size 4 --save-every 2 --eval-problems 2 --learning-rate 1e-3".split()


def weights(directory):
    return load_any(directory)[0].state_dict()


def test_a_model_that_was_fine_tuned_is_a_directory_that_train_takes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = [
        "--senior",
        str(SHIPPED / "junior.pt"),
        "--shares",
        "plain=0.5,jargon=0.5",
        "--precision",
        "bfloat16",
    ]
    pretrain.main([*FEW, *given, "--out", "tuned"])
    assert "solo pass@1" in capsys.readouterr().out and not Path("tuned.state.pt").exists()
    before, after = weights(SHIPPED / "junior.pt"), weights("tuned")
    pretrain.main([*FEW, *given[:-2], "--out", "exact"])
    exact = weights("exact")
    # bfloat16 rounds
    assert all(0 < (after[name] - exact[name]).abs().max() < 0.02 for name in before)
    assert all(0 < (after[name] - before[name]).abs().max() < 0.02 for name in before)
    short_run("--senior=tuned", "--junior=self")
    for words, error in {
        ("--senior", "tuned", "--out", "tuned"): "tuned exists",
        (): "--senior is missing",
        ("--senior", "tuned", "--shares", "plain=0.5"): "add up to 1",
        ("--senior", "tuned", "--shares", "coarse=1"): "of plain, jargon",
        ("--senior", "tuned", "--data", "absent"): "absent can't be read",
    }.items():
        with pytest.raises(SystemExit):
            pretrain.main([*words])
        assert error in capsys.readouterr().err


def test_a_fine_tuning_that_is_stopped_goes_on_to_the_same_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [{"question": f"{i} + {i}?", "solution": f"{i} + {i} = {2 * i}."} for i in range(9)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = [*FEW, "--senior", str(SHIPPED / "junior.pt"), "--data", "rows.jsonl"]
    pretrain.main([*given, "--out", "whole"])
    fit, seen, handler = pretrain.fit, [], signal.getsignal(signal.SIGINT)

    def stopped(*step):
        seen.append(step)
        if len(seen) == 2:
            signal.raise_signal(signal.SIGINT)
        return fit(*step)

    monkeypatch.setattr(pretrain, "fit", stopped)
    with pytest.raises(SystemExit) as end:
        pretrain.main([*given, "--out", "new/parts"])
    assert signal.getsignal(signal.SIGINT) == handler
    assert end.value.code == 130
    assert "stopped after 2 steps, which are saved" in capsys.readouterr().out
    monkeypatch.setattr(pretrain, "fit", fit)
    Path("new/parts.partial").mkdir()  # as if it was killed once more while it wrote the result
    Path("new/parts.partial/config.json").write_text("{")
    with pytest.raises(SystemExit):
        pretrain.main([*given, "--seed", "1", "--out", "new/parts"])
    assert "begun with other options" in capsys.readouterr().err
    pretrain.main([*given, "--out", "new/parts"])
    whole, parts = weights("whole"), weights("new/parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_line_without_a_solution_is_named(tmp_path, capsys):
    path = tmp_path / "rows.jsonl"
    said = {
        '{"question": "1?"}': "expected an object",
        "[]": "expected an object",
        "{": "it is no JSON (Expecting",
    }
    for line, words in (said | {'{"question": 1, "solution": "x"}': "expected an object"}).items():
        path.write_text('{"question": "1?", "solution": "x"}\n' + line + "\n")
        with pytest.raises(SystemExit):
            pretrain.main(
                [
                    "--senior",
                    str(SHIPPED / "junior.pt"),
                    "--data",
                    str(path),
                    "--out",
                    str(tmp_path / "x"),
                ]
            )
        assert f"rows.jsonl, line 2: {words}" in capsys.readouterr().err
