"""Losses in blocks: the same wherever a block ends, never larger than the pairs, and with one derivative only."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from domainmetric.errors import ConfigError
from domainmetric.geometry import Lp
from domainmetric.losses import known, triplet
from domainmetric.losses.base import MetricLoss
from domainmetric.pairs import label_pairs
from tests.losses.test_against_loops import called, losses
from tests.reference import labels, unit

ALL = pytest.mark.parametrize("loss", losses(), ids=called)


def value_and_gradients(loss: MetricLoss, n: int = 12, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    z, other = unit(0, n, dtype=dtype).requires_grad_(), unit(2, n // 2, dtype=dtype).requires_grad_()
    results = []
    for arguments in ((z, labels(1, n)), (z, labels(1, n), other, labels(3, n // 2))):
        value = loss.of(label_pairs(*arguments)).value
        leaves = [x for x in arguments if x.requires_grad]
        results += [value.detach(), *torch.autograd.grad(value, leaves)]
    return results


@ALL
def test_a_loss_is_the_same_wherever_its_blocks_end(loss: MetricLoss, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = value_and_gradients(loss)
    for elements in (1, 30):
        monkeypatch.setattr(known, "BLOCK_ELEMENTS", elements)
        monkeypatch.setattr(triplet, "CHUNK_ELEMENTS", elements)
        for one, two in zip(value_and_gradients(loss), whole, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)


class Sizes(TorchDispatchMode):
    """Notes the largest tensor that any operation makes."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        own = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.largest = max(self.largest, *(t.untyped_storage().nbytes() // t.element_size() for t in own), 0)
        return result


@contextmanager
def small_blocks(elements: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known, "BLOCK_ELEMENTS", elements)
        patch.setattr(triplet, "CHUNK_ELEMENTS", elements)
        yield


@pytest.mark.parametrize("loss", losses(mined=True), ids=called)
def test_nothing_is_larger_than_the_matrix_of_pairs(loss: MetricLoss) -> None:
    n = 32
    if "FromPairwise" in called(loss):
        loss = dataclasses.replace(loss, distance=Lp())  # a user's distance of two lists has lists of vectors' elements
    with small_blocks(4 * n), Sizes() as sizes:
        value_and_gradients(loss, n)
    assert n * n <= sizes.largest <= n * (n + 1)  # the triplets are about n * n * n / 4


@pytest.mark.parametrize("loss", losses(mined=True), ids=called)
def test_a_second_derivative_is_refused(loss: MetricLoss) -> None:
    z = unit(0, 8).requires_grad_()
    with pytest.raises(ConfigError, match="knows its first derivative only"):
        torch.autograd.grad(loss(z, labels(1, 8)), z, create_graph=True)


@ALL
def test_a_loss_without_gradients_is_the_same_number(loss: MetricLoss) -> None:
    z, y = unit(0, 12), labels(1, 12)
    with torch.no_grad():
        without = loss(z.requires_grad_(), y)
    assert not without.requires_grad
    torch.testing.assert_close(without, loss(z.detach(), y))
    torch.testing.assert_close(without, loss(z, y).detach())
