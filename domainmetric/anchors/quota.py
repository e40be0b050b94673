"""A cap on how much of a batch one class may take."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher, AnchorStrategy
from domainmetric.anchors.nearest import Nearest
from domainmetric.errors import ConfigError
from domainmetric.types import Bank, Matches


@dataclass(frozen=True, kw_only=True)
class ClassQuota(AnchorStrategy):
    """Another strategy's matches, of which each class keeps only its most confident ones in every batch."""

    inner: AnchorStrategy = field(default_factory=Nearest)
    """The strategy that matches; its `num_anchors` counts."""
    share: float = 0.15
    """Largest share of a batch that may be matched to one class."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share < 1:
            raise ConfigError(f"ClassQuota.share must lie strictly between 0 and 1, but is {self.share}.")
        if self.num_anchors != 1:
            raise ConfigError("ClassQuota takes its number of anchors from `inner`: set inner.num_anchors instead.")

    @property
    def needs_target_bank(self) -> bool:
        return self.inner.needs_target_bank

    @property
    def needs_target_labels(self) -> bool:
        return self.inner.needs_target_labels

    def build(self, context: AnchorContext) -> AnchorMatcher:
        return _ClassQuota(self.share, self.inner.build(context))


class _ClassQuota(AnchorMatcher):
    def __init__(self, share: float, inner: AnchorMatcher) -> None:
        super().__init__()
        self.share, self.inner = share, inner
        self.memory = inner.memory  # one memory, so that checkpoints see it

    def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None:
        self.inner.refresh(source_bank, target_bank)

    def forward(
        self, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"], logits_t: Float[Tensor, "m k"]
    ) -> Matches:
        matches: Matches = self.inner(target_index, z_t, logits_t)
        quota = max(1, int(self.share * len(target_index)))
        rank = confidence_rank(matches)
        return replace(matches, keep=matches.keep & (rank < quota))


def confidence_rank(matches: Matches) -> Int64[Tensor, " m"]:
    """How many kept items of the same class are more confident than each item (earlier ones first among equals)."""
    order = matches.confidence.masked_fill(~matches.keep, -torch.inf).argsort(descending=True, stable=True)
    same = matches.label[order][:, None] == matches.label[order]
    before = (same & matches.keep[order]).tril(-1).sum(1)
    return torch.empty_like(before).scatter_(0, order, before)
