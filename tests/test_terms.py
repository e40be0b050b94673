"""Parts of the objective against the plain formulas, what they ask for, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from domainmetric.errors import ConfigError
from domainmetric.losses.margin import MarginTriplet
from domainmetric.metrics import difficulty as metrics_difficulty
from domainmetric.miners.hard import EasyPositiveHardNegative, HardNegative
from domainmetric.pairs import Roles
from domainmetric.step import PartContext
from domainmetric.terms import BOTH_DIRECTIONS, Classify, ClassifyLabelledTarget, Metric, Term
from tests.contracts.steps import D, K, aligned_step, encoded
from tests.reference import all_triplets, listed

CONTEXT = PartContext(num_classes=K, embedding_dim=D)
SOURCE_ONLY = Roles(anchor="source", positive="source", negative="source")


def test_classify_is_the_cross_entropy_of_the_source() -> None:
    step = aligned_step()
    expected = F.cross_entropy(step.encoded_source.logits, step.source.labels, label_smoothing=0.2)
    assert torch.equal(Classify(label_smoothing=0.2).build(CONTEXT)(step), expected)


def test_two_branches_that_train_side_by_side_are_averaged() -> None:
    step = replace(aligned_step(), encoded_source_by_target=encoded(12, 7))
    assert step.encoded_source_by_target is not None
    losses = [
        F.cross_entropy(e.logits, step.source.labels, label_smoothing=0.1)
        for e in (step.encoded_source, step.encoded_source_by_target)
    ]
    torch.testing.assert_close(Classify().build(CONTEXT)(step), sum(losses) / 2)


def test_the_labelled_stream_has_its_own_cross_entropy() -> None:
    step = aligned_step()
    assert step.encoded_labelled is not None and step.labelled_target is not None
    expected = F.cross_entropy(step.encoded_labelled.logits, step.labelled_target.labels, label_smoothing=0.1)
    assert torch.equal(ClassifyLabelledTarget().build(CONTEXT)(step), expected)


def test_a_metric_part_is_the_mean_over_its_roles() -> None:
    step, miner, loss = aligned_step(), HardNegative(), MarginTriplet(margin=0.3)
    assert step.pairs is not None
    results = [loss.of(step.pairs.of(roles), miner.select(step.pairs.of(roles))) for roles in BOTH_DIRECTIONS]
    value = Metric(miner=miner, loss=loss).build(CONTEXT)(step)
    torch.testing.assert_close(value, (results[0].value + results[1].value) / 2)
    assert step.notes["triplets/used"] == results[0].used + results[1].used
    assert step.notes["triplets/active"] == results[0].active + results[1].active
    assert step.notes["triplets/active_share"] == step.notes["triplets/active"] / step.notes["triplets/used"]


@pytest.mark.parametrize("miner", [HardNegative(), None])
def test_a_metric_part_notes_how_hard_its_triplets_are(
    miner: HardNegative | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_difficulty, "NUM_ANCHORS", 17)  # all of them, where all triplets are counted
    step, expected = aligned_step(), {"easy": 0, "semi_hard": 0, "hard": 0}
    assert step.pairs is not None
    for roles in BOTH_DIRECTIONS:
        pairs = step.pairs.of(roles)
        for a, p, n in all_triplets(pairs) if miner is None else listed(miner.select(pairs)):
            gap = float((pairs.sq_chord[a, n] - pairs.sq_chord[a, p]).detach())
            expected["hard" if gap <= 0 else "semi_hard" if gap <= 0.2 else "easy"] += 1
    assert sum(count > 0 for count in expected.values()) >= 2
    Metric(miner=miner).build(CONTEXT)(step)
    for name, count in expected.items():
        assert float(step.notes[f"triplets/{name}"]) == pytest.approx(count / sum(expected.values())), name
        assert not step.notes[f"triplets/{name}"].requires_grad


def test_without_a_triplet_the_shares_are_zero() -> None:
    step = aligned_step(one_class=True)
    Metric().build(CONTEXT)(step)
    assert all(float(value) == 0 for value in step.notes.values())


def test_directions_count_by_their_weights() -> None:
    step, miner, loss = aligned_step(), HardNegative(), MarginTriplet(margin=0.3)
    assert step.pairs is not None
    one = Roles(anchor="both", positive="both", negative="both", weight=3)
    two = Roles(anchor="target", positive="source", negative="source", weight=0.5)
    values = [loss.of(pairs, miner.select(pairs)).value for pairs in (step.pairs.of(one), step.pairs.of(two))]
    value = Metric(miner=miner, loss=loss, roles=(one, two)).build(CONTEXT)(step)
    torch.testing.assert_close(value, (3 * values[0] + 0.5 * values[1]) / 3.5)
    assert not torch.isclose(*values)


def test_cross_domain_and_source_triplets_are_counted_apart() -> None:
    step = aligned_step()
    Metric(roles=(SOURCE_ONLY,), miner=EasyPositiveHardNegative()).build(CONTEXT)(step)
    names = {"used", "active", "active_share", "easy", "semi_hard", "hard"}
    assert set(step.notes) == {f"source_triplets/{name}" for name in names}
    assert step.notes["source_triplets/used"] == len(step.source.labels)


@pytest.mark.parametrize(
    ("part", "needs"),
    [
        (Classify(), set()),
        (ClassifyLabelledTarget(), {"labelled_target"}),
        (Metric(), {"pairs", "target", "matches", "matched"}),
        (Metric(roles=(SOURCE_ONLY,)), {"pairs"}),
        (Metric(roles=(Roles(anchor="target", positive="source", negative="source"),)), {"pairs", "target", "matches"}),
        (Metric(roles=(Roles(anchor="both", positive="both", negative="both"),)), {"pairs", "target", "matches"}),
    ],
)
def test_parts_ask_for_what_they_look_at(part: Metric, needs: set[str]) -> None:
    assert part.needs == needs


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Classify(label_smoothing=1.0), "label_smoothing must lie in [0, 1), but is 1.0."),
        (lambda: ClassifyLabelledTarget(label_smoothing=-0.1), "label_smoothing must lie in [0, 1), but is -0.1."),
        (lambda: Metric(roles=()), "Metric.roles must name at least one (anchor, positive, negative) combination."),
        (
            lambda: Metric(roles=(Roles(weight=2.0),)),
            (
                "Roles.weight compares the entries of Metric.roles, and here all weigh 2.0, so it would be ignored. "
                "Set weight=1, or scale the whole term by Term.weight."
            ),
        ),
        (
            lambda: Roles(weight=0),
            "Roles.weight must be positive, but is 0. To switch a direction off, leave it out.",
        ),
        (
            lambda: Roles(weight=float("nan")),
            "Roles.weight must be positive, but is nan. To switch a direction off, leave it out.",
        ),
        (
            lambda: Term(part=Classify(), weight=0),
            "Term.weight must be positive, but is 0. To switch a term off, leave it out.",
        ),
        (
            lambda: Term(part=Classify(), weight=float("nan")),
            "Term.weight must be positive, but is nan. To switch a term off, leave it out.",
        ),
        (
            lambda: Metric().build(CONTEXT)(replace(aligned_step(), pairs=None)),
            "A Metric term needs pairs, but this phase builds none.",
        ),
        (
            lambda: ClassifyLabelledTarget().build(CONTEXT)(replace(aligned_step(), labelled_target=None)),
            "ClassifyLabelledTarget needs labels: give the experiment a labelled_target stream.",
        ),
    ],
)
def test_refused_settings(make: type, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message
