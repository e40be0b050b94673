"""Framing: how images of any size become squares of the size that the networks take.

The choice matters across domains. An SVHN digit fills its 32x32 frame while an MNIST digit fills 20 of 28 pixels; the
framing decides whether the two come to the same scale.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from domainmetric.data.room import check_memory
from domainmetric.errors import ConfigError, DataError

NUMBERS = 2**23
"""Most numbers of the images that are framed at once: a float copy of them takes 32 MiB. A larger image goes alone."""


@dataclass(frozen=True, kw_only=True)
class Framing(ABC):
    """How images are brought to one square size."""

    @abstractmethod
    def apply(self, images: UInt8[Tensor, "n h w c"], size: int) -> UInt8[Tensor, "n {size} {size} c"]:
        """The images as squares of `size` pixels. Where nothing is to be done, the given tensor itself, not a copy.

        Raises DataError if images of this size cannot be framed so.
        """


@dataclass(frozen=True, kw_only=True)
class Pad(Framing):
    """Zeros around the image, which stays in the center as it is. Images larger than the size are refused."""

    def apply(self, images: UInt8[Tensor, "n h w c"], size: int) -> UInt8[Tensor, "n {size} {size} c"]:
        """See Framing.apply."""
        n, height, width, channels = images.shape
        if max(height, width) > size:
            raise DataError(
                f"Pad() cannot bring images of {height}x{width} to {size}x{size}: they are larger. "
                f"Use framing=Resize() or a larger image size."
            )
        if (height, width) == (size, size):
            return images
        top, left = (size - height) // 2, (size - width) // 2
        _check_room(images, size)
        framed = torch.zeros((n, size, size, channels), dtype=torch.uint8)
        framed[:, top : top + height, left : left + width] = images
        return framed


@dataclass(frozen=True, kw_only=True)
class CenterCrop(Framing):
    """The central square of the image, enlarged or reduced to the size."""

    side: int
    """Side of the square cut out, in pixels of the original image."""

    def __post_init__(self) -> None:
        if self.side < 1:
            raise ConfigError(f"CenterCrop's side must be at least 1 pixel, but is {self.side}.")

    def apply(self, images: UInt8[Tensor, "n h w c"], size: int) -> UInt8[Tensor, "n {size} {size} c"]:
        """See Framing.apply."""
        height, width = images.shape[1:3]
        if self.side > min(height, width):
            raise DataError(
                f"CenterCrop(side={self.side}) cannot be cut from images of {height}x{width}. "
                f"Use a side of at most {min(height, width)}, or framing=Pad()."
            )
        return _central(images, self.side, size)


@dataclass(frozen=True, kw_only=True)
class CentralSquare(Framing):
    """The largest square in the middle of the image, resized to the size: photographs keep their aspect ratio."""

    def apply(self, images: UInt8[Tensor, "n h w c"], size: int) -> UInt8[Tensor, "n {size} {size} c"]:
        """See Framing.apply."""
        return _central(images, min(images.shape[1:3]), size)


@dataclass(frozen=True, kw_only=True)
class Resize(Framing):
    """The whole image, resized to the size (its aspect ratio is not kept)."""

    def apply(self, images: UInt8[Tensor, "n h w c"], size: int) -> UInt8[Tensor, "n {size} {size} c"]:
        """See Framing.apply."""
        return _resize(images, size)


def _central(images: UInt8[Tensor, "n h w c"], side: int, size: int) -> UInt8[Tensor, "n {size} {size} c"]:
    """The square of `side` pixels in the middle, resized."""
    height, width = images.shape[1:3]
    top, left = (height - side) // 2, (width - side) // 2
    return _resize(images[:, top : top + side, left : left + side], size)


def _resize(images: UInt8[Tensor, "n h w c"], size: int) -> UInt8[Tensor, "n {size} {size} c"]:
    """Antialiased bilinear, by chunks; in float32, because uint8 kernels round differently from machine to machine."""
    n, height, width, channels = images.shape
    if (height, width) == (size, size):
        return images
    _check_room(images, size)
    framed = torch.empty((n, size, size, channels), dtype=torch.uint8)
    several = at_once(height, width, channels)
    for start in range(0, n, several):
        chunk = images[start : start + several].permute(0, 3, 1, 2).float()
        resized = F.interpolate(chunk, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
        framed[start : start + several] = resized.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return framed


def at_once(height: int, width: int, channels: int) -> int:
    """How many images of this shape are framed at once, so that the memory does not grow with their size."""
    return max(1, NUMBERS // (height * width * channels))


def _check_room(images: UInt8[Tensor, "n h w c"], size: int) -> None:
    n, *_, channels = images.shape
    check_memory(n * size * size * channels, f"{n:,} images of {size}x{size} pixels", "Use a smaller image_size.")
