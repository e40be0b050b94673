"""FaceNet's semi-hard negatives: farther than the positive, but within the margin."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from domainmetric.errors import ConfigError
from domainmetric.geometry import ChordSquared, Distance
from domainmetric.miners.base import Miner
from domainmetric.types import Pairs, Triplets

CHUNK_ELEMENTS = 1 << 24
"""Booleans held at a time while triplets are listed (16 MB)."""


@dataclass(frozen=True, kw_only=True)
class SemiHard(Miner):
    """All triplets with d_ap < d_an <= d_ap + margin (Schroff et al. 2015), anchor by anchor in chunks."""

    margin: float = 0.2
    """Margin, in units of `distance`."""
    distance: Distance = field(default_factory=ChordSquared)
    """The distance that the margin refers to; give the loss the same one."""

    def __post_init__(self) -> None:
        if not self.margin > 0:
            raise ConfigError(f"SemiHard.margin must be positive, but is {self.margin}.")

    def select(self, pairs: Pairs, generator: torch.Generator | None = None) -> Triplets:
        distances = self.distance.matrix(pairs).detach()
        anchor, positive = pairs.positive.nonzero(as_tuple=True)
        chunks = []
        for rows in torch.arange(len(anchor), device=anchor.device).split(max(1, CHUNK_ELEMENTS // distances.shape[1])):
            a, d_ap = anchor[rows], distances[anchor[rows], positive[rows]][:, None]
            d_an = distances[a]
            chosen, negative = (pairs.negative[a] & (d_an > d_ap) & (d_an <= d_ap + self.margin)).nonzero(as_tuple=True)
            chunks.append((rows[chosen], negative))
        pair = torch.cat([c[0] for c in chunks]) if chunks else anchor
        negative = torch.cat([c[1] for c in chunks]) if chunks else anchor
        return Triplets(anchor=anchor[pair], positive=positive[pair], negative=negative)
