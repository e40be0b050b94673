"""Losses that pytorch-metric-learning has, too, values and gradients; where it means something else, by how much."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from domainmetric.geometry import Chord, ChordSquared, Cosine, Distance
from domainmetric.losses.base import MetricLoss
from domainmetric.losses.contrastive import Contrastive
from domainmetric.losses.margin import MarginTriplet, SoftMarginTriplet
from domainmetric.losses.multi_similarity import MultiSimilarity
from domainmetric.losses.softmax import NTXent, SupCon
from domainmetric.miners.hard import EasyPositiveHardNegative
from domainmetric.pairs import label_pairs
from tests.contracts.family import named
from tests.reference import labels, unit

pml = pytest.importorskip("pytorch_metric_learning")
from pytorch_metric_learning import distances, losses, reducers  # noqa: E402 (after the skip)

ACROSS = pytest.mark.parametrize("across", [False, True], ids=["within", "across"])
PAIRS: list[tuple[MetricLoss, Any]] = [
    (NTXent(), losses.NTXentLoss()),
    (NTXent(temperature=0.5), losses.NTXentLoss(temperature=0.5)),
    (SupCon(), losses.SupConLoss()),
    (SupCon(temperature=0.5), losses.SupConLoss(temperature=0.5)),
    (MultiSimilarity(), losses.MultiSimilarityLoss()),
    (MultiSimilarity(alpha=3, beta=20, base=0.2), losses.MultiSimilarityLoss(alpha=3, beta=20, base=0.2)),
    (Contrastive(), losses.ContrastiveLoss()),
    (Contrastive(pos_margin=0.3, neg_margin=1.2), losses.ContrastiveLoss(pos_margin=0.3, neg_margin=1.2)),
]
"""Ours and theirs, with their own defaults and with other settings."""
EQUAL: list[tuple[Distance, Any]] = [(Chord(), distances.LpDistance()), (ChordSquared(), distances.LpDistance(power=2))]


def sets(across: bool) -> tuple[list[Tensor], tuple[Tensor, Tensor], dict[str, Tensor]]:
    """Leaves, the plain call's arguments, and those of another set."""
    z, y = unit(0, 24).requires_grad_(), labels(1, 24, 5)
    y[3] = 7  # a class of its own: an anchor without a positive
    if not across:
        return [z], (z, y), {}
    other, other_y = unit(2, 17).requires_grad_(), labels(3, 17, 5)
    return [z, other], (z, y), {"ref_emb": other, "ref_labels": other_y}


def check(ours: Tensor, theirs: Tensor, leaves: list[Tensor], near: float = 1e-7) -> None:
    assert theirs > 0
    torch.testing.assert_close(ours, theirs, rtol=near, atol=0)
    fast, slow = (torch.autograd.grad(value, leaves) for value in (ours, theirs))
    for one, two in zip(fast, slow, strict=True):
        torch.testing.assert_close(one, two, rtol=near, atol=near * float(two.abs().max()))


@ACROSS
@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=named)
def test_pair_losses_are_theirs(ours: MetricLoss, theirs: Any, across: bool) -> None:
    leaves, arguments, reference = sets(across)
    check(ours(*arguments, **reference), theirs(*arguments, **reference), leaves)


@ACROSS
@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=named)
def test_pair_losses_of_mined_triplets_are_theirs(ours: MetricLoss, theirs: Any, across: bool) -> None:
    leaves, arguments, reference = sets(across)
    mined = EasyPositiveHardNegative()(*arguments, **reference)
    listed = (mined.anchor, mined.positive, mined.negative)
    check(ours(*arguments, mined, **reference), theirs(*arguments, listed, **reference), leaves)


@ACROSS
@pytest.mark.parametrize(("distance", "theirs"), EQUAL, ids=named)
def test_batch_all_is_theirs(distance: Distance, theirs: Any, across: bool) -> None:
    leaves, arguments, reference = sets(across)
    ours = MarginTriplet(margin=0.3, distance=distance)
    result = ours.of(label_pairs(*arguments, *reference.values()))
    mean = losses.TripletMarginLoss(margin=0.3, distance=theirs, reducer=reducers.MeanReducer())
    check(result.value, mean(*arguments, **reference), leaves)
    # their default averages over the triplets with a loss
    default = losses.TripletMarginLoss(margin=0.3, distance=theirs)
    value = ours.of(label_pairs(*arguments, *reference.values())).value * result.used / result.active
    check(value, default(*arguments, **reference), leaves)


@ACROSS
def test_batch_all_on_cosines_is_theirs(across: bool) -> None:
    leaves, arguments, reference = sets(across)
    theirs = losses.TripletMarginLoss(margin=0.3, distance=distances.CosineSimilarity(), reducer=reducers.MeanReducer())
    check(
        MarginTriplet(margin=0.3, distance=Cosine())(*arguments, **reference), theirs(*arguments, **reference), leaves
    )


@pytest.mark.parametrize(("distance", "theirs"), EQUAL, ids=named)
def test_swap_and_soft_margin_within_a_set_are_theirs(distance: Distance, theirs: Any) -> None:
    leaves, arguments, _ = sets(False)
    settings = {"distance": theirs, "reducer": reducers.MeanReducer(), "swap": True}
    hinge = losses.TripletMarginLoss(margin=0.3, **settings)
    check(MarginTriplet(margin=0.3, distance=distance, swap=True)(*arguments), hinge(*arguments), leaves)
    soft = losses.TripletMarginLoss(margin=0, smooth_loss=True, **settings)
    check(SoftMarginTriplet(distance=distance, swap=True)(*arguments), soft(*arguments), leaves)


def test_a_pair_that_is_named_twice_counts_once_but_in_their_ntxent_twice() -> None:
    _, (z, y), _ = sets(False)
    arguments = (z.detach(), y)
    mined = EasyPositiveHardNegative()(*arguments)
    twice = torch.tensor([0, 0, 1])
    a, p, n = mined.anchor[twice], mined.positive[twice], mined.negative[twice]
    some = type(mined)(anchor=a, positive=p, negative=n)
    assert float(SupCon()(*arguments, some)) == pytest.approx(float(losses.SupConLoss()(*arguments, (a, p, n))))
    each = [float(NTXent()(*arguments, type(mined)(anchor=a[[i]], positive=p[[i]], negative=n[[i]]))) for i in (0, 2)]
    assert float(NTXent()(*arguments, some)) == pytest.approx(sum(each) / 2)
    assert float(losses.NTXentLoss()(*arguments, (a, p, n))) != pytest.approx(sum(each) / 2)
