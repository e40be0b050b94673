"""One step that several processes share has the losses, gradients and batch statistics of one process."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from domainmetric.alignment.coral import Coral
from domainmetric.anchors.cluster import Cluster
from domainmetric.anchors.nearest import Nearest
from domainmetric.anchors.quota import ClassQuota
from domainmetric.data.draws import MatchedBalanced
from domainmetric.experiment import Experiment, FewLabels
from domainmetric.memory import Memory
from domainmetric.team.base import ALONE, Team
from domainmetric.terms import BOTH_DIRECTIONS, SOURCE_DIRECTIONS, TARGET_ANCHORS, Metric, Term
from domainmetric.training.banks import refresh
from domainmetric.training.batches import RunData, load
from domainmetric.training.loop import sum_gradients
from domainmetric.training.phases import build, new_network
from tests import tiny
from tests.team.forks import in_each, worst


def triplets(root: Path) -> Experiment:
    """Every direction, a memory, target batches by matched label, a strategy that looks at the target as a set."""
    plain = tiny.experiment(root, "triplet", anchors=Cluster())
    metric = Metric(roles=BOTH_DIRECTIONS + SOURCE_DIRECTIONS + TARGET_ANCHORS, memory=Memory(size=64, warmup=0))
    drawn = replace(plain.phases["adapt"], target_sampling=MatchedBalanced())
    terms = {**plain.terms, "triplet": Term(part=metric)}
    return replace(plain, terms=terms, phases={**plain.phases, "adapt": drawn})


def quota(root: Path) -> Experiment:
    """A strategy that must see a batch as a whole, which processes therefore do not divide."""
    return tiny.experiment(root, "triplet", anchors=ClassQuota(inner=Nearest(), share=0.1))


def coral(root: Path) -> Experiment:
    plain = tiny.experiment(root, "mmd")
    return replace(plain, terms={**plain.terms, "mmd": Term(part=Coral(), weight=1e3)})


CASES: dict[str, Callable[[Path], Experiment]] = {
    "classify": tiny.experiment,
    "few labels": lambda root: replace(tiny.experiment(root, "mmd"), labelled_target=FewLabels(per_class=3)),
    "triplet": triplets,
    "nearest": lambda root: tiny.experiment(root, "triplet", anchors=Nearest()),
    "quota": quota,
    "dann": lambda root: tiny.experiment(root, "dann"),
    "mmd": lambda root: tiny.experiment(root, "mmd"),
    "coral": coral,
    "information": lambda root: tiny.experiment(root, "information"),
    "taught": lambda root: tiny.experiment(root, "consistency", "weighted_dann", "weighted_mmd"),
    "all": tiny.full,
}


@functools.cache
def images() -> RunData:
    """Of all cases, loaded once; the processes inherit them."""
    return load(tiny.full(Path("nowhere")), Path(), torch.device("cpu"))


def one_step(experiment: Experiment, team: Team) -> dict[str, Tensor]:
    """Losses, gradients, batch statistics and memories of a first step. No number of processes divides its batches."""
    name, phase = list(experiment.phases.items())[-1]
    odd = {"source_batch": 33} | ({"target_batch": 47, "calibration_steps": 2} if name == "adapt" else {})
    experiment = replace(experiment, phases={**experiment.phases, name: replace(phase, **odd)})
    data, network = images(), new_network(experiment, torch.device("cpu"))
    state, batches = build(experiment, network, data, name, experiment.phases[name], team)
    if state.matcher is not None:
        assert state.teacher is not None
        anchors = (state.matched_rows, state.target_anchors)
        refresh(state.matcher, state.teacher, experiment, data, 0, *anchors, team)
    moving = {"teacher": state.teacher, "matcher": state.matcher, "target_anchors": state.target_anchors}
    step = state.objective.prepare(network, batches, 0, 0.5, **moving)
    losses = state.objective(step)
    torch.stack(list(losses.values())).sum().backward()
    sum_gradients(team, state)
    found = {f"loss/{name}": value[None] for name, value in losses.items()} | {"z": step.encoded_by_source.z}
    for module in (state.network, state.objective):
        found |= {f"gradient/{name}": p.grad for name, p in module.named_parameters() if p.grad is not None}
        found |= {f"buffer/{name}": buffer for name, buffer in module.named_buffers()}
    return {name: value.float() for name, value in found.items()}


def every_step(team: Team) -> dict[str, Tensor]:
    return {
        f"{case}: {name}": value
        for case, make in CASES.items()
        for name, value in one_step(make(Path("nowhere")), team).items()
    }


@pytest.fixture(scope="module")
def alone() -> dict[str, Tensor]:
    with torch.random.fork_rng():
        return every_step(ALONE)


@pytest.mark.parametrize("size", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_losses_and_gradients_are_those_of_one_process(size: int, alone: dict[str, Tensor], tmp_path: Path) -> None:
    assert sum(": gradient/" in name for name in alone) > 80
    for found in in_each(size, tmp_path, every_step):
        share, name = worst(found, alone)
        assert share < 1e-5, name
