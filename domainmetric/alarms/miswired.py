"""Parts of the network that do not move as the phase says, seen in its first two steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from domainmetric.alarms.base import Alarm, Finding
from domainmetric.alarms.sight import Movement, Sight

ASTRAY = 0.1
"""The teacher may be off its way by this share of it."""


@dataclass(frozen=True, kw_only=True)
class Miswired(Alarm):
    """What trains stands still, what is frozen moves, or the teacher does not follow by its decay."""

    @property
    def meaning(self) -> str:
        return "The network is not trained as the phase says, whatever the losses do."

    @property
    def advice(self) -> str:
        return (
            "Look at who holds the parameters: the optimizer's groups, requires_grad, the modes of batch "
            "normalization, and who updates the teacher."
        )

    def find(self, sight: Sight) -> Iterator[Finding]:
        if sight.wiring is None:
            return
        for name, part in sight.wiring.parts.items():
            for text in astray(part):
                yield Finding(name, f"{name} {text} in step {sight.step}.")
        if sight.wiring.teacher_trains:
            yield Finding("teacher", "The teacher is in training mode, so that its batch statistics are the batch's.")
        if sight.wiring.teacher is not None and not sight.wiring.teacher < ASTRAY:
            text = f"The teacher is off by {sight.wiring.teacher:.0%} of the way that its decay should have taken it."
            yield Finding("teacher", text)


def astray(part: Movement) -> Iterator[str]:
    """What a part did that it should not have done."""
    if not part.trains:
        if part.weights:
            yield "is frozen, but its weights changed"
        if part.statistics:
            yield "is frozen, but its batch statistics changed"
    elif part.asked:
        if not part.gradient:
            yield "trains, but no gradient reaches it"
        elif not part.weights:
            yield "has a gradient, but its weights did not change"
        if part.statistics is False:
            yield "trains, but its batch statistics did not change"
