"""Triplets that share no vector, so that a step's effect on each can be told apart."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from domainmetric.miners.base import Miner
from domainmetric.miners.hard import HardPositiveHardNegative
from domainmetric.types import Pairs, Triplets


@dataclass(frozen=True, kw_only=True)
class Disjoint(Miner):
    """Another miner's triplets, but each vector in at most one of them: what a step moves can then be told apart.

    Greedy: of what the miner chooses, each triplet is taken, in order of the anchors, whose three vectors are all
    unused; then it mines again among the vectors that are left, until it finds no more.
    """

    miner: Miner = field(default_factory=HardPositiveHardNegative)
    """Which triplets are wanted."""

    def select(self, pairs: Pairs, generator: torch.Generator | None = None) -> Triplets:
        items = torch.cat([pairs.row_items, pairs.column_items]).unique(return_inverse=True)[1]
        row, column = items.split([len(pairs.row_items), len(pairs.column_items)])
        free = torch.ones(len(items), dtype=torch.bool, device=items.device)  # by the vector's number
        taken = [torch.empty(3, 0, dtype=torch.int64, device=items.device)]
        while True:
            both = free[row][:, None] & free[column]
            left = replace(pairs, positive=pairs.positive & both, negative=pairs.negative & both)
            chosen = self.miner.select(left, generator)
            if len(chosen) == 0:
                break
            triplets = torch.stack([chosen.anchor, chosen.positive, chosen.negative])
            triplets = triplets[:, triplets[0].argsort(stable=True)]
            vectors = torch.stack([row[triplets[0]], column[triplets[1]], column[triplets[2]]])
            wins = greedy(vectors, len(free))
            taken.append(triplets[:, wins])
            free[vectors[:, wins]] = False
        anchor, positive, negative = torch.cat(taken, 1)
        return Triplets(anchor=anchor, positive=positive, negative=negative)


def greedy(vectors: Int64[Tensor, "3 t"], num_vectors: int) -> Bool[Tensor, " t"]:
    """Which triplets a walk through the list takes, that takes each whose vectors no triplet taken before it has.

    In rounds: a triplet that comes before all others that share a vector with it is taken, those others fall away.
    """
    count = vectors.shape[1]
    taken = torch.zeros(count, dtype=torch.bool, device=vectors.device)
    left = torch.arange(count, device=vectors.device)
    while len(left):
        owners = vectors[:, left]
        first = torch.full((num_vectors,), count, device=vectors.device)
        first.scatter_reduce_(0, owners.flatten(), left.repeat(3), "amin")
        wins = (first[owners] == left).all(0)
        taken[left[wins]] = True
        used = torch.zeros(num_vectors, dtype=torch.bool, device=vectors.device)
        used[owners[:, wins]] = True
        left = left[~used[owners].any(0)]
    return taken
