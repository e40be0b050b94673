"""Comparing variants over the same seeds: intervals, exact tests, ranks. Numbers in, numbers out.

Differences are paired: each seed's run of a variant against the same seed's run of the baseline. An undefined number,
such as an interval over one seed, is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.05
MOST_SEEDS = 40
TIE = 1 + 1e-9
"""Sums that differ by less are equal: the order of summation must not decide a test."""


def t_interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float, float]:
    """Mean, and the ends of its (1 - level) confidence interval by Student's t; NaN ends for fewer than two values."""
    from scipy.stats import t

    sample = np.asarray(values, dtype=float)
    mean = float(sample.mean()) if len(sample) else math.nan
    if len(sample) < 2:
        return mean, math.nan, math.nan
    half = float(t.ppf(1 - level / 2, len(sample) - 1) * sample.std(ddof=1) / math.sqrt(len(sample)))
    return mean, mean - half, mean + half


def log_error(accuracy: ArrayLike, num_items: ArrayLike) -> NDArray[np.float64]:
    """Logarithm of the error rate; no error among n items counts as half an error, since its logarithm must exist."""
    count = np.asarray(num_items, dtype=float)
    logs: NDArray[np.float64] = np.log(np.maximum(1 - np.asarray(accuracy, dtype=float), 0.5 / count))
    return logs


def sign_flip_p(differences: Sequence[float]) -> float:
    """Exact two-sided p of the sign-flip test: were both variants alike, each difference's sign would be a coin's.

    The share of all 2^n sign patterns whose sum lies at least as far from zero as the one that was seen (Fisher 1935).
    They are counted without being listed: the sums of one half of the differences are looked up in those of the other.
    """
    values = np.asarray(differences, dtype=float)
    if not len(values):
        return math.nan
    if len(values) > MOST_SEEDS:
        raise ValueError(f"The exact test takes at most {MOST_SEEDS} seeds, but there are {len(values)}.")
    bound = abs(values.sum()) / TIE
    if bound == 0:
        return 1.0
    left = signed_sums(values[: len(values) // 2])
    right = np.sort(signed_sums(values[len(values) // 2 :]))
    above = len(right) - np.searchsorted(right, bound - left, side="left")
    below = np.searchsorted(right, -bound - left, side="right")
    return float((above.sum() + below.sum()) / 2 ** len(values))


def signed_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums of the values under all 2^n patterns of signs."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for their number (Holm 1979): the least is multiplied by n, the next by n - 1, and so on."""
    adjusted, worst = [math.nan] * len(p_values), 0.0
    order = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    for place, (p, index) in enumerate(order):
        worst = max(worst, min(1.0, (len(order) - place) * p))
        adjusted[index] = worst
    return adjusted


def least_p(num_seeds: int, num_comparisons: int) -> float:
    """The smallest p value that Holm's correction can leave when all seeds agree: n comparisons times 2 / 2^seeds."""
    return min(1.0, num_comparisons * 2.0 ** (1 - num_seeds))


def fewest_seeds(num_comparisons: int, level: float = LEVEL) -> int:
    """The fewest seeds with which a difference could be found at this level."""
    return next(n for n in range(1, 64) if least_p(n, num_comparisons) <= level)


def mean_ranks(table: Sequence[Sequence[float]]) -> list[float]:
    """For a table (seeds by variants) of accuracies, each variant's mean rank over the seeds: 1 is best, ties share."""
    from scipy.stats import rankdata

    values = np.asarray(table, dtype=float)
    if not len(values):
        return []
    ranks: NDArray[np.float64] = rankdata(-values, axis=1)
    return [float(rank) for rank in ranks.mean(0)]


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's rank correlation; NaN where one side is constant, not finite, or has fewer than three values."""
    from scipy.stats import spearmanr

    pairs = np.asarray([one, other], dtype=float)
    if pairs.shape[1] < 3 or not np.isfinite(pairs).all() or (pairs.min(1) == pairs.max(1)).any():
        return math.nan
    return float(spearmanr(pairs[0], pairs[1]).statistic)
