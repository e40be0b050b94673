"""Faults that no run can tell from a right one: a test of the suite fails on them, or the experiment is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from domainmetric import terms
from domainmetric.alarms.collapse import Collapse
from domainmetric.alignment import dann
from domainmetric.data.augment import Augment, DeviceStream
from domainmetric.data.draws import Groups
from domainmetric.data.sampling import Epochs, ShuffledRows
from domainmetric.data.view_bank import BankStream
from domainmetric.experiment import Experiment
from domainmetric.losses.margin import MarginTriplet
from domainmetric.miners import hard
from domainmetric.models import network
from domainmetric.randomness import generator
from domainmetric.training import batches, evaluation, loop, objective, phases
from domainmetric.training.state import PhaseState
from domainmetric.training.tracking import Log
from tests import test_geometry, test_memory, tiny
from tests.alignment import test_alignment
from tests.data import test_augment, test_sampling, test_views
from tests.faults.fault import Fault, Refused, Test
from tests.faults.wiring import around
from tests.golden import test_golden_curve
from tests.losses import test_against_torch
from tests.metrics import test_retrieval
from tests.miners import test_miners
from tests.miners.references import REFERENCES
from tests.models import test_network
from tests.training import test_label_blindness, test_loop, test_objective, test_resume, test_state
from tests.training.running import train


def left_out(part: str) -> Any:
    """A part of the state that checkpoints do not hold."""

    def change(original: Any, self: Any) -> dict[str, Tensor]:
        return {name: value for name, value in original(self).items() if not name.startswith(f"{part}/")}

    return around(PhaseState, "tensors", change)


def by_the_call(original: Any, self: Any, step: int) -> Tensor:
    """Rows that depend on how often this process has asked, and not on the step."""
    vars(self)["asked"] = vars(self).get("asked", -1) + 1
    rows: Tensor = original(self, vars(self)["asked"])
    return rows


def one_view(original: Any, self: Any, images: Tensor, draw: torch.Generator, **_: Any) -> Tensor:
    """The same motion for every image of a batch."""
    state = draw.get_state()
    views = []
    for image in images:
        draw.set_state(state)
        views.append(original(self, image[None], draw))
    return torch.cat(views)


def from_labels(original: Any, self: Any, seen: Any) -> Any:
    """Predictions that are the target labels."""
    evidence = original(self, seen)
    return replace(evidence, target_logits=torch.nn.functional.one_hot(self.target_labels_oracle, 4).float())


def peeking(original: Any, experiment: Experiment, data: Any) -> Any:
    """Matches by the true labels, that nobody declared."""
    matcher = original(experiment, data)
    forward = matcher.forward
    matcher.forward = lambda rows, *rest: replace(forward(rows, *rest), label=data.target_train_labels_oracle[rows])
    return matcher


def unweighted(original: Any, self: Any, step: Any) -> dict[str, Tensor]:
    return {name: self.parts[name](step) for name in self.terms}


def plain_gram(x: Tensor, y: Tensor) -> Tensor:
    return 2 - 2 * x @ y.T


def with_undisturbed(root: Path) -> dict[str, Any]:
    return {"undisturbed": train(test_resume.experiment(root / "undisturbed")), "killed": test_resume.SOURCE + 4}


def one_row_off(original: Any, *args: Any) -> Any:
    """Matches whose source items are the rows before those that the matcher named."""
    taught, matches = original(*args)
    assert matches is not None
    return taught, replace(matches, source_index=(matches.source_index - 1).clamp_min(0))


def refused(**changes: Any) -> Refused:
    """An experiment with some fields changed."""
    return Refused(make=lambda root: replace(tiny.full(root), **{k: v(tiny.full(root)) for k, v in changes.items()}))


def adapt(**changes: Any) -> Any:
    return lambda whole: {**whole.phases, "adapt": replace(whole.phases["adapt"], **changes)}


STATE = Test(test=test_state.test_a_state_takes_up_all_that_another_wrote_down)
HPHN = next(reference for miner, reference in REFERENCES if isinstance(miner, hard.HardPositiveHardNegative))
SUITE = [
    Fault(
        name="the reversal does not reverse",
        inject=around(dann.GradientReversal, "forward", lambda f, self, x: x),
        caught_by=Test(
            test=test_alignment.test_the_reversal_multiplies_the_gradient_by_minus_its_strength,
            arguments=lambda root: {"progress": 0.5},
        ),
        wiring=True,
    ),
    Fault(
        name="swapped domains",
        inject=around(
            objective,
            "encode_together",
            lambda f, team, net, domain, *images: f(team, net, "target" if domain == "source" else "source", *images),
        ),
        caught_by=Test(test=test_objective.test_each_term_moves_what_it_should),
        wiring=True,
    ),
    Fault(
        name="weights and schedules ignored",
        inject=around(objective.Objective, "forward", unweighted),
        caught_by=Test(test=test_objective.test_weights_and_schedules_multiply_each_term),
        wiring=True,
    ),
    Fault(
        name="a stale learning rate",
        inject=around(loop, "set_learning_rate", lambda f, optimizer, progress: f(optimizer, 0.0)),
        caught_by=Test(test=test_golden_curve.test_the_losses_are_the_recorded_ones),
    ),
    *(
        Fault(name=f"{part} left out of the state", inject=left_out(part), caught_by=STATE)
        for part in ("matcher", "teacher", "optimizer", "window", "objective")
    ),
    Fault(
        name="cross-batch memory left out of the state",
        inject=around(terms._Memories, "state_dict", lambda f, self, *args, **more: {}),
        caught_by=Test(test=test_memory.test_what_is_remembered_is_part_of_the_state),
    ),
    Fault(
        name="another permutation after a resume",
        inject=around(ShuffledRows, "rows", by_the_call),
        caught_by=Test(
            test=test_sampling.test_a_batch_depends_on_seed_name_and_step_alone,
            arguments=lambda root: {"kind": "shuffled"},
        ),
    ),
    Fault(
        name="every epoch in the same order",
        inject=around(Epochs, "at", lambda f, self, epoch: f(self, 0)),
        caught_by=Test(test=test_sampling.test_every_row_comes_once_per_epoch),
    ),
    Fault(
        name="the log not cut back at a resume",
        inject=around(Log, "cut_back", lambda f, self, size: None),
        caught_by=Test(test=test_resume.test_a_killed_run_goes_on_from_its_last_checkpoint, arguments=with_undisturbed),
    ),
    Fault(
        name="the same augmentation in every worker",
        inject=around(BankStream, "_seeds", lambda f, self, step, count: [0] * count),
        caught_by=Test(
            test=test_views.test_views_change_and_follow_from_seed_and_name,
            arguments=lambda root: {"expected": test_views.images_of(test_views.stream())},
        ),
    ),
    Fault(
        name="the same augmentation at every step",
        inject=around(
            DeviceStream,
            "_views",
            lambda f, self, images, place, n, purpose, step: self._augment(
                images, generator("cpu", 0, "views"), within=(place, n)
            ),
        ),
        caught_by=Test(test=test_views.test_device_views_follow_from_the_step),
    ),
    Fault(
        name="one view for the whole batch",
        inject=around(Augment, "__call__", one_view),
        caught_by=Test(test=test_augment.test_each_image_gets_a_view_of_its_own),
    ),
    Fault(
        name="target statistics calibrated on the source",
        inject=around(batches.Batches, "clean_target", lambda f, self, step: self.source(step).images),
        caught_by=Test(test=test_loop.test_calibration_is_the_mean_statistics_of_clean_target_batches),
    ),
    Fault(
        name="target labels in the selection",
        inject=around(evaluation.Look, "evidence", from_labels),
        caught_by=Test(
            test=test_label_blindness.test_target_labels_do_not_matter,
            arguments=lambda root: {"name": "full, best score", "labels": "permuted"},
        ),
    ),
    Fault(
        name="target labels in the matching",
        inject=around(phases, "build_matcher", peeking),
        caught_by=Test(
            test=test_label_blindness.test_target_labels_do_not_matter,
            arguments=lambda root: {"name": "full, best score", "labels": "permuted"},
        ),
    ),
    Fault(
        name="positive and negative swapped in the triplet loss",
        inject=around(MarginTriplet, "of_distances", lambda f, self, d_ap, d_an: f(self, d_an, d_ap)),
        caught_by=Test(test=test_against_torch.test_defaults_are_those_of_torch),
    ),
    Fault(
        name="the hardest positive is the nearest",
        inject=around(hard, "farthest_where", lambda f, *args: hard.nearest_where(*args)),
        caught_by=Test(
            test=test_miners.test_miners_are_those_of_loops,
            arguments=lambda root: {
                "miner": hard.HardPositiveHardNegative(),
                "reference": HPHN,
                "case": "both domains",
            },
        ),
    ),
    Fault(
        name="embeddings of any length",
        inject=around(network, "normalize", lambda f, x: x),
        caught_by=Test(
            test=test_network.test_embeddings_are_unit_and_logits_are_scaled_cosines,
            arguments=lambda root: {
                "branches": network.Separate(source=test_network.SMALL, target=test_network.SMALL),
                "domain": "source",
            },
        ),
    ),
    Fault(
        name="the target branch forgets its warm start",
        inject=around(network.Network, "copy_source_to_target", lambda f, self: None),
        caught_by=Test(test=test_network.test_a_copied_branch_answers_a_grey_image_alike),
    ),
    Fault(
        name="anchors are the rows beside those that were meant",
        inject=around(objective, "teach", one_row_off),
        caught_by=Test(test=test_objective.test_matched_source_images_are_those_that_the_matcher_named),
    ),
    Fault(
        name="distances without centering",
        inject=lambda patch: patch.setattr(test_geometry, "squared_chord", plain_gram),
        caught_by=Test(test=test_geometry.test_near_collapse_the_hardest_negatives_are_all_right_in_float32),
    ),
    Fault(
        name="a query finds itself",
        inject=lambda patch: patch.setattr(
            test_retrieval,
            "retrieval",
            lambda *sets, exclude_self, chunk, f=test_retrieval.retrieval: f(*sets, chunk=chunk),
        ),
        caught_by=Test(test=test_retrieval.test_equals_loops_within_one_set, arguments=lambda root: {"chunk": 128}),
    ),
    Fault(name="a term that no phase trains", caught_by=refused(phases=adapt(terms=("classify", "mmd")))),
    Fault(name="a phase names a term that is not there", caught_by=refused(phases=adapt(terms=("classify", "dan")))),
    Fault(name="matches without a strategy", caught_by=refused(anchors=lambda whole: None)),
    Fault(
        name="a batch that no class divides",
        caught_by=refused(phases=adapt(source_batch=33, sampling=Groups(num_classes=4))),
    ),
    Fault(
        name="a fallback with nothing to exchange",
        caught_by=Refused(
            make=lambda root: replace(tiny.experiment(root, "mmd"), alarms={"collapse": Collapse(action="fallback")})
        ),
    ),
]
