"""Several processes compute what one does: the same batch, gradient and files; they stop together, and one alone speaks."""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_resume import assert_same_run, main, metrics
from test_trainer import batch_of, gradient, trainer_of

import ranks
import train
import trainer
from checkpoint import read
from data.tokenizer import load_tokenizer

ROOT = Path(__file__).parent.parent
SHORT = """--prompts 4 --group-size 4 --objective grpo --micro-tokens 200 --learning-rate 1e-5 --warmup 2 --save-every 9
--eval-problems 3 --eval-samples 1 --device cpu""".split()


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def begin(work, rank: int, size: int, port: str, log: Path, arguments: tuple) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    sys.stdout = sys.stderr = sys.__stderr__ = open(log, "w")  # noqa: SIM115
    work(rank, *arguments)


def together(tmp_path: Path, work, *arguments, size: int = 2) -> tuple[list[int], list[str]]:
    """work(rank, *arguments) in processes as torchrun starts them, their exit codes and words.

    They are forks of one that has imported all there is, which takes longer than the work.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["test_ranks", "torch._dynamo"])  # which the first optimizer would import
    paths = [str(ROOT), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    logs, port = [tmp_path / f"rank{rank}.log" for rank in range(size)], free_port()
    started = [
        context.Process(target=begin, args=(work, rank, size, port, logs[rank], arguments), daemon=True)
        for rank in range(size)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))  # the server finds what it is to import nowhere else
        for process in started:
            process.start()
    for process in started:
        process.join(300)
    words = [log.read_text() for log in logs]
    print(*words)  # shown if the test fails
    return [process.exitcode for process in started], words


def command(rank: int, *words) -> None:
    train.main([*map(str, words)])


def command_with_a_signal(rank: int, to: int, when: int, *words) -> None:
    """To one rank alone, in a step."""
    step = trainer.Trainer.step

    def signalled(self, number):
        if number == when and rank == to:
            signal.raise_signal(signal.SIGTERM)
        return step(self, number)

    trainer.Trainer.step = signalled
    command(rank, *words)


def command_with_a_fault_on_the_second(rank: int, *words) -> None:
    """In step 1 a logit is NaN, on it alone."""
    step = trainer.Trainer.step

    def faulty(self, number):
        def logit(module, inputs, logits):
            if number == 1 and rank == 1 and not torch.is_grad_enabled():
                logits.view(-1)[7] = float("nan")

        handle = self.senior.head.register_forward_hook(logit)
        try:
            return step(self, number)
        finally:
            handle.remove()

    trainer.Trainer.step = faulty
    command(rank, *words)


UPDATE = dict(objective="grpo", prompts=4, micro_tokens=100, learning_rate=1e-6, grad_clip=1e9)


def update(tokenizer, rewarded: int, mini_batches: int) -> dict:
    """An update of a batch whose first rows have an advantage: the metrics and the last gradient."""
    made = trainer_of(tokenizer, baseline="none", normalize_std=False, mini_batches=mini_batches, **UPDATE)
    batch = batch_of(made, (torch.arange(16) < rewarded).float())
    assert len(trainer.micro_batches(batch.rollout, 100)) > 4
    ranks.join()
    metrics, skipped = made.update(batch, 0)
    return {"metrics": metrics, "skipped": skipped, "gradient": [p.grad for p in made.senior.parameters()]}


def update_of(rank: int, out: Path, *how) -> None:
    torch.save(update(load_tokenizer(), *how), out / f"{rank}.pt")


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Path:
    """A run of two ranks, as a user starts it."""
    out = tmp_path_factory.mktemp("pair") / "run"
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port", free_port()]
    words = [*launch, ROOT / "train.py", *SHORT, "--steps", "3", "--out", out]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    print(done.stdout, done.stderr)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    for once in ("\nbefore\n", "\nafter\n", "\nstep    0", "everything is in"):
        assert done.stdout.count(once) == 1
    assert done.stderr.count("device: cpu") == 1 and done.stderr.count("evaluating after:   0%|") == 1
    return out


def test_two_ranks_have_the_metrics_and_the_weights_of_one_process(pair, tmp_path):
    out = tmp_path / "run"
    assert main(*SHORT, "--steps", 3, "--out", out) == 0
    for one, two in zip(metrics(out), metrics(pair), strict=True):
        assert one == pytest.approx(two, abs=1e-5, rel=1e-5) and one["skipped_updates"] == 0
    one, two = read(out / "checkpoint.pt"), read(pair / "checkpoint.pt")
    assert one["trainer"]["authors"] == two["trainer"]["authors"]
    assert one["before"] == two["before"]
    for name, weight in one["model"].items():
        torch.testing.assert_close(two["model"][name], weight, rtol=0, atol=1e-6)
    for measured in ("before", "after"):
        a, b = (json.loads((run / "eval.json").read_text())[measured] for run in (out, pair))
        assert a["drift"] == pytest.approx(b["drift"], rel=1e-4)
        assert a["response_length"] == b["response_length"] and a["handoff"] == b["handoff"]


@pytest.mark.parametrize("rewarded, mini_batches", [(16, 2), (16, 1), (1, 1)])
def test_an_update_of_two_ranks_has_the_gradient_of_one_process(tokenizer, tmp_path, rewarded, mini_batches):
    """Up to rounding, and the same on both. Where a single row has an advantage, the second rank has nothing to read."""
    expected = update(tokenizer, rewarded, mini_batches)
    assert together(tmp_path, update_of, tmp_path, rewarded, mini_batches)[0] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first["metrics"] == second["metrics"] == pytest.approx(expected["metrics"], rel=1e-5, abs=1e-6)
    assert first["skipped"] == second["skipped"] == expected["skipped"] == 0
    largest = max(g.abs().max() for g in expected["gradient"])
    for a, b, c in zip(*(found["gradient"] for found in (first, second, expected)), strict=True):
        assert torch.equal(a, b) and (a - c).abs().max() < 1e-6 * largest


def test_a_signal_to_one_rank_stops_all_after_the_same_step_and_resuming_is_the_same_run(pair, tmp_path):
    out = tmp_path / "run"
    for step, rank, words in ((0, 1, (*SHORT, "--steps", 3, "--out", out)), (1, 0, ("--resume", out))):
        codes, (said, other) = together(tmp_path, command_with_a_signal, rank, step, *words)
        assert codes == [143, 143] and f"--resume {out} goes on" in said and not other
        assert read(out / "checkpoint.pt")["step"] == len(metrics(out)) == step + 1
    assert together(tmp_path, command, "--resume", out)[0] == [0, 0]
    assert_same_run(out, pair)


def test_a_fault_of_one_ranks_sampling_is_everyones(tmp_path):
    words = (*SHORT, "--steps", 2, "--eval-problems", 1, "--on-nonfinite", "skip", "--out", tmp_path / "run")
    codes, (said, other) = together(tmp_path, command_with_a_fault_on_the_second, *words)
    assert codes == [0, 0] and said.count("step 1: the senior's logits are not finite") == 1 and not other
    assert [row["skipped_updates"] for row in metrics(tmp_path / "run")] == [0, 2]


def test_a_mistake_is_one_line_and_code_2_whatever_the_number_of_ranks(tmp_path):
    words = (*SHORT, "--data", tmp_path / "missing.jsonl", "--out", tmp_path / "run")
    codes, (said, *others) = together(tmp_path, command, *words, size=3)
    assert codes == [2, 2, 2] and "missing.jsonl can't be read" in said
    assert len(said.splitlines()) == 1 and others == ["", ""] and not (tmp_path / "run").exists()


@pytest.mark.parametrize("size", [1, 2, 3, 20])
@pytest.mark.parametrize("options", [{}, {"junior_weight": 0.2}, {"objective": "grpo"}])
def test_the_gradients_of_the_ranks_add_up_to_the_whole(tokenizer, monkeypatch, options, size):
    """Of 20 ranks most have no row to read."""
    made = trainer_of(tokenizer, micro_tokens=100, **options)
    batch = batch_of(made)
    whole = gradient(made, batch)
    made.senior.zero_grad()
    monkeypatch.setattr(ranks, "size", lambda: size)
    read_by = []
    for rank in range(size):
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        read_by.append(sum(map(len, trainer.micro_batches(batch.rollout, 100))))
        made.backward(batch, batch.weights.sum())
    assert sum(read_by) == 8 and max(read_by) - min(read_by) <= 1
    largest = max(g.abs().max() for g in whole)
    for parameter, expected in zip(made.senior.parameters(), whole, strict=True):
        assert (parameter.grad - expected).abs().max() < 1e-6 * largest


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_everyone_has_its_rows_and_all_are_had(monkeypatch, size):
    monkeypatch.setattr(ranks, "size", lambda: size)
    had = []
    for rank in range(size):
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        parts = ranks.parts(5, 2)
        had += [row for part in parts for row in part]
        assert all(1 <= len(part) <= 2 for part in parts) and len(range(5)[ranks.share(5)]) == sum(map(len, parts))
    assert had == [0, 1, 2, 3, 4]


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(ranks, "size", lambda: 3)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(train.UserError, match="--nproc_per_node=2"):
        ranks.pick_device("auto")
    assert ranks.pick_device("cpu").type == "cpu"


def test_a_world_size_without_torchrun_is_one_line(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    assert main(*SHORT) == 2
    assert "WORLD_SIZE" in (error := capsys.readouterr().err) and len(error.splitlines()) == 1


def test_the_training_of_several_processes_is_not_for_the_base_pair(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(ranks, "size", lambda: 2)
    monkeypatch.setattr(ranks, "rank", lambda: 0)
    assert main("--pretrain", "--out", tmp_path / "run") == 2 and "--pretrain" in capsys.readouterr().err
