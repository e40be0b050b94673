"""Values and gradients of every loss equal those of explicit loops: all triplets and mined ones, any distance."""

from __future__ import annotations

import dataclasses
from functools import cache

import pytest
import torch

from domainmetric.losses.base import MetricLoss
from domainmetric.miners.base import Miner
from domainmetric.types import Triplets
from tests.contracts.family import classes, members, named
from tests.contracts.test_losses_and_miners import LOSSES, MINERS
from tests.losses.loops import REFERENCES, Loops, Reference, Setting, settings
from tests.reference import every_distance

CASES = pytest.mark.parametrize("case", settings())
PRECISION = {torch.float64: 1e-6, torch.float32: 1e-4}


def losses(*, mined: bool = False) -> list[MetricLoss]:
    """Every loss, with every distance that it can have, and with swap where it can (mined: of one distance)."""
    found = []
    for loss in members(MetricLoss, LOSSES):
        fields = {field.name for field in dataclasses.fields(loss)}
        some = [dataclasses.replace(loss, distance=d) for d in every_distance()] if "distance" in fields else [loss]
        found += some
        if "swap" in fields:
            found += [dataclasses.replace(one, swap=True) for one in ([loss] if mined else some)]
    return found


def called(loss: MetricLoss) -> str:
    distance = getattr(loss, "distance", None)
    parts = [named(loss), *([] if distance is None else [named(distance)])]
    return "-".join([*parts, *(["swap"] if getattr(loss, "swap", False) else [])])


@cache
def small(dtype: torch.dtype) -> dict[str, tuple[Setting, Loops]]:
    return {case: (setting, Loops(setting.pairs)) for case, setting in settings(dtype).items()}


def check(loss: MetricLoss, case: str, triplets: Triplets | None, dtype: torch.dtype = torch.float64) -> Reference:
    """A loss against the loops, which always are in float64."""
    setting, _ = small(dtype)[case]
    exact, loops = small(torch.float64)[case]
    result, expected = loss.of(setting.pairs, triplets), loops.of(loss, triplets)
    near, what = PRECISION[dtype], f"{loss} {case}"
    assert result.value.dtype == dtype
    assert (int(result.used), int(result.active)) == (expected.used, expected.active), what
    torch.testing.assert_close(result.value.double(), expected.value, rtol=near, atol=near * 1e-3)
    fast = torch.autograd.grad(3 * result.value, setting.leaves, retain_graph=True, allow_unused=True)
    slow = torch.autograd.grad(3 * expected.value, exact.leaves, retain_graph=True, allow_unused=True)
    # an element may cancel, a gradient as a whole does not
    scale = max((float(s.abs().max()) for s in slow if s is not None), default=0.0)
    for one, two in zip(fast, slow, strict=True):
        if one is None or two is None:
            assert one is two is None or float((two if one is None else one).abs().max()) == 0
            continue
        assert one.dtype == dtype
        torch.testing.assert_close(one.double(), two, rtol=0, atol=near * scale, msg=lambda text: f"{what}: {text}")
    return expected


def test_the_loops_know_every_loss() -> None:
    assert REFERENCES.keys() == {cls.__name__ for cls in classes(MetricLoss)}


@CASES
@pytest.mark.parametrize("loss", losses(), ids=called)
def test_all_triplets_are_those_of_loops(loss: MetricLoss, case: str) -> None:
    expected = check(loss, case, None)
    assert expected.active > 0, "a loss of zero shows nothing"
    check(loss, case, None, torch.float32)


@pytest.mark.parametrize("case", ["within", "across", "roles"])
@pytest.mark.parametrize("miner", members(Miner, MINERS), ids=named)
def test_mined_triplets_are_those_of_loops(miner: Miner, case: str) -> None:
    setting, _ = small(torch.float64)[case]
    triplets = miner.select(setting.pairs, torch.Generator().manual_seed(0))
    assert len(triplets) > 0
    for loss in losses(mined=True):
        check(loss, case, triplets)
