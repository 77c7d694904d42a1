"""A person plays the junior: in a pipe, in a terminal, with Ctrl-C, and the file that is kept."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import support.reports.show
import train
from data.tokenizer import Tiktoken
from reward import verify

ROOT = Path(__file__).parent.parent
BUYS = "Ada has 5 hats. Ada buys 7 more. How many hats does Ada have?"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A run of no steps, whose senior has plain language: the shipped junior in both seats."""
    path = tmp_path_factory.mktemp("play") / "run"
    junior = ROOT / "data" / "junior.pt"
    pair = [f"--senior={junior}", "--junior=self"]
    train.main(["--steps=0", "--eval-problems=1", "--eval-samples=1", f"--out={path}", *pair])
    return path


@pytest.fixture
def kept(directory):
    """Reads the lines of human.jsonl, which is new for every test."""
    path = directory / "human.jsonl"
    path.unlink(missing_ok=True)

    def read() -> list[dict]:
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines()]

    return read


def command(directory, *options):
    return [sys.executable, str(ROOT / "rollout.py"), str(directory), "--human", *options]


def test_a_piped_game_is_graded_and_kept_by_author(directory, kept):
    lines = [":help", "40 + 1 = 41.", ":undo", "5 + 7 = 12.", r"\boxed{12}", "", r"\boxed{12}"]
    typed = "\n".join(lines) + "\n"
    words = command(directory, "--problems=2")
    done = subprocess.run(words, input=typed, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.count("→ ") == 2
    assert done.stdout.count("passes the turn") == 2  # at the start, and for :help
    first, second = kept()
    for game in (first, second):
        texts = [turn["text"] for turn in game["turns"]]
        assert "".join(texts) == game["response"]
        assert len(game["authors"]) == len(game["response"])
        authors = [turn["author"] for turn in game["turns"]]
        assert authors == (["senior", "human"] * len(texts))[: len(texts)]
        assert game["right"] == verify(game["response"], game["answer"])
        assert game["finished"] and game["schedule"] == "step"
        assert all(turn["seconds"] >= 0 for turn in game["turns"])
        verdict = "right" if game["right"] else f"wrong, the answer is {game['answer']}"
        assert f"→ {verdict}" in done.stdout
    assert "41" not in first["response"]  # it was taken back
    by_person = ""
    for character, author in zip(first["response"], first["authors"], strict=True):
        if author == "h":
            by_person += character
    assert by_person.startswith("5 + 7 = 12.\n\n")


@pytest.fixture
def played(directory, kept, monkeypatch):
    """Plays in this process, a person typing these lines, and returns the exit code."""

    def play(typed: str, *options) -> int:
        lines = iter(typed.splitlines())

        def line(_):
            try:
                return next(lines)
            except StopIteration:
                raise EOFError from None

        monkeypatch.setattr("builtins.input", line)
        try:
            support.reports.show.main([str(directory), "--human", *options])
        except SystemExit as end:
            return end.code
        return 0

    return play


def test_the_end_of_input_and_quit_keep_what_was_begun(played, kept):
    for typed in ("5 + 7 = 12.", "5 + 7 = 12.\n:quit\n"):
        assert played(typed, f"--prompt={BUYS}", "--seed=3") == 0
    games = kept()
    assert len(games) == 2
    assert all(game["turns"][1]["text"] == "5 + 7 = 12.\n\n" for game in games)
    assert games[0]["finished"] == games[1]["finished"]
    assert games[0]["right"] is None


def test_the_same_seed_and_the_same_lines_give_the_same_response(played, kept):
    for seed in (1, 1, 2, 3, 4):
        played("\n" * 9, f"--seed={seed}", "--problems=1", "--schedule=word", "--temperature=2")
    one, again, *others = [game["response"] for game in kept()]
    assert one == again and set(others) != {one}


def test_undo_at_the_first_turn_lets_the_senior_write_it_anew(played, kept):
    for typed in (":undo\n" * 12, ""):
        played(typed, "--problems=1", "--temperature=3", "--schedule=word")
    again, first = kept()
    assert not again["finished"]
    assert len(again["turns"]) == len(first["turns"]) == 1
    assert again["turns"][0]["text"] != first["turns"][0]["text"]


def test_a_text_that_is_too_long_or_unspellable_gets_one_line_and_the_turn_again(
    directory, kept, capsys, monkeypatch
):
    encode = Tiktoken.encode

    def without_snow(self, text):
        if "☃" in text:
            raise ValueError("the tokenizer lacks ☃")
        return encode(self, text)

    monkeypatch.setattr(Tiktoken, "encode", without_snow)
    typed = iter(["☃", "9" * 64, r"\boxed{12}"])
    monkeypatch.setattr("builtins.input", lambda _: next(typed))
    support.reports.show.main([str(directory), "--human", f"--prompt={BUYS}"])
    shown = capsys.readouterr().out
    assert "the tokenizer lacks ☃\n" in shown
    assert re.search(r"that has \d+ tokens, and \d+ fit into this", shown)
    (game,) = kept()
    assert game["finished"] and len(game["turns"]) == 2
    assert game["turns"][1]["text"] == r"\boxed{12}"


def hear_signals() -> None:
    """A shell's background jobs ignore Ctrl-C; this process doesn't."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_terminal_shows_colours_and_ctrl_c_keeps_the_response(directory, kept):
    parent, child = pty.openpty()
    process = subprocess.Popen(
        command(directory, "--problems=1"),
        stdin=child,
        stdout=child,
        stderr=child,
        preexec_fn=hear_signals,  # noqa: PLW1509
    )
    os.close(child)
    shown = until(parent, "", "you> ")
    assert "\x1b[36m" in shown  # the senior in cyan
    assert "\x1b[33m" in shown[-30:]  # the person's typing in yellow
    os.write(parent, b"1 + 1 = 2.\n")
    until(parent, "", "you> ")
    time.sleep(0.5)  # a signal between the prompt and the reading would wait for a key
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    os.close(parent)
    (game,) = kept()
    assert not game["finished"] and len(game["turns"]) == 3
    assert game["turns"][1]["text"] == "1 + 1 = 2.\n\n"


def until(terminal: int, shown: str, wanted: str) -> str:
    while wanted not in shown:
        shown += os.read(terminal, 4096).decode()
    return shown


def test_a_file_that_cannot_be_written_is_named_with_the_response(
    directory, kept, capsys, monkeypatch
):
    (directory / "human.jsonl").mkdir()
    monkeypatch.setattr("builtins.input", lambda _: r"\boxed{12}")
    with pytest.raises(SystemExit):
        support.reports.show.main([str(directory), "--human", f"--prompt={BUYS}"])
    (directory / "human.jsonl").rmdir()
    error = capsys.readouterr().err
    assert "human.jsonl can't be written" in error and "boxed{12}" in error


@pytest.mark.parametrize("words", [["--schedule=solo"], ["--problems=0"]])
def test_options_that_make_no_game_are_refused(directory, words, capsys):
    with pytest.raises(SystemExit) as end:
        support.reports.show.main([str(directory), "--human", *words])
    option = words[0].split("=")[0]
    assert end.value.code == 2 and option in capsys.readouterr().err
