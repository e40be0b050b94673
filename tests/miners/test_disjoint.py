"""Disjoint triplets against a walk through the list, and what they promise."""

from __future__ import annotations

import pytest
import torch

from domainmetric.miners.base import Miner
from domainmetric.miners.disjoint import Disjoint, greedy
from domainmetric.miners.hard import EasyPositiveEasyNegative, HardPositiveHardNegative
from domainmetric.miners.random import RandomTriplets
from domainmetric.miners.semi_hard import MarginViolating
from domainmetric.pairs import label_pairs
from tests.contracts.family import named
from tests.reference import cases, labels, listed, unit

INNER = pytest.mark.parametrize(
    "miner",
    [HardPositiveHardNegative(), EasyPositiveEasyNegative(), MarginViolating(margin=4.0), RandomTriplets()],
    ids=named,
)


@pytest.mark.parametrize("count", [0, 1, 5, 40, 400])
@pytest.mark.parametrize("vectors", [3, 12, 90])
def test_greedy_rounds_take_what_a_walk_through_the_list_takes(count: int, vectors: int) -> None:
    draw = torch.Generator().manual_seed(count + vectors)
    triplets = torch.stack([torch.randperm(vectors, generator=draw)[:3] for _ in range(count)] or [torch.empty(0)])
    triplets = triplets.reshape(-1, 3).long()
    used: set[int] = set()
    expected = []
    for triplet in triplets.tolist():
        expected.append(not used & set(triplet))
        if expected[-1]:
            used |= set(triplet)
    assert greedy(triplets.T, vectors).tolist() == expected
    assert count == 0 or any(expected)


@INNER
@pytest.mark.parametrize("case", ["within", "across", "roles", "roles of three groups"])
def test_no_vector_is_in_two_triplets_and_none_more_is_left(miner: Miner, case: str) -> None:
    pairs = cases()[case]
    chosen = Disjoint(miner=miner).select(pairs, torch.Generator().manual_seed(0))
    used = torch.cat(
        [pairs.row_items[chosen.anchor], pairs.column_items[chosen.positive], pairs.column_items[chosen.negative]]
    )
    assert len(used.unique()) == 3 * len(chosen) > 0
    free_row, free_column = ~torch.isin(pairs.row_items, used), ~torch.isin(pairs.column_items, used)
    both = free_row[:, None] & free_column
    assert not ((pairs.positive & both).any(1) & (pairs.negative & both).any(1)).any()


def test_equal_tensors_of_two_sets_are_not_the_same_vectors() -> None:
    z, y = unit(0, 12), labels(1, 12)
    within, across = Disjoint()(z, y), Disjoint()(z, y, z, y)
    assert len(within) <= 4 < len(across) <= 6
    assert len({p for _, p, _ in listed(across)}) == len(across)


def test_the_first_anchor_is_served_first() -> None:
    z, y = unit(0, 20), labels(1, 20)
    first = listed(HardPositiveHardNegative().select(label_pairs(z, y)))[0]
    assert listed(Disjoint()(z, y))[0] == first
