"""The README's results are those of the committed files, printed again."""

import re
from pathlib import Path

import pytest

import evaluate

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("world", ["jargon", "work", "phrasings"])
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


@pytest.mark.parametrize("world, arms", [("jargon", 2), ("work", 2), ("phrasings", 3)])
def test_the_results_are_of_five_seeds_an_arm_on_500_problems(world, arms):
    import compare

    found = compare.read_results(ROOT / "results" / f"{world}.json")
    assert len(found) == 5 * arms and {(run.problems, run.samples) for run in found} == {(500, 4)}
    assert {name: sorted(run.seed for run in group) for name, group in compare.grouped(found).items()} == {
        name: [0, 1, 2, 3, 4] for name in compare.grouped(found)
    }
    assert len(compare.grouped(found)) == arms and all(run.fingerprints and run.handoff_curve for run in found)
    assert all(compare.begun_curve(run) for run in found)


def test_what_the_readme_says_of_the_work_world_after_100_steps():
    import compare

    tandem, solo = compare.grouped(compare.read_results(ROOT / "results" / "work.json")).values()
    stated = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    after = lambda run, path: next(compare.look_up(row, path) for row in run.along if row["step"] == 100)
    for path, label in ((("handoff", "pass@1"), "handoff differs by"), (("solo", "pass@1"), "solo by")):
        pairs = zip(sorted(tandem, key=lambda run: run.seed), sorted(solo, key=lambda run: run.seed), strict=True)
        mean, low, high = compare.interval([after(ours, path) - after(theirs, path) for ours, theirs in pairs])
        assert f"{label} {mean:+.2f} [{low:+.2f}, {high:+.2f}]" in stated
    rates = [after(run, ("jargon_rate",)) for run in solo]
    assert f"in {min(rates):.0%} to {max(rates):.0%} of its responses" in stated
    rates = [run.after["jargon_rate"] for run in solo]
    assert f"still {min(rates):.0%} to {max(rates):.0%}" in stated


def test_the_search_of_the_readme_is_the_committed_one():
    import compare

    stated = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    for run in compare.read_results(ROOT / "results" / "phrasings-search.json"):
        config = run.config
        assert (config["eval_split"], run.problems, run.samples) == ("validation", 500, 4)
        cells = [f"{config['learning_rate']:g}", f"{config['prompts']} × {config['group_size']}", f"{config['steps']}"]
        paths = [path for label, path, _ in compare.ROWS if label not in ("jargon rate", "response length, tokens")]
        cells += [config["schedule"], *(f"{compare.look_up(run.after, path):.3f}" for path in paths)]
        assert f"| {' | '.join(cells)} |" in stated


def test_what_the_readme_says_of_the_handoff_curves():
    import compare

    stated = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    mean = lambda group, tenth: sum(run.handoff_curve[tenth] for run in group) / len(group)
    _, word, solo = compare.grouped(compare.read_results(ROOT / "results" / "phrasings.json")).values()
    assert f"finishes {mean(word, '0.1'):.2f} of what this senior began, and {mean(solo, '0.1'):.2f} of what" in stated
    tandem, plain = compare.grouped(compare.read_results(ROOT / "results" / "jargon.json")).values()
    fifths = [f"0.{tenth}" for tenth in range(2, 9)]
    after, before = [mean(plain, tenth) for tenth in fifths], [compare.begun_curve(plain[0])[tenth] for tenth in fifths]
    assert f"{min(after):.0%} to {max(after):.0%} of what plain RL began" in stated
    assert f"{min(before):.0%} to {max(before):.0%} of what the senior began before" in stated
    assert f"alone solves {mean(tandem, '0.0'):.3f}" in stated
    assert min(mean(tandem, tenth) for tenth in tandem[0].handoff_curve) >= 0.9  # "90% or more"
