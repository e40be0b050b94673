"""The margin triplet losses: with a hinge, exact over all triplets by sorting; and with a soft margin."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from domainmetric.errors import ConfigError
from domainmetric.geometry import ChordSquared, Distance
from domainmetric.losses.base import LossValue
from domainmetric.losses.triplet import Sums, TripletLoss, linear
from domainmetric.types import Pairs

CHUNK_ELEMENTS = 1 << 21
"""Distances that are sorted together (8 MB in float32, three times as much with their places)."""


@dataclass(frozen=True, kw_only=True)
class MarginTriplet(TripletLoss):
    """Mean of max(0, d_ap - d_an + margin) over the triplets (Weinberger & Saul 2009; Schroff et al. 2015)."""

    margin: float = 1.0
    """Margin, in units of `distance`."""
    distance: Distance = field(default_factory=ChordSquared)
    """How far apart two embeddings are."""
    swap: bool = False
    """Take the negative's distance to the positive where that is smaller (Balntas et al. 2016)."""

    def __post_init__(self) -> None:
        check_margin(self)

    @property
    def measure(self) -> Distance:
        return self.distance

    @property
    def swaps(self) -> bool:
        return self.swap

    def of_distances(self, d_ap: Float[Tensor, "*s"], d_an: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        return (d_ap - d_an + self.margin).relu()

    def active(self, values: Float[Tensor, "*s"]) -> Float[Tensor, ""]:
        return (values > 0).sum().to(values.dtype)

    def of_all(self, pairs: Pairs) -> LossValue:
        if self.swap:
            return super().of_all(pairs)
        distances = self.distance.matrix(pairs)
        sums = hinge_sums(distances.detach(), pairs, self.margin, beyond_positive=False)
        scale = 1 / sums.used.clamp_min(1)
        return LossValue(linear(sums.value * scale, distances, sums.gradient * scale), sums.used, sums.active)


@dataclass(frozen=True, kw_only=True)
class SemiHardTriplet(TripletLoss):
    """FaceNet's loss over every semi-hard triplet, d_ap < d_an <= d_ap + margin, without listing one of them.

    The same mean as `MarginTriplet` on the triplets of the miner `SemiHard`, where their list would not fit. Triplets
    that are given are taken as they are.
    """

    margin: float = 0.2
    """Margin, in units of `distance`."""
    distance: Distance = field(default_factory=ChordSquared)
    """How far apart two embeddings are."""

    def __post_init__(self) -> None:
        check_margin(self)

    @property
    def measure(self) -> Distance:
        return self.distance

    def of_distances(self, d_ap: Float[Tensor, "*s"], d_an: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        return (d_ap - d_an + self.margin).relu()

    def active(self, values: Float[Tensor, "*s"]) -> Float[Tensor, ""]:
        return (values > 0).sum().to(values.dtype)

    def of_all(self, pairs: Pairs) -> LossValue:
        distances = self.distance.matrix(pairs)
        sums = hinge_sums(distances.detach(), pairs, self.margin, beyond_positive=True)
        scale = 1 / sums.used.clamp_min(1)
        return LossValue(linear(sums.value * scale, distances, sums.gradient * scale), sums.used, sums.active)


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

    def of_distances(self, d_ap: Float[Tensor, "*s"], d_an: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        return F.softplus(d_ap - d_an)


def check_margin(loss: MarginTriplet | SemiHardTriplet) -> None:
    """Raise ConfigError unless the margin is positive."""
    if not loss.margin > 0:
        raise ConfigError(f"{type(loss).__name__}.margin must be positive, but is {loss.margin}.")


def hinge_sums(distances: Float[Tensor, "a b"], pairs: Pairs, margin: float, *, beyond_positive: bool) -> Sums:
    """The sum of hinges over all triplets with d_an <= d_ap + margin, and its gradient at the distances.

    Negatives are sorted once per anchor; each positive asks how many are too near, and prefix sums tell how near. The
    gradient counts k for a positive with k such negatives, and for a negative minus the number of positives that it is
    too near for. With `beyond_positive` only negatives farther than the positive count (semi-hard), and `used` with
    them; otherwise `used` is all triplets. Time O(a b log b), memory O(a b) in all and O(chunk) beside the result.
    """
    gradient = torch.empty_like(distances)
    totals = distances.new_zeros(3, dtype=torch.float64)
    for block in torch.arange(len(distances)).split(max(1, CHUNK_ELEMENTS // max(1, distances.shape[1]))):
        rows = slice(int(block[0]), int(block[-1]) + 1)
        totals += _hinge_block(
            distances[rows], pairs.positive[rows], pairs.negative[rows], margin, beyond_positive, gradient[rows]
        )
    value, used, active = totals.to(distances.dtype)
    return Sums(value, used, active, gradient)


def _hinge_block(
    d: Float[Tensor, "r b"],
    positive: Bool[Tensor, "r b"],
    negative: Bool[Tensor, "r b"],
    margin: float,
    beyond_positive: bool,
    gradient: Float[Tensor, "r b"],
) -> Float[Tensor, " 3"]:
    """Value, used and active of some anchors' triplets, in float64; their gradient is written into `gradient`."""
    d_an, place = d.masked_fill(~negative, torch.inf).sort(1)
    count = negative.sum(1, keepdim=True)
    r, c = positive.nonzero(as_tuple=True)
    num_positives = positive.sum(1)
    slot = torch.arange(len(r), device=d.device) - (num_positives.cumsum(0) - num_positives)[r]
    d_ap = d.new_full((len(d), max(1, int(num_positives.max()))), -torch.inf)  # an empty slot is nearer than anything
    d_ap[r, slot] = d[r, c]

    high = torch.searchsorted(d_an, d_ap + margin).minimum(count)  # negatives nearer than the limit
    low = torch.searchsorted(d_an, d_ap, right=True).minimum(count) if beyond_positive else torch.zeros_like(high)
    near = (high - low)[r, slot]
    prefix = torch.zeros(len(d), d.shape[1] + 1, dtype=torch.float64, device=d.device)
    torch.cumsum(d_an.masked_fill(d_an.isinf(), 0), 1, dtype=torch.float64, out=prefix[:, 1:])
    sums = prefix.gather(1, high) - prefix.gather(1, low)
    value = (near * (d[r, c].double() + margin) - sums[r, slot]).sum()
    if beyond_positive:  # those at the limit itself are semi-hard, with a loss of zero
        used = (torch.searchsorted(d_an, d_ap + margin, right=True).minimum(count) - low)[r, slot].sum()
    else:
        used = (num_positives * count.squeeze(1)).sum()

    ends = d.new_zeros(len(d), d.shape[1] + 1)
    ones = torch.ones_like(d_ap)
    ends.scatter_add_(1, high, ones).scatter_add_(1, low, -ones)  # empty slots begin and end at 0
    too_near = ends.flip(1).cumsum(1).flip(1)[:, 1:]  # of rank r: how many positives reach beyond r
    gradient.zero_().scatter_(1, place, -too_near)
    gradient[r, c] += near.to(d.dtype)
    return torch.stack([value, used.double(), near.sum().double()])
