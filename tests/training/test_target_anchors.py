"""Target items that stand for source items: which, against loops; what they move; and that they are off by default."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from domainmetric.anchors.base import AnchorStrategy
from domainmetric.anchors.nearest import Nearest
from domainmetric.anchors.pixel import PixelNearest
from domainmetric.anchors.quota import ClassQuota
from domainmetric.anchors.transport import Transport
from domainmetric.errors import ConfigError
from domainmetric.experiment import Experiment, SourcePhase
from domainmetric.pairs import Roles
from domainmetric.terms import BOTH_DIRECTIONS, TARGET_ANCHORS, Metric, Term
from domainmetric.training.banks import refresh
from domainmetric.training.evaluation import encode
from domainmetric.training.loop import shares
from domainmetric.training.target_anchors import TargetAnchors
from domainmetric.types import Bank, Matches
from tests import tiny
from tests.training.running import after, go_on, same, short, told, train, weights, wired


def reverse(root: Path, roles: tuple[Roles, ...] = TARGET_ANCHORS, anchors: AnchorStrategy | None = None) -> Experiment:
    whole = tiny.experiment(root, "triplet", anchors=anchors)
    return replace(whole, terms={**whole.terms, "triplet": Term(part=Metric(roles=roles))})


def test_the_nearest_target_of_the_class_against_loops() -> None:
    draw = torch.Generator().manual_seed(0)
    z, z_s = torch.randn(30, 5, generator=draw), torch.randn(12, 5, generator=draw)
    z[7] = z[3]
    z_s[0] = 10 * z[3]
    matched = torch.randint(0, 3, (30,), generator=draw)
    matched[[3, 7]] = 1
    keep = torch.rand(30, generator=draw) < 0.6
    keep[[3, 7]] = True
    labels = torch.tensor([1, 0, 1, 2, 3] * 2 + [0, 1])
    bank = Bank(rows=torch.arange(100, 130), z=z, logits=torch.zeros(30, 4), labels=None)
    target_anchors = TargetAnchors()
    matches = Matches(source_index=matched[:, None], label=matched, confidence=torch.ones(30), keep=keep)
    target_anchors.refresh(bank, matches)
    found = target_anchors.nearest(z_s, labels)
    for i in range(12):
        best = None
        for j in range(30):
            cosine = float(z_s[i] @ z[j])
            if keep[j] and matched[j] == labels[i] and (best is None or cosine > best[1]):
                best = j, cosine
        assert bool(found.keep[i]) == (best is not None), i
        if best is not None:
            assert int(found.rows[i]) == 100 + best[0], i
    assert found.rows[0] == 103, "the first of equals"
    assert not found.keep[labels == 3].any()


@pytest.mark.parametrize(
    "anchors", [Nearest(), ClassQuota(), PixelNearest(), Transport()], ids=lambda strategy: type(strategy).__name__
)
def test_each_strategys_labels_of_the_target_bank_decide(anchors: AnchorStrategy) -> None:
    experiment = reverse(Path("runs"), BOTH_DIRECTIONS + TARGET_ANCHORS, anchors)
    state, batches = wired(experiment, "adapt")
    data, teacher, matcher = batches.data, state.teacher, state.matcher
    assert teacher is not None and matcher is not None and state.target_anchors is not None
    refresh(matcher, teacher, experiment, data, 0, None, state.target_anchors)
    step = state.objective.prepare(
        state.network, batches, 0, 0.5, teacher=teacher, matcher=matcher, target_anchors=state.target_anchors
    )
    batches.close()
    memory = state.target_anchors.memory
    seen = encode(teacher, "target", data.target_train.images[memory["rows"]])
    matches = matcher(memory["rows"], seen.z, seen.logits)
    z_s = encode(teacher, "source", data.source_train.images[step.source.rows]).z
    assert step.pairs is not None
    group = step.pairs.group("matched_target")
    assert group.keep is not None and group.keep.any() and torch.equal(group.labels, step.source.labels)
    found = state.target_anchors.nearest(z_s, step.source.labels)
    assert torch.equal(found.keep, group.keep)
    for row, label, kept in zip(found.rows, step.source.labels, found.keep, strict=True):
        place = int((memory["rows"] == row).nonzero())
        assert not kept or (matches.keep[place] and matches.label[place] == label)


def test_they_are_encoded_again_with_gradient() -> None:
    experiment = reverse(Path("runs"))
    state, batches = wired(experiment, "adapt")
    assert state.teacher is not None and state.matcher is not None and state.target_anchors is not None
    refresh(state.matcher, state.teacher, experiment, batches.data, 0, None, state.target_anchors)
    step = state.objective.prepare(
        state.network, batches, 3, 0.5, teacher=state.teacher, target_anchors=state.target_anchors
    )
    batches.close()
    assert step.target is None and step.matches is None, "no term looks at a target batch"
    assert step.encoded_by_target is not None and len(step.encoded_by_target.z) == len(step.source.rows)
    values = state.objective(step)
    assert values["triplet"].item() > 0 and step.notes["triplets/used"] > 0
    assert shares(values, step)["gradient/target/triplet"] > 0.99
    values["triplet"].backward()
    moved = [p.grad for p in state.network.branches["target"].parameters()]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in moved)


@pytest.mark.parametrize("roles", [TARGET_ANCHORS, BOTH_DIRECTIONS + TARGET_ANCHORS], ids=["alone", "beside"])
def test_a_stopped_run_goes_on_as_if_undisturbed(roles: tuple[Roles, ...], tmp_path: Path) -> None:
    whole = train(short(reverse(tmp_path, roles), source=2, adapt=14))
    stopped = go_on(train(short(reverse(tmp_path / "again", roles), source=2, adapt=14), after(2 + 12)))
    assert told(stopped) == told(whole) and same(weights(stopped), weights(whole))


def test_no_target_label_is_read(tmp_path: Path) -> None:
    experiment = short(reverse(tmp_path), source=2, adapt=12)
    one, other = (train(tiny.with_noise(experiment, noise)) for noise in (1, 2))
    assert same(weights(one), weights(other))


def test_without_anchors_or_target_they_are_refused() -> None:
    experiment = reverse(Path("runs"))
    with pytest.raises(ConfigError, match="needs anchor matches, but the experiment has no anchors"):
        replace(experiment, anchors=None)
    source = SourcePhase(terms=("classify", "triplet"), steps=2, source_batch=32)
    with pytest.raises(ConfigError, match="trains on the source alone"):
        replace(experiment, phases={"source": source})
    with_mmd = tiny.experiment(Path("runs"), "triplet", "mmd")
    with_mmd = replace(with_mmd, terms={**with_mmd.terms, "triplet": experiment.terms["triplet"]})
    assert with_mmd.without("mmd").anchors == Nearest()
    assert experiment.without("triplet").anchors is None


def test_nothing_is_prepared_that_no_role_asks_for() -> None:
    state, batches = wired(tiny.experiment(Path("runs"), "triplet"), "adapt")
    batches.close()
    assert state.target_anchors is None
