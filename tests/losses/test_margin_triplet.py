"""The margin triplet loss against loops, against torch's own, and batch-all against the listed sum."""

from __future__ import annotations

import pytest
import torch

from domainmetric.errors import ConfigError
from domainmetric.geometry import Chord, ChordSquared, Cosine, Distance, Geodesic
from domainmetric.losses.margin import MarginTriplet
from domainmetric.miners.base import Miner
from domainmetric.pairs import label_pairs
from domainmetric.types import Pairs, Triplets
from tests.contracts.family import members, named
from tests.reference import all_triplets, apart, cases, every_distance, labels, listed, unit

ALL = pytest.mark.parametrize("distance", every_distance(), ids=named)


def by_loops(pairs: Pairs, triplets: list[tuple[int, int, int]], loss: MarginTriplet) -> tuple[float, int, int]:
    d = apart(loss.distance, pairs)
    terms = [d[a][p] - d[a][n] + loss.margin for a, p, n in triplets]
    hinges = [max(0.0, term) for term in terms]
    return sum(hinges) / max(1, len(hinges)), len(hinges), sum(term > 0 for term in terms)


def everything(pairs: Pairs) -> Triplets:
    rows = torch.tensor(all_triplets(pairs), dtype=torch.int64).reshape(-1, 3)
    return Triplets(anchor=rows[:, 0], positive=rows[:, 1], negative=rows[:, 2])


@ALL
@pytest.mark.parametrize("case", cases())
def test_all_triplets_are_those_of_loops(distance: Distance, case: str) -> None:
    pairs, loss = cases()[case], MarginTriplet(margin=0.3, distance=distance)
    value, used, active = by_loops(pairs, all_triplets(pairs), loss)
    for result in (loss.of(pairs), loss.of(pairs, everything(pairs))):
        assert float(result.value) == pytest.approx(value, abs=1e-7)
        assert (int(result.used), int(result.active)) == (used, active)


@pytest.mark.parametrize("miner", members(Miner), ids=named)
@pytest.mark.parametrize("case", cases())
def test_mined_triplets_are_those_of_loops(miner: Miner, case: str) -> None:
    pairs, loss = cases()[case], MarginTriplet(margin=0.3)
    chosen = miner.select(pairs)
    value, used, active = by_loops(pairs, listed(chosen), loss)
    result = loss.of(pairs, chosen)
    assert float(result.value) == pytest.approx(value, abs=1e-9)
    assert (int(result.used), int(result.active)) == (used, active)


@ALL
@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-9), (torch.float32, 2e-5)])
def test_batch_all_has_the_gradient_of_the_listed_sum(distance: Distance, dtype: torch.dtype, near: float) -> None:
    loss, y = MarginTriplet(margin=0.3, distance=distance), labels(1, 30)
    z = unit(0, 30, dtype=dtype).requires_grad_()
    other, other_y = unit(2, 17, dtype=dtype).requires_grad_(), labels(3, 17)
    for arguments in ((z, y), (z, y, other, other_y)):
        inputs = [argument for argument in arguments if argument.requires_grad]
        pairs = label_pairs(*arguments)
        sorted_sum, listed_sum = loss.of(pairs).value, loss.of(pairs, everything(pairs)).value
        torch.testing.assert_close(sorted_sum, listed_sum, rtol=1e-5, atol=near)
        fast = torch.autograd.grad(sorted_sum, inputs, retain_graph=True)
        slow = torch.autograd.grad(listed_sum, inputs)
        for one, two in zip(fast, slow, strict=True):
            assert two.abs().max() > 0.001
            torch.testing.assert_close(one, two, rtol=0, atol=near)


@pytest.mark.parametrize(
    ("distance", "theirs"),
    [
        (Chord(), lambda a, b: (a - b).norm(dim=1)),
        (ChordSquared(), lambda a, b: (a - b).square().sum(1)),
        (Cosine(), lambda a, b: 1 - (a * b).sum(1)),
        (Geodesic(), lambda a, b: (a * b).sum(1).clamp(-1, 1).acos()),
    ],
    ids=named,
)
def test_listed_triplets_agree_with_torch(distance: Distance, theirs: object) -> None:
    z, y = unit(0, 20), labels(1, 20)
    triplets = everything(label_pairs(z, y))
    reference = torch.nn.TripletMarginWithDistanceLoss(distance_function=theirs, margin=0.4)  # type: ignore[arg-type]
    expected = reference(z[triplets.anchor], z[triplets.positive], z[triplets.negative])
    value = MarginTriplet(margin=0.4, distance=distance)(z, y, triplets)
    assert float(value) == pytest.approx(float(expected), abs=1e-9)


def test_batch_all_is_right_where_distances_tie_with_the_limit() -> None:
    # d_an = d_ap + margin exactly: a hinge of zero is not active
    z = torch.tensor([[1.0, 0], [1, 0], [0, 1]], dtype=torch.float64)
    result = MarginTriplet(margin=2.0, distance=ChordSquared()).of(label_pairs(z, torch.tensor([0, 0, 1])))
    assert float(result.value) == 0 and int(result.active) == 0 and int(result.used) == 2


def test_a_margin_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"MarginTriplet.margin must be positive, but is -1"):
        MarginTriplet(margin=-1)
