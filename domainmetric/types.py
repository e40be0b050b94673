"""The values that pass between the floors of the house.

Letters in shapes, everywhere: n source rows, m target rows, d embedding, f features, k classes, t triplets.
`TargetBatch` has no labels field: what cannot be written down cannot leak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from domainmetric.errors import DataError


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """One split of one domain: all images at one size, and their labels where there are any."""

    images: UInt8[Tensor, "n h w c"]
    """uint8, 0..255, channels last (1 or 3)."""
    labels: Int64[Tensor, " n"] | None
    """Class indices into `classes`, or None for an unlabelled set."""
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        check_images(self.images)
        if self.labels is not None:
            check_labels(self.labels, len(self.images), len(self.classes))

    def __len__(self) -> int:
        return len(self.images)

    def unlabelled(self) -> ImageSet:
        """The same images without their labels."""
        return replace(self, labels=None)

    def take(self, rows: Int64[Tensor, " r"]) -> ImageSet:
        """The given rows, in the given order."""
        return replace(self, images=self.images[rows], labels=None if self.labels is None else self.labels[rows])

    def to(self, device: torch.device) -> ImageSet:
        """The same set on another device."""
        labels = None if self.labels is None else self.labels.to(device)
        return replace(self, images=self.images.to(device), labels=labels)


def check_images(images: Tensor) -> None:
    """Raise DataError unless `images` is uint8 of shape (n, h, w, 1 or 3) with n, h and w above zero."""
    if not isinstance(images, Tensor):
        raise DataError(f"Images must be a torch.Tensor, but came as {type(images).__name__}. Use torch.from_numpy.")
    if images.dtype != torch.uint8:
        came = str(images.dtype).removeprefix("torch.")
        span = f" between {images.min():g} and {images.max():g}" if images.numel() and not images.is_complex() else ""
        raise DataError(
            f"Images must be uint8 (0..255), but came as {came}{span}. Scale finite values to 0..255, round them, and "
            "convert them with .to(torch.uint8)."
        )
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise DataError(f"Images must have the shape (n, height, width, 1 or 3), but came as {tuple(images.shape)}.")
    if 0 in images.shape:
        raise DataError(f"An image set must not be empty, but its shape is {tuple(images.shape)}.")


def check_labels(labels: Tensor, num_images: int, num_classes: int) -> None:
    """Raise DataError unless `labels` holds one int64 class index in [0, num_classes) for each image."""
    if not isinstance(labels, Tensor):
        raise DataError(f"Labels must be a torch.Tensor, but came as {type(labels).__name__}. Use torch.from_numpy.")
    if labels.dtype != torch.int64:
        came = str(labels.dtype).removeprefix("torch.")
        raise DataError(f"Labels must be int64, but came as {came}. Give class indices, with .to(torch.int64).")
    if labels.shape != (num_images,):
        raise DataError(f"Expected {num_images} labels, one for each image, but their shape is {tuple(labels.shape)}.")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise DataError(f"Labels must lie in 0..{num_classes - 1} ({num_classes} classes), but span {low}..{high}.")


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceBatch:
    """Augmented source images with their labels and their rows in the source training set.

    Where several processes share a run, each has the `images` of its own share alone, here and in the other batches.
    """

    rows: Int64[Tensor, " n"]
    images: Float[Tensor, "own c h w"]
    labels: Int64[Tensor, " n"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TargetBatch:
    """Target images, augmented and clean, with their rows in the target training set. No labels, by construction."""

    rows: Int64[Tensor, " m"]
    images: Float[Tensor, "own c h w"]
    clean: Float[Tensor, "own c h w"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledTargetBatch:
    """Target images with labels: the separate stream of few-shot, supervised and oracle experiments alone."""

    rows: Int64[Tensor, " l"]
    images: Float[Tensor, "own c h w"]
    labels: Int64[Tensor, " l"]


class Encoded(NamedTuple):
    """What the network says of a batch: unit embeddings z, and class logits.

    A named tuple, since Fabric walks through what a network returns and refuses frozen dataclasses.
    """

    z: Float[Tensor, "r d"]
    logits: Float[Tensor, "r k"]

    def cut(self, sizes: Sequence[int]) -> tuple[Encoded, ...]:
        """The batch cut into consecutive parts of the given sizes."""
        parts = zip(self.z.split(sizes), self.logits.split(sizes), strict=True)
        return tuple(Encoded(z=z, logits=logits) for z, logits in parts)


@dataclass(frozen=True, kw_only=True, eq=False)
class Bank:
    """Stored embeddings of part or all of one domain's training set, by the EMA teacher."""

    rows: Int64[Tensor, " b"]
    """Rows of the training set that the embeddings belong to."""
    z: Float[Tensor, "b d"]
    logits: Float[Tensor, "b k"]
    labels: Int64[Tensor, " b"] | None
    """Source labels; None for the target."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Matches:
    """Which source items stand for which target items. Where `keep` is false, the rest of the row is ignored."""

    source_index: Int64[Tensor, "m a"]
    """Rows of the source training set: a anchors for each target item, the best first."""
    label: Int64[Tensor, " m"]
    confidence: Float[Tensor, " m"]
    """In [0, 1]; its meaning is the strategy's, and its docstring tells it."""
    keep: Bool[Tensor, " m"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Triplets:
    """Indices of chosen triplets: `anchor` into the rows of a `Pairs`, `positive` and `negative` into its columns."""

    anchor: Int64[Tensor, " t"]
    positive: Int64[Tensor, " t"]
    negative: Int64[Tensor, " t"]

    def __len__(self) -> int:
        return len(self.anchor)


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Rows of one kind: embeddings, their (true or matched) labels, and which of them take part."""

    z: Float[Tensor, "r d"]
    """Embeddings, of unit length where a distance of the sphere is to be taken."""
    labels: Int64[Tensor, " r"]
    keep: Bool[Tensor, " r"] | None = None
    """Rows that are false are neither anchors, positives nor negatives. None keeps all."""

    def __len__(self) -> int:
        return len(self.z)

    def kept(self) -> Bool[Tensor, " r"]:
        """Which rows take part, as a mask."""
        return torch.ones_like(self.labels, dtype=torch.bool) if self.keep is None else self.keep


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Anchor rows against other items: how far apart, and who is a positive or a negative for whom.

    Built once per step; every metric loss of the step shares it. A dropped item is in neither mask.
    """

    rows: Group
    """The anchors."""
    columns: Group
    """Those that can be positives or negatives."""
    row_items: Int64[Tensor, " a"]
    """Which item each row is; a row and a column of the same number are one and the same vector."""
    column_items: Int64[Tensor, " b"]
    sq_chord: Float[Tensor, "a b"]
    """Squared chords, with their gradient."""
    positive: Bool[Tensor, "a b"]
    negative: Bool[Tensor, "a b"]
