"""Where the time of a training step goes: the real loop, with a stopwatch on every part of it.

Steps with the stopwatch and steps without it alternate, so that the sum of the parts can be held against what a step
takes when nobody looks. They agree within 10% on a machine that does nothing else; the table says what came. On a GPU
the stopwatch waits for the device at every boundary, so the sum lies above what overlapping work takes.

After each step without the stopwatch comes one of the bare networks (`limit.py`), so that the share of the limit is one
of neighbors.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol, runtime_checkable

import torch
from lightning_fabric import Fabric
from torch.utils.hooks import RemovableHandle

from domainmetric.errors import ConfigError, Interrupted
from domainmetric.experiment import AdaptationPhase, Experiment, Phase
from domainmetric.models.network import Network
from domainmetric.parts import Stopwatch, name_module
from domainmetric.training import runtime
from domainmetric.training.alarm_board import AlarmBoard
from domainmetric.training.batches import Batches, RunData, data_root, load
from domainmetric.training.limit import Limit, calls
from domainmetric.training.loop import Watch, train
from domainmetric.training.phases import build, new_network
from domainmetric.training.state import PhaseState

WARM_UP = 4
ORDER = ("data", "augmentation", "forward", "teacher and matching", "bank refresh", "pairs", "mining", "term",
         "gradient shares", "backward", "alarms", "optimizer", "teacher update", "host")  # fmt: skip
FEEDING = ("data", "augmentation")


@dataclass(frozen=True, kw_only=True)
class PhaseProfile:
    """The mean step of one phase, in milliseconds. Evaluations and checkpoints are not in it."""

    title: str
    plain: float
    """A step without the stopwatch, and without what is done only now and then."""
    watched: float
    """Such a step with the stopwatch: the sum of its parts."""
    parts: dict[str, float]
    """Every part; what is done now and then is spread over the steps."""
    every: dict[str, int]
    """Steps between two occurrences of what is done now and then."""
    limit: float
    """A step of the bare networks."""

    @property
    def limit_share(self) -> float:
        """Time of the bare networks over that of a step with all that is spread over the steps."""
        return self.limit / (self.plain + sum(self.parts[name] for name in self.every))

    @property
    def feeding_share(self) -> float:
        """Share of data and augmentation in a step, in [0, 1]."""
        return sum(self.parts.get(name, 0.0) for name in FEEDING) / sum(self.parts.values())

    def _place(self, name: str) -> tuple[int, float]:
        return ORDER.index(name.partition(":")[0]), -self.parts[name]

    def table(self) -> str:
        """For the terminal."""
        total = sum(self.parts.values())
        lines = [self.title, f"  {'part':<36}{'ms':>9}{'share':>9}"]
        for name in sorted(self.parts, key=self._place):
            note = f" (1 in {self.every[name]} steps)" if name in self.every else ""
            lines.append(f"  {name + note:<36}{self.parts[name]:>9.2f}{self.parts[name] / total:>9.1%}")
        off = self.watched / self.plain - 1
        lines += [
            f"  {'sum':<36}{total:>9.2f}{1:>9.1%}",
            f"  A step without the stopwatch: {self.plain:.2f} ms; with it: {self.watched:.2f} ms ({off:+.1%}).",
            f"  Data and augmentation together: {self.feeding_share:.1%} of a step.",
            f"  The bare networks, forward and backward: {self.limit:.2f} ms, {self.limit_share:.1%} of a step.",
        ]
        if abs(off) > 0.1:
            lines.append(
                "  The two differ by more than 10%: was the machine busy? Repeat it, or read the shares with care."
            )
        return "\n".join(lines)


@runtime_checkable
class Timer(Protocol):
    """Sees the steps of a phase begin and end, and says when it has seen enough."""

    def begin(self, step: int) -> None:
        """A step begins."""

    def end(self, step: int) -> None:
        """The step is done."""

    @property
    def enough(self) -> bool:
        """Whether the training may stop."""


@dataclass(eq=False)
class Once:
    """One step, which nobody times."""

    enough: bool = False

    def begin(self, step: int) -> None:
        """Nothing to do."""

    def end(self, step: int) -> None:
        """It was the one."""
        self.enough = True


@dataclass(eq=False)
class Laps:
    """Times steps from the loop's own callbacks, in turn with and without the stopwatch."""

    device: torch.device
    every: dict[str, int]
    """Steps between two occurrences of parts that are not in every step."""
    wanted: int
    """Ordinary steps of each kind to time."""
    limit: Callable[[], None]
    """A step of the bare networks."""
    bare: list[float] = field(default_factory=list)
    """Its times, one after each of `plain`."""
    plain: list[float] = field(default_factory=list)
    watched: list[dict[str, float]] = field(default_factory=list)
    rare: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    """Step and parts of the steps in which something is done that is not done in every step."""
    _stopwatch: Stopwatch | None = None
    _since: float = 0.0

    def begin(self, step: int) -> None:
        """A step begins. Its kind follows the Thue-Morse sequence, which no period in the work keeps step with."""
        kind = (len(self.plain) + len(self.watched)).bit_count() % 2
        self._stopwatch = Stopwatch(self.device) if kind or self.is_rare(step) else None
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self._since = time.perf_counter()
        if self._stopwatch is not None:
            self._stopwatch.start()

    def end(self, step: int) -> None:
        """The step is done."""
        if self._stopwatch is not None:
            self._stopwatch.stop()
            seconds = dict(self._stopwatch.seconds)
            if self.is_rare(step):
                self.rare.append((step, seconds))
            else:
                self.watched.append(seconds)
            self._stopwatch = None
            return
        self.plain.append(self._elapsed())
        self._since = time.perf_counter()
        self.limit()
        self.bare.append(self._elapsed())

    def _elapsed(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - self._since

    def is_rare(self, step: int) -> bool:
        """Whether the step is unlike others. The first one always is: it includes the loop's own start."""
        return step == 0 or any(step % every == 0 for every in self.every.values())

    @property
    def enough(self) -> bool:
        """Whether both kinds were timed often enough."""
        return min(len(self.plain), len(self.watched)) >= self.wanted

    def profile(self, title: str) -> PhaseProfile:
        """The means."""
        names = {name for seconds in self.watched for name in seconds}
        parts = {name: 1e3 * sum(s.get(name, 0.0) for s in self.watched) / len(self.watched) for name in names}
        total = sum(parts.values())
        for name, every in self.every.items():
            times = [seconds.get(name, 0.0) for step, seconds in self.rare if step % every == 0]
            parts[name] = 1e3 * sum(times) / len(times) / every
        plain = 1e3 * sum(self.plain) / len(self.plain)
        limit = median(bare / whole for bare, whole in zip(self.bare, self.plain, strict=True)) * plain
        return PhaseProfile(title=title, plain=plain, watched=total, parts=parts, every=self.every, limit=limit)


def profile(experiment: Experiment, *, steps: int = 30) -> str:
    """A table for the first and for the last phase, from `steps` steps of each with the stopwatch and as many without.

    The network is untrained, and nothing is written.
    """
    return "\n\n".join(result.table() for result in measure(experiment, steps=steps))


def measure(experiment: Experiment, *, steps: int = 30) -> list[PhaseProfile]:
    """The profiles of the first and of the last phase (of one, if there is but one)."""
    fabric = runtime.fabric(experiment.runtime)
    if fabric.world_size > 1:
        raise ConfigError("A profile is that of one process. Give --runtime.devices=1 --runtime.num_nodes=1.")
    with runtime.arithmetic(experiment.runtime):
        data = load(experiment, data_root(experiment), fabric.device)
        network = new_network(experiment, fabric.device)
        names = list(dict.fromkeys([next(iter(experiment.phases)), *list(experiment.phases)[-1:]]))
        return [measure_phase(experiment, fabric, network, data, name, steps) for name in names]


def measure_phase(
    experiment: Experiment, fabric: Fabric, network: Network, data: RunData, name: str, steps: int
) -> PhaseProfile:
    """Train one phase again and again from its first step, until enough steps are timed."""
    phase = experiment.phases[name]
    state, batches = build(experiment, network, data, name, phase)
    every = {"gradient shares": experiment.evaluation.gradient_every}
    if state.matcher is not None:
        every["bank refresh"] = experiment.banks.refresh_every
    every = {part: interval for part, interval in every.items() if interval > 1}
    with closing(batches):
        limit = limit_of(fabric, experiment, phase, batches, state)
        warm, laps = (Laps(fabric.device, every, count, limit) for count in (WARM_UP, steps))
        handles = name_parts(state)
        for timer in (warm, laps):
            while not timer.enough:
                run(fabric, experiment, phase, batches, state, timer)
    for handle in handles:
        handle.remove()
    target = f" + {phase.target_batch} target" if isinstance(phase, AdaptationPhase) else ""
    title = (
        f"Phase '{name}' on {runtime.device_name(fabric.device)}, {phase.source_batch} source{target} images in a step"
    )
    return laps.profile(title)


def limit_of(fabric: Fabric, experiment: Experiment, phase: Phase, batches: Batches, state: PhaseState) -> Limit:
    """The limit of a phase, which has not been trained yet: its first step tells what the network encodes."""
    with calls(state.network) as passes:
        run(fabric, experiment, phase, batches, state, Once())
    return Limit(state.network, passes, batches.data, fabric)


def run(fabric: Fabric, experiment: Experiment, phase: Phase, batches: Batches, state: PhaseState, laps: Timer) -> None:
    """Train from step 0 until enough is timed or the phase ends, and let `laps` see each step."""

    def advance(step: int, loss: float | None) -> None:
        laps.end(step - 1)
        if step < phase.steps and not laps.enough:
            laps.begin(step)

    watch = Watch(
        log=lambda step, values: None,
        event=lambda name, text: None,
        evaluate=lambda step: None,
        checkpoint=lambda seconds: None,
        advance=advance,
        stopping=lambda: laps.enough,
        alarms=AlarmBoard(
            alarms=experiment.alarms,
            phase="profile",
            steps=phase.steps,
            num_classes=len(experiment.data.classes),
            state=state,
            folder=experiment.runs_root,
            tell=lambda told: None,
        ),
    )
    state.step = 0
    laps.begin(0)
    with suppress(Interrupted):
        train(fabric, experiment, phase, batches, state, watch, 0.0)


def name_parts(state: PhaseState) -> list[RemovableHandle]:
    """Name what the modules do: branches, head, classifier and terms. The teacher is a copy and stays without names."""
    source, target = state.network.branches["source"], state.network.branches["target"]
    named = {"forward: head": state.network.head, "forward: classifier": state.network.classifier}
    if source is target:
        named["forward: shared branch"] = source
    else:
        named |= {"forward: source branch": source, "forward: target branch": target}
    named |= {f"term: {name}": module for name, module in state.objective.parts.items()}
    return [handle for name, module in named.items() for handle in name_module(module, name)]
