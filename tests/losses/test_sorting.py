"""Sums of hinges by sorting equal those of loops for any masks, where distances tie, and across the ends of blocks."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from domainmetric.geometry import ChordSquared
from domainmetric.losses import known
from domainmetric.losses.margin import MarginTriplet
from domainmetric.losses.sorting import hinge_sums
from domainmetric.pairs import label_pairs
from domainmetric.types import Pairs
from tests.reference import all_triplets, labels, unit


def whole_numbers(seed: int) -> tuple[torch.Tensor, Pairs]:
    """Distances of few values, so that most of them tie, and masks that no labels could make."""
    draw = torch.Generator().manual_seed(seed)
    pairs = label_pairs(unit(0, 9), labels(1, 9), unit(2, 11), labels(3, 11))
    kind = torch.randint(4, (9, 11), generator=draw)  # a fourth is a positive, half are negatives
    pairs = dataclasses.replace(pairs, positive=kind == 0, negative=kind >= 2)
    return torch.randint(6, (9, 11), generator=draw).double(), pairs


@pytest.mark.parametrize("beyond", [False, True], ids=["all", "semi-hard"])
@pytest.mark.parametrize("block", [1, 25, 1000])
@pytest.mark.parametrize("margin", [1, 2.5])
def test_sorted_sums_are_those_of_loops(
    beyond: bool, block: int, margin: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "BLOCK_ELEMENTS", block)
    for seed in range(5):
        d, pairs = whole_numbers(seed)
        chosen = [(a, p, n) for a, p, n in all_triplets(pairs) if not beyond or d[a, p] < d[a, n] <= d[a, p] + margin]
        gradient, value, active = torch.zeros_like(d), 0.0, 0
        for a, p, n in chosen:
            hinge = float(d[a, p] - d[a, n]) + margin
            if hinge > 0:
                value, active = value + hinge, active + 1
                gradient[a, p] += 1
                gradient[a, n] -= 1
        sums = hinge_sums(d, pairs, margin, beyond_positive=beyond)
        assert (float(sums.value), int(sums.used), int(sums.active)) == (value, len(chosen), active)
        assert torch.equal(sums.gradient, gradient)


def test_a_hinge_of_zero_is_not_active() -> None:
    z = torch.tensor([[1.0, 0], [1, 0], [0, 1]], dtype=torch.float64)
    result = MarginTriplet(margin=2.0, distance=ChordSquared()).of(label_pairs(z, torch.tensor([0, 0, 1])))
    assert float(result.value) == 0 and int(result.active) == 0 and int(result.used) == 2
