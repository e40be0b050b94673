"""How `Pairs` are made: from plain embeddings and labels, or from the row groups of a training step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from domainmetric.errors import ConfigError
from domainmetric.geometry import normalize, squared_chord
from domainmetric.types import Pairs

Role = Literal["source", "matched", "target"]
"""Row groups of a step: random source items, the source items matched to the targets, the target items."""


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Where a triplet's members come from. The defaults: matched source anchor, target positive and negative."""

    anchor: Role = "matched"
    """Group of the anchors."""
    positive: Role = "target"
    """Group of the positives."""
    negative: Role = "target"
    """Group of the negatives."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Rows of one role: embeddings, their (true or matched) labels, and which of them take part."""

    z: Float[Tensor, "r d"]
    labels: Int64[Tensor, " r"]
    keep: Bool[Tensor, " r"] | None = None
    """Rows that are false are neither anchors, positives nor negatives. None keeps all."""

    def __len__(self) -> int:
        return len(self.z)


class StepPairs:
    """All pairs among the groups of one step: one Gram matrix, cut to the roles that a loss asks for."""

    def __init__(self, groups: Mapping[Role, Group]) -> None:
        self._spans: dict[Role, slice] = {}
        start = 0
        for role, group in groups.items():
            self._spans[role] = slice(start, start + len(group))
            start += len(group)
        z = torch.cat([group.z for group in groups.values()])
        labels = torch.cat([group.labels for group in groups.values()])
        kept = [torch.ones_like(g.labels, dtype=torch.bool) if g.keep is None else g.keep for g in groups.values()]
        keep = torch.cat(kept)
        self._sq_chord = squared_chord(z, z)
        same, both = labels[:, None] == labels, keep[:, None] & keep
        itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
        self._positive, self._negative = same & both & ~itself, ~same & both

    def of(self, roles: Roles) -> Pairs:
        """Anchor rows against the columns of the positive and the negative group."""
        for role in {roles.anchor, roles.positive, roles.negative} - self._spans.keys():
            raise ConfigError(f"Role '{role}' has no rows in this phase; there are: {', '.join(self._spans)}.")
        anchor, positive, negative = (self._spans[r] for r in (roles.anchor, roles.positive, roles.negative))
        if positive == negative:
            return Pairs(
                sq_chord=self._sq_chord[anchor, positive],
                positive=self._positive[anchor, positive],
                negative=self._negative[anchor, positive],
            )
        none = torch.zeros_like
        return Pairs(
            sq_chord=torch.cat([self._sq_chord[anchor, positive], self._sq_chord[anchor, negative]], 1),
            positive=torch.cat([self._positive[anchor, positive], none(self._positive[anchor, negative])], 1),
            negative=torch.cat([none(self._negative[anchor, positive]), self._negative[anchor, negative]], 1),
        )


def label_pairs(
    embeddings: Float[Tensor, "a d"],
    labels: Int64[Tensor, " a"],
    ref_emb: Float[Tensor, "b d"] | None = None,
    ref_labels: Int64[Tensor, " b"] | None = None,
) -> Pairs:
    """Pairs of a set with itself (no item is its own positive), or with another set `ref_emb`.

    Embeddings are normalized first. Passing `ref_emb` always means another set, even if the tensors are equal.
    """
    if (ref_emb is None) != (ref_labels is None):
        raise ConfigError("Pass both ref_emb and ref_labels, or neither.")
    z = normalize(embeddings)
    if ref_emb is None or ref_labels is None:
        same = labels[:, None] == labels
        itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
        return Pairs(sq_chord=squared_chord(z, z), positive=same & ~itself, negative=~same)
    same = labels[:, None] == ref_labels
    return Pairs(sq_chord=squared_chord(z, normalize(ref_emb)), positive=same, negative=~same)
