"""Anchors that carry nothing: a few source items for all targets, or classes that nobody matches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from domainmetric.alarms.base import Alarm, Finding
from domainmetric.alarms.sight import Sight


@dataclass(frozen=True, kw_only=True)
class DeadAnchors(Alarm):
    """Few source items stand for most targets; a class has no match, or nothing has."""

    items_per_class: float = 0.5
    """Fewer source items than this, for each class, that stand for half of the matched targets are too few."""
    targets_per_class: int = 20
    """A class without a match is told only of looks with this many target images for each class, in the second half of
    a phase."""

    @property
    def meaning(self) -> str:
        return "Triplets pull whole crowds of targets to a handful of source images, or leave out a class."

    @property
    def advice(self) -> str:
        return (
            "Spread the matches by Mutual, ClassQuota or Transport; lower the threshold where the strategy abstains; "
            "enlarge Banks.source_size. Right as it is where the target really lacks the class."
        )

    def find(self, sight: Sight) -> Iterator[Finding]:
        if sight.seen is None or sight.seen.matches is None:
            return
        matches = sight.seen.matches
        kept = int(matches.keep.sum())
        if kept == 0:
            yield Finding("coverage", f"None of {len(matches.keep)} target images has a match.")
            return
        counts = matches.source_index[matches.keep, 0].unique(return_counts=True)[1].sort(descending=True).values
        half = int((counts.cumsum(0) * 2 < kept).sum()) + 1
        if kept >= self.targets_per_class * sight.num_classes and half < self.items_per_class * sight.num_classes:
            yield Finding("hubs", f"{half} source images stand for half of {kept} matched target images.")
        if sight.progress >= 0.5 and len(matches.keep) >= self.targets_per_class * sight.num_classes:
            found = matches.label[matches.keep].bincount(minlength=sight.num_classes)
            for number in (found == 0).nonzero().flatten().tolist():
                yield Finding(
                    f"class {number}", f"No target image of {len(matches.keep)} is matched to class {number}."
                )
