"""Batches as a phase asks for them: groups, whole epochs, target batches balanced by matched label; resumed exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher, AnchorStrategy
from domainmetric.anchors.nearest import Nearest
from domainmetric.anchors.oracle import Oracle
from domainmetric.anchors.quota import ClassQuota
from domainmetric.anchors.transport import Transport
from domainmetric.data.draws import EpochGroups, Groups, MatchedBalanced
from domainmetric.experiment import AllLabels, Experiment
from domainmetric.memory import Memory
from domainmetric.terms import SOURCE_DIRECTIONS, Metric, Term
from domainmetric.training.banks import refresh
from domainmetric.training.batches import Batches
from domainmetric.training.state import PhaseState, group
from domainmetric.training.tracking import read_log
from domainmetric.types import Bank, Matches
from tests import tiny
from tests.training.running import after, go_on, killed_after, report, same, short, told, train, weights, wired

SOURCE, ADAPT = 12, 24


def with_phase(experiment: Experiment, name: str, **changes: Any) -> Experiment:
    return replace(experiment, phases={**experiment.phases, name: replace(experiment.phases[name], **changes)})


def by_match(experiment: Experiment, **changes: Any) -> Experiment:
    """With target batches by matched label."""
    adapt = replace(experiment.phases["adapt"], target_sampling=MatchedBalanced())
    return replace(experiment, phases={**experiment.phases, "adapt": adapt}, **changes)


@contextmanager
def opened(experiment: Experiment, phase: str) -> Iterator[tuple[PhaseState, Batches]]:
    state, batches = wired(experiment, phase)
    try:
        yield state, batches
    finally:
        batches.close()


def test_a_phase_draws_groups_where_it_says_so() -> None:
    experiment = with_phase(tiny.experiment(Path("runs")), "source", sampling=Groups(num_classes=3), source_batch=24)
    with opened(experiment, "source") as (_, batches):
        for step in range(6):
            assert sorted(torch.bincount(batches.source(step).labels, minlength=4).tolist()) == [0, 8, 8, 8]


def test_a_phase_shows_every_source_image_once_per_epoch_where_it_says_so() -> None:
    plain = tiny.experiment(Path("runs"))
    experiment = with_phase(plain, "source", sampling=EpochGroups(num_classes=3), source_batch=24)
    with opened(experiment, "source") as (_, batches):
        total = len(batches.data.source_train)
        rows = torch.cat([batches.source(step).rows for step in range(math.ceil(total / 24))])
        assert sorted(rows[:total].tolist()) == list(range(total))


@pytest.mark.parametrize("anchors", [Nearest(), ClassQuota(), Transport()], ids=lambda a: type(a).__name__)
def test_target_batches_are_balanced_by_matched_label(anchors: AnchorStrategy) -> None:
    experiment = by_match(tiny.full(Path("runs")), anchors=anchors)
    with opened(experiment, "adapt") as (state, batches):
        assert state.matched_rows is batches.matched_rows is not None
        assert state.teacher is not None and state.matcher is not None
        matches = refresh(state.matcher, state.teacher, experiment, batches.data, 0, state.matched_rows).matches
        assert matches is not None and len(matches.keep) == 200
        memory = state.matched_rows.memory
        label_of = dict(zip(memory["rows"].tolist(), memory["labels"].tolist(), strict=True))
        assert len(label_of) == int(matches.keep.sum()) > 0
        counts = torch.bincount(memory["labels"], minlength=4)
        for step in range(5):
            rows = batches.target(step).rows.tolist()
            drawn = [label_of[row] for row in rows if row in label_of]
            assert len(rows) == 48 and len(set(rows)) == 48
            share = torch.bincount(torch.tensor(drawn), minlength=4)
            present = counts > 0
            full = present & (counts > share)
            assert (share[~full & present] == counts[~full & present]).all(), "a small class gives all it has"
            if full.any():
                assert share[full].max() - share[full].min() <= 1


def test_with_the_true_labels_target_batches_are_balanced() -> None:
    experiment = by_match(tiny.full(Path("runs")), anchors=Oracle(), labelled_target=AllLabels(batch=16))
    with opened(experiment, "adapt") as (state, batches):
        assert state.teacher is not None and state.matcher is not None
        refresh(state.matcher, state.teacher, experiment, batches.data, 0, state.matched_rows)
        oracle = batches.data.target_train_labels_oracle
        assert oracle is not None
        for step in range(4):
            assert torch.bincount(oracle[batches.target(step).rows]).tolist() == [12] * 4
        assert sorted(batches.target(3).rows.tolist()) != sorted(batches.target(2).rows.tolist())


def test_calibration_looks_at_shuffled_batches() -> None:
    plain = tiny.full(Path("runs"))
    with opened(by_match(plain), "adapt") as (_, one), opened(plain, "adapt") as (_, other):
        assert torch.equal(one.clean_target(3), other.clean_target(3))


def test_a_phase_can_draw_by_match_without_a_term_that_matches(tmp_path: Path) -> None:
    plain = short(tiny.experiment(tmp_path, "mmd"), source=2, adapt=4)
    drawn = by_match(plain, anchors=Nearest())
    one, other = train(plain), train(drawn)
    assert not same(weights(one), weights(other))
    names = {name for _, values in told(other) for name in values}
    assert {"target_sampling/coverage", "target_sampling/classes"} <= names
    assert drawn.without("mmd").anchors == Nearest()
    with opened(drawn, "adapt") as (state, batches):
        step = state.objective.prepare(state.network, batches, 0, 0.5, teacher=state.teacher, matcher=state.matcher)
        assert step.matches is None, "a step matches nothing that no term asks for"


@dataclass(frozen=True, kw_only=True)
class Silent(AnchorStrategy):
    """Matches nothing."""

    def build(self, context: AnchorContext) -> AnchorMatcher:
        return _Silent()


class _Silent(AnchorMatcher):
    def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None:
        pass

    def forward(self, target_index: Tensor, z_t: Tensor, logits_t: Tensor) -> Matches:
        none = torch.zeros_like(target_index)
        return Matches(source_index=none[:, None], label=none, confidence=z_t[:, 0] * 0, keep=none.bool())


def test_anchors_that_match_nothing_leave_batches_shuffled_and_say_so(tmp_path: Path) -> None:
    terms = replace(tiny.experiment(tmp_path, "triplet", "mmd"), anchors=Silent())
    plain = short(terms, source=2, adapt=12)
    one, other = train(plain), train(by_match(plain))
    assert same(weights(one), weights(other))
    events = [record["text"] for record in read_log(other) if record.get("name") == "no matches"]
    assert events == [
        f"At step {step} of the phase the anchors match none of 200 target images, so target batches are shuffled "
        "until the next bank refresh."
        for step in (0, 10)
    ]
    name = "target_sampling/coverage"
    assert [(step, values[name]) for step, values in told(other) if name in values] == [(3, 0.0), (13, 0.0)]


def remembering(root: Path) -> Experiment:
    """The whole method with groups, matched target batches and memories that are still filling up at the stops."""
    memory = Memory(size=150, warmup=2)
    whole = short(tiny.full(root), source=SOURCE, adapt=ADAPT)
    terms = {**whole.terms, "triplet": Term(part=Metric(roles=SOURCE_DIRECTIONS, memory=memory))}
    return with_phase(by_match(whole, terms=terms), "adapt", sampling=Groups(num_classes=3), source_batch=36)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(remembering(tmp_path_factory.mktemp("undisturbed")))


def assert_same_run(folder: Path, undisturbed: Path) -> None:
    assert same(weights(folder), weights(undisturbed))
    assert told(folder) == told(undisturbed)
    assert {**report(folder), "reused": []} == {**report(undisturbed), "reused": []}


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(SOURCE + 1, id="before the warm-up"),
        pytest.param(SOURCE + 10, id="at a refresh"),
        pytest.param(SOURCE + 13, id="between refreshes"),
    ],
)
def test_a_resumed_run_equals_the_undisturbed_one(step: int, undisturbed: Path, tmp_path: Path) -> None:
    folder = train(remembering(tmp_path), after(step))
    assert not (folder / "report.json").exists()
    assert_same_run(go_on(folder), undisturbed)


def test_a_killed_run_goes_on_from_its_last_checkpoint(undisturbed: Path, tmp_path: Path) -> None:
    often = remembering(tmp_path)
    often = replace(often, runtime=replace(often.runtime, checkpoint_every=10))
    folder = train(often, killed_after(SOURCE + 11))
    assert_same_run(go_on(folder), undisturbed)


def test_what_batches_are_drawn_from_is_part_of_the_state() -> None:
    written: dict[str, Tensor] = {}
    for seed in (0, 1):
        experiment = replace(remembering(Path("runs")), seed=seed)
        with opened(experiment, "adapt") as (state, batches):
            assert state.teacher is not None and state.matcher is not None and state.matched_rows is not None
            if seed == 0:
                refresh(state.matcher, state.teacher, experiment, batches.data, 0, state.matched_rows)
                state.objective(
                    state.objective.prepare(
                        state.network, batches, 0, 0.5, teacher=state.teacher, matcher=state.matcher
                    )
                )
                written = {name: value.detach().clone() for name, value in state.tensors().items()}
            else:
                state.restore(written, 1)
                assert same({name: value.detach() for name, value in state.tensors().items()}, written)
    assert set(group(written)["matched_rows"]) == {"rows", "labels", "since"}
    assert int(group(written)["objective"]["parts.triplet.memories.of_domain.target.fill"]) == 48
