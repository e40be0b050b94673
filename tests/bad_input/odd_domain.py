"""A domain of a user's own making, with one mistake in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from domainmetric.data.domain import Domain, Split, spec_hash
from domainmetric.types import ImageSet

COUNT, SIDE = 40, 16


@dataclass(frozen=True, kw_only=True)
class Odd(Domain):
    """Noise in four classes."""

    mistake: str = "none"
    name_: str = "odd"

    @property
    def name(self) -> str:
        return self.name_

    @property
    def channels(self) -> int:
        return 3

    @property
    def classes(self) -> tuple[str, ...]:
        return {
            "one class": ("bar",),
            "a class named twice": ("bar", "bar", "ring", "slash"),
            "other classes": ("bar", "cross", "ring", "dot"),
            "another order": ("slash", "cross", "ring", "bar"),
        }.get(self.mistake, ("bar", "cross", "ring", "slash"))

    def load(self, split: Split, *, root: Path, size: int) -> Any:
        count = {"two images": 2, "one image of a class": 4, "few images": 12}.get(self.mistake, COUNT)
        draw = torch.Generator().manual_seed(int(split == "test"))
        images = torch.randint(0, 256, (count, SIDE, SIDE, 3), generator=draw, dtype=torch.uint8)
        labels = torch.arange(count) % 4
        change = CHANGES.get(self.mistake)
        if change is None:
            return ImageSet(images=images, labels=labels, classes=self.classes)
        if self.mistake.endswith("in test") and split == "train":
            return ImageSet(images=images, labels=labels, classes=self.classes)
        return change(images, labels, self.classes)

    def hashes(self, root: Path, *, size: int) -> dict[str, str]:
        return {"spec": spec_hash(self, version=1)}


def fails(images: Tensor, labels: Tensor, classes: tuple[str, ...]) -> ImageSet:
    raise KeyError("labels.csv")


def images_as(images: Any, labels: Any, classes: tuple[str, ...]) -> ImageSet:
    return ImageSet(images=images, labels=labels, classes=classes)


def nan(images: Tensor) -> Tensor:
    floats = images / 255
    floats[0, 0, 0, 0] = float("nan")
    return floats


def inf(images: Tensor) -> Tensor:
    floats = images / 255
    floats[0, 0, 0, 0] = float("inf")
    return floats


CHANGES: dict[str, Any] = {
    "floats": lambda x, y, k: images_as(x / 255, y, k),
    "NaN": lambda x, y, k: images_as(nan(x), y, k),
    "infinity": lambda x, y, k: images_as(inf(x), y, k),
    "numpy": lambda x, y, k: images_as(np.asarray(x), y, k),
    "a tuple": lambda x, y, k: (x, y),
    "nothing": lambda x, y, k: None,
    "channels first": lambda x, y, k: images_as(x.permute(0, 3, 1, 2), y, k),
    "four channels": lambda x, y, k: images_as(torch.cat([x, x[..., :1]], 3), y, k),
    "grey": lambda x, y, k: images_as(x[..., :1], y, k),
    "another size": lambda x, y, k: images_as(x[:, :12], y, k),
    "no images": lambda x, y, k: images_as(x[:0], y[:0], k),
    "no images in test": lambda x, y, k: images_as(x[:0], y[:0], k),
    "float labels": lambda x, y, k: images_as(x, y.float(), k),
    "list of labels": lambda x, y, k: images_as(x, y.tolist(), k),
    "negative labels": lambda x, y, k: images_as(x, y - 1, k),
    "labels outside": lambda x, y, k: images_as(x, y + 1, k),
    "labels in part": lambda x, y, k: images_as(x, y[:-1], k),
    "no labels": lambda x, y, k: images_as(x, None, k),
    "no labels in test": lambda x, y, k: images_as(x, None, k),
    "a class without images": lambda x, y, k: images_as(x, y % 3, k),
    "classes in another order": lambda x, y, k: images_as(x, y, k[::-1]),
    "a failure": fails,
}
