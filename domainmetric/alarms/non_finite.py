"""Numbers that are none: in images, embeddings, losses or gradients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from domainmetric.alarms.base import Action, Alarm, Finding
from domainmetric.alarms.sight import Sight
from domainmetric.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class NonFinite(Alarm):
    """A loss or gradient that is NaN or infinite. The batch is saved, and no weight is moved by it.

    On a CPU every step is examined. On a GPU that would make the program wait for the device: there `skip` does so, and
    `stop` looks at the readings, and before each look and each checkpoint, which therefore never holds a spoiled state;
    what it saves then is the batch of the latest step, and the file bears the numbers of both.
    """

    action: Action = "stop"
    """`stop` ends the run; `skip` leaves out the step, in which nothing then moves: neither weights, batch statistics
    nor teacher."""
    most: int = 10
    """Steps of a phase that may be skipped; one more stops the run."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.most < 1:
            raise ConfigError(f"NonFinite.most must be at least 1, but is {self.most}. To skip nothing: action='stop'.")

    @property
    def actions(self) -> tuple[Action, ...]:
        return ("stop", "skip")

    @property
    def meaning(self) -> str:
        return "One such step destroys every weight that it reaches, for good."

    @property
    def advice(self) -> str:
        return (
            "Look at the saved batch; a smaller Optimizer.lr; a distance whose gradient is finite at zero; precision "
            "'32'; action='skip' where single batches are at fault."
        )

    def find(self, sight: Sight) -> Iterator[Finding]:
        if sight.unsound:
            yield Finding(f"step {sight.step}", sight.unsound)
