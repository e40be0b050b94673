"""An embedding that shrinks to a point, a line, or one class; losses near zero hide it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from domainmetric.alarms.base import Action, Alarm, Finding
from domainmetric.alarms.sight import Sight
from domainmetric.metrics.collapse import effective_rank, mean_cosine

CALMER = "action='fallback' exchanges what is known to collapse: HPHN for EPSHN, L1 for L2, a tenth of Dann's weight"


@dataclass(frozen=True, kw_only=True)
class Collapse(Alarm):
    """Embeddings that nearly all point the same way, or lie on a line."""

    cosine: float = 0.95
    """A mean cosine above this is a collapse."""
    rank: float = 1.3
    """An effective rank below this is one, with four classes or more."""

    @property
    def actions(self) -> tuple[Action, ...]:
        return ("warn", "stop", "fallback")

    @property
    def meaning(self) -> str:
        return "The embedding no longer tells images apart; a small loss says nothing then."

    @property
    def advice(self) -> str:
        return f"A smaller learning rate, easier triplets or more classes in a batch; {CALMER}."

    def find(self, sight: Sight) -> Iterator[Finding]:
        if sight.seen is None:
            return
        evidence = sight.seen.evidence
        sides = {"source": evidence.source_z, **({"target": evidence.target_z} if sight.adapts else {})}
        for side, z in sides.items():
            if len(z) < 2:
                continue
            cosine = mean_cosine(z)
            if cosine > self.cosine:
                yield Finding(side, f"The mean cosine of the {side} embeddings is {cosine:.3f}.")
            elif sight.num_classes >= 4 and (rank := effective_rank(z)) < self.rank:
                yield Finding(side, f"The effective rank of the {side} embeddings is {rank:.2f}.")


@dataclass(frozen=True, kw_only=True)
class OneClass(Alarm):
    """Nearly all target images are given one class, while the phase adapts to them."""

    share: float = 0.9
    """Share of the predictions from which on it is told. Raise it where one class really is so frequent."""

    @property
    def actions(self) -> tuple[Action, ...]:
        return ("warn", "stop", "fallback")

    @property
    def meaning(self) -> str:
        return (
            "The target collapsed onto one class; scores that reward decided predictions (entropy, SND) are at their "
            "best just then."
        )

    @property
    def advice(self) -> str:
        return (
            "InformationMaximization beside the other terms keeps classes in use, as do class-balanced anchors "
            f"(ClassQuota); {CALMER}."
        )

    def find(self, sight: Sight) -> Iterator[Finding]:
        if sight.seen is None or not sight.adapts:
            return
        counts = sight.seen.evidence.target_logits.argmax(1).bincount(minlength=sight.num_classes)
        share, class_ = counts.max(0)
        if (found := int(share) / int(counts.sum())) >= self.share:
            yield Finding("predictions", f"{found:.1%} of the target predictions are class number {int(class_)}.")
