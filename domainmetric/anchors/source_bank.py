"""The remembered source bank, and which of its items of a class stand for a target item."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from domainmetric.anchors.search import product, rows_at_a_time
from domainmetric.geometry import class_means


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceBank:
    """Stored source embeddings, their rows in the training set, and their labels."""

    rows: Int64[Tensor, " b"]
    z: Float[Tensor, "b d"]
    labels: Int64[Tensor, " b"]

    def has(self, label: Int64[Tensor, " m"], num_classes: int) -> Bool[Tensor, " m"]:
        """Whether the bank holds any item of each of these classes."""
        return (self.labels.bincount(minlength=num_classes) > 0)[label]

    def means(self, num_classes: int) -> Float[Tensor, "k d"]:
        """The sum of each class's embeddings, scaled to length 1; zero for a class without a member."""
        return class_means(self.z, self.labels, num_classes)

    def nearest(self, z_t: Float[Tensor, "m d"], label: Int64[Tensor, " m"], num: int) -> Int64[Tensor, "m num"]:
        """Rows of the `num` items of the given classes with the highest cosine, the highest first.

        Where the bank holds fewer of a class, its first one fills the places that are left. Rows of targets whose class
        the bank lacks mean nothing.
        """
        return self._extreme(z_t, label, num, largest=True)

    def farthest(self, z_t: Float[Tensor, "m d"], label: Int64[Tensor, " m"], num: int) -> Int64[Tensor, "m num"]:
        """The same with the lowest cosine, the lowest first."""
        return self._extreme(z_t, label, num, largest=False)

    def _extreme(self, z_t: Tensor, label: Tensor, num: int, *, largest: bool) -> Tensor:
        chunk = rows_at_a_time(len(self.z))
        parts = [
            self._extreme_of_chunk(z, y, num, largest=largest)
            for z, y in zip(z_t.split(chunk), label.split(chunk), strict=True)
        ]
        return self.rows[torch.cat(parts)]

    def _extreme_of_chunk(self, z_t: Tensor, label: Tensor, num: int, *, largest: bool) -> Tensor:
        other = self.labels != label[:, None]
        similarity = product(z_t, self.z.T).masked_fill_(other, -torch.inf if largest else torch.inf)
        if num == 1:  # a third of the time of the search for several
            return (similarity.argmax if largest else similarity.argmin)(1, keepdim=True)
        value, index = similarity.topk(min(num, similarity.shape[1]), 1, largest=largest)
        index = torch.where(value.isinf(), index[:, :1], index)
        return torch.cat([index, index[:, :1].expand(-1, num - index.shape[1])], 1)
