"""A metric loss that stays where a collapsed embedding puts it: at the margin, or at ln 2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from domainmetric.alarms.base import Action, Alarm, Finding
from domainmetric.alarms.collapse import CALMER
from domainmetric.alarms.sight import Sight
from domainmetric.losses.base import MetricLoss
from domainmetric.losses.triplet import TripletLoss
from domainmetric.pairs import label_pairs
from domainmetric.terms import Metric


@dataclass(frozen=True, kw_only=True)
class StuckLoss(Alarm):
    """A triplet loss that keeps the value which it has where all embeddings are one point."""

    tolerance: float = 0.005
    """Relative distance to that value that counts as stuck."""
    patience: int = 4
    """Readings in a row before it is told."""

    @property
    def actions(self) -> tuple[Action, ...]:
        return ("warn", "stop", "fallback")

    @property
    def meaning(self) -> str:
        return "Positives and negatives are equally far from their anchors: nothing is learned, or all is one point."

    @property
    def advice(self) -> str:
        return f"A smaller learning rate, easier triplets, a longer warm start; {CALMER}."

    def find(self, sight: Sight) -> Iterator[Finding]:
        if not sight.read:
            return
        for name, term in sight.terms.items():
            if not isinstance(term.part, Metric) or (value := when_collapsed(term.part.loss)) is None:
                continue
            last = sight.raw_losses(name)[-self.patience :]
            if len(last) == self.patience and all(abs(x - value) <= self.tolerance * value for x in last):
                text = f"The loss of '{name}' has stayed at {value:.4g}, its value where all embeddings are equal."
                yield Finding(name, text)


def when_collapsed(loss: MetricLoss) -> float | None:
    """The value of a triplet loss where all embeddings are equal; None for losses that depend on the batch's size."""
    if not isinstance(loss, TripletLoss):
        return None
    point = torch.ones(4, 2)
    with torch.no_grad():
        value = float(loss.of(label_pairs(point, torch.tensor([0, 0, 1, 1]))).value)
    return value if value > 0 else None
