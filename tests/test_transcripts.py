"""Other systems' transcripts: what a junior makes of them, and what is refused."""

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
    rng, rows = random.Random(0), []
    for problem in first_problems("test", 20, "transcripts"):
        for language in ("plain", "jargon"):
            text = write_solution(problem, language, rng)
            rows.append(
                dict(
                    question=problem.question, response=text, answer=problem.answer, group=language
                )
            )
    return rows


@pytest.fixture
def measured(tmp_path, capsys):
    """What the command prints of some rows: as JSON, or with more options as text."""

    def run(rows, *more):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        capsys.readouterr()
        transcripts.main([f"--transcripts={path}", f"--junior={JUNIOR}", *(more or ["--json"])])
        printed = capsys.readouterr()
        return (printed.out if more else json.loads(printed.out)), printed.err

    return run


def test_a_junior_follows_what_it_was_taught_and_not_the_jargon(lines, measured):
    found, _ = measured(lines)
    plain, jargon = found["groups"]["plain"], found["groups"]["jargon"]
    assert plain["questions"] == jargon["questions"] == 20 and plain["solo"] == jargon["solo"] == [
        1,
        1,
        1,
    ]
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
        logprobs = reference(torch.tensor([text[:-1]]))[0].log_softmax(dim=-1)
        expected = [
            -logprobs[t - 1, text[t]].item() for t in range(len(transcript.prompt), len(text))
        ]
        assert transcript.surprise == pytest.approx(expected, abs=1e-4)
        first, end = transcripts.stretch(transcript)
        brute = max(
            range(len(expected) - (end - first) + 1),
            key=lambda i: sum(expected[i : i + end - first]),
        )
        assert first == brute and end - first == min(40, len(expected))


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
    assert found.steps == steps and found.begun(0) == "" and found.begun(1) == "".join(steps)
    assert found.begun(0.5) == "".join(steps[: len(steps) // 2])


def test_questions_with_several_transcripts_count_once(lines, measured):
    wrong = lines[0] | {"response": r"\boxed{99}"}
    found, _ = measured([lines[0]] * 3 + [wrong, lines[2], lines[4]])
    group = found["groups"]["plain"]
    assert group["questions"] == 3 and group["solo"][0] == pytest.approx((3 / 4 + 1 + 1) / 3)
    rows = [row["cross_entropy"] for row in found["transcripts"]]
    assert group["cross_entropy"][0] == pytest.approx(fmean([fmean(rows[:4]), rows[4], rows[5]]))


def test_without_answers_the_junior_reads_alone_and_data_brings_them(lines, measured, tmp_path):
    bare = [
        {"question": row["question"], "response": row["response"]}
        for row in lines
        if row["group"] == "plain"
    ]
    found, said = measured(bare)
    assert (
        found["groups"]["all"]["solo"] == [None] * 3
        and found["groups"]["all"]["cross_entropy"][0] < 0.1
    )
    assert "20 of 20 responses have no answer" in said
    data = tmp_path / "answers.jsonl"
    data.write_text(
        "".join(
            json.dumps({"question": row["question"], "answer": row["answer"]}) + "\n"
            for row in lines
        )
    )
    printed, said = measured(bare, f"--data={data}", "--worst=1")
    solo = next(
        line for line in printed.splitlines() if "solo" in line
    )  # as wide as the junior's path is long
    assert "no answer" not in said and [cell.strip() for cell in solo.split("|")][1:3] == [
        "solo ↑",
        "1.000 [1.000, 1.000]",
    ]


def test_the_table_and_the_least_legible_stretch_are_shown(lines, measured):
    printed, _ = measured(lines, "--worst=2", "--samples=2")
    assert (
        printed.splitlines()[0].split("|")[2].strip() == "plain"
        and printed.count("\njargon, 1") == 2
    )
    assert "⟦zub" in printed or "⟦kef" in printed
    assert "handoff after 50% of the steps ↑" in printed


def test_as_a_command_with_an_answer_in_a_box_and_a_context_that_is_short(lines, tmp_path):
    long = lines[0] | {"response": "1 + 1 = 2.\n\n" * 30}
    path = tmp_path / "rows.jsonl"
    path.write_text(
        json.dumps(lines[0] | {"answer": rf"\boxed{{{lines[0]['answer']}}}"})
        + "\n"
        + json.dumps(long)
    )
    words = [
        sys.executable,
        str(ROOT / "evaluate.py"),
        "--transcripts",
        str(path),
        "--junior",
        str(JUNIOR),
        "--json",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "left out: 1 longer than the junior's context of 128 tokens" in done.stderr
    found = json.loads(done.stdout)
    assert [row["solo"] for row in found["transcripts"]] == [True]
    assert found["groups"]["plain"]["solo"] == [
        1,
        None,
        None,
    ]  # of one question there is no interval


@pytest.mark.parametrize(
    "line, error",
    [
        ("{", "line 2: it is no JSON (Expecting property name"),
        ('{"question": "1?"}', 'line 2: found {"question": "1?"}; expected'),
        ("[1]", "line 2: found [1]; expected"),
        ('{"question": 1, "response": "x"}', "line 2: found"),
        ('{"question": "1?", "response": " "}', "neither empty"),
    ],
)
def test_a_bad_line_is_named(line, error, lines, tmp_path, capsys):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(lines[0]) + "\n" + line + "\n")
    with pytest.raises(SystemExit) as end:
        transcripts.main([f"--transcripts={path}", f"--junior={JUNIOR}"])
    assert end.value.code == 2 and error in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, error",
    [
        ([], "--transcripts is missing"),
        (["--transcripts=x"], "--junior is missing"),
        (["--transcripts=absent", f"--junior={JUNIOR}"], "absent can't be read"),
        (["--transcripts=x", "--junior=y", "--samples=0"], "--samples"),
        (
            ["--transcripts=x", "--junior=y", "--prompt-template=x"],
            "--prompt-template has no {question}",
        ),
    ],
)
def test_bad_options_are_named(words, error, capsys):
    with pytest.raises(SystemExit) as end:
        transcripts.main(words)
    assert end.value.code == 2 and error in capsys.readouterr().err
