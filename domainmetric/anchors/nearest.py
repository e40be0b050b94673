"""Anchors by the vote of the nearest source embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher, AnchorStrategy
from domainmetric.errors import ConfigError
from domainmetric.types import Bank, Matches


@dataclass(frozen=True, kw_only=True)
class Nearest(AnchorStrategy):
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


class _Nearest(AnchorMatcher):
    def __init__(self, spec: Nearest) -> None:
        super().__init__()
        self.spec = spec

    def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None:
        self.keep_source(source_bank)

    def forward(
        self, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"], logits_t: Float[Tensor, "m k"]
    ) -> Matches:
        similarity, voters = (z_t @ self.memory["z"].T).topk(min(self.spec.k, len(self.memory["z"])), 1)
        weight = (similarity / self.spec.temperature).softmax(1)
        votes = torch.zeros_like(logits_t).scatter_add_(1, self.memory["labels"][voters], weight)
        confidence, label = votes.max(1)
        index = self.member(z_t, label, self.spec.num_anchors)
        keep = torch.ones_like(target_index, dtype=torch.bool)
        return Matches(source_index=index, label=label, confidence=confidence.clamp_max(1), keep=keep)
