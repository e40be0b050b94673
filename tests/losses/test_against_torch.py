"""Losses that torch has, too: on explicit triplets and on the distances of pairs, values and gradients."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from domainmetric.geometry import Chord, ChordSquared, Cosine, Distance, Geodesic, Lp, normalize
from domainmetric.losses.contrastive import HingeEmbedding
from domainmetric.losses.margin import MarginTriplet, SoftMarginTriplet
from domainmetric.pairs import label_pairs
from domainmetric.types import Triplets
from tests.contracts.family import named
from tests.reference import all_triplets, labels, unit

SWAP = pytest.mark.parametrize("swap", [False, True], ids=["plain", "swap"])
FUNCTIONS: list[tuple[Distance, Callable[[Tensor, Tensor], Tensor]]] = [
    (Chord(), lambda x, y: (x - y).norm(dim=1)),
    (ChordSquared(), lambda x, y: (x - y).square().sum(1)),
    (Cosine(), lambda x, y: 1 - torch.nn.functional.cosine_similarity(x, y)),
    (Geodesic(), lambda x, y: torch.nn.functional.cosine_similarity(x, y).acos()),
]


def three(n: int = 40) -> list[Tensor]:
    return [unit(seed, n).requires_grad_() for seed in range(3)]


def check(ours: Tensor, theirs: Tensor, leaves: list[Tensor], near: float = 1e-9) -> None:
    torch.testing.assert_close(ours, theirs, rtol=near, atol=0)
    fast, slow = (torch.autograd.grad(value, leaves, retain_graph=True) for value in (ours, theirs))
    for one, two in zip(fast, slow, strict=True):
        torch.testing.assert_close(one, two, rtol=near, atol=near * float(two.abs().max()))


@SWAP
@pytest.mark.parametrize("p", [1, 1.5, 2, 3, math.inf])
def test_explicit_triplets_are_those_of_triplet_margin_loss(swap: bool, p: float) -> None:
    triplets = [2 * x for x in three()]  # not normalized: they are taken as they are
    theirs = torch.nn.TripletMarginLoss(margin=0.7, p=p, swap=swap)(*triplets)  # type: ignore[arg-type]
    check(MarginTriplet(margin=0.7, distance=Lp(p=p), swap=swap).explicit(*triplets), theirs, triplets)


def test_defaults_are_those_of_torch() -> None:
    triplets = three()
    check(MarginTriplet(distance=Lp()).explicit(*triplets), torch.nn.TripletMarginLoss()(*triplets), triplets)
    assert HingeEmbedding().margin == torch.nn.HingeEmbeddingLoss().margin


@SWAP
@pytest.mark.parametrize(("distance", "function"), FUNCTIONS, ids=lambda part: named(part) if part else "")
def test_explicit_triplets_are_those_of_any_distance(
    distance: Distance, function: Callable[[Tensor, Tensor], Tensor], swap: bool
) -> None:
    leaves = three()
    triplets = [normalize(x) for x in leaves]
    theirs = torch.nn.TripletMarginWithDistanceLoss(distance_function=function, margin=0.4, swap=swap)(*triplets)
    check(MarginTriplet(margin=0.4, distance=distance, swap=swap).explicit(*triplets), theirs, leaves, 1e-7)


@SWAP
@pytest.mark.parametrize("across", [False, True], ids=["within", "across"])
def test_all_triplets_are_torchs_on_their_list(swap: bool, across: bool) -> None:
    z, y, other, other_y = unit(0, 12).requires_grad_(), labels(1, 12), unit(2, 9).requires_grad_(), labels(3, 9)
    reference, leaves = ((other, other_y), [z, other]) if across else ((None, None), [z])
    pairs = label_pairs(z, y, *reference)
    a, p, n = torch.tensor(all_triplets(pairs)).T
    vectors = pairs.rows.z[a], pairs.columns.z[p], pairs.columns.z[n]
    loss, triplets = MarginTriplet(distance=Lp(), swap=swap), Triplets(anchor=a, positive=p, negative=n)
    theirs = torch.nn.TripletMarginLoss(swap=swap)(*vectors)
    for ours in (
        loss.of(pairs).value,
        loss.of(pairs, triplets).value,
        loss(z, y, triplets, ref_emb=reference[0], ref_labels=reference[1]),
        loss.explicit(*vectors),
    ):
        check(ours, theirs, leaves, 1e-7)


def test_the_soft_margin_is_torchs_soft_margin_loss() -> None:
    triplets = [normalize(x) for x in three()]
    a, p, n = triplets
    apart = (a - n).square().sum(1) - (a - p).square().sum(1)
    theirs = torch.nn.SoftMarginLoss()(apart, torch.ones_like(apart))
    torch.testing.assert_close(SoftMarginTriplet().explicit(*triplets), theirs)


@pytest.mark.parametrize(("distance", "function"), FUNCTIONS, ids=lambda part: named(part) if part else "")
def test_hinge_embedding_is_torchs_on_the_distances_of_all_pairs(
    distance: Distance, function: Callable[[Tensor, Tensor], Tensor]
) -> None:
    z, y = unit(0, 20).requires_grad_(), labels(1, 20)
    pairs = label_pairs(z, y)
    a, b = (pairs.positive | pairs.negative).nonzero(as_tuple=True)
    target = torch.where(y[a] == y[b], 1, -1)
    theirs = torch.nn.HingeEmbeddingLoss(margin=0.8)(function(pairs.rows.z[a], pairs.columns.z[b]), target)
    check(HingeEmbedding(margin=0.8, distance=distance)(z, y), theirs, [z], 1e-7)


def test_no_explicit_triplets_are_a_differentiable_zero() -> None:
    triplets = three(0)
    value = MarginTriplet(swap=True).explicit(*triplets)
    assert value == 0
    assert all(g.shape == (0, 6) for g in torch.autograd.grad(value, triplets))
