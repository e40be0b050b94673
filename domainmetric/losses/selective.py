"""The selectively contrastive triplet loss (Xuan et al. 2020, Hard negative examples are hard, but useful)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from domainmetric.errors import ConfigError
from domainmetric.geometry import Cosine, Distance
from domainmetric.losses.checks import check_positive, check_temperature
from domainmetric.losses.triplet import TripletLoss


@dataclass(frozen=True, kw_only=True)
class SelectivelyContrastive(TripletLoss):
    """SCT: the first-order loss, but a hard triplet only pushes its negative away: it adds strength * S_an.

    Hard is S_an > S_ap, or S_an > `limit`. The mean is over all triplets, hard or not. It may fall below zero, since
    a hard negative may have a negative similarity; and it jumps where a triplet becomes hard.
    """

    strength: float = 1.0
    """The paper's lambda: weight of a hard negative's similarity."""
    temperature: float = 0.1
    """What the similarities of other triplets are divided by."""
    limit: float = 0.8
    """Similarity to the negative above which a triplet is hard, however near the positive is."""

    def __post_init__(self) -> None:
        check_temperature(self, self.temperature)
        check_positive(self, "strength", self.strength)
        if not -1 < self.limit <= 1:
            raise ConfigError(f"SelectivelyContrastive.limit must be a similarity in (-1, 1], but is {self.limit}.")

    @property
    def measure(self) -> Distance:
        return Cosine()

    def of_distances(self, d_ap: Float[Tensor, "*#s"], d_an: Float[Tensor, "*#s"]) -> Float[Tensor, "*s"]:
        hard = (d_an < d_ap) | (d_an < 1 - self.limit)
        return torch.where(hard, self.strength * (1 - d_an), F.softplus((d_ap - d_an) / self.temperature))
