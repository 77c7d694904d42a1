"""Whatever a user gets wrong: one line that names it and the remedy, and exit code 2.

Nothing is created or changed.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import tiny

import support.reports.compare
import support.reports.show
import support.verifier.grade
import train
from model import load_model, save_model
from support.runs.files import read_torch

MAINS = {
    "train": train.main,
    "evaluate": support.reports.compare.main,
    "rollout": support.reports.show.main,
    "reward": support.verifier.grade.main,
}


class Payload:
    """Unpickled, it would create a file."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


def edited(base: Path, name: str, path: str, change) -> None:
    """A copy of the run in which one file is another, or gone (None)."""
    shutil.copytree(base / "run", base / name)
    content = change((base / "run" / path).read_bytes())
    (base / name / path).unlink()
    if content is not None:
        (base / name / path).write_bytes(content)


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def with_option(name, value):
    return lambda content: json.dumps(json.loads(content) | {name: value}).encode()


GOOD = b'{"question": "1 + 1?", "answer": "2"}\n'
DATA = {  # the content of a file, and words of the message
    "empty": (b"", "empty.jsonl has no line"),
    "blank": (b"\n \n", "blank.jsonl has no line"),
    "broken": (GOOD + b'{"question": "1 + 2?", "ans', "broken.jsonl, line 2: Unterminated"),
    "list": (b'["1 + 1?", "2"]', "line 1: question answer"),
    "no_question": (b'{"answer": "2"}', 'line 1: expected "question"'),
    "no_answer": (b'{"question": "1 + 1?"}', 'line 1: expected "answer"'),
    "null_answer": (b'{"question": "1 + 1?", "answer": null}', 'line 1: "answer" null'),
    "true_answer": (b'{"question": "1 + 1?", "answer": true}', 'line 1: "answer" true'),
    "number_question": (b'{"question": 3, "answer": "2"}', 'line 1: "question" 3'),
    "empty_question": (b'{"question": " ", "answer": "2"}', 'line 1: "question" expected text'),
    "empty_answer": (b'{"question": "1 + 1?", "answer": ""}', 'line 1: "answer" verifier'),
    "unreadable_answer": (
        b'{"question": "1 + 1?", "answer": "}"}',
        "line 1: \"answer\" '}' verifier",
    ),
    "unmarked_answer": (
        b'{"question": "1 + 1?", "answer": "so it is 2\\n#### "}',
        'line 1: "answer" verifier',
    ),
    "nan_answer": (b'{"question": "1 + 1?", "answer": NaN}', 'line 1: "answer" nan verifier'),
    "surrogate": (b'{"question": "\\ud800", "answer": "2"}', "line 1: surrogates"),
    "deep": (b"[" * 100_000, "line 1: recursion"),
    "long": (GOOD.replace(b"+", b"word " * 300), "long.jsonl no problem 64 tokens"),
    "latin": (GOOD + '{"question": "café", "answer": "2"}'.encode("latin-1"), "line 2: 0xe9 utf-8"),
    "inf_answer": (b'{"question": "1 + 1?", "answer": -Infinity}', 'line 1: "answer" inf verifier'),
    "few": (GOOD, "few.jsonl --test-data"),
    "few_held_out": (
        b'{"question": "What is 18 + 18?", "answer": "4"}',
        "few_held_out.jsonl --test-data",
    ),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A short run, damaged copies of it, and files that are no models or no problems."""
    base = tmp_path_factory.mktemp("base")
    small = "--steps 2 --save-every 1 --prompts-per-step 2 --group-size 4"
    small += " --eval-problems 2 --eval-samples 1"
    train.main([*small.split(), "--out", str(base / "run")])
    junior = (base / "run" / "junior.pt").read_bytes()
    for name, path, change in [
        ("flipped", "checkpoint.pt", flip),
        ("cut", "checkpoint.pt", lambda data: data[:-100]),
        ("weights_only", "checkpoint.pt", lambda _: junior),
        ("flipped_junior", "junior.pt", flip),
        ("no_junior", "junior.pt", lambda _: None),
        ("no_senior", "senior.pt", lambda _: None),
        ("no_checkpoint", "checkpoint.pt", lambda _: None),
        ("another", "config.json", lambda _: b'{"model_type": "llama", "hidden_size": 64}'),
        ("types", "config.json", with_option("steps", "many")),
        ("unknown", "config.json", with_option("colour", "red")),
        ("wrong_schedule", "config.json", with_option("schedule", "wurd")),
        ("steps", "config.json", with_option("steps", 1)),
        ("deep", "config.json", lambda _: b"[" * 100_000),
        ("no_metrics", "metrics.jsonl", lambda _: b""),
        ("other_metrics", "metrics.jsonl", lambda data: b"{}\n[1]\n" + data),
        ("no_eval", "eval.json", lambda _: None),
        ("no_json_eval", "eval.json", lambda data: data[:-9]),
        ("no_options_eval", "eval.json", lambda data: data.replace(b'"config"', b'"options"')),
        (
            "no_measures",
            "eval.json",
            lambda data: json.dumps(json.loads(data) | {"after": {}}).encode(),
        ),
        ("worded_measures", "eval.json", lambda data: data.replace(b'"kl": ', b'"kl": "a", "k": ')),
        ("half_along", "evals.jsonl", lambda _: b'{"step": 2}\n{"st'),
        ("other_along", "evals.jsonl", lambda _: b'{"step": 2}\n'),
    ]:
        edited(base, name, path, change)
    state = read_torch(base / "run" / "checkpoint.pt")
    for name in "model optimizer".split():
        edited(base, f"no_{name}", "checkpoint.pt", lambda _: b"")
        torch.save(
            {key: value for key, value in state.items() if key != name},
            base / f"no_{name}" / "checkpoint.pt",
        )
    (base / "other.json").write_text('[{"name": "x", "after": {}}]')

    save_model(tiny(0), base / "vocabulary.pt")
    save_model(tiny(0, vocab_size=512, max_seq_len=80), base / "short_context.pt")
    sick = load_model(base / "run" / "junior.pt")
    sick.norm.weight.data[0] = float("nan")
    save_model(sick, base / "nan.pt")
    content = read_torch(base / "run" / "junior.pt")
    for name, value in {"d_ff": 99, "n_layers": 10**30, "vocab_size": 0}.items():
        torch.save(content | {"config": content["config"] | {name: value}}, base / f"{name}.pt")
    for name, other in {
        "tensor": torch.zeros(3),
        "no_architecture": {"model": content["model"]},
        "code": content | {"more": Payload(base / "trace")},
    }.items():
        torch.save(other, base / f"{name}.pt")
    (base / "text.pt").write_text("hello")
    for name, (lines, _) in DATA.items():
        (base / f"{name}.jsonl").write_bytes(lines)
    return base


def files(*directories: Path) -> dict:
    found = [path for directory in directories for path in directory.rglob("*")]
    return {
        path: (path.stat().st_ctime_ns, path.stat().st_size)
        for path in found
        if path.name != ".lock"
    }


# Numbers and words that an option can't have: the message names both.
WRONG = """
steps=many steps=1.5 steps=-1 prompt-template=question p-senior=1.5 p-senior=nan p-senior=0
p-senior=half max-gap=0 prompts-per-step=0 temperature=0 temperature=nan temperature=inf
learning-rate=-1 learning-rate=0 learning-rate=inf learning-rate=1e38
grad-clip=0 warmup-steps=-1 weight-decay=nan junior-weight=-0.1 kl-coef=-1 mini-batches=3
mini-batches=0 seed=-1
eval-problems=0 eval-samples=0 eval-temperature=nan eval-every=0 save-every=0 rollout-batch-size=0
micro-batch-tokens=0 checkpoint-activations=maybe normalize-std=perhaps
schedule=words kl-estimator=k4 loss=ppo baseline=mean precision=float16 group-size=0
max-new-tokens=0 chunk=0 device=abacus world=nowhere
""".split()

ROWS = """
train --shedule word                            | unrecognized arguments: --shedule see --help
train stray                                     | unrecognized stray
train --prompt-template=                        | --prompt-template {question}
train --max-gap 1000000000000000000000000000000 | --max-gap
train --schedule chunk --chunk 64               | --chunk 64 never hands over --max-new-tokens
train --group-size 1                            | --group-size ema
train --loss grpo --baseline ema                | --normalize-std false spread
train --max-new-tokens 200                      | --max-new-tokens 200 128 68
train --clip 0.2                                | --clip grpo
train --loss grpo --clip 2                      | --clip 2
train --out=                                    | --out
train --out {base}/text.pt/run                  | text.pt/run --out
train --out {base}/run                          | holds a run --resume {base}/run --out
train --pretrain --out {base}/run               | holds a run --out
train --junior=                                 | --junior
train --junior {base}/absent.pt                 | absent.pt missing
train --junior {base}                           | {base}
train --junior {base}/run                       | {base}/run a run give {base}/run/checkpoint.pt
train --junior {base}/text.pt                   | text.pt not a checkpoint
train --junior {base}/flipped_junior/junior.pt  | junior.pt damaged
train --junior {base}/code.pt                   | code.pt not a checkpoint
train --junior {base}/tensor.pt                 | tensor.pt not a checkpoint
train --junior {base}/no_architecture.pt        | no_architecture.pt no model
train --junior {base}/d_ff.pt                   | d_ff.pt no model architecture
train --junior {base}/n_layers.pt               | n_layers.pt no model
train --junior {base}/vocab_size.pt             | vocab_size.pt no model
train --junior {base}/vocabulary.pt             | vocabulary.pt 37 512
train --senior {base}/nan.pt                    | nan.pt NaN
train --junior {base}/short_context.pt          | --max-new-tokens 64 80
train --data {base}/absent.jsonl                | absent.jsonl can't be read
train --data {base}                             | can't be read
train --data {base}/few.jsonl --test-data {base}/broken.jsonl | broken.jsonl, line 2
train --data {base}/long.jsonl --max-prompt-tokens 2 | long.jsonl no problem at most 2 tokens
train --data {base}/few.jsonl --max-prompt-tokens 90 | --max-new-tokens 64 90
train --test-data {base}/few.jsonl              | --test-data --data
train --world work                             | base-work/senior.pt missing --pretrain --world work
train --world work --data {base}/few.jsonl      | --world work --data leave
train --resume=                                 | config.json
train --resume {base}/absent                    | absent/config.json can't be read
train --resume {base}/deep                      | deep/config.json no JSON
train --resume {base}/another                   | another/config.json schedule seed steps restore
train --resume {base}/types                     | --steps many
train --resume {base}/unknown                   | colour
train --resume {base}/wrong_schedule            | --schedule wurd
train --resume {base}/steps                     | checkpoint.pt step 2 --steps 1
train --resume {base}/flipped                   | checkpoint.pt damaged
train --resume {base}/weights_only              | checkpoint.pt no state --senior
train --resume {base}/no_model                  | checkpoint.pt no model
train --resume {base}/no_optimizer              | checkpoint.pt no state
train --resume {base}/no_junior                 | junior.pt missing
train --resume {base}/no_checkpoint             | no_checkpoint has lost its checkpoint.pt; restore
train --resume {base}/flipped_junior            | junior.pt damaged
train --resume {base}/no_metrics                | metrics.jsonl shorter restore
train --resume {base}/other_along               | evals.jsonl shorter restore
train --resume {base}/run --seed 1              | --seed 1 contradicts 0
train --resume {base}/run --schedule solo       | --schedule solo contradicts word
train --resume {base}/run --prompt-template {question}! | --prompt-template contradicts
train --resume {base}/run --world work          | --world work contradicts jargon
train --resume {base}/run --data {base}/few.jsonl    | --data contradicts
train --resume {base}/run --steps 1             | --steps 1 step 2
train --resume {base}/run --out {base}/other    | --out contradicts
train --resume {base}/run --pretrain            | --pretrain contradicts
evaluate                                        | runs
evaluate {base}/no_eval                         | eval.json can't be read finished
evaluate {base}/no_json_eval                    | eval.json no JSON
evaluate {base}/no_options_eval                 | eval.json config expected
evaluate {base}/no_measures                     | no_measures damaged --problems
evaluate {base}/worded_measures                 | worded_measures damaged --problems
evaluate {base}/other_metrics                   | metrics.jsonl
evaluate {base}/half_along                      | evals.jsonl
evaluate {base}/other_along                     | other_along damaged solo
evaluate {base}/run --top-p 2                   | --top-p
evaluate {base}/run --temperature nan           | --temperature
evaluate {base}/run --figure {base}/absent/x.png     | absent/x.png
evaluate {base}/run --figure {base}/x.abacus    | x.abacus
evaluate {base}/run --control solo              | --control solo run
evaluate {base}/no_junior --problems 2          | junior.pt missing
evaluate {base}/no_senior --handoff-curve       | senior.pt missing
evaluate {base}/absent.json                     | absent.json No such file
evaluate {base}/broken.jsonl                    | broken.jsonl evaluate.py --json
evaluate {base}/other.json                      | other.json evaluate.py --json missing
evaluate {base}/other.json --problems 3         | other.json directories
rollout                                         | directory --benchmark
rollout {base}/cut                              | checkpoint.pt damaged
rollout {base}/run --samples 0                  | --samples
rollout {base}/run --json                       | --json --benchmark
rollout {base}/run --temperature -1             | --temperature
reward                                          | RESPONSE ANSWER
reward --file {base}/absent.jsonl               | absent.jsonl can't read
reward --file {base}/broken.jsonl               | broken.jsonl line 1
""".strip().splitlines()
ROWS.append(
    "train --prompt-template {question}{question}{question}aaaaaaaaaaaaaa! --max-new-tokens 66 | "
    "--max-new-tokens 66 128"
)
ROWS += [f"train --{wrong} | --{wrong.split('=')[0]}" for wrong in WRONG]
ROWS += [f"train --data {{base}}/{name}.jsonl | {words}" for name, (_, words) in DATA.items()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row.split("|")[0].split()))
def test_bad_input_is_one_line_and_code_2_and_changes_nothing(
    base, row, tmp_path, monkeypatch, capsys
):
    command, expected = row.replace("{base}", str(base)).split("|")
    script, *words = command.split()
    if "--figure" in words or "other_metrics" in command:
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "evaluate", lambda *_: pytest.fail("a run began"))
    before = files(base, tmp_path)
    capsys.readouterr()
    try:
        code = MAINS[script](words)
    except SystemExit as end:
        code = end.code
    out, error = capsys.readouterr()
    assert code == 2 and len(error.splitlines()) == 1, (out, error)
    missing = [word for word in expected.split() if word not in error]
    assert not missing, error
    assert files(base, tmp_path) == before
