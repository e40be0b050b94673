"""How `Pairs` are made: from embeddings and labels, from groups of vectors as they are, or from those of a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from domainmetric.errors import ConfigError, DataError
from domainmetric.geometry import normalize, squared_chord
from domainmetric.types import Group, Pairs

Role = Literal["source", "matched", "target", "matched_target", "both"]
"""Row groups of a step: random source items, the source items matched to the targets, the target items, the target
items that stand for the random source items, and the random source items together with the target items."""


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Where a triplet's members come from. The defaults: matched source anchor, target positive and negative."""

    anchor: Role = "matched"
    """Group of the anchors."""
    positive: Role = "target"
    """Group of the positives."""
    negative: Role = "target"
    """Group of the negatives."""
    weight: float = 1.0
    """How much this direction counts beside the others of the same term, whose mean is weighted by it."""

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf"):
            raise ConfigError(
                f"Roles.weight must be positive, but is {self.weight}. To switch a direction off, leave it out."
            )


class StepPairs:
    """The pairs among the groups of one step, block by block, as losses ask for them.

    A block is made once, whoever asks for it, and from the one of its columns against its rows where there is that. So
    nothing is computed for pairs of which no loss has any use, such as source items among themselves. Groups may come
    in any order; `both` is made of two of them. The items of the step are numbered from 0; `num_items` is the first
    number that is free for others.
    """

    def __init__(self, groups: Mapping[Role, Group]) -> None:
        self._groups, self._items = dict(groups), dict[Role, Int64[Tensor, " r"]]()
        self._made: dict[tuple[tuple[Role, ...], tuple[Role, ...]], Pairs] = {}
        self.num_items = 0
        for role, group in groups.items():
            end = self.num_items + len(group)
            self._items[role] = torch.arange(self.num_items, end, device=group.z.device)
            self.num_items = end

    def group(self, role: Role) -> Group:
        """The rows of one role."""
        return self._joined(self._parts(role))

    def of(self, roles: Roles) -> Pairs:
        """Anchor rows against the columns of the positive and then those of the negative group, each column once."""
        anchor, positive, negative = (self._parts(role) for role in (roles.anchor, roles.positive, roles.negative))
        columns = (*positive, *(part for part in negative if part not in positive))
        pairs = self._block(anchor, columns)
        if positive == negative:
            return pairs
        may_be_positive, may_be_negative = self._where(columns, positive), self._where(columns, negative)
        return replace(pairs, positive=pairs.positive & may_be_positive, negative=pairs.negative & may_be_negative)

    def _parts(self, role: Role) -> tuple[Role, ...]:
        """The groups that make up a role, in the order in which they stand."""
        parts: tuple[Role, ...] = ("source", "target") if role == "both" else (role,)
        for part in parts:
            if part not in self._groups:
                raise ConfigError(f"Role '{part}' has no rows in this phase; there are: {', '.join(self._groups)}.")
        return tuple(part for part in self._groups if part in parts)

    def _joined(self, parts: Sequence[Role]) -> Group:
        return joined([self._groups[part] for part in parts])

    def _block(self, anchor: tuple[Role, ...], columns: tuple[Role, ...]) -> Pairs:
        """All rows of some groups against all of some groups."""
        if (anchor, columns) not in self._made:
            if (columns, anchor) in self._made:
                return transposed(self._made[columns, anchor])
            self._made[anchor, columns] = self._make(anchor, columns)
        return self._made[anchor, columns]

    def _make(self, anchor: tuple[Role, ...], columns: tuple[Role, ...]) -> Pairs:
        items = [torch.cat([self._items[part] for part in parts]) for parts in (anchor, columns)]
        rows = self._joined(anchor)
        if anchor == columns:
            return replace(pair(rows), row_items=items[0], column_items=items[0])
        if set(anchor) & set(columns):
            return pair(rows, self._joined(columns), *items)
        return replace(pair(rows, self._joined(columns)), row_items=items[0], column_items=items[1])

    def _where(self, columns: Sequence[Role], parts: Sequence[Role]) -> Bool[Tensor, " b"]:
        """Which of the columns, made of some groups, belong to `parts`."""
        return torch.cat([torch.full_like(self._items[c], c in parts, dtype=torch.bool) for c in columns])


def transposed(pairs: Pairs) -> Pairs:
    """Columns as rows, and rows as columns: views."""
    return Pairs(
        rows=pairs.columns,
        columns=pairs.rows,
        row_items=pairs.column_items,
        column_items=pairs.row_items,
        sq_chord=pairs.sq_chord.T,
        positive=pairs.positive.T,
        negative=pairs.negative.T,
    )


def pair(
    rows: Group,
    columns: Group | None = None,
    row_items: Int64[Tensor, " a"] | None = None,
    column_items: Int64[Tensor, " b"] | None = None,
) -> Pairs:
    """All rows against all columns, with their vectors as they are: equal labels are positives, unequal ones negatives.

    `pair(Group(z=vectors, labels=labels))` compares a set with itself, where no item is its own positive. `columns` are
    another set, even if the tensors are equal; where it shares items with the rows, give the items of both, and no item
    is its own positive. Vectors are not normalized, so that embeddings can be compared whose length is not 1: `Lp`,
    `ChordSquared`, `Chord` and distances of one's own take them as they are, `Cosine` and `Geodesic` ask for length 1.

    Raises DataError where shapes do not fit, and ConfigError where the items of one side alone are given.
    """
    for group in (rows, *([] if columns is None else [columns])):
        check_group(group, rows.z.shape[-1])
    if (row_items is None) != (column_items is None) or (columns is None and row_items is not None):
        raise ConfigError("Pass row_items and column_items together, and with columns; or neither of them.")
    others = rows if columns is None else columns
    positive, negative = label_masks(rows, others)
    if columns is None:
        positive.fill_diagonal_(False)
    if row_items is None or column_items is None:
        row_items = torch.arange(len(rows), device=rows.z.device)
        column_items = row_items if columns is None else torch.arange(len(others), device=rows.z.device) + len(rows)
    else:
        positive &= row_items[:, None] != column_items
    return Pairs(
        rows=rows,
        columns=others,
        row_items=row_items,
        column_items=column_items,
        sq_chord=squared_chord(rows.z, others.z),
        positive=positive,
        negative=negative,
    )


def label_masks(rows: Group, columns: Group) -> tuple[Bool[Tensor, "a b"], Bool[Tensor, "a b"]]:
    """Whose labels are equal and whose are not, among those that are kept. No more passes than needed."""
    equal = rows.labels[:, None] == columns.labels
    unequal = ~equal
    for keep in (None if rows.keep is None else rows.keep[:, None], columns.keep):
        if keep is not None:
            equal &= keep
            unequal &= keep
    return equal, unequal


def check_group(group: Group, dim: int) -> None:
    """Raise DataError unless a group has `dim` numbers, a whole-number label and at most one `keep` for each row."""
    if group.z.ndim != 2 or group.z.shape[1] != dim:
        raise DataError(f"Expected vectors of the shape (n, {dim}), but they came as {tuple(group.z.shape)}.")
    if group.labels.shape != group.z.shape[:1] or group.labels.is_floating_point():
        raise DataError(
            f"Expected {len(group.z)} whole-number labels, one for each vector, but they came as "
            f"{str(group.labels.dtype).removeprefix('torch.')} of the shape {tuple(group.labels.shape)}."
        )
    if group.keep is not None and (group.keep.shape != group.labels.shape or group.keep.dtype != torch.bool):
        raise DataError(
            f"Expected a mask of {len(group.z)} booleans in Group.keep, but it came as "
            f"{str(group.keep.dtype).removeprefix('torch.')} of the shape {tuple(group.keep.shape)}."
        )


def beside(one: Pairs, two: Pairs) -> Pairs:
    """The same rows against the columns of both."""
    return Pairs(
        rows=one.rows,
        columns=joined([one.columns, two.columns]),
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


def joined(groups: Sequence[Group]) -> Group:
    """Groups one after the other."""
    if len(groups) == 1:
        return groups[0]
    return Group(
        z=torch.cat([group.z for group in groups]),
        labels=torch.cat([group.labels for group in groups]),
        keep=None if all(group.keep is None for group in groups) else torch.cat([group.kept() for group in groups]),
    )


def label_pairs(
    embeddings: Float[Tensor, "a d"],
    labels: Int64[Tensor, " a"],
    ref_emb: Float[Tensor, "b d"] | None = None,
    ref_labels: Int64[Tensor, " b"] | None = None,
) -> Pairs:
    """Pairs of a set with itself (no item is its own positive), or with another set `ref_emb`.

    Embeddings are normalized first; `pair` takes them as they are. Passing `ref_emb` always means another set, even if
    the tensors are equal.
    """
    if (ref_emb is None) != (ref_labels is None):
        raise ConfigError("Pass both ref_emb and ref_labels, or neither.")
    rows = Group(z=normalize(embeddings), labels=labels)
    if ref_emb is None or ref_labels is None:
        return pair(rows)
    return pair(rows, Group(z=normalize(ref_emb), labels=ref_labels))
