"""pytorch-metric-learning's miners in place of ours."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from domainmetric.errors import ConfigError
from domainmetric.geometry import ChordSquared
from domainmetric.losses.margin import MarginTriplet
from domainmetric.miners.base import Miner
from domainmetric.miners.hard import EasyPositiveHardNegative, HardNegative, HardPositiveHardNegative
from domainmetric.miners.pml import PmlMiner, triplets_of
from domainmetric.miners.semi_hard import MarginViolating
from domainmetric.pairs import extend
from domainmetric.serialize import from_json, to_json, user_names
from domainmetric.step import PartContext
from domainmetric.terms import Metric
from domainmetric.types import Group, Pairs
from tests.contracts.steps import D, K, aligned_step
from tests.miners.references import both_domains
from tests.reference import cases, labels, listed, unit

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorch_metric_learning import distances, miners


@dataclass(frozen=True, kw_only=True)
class BatchHard(PmlMiner):
    """Four lines."""

    def make(self) -> nn.Module:
        return miners.BatchHardMiner()


@dataclass(frozen=True, kw_only=True)
class EasyHard(PmlMiner):
    positive: str = "easy"

    def make(self) -> nn.Module:
        return miners.BatchEasyHardMiner(pos_strategy=self.positive, neg_strategy="hard")


@dataclass(frozen=True, kw_only=True)
class TripletMargin(PmlMiner):
    margin: float = 0.2

    def make(self) -> nn.Module:
        return miners.TripletMarginMiner(
            margin=self.margin, type_of_triplets="all", distance=distances.LpDistance(p=2, power=2)
        )


@dataclass(frozen=True, kw_only=True)
class Weighted(PmlMiner):
    def make(self) -> nn.Module:
        return miners.DistanceWeightedMiner()


class Rows(nn.Module):
    def forward(self, embeddings: Tensor, labels: Tensor, ref_emb: object = None, ref_labels: object = None) -> Tensor:
        return torch.arange(len(embeddings))


@dataclass(frozen=True, kw_only=True)
class Subsets(PmlMiner):
    """A part of the batch, as their MaximumLossMiner."""

    def make(self) -> nn.Module:
        return Rows()


@dataclass(frozen=True, kw_only=True)
class NoMiner(PmlMiner):
    def make(self) -> nn.Module:
        return nn.Linear(3, 3)


class Recorder(nn.Module):
    seen: list[torch.dtype] = []  # noqa: RUF012 (what the last call was given)

    def forward(self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor | None = None, ref_labels: object = None):
        self.seen[:] = [embeddings.dtype, (embeddings @ embeddings.T).dtype]
        none = torch.empty(0, dtype=torch.int64)
        return none, none, none


@dataclass(frozen=True, kw_only=True)
class Recording(PmlMiner):
    def make(self) -> nn.Module:
        return Recorder()


SAME: list[tuple[PmlMiner, Miner]] = [
    (BatchHard(), HardPositiveHardNegative()),
    (EasyHard(), EasyPositiveHardNegative()),
    (EasyHard(positive="all"), HardNegative()),  # four tensors whose anchors differ
    (TripletMargin(margin=0.5), MarginViolating(margin=0.5)),
]
same = pytest.mark.parametrize(("theirs", "ours"), SAME, ids=["HPHN", "EPHN", "hard negative", "violating"])


def with_memory() -> Pairs:
    """A batch of one domain against itself and a memory of 20 older vectors."""
    memory = Group(z=unit(9, 20), labels=labels(8, 20))
    return extend(cases()["within"], memory, torch.arange(100, 120), positive=True, negative=True)


def dropped_rows() -> Pairs:
    """A set against itself, some of whose rows take no part."""
    pairs, keep = cases()["within"], torch.arange(14) % 3 != 1
    group, both = replace(pairs.rows, keep=keep), keep[:, None] & keep
    return replace(pairs, rows=group, columns=group, positive=pairs.positive & both, negative=pairs.negative & both)


@same
@pytest.mark.parametrize(
    "pairs",
    [cases()["within"], cases()["across"], cases()["roles"], with_memory(), both_domains(), dropped_rows()],
    ids=["within", "across", "roles", "memory", "both domains", "dropped rows"],
)
def test_theirs_find_what_ours_find(theirs: PmlMiner, ours: Miner, pairs: Pairs) -> None:
    chosen = listed(theirs.select(pairs))
    assert sorted(chosen) == sorted(listed(ours.select(pairs)))
    assert chosen


@same
def test_the_plain_call_is_theirs(theirs: PmlMiner, ours: Miner) -> None:
    z, y, other, other_y = unit(0, 30), labels(1, 30), unit(2, 20), labels(3, 20)
    assert sorted(listed(theirs(z, y))) == sorted(listed(ours(z, y)))
    assert sorted(listed(theirs(z, y, other, other_y))) == sorted(listed(ours(z, y, other, other_y)))


def test_where_roles_cut_the_columns_only_what_they_allow_is_kept() -> None:
    pairs = cases()["roles of three groups"]
    triplet_by_triplet = TripletMargin(margin=0.5).select(pairs)
    assert sorted(listed(triplet_by_triplet)) == sorted(listed(MarginViolating(margin=0.5).select(pairs)))
    extreme = BatchHard().select(pairs)
    assert 0 < len(extreme) < len(HardPositiveHardNegative().select(pairs))  # it loses anchors
    assert pairs.positive[extreme.anchor, extreme.positive].all()
    assert pairs.negative[extreme.anchor, extreme.negative].all()


@pytest.mark.parametrize("miner", [miner for miner, _ in SAME])
@pytest.mark.parametrize("case", ["one class", "no class twice"])
def test_theirs_find_nothing_where_there_is_nothing(miner: PmlMiner, case: str) -> None:
    assert len(miner.select(cases()[case])) == 0
    assert len(miner(unit(0, 4)[:0], labels(0, 0))) == 0
    assert len(miner(unit(0, 4), labels(0, 4), unit(0, 4)[:0], labels(0, 0))) == 0


def test_pairs_are_joined_on_the_anchor() -> None:
    draw = torch.Generator().manual_seed(0)
    a1, p = torch.randint(9, (2, 40), generator=draw)
    a2, n = torch.randint(5, 14, (2, 50), generator=draw)
    expected = [
        (a, int(p[i]), int(n[j])) for i, a in enumerate(a1.tolist()) for j, b in enumerate(a2.tolist()) if a == b
    ]
    joined = list(zip(*(part.tolist() for part in triplets_of((a1, p, a2, n))), strict=True))
    assert joined == expected
    assert len(joined) > 50


def test_a_miner_that_draws_follows_the_generator_and_changes_nothing_global() -> None:
    z, y, before = unit(0, 40), labels(1, 40), torch.get_rng_state()

    def draw(seed: int) -> list[tuple[int, int, int]]:
        return listed(Weighted()(z, y, generator=torch.Generator().manual_seed(seed)))

    assert draw(0) == draw(0) != draw(1)
    assert listed(Weighted()(z, y)) == listed(Weighted()(z, y)) != draw(0)
    assert torch.equal(torch.get_rng_state(), before)


def test_theirs_mine_in_float32_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        Recording()(unit(0, 12).bfloat16(), labels(1, 12))
    assert Recorder.seen == [torch.float32, torch.float32]


@pytest.mark.usefixtures("unchecked_shapes")
def test_what_is_no_miner_of_triplets_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"NoMiner.make must return a miner .* Linear does not take embeddings, labels"
    ):
        NoMiner()(unit(0, 12), labels(1, 12))
    with pytest.raises(ConfigError, match=r"three .* or four .* but this one returned Tensor"):
        Subsets()(unit(0, 12), labels(1, 12))


def test_it_is_a_spec_that_a_metric_term_takes() -> None:
    part = Metric(miner=TripletMargin(margin=0.5), loss=MarginTriplet(margin=0.5, distance=ChordSquared()))
    written = json.loads(json.dumps(to_json(part.miner)))
    assert written == {"class": "user.TripletMargin", "margin": 0.5}
    assert from_json(written, user_names(globals())) == part.miner
    ours = replace(part, miner=MarginViolating(margin=0.5))
    context = PartContext(num_classes=K, embedding_dim=D)
    torch.testing.assert_close(part.build(context)(aligned_step()), ours.build(context)(aligned_step()))
