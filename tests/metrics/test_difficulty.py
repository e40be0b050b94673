"""Easy, semi-hard and hard triplets, counted one by one."""

from __future__ import annotations

import pytest
import torch

from domainmetric.metrics import difficulty as module
from domainmetric.metrics.difficulty import MARGIN, difficulty
from domainmetric.pairs import label_pairs
from domainmetric.types import Pairs, Triplets
from tests.reference import all_triplets, cases, labels, unit


def one_by_one(pairs: Pairs, triplets: list[tuple[int, int, int]]) -> list[int]:
    counts = [0, 0, 0]
    for a, p, n in triplets:
        gap = float(pairs.sq_chord[a, n] - pairs.sq_chord[a, p])
        counts[2 if gap <= 0 else 1 if gap <= MARGIN else 0] += 1
    return counts


def as_triplets(listed: list[tuple[int, int, int]]) -> Triplets:
    a, p, n = torch.tensor(listed, dtype=torch.int64).reshape(-1, 3).T
    return Triplets(anchor=a, positive=p, negative=n)


@pytest.mark.parametrize("name", cases())
def test_counts_are_those_of_a_loop(name: str) -> None:
    pairs = cases()[name]
    every = all_triplets(pairs)
    assert difficulty(pairs, as_triplets(every)).tolist() == one_by_one(pairs, every)
    assert difficulty(pairs).tolist() == one_by_one(pairs, every)  # no more rows than are looked at


def test_a_tie_is_hard_and_the_margin_itself_is_semi_hard() -> None:
    z = torch.tensor([[0.0], [1.0], [-1.0], [2.0]])
    pairs = label_pairs(z, torch.tensor([0, 0, 1, 1]))
    pairs.sq_chord.copy_(torch.tensor([[0.0, 0.5, 0.5, 0.5 + MARGIN]] * 4))
    assert difficulty(pairs, as_triplets([(0, 1, 2), (0, 1, 3)])).tolist() == [0, 1, 1]
    every = all_triplets(pairs)
    assert difficulty(pairs).tolist() == difficulty(pairs, as_triplets(every)).tolist() == one_by_one(pairs, every)


def test_all_triplets_of_many_anchors_are_estimated_from_some(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = label_pairs(unit(0, 300, d=4), labels(1, 300))
    found = difficulty(pairs)
    monkeypatch.setattr(module, "NUM_ANCHORS", 300)
    exact = difficulty(pairs)
    assert exact.sum() == (pairs.positive.sum(1) * pairs.negative.sum(1)).sum()
    torch.testing.assert_close(found.sum(), exact.sum(), rtol=0.05, atol=0)
    torch.testing.assert_close(found / found.sum(), exact / exact.sum(), atol=0.05, rtol=0)
    assert not torch.equal(found, exact)
