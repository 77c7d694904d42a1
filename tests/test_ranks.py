"""Several processes compute the same batch, gradient and files as one process.

They stop together, and only one speaks, or one on each machine.
"""

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_run import assert_same_run
from test_train import Batch, batch_of, main, metrics, update_of

import train
from data.tokenizer import load_tokenizer
from support.runs import ranks
from support.runs.files import read_torch
from support.runs.options import UserError
from support.runs.run import Run
from tandem import Uniforms

ROOT = Path(__file__).parent.parent
SHORT = """--prompts-per-step 4 --group-size 4 --loss grpo --micro-batch-tokens 200
--learning-rate 1e-5 --warmup-steps 2 --save-every 9 --eval-problems 3 --eval-samples 1
--device cpu""".split()


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def begin(work, rank: int, size: int, port: str, log: Path, arguments: tuple) -> None:
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1", MASTER_PORT=port
    )
    sys.stdout = sys.stderr = sys.__stderr__ = open(log, "w")  # noqa: SIM115
    work(rank, *arguments)


def together(tmp_path: Path, work, *arguments, size: int = 2) -> tuple[list[int], list[str]]:
    """Call work(rank, *arguments) in processes as torchrun starts them. Their exit codes and words.

    They are forks of one that has imported everything, which takes longer than the work. As under
    torchrun, all are ended when one fails.
    """
    context = multiprocessing.get_context("forkserver")
    # which the first optimizer would import
    context.set_forkserver_preload(["test_ranks", "torch._dynamo"])
    paths = [str(ROOT), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    logs, port = [tmp_path / f"rank{rank}.log" for rank in range(size)], free_port()
    started = [
        context.Process(
            target=begin, args=(work, rank, size, port, logs[rank], arguments), daemon=True
        )
        for rank in range(size)
    ]
    with pytest.MonkeyPatch.context() as patch:
        # the server finds what it is to import nowhere else
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        for process in started:
            process.start()
    deadline = time.monotonic() + 200
    while any(process.exitcode is None for process in started) and time.monotonic() < deadline:
        if any(process.exitcode for process in started):
            time.sleep(3)  # the others may have failed too
            break
        time.sleep(0.02)
    for process in started:
        process.kill()
        process.join()
    words = [log.read_text() for log in logs]
    print(*words)  # shown if the test fails
    return [process.exitcode for process in started], words


def command(rank: int, *words) -> None:
    train.main([*map(str, words)])


def command_with(rank: int, on: int, step: int, what: str, *words) -> None:
    """A signal that asks or kills, or a logit that is NaN, in a step of one rank alone."""
    numbers, generate = train.random_numbers, train.generate
    sent = signal.SIGKILL if what == "kill" else signal.SIGTERM

    def signalled(number, *rest):
        if (rank, number) == (on, step):
            signal.raise_signal(sent)
        return numbers(number, *rest)

    def spoiled(senior, *rest, generator, **named):
        if rank == on:
            senior.head.register_forward_hook(lambda module, inputs, logits: logits * float("nan"))
        return generate(senior, *rest, generator=generator, **named)

    if what in ("signal", "kill"):
        train.random_numbers = signalled
    else:
        train.generate = spoiled
    command(rank, *words)


def shared(batch: Batch) -> Batch:
    """This rank's rows of a batch, whole groups."""
    P, G = batch.config.prompts_per_step, batch.config.group_size
    own = ranks.share(torch.arange(P * G).view(P, G)).flatten()  # (N,)
    return replace(batch, rollout=batch.rollout[own], A=batch.A[own], gate=batch.gate[own])


def updated(rewarded: int, mini_batches: int, kl_coef: float = 0.0) -> dict:
    """An update of a batch whose first rows have an advantage: the metrics and the gradients."""
    how = dict(
        loss="grpo", prompts_per_step=4, micro_batch_tokens=100, learning_rate=1e-6, kl_coef=kl_coef
    )
    rewards = (torch.arange(16) < rewarded).float()
    batch = batch_of(
        load_tokenizer(),
        rewards,
        mini_batches=mini_batches,
        normalize_std=False,
        baseline="none",
        **how,
    )
    ranks.join()
    done = update_of(shared(batch))
    return {
        "stats": done.stats,
        "gradients": done.gradients,
        "weights": list(done.senior.parameters()),
    }


def save_updated(rank: int, out: Path, *how) -> None:
    torch.save(updated(*how), out / f"{rank}.pt")


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Path:
    """A run of two ranks, as a user starts it."""
    out = tmp_path_factory.mktemp("pair") / "run"
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node=2",
        "--master_port",
        free_port(),
    ]
    words = [*launch, ROOT / "train.py", *SHORT, "--steps=3", "--eval-every=2", "--out", out]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stdout + done.stderr
    for once in ("\nbefore\n", "\nafter\n", "problems: generated", "everything is in"):
        assert done.stdout.count(once) == 1
    assert done.stderr.count("device: cpu") == 1
    assert done.stderr.count("tandem RL: 100%|") == 1
    return out


def test_two_ranks_have_the_metrics_and_the_weights_of_one_process(pair, tmp_path):
    out = tmp_path / "run"
    assert main(*SHORT, "--steps=3", "--eval-every=2", "--out", out) == 0
    for one, two in zip(metrics(out), metrics(pair), strict=True):
        assert one == pytest.approx(two, abs=1e-5, rel=1e-5) and one["skipped_updates"] == 0
    one, two = read_torch(out / "checkpoint.pt"), read_torch(pair / "checkpoint.pt")
    assert one["state"]["senior_tokens"] == two["state"]["senior_tokens"] > 0
    assert one["state"] == pytest.approx(two["state"])
    for name, weight in one["model"].items():
        torch.testing.assert_close(two["model"][name], weight, rtol=0, atol=1e-6)
    logs = (
        [json.loads(row) for row in (run / "evals.jsonl").read_text().splitlines()]
        for run in (out, pair)
    )
    for a, b in zip(*logs, strict=True):
        assert a["step"] == b["step"] and a["drift"] == pytest.approx(b["drift"], rel=1e-4)
        assert a["response_length"] == b["response_length"] and a["handoff"] == b["handoff"]


@pytest.mark.parametrize("how", [(16, 2), (16, 1, 0.1), (1, 1)])
def test_an_update_of_two_ranks_has_the_gradient_of_one_process(tmp_path, how):
    """Up to rounding, and the same on both.

    Where a single row has an advantage, the second rank has nothing to read.
    """
    expected = updated(*how)
    assert together(tmp_path, save_updated, tmp_path, *how)[0] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first["stats"] == second["stats"] == pytest.approx(expected["stats"], rel=1e-5, abs=1e-6)
    assert first["stats"]["skipped_updates"] == 0 and len(expected["gradients"]) == how[1]
    assert all(torch.equal(a, b) for a, b in zip(first["weights"], second["weights"], strict=True))
    for one, two, whole in zip(
        first["gradients"], second["gradients"], expected["gradients"], strict=True
    ):
        largest = max(g.abs().max() for g in whole)
        for a, b, c in zip(one, two, whole, strict=True):
            assert torch.equal(a, b) and (a - c).abs().max() < 1e-5 * largest


def test_a_signal_to_one_rank_stops_all_after_the_same_step_and_resuming_is_the_same_run(
    pair, tmp_path
):
    out = tmp_path / "run"
    for step, rank, words in (
        (0, 1, (*SHORT, "--steps=3", "--eval-every=2", "--out", out)),
        (1, 0, ("--resume", out)),
    ):
        codes, (said, other) = together(tmp_path, command_with, rank, step, "signal", *words)
        assert codes == [143, 143] and f"--resume {out} goes on" in said and not other
        assert read_torch(out / "checkpoint.pt")["step"] == len(metrics(out)) == step + 1
    assert together(tmp_path, command, "--resume", out)[0] == [0, 0]
    assert_same_run(out, pair)


@pytest.mark.parametrize("killed", [0, 1])
def test_where_the_system_kills_a_process_the_other_leaves_a_line_and_no_traceback(
    tmp_path, killed
):
    out = tmp_path / "run"
    codes, said = together(tmp_path, command_with, killed, 1, "kill", *SHORT, "--out", out)
    other = 1 - killed
    assert codes[killed] == -signal.SIGKILL and codes[other] in (2, 143)
    assert "Traceback" not in said[other]
    (line,) = [line for line in said[other].splitlines() if "stopped: " in line]
    assert "another process of the run is lost (" in line and len(line) < 400
    assert f"python train.py --resume {out} goes on" in line
    assert ("on the first machine, " in line) == (killed == 0)


def test_a_step_that_torchrun_would_not_wait_for_is_warned_of_once(monkeypatch, capfd):
    """It kills its processes 30 s after Ctrl-C."""
    run = Run(train.Config())
    run.seconds = {"rollout": 20.0, "update": 46.0}
    run.warn_of_torchrun()  # one process
    monkeypatch.setattr(ranks, "size", lambda: 2)
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "300")
    run.warn_of_torchrun()
    assert capfd.readouterr().err == ""
    monkeypatch.delenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT")
    run.warn_of_torchrun()
    run.warn_of_torchrun()
    error = capfd.readouterr().err
    assert error.count("warning") == 1 and "a step takes 66 s" in error and "30 s after" in error
    assert "--shutdown-timeout" in error or "--save-every 1" in error
    run.in_step = True
    run.stop(signal.SIGINT, None)
    assert "stopping after this step, if torchrun waits for its end" in capfd.readouterr().err


def test_a_fault_of_one_rank_alone_is_heard(tmp_path):
    words = (*SHORT, "--steps", 2, "--eval-problems", 1, "--out", tmp_path / "run")
    codes, (_, other) = together(tmp_path, command_with, 1, 0, "NaN", *words)
    assert 0 not in codes and codes[1] == 2 and len(other.splitlines()) == 1
    assert "the senior's logits are not finite" in other and "nothing was written" not in other
    assert f"on the first machine, python train.py --resume {tmp_path / 'run'} goes on" in other


@pytest.mark.parametrize(
    "words", [("--data", "missing.jsonl"), ("--prompts-per-step", "8", "--mini-batches", "4")]
)
def test_a_mistake_is_one_line_and_code_2_whatever_the_number_of_ranks(tmp_path, words):
    codes, said = together(tmp_path, command, *SHORT, *words, "--out", tmp_path / "run", size=4)
    assert codes == [2] * 4 and not (tmp_path / "run").exists()
    (line,) = "".join(said).splitlines()
    assert line.startswith("error: ") and words[0] in line + "--data"


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_everyone_has_its_rows_whole_groups_and_the_random_numbers_of_the_whole_batch(
    monkeypatch, size
):
    config = train.Config(prompts_per_step=30, group_size=2, mini_batches=2)
    whole, problems, had = (
        train.random_numbers(0, config, torch.device("cpu")),
        train.next_problems(None, 0, config),
        [],
    )
    first, second = whole(), whole()
    monkeypatch.setattr(ranks, "size", lambda: size)
    for rank in range(size):
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        numbers = train.random_numbers(0, config, torch.device("cpu"))
        assert isinstance(numbers, Uniforms)
        rows = torch.arange(60).view(30, 2)[rank::size].flatten()
        assert torch.equal(numbers(), first[rows]) and torch.equal(numbers(), second[rows])
        had += ranks.share(problems)
    assert sorted(problem.question for problem in had) == sorted(
        problem.question for problem in problems
    )


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(ranks, "size", lambda: 3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "0")  # the first, which alone is heard
    with pytest.raises(UserError, match="--nproc_per_node=2"):
        ranks.device("auto")
    assert ranks.device("cpu").type == "cpu"


def test_what_is_not_for_several_processes_is_one_line(monkeypatch, tmp_path, capsys):
    """A WORLD_SIZE without torchrun, and the training of the base pair."""
    monkeypatch.delenv("RANK", raising=False)
    with monkeypatch.context() as patch:
        patch.setenv("WORLD_SIZE", "2")
        assert main(*SHORT) == 2
    monkeypatch.setattr(ranks, "size", lambda: 2)
    assert main("--pretrain", "--out", tmp_path / "run") == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "WORLD_SIZE" in first and "--pretrain" in second


# Several machines, each with a directory of its own.


@pytest.fixture
def machines(tmp_path) -> list[Path]:
    """The working directories of two machines."""
    directories = [tmp_path / "first", tmp_path / "second"]
    for directory in directories:
        directory.mkdir()
    return directories


def command_on(rank: int, machines: list[Path], words: list[tuple]) -> None:
    """The command, in each process as if it were alone on its machine."""
    os.chdir(machines[rank])
    os.environ["LOCAL_RANK"] = "0"
    command(rank, *words[rank])


@pytest.mark.parametrize(
    ("own", "named"),
    [
        (("--seed", 1), "values of --seed"),
        (("--eval-problems", 4), "values of --eval-problems"),
        (("--senior", ROOT / "data" / "junior.pt"), "values of --senior"),
    ],
)
def test_machines_with_different_commands_say_so_and_write_nothing(tmp_path, machines, own, named):
    words = [(*SHORT, "--steps", 1), (*SHORT, "--steps", 1, *own)]
    codes, said = together(tmp_path, command_on, machines, words)
    assert codes == [2, 2]
    for line in said:
        assert line.startswith(f"error: the processes have different {named}; give every machine")
        assert line.count("\n") == 1
    for machine in machines:
        assert not list(machine.iterdir())


def test_machines_with_different_files_of_one_name_say_so(tmp_path, machines):
    for machine, senior in zip(machines, ("senior.pt", "junior.pt"), strict=True):
        shutil.copy(ROOT / "data" / senior, machine / "senior.pt")
    for machine, total in zip(machines, (5, 7), strict=True):
        problem = {"question": f"How much is 2 and {total - 2}?", "answer": str(total)}
        (machine / "test.jsonl").write_text(json.dumps(problem) + "\n")
    for words, named in (
        (("--senior", "senior.pt"), "models"),
        (("--data", "test.jsonl", "--test-data", "test.jsonl"), "problems"),
    ):
        codes, said = together(tmp_path, command_on, machines, [(*SHORT, *words)] * 2)
        assert codes == [2, 2] and all(f"have different {named};" in line for line in said)


def test_to_resume_every_machine_needs_the_directory_as_it_is_now(pair, tmp_path, machines):
    """A machine that lacks it says so itself, because the first one can't know why."""
    first, second = machines
    shutil.copytree(pair, first / "run")
    words = [("--resume", "run", "--steps", 4)] * 2
    codes, (said, other) = together(tmp_path, command_on, machines, words)
    assert codes == [2, 2] and "another process of the run is lost" in said
    (line,) = other.splitlines()
    assert line.startswith("error: run/config.json can't be read")

    shutil.copytree(pair, second / "run")
    codes, (said, _) = together(tmp_path, command_on, machines, words)
    assert codes == [0, 0] and "everything is in run\n" in said
    assert [len(metrics(machine / "run")) for machine in machines] == [4, 3]

    words = [("--resume", "run", "--steps", 5)] * 2
    codes, said = together(tmp_path, command_on, machines, words)
    assert codes == [2, 2] and all("have different checkpoints;" in line for line in said)


def connections(rank: int) -> None:
    """Print of each connection: does it ask for signs of life, and how long does it wait for one"""
    ranks.join()
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(number))) as connection:
            connection.getpeername()
            asks = connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            limit = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            found.append([asks, limit])
    ranks.sum(1)
    print(json.dumps(found), flush=True)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has it")
def test_the_system_watches_every_connection_to_another_process(tmp_path):
    codes, said = together(tmp_path, connections)
    assert codes == [0, 0]
    for words in said:
        found = json.loads(words)
        assert len(found) >= 2  # the store's, and gloo's
        assert found == [[1, 60_000]] * len(found)


def test_machines_that_cannot_reach_each_other_are_told_soon_and_what_to_set(monkeypatch, capsys):
    """Where a machine's name leads to itself, gloo needs the name of an interface."""
    waited = []

    def refused(backends, timeout):
        waited.append(timeout.total_seconds())
        raise RuntimeError("Gloo connectFullMesh failed with SO_ERROR. Advice\nA trace")

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(ranks.dist, "init_process_group", refused)
    assert main(*SHORT) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "can't reach each other (Gloo connectFullMesh failed with SO_ERROR)" in line
    assert "GLOO_SOCKET_IFNAME" in line and waited == [600]


DEFAULT = ("--eval-problems=4", "--eval-samples=1", "--save-every=1", "--device=cpu")


def agents(machines: list[Path], *words) -> list[subprocess.Popen]:
    """torchrun as a user starts it on two machines. Their output is in output.txt of each."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1"]
    launch += ["--master_addr=127.0.0.1", "--master_port", free_port()]
    started = []
    for rank, machine in enumerate(machines):
        line = [*launch, "--node_rank", str(rank), ROOT / "train.py", *DEFAULT, *words]
        with open(machine / "output.txt", "w") as output:
            agent = subprocess.Popen(line, cwd=machine, stdout=output, stderr=subprocess.STDOUT)
        started.append(agent)
    return started


def kill(agent: subprocess.Popen) -> None:
    """torchrun and its process, as if the machine were gone."""
    find = ["pgrep", "-P", str(agent.pid)]
    found = subprocess.run(find, capture_output=True, text=True, check=False)
    agent.kill()
    for worker in found.stdout.split():
        os.kill(int(worker), signal.SIGKILL)
    agent.wait()


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """Four steps of the default run in one process."""
    out = tmp_path_factory.mktemp("alone") / "run"
    assert main(*DEFAULT, "--steps=4", "--out", out) == 0
    return out


def assert_first_steps_equal(one: Path, other: Path) -> None:
    """Up to rounding, as far as both got."""
    steps = list(zip(metrics(one), metrics(other), strict=False))
    assert len(steps) >= 2
    for a, b in steps:
        for line in (a, b):
            assert line.pop("update_ratio_error") < 1e-4  # itself a rounding error
        assert a == pytest.approx(b, abs=1e-5, rel=1e-5)


@pytest.mark.slow
def test_two_machines_have_the_metrics_of_one_process(alone, machines):
    first, second = machines
    started = agents(machines, "--steps=3", "--out=run")
    codes = [agent.wait(timeout=120) for agent in started]
    said = (first / "output.txt").read_text()
    assert codes == [0, 0] and "everything is in run\n" in said, said
    assert len(metrics(first / "run")) == 3
    assert_first_steps_equal(alone, first / "run")
    (file,) = second.iterdir()  # its output
    assert file.read_text() == ""


@pytest.mark.slow
def test_where_a_machine_is_killed_the_other_ends_and_says_how_to_go_on(alone, machines):
    run = machines[0] / "run"
    log = run / "metrics.jsonl"
    survivor, killed = agents(machines, "--steps=100", "--out=run")
    deadline = time.monotonic() + 120
    while not log.exists() or log.read_text().count("\n") < 2:
        assert time.monotonic() < deadline and killed.poll() is None
        time.sleep(0.05)
    kill(killed)
    assert survivor.wait(timeout=60) == 1  # torchrun's code
    said = (machines[0] / "output.txt").read_text()
    reached = read_torch(run / "checkpoint.pt")["step"]
    (line,) = [line for line in said.splitlines() if "stopped: " in line]
    assert "error: stopped: another process of the run is lost (" in line and len(line) < 300
    assert f"is of step {reached}: python train.py --resume run goes on" in line
    assert reached >= 2
    assert main("--resume", run, "--steps", reached + 1) == 0
    assert len(metrics(run)) == reached + 1
    assert_first_steps_equal(alone, run)
