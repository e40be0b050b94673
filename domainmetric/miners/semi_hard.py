"""Miners that list every triplet whose negative is too near: all of them, or those of them that are semi-hard."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from domainmetric.errors import ConfigError
from domainmetric.geometry import ChordSquared, Distance
from domainmetric.miners.base import Miner
from domainmetric.miners.listing import triplets_between
from domainmetric.types import Pairs, Triplets


@dataclass(frozen=True, kw_only=True)
class SemiHard(Miner):
    """All triplets with d_ap < d_an <= d_ap + margin (FaceNet; Schroff et al. 2015).

    The loss `SemiHardTriplet` has the same mean without the list, which may be long.
    """

    margin: float = 0.2
    """Margin, in units of `distance`."""
    distance: Distance = field(default_factory=ChordSquared)
    """The distance that the margin refers to; give the loss the same one."""

    def __post_init__(self) -> None:
        check_margin(self)

    def select(self, pairs: Pairs, generator: torch.Generator | None = None) -> Triplets:
        return triplets_between(
            pairs,
            self.distance,
            lambda d_an, d_ap: (
                torch.searchsorted(d_an, d_ap, right=True),
                torch.searchsorted(d_an, d_ap + self.margin, right=True),
            ),
        )


@dataclass(frozen=True, kw_only=True)
class MarginViolating(Miner):
    """Batch-all: all triplets that violate the margin, d_an < d_ap + margin, so that the hinge is active in each.

    A loss without a miner has the sum of the same triplets without the list, which may be long (but counts all others
    in its mean).
    """

    margin: float = 0.2
    """Margin, in units of `distance`."""
    distance: Distance = field(default_factory=ChordSquared)
    """The distance that the margin refers to; give the loss the same one."""

    def __post_init__(self) -> None:
        check_margin(self)

    def select(self, pairs: Pairs, generator: torch.Generator | None = None) -> Triplets:
        return triplets_between(
            pairs,
            self.distance,
            lambda d_an, d_ap: (
                torch.zeros_like(d_ap, dtype=torch.int64),
                torch.searchsorted(d_an, d_ap + self.margin),
            ),
        )


def check_margin(miner: SemiHard | MarginViolating) -> None:
    """Raise ConfigError unless the margin is positive."""
    if not miner.margin > 0:
        raise ConfigError(f"{type(miner).__name__}.margin must be positive, but is {miner.margin}.")
