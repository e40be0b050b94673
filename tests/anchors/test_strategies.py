"""What each anchor strategy promises: votes, centroids, priors, exact search, quotas."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from domainmetric.anchors import pixel
from domainmetric.anchors.adaptive import AdaptiveThreshold
from domainmetric.anchors.agreement import PixelAgreement
from domainmetric.anchors.base import AnchorMatcher, AnchorStrategy
from domainmetric.anchors.cluster import Cluster
from domainmetric.anchors.confident import Confident
from domainmetric.anchors.member import Member
from domainmetric.anchors.mutual import Mutual
from domainmetric.anchors.nearest import Nearest
from domainmetric.anchors.oracle import Oracle
from domainmetric.anchors.pixel import PixelNearest, grey_vectors, pixel_neighbors, pixel_search
from domainmetric.anchors.propagation import Propagation
from domainmetric.anchors.prototype import Prototype
from domainmetric.anchors.quota import ClassQuota
from domainmetric.anchors.random import RandomAnchors
from domainmetric.anchors.search import rows_at_a_time
from domainmetric.anchors.source_bank import SourceBank
from domainmetric.anchors.threshold import Threshold
from domainmetric.anchors.transport import Transport
from domainmetric.errors import ConfigError
from domainmetric.types import Bank
from tests.anchors.pair_of_sets import (
    K,
    M,
    N,
    banks,
    context,
    embeddings,
    logits_of,
    match,
    ready,
    source_labels,
    target_labels,
)

ALL_ROWS = torch.arange(M)
SEMANTIC = (
    Nearest(),
    Prototype(),
    Transport(),
    Transport(marginal_relaxation=0.1),
    Mutual(),
    Cluster(),
    Propagation(),
    Confident(probability=0.5),
    AdaptiveThreshold(),
)
SHUFFLED = torch.tensor([2, 0, 3, 1])  # another name for each class


@pytest.mark.parametrize("strategy", SEMANTIC, ids=lambda s: type(s).__name__)
def test_semantic_strategies_find_the_classes_of_well_separated_clusters(strategy: AnchorStrategy) -> None:
    matches = match(ready(strategy), ALL_ROWS)
    assert (matches.label == target_labels())[matches.keep].float().mean() >= 0.95
    assert matches.keep.float().mean() >= 0.5


@pytest.mark.parametrize("strategy", SEMANTIC, ids=lambda s: type(s).__name__)
def test_renaming_the_classes_renames_the_matches(strategy: AnchorStrategy) -> None:
    plain = match(ready(strategy), ALL_ROWS)
    source, target = banks(SHUFFLED[source_labels()])
    back = SHUFFLED.argsort()
    renamed = [Bank(rows=b.rows, z=b.z, logits=b.logits[:, back], labels=b.labels) for b in (source, target)]
    matcher = strategy.build(context(labels=SHUFFLED[source_labels()]))
    matcher.refresh(renamed[0], renamed[1] if strategy.needs_target_bank else None)
    z = embeddings(target_labels(), 6)
    matches = matcher(ALL_ROWS, z, logits_of(z)[:, back])
    assert torch.equal(matches.label, SHUFFLED[plain.label])
    assert torch.equal(matches.source_index, plain.source_index)
    torch.testing.assert_close(matches.confidence, plain.confidence)


def test_nearest_is_the_weighted_vote_of_a_loop() -> None:
    spec = Nearest(k=5, temperature=0.3)
    source, _ = banks()
    z = embeddings(target_labels(), 6)
    matches = match(ready(spec), ALL_ROWS)
    for row in range(M):
        cosines = [float(z[row] @ other) for other in source.z]
        voters = sorted(range(N), key=lambda i: -cosines[i])[: spec.k]
        weights = torch.tensor([cosines[i] / spec.temperature for i in voters]).softmax(0)
        votes = [sum(float(w) for w, i in zip(weights, voters, strict=True) if i % K == label) for label in range(K)]
        label = max(range(K), key=lambda k: votes[k])
        assert int(matches.label[row]) == label
        assert float(matches.confidence[row]) == pytest.approx(votes[label], abs=1e-5)
        assert int(matches.source_index[row]) == max((i for i in range(N) if i % K == label), key=lambda i: cosines[i])


def test_more_voters_than_the_bank_holds_are_all_of_it() -> None:
    assert match(ready(Nearest(k=10 * N)), ALL_ROWS).label.shape == (M,)


def test_prototypes_move_to_the_target_and_an_unused_class_keeps_its_place() -> None:
    source, target = banks()
    first = Prototype(rounds=0).build(context())
    first.refresh(source, target)
    weighted = torch.zeros(K, target.z.shape[1])
    for p, z in zip(target.logits.softmax(1), target.z, strict=True):
        weighted += p[:, None] * z
    torch.testing.assert_close(first.memory["centroids"], weighted / weighted.norm(dim=1, keepdim=True))
    alone = Bank(rows=target.rows[:1], z=target.z[:1], logits=target.logits[:1], labels=None)
    second = Prototype(rounds=2).build(context())
    second.refresh(source, alone)
    assert second.memory["centroids"].isfinite().all()
    assert (second.memory["centroids"].norm(dim=1) > 0.99).all()


@pytest.mark.parametrize("prior", [(0.25, 0.25, 0.25, 0.25), (0.55, 0.25, 0.15, 0.05)])
def test_transport_honors_its_prior(prior: tuple[float, ...]) -> None:
    matcher = ready(Transport(prior=prior, regularization=0.05))
    _, target = banks()
    cost = 1 - target.z @ matcher.memory["means"].T
    plan = (matcher.memory["potential"] - cost / 0.05).softmax(1)
    torch.testing.assert_close(plan.mean(0), torch.tensor(prior), atol=1e-3, rtol=0)
    assert torch.equal(match(matcher, ALL_ROWS).label, plan.argmax(1)), "a batch is assigned as the bank was"


@pytest.mark.parametrize("strategy", [s for s in SEMANTIC if s.needs_target_bank], ids=lambda s: type(s).__name__)
def test_set_level_strategies_ask_for_the_target(strategy: AnchorStrategy) -> None:
    assert strategy.needs_target_bank
    with pytest.raises(ConfigError, match="need a target bank"):
        strategy.build(context()).refresh(banks()[0], None)


@pytest.mark.parametrize("num", [1, 3])
@pytest.mark.parametrize(("queries", "gallery"), [(4, 5), (7, 64), (2048, 8192)])
def test_pixel_search_is_brute_force(num: int, queries: int, gallery: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel, "QUERY_CHUNK", queries)
    monkeypatch.setattr(pixel, "GALLERY_CHUNK", gallery)
    sets = context()
    similarity, index = pixel_search(sets.target.images, sets.source.images, num=num)
    for row, query in enumerate(sets.target.images):
        grey = [image.double().mean(-1).flatten() for image in (query, *sets.source.images)]
        grey = [(x - x.mean()) / (x - x.mean()).norm() for x in grey]
        products = torch.stack([grey[0] @ other for other in grey[1:]])
        expected = products.topk(num)
        assert torch.equal(index[row], expected.indices)
        torch.testing.assert_close(similarity[row].double(), expected.values, atol=1e-6, rtol=0)


def test_pixel_search_does_not_see_brightness_or_contrast() -> None:
    images = torch.randint(100, (5, 6, 6, 1), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    similarity, index = pixel_search(images * 2 + 30, images, num=1)
    assert index[:, 0].tolist() == list(range(5))
    torch.testing.assert_close(similarity[:, 0], torch.ones(5))


def test_pixel_neighbors_are_the_most_like_others_even_among_copies() -> None:
    images = torch.randint(256, (9, 5, 5, 3), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    images[[4, 5, 6]] = images[3].clone()
    vectors = grey_vectors(images).double()
    products = (vectors @ vectors.T).fill_diagonal_(-torch.inf)
    found = pixel_neighbors(images, num=4)
    torch.testing.assert_close(products.gather(1, found), products.topk(4).values, atol=1e-6, rtol=0)
    assert not (found == torch.arange(9)[:, None]).any()
    assert all(len(set(row)) == 4 for row in found.tolist())
    assert pixel_neighbors(images, num=50).shape == (9, 8) and pixel_neighbors(images[:1], num=3).shape == (1, 0)


def test_a_constant_image_is_like_nothing() -> None:
    assert torch.equal(grey_vectors(torch.full((1, 4, 4, 3), 77, dtype=torch.uint8)), torch.zeros(1, 16))


def test_random_anchors_follow_from_the_seed() -> None:
    one, again, other = (match(ready(RandomAnchors(), seed), ALL_ROWS) for seed in (0, 0, 1))
    assert torch.equal(one.source_index, again.source_index)
    assert not torch.equal(one.source_index, other.source_index)
    assert (one.label == target_labels()).float().mean() < 0.6


def test_random_anchors_do_not_look() -> None:
    matcher = ready(RandomAnchors())
    z = torch.zeros(M, 8)
    assert torch.equal(matcher(ALL_ROWS, z, z).source_index, match(matcher, ALL_ROWS).source_index)


def test_the_oracle_needs_declared_labels() -> None:
    with pytest.raises(ConfigError, match=r"declare them with labelled_target=AllLabels\(\)"):
        Oracle().build(replace(context(), oracle_labels=None))


@pytest.mark.parametrize(
    "strategy",
    [Oracle(), Oracle(num_anchors=3), Member(inner=Oracle(), policy="random"), AdaptiveThreshold(inner=Oracle())],
    ids=repr,
)
def test_the_oracle_does_not_match_a_class_that_the_source_lacks(strategy: AnchorStrategy) -> None:
    labels = target_labels()
    labels[::3] = K + torch.arange(len(labels[::3])) % 2  # two classes that the target has alone
    matcher = strategy.build(replace(context(), oracle_labels=labels))
    source, target = banks()
    matcher.refresh(source, target if strategy.needs_target_bank else None)
    matches = match(matcher, ALL_ROWS)
    assert torch.equal(matches.keep, labels < K)
    assert torch.equal(matches.label[matches.keep], labels[matches.keep])


@pytest.mark.parametrize("share", [0.1, 0.15, 0.9])
def test_a_quota_caps_each_class_at_its_most_confident_items(share: float) -> None:
    free, capped = (
        match(ready(Nearest(k=3)), ALL_ROWS),
        match(ready(ClassQuota(inner=Nearest(k=3), share=share)), ALL_ROWS),
    )
    quota = max(1, int(share * M))
    for label in range(K):
        mine = [row for row in range(M) if int(free.label[row]) == label]
        best = sorted(mine, key=lambda row: (-float(free.confidence[row]), row))[:quota]
        assert sorted(best) == [row for row in mine if bool(capped.keep[row])]
    assert int(capped.keep.sum()) < M or share == 0.9


def test_a_quota_does_not_bring_back_what_the_inner_strategy_dropped() -> None:
    class Half(AnchorMatcher):
        def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None: ...

        def forward(self, target_index: torch.Tensor, z_t: torch.Tensor, logits_t: torch.Tensor):  # type: ignore[no-untyped-def]
            full = match(ready(Nearest()), target_index)
            return replace(full, keep=target_index % 2 == 0)

    class HalfSpec(Nearest):  # a stand-in: the package's own classes are final
        def build(self, context: object) -> AnchorMatcher:
            return Half()

    kept = match(ClassQuota(inner=HalfSpec(), share=0.9).build(context()), ALL_ROWS).keep
    assert not kept[1::2].any() and kept[::2].any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Nearest(k=0), "Nearest.k must be at least 1, but is 0."),
        (lambda: Nearest(temperature=0), "Nearest.temperature must be positive, but is 0."),
        (lambda: Prototype(rounds=-1), "Prototype.rounds must not be negative, but is -1."),
        (lambda: Prototype(temperature=-1), "Prototype.temperature must be positive, but is -1."),
        (lambda: Transport(regularization=0), "Transport.regularization must be positive, but is 0."),
        (
            lambda: Transport(prior=(0.5, 0.6)),
            "Transport.prior must hold positive shares that sum to 1, but is (0.5, 0.6).",
        ),
        (lambda: Transport(prior=()), "Transport.prior must hold positive shares that sum to 1, but is ()."),
        (lambda: Transport(prior=(0.5, 0.5)).build(context()), "Transport.prior names 2 classes, but the pair has 4."),
        (lambda: ClassQuota(share=1.0), "ClassQuota.share must lie strictly between 0 and 1, but is 1.0."),
        (
            lambda: Transport(marginal_relaxation=0),
            "Transport.marginal_relaxation must be positive and finite, but is 0. None holds the plan to its prior.",
        ),
        (lambda: Mutual(k=0), "Mutual.k must be at least 1, but is 0."),
        (lambda: Mutual(temperature=0), "Mutual.temperature must be positive, but is 0."),
        (lambda: Cluster(rounds=0), "Cluster.rounds must be at least 1, but is 0."),
        (lambda: Cluster(temperature=0), "Cluster.temperature must be positive, but is 0."),
        (lambda: Propagation(k=0), "Propagation.k must be at least 1, but is 0."),
        (lambda: Propagation(spread=1), "Propagation.spread must lie strictly between 0 and 1, but is 1."),
        (lambda: Propagation(temperature=0), "Propagation.temperature must be positive, but is 0."),
        (lambda: Confident(probability=1.5), "Confident.probability must lie in [0, 1], but is 1.5."),
        (
            lambda: Threshold(confidence=0),
            "Threshold.confidence must lie in (0, 1], but is 0. To keep all, leave Threshold out.",
        ),
        (lambda: AdaptiveThreshold(momentum=1), "AdaptiveThreshold.momentum must lie in [0, 1), but is 1."),
        (lambda: PixelAgreement(k=0), "PixelAgreement.k must be at least 1, but is 0."),
        (lambda: Member(num_anchors=0), "Member.num_anchors must be at least 1, but is 0."),
        (
            lambda: Member(inner=Threshold(inner=Nearest(num_anchors=3))),
            "Member chooses the anchors, so Nearest.num_anchors=3 would be ignored: set Member.num_anchors instead.",
        ),
        (
            lambda: Member(inner=Threshold(inner=Member())),
            "A Member inside of a Member would be ignored: leave one of them out.",
        ),
        (lambda: PixelNearest(num_anchors=0), "PixelNearest.num_anchors must be at least 1, but is 0."),
    ],
)
def test_refused_settings(make: type, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_a_class_exactly_as_probable_as_asked_is_matched(probability: float) -> None:
    logits = torch.zeros(1, 2) if probability < 1 else torch.tensor([[0.0, -torch.inf]])
    matcher = Confident(probability=probability).build(context())
    matcher.refresh(*banks())
    assert matcher(torch.zeros(1, dtype=torch.int64), banks()[1].z[:1], logits).keep.all()


def test_a_bank_has_a_class_of_which_it_holds_one_item() -> None:
    bank = SourceBank(rows=torch.arange(3), z=torch.eye(3), labels=torch.tensor([0, 0, 2]))
    assert bank.has(torch.tensor([0, 1, 2, 3]), 4).tolist() == [True, False, True, False]


def test_nothing_to_compare_with_is_searched_in_one_piece() -> None:
    assert rows_at_a_time(0) == rows_at_a_time(1) > 1


@pytest.mark.usefixtures("unchecked_shapes")
def test_refused_policy() -> None:
    with pytest.raises(ConfigError, match="nearest, hardest or random, but is 'best'"):
        Member(policy="best")  # type: ignore[arg-type]


@pytest.mark.parametrize("num", [20, N + 5])
def test_anchors_beyond_the_members_of_a_class_repeat_its_nearest(num: int) -> None:
    matches = match(ready(Nearest(num_anchors=num)), ALL_ROWS)
    assert torch.equal(source_labels()[matches.source_index], matches.label[:, None].expand(-1, num))
    assert (matches.source_index[:, N // K :] == matches.source_index[:, :1]).all()
