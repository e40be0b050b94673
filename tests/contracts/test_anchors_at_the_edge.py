"""What every anchor strategy does where its banks are small, poor or collapsed, and across refreshes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from domainmetric.anchors import search
from domainmetric.anchors.adaptive import AdaptiveThreshold
from domainmetric.anchors.agreement import PixelAgreement
from domainmetric.anchors.approximate import CellSearch
from domainmetric.anchors.base import AnchorMatcher, AnchorStrategy
from domainmetric.anchors.confident import Confident
from domainmetric.anchors.member import Member
from domainmetric.anchors.nearest import Nearest
from domainmetric.anchors.pixel import PixelNearest
from domainmetric.anchors.prototype import Prototype
from domainmetric.anchors.quota import ClassQuota
from domainmetric.anchors.random import RandomAnchors
from domainmetric.anchors.threshold import Threshold
from domainmetric.anchors.transport import Transport
from domainmetric.types import Bank, Matches
from tests.anchors.pair_of_sets import FACTORIES, K, M, N, banks, context, drawn, source_labels
from tests.contracts.family import members

NESTED = Member(inner=ClassQuota(inner=AdaptiveThreshold(inner=Prototype()), share=0.3), policy="random")
STRATEGIES = {type(strategy).__name__: strategy for strategy in members(AnchorStrategy, FACTORIES)} | {
    "Transport, relaxed": Transport(marginal_relaxation=0.1),
    "Member, hardest": Member(policy="hardest", num_anchors=2),
    "Member, random": Member(policy="random", num_anchors=2),
    "Member of blind anchors": Member(inner=RandomAnchors(), policy="random"),
    "nested": NESTED,
    "Nearest, by cells": Nearest(search=CellSearch(probed=0.1)),
}
strategies = pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=list(STRATEGIES))


def taken(bank: Bank, places: Tensor) -> Bank:
    labels = None if bank.labels is None else bank.labels[places]
    return Bank(rows=bank.rows[places], z=bank.z[places], logits=bank.logits[places], labels=labels)


def refreshed(strategy: AnchorStrategy, source: Bank, target: Bank) -> AnchorMatcher:
    matcher = strategy.build(context())
    matcher.refresh(source, target if strategy.needs_target_bank else None)
    return matcher


def checked(matches: Matches, num: int) -> Matches:
    """The matches, which are numbers in their ranges, with anchors of the matched class wherever they are kept."""
    assert len(matches.keep) == num
    assert ((matches.confidence >= 0) & (matches.confidence <= 1)).all(), "NaN is neither"
    assert ((matches.source_index >= 0) & (matches.source_index < N)).all()
    assert ((matches.label >= 0) & (matches.label < K)).all()
    assert torch.equal(source_labels()[matches.source_index[:, 0]][matches.keep], matches.label[matches.keep])
    return matches


def without_a_class(source: Bank, target: Bank) -> tuple[Bank, Bank]:
    return taken(source, (source_labels() != 2).nonzero().squeeze(1)), target


def one_class_alone(source: Bank, target: Bank) -> tuple[Bank, Bank]:
    return taken(source, (source_labels() == 3).nonzero().squeeze(1)), target


def one_item_each(source: Bank, target: Bank) -> tuple[Bank, Bank]:
    return taken(source, torch.tensor([0])), taken(target, torch.tensor([7]))


def fewer_than_voters(source: Bank, target: Bank) -> tuple[Bank, Bank]:
    return taken(source, torch.tensor([0, 1, 2, 4])), taken(target, torch.tensor([7, 3]))


def doubled(source: Bank, target: Bank) -> tuple[Bank, Bank]:
    return taken(source, torch.arange(N).repeat(2)), taken(target, torch.arange(M).repeat_interleave(3))


def collapsed(source: Bank, target: Bank) -> tuple[Bank, Bank]:
    point = source.z[:1]
    return replace(source, z=point.expand(N, -1).clone()), replace(target, z=point.expand(M, -1).clone())


def dead(source: Bank, target: Bank) -> tuple[Bank, Bank]:
    return replace(source, z=torch.zeros_like(source.z)), replace(target, z=torch.zeros_like(target.z))


def one_class_predicted(source: Bank, target: Bank) -> tuple[Bank, Bank]:
    sure = torch.zeros(K).index_fill(0, torch.tensor([1]), 50.0)
    return source, replace(target, logits=sure.expand(M, -1).clone())


def unsure(source: Bank, target: Bank) -> tuple[Bank, Bank]:
    return source, replace(target, logits=torch.zeros(M, K))


EDGES = (
    without_a_class, one_class_alone, one_item_each, fewer_than_voters, doubled, collapsed, dead, one_class_predicted,
    unsure,
)  # fmt: skip


@strategies
@pytest.mark.parametrize("edge", EDGES, ids=lambda edge: edge.__name__)
def test_poor_banks_give_numbers(strategy: AnchorStrategy, edge: Callable[[Bank, Bank], tuple[Bank, Bank]]) -> None:
    source, target = edge(*banks())
    matcher = refreshed(strategy, source, target)
    matcher.refresh(source, target if strategy.needs_target_bank else None)
    seen = edge(*banks())[1]
    matches = checked(matcher(seen.rows, seen.z, seen.logits), len(seen.rows))
    if not isinstance(strategy, RandomAnchors | PixelNearest):  # they do not look at the bank
        assert source.labels is not None
        assert set(matches.label[matches.keep].tolist()) <= set(source.labels.tolist())
    others = banks()[1]  # what was in no bank
    checked(matcher(others.rows, others.z, others.logits), M)
    assert all(not value.is_floating_point() or not value.isnan().any() for value in matcher.memory.values())


@strategies
def test_a_batch_may_be_empty_or_a_single_item(strategy: AnchorStrategy) -> None:
    source, target = banks()
    matcher = refreshed(strategy, source, target)
    for size in (0, 1):
        checked(matcher(target.rows[:size], target.z[:size], target.logits[:size]), size)


@pytest.mark.parametrize(
    "modifier", [Threshold, AdaptiveThreshold, ClassQuota, PixelAgreement, Member], ids=lambda m: m.__name__
)
def test_modifiers_of_a_strategy_that_matches_nothing(modifier: type) -> None:
    source, target = unsure(*banks())
    strategy = modifier(inner=Confident())
    matches = refreshed(strategy, source, target)(target.rows, target.z, target.logits)
    assert not checked(matches, M).keep.any()


@strategies
def test_a_run_that_goes_on_matches_as_one_that_never_stopped(strategy: AnchorStrategy) -> None:
    first, then = banks(), [taken(bank, torch.randperm(len(bank.rows), generator=drawn(8))[:30]) for bank in banks()]
    one = refreshed(strategy, *first)
    other = strategy.build(context())
    other.memory.clear()
    other.memory.update({name: value.clone() for name, value in one.memory.items()})
    for matcher in (one, other):
        matcher.refresh(then[0], then[1] if strategy.needs_target_bank else None)
    assert one.memory.keys() == other.memory.keys()
    assert all(torch.equal(one.memory[name], other.memory[name]) for name in one.memory)
    target = first[1]
    matches = [vars(matcher(target.rows, target.z, target.logits)) for matcher in (one, other)]
    assert all(torch.equal(matches[0][name], matches[1][name]) for name in matches[0])


@strategies
def test_what_is_remembered_can_be_written_down(strategy: AnchorStrategy) -> None:
    matcher = refreshed(strategy, *banks())
    assert all(value.is_contiguous() for value in matcher.memory.values())
    homes = [value.untyped_storage().data_ptr() for value in matcher.memory.values() if value.numel()]
    assert len(homes) == len(set(homes)), "two tensors of one storage are not two in a checkpoint"


def test_large_banks_are_searched_by_chunks_to_the_same_end(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = banks()
    whole = {name: refreshed(s, source, target)(target.rows, target.z, target.logits) for name, s in STRATEGIES.items()}
    monkeypatch.setattr(search, "CHUNK_ELEMENTS", 7 * N)
    for name, strategy in STRATEGIES.items():
        parts = refreshed(strategy, source, target)(target.rows, target.z, target.logits)
        assert torch.equal(parts.label, whole[name].label) and torch.equal(parts.keep, whole[name].keep), name
        assert torch.equal(parts.source_index, whole[name].source_index), name


@strategies
def test_neighbors_are_not_looked_for_in_half_precision(strategy: AnchorStrategy) -> None:
    source, target = banks()
    plain = refreshed(strategy, source, target)(target.rows, target.z, target.logits)
    matcher = strategy.build(context())
    with torch.autocast("cpu", torch.bfloat16):
        matcher.refresh(source, target if strategy.needs_target_bank else None)
        matches = matcher(target.rows, target.z, target.logits)
    assert all(torch.equal(vars(plain)[name], vars(matches)[name]) for name in vars(plain))
