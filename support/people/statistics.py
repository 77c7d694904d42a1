"""The statistics of a study: intervals over raters and problems, the power of a design, agreement of ratings.

Other raters and other problems would have given other numbers, so both are drawn. The variance of an estimate is
Cameron, Gelbach & Miller's (2011) for two-way clusters. Of each answer's share u in the error of the estimate,

    V_c = scale_c · Σ over the clusters of (the sum of u in the cluster)²,   c: raters, problems, or single answers
    V = V_raters + V_problems - V_answers, and at least V_answers

V_c is the variance that resampling clusters with replacement converges to, in closed form: no draws and no seed.
scale_c is n/(n - 1) for a mean; for any estimate it makes V_c unbiased where answers vary independently. What the
answers of a rater or to a problem have in common adds variance, so V is V_answers or more. To ask for the larger of
V_raters and V_problems too would count chance twice, and the product of two bootstraps would count V_answers thrice. A
difference between arms is taken within raters and problems, by least squares: else their own levels would add noise,
the same for all raters with one order of arms, so that no variance between few raters would show it.

Student's t has Satterthwaite's degrees of freedom, V² / (Σ (V_c² - V_answers²)₊ / d_c + V_answers² / d), the sum over
raters and problems: V_c varies by chance about as much as it is larger than V_answers. Of the rules tried this one came
nearest to 95% in simulated studies. With min(raters, problems) - 1 degrees intervals were too wide, up to 99.5%.
"""

from dataclasses import dataclass

import numpy as np

FEWEST = 3  # raters, and problems, that an interval needs
SPREAD = 0.5  # logits, the standard deviation of raters' skills in `power`: 70% is 59% or 79% for a rater one off
CLIP = 0.02  # accuracies are taken to be so far from 0 and 1 at least: a machine's few tries don't show certainty
STEEPEST = 6.0  # logits, the largest advantage that `smallest_difference` tries


@dataclass
class Estimator:
    """An estimate that is linear in n answers, and its interval: who answered what, before it is known how."""

    weights: np.ndarray  # (n,) the estimate is weights · values
    model: np.ndarray  # (n, k) values are model · coefficients + errors
    inverse: np.ndarray  # (k, n) its pseudo-inverse
    clusters: list[
        np.ndarray
    ]  # (n, R) and (n, P): 1 where an answer is of this rater, of this problem
    lost: int  # degrees of freedom that the estimate takes from the raters, and from the problems

    def __post_init__(self):
        a, b, total = (
            self.weights[:, None] * self.model,
            (self.weights * self.inverse).T,
            self.weights @ self.weights,
        )
        left = [total - np.sum((c.T @ a) * (c.T @ b)) for c in self.clusters] + [
            total - np.sum(a * b)
        ]
        counts = [c.shape[1] for c in self.clusters]
        with np.errstate(divide="ignore", invalid="ignore"):
            self.scales = np.where(
                np.array(left) > 1e-9 * total, total / np.array(left), np.nan
            )  # (3,)
        self.scales[:] = self.scales if min(counts) >= FEWEST else np.nan
        free = [count - self.lost for count in counts] + [
            len(a) - np.sum(self.model * self.inverse.T)
        ]
        self.freedom = np.maximum(free, 1)  # (3,)

    def variances(self, values: np.ndarray) -> np.ndarray:
        """(..., 3) V_raters, V_problems and V_answers of the estimate from (..., n) values."""
        share = self.weights * (values - values @ self.inverse.T @ self.model.T)
        parts = [np.sum((share @ c) ** 2, -1) for c in self.clusters] + [np.sum(share**2, -1)]
        return np.stack(parts, -1) * self.scales

    def __call__(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(estimate, half its 95% interval) of (..., n) values, (...) each. NaN: too few raters or problems, or all
        answers alike, which shows no variance but doesn't show that there is none."""
        values = np.asarray(values, dtype=float)
        parts = self.variances(values)
        answers = parts[..., 2:]
        variance = np.maximum(parts[..., 0] + parts[..., 1] - answers[..., 0], answers[..., 0])
        known = variance > 1e-18  # rounding leaves some 1e-32
        spread = np.maximum(parts**2 - answers**2, 0)
        spread[..., 2] = answers[..., 0] ** 2
        freedom = np.where(known, variance, 1) ** 2 / np.where(
            known, np.sum(spread / self.freedom, -1), 1
        )
        return values @ self.weights, np.where(
            known, student_t(freedom) * np.sqrt(variance), np.nan
        )[()]


def mean(raters: np.ndarray, problems: np.ndarray) -> Estimator:
    """Of the mean of n answers, by raters (n,) to problems (n,), which may be any labels."""
    return _estimator(np.ones(1), [np.ones((len(raters), 1))], raters, problems, 1)


def difference(
    arms: np.ndarray, raters: np.ndarray, problems: np.ndarray, pair: tuple
) -> Estimator:
    """Of arm pair[0] minus arm pair[1], within raters and problems. Answers to other arms tell these more exactly.

    All NaN where raters and problems leave no answers to compare.
    """
    names, own = np.unique(arms), [_indicator(arms), _indicator(raters), _indicator(problems)]
    contrast = np.zeros(sum(part.shape[1] for part in own))
    contrast[: len(names)] = 1.0 * (names == pair[0]) - (names == pair[1])
    # Raters fall into as many groups as there are arms, by the order of a Latin square; each group's level is estimated.
    return _estimator(
        contrast if set(pair) <= set(names) else contrast * np.nan,
        own,
        raters,
        problems,
        len(names),
    )


def _indicator(labels: np.ndarray) -> np.ndarray:
    """(n, different labels), 1 where the row has the label."""
    values, place = np.unique(labels, return_inverse=True)
    return np.eye(len(values))[place]


def _estimator(contrast, columns, raters, problems, lost) -> Estimator:
    model = np.hstack(columns)
    inverse = np.linalg.pinv(model, rcond=1e-10)
    weights = contrast @ inverse
    weights = (
        weights if np.allclose(weights @ model, contrast) else weights * np.nan
    )  # else it can't be estimated
    return Estimator(weights, model, inverse, [_indicator(raters), _indicator(problems)], lost)


def student_t(freedom: np.ndarray) -> np.ndarray:
    """t with P(|T| ≤ t) = 95%, for any degrees of freedom from 1 to 1000, to 4 digits.

    T is √freedom times the tangent of an angle whose density is in proportion to cos(angle)^(freedom - 1).
    """
    freedom = np.clip(np.asarray(freedom, dtype=float), 1, 1000)[..., None]
    step = np.pi / 2 / 1000
    share = np.cumsum(np.cos(step * (np.arange(1000) + 0.5)) ** (freedom - 1), -1)
    share /= share[..., -1:]  # of the angles up to 1, 2 … steps
    last = np.sum(share < 0.95, -1, keepdims=True)
    above, below = (np.take_along_axis(share, i, -1) for i in (last, last - 1))
    return (
        np.sqrt(freedom[..., 0]) * np.tan(step * (last + (0.95 - below) / (above - below)))[..., 0]
    )


def latin_square(
    raters: int, problems: int, arms: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(arms, raters, problems), (raters · problems,) each: rater i reads problem j in arm (i + j) modulo arms."""
    i, j = np.divmod(np.arange(raters * problems), problems)
    return (i + j) % arms, i, j


def power(accuracies, design, pair=(0, 1), shift=0.0, spread=SPREAD, studies=2000, seed=0) -> float:
    """The probability that the interval of pair[0] - pair[1] excludes 0, by simulation.

    accuracies (A, P) are of arms and problems for a rater of middling skill; skills move their logits, normally with
    standard deviation `spread`, in all arms alike. `shift` is added to the logits of arm pair[0]. `design` is (arms,
    raters, problems) of each answer, numbers from 0, as latin_square gives it; if it has fewer problems than P, each
    study draws its own among them. ValueError if it has more. The standard error is at most 0.011 with 2000 studies.
    """
    (arms, raters, problems), logits = design, _logits(accuracies)
    count, rng = logits.shape[1], np.random.default_rng(seed)
    if max(problems) >= count:
        raise ValueError(
            f"the design has {max(problems) + 1} problems, and there are accuracies of {count}"
        )
    drawn = np.tile(np.arange(count), (studies, 1))
    drawn = drawn if max(problems) + 1 == count else rng.permuted(drawn, axis=1)
    skill = rng.normal(0, spread, (studies, max(raters) + 1))
    chance = _chance(
        logits[arms, drawn[:, problems]] + shift * (arms == pair[0]) + skill[:, raters]
    )
    value, half = difference(*design, pair)(rng.random(chance.shape) < chance)
    return float(np.mean(np.abs(value) > half))


def smallest_difference(
    accuracies, design, pair=(0, 1), target=0.8, spread=SPREAD, **options
) -> float | None:
    """The least advantage of pair[0], a difference of mean accuracies, that `power` finds with probability `target`.

    The logits of its problems are moved together, so problems stay as different as they are. None if no shift will do.
    """
    nodes, heights = np.polynomial.hermite_e.hermegauss(21)
    logits = _logits(accuracies)[list(pair)]  # (2, P)

    def advantage(shift: float) -> float:
        chance = (
            _chance(logits[..., None] + np.array([shift, 0])[:, None, None] + spread * nodes)
            @ heights
        )
        return float(np.subtract(*chance.mean(1)) / heights.sum())

    def found(shift: float) -> float:
        return power(accuracies, design, pair, shift, spread, **options)

    equal = _bisect(advantage, 0.0, -20.0, 20.0)
    if found(equal + STEEPEST) < target:
        return None
    return advantage(_bisect(found, target, equal, equal + STEEPEST, times=10))


def _bisect(rising, target: float, low: float, high: float, times: int = 40) -> float:
    for _ in range(times):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) >= target else (middle, high)
    return high


def _logits(accuracies) -> np.ndarray:
    chance = np.clip(np.asarray(accuracies, dtype=float), CLIP, 1 - CLIP)
    return np.log(chance / (1 - chance))


def _chance(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def krippendorff_alpha(ratings: np.ndarray, level: str = "ordinal") -> float:
    """Krippendorff's alpha of ratings (raters, items), NaN where missing: 1 is agreement, 0 chance.

    NaN where it is undefined: no item has two ratings, or all of these are the same.
    """
    values, shared = _scaled(ratings, level)
    if len(np.unique(values[:, shared][~np.isnan(values[:, shared])])) < 2:
        return np.nan
    values = values[:, shared]
    counts, n = np.sum(~np.isnan(values), 0), np.sum(~np.isnan(values))
    within = np.sum(counts / (counts - 1) * np.nansum((values - np.nanmean(values, 0)) ** 2, 0))
    return float(1 - within * (n - 1) / n / np.nansum((values - np.nanmean(values)) ** 2))


def outsiders(ratings: np.ndarray, fewest: int = 5) -> list[int]:
    """The raters who agree with nobody: rows of (raters, items), NaN where missing.

    A rater's mean disagreement, the squared distance to the others' ratings of an item, isn't below that of the same
    ratings in random order. As squares cancel, this says: own ratings and the others' means don't vary together. Those
    with fewer than `fewest` ratings of items that others rated are never named.
    """
    values, _ = _scaled(ratings, "ordinal")
    found = []
    for i, own in enumerate(values):
        others = np.delete(values, i, 0)
        both = ~np.isnan(own) & np.any(~np.isnan(others), 0)
        if both.sum() >= fewest:
            theirs = np.nanmean(others[:, both], 0)
            if (own[both] - own[both].mean()) @ (theirs - theirs.mean()) <= 1e-9:
                found.append(i)
    return found


def _scaled(ratings: np.ndarray, level: str) -> tuple[np.ndarray, np.ndarray]:
    """(values, which items have two ratings): Krippendorff's ordinal distance is that of middle ranks."""
    ratings = np.array(ratings, dtype=float)
    shared = np.sum(~np.isnan(ratings), 0) >= 2
    if level == "ordinal":
        pool = np.sort(ratings[:, shared][~np.isnan(ratings[:, shared])])
        ranks = (
            np.searchsorted(pool, ratings, "left") + np.searchsorted(pool, ratings, "right")
        ) / 2
        ratings = np.where(np.isnan(ratings), np.nan, ranks)
    return ratings, shared
