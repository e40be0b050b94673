"""Consistency with the teacher: a target image is the same class however it is shown (French et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from domainmetric.alignment.base import AlignmentTerm
from domainmetric.errors import ConfigError
from domainmetric.step import Need, PartContext, PartModule, Step


@dataclass(frozen=True, kw_only=True)
class Consistency(AlignmentTerm):
    """Mean squared distance |p - q|^2 of the target's class probabilities, p of the augmented view by the network and
    q of the clean one by the teacher, where the teacher is confident; in [0, 2].

    The mean is over all rows of the batch, so that the term grows as the teacher becomes sure (self-ensembling; French
    et al. 2018 average over the classes as well: their weight 3 at ten classes is 0.3 here).
    """

    confidence: float = 0.968
    """The teacher's largest probability from which on it is believed; 0 believes it always."""

    def __post_init__(self) -> None:
        if not 0 <= self.confidence < 1:
            raise ConfigError(f"Consistency.confidence must lie in [0, 1), but is {self.confidence}.")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"target", "taught"})

    def build(self, context: PartContext) -> PartModule:
        return _Consistency(self.confidence)


class _Consistency(PartModule):
    def __init__(self, confidence: float) -> None:
        super().__init__()
        self.confidence = confidence

    def forward(self, step: Step) -> Float[Tensor, ""]:
        if step.taught is None:
            raise ConfigError("Consistency needs a teacher, but this phase has none: put it into an AdaptationPhase.")
        q = step.taught.logits.float().softmax(1)
        believed = (q.amax(1) >= self.confidence).float()
        step.notes["consistency/believed"] = believed.mean()
        p = step.aligned().logits.float().softmax(1)
        return ((p - q).square().sum(1) * believed).mean()
