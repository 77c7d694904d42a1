"""A run along its steps: the counts of the first coin, and the two figures that show them."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import train
from results import along, drawings
from reward import verify
from support.runs.problem_files import load_problems
from support.runs.saved import load_run

RESULTS = Path(__file__).parent.parent / "results"
ROWS = [json.loads(line) for line in (RESULTS / "along.jsonl").read_text().splitlines()]
SVG = "{http://www.w3.org/2000/svg}"


def test_a_line_counts_the_responses_of_a_run(tmp_path, monkeypatch):
    """Counted again, from the texts. Two lines of one state are equal."""
    words = ["--steps=0", "--eval-problems=2", "--eval-samples=1", f"--out={tmp_path / 'run'}"]
    train.main(words)
    monkeypatch.setattr(along, "COUNTED_PROBLEMS", 8)
    out = tmp_path / "along.jsonl"
    for _ in range(2):
        along.main([str(tmp_path / "run"), str(out)])
    line, again = [json.loads(text) for text in out.read_text().splitlines()]
    assert line == again and line["step"] == 0

    run = load_run(tmp_path / "run")
    _, problems, _ = load_problems(run.config, run.tokenizer, 128, 8)
    written = along.write_responses(run, problems * 8, "first coin")
    expected = {"junior": [0, 0], "senior, jargon": [0, 0], "senior, plain": [0, 0]}
    for row, text in enumerate(written.texts(run.tokenizer)):
        name = "junior"
        if written.authorship[row, 0]:
            first_step = text.split("\n\n")[0]
            jargon = re.search("zub|kef|~", first_step)
            name = "senior, jargon" if jargon else "senior, plain"
        expected[name][0] += 1
        expected[name][1] += verify(text, problems[row % 8].answer)
    assert line["first_coin"] == expected
    assert sum(count for count, _ in expected.values()) == 64
    assert len(line["responses"]) == 8
    for response, problem in zip(line["responses"], problems, strict=True):
        text = "".join(piece for piece, _ in response["pieces"])
        assert response["right"] == verify(text, problem.answer)
        authors = [by_senior for _, by_senior in response["pieces"]]
        assert all(authors[i] != authors[i - 1] for i in range(1, len(authors)))


def test_the_committed_figures_are_those_of_the_committed_lines(tmp_path):
    drawings.main([str(RESULTS / "along.jsonl"), str(tmp_path)])
    for name in ("first-coin.svg", "responses.svg"):
        assert (tmp_path / name).read_text() == (RESULTS / name).read_text()


def test_the_bars_have_the_widths_and_the_numbers_of_the_lines():
    tree = ElementTree.parse(RESULTS / "first-coin.svg").getroot()
    boxes = [element for element in tree.iter(f"{SVG}rect") if element.get("height") == "26"]
    widths = [float(element.get("width")) for element in boxes]
    shown = [element.text for element in tree.iter(f"{SVG}text") if element.get("class") == "in"]
    expected_widths, expected_shares = [], []
    for row in ROWS:
        if row["step"] not in (0, 10, 25, 50, 100, 250):
            continue
        for name in ("junior", "senior, plain", "senior, jargon"):
            count, right = row["first_coin"].get(name, (0, 0))
            if count:
                expected_widths.append(630 * count / 1024)
            if 630 * count / 1024 >= 30:
                expected_shares.append(f"{right / count:.2f}")
    assert widths == pytest.approx(expected_widths, abs=0.06)
    assert shown == [*expected_shares, "0.00", "0.25", "0.50", "0.75", "1.00"]


def test_every_frame_shows_its_step_and_the_last_one_stands_without_motion():
    """The style sheet is read as a browser reads it: what is visible when."""
    text = (RESULTS / "responses.svg").read_text()
    tree = ElementTree.fromstring(text)
    style = tree.find(f"{SVG}style").text
    seconds = float(re.search(r"([\d.]+)s step-end", style)[1])
    frames = [row for row in ROWS if row["step"] % 10 == 0]
    starts = [0] + [2.5 + 0.35 * i for i in range(len(frames) - 1)]
    assert seconds == pytest.approx(2.5 + 0.35 * (len(frames) - 2) + 4)
    for row, start in zip(frames, starts, strict=True):
        at = 100 * (start + 0.1) / seconds
        right = sum(response["right"] for response in row["responses"])
        assert f"step {row['step']}: {right} of 8 right" in visible(tree, style, at)
        for response in row["responses"]:
            for piece, _ in response["pieces"]:
                shown = piece.replace("\n\n", " ¶ ").replace("\n", "↵")
                assert not piece.strip() or shown in visible(tree, style, at)
    still = visible(tree, style, None)
    assert "step 250: 8 of 8 right" in still
    assert sum(text.startswith("step ") for text in still) == 1
    assert not any(word in text for text in still for word in ("zub", "kef"))
    before, _, _ = style.partition("@media (prefers-reduced-motion:no-preference)")
    assert "animation" not in before and ".gone{visibility:hidden}" in before


def visible(tree, style: str, at: float | None) -> list[str]:
    """The texts at a percent of the animation; None: without motion."""
    texts = [element.text for element in tree.findall(f"{SVG}text")]
    for group in tree.findall(f"{SVG}g"):
        name, *gone = group.get("class").split()
        shown = not gone
        if at is not None:
            stops = re.search(rf"@keyframes k{name[1:]}{{(.*)}}", style)[1]
            for percent, value in re.findall(r"([\d.]+)%{visibility:(\w+)}", stops):
                if float(percent) <= at:
                    shown = value == "visible"
        if shown:
            texts += [element.text for element in group.iter(f"{SVG}text")]
    return texts
