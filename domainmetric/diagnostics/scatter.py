"""The triplet scatter: for each anchor the similarity to its positive and to its negative, S_ap and S_an.

A point below the diagonal is a triplet whose positive is nearer than its negative. The corner near (1, 1) holds the
hard triplets at which a first-order loss stands still (Xuan et al. 2020, "Extreme triplet learning").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from domainmetric.geometry import cosine
from domainmetric.miners.base import Miner
from domainmetric.pairs import cut_group, pair
from domainmetric.types import Group, Pairs, Triplets

CHUNK_ELEMENTS = 1 << 22
"""Pairs that are looked at together (16 MB of distances in float32, and a few times as much beside them)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scatter:
    """Where triplets lie. float64, so that two similarities near 1 can be told apart."""

    s_ap: Float[Tensor, " t"]
    """Cosine similarity of anchor and positive, in [-1, 1]."""
    s_an: Float[Tensor, " t"]
    """Cosine similarity of anchor and negative, in [-1, 1]."""

    def __len__(self) -> int:
        return len(self.s_ap)

    @property
    def correct(self) -> Bool[Tensor, " t"]:
        """Whether the positive is the nearer one, S_ap > S_an; the others are hard."""
        return self.s_ap > self.s_an

    def summary(self) -> dict[str, float]:
        """Number of triplets, share of hard ones, and means and standard deviations; zeros where there is none."""
        num = len(self)
        values = {"num_triplets": float(num), "hard": float((~self.correct).double().sum()) / max(1, num)}
        for name, s in (("s_ap", self.s_ap), ("s_an", self.s_an)):
            values[f"{name}_mean"] = float(s.mean()) if num else 0.0
            values[f"{name}_std"] = float(s.std(correction=0)) if num else 0.0
        return values


@torch.no_grad()
def points(pairs: Pairs, triplets: Triplets) -> Scatter:
    """Where the given triplets lie."""
    s_ap, s_an = (
        cosine(pairs.sq_chord[triplets.anchor, columns].double()).clamp(-1, 1)
        for columns in (triplets.positive, triplets.negative)
    )
    return Scatter(s_ap=s_ap, s_an=s_an)


@torch.no_grad()
def scatter(
    rows: Group, miner: Miner, *, columns: Group | None = None, generator: torch.Generator | None = None
) -> Scatter:
    """Where the triplets lie that a miner picks for the anchors `rows`, in a batch or in a whole split.

    Embeddings are of unit length. Positives and negatives are other items of the same set, or items of `columns`.
    Anchors go by chunks, so that memory does not grow with the square of the set. A miner that looks at several anchors
    at once, such as `Disjoint`, sees those of a chunk together.
    """
    items = torch.arange(len(rows), device=rows.z.device)
    among = rows if columns is None else columns
    among_items = items if columns is None else torch.arange(len(among), device=items.device) + len(rows)
    step = max(1, CHUNK_ELEMENTS // max(1, len(among)))
    found = []
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        pairs = pair(cut_group(rows, part), among, items[part], among_items)
        found.append(points(pairs, miner.select(pairs, generator)))
    nothing = torch.zeros(0, dtype=torch.float64, device=rows.z.device)
    return Scatter(
        s_ap=torch.cat([nothing, *(part.s_ap for part in found)]),
        s_an=torch.cat([nothing, *(part.s_an for part in found)]),
    )
