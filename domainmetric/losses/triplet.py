"""Losses that are a mean over triplets of a function of two distances, exactly over all triplets without listing them.

The sum over all triplets of an anchor set has B^3 terms, but its gradient has only B^2 numbers: how much each distance
of the matrix counts. `of_all` finds the value and these numbers without a graph, chunk by chunk, and `linear` ties
them to the distances, so that autograd keeps no more than one matrix.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from domainmetric.geometry import Distance
from domainmetric.losses.base import LossValue, MetricLoss
from domainmetric.pairs import pair
from domainmetric.types import Pairs, Triplets

CHUNK_ELEMENTS = 1 << 22
"""Triplets that are looked at together (16 MB in float32 for each of a few temporary tensors)."""


@dataclass(frozen=True, kw_only=True)
class TripletLoss(MetricLoss, ABC):
    """A mean over triplets of a function of the distances to the positive and to the negative."""

    @property
    @abstractmethod
    def measure(self) -> Distance:
        """The distance that the function is of."""

    @abstractmethod
    def of_distances(self, d_ap: Float[Tensor, "*s"], d_an: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        """The loss of each triplet."""

    @property
    def swaps(self) -> bool:
        """Whether the negative may be compared with the positive, where it is nearer to that (Balntas et al. 2016)."""
        return False

    def active(self, values: Float[Tensor, "*s"]) -> Float[Tensor, ""]:
        """How many of these losses have a gradient; all, unless there is a hinge."""
        return values.new_tensor(float(values.numel()))

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
        zero = pairs.rows.z.sum() * 0  # differentiable, where there is no triplet
        used = values.new_tensor(float(len(triplets)))
        return LossValue(zero + values.sum() / used.clamp_min(1), used, self.active(values.detach()))

    def of_all(self, pairs: Pairs) -> LossValue:
        """The loss over all triplets that `pairs` allows: time O(triplets), memory O(a b) and not O(a b^2)."""
        distances = self.measure.matrix(pairs)
        between = self.measure.matrix(among_columns(pairs)) if self.swaps else None
        with torch.no_grad():
            sums = self._sum(pairs, distances, between)
        scale = 1 / sums.used.clamp_min(1)
        value = linear(sums.value * scale, distances, sums.gradient * scale)
        if between is not None and sums.gradient_between is not None:
            value = value + linear(torch.zeros_like(value), between, sums.gradient_between * scale)
        return LossValue(value, sums.used, sums.active)

    def _sum(self, pairs: Pairs, distances: Float[Tensor, "a b"], between: Float[Tensor, "b b"] | None) -> Sums:
        """The sum over all triplets and its gradients, a few (anchor, positive) pairs at a time."""
        gradient = torch.zeros_like(distances)
        gradient_between = None if between is None else torch.zeros_like(between)
        value, active = distances.new_zeros((), dtype=torch.float64), distances.new_zeros(())
        anchor, positive = (pairs.positive & pairs.negative.any(1, keepdim=True)).nonzero(as_tuple=True)
        step = max(1, CHUNK_ELEMENTS // max(1, distances.shape[1]))
        for anchors, positives in zip(anchor.split(step), positive.split(step), strict=True):
            which, n = pairs.negative[anchors].nonzero(as_tuple=True)
            a, p = anchors[which], positives[which]
            leaves = [distances[a, p], distances[a, n], *([] if between is None else [between[p, n]])]
            with torch.enable_grad():
                leaves = [leaf.requires_grad_() for leaf in leaves]
                d_ap, d_an = leaves[0], leaves[1] if between is None else torch.minimum(leaves[1], leaves[2])
                values = self.of_distances(d_ap, d_an)
                gradients = torch.autograd.grad(values.sum(), leaves)
            gradient.index_put_((a, p), gradients[0], accumulate=True)
            gradient.index_put_((a, n), gradients[1], accumulate=True)
            if gradient_between is not None:
                gradient_between.index_put_((p, n), gradients[2], accumulate=True)
            value += values.detach().sum(dtype=torch.float64)
            active += self.active(values.detach())
        used = (pairs.positive.sum(1) * pairs.negative.sum(1)).sum().to(distances.dtype)
        return Sums(value.to(distances.dtype), used, active, gradient, gradient_between)


class Sums(NamedTuple):
    """A sum over triplets, with its gradient at the matrices of distances that it is of."""

    value: Float[Tensor, ""]
    used: Float[Tensor, ""]
    active: Float[Tensor, ""]
    gradient: Float[Tensor, "a b"]
    gradient_between: Float[Tensor, "b b"] | None = None
    """At the distances among the columns, where the loss swaps."""


def among_columns(pairs: Pairs) -> Pairs:
    """The columns against themselves."""
    return pair(pairs.columns, pairs.columns, pairs.column_items, pairs.column_items)


def linear(value: Float[Tensor, ""], at: Float[Tensor, "a b"], gradient: Float[Tensor, "a b"]) -> Float[Tensor, ""]:
    """A number that is known, with the gradient that it is known to have at a matrix."""
    result: Tensor = _Linear.apply(value, at, gradient)
    return result


class _Linear(torch.autograd.Function):
    """A value that is known, and the gradient that it has on a tensor."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, tensor: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[None, Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return None, grad[0] * gradient, None
