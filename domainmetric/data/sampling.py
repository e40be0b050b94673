"""Which rows make which batch: pure functions of the step, so that nothing has to be saved to resume.

Every row is visited once per epoch (of its class, where batches are made class by class); each epoch has its own
permutation, derived from the seed. A step costs the same wherever it is: no sampler looks back at the steps before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Int64
from torch import Tensor

from domainmetric.errors import ConfigError
from domainmetric.randomness import generator


@dataclass(eq=False)
class Epochs:
    """An endless sequence of rows: epochs of equal length, each with an order of its own."""

    size: int
    make: Callable[[int], Int64[Tensor, " r"]]
    """The rows of an epoch in their order: a pure function of its number."""
    _kept: dict[int, Int64[Tensor, " r"]] = field(default_factory=dict, repr=False)

    def slice(self, start: int, count: int) -> Int64[Tensor, " c"]:
        """Items start .. start + count - 1 of the sequence."""
        parts = []
        while count > 0:
            epoch, offset = divmod(start, self.size)
            part = self.at(epoch)[offset : offset + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return torch.cat(parts)

    def group(self, index: int, count: int) -> Int64[Tensor, " c"]:
        """The rows of one of endlessly many groups of `count` unlike rows, which is at most the size of an epoch.

        An epoch holds as many whole groups as fit; the rows that are left sit out until the next one.
        """
        epoch, place = divmod(index, self.size // count)
        return self.at(epoch)[place * count : (place + 1) * count]

    def at(self, epoch: int) -> Int64[Tensor, " r"]:
        """The rows of one epoch. Two that follow each other are remembered."""
        if epoch not in self._kept:
            self._kept = {**{e: rows for e, rows in self._kept.items() if e == epoch - 1}, epoch: self.make(epoch)}
        return self._kept[epoch]


def cycle(rows: Int64[Tensor, " r"], seed: int, name: str) -> Epochs:
    """The same rows endlessly, shuffled anew each epoch."""

    def shuffle(epoch: int) -> Int64[Tensor, " r"]:
        return rows[torch.randperm(len(rows), generator=generator("cpu", seed, name, epoch))]

    return Epochs(len(rows), shuffle)


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
                f"Batch size {self.batch_size} is above the {self.num_rows} images of the {self.name} set. Use a "
                "smaller one."
            )
        self._cycle = cycle(torch.arange(self.num_rows), self.seed, self.name)

    def rows(self, step: int) -> Int64[Tensor, " b"]:
        """The rows of a step, on the CPU."""
        return self._cycle.slice(step * self.batch_size, self.batch_size)


@dataclass(eq=False)
class BalancedRows:
    """Batches with the same number of rows of every class, or one more of some; each class cycles through its own rows.

    Where the batch is no multiple of the classes, they take turns: the batches are cut from an endless row of classes.
    """

    labels: Int64[Tensor, " r"]
    num_classes: int
    batch_size: int
    seed: int
    name: str

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"A batch must hold at least one image, but is {self.batch_size}.")
        counts = torch.bincount(self.labels, minlength=self.num_classes)
        if int(counts.min()) == 0:
            empty = int(counts.argmin())
            raise ConfigError(
                f"The {self.name} set has no image of class index {empty}; balanced batches need all. Add images, hold "
                "out fewer, or leave the class out."
            )
        if self.batch_size > len(self.labels):
            raise ConfigError(
                f"Batch size {self.batch_size} is above the {len(self.labels)} images of the {self.name} set. Use a "
                "smaller one."
            )
        self._cycles = [
            cycle((self.labels == k).nonzero().squeeze(1), self.seed, f"{self.name}/{k}")
            for k in range(self.num_classes)
        ]

    def rows(self, step: int) -> Int64[Tensor, " b"]:
        """The rows of a step, on the CPU, class by class."""
        begin, end = step * self.batch_size, (step + 1) * self.batch_size
        parts = []
        for label, rows in enumerate(self._cycles):  # place t of the endless row belongs to class t modulo K
            first, stop = (-((label - place) // self.num_classes) for place in (begin, end))
            if stop > first:
                parts.append(rows.slice(first, stop - first))
        return torch.cat(parts)


@dataclass(eq=False)
class GroupRows:
    """Batches of `per_class` unlike rows of each of `num_chosen` classes: groups of n examples of c classes.

    (Xuan et al. 2020, section 3.) Classes take turns: a window moves over a circle of them, and when all have come
    equally often, which takes lcm(K, c) / c steps for K classes, they are set up in another order. So the classes of a
    step are a random choice, and yet each comes equally often. Within its class a row comes once per epoch at most:
    what is left when the class is not a multiple of n sits out, other rows in each epoch.
    """

    labels: Int64[Tensor, " r"]
    num_chosen: int
    """c: classes in a batch."""
    per_class: int
    """n: rows of each of them."""
    seed: int
    name: str

    def __post_init__(self) -> None:
        classes, counts = self.labels.unique(return_counts=True)
        possible = possible_groups(counts)
        check_groups(len(classes), self.num_chosen, self.per_class, self.name, possible)
        small = [f"index {classes[k]} has {counts[k]}" for k in (counts < self.per_class).nonzero().squeeze(1)]
        if small:
            more = f", and {len(small) - 5} more" if len(small) > 5 else ""
            raise ConfigError(
                f"Some classes of the {self.name} set have fewer images than the n = {self.per_class} of a group: "
                f"{', '.join(small[:5])}{more}. {possible}"
            )
        of_class = self.labels.argsort(stable=True).split(counts.tolist())
        self._cycles = [
            cycle(rows, self.seed, f"{self.name}/{k}") for k, rows in zip(classes.tolist(), of_class, strict=True)
        ]
        self._turns = Turns(len(classes), self.num_chosen, self.seed, f"{self.name}/classes")

    def rows(self, step: int) -> Int64[Tensor, " b"]:
        """The rows of a step, on the CPU, class by class."""
        return torch.cat([self._cycles[k].group(count, self.per_class) for k, count in self._turns.at(step)])


@dataclass(eq=False)
class Turns:
    """Whose turn it is: `num_chosen` of `num_all` at each step, all of them equally often."""

    num_all: int
    num_chosen: int
    seed: int
    name: str

    def __post_init__(self) -> None:
        shared = math.gcd(self.num_all, self.num_chosen)
        self._steps, self._times = self.num_all // shared, self.num_chosen // shared
        self._circles = cycle(torch.arange(self.num_all), self.seed, self.name)

    def at(self, step: int) -> list[tuple[int, int]]:
        """Those whose turn it is at a step, in ascending order, each with the number of turns that it had before."""
        circle, inside = divmod(step, self._steps)
        order = self._circles.at(circle)
        places = torch.arange(inside * self.num_chosen, (inside + 1) * self.num_chosen)
        before = circle * self._times + places // self.num_all
        return sorted(zip(order[places % self.num_all].tolist(), before.tolist(), strict=True))


def check_groups(num_classes: int, num_chosen: int, per_class: int, name: str, possible: str) -> None:
    """Raise ConfigError, with a sentence that says what is possible, unless groups have positives and negatives."""
    if per_class < 2:
        wrong = f"A group must hold at least 2 images, or none has a positive, but n is {per_class}."
    elif num_chosen < 2:
        wrong = f"A batch must hold at least 2 classes, or no image has a negative, but c is {num_chosen}."
    elif num_chosen > num_classes:
        wrong = f"A batch cannot hold c = {num_chosen} classes: the {name} set has {num_classes}."
    else:
        return
    raise ConfigError(f"{wrong} {possible}")


def possible_groups(counts: Int64[Tensor, " k"]) -> str:
    """A sentence that says which groups classes of these sizes can fill."""
    smallest = int(counts.min()) if len(counts) else 0
    if len(counts) < 2 or smallest < 2:
        return "Groups need two classes or more, of two images or more each: leave smaller ones out."
    n = f"n (images of a class) can be 2 to {smallest}" if smallest > 2 else "n (images of a class) can be 2"
    return f"Here {n}, and c (classes of a batch) {f'2 to {len(counts)}' if len(counts) > 2 else '2'}."
