"""Losses on pairs: on the distances of each anchor to all of its positives and all of its negatives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.geometry import Distance
from domainmetric.losses.base import LossValue, MetricLoss
from domainmetric.losses.known import Known, count
from domainmetric.types import Pairs, Triplets


class PairSums(NamedTuple):
    """A loss, the pairs that entered it and those with a gradient, and this gradient at the distances."""

    value: Float[Tensor, ""]
    used: Tensor
    active: Tensor
    gradient: Float[Tensor, "a b"]


@dataclass(frozen=True, kw_only=True)
class PairLoss(MetricLoss, ABC):
    """A loss on anchor-positive and anchor-negative pairs, of which it counts (`used`) those that enter it.

    Triplets that are given restrict the pairs to those that they name, each of them once, however often it is named.
    Where no anchor has both a positive and a negative, the loss is zero.
    """

    @property
    @abstractmethod
    def measure(self) -> Distance:
        """The distance that the loss is of."""

    @abstractmethod
    def of_distances(self, distances: Float[Tensor, "a b"], pairs: Pairs) -> PairSums:
        """The loss of all pairs, given their distances without a graph."""

    def of(self, pairs: Pairs, triplets: Triplets | None = None) -> LossValue:
        if triplets is not None:
            pairs = named(pairs, triplets)
        known = Known(self.measure, pairs)
        distances = known.distances()
        if not bool((pairs.positive.any(1) & pairs.negative.any(1)).any()):
            zero = distances.new_zeros(())
            return LossValue(known.tie(zero, torch.zeros_like(distances)), zero, zero)
        value, used, active, gradient = self.of_distances(distances, pairs)
        dtype = distances.dtype
        return LossValue(known.tie(value.to(dtype), gradient), used.to(dtype), active.to(dtype))


def named(pairs: Pairs, triplets: Triplets) -> Pairs:
    """Only the pairs that triplets name: anchor and positive, anchor and negative."""
    positive, negative = torch.zeros_like(pairs.positive), torch.zeros_like(pairs.negative)
    positive[triplets.anchor, triplets.positive] = True
    negative[triplets.anchor, triplets.negative] = True
    return replace(pairs, positive=positive, negative=negative)


def num_pairs(pairs: Pairs) -> Int64[Tensor, " a"]:
    """How many pairs each anchor has."""
    return count(pairs.positive) + count(pairs.negative)
