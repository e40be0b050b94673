"""What a phase remembers of its anchors from one look to the next, so that two times can be compared."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from domainmetric.metrics.anchor_quality import agreement
from domainmetric.training.wall_time import WallTime
from domainmetric.types import Matches

EARLIER, SINCE, SECONDS = "earlier/", "bank_since", "refresh_seconds"


@dataclass(eq=False)
class AnchorTrack:
    """The matches of the last look, and when and how long the strategy last took in its banks.

    What must survive a resume lies in `memory`, a flat dict of tensors that checkpoints save.
    """

    memory: dict[str, Tensor] = field(default_factory=dict)
    _refresh: WallTime | None = None

    def refreshed(self, step: int, spent: WallTime, *, taken: bool) -> None:
        """Before step `step` banks were offered; `taken` tells whether the strategy remembers the source bank."""
        self._refresh = spent
        if taken:
            self.memory[SINCE] = torch.tensor(step)

    def look(self, matches: Matches, step: int) -> dict[str, float]:
        """What this look, after `step` steps, shows beside the one before: `anchors/agreement` and so on.

        `anchors/bank_age` is the age of the oldest row of the source bank, in steps; there is none where the strategy
        keeps no bank.
        """
        values = {}
        names = [f.name for f in fields(Matches)]
        if f"{EARLIER}label" in self.memory:
            earlier = Matches(**{name: self.memory[EARLIER + name].to(matches.label.device) for name in names})
            values["anchors/agreement"] = agreement(matches, earlier)
        self.memory |= {EARLIER + name: getattr(matches, name) for name in names}
        if SINCE in self.memory:
            values["anchors/bank_age"] = float(step - int(self.memory[SINCE]))
        self._read_clock()
        if SECONDS in self.memory:
            values["anchors/refresh_seconds"] = float(self.memory[SECONDS])
        return values

    def tensors(self) -> dict[str, Tensor]:
        """All of it."""
        self._read_clock()
        return dict(self.memory)

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up what `tensors` wrote down."""
        self.memory, self._refresh = dict(tensors), None

    def _read_clock(self) -> None:
        if self._refresh is not None:
            self.memory[SECONDS] = torch.tensor(self._refresh.seconds, dtype=torch.float64)
            self._refresh = None
