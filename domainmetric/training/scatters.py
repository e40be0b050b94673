"""The triplet scatters that a run keeps: early, in the middle and late, of the images that its evaluations look at.

Each anchor's nearest positive and nearest negative (EPHN), as the network stands. Target items carry their matched
labels, so no target label is read; source items their own. A scatter is a file in the run folder, named by the run's
step, so that a resumed run finds those of its first part.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from domainmetric import durable
from domainmetric.diagnostics.scatter import scatter
from domainmetric.experiment import Experiment
from domainmetric.metrics.selection import Evidence
from domainmetric.miners.hard import EasyPositiveHardNegative
from domainmetric.training.checkpoint import read_tensors, write_tensors
from domainmetric.types import Group, Matches

FOLDER = "scatter"
ACROSS, WITHIN, SOURCE = "target among source", "target among target", "source among source"


def looks(experiment: Experiment) -> list[tuple[str, int]]:
    """(Phase, step in it) of the first, the middle and the last evaluation of all phases that train on pairs.

    Phases that match the target go before those that train on the source alone, whose scatter is the source's.
    """
    needs = {name: experiment.needs(experiment.terms_of(phase)) for name, phase in experiment.phases.items()}
    paired = [name for name in needs if "pairs" in needs[name]]
    names = [name for name in paired if experiment.uses_anchors(experiment.phases[name])] or paired
    every, steps = experiment.evaluation.every, {name: experiment.phases[name].steps for name in names}
    due = [(name, step) for name in names for step in sorted({*range(every, steps[name], every), steps[name]})]
    return [due[index] for index in sorted({0, (len(due) - 1) // 2, len(due) - 1})] if due else []


def keep(folder: Path, step: int, evidence: Evidence, matches: Matches | None) -> None:
    """Write down the scatters of one evaluation, at the run's step `step`."""
    path = folder / FOLDER / f"{step:08d}.safetensors"
    durable.make_folder(path.parent)
    write_tensors(path, measure(evidence, matches), {"step": step})


def measure(evidence: Evidence, matches: Matches | None) -> dict[str, Tensor]:
    """For each kind of scatter its points (t, 2): S_ap and S_an, float64."""
    miner, source = EasyPositiveHardNegative(), Group(z=evidence.source_z, labels=evidence.source_labels)
    if matches is None:
        found = {SOURCE: scatter(source, miner)}
    else:
        target = Group(z=evidence.target_z, labels=matches.label, keep=matches.keep)
        found = {WITHIN: scatter(target, miner), ACROSS: scatter(target, miner, columns=source)}
    return {name: torch.stack([points.s_ap, points.s_an], 1) for name, points in found.items()}


def kept(folder: Path) -> dict[int, dict[str, Tensor]]:
    """The scatters that a run kept: {step: {kind: points}}."""
    files = (read_tensors(path) for path in sorted((folder / FOLDER).glob("*.safetensors")))
    return {facts["step"]: tensors for tensors, facts in files}
