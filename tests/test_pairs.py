"""Pairs: who is a positive or a negative for whom, by loops over labels, roles and dropped rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor

from domainmetric.errors import ConfigError, DataError
from domainmetric.pairs import Role, Roles, StepPairs, label_pairs, pair
from domainmetric.types import Group
from tests.reference import labels, unit

ROLES: tuple[Role, ...] = get_args(Role)
SIZES: dict[Role, int] = {"source": 6, "matched": 5, "target": 7, "matched_target": 4}
ORDERS = [
    (*order[:place], "matched_target", *order[place:])
    for order, place in zip(itertools.permutations(("source", "matched", "target")), itertools.cycle(range(4)))
]
Item = tuple[Role, int]


def groups(order: Sequence[Role] = tuple(SIZES)) -> dict[Role, Group]:
    made: dict[Role, Group] = {}
    for role in order:
        n = SIZES[role]
        keep = None if role == "source" else torch.arange(n) != 2
        made[role] = Group(z=unit(n, n), labels=labels(n + 10, n), keep=keep)
    return made


def items(role: Role, order: Sequence[Role]) -> list[Item]:
    """The rows of a role, as (group, row), in the order in which the groups stand."""
    parts = ("source", "target") if role == "both" else (role,)
    return [(part, row) for part in order if part in parts for row in range(SIZES[part])]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
@pytest.mark.parametrize(("anchor", "positive", "negative"), list(itertools.product(ROLES, repeat=3)))
def test_roles_choose_rows_and_columns(order: Sequence[Role], anchor: Role, positive: Role, negative: Role) -> None:
    made = groups(order)
    step = StepPairs(made)
    pairs = step.of(Roles(anchor=anchor, positive=positive, negative=negative))
    rows, positives, negatives = (items(role, order) for role in (anchor, positive, negative))
    columns = positives + [item for item in negatives if item not in positives]
    numbers = [(part, row) for part in order for row in range(SIZES[part])]
    assert pairs.row_items.tolist() == [numbers.index(item) for item in rows]
    assert pairs.column_items.tolist() == [numbers.index(item) for item in columns]

    def kept(item: Item) -> bool:
        keep = made[item[0]].keep
        return keep is None or bool(keep[item[1]])

    expected = {"positive": [], "negative": []}
    for a in rows:
        alike = [bool(made[a[0]].labels[a[1]] == made[c[0]].labels[c[1]]) for c in columns]
        use = [kept(a) and kept(c) for c in columns]
        expected["positive"].append(
            [u and s and c in positives and c != a for u, s, c in zip(use, alike, columns, strict=True)]
        )
        expected["negative"].append(
            [u and not s and c in negatives for u, s, c in zip(use, alike, columns, strict=True)]
        )
    assert pairs.positive.tolist() == expected["positive"]
    assert pairs.negative.tolist() == expected["negative"]
    x, y = (torch.stack([made[part].z[row] for part, row in side]) for side in (rows, columns))
    assert torch.equal(pairs.rows.z, x) and torch.equal(pairs.columns.z, y)
    assert pairs.rows.labels.tolist() == [int(made[part].labels[row]) for part, row in rows]
    assert pairs.columns.kept().tolist() == [kept(item) for item in columns]
    square_by_hand = (x[:, None] - y).square().sum(2)
    torch.testing.assert_close(pairs.sq_chord, square_by_hand, rtol=0, atol=1e-12)
    assert torch.equal(step.group(anchor).z, x)


def test_a_block_is_made_once_and_serves_both_ways() -> None:
    step = StepPairs(groups(("source", "target", "matched")))
    there = step.of(Roles(anchor="matched", positive="target", negative="target"))
    back = step.of(Roles(anchor="target", positive="matched", negative="matched"))
    assert back.sq_chord.data_ptr() == there.sq_chord.data_ptr() and torch.equal(back.sq_chord, there.sq_chord.T)
    assert step.of(Roles()).sq_chord is there.sq_chord
    whole = step.of(Roles(anchor="both", positive="both", negative="both"))
    assert whole.rows is whole.columns


def test_a_role_without_rows_is_refused() -> None:
    pairs = StepPairs({"source": Group(z=unit(0, 4), labels=labels(0, 4))})
    with pytest.raises(ConfigError, match="Role 'matched' has no rows in this phase; there are: source"):
        pairs.of(Roles(anchor="matched", positive="source", negative="source"))
    with pytest.raises(ConfigError, match="Role 'target' has no rows in this phase; there are: source"):
        pairs.of(Roles(anchor="source", positive="both", negative="source"))


def test_no_item_is_its_own_positive_within_a_set_but_may_be_across() -> None:
    z, y = unit(0, 6), labels(0, 6)
    assert not label_pairs(z, y).positive.diagonal().any()
    assert label_pairs(z, y, z, y).positive.diagonal().all()


def test_plain_embeddings_are_normalized() -> None:
    z, y = unit(0, 6), labels(0, 6)
    torch.testing.assert_close(label_pairs(z * 7, y).sq_chord, label_pairs(z, y).sq_chord)
    torch.testing.assert_close(label_pairs(z, y, z * 7, y).sq_chord, label_pairs(z, y).sq_chord)


def test_vectors_as_they_are_are_not_normalized() -> None:
    z, y = 3 * unit(0, 6), labels(0, 6)
    pairs = pair(Group(z=z, labels=y))
    torch.testing.assert_close(pairs.sq_chord, (z[:, None] - z).square().sum(2))
    assert torch.equal(pairs.positive, label_pairs(z, y).positive)
    assert torch.equal(pairs.negative, label_pairs(z, y).negative)
    across = pair(Group(z=z, labels=y), Group(z=z, labels=y))
    assert across.positive.diagonal().all()
    assert not set(across.row_items.tolist()) & set(across.column_items.tolist())


def test_items_tell_who_is_oneself() -> None:
    z, y = unit(0, 6), torch.tensor([0, 1, 0, 1, 0, 1])
    shared = pair(Group(z=z, labels=y), Group(z=z[2:], labels=y[2:]), torch.arange(6), torch.arange(2, 6))
    for a, c in itertools.product(range(6), range(4)):
        assert bool(shared.positive[a, c]) == (bool(y[a] == y[c + 2]) and a != c + 2)
        assert bool(shared.negative[a, c]) == bool(y[a] != y[c + 2])


@pytest.mark.parametrize("one", ["row_items", "column_items", "items without columns"])
def test_items_of_one_side_alone_are_refused(one: str) -> None:
    group, numbers = Group(z=unit(0, 6), labels=labels(0, 6)), torch.arange(6)
    given = {"row_items": numbers, "column_items": numbers} if one == "items without columns" else {one: numbers}
    with pytest.raises(ConfigError, match="Pass row_items and column_items together, and with columns"):
        pair(group, None if one == "items without columns" else group, **given)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"z": unit(0, 6)[0]}, "vectors of the shape (n, 6), but they came as (6,)."),
        ({"z": unit(0, 6, d=5)}, "vectors of the shape (n, 6), but they came as (6, 5)."),
        (
            {"labels": labels(0, 5)},
            "6 whole-number labels, one for each vector, but they came as int64 of the shape (5,).",
        ),
        (
            {"labels": labels(0, 6).float()},
            "6 whole-number labels, one for each vector, but they came as float32 of the shape (6,).",
        ),
        (
            {"keep": torch.ones(5, dtype=torch.bool)},
            "a mask of 6 booleans in Group.keep, but it came as bool of the shape (5,).",
        ),
        ({"keep": torch.ones(6)}, "a mask of 6 booleans in Group.keep, but it came as float32 of the shape (6,)."),
    ],
)
def test_groups_that_do_not_fit_are_refused(change: dict[str, Tensor], message: str, unchecked_shapes: None) -> None:
    right = Group(z=unit(0, 6), labels=labels(0, 6))
    with pytest.raises(DataError) as caught:
        pair(right, replace(right, **change))
    assert str(caught.value) == f"Expected {message}"


def test_nothing_is_compared_with_nothing() -> None:
    empty = pair(Group(z=unit(0, 3)[:0], labels=labels(0, 3)[:0]))
    assert empty.sq_chord.shape == empty.positive.shape == (0, 0)
    nobody = label_pairs(unit(0, 3), labels(0, 3), unit(0, 3)[:0], labels(0, 3)[:0])
    assert nobody.sq_chord.shape == nobody.negative.shape == (3, 0)


@pytest.mark.parametrize("given", ["ref_emb", "ref_labels"])
def test_half_a_reference_set_is_refused(given: str) -> None:
    z, y = unit(0, 6), labels(0, 6)
    with pytest.raises(ConfigError, match="both ref_emb and ref_labels"):
        label_pairs(z, y, **{given: z if given == "ref_emb" else y})
