"""Drawing columns with given weights, for all rows at once, from a generator or a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from domainmetric.miners.extremes import row_blocks
from domainmetric.randomness import generator as seeded

BLOCK_ELEMENTS = 1 << 20
"""Weights that are summed together (8 MB)."""


class Drawn(NamedTuple):
    """Drawn columns, and which rows have anything to draw from; the columns of the others mean nothing."""

    column: Int64[Tensor, "a k"]
    possible: Bool[Tensor, " a"]


def uniform(
    shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None, seed: int
) -> Float64[Tensor, " *shape"]:
    """Numbers in [0, 1), from the generator wherever it lives, or from the seed."""
    source = seeded("cpu", seed, "mining") if generator is None else generator
    return torch.rand(shape, generator=source, device=source.device, dtype=torch.float64).to(device)


def draw_columns(
    shape: tuple[int, ...],
    weights: Callable[[slice], Float[Tensor, "r b"] | Bool[Tensor, "r b"]],
    u: Float64[Tensor, "a k"],
) -> Drawn:
    """For each row of a matrix, as many columns as `u` has, each with probability in proportion to its weight.

    By inversion: u times the sum of the weights lies within the drawn column's share of their running sum, which
    columns of weight zero have none of.
    """
    column = torch.zeros_like(u, dtype=torch.int64)
    possible = torch.zeros(len(u), dtype=torch.bool, device=u.device)
    for rows in row_blocks(shape, BLOCK_ELEMENTS):
        running = weights(rows).cumsum(1, dtype=torch.float64)
        total = running[:, -1:]
        column[rows] = torch.searchsorted(running, u[rows] * total, right=True).clamp_max(shape[1] - 1)
        possible[rows] = total.squeeze(1) > 0
    return Drawn(column, possible)
