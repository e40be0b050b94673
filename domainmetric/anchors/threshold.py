"""Matches that are not confident enough are dropped."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher
from domainmetric.anchors.modifier import Modifier, ModifierMatcher
from domainmetric.errors import ConfigError
from domainmetric.types import Matches


@dataclass(frozen=True, kw_only=True)
class Threshold(Modifier):
    """Another strategy's matches, of which those below a fixed confidence are dropped.

    Confidence is the inner strategy's, whose docstring tells what it is: the share of a vote, a probability, ...
    """

    confidence: float = 0.8
    """Least confidence of a match that is kept."""

    def __post_init__(self) -> None:
        if not 0 < self.confidence <= 1:
            raise ConfigError(
                f"Threshold.confidence must lie in (0, 1], but is {self.confidence}. To keep all, leave Threshold out."
            )

    def build(self, context: AnchorContext) -> AnchorMatcher:
        return _Threshold(self, context)


class _Threshold(ModifierMatcher):
    by_row = True

    def __init__(self, spec: Threshold, context: AnchorContext) -> None:
        super().__init__(spec, context)
        self.confidence = spec.confidence

    def modify(self, matches: Matches, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"]) -> Matches:
        return replace(matches, keep=matches.keep & (matches.confidence >= self.confidence))
