"""The README's results are those of the committed files, printed again."""

import re
from pathlib import Path

import pytest

import evaluate

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("world", ["jargon", "work"])
def test_the_tables_of_the_readme_are_recomputed_from_the_results(world, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("compare.draw_figure", lambda *_: False)
    evaluate.main([str(ROOT / "results" / f"{world}.json")])
    compact = lambda row: re.sub(" +", " ", re.sub("-+:?", "-", row)).strip()
    stated = {compact(row) for row in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()}
    measures, differences, *_ = capsys.readouterr().out.split("\n\n| ")
    rows = [compact(row) for table in (measures, "| " + differences) for row in table.splitlines() if row[:1] == "|"]
    assert len(rows) == 2 + 8 + 2 + 10
    missing = [row for row in rows if row not in stated]
    assert not missing


@pytest.mark.parametrize("world, runs", [("jargon", 10), ("work", 10)])
def test_the_results_are_of_five_seeds_an_arm_on_500_problems(world, runs):
    import compare

    found = compare.read_results(ROOT / "results" / f"{world}.json")
    assert len(found) == runs and {(run.problems, run.samples) for run in found} == {(500, 4)}
    assert {name: sorted(run.seed for run in group) for name, group in compare.grouped(found).items()} == {
        name: [0, 1, 2, 3, 4] for name in compare.grouped(found)
    }
    assert len(compare.grouped(found)) == 2 and all(run.fingerprints and run.handoff_curve for run in found)
