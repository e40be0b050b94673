"""Adaptation that ends worse than it began, as far as that can be told without target labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from domainmetric.alarms.base import Alarm, Finding
from domainmetric.alarms.sight import Sight


@dataclass(frozen=True, kw_only=True)
class BelowSource(Alarm):
    """A label-free score that is clearly lower at the end of an adaptation than at its start: a hint, not a proof.

    Of 130 short adaptations of a generated pair, 87 of which ended worse than they began, it told 63, and no other
    (`experiments/alarm_precision.py`).
    """

    score: str = "class_cluster"
    """Which score, as the log names it after `score/`."""
    fall: float = 0.05
    """How far it must have fallen. Smaller falls are noise of the few images that are looked at."""

    @property
    def meaning(self) -> str:
        return "The adapted network is probably worse on the target than the source-only network that it began as."

    @property
    def advice(self) -> str:
        return "Compare with the source phase alone. `selection=BestScore()` reports the start where nothing is better."

    def find(self, sight: Sight) -> Iterator[Finding]:
        values = sight.values(f"score/{self.score}")
        if sight.seen is None or not sight.adapts or sight.step < sight.steps or len(values) < 2:
            return
        if values[-1] < values[0] - self.fall:
            text = f"The label-free score {self.score} fell from {values[0]:.3f} to {values[-1]:.3f} in the phase."
            yield Finding(self.score, text)
