"""The pages' tables and numbers follow from the files; the scripts use options that exist."""

import ast
import dataclasses
import importlib
import inspect
import json
import math
import os
import re
import statistics
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from evaluate import solo_accuracy
from results import along, drawings, figure, gpu, slips, slips_base, tables
from results.tables import (
    CROSS_ENTROPY,
    HANDOFF,
    HANDOFF_WORD,
    JARGON_RATE,
    KL,
    LENGTH,
    PAGES,
    SHOWN_ABLATIONS,
    SOLO,
    TABLES,
    groups_of,
)
from support.models.base_pairs import PLAIN_JUNIOR, train_base
from support.models.fine_tune import FineTuning
from support.people import machine, page, score, study
from support.reports import compare
from support.reports.benchmark import LENGTHS, ROWS, draw_speed
from support.reports.figure import draw_comparison, load_matplotlib, save
from support.reports.measures import RUN_MEASURES, STUDENT_T, interval, look_up
from support.reports.results import RunResults, is_plain_rl, read_results
from support.runs.options import parse
from support.runs.saved import with_effect
from train import Config

TENTHS = [str(tenth / 10) for tenth in range(11)]
ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
WORLDS = ("jargon", "work", "phrasings", "slips")


# Numbers of the runs


def values(runs: list[RunResults], measure: str, step: int | None = None) -> list[float]:
    """A measure of each run, after training or at a step."""
    found = []
    for run in runs:
        measured = run.after
        if step is not None:
            (measured,) = [m for m in run.along if m["step"] == step]
        found.append(look_up(measured, measure))
    return found


def mean(runs: list[RunResults], measure: str) -> float:
    return statistics.fmean(values(runs, measure))


def mean_at(runs: list[RunResults], measure: str, step: int) -> float:
    return statistics.fmean(values(runs, measure, step))


def before(runs: list[RunResults], measure: str) -> float:
    return look_up(runs[0].before, measure)


def curve_mean(runs: list[RunResults], tenth: str) -> float:
    return statistics.fmean(run.handoff_curve[tenth] for run in runs)


def paired(
    runs: list[RunResults], others: list[RunResults], measure: str, step: int | None = None
) -> tuple:
    """The interval of the differences, paired by seed."""
    seeds, theirs_too = [run.seed for run in runs], [run.seed for run in others]
    ours = dict(zip(seeds, values(runs, measure, step), strict=True))
    theirs = dict(zip(theirs_too, values(others, measure, step), strict=True))
    return interval([value - theirs[seed] for seed, value in ours.items() if seed in theirs])


def excludes_zero(summary: tuple) -> bool:
    _, low, high = summary
    return low * high > 0


# Numbers as a page writes them


def three(number: float) -> str:
    return f"{number:.3f}"


def signed(summary: tuple, digits: int = 3) -> str:
    mean, low, high = (f"{value:+.{digits}f}" for value in summary)
    return f"{mean} [{low}, {high}]"


def rounded_down(number: float) -> str:
    return f"{math.floor(100 * number) / 100:.2f}"


def rounded_up(number: float) -> str:
    return f"{math.ceil(100 * number) / 100:.2f}"


def points(summary: tuple) -> str:
    """The mean of a difference in points, without its sign."""
    return f"{100 * abs(summary[0]):.0f}"


def span(shares: list[float]) -> tuple[str, str]:
    return f"{min(shares):.0%}", f"{max(shares):.0%}"


# Runs that several tests are about


def penalties_of(groups: dict[str, list[RunResults]]) -> list[RunResults]:
    return [run for name, runs in groups.items() if "-kl-" in name for run in runs]


def self_paired_runs() -> list[RunResults]:
    """`word`, `step`, and two seeds of plain RL."""
    groups = groups_of("smollm2-self")
    (word,), (step,), (plain, again) = (groups[f"self-{name}"] for name in ("word", "step", "solo"))
    return [word, step, plain, again]


def ablations_not_shown() -> tuple[list[RunResults], list[RunResults]]:
    """The runs that end like the default, and those of plain RL."""
    like_the_default, plain = [], []
    for name, runs in groups_of("ablations").items():
        if name not in SHOWN_ABLATIONS:
            (plain if is_plain_rl(runs) else like_the_default).extend(runs)
    return like_the_default, plain


# The tables


def rows_of(name: str) -> list[list[str]]:
    """The cells of a table, without its head."""
    rows = TABLES[name]().splitlines()[2:]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]


def test_the_tables_of_the_pages_are_made_from_the_files():
    shown = []
    for page_path in PAGES:
        text = page_path.read_text(encoding="utf-8")
        assert tables.filled(text) == text, "run python -m results.tables"
        shown += [name for _, name, _ in tables.BETWEEN_MARKERS.findall(text)]
    assert set(shown) == set(TABLES)


def test_the_command_writes_the_tables_and_with_check_it_only_says_so(
    tmp_path, monkeypatch, capsys
):
    text = PAGES[0].read_text(encoding="utf-8")
    copy = tmp_path / "README.md"
    monkeypatch.setattr(tables, "PAGES", (copy,))
    for wrong in (text.replace("0.975", "0.974"), text.replace("| `work` | 0.619", "| `work` |")):
        assert wrong != text
        copy.write_text(wrong, encoding="utf-8")
        with pytest.raises(SystemExit):
            tables.main(["--check"])
        assert "is out of date; run python -m results.tables" in capsys.readouterr().err
        assert copy.read_text(encoding="utf-8") == wrong
    copy.write_text(text.replace("| 0.975 |", "| 0.974 |"), encoding="utf-8")
    tables.main([])
    assert copy.read_text(encoding="utf-8") == text
    tables.main(["--check"])
    copy.write_text(text.replace("table: five-seeds", "table: six-seeds"), encoding="utf-8")
    with pytest.raises(SystemExit):
        tables.main([])
    assert "no table has the name six-seeds" in capsys.readouterr().err


@pytest.mark.parametrize("world", WORLDS)
def test_the_tables_have_five_seeds_an_arm_on_500_problems(world):
    groups = groups_of(world)
    assert len(groups) == (3 if world == "phrasings" else 2)
    for runs in groups.values():
        assert sorted(run.seed for run in runs) == [0, 1, 2, 3, 4]
        for run in runs:
            assert (run.problems, run.samples) == (500, 4)
            assert run.handoff_curve and run.before["handoff_curve"]
    assert len(TABLES[world]().splitlines()) == 2 + 8
    assert len(TABLES[f"{world}-minus-plain-rl"]().splitlines()) == 2 + 10


# The figures


def skip_ticks(element: ElementTree.Element):
    """The elements of a figure, without its axes' ticks: those depend on matplotlib's version."""
    yield element
    for child in element:
        if not child.get("id", "").startswith(("xtick", "ytick")):
            yield from skip_ticks(child)


def drawn_in(path: Path) -> tuple[list[str], list[np.ndarray]]:
    """The texts in a figure, and its curves: heights between 0 and 1 at 101 places."""
    builder = ElementTree.TreeBuilder(insert_comments=True)
    tree = ElementTree.parse(path, ElementTree.XMLParser(target=builder))
    texts, curves = [], []
    for element in skip_ticks(tree.getroot()):
        if element.tag is ElementTree.Comment:
            texts.append(element.text)
        if element.get("id", "").startswith("line2d"):
            for line in element.findall("{http://www.w3.org/2000/svg}path"):
                x, y = np.array(re.findall(r"[\d.]+", line.get("d")), float).reshape(-1, 2).T
                x = (x - x.min()) / np.ptp(x)
                y = (y - y.min()) / max(np.ptp(y), 1e-6)
                curves.append(np.interp(np.linspace(0, 1, 101), x, y))
    return sorted(texts), curves


@pytest.mark.parametrize("world", [*WORLDS, "closeness", "smollm2-jargon", "smollm2-mirrored"])
def test_the_figures_show_the_results(world, tmp_path):
    """The same texts, numbers and curves, drawn by any version of matplotlib."""
    pytest.importorskip("matplotlib")
    pyplot = load_matplotlib()
    others = pyplot.get_fignums()
    draw_comparison(groups_of(world), tmp_path / "drawn.svg")
    texts, curves = drawn_in(tmp_path / "drawn.svg")
    committed_texts, committed_curves = drawn_in(RESULTS / f"{world}.svg")
    assert texts == committed_texts and len(texts) > 20
    assert len(curves) == len(committed_curves) > 0
    for curve, committed in zip(curves, committed_curves, strict=True):
        assert np.abs(curve - committed).max() < 0.01
    assert pyplot.get_fignums() == others  # a drawn figure doesn't stay in memory


def test_the_figure_of_the_first_page_shows_the_results(tmp_path):
    """Its curves; its responses are of a run that isn't here, but the jargon is whole in them."""
    pytest.importorskip("matplotlib")
    drawn = load_matplotlib().figure()
    figure.draw_training(drawn.add_subplot(), groups_of("jargon"))
    save(drawn, tmp_path / "drawn.svg")
    texts, curves = drawn_in(tmp_path / "drawn.svg")
    committed_texts, committed_curves = drawn_in(RESULTS / "tandem.svg")
    assert len(curves) == len(committed_curves) == 2 * 2 + 2  # handoff, solo; the legend's lines
    for curve, committed in zip(curves, committed_curves, strict=True):
        assert np.abs(curve - committed).max() < 0.01
    shown = [text.strip() for text in committed_texts]
    assert {text.strip() for text in texts} <= set(shown)
    assert "zub 6 12 ~ 18;" in shown and {"senior", "junior", "written by:"} <= set(shown)


# The numbers in the text. A claim is words with a # for each number, then the numbers. `…` is a gap
# without digits. A claim must fit the text of a page, and it must hold wherever it fits.

NUMBER = r"([-+]?\d+(?:\.\d+)?%?(?: \[[^\]]*\])?)"
SOME_WORDS = r"\D{1,120}?"


def prose(path: Path) -> str:
    """A page's text in one line, without tables between markers and without blocks of code."""
    text = tables.BETWEEN_MARKERS.sub("", path.read_text(encoding="utf-8"))
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return " ".join(text.split())


PROSE = {path: prose(path) for path in PAGES}


def matches(words: str) -> list[tuple[Path, re.Match]]:
    pattern = re.escape(words).replace(r"\ …\ ", SOME_WORDS).replace(r"\#", NUMBER)
    found = []
    for path, text in PROSE.items():
        found += [(path, match) for match in re.finditer(pattern, text)]
    return found


def about_jargon():
    tandem, plain = groups_of("jargon").values()
    pair, junior = three(mean(tandem, HANDOFF)), three(curve_mean(tandem, "0.0"))
    yield "the pair solves … (#) than the junior alone (#)", pair, junior
    assert min(curve_mean(tandem, tenth) for tenth in TENTHS) >= 0.9
    yield "finishes at least # of the", "90%"
    fifths = [f"0.{tenth}" for tenth in range(2, 9)]  # a fifth to four fifths
    yield "the junior finishes # to # of them", *span([curve_mean(plain, t) for t in fifths])
    before = plain[0].before["handoff_curve"]
    yield "Before training it finishes # to #", *span([before[tenth] for tenth in fifths])
    yield "jargon is left in # of the responses", f"{mean(tandem, JARGON_RATE):.2%}"
    yield "the mean KL of #", three(mean(tandem, KL))


def about_one_default_run():
    tandem, _ = groups_of("jargon").values()
    yield "such responses make most of the # above", three(mean(tandem, KL))
    *_, handoff = next(cells for cells in rows_of("prediction") if "step by step" in cells[0])
    yield "expect handoff between # and #", *handoff.strip("[]").split(", ")
    yield "in place of one ended with a KL of #", "0.011"  # a run of its own


def about_the_first_coin():
    lines = (RESULTS / "along.jsonl").read_text(encoding="utf-8").splitlines()
    coins = {row["step"]: row["first_coin"] for row in map(json.loads, lines)}
    opened = {}  # the share of all responses that are opened so, and the share of them right
    for step, counts in coins.items():
        total = sum(count for count, _ in counts.values())
        opened[step] = {name: (n / total, right / n) for name, (n, right) in counts.items()}
    all_right = sum(right for _, right in coins[0].values()) / 1024
    _, junior = opened[0]["junior"]
    jargon, jargon_right = opened[0]["senior, jargon"]
    plain, plain_right = opened[0]["senior, plain"]
    yield "At step 0 the two solve # of the problems", three(all_right)
    yield "Where the junior begins, # are right", three(junior)
    yield "opens # of all responses in jargon, and # of those", three(jargon), three(jargon_right)
    yield "opens # in plain words, and # of those", three(plain), three(plain_right)
    after = [three(opened[step]["senior, jargon"][0]) for step in (50, 100)]
    yield "jargon opens # of the responses, after 100 steps #", *after
    shares = [f"{share:.2f}" for share in (all_right, junior)]
    yield "at first # of the responses are right, # where the junior begins", *shares
    yield "opens most of its own in jargon, and # of those are right", f"{jargon_right:.2f}"
    assert jargon > plain


def about_work():
    tandem, plain = groups_of("work").values()
    at_100 = [signed(paired(tandem, plain, path, step=100), digits=2) for path in (HANDOFF, SOLO)]
    yield "steps handoff differs by # and solo by #", *at_100
    yield "one in # to # of its responses", *span(values(plain, JARGON_RATE, step=100))
    yield "after 250 steps in # to #", *span(values(plain, JARGON_RATE))
    searched = {run.name: [run] for run in read_results(RESULTS / "work-search.json")}
    slow, fast = searched["ws-solo-2e-4"], searched["ws-solo-4e-4"]
    assert three(values(slow, SOLO)[0]) == three(values(fast, SOLO)[0])
    yield "as much alone as at 2e-4 (#)", three(values(fast, SOLO)[0])
    ours = searched["ws-word-2e-4"]
    yield "RL's at 2e-4 (# and #)", three(values(fast, HANDOFF)[0]), three(values(ours, HANDOFF)[0])


def about_phrasings():
    step, word, plain = groups_of("phrasings").values()
    (penalty,) = groups_of("phrasings-kl").values()
    yield "the untrained model solves … #", f"{look_up(plain[0].before, SOLO):.0%}"
    shares = [f"{curve_mean(runs, '0.1'):.2f}" for runs in (word, plain)]
    yield "it finishes # of the responses of this senior, and # of plain RL's", *shares
    lost = points(paired(step, plain, SOLO)), points(paired(word, plain, SOLO))
    yield "The fourth fails: solo is # points lower", lost[0]
    yield "Solo is # points lower, with an interval", lost[1]
    yield "strict turns gain # points", points(paired(step, plain, HANDOFF))
    yield "Its KL is #, below that of strict turns", three(mean(penalty, KL))
    yield "Its solo differs from plain RL's by #", signed(paired(penalty, plain, SOLO))
    of_penalty = signed(paired(penalty, plain, HANDOFF))
    yield "handoff step by step by #", of_penalty
    yield "ahead of it in handoff by #", signed(paired(step, penalty, HANDOFF))


def about_slips():
    tandem, plain = groups_of("slips").values()
    solo = f"{100 * paired(plain, tandem, SOLO)[0]:.1f}"
    handoff = f"{100 * paired(tandem, plain, HANDOFF)[0]:.1f}"
    yield "is lower by # points, with an interval without 0", solo
    yield "is higher by # points. Before training it was #", handoff, three(before(plain, HANDOFF))
    yield "Handoff gains # points, drift and legibility a little, and solo loses #", handoff, solo
    drift = [three(mean_at(plain, KL, 20)), three(mean(plain, KL)), three(mean(tandem, KL))]
    yield "its KL rises from # after 20 … to # after 250, where tandem RL's is #", *drift
    lengths = [f"{mean(runs, LENGTH):.0f}" for runs in (tandem, plain)]
    yield "responses have # tokens in place of #", *lengths
    late = [three(mean_at(runs, SOLO, step)) for step in (100, 200) for runs in (tandem, plain)]
    yield "it is # beside plain RL's #, after 200 it is # beside #", *late
    both = {three(mean_at(runs, SOLO, 250)) for runs in (tandem, plain)}
    yield "after 250 both have #", *both
    taken_over = [f"{curve_mean(runs, '0.5'):.2f}" for runs in (tandem, plain)]
    yield "finishes # of tandem RL's … and # of plain RL's", *taken_over
    for runs in groups_of("slips").values():
        assert all(run.config["learning_rate"] == 1e-4 for run in runs)
    for measure in (SOLO, HANDOFF, KL, CROSS_ENTROPY):
        assert excludes_zero(paired(tandem, plain, measure))


def about_other_arms_of_slips():
    tandem, plain = groups_of("slips").values()
    penalty = groups_of("slips-arms")["kl-0.1"]
    yield "Its handoff is above plain RL's by #", signed(paired(penalty, plain, HANDOFF))
    yield "tandem RL's is above its by #", signed(paired(tandem, penalty, HANDOFF))
    assert 0.4 < mean(penalty, KL) / mean(plain, KL) < 0.6  # "halves"
    step = groups_of("slips-arms")["step"]
    yield "`--schedule step` handoff is above plain RL's by #", signed(paired(step, plain, HANDOFF))
    yield "Solo is below it by #", three(paired(plain, step, SOLO)[0])
    assert not excludes_zero(paired(step, plain, KL))
    grpo = groups_of("slips-arms")["grpo"]
    yield "handoff is above that of REINFORCE by #", signed(paired(grpo, tandem, HANDOFF))
    yield "Solo doesn't differ, and KL is higher by #", three(paired(grpo, tandem, KL)[0])
    assert not excludes_zero(paired(grpo, tandem, SOLO))
    larger = groups_of("slips-arms")["g16"]
    yield "plain RL's handoff differs by #", signed(paired(larger, plain, HANDOFF))
    assert not excludes_zero(paired(larger, plain, SOLO))
    for runs in (step, grpo, larger, penalty):
        assert {(run.problems, run.samples) for run in runs} == {(500, 4)}
        assert sorted(run.seed for run in runs) == [0, 1, 2, 3, 4]
    both = three(mean(penalty, HANDOFF)), three(mean(tandem, HANDOFF))
    yield "RL's drift, and its handoff is # beside tandem RL's #", *both
    searched = [run for run in read_results(RESULTS / "slips-search.json") if run.config["kl_coef"]]
    best = max(searched, key=lambda run: look_up(run.after, HANDOFF))
    assert [run.config["kl_coef"] for run in searched] == [0.03, 0.1, 0.3]
    assert best.config["kl_coef"] == penalty[0].config["kl_coef"] == 0.1
    yield "At 0.3 solo falls to #", three(look_up(searched[-1].after, SOLO))


def about_the_trials_of_slips():
    runs = {run.name: [run] for run in read_results(RESULTS / "slips-trials.json")}

    def both(senior: str, measure: str) -> list[str]:
        """Of tandem RL and of plain RL."""
        return [three(mean(runs[f"{senior}-{arm}-0"], measure)) for arm in ("word", "solo")]

    tandem, plain = both("shipped-192", HANDOFF)
    yield "checking, and its handoff is # beside tandem RL's #", plain, tandem
    tandem, plain = both("shipped-96", HANDOFF)
    yield "there is too little: # and #", plain, tandem
    tandem, plain = both("short-192", HANDOFF)
    solo = reversed(both("short-192", SOLO))
    yield "handoff is #, tandem RL's #, and solo # and #", plain, tandem, *solo
    numbers = both("half-96", HANDOFF) + both("half-96", SOLO)
    yield "handoff is # beside plain RL's # at 96 tokens, and solo # beside #", *numbers


def about_the_prediction():
    groups = groups_of("slips-prediction")
    groups |= {f"predict-0.5-{arm}": runs for arm, runs in groups_of("slips").items()}

    def gain(share: str, measure: str = HANDOFF):
        return paired(groups[f"predict-{share}-word"], groups[f"predict-{share}-solo"], measure)

    yield "Without checks in its training handoff differs by #", signed(gain("0"))
    assert not excludes_zero(gain("0"))
    gains = [f"{gain(share)[0]:+.3f}" for share in ("0.1", "0.25", "0.5")]
    yield "A share of one in ten gains #, one in four #", *gains[:2]
    yield "the gain is smaller again, #", gains[2]
    small = [three(gain(share)[0]) for share in ("0", "0.1", "0.25")]
    yield "check 0, # or # of the slips gains #, # or # of handoff", "0.1", "0.25", *small
    assert all(gain(share)[1] > 0 for share in ("0.1", "0.25", "0.5"))
    solo = {share: gain(share, SOLO)[0] for share in tables.PREDICTED_SHARES}
    assert max(solo.values()) < 0 and sorted(solo, key=solo.get)[:2] == ["0.25", "0.1"]
    for name, runs in groups.items():
        assert {(run.problems, run.samples) for run in runs} == {(500, 4)}
        assert [run.seed for run in runs] == list(range(5 if "0.5" in name else 3))


def about_slips_put_right():
    counts = slips.read_counts(RESULTS / "slips-right.json")
    lines = [slips.shares(counts, arm, "handoff", "juniors") for arm in ("solo", "word")]
    plain, tandem = [{step: statistics.fmean(line[step]) for step in line} for line in lines]
    assert three(plain[0]) == three(tandem[0])
    yield "put # of them right, turn by turn", three(plain[0])
    yield "Plain RL's senior forgets it: # are left", three(plain[250])
    yield "Tandem RL's senior comes to #", three(tandem[250])
    shares = [f"{share[250]:.2f}" for share in (tandem, plain)]
    yield "in # of its slips where plain RL does in #", *shares


def about_closeness():
    tandem, plain, *penalties = groups_of("closeness").values()
    largest = penalties[4]
    yield "up to # at 0.3", three(mean(largest, HANDOFF))
    low = "{:.3f} [{:.3f}, {:.3f}]".format(*paired(tandem, largest, SOLO))
    yield "solo is lower than with tandem RL by #", low
    at_1 = [three(mean(penalties[5], path)) for path in (SOLO, HANDOFF)]
    yield "at 1 the senior solves # and the two #", *at_1
    at_3 = {three(mean(penalties[6], path)) for path in (SOLO, HANDOFF)}
    yield "at 3 both #", *at_3
    yield "above that of a penalty of 0.3 by #", signed(paired(tandem, largest, HANDOFF))
    yield "the smallest of all, #", three(mean(tandem, KL))
    yield "brought it. Solo differs from plain RL's by #", signed(paired(tandem, plain, SOLO))
    most = three(max(mean(runs, HANDOFF) for runs in penalties))
    best = three(mean(tandem, HANDOFF))
    yield "Handoff is # with tandem RL, and at most # with one of seven", best, most


def about_the_pretrained_model():
    pairs = {language: groups_of(f"smollm2-{language}") for language in ("jargon", "mirrored")}
    tandem = [groups[f"{name}-word"] for name, groups in pairs.items()]
    plain = [groups[f"{name}-solo"] for name, groups in pairs.items()]
    fall = []
    for runs in tandem:
        before = look_up(runs[0].before, JARGON_RATE)
        fall += [f"{before:.0%}", f"{mean(runs, JARGON_RATE):.0%}"]
    yield "the jargon falls from # to # and from # to #", *fall
    rise = []
    for runs in tandem:
        rise += [three(look_up(runs[0].before, HANDOFF)), three(mean(runs, HANDOFF))]
    yield "handoff rises from # to # and from # to #", *rise
    yield "In `jargon` solo differs from plain RL's by #", signed(paired(tandem[0], plain[0], SOLO))
    solo = three(look_up(tandem[1][0].before, SOLO)), three(mean(tandem[1], SOLO))
    lost = points(paired(tandem[1], plain[1], SOLO))
    yield "it falls from # to #, # points below plain RL's", *solo, lost
    yield "costs # points of solo", lost
    kept = sorted(values(plain[0], JARGON_RATE))
    assert kept[3] > 0.9  # "two of five seeds keep it"
    yield "in three it falls to between # and #", *span(kept[:3])
    yield "rises to # of the responses", f"{mean(plain[1], JARGON_RATE):.1%}"
    weakest = pairs["jargon"]["jargon-kl-0.01"]
    yield (
        "below it in `jargon` (# and #)",
        three(mean(weakest, SOLO)),
        three(mean(weakest, HANDOFF)),
    )
    of_penalties = [penalties_of(groups) for groups in pairs.values()]
    left = max(max(values(runs, JARGON_RATE)) for runs in of_penalties)
    yield "jargon in at most # of the responses", f"{left:.1%}"
    solo = values(of_penalties[1], SOLO)
    yield "solo is between # and #", three(min(solo)), three(max(solo))


def about_the_pairs_and_the_search_of_the_pretrained_model():
    curves = [run.handoff_curve for run in read_results(RESULTS / "smollm2-pairs.json")]
    tenths = [[curve[f"0.{tenth}"] for tenth in range(1, 8)] for curve in curves]
    yield "it finishes # to #, and # to # after `mirrored`", *span(tenths[0]), *span(tenths[1])
    yield "At nine tenths they are # and #", *(f"{curve['0.9']:.0%}" for curve in curves)
    yield "it solves # alone", *{f"{curve['0.0']:.0%}" for curve in curves}
    (self_paired,) = read_results(RESULTS / "smollm2-self-60.json")
    yield "The junior alone solves #", three(look_up(self_paired.before, SOLO))
    searched = read_results(RESULTS / "smollm2-search.json")
    for run, rate in zip(searched, ("2e-5", "4e-5"), strict=True):
        assert run.config["learning_rate"] == float(rate)
        solo, handoff = three(look_up(run.after, SOLO)), three(look_up(run.after, HANDOFF))
        jargon = f"{look_up(run.after, JARGON_RATE):.1%}"
        yield f"at {rate} solo #, handoff # and jargon in #", solo, handoff, jargon
    (gsm8k,) = read_results(RESULTS / "smollm2-gsm8k.json")
    solved = f"{look_up(gsm8k.after, SOLO):.1%}"
    yield "the model solves # of # test problems", solved, str(gsm8k.problems)


def about_the_pretrained_model_with_a_copy_of_itself():
    word, step, plain, again = runs = self_paired_runs()
    rates = values(runs, SOLO) + values(runs, HANDOFF) + values(runs, HANDOFF_WORD)
    largest = max(math.sqrt(rate * (1 - rate) / 500) for rate in rates)
    yield "a standard error of at most #", three(largest)
    kl, cross_entropy = values(runs, KL), values(runs, CROSS_ENTROPY)
    spread = max(max(kl) - min(kl), max(cross_entropy) - min(cross_entropy))
    yield "KL and cross-entropy lie within #", three(spread)
    solo = values([plain, again], SOLO)
    below = min(solo) - max(values([word, step], SOLO))
    yield "below both runs of plain RL, by # at least", three(below)
    yield "These two differ by #", three(solo[1] - solo[0])
    yield "between the copy's own # and the senior's solo", three(look_up(plain.before, SOLO))
    reward = lambda run, part: f"{statistics.fmean(run.curve['reward'][part]):.2f}"
    first, last = slice(20), slice(-20, None)
    yield "rollouts rises from # to # (seed #)", reward(plain, first), reward(plain, last), "0"
    assert reward(word, first) == reward(step, first)
    ends = reward(word, first), reward(word, last), reward(step, last)
    yield "it rises from # to # (`word`) and to # (`step`)", *ends
    searched = read_results(RESULTS / "smollm2-self-search.json")
    found = *map(three, values(searched, SOLO)), three(look_up(searched[0].before, SOLO))
    yield "solo # at 1e-5, # at 2e-5 and # at 4e-5, from # before", *found
    (shorter,) = read_results(RESULTS / "smollm2-self-60.json")
    solo = look_up(shorter.before, SOLO), look_up(shorter.after, SOLO)
    handoff = look_up(shorter.before, HANDOFF), look_up(shorter.after, HANDOFF)
    yield "went from # to #, and handoff from # to #", *map(three, solo + handoff)


def about_the_pretrained_model_in_slips():
    word, plain = runs = read_results(RESULTS / "smollm2-slips.json")
    assert [run.config["schedule"] for run in runs] == ["word", "solo"]
    handoff = [three(look_up(run.after, HANDOFF)) for run in runs]
    solo = [three(look_up(run.after, SOLO)) for run in runs]
    yield "Handoff is # beside plain RL's #, and solo # beside #", *handoff, *solo
    reward = lambda run, part: f"{statistics.fmean(run.curve['reward'][part]):.2f}"
    first, last = slice(10), slice(-10, None)
    ends = [reward(run, part) for run in (plain, word) for part in (first, last)]
    yield "reward rises from # to #, tandem RL's from # to #", *ends
    lengths = [f"{look_up(measured, LENGTH):.0f}" for measured in (word.before, word.after)]
    room = str(word.config["max_new_tokens"])
    yield "grow from # to # tokens, where there is room for #", *lengths, room
    small = groups_of("slips")["word"][0].config

    def rollouts(config) -> int:
        return config["steps"] * config["prompts_per_step"] * config["group_size"]

    assert 12 < rollouts(small) / rollouts(word.config) < 13  # "twelve times"


def about_speed():
    measured = json.loads((RESULTS / "speed.json").read_text(encoding="utf-8"))
    fast, plain = (measured[f"{name}_tokens_per_second_rows_512"] for name in ("fast", "plain"))
    yield "With 512 rows the fast one is # × as fast", f"{fast / plain:.2f}"
    few = measured["fast_tokens_per_second_rows_8"] / measured["plain_tokens_per_second_rows_8"]
    assert 0.95 < few < 1.05  # "equally fast"


def about_the_ablations():
    ablations = groups_of("ablations")
    weak = f"{mean(ablations['word --junior runs/weaker.pt'], HANDOFF):.2f}"
    strong = f"{mean(ablations['word --junior runs/stronger.pt'], HANDOFF):.2f}"
    yield "Handoff follows the junior: # with the weaker one, # with the stronger", weak, strong
    like_the_default, plain = ablations_not_shown()
    solo, handoff = (rounded_down(min(values(like_the_default, path))) for path in (SOLO, HANDOFF))
    kl = rounded_up(max(values(like_the_default, KL)))
    yield "solo at least #, handoff at least # and KL at most #", solo, handoff, kl
    jargon = rounded_down(min(values(plain, JARGON_RATE)))
    yield "jargon in at least # of the responses", f"{float(jargon):.0%}"
    yield "with handoff at most #", rounded_up(max(values(plain, HANDOFF)))
    yield "nearly there at #", "0.001"  # a penalty, of the table


def about_what_holds():
    for world in ("jargon", "work"):
        tandem, plain = groups_of(world).values()
        _, low, high = paired(tandem, plain, SOLO)
        assert low < 0 < high
        yield f"±# in `{world}`", three(max(-low, high))


def about_the_run_of_the_first_page():
    yield "solo and handoff within ±#", "0.15"  # of the five seeds, see below
    yield "KL below # and a jargon rate below #", "1.1", "0.3"
    (run,) = read_results(RESULTS / "smollm2.json")
    ends = []
    for measure in (HANDOFF, KL, JARGON_RATE):
        ends += [three(look_up(run.before, measure)), three(look_up(run.after, measure))]
    yield (
        "handoff rose from # to #, the KL fell from # to #, and jargon from # to #",
        *ends,
    )


def about_the_study():
    answers = json.loads((RESULTS / "people.json").read_text(encoding="utf-8"))["answers"]
    tasks = 3 * 12  # raters
    each, of_a_task = len(answers) // 12, len(answers) // tasks
    yield "Each rater sees # responses, # for each task", str(each), str(of_a_task)


def about_settings():
    yield "further on # plain solutions and # `parroted` ones", "40%", "60%"
    for words in ("a # confidence interval", "the # interval of the difference"):
        yield words, "95%"


def about_runs_whose_files_are_not_here():
    """The numbers that the scripts print, and those that a sentence gives from runs of its own."""
    yield "Alone it solves # of 500 validation problems", "0.412"
    yield "writes jargon in # of its responses", "57%"
    juniors = ("0.807", "0.913", "0.999")  # ablations.sh prints them
    yield "junior solves # of 500 validation … shipped one #, the stronger one #", *juniors
    random_step, word = ("0.990", "0.975", "0.017"), ("1.000", "0.978", "0.006")
    yield "Seed 0 ended with solo #, handoff # and KL #", *random_step
    yield "`word` with #, # and #", *word
    yield "in # to # of their steps", "67%", "95%"
    yield "untrained model writes it in #", "4%"


ABOUT = [about for name, about in sorted(globals().items()) if name.startswith("about_")]


@pytest.mark.parametrize("about", ABOUT, ids=lambda about: about.__name__)
def test_the_numbers_in_the_text_follow_from_the_files(about):
    for words, *expected in about():
        found = matches(words)
        assert found, f"no page says `{words}`; where the text was reworded, reword it here"
        for path, match in found:
            assert list(match.groups()) == expected, f"{path}: {match.group()}"


def test_no_number_in_the_text_goes_unchecked():
    """Every share with three digits, or in percent, is a number of a claim."""
    checked = {path: set() for path in PAGES}
    for words in [words for about in ABOUT for words, *_ in about()]:
        for path, match in matches(words):
            for number in range(len(match.groups())):
                checked[path].update(range(*match.span(number + 1)))
    unchecked = []
    for path, text in PROSE.items():
        for number in re.finditer(r"\d\.\d{3}\b|\d%", text):
            if number.start() not in checked[path]:
                unchecked.append(text[number.start() - 60 : number.end() + 20])
    assert not unchecked


# What the text says without numbers, and how the runs were made


def test_jargon_makes_most_of_the_kl_that_is_left():
    tandem, _ = groups_of("jargon").values()
    assert 12 * mean(tandem, JARGON_RATE) > mean(tandem, KL) / 2


def test_the_prediction_is_of_the_five_seeds_on_the_100_problems_of_a_run():
    tandem, _ = groups_of("jargon").values()
    assert [run.along[-1]["step"] for run in tandem] == [250] * 5
    same = {run.seed: values([run], HANDOFF, step=250) for run in tandem}
    for run in groups_of("ablations")["word"]:  # the default measured itself on those problems
        assert run.problems == 100 and values([run], HANDOFF) == same[run.seed]
    for (label, path, _), row in zip(RUN_MEASURES[:6], rows_of("prediction"), strict=True):
        seeds = values(tandem, path, step=250)
        assert row[:3] == [label, three(min(seeds)), three(max(seeds))]


def test_after_100_steps_tandem_rl_has_given_up_coarse_steps():
    tandem, _ = groups_of("work").values()
    assert max(values(tandem, JARGON_RATE, step=100)) < 0.02


def test_strict_turns_give_three_of_the_paper_s_four_findings():
    step, _, plain = groups_of("phrasings").values()
    for measure, better in ((HANDOFF, 1), (KL, -1), (CROSS_ENTROPY, -1)):
        difference = paired(step, plain, measure)
        assert better * difference[0] > 0 and excludes_zero(difference)


def test_the_penalty_in_phrasings_halves_the_drift_of_plain_rl():
    step, _, plain = groups_of("phrasings").values()
    (penalty,) = groups_of("phrasings-kl").values()
    options = {"schedule": "solo", "kl_coef": 0.03, "world": "phrasings"}
    options |= {"learning_rate": 1e-4, "steps": 300}
    assert [run.seed for run in penalty] == [0, 1, 2]
    for run in penalty:
        assert (run.problems, run.samples, run.before) == (500, 4, plain[0].before)
        assert options.items() <= run.config.items()
    assert max(values(penalty, KL)) < min(values(step, KL))
    assert mean(penalty, KL) == pytest.approx(mean(plain, KL) / 2, rel=0.1)


def test_the_runs_with_a_junior_that_imitates_jargon():
    groups = groups_of("closeness")
    tandem, _, *penalties = groups.values()
    coefficients = [runs[0].config["kl_coef"] for runs in penalties]
    assert coefficients == [0.003, 0.01, 0.03, 0.1, 0.3, 1, 3]
    for runs in groups.values():
        one_seed = runs in penalties[-2:]
        assert [run.seed for run in runs] == ([0] if one_seed else [0, 1, 2, 3, 4])
        assert {run.config["junior"] for run in runs} == {"runs/closeness/parrot"}
        assert {(run.problems, run.samples, run.config["steps"]) for run in runs} == {(500, 4, 250)}
        assert runs == tandem or mean(runs, KL) > 1.5 * mean(tandem, KL)
    handoffs = [mean(runs, HANDOFF) for runs in penalties[:5]]
    assert handoffs == sorted(handoffs)  # "the larger it is, the higher is handoff"


@pytest.mark.parametrize("language", ["jargon", "mirrored"])
def test_the_runs_of_the_pretrained_model(language):
    groups = groups_of(f"smollm2-{language}")
    tandem, plain, penalty = (groups[f"{language}-{name}"] for name in ("word", "solo", "kl-0.1"))
    assert [run.seed for run in tandem] == [run.seed for run in plain] == [0, 1, 2, 3, 4]
    assert [run.seed for run in penalty] == [0]
    options = {"steps": 24, "prompts_per_step": 8, "group_size": 8}
    options |= {"learning_rate": 2e-5, "precision": "bfloat16"}
    for runs in groups.values():
        for run in runs:
            assert options.items() <= run.config.items()
            assert (run.problems, run.samples) == (500, 1)
    of_penalties = penalties_of(groups)
    assert [run.config["kl_coef"] for run in of_penalties] == [0.01, 0.1, 1]
    assert max(values(of_penalties, JARGON_RATE)) <= 0.024
    assert penalty == [max(of_penalties, key=lambda run: look_up(run.after, HANDOFF))]
    for name in ("kl-0.1", "kl-1"):  # above tandem RL's mean in both languages
        runs = groups[f"{language}-{name}"]
        assert mean(runs, SOLO) > mean(tandem, SOLO) and mean(runs, HANDOFF) > mean(tandem, HANDOFF)
    assert len(TABLES[f"smollm2-{language}"]().splitlines()) == 2 + 8
    assert len(TABLES[f"smollm2-{language}-minus-plain-rl"]().splitlines()) == 2 + 10


def test_the_junior_of_the_pretrained_model_was_measured_before_a_run_with_its_copy():
    (self_paired,) = read_results(RESULTS / "smollm2-self-60.json")
    tandem = groups_of("smollm2-jargon")["jargon-word"]
    assert self_paired.config["senior"] == tandem[0].config["junior"]
    assert self_paired.problems == 500
    searched = read_results(RESULTS / "smollm2-search.json")
    assert {run.config["eval_split"] for run in searched} == {"validation"}


def test_the_runs_of_the_pretrained_model_with_a_copy_of_itself():
    word, step, plain, again = runs = self_paired_runs()
    options = {"senior": "runs/smollm2/copy", "junior": "self", "prompts_per_step": 16}
    options |= {"group_size": 8, "steps": 120, "learning_rate": 2e-5, "kl_coef": 0.0}
    made = (("word", 0, word), ("step", 0, step), ("solo", 0, plain), ("solo", 1, again))
    for schedule, seed, run in made:
        assert (options | {"schedule": schedule}).items() <= run.config.items()
        assert run.before == plain.before and run.seed == seed
        assert (run.problems, run.samples, len(run.curve["reward"])) == (500, 1, 120)
    handoff, by_word = values(runs, HANDOFF), values(runs, HANDOFF_WORD)
    assert max(handoff[:2]) < statistics.fmean(handoff[2:])  # no higher than plain RL's mean
    assert max(by_word[:2]) < min(by_word[2:])
    alone = look_up(plain.before, SOLO)
    for rates in (handoff, by_word):
        assert all(alone < both < own for both, own in zip(rates, values(runs, SOLO), strict=True))


def test_the_search_and_the_shorter_run_of_the_pretrained_model_with_a_copy_of_itself():
    search = read_results(RESULTS / "smollm2-self-search.json")
    (shorter,) = read_results(RESULTS / "smollm2-self-60.json")
    options = {"senior": "runs/smollm2/junior", "junior": "self", "schedule": "solo", "steps": 60}
    assert all(options.items() <= run.config.items() for run in (*search, shorter))
    assert [run.config["learning_rate"] for run in search] == [1e-5, 2e-5, 4e-5]
    assert {(run.problems, run.config["eval_split"]) for run in search} == {(200, "validation")}
    solo = values(search, SOLO)
    assert max(solo) == solo[1]
    assert (shorter.problems, shorter.samples, shorter.config["learning_rate"]) == (500, 1, 2e-5)


def test_the_ablations_that_are_not_in_the_table_are_named():
    ablations = groups_of("ablations")
    rest = [name for name in ablations if name not in SHOWN_ABLATIONS]
    assert len(rest) == 3 + 4 + 3 + 1 + 3 + 1 + 1 + 2 + 3 + 4 + 2  # in the order of these words
    named = "`token`|`step`|`alternate`|0.1,|0.3,|0.7|0.9,|1,|2 and 4,|0.15,|`rloo`|`ema`|`none`,"
    named += "|`--loss grpo`|`--group-size` 16|1e-4 and 4e-4,|0.01, 0.1 and 1.|"
    named += "5e-5, 1e-4, 4e-4 and 8e-4,|the weaker and the stronger junior"
    paragraphs = PAGES[1].read_text(encoding="utf-8").split("\n\n")
    (text,) = [" ".join(text.split()) for text in paragraphs if "`--p-senior`" in text]
    assert [words for words in named.split("|") if words not in text] == []
    measured = {(run.problems, run.samples) for runs in ablations.values() for run in runs}
    assert measured == {(100, 4)}


def test_the_ablations_in_the_table_end_as_the_text_says():
    ablations = groups_of("ablations")
    default = values(ablations["word"], SOLO)
    for change in ("--junior-weight 0.5", "--junior-weight 1", "--learning-rate 0.0008"):
        assert max(values(ablations[f"word {change}"], SOLO)) < min(default) - 0.01
    chunk = values(ablations["chunk"], SOLO)
    assert min(chunk) < 0.97 and max(chunk) > 0.99
    assert min(values(ablations["word --learning-rate 5e-05"], JARGON_RATE)) > 0.04
    assert min(values(ablations["solo --group-size 16"], JARGON_RATE)) > 0.9


def test_the_ablations_are_runs_of_the_listed_options():
    lines = (RESULTS / "ablations.txt").read_text(encoding="utf-8").splitlines()
    measured_with = {"eval_split": "test", "eval_top_p": None, "eval_top_k": None}
    seen = set()
    for run in read_results(RESULTS / "ablations.json"):
        _, seed, number = run.name.split("-")
        options = lines[int(number) - 10].split()
        config = dataclasses.asdict(parse(Config, [*options, "--seed", seed], ""))
        assert run.seed == config["seed"] == int(seed)
        assert run.config == with_effect(config) | measured_with
        seen.add(int(number) - 10)
    assert seen == set(range(len(lines)))


@pytest.mark.parametrize("world", WORLDS)
def test_the_search_is_on_validation_problems(world):
    for run in read_results(RESULTS / f"{world}-search.json"):
        assert (run.config["world"], run.config["eval_split"]) == (world, "validation")
        assert (run.problems, run.samples) == (500, 4)
        assert run.seed == (0 if world == "jargon" else 10)


def test_the_findings():
    for world in ("jargon", "work"):
        tandem, plain = groups_of(world).values()
        assert not excludes_zero(paired(tandem, plain, SOLO))
        for measure in (HANDOFF, KL, CROSS_ENTROPY):
            assert excludes_zero(paired(tandem, plain, measure))
    for run in read_results(RESULTS / "jargon-search.json"):
        small = 5e-5 <= run.config["learning_rate"] <= 4e-4
        if small and run.config["schedule"] == "word":
            assert look_up(run.after, HANDOFF) > 0.9 and look_up(run.after, SOLO) > 0.99


def test_the_pretrained_model_of_the_first_page_ended_as_five_seeds_predict():
    """Its run was on 2 cores. The seeds ran on a GPU, after another fine-tuning."""
    (run,) = read_results(RESULTS / "smollm2.json")
    seeds = groups_of("smollm2-jargon")["jargon-word"]
    assert (run.problems, run.samples) == (100, 1)
    assert run.config["steps"] == seeds[0].config["steps"] == 24
    for measure, most in ((KL, 1.1), (JARGON_RATE, 0.3)):
        half = STUDENT_T[4 - 1] * statistics.stdev(values(seeds, measure)) * math.sqrt(1 + 1 / 5)
        assert mean(seeds, measure) + half < most and look_up(run.after, measure) < most
    for measure in (SOLO, HANDOFF):
        assert abs(look_up(run.after, measure) - mean(seeds, measure)) < 0.15
        assert abs(look_up(run.before, measure) - look_up(seeds[0].before, measure)) < 0.15


# The scripts


PARSERS = {
    "train.py": Config,
    "evaluate.py": compare.Options,
    "support.models.fine_tune": FineTuning,
}
ALONG = {
    "results.along": along.Options,
    "results.drawings": drawings.Options,
    "results.gpu": gpu.Options,
    "results.slips": slips.Options,
    "results.slips_base": slips_base.Options,
}
PEOPLE = {
    "make": study.Options,
    "machine": machine.Options,
    "score": score.Options,
    "page": page.Options,
}
COMMANDS = {  # calls of train.py, evaluate.py and fine_tune that a script makes
    "ablations": (80, 2, 0),
    "along": (27, 0, 0),
    "closeness": (37, 1, 1),
    "gpu": (0, 0, 0),
    "jargon": (10, 2, 0),
    "paper": (1, 0, 0),
    "people": (2, 0, 0),
    "phrasings": (32, 4, 0),
    "slips": (41, 3, 0),
    "slips-world": (30, 2, 0),
    "smollm2": (1, 0, 2),
    "smollm2-arms": (30, 8, 3),
    "smollm2-gsm8k": (1, 1, 1),
    "smollm2-self": (8, 6, 2),
    "smollm2-slips": (2, 1, 1),
    "work": (22, 3, 0),
}
FAKE = """#!/bin/bash
printf '%s\\0' "$@" $'\\n' >> "{log}"
for word; do [ "$word" != "$FAIL" ] || exit 1; done
while (($#)); do
  case "$1 ${{2-}}" in
    "--json "*people*) printf x > "$2" ;;
    "--out "*)
      mkdir -p "${{2%/*}}" && mkdir "$2" || exit
      printf x > "$2/eval.json" && printf x > "$2/checkpoint.pt" || exit
      ;;
  esac
  shift
done
echo x
"""


@pytest.fixture
def commands(tmp_path):
    """Run a copy of a script in which `python` only notes its words and makes --out.

    Returns [(program, words)].
    """
    (tmp_path / "results").mkdir()
    for path in [*RESULTS.glob("*.sh"), *RESULTS.glob("*.txt")]:
        (tmp_path / "results" / path.name).write_bytes(path.read_bytes())
    log, fake = tmp_path / "log", tmp_path / "bin" / "python"
    fake.parent.mkdir()
    fake.write_text(FAKE.format(log=log))
    fake.chmod(0o755)

    def run(name: str, *words: str, fail: str = "nothing"):
        log.write_text("")
        environment = {"PATH": f"{fake.parent}:{os.environ['PATH']}", "FAIL": fail}
        command = ["bash", str(tmp_path / "results" / name), *words]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        called = []
        for line in log.read_text().split("\n\0")[:-1]:
            words = line.split("\0")[:-1]
            if words[0] == "-m":
                words = words[1:]
            if words[0] != "-":  # a program on standard input
                called.append((Path(words[0]).name, words[1:]))
        return called

    return run


SCRIPTS = [path.name for path in sorted(RESULTS.glob("*.sh")) if path.name != "resume.sh"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_scripts_use_options_that_exist(name, commands):
    files = ["model", "problems.jsonl"] if name in ("paper.sh", "smollm2-gsm8k.sh") else []
    called = commands(name, *files)
    programs = [program for program, _ in called]
    counts = tuple(programs.count(program) for program in PARSERS)
    assert counts == COMMANDS[name.removesuffix(".sh")]
    for program, words in called:
        if program == "support.people":
            parse(PEOPLE[words[0]], words[1:], "")
        else:
            parse((PARSERS | ALONG)[program], words, "")
    if "resume.sh" in (RESULTS / name).read_text(encoding="utf-8"):
        again = commands(name, *files)  # nothing is made twice
        assert not again, again


def test_a_script_goes_on_with_a_run_that_was_stopped(commands, tmp_path):
    commands("smollm2.sh")
    run = tmp_path / "runs" / "smollm2" / "word"
    (run / "eval.json").unlink()
    assert commands("smollm2.sh") == [("train.py", ["--resume", "runs/smollm2/word"])]
    (run / "checkpoint.pt").unlink()  # it was stopped before its first checkpoint
    ((program, words),) = commands("smollm2.sh")
    assert program == "train.py" and "--steps" in words
    assert words[:2] == ["--out", "runs/smollm2/word"]


def test_weights_are_given_back_when_a_run_is_measured_and_not_before(commands, tmp_path):
    """And nothing is put together of measures of which one failed."""

    def weights() -> set[str]:
        kept = {path.parent.name for path in tmp_path.glob("runs/smollm2/*/*.pt")}
        return kept - {"junior", "copy", "jargon", "mirrored"}

    with pytest.raises(subprocess.CalledProcessError):
        commands("smollm2-arms.sh", fail="runs/smollm2/search-4e-5")
    assert weights() == set() and (tmp_path / "runs/smollm2/search-2e-5.json").exists()
    assert not list(tmp_path.glob("runs/smollm2/search.json"))
    (_, words), *_ = commands("smollm2-arms.sh")
    assert words[:2] == ["--out", "runs/smollm2/search-4e-5"] and weights() == set()
    with pytest.raises(subprocess.CalledProcessError):
        commands("smollm2-self.sh", fail="evaluate.py")
    assert weights() == {f"self-search-{rate}" for rate in ("1e-5", "2e-5", "4e-5")}


def test_the_paper_s_recipe_says_what_it_needs():
    command = ["bash", str(RESULTS / "paper.sh")]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shown.returncode != 0 and "give a model" in shown.stderr


def test_the_python_in_the_ablations_uses_names_that_exist():
    text = (RESULTS / "ablations.sh").read_text(encoding="utf-8")
    program = text[text.index("<<'END'\n") + 8 : text.index("\nEND\n")]
    for node in ast.parse(program).body:
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names)
    assert dataclasses.replace(PLAIN_JUNIOR, stop_at=0.75).stop_at == 0.75
    assert PLAIN_JUNIOR.stop_at == 0.92 and "stop_at=0.92" in text
    inspect.signature(train_base).bind("recipe", "tokenizer", 0, "device", "name")
    inspect.signature(solo_accuracy).bind("junior", "tokenizer", "problems", "sampling")


def test_the_figure_of_speed_shows_its_measurements(tmp_path):
    """Both engines and the floor, at every point, and a machine with a name."""
    pytest.importorskip("matplotlib")
    measured = json.loads((RESULTS / "speed.json").read_text(encoding="utf-8"))
    assert "cores" in measured["machine"] and "torch" in measured["machine"]
    draw_speed(measured, tmp_path / "drawn.svg")
    texts, curves = drawn_in(tmp_path / "drawn.svg")
    committed_texts, committed_curves = drawn_in(RESULTS / "speed.svg")
    assert texts == committed_texts
    assert len(curves) == len(committed_curves) == 2 * 3 + 3  # two panels; the legend's lines
    for curve, committed in zip(curves, committed_curves, strict=True):
        assert np.abs(curve - committed).max() < 0.01


def test_no_engine_is_faster_than_the_floor():
    measured = json.loads((RESULTS / "speed.json").read_text(encoding="utf-8"))
    points = [f"rows_{n}" for n in ROWS] + [f"length_{T}" for T in LENGTHS]
    for point in points:
        floor = measured[f"floor_tokens_per_second_{point}"]
        assert measured[f"fast_tokens_per_second_{point}"] < floor
        assert measured[f"plain_tokens_per_second_{point}"] < floor


def test_the_figure_of_slips_put_right_shows_the_counts(tmp_path):
    pytest.importorskip("matplotlib")
    slips.draw(slips.read_counts(RESULTS / "slips-right.json"), str(tmp_path / "drawn.svg"))
    texts, curves = drawn_in(tmp_path / "drawn.svg")
    committed_texts, committed_curves = drawn_in(RESULTS / "slips-right.svg")
    assert texts == committed_texts
    assert len(curves) == len(committed_curves) > 0
    for curve, committed in zip(curves, committed_curves, strict=True):
        assert np.abs(curve - committed).max() < 0.01
