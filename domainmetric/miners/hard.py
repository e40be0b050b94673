"""Miners that take the nearest or the farthest positive and negative of each anchor.

E is easy and H is hard: an easy positive is near and a hard one is far, while an easy negative is far and a hard one
is near. The names are those of Xuan, Stylianou & Pless (2020), "Improved embeddings with easy positive triplet mining".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from domainmetric.miners.base import Miner
from domainmetric.miners.extremes import farthest_where, joined, nearest_where
from domainmetric.types import Pairs, Triplets


@dataclass(frozen=True, kw_only=True)
class EasyPositiveHardNegative(Miner):
    """EPHN: for each anchor its nearest positive and its nearest negative (Xuan et al. 2020)."""

    def select(self, pairs: Pairs, generator: torch.Generator | None = None) -> Triplets:
        return joined(nearest_where(pairs.sq_chord, pairs.positive), nearest_where(pairs.sq_chord, pairs.negative))


@dataclass(frozen=True, kw_only=True)
class EasyPositiveSemiHardNegative(Miner):
    """EPSHN: for each anchor its nearest positive, and the nearest negative beyond that (Xuan et al. 2020).

    An anchor that has no negative strictly farther than its nearest positive is dropped.
    """

    def select(self, pairs: Pairs, generator: torch.Generator | None = None) -> Triplets:
        positive = nearest_where(pairs.sq_chord, pairs.positive)
        beyond = pairs.negative & (pairs.sq_chord.detach() > positive.distance[:, None])
        return joined(positive, nearest_where(pairs.sq_chord, beyond))


@dataclass(frozen=True, kw_only=True)
class HardPositiveHardNegative(Miner):
    """HPHN, or batch-hard: for each anchor its farthest positive and its nearest negative (Hermans et al. 2017)."""

    def select(self, pairs: Pairs, generator: torch.Generator | None = None) -> Triplets:
        return joined(farthest_where(pairs.sq_chord, pairs.positive), nearest_where(pairs.sq_chord, pairs.negative))


@dataclass(frozen=True, kw_only=True)
class EasyPositiveEasyNegative(Miner):
    """EPEN: for each anchor its nearest positive and its farthest negative.

    Xuan et al. ("Extreme triplet learning") print it as EPEH.
    """

    def select(self, pairs: Pairs, generator: torch.Generator | None = None) -> Triplets:
        return joined(nearest_where(pairs.sq_chord, pairs.positive), farthest_where(pairs.sq_chord, pairs.negative))


@dataclass(frozen=True, kw_only=True)
class HardNegative(Miner):
    """Every positive of each anchor, with that anchor's nearest negative."""

    def select(self, pairs: Pairs, generator: torch.Generator | None = None) -> Triplets:
        nearest = nearest_where(pairs.sq_chord, pairs.negative)
        anchor, positive = (pairs.positive & ~nearest.distance.isinf()[:, None]).nonzero(as_tuple=True)
        return Triplets(anchor=anchor, positive=positive, negative=nearest.column[anchor])
