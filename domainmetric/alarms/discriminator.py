"""Two ends of a domain discriminator: one that never learns, and one that knows everything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from domainmetric.alarms.base import Action, Alarm, Finding
from domainmetric.alarms.sight import Sight

ACCURACY = "dann/accuracy"


@dataclass(frozen=True, kw_only=True)
class ChanceDiscriminator(Alarm):
    """A discriminator at chance from the start: it never told the domains apart."""

    accuracy: float = 0.54
    """Mean accuracies up to this are chance, at every reading since the phase began."""
    steps: int = 100
    """Steps that it is given to learn."""

    @property
    def meaning(self) -> str:
        return (
            "The discriminator learned nothing, so that what it reverses is noise: no domain gap is being closed. (One "
            "that falls to chance after having been better is what adversarial training is after.)"
        )

    @property
    def advice(self) -> str:
        return (
            "Let it learn: a wider Dann.hidden, a ramp of Dann.strength that starts at zero, a smaller Term.weight; "
            "and look whether the domains differ at all."
        )

    def find(self, sight: Sight) -> Iterator[Finding]:
        values = sight.values(ACCURACY)
        if sight.read and values and sight.step >= self.steps and max(values) <= self.accuracy:
            text = f"The domain discriminator was right in at most {max(values):.1%} in the first {sight.step} steps."
            yield Finding("discriminator", text)


@dataclass(frozen=True, kw_only=True)
class PerfectDiscriminator(Alarm):
    """A discriminator that is nearly always right. It only warns: the target can improve meanwhile."""

    accuracy: float = 0.995
    """Mean accuracies from this on are perfect."""
    patience: int = 4
    """Readings in a row before it is told."""

    @property
    def actions(self) -> tuple[Action, ...]:
        return ("warn",)

    @property
    def meaning(self) -> str:
        return "The domains stay apart in the embedding, and the discriminator's gradient tends to vanish."

    @property
    def advice(self) -> str:
        return (
            "Often harmless: see whether score/class_cluster still rises. Otherwise a larger Term.weight or "
            "Dann.strength, or Mmd beside it."
        )

    def find(self, sight: Sight) -> Iterator[Finding]:
        last = sight.values(ACCURACY)[-self.patience :]
        if sight.read and len(last) == self.patience and min(last) >= self.accuracy:
            yield Finding("discriminator", f"The domain discriminator was right in {min(last):.1%} or more of late.")
