"""A run's files: written whole, and refused when they are damaged or not ours."""

import random
import re
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import tiny

from model import GPT
from support.models.weights import from_state
from support.runs.files import read_model, read_torch, write_model, write_torch


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
