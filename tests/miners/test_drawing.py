"""Miners that draw: what they draw from, how often, and with which seed."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from domainmetric.errors import ConfigError
from domainmetric.geometry import normalize
from domainmetric.miners.base import Miner
from domainmetric.miners.distance_weighted import DistanceWeighted
from domainmetric.miners.drawing import draw_columns
from domainmetric.miners.random import RandomTriplets
from domainmetric.pairs import label_pairs
from domainmetric.types import Pairs
from tests.contracts.family import named
from tests.miners.references import inverse_density
from tests.reference import cases, columns, labels, listed, unit

DRAWING = pytest.mark.parametrize("miner", [RandomTriplets(), DistanceWeighted()], ids=named)


def chi_square_is_small(counts: dict[int, int], chances: dict[int, float]) -> bool:
    """Whether counts are as the chances say, within four standard deviations of their chi-square."""
    total = sum(counts.values())
    assert set(counts) <= {cell for cell, chance in chances.items() if chance > 0}
    statistic = sum((counts.get(c, 0) - total * q) ** 2 / (total * q) for c, q in chances.items() if q > 0)
    freedom = sum(chance > 0 for chance in chances.values()) - 1
    return statistic < freedom + 4 * (2 * freedom) ** 0.5


def test_columns_are_drawn_in_proportion_to_their_weights() -> None:
    weights = torch.tensor([[0.0, 3, 0, 1, 4, 0], [0, 0, 0, 0, 0, 2], [0, 0, 0, 0, 0, 0]])
    u = torch.rand(3, 4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = draw_columns((3, 6), lambda rows: weights[rows], u)
    assert drawn.possible.tolist() == [True, True, False]
    assert chi_square_is_small(Counter(drawn.column[0].tolist()), {1: 3 / 8, 3: 1 / 8, 4: 4 / 8})
    assert set(drawn.column[1].tolist()) == {5}


def test_the_ends_of_the_unit_interval_are_columns_that_have_weight() -> None:
    u = torch.tensor([[0.0, 1 - 2**-53]], dtype=torch.float64)
    drawn = draw_columns((1, 5), lambda rows: torch.tensor([[0.0, 0.3, 0.1, 0.7, 0.0]]), u)
    assert drawn.column.tolist() == [[1, 3]]


def test_a_column_of_a_billionth_of_the_weight_can_be_drawn() -> None:
    u = torch.tensor([[0.5, 1 - 1e-10]], dtype=torch.float64)
    assert draw_columns((1, 2), lambda rows: torch.tensor([[1.0, 1e-9]]), u).column.tolist() == [[0, 1]]


def test_random_triplets_are_uniform() -> None:
    pairs = cases()["roles of three groups"]
    miner, chosen = RandomTriplets(num_per_anchor=2000), Counter[tuple[int, int, int]]()
    chosen.update(listed(miner.select(pairs, torch.Generator().manual_seed(0))))
    anchors = {a for a, _, _ in chosen}
    assert anchors == {a for a in range(9) if columns(pairs.positive, a) and columns(pairs.negative, a)}
    for a in anchors:
        positives, negatives = columns(pairs.positive, a), columns(pairs.negative, a)
        counts = {p * 100 + n: chosen[a, p, n] for p in positives for n in negatives}
        assert sum(counts.values()) == 2000
        assert chi_square_is_small(counts, dict.fromkeys(counts, 1 / len(counts)))


def many_draws(dim: int, negatives: torch.Tensor) -> Pairs:
    """One anchor of class 0, with as many positives as draws are wanted, and the given negatives."""
    anchor = unit(0, 1, dim)
    columns = torch.cat([anchor.expand(20_000, -1), negatives])
    return label_pairs(
        anchor, torch.zeros(1, dtype=torch.int64), columns, (torch.arange(len(columns)) >= 20_000).long()
    )


@pytest.mark.parametrize("dim", [3, 6, 64])
def test_distance_weighted_negatives_have_the_chances_of_the_formula(dim: int) -> None:
    near = unit(0, 1, dim) * torch.linspace(-1, 3, 30, dtype=torch.float64)[:, None]
    pairs, miner = many_draws(dim, normalize(near + unit(1, 30, dim))), DistanceWeighted()
    weights = {n: inverse_density(float(pairs.sq_chord[0, n]), dim, miner) for n in range(20_000, 20_030)}
    chosen = Counter(miner.select(pairs, torch.Generator().manual_seed(0)).negative.tolist())
    assert sum(chosen.values()) == 20_000
    assert chi_square_is_small(chosen, {n: weight / sum(weights.values()) for n, weight in weights.items()})
    assert 0 < sum(weight == 0 for weight in weights.values()) < 25  # some lie beyond the cutoff, and were not drawn


def test_weights_spread_the_negatives_evenly_over_the_distances() -> None:
    # the law that 1/q(d) is made for: of points anywhere on the sphere, all distances are drawn alike
    pairs, miner = many_draws(8, unit(3, 200_000, 8)), DistanceWeighted(cutoff=0.5, nonzero_loss_cutoff=1.4)
    chosen = miner.select(pairs, torch.Generator().manual_seed(0))
    d = pairs.sq_chord[0, chosen.negative].sqrt()
    d = d[d > 0.5]
    assert len(d) > 10_000
    quantiles = torch.quantile((d - 0.5) / 0.9, torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9], dtype=torch.float64))
    torch.testing.assert_close(
        quantiles, torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9], dtype=torch.float64), atol=0.03, rtol=0
    )


def test_an_anchor_whose_negatives_are_all_far_is_dropped() -> None:
    z = torch.tensor([[1.0, 0, 0], [1, 0.1, 0], [-1, 0, 0], [-1, 0, 0.1]])
    y = torch.tensor([0, 0, 1, 1])
    assert len(DistanceWeighted()(z, y)) == 0
    z[3] = torch.tensor([0.5, 0.5, 0.1])  # near enough to class 0, and far from its own
    assert {triplet[0] for triplet in listed(DistanceWeighted()(z, y))} == {0, 1, 3}


def test_weights_do_not_overflow_in_many_dimensions() -> None:
    z, y = normalize(torch.randn(40, 4096, generator=torch.Generator().manual_seed(0))), labels(0, 40)
    z[:4], y[:4] = (
        normalize(z[:1] + 0.2 * z[:4]),
        torch.tensor([0, 1, 0, 1]),
    )  # the weight of these is e^3000 times that
    pairs = label_pairs(z, y)
    chosen = DistanceWeighted(nonzero_loss_cutoff=1.5).select(pairs)
    assert set(chosen.anchor.tolist()) == set(range(40))
    assert pairs.negative[chosen.anchor, chosen.negative].all()
    assert (chosen.negative[chosen.anchor < 4] < 4).all()


@DRAWING
def test_what_is_drawn_follows_the_generator_or_else_the_seed(miner: Miner) -> None:
    z, y = unit(0, 30), labels(1, 30)

    def draw(**settings: int) -> list[tuple[int, int, int]]:
        return listed(type(miner)(**settings)(z, y))

    def generated(number: int, **settings: int) -> list[tuple[int, int, int]]:
        return listed(type(miner)(**settings)(z, y, generator=torch.Generator().manual_seed(number)))

    assert draw() == draw() == draw(seed=0) != draw(seed=1)
    assert generated(3) == generated(3, seed=1) != generated(4)


def test_settings_without_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"num_per_anchor must be at least 1, but is 0"):
        RandomTriplets(num_per_anchor=0)
    for cutoff, far in ((0, 1.4), (1.4, 1.4), (0.5, 2)):
        with pytest.raises(ConfigError, match="0 < cutoff < nonzero_loss_cutoff < 2"):
            DistanceWeighted(cutoff=cutoff, nonzero_loss_cutoff=far)
