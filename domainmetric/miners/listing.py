"""Lists of triplets, from the negatives of each anchor sorted once.

Whoever is too near is a range of the sorted negatives, and the range's ends are found by binary search: what is listed
costs time and memory, and what is not listed costs nearly none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from domainmetric.geometry import Distance
from domainmetric.miners.extremes import row_blocks
from domainmetric.types import Pairs, Triplets

BLOCK_ELEMENTS = 1 << 21
"""Distances that are sorted together (8 MB in float32, three times as much with their places)."""

Search = Callable[[Float[Tensor, "r b"], Float[Tensor, "r s"]], tuple[Int64[Tensor, "r s"], Int64[Tensor, "r s"]]]
"""From sorted negative distances and positive ones: where each positive's range of negatives begins and ends."""


class Listed(NamedTuple):
    """The true elements of a mask, in order, and each one's place among those of its row."""

    row: Int64[Tensor, " p"]
    column: Int64[Tensor, " p"]
    place: Int64[Tensor, " p"]
    most: int
    """The largest number of true elements in a row."""


def listed(mask: Bool[Tensor, "a b"]) -> Listed:
    """The true elements of a mask, with their places."""
    row, column = mask.nonzero(as_tuple=True)
    count = mask.sum(1)
    place = torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]
    return Listed(row, column, place, int(count.max()) if len(row) else 0)


@torch.no_grad()
def triplets_between(pairs: Pairs, distance: Distance, search: Search) -> Triplets:
    """All triplets whose negative lies, for its positive, in the range that `search` finds.

    Ordered by anchor and positive, and then from the nearest negative to the farthest.
    """
    distances = distance.matrix(pairs).detach()
    parts = [_of_rows(pairs, distances, rows, search) for rows in row_blocks(distances.shape, BLOCK_ELEMENTS)]
    none = torch.empty(3, 0, dtype=torch.int64, device=distances.device)
    anchor, positive, negative = torch.cat([none, *parts], 1)
    return Triplets(anchor=anchor, positive=positive, negative=negative)


def _of_rows(pairs: Pairs, distances: Tensor, rows: slice, search: Search) -> Int64[Tensor, "3 t"]:
    d = distances[rows]
    d_an, column = torch.where(pairs.negative[rows], d, torch.inf).sort(dim=1, stable=True)
    positives = listed(pairs.positive[rows])
    d_ap = d.new_full((len(d), positives.most), -torch.inf)
    d_ap[positives.row, positives.place] = d[positives.row, positives.column]

    begin, end = search(d_an.contiguous(), d_ap)  # a matrix that was made of blocks may lie transposed
    begin, end = begin[positives.row, positives.place], end[positives.row, positives.place]
    which, rank = ranges(begin, end - begin)
    row = positives.row[which]
    return torch.stack([row + rows.start, positives.column[which], column[row, rank]])


def ranges(begin: Int64[Tensor, " p"], count: Int64[Tensor, " p"]) -> tuple[Int64[Tensor, " t"], Int64[Tensor, " t"]]:
    """The numbers begin, begin + 1, ... of each range in turn, `count` of them, and which range each belongs to."""
    which = torch.repeat_interleave(count)
    return which, begin[which] + torch.arange(len(which), device=which.device) - (count.cumsum(0) - count)[which]
