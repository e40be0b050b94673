"""The first- and second-order triplet losses on cosine similarities (Xuan et al., Extreme Triplet Learning).

S is a cosine similarity. Both are written with cosine distances d = 1 - S, whose small differences survive rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from domainmetric.geometry import Cosine, Distance
from domainmetric.losses.checks import check_temperature
from domainmetric.losses.triplet import TripletLoss


@dataclass(frozen=True, kw_only=True)
class FirstOrder(TripletLoss):
    """L1, mean of log(1 + exp((S_an - S_ap) / temperature)) (NCA on triplets; Goldberger et al. 2004)."""

    temperature: float = 1.0
    """What similarities are divided by; 1 leaves them as they are."""

    def __post_init__(self) -> None:
        check_temperature(self, self.temperature)

    @property
    def measure(self) -> Distance:
        return Cosine()

    def of_distances(self, d_ap: Float[Tensor, "*#s"], d_an: Float[Tensor, "*#s"]) -> Float[Tensor, "*s"]:
        return F.softplus((d_ap - d_an) / self.temperature)


@dataclass(frozen=True, kw_only=True)
class SecondOrder(TripletLoss):
    """L2, mean of log(1 + exp(S_an^2 / 2 - (S_ap - S_ap^2 / 2))).

    Its gradient pulls the positive by 1 - S_ap and pushes the negative by S_an: little where the positive is near
    already, and where the negative is far.
    """

    @property
    def measure(self) -> Distance:
        return Cosine()

    def of_distances(self, d_ap: Float[Tensor, "*#s"], d_an: Float[Tensor, "*#s"]) -> Float[Tensor, "*s"]:
        # S_ap - S_ap^2 / 2 = (1 - d_ap^2) / 2
        return F.softplus(((1 - d_an).square() + d_ap.square() - 1) / 2)
