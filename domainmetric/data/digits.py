"""The three digit domains of the transfer literature: SVHN, MNIST and USPS, read from their prepared stores.

Sources: Netzer et al. 2011 (SVHN), LeCun et al. 1998 (MNIST), Hull 1994 (USPS).
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, field
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from domainmetric.data.domain import Domain, Split
from domainmetric.data.framing import CenterCrop, Framing, Resize
from domainmetric.data.store import content_hashes, read_split
from domainmetric.errors import DataError
from domainmetric.types import ImageSet

DIGIT_CLASSES = tuple("0123456789")


@dataclass(frozen=True, kw_only=True)
class _StoredDigits(Domain, ABC):
    """Digits in a prepared store; a member adds its name, its channels and its framing."""

    framing: Framing

    @property
    def classes(self) -> tuple[str, ...]:
        """The ten digits; label i is digit i."""
        return DIGIT_CLASSES

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

    def frame(self, images: UInt8[Tensor, "n h w c"], size: int) -> UInt8[Tensor, "n {size} {size} c"]:
        return self.framing.apply(images, size)

    def hashes(self, root: Path) -> dict[str, str]:
        """Array name -> sha256, from the store's manifest."""
        return content_hashes(root, self.name)


@dataclass(frozen=True, kw_only=True)
class Svhn(_StoredDigits):
    """Street View House Numbers, cropped digits: 73,257 / 26,032 color images of 32x32, neighbors in view."""

    framing: Framing = field(default_factory=Resize)
    """How the 32x32 images come to the size of the networks."""

    @property
    def name(self) -> str:
        """svhn."""
        return "svhn"

    @property
    def channels(self) -> int:
        """3."""
        return 3


@dataclass(frozen=True, kw_only=True)
class Mnist(_StoredDigits):
    """MNIST, handwritten digits: 60,000 / 10,000 grey images of 28x28.

    An MNIST digit fills 20 of its 28 pixels, an SVHN digit its whole frame. The default framing keeps the central 24x24
    and enlarges it, so that the digits of both domains come to the same scale; `Pad()` gives the zero-padded images
    that many papers use.
    """

    framing: Framing = field(default_factory=lambda: CenterCrop(side=24))
    """How the 28x28 images come to the size of the networks."""

    @property
    def name(self) -> str:
        """mnist."""
        return "mnist"

    @property
    def channels(self) -> int:
        """1."""
        return 1


@dataclass(frozen=True, kw_only=True)
class Usps(_StoredDigits):
    """USPS, digits from envelopes: 7,291 / 2,007 grey images of 16x16, cut close to the digit."""

    framing: Framing = field(default_factory=Resize)
    """How the 16x16 images come to the size of the networks."""

    @property
    def name(self) -> str:
        """usps."""
        return "usps"

    @property
    def channels(self) -> int:
        """1."""
        return 1
