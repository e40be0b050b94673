"""What holds for every miner and every metric loss, found by walking the package."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from domainmetric.losses.base import MetricLoss
from domainmetric.miners.base import Miner
from domainmetric.miners.disjoint import Disjoint
from domainmetric.miners.hard import HardNegative
from domainmetric.pairs import label_pairs
from domainmetric.types import Triplets
from tests.contracts.family import members, named
from tests.reference import cases, labels, listed, unit

MINERS: dict[str, Callable[[], Miner]] = {}
"""Factories of miners with required arguments."""
LOSSES: dict[str, Callable[[], MetricLoss]] = {}
"""Factories of losses with required arguments."""

miners = pytest.mark.parametrize("miner", members(Miner, MINERS), ids=named)
losses = pytest.mark.parametrize("loss", members(MetricLoss, LOSSES), ids=named)
empty = pytest.mark.parametrize("case", ["one class", "no class twice"])
full = pytest.mark.parametrize("case", ["within", "across", "roles", "roles of three groups"])


@miners
@empty
def test_a_miner_finds_nothing_where_there_is_nothing(miner: Miner, case: str) -> None:
    chosen = miner.select(cases()[case])
    assert len(chosen) == 0
    assert [part.dtype for part in (chosen.anchor, chosen.positive, chosen.negative)] == [torch.int64] * 3


@miners
@full
def test_mined_triplets_are_positives_and_negatives(miner: Miner, case: str) -> None:
    pairs = cases()[case]
    chosen = miner.select(pairs, torch.Generator().manual_seed(0))
    assert len(chosen) > 0
    assert pairs.positive[chosen.anchor, chosen.positive].all()
    assert pairs.negative[chosen.anchor, chosen.negative].all()


@miners
def test_mining_is_repeatable(miner: Miner) -> None:
    pairs = cases()["within"]
    one, two = (listed(miner.select(pairs, torch.Generator().manual_seed(3))) for _ in range(2))
    assert one == two


def draws(miner: Miner) -> bool:
    """Whether a miner's choice depends on its generator."""
    one, two = (listed(miner.select(cases()["within"], torch.Generator().manual_seed(seed))) for seed in (0, 1))
    return one != two


def shuffled_and_back(miner: Miner, seed: int) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Triplets of a set, and of the same set in another order, told by the first one's numbers."""
    z, y = unit(0, 20), labels(1, 20)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(7))
    plain = miner(z, y, generator=torch.Generator().manual_seed(seed))
    shuffled = miner(z[order], y[order], generator=torch.Generator().manual_seed(1000 + seed))
    return listed(plain), [tuple(int(order[index]) for index in triplet) for triplet in listed(shuffled)]


@pytest.mark.parametrize("miner", [m for m in members(Miner, MINERS) if not draws(m)], ids=named)
def test_mining_follows_a_permutation_of_the_rows(miner: Miner) -> None:
    if isinstance(miner, Disjoint):
        miner = miner.miner  # Disjoint serves the first anchors first: the order of the rows is part of what it is
    plain, back = shuffled_and_back(miner, 0)
    assert sorted(plain) == sorted(back)


@pytest.mark.parametrize("miner", [m for m in members(Miner, MINERS) if draws(m)], ids=named)
def test_miners_that_draw_do_so_with_the_same_chances_after_a_permutation(miner: Miner) -> None:
    runs = [shuffled_and_back(miner, seed) for seed in range(150)]
    plain, back = (Counter(triplet for run in runs for triplet in run[side]) for side in (0, 1))
    cells = plain.keys() | back.keys()
    # chi-square of two samples, of which each anchor's counts (or each pair's) have a fixed sum: at most len(cells)
    statistic = sum((plain[cell] - back[cell]) ** 2 / (plain[cell] + back[cell]) for cell in cells)
    assert sum(plain.values()) == sum(back.values())
    assert statistic < len(cells) + 4 * (2 * len(cells)) ** 0.5


@miners
def test_mining_takes_sets_of_unlike_size(miner: Miner) -> None:
    for other in (3, 31):
        chosen = miner(unit(0, 12), labels(1, 12), unit(2, other), labels(3, other))
        assert len(chosen) == 0 or int(chosen.positive.max()) < other


def value_and_gradient(loss: MetricLoss, z: Tensor, y: Tensor, triplets: Triplets | None) -> tuple[Tensor, Tensor]:
    z = z.clone().requires_grad_()
    result = loss.of(label_pairs(z, y), triplets)
    (gradient,) = torch.autograd.grad(result.value, z)
    return result.value.detach(), gradient


@losses
@empty
@pytest.mark.parametrize("mined", [True, False])
def test_a_loss_over_nothing_is_a_differentiable_zero(loss: MetricLoss, case: str, mined: bool) -> None:
    y = torch.zeros(14, dtype=torch.int64) if case == "one class" else torch.arange(14)
    none = torch.empty(0, dtype=torch.int64)
    triplets = Triplets(anchor=none, positive=none, negative=none) if mined else None
    value, gradient = value_and_gradient(loss, unit(0, 14), y, triplets)
    assert value == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))
    assert loss.of(cases()[case], triplets).used == 0
    assert loss.of(cases()[case], triplets).active == 0


@losses
@miners
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_loss_has_a_finite_gradient_and_keeps_its_type(loss: MetricLoss, miner: Miner, dtype: torch.dtype) -> None:
    z, y = unit(0, 24, dtype=dtype), labels(1, 24)
    for triplets in (None, miner(z, y)):
        value, gradient = value_and_gradient(loss, z, y, triplets)
        assert value.dtype == gradient.dtype == dtype
        assert value.ndim == 0 and gradient.isfinite().all()
        if triplets is not None and loss.of(label_pairs(z, y), triplets).active == 0:  # a hinge, and easy triplets
            assert value == 0 and (gradient == 0).all()
        else:
            assert value > 0 and gradient.abs().max() > 0


@losses
def test_a_loss_does_not_explode_where_all_points_coincide(loss: MetricLoss) -> None:
    value, gradient = value_and_gradient(loss, unit(0, 1, dtype=torch.float32).repeat(12, 1), labels(1, 12), None)
    assert value.isfinite() and gradient.isfinite().all()


@losses
def test_a_loss_does_not_see_the_order_of_rows(loss: MetricLoss) -> None:
    z, y = unit(0, 20), labels(1, 20)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(7))
    value, gradient = value_and_gradient(loss, z, y, None)
    again, shuffled = value_and_gradient(loss, z[order], y[order], None)
    torch.testing.assert_close(again, value)
    torch.testing.assert_close(shuffled, gradient[order])


@losses
def test_a_loss_falls_along_its_gradient(loss: MetricLoss) -> None:
    z, y = unit(0, 20), labels(1, 20)
    value, gradient = value_and_gradient(loss, z, y, None)
    after, _ = value_and_gradient(loss, z - 0.05 * gradient / gradient.norm(), y, None)
    assert after < value


@losses
def test_a_loss_takes_another_set_of_unlike_size(loss: MetricLoss) -> None:
    for other in (3, 31):
        value = loss(unit(0, 12), labels(1, 12), ref_emb=unit(2, other), ref_labels=labels(3, other))
        assert value.isfinite()


@losses
@pytest.mark.parametrize(("rows", "others"), [(0, None), (0, 0), (5, 0), (0, 5), (1, None)])
def test_a_loss_over_empty_sets_is_a_differentiable_zero(loss: MetricLoss, rows: int, others: int | None) -> None:
    sets = [unit(seed, size).requires_grad_() for seed, size in ((0, rows), (2, others)) if size is not None]
    pairs = label_pairs(*(part for z in sets for part in (z, labels(1, len(z)))))
    none = torch.empty(0, dtype=torch.int64)
    for triplets in (None, Triplets(anchor=none, positive=none, negative=none)):
        result = loss.of(pairs, triplets)
        assert (result.value, result.used, result.active) == (0, 0, 0)
        for gradient in torch.autograd.grad(result.value, sets, retain_graph=True, allow_unused=True):
            assert gradient is None or (gradient == 0).all()


@losses
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_loss_keeps_finite_where_rows_are_duplicated(loss: MetricLoss, dtype: torch.dtype) -> None:
    z, y = unit(0, 8, dtype=dtype).repeat(3, 1), labels(1, 24)  # twins within classes and between them
    z[::5] *= -1  # and antipodes
    for triplets in (None, HardNegative()(z, y)):
        value, gradient = value_and_gradient(loss, z, y, triplets)
        assert value.isfinite() and gradient.isfinite().all()


@losses
def test_autocast_does_not_touch_a_loss(loss: MetricLoss) -> None:
    z, y = unit(0, 24, dtype=torch.float32), labels(1, 24)
    for triplets in (None, HardNegative()(z, y)):
        plain = value_and_gradient(loss, z, y, triplets)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = value_and_gradient(loss, z, y, triplets)
        assert inside[0].dtype == torch.float32
        torch.testing.assert_close(inside, plain)


@losses
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_loss_of_half_precision_embeddings_is_in_float32(loss: MetricLoss, dtype: torch.dtype) -> None:
    z, y = unit(0, 24, dtype=dtype), labels(1, 24)
    for triplets in (None, HardNegative()(z, y)):
        value, gradient = value_and_gradient(loss, z, y, triplets)
        assert (value.dtype, gradient.dtype) == (torch.float32, dtype)
        assert value.isfinite() and gradient.isfinite().all() and gradient.abs().max() > 0
