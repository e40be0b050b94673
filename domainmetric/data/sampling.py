"""Which rows make which batch: pure functions of the step, so that nothing has to be saved to resume.

Every row is visited once per epoch (of its class, for the balanced sampler); each epoch has its own permutation,
derived from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Int64
from torch import Tensor

from domainmetric.errors import ConfigError
from domainmetric.randomness import generator


@dataclass(eq=False)
class Cycle:
    """An endless sequence over `rows`, shuffled anew each epoch."""

    rows: Int64[Tensor, " r"]
    seed: int
    name: str
    _epochs: dict[int, Int64[Tensor, " r"]] = field(default_factory=dict, repr=False)

    def slice(self, start: int, count: int) -> Int64[Tensor, " c"]:
        """Items start .. start + count - 1 of the sequence."""
        size, parts = len(self.rows), []
        while count > 0:
            epoch, offset = divmod(start, size)
            part = self._epoch(epoch)[offset : offset + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return torch.cat(parts)

    def _epoch(self, epoch: int) -> Int64[Tensor, " r"]:
        if epoch not in self._epochs:
            order = torch.randperm(len(self.rows), generator=generator("cpu", self.seed, self.name, epoch))
            self._epochs = {**{e: rows for e, rows in self._epochs.items() if e == epoch - 1}, epoch: self.rows[order]}
        return self._epochs[epoch]


@dataclass(eq=False)
class ShuffledRows:
    """Batches of `batch_size` rows without regard to class (the only sampler possible without labels)."""

    num_rows: int
    batch_size: int
    seed: int
    name: str

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise ConfigError(f"Batch size must be at least 2 (batch norm), but is {self.batch_size}.")
        if self.batch_size > self.num_rows:
            raise ConfigError(
                f"Batch size {self.batch_size} is above the {self.num_rows} images of the {self.name} set."
            )
        self._cycle = Cycle(torch.arange(self.num_rows), self.seed, self.name)

    def rows(self, step: int) -> Int64[Tensor, " b"]:
        """The rows of a step, on the CPU."""
        return self._cycle.slice(step * self.batch_size, self.batch_size)


@dataclass(eq=False)
class BalancedRows:
    """Batches with the same number of rows of every class; each class cycles through its own rows."""

    labels: Int64[Tensor, " r"]
    num_classes: int
    batch_size: int
    seed: int
    name: str

    def __post_init__(self) -> None:
        self._per_class, rest = divmod(self.batch_size, self.num_classes)
        if rest or not self._per_class:
            good = max(1, round(self.batch_size / self.num_classes)) * self.num_classes
            raise ConfigError(
                f"A class-balanced batch must be a multiple of the {self.num_classes} classes, "
                f"but is {self.batch_size}. Use {good}, for example."
            )
        counts = torch.bincount(self.labels, minlength=self.num_classes)
        if int(counts.min()) == 0:
            empty = int(counts.argmin())
            raise ConfigError(f"The {self.name} set has no image of class index {empty}; balanced batches need all.")
        self._cycles = [
            Cycle((self.labels == k).nonzero().squeeze(1), self.seed, f"{self.name}/{k}")
            for k in range(self.num_classes)
        ]

    def rows(self, step: int) -> Int64[Tensor, " b"]:
        """The rows of a step, on the CPU, class by class."""
        start = step * self._per_class
        return torch.cat([cycle.slice(start, self._per_class) for cycle in self._cycles])


@dataclass(eq=False)
class GroupRows:
    """Batches of `per_class` rows of each of `num_chosen` classes: groups of n examples (Xuan et al. 2020, section 3).

    The classes of a batch are drawn anew at each step, all of them where `num_chosen` is their number; each class
    cycles through its own rows, so that none is repeated before all were seen.
    """

    labels: Int64[Tensor, " r"]
    num_chosen: int
    per_class: int
    seed: int
    name: str

    def __post_init__(self) -> None:
        self._cycles = {
            int(k): Cycle((self.labels == k).nonzero().squeeze(1), self.seed, f"{self.name}/{int(k)}")
            for k in self.labels.unique()
        }
        self._classes = torch.tensor(sorted(self._cycles))
        self._chosen: list[Int64[Tensor, " c"]] = []

    def rows(self, step: int) -> Int64[Tensor, " b"]:
        """The rows of a step, on the CPU, class by class."""
        while len(self._chosen) <= step:
            draw = generator("cpu", self.seed, self.name, "classes", len(self._chosen))
            order = torch.randperm(len(self._classes), generator=draw)[: self.num_chosen]
            self._chosen.append(self._classes[order].sort().values)
        before = torch.bincount(
            torch.cat([*self._chosen[:step], self._classes]), minlength=int(self._classes.max()) + 1
        )
        return torch.cat(
            [
                self._cycles[k].slice((int(before[k]) - 1) * self.per_class, self.per_class)
                for k in self._chosen[step].tolist()
            ]
        )
