"""Anchors by the true target labels: the upper bound of every strategy, never part of an unsupervised result."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher, Picker
from domainmetric.anchors.by_class import ClassMatcher, Decision
from domainmetric.errors import ConfigError
from domainmetric.types import Bank


@dataclass(frozen=True, kw_only=True)
class Oracle(Picker):
    """The nearest source item of the true class. Confidence is 1. Reads the labelled target stream, nothing else.

    A target item of a class that the source lacks (`Pair(unshared="keep")`) is not matched.
    """

    @property
    def needs_target_labels(self) -> bool:
        return True

    def build(self, context: AnchorContext) -> AnchorMatcher:
        if context.oracle_labels is None:
            raise ConfigError(
                "Oracle anchors read target labels: declare them with labelled_target=AllLabels() in the experiment."
            )
        return _Oracle(self, context.oracle_labels)


class _Oracle(ClassMatcher):
    by_row = True

    def __init__(self, spec: Oracle, labels: Int64[Tensor, " m"]) -> None:
        super().__init__(spec.num_anchors)
        self.labels = labels

    def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None:
        self.keep_source(source_bank)

    def decide(
        self, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"], logits_t: Float[Tensor, "m k"]
    ) -> Decision:
        label = self.labels[target_index]
        shared = label < logits_t.shape[1]  # classes that the source lacks stand after its own
        return Decision(torch.where(shared, label, 0), torch.ones_like(z_t[:, 0]), shared)
