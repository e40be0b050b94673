"""Where the runs of an ablation take place, and what the ablation needs to know of any such place.

An executor is a setting. Opened, it gives a crew: so many runs at a time, and a way to start one. Which run comes next
is not its business (`pool.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from domainmetric.ablation.plan import Job
from domainmetric.ablation.sight import Sight, steps_of_first_phase
from domainmetric.errors import ConfigError
from domainmetric.experiment import Runtime

Status = Literal["finished", "failed", "interrupted", "missing"]
Say = Callable[[str], None]
"""Tells a person something, on a line of its own."""


@dataclass(kw_only=True)
class Work:
    """A job, its folder once it has one, and what has become of it."""

    job: Job
    folder: Path | None = None
    status: Status = "missing"
    error: str | None = None


@dataclass(kw_only=True)
class Worker(ABC):
    """A run at work, wherever that is."""

    work: Work
    sight: Sight

    @abstractmethod
    def look(self) -> bool:
        """Take in what there is to see. Returns whether the run has ended; what became of it stands in `work` then."""

    @abstractmethod
    def stop(self) -> None:
        """Ask the run to save its state and stop. Twice is once."""

    @abstractmethod
    def end(self) -> None:
        """End the run; there is no time left to ask."""

    @abstractmethod
    def join(self) -> None:
        """Wait until a run that was ended is gone. What became of it stands in `work` then."""

    def in_source_phase(self) -> bool:
        """Whether it may still be training the phase that others wait for."""
        return self.sight.step <= steps_of_first_phase(self.work.job.experiment)


@dataclass(frozen=True, kw_only=True)
class Crew:
    """A place that is ready."""

    size: int
    """Runs at a time."""
    start: Callable[[Work], Worker]
    """Begins or continues a run. Raises DomainMetricError where this one cannot begin."""


@dataclass(frozen=True, kw_only=True)
class Executor(ABC):
    """Where runs take place."""

    @abstractmethod
    def threads(self) -> int:
        """CPU threads of a run for which nobody says another number."""

    @abstractmethod
    def about(self) -> str:
        """Where, and how many at a time, in a few words."""

    @abstractmethod
    def machine(self, settings: Runtime) -> dict[str, Any]:
        """What a reader must know of machine and software, as far as it is known before a run has begun."""

    @abstractmethod
    def open(self, works: Sequence[Work], file: Path | None, say: Say) -> AbstractContextManager[Crew]:
        """Make the place ready for these; `file` holds the user's own classes. Raises ConfigError where it is not."""


def check_workers(workers: int) -> None:
    """Raise ConfigError unless there is somebody to do the work."""
    if workers < 1:
        raise ConfigError(f"There must be at least one worker, but there are {workers}.")
