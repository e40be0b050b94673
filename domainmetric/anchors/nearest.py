"""Anchors by the vote of the nearest source embeddings."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher, Picker, all_kept
from domainmetric.anchors.by_class import ClassMatcher, Decision
from domainmetric.anchors.search import ExactSearch, Lookup, Search, vote
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
    search: Search = field(default_factory=ExactSearch)
    """How they are found: `ExactSearch()`, or `CellSearch()` for banks above a million items."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 1:
            raise ConfigError(f"Nearest.k must be at least 1, but is {self.k}.")
        if not self.temperature > 0:
            raise ConfigError(f"Nearest.temperature must be positive, but is {self.temperature}.")
        if self.num_anchors > 1 and not isinstance(self.search, ExactSearch):
            raise ConfigError(
                f"Nearest.num_anchors is {self.num_anchors}, but all after the first are found by an exact search of "
                f"their class, so that {type(self.search).__name__} would save nothing. Set num_anchors=1."
            )

    def build(self, context: AnchorContext) -> AnchorMatcher:
        return _Nearest(self)


class _Nearest(ClassMatcher):
    by_row = True

    def __init__(self, spec: Nearest) -> None:
        super().__init__(spec.num_anchors)
        self.spec = spec
        self._prepared: tuple[Tensor, Lookup] | None = None

    def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None:
        self.keep_source(source_bank)
        self.lookup()

    def lookup(self) -> Lookup:
        """The search, prepared anew where the memory holds another bank: after a refresh, or from a checkpoint."""
        if self._prepared is None or self._prepared[0] is not self.source.z:
            self._prepared = self.source.z, self.spec.search.among(self.source.z)
        return self._prepared[1]

    def decide(
        self, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"], logits_t: Float[Tensor, "m k"]
    ) -> Decision:
        similarity, voters = self.lookup()(z_t, self.spec.k)
        weight = (similarity / self.spec.temperature).softmax(1)
        confidence, label = vote(self.source.labels[voters], weight, logits_t.shape[1]).max(1)
        return Decision(label, confidence, all_kept(target_index), voters)
