"""Every miner against loops, and EPHN against pytorch-metric-learning."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch

from domainmetric.errors import ConfigError
from domainmetric.geometry import ChordSquared, Cosine, Distance
from domainmetric.miners import semi_hard
from domainmetric.miners.base import Miner
from domainmetric.miners.hard import EasyPositiveHardNegative, HardNegative
from domainmetric.miners.semi_hard import SemiHard
from domainmetric.pairs import label_pairs
from domainmetric.types import Pairs
from tests.contracts.family import classes, members, named
from tests.reference import all_triplets, apart, cases, columns, labels, listed, unit

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.miners import BatchEasyHardMiner

Reference = Callable[[Pairs], list[tuple[int, int, int]]]


def valid_anchors(pairs: Pairs) -> list[int]:
    return [a for a in range(len(pairs.positive)) if columns(pairs.positive, a) and columns(pairs.negative, a)]


def nearest(pairs: Pairs, a: int, among: list[int]) -> int:
    return min(among, key=lambda c: (float(pairs.sq_chord[a, c]), c))


def ephn(pairs: Pairs) -> list[tuple[int, int, int]]:
    return [
        (a, nearest(pairs, a, columns(pairs.positive, a)), nearest(pairs, a, columns(pairs.negative, a)))
        for a in valid_anchors(pairs)
    ]


def hard_negative(pairs: Pairs) -> list[tuple[int, int, int]]:
    return [
        (a, p, nearest(pairs, a, columns(pairs.negative, a)))
        for a in valid_anchors(pairs)
        for p in columns(pairs.positive, a)
    ]


def semi_hard_of(margin: float, distance: Distance) -> Reference:
    def select(pairs: Pairs) -> list[tuple[int, int, int]]:
        d = apart(distance, pairs)
        return [(a, p, n) for a, p, n in all_triplets(pairs) if d[a][p] < d[a][n] <= d[a][p] + margin]

    return select


REFERENCES: list[tuple[Miner, Reference]] = [
    (EasyPositiveHardNegative(), ephn),
    (HardNegative(), hard_negative),
    (SemiHard(), semi_hard_of(0.2, ChordSquared())),
    (SemiHard(margin=0.5, distance=Cosine()), semi_hard_of(0.5, Cosine())),
]


@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize(("miner", "reference"), REFERENCES, ids=named)
def test_miners_are_those_of_loops(miner: Miner, reference: Reference, case: str) -> None:
    pairs = cases()[case]
    assert sorted(listed(miner.select(pairs))) == sorted(reference(pairs))


def test_every_miner_has_a_reference() -> None:
    assert {type(miner) for miner, _ in REFERENCES} == set(classes(Miner)), "a new miner needs a slow reference"


@pytest.mark.parametrize("case", ["within", "across"])
def test_ephn_agrees_with_pytorch_metric_learning_index_for_index(case: str) -> None:
    z, y = unit(0, 40), labels(1, 40, 5)
    reference = () if case == "within" else (unit(2, 25), labels(3, 25, 5))
    theirs = BatchEasyHardMiner(pos_strategy="easy", neg_strategy="hard", distance=CosineSimilarity())
    anchor, positive, anchor_again, negative = theirs(z, y, *reference)
    assert torch.equal(anchor, anchor_again)
    ours = EasyPositiveHardNegative()(z, y, *reference)
    assert torch.equal(ours.anchor, anchor)
    assert torch.equal(ours.positive, positive)
    assert torch.equal(ours.negative, negative)
    assert len(ours) > 30


def test_ties_go_to_the_first_index() -> None:
    z = torch.tensor([[1.0, 0], [0, 1], [0, 1], [0, -1], [0, -1]], dtype=torch.float64)
    chosen = listed(EasyPositiveHardNegative()(z, torch.tensor([0, 0, 0, 1, 1])))
    assert chosen[0] == (0, 1, 3)


@pytest.mark.parametrize("elements", [1, 30, 10_000])
def test_chunks_do_not_change_what_semi_hard_finds(elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = listed(SemiHard().select(cases()["within"]))
    monkeypatch.setattr(semi_hard, "CHUNK_ELEMENTS", elements)
    assert listed(SemiHard().select(cases()["within"])) == whole
    assert whole


@pytest.mark.parametrize("miner", members(Miner), ids=named)
def test_mining_keeps_no_graph(miner: Miner) -> None:
    z = unit(0, 12).requires_grad_()
    chosen = miner.select(label_pairs(z, labels(1, 12)))
    assert chosen.anchor.dtype == torch.int64 and not chosen.anchor.requires_grad


def test_a_margin_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"SemiHard.margin must be positive, but is 0"):
        SemiHard(margin=0)
