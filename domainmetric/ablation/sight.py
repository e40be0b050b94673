"""What can be seen of a run from outside: its log, read as it grows."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from domainmetric.experiment import Experiment
from domainmetric.training.tracking import LOG_NAME, decode_line


@dataclass
class Sight:
    """How far a run has come, by the metrics in its log. `look` reads what has been added."""

    path: Path
    step: int = 0
    """The last step that the log tells of, in the run's own count."""
    loss: float | None = None
    rate: float | None = None
    """Steps per second between the last two records that tell a loss."""
    _position: int = 0
    _inode: int = 0
    _last: tuple[int, float] = (0, 0.0)
    _names: set[str] = field(default_factory=set)

    @staticmethod
    def of(folder: Path) -> Sight:
        """The sight of a run folder."""
        return Sight(folder / LOG_NAME)

    def look(self) -> None:
        """Take in what the log has come to say. A log that was cut back is read anew."""
        with suppress(FileNotFoundError), self.path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_ino != self._inode or status.st_size < self._position:
                self._inode, self._position, self.step, self._last = status.st_ino, 0, 0, (0, 0.0)
            file.seek(self._position)
            content = file.read()
            whole = content[: content.rfind(b"\n") + 1]
            self._position += len(whole)
            for line in filter(None, whole.split(b"\n")):
                with suppress(ValueError):
                    self._take(decode_line(line))

    def _take(self, record: dict[str, Any]) -> None:
        if record["kind"] != "metrics":
            return
        self.step = max(self.step, int(record["step"]))
        if "loss/total" not in record["values"]:
            return
        self.loss = record["values"]["loss/total"]
        step, time = self._last
        if 0 < time < record["time"] and record["step"] > step:
            self.rate = (record["step"] - step) / (record["time"] - time)
        self._last = record["step"], record["time"]


def place(experiment: Experiment, step: int) -> tuple[str, int, int]:
    """Phase, steps done in it and its steps, for a step of the run; after the last one the run is being evaluated."""
    for name, phase in experiment.phases.items():
        if step < phase.steps:
            return name, step, phase.steps
        step -= phase.steps
    return "evaluation", 0, 0


def steps_of_first_phase(experiment: Experiment) -> int:
    """How many steps the phase has that runs may share."""
    return next(iter(experiment.phases.values())).steps
