"""Steps of an adaptation with the alarms and without them, in turns; see `trust.py`."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeVar, cast

from lightning_fabric import Fabric

from domainmetric import Experiment
from domainmetric.errors import Interrupted
from domainmetric.training.alarm_board import AlarmBoard
from domainmetric.training.batches import Batches
from domainmetric.training.loop import Watch, train
from domainmetric.training.state import PhaseState
from domainmetric.training.tracking import Log
from domainmetric.training.wiring import NUM_STEPS

PHASE = "adapt"
WALL, CPU = 1, 2
T = TypeVar("T")


@dataclass(eq=False, kw_only=True)
class Switched:
    """The alarms of a phase, which can be off; what they take while they are on is added up."""

    board: AlarmBoard
    on: bool = True
    cpu_s: float = 0.0
    stopped: None = None

    @property
    def soundness(self) -> Switched:
        """Its own: what is asked of it, is asked of this."""
        return self

    def timed(self, work: Callable[[], T], off: T) -> T:
        """The work's result, or `off` where nothing is to be done."""
        if not self.on:
            return off
        began = time.thread_time()
        try:
            return work()
        finally:
            self.cpu_s += time.thread_time() - began

    def keep(self, state: PhaseState) -> None:
        """Before a step."""
        self.timed(lambda: self.board.soundness.keep(state), None)

    def sound(self, *seen: Any) -> bool:
        """After a backward pass."""
        return self.timed(lambda: self.board.sound(*seen), True)

    def settle(self) -> None:
        """When values are read."""
        self.timed(self.board.settle, None)

    def moved(self, *seen: Any) -> None:
        """After a step whose gradients were measured."""
        self.timed(lambda: self.board.moved(*seen), None)

    def show(self, *seen: Any, **more: Any) -> None:
        """After a step whose values were read."""
        self.timed(lambda: self.board.show(*seen, **more), None)


@dataclass(eq=False, kw_only=True)
class Turns:
    """Times the steps of a phase: those with the alarms and those without, in turn."""

    switch: Switched
    steps: int
    """To be timed."""
    rare: int
    """Steps between two readings of the values. Such steps are made with the alarms, and belong to no pair."""
    times: list[tuple[bool, float, float, float]] = field(default_factory=list)
    """With the alarms or without, wall and CPU seconds of a step, and CPU seconds that the alarms took of it."""
    _since: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def begin(self, step: int) -> None:
        """A step begins. Those in which the wiring is looked at come first, and are not alternated."""
        self.switch.on = step < NUM_STEPS or self.is_rare(step) or step.bit_count() % 2 == 0
        self._since = self._now()

    def end(self) -> None:
        """The step is done."""
        wall, cpu, alarms = (now - since for now, since in zip(self._now(), self._since, strict=True))
        self.times.append((self.switch.on, wall, cpu, alarms))

    def is_rare(self, step: int) -> bool:
        """Whether values are read after this step, or gradient shares and banks are taken before it."""
        return step % self.rare == 0 or (step + 1) % self.rare == 0

    def pairs(self, kind: int) -> list[float]:
        """Time of a step with the alarms over that of its neighbor without: steps 2k and 2k + 1 are one of each."""
        found = []
        for step in range(NUM_STEPS, len(self.times) - 1, 2):
            one, other = self.times[step], self.times[step + 1]
            if one[0] != other[0] and not (self.is_rare(step) or self.is_rare(step + 1)):
                on, off = (one, other) if one[0] else (other, one)
                found.append(on[kind] / off[kind])
        return found

    @property
    def plain_ms(self) -> float:
        """CPU time of a step without the alarms, in milliseconds."""
        return 1e3 * median(cpu for on, _, cpu, _ in self.times if not on)

    def _now(self) -> tuple[float, float, float]:
        return time.perf_counter(), time.process_time(), self.switch.cpu_s


def train_in_turns(
    fabric: Fabric, experiment: Experiment, state: PhaseState, batches: Batches, turns: Turns, log: Log
) -> None:
    """The adaptation from its first step, until enough steps were timed. What a run logs is logged."""
    phase = experiment.phases[PHASE]

    def write(step: int, values: dict[str, float]) -> None:
        turns.switch.board.add(step, values)
        log.metrics(step, values)

    def advance(step: int, loss: float | None) -> None:
        turns.end()
        turns.begin(step)

    watch = Watch(
        log=write,
        event=lambda name, text: None,
        evaluate=lambda step: None,
        checkpoint=lambda seconds: None,
        advance=advance,
        stopping=lambda: len(turns.times) >= turns.steps,
        alarms=cast(AlarmBoard, turns.switch),
    )
    turns.begin(0)
    with suppress(Interrupted):
        train(fabric, experiment, phase, batches, state, watch, 0.0)
