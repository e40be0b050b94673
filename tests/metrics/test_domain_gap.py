"""Laws of the domain gaps: zero for equal sets, growing with the shift, bounded, reproducible."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from domainmetric.errors import DataError
from domainmetric.geometry import normalize
from domainmetric.metrics.domain_gap import MAX_ITEMS, mmd, proxy_a_distance
from domainmetric.statistics import mmd2

GAPS = [mmd, partial(proxy_a_distance, seed=0)]


def sample(num: int, *, seed: int, shift: float = 0.0) -> Tensor:
    z = torch.randn(num, 8, generator=torch.Generator().manual_seed(seed))
    z[:, 0] += shift
    return normalize(z)


@pytest.mark.parametrize("gap", GAPS)
def test_grows_with_the_shift(gap: Callable[[Tensor, Tensor], float]) -> None:
    values = [gap(sample(400, seed=1), sample(300, seed=2, shift=shift)) for shift in (0.0, 1.0, 2.0, 8.0)]
    assert values == sorted(values) and values[0] < 0.3 < values[-1]


@pytest.mark.parametrize("gap", GAPS)
def test_one_point_has_no_gap(gap: Callable[[Tensor, Tensor], float]) -> None:
    z = torch.ones(20, 4) / 2
    assert gap(z, z.clone()) == pytest.approx(0, abs=1e-3)


def test_mmd_of_equal_sets_is_zero_even_beyond_the_limit() -> None:
    z = sample(MAX_ITEMS + 100, seed=3)
    assert mmd(z, z) == pytest.approx(0, abs=2e-3)


def test_mmd_is_the_root_of_the_shared_statistic() -> None:
    x, y = sample(60, seed=4), sample(50, seed=5, shift=2.0)
    assert mmd(x, y) == pytest.approx(float(mmd2(x, y)) ** 0.5, rel=1e-4)
    assert mmd(x[:1], y[:1]) > 0


def test_proxy_a_distance_of_separate_domains_is_two_and_of_equal_ones_near_zero() -> None:
    assert proxy_a_distance(sample(100, seed=6, shift=50.0), sample(80, seed=7, shift=-50.0), seed=0) == 2.0
    assert proxy_a_distance(sample(1500, seed=8), sample(1500, seed=9), seed=0) < 0.15


def test_proxy_a_distance_separates_what_differs_near_collapse() -> None:
    """Scale is no matter: two domains a few ten-thousandths apart are still told apart."""
    x, y = 1e-4 * sample(100, seed=10, shift=-50.0), 1e-4 * sample(100, seed=11, shift=50.0)
    assert proxy_a_distance(x + 1, y + 1, seed=0) == 2.0


def test_proxy_a_distance_sees_a_small_column_among_large_ones() -> None:
    """Columns are standardized: one of a thousandth of the others' size is enough to tell the domains apart."""
    x, y = sample(100, seed=14), sample(100, seed=15)
    x[:, 0], y[:, 0] = -1e-3, 1e-3
    assert proxy_a_distance(x, y, seed=0) == 2.0


def test_same_seed_same_value_and_no_global_state() -> None:
    x, y = sample(200, seed=12), sample(200, seed=13, shift=0.7)
    state = torch.get_rng_state()
    assert proxy_a_distance(x, y, seed=3) == proxy_a_distance(x, y, seed=3)
    assert len({proxy_a_distance(x, y, seed=seed) for seed in range(5)}) > 1
    assert torch.equal(torch.get_rng_state(), state)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(DataError, match="Target embeddings must have at least 2"):
        proxy_a_distance(sample(5, seed=0), sample(1, seed=1), seed=0)
    with pytest.raises(DataError, match="Source embeddings must have at least 1"):
        mmd(sample(5, seed=0)[:0], sample(5, seed=1))
