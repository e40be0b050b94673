"""Matches that target images of the same look contradict are dropped."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher, required
from domainmetric.anchors.modifier import Modifier, ModifierMatcher
from domainmetric.anchors.pixel import grey_vectors
from domainmetric.anchors.search import vote
from domainmetric.errors import ConfigError
from domainmetric.types import Bank, Matches

SIDE = 16
"""Images are compared at this size, which a batch has time for."""
CHUNK = 256
"""Images of the bank that are made smaller at a time: as floats, photographs of all of it would take gigabytes."""


@dataclass(frozen=True, kw_only=True)
class PixelAgreement(Modifier):
    """Another strategy's matches, of which those are dropped whose class is outvoted by the target images most like it.

    The `k` others in the target bank with the highest correlation of grey pixels, at 16x16, vote for the classes that
    the inner strategy gave them at the last refresh, each with its confidence there; those that it dropped have no
    vote. As in deep k-NN for noisy labels (Bahri et al. 2020), but in pixels: across domains they are no guide, within
    one they are, and no training moves them, so that a group of images that begins to drift to a wrong class is held
    back by its neighbors. Confidence is the inner strategy's.
    """

    k: int = 10
    """Images that vote."""

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"PixelAgreement.k must be at least 1, but is {self.k}.")

    @property
    def needs_target_bank(self) -> bool:
        return True

    def build(self, context: AnchorContext) -> AnchorMatcher:
        return _PixelAgreement(self, context)


class _PixelAgreement(ModifierMatcher):
    by_row = True

    def __init__(self, spec: PixelAgreement, context: AnchorContext) -> None:
        super().__init__(spec, context)
        self.k, self.images, self.num_classes = spec.k, context.target.images, len(context.source.classes)

    def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None:
        target_bank = required(target_bank, "PixelAgreement")
        super().refresh(source_bank, target_bank)
        matches: Matches = self.inner(target_bank.rows, target_bank.z, target_bank.logits)
        kept = {
            "rows": target_bank.rows,
            "looks": torch.cat([self.looks(rows) for rows in target_bank.rows.split(CHUNK)]),
            "label": matches.label,
            "weight": matches.confidence * matches.keep,
        }
        self.memory |= {self.own(name): value for name, value in kept.items()}

    def modify(self, matches: Matches, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"]) -> Matches:
        rows, looks, label, weight = (self.memory[self.own(name)] for name in ("rows", "looks", "label", "weight"))
        likeness = self.looks(target_index) @ looks.T
        likeness = likeness.masked_fill(target_index[:, None] == rows, -torch.inf)  # nobody votes on itself
        likeness, near = likeness.topk(min(self.k, len(rows)), 1)
        given = weight[near].masked_fill(likeness == -torch.inf, 0)
        votes = vote(label[near], given, self.num_classes)
        outvoted = votes.gather(1, matches.label[:, None]).squeeze(1) < votes.amax(1)
        return replace(matches, keep=matches.keep & ~outvoted)

    def looks(self, rows: Int64[Tensor, " r"]) -> Float[Tensor, "r p"]:
        """What is compared of target images."""
        return grey_vectors(self.images[rows], side=SIDE)
