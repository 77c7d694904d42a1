"""Whatever a user gets wrong: one line that names it and the remedy, exit code 2, and nothing created or changed."""

import hashlib
import io
import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import tiny

import checkpoint
import evaluate
import reward
import rollout
import train
from model import load_model, save_model

MAINS = {"train": train.main, "evaluate": evaluate.main, "rollout": rollout.main, "reward": reward.main}


class Payload:
    """Unpickled, it would create a file."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


def seal(path: Path, content) -> None:
    """A file with a right SHA-256, whatever is in it."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path.write_bytes(buffer.getvalue() + hashlib.sha256(buffer.getvalue()).hexdigest().encode())


def edited(base: Path, name: str, path: str, change) -> None:
    """A copy of the run in which one file is another, or gone (None)."""
    shutil.copytree(base / "run", base / name)
    content = change((base / "run" / path).read_bytes())
    (base / name / path).unlink()
    if content is not None:
        (base / name / path).write_bytes(content)


def with_option(name, value):
    return lambda content: json.dumps(json.loads(content) | {name: value}).encode()


DATA = {
    "empty": b"",
    "blank": b"\n \n",
    "broken": b'{"question": "1 + 1?", "answer": "2"}\n{"question": "1 + 2?", "ans',
    "list": b'["1 + 1?", "2"]',
    "no_question": b'{"answer": "2"}',
    "no_answer": b'{"question": "1 + 1?"}',
    "null_answer": b'{"question": "1 + 1?", "answer": null}',
    "true_answer": b'{"question": "1 + 1?", "answer": true}',
    "number_question": b'{"question": 3, "answer": "2"}',
    "empty_question": b'{"question": " ", "answer": "2"}',
    "empty_answer": b'{"question": "1 + 1?", "answer": ""}',
    "unreadable_answer": b'{"question": "1 + 1?", "answer": "}"}',
    "unmarked_answer": b'{"question": "1 + 1?", "answer": "so it is 2\\n#### "}',
    "nan_answer": b'{"question": "1 + 1?", "answer": NaN}',
    "surrogate": b'{"question": "\\ud800", "answer": "2"}',
    "deep": b"[" * 100_000,
    "long": b'{"question": "1 + 1?", "answer": "2"}\n\n{"question": "' + b"word " * 300 + b'", "answer": "2"}',
    "latin": '{"question": "1 + 1?", "answer": "2"}\n{"question": "café", "answer": "2"}'.encode("latin-1"),
    "inf_answer": b'{"question": "1 + 1?", "answer": -Infinity}',
    "few": b'{"question": "1 + 1?", "answer": "2"}',
    "few_held_out": b'{"question": "What is 18 + 18?", "answer": "4"}',  # by its hash
}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A short run, damaged copies of it, and files that are no models or no problems."""
    base = tmp_path_factory.mktemp("base")
    small = "--steps 2 --save-every 1 --prompts 2 --group-size 4 --eval-problems 2 --eval-samples 1".split()
    train.main([*small, "--out", str(base / "run")])
    edited(base, "flipped", "checkpoint.pt", lambda data: data[:1000] + bytes([data[1000] ^ 1]) + data[1001:])
    edited(base, "cut", "checkpoint.pt", lambda data: data[:-100])
    edited(base, "options", "config.json", with_option("seed", 1))
    edited(base, "another", "config.json", lambda _: b'{"model_type": "llama", "hidden_size": 64}')
    edited(base, "types", "config.json", with_option("steps", "many"))
    edited(base, "unknown", "config.json", with_option("colour", "red"))
    edited(base, "no_json", "config.json", lambda _: b"{")
    edited(base, "no_config", "config.json", lambda _: None)
    edited(base, "no_junior", "junior.pt", lambda _: None)
    edited(base, "other_junior", "junior.pt", lambda _: (Path(train.__file__).parent / "data/senior.pt").read_bytes())
    edited(base, "no_metrics", "metrics.jsonl", lambda _: b"")
    edited(base, "half_metrics", "metrics.jsonl", lambda data: data[:-20])
    edited(base, "no_eval", "eval.json", lambda _: None)
    edited(base, "steps", "config.json", with_option("steps", 1))
    edited(base, "no_schedule", "config.json", with_option("schedule", "wurd"))
    edited(base, "half_seed", "config.json", with_option("seed", 0.5))
    edited(base, "true_steps", "config.json", with_option("steps", True))
    edited(base, "deep", "config.json", lambda _: b"[" * 100_000)
    edited(base, "no_measures", "eval.json", lambda _: b'{"before": {}, "after": {}}')
    edited(base, "worded_measures", "eval.json", lambda data: data.replace(b'"kl": ', b'"kl": "a", "k": '))
    edited(base, "other_metrics", "metrics.jsonl", lambda data: b"{}\n[1]\n" + data)
    edited(base, "no_json_eval", "eval.json", lambda data: data[:-9])
    edited(base, "no_options_eval", "eval.json", lambda data: data.replace(b'"config"', b'"options"'))
    edited(base, "half_along", "measures.jsonl", lambda _: b'{"step": 2}\n{"st')
    edited(base, "other_along", "measures.jsonl", lambda _: b'{"step": 2}\n')
    (base / "other.json").write_text('[{"name": "x", "after": {}}]')
    (base / "list.json").write_text("[]")
    edited(base, "lost", "checkpoint.pt", lambda _: None)
    (base / "lost" / "previous.pt").unlink()
    state = checkpoint.read(base / "run" / "checkpoint.pt")
    for name in "model step options before lengths fingerprints trainer".split():
        edited(base, f"no_{name}", "checkpoint.pt", lambda _: b"")
        seal(base / f"no_{name}" / "checkpoint.pt", {key: value for key, value in state.items() if key != name})
    for name, change in {
        "negative_step": {"step": -3},
        "later_step": {"step": 10**30},
        "worded_length": {"lengths": {"metrics.jsonl": "x", "samples.txt": 0}},
        "no_length": {"lengths": {}},
        "no_optimizer": {"trainer": state["trainer"] | {"optimizer": {}}},
        "no_faults": {"trainer": {key: value for key, value in state["trainer"].items() if key != "faults"}},
    }.items():
        edited(base, name, "checkpoint.pt", lambda _: b"")
        seal(base / name / "checkpoint.pt", state | change)
    edited(base, "previous", "checkpoint.pt", lambda data: data[:-1])
    seal(base / "previous" / "previous.pt", 7)
    edited(base, "weights_only", "checkpoint.pt", lambda _: (base / "run" / "junior.pt").read_bytes())

    save_model(tiny(0), base / "vocabulary.pt")
    save_model(tiny(0, vocab_size=512, max_seq_len=80), base / "short_context.pt")
    sick = load_model(base / "run" / "junior.pt")
    sick.norm.weight.data[0] = float("nan")
    save_model(sick, base / "nan.pt")
    content = checkpoint.read(base / "run" / "junior.pt")
    seal(base / "architecture.pt", content | {"config": content["config"] | {"d_ff": 99}})
    for name, value in {"layers": 10**30, "context": 10**30, "vocabulary": 0, "eps": "x"}.items():
        field = {"layers": "n_layers", "context": "max_seq_len", "vocabulary": "vocab_size", "eps": "norm_eps"}[name]
        seal(base / f"{name}_size.pt", content | {"config": content["config"] | {field: value}})
    seal(base / "tensor.pt", torch.zeros(3))
    seal(base / "no_architecture.pt", {"model": content["model"]})
    seal(base / "list.pt", [1, 2])
    seal(base / "code.pt", content | {"more": Payload(base / "trace")})
    data = (base / "run" / "junior.pt").read_bytes()
    (base / "cut.pt").write_bytes(data[:-1])
    (base / "flipped.pt").write_bytes(data[:-200] + bytes([data[-200] ^ 64]) + data[-199:])
    (base / "plain.pt").write_bytes(data[:-64])  # without its SHA-256
    (base / "text.pt").write_text("hello")
    (base / "empty.pt").write_bytes(b"")
    for name, lines in DATA.items():
        (base / f"{name}.jsonl").write_bytes(lines)
    return base


def files(*directories: Path) -> dict:
    found = [path for directory in directories for path in directory.rglob("*")]
    return {path: (path.stat().st_ctime_ns, path.stat().st_size) for path in found}


ROWS = """
train --shedule word                                 | unknown option --shedule; did you mean --schedule
train --schedule words                               | --schedule choose
train --steps many                                   | --steps many
train --steps 1.5                                    | --steps 1.5
train --steps -1                                     | --steps at least 0
train --preset giant                                 | --preset laptop paper
train --preset smollm2                               | --preset smollm2 --data
train --preset paper                                 | --preset paper --senior
train --preset paper --senior {base}/run/junior.pt   | --preset paper --data
train --resume {base}/run --preset paper             | --preset paper contradicts laptop
train --resume {base}/run --prompt-template {question} | --prompt-template contradicts None
train --prompt-template question                     | --prompt-template {question}
train --prompt-template=                             | --prompt-template empty
train --prompt-template {question}{question}{question}aaaaaaaaaaaaaa! --max-new-tokens 66 | --max-new-tokens 66 128
train --checkpoint-activations=maybe                 | --checkpoint-activations maybe true
train --steps                                        | --steps expected
train stray                                          | stray
train --p-senior 1.5                                 | --p-senior 1.5
train --p-senior nan                                 | --p-senior nan
train --p-senior 0                                   | --p-senior nothing to train
train --p-senior half                                | --p-senior half
train --max-gap 0                                    | --max-gap at least 1
train --chunk 0                                      | --chunk at least 1
train --prompts 0                                    | --prompts at least 1
train --group-size 0                                 | --group-size at least 1
train --group-size 1                                 | --group-size ema
train --group-size 1 --baseline rloo                 | --group-size ema
train --group-size 1 --baseline none --normalize-std | --group-size --normalize-std
train --objective grpo --baseline ema                | --normalize-std false spread
train --max-new-tokens 0                             | --max-new-tokens at least 1
train --max-new-tokens 200                           | --max-new-tokens 200 128 68
train --temperature 0                                | --temperature 0.01
train --temperature nan                              | --temperature nan
train --temperature inf                              | --temperature inf
train --top-p 0.9                                    | --top-p
train --learning-rate -1                             | --learning-rate -1
train --learning-rate 0                              | --learning-rate above 0
train --learning-rate inf                            | --learning-rate inf
train --grad-clip 0                                  | --grad-clip above 0
train --warmup -1                                    | --warmup -1
train --weight-decay nan                             | --weight-decay nan
train --junior-weight -0.1                           | --junior-weight -0.1
train --kl-coef -1                                   | --kl-coef -1
train --kl-estimator k4                              | --kl-estimator k3 exact
train --objective ppo                                | --objective grpo
train --baseline mean                                | --baseline rloo
train --clip 0.2                                     | --clip grpo
train --objective grpo --clip 2                      | --clip 2
train --mini-batches 3                               | --mini-batches 3 --prompts 16
train --mini-batches 0                               | --mini-batches at least 1
train --normalize-std=perhaps                        | --normalize-std perhaps true
train --seed -1                                      | --seed -1
train --eval-problems 0                              | --eval-problems at least 1
train --eval-samples 0                               | --eval-samples at least 1
train --eval-temperature nan                         | --eval-temperature nan
train --save-every 0                                 | --save-every at least 1
train --rollout-rows 0                               | --rollout-rows at least 1
train --on-nonfinite ignore                          | --on-nonfinite stop skip
train --device abacus                                | --device abacus auto
train --out {base}/text.pt                           | text.pt --out
train --out {base}/text.pt/run                       | text.pt/run --out
train --out {base}/run                               | holds a run --resume {base}/run --out
train --pretrain --out {base}/run                    | holds a run --out
train --junior {base}/absent.pt                      | absent.pt can't be read
train --junior {base}                                | can't be read
train --junior {base}/text.pt                        | text.pt not a checkpoint
train --junior {base}/empty.pt                       | empty.pt not a checkpoint
train --junior {base}/cut.pt                         | cut.pt damaged SHA-256
train --junior {base}/flipped.pt                     | flipped.pt damaged SHA-256
train --junior {base}/plain.pt                       | plain.pt damaged SHA-256
train --junior {base}/code.pt                        | code.pt not a checkpoint
train --junior {base}/list.pt                        | list.pt not a checkpoint
train --junior {base}/no_architecture.pt             | no_architecture.pt no model
train --junior {base}/architecture.pt                | architecture.pt no model architecture
train --junior {base}/vocabulary.pt                  | vocabulary.pt 37 512
train --senior {base}/vocabulary.pt                  | vocabulary.pt 37 512
train --senior {base}/nan.pt                         | nan.pt NaN
train --junior {base}/short_context.pt               | --max-new-tokens 64 80
train --data {base}/absent.jsonl                     | absent.jsonl can't be read
train --data {base}                                  | can't be read
train --data {base}/empty.jsonl                      | empty.jsonl has no problem
train --data {base}/blank.jsonl                      | blank.jsonl has no problem
train --data {base}/broken.jsonl                     | broken.jsonl, line 2: no JSON
train --data {base}/list.jsonl                       | line 1: question answer
train --data {base}/no_question.jsonl                | line 1: no field "question"
train --data {base}/no_answer.jsonl                  | line 1: no field "answer"
train --data {base}/null_answer.jsonl                | line 1: "answer" null
train --data {base}/true_answer.jsonl                | line 1: "answer" true
train --data {base}/number_question.jsonl            | line 1: "question" 3
train --data {base}/empty_question.jsonl             | line 1: "question" empty
train --data {base}/empty_answer.jsonl               | line 1: "answer" verifier
train --data {base}/unreadable_answer.jsonl          | line 1: "answer" '}' verifier
train --data {base}/unmarked_answer.jsonl            | line 1: "answer" verifier
train --data {base}/nan_answer.jsonl                 | line 1: "answer" nan verifier
train --data {base}/inf_answer.jsonl                 | line 1: "answer" inf verifier
train --data {base}/few_held_out.jsonl               | few_held_out.jsonl --test-data
train --seed 1000000000000000000000000000000         | --seed too large
train --max-gap 1000000000000000000000000000000      | --max-gap too large
train --out=                                         | --out empty
train --junior=                                      | --junior empty
train --resume=                                      | config.json
train --junior {base}/layers_size.pt                 | layers_size.pt no model
train --junior {base}/context_size.pt                | context_size.pt no model
train --junior {base}/vocabulary_size.pt             | vocabulary_size.pt no model
train --junior {base}/eps_size.pt                    | eps_size.pt no model
train --junior {base}/tensor.pt                      | tensor.pt not a checkpoint
train --resume {base}/steps                          | checkpoint.pt step 2 --steps 1
train --resume {base}/no_schedule                    | no_schedule/config.json --schedule wurd
train --resume {base}/half_seed                      | half_seed/config.json --seed 0.5 int
train --resume {base}/true_steps                     | true_steps/config.json --steps True
train --resume {base}/deep                           | deep/config.json no JSON
train --resume {base}/lost                           | lost its checkpoint.pt restore
train --resume {base}/no_model                       | checkpoint.pt no state
train --resume {base}/no_step                        | checkpoint.pt no state
train --resume {base}/no_options                     | checkpoint.pt no state
train --resume {base}/no_before                      | checkpoint.pt no state
train --resume {base}/no_lengths                     | checkpoint.pt no state
train --resume {base}/no_fingerprints                | checkpoint.pt no state
train --resume {base}/no_trainer                     | checkpoint.pt no state
train --resume {base}/negative_step                  | checkpoint.pt no state
train --resume {base}/later_step                     | checkpoint.pt beyond --steps
train --resume {base}/worded_length                  | checkpoint.pt no state
train --resume {base}/no_length                      | checkpoint.pt no state
train --resume {base}/no_optimizer                   | state not one of this run
train --resume {base}/no_faults                      | state not one of this run
train --resume {base}/previous                       | checkpoint.pt damaged no good one before it
train --resume {base}/run --data {base}/few.jsonl    | --data began
evaluate {base}/no_measures                          | eval.json measures --resume
evaluate {base}/worded_measures                      | eval.json measures --resume
evaluate {base}/half_seed --problems 2               | config.json --seed
evaluate {base}/deep --problems 2                    | config.json no JSON
rollout {base}/no_schedule                           | config.json --schedule
train --data {base}/surrogate.jsonl                  | line 1: surrogates
train --data {base}/deep.jsonl                       | line 1: no JSON
train --data {base}/long.jsonl                       | line 3: tokens 64 --max-prompt-tokens 64
train --data {base}/latin.jsonl                      | line 2: 0xe9 UTF-8
train --data {base}/few.jsonl                        | few.jsonl --test-data
train --data {base}/few.jsonl --test-data {base}/broken.jsonl | broken.jsonl, line 2
train --data {base}/long.jsonl --max-prompt-tokens 2 | no problem of up to 2 tokens
train --data {base}/few.jsonl --max-prompt-tokens 90 | --max-new-tokens 64 90
train --data {base}/few.jsonl --max-prompt-tokens 0  | --max-prompt-tokens at least 1
train --test-data {base}/few.jsonl                   | --test-data --data
train --world nowhere                                | --world nowhere jargon phrasings
train --world work                                   | base-work/senior.pt missing --pretrain --world work
train --world phrasings --junior {base}/run/junior.pt | base-phrasings/senior.pt missing --pretrain --world phrasings
train --world work --senior {base}/run/junior.pt     | base-work/junior.pt missing --pretrain --world work
train --world work --data {base}/few.jsonl           | --world work --data leave
train --world hard --senior {base}/run/junior.pt --junior self | --max-new-tokens 96 112 128
train --resume {base}/run --world work               | --world work contradicts jargon
train --max-prompt-tokens 10                         | --max-prompt-tokens --data
train --resume {base}/absent                         | absent/config.json can't be read
train --resume {base}/no_config                      | config.json can't be read
train --resume {base}/no_json                        | config.json no JSON
train --resume {base}/another                        | another/config.json schedule seed steps restore
rollout {base}/another                               | another/config.json schedule seed steps restore
evaluate {base}/another --problems 2                 | another/config.json schedule seed steps restore
train --resume {base}/types                          | types/config.json restore
train --resume {base}/unknown                        | unknown/config.json colour restore
train --resume {base}/options                        | config.json --seed 1 checkpoint 0
train --resume {base}/flipped                        | checkpoint.pt damaged step 1 mv {base}/flipped/previous.pt
train --resume {base}/cut                            | checkpoint.pt damaged step 1 mv {base}/cut/previous.pt
train --resume {base}/no_junior                      | junior.pt can't be read
train --resume {base}/other_junior                   | junior.pt began
train --resume {base}/no_metrics                     | metrics.jsonl 0 bytes restore
train --resume {base}/half_metrics                   | metrics.jsonl bytes restore
train --resume {base}/weights_only                   | checkpoint.pt no state --senior
train --resume {base}/run --seed 1                   | --seed 1 contradicts 0
train --resume {base}/run --schedule solo            | --schedule solo contradicts word
train --resume {base}/run --learning-rate 1e-3       | --learning-rate 0.001 contradicts
train --resume {base}/run --steps 1                  | --steps 1 2 grow
train --resume {base}/run --out {base}/other         | --out contradicts
train --resume {base}/run --pretrain                 | --pretrain contradicts
train --resume {base}/run --save-every 0             | --save-every at least 1
evaluate                                             | runs
evaluate {base}/absent                               | absent/eval.json can't be read
evaluate {base}/no_eval                              | eval.json can't be read finished
evaluate {base}/run --samples 0                      | --samples at least 1
evaluate {base}/run --top-p 2                        | --top-p
evaluate {base}/run --temperature nan                | --temperature
evaluate {base}/flipped --problems 2                 | checkpoint.pt damaged
evaluate {base}/no_junior --problems 2               | junior.pt can't be read
evaluate {base}/other_metrics                        | metrics.jsonl broken
evaluate {base}/run --figure {base}/absent/x.png     | --figure absent/x.png
evaluate {base}/run --control solo                   | --control solo run
evaluate {base}/no_json_eval                         | eval.json no JSON
evaluate {base}/no_options_eval                      | eval.json measures config --resume
evaluate {base}/half_along                           | measures.jsonl broken
evaluate {base}/other_along                          | measures.jsonl broken solo expected
evaluate {base}/absent.json                          | absent.json can't be read
evaluate {base}/broken.jsonl                         | broken.jsonl evaluate.py --json
evaluate {base}/run/config.json                      | config.json evaluate.py --json
evaluate {base}/other.json                           | other.json evaluate.py --json missing
evaluate {base}/list.json                            | no runs
evaluate {base}/other.json --problems 3              | other.json directories
evaluate {base}/no_junior --handoff-curve            | junior.pt can't be read
train --eval-every 0                                 | --eval-every at least 1
train --resume {base}/run --eval-every 0             | --eval-every at least 1
rollout {base}/absent                                | absent/config.json can't be read
rollout {base}/cut                                   | checkpoint.pt damaged
rollout {base}/run --samples 0                       | --samples
rollout {base}/run --json                            | --json --benchmark
rollout {base}/run --temperature -1                  | --temperature
rollout {base}/run --device abacus                   | --device abacus
reward                                               | RESPONSE ANSWER
reward --file {base}/absent.jsonl                    | absent.jsonl can't read
reward --file {base}/broken.jsonl                    | broken.jsonl row 1
"""


@pytest.mark.parametrize("row", ROWS.strip().splitlines(), ids=lambda row: " ".join(row.split("|")[0].split()))
def test_bad_input_is_one_line_and_code_2_and_changes_nothing(base, row, tmp_path, monkeypatch, capsys):
    command, expected = row.replace("{base}", str(base)).split("|")
    script, *words = command.split()
    if "--figure" in words or "other_metrics" in command:
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
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


def test_there_are_enough_of_them():
    assert len(ROWS.strip().splitlines()) >= 60
