"""Measures blocks of pytorch-adapt's steps and of ours in turns; see `step.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from lightning_fabric import Fabric

from domainmetric import AdaptationPhase, Experiment
from domainmetric.training.batches import RunData
from domainmetric.training.phases import build, new_network
from domainmetric.training.profile import run
from experiments.benchmarks.adapt_loop import AdaptLoop, Timed
from experiments.benchmarks.step_limit import PHASE, Turns, rare_steps

STEPS = 10
"""Of theirs in a block; ours are those of a period."""


@dataclass(frozen=True, kw_only=True)
class AdaptRow:
    """A recipe beside pytorch-adapt's DANN, in seconds for a step of as many images."""

    recipe: str
    wall_ms: float
    cpu_ms: float
    theirs_wall_ms: float
    theirs_cpu_ms: float
    """Their loading processes included."""
    ratio: float
    """Theirs over ours by wall time, the median of the blocks."""
    ratio_cpu: float
    ratios_cpu: tuple[float, float]
    """Smallest and largest."""


def beside_adapt(
    names: Sequence[str], experiments: Sequence[Experiment], data: RunData, fabric: Fabric, repeats: int
) -> list[AdaptRow]:
    """Blocks of pytorch-adapt's steps and of each recipe's in turns."""
    phases = [experiment.phases[PHASE] for experiment in experiments]
    images = {phase.source_batch + phase.target_batch for phase in phases if isinstance(phase, AdaptationPhase)}
    (count,) = images  # all recipes have the same
    loop = AdaptLoop(experiments[0], data, count // 2, fabric.device)
    blocks: list[list[tuple[Timed, Timed]]] = [[] for _ in names]
    built = [
        build(experiment, new_network(experiment, fabric.device), data, PHASE, phase)
        for experiment, phase in zip(experiments, phases, strict=True)
    ]
    for _ in range(repeats):
        theirs = loop.block(STEPS)
        for found, experiment, phase, (state, batches) in zip(blocks, experiments, phases, built, strict=True):
            turns = Turns(lambda: None, max(rare_steps(experiment)), fabric.device)
            run(fabric, experiment, phase, batches, state, turns)
            wall, cpu = (fmean(column) for column in zip(*turns.ours, strict=True))
            found.append((Timed(wall=wall, cpu=cpu), theirs))
    for _, batches in built:
        batches.close()
    return [adapt_row(name, found) for name, found in zip(names, blocks, strict=True)]


def adapt_row(name: str, blocks: Sequence[tuple[Timed, Timed]]) -> AdaptRow:
    """Medians over the blocks."""
    by_cpu = [theirs.cpu / ours.cpu for ours, theirs in blocks]
    return AdaptRow(
        recipe=name,
        wall_ms=1e3 * median(ours.wall for ours, _ in blocks),
        cpu_ms=1e3 * median(ours.cpu for ours, _ in blocks),
        theirs_wall_ms=1e3 * median(theirs.wall for _, theirs in blocks),
        theirs_cpu_ms=1e3 * median(theirs.cpu for _, theirs in blocks),
        ratio=median(theirs.wall / ours.wall for ours, theirs in blocks),
        ratio_cpu=median(by_cpu),
        ratios_cpu=(min(by_cpu), max(by_cpu)),
    )
