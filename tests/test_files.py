"""A run's files: written whole, and refused when they are damaged or not ours."""

import json
import os
import random
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import tiny

from model import GPT
from support.models.weights import from_state
from support.runs.files import read_model, read_torch, write_json, write_model, write_torch

ROOT = Path(__file__).parent.parent


def same(a: GPT, b: GPT) -> bool:
    return a.config == b.config and all(
        map(torch.equal, a.state_dict().values(), b.state_dict().values())
    )


def test_a_saved_model_is_loaded_to_the_bit_and_in_eval_mode_with_what_was_saved_beside_it(
    tmp_path,
):
    for model in (tiny(3), tiny(3, tie_embeddings=False)):
        write_model(
            model.train(),
            tmp_path / "m.pt",
            step=7,
            counts={"a": [1, None]},
            moments=torch.arange(3),
        )
        loaded, content = read_model(tmp_path / "m.pt"), read_torch(tmp_path / "m.pt")
        assert not loaded.training and same(loaded, model)
        assert (loaded.head.weight is loaded.embedding.weight) == model.config.tie_embeddings
        assert (content["step"], content["counts"], content["moments"].tolist()) == (
            7,
            {"a": [1, None]},
            [0, 1, 2],
        )


def test_a_model_is_made_of_the_given_weights_themselves_and_they_must_fit():
    config, state, tokens = tiny(3).config, dict(tiny(3).state_dict()), torch.arange(9)[None]
    model = from_state(config, state)
    assert all(
        parameter.data_ptr() == state[name].data_ptr()
        for name, parameter in model.named_parameters()
    )
    assert torch.equal(model(tokens), tiny(3)(tokens)) and not model.training
    norm, nan = {"norm.weight": state["norm.weight"]}, torch.full((16,), torch.nan)
    bad = [
        state | {"norm.weight": torch.ones(3)},
        state | {"norm.weight": nan},
        state | {"more": nan},
        norm,
        {},
    ]
    for wrong, reason in zip(
        bad, ("size mismatch", "NaN", "Unexpected", "2 layers", "2 layers"), strict=True
    ):
        with pytest.raises(ValueError, match=reason):
            from_state(config, wrong)


def test_a_damaged_file_is_refused_wherever_the_damage_is(tmp_path):
    """A flipped byte is found, or it is in a field that nobody reads.

    Each time it is a new file: loaded ones are mapped.
    """
    model, rng = tiny(0, n_layers=1, d_model=8, vocab_size=11), random.Random(0)
    write_model(model, tmp_path / "m.pt")
    whole, refused = (tmp_path / "m.pt").read_bytes(), 0
    with zipfile.ZipFile(tmp_path / "m.pt") as archive:
        directory = archive.start_dir
    places = [rng.randrange(len(whole)) for _ in range(150)] + [
        rng.randrange(directory, len(whole)) for _ in range(50)
    ]
    flips = [(place, rng.randrange(1, 256)) for place in places]
    # An entry of the directory: the member is stored as if it were compressed.
    for found in re.finditer(b"PK\x01\x02", whole[directory:]):
        flips += [(directory + found.start() + 10, method) for method in (8, 12, 14)]
    for n, (place, bits) in enumerate(flips):
        damaged, path = bytearray(whole), tmp_path / f"{n}.pt"
        damaged[place] ^= bits
        path.write_bytes(damaged)
        try:
            assert same(read_model(path), model), (place, bits)
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 100
    for length in [0, 1, *range(len(whole) - 30, len(whole)), *rng.sample(range(len(whole)), 30)]:
        path = tmp_path / f"cut at {length}.pt"
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=path.name):
            read_model(path)


@pytest.mark.parametrize("where", ["support.runs.files.open", "torch.save", "os.fsync"])
def test_a_file_that_cannot_be_written_leaves_the_old_one_whole(tmp_path, monkeypatch, where):
    def full(*_):
        raise OSError(28, "No space left on device")

    write_model(tiny(0), tmp_path / "m.pt")
    monkeypatch.setattr(where, full, raising=False)
    with pytest.raises(OSError, match="No space"):
        write_torch({"new": 1}, tmp_path / "m.pt")
    monkeypatch.undo()
    assert same(read_model(tmp_path / "m.pt"), tiny(0))
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt"]


def test_a_link_stays_a_link_and_its_target_gets_the_content(tmp_path):
    """A checkpoint may be linked to a larger disk."""
    (tmp_path / "large").mkdir()
    (tmp_path / "m.pt").symlink_to("large/m.pt")  # nothing is there yet
    (tmp_path / "x.json").symlink_to(tmp_path / "large" / "x.json")
    (tmp_path / "large" / "x.json").write_text("old")
    for value in (1, 2):
        write_torch({"new": value}, tmp_path / "m.pt")
        write_json(tmp_path / "x.json", {"new": value})
        assert read_torch(tmp_path / "large" / "m.pt") == {"new": value}
        assert json.loads((tmp_path / "large" / "x.json").read_text()) == {"new": value}
    assert (tmp_path / "m.pt").is_symlink() and (tmp_path / "x.json").is_symlink()
    assert len(list(tmp_path.rglob("*"))) == 5


def test_a_pipe_and_a_device_are_written_through(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE)
    write_json(pipe, {"a": 1})
    assert json.loads(reader.communicate(timeout=60)[0]) == {"a": 1}
    assert pipe.is_fifo() and os.listdir(tmp_path) == ["pipe"]
    for name in ("null", "full"):
        (tmp_path / name).symlink_to(f"/dev/{name}")  # a mistake would replace the link alone
    write_json(tmp_path / "null", {"a": 1})
    with pytest.raises(OSError, match="No space"):
        write_json(tmp_path / "full", {"a": 1})
    assert (tmp_path / "null").is_symlink() and (tmp_path / "full").is_char_device()


def test_a_redirected_stdout_keeps_what_was_printed(tmp_path):
    code = "print('a table', flush=True); write_json(Path('/proc/self/fd/1'), {'a': 1})"
    code = f"from pathlib import Path; from support.runs.files import write_json; {code}"
    with open(tmp_path / "out", "w") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True, cwd=ROOT)
    first, rest = (tmp_path / "out").read_text().split("\n", 1)
    assert first == "a table" and json.loads(rest) == {"a": 1}


class Payload:
    """Would create the file "trace" if it were unpickled."""

    def __reduce__(self):
        return open, ("trace", "w")


def test_files_that_are_no_checkpoint_are_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_model(tiny(0), "m.pt")
    whole = read_torch("m.pt")
    no_utf8 = b"\x80\x02X\x03\x00\x00\x00\xff\xfe\xfdq\x00."  # a pickle with a string that isn't
    contents = [
        {"config": Payload(), "model": {}},
        b"hello",
        no_utf8,
        {"weights": torch.zeros(2)},
        [1],
        7,
    ]
    for change in ({"d_ff": 99}, {"n_layers": 10**12}, {"n_layers": "2"}, {"unheard": 1}):
        contents.append(whole | {"config": whole["config"] | change})
    contents += [
        {"config": 1, "model": {}},
        whole | {"model": [1]},
        whole | {"model": {"norm.weight": 3}},
    ]
    for n, content in enumerate(contents):
        Path(f"{n}.pt").write_bytes(content) if isinstance(content, bytes) else torch.save(
            content, f"{n}.pt"
        )
        with pytest.raises(ValueError, match=f"{n}.pt.*of this project"):
            read_model(f"{n}.pt")
    assert not Path("trace").exists()
    with zipfile.ZipFile("other.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    for path in ("other.pt", "absent.pt", "."):
        with pytest.raises(ValueError, match="not a checkpoint"):
            read_model(path)
