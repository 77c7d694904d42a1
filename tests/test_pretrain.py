"""The supervised base: what is learnt from a solution, and the pair that the project ships."""

import random

import pytest
import torch

import pretrain
import train
from data.problems import problems, take
from evaluate import Sampling, solo_accuracy
from model import GPTConfig, load_model
from pretrain import Recipe, solution_batch, train_base


def test_solutions_are_learnt_and_prompts_and_padding_are_not(tokenizer):
    stream = problems("train", 0)
    inputs, targets = solution_batch(stream, random.Random(0), tokenizer, 8, 0.5)
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
    jargon_share=1.0,
    last_jargon_share=1.0,
    learning_rate=5e-2,
    batch_size=8,
)


def test_supervised_training_learns_and_is_seeded(tokenizer):
    first, again = (train_base(TINY, tokenizer, 0, torch.device("cpu"), "tiny") for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    inputs, targets = solution_batch(problems("validation", 0), random.Random(0), tokenizer, 32, 1.0)
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(first(inputs)[targets >= 0], targets[targets >= 0])
    assert loss < 4  # a model that knows nothing has log 512 = 6.2


def test_the_pretrain_command_makes_a_pair_that_train_takes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretrain, "SENIOR", TINY)
    monkeypatch.setattr(pretrain, "JUNIOR", TINY)
    train.main(["--pretrain", "--out", str(tmp_path / "base")])
    printed = capsys.readouterr().out
    assert printed.count("solo pass@1") == 2 and "python train.py --senior" in printed
    short = ["--steps=1", "--prompts=2", "--eval-problems=1", "--eval-samples=1", f"--out={tmp_path / 'run'}"]
    train.main([f"--senior={tmp_path / 'base/senior.pt'}", f"--junior={tmp_path / 'base/junior.pt'}", *short])
    assert (tmp_path / "run" / "eval.json").exists()


@pytest.mark.parametrize(
    "name, accuracy, jargon", [("senior", (0.97, 1.0), (0.9, 1.0)), ("junior", (0.88, 0.94), (0, 0))]
)
def test_the_shipped_pair_is_as_described(tokenizer, name, accuracy, jargon):
    """On 1,000 fresh problems of the validation split, seeded: a model is in its range, or it isn't."""
    path = train.SHIPPED / f"{name}.pt"
    assert path.stat().st_size < 2_000_000
    solved, spoken = solo_accuracy(
        load_model(path), take("validation", 1000, "shipped"), tokenizer, Sampling(samples=1)
    )
    assert accuracy[0] <= solved <= accuracy[1] and jargon[0] <= spoken <= jargon[1]
