"""The committed files give the numbers of results/README.md and of the README's first page, and the scripts run."""

import ast
import dataclasses
import importlib
import inspect
import itertools
import json
import math
import os
import re
import statistics
import subprocess
from pathlib import Path

import pytest

from evaluate import solo_accuracy
from support.models.base_pairs import PLAIN_JUNIOR, train_base
from support.models.fine_tune import FineTuning
from support.people import machine, page, score, study
from support.reports import compare
from support.reports.compare import cells, difference_table, results_table
from support.reports.figure import draw_comparison, load_matplotlib
from support.reports.results import (
    IGNORED,
    MEASURES,
    STUDENT_T,
    Run,
    group_runs,
    interval,
    is_plain_rl,
    look_up,
    read_results,
)
from support.runs.options import parse
from train import Config

SOLO, HANDOFF, HANDOFF_WORD, KL, _, CROSS_ENTROPY, JARGON_RATE, _ = [
    path for _, path, _ in MEASURES
]
TENTHS = [str(tenth / 10) for tenth in range(11)]
ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
WORLDS = ("jargon", "work", "phrasings")
PAGE = (RESULTS / "README.md").read_text(encoding="utf-8")
FIRST_PAGE = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE_LINES = PAGE.splitlines()
PAGE_TEXT = " ".join(PAGE.split())


def groups_of(name: str) -> dict[str, list[Run]]:
    return group_runs(read_results(RESULTS / f"{name}.json"))


def values(runs: list[Run], measure: str, step: int | None = None) -> list[float]:
    """A measure of each run, after training or at a step."""
    found = [
        run.after if step is None else next(m for m in run.along if m["step"] == step)
        for run in runs
    ]
    return [look_up(measurement, measure) for measurement in found]


def curve_mean(runs: list[Run], tenth: str) -> float:
    return statistics.fmean(run.handoff_curve[tenth] for run in runs)


def mean(runs: list[Run], measure: str) -> float:
    return statistics.fmean(values(runs, measure))


def paired(
    runs: list[Run], others: list[Run], measure: str, step: int | None = None
) -> tuple[float, float, float]:
    """The interval of the differences, paired by seed."""
    theirs = dict(zip([run.seed for run in others], values(others, measure, step), strict=True))
    ours = dict(zip([run.seed for run in runs], values(runs, measure, step), strict=True))
    return interval([value - theirs[seed] for seed, value in ours.items() if seed in theirs])


def signed(summary: tuple[float, float, float], digits: int = 3) -> str:
    mean, low, high = (f"{value:+.{digits}f}" for value in summary)
    return f"{mean} [{low}, {high}]"


def rows_of(*tables: str) -> list[str]:
    """The tables' lines as the page has them."""
    lines = [re.sub(" +", " ", line) for table in tables for line in table.splitlines()]
    return [line for line in lines if line.startswith("|") and "---" not in line]


def span(shares: list[float]) -> str:
    return f"{min(shares):.0%} to {max(shares):.0%}"


@pytest.mark.parametrize("world, arms", [("jargon", 2), ("work", 2), ("phrasings", 3)])
def test_the_tables_are_recomputed_from_five_seeds_an_arm_on_500_problems(world, arms):
    groups = groups_of(world)
    rows = rows_of(results_table(groups), difference_table(groups, None))
    assert len(rows) == 1 + 8 + 1 + 10 and not [row for row in rows if row not in PAGE_LINES]
    assert [sorted(run.seed for run in runs) for runs in groups.values()] == [
        [0, 1, 2, 3, 4]
    ] * arms
    for run in [run for runs in groups.values() for run in runs]:
        assert (
            (run.problems, run.samples) == (500, 4)
            and run.handoff_curve
            and run.before["handoff_curve"]
        )


@pytest.mark.parametrize("world", [*WORLDS, "closeness", "smollm2-jargon", "smollm2-mirrored"])
def test_the_figures_are_those_of_the_results(world, tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    committed = (RESULTS / f"{world}.svg").read_bytes()
    if f"Matplotlib v{matplotlib.__version__}".encode() not in committed:
        pytest.skip("another version of matplotlib draws otherwise")
    pyplot = load_matplotlib()
    others = pyplot.get_fignums()
    draw_comparison(groups_of(world), tmp_path / "drawn.svg")
    assert (tmp_path / "drawn.svg").read_bytes() == committed
    assert pyplot.get_fignums() == others  # it doesn't stay open, in memory


def test_the_statements_on_jargon():
    tandem, plain = groups_of("jargon").values()
    solves = f"the pair solves more ({mean(tandem, HANDOFF):.3f}) than the junior alone"
    assert f"{solves} ({curve_mean(tandem, '0.0'):.3f})" in PAGE_TEXT
    assert (
        min(curve_mean(tandem, tenth) for tenth in TENTHS) >= 0.9
        and "finishes at least 90% of the" in PAGE_TEXT
    )
    fifths = [f"0.{tenth}" for tenth in range(2, 9)]  # a fifth to four fifths
    assert (
        f"the junior finishes {span([curve_mean(plain, tenth) for tenth in fifths])} of them"
        in PAGE_TEXT
    )
    before = plain[0].before["handoff_curve"]
    assert f"Before training it finishes {span([before[tenth] for tenth in fifths])}" in PAGE_TEXT
    assert f"Some jargon is left in {mean(tandem, JARGON_RATE):.2%} of the responses" in PAGE_TEXT
    assert f"the mean KL of {mean(tandem, KL):.3f}" in PAGE_TEXT
    assert 12 * mean(tandem, JARGON_RATE) > mean(tandem, KL) / 2  # "most of"


def test_the_prediction_is_of_the_five_seeds_on_the_100_problems_of_a_run():
    tandem, _ = groups_of("jargon").values()
    for label, path, upper in MEASURES[:6]:
        seeds = values(tandem, path, step=250)
        mean = statistics.fmean(seeds)
        half = STUDENT_T[4 - 1] * statistics.stdev(seeds) * math.sqrt(1 + 1 / 5)
        low, high = max(mean - half, 0), min(mean + half, upper)
        assert (
            f"| {label} | {min(seeds):.3f} | {max(seeds):.3f} | [{low:.3f}, {high:.3f}] |"
            in PAGE_LINES
        )
    same = {run.seed: values([run], HANDOFF, step=250) for run in tandem}
    for run in groups_of("ablations")[
        "word"
    ]:  # the default, which measured itself on those problems
        assert run.problems == 100 and values([run], HANDOFF) == same[run.seed]


def test_the_statements_on_work():
    tandem, plain = groups_of("work").values()
    at_100 = [
        signed(paired(tandem, plain, measure, step=100), digits=2) for measure in (HANDOFF, SOLO)
    ]
    assert f"After 100 steps handoff differs by {at_100[0]} and solo by {at_100[1]}" in PAGE_TEXT
    assert f"one in {span(values(plain, JARGON_RATE, step=100))} of its responses" in PAGE_TEXT
    assert f"after 250 steps in {span(values(plain, JARGON_RATE))}." in PAGE_TEXT
    assert max(values(tandem, JARGON_RATE, step=100)) < 0.02  # "has given up coarse steps by then"
    searched = {run.name: [run] for run in read_results(RESULTS / "work-search.json")}
    slow, fast, ours = (searched[name] for name in ("ws-solo-2e-4", "ws-solo-4e-4", "ws-word-2e-4"))
    assert f"{values(slow, SOLO)[0]:.3f}" == f"{values(fast, SOLO)[0]:.3f}"
    assert f"solves as much alone as at 2e-4 ({values(fast, SOLO)[0]:.3f})" in PAGE_TEXT
    assert (
        f"at 2e-4 ({values(fast, HANDOFF)[0]:.3f} and {values(ours, HANDOFF)[0]:.3f})" in PAGE_TEXT
    )


def test_the_statements_on_phrasings():
    step, word, plain = groups_of("phrasings").values()
    assert f"the untrained model solves only {look_up(plain[0].before, SOLO):.0%}" in PAGE_TEXT
    shares = [f"{curve_mean(runs, '0.1'):.2f}" for runs in (word, plain)]
    assert (
        f"finishes {shares[0]} of the responses of this senior, and {shares[1]} of plain RL's"
        in PAGE_TEXT
    )
    assert f"solo is {-100 * paired(step, plain, SOLO)[0]:.0f} points lower. It stayed" in PAGE_TEXT
    assert (
        f"Solo is {-100 * paired(word, plain, SOLO)[0]:.0f} points lower, with an interval"
        in PAGE_TEXT
    )
    better = {HANDOFF: 1, KL: -1, CROSS_ENTROPY: -1}  # "three of the paper's four findings"
    assert all(sign * paired(step, plain, measure)[0] > 0 for measure, sign in better.items())
    assert all(math.prod(paired(step, plain, measure)[1:]) > 0 for measure in better)
    (penalty,) = groups_of("phrasings-kl").values()
    options = {
        "schedule": "solo",
        "kl_coef": 0.03,
        "learning_rate": 1e-4,
        "steps": 300,
        "world": "phrasings",
    }
    assert [run.seed for run in penalty] == [0, 1, 2]
    for run in penalty:
        assert (run.problems, run.samples, run.before) == (500, 4, plain[0].before)
        assert options.items() <= run.config.items()
    assert f"Its KL is {mean(penalty, KL):.3f}, below that of strict turns" in PAGE_TEXT
    assert max(values(penalty, KL)) < min(values(step, KL))
    assert (
        f"Its solo differs from plain RL's by {signed(paired(penalty, plain, SOLO))}, and"
        in PAGE_TEXT
    )
    assert f"handoff step by step by {signed(paired(penalty, plain, HANDOFF))}. Strict" in PAGE_TEXT
    assert f"ahead of it in handoff by {signed(paired(step, penalty, HANDOFF))}. So" in PAGE_TEXT


def test_the_front_of_closeness_is_recomputed():
    groups, columns = groups_of("closeness"), (0, 1, 2, 3, 6)
    tandem, plain, *penalties = groups.values()
    labels = [
        "tandem RL",
        "plain RL",
        *(f"KL penalty {runs[0].config['kl_coef']:g}" for runs in penalties),
    ]
    assert labels[2:] == [f"KL penalty {coef}" for coef in (0.003, 0.01, 0.03, 0.1, 0.3, 1, 3)]
    for label, runs in zip(["before", *labels], [None, *groups.values()], strict=True):
        column = cells([run.after for run in runs] if runs else [tandem[0].before])
        label += ", one seed" if runs in penalties[-2:] else ""
        assert f"| {label} | {' | '.join(column[i] for i in columns)} |" in PAGE_LINES
    for runs in groups.values():
        assert [run.seed for run in runs] == ([0] if runs in penalties[-2:] else [*range(5)])
        assert {run.config["junior"] for run in runs} == {"runs/closeness/parrot"}
        assert {(run.problems, run.samples, run.config["steps"]) for run in runs} == {(500, 4, 250)}
        assert runs == tandem or mean(runs, KL) > 1.5 * mean(tandem, KL)
    handoffs, largest = [mean(runs, HANDOFF) for runs in penalties[:5]], penalties[4]
    assert handoffs == sorted(handoffs) and f"up to {handoffs[-1]:.3f} at 0.3" in PAGE_TEXT
    low = "{:.3f} [{:.3f}, {:.3f}]".format(*paired(tandem, largest, SOLO))
    assert f"solo is lower than with tandem RL by {low}" in PAGE_TEXT
    beyond = [f"{mean(runs, measure):.3f}" for runs in penalties[5:] for measure in (SOLO, HANDOFF)]
    assert beyond[2] == beyond[3] and f"at 3 both {beyond[3]}" in PAGE_TEXT
    assert f"at 1 the senior solves {beyond[0]} and the two {beyond[1]}" in PAGE_TEXT
    assert (
        f"above that of a penalty of 0.3 by {signed(paired(tandem, largest, HANDOFF))}" in PAGE_TEXT
    )
    assert f"the smallest of all, {mean(tandem, KL):.3f}" in PAGE_TEXT
    assert f"Solo differs from plain RL's by {signed(paired(tandem, plain, SOLO))}. " in PAGE_TEXT
    most = max(mean(runs, HANDOFF) for runs in penalties)
    found = f"Handoff is {mean(tandem, HANDOFF):.3f} with tandem RL, and at most {most:.3f} with one of seven"
    assert found in PAGE_TEXT


@pytest.mark.parametrize("language, left", [("jargon", "8%"), ("mirrored", "15%")])
def test_the_tables_of_the_pretrained_model_are_recomputed(language, left):
    groups = groups_of(f"smollm2-{language}")
    best = {name: groups[f"{language}-{name}"] for name in ("word", "solo", "kl-0.1")}
    tandem, plain, penalty = best.values()
    shown = {f"{language}-{name}": runs for name, runs in best.items()}
    rows = rows_of(results_table(shown), difference_table(shown, None))
    assert len(rows) == 1 + 8 + 1 + 10 and not [row for row in rows if row not in PAGE_LINES]
    assert [[run.seed for run in runs] for runs in (tandem, plain, penalty)] == [
        [*range(5)],
        [*range(5)],
        [0],
    ]
    for run in [run for runs in groups.values() for run in runs]:
        expected = {
            "steps": 24,
            "prompts_per_step": 8,
            "group_size": 8,
            "learning_rate": 2e-5,
            "precision": "bfloat16",
        }
        assert expected.items() <= run.config.items() and (run.problems, run.samples) == (500, 1)
    assert f"{mean(tandem, JARGON_RATE):.0%}" == left and f"to {left}" in PAGE_TEXT
    before = look_up(tandem[0].before, HANDOFF)
    assert f"from {before:.3f} to {mean(tandem, HANDOFF):.3f}" in PAGE_TEXT
    of_penalties = [run for name, runs in groups.items() if "-kl-" in name for run in runs]
    assert [run.config["kl_coef"] for run in of_penalties] == [0.01, 0.1, 1]
    assert max(values(of_penalties, JARGON_RATE)) <= 0.024
    assert penalty == [max(of_penalties, key=lambda run: look_up(run.after, HANDOFF))]


def test_the_statements_on_the_pretrained_model():
    jargon, mirrored = (groups_of(f"smollm2-{language}") for language in ("jargon", "mirrored"))
    tandem, plain = ([runs[f"{name}-{arm}"] for name, runs in (("jargon", jargon), ("mirrored", mirrored))]
                     for arm in ("word", "solo"))  # fmt: skip
    start = [f"{look_up(runs[0].before, JARGON_RATE):.0%}" for runs in tandem]
    assert f"from {start[0]} to 8% and from {start[1]} to 15%" in PAGE_TEXT
    assert (
        f"solo differs from plain RL's by {signed(paired(tandem[0], plain[0], SOLO))}. In"
        in PAGE_TEXT
    )
    fall = f"from {look_up(tandem[1][0].before, SOLO):.3f} to {mean(tandem[1], SOLO):.3f}"
    loss = f"{-100 * paired(tandem[1], plain[1], SOLO)[0]:.0f} points"
    assert (
        f"it falls {fall}, {loss} below plain RL's" in PAGE_TEXT
        and f"costs {loss} of solo" in PAGE_TEXT
    )
    left = sorted(values(plain[0], JARGON_RATE))
    assert (
        f"in three it falls to between {left[0]:.0%} and {left[2]:.0%}" in PAGE_TEXT
        and left[3] > 0.9
    )
    assert f"rises to {mean(plain[1], JARGON_RATE):.1%} of the responses" in PAGE_TEXT
    alone = [
        f"{look_up(jargon['jargon-kl-0.01'][0].after, measure):.3f}" for measure in (SOLO, HANDOFF)
    ]
    assert f"below it in `jargon` ({alone[0]} and {alone[1]})" in PAGE_TEXT
    for penalty in ("kl-0.1", "kl-1"):
        runs = jargon[f"jargon-{penalty}"], mirrored[f"mirrored-{penalty}"]
        assert all(
            mean(a, m) > mean(b, m)
            for a, b in zip(runs, tandem, strict=True)
            for m in (SOLO, HANDOFF)
        )
    with_penalty = [mean(runs, SOLO) for name, runs in mirrored.items() if "kl" in name]
    assert f"solo is between {min(with_penalty):.3f} and {max(with_penalty):.3f}" in PAGE_TEXT
    curves = [run.handoff_curve for run in read_results(RESULTS / "smollm2-pairs.json")]
    tenths = [span([curve[f"0.{tenth}"] for tenth in range(1, 8)]) for curve in curves]
    assert f"it finishes {tenths[0]}, and {tenths[1]} after `mirrored`" in PAGE_TEXT
    assert (
        "At nine tenths they are {:.0%} and {:.0%}".format(*(curve["0.9"] for curve in curves))
        in PAGE_TEXT
    )
    assert {f"{curve['0.0']:.0%}" for curve in curves} == {
        "58%"
    } and "it solves 58% alone" in PAGE_TEXT
    (self_paired,) = read_results(
        RESULTS / "smollm2-self-60.json"
    )  # before, the senior is this junior
    assert (
        self_paired.config["senior"] == tandem[0][0].config["junior"]
        and self_paired.problems == 500
    )
    assert (
        f"The junior alone solves {look_up(self_paired.before, SOLO):.3f} of these problems"
        in PAGE_TEXT
    )
    for run, rate in zip(
        read_results(RESULTS / "smollm2-search.json"), ("2e-5", "4e-5"), strict=True
    ):
        assert (
            run.config["learning_rate"] == float(rate) and run.config["eval_split"] == "validation"
        )
        solo, handoff, jargon_rate = (
            look_up(run.after, path) for path in (SOLO, HANDOFF, JARGON_RATE)
        )
        assert (
            f"at {rate} solo {solo:.3f}, handoff {handoff:.3f} and jargon in {jargon_rate:.1%}"
            in PAGE_TEXT
        )
    (gsm8k,) = read_results(RESULTS / "smollm2-gsm8k.json")
    assert (
        f"the model solves {look_up(gsm8k.after, SOLO):.1%} of {gsm8k.problems} test problems"
        in PAGE_TEXT
    )


def test_the_table_of_the_pretrained_model_with_a_copy_of_itself_is_recomputed():
    groups = groups_of("smollm2-self")
    rows = rows_of(results_table(groups))
    assert len(rows) == 1 + 8 and not [row for row in rows if row not in PAGE_LINES]
    expected = {
        "senior": "runs/smollm2/copy",
        "junior": "self",
        "prompts_per_step": 16,
        "group_size": 8,
    }
    expected |= {"steps": 120, "learning_rate": 2e-5, "kl_coef": 0.0}
    (word,), (step,), (plain, again) = (
        groups[f"self-{schedule}"] for schedule in ("word", "step", "solo")
    )
    for schedule, seed, run in (
        ("word", 0, word),
        ("step", 0, step),
        ("solo", 0, plain),
        ("solo", 1, again),
    ):
        assert (
            expected | {"schedule": schedule}
        ).items() <= run.config.items() and run.before == plain.before
        assert (run.seed, run.problems, run.samples, len(run.curve["reward"])) == (
            seed,
            500,
            1,
            120,
        )
    rates = {
        path: values([word, step, plain, again], path) for path in (SOLO, HANDOFF, HANDOFF_WORD)
    }
    largest = max(math.sqrt(rate * (1 - rate) / 500) for found in rates.values() for rate in found)
    assert f"each of the rates has a standard error of at most {largest:.3f}." in PAGE_TEXT
    assert max(rates[HANDOFF][:2]) < statistics.fmean(
        rates[HANDOFF][2:]
    )  # "no higher than plain RL's mean"
    assert max(rates[HANDOFF_WORD][:2]) < min(rates[HANDOFF_WORD][2:])
    spreads = [
        max(found) - min(found)
        for found in (values([word, step, plain, again], m) for m in (KL, CROSS_ENTROPY))
    ]
    assert f"the four runs' KL and cross-entropy lie within {max(spreads):.3f}." in PAGE_TEXT
    below, apart = min(rates[SOLO][2:]) - max(rates[SOLO][:2]), rates[SOLO][3] - rates[SOLO][2]
    assert (
        f"below both runs of plain RL, by {below:.3f} at least. These two differ by {apart:.3f}"
        in PAGE_TEXT
    )
    alone = look_up(plain.before, SOLO)
    for path in (HANDOFF, HANDOFF_WORD):
        assert all(alone < both < own for both, own in zip(rates[path], rates[SOLO], strict=True))
    assert f"between the copy's own {alone:.3f} and the senior's solo in every run" in PAGE_TEXT
    reward = lambda run, part: f"{statistics.fmean(run.curve['reward'][part]):.2f}"
    first, last = slice(20), slice(-20, None)
    assert (
        f"rollouts rises from {reward(plain, first)} to {reward(plain, last)} (seed 0)."
        in PAGE_TEXT
    )
    assert reward(word, first) == reward(step, first)
    ends = f"from {reward(word, first)} to {reward(word, last)} (`word`) and to {reward(step, last)} (`step`)"
    assert f"Where the copy writes in them, too, it rises {ends}" in PAGE_TEXT


def test_the_search_and_the_shorter_run_of_the_pretrained_model_with_a_copy_of_itself():
    search = read_results(RESULTS / "smollm2-self-search.json")
    (shorter,) = read_results(RESULTS / "smollm2-self-60.json")
    shared = {"senior": "runs/smollm2/junior", "junior": "self", "schedule": "solo", "steps": 60}
    assert all(shared.items() <= run.config.items() for run in (*search, shorter))
    assert [run.config["learning_rate"] for run in search] == [1e-5, 2e-5, 4e-5]
    assert {(run.problems, run.config["eval_split"]) for run in search} == {(200, "validation")}
    solo = values(search, SOLO)
    said = "solo {:.3f} at 1e-5, {:.3f} at 2e-5 and {:.3f} at 4e-5".format(*solo)
    assert (
        f"{said}, from {look_up(search[0].before, SOLO):.3f} before" in PAGE_TEXT
        and max(solo) == solo[1]
    )
    ends = [look_up(m, path) for path in (SOLO, HANDOFF) for m in (shorter.before, shorter.after)]
    assert (
        "went from {:.3f} to {:.3f}, and handoff from {:.3f} to {:.3f}".format(*ends) in PAGE_TEXT
    )
    assert (shorter.problems, shorter.samples, shorter.config["learning_rate"]) == (500, 1, 2e-5)


def shown_ablations() -> list[str]:
    """The names of the rows of the table of ablations."""
    head = next(i for i, line in enumerate(PAGE_LINES) if line.startswith("| train.py |"))
    rows = itertools.takewhile(lambda line: line.startswith("|"), PAGE_LINES[head + 2 :])
    return [row.split("|")[1].split("(n=")[0].strip() for row in rows]


def test_the_table_of_ablations_is_recomputed():
    ablations = groups_of("ablations")
    columns = (0, 1, 3, 6)
    assert f"| train.py | {' | '.join(MEASURES[i][0] for i in columns)} |" in PAGE_LINES
    for name in shown_ablations():
        runs = ablations[name]
        column = cells([run.after for run in runs])
        assert (
            f"| {name} (n={len(runs)}) | {' | '.join(column[i] for i in columns)} |" in PAGE_LINES
        )
    assert {(run.problems, run.samples) for runs in ablations.values() for run in runs} == {
        (100, 4)
    }


def test_the_statements_on_the_ablations_that_are_not_in_the_table():
    shown = shown_ablations()
    rest = {name: runs for name, runs in groups_of("ablations").items() if name not in shown}
    plain = [run for runs in rest.values() if is_plain_rl(runs) for run in runs]
    like_the_default = [run for runs in rest.values() if not is_plain_rl(runs) for run in runs]
    bounds = {
        "solo at least": math.floor(100 * min(values(like_the_default, SOLO))) / 100,
        "handoff at least": math.floor(100 * min(values(like_the_default, HANDOFF))) / 100,
        "KL at most": math.ceil(100 * max(values(like_the_default, KL))) / 100,
        "handoff at most": math.ceil(100 * max(values(plain, HANDOFF))) / 100,
    }
    for label, bound in bounds.items():
        assert f"{label} {bound:.2f}" in PAGE_TEXT
    assert (
        f"jargon in at least {math.floor(100 * min(values(plain, JARGON_RATE)))}% of the responses"
        in PAGE_TEXT
    )
    sentence = PAGE_TEXT[
        PAGE_TEXT.index("The other rows don't differ") : PAGE_TEXT.index("The world is easy")
    ]
    named = (  # each row by its option and value, as the sentences name it
        "`token`|`step`|`alternate`|0.1,|0.3,|0.7|0.9,|1,|2 and 4,|0.15,|`rloo`|`ema`|`none`,|`--loss grpo`|"
        "`--group-size` 16|1e-4 and 4e-4,|0.01, 0.1 and 1.|5e-5, 1e-4, 4e-4 and 8e-4,|the weaker and the stronger junior"
    )
    assert all(words in sentence for words in named.split("|"))
    assert len(rest) == 3 + 4 + 3 + 1 + 3 + 1 + 1 + 2 + 3 + 4 + 2  # in that order


def test_the_statements_on_the_ablations_in_the_table():
    ablations = groups_of("ablations")
    default = values(ablations["word"], SOLO)
    for change in ("--junior-weight 0.5", "--junior-weight 1", "--learning-rate 0.0008"):
        assert max(values(ablations[f"word {change}"], SOLO)) < min(default) - 0.01
    chunk = values(ablations["chunk"], SOLO)
    assert min(chunk) < 0.97 and max(chunk) > 0.99
    assert min(values(ablations["word --learning-rate 5e-05"], JARGON_RATE)) > 0.04
    weak, strong = (
        mean(ablations[f"word --junior runs/{name}.pt"], HANDOFF) for name in ("weaker", "stronger")
    )
    assert (
        f"Handoff follows the junior: {weak:.2f} with the weaker one, {strong:.2f} with the stronger"
        in PAGE_TEXT
    )
    assert min(values(ablations["solo --group-size 16"], JARGON_RATE)) > 0.9


def test_the_ablations_are_runs_of_the_listed_options():
    lines = (RESULTS / "ablations.txt").read_text(encoding="utf-8").splitlines()
    seen = set()
    for run in read_results(RESULTS / "ablations.json"):
        _, seed, number = run.name.split("-")
        config = dataclasses.asdict(
            parse(Config, [*lines[int(number) - 10].split(), "--seed", seed], "")
        )
        assert run.seed == config["seed"] == int(seed)
        measured_with = {"eval_split": "test", "eval_top_p": None, "eval_top_k": None}
        assert (
            run.config
            == {name: config[name] for name in config if name not in IGNORED} | measured_with
        )
        seen.add(int(number) - 10)
    assert seen == set(range(len(lines)))


@pytest.mark.parametrize("world", WORLDS)
def test_the_search_is_recomputed(world):
    for run in read_results(RESULTS / f"{world}-search.json"):
        config = run.config
        assert (config["world"], config["eval_split"], run.problems, run.samples) == (
            world,
            "validation",
            500,
            4,
        )
        assert run.seed == (0 if world == "jargon" else 10)
        arm = config["schedule"]
        if config["kl_coef"]:
            arm += f", KL penalty {config['kl_coef']:g}"
        batch = f"{config['prompts_per_step']} × {config['group_size']}"
        row = [world, f"{config['learning_rate']:g}", batch, f"{config['steps']}", arm]
        row += [f"{look_up(run.after, path):.3f}" for _, path, _ in MEASURES[:6]]
        assert f"| {' | '.join(row)} |" in PAGE_LINES


def test_the_findings():
    for world in ("jargon", "work"):
        tandem, plain = groups_of(world).values()
        _, low, high = paired(tandem, plain, SOLO)
        assert low < 0 < high and f"±{max(-low, high):.3f} in `{world}`" in PAGE_TEXT
        for measure in (HANDOFF, KL, CROSS_ENTROPY):
            assert math.prod(paired(tandem, plain, measure)[1:]) > 0  # the interval excludes 0
    step, _, plain = groups_of("phrasings").values()
    (penalty,) = groups_of("phrasings-kl").values()
    assert f"strict turns gain {100 * paired(step, plain, HANDOFF)[0]:.0f} points" in PAGE_TEXT
    assert mean(penalty, KL) == pytest.approx(mean(plain, KL) / 2, rel=0.1)
    for run in read_results(RESULTS / "jargon-search.json"):
        small = 5e-5 <= run.config["learning_rate"] <= 4e-4
        if small and run.config["schedule"] == "word":
            assert look_up(run.after, HANDOFF) > 0.9 and look_up(run.after, SOLO) > 0.99


def test_the_numbers_of_the_first_page_are_recomputed():
    """The cells of its table (before training, plain RL, tandem RL), and the lines on what holds."""
    lines = [re.sub(" +", " ", line).strip() for line in FIRST_PAGE.splitlines()]
    jargon_tandem, jargon_plain = groups_of("jargon").values()
    for measure in (SOLO, HANDOFF, KL, CROSS_ENTROPY):
        numbers = (
            look_up(jargon_plain[0].before, measure),
            mean(jargon_plain, measure),
            mean(jargon_tandem, measure),
        )
        row = "".join(f"| {number:.3f} " for number in numbers) + "|"
        assert any(line.endswith(row) for line in lines), row
    work_tandem, work_plain = groups_of("work").values()
    step, word, plain = groups_of("phrasings").values()
    (penalty,) = groups_of("phrasings-kl").values()
    arms = ((jargon_tandem, jargon_plain), (work_tandem, work_plain))
    within = [max(map(abs, paired(*both, SOLO)[1:])) for both in arms]
    gain, loss = paired(step, plain, HANDOFF)[0], -paired(step, plain, SOLO)[0]
    alone, tandem, control = (
        curve_mean(jargon_tandem, "0.0"),
        mean(work_tandem, HANDOFF),
        mean(work_plain, HANDOFF),
    )
    closest = groups_of("closeness")
    best = max(mean(runs, HANDOFF) for name, runs in closest.items() if name.startswith("kl-"))
    mirrored = groups_of("smollm2-mirrored")
    lost = -100 * paired(mirrored["mirrored-word"], mirrored["mirrored-solo"], SOLO)[0]
    phrases = [
        f"within ±{within[0]:.3f} in `jargon` and ±{within[1]:.3f} in `work`",
        f"the pair solves {mean(jargon_tandem, HANDOFF):.3f}, the junior alone {alone:.3f}",
        f"after 250 steps handoff is {tandem:.3f}, with plain RL {control:.3f}",
        f"Strict turns gain {100 * gain:.0f} points of handoff and lose {100 * loss:.0f} points of solo",
        f"with the paper's word schedule handoff differs by {signed(paired(word, plain, HANDOFF))}",
        f"with a KL penalty instead of a partner by {signed(paired(penalty, plain, HANDOFF))}",
        f"handoff is {mean(closest['word'], HANDOFF):.3f} with tandem RL, at most {best:.3f} with one of seven penalties",
        f"One costs {lost:.0f} points of solo",
        "With a frozen copy of itself, neither schedule brings more handoff than plain RL, and solo is lower",
    ]
    assert not [phrase for phrase in phrases if phrase not in " ".join(FIRST_PAGE.split())]


def test_the_pretrained_model_of_the_first_page_ended_as_five_seeds_predict():
    """Its run was on 2 cores; those seeds were on a GPU, from another fine-tuning by the same commands."""
    ((run,),), seeds = groups_of("smollm2").values(), groups_of("smollm2-jargon")["jargon-word"]
    for label, measured in (("before", run.before), ("after", run.after)):
        row = " | ".join(
            f"{look_up(measured, path):.3f}" for path in (SOLO, HANDOFF, KL, JARGON_RATE)
        )
        assert f"| {label} | {row} |" in FIRST_PAGE.splitlines()
    assert (run.problems, run.samples) == (100, 1) and run.config["steps"] == seeds[0].config[
        "steps"
    ] == 24
    assert "solo and handoff within ±0.15, and in the end a KL below 1.1 and a jargon" in " ".join(
        FIRST_PAGE.split()
    )
    for measure, most in ((KL, 1.1), (JARGON_RATE, 0.3)):
        half = STUDENT_T[4 - 1] * statistics.stdev(values(seeds, measure)) * math.sqrt(1 + 1 / 5)
        assert mean(seeds, measure) + half < most and look_up(run.after, measure) < most
    for measure in (SOLO, HANDOFF):
        assert abs(look_up(run.after, measure) - mean(seeds, measure)) < 0.15
        assert abs(look_up(run.before, measure) - look_up(seeds[0].before, measure)) < 0.15


def test_the_table_of_the_study_is_recomputed_from_its_answers():
    answers = json.loads((RESULTS / "people.json").read_text(encoding="utf-8"))["answers"]
    rows = [
        ("take-over: right answers ↑", "take-over", "accuracy"),
        ("check: right verdicts ↑", "check", "accuracy"),
    ]
    for label, task, name in [*rows, ("rate: how easy to follow, 1 to 5 ↑", "rate", "rating")]:
        own = [row for row in answers if row["task"] == task]
        arms = [[row for row in own if row["arm"] == arm] for arm in ("before", "solo", "word")]
        cells_of = [score.cell(score.measured(some, name), ".3f") for some in arms]
        difference = score.cell(score.measured(own, name, ("word", "solo")), "+.3f", 0)
        assert " | ".join([f"| {label}", *cells_of, difference]) + " |" in PAGE_LINES
    assert len(answers) == 12 * 72 and "Each rater sees 72 responses, 24 for each task" in PAGE_TEXT


PARSERS = {
    "train.py": Config,
    "evaluate.py": compare.Options,
    "support.models.fine_tune": FineTuning,
}
PEOPLE = {
    "make": study.Options,
    "machine": machine.Options,
    "score": score.Options,
    "page": page.Options,
}
COMMANDS = {  # that a script runs, by program
    "ablations": (80, 2, 0), "closeness": (37, 1, 1), "jargon": (10, 2, 0), "paper": (1, 0, 0), "people": (2, 0, 0), "phrasings": (32, 4, 0),
    "smollm2": (1, 0, 2), "smollm2-arms": (30, 8, 3), "smollm2-gsm8k": (1, 1, 1), "smollm2-self": (8, 6, 2),
    "work": (22, 3, 0)
}  # fmt: skip
FAKE = """#!/bin/bash
printf '%s\\0' "$@" $'\\n' >> "{log}"
for word; do [ "$word" != "$FAIL" ] || exit 1; done
while (($#)); do
  case "$1 ${{2-}}" in
    "--json "*people*) printf x > "$2" ;;
    "--out "*) mkdir -p "${{2%/*}}" && mkdir "$2" && printf x > "$2/eval.json" && printf x > "$2/checkpoint.pt" || exit ;;
  esac
  shift
done
echo x
"""


@pytest.fixture
def commands(tmp_path):
    """Runs a copy of a script, in which `python` only notes its words and makes --out: [(program, words)]."""
    (tmp_path / "results").mkdir()
    for path in [*RESULTS.glob("*.sh"), *RESULTS.glob("*.txt")]:
        (tmp_path / "results" / path.name).write_text(
            path.read_text(encoding="utf-8"), encoding="utf-8"
        )
    log, fake = tmp_path / "log", tmp_path / "bin" / "python"
    fake.parent.mkdir()
    fake.write_text(FAKE.format(log=log))
    fake.chmod(0o755)

    def run(name: str, *words: str, fail: str = "nothing"):
        log.write_text("")
        path = {"PATH": f"{fake.parent}:{os.environ['PATH']}", "FAIL": fail}
        subprocess.run(
            ["bash", str(tmp_path / "results" / name), *words],
            env=path,
            check=True,
            capture_output=True,
        )
        found = [line.split("\0")[:-1] for line in log.read_text().split("\n\0")[:-1]]
        found = [words[1:] if words[0] == "-m" else words for words in found if words[0] != "-"]
        return [(Path(program).name, words) for program, *words in found]

    return run


@pytest.mark.parametrize(
    "name", [path.name for path in sorted(RESULTS.glob("*.sh")) if path.name != "resume.sh"]
)
def test_the_scripts_use_options_that_exist(name, commands):
    files = ["model", "problems.jsonl"] if name in ("paper.sh", "smollm2-gsm8k.sh") else []
    found = commands(name, *files)
    assert (
        tuple(sum(of == program for of, _ in found) for program in PARSERS)
        == COMMANDS[name.removesuffix(".sh")]
    )
    for program, words in found:
        if program == "support.people":
            parse(PEOPLE[words[0]], words[1:], "")
        else:
            parse(PARSERS[program], words, "")
    if "resume.sh" in (RESULTS / name).read_text(encoding="utf-8"):
        again = commands(name, *files)  # what is there isn't made again
        assert not again, again


def test_a_script_goes_on_with_a_run_that_was_stopped(commands, tmp_path):
    commands("smollm2.sh")
    run = tmp_path / "runs" / "smollm2" / "word"
    (run / "eval.json").unlink()
    assert commands("smollm2.sh") == [("train.py", ["--resume", "runs/smollm2/word"])]
    (run / "checkpoint.pt").unlink()  # it was stopped before its first checkpoint
    ((program, words),) = commands("smollm2.sh")
    assert (
        program == "train.py" and words[:2] == ["--out", "runs/smollm2/word"] and "--steps" in words
    )


def test_weights_are_given_back_when_a_run_is_measured_and_not_before(commands, tmp_path):
    """And nothing is put together of measures of which one failed."""
    weights = lambda: (
        {path.parent.name for path in tmp_path.glob("runs/smollm2/*/*.pt")}
        - {"junior", "copy", "jargon", "mirrored"}
    )
    with pytest.raises(subprocess.CalledProcessError):
        commands("smollm2-arms.sh", fail="runs/smollm2/search-4e-5")
    assert weights() == set() and (tmp_path / "runs/smollm2/search-2e-5.json").exists()
    assert not list(tmp_path.glob("runs/smollm2/search.json"))
    found = commands("smollm2-arms.sh")
    assert ("--out", "runs/smollm2/search-4e-5") == tuple(found[0][1][:2]) and weights() == set()
    with pytest.raises(subprocess.CalledProcessError):
        commands("smollm2-self.sh", fail="evaluate.py")
    assert weights() == {f"self-search-{rate}" for rate in ("1e-5", "2e-5", "4e-5")}


def test_the_paper_s_recipe_says_what_it_needs():
    shown = subprocess.run(
        ["bash", str(RESULTS / "paper.sh")], capture_output=True, text=True, check=False
    )
    assert shown.returncode != 0 and "directory of a model" in shown.stderr


def test_the_python_in_the_ablations_uses_names_that_exist():
    text = (RESULTS / "ablations.sh").read_text(encoding="utf-8")
    program = text[text.index("<<'END'\n") + 8 : text.index("\nEND\n")]
    for node in ast.parse(program).body:
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names)
    assert (
        dataclasses.replace(PLAIN_JUNIOR, stop_at=0.75).stop_at == 0.75
    )  # the shipped junior has 0.92
    assert PLAIN_JUNIOR.stop_at == 0.92 and "stop_at=0.92" in text
    inspect.signature(train_base).bind("recipe", "tokenizer", 0, "device", "name")
    inspect.signature(solo_accuracy).bind("junior", "tokenizer", "problems", "sampling")
