"""Search among stored embeddings: exact matrix products by chunks of rows, so that no matrix grows with both sets.

`approximate.py` has the other way to search, for banks for which products take too long.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.geometry import at_least_float32

CHUNK_ELEMENTS = 1 << 23
"""Cosines held at a time (32 MB in float32)."""
TILE = 1 << 15
"""Gallery vectors at a time: with more of them so few queries would fit that a product waits for memory."""


def rows_at_a_time(num_columns: int) -> int:
    """How many rows of cosines with `num_columns` others are looked at together."""
    return max(1, CHUNK_ELEMENTS // max(1, num_columns))


def product(a: Float[Tensor, "m d"], b: Float[Tensor, "d b"]) -> Float[Tensor, "m b"]:
    """The matrix product in float32 at least, whatever autocast does: neighbors in half precision are wrong ones."""
    with torch.autocast(a.device.type, enabled=False):
        return at_least_float32(a) @ at_least_float32(b)


def nearest(
    queries: Float[Tensor, "m d"], gallery: Float[Tensor, "b d"], num: int
) -> tuple[Float[Tensor, "m v"], Int64[Tensor, "m v"]]:
    """Cosine and place of the `num` gallery vectors most like each query, the best first; all where there are fewer."""
    num, tiles = min(num, len(gallery)), gallery.split(TILE)
    parts = [_best(part, tiles, num) for part in queries.split(rows_at_a_time(len(tiles[0])))]
    similarity, place = zip(*parts, strict=True)
    return torch.cat(similarity), torch.cat(place)


def _best(queries: Tensor, tiles: Sequence[Tensor], num: int) -> tuple[Tensor, Tensor]:
    """Of a few queries: the best of each tile, and of those the best."""
    found = [product(queries, tile.T).topk(min(num, len(tile)), 1) for tile in tiles]
    if len(found) == 1:
        return found[0].values, found[0].indices
    best = torch.cat([one.values for one in found], 1).topk(num, 1)
    place = torch.cat([one.indices + number * TILE for number, one in enumerate(found)], 1)
    return best.values, place.gather(1, best.indices)


Lookup = Callable[[Float[Tensor, "m d"], int], tuple[Float[Tensor, "m v"], Int64[Tensor, "m v"]]]
"""Queries and a number -> cosine and place of so many stored vectors most like each query, the best first; all of them
where there are fewer."""


@dataclass(frozen=True, kw_only=True)
class Search(ABC):
    """How the stored embeddings most like a query are found."""

    @abstractmethod
    def among(self, gallery: Float[Tensor, "b d"]) -> Lookup:
        """Prepared for many queries to the same embeddings of length 1."""


@dataclass(frozen=True, kw_only=True)
class ExactSearch(Search):
    """Every query against every stored embedding, on their device."""

    def among(self, gallery: Float[Tensor, "b d"]) -> Lookup:
        return partial(_nearest_in, gallery)


def _nearest_in(gallery: Tensor, queries: Tensor, num: int) -> tuple[Tensor, Tensor]:
    return nearest(queries, gallery, num)


def vote(labels: Int64[Tensor, "m v"], weight: Float[Tensor, "m v"], num_classes: int) -> Float[Tensor, "m k"]:
    """The sum of the weights of each class's voters."""
    return weight.new_zeros(len(weight), num_classes).scatter_add_(1, labels, weight)
