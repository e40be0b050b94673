"""Strategies that decide a class: the anchors are then the members of that class nearest in the source bank."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from jaxtyping import Bool, Float, Int64
from torch import Tensor

from domainmetric.anchors.base import AnchorMatcher
from domainmetric.types import Matches


class Decision(NamedTuple):
    """What a strategy thinks of target items."""

    label: Int64[Tensor, " m"]
    """The class of each."""
    confidence: Float[Tensor, " m"]
    """How sure of it, in [0, 1]."""
    keep: Bool[Tensor, " m"]
    """Where it says anything at all."""
    voters: Int64[Tensor, "m v"] | None = None
    """Places in the source bank of each item's nearest neighbors, the nearest first, where they were looked for and the
    class is that of one of them: then its nearest member need not be searched again."""


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

    def forward(
        self, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"], logits_t: Float[Tensor, "m k"]
    ) -> Matches:
        decision = self.decide(target_index, z_t, logits_t)
        return Matches(
            source_index=self.members(z_t, decision),
            label=decision.label,
            confidence=decision.confidence.clamp(0, 1),
            keep=decision.keep & self.source.has(decision.label, logits_t.shape[1]),
        )

    def members(self, z_t: Float[Tensor, "m d"], decision: Decision) -> Int64[Tensor, "m num"]:
        """Rows of the nearest members of the decided classes."""
        if decision.voters is None or self.num_anchors > 1:
            return self.source.nearest(z_t, decision.label, self.num_anchors)
        first = (self.source.labels[decision.voters] == decision.label[:, None]).int().argmax(1, keepdim=True)
        return self.source.rows[decision.voters.gather(1, first)]
