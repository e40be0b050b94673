"""Which rows of a pass each process handles, and where they stand when all are gathered."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def spans(count: int, size: int) -> list[slice]:
    """`count` places in `size` consecutive shares that differ by one at most."""
    ends = [count * rank // size for rank in range(size + 1)]
    return [slice(begin, end) for begin, end in pairwise(ends)]


@dataclass(eq=False)
class Layout:
    """One pass over batches of the given sizes, each of them divided among the processes.

    A process handles its share of the first batch, then that of the second, and so on; the whole is all of the first
    batch, then all of the second.
    """

    counts: tuple[int, ...]
    size: int
    rank: int
    device: torch.device | str = "cpu"
    """Where the tensors of it lie."""
    rows: list[int] = field(init=False)
    """Rows that each process handles."""
    mine: list[slice] = field(init=False)
    """Where the rows of this one stand in the whole."""
    order: Int64[Tensor, " n"] = field(init=False)
    """For each row of the whole its place among what the processes send, each as many rows as the largest has."""
    shares: Float[Tensor, "size 1"] = field(init=False)
    """Of all rows, those of each process."""

    def __post_init__(self) -> None:
        shares = [spans(count, self.size) for count in self.counts]
        self.rows = [sum(share[rank].stop - share[rank].start for share in shares) for rank in range(self.size)]
        offsets = [sum(self.counts[:number]) for number in range(len(self.counts))]
        own = [share[self.rank] for share in shares]
        self.mine = [slice(at + span.start, at + span.stop) for at, span in zip(offsets, own, strict=True)]
        places, taken = [], [rank * self.longest for rank in range(self.size)]
        for share in shares:
            for rank, span in enumerate(share):
                end = taken[rank] + span.stop - span.start
                places.append(torch.arange(taken[rank], end))
                taken[rank] = end
        self.order = torch.cat(places).to(self.device)
        self.shares = torch.tensor(self.rows, dtype=torch.float64, device=self.device)[:, None] / self.total

    @property
    def total(self) -> int:
        """Rows of the whole."""
        return sum(self.counts)

    @property
    def longest(self) -> int:
        """Rows of the process that handles most."""
        return max(self.rows)

    def cut(self, whole: Tensor) -> Tensor:
        """The rows of this process."""
        parts = [whole[span] for span in self.mine]
        return parts[0] if len(parts) == 1 else torch.cat(parts)
