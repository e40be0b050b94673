"""Contrastive losses: positives are drawn together, negatives are pushed apart as far as a margin."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from domainmetric.errors import ConfigError
from domainmetric.geometry import Chord, Distance
from domainmetric.losses.checks import check_positive
from domainmetric.losses.known import by_rows
from domainmetric.losses.pairwise import PairLoss, PairSums, num_pairs
from domainmetric.types import Pairs


@dataclass(frozen=True, kw_only=True)
class Contrastive(PairLoss):
    """Mean of d - pos_margin over positives beyond it, plus mean of neg_margin - d over negatives within it.

    The two means are apart (Hadsell et al. 2006, without the squares). As pytorch-metric-learning's `ContrastiveLoss`,
    which however is not zero where no anchor has both a positive and a negative, and counts a pair of given triplets
    as often as it is named.
    """

    pos_margin: float = 0.0
    """Distance within which a positive is near enough."""
    neg_margin: float = 1.0
    """Distance beyond which a negative is far enough."""
    distance: Distance = field(default_factory=Chord)
    """How far apart two embeddings are."""

    def __post_init__(self) -> None:
        if not self.pos_margin >= 0:
            raise ConfigError(f"Contrastive.pos_margin must not be negative, but is {self.pos_margin}.")
        check_positive(self, "neg_margin", self.neg_margin)

    @property
    def measure(self) -> Distance:
        return self.distance

    def of_distances(self, distances: Float[Tensor, "a b"], pairs: Pairs) -> PairSums:
        num_far = (pairs.positive & (distances > self.pos_margin)).count_nonzero()
        num_near = (pairs.negative & (distances < self.neg_margin)).count_nonzero()
        pull, push = 1 / num_far.clamp_min(1), 1 / num_near.clamp_min(1)

        def rows(
            d: Float[Tensor, "r b"], positive: Bool[Tensor, "r b"], negative: Bool[Tensor, "r b"]
        ) -> Float[Tensor, " r"]:
            far = (d - self.pos_margin).relu().masked_fill(~positive, 0)
            near = (self.neg_margin - d).relu().masked_fill(~negative, 0)
            return (far * pull + near * push).sum(1)

        values, gradient = by_rows(rows, distances, pairs)
        return PairSums(values.double().sum(), num_pairs(pairs).sum(), num_far + num_near, gradient)


@dataclass(frozen=True, kw_only=True)
class HingeEmbedding(PairLoss):
    """Mean over all pairs of d for a positive, and of max(0, margin - d) for a negative.

    `torch.nn.HingeEmbeddingLoss` on the distances of all pairs.
    """

    margin: float = 1.0
    """Distance beyond which a negative is far enough."""
    distance: Distance = field(default_factory=Chord)
    """How far apart two embeddings are."""

    def __post_init__(self) -> None:
        check_positive(self, "margin", self.margin)

    @property
    def measure(self) -> Distance:
        return self.distance

    def of_distances(self, distances: Float[Tensor, "a b"], pairs: Pairs) -> PairSums:
        used = num_pairs(pairs).sum()

        def rows(
            d: Float[Tensor, "r b"], positive: Bool[Tensor, "r b"], negative: Bool[Tensor, "r b"]
        ) -> Float[Tensor, " r"]:
            hinges = torch.where(positive, d, (self.margin - d).relu().masked_fill(~negative, 0))
            return hinges.sum(1) / used

        values, gradient = by_rows(rows, distances, pairs)
        active = pairs.positive.count_nonzero() + (pairs.negative & (distances < self.margin)).count_nonzero()
        return PairSums(values.double().sum(), used, active, gradient)
