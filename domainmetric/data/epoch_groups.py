"""Groups of n examples of c classes in such an order that every image is seen exactly once per epoch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from domainmetric.data.sampling import Epochs, check_groups
from domainmetric.errors import ConfigError
from domainmetric.randomness import generator


@dataclass(eq=False)
class EpochGroupRows:
    """Batches of groups of `per_class` rows of one class, `num_chosen` groups in each; every row once per epoch.

    The batches follow each other without a gap, so an epoch may end inside one. Classes come as often as they have
    images. A class that has more than 1/c of them must have several groups in some batches: in each either the number
    that is its share of c, rounded down, or one more. Remainders (of classes that are no multiple of n, and groups that
    fill no batch) stand class by class at the seams between epochs, in the few batches that are no whole groups.
    """

    labels: Int64[Tensor, " r"]
    num_chosen: int
    """c: groups in a batch."""
    per_class: int
    """n: rows in a group."""
    seed: int
    name: str

    def __post_init__(self) -> None:
        classes, self._class, counts = self.labels.unique(return_inverse=True, return_counts=True)
        possible = f"Here c (groups of a batch) can be 2 to {len(classes)}, and n (images of a group) 2 or more."
        check_groups(len(classes), self.num_chosen, self.per_class, self.name, possible)
        self._batch, self._counts = self.num_chosen * self.per_class, counts
        groups = counts // self.per_class
        if int(groups.sum()) < self.num_chosen:
            raise ConfigError(
                f"The {self.name} set has {int(groups.sum())} groups of {self.per_class} images of one class, too few "
                f"for a batch of {self.num_chosen}. Use smaller groups, or fewer."
            )
        most = int(groups.argmax())
        if int(groups[most]) * self.num_chosen > int(groups.sum()) * (self.num_chosen - 1):
            raise ConfigError(
                f"Class index {int(classes[most])} has {int(counts[most])} of the {len(self.labels)} images of the "
                f"{self.name} set. Where each image is seen once per epoch, some batches of {self.num_chosen} groups "
                "would hold that class alone. Use more groups in a batch, or draw the classes equally often."
            )
        self._epochs = Epochs(len(self.labels), self._arrange)

    def rows(self, step: int) -> Int64[Tensor, " b"]:
        """The rows of a step, on the CPU."""
        return self._epochs.slice(step * self._batch, self._batch)

    def _arrange(self, epoch: int) -> Int64[Tensor, " r"]:
        """All rows in the order of an epoch: remainders that end a batch begun before, batches of groups, the others.

        Groups are laid out class by class along c rows as long as the epoch has batches; a batch is a column. So a
        class that has no more groups than there are batches meets none of them twice (McNaughton 1959).
        """
        draw = generator("cpu", self.seed, self.name, epoch)
        total, n, c = len(self.labels), self.per_class, self.num_chosen
        head = -epoch * total % self._batch
        rows = torch.randperm(total, generator=draw)
        circle = torch.randperm(len(self._counts), generator=draw)  # the classes in a random order
        rank = circle.argsort()[self._class]
        rows = rows[rank[rows].argsort(stable=True)]
        counts = self._counts[circle]
        place = torch.arange(total) - (counts.cumsum(0) - counts).repeat_interleave(counts)  # within the class
        whole = (place < (counts // n * n).repeat_interleave(counts)).nonzero().squeeze(1).view(-1, n)

        batches = min(len(whole) // c, (total - head) // self._batch)
        taken = torch.randperm(len(whole), generator=draw)[: batches * c].sort().values
        columns = torch.randperm(batches, generator=draw)
        grid = whole[taken].view(c, batches, n)[:, columns].transpose(0, 1).flatten()
        left = torch.ones(total, dtype=torch.bool)
        left[grid] = False
        edge = rows[left]
        return torch.cat([edge[:head], rows[grid], edge[head:]])
