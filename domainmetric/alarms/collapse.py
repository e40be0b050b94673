"""An embedding that shrinks to a point, a line, or one class; losses near zero hide it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from domainmetric.alarms.base import Action, Alarm, Finding
from domainmetric.alarms.sight import Sight
from domainmetric.metrics.collapse import mean_cosine

CALMER = "action='fallback' exchanges what is known to collapse: HPHN for EPSHN, L1 for L2, Dann's weight for a tenth"


@dataclass(frozen=True, kw_only=True)
class Collapse(Alarm):
    """Embeddings that nearly all point the same way, or lie on a line."""

    cosine: float = 0.95
    """A mean cosine above this is a collapse."""
    rank: float = 1.3
    """An effective rank of the target embeddings below this is one, too, with four classes or more."""

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
        if (
            len(sight.seen.evidence.source_z) > 1
            and (cosine := mean_cosine(sight.seen.evidence.source_z)) > self.cosine
        ):
            yield Finding("source", f"The mean cosine of the source embeddings is {cosine:.3f}.")
        cosines, ranks = (sight.values(f"collapse/target_{name}") for name in ("mean_cosine", "effective_rank"))
        if sight.adapts and cosines and cosines[-1] > self.cosine:
            yield Finding("target", f"The mean cosine of the target embeddings is {cosines[-1]:.3f}.")
        elif sight.adapts and sight.num_classes >= 4 and ranks and ranks[-1] < self.rank:
            yield Finding("target", f"The effective rank of the target embeddings is {ranks[-1]:.2f}.")


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
