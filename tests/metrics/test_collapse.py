"""Collapse measures against explicit pairs and known spectra."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from domainmetric.errors import DataError
from domainmetric.geometry import normalize
from domainmetric.metrics.collapse import effective_rank, mean_cosine


def sphere(num: int, dim: int, *, seed: int = 0) -> Tensor:
    return normalize(torch.randn(num, dim, generator=torch.Generator().manual_seed(seed)))


def test_mean_cosine_equals_all_pairs() -> None:
    z = sphere(20, 5) + 0.3
    pairs = [float(torch.cosine_similarity(z[i], z[j], dim=0)) for i in range(20) for j in range(20) if i != j]
    assert mean_cosine(z) == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)


def test_mean_cosine_at_its_ends() -> None:
    assert mean_cosine(torch.ones(10, 3)) == pytest.approx(1)
    assert mean_cosine(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])) == pytest.approx(-1)
    assert mean_cosine(torch.eye(7)) == pytest.approx(0)


def test_effective_rank_counts_equal_directions() -> None:
    """A regular simplex of r + 1 points, and its repetitions, spread over r directions alike."""
    for r in (1, 3, 6):
        assert effective_rank(torch.eye(r + 1)) == pytest.approx(r)
        assert effective_rank(torch.eye(r + 1).repeat(4, 1) * 7 + 2) == pytest.approx(r)


def test_effective_rank_equals_its_definition() -> None:
    z = sphere(50, 6) * torch.tensor([5.0, 3.0, 1.0, 1.0, 0.5, 0.1])
    singular = torch.linalg.svdvals((z - z.mean(0)).double())
    terms = [float(s / singular.sum()) for s in singular]
    assert effective_rank(z) == pytest.approx(float(torch.tensor([t**-t for t in terms]).prod()), rel=1e-5)


def test_effective_rank_of_equal_rows_is_zero() -> None:
    assert effective_rank(sphere(1, 16).repeat(33, 1)) == 0.0
    rounded = torch.full((1000, 3), 0.1, dtype=torch.float64)
    assert (rounded - rounded.mean(0)).abs().max() > 0, "the mean is not quite any of them"
    assert effective_rank(rounded) == 0.0


@pytest.mark.parametrize("measure", [mean_cosine, effective_rank])
def test_one_row_or_none_is_refused(measure: Callable[[Tensor], float]) -> None:
    for num in (0, 1):
        with pytest.raises(DataError, match="at least 2"):
            measure(torch.ones(num, 4))
