"""Pairs: who is a positive or a negative for whom, by loops over labels, roles and dropped rows."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest
import torch

from domainmetric.errors import ConfigError
from domainmetric.pairs import Role, Roles, StepPairs, label_pairs
from domainmetric.types import Group
from tests.reference import labels, square, unit

ROLES: tuple[Role, ...] = get_args(Role)
SIZES = {"source": 6, "matched": 5, "target": 7}


def groups() -> dict[Role, Group]:
    made: dict[Role, Group] = {}
    for seed, role in enumerate(ROLES):
        n = SIZES[role]
        keep = None if role == "source" else torch.arange(n) != 2
        made[role] = Group(z=unit(seed, n), labels=labels(seed + 10, n), keep=keep)
    return made


@pytest.mark.parametrize(("anchor", "positive", "negative"), list(itertools.product(ROLES, repeat=3)))
def test_roles_choose_rows_and_columns(anchor: Role, positive: Role, negative: Role) -> None:
    made = groups()
    pairs = StepPairs(made).of(Roles(anchor=anchor, positive=positive, negative=negative))
    columns = [(positive, c) for c in range(SIZES[positive])]
    if positive != negative:
        columns += [(negative, c) for c in range(SIZES[negative])]
    assert pairs.sq_chord.shape == (SIZES[anchor], len(columns))

    def kept(role: Role, row: int) -> bool:
        keep = made[role].keep
        return keep is None or bool(keep[row])

    for a, (c, (role, row)) in itertools.product(range(SIZES[anchor]), enumerate(columns)):
        both = kept(anchor, a) and kept(role, row)
        alike = bool(made[anchor].labels[a] == made[role].labels[row])
        may_be_positive = c < SIZES[positive]
        may_be_negative = positive == negative or not may_be_positive
        itself = anchor == role and a == row
        assert bool(pairs.positive[a, c]) == (both and alike and may_be_positive and not itself)
        assert bool(pairs.negative[a, c]) == (both and not alike and may_be_negative)
        assert float(pairs.sq_chord[a, c]) == pytest.approx(square(made[anchor].z[a], made[role].z[row]), abs=1e-12)


def test_a_role_without_rows_is_refused() -> None:
    pairs = StepPairs({"source": Group(z=unit(0, 4), labels=labels(0, 4))})
    with pytest.raises(ConfigError, match="Role 'matched' has no rows in this phase; there are: source"):
        pairs.of(Roles(anchor="matched", positive="source", negative="source"))


def test_no_item_is_its_own_positive_within_a_set_but_may_be_across() -> None:
    z, y = unit(0, 6), labels(0, 6)
    assert not label_pairs(z, y).positive.diagonal().any()
    assert label_pairs(z, y, z, y).positive.diagonal().all()


def test_plain_embeddings_are_normalized() -> None:
    z, y = unit(0, 6), labels(0, 6)
    torch.testing.assert_close(label_pairs(z * 7, y).sq_chord, label_pairs(z, y).sq_chord)
    torch.testing.assert_close(label_pairs(z, y, z * 7, y).sq_chord, label_pairs(z, y).sq_chord)


@pytest.mark.parametrize("given", ["ref_emb", "ref_labels"])
def test_half_a_reference_set_is_refused(given: str) -> None:
    z, y = unit(0, 6), labels(0, 6)
    with pytest.raises(ConfigError, match="both ref_emb and ref_labels"):
        label_pairs(z, y, **{given: z if given == "ref_emb" else y})
