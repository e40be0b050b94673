"""The metric loss family: from pairs, and the triplets chosen among them, to a number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.pairs import label_pairs
from domainmetric.types import Pairs, Triplets


class LossValue(NamedTuple):
    """A loss and how much of the batch it used."""

    value: Float[Tensor, ""]
    """The loss; a differentiable zero where no triplet is valid."""
    used: Float[Tensor, ""]
    """Number of triplets (or pairs) that entered it."""
    active: Float[Tensor, ""]
    """Number of those with a gradient."""


@dataclass(frozen=True, kw_only=True)
class MetricLoss(ABC):
    """A loss on the distances between anchors, positives and negatives."""

    @abstractmethod
    def of(self, pairs: Pairs, triplets: Triplets | None = None) -> LossValue:
        """The loss over the given triplets, or over all that `pairs` allows."""

    def __call__(
        self,
        embeddings: Float[Tensor, "a d"],
        labels: Int64[Tensor, " a"],
        triplets: Triplets | None = None,
        *,
        ref_emb: Float[Tensor, "b d"] | None = None,
        ref_labels: Int64[Tensor, " b"] | None = None,
    ) -> Float[Tensor, ""]:
        """The plain call: a set against itself, or against another one (`ref_emb`)."""
        return self.of(label_pairs(embeddings, labels, ref_emb, ref_labels), triplets).value
