"""The alignment family: losses on a whole step that compare the domains."""

from __future__ import annotations

from dataclasses import dataclass

from domainmetric.step import Need, Part


@dataclass(frozen=True, kw_only=True)
class AlignmentTerm(Part):
    """A part that needs target images, and no labels of theirs."""

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"target"})
