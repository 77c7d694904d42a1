"""Options from dataclasses, mistakes in one line, and bugs as tracebacks."""

import dataclasses
import io
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import torch

import support.reports.compare
import support.reports.show
import support.verifier.grade
import train
from support.runs.devices import pick_device
from support.runs.options import (
    UserError,
    command,
    field_docs,
    field_titles,
    in_color,
    option,
    parse,
    quoted,
)
from train import Config

ROOT = Path(__file__).parent.parent


@dataclass
class Some:
    """Options of every kind."""

    paths: list[str]
    """some files"""
    count: int = 3
    """how many, at least 1;
    100% of them"""
    rate: float | None = None
    """a share"""
    kind: Literal["red", "blue"] | None = None
    """a colour"""
    deep_copy: bool = False
    """copy more"""
    no_ties: bool | None = None
    """as the kind says if not given"""

    def __post_init__(self):
        if self.count < 1:
            raise ValueError(f"--count is {self.count}; it must be at least 1")


def test_options_take_both_spellings_and_bare_booleans():
    assert parse(Some, ["a"], "") == Some(["a"])
    words = "a --count=4 --rate 1e-3 b --kind blue --deep_copy --no-ties false c_d"
    assert parse(Some, words.split(), "") == Some(["a", "b", "c_d"], 4, 1e-3, "blue", True, False)
    assert parse(Some, ["--deep-copy", "a"], "") == Some(["a"], deep_copy=True)
    assert parse(Some, ["--no_ties", "--deep-copy=False", "a", "--count", "2"], "") == Some(
        ["a"], 2, no_ties=True
    )
    assert option("deep_copy") == "--deep-copy"
    config = parse(
        Config, ["--p_senior=0.3", "--group-size", "4", "--normalize_std", "--pretrain=false"], ""
    )
    assert (config.p_senior, config.group_size, config.normalize_std, config.pretrain) == (
        0.3,
        4,
        True,
        False,
    )
    assert parse(Config, [], "") == Config()


@pytest.mark.parametrize(
    "words, said",
    [
        ("", "paths"),
        ("a --coun 4", "unrecognized arguments: --coun"),  # never a guess
        ("a --count", "--count: expected one argument"),
        ("a --count x", "--count: invalid int value: 'x'"),
        ("a --kind green", "--kind: invalid choice: 'green'"),
        ("a --deep-copy=2", "--deep-copy: '2' is neither true nor false"),
        ("a --count 0", "--count is 0; it must be at least 1"),
    ],
)
def test_a_wrong_option_is_named(words, said):
    with pytest.raises(UserError, match=said) as error:
        parse(Some, words.split(), "")
    assert "\n" not in str(error.value)


def test_options_may_be_completed_from_a_file_where_anything_may_stand():
    """The completing function sees only the given ones, without defaults.

    Its values are parsed like words.
    """
    words = ["--steps=4", "--seed=7"]
    found = parse(
        Config, words, "", lambda given: {"steps": 2, "chunk": len(given), "clip": None} | given
    )
    assert found == Config(steps=4, seed=7, chunk=2)
    for saved, said in (
        ({"chunk": "many"}, "--chunk: invalid int value: 'many'"),
        ({"colour": "red"}, "unrecognized arguments: --colour=red"),
        ({"schedule": "wurd"}, "--schedule: invalid choice: 'wurd'"),
    ):
        with pytest.raises(UserError, match=said):
            parse(Config, words, "", lambda given, saved=saved: saved | given)


@pytest.mark.parametrize(
    "script, options",
    [
        ("train", Config),
        ("evaluate", support.reports.compare.Options),
        ("rollout", support.reports.show.Options),
    ],
)
def test_help_explains_every_option(script, options, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")  # or a line might be broken within a word
    words = [sys.executable, ROOT / f"{script}.py", "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    shown, docs = " ".join(done.stdout.split()), field_docs(options)
    assert done.returncode == 0 and not done.stderr
    for field in dataclasses.fields(options):
        positional = field.default is dataclasses.MISSING
        assert (field.name if positional else option(field.name)) in shown
        assert docs[field.name] and docs[field.name] in shown
        if field.default not in (dataclasses.MISSING, None):
            assert f"{docs[field.name]} (default {field.default})" in shown


@dataclass
class Grouped:
    """Options in groups."""

    "often"

    first: int = 1
    """of the first group"""
    second: int = 2
    """of the first group too"""

    "seldom"

    third: int = 3
    """of the second group"""


def test_a_string_that_stands_apart_is_the_title_of_a_group(capsys):
    assert field_titles(Grouped) == {"first": "often", "third": "seldom"}
    assert field_titles(Some) == {}
    with pytest.raises(SystemExit):
        parse(Grouped, ["--help"], "")
    shown = capsys.readouterr().out
    order = ["often:", "--first", "--second", "seldom:", "--third"]
    places = [shown.index(word) for word in order]
    assert places == sorted(places)
    assert len(set(field_titles(Config).values())) == 7


def test_help_is_the_text_under_a_field(capsys):
    assert field_docs(Some)["count"] == "how many, at least 1; 100% of them"
    with pytest.raises(SystemExit) as end:
        parse(Some, ["--help"], "first line\n    indented")
    assert end.value.code == 0 and "first line\n    indented" in (shown := capsys.readouterr().out)
    assert "100% of them (default 3)" in " ".join(shown.split())


@pytest.mark.parametrize(
    "error, code, said",
    [
        (UserError("one\n  mistake"), 2, "error: one mistake\n"),
        (torch.OutOfMemoryError("CUDA out of memory"), 2, "error: the GPU has too little memory"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_a_users_mistake_is_one_line_and_code_2(capsys, error, code, said):
    @command
    def failing(argv):
        raise error

    with pytest.raises(SystemExit) as end:
        failing([])
    printed = capsys.readouterr()
    assert end.value.code == code
    assert printed.err.startswith(said)
    assert printed.err.count("\n") == bool(said)
    assert not printed.out


def test_a_device_is_picked_or_refused():
    assert pick_device("cpu").type == "cpu" and pick_device("auto").type in ("cpu", "cuda", "mps")
    for name in ("abacus", "meta:x", *([] if torch.cuda.is_available() else ["cuda"])):
        with pytest.raises(UserError, match=f"--device {name} can't be used"):
            pick_device(name)


class Bare:
    """A stream that can do nothing but take text, as some programs that capture it have."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize("stream", [io.StringIO, Bare])
def test_commands_run_where_stdout_is_no_file(stream, monkeypatch, tmp_path):
    """In a notebook, in IDLE, and under redirect_stdout."""
    out = stream()
    monkeypatch.setattr(sys, "stdout", out)
    support.verifier.grade.main(["\\boxed{4}", "4"])
    small = "--steps 1 --prompts-per-step 2 --group-size 2 --eval-problems 1 --eval-samples 1"
    train.main([*small.split(), "--out", str(tmp_path / "run")])
    support.reports.compare.main([str(tmp_path / "run")])
    support.reports.show.main([str(tmp_path / "run")])
    text = out.text if stream is Bare else out.getvalue()
    assert text.startswith("correct\nextracted: 4\n") and "everything is in" in text
    assert text.count("solo pass@1") == 2 and "⟦brackets⟧" in text


def test_a_pipe_that_ends_early_may_have_no_number(monkeypatch):
    @command
    def cut_off(argv):
        raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Bare())
    with pytest.raises(SystemExit) as end:
        cut_off([])
    assert end.value.code == 141


def test_colours_are_for_terminals_that_want_them(monkeypatch):
    terminal = Bare()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert not in_color(terminal) and not in_color(io.StringIO())
    terminal.isatty = lambda: True
    assert in_color(terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not in_color(terminal)
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "dumb")
    assert not in_color(terminal)


def test_what_a_shell_leaves_is_expanded(tmp_path, monkeypatch):
    """Wildcards on Windows, and a tilde behind an equals sign."""
    for name in ("b", "a", "[c]"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    names = [f"{tmp_path}/[ab]", "absent*", f"{tmp_path}/[c]"]
    found = [f"{tmp_path}/a", f"{tmp_path}/b", "absent*", f"{tmp_path}/[c]"]
    assert parse(Some, names, "").paths == found
    assert parse(Config, ["--out=~/runs", "--junior", "~x"], "").out == f"{tmp_path}/runs"


def test_a_path_in_a_command_can_be_pasted():
    assert quoted("runs/a") == "runs/a"
    for path in ("my run", "it's", "a;b", "$x"):
        assert shlex.split(quoted(Path(path))) == [path]


def test_streams_that_are_closed_narrow_or_end_early_are_no_traceback(tmp_path):
    small = "--steps 1 --prompts-per-step 2 --group-size 2 --eval-problems 1 --eval-samples 1"
    train_py = f"{sys.executable} {ROOT / 'train.py'} {small} --out {tmp_path}"
    ends_early = "| true; exit ${PIPESTATUS[0]}"
    cases = {
        f"{train_py}/a >&-": {0},
        f"{train_py}/b 2>&-": {0},
        f"LC_ALL=C PYTHONUTF8=0 PYTHONIOENCODING=ascii {train_py}/c": {0},
        f"{train_py}/d {ends_early}": {0, 141},
        f"{sys.executable} {ROOT / 'train.py'} --help {ends_early}": {0, 141},
        f"{sys.executable} {ROOT / 'reward.py'} 4 4 {ends_early}": {0, 141},
        f"cd {ROOT}; {sys.executable} -m data.problems jargon {ends_early}": {0, -13, 141},
        f"cd {ROOT}; {sys.executable} -m support.models.memory {ends_early}": {0, 141},
    }
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # all at once
    started = {words: subprocess.Popen(["bash", "-c", words], **pipes) for words in cases}
    for words, process in started.items():
        out, error = process.communicate(timeout=120)
        assert process.returncode in cases[words] and "Traceback" not in error, (words, out, error)
