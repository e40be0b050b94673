"""Every miner against loops, and against pytorch-metric-learning."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from domainmetric.errors import ConfigError
from domainmetric.geometry import Cosine, FromMatrix
from domainmetric.miners import drawing, extremes, listing
from domainmetric.miners.base import Miner
from domainmetric.miners.hard import (
    EasyPositiveEasyNegative,
    EasyPositiveHardNegative,
    EasyPositiveSemiHardNegative,
    HardPositiveHardNegative,
)
from domainmetric.miners.semi_hard import MarginViolating, SemiHard
from domainmetric.pairs import label_pairs
from tests.contracts.family import classes, members, named
from tests.miners.references import REFERENCES, Reference, both_domains
from tests.reference import cases, labels, listed, unit

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorch_metric_learning.distances import CosineSimilarity, LpDistance
    from pytorch_metric_learning.miners import BatchEasyHardMiner, TripletMarginMiner

miners = pytest.mark.parametrize("miner", members(Miner), ids=named)
references = pytest.mark.parametrize(("miner", "reference"), REFERENCES, ids=named)
sets = pytest.mark.parametrize("case", ["within", "across"])


@references
@pytest.mark.parametrize("case", [*cases(), "both domains"])
def test_miners_are_those_of_loops(miner: Miner, reference: Reference, case: str) -> None:
    pairs = {**cases(), "both domains": both_domains()}[case]
    assert sorted(listed(miner.select(pairs))) == sorted(reference(pairs))


def test_every_miner_has_a_reference() -> None:
    assert {type(miner) for miner, _ in REFERENCES} == set(classes(Miner)), "a new miner needs a slow reference"


@references
def test_duplicated_rows_are_mined_as_by_loops(miner: Miner, reference: Reference) -> None:
    z, y = unit(0, 7).repeat(3, 1), labels(1, 7).repeat(3)
    y[:3] = (y[:3] + 1) % 3  # some duplicates bear another label
    pairs = label_pairs(z, y)
    pairs = replace(pairs, sq_chord=pairs.sq_chord.where(pairs.sq_chord > 1e-9, 0))  # exact ties, not rounding's
    expected = reference(pairs)
    if isinstance(miner, SemiHard | MarginViolating):  # these take their own distances, where rounding parts the ties
        chosen = listed(miner.select(pairs))
        assert len(set(chosen)) == len(chosen) > 0
        assert all(pairs.positive[a, p] and pairs.negative[a, n] for a, p, n in chosen)
    else:
        assert sorted(listed(miner.select(pairs))) == sorted(expected)


@miners
def test_an_empty_set_has_no_triplets(miner: Miner) -> None:
    z, y = unit(0, 6), labels(1, 6)
    for arguments in ((z[:0], y[:0]), (z, y, z[:0], y[:0]), (z[:0], y[:0], z, y)):
        chosen = miner(*arguments)
        assert len(chosen) == 0 and chosen.anchor.dtype == torch.int64


BATCH_EASY_HARD = [
    (EasyPositiveHardNegative(), "easy", "hard"),
    (EasyPositiveSemiHardNegative(), "easy", "semihard"),
    (HardPositiveHardNegative(), "hard", "hard"),
    (EasyPositiveEasyNegative(), "easy", "easy"),
]


@pytest.mark.parametrize(("ours", "positive", "negative"), BATCH_EASY_HARD, ids=named)
@sets
def test_extremes_agree_with_pytorch_metric_learning_index_for_index(
    ours: Miner, positive: str, negative: str, case: str
) -> None:
    z, y = unit(0, 60), labels(1, 60, 5)
    reference = () if case == "within" else (unit(2, 25), labels(3, 25, 5))
    theirs = BatchEasyHardMiner(pos_strategy=positive, neg_strategy=negative, distance=CosineSimilarity())
    a1, p, a2, n = theirs(z, y, *reference)
    assert torch.equal(a1, a2)
    chosen = ours(z, y, *reference)
    assert torch.equal(chosen.anchor, a1)
    assert torch.equal(chosen.positive, p)
    assert torch.equal(chosen.negative, n)
    assert len(chosen) > 50


@pytest.mark.parametrize(("ours", "kind"), [(SemiHard(margin=0.3), "semihard"), (MarginViolating(margin=0.3), "all")])
@sets
def test_lists_agree_with_pytorch_metric_learning(ours: Miner, kind: str, case: str) -> None:
    z, y = unit(0, 40), labels(1, 40, 4)
    reference = () if case == "within" else (unit(2, 25), labels(3, 25, 4))
    theirs = TripletMarginMiner(margin=0.3, type_of_triplets=kind, distance=LpDistance(p=2, power=2))
    triplets = theirs(z, y, *reference)
    expected = list(zip(*(part.tolist() for part in triplets), strict=True))
    assert sorted(listed(ours(z, y, *reference))) == sorted(expected)
    assert len(expected) > 100


def test_a_negative_at_the_margin_violates_it_for_pytorch_metric_learning_but_not_for_us() -> None:
    # where the hinge is exactly zero, so that the triplet has no gradient
    z, y = torch.tensor([[1.0, 0], [1, 0], [0, 1]], dtype=torch.float64), torch.tensor([0, 0, 1])
    theirs = TripletMarginMiner(margin=1.0, type_of_triplets="all", distance=CosineSimilarity())
    assert len(theirs(z, y)[0]) == 2
    assert len(MarginViolating(margin=1.0, distance=Cosine())(z, y)) == 0
    assert len(SemiHard(margin=1.0, distance=Cosine())(z, y)) == 2  # FaceNet's range has its end in it


def test_a_negative_as_far_as_the_positive_is_not_beyond_it() -> None:
    z = torch.tensor([[1.0, 0], [0, 1], [0, -1], [-1, 0]], dtype=torch.float64)  # squared chords of 2, 2 and 4
    y = torch.tensor([0, 0, 1, 1])
    assert listed(SemiHard(margin=1.0)(z, y)) == []
    assert listed(SemiHard(margin=2.0)(z, y)) == listed(EasyPositiveSemiHardNegative()(z, y))
    assert listed(EasyPositiveSemiHardNegative()(z, y)) == [(0, 1, 3), (1, 0, 2), (2, 3, 1), (3, 2, 0)]


def test_ties_go_to_the_first_index() -> None:
    z = torch.tensor([[1.0, 0], [0, 1], [0, 1], [0, -1], [0, -1]], dtype=torch.float64)
    y = torch.tensor([0, 0, 0, 1, 1])
    for miner in (EasyPositiveHardNegative(), HardPositiveHardNegative(), EasyPositiveEasyNegative()):
        assert listed(miner(z, y))[0] == (0, 1, 3)


@pytest.mark.parametrize("elements", [1, 30, 10_000])
@miners
def test_blocks_do_not_change_what_is_found(miner: Miner, elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = listed(miner.select(cases()["within"]))
    for module in (extremes, listing, drawing):
        monkeypatch.setattr(module, "BLOCK_ELEMENTS", elements)
    assert listed(miner.select(cases()["within"])) == whole
    assert whole


@pytest.mark.parametrize("miner", [miner for miner, _, _ in BATCH_EASY_HARD], ids=named)
def test_no_neighbor_is_wrong_near_collapse(miner: Miner) -> None:
    z = (unit(5, 1, 32) + 1e-3 * unit(0, 256, 32)).float()
    pairs = label_pairs(z, labels(1, 256, 8))
    exact = (pairs.rows.z.double()[:, None] - pairs.columns.z.double()).square().sum(2)
    right = listed(miner.select(replace(pairs, sq_chord=exact)))
    raw = listed(miner.select(replace(pairs, sq_chord=2 - 2 * pairs.rows.z @ pairs.columns.z.T)))
    assert listed(miner.select(pairs)) == right
    assert len(set(right) - set(raw)) > 128  # without the mean most are wrong


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@miners
def test_autocast_does_not_reach_mining(miner: Miner, dtype: torch.dtype) -> None:
    z, y = unit(0, 1, 32) + 0.05 * unit(2, 40, 32), labels(1, 40)
    plain = listed(miner(z.float(), y))
    with torch.autocast("cpu", dtype=dtype):
        assert listed(miner(z.float(), y)) == plain
    assert plain


@miners
def test_mining_keeps_no_graph(miner: Miner) -> None:
    z = unit(0, 12).requires_grad_()
    chosen = miner.select(label_pairs(z, labels(1, 12)))
    assert chosen.anchor.dtype == torch.int64 and not chosen.anchor.requires_grad


def partly_infinite(x: Tensor, y: Tensor) -> Tensor:
    """A user's distance that overflows."""
    d = 1 - x @ y.T
    return d.masked_fill(d > 0.8, torch.inf)


@pytest.mark.parametrize("cls", [SemiHard, MarginViolating])
def test_an_infinite_distance_does_not_make_negatives_of_what_is_none(cls: type[SemiHard | MarginViolating]) -> None:
    pairs = cases()["within"]
    chosen = listed(cls(margin=0.2, distance=FromMatrix(function=partly_infinite)).select(pairs))
    assert chosen and all(pairs.positive[a, p] and pairs.negative[a, n] for a, p, n in chosen)


@pytest.mark.parametrize("cls", [SemiHard, MarginViolating])
def test_a_margin_of_nothing_is_refused(cls: type[SemiHard | MarginViolating]) -> None:
    with pytest.raises(ConfigError, match=rf"{cls.__name__}.margin must be positive, but is 0"):
        cls(margin=0)
