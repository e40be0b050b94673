"""The nearest and the farthest column of each row, in as few passes over the matrix as can be."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from domainmetric.types import Triplets

BLOCK_ELEMENTS = 1 << 20
"""Distances looked at together: 4 MB in float32, which stay in the cache from one pass to the next."""


class Extreme(NamedTuple):
    """The most extreme of the masked columns of each row. Where no column is masked, the distance is infinite."""

    distance: Float[Tensor, " a"]
    column: Int64[Tensor, " a"]


def nearest_where(distances: Float[Tensor, "a b"], mask: Bool[Tensor, "a b"]) -> Extreme:
    """The masked column of the smallest distance; the first of those that tie."""
    return _extreme(distances, mask, farthest=False)


def farthest_where(distances: Float[Tensor, "a b"], mask: Bool[Tensor, "a b"]) -> Extreme:
    """The masked column of the largest distance; the first of those that tie."""
    return _extreme(distances, mask, farthest=True)


def joined(positive: Extreme, negative: Extreme) -> Triplets:
    """One triplet for each row that has both."""
    anchor = (~positive.distance.isinf() & ~negative.distance.isinf()).nonzero().squeeze(1)
    return Triplets(anchor=anchor, positive=positive.column[anchor], negative=negative.column[anchor])


def row_blocks(shape: tuple[int, ...], elements: int) -> list[slice]:
    """Slices of rows that hold about so many elements each; none for a matrix without elements."""
    rows, columns = shape
    step = max(1, elements // max(1, columns))
    return [slice(start, start + step) for start in range(0, rows, step)] if columns else []


@torch.no_grad()
def _extreme(distances: Tensor, mask: Tensor, *, farthest: bool) -> Extreme:
    distances = distances.detach()
    nothing = distances.new_tensor(-torch.inf if farthest else torch.inf)
    found = Extreme(
        nothing.repeat(len(distances)), torch.zeros(len(distances), dtype=torch.int64, device=distances.device)
    )
    for rows in row_blocks(distances.shape, BLOCK_ELEMENTS):
        block = torch.where(mask[rows], distances[rows], nothing)
        found.distance[rows], found.column[rows] = block.max(1) if farthest else block.min(1)
    return found
