"""Intervals, exact tests, corrections and ranks, against slow references and scipy's own."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from domainmetric.ablation.comparison import (
    MOST_SEEDS,
    fewest_seeds,
    holm,
    least_p,
    log_error,
    mean_ranks,
    sign_flip_p,
    spearman,
    t_interval,
)


def sample(count: int, seed: int) -> list[float]:
    return [float(x) for x in np.random.default_rng(seed).normal(0.4, 1, count)]


def p_by_enumeration(differences: list[float]) -> float:
    """Every pattern of signs, one after the other."""
    seen, far = abs(sum(differences)), 0
    patterns = list(itertools.product((1, -1), repeat=len(differences)))
    for signs in patterns:
        total = 0.0
        for sign, difference in zip(signs, differences, strict=True):
            total += sign * difference
        far += abs(total) >= seen - 1e-9
    return far / len(patterns)


@pytest.mark.parametrize("count", range(1, 11))
def test_sign_flip_by_enumeration(count: int) -> None:
    for seed in range(5):
        assert sign_flip_p(sample(count, seed)) == pytest.approx(p_by_enumeration(sample(count, seed)), abs=1e-12)


@pytest.mark.parametrize("differences", [[1.0, 1.0, -1.0], [0.5, 0.0, 0.0, 0.25], [0.1] * 6, [0.3, -0.3]])
def test_sign_flip_with_ties_by_enumeration(differences: list[float]) -> None:
    assert sign_flip_p(differences) == pytest.approx(p_by_enumeration(differences), abs=1e-12)


def test_sign_flip_agrees_with_scipy() -> None:
    values = np.array(sample(9, 3))
    theirs = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(list(values)) == pytest.approx(theirs.pvalue)


def test_sign_flip_of_many_seeds_is_exact() -> None:
    assert sign_flip_p([1.0] * 30) == 2 / 2**30
    with pytest.raises(ValueError, match=f"at most {MOST_SEEDS} seeds, but there are 41"):
        sign_flip_p([1.0] * 41)


def test_sign_flip_without_a_difference() -> None:
    assert sign_flip_p([0.0, 0.0]) == 1.0
    assert math.isnan(sign_flip_p([]))


@pytest.mark.parametrize("count", [2, 3, 8])
def test_t_interval_agrees_with_scipy(count: int) -> None:
    values = sample(count, 1)
    low, high = stats.t.interval(0.95, count - 1, loc=np.mean(values), scale=stats.sem(values))
    assert t_interval(values) == pytest.approx((np.mean(values), low, high))


def test_t_interval_of_one_value_has_no_ends() -> None:
    mean, low, high = t_interval([3.0])
    assert mean == 3.0
    assert math.isnan(low) and math.isnan(high)
    assert t_interval([2.0, 2.0]) == (2.0, 2.0, 2.0)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3 x .01, then 2 x .03, then not below it
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    with_gap = holm([0.01, math.nan, 0.02])
    assert with_gap[0] == 0.02 and math.isnan(with_gap[1]) and with_gap[2] == 0.02
    assert holm([]) == []


def holm_by_its_definition(p_values: list[float], level: float) -> list[bool]:
    """Which hypotheses are rejected, step by step from the least p value."""
    rejected = [False] * len(p_values)
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[index] > level / (len(p_values) - place):
            break
        rejected[index] = True
    return rejected


def test_holm_rejects_what_the_stepwise_rule_rejects() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        p_values = [float(p) for p in rng.uniform(0, 0.06, 5)]
        assert [p <= 0.05 for p in holm(p_values)] == holm_by_its_definition(p_values, 0.05)


def test_what_five_and_eight_seeds_can_find() -> None:
    assert least_p(5, 1) == 0.0625
    assert [fewest_seeds(comparisons) for comparisons in (1, 2, 5, 9)] == [6, 7, 8, 9]
    for comparisons in (1, 2, 5, 9):
        fewest = fewest_seeds(comparisons)
        assert least_p(fewest, comparisons) <= 0.05 < least_p(fewest - 1, comparisons)
        best = holm([sign_flip_p([1.0] * fewest)] * comparisons)
        assert max(best) == pytest.approx(least_p(fewest, comparisons))


def test_log_error_of_a_perfect_run_counts_half_an_error() -> None:
    assert list(np.exp(log_error([0.9, 1.0], [100, 200]))) == pytest.approx([0.1, 0.0025])


def test_mean_ranks_share_ties() -> None:
    assert mean_ranks([[0.9, 0.8, 0.8], [0.7, 0.9, 0.8]]) == [2.0, 1.75, 2.25]
    assert mean_ranks([]) == []


def spearman_by_loops(one: list[float], other: list[float]) -> float:
    """Pearson's correlation of ranks, where equal values share the mean of their ranks."""

    def ranks(values: list[float]) -> list[float]:
        result = []
        for value in values:
            below = sum(v < value for v in values)
            result.append(below + (sum(v == value for v in values) + 1) / 2)
        return result

    a, b = ranks(one), ranks(other)
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    covariance = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    return covariance / math.sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))


def test_spearman_by_loops() -> None:
    one, other = [0.1, 0.4, 0.4, 0.9, 0.2], [3.0, 1.0, 5.0, 5.0, 2.0]
    assert spearman(one, other) == pytest.approx(spearman_by_loops(one, other))


@pytest.mark.parametrize(("one", "other"), [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, math.nan], [1, 2, 3])])
def test_spearman_where_it_is_undefined(one: list[float], other: list[float]) -> None:
    assert math.isnan(spearman(one, other))
