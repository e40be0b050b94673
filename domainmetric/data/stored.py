"""Domains whose images `python -m data_prep` has put into a store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from domainmetric.data.domain import Domain, Split
from domainmetric.data.framing import Framing
from domainmetric.data.store import array_file, content_hashes, read_split
from domainmetric.errors import DataError
from domainmetric.types import ImageSet


@dataclass(frozen=True, kw_only=True)
class Stored(Domain, ABC):
    """Images in a prepared store; a member adds its name, its channels, its classes and its framing."""

    framing: Framing
    """How the images come to the size of the networks."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Class names; stores are labelled."""

    def load(self, split: Split, *, root: Path, size: int) -> ImageSet:
        """One split, framed to size x size. Raises DataNotPrepared or DataError, see Domain.load."""
        stored = read_split(root, self.name, split)
        found = (stored.images.shape[-1], stored.classes)
        if found != (self.channels, self.classes):
            raise DataError(
                f"The store of '{self.name}' in {root} should hold {self.channels}-channel images of the classes "
                f"{self.classes}, but holds {found[0]}-channel images of {found[1]}. "
                f"Prepare it again with: python -m data_prep {self.name} --root {root} --force"
            )
        return ImageSet(images=self.frame(stored.images, size), labels=stored.labels, classes=stored.classes)

    def array(self, split: Split, *, root: Path, size: int) -> Path | None:
        first = read_split(root, self.name, split).images[:1]
        return array_file(root, self.name, split) if self.frame(first, size) is first else None

    def frame(self, images: UInt8[Tensor, "n h w c"], size: int) -> UInt8[Tensor, "n {size} {size} c"]:
        return self.framing.apply(images, size)

    def hashes(self, root: Path, *, size: int) -> dict[str, str]:
        """Array name -> sha256, from the store's manifest."""
        return content_hashes(root, self.name)
