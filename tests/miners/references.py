"""Every miner by explicit loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from domainmetric.geometry import Chord, ChordSquared, Cosine, Distance
from domainmetric.miners.base import Miner
from domainmetric.miners.disjoint import Disjoint
from domainmetric.miners.distance_weighted import DistanceWeighted
from domainmetric.miners.hard import (
    EasyPositiveEasyNegative,
    EasyPositiveHardNegative,
    EasyPositiveSemiHardNegative,
    HardNegative,
    HardPositiveHardNegative,
)
from domainmetric.miners.random import RandomTriplets
from domainmetric.miners.semi_hard import MarginViolating, SemiHard
from domainmetric.pairs import Roles, StepPairs
from domainmetric.randomness import generator
from domainmetric.types import Group, Pairs
from tests.reference import all_triplets, apart, columns, labels, unit

Triplet = tuple[int, int, int]
Reference = Callable[[Pairs], list[Triplet]]


def both_domains() -> Pairs:
    """Target rows, some of which are dropped, against the source and themselves."""
    source = Group(z=unit(0, 14), labels=labels(1, 14))
    target = Group(z=unit(2, 9), labels=labels(3, 9), keep=torch.arange(9) % 5 != 0)
    return StepPairs({"source": source, "target": target}).of(Roles(anchor="target", positive="both", negative="both"))


def valid_anchors(pairs: Pairs) -> list[int]:
    return [a for a in range(len(pairs.positive)) if columns(pairs.positive, a) and columns(pairs.negative, a)]


def near_first(pairs: Pairs, a: int, among: list[int]) -> list[int]:
    return sorted(among, key=lambda c: (float(pairs.sq_chord[a, c]), c))


def far_first(pairs: Pairs, a: int, among: list[int]) -> list[int]:
    return sorted(among, key=lambda c: (-float(pairs.sq_chord[a, c]), c))


def by_anchor(choose_positive: Callable[..., list[int]], choose_negative: Callable[..., list[int]]) -> Reference:
    def select(pairs: Pairs) -> list[Triplet]:
        chosen = []
        for a in valid_anchors(pairs):
            p = choose_positive(pairs, a, columns(pairs.positive, a))[0]
            chosen.append((a, p, choose_negative(pairs, a, columns(pairs.negative, a))[0]))
        return chosen

    return select


def epshn(pairs: Pairs) -> list[Triplet]:
    chosen = []
    for a in valid_anchors(pairs):
        p = near_first(pairs, a, columns(pairs.positive, a))[0]
        beyond = [n for n in columns(pairs.negative, a) if pairs.sq_chord[a, n] > pairs.sq_chord[a, p]]
        if beyond:
            chosen.append((a, p, near_first(pairs, a, beyond)[0]))
    return chosen


def hard_negative(pairs: Pairs) -> list[Triplet]:
    return [
        (a, p, near_first(pairs, a, columns(pairs.negative, a))[0])
        for a in valid_anchors(pairs)
        for p in columns(pairs.positive, a)
    ]


def within_margin(margin: float, distance: Distance, *, semi_hard: bool) -> Reference:
    def select(pairs: Pairs) -> list[Triplet]:
        d = apart(distance, pairs)
        if semi_hard:
            return [(a, p, n) for a, p, n in all_triplets(pairs) if d[a][p] < d[a][n] <= d[a][p] + margin]
        return [(a, p, n) for a, p, n in all_triplets(pairs) if d[a][n] < d[a][p] + margin]

    return select


def random_triplets(miner: RandomTriplets) -> Reference:
    def select(pairs: Pairs) -> list[Triplet]:
        k, chosen = miner.num_per_anchor, []
        u = torch.rand(len(pairs.positive), 2 * k, generator=generator("cpu", miner.seed, "mining"), dtype=torch.double)
        for a in valid_anchors(pairs):
            positives, negatives = columns(pairs.positive, a), columns(pairs.negative, a)
            for i in range(k):
                p, n = positives[int(u[a, i] * len(positives))], negatives[int(u[a, k + i] * len(negatives))]
                chosen.append((a, p, n))
        return chosen

    return select


def inverse_density(sq_chord: float, dim: int, miner: DistanceWeighted) -> float:
    """1/q(d) with both cutoffs, not normalized."""
    d = math.sqrt(sq_chord)
    if d >= miner.nonzero_loss_cutoff:
        return 0
    d = max(d, miner.cutoff)
    return 1 / (d ** (dim - 2) * (1 - d * d / 4) ** ((dim - 3) / 2))


def distance_weighted(miner: DistanceWeighted) -> Reference:
    def select(pairs: Pairs) -> list[Triplet]:
        most = max((len(columns(pairs.positive, a)) for a in range(len(pairs.positive))), default=0)
        u = torch.rand(len(pairs.positive), most, generator=generator("cpu", miner.seed, "mining"), dtype=torch.double)
        chosen = []
        for a in valid_anchors(pairs):
            dim, negatives = pairs.rows.z.shape[1], columns(pairs.negative, a)
            weights = [inverse_density(float(pairs.sq_chord[a, n]), dim, miner) for n in negatives]
            for place, p in enumerate(columns(pairs.positive, a)):
                rest = float(u[a, place]) * sum(weights)
                for n, weight in zip(negatives, weights, strict=True):
                    if rest < weight:
                        chosen.append((a, p, n))
                        break
                    rest -= weight
        return chosen

    return select


def disjoint(inner: Reference) -> Reference:
    def select(pairs: Pairs) -> list[Triplet]:
        row, column = pairs.row_items.tolist(), pairs.column_items.tolist()
        used: set[int] = set()
        taken: list[Triplet] = []
        while True:
            free = torch.tensor([[r not in used and c not in used for c in column] for r in row])
            left = replace(pairs, positive=pairs.positive & free, negative=pairs.negative & free)
            before = len(taken)
            for a, p, n in sorted(inner(left), key=lambda triplet: triplet[0]):
                if not used & {row[a], column[p], column[n]}:
                    used |= {row[a], column[p], column[n]}
                    taken.append((a, p, n))
            if len(taken) == before:
                return taken

    return select


EPHN, HPHN = by_anchor(near_first, near_first), by_anchor(far_first, near_first)
EPEN = by_anchor(near_first, far_first)
TWICE, WEIGHTED = RandomTriplets(num_per_anchor=2, seed=5), DistanceWeighted(cutoff=0.6, nonzero_loss_cutoff=1.6)
REFERENCES: list[tuple[Miner, Reference]] = [
    (EasyPositiveHardNegative(), EPHN),
    (EasyPositiveSemiHardNegative(), epshn),
    (HardPositiveHardNegative(), HPHN),
    (EasyPositiveEasyNegative(), EPEN),
    (HardNegative(), hard_negative),
    (SemiHard(), within_margin(0.2, ChordSquared(), semi_hard=True)),
    (SemiHard(margin=0.5, distance=Cosine()), within_margin(0.5, Cosine(), semi_hard=True)),
    (MarginViolating(), within_margin(0.2, ChordSquared(), semi_hard=False)),
    (MarginViolating(margin=0.4, distance=Chord()), within_margin(0.4, Chord(), semi_hard=False)),
    (RandomTriplets(), random_triplets(RandomTriplets())),
    (TWICE, random_triplets(TWICE)),
    (DistanceWeighted(), distance_weighted(DistanceWeighted())),
    (WEIGHTED, distance_weighted(WEIGHTED)),
    (Disjoint(), disjoint(HPHN)),
    (Disjoint(miner=EasyPositiveEasyNegative()), disjoint(EPEN)),
    (Disjoint(miner=HardNegative()), disjoint(hard_negative)),
]
"""Each miner of the package with its loops."""
