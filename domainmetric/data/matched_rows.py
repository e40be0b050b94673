"""Target batches that are balanced by the labels that an anchor strategy gave: no true label is looked at."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Int64
from torch import Tensor

from domainmetric.data.sampling import Epochs, ShuffledRows, Turns, cycle


@dataclass(eq=False)
class MatchedRows:
    """Batches with the same number of rows of every matched class.

    `refresh` tells which rows are matched to which class from a step on; until then, batches are shuffled. A class with
    fewer rows than its share gives all that it has, and the others share the rest; where the batch is no multiple of
    them, they take turns at one row more. No row comes twice in a batch, as long as there are enough: places that no
    matched row is left for, all of them if nothing is matched, are filled from the whole set as if shuffled.

    What `refresh` was told lies in `memory`, a flat dict of tensors that checkpoints save. With it, batches are a
    function of the step.
    """

    num_rows: int
    batch_size: int
    seed: int
    name: str
    memory: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._others = ShuffledRows(self.num_rows, self.batch_size, self.seed, self.name)
        self._plan: Plan | None = None

    def refresh(self, rows: Int64[Tensor, " r"], labels: Int64[Tensor, " r"], since: int) -> None:
        """From step `since` on, draw from these rows, which are matched to these classes."""
        self.restore({"rows": rows.cpu(), "labels": labels.cpu(), "since": torch.tensor(since)})

    def restore(self, memory: dict[str, Tensor]) -> None:
        """Take up a memory that was written down."""
        self.memory = {name: value.cpu() for name, value in memory.items()}
        if not memory:
            self._plan = None
            return
        name = f"{self.name}/since {int(self.memory['since'])}"
        self._plan = Plan(self.memory["rows"], self.memory["labels"], self.batch_size, self.seed, name)

    def rows(self, step: int) -> Int64[Tensor, " b"]:
        """The rows of a step, on the CPU: the matched ones class by class, then the others."""
        if self._plan is None:
            return self._others.rows(step)
        missing = self.batch_size - self._plan.size
        return torch.cat([*self._plan.rows(step), *([self._others.rows(step)[:missing]] if missing else [])])


@dataclass(eq=False)
class Plan:
    """How batches are drawn from labelled rows."""

    matched: Int64[Tensor, " r"]
    labels: Int64[Tensor, " r"]
    batch_size: int
    seed: int
    name: str

    def __post_init__(self) -> None:
        classes, counts = self.labels.unique(return_counts=True)
        self._level = level(counts, self.batch_size)
        of_class = self.matched[self.labels.argsort(stable=True)].split(counts.tolist())
        named = list(zip(classes.tolist(), of_class, strict=True))
        self._whole = [rows for _, rows in named if len(rows) <= self._level]
        """Classes that give all that they have."""
        self._drawn: list[Epochs] = [
            cycle(rows, self.seed, f"{self.name}/{k}") for k, rows in named if len(rows) > self._level
        ]
        self.size = min(self.batch_size, len(self.matched))
        rest = self.size - int(counts.clamp_max(self._level).sum())
        self._turns = Turns(len(self._drawn), rest, self.seed, f"{self.name}/turns") if rest else None

    def rows(self, step: int) -> list[Int64[Tensor, " c"]]:
        """The matched rows of a step, class by class."""
        turn = {k for k, _ in self._turns.at(step)} if self._turns is not None else set()
        drawn = [rows.group(step, self._level + 1) for rows in self._drawn]
        return [*self._whole, *(rows[: self._level + (k in turn)] for k, rows in enumerate(drawn))]


def level(counts: Int64[Tensor, " k"], size: int) -> int:
    """The largest share of each class at which a batch of `size` holds all of them, given what each has."""
    most = int(counts.max()) if len(counts) else 0
    low, high = 0, min(size, most)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if int(counts.clamp_max(middle).sum()) <= size else (low, middle - 1)
    return low
