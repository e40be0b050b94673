"""The digit domains of the transfer literature, read from their prepared stores.

Sources: Netzer et al. 2011 (SVHN), LeCun et al. 1998 (MNIST), Hull 1994 (USPS), Cohen et al. 2017 (EMNIST), Ganin et
al. 2016 (MNIST-M).
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, field

from domainmetric.data.framing import CenterCrop, Framing, Resize
from domainmetric.data.stored import Stored

DIGIT_CLASSES = tuple("0123456789")


@dataclass(frozen=True, kw_only=True)
class _Digits(Stored, ABC):
    """A member adds its name, its channels and its framing."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The ten digits; label i is digit i."""
        return DIGIT_CLASSES


@dataclass(frozen=True, kw_only=True)
class Svhn(_Digits):
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
class Mnist(_Digits):
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
class Usps(_Digits):
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


@dataclass(frozen=True, kw_only=True)
class Emnist(_Digits):
    """EMNIST's balanced digits, handwritten: 240,000 / 40,000 grey images of 28x28.

    MNIST was taken from the same collection of forms, so that images of the one may be among those of the other. A
    digit fills 24 of its 28 pixels, since the publisher left a border of 2: whole images come to the scale to which
    MNIST's come by default (20 of 24).
    """

    framing: Framing = field(default_factory=Resize)
    """How the 28x28 images come to the size of the networks."""

    @property
    def name(self) -> str:
        """emnist."""
        return "emnist"

    @property
    def channels(self) -> int:
        """1."""
        return 1


@dataclass(frozen=True, kw_only=True)
class MnistM(_Digits):
    """MNIST-M, digits of MNIST that invert patches of photographs: color images.

    Made here they are MNIST's 60,000 / 10,000 of 28x28, digit for digit: beside MNIST as a source, the very same digits
    are in both domains. The authors' file has 59,001 / 9,001 of 32x32. The default framing is that of MNIST, so that
    both come to one scale.
    """

    framing: Framing = field(default_factory=lambda: CenterCrop(side=24))
    """How the images come to the size of the networks."""

    @property
    def name(self) -> str:
        """mnistm."""
        return "mnistm"

    @property
    def channels(self) -> int:
        """3."""
        return 3
