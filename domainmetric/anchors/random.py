"""Anchors drawn blindly: the strategy that every other one must beat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher, Picker, all_kept
from domainmetric.randomness import generator
from domainmetric.types import Bank, Matches


@dataclass(frozen=True, kw_only=True)
class RandomAnchors(Picker):
    """A uniformly random source item for each target item, drawn once. Confidence is 1 / classes."""

    def build(self, context: AnchorContext) -> AnchorMatcher:
        return _RandomAnchors(self, context)


class _RandomAnchors(AnchorMatcher):
    by_row = True

    def __init__(self, spec: RandomAnchors, context: AnchorContext) -> None:
        super().__init__()
        assert context.source.labels is not None
        draw = generator("cpu", context.seed, "random anchors")
        shape = (len(context.target), spec.num_anchors)
        self.choice = torch.randint(len(context.source), shape, generator=draw).to(context.source.images.device)
        self.labels, self.num_classes = context.source.labels, len(context.source.classes)

    def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None:
        del source_bank, target_bank  # blind by design

    def forward(
        self, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"], logits_t: Float[Tensor, "m k"]
    ) -> Matches:
        chosen = self.choice[target_index]
        confidence = z_t.new_full((len(z_t),), 1 / self.num_classes)
        return Matches(
            source_index=chosen, label=self.labels[chosen[:, 0]], confidence=confidence, keep=all_kept(target_index)
        )
