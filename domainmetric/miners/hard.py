"""Miners built on the hardest negative of each anchor."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from domainmetric.miners.base import Miner, nearest_where
from domainmetric.types import Pairs, Triplets


@dataclass(frozen=True, kw_only=True)
class EasyPositiveHardNegative(Miner):
    """EPHN: for each anchor its nearest positive and its nearest negative (Xuan et al. 2020)."""

    def select(self, pairs: Pairs, generator: torch.Generator | None = None) -> Triplets:
        valid = pairs.positive.any(1) & pairs.negative.any(1)
        anchor = valid.nonzero().squeeze(1)
        positive = nearest_where(pairs.sq_chord, pairs.positive)[anchor]
        negative = nearest_where(pairs.sq_chord, pairs.negative)[anchor]
        return Triplets(anchor=anchor, positive=positive, negative=negative)


@dataclass(frozen=True, kw_only=True)
class HardNegative(Miner):
    """Every positive of each anchor, with that anchor's nearest negative."""

    def select(self, pairs: Pairs, generator: torch.Generator | None = None) -> Triplets:
        anchor, positive = (pairs.positive & pairs.negative.any(1, keepdim=True)).nonzero(as_tuple=True)
        negative = nearest_where(pairs.sq_chord, pairs.negative)[anchor]
        return Triplets(anchor=anchor, positive=positive, negative=negative)
