"""The figures of a set, against explicit loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from domainmetric.audit.measure import light_middle, measure


def images(count: int, channels: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 9, 10, channels), generator=draw, dtype=torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_figures_as_numpy_tells_them(channels: int) -> None:
    made = images(1100, channels)  # three chunks
    facts, hashes = measure([made[:300], made[300:]])
    plain = made.numpy().astype(np.float64)
    assert (facts.count, facts.size) == (1100, (9, 10, channels))
    assert (facts.low, facts.high) == (plain.min(), plain.max())
    assert (facts.mean, facts.deviation) == pytest.approx((plain.mean(), plain.std()))
    assert facts.channel_means == pytest.approx(plain.mean((0, 1, 2)))
    assert facts.channel_deviations == pytest.approx(plain.std((0, 1, 2)))
    assert (facts.blank, facts.duplicates, len(hashes)) == (0, 0, 1100)


def test_no_figure_depends_on_the_order() -> None:
    made = images(700, 3)
    one, two = measure([made]), measure([made.flip(0)[:10], made.flip(0)[10:]])
    assert one[0] == two[0]
    assert np.array_equal(one[1], two[1])


def test_duplicates_are_those_of_which_there_is_another_one() -> None:
    made = images(50, 3)
    made[[7, 30, 49]] = made[7].clone()
    made[20] = made[21].clone()
    made[11] = made[12].clone()
    made[11, 8, 9, 2] ^= 128  # the last value by its highest bit: no duplicate
    assert measure([made])[0].duplicates == 3


def test_a_grey_image_is_known_in_color() -> None:
    grey = images(20, 1)
    assert np.array_equal(measure([grey])[1], measure([grey.expand(-1, -1, -1, 3)])[1])
    assert not len(np.intersect1d(measure([grey])[1], measure([images(20, 3)])[1]))


def test_polarity_is_that_of_middle_against_border() -> None:
    made = torch.full((3, 9, 10, 1), 100, dtype=torch.uint8)
    made[0, 3:6, 3:7] = 200
    made[1, 3:6, 3:7] = 50
    assert light_middle(made.numpy()).tolist() == [True, False, False]
    assert measure([made])[0].light_middle == pytest.approx(1 / 3)
    assert measure([made])[0].blank == 1
