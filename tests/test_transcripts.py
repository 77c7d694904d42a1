"""Other systems' transcripts: the measures of a junior that follows them, and refused files."""

import json
import random
import subprocess
import sys
from pathlib import Path
from statistics import fmean

import pytest
import torch

from data.problems import first_problems, write_solution
from model import load_model
from support.people import transcripts
from support.people.transcripts import Transcript
from support.runs.pair import load_any

ROOT = Path(__file__).parent.parent
JUNIOR = ROOT / "data" / "junior.pt"


@pytest.fixture(scope="module")
def lines():
    """20 problems, solved in each of two languages, which are the groups."""
    rng = random.Random(0)
    rows = []
    for problem in first_problems("test", 20, "transcripts"):
        for language in ("plain", "jargon"):
            row = {
                "question": problem.question,
                "response": write_solution(problem, language, rng),
                "answer": problem.answer,
                "group": language,
            }
            rows.append(row)
    return rows


def write_lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def measured(tmp_path, capsys):
    """The command's output for some rows, and its errors: as JSON, or with more options as text."""

    def run(rows, *more):
        path = tmp_path / "rows.jsonl"
        write_lines(path, rows)
        capsys.readouterr()
        transcripts.main([f"--transcripts={path}", f"--junior={JUNIOR}", *(more or ["--json"])])
        printed = capsys.readouterr()
        if more:
            return printed.out, printed.err
        return json.loads(printed.out), printed.err

    return run


def test_a_junior_follows_what_it_was_taught_and_not_the_jargon(lines, measured):
    found, _ = measured(lines)
    plain, jargon = found["groups"]["plain"], found["groups"]["jargon"]
    assert plain["questions"] == jargon["questions"] == 20
    assert plain["solo"] == jargon["solo"] == [1, 1, 1]
    assert plain["cross_entropy"][2] < 0.1 and jargon["cross_entropy"][1] > 10
    assert plain["handoff/0.75"][0] > 0.9 and jargon["handoff/0.75"][0] < 0.2
    assert plain["handoff/0.0"][0] > 0.7 and jargon["handoff/0.0"][0] > 0.7  # the junior alone


def test_surprise_is_minus_the_log_of_the_softmax(lines):
    junior, tokenizer = load_any(JUNIOR)
    some = [Transcript(row["question"], row["response"], row["answer"], "all") for row in lines[:6]]
    some = transcripts.prepare(some, tokenizer, "{question}", 128)
    transcripts.measure_surprise(junior, some)
    reference = load_model(JUNIOR).double()
    for transcript in some:
        text = transcript.prompt + transcript.tokens
        logprobs = reference(torch.tensor([text[:-1]]))[0].log_softmax(dim=-1)  # (P + T - 1, V)
        places = range(len(transcript.prompt), len(text))
        expected = [-logprobs[t - 1, text[t]].item() for t in places]
        # float32 has 7 digits, whatever the size
        assert transcript.surprise == pytest.approx(expected, rel=2e-5, abs=2e-5)

        first, end = transcripts.stretch(transcript)
        size = end - first
        assert size == min(40, len(expected))
        sums = [sum(expected[i : i + size]) for i in range(len(expected) - size + 1)]
        assert first == sums.index(max(sums))


@pytest.mark.parametrize(
    "response, steps",
    [
        ("a\n\nb\n\n\\boxed{1}", ["a\n\n", "b\n\n", "\\boxed{1}"]),
        ("a\nb\n\n\n\nc", ["a\nb\n\n\n\n", "c"]),
        ("a\nb\nc\n", ["a\n", "b\n", "c"]),
        ("\n\nalone\n\n", ["alone"]),
    ],
)
def test_steps_are_paragraphs_or_else_lines(response, steps):
    found = Transcript("q", response, "1", "all")
    assert found.steps == steps
    assert found.begun(0) == ""
    assert found.begun(0.5) == "".join(steps[: len(steps) // 2])
    assert found.begun(1) == "".join(steps)


def test_questions_with_several_transcripts_count_once(lines, measured):
    wrong = lines[0] | {"response": r"\boxed{99}"}
    found, _ = measured([lines[0]] * 3 + [wrong, lines[2], lines[4]])
    group = found["groups"]["plain"]
    assert group["questions"] == 3
    assert group["solo"][0] == pytest.approx((3 / 4 + 1 + 1) / 3)
    rows = [row["cross_entropy"] for row in found["transcripts"]]
    assert group["cross_entropy"][0] == pytest.approx(fmean([fmean(rows[:4]), rows[4], rows[5]]))


def test_windows_newlines_change_no_measure(lines, measured):
    plain = [row for row in lines if row["group"] == "plain"][:6]
    windows = []
    for row in plain:
        response = row["response"].replace("\n", "\r\n")
        windows.append(row | {"response": response, "question": row["question"] + "\r\n"})
    plain = [row | {"question": row["question"] + "\n"} for row in plain]
    assert measured(windows)[0] == measured(plain)[0]


def test_an_empty_response_is_wrong_and_ends_at_once(lines, measured):
    empty = lines[0] | {"response": ""}
    found, _ = measured([empty, lines[2]])
    assert [row["solo"] for row in found["transcripts"]] == [False, True]
    assert found["groups"]["plain"]["solo"][0] == 0.5
    assert found["transcripts"][0]["cross_entropy"] > 5  # nats, of an end where a solution begins
    shown, _ = measured([empty, lines[2]], "--worst=2")
    assert lines[0]["question"] in shown


def test_without_answers_the_junior_reads_alone_and_data_brings_them(lines, measured, tmp_path):
    bare = []
    for row in lines:
        if row["group"] == "plain":
            bare.append({"question": row["question"], "response": row["response"]})
    found, said = measured(bare)
    group = found["groups"]["all"]
    assert group["solo"] == [None] * 3 and group["cross_entropy"][0] < 0.1
    assert "20 of 20 responses have no answer" in said

    data = tmp_path / "answers.jsonl"
    write_lines(data, [{"question": row["question"], "answer": row["answer"]} for row in lines])
    printed, said = measured(bare, f"--data={data}", "--worst=1")
    assert "no answer" not in said
    solo = next(line for line in printed.splitlines() if "solo" in line)
    cells = [cell.strip() for cell in solo.split("|")]  # as wide as the junior's path is long
    assert cells[1:3] == ["solo ↑", "1.000 [1.000, 1.000]"]


def test_the_table_and_the_least_legible_stretch_are_shown(lines, measured):
    printed, _ = measured(lines, "--worst=2", "--samples=2")
    head = printed.splitlines()[0]
    assert head.split("|")[2].strip() == "plain"
    assert printed.count("\njargon, 1") == 2
    assert "⟦zub" in printed or "⟦kef" in printed
    assert "handoff after 50% of the steps ↑" in printed


def test_as_a_command_with_an_answer_in_a_box_and_a_context_that_is_short(lines, tmp_path):
    boxed = lines[0] | {"answer": rf"\boxed{{{lines[0]['answer']}}}"}
    long = lines[0] | {"response": "1 + 1 = 2.\n\n" * 30}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(boxed) + "\n" + json.dumps(long))
    words = [sys.executable, str(ROOT / "evaluate.py"), "--json"]
    words += ["--transcripts", str(path), "--junior", str(JUNIOR)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "left out: 1 longer than the junior's context of 128 tokens" in done.stderr
    found = json.loads(done.stdout)
    assert [row["solo"] for row in found["transcripts"]] == [True]
    solo = found["groups"]["plain"]["solo"]
    assert solo == [1, None, None]  # of one question there is no interval


@pytest.mark.parametrize(
    "line, error",
    [
        ("{", "line 2: it is no JSON (Expecting property name"),
        ('{"question": "1?"}', 'line 2: found {"question": "1?"}; expected'),
        ("[1]", "line 2: found [1]; expected"),
        ('{"question": 1, "response": "x"}', "line 2: found"),
        ('{"question": " ", "response": "x"}', "no empty question"),
        ('{"question": "1?", "response": null}', "line 2: found"),
        ('{"question": "1?", "response": "x", "answer": "}"}', "which the verifier can't read"),
        ('{"question": "1?", "response": "x", "answer": [4]}', "expected text or a number"),
    ],
)
def test_a_bad_line_is_named(line, error, lines, tmp_path, capsys):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(lines[0]) + "\n" + line + "\n")
    with pytest.raises(SystemExit) as end:
        transcripts.main([f"--transcripts={path}", f"--junior={JUNIOR}"])
    assert end.value.code == 2 and error in capsys.readouterr().err


BOTH = ["--transcripts=x", "--junior=y"]


@pytest.mark.parametrize(
    "words, error",
    [
        ([], "--transcripts is missing"),
        (["--transcripts=x"], "--junior is missing"),
        (["--transcripts=absent", f"--junior={JUNIOR}"], "absent can't be read"),
        ([*BOTH, "--samples=0"], "--samples"),
        ([*BOTH, "--prompt-template=x"], "--prompt-template has no {question}"),
    ],
)
def test_bad_options_are_named(words, error, capsys):
    with pytest.raises(SystemExit) as end:
        transcripts.main(words)
    assert end.value.code == 2 and error in capsys.readouterr().err
