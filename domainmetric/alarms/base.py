"""The alarm family: what a run may look like when it fails, what that means, and what to try."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from domainmetric.alarms.sight import Sight
from domainmetric.errors import ConfigError

Action = Literal["warn", "stop", "fallback", "skip"]


class Finding(NamedTuple):
    """Something that an alarm saw."""

    subject: str
    """What it is about, such as the name of a term: an alarm is told once in a phase for each."""
    text: str
    """What was seen, with its numbers, in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Alarm(ABC):
    """Notices one way in which a run fails. It remembers nothing: what it finds follows from what it is shown."""

    action: Action = "warn"
    """What an alarm does beside telling: `warn` nothing; `stop` ends the run, its state saved, so that `resume` goes on
    in spite of it; `fallback` exchanges, for the rest of the phase, what is known to collapse (`alarms/fallback.py`);
    `skip` leaves out the step. An alarm refuses the actions that it does not have."""

    def __post_init__(self) -> None:
        if self.action not in self.actions:
            raise ConfigError(
                f"{type(self).__name__}.action must be {' or '.join(self.actions)}, but is '{self.action}'."
            )

    @property
    def actions(self) -> tuple[Action, ...]:
        """The actions that it has."""
        return ("warn", "stop")

    @property
    @abstractmethod
    def meaning(self) -> str:
        """What it means when it is raised, in one sentence."""

    @property
    @abstractmethod
    def advice(self) -> str:
        """What to try, in one sentence."""

    @abstractmethod
    def find(self, sight: Sight) -> Iterator[Finding]:
        """What it finds in what was just seen; nothing where that does not concern it."""
