"""Modifiers against loops: thresholds fixed and adaptive, members, and modifiers of modifiers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from domainmetric.anchors.adaptive import AdaptiveThreshold
from domainmetric.anchors.agreement import SIDE, PixelAgreement
from domainmetric.anchors.base import AnchorContext, AnchorMatcher, AnchorStrategy
from domainmetric.anchors.confident import Confident
from domainmetric.anchors.member import Member
from domainmetric.anchors.nearest import Nearest
from domainmetric.anchors.oracle import Oracle
from domainmetric.anchors.pixel import PixelNearest, grey_vectors
from domainmetric.anchors.prototype import Prototype
from domainmetric.anchors.quota import ClassQuota
from domainmetric.anchors.random import RandomAnchors
from domainmetric.anchors.threshold import Threshold
from domainmetric.types import Bank, ImageSet
from tests.anchors.pair_of_sets import K, M, N, banks, context, embeddings, logits_of, match, ready, source_labels

ALL_ROWS = torch.arange(M)
VAGUE = Nearest(k=20, temperature=1.0)
"""Votes that are far from 1."""


def other_target(seed: int) -> Bank:
    """A later target bank: other rows, in other places."""
    rows = torch.randperm(M, generator=torch.Generator().manual_seed(seed))[: M // 2]
    z = embeddings(torch.randint(K, (M // 2,), generator=torch.Generator().manual_seed(seed)), seed)
    return Bank(rows=rows, z=z, logits=logits_of(z), labels=None)


@pytest.mark.parametrize("confidence", [0.3, 0.78, 0.9])
def test_a_threshold_drops_what_lies_below_it(confidence: float) -> None:
    free, kept = match(ready(VAGUE), ALL_ROWS), match(ready(Threshold(inner=VAGUE, confidence=confidence)), ALL_ROWS)
    assert kept.keep.tolist() == [float(c) >= confidence for c in free.confidence]
    assert torch.equal(free.label, kept.label) and torch.equal(free.source_index, kept.source_index)


def test_a_confident_classifier_is_taken_at_its_word() -> None:
    matches = match(ready(Confident(probability=0.99)), ALL_ROWS)
    logits = logits_of(banks()[1].z)
    for row in range(M):
        exponentials = [float(x.exp()) for x in logits[row].double()]
        probability = max(exponentials) / sum(exponentials)
        assert bool(matches.keep[row]) == (probability >= 0.99)
        assert float(matches.confidence[row]) == pytest.approx(probability, abs=1e-6)
        assert int(matches.label[row]) == exponentials.index(max(exponentials))
    assert 0 < int(matches.keep.sum()) < M


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_adaptive_thresholds_follow_the_confidence_of_each_class(momentum: float) -> None:
    spec = AdaptiveThreshold(inner=VAGUE, momentum=momentum)
    matcher, source = spec.build(context()), banks()[0]
    tau, status = 0.0, [0.0] * K
    for turn, target in enumerate((banks()[1], other_target(11), other_target(12))):
        matcher.refresh(source, target)
        free = ready(VAGUE)(target.rows, target.z, target.logits)
        past = momentum if turn else 0.0
        tau = past * tau + (1 - past) * float(free.confidence.double().mean())
        for c in range(K):
            mine = [float(x) for x, y in zip(free.confidence, free.label, strict=True) if y == c]
            assert mine, "the test looks at classes that are matched"
            status[c] = past * status[c] + (1 - past) * sum(mine) / len(mine)
    plain, kept = match(ready(VAGUE), ALL_ROWS), match(matcher, ALL_ROWS)
    for row in range(M):
        label = int(plain.label[row])
        assert bool(kept.keep[row]) == (float(plain.confidence[row]) >= tau * status[label] / max(status))
    assert 0 < int(kept.keep.sum()) < M


def test_a_class_that_was_not_seen_is_let_in_and_its_mean_begins_when_it_comes() -> None:
    source, target = banks()
    one = match(ready(VAGUE), ALL_ROWS).label == 1
    rows = ALL_ROWS[one]
    only = Bank(rows=rows, z=target.z[rows], logits=target.logits[rows], labels=None)
    matcher = AdaptiveThreshold(inner=VAGUE, momentum=0.9).build(context())
    matcher.refresh(source, only)
    thresholds = matcher.thresholds()  # type: ignore[operator]
    assert (thresholds > 0).tolist() == [c == 1 for c in range(K)]
    assert match(matcher, ALL_ROWS).keep[~one].all()
    matcher.refresh(source, target)
    status = matcher.memory["modifier0/status"]
    confidence = match(ready(VAGUE), ALL_ROWS)
    first = confidence.confidence[confidence.label == 2].double().mean()
    assert float(status[2]) == pytest.approx(float(first)), "a mean that begins has no past"
    matcher.refresh(source, only)
    assert torch.equal(matcher.memory["modifier0/status"][2], status[2]), "a class that was not seen keeps its mean"


@pytest.mark.parametrize("inner", [Oracle(), RandomAnchors()], ids=lambda s: type(s).__name__)
def test_equal_confidences_all_reach_their_mean(inner: AnchorStrategy) -> None:
    matcher = ready(AdaptiveThreshold(inner=inner, momentum=0.3))
    for _ in range(5):
        matcher.refresh(*banks())
        assert match(matcher, ALL_ROWS).keep.all()


@pytest.mark.parametrize("inner", [VAGUE, PixelNearest(), Threshold(inner=Prototype())], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("policy", ["nearest", "hardest"])
def test_members_are_ranked_by_their_cosine(policy: str, inner: AnchorStrategy) -> None:
    source, target = banks()
    matches = match(ready(Member(inner=inner, policy=policy, num_anchors=3)), ALL_ROWS)  # type: ignore[arg-type]
    plain = match(ready(inner), ALL_ROWS)
    assert torch.equal(matches.keep, plain.keep) and torch.equal(matches.label, plain.label)
    for row in range(M):
        members = [i for i in range(N) if i % K == int(plain.label[row])]
        sign = 1 if policy == "hardest" else -1
        expected = sorted(members, key=lambda i: sign * float(target.z[row] @ source.z[i]))[:3]
        assert matches.source_index[row].tolist() == expected


def test_random_members_are_drawn_by_row_and_anew_at_every_refresh() -> None:
    matcher = ready(Member(policy="random", num_anchors=3))
    first = match(matcher, ALL_ROWS)
    assert torch.equal(source_labels()[first.source_index], first.label[:, None].expand(-1, 3))
    assert all(len(set(row.tolist())) == 3 for row in first.source_index), "no item twice, where there are enough"
    some = torch.tensor([30, 4, 17])
    assert torch.equal(match(matcher, some).source_index, first.source_index[some]), "whatever the batch"
    matcher.refresh(*banks())
    assert (match(matcher, ALL_ROWS).source_index != first.source_index).float().mean() > 0.5
    assert not torch.equal(
        match(ready(Member(policy="random", num_anchors=3), 1), ALL_ROWS).source_index, first.source_index
    )


def test_random_members_are_drawn_evenly() -> None:
    matcher = Member(inner=Oracle(), policy="random").build(context())
    counts = torch.zeros(N)
    for _ in range(150):
        matcher.refresh(banks()[0], None)
        counts += match(matcher, ALL_ROWS).source_index.flatten().bincount(minlength=N)
    share = counts.view(-1, K) / counts.view(-1, K).sum(0)  # of each member within its class
    assert (share - K / N).abs().max() < 0.02


@pytest.mark.parametrize("policy", ["nearest", "hardest", "random"])
def test_a_class_with_too_few_members_gives_some_more_than_once(policy: str) -> None:
    num = N // K + 2
    matches = match(ready(Member(policy=policy, num_anchors=num)), ALL_ROWS)  # type: ignore[arg-type]
    assert torch.equal(source_labels()[matches.source_index], matches.label[:, None].expand(-1, num))
    assert all(len(set(row.tolist())) == N // K for row in matches.source_index)


def test_modifiers_of_modifiers_each_keep_their_own() -> None:
    inner = AdaptiveThreshold(inner=VAGUE, momentum=0.1)
    outer = AdaptiveThreshold(inner=ClassQuota(inner=inner, share=0.2), momentum=0.8)
    strategy = Member(inner=outer, policy="random")
    matcher = ready(strategy)
    keys = {key for key in matcher.memory if key.startswith("modifier")}
    assert keys == {"modifier0/status", "modifier0/tau", "modifier2/status", "modifier2/tau"} | {
        f"modifier3/{name}" for name in ("generation", "start", "order")
    }
    once = match(ready(inner), ALL_ROWS).keep
    assert (match(matcher, ALL_ROWS).keep <= once).all()
    assert strategy.needs_target_bank and not strategy.needs_target_labels
    assert Member(inner=Threshold(inner=Oracle())).needs_target_labels
    assert not Member(inner=Threshold(inner=Oracle())).needs_target_bank


def test_an_inner_strategy_that_does_not_ask_for_the_target_does_not_get_it() -> None:
    class Blind(AnchorMatcher):
        def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None:
            assert target_bank is None

        def forward(self, target_index, z_t, logits_t):  # type: ignore[no-untyped-def]
            return match(ready(Nearest()), target_index)

    class BlindSpec(Nearest):  # a stand-in: the package's own classes are final
        def build(self, context: AnchorContext) -> AnchorMatcher:
            return Blind()

    AdaptiveThreshold(inner=BlindSpec()).build(context()).refresh(*banks())


def test_a_modifier_does_not_bring_back_what_was_dropped() -> None:
    dropped = Threshold(inner=VAGUE, confidence=0.78)
    lost = ~match(ready(dropped), ALL_ROWS).keep
    assert lost.any()
    for strategy in (
        Threshold(inner=dropped, confidence=0.1),
        AdaptiveThreshold(inner=dropped),
        ClassQuota(inner=dropped, share=0.9),
        Member(inner=dropped),
    ):
        assert not match(ready(strategy), ALL_ROWS).keep[lost].any(), type(strategy).__name__


def test_what_is_told_of_a_target_does_not_depend_on_who_asked_before() -> None:
    matcher = ready(Member(inner=AdaptiveThreshold(inner=VAGUE), policy="random"))
    before = match(matcher, ALL_ROWS)
    saved = {name: value.clone() for name, value in matcher.memory.items()}
    match(matcher, ALL_ROWS[:7])
    assert all(torch.equal(matcher.memory[name], value) for name, value in saved.items())
    assert torch.equal(match(matcher, ALL_ROWS).keep, before.keep)


def looking_alike(seed: int = 0) -> AnchorContext:
    """Target images of one kind for each pair of rows 2i and 2i + 1, nearly the same."""
    draw = torch.Generator().manual_seed(seed)
    kinds = torch.randint(40, 216, (M // 2, 6, 6, 1), generator=draw)
    images = kinds.repeat_interleave(2, 0) + torch.randint(-20, 20, (M, 6, 6, 1), generator=draw)
    there = context()
    return replace(there, target=ImageSet(images=images.to(torch.uint8), labels=None, classes=there.target.classes))


@pytest.mark.parametrize("k", [1, 4, 100])
@pytest.mark.parametrize("inner", [VAGUE, Threshold(inner=VAGUE, confidence=0.78)], ids=["all", "some"])
def test_matches_that_the_most_similar_images_outvote_are_dropped(inner: AnchorStrategy, k: int) -> None:
    there, (source, target) = looking_alike(), banks()
    bank = Bank(rows=target.rows[5:], z=target.z[5:], logits=target.logits[5:], labels=None)
    matcher, plain = PixelAgreement(inner=inner, k=k).build(there), inner.build(there)
    matcher.refresh(source, bank)
    plain.refresh(source, None)
    free, kept = match(plain, ALL_ROWS), match(matcher, ALL_ROWS)
    looks = grey_vectors(there.target.images, side=SIDE).double()
    for row in range(M):
        others = sorted((j for j in range(5, M) if j != row), key=lambda j: -float(looks[row] @ looks[j]))[:k]
        votes = [0.0] * K
        for j in others:
            votes[int(free.label[j])] += float(free.confidence[j]) * bool(free.keep[j])
        agreed = votes[int(free.label[row])] >= max(votes) - 1e-6
        assert bool(kept.keep[row]) == (bool(free.keep[row]) and agreed), (row, votes)
    assert 0 < int(kept.keep.sum()) < int(free.keep.sum())
    assert torch.equal(free.label, kept.label) and torch.equal(free.source_index, kept.source_index)


def test_a_bank_of_the_item_alone_has_no_voter_and_drops_nothing() -> None:
    source, target = banks()
    matcher = PixelAgreement().build(context())
    matcher.refresh(source, Bank(rows=target.rows[:1], z=target.z[:1], logits=target.logits[:1], labels=None))
    assert match(matcher, ALL_ROWS[:1]).keep.all()


def test_images_are_compared_in_grey_at_sixteen_pixels_whatever_their_contrast() -> None:
    images = torch.randint(60, 120, (5, 32, 32, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    looks = grey_vectors(images, side=SIDE)
    assert looks.shape == (5, SIDE * SIDE)
    torch.testing.assert_close(looks.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(grey_vectors(images * 2, side=SIDE), looks)
    blocks = images.float().mean(-1).view(5, 16, 2, 16, 2).mean((2, 4)).flatten(1)
    torch.testing.assert_close(looks, torch.nn.functional.normalize(blocks - blocks.mean(1, keepdim=True)))
    assert grey_vectors(images[:, :6, :9], side=SIDE).shape == (5, 54)
    assert (grey_vectors(torch.full((1, 32, 32, 1), 7, dtype=torch.uint8), side=SIDE) == 0).all()
