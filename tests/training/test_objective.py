"""The wiring of a step: which term moves what, what stays frozen, and the shares that are logged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from domainmetric.alignment.dann import Dann
from domainmetric.anchors.oracle import Oracle
from domainmetric.experiment import AllLabels, Experiment
from domainmetric.models.cnn import SmallCnn
from domainmetric.models.network import Separate
from domainmetric.pairs import Roles
from domainmetric.schedules import Constant
from domainmetric.step import Step
from domainmetric.terms import Classify, ClassifyLabelledTarget, Metric, Term
from domainmetric.training.banks import balanced_rows, refresh
from domainmetric.training.batches import Batches
from domainmetric.training.loop import shares
from domainmetric.training.state import PhaseState
from tests import tiny
from tests.training.running import short, told, train, wired

PARTS = ("source_branch", "target_branch", "head", "classifier")
EVERYTHING = {"trains": PARTS, "calibration_steps": 0}


def experiment(**adapt: object) -> Experiment:
    """The whole method at half way, where every schedule is at work."""
    whole = tiny.full(Path("runs"))
    source = Roles(anchor="source", positive="source", negative="source")
    terms = {
        **whole.terms,
        "dann": Term(part=Dann(hidden=16, strength=Constant())),
        "source_triplet": Term(part=Metric(roles=(source,))),
        "supervised": Term(part=ClassifyLabelledTarget()),
    }
    phase = replace(whole.phases["adapt"], terms=tuple(terms), **{**EVERYTHING, **adapt})
    return replace(
        whole,
        terms=terms,
        phases={**whole.phases, "adapt": phase},
        anchors=Oracle(),
        labelled_target=AllLabels(batch=16),
    )


@contextmanager
def one_step(chosen: Experiment, phase: str = "adapt") -> Iterator[tuple[PhaseState, Batches, Step]]:
    state, batches = wired(chosen, phase)
    try:
        if state.matcher is not None:
            assert state.teacher is not None
            refresh(state.matcher, state.teacher, chosen, batches.data, 0)
        step = state.objective.prepare(state.network, batches, 0, 0.5, teacher=state.teacher, matcher=state.matcher)
        yield state, batches, step
    finally:
        batches.close()


def moved(state: PhaseState, value: Tensor) -> set[str]:
    """The parts of the network that a loss has a gradient on."""
    modules = {
        "source_branch": state.network.branches["source"],
        "target_branch": state.network.branches["target"],
        "head": state.network.head.project,
        "classifier": state.network.classifier,
    }
    found = set()
    for name, module in modules.items():
        gradients = torch.autograd.grad(value, list(module.parameters()), retain_graph=True, allow_unused=True)
        if any(g is not None and g.abs().max() > 0 for g in gradients):
            found.add(name)
    return found


def test_each_term_moves_what_it_should() -> None:
    with one_step(experiment()) as (state, _, step):
        values = state.objective(step)
        reached = {name: moved(state, value) for name, value in values.items()}
    assert reached == {
        "classify": {"source_branch", "head", "classifier"},
        "triplet": {"source_branch", "target_branch", "head"},
        "source_triplet": {"source_branch", "head"},
        "dann": {"source_branch", "target_branch", "head"},
        "mmd": {"source_branch", "target_branch", "head"},
        "information": {"target_branch", "head", "classifier"},
        "supervised": {"target_branch", "head", "classifier"},
    }


def test_the_teachers_view_of_clean_targets_is_compared_with_the_networks_of_augmented_ones() -> None:
    chosen = tiny.experiment(Path("runs"), "consistency")
    chosen = replace(chosen, phases={**chosen.phases, "adapt": replace(chosen.phases["adapt"], trains=PARTS)})
    with one_step(chosen) as (state, batches, step):
        assert state.teacher is not None and state.matcher is None and step.matches is None
        assert step.taught is not None and not step.taught.logits.requires_grad
        torch.testing.assert_close(step.taught, state.teacher("target", batches.target(0).clean))
        value = state.objective(step)["consistency"]
        assert step.notes["consistency/believed"] > 0
        assert moved(state, value) == {"target_branch", "head", "classifier"}
    with one_step(tiny.experiment(Path("runs"), "mmd")) as (state, _, step):
        assert state.teacher is None and step.taught is None, "nobody asks"


def test_a_frozen_source_branch_is_moved_by_nothing_and_keeps_its_statistics() -> None:
    with one_step(experiment(trains=("target_branch", "head", "classifier"))) as (state, _, step):
        assert state.network.head.norms["source"].training
        before = {name: value.clone() for name, value in state.network.branches["source"].state_dict().items()}
        total = torch.stack(list(state.objective(step).values())).sum()
        total.backward()
        state.optimizer.step()
        after = state.network.branches["source"].state_dict()
        target = state.network.branches["target"]
        assert all(torch.equal(after[name], before[name]) for name in before)
        assert all(parameter.grad is None for parameter in state.network.branches["source"].parameters())
        assert any(parameter.grad is not None for parameter in target.parameters())
        trained = {id(p) for g in state.optimizer.param_groups for p in g["params"]}
        assert not trained & {id(p) for p in state.network.branches["source"].parameters()}
        assert {id(p) for p in state.objective.parameters()} <= trained, "the discriminator trains too"


def test_dann_pulls_the_branches_where_the_discriminator_does_not_want_them() -> None:
    with one_step(experiment()) as (state, _, step):
        value = state.objective(step)["dann"]
        discriminator = list(state.objective.parts["dann"].parameters())
        (at_z,) = torch.autograd.grad(value, [step.z_t], retain_graph=True)
        at_weights = torch.autograd.grad(value, discriminator, retain_graph=True)
        plain = state.objective.parts["dann"]
        with torch.no_grad():
            base = plain(step)
            nudged = step.encoded_target._replace(z=step.z_t - 1e-2 * at_z / at_z.norm())  # type: ignore[union-attr]
            for_the_encoder = plain(replace(step, encoded_target=nudged))
            for parameter, gradient in zip(discriminator, at_weights, strict=True):
                parameter.sub_(1e-2 * gradient)
            for_the_discriminator = plain(step)
    assert for_the_encoder > base, "descent on the reversed gradient makes the domains harder to tell apart"
    assert for_the_discriminator < base, "while the discriminator learns to tell them apart"


def test_weights_and_schedules_multiply_each_term() -> None:
    chosen = experiment()
    doubled = {name: replace(term, weight=2 * term.weight) for name, term in chosen.terms.items()}
    with one_step(chosen) as (state, _, step):
        one = state.objective(step)
    with one_step(replace(chosen, terms=doubled)) as (state, _, step):
        two = state.objective(step)
    for name, value in one.items():
        torch.testing.assert_close(two[name], 2 * value)
    factor = chosen.terms["mmd"].schedule.at(0.5)
    with one_step(chosen) as (state, _, step):
        torch.testing.assert_close(one["mmd"], factor * state.objective.parts["mmd"](step))


def test_gradient_shares_sum_to_one_at_each_set_of_embeddings() -> None:
    with one_step(experiment()) as (state, _, step):
        found = shares(state.objective(step), step)
    for where in ("source", "target"):
        mine = {name: value for name, value in found.items() if name.startswith(f"gradient/{where}/")}
        assert len(mine) == 7
        assert sum(mine.values()) == pytest.approx(1, abs=1e-5)
        assert all(0 <= value <= 1 for value in mine.values())
    assert found["gradient/target/classify"] == 0 and found["gradient/source/information"] == 0
    assert found["gradient/source/classify"] > 0 and found["gradient/target/triplet"] > 0


def test_matched_source_images_are_those_that_the_matcher_named() -> None:
    with one_step(experiment()) as (_, batches, step):
        assert step.matches is not None and step.target is not None
        labels, oracle = batches.data.source_train.labels, batches.data.target_train_labels_oracle
        assert labels is not None and oracle is not None
        assert torch.equal(labels[step.matches.source_index[:, 0]], oracle[step.target.rows])
        assert len(step.encoded_by_source.z) == len(step.source.rows) + len(step.target.rows)
        assert torch.equal(step.encoded_by_source.z[: len(step.source.rows)], step.encoded_source.z)
        assert torch.equal(labels[step.source.rows], step.source.labels)


def test_the_teacher_and_the_matcher_get_no_gradient() -> None:
    with one_step(experiment()) as (state, _, step):
        assert step.matches is not None and not step.matches.confidence.requires_grad
        torch.stack(list(state.objective(step).values())).sum().backward()
        assert state.teacher is not None
        assert all(parameter.grad is None for parameter in state.teacher.parameters())


def test_a_step_prepares_only_what_its_terms_ask_for() -> None:
    with one_step(tiny.experiment(Path("runs"), "mmd")) as (state, _, step):
        assert step.pairs is None and step.matches is None and step.labelled_target is None
        assert state.teacher is None and state.matcher is None
    with one_step(tiny.experiment(Path("runs")), "source") as (_, _, step):
        assert step.target is None and step.encoded_target is None
        with pytest.raises(ValueError, match="no target batch"):
            step.aligned()


def test_unlike_backbones_train_side_by_side_on_the_source() -> None:
    plain = tiny.experiment(Path("runs"))
    beside = Separate(source=SmallCnn(widths=(8, 16, 32)), target=SmallCnn(widths=(4, 8, 32)))
    with one_step(replace(plain, model=replace(plain.model, branches=beside)), "source") as (state, _, step):
        assert moved(state, state.objective(step)["classify"]) == set(PARTS)
    with one_step(plain, "source") as (state, _, step):
        assert moved(state, state.objective(step)["classify"]) == set(PARTS) - {"target_branch"}


def test_leaving_a_term_out_removes_it_from_the_log(tmp_path: Path) -> None:
    whole = short(tiny.full(tmp_path), source=2, adapt=2)
    names = {name for folder in [train(whole)] for _, values in told(folder) for name in values}
    without = {name for folder in [train(whole.without("mmd"))] for _, values in told(folder) for name in values}
    gone = names - without
    assert gone == {"loss/mmd", "gradient/source/mmd", "gradient/target/mmd"}
    assert {"loss/triplet", "loss/dann", "loss/information", "loss/classify", "loss/total"} <= without


def test_bank_rows_are_balanced_and_seeded() -> None:
    images = tiny.Colored(num_train=90).load("train", root=Path(), size=tiny.SIZE)
    rows = balanced_rows(images, 40, torch.Generator().manual_seed(0))
    assert images.labels is not None
    assert torch.bincount(images.labels[rows]).tolist() == [10] * 4
    assert torch.equal(rows, balanced_rows(images, 40, torch.Generator().manual_seed(0)))
    assert not torch.equal(rows, balanced_rows(images, 40, torch.Generator().manual_seed(1)))
    assert torch.equal(balanced_rows(images, 90, torch.Generator()), torch.arange(90))


def test_the_classifier_is_the_reported_head() -> None:
    with one_step(tiny.experiment(Path("runs")), "source") as (state, _, step):
        expected = torch.nn.functional.cross_entropy(
            step.encoded_source.logits, step.source.labels, label_smoothing=0.1
        )
        torch.testing.assert_close(state.objective(step)["classify"], expected)
        assert isinstance(state.objective.terms["classify"].part, Classify)
