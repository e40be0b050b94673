"""Faults of wiring and of gradients: an alarm has to tell them within one step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from domainmetric.alignment import dann, information, mmd
from domainmetric.experiment import phases as phase_specs
from domainmetric.models.network import Branch, Head
from domainmetric.training import loop, objective, phases
from tests.faults.fault import Fault, Raised

Inject = Callable[[pytest.MonkeyPatch], None]


def around(place: object, name: str, change: Callable[..., Any]) -> Inject:
    """Puts `change(original, *arguments)` in the place of a function."""

    def inject(patch: pytest.MonkeyPatch) -> None:
        original = getattr(place, name)
        patch.setattr(place, name, lambda *args, **kwargs: change(original, *args, **kwargs))

    return inject


def detached_groups(*roles: str) -> Inject:
    """Pairs in which some groups have no gradient."""

    def change(original: Any, groups: Any) -> Any:
        return original({r: replace(g, z=g.z.detach()) if r in roles else g for r, g in groups.items()})

    return around(objective, "StepPairs", change)


def set_otherwise(change: Callable[..., None]) -> Inject:
    """Something else is done after a phase has set what trains."""

    def changed(original: Any, network: Any, trainable: Any) -> Any:
        moving = original(network, trainable)
        change(network, moving)
        return moving

    return around(phases, "set_training", changed)


def without_group(part: str) -> Inject:
    """The optimizer does not know a part."""
    return around(
        phase_specs.Phase, "build_optimizer", lambda f, self, moving, terms: f(self, {**moving, part: []}, terms)
    )


def moves_too(network: Any, moving: Any) -> None:
    source = network.branches["source"]
    moving["source_branch"] = list(source.requires_grad_().parameters())


def erased(original: Any, optimizer: Any, phase: Any, state: Any) -> None:
    optimizer.zero_grad(set_to_none=False)
    original(optimizer, phase, state)


def no_step(original: Any, optimizer: Any, phase: Any, state: Any) -> None:
    if state.teacher is not None:
        loop.follow(state.teacher, state.network, phase.ema)


def one_domain_twice(original: Any, self: Any, step: Any) -> Any:
    return original(self, replace(step, encoded_target=step.encoded_source))


def eval_left(original: Any, fabric: Any, experiment: Any, batches: Any, state: Any, watch: Any) -> Any:
    state.network.eval()
    return original(fabric, experiment, batches, state, watch)


triplet, target = Raised(alarm="idle_term", subject="triplet, target"), "target_branch"
MISWIRED = "miswired"

WIRING = [
    Fault(name="target embeddings detached in the pairs", inject=detached_groups("target"), caught_by=triplet),
    Fault(
        name="source embeddings detached in the pairs",
        inject=detached_groups("source", "matched"),
        caught_by=Raised(alarm="idle_term", subject="triplet, source"),
    ),
    Fault(
        name="MMD against detached targets",
        inject=around(mmd, "mmd2", lambda f, x, y, **more: f(x, y.detach(), **more)),
        caught_by=Raised(alarm="idle_term", subject="mmd, target"),
    ),
    Fault(
        name="MMD with a detached source",
        inject=around(mmd, "mmd2", lambda f, x, y, **more: f(x.detach(), y, **more)),
        caught_by=Raised(alarm="idle_term", subject="mmd, source"),
    ),
    Fault(
        name="gradient reversal that lets no gradient through",
        inject=around(dann.GradientReversal, "forward", lambda f, self, x: x.detach()),
        caught_by=Raised(alarm="idle_term", subject="dann"),
    ),
    Fault(
        name="reversal strength never set",
        inject=around(dann.GradientReversal, "update_weight", lambda f, self, weight: f(self, 0.0)),
        caught_by=Raised(alarm="idle_term", subject="dann"),
    ),
    Fault(
        name="discriminator shown the source twice",
        inject=around(dann._Dann, "forward", one_domain_twice),
        caught_by=Raised(alarm="idle_term", subject="dann, target"),
    ),
    Fault(
        name="information of detached predictions",
        inject=around(information, "information", lambda f, p: f(p.detach())),
        caught_by=Raised(alarm="idle_term", subject="information"),
    ),
    Fault(
        name="a branch detached from the head",
        inject=around(Branch, "forward", lambda f, self, images: f(self, images).detach()),
        caught_by=Raised(alarm=MISWIRED, subject="source_branch"),
    ),
    Fault(
        name="the target alone detached from the head",
        inject=around(Head, "forward", lambda f, self, d, x: f(self, d, x.detach() if d == "target" else x)),
        caught_by=Raised(alarm=MISWIRED, subject=target),
    ),
    Fault(
        name="target branch left out of the optimizer",
        inject=without_group("target_branch"),
        caught_by=Raised(alarm=MISWIRED, subject=target),
    ),
    Fault(
        name="head left out of the optimizer",
        inject=without_group("head"),
        caught_by=Raised(alarm=MISWIRED, subject="head"),
    ),
    Fault(
        name="frozen branch trains",
        inject=set_otherwise(moves_too),
        caught_by=Raised(alarm=MISWIRED, subject="source_branch"),
    ),
    Fault(
        name="frozen branch in training mode",
        inject=set_otherwise(lambda network, moving: network.branches["source"].train()),
        caught_by=Raised(alarm=MISWIRED, subject="source_branch"),
    ),
    Fault(
        name="batch normalization of what trains in evaluation mode",
        inject=set_otherwise(lambda network, moving: network.eval()),
        caught_by=Raised(alarm=MISWIRED, subject="source_branch"),
    ),
    Fault(
        name="a look leaves the network in evaluation mode",
        inject=around(loop, "refresh_banks", eval_left),
        caught_by=Raised(alarm=MISWIRED, subject="source_branch"),
    ),
    Fault(
        name="gradients erased before the optimizer's step",
        inject=around(loop, "update", erased),
        caught_by=Raised(alarm=MISWIRED, subject="source_branch"),
    ),
    Fault(
        name="the optimizer makes no step",
        inject=around(loop, "update", no_step),
        caught_by=Raised(alarm=MISWIRED, subject="source_branch"),
    ),
    Fault(
        name="teacher never updated",
        inject=around(loop, "follow", lambda f, teacher, network, decay: None),
        caught_by=Raised(alarm=MISWIRED, subject="teacher"),
    ),
    Fault(
        name="teacher copied from the network",
        inject=around(loop, "follow", lambda f, teacher, network, decay: f(teacher, network, 0.0)),
        caught_by=Raised(alarm=MISWIRED, subject="teacher"),
    ),
    Fault(
        name="decay of the teacher the wrong way round",
        inject=around(loop, "follow", lambda f, teacher, network, decay: f(teacher, network, 1 - decay)),
        caught_by=Raised(alarm=MISWIRED, subject="teacher"),
    ),
    Fault(
        name="EMA saved as weights: the network follows the teacher",
        inject=around(loop, "follow", lambda f, teacher, network, decay: f(network, teacher, decay)),
        caught_by=Raised(alarm=MISWIRED, subject="teacher"),
    ),
    Fault(
        name="teacher in training mode",
        inject=around(phases, "teacher_of", lambda f, network: f(network).train()),
        caught_by=Raised(alarm=MISWIRED, subject="teacher"),
    ),
    Fault(
        name="gradient clipped to nothing",
        inject=around(loop.Fabric, "backward", lambda f, self, total: f(self, total * 0)),
        caught_by=Raised(alarm=MISWIRED, subject="source_branch"),
    ),
]
WIRING = [replace(fault, wiring=True) for fault in WIRING]
