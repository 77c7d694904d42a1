"""Scores of a study: whether intervals hold the truth, the power, agreement, damaged files."""

import copy
import itertools
import json
import math
import random
import re
import sys
from fractions import Fraction
from pathlib import Path

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_study import CUTS, SECONDS, TASKS, simulate, truth, write_study

from support.people import score
from support.people.statistics import (
    CLIP,
    SPREAD,
    difference_estimator,
    krippendorff_alpha,
    latin_square,
    mean_estimator,
    outsiders,
    smallest_difference,
    student_t,
    study_power,
)
from support.runs.options import UserError


@pytest.fixture(autouse=True)
def draws(monkeypatch, request):
    """Only tests that are marked so draw the figure, which takes half a second."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(score, "draw_scores", lambda scores, path: None)


@pytest.fixture
def drawn():
    """Asked for by the tests that look at the figure."""


def analysed(key: dict, files: list[dict]) -> dict:
    return score.analyse(key, {file["rater"]: file for file in files})


# ---- Do the intervals hold the truth? ------------------------------------------------------------


def coverage(studies: int, arms: int = 2, **design) -> dict[str, float]:
    """The share of simulated studies in which the interval of word - solo holds the truth."""
    advantages = {"word": 0.8, "solo": 0.0, "before": -0.4}
    advantages = {name: advantages[name] for name in list(advantages)[:arms]}
    held = {name: 0 for name in (*TASKS, "seconds")}
    for seed in range(studies):
        key, files = simulate(seed, arms=advantages, **design)
        for found in analysed(key, files)["differences"]:
            if found["arms"] == ["word", "solo"]:
                task = found["task"]
                held[task] += holds(found["difference"], truth(task, 0.8) - truth(task, 0.0))
                held["seconds"] += holds(found["seconds"], math.exp(-SECONDS * 0.8))
    held["seconds"] /= 3  # every task has seconds
    return {name: count / studies for name, count in held.items()}


def holds(estimate: list, value: float) -> bool:
    _, low, high = estimate
    return low is not None and low <= value <= high


@pytest.mark.parametrize(
    "design",
    [
        dict(raters=12, items=8),
        dict(raters=6, items=8, arms=3, rotate=True),
    ],
)
def test_of_200_studies_95_percent_hold_the_truth(design):
    held = coverage(200, **design)
    assert all(0.92 <= share <= 0.98 for share in held.values()), held


@pytest.mark.slow
@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("arms", [2, 3])
@pytest.mark.parametrize("raters, items", [(6, 6), (6, 20), (12, 12), (30, 6), (30, 20)])
def test_of_400_studies_of_any_size_95_percent_hold_the_truth(raters, items, arms, rotate):
    held = coverage(400, raters=raters, items=items, arms=arms, rotate=rotate, missing=0.05)
    assert all(0.92 <= share <= 0.99 for share in held.values()), held  # 0.98 and its error


def test_the_simulated_truth_is_that_of_many_raters_and_problems():
    rng = np.random.default_rng(0)
    spread = math.sqrt(0.5**2 + 0.8**2 + 0.2**2 + 0.4**2)
    logits = 0.5 + 0.8 + spread * rng.normal(size=400_000)
    chances = 1 / (1 + np.exp(-logits))
    assert np.mean(chances) == pytest.approx(truth("check", 0.8), abs=0.002)
    felt = logits + rng.logistic(size=logits.size)
    ratings = 1 + np.sum(felt[:, None] > CUTS, 1)
    assert ratings.mean() == pytest.approx(truth("rate", 0.8), abs=0.01)


def test_variances_are_those_that_resampling_converges_to():
    """Clusters are drawn with replacement, as weights of a least-squares fit."""
    rng = np.random.default_rng(0)

    def resampled(model, contrast, values, clusters, draws=800):
        _, place = np.unique(clusters, return_inverse=True)
        count = max(place) + 1
        estimates = []
        for _ in range(draws):
            weights = rng.multinomial(count, np.full(count, 1 / count))[place]
            inverse = np.linalg.pinv(model.T * weights @ model)
            estimates.append(contrast @ inverse @ (model.T @ (weights * values)))
        return np.var(estimates)

    arms, raters, problems = latin_square(24, 24, 2)
    levels = rng.normal(0, 0.5, 24)[raters]
    levels = levels + rng.normal(0, 0.8, 24)[problems]
    levels = levels + rng.normal(0, 0.7, (24, 2))[problems, arms]
    values = levels + rng.logistic(size=levels.size) > -0.5 * (arms == 0)

    def check(estimator, contrast, rows):
        variances = estimator.variances(values[rows].astype(float)) / estimator.scales
        for variance, clusters in zip(variances, (raters, problems, np.arange(576)), strict=True):
            drawn = resampled(estimator.model, contrast, values[rows], clusters[rows])
            assert drawn == pytest.approx(variance, rel=0.2)

    chosen = arms == 0
    check(mean_estimator(raters[chosen], problems[chosen]), np.ones(1), chosen)
    contrast = np.eye(50)[0] - np.eye(50)[1]
    check(difference_estimator(arms, raters, problems, (0, 1)), contrast, chosen >= 0)


def test_students_t_is_that_of_the_tables():
    table = {
        1: 12.7062,
        2: 4.3027,
        3: 3.1824,
        4: 2.7764,
        5: 2.5706,
        10: 2.2281,
        11: 2.2010,
        20: 2.0860,
        60: 2.0003,
    }
    assert student_t(np.array(list(table))) == pytest.approx(list(table.values()), abs=2e-4)
    assert np.all(np.diff(student_t(np.linspace(1, 1000, 5000))) < 2e-5)


def test_intervals_need_three_raters_three_problems_and_answers_that_differ():
    for sizes in ((2, 9), (9, 2)):
        arms, raters, problems = latin_square(*sizes, 2)
        values = np.random.default_rng(0).random(len(arms))
        _, half = mean_estimator(raters, problems)(values)
        assert np.isnan(half)
        _, half = difference_estimator(arms, raters, problems, (0, 1))(values)
        assert np.isnan(half)

    arms, raters, problems = latin_square(6, 6, 2)
    value, half = mean_estimator(raters, problems)(np.ones(36))
    assert abs(value) == pytest.approx(1) and np.isnan(half)
    value, half = difference_estimator(arms, raters, problems, (0, 1))(arms)
    assert abs(value) == pytest.approx(1) and np.isnan(half)

    nobody_saw = difference_estimator(arms, raters, problems, (0, 7))
    assert np.isnan(nobody_saw(arms)).all()
    one_arm_a_rater = difference_estimator(raters % 2, raters, problems, (0, 1))
    assert np.isnan(one_arm_a_rater(arms)).all()


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(3, 9),
    st.integers(3, 9),
    st.integers(2, 3),
    st.floats(-100, 100),
)
def test_estimates_do_not_depend_on_names_order_or_level(seed, raters, problems, arms, constant):
    rng = np.random.default_rng(seed)
    design = np.stack(latin_square(raters, problems, arms))
    design = design[:, rng.random(design.shape[1]) < 0.9]
    arms_of, raters_of, problems_of = design
    values = rng.integers(1, 6, design.shape[1]).astype(float)
    order = rng.permutation(len(values))
    names = rng.permutation(100)

    def same(estimate, value, half):
        assert estimate == pytest.approx((value, half), abs=1e-6, nan_ok=True)

    value, half = difference_estimator(*design, (0, 1))(values)
    same(difference_estimator(*design[:, order], (0, 1))(values[order]), value, half)
    renamed = difference_estimator(arms_of, names[raters_of], names[problems_of], (0, 1))
    same(renamed(values), value, half)
    same(difference_estimator(*design, (0, 1))(values + constant), value, half)
    same(difference_estimator(*design, (1, 0))(values), -value, half)

    value, half = mean_estimator(raters_of, problems_of)(values)
    renamed = mean_estimator(names[raters_of], problems_of)
    same(renamed(values + constant), value + constant, half)


# ---- Power ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def accuracies() -> np.ndarray:
    """(2, 16) of two arms; some are 0 or 1."""
    rng = np.random.default_rng(7)
    solo = rng.normal(0.5, 0.2, 16)
    word = solo + 0.35 + rng.normal(0, 0.1, 16)
    return np.clip([word, solo], 0, 1)


def test_the_power_is_the_share_of_simulated_studies_that_find_the_difference(accuracies):
    found = 0
    for seed in range(200):
        key, files = simulate(seed, raters=12, items=16, accuracies=accuracies)
        key["tasks"] = ["take-over"]
        first = analysed(key, files)["differences"][0]
        _, low, high = first["difference"]
        found += low > 0 or high < 0
    power = study_power(accuracies, latin_square(12, 16, 2))
    assert 0.6 < power < 0.95
    assert power == pytest.approx(found / 200, abs=0.05)


def test_the_smallest_difference_is_found_with_80_percent(accuracies):
    design = latin_square(12, 16, 2)
    least = smallest_difference(accuracies, design)
    assert 0.15 < least < 0.35
    assert smallest_difference(accuracies, latin_square(24, 16, 2)) < least
    assert smallest_difference(accuracies, design, target=0.5) < least
    assert smallest_difference(accuracies, latin_square(3, 4, 2)) is None

    clipped = np.clip(accuracies, CLIP, 1 - CLIP)
    logits = np.log(clipped / (1 - clipped))
    skills = SPREAD * np.random.default_rng(0).normal(size=(4000, 1))
    second = np.mean(1 / (1 + np.exp(-logits[1] - skills)))
    for shift in np.linspace(-2, 3, 51):  # the first shift with such an advantage has such a power
        first = np.mean(1 / (1 + np.exp(-logits[0] - shift - skills)))
        if first - second >= least:
            power = study_power(accuracies, design, shift=shift)
            assert power == pytest.approx(0.8, abs=0.08)
            break


def test_power_without_a_difference_is_the_error_and_problems_may_be_drawn(accuracies):
    design = latin_square(12, 16, 2)
    same = np.tile(accuracies[1], (2, 1))
    assert study_power(same, design) < 0.07
    power = study_power(accuracies, design)
    assert study_power(accuracies, latin_square(12, 8, 2)) < power
    assert study_power(accuracies, design, (1, 0)) == power
    with pytest.raises(ValueError, match="17 problems"):
        study_power(accuracies, latin_square(12, 17, 2))


# ---- Agreement -----------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["ordinal", "interval"])
def test_alpha_is_that_of_the_package(level):
    rng = np.random.default_rng(0)
    for _ in range(200):
        shape = rng.integers(2, 9), rng.integers(2, 12)
        ratings = rng.integers(1, 6, shape).astype(float)
        ratings[rng.random(ratings.shape) < rng.uniform(0, 0.8)] = np.nan
        alpha = krippendorff_alpha(ratings, level)
        paired = ratings[:, np.sum(~np.isnan(ratings), 0) > 1]
        if len(np.unique(paired[~np.isnan(paired)])) < 2:
            assert np.isnan(alpha)
        else:
            expected = krippendorff.alpha(ratings, level_of_measurement=level)
            assert alpha == pytest.approx(expected, abs=1e-9)


def test_alpha_of_krippendorffs_own_example():
    n = np.nan
    ratings = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, n, n, n],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, n, 3],
        [n, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, n],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, n],
    ]
    assert krippendorff_alpha(ratings) == pytest.approx(0.815, abs=5e-4)
    assert krippendorff_alpha(ratings, "interval") == pytest.approx(0.849, abs=5e-4)
    all_the_same = np.full((3, 4), 2.0)
    assert np.isnan(krippendorff_alpha(all_the_same))
    one_an_item = np.where(np.eye(3), 1, np.nan)
    assert np.isnan(krippendorff_alpha(one_an_item))


def test_a_rater_who_agrees_with_nobody_is_named_and_one_with_few_ratings_is_not():
    rng = np.random.default_rng(0)
    ratings = np.linspace(1, 5, 12) + rng.normal(0, 0.6, (6, 12))
    ratings = np.clip(ratings, 1, 5).round()
    assert outsiders(ratings) == []
    ratings[1] = 6 - ratings[1]  # took 1 for the best
    ratings[3] = 3  # always pressed the same
    ratings[4, 4:] = np.nan
    ratings[4, :4] = ratings[4, 3::-1]  # 4 ratings are too few
    assert outsiders(ratings) == [1, 3]


# ---- A study worked out by hand ------------------------------------------------------------------

RIGHT = ["1110", "0000", "1110", "0101"]  # rater i, problem j; the arm is word where i + j is even
RATINGS = ["52", "35", "41", "24"]  # of two more problems: word 5, 5, 4, 4; solo 2, 3, 1, 2
ANSWERS = {  # wrong and right ones, the right answer being 1/2
    "0": ["2", "2"],
    "1": ["0.5", r"it is \boxed{\frac12}"],
}


@pytest.fixture
def by_hand(tmp_path) -> tuple:
    """(folder, key, files) of 4 raters. A problem took 10 s in word, and 40 or 90 in solo."""
    key = {
        "study": "hand",
        "arms": ["word", "solo"],
        "tasks": ["take-over", "rate"],
        "raters": {},
        "prompt_template": "{question}",
    }
    files = []
    for i, (right, ratings) in enumerate(zip(RIGHT, RATINGS, strict=True)):
        items = []
        answers = {}
        for j, value in enumerate(right + ratings):
            number = f"{j:02}"
            item = {"id": number, "kind": "item", "problem": j, "answer": "1/2"}
            item["task"] = "take-over" if j < 4 else "rate"
            item["arm"] = ("word", "solo")[(i + j) % 2]
            items.append(item)
            if item["task"] == "take-over":
                answer = {"answer": ANSWERS[value][i % 2]}
            else:
                answer = {"rating": int(value), "stopped": " jargon " if j == 4 else ""}
            answer["seconds"] = 10
            if item["arm"] == "solo":
                answer["seconds"] = 40 if j % 4 < 2 else 90
            answers[number] = answer
        items.append({"id": "06", "kind": "practice", "task": "rate"})
        items.append({"id": "07", "kind": "attention", "task": "rate", "expected": {"rating": 4}})
        answers["06"] = {"rating": 1}
        answers["07"] = {"rating": 4}
        rater = f"{i + 1:02}"
        key["raters"][rater] = items
        files.append(
            {
                "format": "tandem-study",
                "version": 1,
                "study": "hand",
                "rater": rater,
                "began": "2026-01-01",
                "finished": "2026-01-02T10:00:00.000Z",
                "withdrawn": False,
                "answers": answers,
            }
        )
    return tmp_path, key, files


def run(folder, key, files, capsys) -> tuple[str, str, dict]:
    score.main([str(folder), *write_study(folder, key, files)])
    printed = capsys.readouterr()
    scores = json.loads((folder / "scores.json").read_text())
    return printed.out, printed.err, scores


def cells_by_label(printed: str) -> dict[str, list[str]]:
    """The rows of the printed tables, by their first cell."""
    rows = {}
    for line in printed.splitlines():
        if line.startswith("|"):
            label, *cells = [cell.strip() for cell in line.split("|")[1:-1]]
            rows[label] = cells
    return rows


def half_of(raters, problems, answers, *freedom) -> float:
    """Half an interval, of three variances and their degrees of freedom, written out."""
    variance = max(raters + problems - answers, answers)
    terms = [max(0, raters**2 - answers**2), max(0, problems**2 - answers**2), answers**2]
    spread = sum(term / d for term, d in zip(terms, freedom, strict=True))
    return float(student_t(variance**2 / spread)) * math.sqrt(variance)


def test_the_mean_of_an_arm_is_that_worked_out_by_hand(by_hand, capsys):
    # word is right in 1 1, 0 0, 1 1, 1 1: 6 of 8. 4 raters, 4 problems.
    # By rater the sums of (right - 3/4) / 8 are 1/16, -3/16, 1/16, 1/16: V_raters = 12/256 · 4/3.
    # By problem 1/16, -1/16, 1/16, -1/16: V_problems = 4/256 · 4/3.
    # V_answers = (6 · 1/16 + 2 · 9/16) / 64 · 8/7.
    expected = half_of(1 / 16, 1 / 48, (6 / 16 + 18 / 16) / 64 * 8 / 7, 3, 3, 7)
    in_word = [(i, j) for i, j in itertools.product(range(4), repeat=2) if (i + j) % 2 == 0]
    raters, problems = map(np.array, zip(*in_word, strict=True))
    values = np.array([float(RIGHT[i][j]) for i, j in in_word])
    estimate = mean_estimator(raters, problems)(values)
    assert estimate == pytest.approx((0.75, expected))

    # solo is right in 1 0, 0 0, 1 0, 0 0: 2 of 8.
    printed, *_ = run(*by_hand, capsys)
    rows = cells_by_label(printed)
    word, solo = rows["take-over: word"], rows["take-over: solo"]
    assert word[:2] == ["8", "0"]
    assert word[2] == "0.750 [0.000, 1.000]"  # clipped
    assert solo[2].startswith("0.250 [")
    assert word[3] == "10.0"
    assert solo[3].startswith("60.0 [")  # √(40 · 90)
    word, solo = rows["rate: word"], rows["rate: solo"]
    assert word[4] == "4.500" and solo[4] == "2.000"  # 2 problems: no interval
    assert word[2] == word[5] == "-"


def test_the_difference_of_arms_is_that_worked_out_by_hand(by_hand, capsys):
    # word - solo by rater: 1/2, 0, 1/2, 1. Each order of arms (raters 1 and 3, 2 and 4) has its own
    # mean of these: V_raters = 2 · (1/2)² / (4 · 2). By problem: 1, -1/2, 1, 1/2, so the same.
    right = np.array([[Fraction(int(value)) for value in row] for row in RIGHT])
    by_rater = right.sum(axis=1) / 4
    by_problem = right.sum(axis=0) / 4
    squares = 0
    for i, j in itertools.product(range(4), repeat=2):
        of_arm = Fraction((-1) ** (i + j), 4)
        squares += (right[i, j] - by_rater[i] - by_problem[j] + Fraction(1, 2) - of_arm) ** 2
    single = 2 * squares / 64  # 16 - 1 - 3 - 3 - 1 = 8 degrees of freedom: times 16/8
    assert single == Fraction(1, 32)
    half = half_of(1 / 16, 1 / 16, 1 / 32, 2, 2, 8)
    assert half == pytest.approx(0.9978, abs=1e-3)

    printed, *_ = run(*by_hand, capsys)
    rows = cells_by_label(printed)
    difference, ratio, *counts = rows["take-over, accuracy: word - solo"]
    assert difference == f"+0.500 [{0.5 - half:+.3f}, +1.000]"
    assert ratio.startswith("0.167 [")  # 10 / 60
    assert counts == ["4", "4"]
    difference, _, *counts = rows["rate, rating: word - solo"]
    assert difference == "+2.500" and counts == ["4", "2"]


def test_the_notes_the_json_and_the_figure_of_the_study_by_hand(by_hand, capsys, drawn):
    printed, said, scores = run(*by_hand, capsys)
    assert "raters counted: 4, of them unfinished: 0" in printed
    assert "in the JSON: solo 2, word 2" in printed
    assert "alpha of 8 ratings" in printed and scores["ratings"] == 8
    assert scores["answers"][4] == {
        "rater": "01",
        "task": "rate",
        "arm": "word",
        "problem": 4,
        "rating": 5,
        "seconds": 10,
        "stopped": "jargon",
    }
    assert (by_hand[0] / "scores.svg").exists() and "figure: " in said


def test_scores_do_not_depend_on_the_order_of_files_items_or_answers(capsys, tmp_path, drawn):
    key, files = simulate(3, raters=6, items=6, missing=0.1)
    before, *_ = run(tmp_path, key, files, capsys)
    rng = random.Random(0)
    for items in key["raters"].values():
        rng.shuffle(items)
    for file in files:
        answers = sorted(file["answers"].items())
        rng.shuffle(answers)
        file["answers"] = dict(answers)
    rng.shuffle(files)
    after, *_ = run(tmp_path, key, files, capsys)
    assert after == before
    figure = (tmp_path / "scores.svg").read_bytes()
    run(tmp_path, key, files, capsys)
    assert (tmp_path / "scores.svg").read_bytes() == figure


# ---- Who counts ----------------------------------------------------------------------------------


def test_practice_never_counts_and_unanswered_items_are_counted_apart(by_hand, capsys):
    folder, key, files = by_hand
    files[0]["answers"]["06"] = {"rating": 5}
    *_, before = run(folder, key, files, capsys)
    word = before["levels"][0]
    assert (word["answers"], word["unanswered"]) == (8, 0)

    del files[0]["answers"]["00"]
    files[1]["answers"]["01"] = {"answer": None, "seconds": 3.0}
    files[2]["answers"]["02"]["answer"] = ""  # "I can't go on" is an answer
    files[2]["finished"] = ""
    files[3]["finished"] = None
    *_, scores = run(folder, key, files, capsys)
    word = scores["levels"][0]
    assert (word["answers"], word["unanswered"]) == (6, 2)
    assert word["accuracy"][0] == pytest.approx(4 / 6, abs=1e-6)
    assert scores["raters"]["unfinished"] == ["03", "04"]


@pytest.mark.parametrize(
    "expected, answer, passes",
    [
        ({"answer": "17"}, {"answer": "17.0"}, True),
        ({"answer": "17"}, {"answer": r"\boxed{17}"}, True),
        ({"answer": "17"}, {"answer": ""}, False),
        ({"rating": 4}, {"rating": 3}, False),
        ({"right": False}, {"right": False}, True),
        ({"right": False}, {"right": True}, False),
        ({"rating": 4}, {"rating": None}, True),  # not answered
        ({"rating": 4}, None, True),
    ],
)
def test_who_fails_an_attention_check_is_left_out_and_counted(
    by_hand, capsys, expected, answer, passes
):
    folder, key, files = by_hand
    key["raters"]["02"][-1]["expected"] = expected
    files[1]["answers"]["07"] = answer
    if answer is None:
        del files[1]["answers"]["07"]
    printed, _, scores = run(folder, key, files, capsys)
    assert scores["raters"]["failed"] == ([] if passes else ["02"])
    assert len(scores["raters"]["counted"]) == 3 + passes == scores["differences"][0]["raters"]
    failed = "0" if passes else "1 (02)"
    assert f"attention checks that they answered: {failed}" in printed


def test_who_withdrew_is_left_out_and_counted_whatever_an_earlier_file_says(by_hand, capsys):
    folder, key, files = by_hand
    paths = write_study(folder, key, files[:3])
    later = files[2] | {"withdrawn": True, "answers": {}, "finished": None}
    (folder / "later.json").write_text(json.dumps(later))
    score.main([str(folder), *paths, str(folder / "later.json")])
    printed = capsys.readouterr()
    assert "left out, as they withdrew: 1 (03)" in printed.out
    assert "raters counted: 2" in printed.out
    assert "rater 03 is in" in printed.err
    assert "later.json is taken: a withdrawal" in printed.err


@pytest.mark.parametrize("names", [["a.json", "b.json"], ["b.json", "a.json"]])
@pytest.mark.parametrize(
    "which, taken",
    [
        ("same", "all the same, counted once"),
        ("answers", "a.json is taken"),
        ("finished", "b.json is taken"),
    ],
)
def test_a_rater_who_is_given_twice_counts_once(by_hand, capsys, which, taken, names):
    folder, key, files = by_hand
    twin = copy.deepcopy(files[0])
    if which == "answers":
        twin["answers"].pop("01")
        twin["finished"] = "2027-01-01T00:00:00Z"
    elif which == "finished":
        twin["answers"]["01"]["answer"] = "2"
        twin["finished"] = "2026-01-02T10:00:00.001Z"
    (folder / "a.json").write_text(json.dumps(files[0]))
    (folder / "b.json").write_text(json.dumps(twin))
    copies = [str(folder / name) for name in names]
    score.main([str(folder), *copies, *write_study(folder, key, files[1:])])
    said = capsys.readouterr().err
    scores = json.loads((folder / "scores.json").read_text())
    assert said.count("rater 01 is in") == 1 and taken in said
    assert scores["raters"]["counted"] == ["01", "02", "03", "04"]
    solo = scores["levels"][1]
    assert solo["answers"] == 8
    assert solo["accuracy"][0] == (0.125 if which == "finished" else 0.25)


# ---- Files that are damaged or mixed up ----------------------------------------------------------

BAD = [
    ("{", "no JSON"),
    ("[" * 100_000, "no JSON"),
    ("\x00\ufffe", "no JSON"),
    ("[]", "isn't what a rater's page saves"),
    ({"format": "other"}, "isn't what a rater's page saves"),
    ({"version": 2}, "another version"),
    ({"study": "other"}, "of study 'other', not 'hand'"),
    ({"study": None}, "of study None"),
    ({"rater": "99"}, "no rater '99'"),
    ({"rater": ["01"]}, "no rater ['01']"),
    ({"withdrawn": "no"}, "`withdrawn`"),
    ({"finished": "yesterday"}, "`finished` is 'yesterday'"),
    ({"finished": 5}, "`finished` is 5"),
    ({"answers": []}, "`answers` is no table"),
    ({"answers": {"77": {"rating": 1}}}, "no item 77"),
    ({"answers": {"00": "1/2"}}, "item 00 is no table"),
    ({"answers": {"00": {"answer": 5}}}, "item 00: answer is 5"),
    ({"answers": {"00": {"working": []}}}, "working is []"),
    ({"answers": {"04": {"rating": 6}}}, "rating is 6"),
    ({"answers": {"04": {"rating": True}}}, "rating is True"),
    ({"answers": {"04": {"rating": 2.5}}}, "rating is 2.5"),
    ({"answers": {"04": {"rating": "4"}}}, "rating is '4'"),
    ({"answers": {"00": {"right": 1}}}, "right is 1"),
    ({"answers": {"00": {"sure": 5}}}, "sure is 5"),
    ({"answers": {"00": {"seconds": -1}}}, "seconds is -1"),
    ({"answers": {"00": {"seconds": math.nan}}}, "seconds is nan"),
    ({"answers": {"00": {"hidden": math.inf}}}, "hidden is inf"),
    ({"answers": {"00": {"seconds": 10**400}}}, "seconds is 1000"),
    ({"answers": {"04": {"stopped": 1}}}, "stopped is 1"),
]


@pytest.mark.parametrize("bad, error", BAD)
def test_a_bad_file_is_one_line_and_the_rest_is_scored(by_hand, capsys, bad, error):
    folder, key, files = by_hand
    path = folder / "bad.json"
    path.write_text(bad if isinstance(bad, str) else json.dumps(files[3] | bad))
    good = write_study(folder, key, files[:3])
    score.main([str(folder), *good, str(path), f"--figure={folder / 'f.png'}"])
    printed = capsys.readouterr()
    lines = re.findall(r"^left out: .*bad.json: .*$", printed.err, re.MULTILINE)
    assert len(lines) == 1 and error in printed.err
    assert "raters counted: 3" in printed.out


def failing(words: list, capsys) -> str:
    with pytest.raises(SystemExit) as end:
        score.main([str(word) for word in words])
    assert end.value.code == 2
    return capsys.readouterr().err


def test_without_a_file_or_a_rater_that_counts_a_line_says_what_to_do(by_hand, capsys):
    folder, key, files = by_hand
    write_study(folder, key, files)
    empty = folder / "empty"
    empty.mkdir()
    said = failing([folder, folder / "absent.json", empty, folder / "key.json"], capsys)
    assert said.count("left out: ") == 3
    assert "error: no file has answers to study 'hand'; give those" in said
    files[0]["withdrawn"] = True
    files[1]["answers"]["07"] = {"rating": 1}
    said = failing([folder, *write_study(folder, key, files)[:2]], capsys)
    assert "no rater is left to score: 1 withdrew, 1 failed an attention check; collect" in said
    assert "see --help" in failing([folder], capsys)


@pytest.mark.parametrize(
    "text, error",
    [
        (None, "can't be read (No such file or directory); give the directory that make wrote"),
        ("{", "isn't what make wrote"),
        ("[]", "isn't what make wrote"),
        ({"tasks": ["sing"]}, "isn't what make wrote"),
        ({"raters": {"01": [{"id": "1", "kind": "item", "task": "rate"}]}}, "rater 01, item 1"),
        ({"raters": {"01": [{"kind": "other"}]}}, "isn't what make wrote"),
        ({"raters": None}, "isn't what make wrote"),
    ],
)
def test_a_bad_key_is_one_line(by_hand, capsys, text, error):
    folder, key, files = by_hand
    paths = write_study(folder, key, files)
    path = folder / "key.json"
    if text is None:
        path.unlink()
    elif isinstance(text, str):
        path.write_text(text)
    else:
        path.write_text(json.dumps(key | text))
    said = failing([folder, *paths], capsys)
    assert error in said and len(said.splitlines()) == 1


def test_where_the_numbers_and_the_figure_go(by_hand, capsys, monkeypatch, drawn):
    folder, key, files = by_hand
    words = [str(folder), *write_study(folder, key, files)]
    score.main([*words, f"--json={folder / 'n.json'}", f"--figure={folder / 'f.png'}"])
    assert (folder / "n.json").exists() and (folder / "f.png").exists()
    assert not (folder / "scores.json").exists()
    said = failing([*words, f"--json={folder / 'no' / 'n.json'}"], capsys)
    assert "give another place with --json" in said
    said = failing([*words, f"--figure={folder / 'f.odd'}"], capsys)
    assert "give the path of a .png or .svg" in said
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    score.main(words)
    assert "no figure: pip install matplotlib" in capsys.readouterr().err
    said = failing([*words, f"--figure={folder / 'f.png'}"], capsys)
    assert "--figure is drawn by matplotlib, which isn't installed" in said


def test_the_answers_may_be_a_directory_of_them(by_hand, capsys):
    folder, key, files = by_hand
    words = [str(folder), *write_study(folder, key, files)]
    score.main(words)
    by_file = capsys.readouterr().out
    inside = folder / "sent"
    inside.mkdir()
    for path in words[1:]:
        Path(path).rename(inside / Path(path).name)
    score.main([str(folder), str(inside)])
    assert capsys.readouterr().out == by_file


def test_a_study_of_one_task_and_of_three_arms(capsys, tmp_path):
    arms = {"word": 1.0, "solo": 0.0, "before": -1.0}
    key, files = simulate(0, raters=9, items=6, arms=arms)
    *_, scores = run(tmp_path, key, files, capsys)
    assert len(scores["levels"]) == len(scores["differences"]) == 9
    levels = {(level["task"], level["arm"]): level for level in scores["levels"]}
    for found in scores["differences"]:  # nothing is missing, so the design is balanced
        first, second = (levels[found["task"], arm] for arm in found["arms"])
        measure = found["measure"]
        difference = first[measure][0] - second[measure][0]
        assert found["difference"][0] == pytest.approx(difference, abs=2e-6)
        ratio = first["seconds"][0] / second["seconds"][0]
        assert found["seconds"][0] == pytest.approx(ratio, abs=1e-5)
        if found["arms"] == ["word", "before"]:  # an advantage of 2 makes raters faster
            assert found["seconds"][2] < 1
    alone = analysed(key | {"tasks": ["check"]}, files)
    assert alone["alpha"] is None and alone["ratings"] == 0 and len(alone["levels"]) == 3


def test_no_rater_left_is_an_error_of_the_user():
    key, files = simulate(0, raters=3, items=3)
    withdrawn = [file | {"withdrawn": True} for file in files]
    with pytest.raises(UserError, match="3 withdrew"):
        analysed(key, withdrawn)
