"""Losses that are a mean over triplets of a function of two distances, exactly over all triplets without listing them.

The sum over all triplets of an anchor set has B^3 terms, but its gradient has only B^2 numbers: how much each distance
of the matrix counts. `of_all` finds the value and these numbers without a graph, chunk by chunk.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from domainmetric.geometry import Distance, squared_chord
from domainmetric.losses.base import LossValue, MetricLoss
from domainmetric.losses.known import Known, count
from domainmetric.types import Pairs, Triplets

CHUNK_ELEMENTS = 1 << 19
"""Triplets that are looked at together (2 MB in float32 for each of a few temporary tensors)."""


class Sums(NamedTuple):
    """A sum over triplets, how many they are, and the sum's gradient at the distances."""

    value: Float[Tensor, ""]
    used: Float[Tensor, ""]
    active: Float[Tensor, ""]
    gradient: Float[Tensor, "a b"]


@dataclass(frozen=True, kw_only=True)
class TripletLoss(MetricLoss, ABC):
    """A mean over triplets of a function of the distances to the positive and to the negative."""

    @property
    @abstractmethod
    def measure(self) -> Distance:
        """The distance that the function is of."""

    @abstractmethod
    def of_distances(self, d_ap: Float[Tensor, "*#s"], d_an: Float[Tensor, "*#s"]) -> Float[Tensor, "*s"]:
        """The loss of each triplet."""

    @property
    def swaps(self) -> bool:
        """Whether the negative may be compared with the positive, where it is nearer to that (Balntas et al. 2016)."""
        return False

    def active(self, values: Float[Tensor, "*s"]) -> Bool[Tensor, "*s"]:
        """Which of these losses have a gradient; all, unless there is a hinge."""
        return torch.ones_like(values, dtype=torch.bool)

    def explicit(
        self, anchor: Float[Tensor, "t d"], positive: Float[Tensor, "t d"], negative: Float[Tensor, "t d"]
    ) -> Float[Tensor, ""]:
        """The loss of triplets that are given as three lists of vectors, as `torch.nn.TripletMarginLoss` takes them.

        Vectors are taken as they are, not normalized; distances of the sphere expect unit length.
        """
        d_ap, d_an = self.measure.pairwise(anchor, positive), self.measure.pairwise(anchor, negative)
        if self.swaps:
            d_an = torch.minimum(d_an, self.measure.pairwise(positive, negative))
        values = self.of_distances(d_ap, d_an)
        return values.sum() / max(1, len(values))

    def of(self, pairs: Pairs, triplets: Triplets | None = None) -> LossValue:
        if triplets is None:
            return self.of_all(pairs)
        a, p, n = triplets.anchor, triplets.positive, triplets.negative
        d_ap, d_an = self.measure.listed(pairs, a, p), self.measure.listed(pairs, a, n)
        if self.swaps:
            d_an = torch.minimum(d_an, self.measure.pairwise(pairs.columns.z[p], pairs.columns.z[n]))
        values = self.of_distances(d_ap, d_an)
        used = values.new_tensor(float(len(triplets)))
        return LossValue(values.sum() / used.clamp_min(1), used, self.active(values.detach()).sum().to(values.dtype))

    def of_all(self, pairs: Pairs) -> LossValue:
        """The loss over all triplets that `pairs` allows: time O(triplets), memory O(a b) and not O(a b^2)."""
        known = Known(self.measure, pairs)
        within = not self.swaps or pairs.rows is pairs.columns  # the distances among the columns are at hand
        columns = known if within else Known(self.measure, among_columns(pairs))
        d = known.distances()
        gradient = torch.zeros_like(d)
        between = d if within else columns.distances()
        gradient_between = gradient if within else torch.zeros_like(between)
        sums = self._sums(pairs, d, gradient, between, gradient_between)
        value, used, active = mean(known, sums)
        if not within:
            value = columns.tie(value, gradient_between.div_(sums.used.clamp_min(1)))
        return LossValue(value, used, active)

    @torch.no_grad()
    def _sums(
        self,
        pairs: Pairs,
        d: Float[Tensor, "a b"],
        gradient: Float[Tensor, "a b"],
        between: Float[Tensor, "c b"],
        gradient_between: Float[Tensor, "c b"],
    ) -> Sums:
        """The sum over all triplets, a few (anchor, positive) pairs and all their columns at a time.

        Gradients are added to what is given; those at `between`, the distances among the columns, where the loss swaps.
        Where it does not, `between` is not looked at.
        """
        value, active = d.new_zeros((), dtype=torch.float64), d.new_zeros((), dtype=torch.float64)
        anchor, positive = (pairs.positive & pairs.negative.any(1, keepdim=True)).nonzero(as_tuple=True)
        step = max(1, CHUNK_ELEMENTS // max(1, d.shape[1]))
        for a, p in zip(anchor.split(step), positive.split(step), strict=True):
            negative = pairs.negative[a]
            leaves = [d[a, p][:, None], d[a], *([between[p]] if self.swaps else [])]
            with torch.enable_grad():
                d_ap, d_an, *d_pn = (leaf.requires_grad_() for leaf in leaves)
                values = self.of_distances(d_ap, torch.minimum(d_an, d_pn[0]) if d_pn else d_an)
                values = values.masked_fill(~negative, 0)
                gradients = torch.autograd.grad(values.sum(), leaves)
            gradient.index_put_((a, p), gradients[0][:, 0], accumulate=True)
            gradient.index_add_(0, a, gradients[1])
            if self.swaps:
                gradient_between.index_add_(0, p, gradients[2])
            value += values.sum(dtype=torch.float64)
            active += (negative & self.active(values)).sum()
        used = (count(pairs.positive) * count(pairs.negative)).sum().double()
        return Sums(value, used, active, gradient)


def mean(known: Known, sums: Sums) -> LossValue:
    """The mean that goes with a sum, tied to the distances that it is of."""
    used = sums.used.clamp_min(1)
    value, dtype = sums.value / used, sums.gradient.dtype
    gradient = sums.gradient.div_(used)
    return LossValue(known.tie(value.to(dtype), gradient), sums.used.to(dtype), sums.active.to(dtype))


def among_columns(pairs: Pairs) -> Pairs:
    """The columns against themselves, where distances alone are asked for: nobody is a positive or a negative."""
    size = len(pairs.columns)
    nobody = torch.zeros((), dtype=torch.bool, device=pairs.positive.device).expand(size, size)
    return Pairs(
        rows=pairs.columns,
        columns=pairs.columns,
        row_items=pairs.column_items,
        column_items=pairs.column_items,
        sq_chord=squared_chord(pairs.columns.z, pairs.columns.z),
        positive=nobody,
        negative=nobody,
    )
