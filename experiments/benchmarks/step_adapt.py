"""Measures blocks of pytorch-adapt's steps, one before and one after ours; see `step.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

from lightning_fabric import Fabric

from domainmetric import AdaptationPhase, Experiment
from domainmetric.training.batches import RunData
from experiments.benchmarks.adapt_loop import AdaptLoop
from experiments.benchmarks.step_limit import PHASE, Row

STEPS = 10
"""Of theirs in a block."""


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
    """Theirs over ours by wall time."""
    ratio_cpu: float
    ratios_cpu: tuple[float, float]
    """Of the two blocks of theirs, the smaller and the larger."""


def beside_adapt(
    experiment: Experiment, data: RunData, fabric: Fabric, measure: Callable[[], Row]
) -> tuple[Row, AdaptRow]:
    """What `measure` finds of a recipe's steps, and those of pytorch-adapt of as many images just before and after."""
    phase = experiment.phases[PHASE]
    assert isinstance(phase, AdaptationPhase)
    loop = AdaptLoop(experiment, data, (phase.source_batch + phase.target_batch) // 2, fabric.device)
    before, ours, after = loop.block(STEPS), measure(), loop.block(STEPS)
    wall_ms, cpu_ms = (1e3 * fmean(pair) for pair in ((before.wall, after.wall), (before.cpu, after.cpu)))
    low, high = sorted(1e3 * block.cpu / ours.cpu_ms for block in (before, after))
    return ours, AdaptRow(
        recipe=ours.recipe,
        wall_ms=ours.wall_ms,
        cpu_ms=ours.cpu_ms,
        theirs_wall_ms=wall_ms,
        theirs_cpu_ms=cpu_ms,
        ratio=wall_ms / ours.wall_ms,
        ratio_cpu=cpu_ms / ours.cpu_ms,
        ratios_cpu=(low, high),
    )
