"""How `Pairs` are made: from plain embeddings and labels, or from the row groups of a training step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.errors import ConfigError
from domainmetric.geometry import normalize, squared_chord
from domainmetric.types import Group, Pairs

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


class StepPairs:
    """All pairs among the groups of one step: one Gram matrix, cut to the roles that a loss asks for.

    The items of the step are numbered from 0; `num_items` is the first number that is free for others.
    """

    def __init__(self, groups: Mapping[Role, Group]) -> None:
        self._spans: dict[Role, slice] = {}
        start = 0
        for role, group in groups.items():
            self._spans[role] = slice(start, start + len(group))
            start += len(group)
        whole = Group(
            z=torch.cat([group.z for group in groups.values()]),
            labels=torch.cat([group.labels for group in groups.values()]),
            keep=torch.cat([group.kept() for group in groups.values()]),
        )
        self.num_items = len(whole)
        items = torch.arange(len(whole), device=whole.z.device)
        self._all = pair(whole, whole, items, items)

    def group(self, role: Role) -> Group:
        """The rows of one role."""
        return cut_group(self._all.rows, self._spans[role])

    def of(self, roles: Roles) -> Pairs:
        """Anchor rows against the columns of the positive and the negative group."""
        for role in {roles.anchor, roles.positive, roles.negative} - self._spans.keys():
            raise ConfigError(f"Role '{role}' has no rows in this phase; there are: {', '.join(self._spans)}.")
        anchor, positive, negative = (self._spans[r] for r in (roles.anchor, roles.positive, roles.negative))
        if positive == negative:
            return cut(self._all, anchor, positive)
        one, two = cut(self._all, anchor, positive), cut(self._all, anchor, negative)
        return beside(
            replace(one, negative=torch.zeros_like(one.negative)), replace(two, positive=torch.zeros_like(two.positive))
        )


def pair(rows: Group, columns: Group, row_items: Int64[Tensor, " a"], column_items: Int64[Tensor, " b"]) -> Pairs:
    """All rows against all columns: equal labels are positives, but no item is its own; unequal ones negatives."""
    same = rows.labels[:, None] == columns.labels
    both = rows.kept()[:, None] & columns.kept()
    return Pairs(
        rows=rows,
        columns=columns,
        row_items=row_items,
        column_items=column_items,
        sq_chord=squared_chord(rows.z, columns.z),
        positive=same & both & (row_items[:, None] != column_items),
        negative=~same & both,
    )


def cut(pairs: Pairs, rows: slice, columns: slice) -> Pairs:
    """A block of rows and columns."""
    return Pairs(
        rows=cut_group(pairs.rows, rows),
        columns=cut_group(pairs.columns, columns),
        row_items=pairs.row_items[rows],
        column_items=pairs.column_items[columns],
        sq_chord=pairs.sq_chord[rows, columns],
        positive=pairs.positive[rows, columns],
        negative=pairs.negative[rows, columns],
    )


def beside(one: Pairs, two: Pairs) -> Pairs:
    """The same rows against the columns of both."""
    columns = (one.columns, two.columns)
    return Pairs(
        rows=one.rows,
        columns=Group(
            z=torch.cat([group.z for group in columns]),
            labels=torch.cat([group.labels for group in columns]),
            keep=torch.cat([group.kept() for group in columns]),
        ),
        row_items=one.row_items,
        column_items=torch.cat([one.column_items, two.column_items]),
        sq_chord=torch.cat([one.sq_chord, two.sq_chord], 1),
        positive=torch.cat([one.positive, two.positive], 1),
        negative=torch.cat([one.negative, two.negative], 1),
    )


def extend(pairs: Pairs, group: Group, items: Int64[Tensor, " b"], *, positive: bool, negative: bool) -> Pairs:
    """The same rows against further columns beside their own, which may be positives, negatives or both."""
    more = pair(pairs.rows, group, pairs.row_items, items)
    neither = torch.zeros_like(more.positive)
    more = replace(
        more, positive=more.positive if positive else neither, negative=more.negative if negative else neither
    )
    return beside(pairs, more)


def cut_group(group: Group, rows: slice) -> Group:
    """Some rows of a group."""
    return Group(z=group.z[rows], labels=group.labels[rows], keep=None if group.keep is None else group.keep[rows])


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
    rows = Group(z=normalize(embeddings), labels=labels)
    items = torch.arange(len(rows), device=rows.z.device)
    if ref_emb is None or ref_labels is None:
        return pair(rows, rows, items, items)
    columns = Group(z=normalize(ref_emb), labels=ref_labels)
    return pair(rows, columns, items, torch.arange(len(columns), device=rows.z.device) + len(rows))
