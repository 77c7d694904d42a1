"""The README's results are those of the committed files, printed again."""

import re
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

import compare
import evaluate
from cli import parse
from config import Config

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
    found = compare.read_results(ROOT / "results" / f"{world}.json")
    assert len(found) == 5 * arms and {(run.problems, run.samples) for run in found} == {(500, 4)}
    assert {name: sorted(run.seed for run in group) for name, group in compare.grouped(found).items()} == {
        name: [0, 1, 2, 3, 4] for name in compare.grouped(found)
    }
    assert len(compare.grouped(found)) == arms and all(run.fingerprints and run.handoff_curve for run in found)
    assert all(compare.begun_curve(run) for run in found)


def test_what_the_readme_says_of_the_work_world_after_100_steps():
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


def test_what_the_readme_says_of_the_kl_penalty_in_the_world_of_phrasings():
    found = [
        run for name in ("phrasings", "phrasings-kl") for run in compare.read_results(ROOT / f"results/{name}.json")
    ]
    step, _, solo, penalty = compare.grouped(found).values()
    options = {"schedule": "solo", "kl_coef": 0.03, "learning_rate": 1e-4, "steps": 300, "world": "phrasings"}
    for run in penalty:
        assert (run.problems, run.samples) == (500, 4) and run.fingerprints == solo[0].fingerprints
        assert options.items() <= run.config.items()
    stated = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())

    def difference(a: list, b: list, *path: str) -> str:
        theirs = {run.seed: compare.look_up(run.after, path) for run in b}
        own = {run.seed: compare.look_up(run.after, path) for run in a if run.seed in theirs}
        mean, low, high = compare.interval([value - theirs[seed] for seed, value in own.items()])
        return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"

    assert f"under turns, KL {statistics.fmean(run.after['drift']['kl'] for run in penalty):.3f}, and" in stated
    assert f"as after plain RL, {difference(penalty, solo, 'solo', 'pass@1')}" in stated
    assert f"plain RL's, {difference(penalty, solo, 'handoff', 'pass@1')} step by step" in stated
    assert f"ahead by {difference([r for r in step if r.seed < 3], penalty, 'handoff', 'pass@1')}" in stated


@pytest.mark.parametrize("world", ["jargon", "work", "phrasings"])
def test_the_search_of_the_readme_is_the_committed_one(world):
    stated = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    paths = [path for label, path, _ in compare.ROWS if label not in ("jargon rate", "response length, tokens")]
    for run in compare.read_results(ROOT / "results" / f"{world}-search.json"):
        config = run.config
        assert (config["eval_split"], run.problems, run.samples) == ("validation", 500, 4)
        assert config["world"] == world and run.seed == (0 if world == "jargon" else 10)
        arm = config["schedule"] + (f", KL penalty {config['kl_coef']:g}" if config["kl_coef"] else "")
        batch = f"{config['prompts']} × {config['group_size']}"
        cells = [world, f"{config['learning_rate']:g}", batch, f"{config['steps']}", arm]
        cells += [f"{compare.look_up(run.after, path):.3f}" for path in paths]
        assert f"| {' | '.join(cells)} |" in stated


def test_the_ablations_of_the_readme_are_recomputed_from_the_results():
    stated = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    runs = compare.read_results(ROOT / "results" / "ablations.json")
    head = next(row for row in stated if row.startswith("| train.py |"))
    labels = [label.strip() for label in head.split("|")[2:-1]]
    shown = [[label for label, _, _ in compare.ROWS].index(label) for label in labels]
    for name, group in compare.grouped(runs).items():
        cells = compare.cells([run.after for run in group])
        assert f"| {name} (n={len(group)}) | {' | '.join(cells[i] for i in shown)} |" in stated
        assert len(group) in (1, 2) and (group[0].problems, group[0].samples) == (100, 4)


def test_the_ablations_are_runs_of_the_listed_options():
    lines = (ROOT / "results" / "ablations.txt").read_text(encoding="utf-8").splitlines()
    seen = set()
    for run in compare.read_results(ROOT / "results" / "ablations.json"):
        _, seed, line = run.name.split("-")
        config = parse(Config, [*lines[int(line) - 10].split(), "--seed", seed], "")
        seen.add(int(line) - 10)
        assert run.seed == config.seed and run.config == replace(run, config=config.record()).config
    assert seen == set(range(len(lines)))


def test_what_the_readme_says_of_the_handoff_curves():
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
