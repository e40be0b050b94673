"""Anchors by mutual nearest neighbors (Haghverdi et al. 2018, who match batches of single cells so)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher, Picker, required
from domainmetric.anchors.by_class import ClassMatcher, Decision
from domainmetric.anchors.search import nearest, vote
from domainmetric.errors import ConfigError
from domainmetric.types import Bank

ROUNDING = 1e-6
"""By how much the same cosine may differ between two products of matrices."""


@dataclass(frozen=True, kw_only=True)
class Mutual(Picker):
    """Like `Nearest`, but a source item only votes for a target item that is one of its own k nearest.

    A target item is weighed against the target bank: a source item votes for it if the cosine between the two reaches
    the k-th highest cosine that this source item has with the target bank. Without any such voter it is not matched.
    Weights are softmax(cosine / temperature) over the k nearest source items; confidence is the winning class's share
    of all of them, so that neighbors who do not vote count against it.
    """

    k: int = 10
    """Nearest neighbors looked at, in both directions."""
    temperature: float = 0.1
    """Temperature of the vote's softmax over cosines."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 1:
            raise ConfigError(f"Mutual.k must be at least 1, but is {self.k}.")
        if not self.temperature > 0:
            raise ConfigError(f"Mutual.temperature must be positive, but is {self.temperature}.")

    @property
    def needs_target_bank(self) -> bool:
        return True

    def build(self, context: AnchorContext) -> AnchorMatcher:
        return _Mutual(self)


class _Mutual(ClassMatcher):
    by_row = True

    def __init__(self, spec: Mutual) -> None:
        super().__init__(spec.num_anchors)
        self.spec = spec

    def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None:
        target_bank = required(target_bank, "Mutual")
        self.keep_source(source_bank)
        to_targets, _ = nearest(source_bank.z, target_bank.z, self.spec.k)
        self.memory["reach"] = to_targets[:, -1].clone()  # a copy of its own, so that the rest can go

    def decide(
        self, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"], logits_t: Float[Tensor, "m k"]
    ) -> Decision:
        similarity, voters = nearest(z_t, self.source.z, self.spec.k)
        mutual = similarity >= self.memory["reach"][voters] - ROUNDING
        weight = (similarity / self.spec.temperature).softmax(1) * mutual
        confidence, label = vote(self.source.labels[voters], weight, logits_t.shape[1]).max(1)
        return Decision(label, confidence, mutual.any(1), voters)
