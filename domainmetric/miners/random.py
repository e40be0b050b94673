"""Random triplets: what mining is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from domainmetric.errors import ConfigError
from domainmetric.miners.base import Miner
from domainmetric.miners.drawing import draw_columns, uniform
from domainmetric.types import Pairs, Triplets


@dataclass(frozen=True, kw_only=True)
class RandomTriplets(Miner):
    """For each anchor a few triplets, positive and negative drawn uniformly, with replacement.

    No distance enters. With few classes most of such triplets are easy ones.
    """

    num_per_anchor: int = 1
    """Triplets of each anchor."""
    seed: int = 0
    """Seed of the plain call without a generator. In a run the step's generator draws, from the experiment's seed."""

    def __post_init__(self) -> None:
        if self.num_per_anchor < 1:
            raise ConfigError(f"RandomTriplets.num_per_anchor must be at least 1, but is {self.num_per_anchor}.")

    def select(self, pairs: Pairs, generator: torch.Generator | None = None) -> Triplets:
        shape, k = pairs.positive.shape, self.num_per_anchor
        u = uniform((shape[0], 2 * k), pairs.positive.device, generator, self.seed)
        positive = draw_columns(shape, lambda rows: pairs.positive[rows], u[:, :k])
        negative = draw_columns(shape, lambda rows: pairs.negative[rows], u[:, k:])
        anchor = (positive.possible & negative.possible).nonzero().squeeze(1)
        return Triplets(
            anchor=anchor.repeat_interleave(k),
            positive=positive.column[anchor].flatten(),
            negative=negative.column[anchor].flatten(),
        )
