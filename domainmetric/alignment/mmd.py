"""Maximum mean discrepancy between the embeddings of the two domains (Long et al. 2015, DAN)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from domainmetric.alignment.base import AlignmentTerm
from domainmetric.alignment.class_share import ClassShare
from domainmetric.errors import ConfigError
from domainmetric.statistics import BANDWIDTHS, mmd2
from domainmetric.step import PartContext, PartModule, Side, Step


@dataclass(frozen=True, kw_only=True)
class Mmd(AlignmentTerm):
    """Squared MMD (V-statistic) of source against target embeddings."""

    bandwidths: tuple[float, ...] = BANDWIDTHS
    """Factors on the mean squared distance, one Gaussian kernel for each."""
    class_weighted: bool = False
    """Weigh source rows by how common their class is among the target's predictions (Yan et al. 2017)."""

    def __post_init__(self) -> None:
        if not self.bandwidths or min(self.bandwidths) <= 0:
            raise ConfigError(f"Mmd.bandwidths must name at least one positive factor, but is {self.bandwidths}.")

    def moves(self, progress: float) -> frozenset[Side]:
        return frozenset({"source", "target"})

    def build(self, context: PartContext) -> PartModule:
        return _Mmd(self, context.num_classes)


class _Mmd(PartModule):
    def __init__(self, spec: Mmd, num_classes: int) -> None:
        super().__init__()
        self.bandwidths = spec.bandwidths
        self.class_share = ClassShare(num_classes) if spec.class_weighted else None

    def forward(self, step: Step) -> Float[Tensor, ""]:
        weights = None if self.class_share is None else self.class_share(step)
        return mmd2(step.encoded_source.z, step.z_t, bandwidths=self.bandwidths, weights=weights)
