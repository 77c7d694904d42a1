"""One reader of JSON Lines for every command: encodings, line breaks, and mistakes."""

import codecs
import json

import pytest

import support.verifier.grade
from support.models.fine_tune import read_solution
from support.people.transcripts import read_transcripts
from support.runs.json_lines import read_json_lines
from support.runs.options import UserError
from support.runs.problem_files import read_problem

ROW = {"question": "a\n\nb", "answer": "½", "response": "c\n\nd", "solution": "e\nf"}
ENCODINGS = {
    "UTF-8": ("utf-8", b""),
    "UTF-8 with a mark": ("utf-8", codecs.BOM_UTF8),
    "UTF-16 of PowerShell": ("utf-16-le", codecs.BOM_UTF16_LE),
    "UTF-16 of a large machine": ("utf-16-be", codecs.BOM_UTF16_BE),
}


def lines_of(path, kind: str, newline: str) -> None:
    """Two rows, whose texts and lines have this newline, in a file of this kind."""
    encoding, mark = ENCODINGS[kind]
    row = {name: text.replace("\n", newline) for name, text in ROW.items()}
    line = json.dumps(row, ensure_ascii=False) + newline
    path.write_bytes(mark + 2 * line.encode(encoding))


@pytest.mark.parametrize("kind", ENCODINGS)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_texts_are_the_same_in_every_encoding_and_with_windows_newlines(tmp_path, kind, newline):
    path = tmp_path / "rows.jsonl"
    lines_of(path, kind, newline)
    assert read_json_lines(path, dict) == [ROW, ROW]
    problem = read_json_lines(path, read_problem)[0]
    assert (problem.question, problem.answer) == (ROW["question"], "½")
    assert read_json_lines(path, read_solution)[0] == (ROW["question"], ROW["solution"])
    transcript = read_transcripts(path, {})[0]
    assert transcript.response == ROW["response"] and transcript.steps == ["c\n\n", "d"]


def test_a_lone_carriage_return_breaks_a_line_too(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"response": "a\rb\r\nc", "more": {"deep": "d\r"}}))
    assert read_json_lines(path, dict) == [{"response": "a\nb\nc", "more": {"deep": "d\n"}}]


def graded(path, capsys) -> tuple[int, list[dict], str]:
    """What python reward.py --file says: its exit code, the rows, and stderr."""
    code = 0
    try:
        support.verifier.grade.main([f"--file={path}"])
    except SystemExit as end:
        code = end.code
    out, error = capsys.readouterr()
    return code, [json.loads(line) for line in out.splitlines()], error


@pytest.mark.parametrize("kind", ENCODINGS)
def test_pairs_to_grade_are_read_as_problems_are(tmp_path, capsys, kind):
    encoding, mark = ENCODINGS[kind]
    pairs = [(r"\boxed{½}", "½"), (r"\boxed{½}", "¼"), (r"\boxed{4}", 4), (r"\boxed{4}", 5.0)]
    rows = [{"response": response, "answer": answer} for response, answer in pairs]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(mark + text.encode(encoding))
    code, found, _ = graded(path, capsys)
    assert code == 0 and [row["correct"] for row in found] == [True, False, True, False]
    assert [row["answer"] for row in found] == ["½", "¼", 4, 5.0]


MISTAKES = {
    b'{"response": "\\\\boxed{\xbd}", "answer": "\xbc"}': "line 2: 'utf-8' codec can't decode",
    b'{"response": "4", "answer": true}': "line 2: expected an object",
    b'{"response": "4", "answer": "4", "score": NaN}': "line 2: Out of range float",
    b"{": "line 2: it is no JSON",
    b"[" * 100_000: "line 2: maximum recursion depth",
}


@pytest.mark.parametrize("line", MISTAKES, ids=range(len(MISTAKES)))
def test_a_pair_that_cannot_be_graded_is_named(tmp_path, capsys, line):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(b'{"response": "4", "answer": "4"}\n' + line)
    code, found, error = graded(path, capsys)
    assert code == 2 and not found and error.count("\n") == 1
    assert f"{path}, {MISTAKES[line]}" in error


def test_an_empty_file_and_half_a_character_are_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n")
    with pytest.raises(UserError, match="has no line"):
        read_json_lines(path, dict)
    path.write_bytes(codecs.BOM_UTF16_LE + "{}".encode("utf-16-le") + b"\x00")
    with pytest.raises(UserError, match="is no UTF-16 .*write it in UTF-8"):
        read_json_lines(path, dict)
