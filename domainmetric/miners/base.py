"""The miner family: from pairs to triplets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.pairs import label_pairs
from domainmetric.types import Pairs, Triplets


@dataclass(frozen=True, kw_only=True)
class Miner(ABC):
    """Chooses triplets. An anchor counts only where it has a positive and a negative; ties go to the first index."""

    @abstractmethod
    def select(self, pairs: Pairs, generator: torch.Generator | None = None) -> Triplets:
        """The chosen triplets, as indices into the rows (anchor) and columns (positive, negative) of `pairs`.

        Miners that draw do so from `generator`; without one, from their `seed`, so that the same is drawn every time.
        """

    @torch.no_grad()
    def __call__(
        self,
        embeddings: Float[Tensor, "a d"],
        labels: Int64[Tensor, " a"],
        ref_emb: Float[Tensor, "b d"] | None = None,
        ref_labels: Int64[Tensor, " b"] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Triplets:
        """Triplets within a set, or with positives and negatives from another one (`ref_emb`)."""
        return self.select(label_pairs(embeddings, labels, ref_emb, ref_labels), generator)
