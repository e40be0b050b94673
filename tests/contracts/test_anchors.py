"""What holds for every anchor strategy, found by walking the package."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from domainmetric.anchors.base import AnchorStrategy
from domainmetric.anchors.modifier import Modifier
from domainmetric.anchors.nearest import Nearest
from domainmetric.anchors.pixel import PixelNearest
from domainmetric.anchors.quota import ClassQuota
from domainmetric.anchors.random import RandomAnchors
from domainmetric.anchors.threshold import Threshold
from domainmetric.errors import ConfigError
from domainmetric.metrics.anchor_quality import hubness
from domainmetric.training.objective import anchors_of
from domainmetric.types import Bank, Encoded, Matches
from tests.anchors.pair_of_sets import FACTORIES, K, M, N, banks, context, match, ready, source_labels
from tests.contracts.family import members, named

strategies = pytest.mark.parametrize("strategy", members(AnchorStrategy, FACTORIES), ids=named)
ROWS = torch.tensor([3, 0, 17, 39, 8, 21, 5])


def equal(one: Matches, other: Matches) -> bool:
    return all(torch.equal(vars(one)[name], vars(other)[name]) for name in vars(one))


def taken(matches: Matches, order: torch.Tensor) -> Matches:
    return Matches(**{name: value[order] for name, value in vars(matches).items()})


def with_anchors(strategy: AnchorStrategy, num: int) -> AnchorStrategy:
    """The same strategy with another number of anchors, said where it is a field."""
    if any(field.name == "num_anchors" for field in fields(strategy)):
        return replace(strategy, num_anchors=num)  # type: ignore[call-arg]
    assert isinstance(strategy, Modifier)
    return replace(strategy, inner=with_anchors(strategy.inner, num))


@strategies
def test_matches_name_rows_labels_and_confidence(strategy: AnchorStrategy) -> None:
    matches = match(ready(strategy), ROWS)
    assert matches.source_index.shape == (len(ROWS), 1)
    assert matches.source_index.dtype == matches.label.dtype == torch.int64 and matches.keep.dtype == torch.bool
    assert matches.label.shape == matches.confidence.shape == matches.keep.shape == (len(ROWS),)
    assert ((matches.source_index >= 0) & (matches.source_index < N)).all()
    assert ((matches.label >= 0) & (matches.label < K)).all()
    assert ((matches.confidence >= 0) & (matches.confidence <= 1)).all()
    assert matches.keep.any()


@strategies
def test_the_first_anchor_has_the_matched_label(strategy: AnchorStrategy) -> None:
    matches = match(ready(strategy), torch.arange(M))
    assert torch.equal(source_labels()[matches.source_index[:, 0]], matches.label)


@strategies
def test_matching_is_repeatable(strategy: AnchorStrategy) -> None:
    matcher = ready(strategy)
    assert equal(match(matcher, ROWS), match(matcher, ROWS))
    assert equal(match(matcher, ROWS), match(ready(strategy), ROWS))


@strategies
def test_matching_follows_a_permutation_of_the_batch(strategy: AnchorStrategy) -> None:
    matcher, order = ready(strategy), torch.randperm(M, generator=torch.Generator().manual_seed(0))
    plain, shuffled = match(matcher, torch.arange(M)), match(matcher, order)
    expected = taken(plain, order)
    assert torch.equal(shuffled.label, expected.label)
    assert torch.equal(shuffled.source_index, expected.source_index)
    torch.testing.assert_close(shuffled.confidence, expected.confidence)


@strategies
def test_who_matches_by_row_matches_a_batch_as_its_parts(strategy: AnchorStrategy) -> None:
    matcher, items = ready(strategy), torch.arange(M)
    parts = [match(matcher, part) for part in items.split(3)]
    together = Matches(**{name: torch.cat([vars(part)[name] for part in parts]) for name in vars(parts[0])})
    whole = match(matcher, items)
    if not matcher.by_row:  # else it would be divided among processes for nothing
        assert not torch.equal(together.keep, whole.keep)
        return
    for name in ("label", "source_index", "keep"):
        assert torch.equal(vars(together)[name], vars(whole)[name]), name
    torch.testing.assert_close(together.confidence, whole.confidence)


def test_a_modifier_of_a_strategy_that_needs_the_whole_batch_needs_it_too() -> None:
    assert ready(Threshold(inner=Nearest(), confidence=0.1)).by_row
    assert not ready(Threshold(inner=ClassQuota(inner=Nearest()), confidence=0.1)).by_row


@strategies
def test_what_a_refresh_leaves_behind_can_be_saved_and_taken_up(strategy: AnchorStrategy) -> None:
    matcher, other = ready(strategy), strategy.build(context())
    saved = {name: value.clone() for name, value in matcher.memory.items()}
    other.memory.clear()
    other.memory.update(saved)
    assert equal(match(matcher, ROWS), match(other, ROWS))


@strategies
def test_a_strategy_has_nothing_to_train(strategy: AnchorStrategy) -> None:
    matcher = ready(strategy)
    assert list(matcher.parameters()) == []
    assert not match(matcher, ROWS).confidence.requires_grad


@strategies
def test_several_anchors_come_best_first(strategy: AnchorStrategy) -> None:
    one, three = match(ready(strategy), ROWS), match(ready(with_anchors(strategy, 3)), ROWS)
    assert three.source_index.shape == (len(ROWS), 3)
    assert all(len(set(row.tolist())) > 1 for row in three.source_index)
    if not isinstance(strategy, RandomAnchors):  # it draws other numbers for another shape
        assert torch.equal(one.source_index[:, 0], three.source_index[:, 0])


@strategies
def test_every_anchor_takes_part_with_its_own_label(strategy: AnchorStrategy) -> None:
    for num in (1, 3):
        matches = match(ready(with_anchors(strategy, num)), torch.arange(M))
        z = torch.zeros(M * num, 2)
        group = anchors_of(matches, Encoded(z=z, logits=z), source_labels())
        kept = matches.keep.repeat_interleave(num)
        assert torch.equal(group.kept(), kept)
        assert torch.equal(group.labels[kept], source_labels()[matches.source_index.flatten()][kept])
        if num == 1:
            assert torch.equal(group.labels, matches.label)
        if not isinstance(strategy, RandomAnchors | PixelNearest):  # they pick items, the others a class
            assert torch.equal(group.labels[kept], matches.label.repeat_interleave(num)[kept])


def test_what_a_dropped_item_names_may_be_no_row_at_all() -> None:
    matches = Matches(
        source_index=torch.tensor([[1, 2], [-1, 10**6]]),
        label=torch.tensor([1, 0]),
        confidence=torch.zeros(2),
        keep=torch.tensor([True, False]),
    )
    z = torch.zeros(4, 2)
    group = anchors_of(matches, Encoded(z=z, logits=z), source_labels())
    assert group.labels[:2].tolist() == [1, 2] and group.kept().tolist() == [True, True, False, False]


@strategies
def test_candidates_are_those_of_the_bank_or_all(strategy: AnchorStrategy) -> None:
    matcher = strategy.build(context())
    source, target = banks()
    half = Bank(rows=source.rows[::2], z=source.z[::2], logits=source.logits[::2], labels=source_labels()[::2])
    matcher.refresh(half, target if strategy.needs_target_bank else None)
    matches = match(matcher, torch.arange(M))
    assert matcher.num_candidates(N) == (N if isinstance(strategy, RandomAnchors | PixelNearest) else N // 2)
    assert isinstance(hubness(matches, matcher.num_candidates(N)), float)


@strategies
def test_no_anchors_at_all_are_refused(strategy: AnchorStrategy) -> None:
    with pytest.raises(ConfigError, match="num_anchors"):
        with_anchors(strategy, 0)
