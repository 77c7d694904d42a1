"""Groups, intervals and differences against numbers worked out by hand; the command over runs and results files."""

import copy
import json
import math
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

import cli
import compare
import evaluate
import train
from checkpoint import read, write
from cli import UserError
from compare import Run, differences, grouped, interval, results, t_quantile
from config import Config
from data.problems import take
from model import load_model, save_model
from runs import weights_fingerprint

SMALL = "--steps 3 --prompts 2 --group-size 4 --max-new-tokens 12 --eval-problems 3 --eval-samples 1".split()


def made(name: str, seed: int = 0, *, solo: float = 0.5, kl: float = 2.0, jargon=0.5, before=None, **options) -> Run:
    """A run of these measures, all others 1."""
    after = {"solo": {"pass@1": solo}, "handoff": {"pass@1": 1.0}, "handoff_word": {"pass@1": 1.0}}
    after |= {"drift": {"kl": kl, "acceptance": 1.0}, "legibility": {"cross_entropy": 1.0}}
    after |= {"jargon_rate": jargon, "response_length": 1.0}
    config = asdict(Config(**({"schedule": "word"} | options)))
    curve = {"reward": [0.25, None, 0.75], "jargon_rate": [None] * 3}
    return Run(name, seed, config, before or after, after, 10, 2, curve, [], None)


@pytest.mark.parametrize(
    "df, level, tabulated",
    [
        (1, 0.95, 12.706), (2, 0.95, 4.303), (3, 0.95, 3.182), (4, 0.95, 2.776), (5, 0.95, 2.571), (7, 0.95, 2.365),
        (9, 0.95, 2.262), (30, 0.95, 2.042), (120, 0.95, 1.980), (1, 0.5, 1.000), (4, 0.99, 4.604), (15, 0.9, 1.753),
    ],
)  # fmt: skip
def test_the_quantiles_of_t_are_the_tabulated_ones(df, level, tabulated):
    assert t_quantile(df, level) == pytest.approx(tabulated, abs=5.1e-4)


def test_an_interval_is_the_mean_and_t_standard_errors_cut_to_what_can_be():
    mean, low, high = interval([1.0, 2.0, 4.0, 5.0])  # standard deviation √(10/3), t 3.182 for 3 degrees of freedom
    assert mean == 3 and high - mean == pytest.approx(mean - low) == pytest.approx(
        3.18245 * math.sqrt(10 / 3) / 2, rel=1e-5
    )
    assert interval([0.9, 1.0], 0, 1)[2] == 1 and interval([0.1, 0.0], 0, 1)[1] == 0
    assert interval([0.7])[0] == 0.7 and all(map(math.isnan, interval([0.7])[1:]))


def names(*runs: Run) -> dict[str, list[str]]:
    return {name: [run.name for run in group] for name, group in grouped(list(runs)).items()}


def test_runs_that_differ_in_their_seed_alone_are_a_group():
    aside = dict(out="x", device="cpu", save_every=7, on_nonfinite="skip", export="y", micro_tokens=9, eval_every=5)
    assert names(
        made("word-0", 0), made("solo-0", 0, schedule="solo"), made("word-1", 1, **aside), made("late", 0, steps=9)
    ) == {"word": ["word-0", "word-1"], "solo": ["solo-0"], "late": ["late"]}


def test_groups_that_directories_do_not_tell_apart_are_called_by_their_options():
    assert names(
        made("word", 0), made("word-2", 1), made("word-3", 0, learning_rate=4e-4), made("a", 0, schedule="solo"),
        made("b", 1, schedule="solo"), made("c", 0, schedule="solo", kl_coef=0.1), made("d", 1, schedule="solo", kl_coef=0.1),
    ) == {
        "word": ["word", "word-2"], "word --learning-rate 0.0004": ["word-3"],
        "solo": ["a", "b"], "solo --kl-coef 0.1": ["c", "d"],
    }  # fmt: skip


def test_single_runs_keep_their_names_and_a_seed_that_comes_twice_is_no_seed_more():
    assert names(made("word-2"), made("word-3", steps=9)) == {"word-2": ["word-2"], "word-3": ["word-3"]}
    assert names(made("word"), made("word-2")) == {"word": ["word"], "word-2": ["word-2"]}  # other code, perhaps
    assert names(made("old-0"), made("old-1", 1), made("new-0"), made("new-1", 1)) == {
        "old": ["old-0", "old-1"],
        "new": ["new-0", "new-1"],
    }


def test_a_run_of_before_an_option_was_there_is_of_the_group_of_its_default():
    older = made("word-1", 1)
    del older.config["precision"]
    older = Run(**asdict(older))
    assert names(made("word-0"), older) == {"word": ["word-0", "word-1"]}


def test_runs_are_told_apart_by_what_was_in_their_files_not_by_how_it_was_spelled():
    known = dict(senior="a1", **{"junior.pt": "b2", "--data": "c3"})
    same = [
        made("word-0", 0, senior="here.pt", data="p.jsonl"),
        made("word-1", 1, senior="../there.pt", data="q.jsonl"),
    ]
    older = names(*copy.deepcopy(same))
    for run in same:
        run.fingerprints = known
    assert names(*same) == {"word": ["word-0", "word-1"]} and len(older) == 2
    for change in ("senior", "junior.pt", "--data"):
        other = made("word-2", 2, senior="here.pt", data="p.jsonl")
        other.fingerprints = known | {change: "another"}
        assert [len(group) for group in grouped([*same, other]).values()] == [2, 1]
        assert [len(group) for group in grouped([Run(**asdict(run)) for run in [*same, other]]).values()] == [2, 1]


def cells_of(text: str, start: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {start}"))
    return [part.strip() for part in line.split("|")[2:-1]]


def test_the_table_has_a_mean_and_an_interval_a_group_and_a_number_for_a_run_alone():
    start = made("x", solo=0.75).after
    runs = [made(f"word-{i}", i, solo=solo, before=start) for i, solo in enumerate((0.9, 0.95, 1.0))]
    shown = results(grouped([*runs, made("solo-0", solo=0.5, schedule="solo", before=start)]))
    assert cells_of(shown, " ") == ["before", "word (n=3)", "solo (n=1)"]
    assert cells_of(shown, "solo pass@1") == ["0.750", "0.950 [0.826, 1.000]", "0.500"]  # 4.303 · 0.05 / √3
    assert cells_of(shown, "jargon") == ["0.500", "0.500 [0.500, 0.500]", "0.500"]
    assert "10 test problems × 2 responses; mean [95%" in (last := shown.splitlines()[-1])
    assert "over n seeds, on these problems (the same for all seeds), clipped to" in last


def test_more_groups_than_fit_side_by_side_are_rows():
    runs = [made(f"{name}-{seed}", seed, steps=ord(name), solo=0.5) for name in "abcdefg" for seed in (0, 1)]
    shown = results(grouped(runs))
    assert cells_of(shown, "g (n=2)")[0] == "0.500 [0.500, 0.500]"
    assert "| solo pass@1 ↑ | handoff" in " ".join(shown.splitlines()[0].split())
    assert len(shown.splitlines()) == 2 + 8 + 2  # one is what they began with


def test_a_column_of_what_they_began_with_for_each_such_pair_and_none_where_it_is_not_known(capsys):
    runs = [made("a"), made("b", solo=0.25, steps=9), made("c", steps=8), made("d", steps=7)]
    runs[3].before = None
    shown = results(grouped(runs))
    assert cells_of(shown, " ") == ["before", "a (n=1)", "before b", "b (n=1)", "c (n=1)", "d (n=1)"]
    assert "no column `before` of d:" in capsys.readouterr().err


def test_differences_are_paired_by_seed_and_marked_where_zero_is_out_of_the_question():
    control = [made(f"solo-{i}", i, solo=0.1 * i, kl=8.0 + i, schedule="solo") for i in (1, 2, 3, 9)]
    word = [made(f"word-{i}", i, solo=0.1 * i + d, kl=2.0) for i, d in ((3, 0.3), (1, 0.2), (2, 0.1), (5, 0.9))]
    groups = grouped([*control, *word, made("one", 1, steps=9), made("none", 7, steps=8)])
    shown = differences(groups, "solo")
    assert cells_of(shown, "minus solo") == ["word (n=3)"]
    # 0.2, 0.2 ± 4.303 · 0.1 / √3 and, of KL, 2 - 9, 2 - 10 and 2 - 11: unpaired, neither would exclude 0
    assert cells_of(shown, "solo pass@1") == ["+0.200 [-0.048, +0.448]"]
    assert cells_of(shown, "drift: KL") == ["-8.000 [-10.484, -5.516] *"]
    assert cells_of(shown, "KL of solo ÷") == ["5 ×"]
    assert cells_of(differences(groups, "word"), "KL of word ÷") == ["0.2 ×"]
    assert differences(groups, None) == shown and "on these problems" in shown
    assert differences(groups, "one") == differences(grouped(word), None) == ""
    for run in word:
        run.after["jargon_rate"] = None
    assert cells_of(differences(groups, "solo"), "jargon") == ["-"]


def test_a_control_is_of_the_same_world_pair_problems_and_way_of_measuring(capsys):
    def both(label, **options):
        return [
            made(f"{label}_{schedule}-{i}", i, solo=solo, schedule=schedule, **options)
            for schedule, solo in (("solo", 0.1), ("word", 0.4))
            for i in (0, 1)
        ]

    assert differences(grouped(both("a")), None).count("minus") == 1 and capsys.readouterr().err == ""
    for options in (
        dict(world="work"), dict(data="x"), dict(data="x", test_data="y"), dict(senior="x"), dict(junior="self"),
        dict(prompt_template="{question}?"), dict(eval_problems=9), dict(eval_samples=9), dict(eval_temperature=0.9),
        dict(data="x", max_prompt_tokens=9),
    ):  # fmt: skip
        shown = differences(groups := grouped([*both("a"), *both("b", **options)]), None)  # each has its own control
        assert cells_of(shown, "minus a_solo") == ["a_word (n=2)"] and cells_of(shown, "minus b_solo") == [
            "b_word (n=2)"
        ]
        assert shown.count("mean difference") == 1 and capsys.readouterr().err == ""
        del groups["b_solo"]
        shown = differences(groups, None)
        assert cells_of(shown, "minus a_solo") == ["a_word (n=2)"] and "b_word" not in shown
        assert capsys.readouterr().err.startswith("no differences of b_word: ")
    measured = [*both("a"), *both("b"), *both("c"), *both("d")]
    for run, (name, value) in zip(measured[4:], 4 * [("top_p", 0.8)] + 4 * [("top_k", 20)], strict=False):
        run.config[f"eval_{name}"] = value
    for run in measured[12:]:
        run.problems = 11
    shown = differences(grouped(measured), None)
    assert all(cells_of(shown, f"minus {x}_solo") == [f"{x}_word (n=2)"] for x in "abcd")
    many = grouped([*both("a"), *both("late", learning_rate=1e-5)])  # what was trained with may differ
    assert cells_of(differences(many, None), "minus a_solo") == [
        f"{name} (n=2)" for name in ("a_word", "late_solo", "late_word")
    ]


def test_a_mean_along_the_way_is_of_the_same_runs_everywhere():
    lines = [[(0, 0.1), (2, 0.3), (4, 0.5), (6, 0.7)], [(0, 0.2), (1, 0.9), (4, 0.6), (6, None)]]
    assert compare._by_x(map(iter, lines)) == {0: [0.1, 0.2], 4: [0.5, 0.6]}
    assert compare._by_x([*lines, []]) == {}


def test_the_control_is_plain_rl():
    groups = grouped([made("a", schedule="solo", kl_coef=0.1), made("b"), made("c", schedule="solo")])
    assert [name for name, group in groups.items() if compare.is_control(group)] == ["c"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Two seeds of tandem RL that measure along the way, two of the control."""
    base = tmp_path_factory.mktemp("runs")
    for name, seed, options in (
        ("word-0", "0", ["--eval-every", "2"]), ("word-1", "1", ["--eval-every", "2"]),
        ("solo-0", "0", ["--schedule", "solo"]), ("solo-1", "1", ["--schedule", "solo"]),
    ):  # fmt: skip
        train.main([*SMALL, *options, "--seed", seed, "--out", str(base / name)])
    return base


def printed(capsys, *words) -> tuple[str, str]:
    capsys.readouterr()
    evaluate.main([str(word) for word in words])
    return capsys.readouterr()


@pytest.fixture
def no_figure(monkeypatch) -> None:
    """It takes a second."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def test_results_read_again_give_the_same_tables_and_the_same_figure(runs, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    names = ("word-0", "word-1", "solo-0", "solo-1")
    tables, error = printed(capsys, *(runs / name for name in names), "--figure", tmp_path / "both")
    assert f"figure: {tmp_path / 'both.png'} and {tmp_path / 'both.svg'}" in error
    assert cells_of(tables, " ") == ["before", "word (n=2)", "solo (n=2)"]
    assert cells_of(tables, "minus solo") == ["word (n=2)"]
    (runs / "comparison.svg").write_text("")  # `runs/*` has it too, once it was drawn
    as_json, _ = printed(capsys, *(runs / name for name in (*names, "comparison.svg")), "--json")
    (tmp_path / "results.json").write_text(as_json)
    assert printed(capsys, tmp_path / "results.json", "--figure", tmp_path / "one.svg")[0] == tables
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "both.svg").read_bytes() != b""
    assert (runs / "comparison.png").stat().st_size > 10_000 < (tmp_path / "both.png").stat().st_size
    printed(capsys, tmp_path / "results.json")
    assert (tmp_path / "results.svg").read_bytes() == (tmp_path / "both.svg").read_bytes()  # beside it, by its name
    assert str(tmp_path) not in as_json and str(runs) not in as_json  # so that it can be published
    first, measured = json.loads(as_json)[0], json.loads((runs / "word-0" / "eval.json").read_text())
    assert (first["name"], first["seed"], first["config"]["schedule"]) == ("word-0", 0, "word")
    assert (first["before"], first["after"]) == (measured["before"], measured["after"])
    assert [m["step"] for m in first["along"]] == [0, 2] and len(first["curve"]["reward"]) == 3


def test_a_figure_that_was_not_asked_for_and_can_not_be_drawn_is_no_error(runs, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    run = Path(shutil.copytree(runs / "solo-0", tmp_path / "solo-0"))
    (tmp_path / "comparison.png").mkdir()
    shown, error = printed(capsys, run)
    assert "solo pass@1" in shown and f"no figure: {tmp_path / 'comparison.png'} can't be drawn" in error


def test_more_groups_than_colours_are_no_figure(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    rows = [asdict(made(f"run-{i}", steps=i)) for i in range(1, 11)]
    (tmp_path / "many.json").write_text(json.dumps(rows))
    shown, error = printed(capsys, tmp_path / "many.json")
    assert shown.count("| run-") == 10 and "no figure: 10 groups" in error
    with pytest.raises(SystemExit):
        printed(capsys, tmp_path / "many.json", "--figure", tmp_path / "many.png")
    assert "10 groups are more than" in capsys.readouterr().err and not (tmp_path / "many.png").exists()


def test_another_control_may_be_named(runs, capsys, no_figure):
    shown, _ = printed(capsys, *(path for path in runs.iterdir() if path.is_dir()), "--control", "word")
    assert cells_of(shown, "minus word") == ["solo (n=2)"]


def test_measuring_along_the_way_changes_no_run_and_is_what_is_measured_at_that_step(runs, tmp_path):
    for name, steps in (("never", "3"), ("stopped", "2")):
        train.main([*SMALL, "--steps", steps, "--out", str(tmp_path / name)])
    along = [json.loads(line) for line in (runs / "word-0" / "measures.jsonl").read_text().splitlines()]
    stopped = json.loads((tmp_path / "stopped" / "eval.json").read_text())
    assert along == [{"step": 0} | stopped["before"], {"step": 2} | stopped["after"]]
    assert (tmp_path / "never" / "measures.jsonl").read_text() == ""
    (a, b) = (read(base / "checkpoint.pt")["model"] for base in (tmp_path / "never", runs / "word-0"))
    assert all((a[key] == b[key]).all() for key in a)
    never, every = (
        [{k: v for k, v in json.loads(line).items() if "second" not in k} for line in path.read_text().splitlines()]
        for path in (tmp_path / "never" / "metrics.jsonl", runs / "word-0" / "metrics.jsonl")
    )
    assert never == every


@pytest.fixture
def counted(monkeypatch) -> list[str]:
    """The labels of what is measured from here on."""
    labels = []
    original = compare.evaluate

    def recorded(*words):
        labels.append(words[-1])
        return original(*words)

    monkeypatch.setattr(compare, "evaluate", recorded)
    return labels


def test_what_was_measured_of_the_same_checkpoint_is_not_measured_again(runs, tmp_path, capsys, counted, no_figure):
    pair = [shutil.copytree(runs / name, tmp_path / name) for name in ("word-0", "word-1")]
    cli.say_device.cache_clear()
    first, error = printed(capsys, *pair, "--problems=4", "--samples=1")
    assert error.count("device: cpu") == 1  # not once a run
    assert counted == ["word-0", "before", "word-1"]  # both runs began with one pair
    assert cells_of(first, " ") == ["before", "word (n=2)"] and "4 test problems × 1 responses" in first
    assert printed(capsys, *pair, "--problems=4", "--samples=1")[0] == first and len(counted) == 3
    curve, _ = printed(capsys, pair[0], "--problems=4", "--samples=1", "--handoff-curve")  # that is not known yet
    assert len(counted) == 5 and cells_of(curve, "the senior's share") == ["before", "word-0 (n=1)"]
    assert cells_of(curve, "1.0 ") == cells_of(curve, "solo pass@1")  # of both it is the senior alone
    assert printed(capsys, pair[0], "--problems=4", "--samples=1", "--handoff-curve")[0] == curve and len(counted) == 5
    for other in (["--problems=4", "--samples=2"], ["--temperature=0.6"], ["--problems=4", "--top-k=3"]):
        printed(capsys, pair[0], *other)
    assert counted[5::2] == ["word-0"] * 3
    train.main(["--resume", str(pair[0]), "--steps", "4"])
    printed(capsys, pair[0], "--problems=4", "--samples=1")
    assert counted[11] == "word-0"


def test_what_is_not_asked_for_is_measured_as_the_run_did(runs, tmp_path, capsys, counted, no_figure):
    run = shutil.copytree(runs / "solo-0", tmp_path / "run")
    own = json.loads((run / "eval.json").read_text())
    again = json.loads(printed(capsys, run, "--handoff-curve", "--json")[0])[0]
    assert (again["problems"], again["samples"], again["config"]["eval_temperature"]) == (3, 1, 0.7)
    assert set(again["before"].pop("handoff_curve")) == {str(tenth / 10) for tenth in range(11)}
    assert again["before"] == own["before"] and again["after"] == own["after"] and counted == ["run", "before"]
    hotter = json.loads(printed(capsys, run, "--temperature=1.5", "--json")[0])[0]
    assert (hotter["problems"], hotter["samples"], hotter["config"]["eval_temperature"]) == (3, 1, 1.5)


def test_runs_measured_with_different_cuts_are_no_group(runs, tmp_path, capsys, no_figure):
    words = {"a": ["--top-k=3"], "b": ["--top-k=4"], "c": ["--top-p=0.8"], "d": ["--temperature=0.7", "--top-k=3"]}
    for i, (name, options) in enumerate(words.items()):
        run = shutil.copytree(runs / f"word-{i % 2}", tmp_path / name)
        (tmp_path / f"{name}.json").write_text(printed(capsys, run, *options, "--json")[0])
    shown, _ = printed(capsys, *(tmp_path / f"{name}.json" for name in words))
    assert [name for name in cells_of(shown, " ") if "(n=" in name] == [
        "word (n=2)", "b (n=1)", "c (n=1)"
    ]  # fmt: skip


def test_the_validation_split_is_for_choosing_options(runs, tmp_path, capsys, no_figure, monkeypatch):
    seen, original = [], compare.evaluate
    monkeypatch.setattr(compare, "evaluate", lambda *words: seen.append(words[2]) or original(*words))
    run = shutil.copytree(runs / "word-0", tmp_path / "a")
    shown, _ = printed(capsys, run, "--validation")
    assert "3 validation problems × 1 responses" in shown
    assert [problem.question for problem in seen[0]] == [p.question for p in take("validation", 3, "evaluation")]
    (tmp_path / "v.json").write_text(printed(capsys, run, "--validation", "--json")[0])
    assert len(seen) == 2  # the trained pair and what it began with, once
    assert "3 test problems × 1 responses" in printed(capsys, run, "--problems=3")[0]
    assert [p.question for p in seen[2]] == [
        p.question for p in take("test", 3, "evaluation")
    ]  # no answer for the other
    shown, _ = printed(capsys, tmp_path / "v.json", runs / "word-1")
    assert [name for name in cells_of(shown, " ") if "(n=" in name] == ["a (n=1)", "word-1 (n=1)"]
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"data": "p.jsonl"}))
    with pytest.raises(SystemExit) as stopped:
        printed(capsys, run, "--validation")
    assert stopped.value.code == 2 and "has no validation problems" in capsys.readouterr().err


def test_directories_among_others_that_are_no_runs_are_left_out(runs, tmp_path, capsys, no_figure):
    base = tmp_path / "base-work"
    base.mkdir()
    shutil.copy(Path(train.__file__).parent / "data/senior.pt", base)
    shown, error = printed(capsys, base, runs / "word-0", runs / "solo-0")
    assert cells_of(shown, " ") == ["before", "word-0 (n=1)", "solo-0 (n=1)"]
    assert [line for line in error.splitlines() if "config.json" in line] == [
        f"no runs, so left out: {base} (no config.json)"
    ]
    with pytest.raises(SystemExit):
        evaluate.main([str(base)])
    assert "base-work/eval.json can't be read" in capsys.readouterr().err


def test_a_run_keeps_the_fingerprints_of_what_it_began_with(runs, tmp_path):
    run = shutil.copytree(runs / "word-0", tmp_path / "run")
    known = json.loads((run / "eval.json").read_text())["fingerprints"]
    shipped = Path(train.__file__).parent / "data/senior.pt"
    assert known["senior"] == weights_fingerprint(load_model(shipped))
    assert known == json.loads((runs / "solo-1" / "eval.json").read_text())["fingerprints"]
    state = read(run / "checkpoint.pt")
    state["model"]["norm.weight"][3] += 0.1  # as if something had been learnt
    write(state, run / "checkpoint.pt")
    train.main(["--resume", str(run), "--steps", "4"])
    assert (
        json.loads((run / "eval.json").read_text())["fingerprints"]
        == known
        == read(run / "checkpoint.pt")["fingerprints"]
    )
    other = load_model(shipped)
    other.norm.weight.data[3] += 1e-6
    assert weights_fingerprint(other) != known["senior"]


def test_what_a_run_began_with_is_left_out_where_it_is_not_to_be_had(tmp_path, capsys, no_figure):
    """eval.json's own is of fewer problems."""
    shutil.copy(Path(train.__file__).parent / "data/senior.pt", tmp_path / "senior.pt")
    train.main([*SMALL, "--senior", str(tmp_path / "senior.pt"), "--out", str(tmp_path / "run")])
    assert cells_of(printed(capsys, tmp_path / "run", "--problems=4")[0], " ") == ["before", "run (n=1)"]
    other = load_model(tmp_path / "senior.pt")
    other.norm.weight.data[3] += 1e-4  # three decimals don't show it
    save_model(other, tmp_path / "senior.pt")
    shown, error = printed(capsys, tmp_path / "run", "--problems=5")
    assert cells_of(shown, " ") == ["run (n=1)"] and "no column `before` of run" in error
    assert f"{tmp_path / 'senior.pt'} has other weights by now" in error
    (tmp_path / "senior.pt").unlink()
    shown, error = printed(capsys, tmp_path / "run", "--problems=5")
    assert cells_of(shown, " ") == ["run (n=1)"] and "senior.pt can't be read" in error
    shutil.copy(
        Path(train.__file__).parent / "data/senior.pt", tmp_path / "senior.pt"
    )  # there again: not missing for good
    again, error = printed(capsys, tmp_path / "run", "--problems=5")
    assert cells_of(again, " ") == ["before", "run (n=1)"] and "no column" not in error
    assert cells_of(again, "drift: KL")[1:] == cells_of(shown, "drift: KL")
    state = read(tmp_path / "run" / "checkpoint.pt")
    del state["fingerprints"]["senior"]
    write(state, tmp_path / "run" / "checkpoint.pt")
    assert "an earlier version wrote the run" in printed(capsys, tmp_path / "run", "--problems=5")[1]


def test_a_results_file_of_another_form_is_refused(tmp_path):
    good = asdict(made("a"))
    Run(**copy.deepcopy(good))
    for change in (
        {"seed": "0"}, {"config": []}, {"after": {}}, {"after": good["after"] | {"drift": {"kl": "1", "acceptance": 1}}},
        {"after": good["after"] | {"drift": {"kl": None, "acceptance": 1}}}, {"curve": {"reward": [1]}},
        {"curve": {"reward": ["1"], "jargon_rate": [1]}}, {"along": [{}]}, {"along": [good["after"]]},
        {"handoff_curve": {"0.0": 1}}, {"problems": 1.5}, {"after": good["after"] | {"response_length": math.nan}},
    ):  # fmt: skip
        with pytest.raises((ValueError, TypeError, LookupError)):
            Run(**copy.deepcopy(good) | change)
    (tmp_path / "results.json").write_text(json.dumps([good, good]))
    with pytest.raises(UserError, match="two runs of one name"):
        compare.read_results(tmp_path / "results.json")
