"""Strategies that decide a class: the anchors are then the members of that class nearest in the source bank."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, final

from jaxtyping import Bool, Float, Int64
from torch import Tensor

from domainmetric.anchors.base import AnchorMatcher
from domainmetric.types import Matches


class Decision(NamedTuple):
    """The class of each target item, how sure the strategy is of it in [0, 1], and whether it says anything."""

    label: Int64[Tensor, " m"]
    confidence: Float[Tensor, " m"]
    keep: Bool[Tensor, " m"]


class ClassMatcher(AnchorMatcher, ABC):
    """Decides a class for each target item, and picks the nearest members of the class.

    A target item whose class has no member in the source bank is not matched.
    """

    def __init__(self, num_anchors: int) -> None:
        super().__init__()
        self.num_anchors = num_anchors

    @abstractmethod
    def decide(
        self, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"], logits_t: Float[Tensor, "m k"]
    ) -> Decision:
        """The class of each target row."""

    @final
    def forward(
        self, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"], logits_t: Float[Tensor, "m k"]
    ) -> Matches:
        label, confidence, keep = self.decide(target_index, z_t, logits_t)
        return Matches(
            source_index=self.source.nearest(z_t, label, self.num_anchors),
            label=label,
            confidence=confidence.clamp(0, 1),
            keep=keep & self.source.has(label, logits_t.shape[1]),
        )
