"""Groups, intervals and differences against numbers worked out by hand; the command over runs and results files."""

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
from support.reports.results import (
    STUDENT_T,
    WITHOUT_EFFECT,
    RunResults,
    group_runs,
    interval,
    is_plain_rl,
    read_results,
)
from support.runs.options import UserError
from train import Config

ROOT = Path(__file__).parent.parent
SMALL = "--steps=3 --prompts-per-step=2 --group-size=4 --max-new-tokens=12 --eval-problems=3 --eval-samples=1".split()


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
    after = {"solo": {"pass@1": solo}, "handoff": {"pass@1": 1.0}, "handoff_word": {"pass@1": 1.0}}
    after |= {"drift": {"kl": kl, "acceptance": 1.0}, "legibility": {"cross_entropy": 1.0}}
    after |= {"jargon_rate": jargon, "response_length": 1.0}
    config = (
        {"eval_split": "test", "eval_top_p": None, "eval_top_k": None}
        | asdict(Config(schedule="word"))
        | options
    )
    config = {name: value for name, value in config.items() if name not in WITHOUT_EFFECT}
    curve = {"reward": [0.25, None, 0.75], "jargon_rate": [None] * 3}
    return RunResults(
        name, seed, config, before or after, after, problems=10, samples=2, curve=curve, along=[]
    )


def test_the_table_of_t_encloses_95_percent_of_the_density():
    assert [round(STUDENT_T[df - 1], 3) for df in (1, 2, 3, 4, 9)] == [
        12.706,
        4.303,
        3.182,
        2.776,
        2.262,
    ]
    assert len(STUDENT_T) == 10
    for df, t in enumerate(STUDENT_T, 1):
        constant = math.gamma((df + 1) / 2) / math.sqrt(df * math.pi) / math.gamma(df / 2)
        density = [
            constant * (1 + (t * i / 2000) ** 2 / df) ** (-(df + 1) / 2) for i in range(2001)
        ]
        simpson = density[0] + density[-1] + 4 * sum(density[1:-1:2]) + 2 * sum(density[2:-1:2])
        assert 2 * simpson * t / 2000 / 3 == pytest.approx(0.95, abs=1e-5)


def test_an_interval_is_the_mean_and_t_standard_errors_clipped_to_the_range():
    mean, low, high = interval(
        [1.0, 2.0, 4.0, 5.0]
    )  # standard deviation √(10/3), t 3.1824 for 3 degrees of freedom
    assert mean == 3
    assert high - mean == pytest.approx(mean - low) == pytest.approx(3.1824 * math.sqrt(10 / 3) / 2)
    assert interval([0.8, 0.9, 1.0], 0, 1)[2] == 1 and interval([0.2, 0.1, 0.0], 0, 1)[1] == 0
    mean, _, high = interval(
        [0.0, 1.0] * 10
    )  # 19 degrees of freedom take the t of 10, which is larger
    assert high - mean == pytest.approx(2.2281 * math.sqrt(5 / 19) / math.sqrt(20))


def test_fewer_than_three_values_have_no_interval():
    assert interval([0.7])[0] == 0.7 and interval([0.7, 0.9])[0] == pytest.approx(0.8)
    assert all(map(math.isnan, [*interval([0.7])[1:], *interval([0.7, 0.9])[1:]]))


def names(*runs: RunResults) -> dict[str, list[str]]:
    return {name: [run.name for run in group] for name, group in group_runs(list(runs)).items()}


def test_runs_that_differ_only_in_their_seed_are_a_group():
    runs = [
        made("word-0", 0),
        made("solo-0", 0, schedule="solo"),
        made("word-1", 1),
        made("late", 0, steps=9),
    ]
    assert names(*runs) == {"word": ["word-0", "word-1"], "solo": ["solo-0"], "late": ["late"]}


def test_groups_that_directories_do_not_tell_apart_are_named_by_their_options():
    assert names(
        made("word", 0), made("word-2", 1), made("word-3", 0, learning_rate=4e-4), made("a", 0, schedule="solo"),
        made("b", 1, schedule="solo"), made("c", 0, schedule="solo", kl_coef=0.1), made("d", 1, schedule="solo", kl_coef=0.1),
    ) == {
        "word": ["word", "word-2"], "word --learning-rate 0.0004": ["word-3"],
        "solo": ["a", "b"], "solo --kl-coef 0.1": ["c", "d"],
    }  # fmt: skip


def test_a_trailing_number_that_is_no_seed_stays():
    assert names(made("word-2"), made("word-3", steps=9)) == {
        "word-2": ["word-2"],
        "word-3": ["word-3"],
    }
    assert names(made("lr-1e-4", 10)) == {"lr-1e-4": ["lr-1e-4"]}


def test_a_seed_that_comes_twice_makes_another_group():
    assert names(made("word"), made("word-2")) == {
        "word": ["word"],
        "word-2": ["word-2"],
    }  # other code, perhaps
    twice = [made("old-0"), made("old-1", 1), made("new-0"), made("new-1", 1)]
    assert names(*twice) == {"old": ["old-0", "old-1"], "new": ["new-0", "new-1"]}
    assert list(names(made("word"), made("word-0"))) == ["word", "word (word-0)"]


def test_runs_measured_differently_are_no_group():
    for change in ({"eval_split": "validation"}, {"eval_top_k": 3}, {"eval_temperature": 0.1}):
        assert len(names(made("word-0"), made("word-1", 1, **change))) == 2
    more = made("word-1", 1)
    more.problems = 11
    assert len(names(made("word-0"), more)) == 2


def test_the_control_is_plain_rl():
    groups = group_runs(
        [made("a", schedule="solo", kl_coef=0.1), made("b"), made("c", schedule="solo")]
    )
    assert [name for name, group in groups.items() if is_plain_rl(group)] == ["c"]


def cells_of(text: str, start: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {start}"))
    return [part.strip() for part in line.split("|")[2:-1]]


def test_three_seeds_show_an_interval_two_both_values_one_its_value():
    start = made("x", solo=0.75).after
    runs = [
        made(f"word-{i}", i, solo=solo, before=start) for i, solo in enumerate((0.9, 0.95, 1.0))
    ]
    runs += [
        made(f"late-{i}", i, solo=solo, before=start, steps=9)
        for i, solo in enumerate((0.975, 0.983))
    ]
    shown = results_table(
        group_runs([*runs, made("solo-0", solo=0.5, schedule="solo", before=start)])
    )
    assert cells_of(shown, " ") == ["before", "word (n=3)", "late (n=2)", "solo (n=1)"]
    expected = ["0.750", "0.950 [0.826, 1.000]", "0.975, 0.983", "0.500"]  # 4.3027 · 0.05 / √3
    assert cells_of(shown, "solo pass@1") == expected
    assert cells_of(shown, "jargon") == ["0.500", "0.500 [0.500, 0.500]", "0.500, 0.500", "0.500"]
    note = shown.splitlines()[-1]
    assert note.startswith("10 test problems × 2 responses; three seeds or more: mean [95%")
    assert "on these problems" in note and note.endswith("two: both values")


def test_more_groups_than_fit_side_by_side_are_rows():
    runs = [
        made(f"{name}-{seed}", seed, steps=ord(name)) for name in "abcdefg" for seed in (0, 1, 2)
    ]
    shown = results_table(group_runs(runs))
    assert cells_of(shown, "g (n=3)")[0] == "0.500 [0.500, 0.500]"
    assert "| solo pass@1 ↑ | handoff" in " ".join(shown.splitlines()[0].split())
    assert len(shown.splitlines()) == 2 + 8 + 2  # one row is for the pair before training


def test_each_pair_before_training_is_a_column():
    start = made("x", solo=0.75).after
    shown = results_table(
        group_runs([made("a"), made("b", before=start, steps=9), made("c", steps=8)])
    )
    assert cells_of(shown, " ") == ["before", "a (n=1)", "before b", "b (n=1)", "c (n=1)"]


def test_differences_are_paired_by_seed_and_starred_if_the_interval_excludes_zero():
    pair = dict(before=made("x").after)
    control = [
        made(f"solo-{i}", i, solo=0.1 * i, kl=8.0 + i, schedule="solo", **pair)
        for i in (1, 2, 3, 9)
    ]
    word = [
        made(f"word-{i}", i, solo=0.1 * i + d, **pair)
        for i, d in ((3, 0.3), (1, 0.2), (2, 0.1), (5, 0.9))
    ]
    few = [
        made("one", 1, steps=9, **pair),
        made("late-1", 1, steps=8, **pair),
        made("late-2", 2, steps=8, **pair),
    ]
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
    control = [made(f"solo-{i}", i, schedule="solo") for i in range(3)]
    word = [
        made(f"word-{i}", i, before=control[0].before, solo=0.9, learning_rate=1e-5)
        for i in range(3)
    ]
    other = [
        made(f"other-{i}", i, before=made("x", kl=2.001).after, eval_top_k=20) for i in range(3)
    ]
    assert cells_of(
        difference_table(group_runs([*control, *word, *other]), None), "minus solo"
    ) == ["word (n=3)"]


def test_a_mean_in_a_figure_is_of_the_same_runs_everywhere():
    assert shared([{0: 0.1, 2: 0.3, 4: 0.5}, {0: 0.2, 1: 0.9, 4: 0.6}]) == {
        0: [0.1, 0.2],
        4: [0.5, 0.6],
    }
    assert shared([{0: 0.1}, {}]) == shared([{0: None}]) == {}


def test_a_response_is_laid_out_in_lines_with_authors():
    parts = [("ab\n\ncd", True), ("efg", False)]
    assert figure.layout(parts) == [[("ab", True)], [("cd", True), ("efg", False)]]


def test_the_figure_of_the_first_page_is_the_same_file_every_time(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    senior, junior = load_model(ROOT / "data/senior.pt"), load_model(ROOT / "data/junior.pt")
    config = SimpleNamespace(**asdict(Config()))
    run = SimpleNamespace(
        config=config, before=senior, senior=junior, junior=junior, tokenizer=load_tokenizer()
    )
    monkeypatch.setattr(figure, "load_run", lambda directory: run)
    for name in ("one.svg", "two.svg"):
        figure.main([str(ROOT / "results/jargon.json"), "runs/word", "--out", str(tmp_path / name)])
    first = (tmp_path / "one.svg").read_bytes()
    assert (
        first == (tmp_path / "two.svg").read_bytes()
        and b"<svg" in first
        and b"<dc:date>" not in first
    )
    figure.main(
        [
            str(ROOT / "results/jargon.json"),
            "runs/word",
            "--seed",
            "1",
            "--out",
            str(tmp_path / "other.svg"),
        ]
    )
    assert (tmp_path / "other.svg").read_bytes() != first
    capsys.readouterr()
    with pytest.raises(SystemExit):
        figure.main(
            [str(ROOT / "results/ablations.json"), "runs/word", "--out", str(tmp_path / "no.svg")]
        )
    assert "--eval-every" in capsys.readouterr().err


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Two seeds of tandem RL that measure along the way, one of the control."""
    base = tmp_path_factory.mktemp("runs")
    for name, option in (
        ("word-0", "--eval-every=2"),
        ("word-1", "--eval-every=2"),
        ("solo-0", "--schedule=solo"),
    ):
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
    tables, error = printed(
        capsys, *(runs / name for name in names), "--figure", tmp_path / "one.svg"
    )
    assert f"figure: {tmp_path / 'one.svg'}" in error
    assert cells_of(tables, " ")[-2:] == ["word (n=2)", "solo (n=1)"]
    (tmp_path / "old.svg").write_text("")  # `runs/*` holds the figure of the last comparison
    as_json, _ = printed(capsys, *(runs / name for name in names), tmp_path / "old.svg", "--json")
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
    rows = [
        asdict(made(f"{name}-{i}", i, steps=len(name))) for name in ("a", "bb") for i in range(3)
    ]
    (tmp_path / "r.json").write_text(json.dumps(rows))
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
    assert (
        cells_of(shown, "1.0 ")[-1] == cells_of(shown, "solo pass@1")[-1]
    )  # both are the senior alone
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
    hotter = json.loads(
        printed(capsys, runs / "solo-0", "--temperature=1.5", "--top-k=3", "--json")[0]
    )[0]
    assert (hotter["problems"], hotter["samples"], hotter["config"]["eval_temperature"]) == (
        3,
        1,
        1.5,
    )
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
    assert asked == [
        [p.question for p in first_problems(s, 3, "evaluation")] for s in ("validation", "test")
    ]
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
    assert [name for name in cells_of(shown, " ") if "(n=" in name] == [
        "word (n=1)",
        f"{tmp_path / 'word'} (n=1)",
    ]


def test_a_damaged_file_of_results_is_one_line(tmp_path):
    good = asdict(made("a"))
    path = tmp_path / "results.json"
    drift = good["after"] | {"drift": {"kl": "much", "acceptance": 1}}
    changes = (
        {"after": {}},
        {"after": drift},
        {"along": [{}]},
        {"unknown": 1},
        {"after": []},
        {"after": None},
    )
    for text in ("", "[1]", "3", "{", *(json.dumps([good | change]) for change in changes)):
        path.write_text(text)
        with pytest.raises(
            UserError, match="results.json can't be read as evaluate.py --json prints it"
        ):
            read_results(path)


def test_a_run_that_goes_on_is_shown_as_far_as_it_was_measured(tmp_path, capsys):
    """Its new steps are not mixed with the measurement of its shorter self; measured anew, it has the steps it reached."""
    out = tmp_path / "run"
    small = "--prompts-per-step 2 --group-size 2 --max-new-tokens 12 --eval-problems 2 --eval-samples 1 --eval-every 1"
    train.main([*small.split(), "--steps=2", "--out", str(out)])
    for name in ("metrics.jsonl", "evals.jsonl"):
        (out / name).write_text(
            (out / name).read_text() + (out / name).read_text().splitlines()[-1] + "\n"
        )
    rows = [json.loads(line) for line in (out / "evals.jsonl").read_text().splitlines()]
    (out / "evals.jsonl").write_text(
        "\n".join(json.dumps(row) for row in [*rows[:-1], rows[-1] | {"step": 3}])
    )
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | {"steps": 9}))
    capsys.readouterr()
    for words, steps, length in ((["--json"], 2, 2), (["--json", "--problems=3"], 2, 3)):
        compare.main([str(out), *words])
        (run,) = json.loads(capsys.readouterr().out)
        assert run["config"]["steps"] == steps and len(run["curve"]["reward"]) == length
