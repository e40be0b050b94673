"""Losses whose gradient at the distances is known: a number, tied by it to the matrix that it is of.

Autograd keeps every matrix between the embeddings and the loss, and over all triplets these are cubes. Here the loss is
computed on distances without a graph, a few rows at a time, together with its gradient: one matrix, however many terms
the loss is a sum of. `Known.tie` then ties the number to the vectors, so that autograd keeps no more than this matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from domainmetric.errors import ConfigError
from domainmetric.geometry import ChordSquared, Distance, SphereDistance
from domainmetric.types import Pairs

BLOCK_ELEMENTS = 1 << 19
"""Elements of a matrix that are looked at together (2 MB in float32 for each of a few temporary tensors)."""

RowLoss = Callable[[Float[Tensor, "r b"], Bool[Tensor, "r b"], Bool[Tensor, "r b"]], Float[Tensor, " r"]]
"""The loss of each row, from its distances, its positives and its negatives."""


class Known:
    """The distances of all pairs as plain numbers, and the way back from a gradient at them to the vectors."""

    def __init__(self, measure: Distance, pairs: Pairs) -> None:
        # functions of the squared chord are taken block by block, so that what they make on the way is never whole
        self._function = measure if isinstance(measure, SphereDistance) and measure != ChordSquared() else None
        self._matrix = measure.matrix(pairs) if self._function is None else pairs.sq_chord

    def distances(self) -> Float[Tensor, "a b"]:
        """The distances, without a graph; not to be written to."""
        at = self._matrix.detach()
        if self._function is None:
            return at
        result = torch.empty_like(at)
        for rows in blocks(at):
            result[rows] = self._function(at[rows])
        return result

    def tie(self, value: Float[Tensor, ""], gradient: Float[Tensor, "a b"]) -> Float[Tensor, ""]:
        """`value`, to whose gradient this one at the distances is added. `gradient` is used up."""
        if self._function is not None:
            for rows in blocks(gradient):
                at = self._matrix[rows].detach().requires_grad_()
                with torch.enable_grad():
                    distances = self._function(at)
                (gradient[rows],) = torch.autograd.grad(distances, at, gradient[rows])
        result: Tensor = _Linear.apply(value, self._matrix, gradient)
        return result


def blocks(matrix: Tensor) -> Iterator[slice]:
    """Consecutive rows of a matrix, a few at a time."""
    step = max(1, BLOCK_ELEMENTS // max(1, matrix.shape[1]))
    return (slice(start, start + step) for start in range(0, len(matrix), step))


def count(mask: Bool[Tensor, "a b"]) -> Int64[Tensor, " a"]:
    """How many of each row are true. By blocks, since torch's sum of a mask makes an int64 of each element first."""
    none = torch.zeros(0, dtype=torch.int64, device=mask.device)
    return torch.cat([none, *(mask[rows].sum(1) for rows in blocks(mask))])


def by_rows(
    loss: RowLoss, distances: Float[Tensor, "a b"], pairs: Pairs
) -> tuple[Float[Tensor, " a"], Float[Tensor, "a b"]]:
    """A loss of each row, and the gradient of their sum at the distances; autograd sees one block of rows at a time."""
    values, gradient = distances.new_empty(len(distances)), torch.empty_like(distances)
    for rows in blocks(distances):
        at = distances[rows].detach().requires_grad_()
        with torch.enable_grad():
            of_rows = loss(at, pairs.positive[rows], pairs.negative[rows])
            total = of_rows.sum()
        (gradient[rows],) = torch.autograd.grad(total, at)
        values[rows] = of_rows.detach()
    return values, gradient


class _Linear(torch.autograd.Function):
    """A number as it is, with a known gradient on a tensor added to its own."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, tensor: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, Tensor, None]:
        if torch.is_grad_enabled():  # the gradient is a constant here, so that its own would silently be wrong
            raise ConfigError(
                "This loss knows its first derivative only, but was asked for one that has a derivative itself "
                "(create_graph=True). A triplet loss on the triplets that a miner lists has all of them."
            )
        (gradient,) = ctx.saved_tensors
        return grad[0], grad[0] * gradient, None
