"""Approximate search with FAISS (Johnson et al. 2019), for banks for which exact products take too long."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from domainmetric.anchors.search import Lookup, Search, nearest
from domainmetric.errors import ConfigError
from domainmetric.geometry import at_least_float32

CELLS_PER_ROOT = 4
"""Cells over the square root of the number of stored items, as FAISS advises."""
ROUNDS, ITEMS_PER_CELL = 5, 64
"""Of the k-means that makes the cells: its rounds, and of how many items for each cell it is made."""


@dataclass(frozen=True, kw_only=True)
class CellSearch(Search):
    """A query is compared with the items in the cells nearest to it: an inverted file of FAISS, on the CPU.

    The bank is divided by k-means at each refresh, which for a million items costs as much as seven exact batches. A
    query whose cells hold fewer items than are asked for is searched exactly. Needs the extra `faiss`: pip install
    "domainmetric[faiss]".
    """

    probed: float = 0.02
    """Share of the cells that a query looks into, in (0, 1]; 1 looks into all, which is exact."""

    def __post_init__(self) -> None:
        if not 0 < self.probed <= 1:
            raise ConfigError(f"CellSearch.probed must lie in (0, 1], but is {self.probed}.")
        if find_spec("faiss") is None:
            raise ConfigError(
                'CellSearch needs FAISS, which is not installed: pip install "domainmetric[faiss]". Or search exactly, '
                "with ExactSearch()."
            )

    def among(self, gallery: Float[Tensor, "b d"]) -> Lookup:
        index = self._index(gallery)

        def look_up(queries: Float[Tensor, "m d"], num: int) -> tuple[Tensor, Tensor]:
            num = min(num, len(gallery))
            found = index.search(at_least_float32(queries).cpu().numpy(), num)
            similarity, place = (torch.from_numpy(part).to(queries.device) for part in found)
            short = (place < 0).any(1).nonzero().squeeze(1)
            if len(short):
                similarity[short], place[short] = nearest(at_least_float32(queries[short]), gallery, num)
            return similarity, place

        return look_up

    def _index(self, gallery: Tensor) -> Any:
        """The items in their cells. The same items give the same cells."""
        import faiss

        faiss.omp_set_num_threads(torch.get_num_threads())
        items = at_least_float32(gallery).cpu().numpy()
        cells = max(1, min(len(items), round(CELLS_PER_ROOT * math.sqrt(len(items)))))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(items.shape[1]), items.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
        index.cp.niter, index.cp.spherical = ROUNDS, True
        index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, ITEMS_PER_CELL
        index.train(items)
        index.add(items)
        index.nprobe = math.ceil(self.probed * cells)
        return index
