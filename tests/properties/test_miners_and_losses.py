"""What holds for every miner and every loss, whatever the embeddings, the labels and their numbers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from domainmetric.geometry import normalize
from domainmetric.losses.base import MetricLoss
from domainmetric.miners.base import Miner
from domainmetric.pairs import label_pairs
from tests.contracts.family import members, named
from tests.properties.looks import look
from tests.reference import listed

miners = pytest.mark.parametrize("miner", members(Miner), ids=named)
losses = pytest.mark.parametrize("loss", members(MetricLoss), ids=named)
labels = st.lists(st.integers(0, 3), min_size=1, max_size=14)
seeds = st.integers(0, 2**31)


def embedded(count: int, seed: int, *, twins: bool = True) -> Tensor:
    """Unit vectors, every third of them a copy of the one before where there are to be twins."""
    z = torch.randn(count, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if twins:
        z[2::3] = z[1::3][: len(z[2::3])]
    return normalize(z)


def turned(z: Tensor, seed: int) -> Tensor:
    """All vectors by one rotation (or reflection)."""
    matrix = torch.randn(z.shape[1], z.shape[1], generator=torch.Generator().manual_seed(seed), dtype=z.dtype)
    return normalize(z @ torch.linalg.qr(matrix).Q)


@miners
@look
@given(labels, seeds)
def test_every_triplet_has_a_positive_and_a_negative_and_no_item_is_its_own(
    miner: Miner, listing: list[int], seed: int
) -> None:
    y = torch.tensor(listing)
    pairs = label_pairs(embedded(len(y), seed), y)
    chosen = miner.select(pairs, torch.Generator().manual_seed(seed))
    assert (y[chosen.anchor] == y[chosen.positive]).all()
    assert (y[chosen.anchor] != y[chosen.negative]).all()
    assert (chosen.anchor != chosen.positive).all()
    again = miner.select(pairs, torch.Generator().manual_seed(seed))
    assert listed(chosen) == listed(again)


@losses
@look
@given(labels, seeds)
def test_a_loss_and_its_gradient_are_finite(loss: MetricLoss, listing: list[int], seed: int) -> None:
    y, z = torch.tensor(listing), embedded(len(listing), seed).requires_grad_()
    value = loss.of(label_pairs(z, y), None).value
    (gradient,) = torch.autograd.grad(value, z)
    assert value.isfinite() and value >= 0
    assert gradient.isfinite().all()


@losses
@look
@given(labels, seeds)
def test_no_rotation_and_no_name_of_a_class_changes_a_loss(loss: MetricLoss, listing: list[int], seed: int) -> None:
    y, z = torch.tensor(listing), embedded(len(listing), seed, twins=False)  # ties may be broken otherwise
    value = loss.of(label_pairs(z, y), None).value
    renamed = torch.tensor([7, 2, 9, 4])[y]
    for same in (loss.of(label_pairs(turned(z, seed), y), None), loss.of(label_pairs(z, renamed), None)):
        torch.testing.assert_close(same.value, value, rtol=1e-5, atol=1e-6)
