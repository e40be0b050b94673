"""Measures steps of a recipe's adaptation and steps of its limit in turns, and their memory; see `step.py`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from statistics import median, quantiles

import torch
from lightning_fabric import Fabric

from domainmetric import AdaptationPhase, Experiment
from domainmetric.runner import data_root
from domainmetric.training import runtime
from domainmetric.training.banks import refresh
from domainmetric.training.batches import RunData, load
from domainmetric.training.limit import Call, Limit
from domainmetric.training.phases import build, new_network
from domainmetric.training.profile import limit_of, run
from domainmetric.training.state import PhaseState
from domainmetric.training.wiring import NUM_STEPS
from experiments import svhn_to_mnist
from experiments.benchmarks.machine import high_water_mb, reset_high_water

PHASE, LAST = "adapt", 4
"""The phase that is measured, and the last step whose memory is."""
BARS = {"cpu": {"full": 0.70, "dann_mmd": 0.85}, "cuda": {"full": 0.80, "dann_mmd": 0.80}}
"""Share of the limit that is to be reached, by device; also by the `quick_` recipes, whose networks are smaller."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One recipe beside its limit."""

    recipe: str
    device: str
    images: int
    """Images of both domains in a step, without those that are encoded again."""
    wall_ms: float
    """A step, with all that is spread over the steps."""
    cpu_ms: float
    """Of all threads."""
    limit_wall_ms: float
    limit_cpu_ms: float
    share: float
    """Of the limit's throughput, by wall time."""
    share_cpu: float
    quartiles_cpu: tuple[float, float]
    """Of the ratios of neighbors, rare work included."""
    share_with_teacher_cpu: float
    """The same where the teacher's passes of a step count as the limit's: those over target batch and bank."""
    peak_mb: float
    limit_peak_mb: float

    @property
    def memory(self) -> float:
        """Peak of a step over that of the limit."""
        return self.peak_mb / self.limit_peak_mb

    @property
    def bar(self) -> float | None:
        """What is to be reached."""
        return BARS[self.device].get(self.recipe.removeprefix("quick_"))


@dataclass(eq=False)
class Turns:
    """Times the steps of a phase, and one of the limit after each."""

    limit: Callable[[], None]
    steps: int
    """To be timed: a whole period of what is rare. The first is not among them, since it includes the loop's start."""
    device: torch.device
    ours: list[tuple[float, float]] = field(default_factory=list)
    """Wall and CPU seconds of each step."""
    bare: list[tuple[float, float]] = field(default_factory=list)
    teacher: Callable[[], None] = lambda: None
    """The teacher's passes of a step, after each."""
    seen: list[tuple[float, float]] = field(default_factory=list)
    """Its times."""
    _since: tuple[float, float] = (0.0, 0.0)

    def begin(self, step: int) -> None:
        """A step begins."""
        self._since = self._now()

    def end(self, step: int) -> None:
        """The step is done; now the limit's."""
        took = self._took()
        self._since = self._now()
        self.limit()
        bare = self._took()
        self._since = self._now()
        self.teacher()
        if step > 0:
            self.ours.append(took)
            self.bare.append(bare)
            self.seen.append(self._took())

    @property
    def enough(self) -> bool:
        """Whether a period was seen."""
        return len(self.ours) >= self.steps

    def _now(self) -> tuple[float, float]:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter(), time.process_time()

    def _took(self) -> tuple[float, float]:
        now = self._now()
        return now[0] - self._since[0], now[1] - self._since[1]


def recipe(name: str, device: str, precision: str, threads: int | None) -> Experiment:
    """The recipe on this device; `quick_dann_both` is `quick_dann` whose source branch trains, too."""
    experiment: Experiment = getattr(svhn_to_mnist, name.removesuffix("_both"))()
    if name.endswith("_both"):
        phase = experiment.phases[PHASE]
        assert isinstance(phase, AdaptationPhase)
        both = replace(phase, trains=("source_branch", "target_branch", "head", "classifier"))
        experiment = replace(experiment, phases={**experiment.phases, PHASE: both})
    settings = {"device": device, "precision": precision, "threads": threads}
    return replace(experiment, runtime=replace(experiment.runtime, **settings))  # type: ignore[arg-type]


def beside_limit(name: str, experiment: Experiment, data: RunData, fabric: Fabric, repeats: int) -> Row:
    """A recipe's adaptation and its limit in turns."""
    phase = experiment.phases[PHASE]
    assert isinstance(phase, AdaptationPhase)
    rare = rare_steps(experiment)
    state, batches = build(experiment, new_network(experiment, fabric.device), data, PHASE, phase)
    with closing(batches):
        limit = limit_of(fabric, experiment, phase, batches, state)
        teacher = teacher_of(experiment, phase, state, data, fabric)
        turns = []
        for _ in range(repeats):
            turns.append(Turns(limit, max(rare), fabric.device, teacher=teacher))
            run(fabric, experiment, phase, batches, state, turns[-1])
    kinds = [figures(turns, rare, kind) for kind in range(2)]
    (wall_ms, limit_wall_ms, share, _), (cpu_ms, limit_cpu_ms, share_cpu, quartiles_cpu) = kinds
    for turn in turns:
        turn.bare = [(a + c, b + d) for (a, b), (c, d) in zip(turn.bare, turn.seen, strict=True)]
    with ThreadPoolExecutor() as pool:  # memory alone is read, which side by side does not change
        peaks = list(pool.map(lambda part: peak(part, name, experiment), ("step", "limit")))
    return Row(
        recipe=name,
        device=fabric.device.type,
        images=phase.source_batch + phase.target_batch,
        wall_ms=wall_ms,
        cpu_ms=cpu_ms,
        limit_wall_ms=limit_wall_ms,
        limit_cpu_ms=limit_cpu_ms,
        share=share,
        share_cpu=share_cpu,
        quartiles_cpu=quartiles_cpu,
        share_with_teacher_cpu=figures(turns, rare, 1)[2],
        peak_mb=peaks[0],
        limit_peak_mb=peaks[1],
    )


def teacher_of(
    experiment: Experiment, phase: AdaptationPhase, state: PhaseState, data: RunData, fabric: Fabric
) -> Callable[[], None]:
    """The teacher's passes of a step: the clean target batch, and as many source images as the bank takes in a step."""
    if state.teacher is None:
        return lambda: None
    side, banks = experiment.image_size, experiment.banks
    shapes: list[Call] = [
        ("target", torch.Size((phase.target_batch, experiment.data.target.channels, side, side))),
        ("source", torch.Size((banks.source_size // banks.refresh_every, experiment.data.source.channels, side, side))),
    ]
    return Limit(state.teacher, shapes, data, fabric)


def rare_steps(experiment: Experiment) -> set[int]:
    """Steps between two bank refreshes, and between two measurements of gradient shares."""
    rare = {experiment.evaluation.gradient_every}
    return rare | ({experiment.banks.refresh_every} if experiment.uses_anchors(experiment.phases[PHASE]) else set())


def figures(turns: Sequence[Turns], rare: set[int], kind: int) -> tuple[float, float, float, tuple[float, float]]:
    """Milliseconds of a step and of the limit, the share of the limit and its quartiles, by wall (0) or CPU time (1).

    What is rare costs what its steps take beyond a median one, over the steps of a period.
    """
    pairs = [
        (step, ours[kind], bare[kind])
        for turn in turns
        for step, (ours, bare) in enumerate(zip(turn.ours, turn.bare, strict=True), start=1)
    ]
    plain = [(ours, bare) for step, ours, bare in pairs if all(step % every for every in rare)]
    usual, limit = (median(column) for column in zip(*plain, strict=True))
    extra = sum(ours - usual for step, ours, _ in pairs if not all(step % every for every in rare)) / len(pairs)
    ratios = sorted(ours / bare + extra / limit for ours, bare in plain)
    low, middle, high = quantiles(ratios, n=4)
    return 1e3 * (usual + extra), 1e3 * limit, 1 / middle, (1 / high, 1 / low)


def peak(part: str, name: str, experiment: Experiment) -> float:
    """Peak memory of a fresh process during steps, above what it had before them, in MB."""
    words = [sys.executable, "-m", "experiments.benchmarks.step", "--peak", part, "--recipes", name]
    settings = experiment.runtime
    words += ["--device", settings.device, "--precision", settings.precision, "--threads", str(settings.threads or 0)]
    return float(subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])


def print_peak(part: str, experiment: Experiment) -> None:
    """In the fresh process: what `peak` reads. What a first step loads is loaded before."""
    fabric = runtime.fabric(experiment.runtime)
    with runtime.arithmetic(experiment.runtime):
        data = load(experiment, data_root(experiment), fabric.device)
        phase = experiment.phases[PHASE]
        state, batches = build(experiment, new_network(experiment, fabric.device), data, PHASE, phase)
        small = Limit(state.network, [("target", torch.Size((2, 1, 32, 32)))], data, fabric)
        small()
        if state.matcher is not None and state.teacher is not None:
            few = replace(experiment, banks=replace(experiment.banks, source_size=100))
            refresh(state.matcher, state.teacher, few, data, 0)
        passes = passes_of(fabric, experiment)
        limit = Limit(state.network, passes, data, fabric) if part == "limit" else None
        watch = HighWater(fabric.device)
        if limit is None:
            run(fabric, experiment, phase, batches, state, watch)
            refresh(state.matcher, state.teacher, experiment, data, 1) if state.matcher and state.teacher else None
        else:
            for step in range(LAST + 1):
                watch.begin(step)
                limit()
        print(high_water_mb(fabric.device) - watch.before)


@dataclass(eq=False)
class HighWater:
    """From the third step on, the most memory counts: the first two copy the network, to see how it is wired."""

    device: torch.device
    before: float = 0.0
    """Megabytes, when that step begins."""
    enough: bool = False

    def begin(self, step: int) -> None:
        """A step begins."""
        if step == NUM_STEPS:
            reset_high_water(self.device)
            self.before = high_water_mb(self.device)

    def end(self, step: int) -> None:
        """The step is done."""
        self.enough = step >= LAST


def passes_of(fabric: Fabric, experiment: Experiment) -> list[Call]:
    """What a step of the recipe encodes, by its settings, in the order of a step."""
    phase = experiment.phases[PHASE]
    assert isinstance(phase, AdaptationPhase)
    matched = phase.target_batch if "matched" in experiment.needs(experiment.terms_of(phase)) else 0
    side = experiment.image_size
    return [
        ("source", torch.Size((phase.source_batch + matched, experiment.data.source.channels, side, side))),
        ("target", torch.Size((phase.target_batch, experiment.data.target.channels, side, side))),
    ]
