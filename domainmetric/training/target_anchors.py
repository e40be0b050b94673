"""The reverse direction: target items that stand for source items, by the labels that a strategy gave them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from domainmetric.anchors.search import product
from domainmetric.types import Bank, Matches

FIELDS = ("rows", "z", "labels", "keep")


class Found(NamedTuple):
    """The target item that stands for each source item. Where `keep` is false there is none: the row means nothing."""

    rows: Int64[Tensor, " n"]
    keep: Bool[Tensor, " n"]


@dataclass(eq=False)
class TargetAnchors:
    """A bank of target items with their matched labels, in which source items find the nearest of their class.

    What `refresh` was told lies in `memory`, a flat dict of tensors that checkpoints save.
    """

    memory: dict[str, Tensor] = field(default_factory=dict)

    def refresh(self, bank: Bank, matches: Matches) -> None:
        """Take in the target bank and what the strategy makes of its items."""
        self.memory = dict(zip(FIELDS, (bank.rows, bank.z, matches.label, matches.keep), strict=True))

    def restore(self, memory: dict[str, Tensor]) -> None:
        """Take up a memory that was written down."""
        self.memory = dict(memory)

    def nearest(self, z_s: Float[Tensor, "n d"], labels: Int64[Tensor, " n"]) -> Found:
        """The kept item matched to each source item's class with the highest cosine, the first of equals.

        `z_s` is what the teacher makes of the source items.
        """
        rows, z, matched, keep = (self.memory[name] for name in FIELDS)
        fits = keep & (matched == labels[:, None])
        cosine = product(z_s, z.T).masked_fill_(~fits, -torch.inf)
        return Found(rows=rows[cosine.argmax(1)], keep=fits.any(1))
