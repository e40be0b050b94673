"""A domain with other classes: some left out, renamed, or merged into one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from domainmetric.data.domain import Domain, Split
from domainmetric.errors import ConfigError, DataError, nearest
from domainmetric.types import ImageSet

_VERSION = 1  # of what `load` does: raise it when the same fields come to mean other images


@dataclass(frozen=True, kw_only=True)
class WithClasses(Domain):
    """Another domain with the classes that `names` tells; images of all others are left out of both splits.

    `WithClasses(domain=Cifar(), names={"automobile": "car", "truck": "car", "bird": "bird"})` has two classes. In a
    target the labels are read to make the data, as one who collects it would, and not to train on it.
    """

    domain: Domain
    """The domain whose images these are."""
    names: dict[str, str] = field(hash=False)  # a dict has no hash, and a spec must have one
    """The domain's name of a class -> what it is called here. Several may get one name; the order is that of the first
    of each."""

    def __post_init__(self) -> None:
        there = self.domain.classes
        if there is None:
            raise ConfigError(f"'{self.domain.name}' has no labels, so its classes cannot be chosen.")
        for name in self.names:
            if name not in there:
                raise ConfigError(f"'{self.domain.name}' has no class '{name}'.{nearest(name, there)}")
        if not self.names:
            raise ConfigError("WithClasses.names must name at least one class.")

    @property
    def name(self) -> str:
        """That of the domain: its pictures are the same."""
        return self.domain.name

    @property
    def channels(self) -> int:
        """Those of the domain."""
        return self.domain.channels

    @property
    def classes(self) -> tuple[str, ...]:
        """The new names."""
        return tuple(dict.fromkeys(self.names.values()))

    def load(self, split: Split, *, root: Path, size: int) -> ImageSet:
        """One split. Raises what the domain's own `load` raises, and DataError where nothing is left of it."""
        images = self.domain.load(split, root=root, size=size)
        assert images.labels is not None
        place = torch.tensor([self._place(name) for name in images.classes])[images.labels]
        rows = (place >= 0).nonzero()[:, 0]
        if not len(rows):
            raise DataError(f"The {split} split of '{self.name}' has no image of {', '.join(self.names)}.")
        chosen = images.images if len(rows) == len(images) else images.images[rows]
        return ImageSet(images=chosen, labels=place[rows], classes=self.classes)

    def frame(self, images: UInt8[Tensor, "n h w c"], size: int) -> UInt8[Tensor, "n {size} {size} c"]:
        return self.domain.frame(images, size)

    def hashes(self, root: Path, *, size: int) -> dict[str, str]:
        """Those of the domain, and one of the choice."""
        choice = json.dumps([_VERSION, list(self.names.items())])
        return {**self.domain.hashes(root, size=size), "classes": hashlib.sha256(choice.encode()).hexdigest()}

    def _place(self, name: str) -> int:
        """The new index of a class, or -1 where it is left out."""
        return self.classes.index(self.names[name]) if name in self.names else -1
