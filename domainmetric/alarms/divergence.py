"""Training that goes the wrong way: losses that grow, and source classes that are forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from domainmetric.alarms.base import Alarm, Finding
from domainmetric.alarms.sight import Sight


@dataclass(frozen=True, kw_only=True)
class Divergence(Alarm):
    """A loss far above where it began, or a source accuracy far below its best, or below half of chance."""

    factor: float = 3.0
    """A term's loss this many times above the larger of its first two readings diverges."""
    floor: float = 0.2
    """Losses that began lower count as having begun here."""
    forgotten: float = 0.7
    """A held-out source accuracy below this share of its best in an adaptation is forgetting."""

    @property
    def meaning(self) -> str:
        return "The steps are too large, or terms pull against each other: what was learned is being lost."

    @property
    def advice(self) -> str:
        return "A smaller Optimizer.lr first; then smaller weights, or ramps, for the terms that grow."

    def find(self, sight: Sight) -> Iterator[Finding]:
        for name in sight.terms if sight.read else ():
            losses = sight.raw_losses(name)
            began = max([*losses[:2], self.floor])
            if len(losses) > 2 and losses[-1] > self.factor * began:
                yield Finding(name, f"The loss of '{name}' is {losses[-1]:.4g}, after {began:.4g} at the start.")
        accuracies = sight.values("score/source_accuracy")
        if sight.seen is None or not accuracies:
            return
        now, best = accuracies[-1], max(accuracies)
        if sight.adapts and now < self.forgotten * best:
            yield Finding("source accuracy", f"The held-out source accuracy is {now:.1%}, after {best:.1%}.")
        elif now < 0.5 / sight.num_classes:
            yield Finding("source accuracy", f"The held-out source accuracy is {now:.1%}, below half of chance.")
