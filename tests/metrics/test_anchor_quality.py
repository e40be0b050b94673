"""Anchor quality on matches small enough to count by hand."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import skew

from domainmetric.errors import DataError
from domainmetric.metrics.anchor_quality import (
    agreement,
    anchor_quality,
    class_balance,
    coverage,
    hubness,
    match_precision_oracle,
    unique_share,
)
from domainmetric.types import Matches


def matches(source_index: list[list[int]], label: list[int], keep: list[bool]) -> Matches:
    return Matches(
        source_index=torch.tensor(source_index),
        label=torch.tensor(label),
        confidence=torch.ones(len(label)),
        keep=torch.tensor(keep),
    )


SOME = matches([[4, 5], [4, 6], [4, 7], [99, 99]], [0, 0, 1, 1], [True, True, True, False])
NONE = matches([[99], [-1]], [7, -1], [False, False])


def test_precision_counts_an_abstention_as_wrong() -> None:
    assert match_precision_oracle(SOME, torch.tensor([0, 1, 1, 1])) == 0.5
    assert match_precision_oracle(NONE, torch.tensor([7, 7])) == 0.0
    with pytest.raises(DataError, match=r"shape \(4,\)"):
        match_precision_oracle(SOME, torch.tensor([0, 1, 1]))


def test_agreement_counts_what_is_matched_at_either_time() -> None:
    earlier = matches([[1]] * 5, [0, 1, 2, 0, 3], [True, True, True, False, False])
    now = matches([[2]] * 5, [0, 2, 2, 0, 3], [True, True, False, True, False])
    assert agreement(now, earlier) == agreement(earlier, now) == 1 / 4, "kept both times with one label: the first"
    assert agreement(earlier, earlier) == 1.0
    assert agreement(NONE, NONE) == 0.0
    with pytest.raises(DataError, match="about 4 and 5 items"):
        agreement(SOME, now)


def test_shares_by_hand() -> None:
    assert coverage(SOME) == 0.75
    assert unique_share(SOME) == pytest.approx(4 / 6)
    assert class_balance(SOME, 2) == pytest.approx(-(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)) / math.log(2))


def test_balance_at_its_ends() -> None:
    even = matches([[0], [1], [2]], [0, 1, 2], [True] * 3)
    assert class_balance(even, 3) == pytest.approx(1)
    assert class_balance(matches([[0], [1]], [1, 1], [True] * 2), 3) == 0.0
    assert class_balance(matches([[0]], [0], [True]), 1) == 0.0
    with pytest.raises(DataError, match=r"0\.\.1"):
        class_balance(even, 2)


def test_hubness_is_the_skewness_of_occurrences_over_all_candidates() -> None:
    rows = [[0]] * 9 + [[1]] * 2 + [[2], [3], [4]]
    hub = matches(rows, [0] * 14, [True] * 14)
    assert hubness(hub, 5) == pytest.approx(float(skew([9, 2, 1, 1, 1])))
    assert hubness(hub, 12) == pytest.approx(float(skew([9, 2, 1, 1, 1] + [0] * 7)))
    even = matches([[0], [1], [0], [1]], [0] * 4, [True] * 4)
    assert hubness(even, 2) == 0.0
    assert hubness(even, 3) == pytest.approx(-1 / math.sqrt(2)), "2, 2, 0: cubes -16 / 9 and squares 8 / 9 in the mean"
    assert hubness(matches([[5]] * 9, [0] * 9, [True] * 9), 10) == pytest.approx(8 / math.sqrt(9)), (
        "(b - 2) / sqrt(b - 1)"
    )
    with pytest.raises(DataError, match="5 different ones were chosen of 4"):
        hubness(hub, 4)


def test_fewer_hubs_are_more_hubness_and_chance_has_the_least() -> None:
    def of(anchors: torch.Tensor, candidates: int) -> float:
        m = len(anchors)
        return hubness(matches(anchors[:, None].tolist(), [0] * m, [True] * m), candidates)

    draw = torch.Generator().manual_seed(0)
    one, ten, chance = torch.zeros(1000), torch.arange(1000) % 10, torch.randint(4000, (1000,), generator=draw)
    found = [of(anchors.long(), 4000) for anchors in (one, ten, chance)]
    assert found[0] > 2 * found[1] > 2 * found[2]
    assert found[1] == pytest.approx(math.sqrt(4000 / 10), rel=0.01)
    assert found[2] == pytest.approx(1 / math.sqrt(1000 / 4000), rel=0.1), "counts of chance are Poisson's"


def test_all_label_free_measures_ignore_what_is_not_kept() -> None:
    assert anchor_quality(SOME, 8, 6, 2) == {
        "coverage": coverage(SOME),
        "class_balance": class_balance(SOME, 2),
        "unique_share": unique_share(SOME),
        "source_share": 0.5,
        "hubness": hubness(SOME, 6),
    }
    assert set(anchor_quality(NONE, 8, 6, 2).values()) == {0.0}


def test_anchors_outside_the_source_set_and_empty_matches_are_refused() -> None:
    with pytest.raises(DataError, match=r"rows 0\.\.6 .* span 4\.\.7"):
        anchor_quality(SOME, 7, 6, 2)
    empty = Matches(
        source_index=torch.zeros(0, 1, dtype=torch.int64),
        label=torch.zeros(0, dtype=torch.int64),
        confidence=torch.zeros(0),
        keep=torch.zeros(0, dtype=torch.bool),
    )
    with pytest.raises(DataError, match="at least one target item"):
        anchor_quality(empty, 7, 6, 2)
