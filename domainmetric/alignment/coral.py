"""Deep CORAL (Sun & Saenko 2016): embeddings of the two domains with the same covariance.

Means are not compared, nor anything beyond second moments.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from domainmetric.alignment.base import AlignmentTerm
from domainmetric.geometry import at_least_float32
from domainmetric.step import PartContext, PartModule, Side, Step


@dataclass(frozen=True, kw_only=True)
class Coral(AlignmentTerm):
    """|C_s - C_t|^2 / (4 d^2): squared Frobenius norm between the covariances of source and target embeddings (eq. 1).

    Covariances are those of the batch, over n - 1 (eq. 2 and 3), and d is the dimension of the embedding. Unit
    embeddings have covariances of trace 1 (nearly), so the value is below 1 / (2 d^2), 3e-5 at d = 128: beside other
    terms it takes a weight of 1e4 or more to be felt.
    """

    def moves(self, progress: float) -> frozenset[Side]:
        return frozenset({"source", "target"})

    def build(self, context: PartContext) -> PartModule:
        return _Coral()


class _Coral(PartModule):
    def forward(self, step: Step) -> Float[Tensor, ""]:
        return coral(step.encoded_source.z, step.z_t)


def coral(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
    """Squared Frobenius norm between the covariances of two samples, over 4 d^2; in float32 at least.

    Samples may differ in size. The covariance of a single row, or of equal rows, is zero, with zero gradient.
    """
    with torch.autocast(x.device.type, enabled=False):
        difference = covariance(at_least_float32(x)) - covariance(at_least_float32(y))
        return difference.square().sum() / (4 * x.shape[1] ** 2)


def covariance(x: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """Unbiased covariance matrix of the columns; rows are centered first, so that near collapse no digits are lost."""
    centered = x - x.mean(0)
    return centered.T @ centered / max(1, len(x) - 1)
