"""A cap on how much of a batch one class may take."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher
from domainmetric.anchors.modifier import Modifier, ModifierMatcher
from domainmetric.errors import ConfigError
from domainmetric.types import Matches


@dataclass(frozen=True, kw_only=True)
class ClassQuota(Modifier):
    """Another strategy's matches, of which each class keeps only its most confident ones in every batch.

    Confidence is the inner strategy's.
    """

    share: float = 0.15
    """Largest share of a batch that may be matched to one class; one item of each is always allowed."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ConfigError(f"ClassQuota.share must lie strictly between 0 and 1, but is {self.share}.")

    def build(self, context: AnchorContext) -> AnchorMatcher:
        return _ClassQuota(self, context)


class _ClassQuota(ModifierMatcher):
    def __init__(self, spec: ClassQuota, context: AnchorContext) -> None:
        super().__init__(spec, context)
        self.share = spec.share

    def modify(self, matches: Matches, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"]) -> Matches:
        quota = max(1, int(self.share * len(target_index)))
        return replace(matches, keep=matches.keep & (confidence_rank(matches) < quota))


def confidence_rank(matches: Matches) -> Int64[Tensor, " m"]:
    """How many kept items of the same class are more confident than each item (earlier ones first among equals)."""
    order = matches.confidence.masked_fill(~matches.keep, -torch.inf).argsort(descending=True, stable=True)
    same = matches.label[order][:, None] == matches.label[order]
    before = (same & matches.keep[order]).tril(-1).sum(1)
    return torch.empty_like(before).scatter_(0, order, before)
