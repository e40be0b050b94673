"""Information maximization: target predictions that are decided one by one and diverse together (SHOT-IM)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from domainmetric.alignment.base import AlignmentTerm
from domainmetric.statistics import information
from domainmetric.step import PartContext, PartModule, Step


@dataclass(frozen=True, kw_only=True)
class InformationMaximization(AlignmentTerm):
    """mean H(p) - H(mean p) over the target batch, in nats (Liang et al. 2020)."""

    def build(self, context: PartContext) -> PartModule:
        return _InformationMaximization()


class _InformationMaximization(PartModule):
    def forward(self, step: Step) -> Float[Tensor, ""]:
        return -information(step.aligned().logits.softmax(1))
