"""Which finished source phase belongs to which runs, so that only those travel with a run that it may reuse.

The machine that trains a phase gives it its name, by all that the phase depends on there (`training/phase_key.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import final

from domainmetric.ablation.executor import Work
from domainmetric.ablation.parcel import Parcel, Sender, names
from domainmetric.errors import Damaged
from domainmetric.training.checkpoint import read_tensors


@final
class SharedPhases:
    """The finished phases in a folder."""

    def __init__(self, folder: Path, works: Sequence[Work]) -> None:
        """Those that runs of `works` have trained before belong to the runs of the same source phase."""
        self.folder, self._known = folder, dict[str, set[str]]()
        sources = {work.folder.name: work.job.source for work in works if work.folder is not None}
        for name in names(folder):
            with suppress(Damaged, KeyError):
                self._add(sources.get(read_tensors(folder / name)[1]["run"]), {name})

    def of(self, source: str | None) -> Parcel:
        """The phases that runs of this source phase may reuse."""
        mine = self._known.get(source, set()) if source is not None else set()
        return Sender(self.folder, without=set(names(self.folder)) - mine).pack()

    def take(self, source: str | None, parcel: Parcel) -> None:
        """Keep what a run of this source phase has trained. Raises Damaged."""
        parcel.unpack(self.folder)
        self._add(source, {piece.name for piece in parcel.pieces})

    def _add(self, source: str | None, found: set[str]) -> None:
        if source is not None:
            self._known.setdefault(source, set()).update(found)
