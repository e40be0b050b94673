"""The margin triplet loss, over listed triplets or exactly over all of them without listing any."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from domainmetric.errors import ConfigError
from domainmetric.geometry import ChordSquared, Distance
from domainmetric.losses.base import LossValue, MetricLoss
from domainmetric.types import Pairs, Triplets


@dataclass(frozen=True, kw_only=True)
class MarginTriplet(MetricLoss):
    """Mean of max(0, d_ap - d_an + margin) over the triplets (Weinberger & Saul 2009; Schroff et al. 2015)."""

    margin: float = 0.2
    """Margin, in units of `distance`."""
    distance: Distance = field(default_factory=ChordSquared)
    """How far apart two embeddings are."""

    def __post_init__(self) -> None:
        if not self.margin > 0:
            raise ConfigError(f"MarginTriplet.margin must be positive, but is {self.margin}.")

    def of(self, pairs: Pairs, triplets: Triplets | None = None) -> LossValue:
        if triplets is None:
            return self._of_all(pairs)
        d_ap = self.distance(pairs.sq_chord[triplets.anchor, triplets.positive])
        d_an = self.distance(pairs.sq_chord[triplets.anchor, triplets.negative])
        hinge = (d_ap - d_an + self.margin).relu()
        used = hinge.new_tensor(float(len(triplets)))
        zero = pairs.sq_chord.sum() * 0
        return LossValue(zero + hinge.sum() / used.clamp_min(1), used, (hinge > 0).sum().to(hinge.dtype))

    def _of_all(self, pairs: Pairs) -> LossValue:
        """Batch-all without a list: negatives are sorted once per anchor, and each positive asks how many are too near.

        Time O(B^2 log B), memory O(B^2); the mean is over all valid triplets, active or not.
        """
        distances = self.distance(pairs.sq_chord)
        d_an = distances.masked_fill(~pairs.negative, torch.inf).sort(1).values
        counts = pairs.negative.sum(1, keepdim=True)
        real = torch.arange(d_an.shape[1], device=d_an.device) < counts
        prefix = torch.cat([d_an.new_zeros(len(d_an), 1), torch.where(real, d_an, 0).cumsum(1)], 1)
        limit = distances + self.margin
        violating = torch.searchsorted(d_an.detach(), limit.detach().contiguous()).minimum(counts)
        total = torch.where(pairs.positive, violating * limit - prefix.gather(1, violating), 0).sum()
        used = (pairs.positive.sum(1, keepdim=True) * counts).sum().to(distances.dtype)
        active: Float[Tensor, ""] = torch.where(pairs.positive, violating, 0).sum().to(distances.dtype)
        return LossValue(total / used.clamp_min(1), used, active)
