"""Anchors by the classifier's word where it is sure of it, as pseudo-labels are taken (Lee 2013; Sohn et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher, Picker
from domainmetric.anchors.by_class import ClassMatcher, Decision
from domainmetric.errors import ConfigError
from domainmetric.types import Bank


@dataclass(frozen=True, kw_only=True)
class Confident(Picker):
    """The class that the teacher's classifier finds most probable; not matched where that is not probable enough.

    Confidence is the probability of the class.
    """

    probability: float = 0.9
    """Least probability of the class at which a target item is matched."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.probability <= 1:
            raise ConfigError(f"Confident.probability must lie in [0, 1], but is {self.probability}.")

    def build(self, context: AnchorContext) -> AnchorMatcher:
        return _Confident(self)


class _Confident(ClassMatcher):
    by_row = True

    def __init__(self, spec: Confident) -> None:
        super().__init__(spec.num_anchors)
        self.probability = spec.probability

    def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None:
        self.keep_source(source_bank)

    def decide(
        self, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"], logits_t: Float[Tensor, "m k"]
    ) -> Decision:
        probability, label = logits_t.float().softmax(1).max(1)
        return Decision(label, probability, probability >= self.probability)
