"""Anchors by the vote of the nearest source embeddings."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher, Picker, all_kept
from domainmetric.anchors.by_class import ClassMatcher, Decision
from domainmetric.anchors.search import nearest, vote
from domainmetric.errors import ConfigError
from domainmetric.types import Bank


@dataclass(frozen=True, kw_only=True)
class Nearest(Picker):
    """The k nearest bank items vote with weights softmax(cosine / temperature); the anchor is the winners' nearest.

    Confidence is the winning class's share of the vote.
    """

    k: int = 10
    """Number of voters."""
    temperature: float = 0.1
    """Temperature of the vote's softmax over cosines."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 1:
            raise ConfigError(f"Nearest.k must be at least 1, but is {self.k}.")
        if not self.temperature > 0:
            raise ConfigError(f"Nearest.temperature must be positive, but is {self.temperature}.")

    def build(self, context: AnchorContext) -> AnchorMatcher:
        return _Nearest(self)


class _Nearest(ClassMatcher):
    def __init__(self, spec: Nearest) -> None:
        super().__init__(spec.num_anchors)
        self.spec = spec

    def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None:
        self.keep_source(source_bank)

    def decide(
        self, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"], logits_t: Float[Tensor, "m k"]
    ) -> Decision:
        similarity, voters = nearest(z_t, self.source.z, self.spec.k)
        weight = (similarity / self.spec.temperature).softmax(1)
        confidence, label = vote(self.source.labels[voters], weight, logits_t.shape[1]).max(1)
        return Decision(label, confidence, all_kept(target_index), voters)
