"""The margin triplet losses: with a hinge, exact over all triplets by sorting; and with a soft margin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from domainmetric.geometry import ChordSquared, Distance
from domainmetric.losses.base import LossValue
from domainmetric.losses.checks import check_positive
from domainmetric.losses.known import Known
from domainmetric.losses.sorting import hinge_sums
from domainmetric.losses.triplet import TripletLoss, mean
from domainmetric.types import Pairs


@dataclass(frozen=True, kw_only=True)
class HingeTriplet(TripletLoss, ABC):
    """A mean of max(0, d_ap - d_an + margin) over triplets."""

    margin: float
    """Margin, in units of `distance`."""
    distance: Distance = field(default_factory=ChordSquared)
    """How far apart two embeddings are."""

    def __post_init__(self) -> None:
        check_positive(self, "margin", self.margin)

    @property
    def measure(self) -> Distance:
        return self.distance

    @property
    @abstractmethod
    def beyond_positive(self) -> bool:
        """Whether, of all triplets, only those count whose negative is farther than the positive."""

    def of_distances(self, d_ap: Float[Tensor, "*#s"], d_an: Float[Tensor, "*#s"]) -> Float[Tensor, "*s"]:
        return (d_ap - d_an + self.margin).relu()

    def active(self, values: Float[Tensor, "*s"]) -> Bool[Tensor, "*s"]:
        return values > 0

    def of_all(self, pairs: Pairs) -> LossValue:
        if self.swaps:
            return super().of_all(pairs)
        known = Known(self.distance, pairs)
        return mean(known, hinge_sums(known.distances(), pairs, self.margin, beyond_positive=self.beyond_positive))


@dataclass(frozen=True, kw_only=True)
class MarginTriplet(HingeTriplet):
    """Mean of max(0, d_ap - d_an + margin) over the triplets (Weinberger & Saul 2009; Schroff et al. 2015).

    `torch.nn.TripletMarginLoss` on the triplets' vectors, with `distance=Lp()`. pytorch-metric-learning's loss of the
    same name averages over the triplets with a loss above zero instead: this value times used / active.
    """

    margin: float = 1.0
    """Margin, in units of `distance`."""
    swap: bool = False
    """Take the negative's distance to the positive where that is smaller (Balntas et al. 2016)."""

    @property
    def swaps(self) -> bool:
        return self.swap

    @property
    def beyond_positive(self) -> bool:
        return False


@dataclass(frozen=True, kw_only=True)
class SemiHardTriplet(HingeTriplet):
    """FaceNet's loss over every semi-hard triplet, d_ap < d_an <= d_ap + margin, without listing one of them.

    The same mean as `MarginTriplet` on the triplets of the miner `SemiHard`, where their list would not fit. Triplets
    that are given are taken as they are.
    """

    margin: float = 0.2
    """Margin, in units of `distance`."""

    @property
    def beyond_positive(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class SoftMarginTriplet(TripletLoss):
    """Mean of log(1 + exp(d_ap - d_an)) over the triplets: a margin that never ends (Hermans et al. 2017)."""

    distance: Distance = field(default_factory=ChordSquared)
    """How far apart two embeddings are."""
    swap: bool = False
    """Take the negative's distance to the positive where that is smaller (Balntas et al. 2016)."""

    @property
    def measure(self) -> Distance:
        return self.distance

    @property
    def swaps(self) -> bool:
        return self.swap

    def of_distances(self, d_ap: Float[Tensor, "*#s"], d_an: Float[Tensor, "*#s"]) -> Float[Tensor, "*s"]:
        return F.softplus(d_ap - d_an)
