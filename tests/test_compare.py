"""Groups, intervals and differences against numbers worked out by hand; the command over runs."""

import json
import math
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

import train
from data.problems import first_problems
from data.tokenizer import load_tokenizer
from model import load_model
from results import figure
from support.reports import compare, results
from support.reports.compare import difference_table, results_table
from support.reports.figure import shared
from support.reports.measures import STUDENT_T, interval
from support.reports.results import RunResults, group_runs, is_plain_rl, read_results
from support.runs.options import UserError
from train import Config

ROOT = Path(__file__).parent.parent
SMALL = "--steps=3 --prompts-per-step=2 --group-size=4 --max-new-tokens=12 --eval-problems=3"
SMALL = [*SMALL.split(), "--eval-samples=1"]


def made(
    name: str,
    seed: int = 0,
    *,
    solo: float = 0.5,
    kl: float = 2.0,
    jargon=0.5,
    before=None,
    **options,
) -> RunResults:
    """A run with these measures; all others are 1."""
    after = {
        "solo": {"pass@1": solo},
        "handoff": {"pass@1": 1.0},
        "handoff_word": {"pass@1": 1.0},
        "drift": {"kl": kl, "acceptance": 1.0},
        "legibility": {"cross_entropy": 1.0},
        "jargon_rate": jargon,
        "response_length": 1.0,
    }
    config = {"eval_split": "test", "eval_top_p": None, "eval_top_k": None}
    config |= asdict(Config(schedule="word")) | options
    curve = {"reward": [0.25, None, 0.75], "jargon_rate": [None] * 3}
    return RunResults(name, seed, config, before or after, after, 10, 2, curve=curve, along=[])


def seeds(name: str, count: int, **changes) -> list[RunResults]:
    return [made(f"{name}-{seed}", seed, **changes) for seed in range(count)]


def test_the_table_of_t_encloses_95_percent_of_the_density():
    shown = [round(STUDENT_T[df - 1], 3) for df in (1, 2, 3, 4, 9)]
    assert shown == [12.706, 4.303, 3.182, 2.776, 2.262]
    assert len(STUDENT_T) == 10
    for df, t in enumerate(STUDENT_T, 1):
        constant = math.gamma((df + 1) / 2) / math.sqrt(df * math.pi) / math.gamma(df / 2)
        points = [t * i / 2000 for i in range(2001)]
        density = [constant * (1 + x**2 / df) ** (-(df + 1) / 2) for x in points]
        simpson = density[0] + density[-1] + 4 * sum(density[1:-1:2]) + 2 * sum(density[2:-1:2])
        assert 2 * simpson * t / 2000 / 3 == pytest.approx(0.95, abs=1e-5)


def test_an_interval_is_the_mean_and_t_standard_errors_clipped_to_the_range():
    # standard deviation √(10/3), t 3.1824 for 3 degrees of freedom
    mean, low, high = interval([1.0, 2.0, 4.0, 5.0])
    assert mean == 3
    assert high - mean == pytest.approx(mean - low) == pytest.approx(3.1824 * math.sqrt(10 / 3) / 2)
    assert interval([0.8, 0.9, 1.0], 0, 1)[2] == 1
    assert interval([0.2, 0.1, 0.0], 0, 1)[1] == 0
    # 19 degrees of freedom take the t of 10, which is larger
    mean, _, high = interval([0.0, 1.0] * 10)
    assert high - mean == pytest.approx(2.2281 * math.sqrt(5 / 19) / math.sqrt(20))


def test_fewer_than_three_values_have_no_interval():
    assert interval([0.7])[0] == 0.7 and interval([0.7, 0.9])[0] == pytest.approx(0.8)
    assert all(map(math.isnan, [*interval([0.7])[1:], *interval([0.7, 0.9])[1:]]))


def names(*runs: RunResults) -> dict[str, list[str]]:
    return {name: [run.name for run in group] for name, group in group_runs(list(runs)).items()}


def test_runs_that_differ_only_in_their_seed_are_a_group():
    runs = [*seeds("word", 2), made("solo-0", schedule="solo"), made("late", steps=9)]
    assert names(*runs) == {"word": ["word-0", "word-1"], "solo": ["solo-0"], "late": ["late"]}


def test_groups_that_directories_do_not_tell_apart_are_named_by_their_options():
    found = names(
        made("word", 0),
        made("word-2", 1),
        made("word-3", 0, learning_rate=4e-4),
        made("a", 0, schedule="solo"),
        made("b", 1, schedule="solo"),
        made("c", 0, schedule="solo", kl_coef=0.1),
        made("d", 1, schedule="solo", kl_coef=0.1),
    )
    assert found == {
        "word": ["word", "word-2"],
        "word --learning-rate 0.0004": ["word-3"],
        "solo": ["a", "b"],
        "solo --kl-coef 0.1": ["c", "d"],
    }


def test_a_trailing_number_that_is_no_seed_stays():
    found = names(made("word-2"), made("word-3", steps=9))
    assert found == {"word-2": ["word-2"], "word-3": ["word-3"]}
    assert names(made("lr-1e-4", 10)) == {"lr-1e-4": ["lr-1e-4"]}


def test_a_seed_that_comes_twice_makes_another_group():
    found = names(made("word"), made("word-2"))  # of other code, perhaps
    assert found == {"word": ["word"], "word-2": ["word-2"]}
    found = names(*seeds("old", 2), *seeds("new", 2))
    assert found == {"old": ["old-0", "old-1"], "new": ["new-0", "new-1"]}
    assert list(names(made("word"), made("word-0"))) == ["word", "word (word-0)"]


def test_runs_measured_differently_are_no_group():
    for change in ({"eval_split": "validation"}, {"eval_top_k": 3}, {"eval_temperature": 0.1}):
        assert len(names(made("word-0"), made("word-1", 1, **change))) == 2
    more = made("word-1", 1)
    more.problems = 11
    assert len(names(made("word-0"), more)) == 2


def test_the_control_is_plain_rl():
    penalty, word, plain = (
        made("a", schedule="solo", kl_coef=0.1),
        made("b"),
        made("c", schedule="solo"),
    )
    groups = group_runs([penalty, word, plain])
    assert [name for name, group in groups.items() if is_plain_rl(group)] == ["c"]


def cells_of(text: str, start: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {start}"))
    return [part.strip() for part in line.split("|")[2:-1]]


def test_three_seeds_show_an_interval_two_both_values_one_its_value():
    pair = {"before": made("x", solo=0.75).after}
    runs = [made("word-0", 0, solo=0.9, **pair), made("word-1", 1, solo=0.95, **pair)]
    runs += [made("word-2", 2, solo=1.0, **pair)]
    runs += [made("late-0", 0, solo=0.975, steps=9, **pair)]
    runs += [made("late-1", 1, solo=0.983, steps=9, **pair)]
    runs += [made("solo-0", 0, solo=0.5, schedule="solo", **pair)]
    shown = results_table(group_runs(runs))
    assert cells_of(shown, " ") == ["before", "word (n=3)", "late (n=2)", "solo (n=1)"]
    expected = ["0.750", "0.950 [0.826, 1.000]", "0.975, 0.983", "0.500"]  # 4.3027 · 0.05 / √3
    assert cells_of(shown, "solo pass@1") == expected
    assert cells_of(shown, "jargon") == ["0.500", "0.500 [0.500, 0.500]", "0.500, 0.500", "0.500"]
    note = shown.splitlines()[-1]
    assert note.startswith("10 test problems × 2 responses; three seeds or more: mean [95%")
    assert "on these problems" in note and note.endswith("two: both values")


def test_more_groups_than_fit_side_by_side_are_rows():
    runs = [run for name in "abcdefg" for run in seeds(name, 3, steps=ord(name))]
    shown = results_table(group_runs(runs))
    assert cells_of(shown, "g (n=3)")[0] == "0.500 [0.500, 0.500]"
    assert "| solo pass@1 ↑ | handoff" in " ".join(shown.splitlines()[0].split())
    assert len(shown.splitlines()) == 2 + 8 + 2  # one row is for the pair before training


def test_each_pair_before_training_is_a_column():
    start = made("x", solo=0.75).after
    runs = [made("a"), made("b", before=start, steps=9), made("c", steps=8)]
    shown = results_table(group_runs(runs))
    assert cells_of(shown, " ") == ["before", "a (n=1)", "before b", "b (n=1)", "c (n=1)"]


def test_differences_are_paired_by_seed_and_starred_if_the_interval_excludes_zero():
    pair = {"before": made("x").after}
    control, word = [], []
    for seed in (1, 2, 3, 9):
        measures = {"solo": 0.1 * seed, "kl": 8.0 + seed}
        control.append(made(f"solo-{seed}", seed, schedule="solo", **measures, **pair))
    for seed, gain in ((3, 0.3), (1, 0.2), (2, 0.1), (5, 0.9)):
        word.append(made(f"word-{seed}", seed, solo=0.1 * seed + gain, **pair))
    few = [made("one", 1, steps=9, **pair)]
    few += [made("late-1", 1, steps=8, **pair), made("late-2", 2, steps=8, **pair)]
    groups = group_runs([*control, *word, *few])
    shown = difference_table(groups, None)
    assert cells_of(shown, "minus solo") == ["word (n=3)"]  # two shared seeds aren't enough
    # 0.2 ± 4.3027 · 0.1 / √3; of KL 2 - 9, 2 - 10 and 2 - 11. Unpaired, neither would exclude 0.
    assert cells_of(shown, "solo pass@1") == ["+0.200 [-0.048, +0.448]"]
    assert cells_of(shown, "drift: KL") == ["-8.000 [-10.484, -5.516] *"]
    assert cells_of(shown, "KL of solo ÷") == ["5 ×"]
    assert cells_of(difference_table(groups, "word"), "KL of word ÷") == ["0.2 ×"]
    assert difference_table(groups, "one") == difference_table(group_runs(word), None) == ""
    for run in word:
        run.after["jargon_rate"] = None
    assert cells_of(difference_table(groups, "solo"), "jargon") == ["-"]


def test_only_groups_that_began_with_the_same_measures_are_subtracted():
    """Another pair, other problems or other sampling: the measures before training differ."""
    control = seeds("solo", 3, schedule="solo")
    word = seeds("word", 3, before=control[0].before, solo=0.9, learning_rate=1e-5)
    other = seeds("other", 3, before=made("x", kl=2.001).after, eval_top_k=20)
    shown = difference_table(group_runs([*control, *word, *other]), None)
    assert cells_of(shown, "minus solo") == ["word (n=3)"]


def test_a_mean_in_a_figure_is_of_the_same_runs_everywhere():
    lines = [{0: 0.1, 2: 0.3, 4: 0.5}, {0: 0.2, 1: 0.9, 4: 0.6}]
    assert shared(lines) == {0: [0.1, 0.2], 4: [0.5, 0.6]}
    assert shared([{0: 0.1}, {}]) == shared([{0: None}]) == {}


def test_a_response_is_laid_out_in_lines_with_authors():
    parts = [("ab\n\ncd", True), ("efg", False)]
    assert figure.layout(parts) == [[("ab", True)], [("cd", True), ("efg", False)]]


def test_the_figure_of_the_first_page_is_the_same_file_every_time(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    senior, junior = load_model(ROOT / "data/senior.pt"), load_model(ROOT / "data/junior.pt")
    run = SimpleNamespace(
        config=SimpleNamespace(**asdict(Config())),
        before=senior,
        senior=junior,
        junior=junior,
        tokenizer=load_tokenizer(),
    )
    monkeypatch.setattr(figure, "load_run", lambda directory: run)
    jargon = str(ROOT / "results/jargon.json")
    for name in ("one.svg", "two.svg"):
        figure.main([jargon, "runs/word", "--out", str(tmp_path / name)])
    first = (tmp_path / "one.svg").read_bytes()
    assert first == (tmp_path / "two.svg").read_bytes()
    assert b"<svg" in first and b"<dc:date>" not in first
    figure.main([jargon, "runs/word", "--seed", "1", "--out", str(tmp_path / "other.svg")])
    assert (tmp_path / "other.svg").read_bytes() != first
    capsys.readouterr()
    not_measured = str(ROOT / "results/ablations.json")
    with pytest.raises(SystemExit):
        figure.main([not_measured, "runs/word", "--out", str(tmp_path / "no.svg")])
    assert "--eval-every" in capsys.readouterr().err


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Two seeds of tandem RL that measure along the way, one of the control."""
    base = tmp_path_factory.mktemp("runs")
    options = {"word-0": "--eval-every=2", "word-1": "--eval-every=2", "solo-0": "--schedule=solo"}
    for name, option in options.items():
        train.main([*SMALL, option, "--seed", name[-1], "--out", str(base / name)])
    return base


def printed(capsys, *words) -> tuple[str, str]:
    capsys.readouterr()
    compare.main([str(word) for word in words])
    return capsys.readouterr()


@pytest.fixture
def no_figure(monkeypatch) -> None:
    """A figure takes a second."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def test_a_figure_that_was_asked_for_needs_matplotlib(runs, no_figure, capsys):
    with pytest.raises(SystemExit) as end:
        compare.main([str(runs / "word-0"), "--figure", str(runs / "x.svg")])
    assert end.value.code == 2
    assert "error: --figure is drawn by matplotlib, which isn't" in capsys.readouterr().err
    assert "no figure: pip install matplotlib" in printed(capsys, runs / "word-0").err


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_results_are_read_as_powershell_redirects_them(runs, no_figure, tmp_path, capsys, encoding):
    text = printed(capsys, runs / "word-0", "--json").out
    (tmp_path / "results.json").write_text(text, encoding=encoding)
    assert printed(capsys, tmp_path / "results.json").out == printed(capsys, runs / "word-0").out


def test_a_name_stays_in_its_cell():
    measures = [("solo | all", "solo", 1.0)]
    table = compare.markdown("a\nb", {"x|y\nz": ["1"]}, measures)
    assert len(table.splitlines()) == 3
    assert "| a b " in table and r"x\|y z |" in table and r"| solo \| all |" in table


@pytest.fixture
def measured(monkeypatch) -> list[tuple[str, list]]:
    """(label, problems) of each measurement from here on."""
    calls, original = [], results.evaluate

    def recorded(senior, junior, tokenizer, problems, sampling, label):
        calls.append((label, problems))
        return original(senior, junior, tokenizer, problems, sampling, label)

    monkeypatch.setattr(results, "evaluate", recorded)
    return calls


def test_results_read_again_give_the_same_tables_and_the_same_figure(runs, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    names = ("word-0", "word-1", "solo-0")
    directories = [runs / name for name in names]
    tables, error = printed(capsys, *directories, "--figure", tmp_path / "one.svg")
    assert f"figure: {tmp_path / 'one.svg'}" in error
    assert cells_of(tables, " ")[-2:] == ["word (n=2)", "solo (n=1)"]
    (tmp_path / "old.svg").write_text("")  # `runs/*` holds the figure of the last comparison
    as_json, _ = printed(capsys, *directories, tmp_path / "old.svg", "--json")
    assert (runs / "comparison.svg").read_bytes() == (tmp_path / "one.svg").read_bytes()
    (tmp_path / "results.json").write_text(as_json)
    assert printed(capsys, tmp_path / "results.json")[0] == tables
    assert (tmp_path / "results.svg").read_bytes() == (tmp_path / "one.svg").read_bytes()
    assert str(tmp_path) not in as_json and str(runs) not in as_json  # it can be published
    first, own = json.loads(as_json)[0], json.loads((runs / "word-0" / "eval.json").read_text())
    assert (first["name"], first["seed"], first["config"]["schedule"]) == ("word-0", 0, "word")
    assert (first["before"], first["after"]) == (own["before"], own["after"])
    assert [m["step"] for m in first["along"]][:2] == [0, 2] and len(first["curve"]["reward"]) == 3


def test_another_control_may_be_named(tmp_path, capsys, no_figure):
    groups = seeds("a", 3, steps=1) + seeds("bb", 3, steps=2)
    (tmp_path / "r.json").write_text(json.dumps([asdict(run) for run in groups]))
    shown, _ = printed(capsys, tmp_path / "r.json", "--control", "a")
    assert cells_of(shown, "minus a") == ["bb (n=3)"]
    with pytest.raises(SystemExit):
        printed(capsys, tmp_path / "r.json", "--control", "c")
    assert "--control c is no group; choose from a, bb" in capsys.readouterr().err


def test_measuring_again_writes_nothing_and_measures_a_common_start_once(
    runs, tmp_path, capsys, measured, no_figure
):
    pair = [shutil.copytree(runs / name, tmp_path / name) for name in ("word-0", "word-1")]
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    shown, _ = printed(capsys, *pair, "--problems=4", "--handoff-curve")
    assert [label for label, _ in measured] == ["before", "word-0", "word-1"]
    assert cells_of(shown, " ")[-1] == "word (n=2)" and "4 test problems × 1 responses" in shown
    assert cells_of(shown, "the senior's share") == ["before", "word (n=2)"]
    alone = cells_of(shown, "solo pass@1")[-1]
    assert cells_of(shown, "1.0 ")[-1] == alone
    assert files == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_a_run_of_no_steps_is_measured_once(tmp_path, capsys, measured, no_figure):
    train.main([*SMALL, "--steps=0", f"--out={tmp_path / 'none'}"])
    out, _ = printed(capsys, tmp_path / "none", "--problems=2", "--json")
    (found,) = json.loads(out)
    assert len(measured) == 1 and found["after"] == found["before"]


def test_what_another_version_wrote_into_eval_json_is_passed_over(
    runs, tmp_path, capsys, no_figure
):
    shutil.copytree(runs / "word-0", tmp_path / "word-0")
    path = tmp_path / "word-0" / "eval.json"
    expected, _ = printed(capsys, tmp_path / "word-0")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fingerprints": [1]}))
    assert printed(capsys, tmp_path / "word-0")[0] == expected


def test_settings_that_are_not_given_are_the_runs_own(runs, capsys, measured, no_figure):
    own = json.loads((runs / "solo-0" / "eval.json").read_text())
    again = json.loads(printed(capsys, runs / "solo-0", "--handoff-curve", "--json")[0])[0]
    assert (again["problems"], again["samples"], again["config"]["eval_temperature"]) == (3, 1, 0.7)
    assert set(again["before"].pop("handoff_curve")) == {str(tenth / 10) for tenth in range(11)}
    assert (again["before"], again["after"]) == (own["before"], own["after"])
    out, _ = printed(capsys, runs / "solo-0", "--temperature=1.5", "--top-k=3", "--json")
    (hotter,) = json.loads(out)
    assert (hotter["problems"], hotter["samples"]) == (3, 1)
    assert hotter["config"]["eval_temperature"] == 1.5
    assert (hotter["config"]["eval_top_k"], hotter["config"]["eval_top_p"]) == (3, None)


def test_an_unfinished_run_can_be_measured_again(runs, tmp_path, capsys, no_figure):
    run = shutil.copytree(runs / "word-0", tmp_path / "a")
    (run / "eval.json").unlink()
    assert "2 test problems" in printed(capsys, run, "--problems=2")[0]


def test_the_validation_split_is_for_choosing_options(runs, tmp_path, capsys, measured, no_figure):
    run = shutil.copytree(runs / "word-0", tmp_path / "a")
    assert "3 validation problems × 1 responses" in printed(capsys, run, "--validation")[0]
    assert "3 test problems × 1 responses" in printed(capsys, run, "--problems=3")[0]
    asked = [[problem.question for problem in problems] for _, problems in measured[::2]]
    for questions, split in zip(asked, ("validation", "test"), strict=True):
        assert questions == [p.question for p in first_problems(split, 3, "evaluation")]
    (tmp_path / "v.json").write_text(printed(capsys, run, "--validation", "--json")[0])
    shown, _ = printed(capsys, tmp_path / "v.json", runs / "word-1")
    assert [name for name in cells_of(shown, " ") if "(n=" in name] == ["a (n=1)", "word (n=1)"]
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"data": "p.jsonl"}))
    with pytest.raises(SystemExit) as stopped:
        printed(capsys, run, "--validation")
    assert stopped.value.code == 2 and "has no validation problems" in capsys.readouterr().err


def test_directories_among_others_that_are_no_runs_are_left_out(runs, tmp_path, capsys, no_figure):
    base = tmp_path / "base-work"
    base.mkdir()
    shutil.copy(ROOT / "data/senior.pt", base)
    shown, error = printed(capsys, base, runs / "word-0", runs / "solo-0")
    assert cells_of(shown, " ")[-1] == "solo (n=1)" and f"left out: {base} is no run" in error
    with pytest.raises(SystemExit):
        printed(capsys, base)
    assert "no runs to compare" in capsys.readouterr().err


def test_runs_of_one_name_are_told_apart_by_their_paths(runs, tmp_path, capsys, no_figure):
    other = shutil.copytree(runs / "word-0", tmp_path / "word-0")
    shown, _ = printed(capsys, runs / "word-0", other)
    groups = [name for name in cells_of(shown, " ") if "(n=" in name]
    assert groups == ["word (n=1)", f"{tmp_path / 'word'} (n=1)"]


def test_a_damaged_file_of_results_is_one_line(tmp_path):
    good = asdict(made("a"))
    path = tmp_path / "results.json"
    drift = good["after"] | {"drift": {"kl": "much", "acceptance": 1}}
    changes = [{"after": {}}, {"after": drift}, {"along": [{}]}, {"unknown": 1}]
    changes += [{"after": []}, {"after": None}]
    damaged = [json.dumps([good | change]) for change in changes]
    for text in ("", "[1]", "3", "{", *damaged):
        path.write_text(text)
        with pytest.raises(UserError, match="results.json can't be read as evaluate.py --json"):
            read_results(path)


def test_a_run_that_goes_on_is_shown_as_far_as_it_was_measured(tmp_path, capsys):
    """Its new steps aren't mixed with the old measurement. Measured anew, it has them."""
    out = tmp_path / "run"
    small = "--prompts-per-step 2 --group-size 2 --max-new-tokens 12 --eval-problems 2"
    small += " --eval-samples 1 --eval-every 1"
    train.main([*small.split(), "--steps=2", "--out", str(out)])
    for name in ("metrics.jsonl", "evals.jsonl"):
        written = (out / name).read_text()
        (out / name).write_text(written + written.splitlines()[-1] + "\n")
    rows = [json.loads(line) for line in (out / "evals.jsonl").read_text().splitlines()]
    rows[-1]["step"] = 3
    (out / "evals.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | {"steps": 9}))
    capsys.readouterr()
    for words, steps, length in ((["--json"], 2, 2), (["--json", "--problems=3"], 2, 3)):
        compare.main([str(out), *words])
        (run,) = json.loads(capsys.readouterr().out)
        assert run["config"]["steps"] == steps and len(run["curve"]["reward"]) == length
