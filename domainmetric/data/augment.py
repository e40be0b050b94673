"""Batched augmentation on the device: every image of a batch gets its own random view, in a few tensor operations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from domainmetric.data.streamed import Ahead, Streamed
from domainmetric.data.views import Rows, Share, Views, ViewStream
from domainmetric.errors import ConfigError
from domainmetric.randomness import generator


def to_float(images: UInt8[Tensor, "n h w c"]) -> Float[Tensor, "n c h w"]:
    """uint8 images as floats in [0, 1], channels first in shape and last in memory."""
    return images.permute(0, 3, 1, 2).float().div_(255)


@dataclass(frozen=True, kw_only=True)
class Augment(Views):
    """A random view of each image: small affine motion, a patch painted over, inverted contrast, grey for color."""

    affine: float = 0.08
    """Standard deviation of each of the six coefficients of the affine map (image half-width = 1)."""
    invert: float = 0.0
    """Probability of 1 - image: contrast both ways, where the target's polarity is not the source's."""
    grey: float = 0.0
    """Probability that an image's channels are replaced by their mean, so that color is not relied on."""
    erase: float = 0.0
    """Side of a square that is painted over, as a share of the image's, so that no one stroke is relied on (Cutout,
    DeVries & Taylor 2017). Its middle lies anywhere; its color is that of a random pixel, mostly background.
    """

    def __post_init__(self) -> None:
        if self.affine < 0:
            raise ConfigError(f"Augment.affine must not be negative, but is {self.affine}.")
        for name in ("invert", "grey", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"Augment.{name} must lie in [0, 1], but is {getattr(self, name)}.")

    def check(self, channels: int) -> None:
        if self.grey and channels == 1:
            raise ConfigError("Augment.grey does nothing to images with one channel. Leave it at 0 for this domain.")

    def open(
        self,
        images: UInt8[Tensor, "n h w c"],
        rows: Rows,
        *,
        seed: int,
        name: str,
        num_steps: int,
        share: Share = slice,
    ) -> ViewStream:
        return DeviceStream(self, images, rows, seed, name, share)

    def __call__(
        self,
        images: UInt8[Tensor, "n h w c"],
        generator: torch.Generator,
        *,
        within: tuple[slice, int] | None = None,
    ) -> Float[Tensor, "n c h w"]:
        """Views in [0, 1] of uint8 images; `generator` must live on the images' device.

        Where the images are part of a batch that others make views of too, `within` tells their places and how many it
        has: numbers are drawn for all of it.
        """
        (place, n), device = within or (slice(len(images)), len(images)), images.device
        x = images.permute(0, 3, 1, 2).float()
        if self.affine:
            theta = torch.randn(n, 2, 3, device=device, generator=generator)[place] * self.affine
            theta[:, 0, 0] += 1
            theta[:, 1, 1] += 1
            x = F.grid_sample(x, affine_grid(theta, x), padding_mode="border", align_corners=False)
        if self.erase:
            draws = torch.rand(4, n, device=device, generator=generator)[:, place]
            x = painted_over(x, self.erase, *draws)
        x = x.contiguous()  # colors are changed plane by plane, several times faster than pixel by pixel
        if self.grey:
            grey = torch.rand(n, 1, 1, 1, device=device, generator=generator)[place] < self.grey
            x.lerp_(x.mean(1, keepdim=True), grey.float())
        if self.invert:
            flip = torch.rand(n, 1, 1, 1, device=device, generator=generator)[place] < self.invert
            x.mul_(torch.where(flip, -1 / 255, 1 / 255)).add_(flip)
        else:
            x.mul_(1 / 255)
        return x.contiguous(memory_format=torch.channels_last)


def affine_grid(theta: Float[Tensor, "n 2 3"], images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w 2"]:
    """What `F.affine_grid` gives, by one product for all images and not one for each: a quarter of its time."""
    n, _, h, w = images.shape
    x, y = ((torch.arange(size, device=theta.device) * 2 + 1) / size - 1 for size in (w, h))
    places = torch.stack([x.expand(h, w), y[:, None].expand(h, w), torch.ones_like(x).expand(h, w)]).flatten(1)
    return (theta.flatten(0, 1) @ places).view(n, 2, h, w).permute(0, 2, 3, 1)


def painted_over(
    images: Float[Tensor, "n c h w"],
    side: float,
    middle_x: Float[Tensor, " n"],
    middle_y: Float[Tensor, " n"],
    pixel_x: Float[Tensor, " n"],
    pixel_y: Float[Tensor, " n"],
) -> Float[Tensor, "n c h w"]:
    """Each image with a square of the color of one of its pixels; `side` and places in [0, 1) are shares of an image.

    At a border the square is cut off.
    """
    n, _, h, w = images.shape
    each = torch.arange(n, device=images.device)
    color = images[each, :, (pixel_y * h).long(), (pixel_x * w).long()]
    across, down = (
        ((torch.arange(size, device=images.device) + 0.5) / size - middle[:, None]).abs() < side / 2
        for size, middle in ((w, middle_x), (h, middle_y))
    )
    return torch.where((down[:, :, None] & across[:, None])[:, None], color[:, :, None, None], images)


class DeviceStream(ViewStream):
    """Views made on the images' device when they are asked for, those of matched anchors too."""

    def __init__(
        self, augment: Augment, images: UInt8[Tensor, "n h w c"], rows: Rows, seed: int, name: str, share: Share
    ) -> None:
        self._augment, self._images, self._rows = augment, images, rows
        self._seed, self._name, self._share = seed, name, share
        self._ahead = Ahead(images) if isinstance(images, Streamed) else None

    def at(self, step: int) -> tuple[Int64[Tensor, " b"], Float[Tensor, "own c h w"]]:
        rows, device = self._rows(step), self._images.device
        place = self._share(len(rows))
        if self._ahead is None:
            rows = rows.to(device, non_blocking=True)
            return rows, self._views(self._images[rows[place]], place, len(rows), "scheduled", step)
        images = self._ahead(rows[place], self._rows(step + 1)[place])
        views = self._views(images, place, len(rows), "scheduled", step)
        return rows.to(device, non_blocking=True), views

    def of(self, rows: Int64[Tensor, " e"], step: int) -> Float[Tensor, "own c h w"]:
        place = self._share(len(rows))
        return self._views(self._images[rows[place]], place, len(rows), "matched", step)

    def close(self) -> None:
        """End the thread that reads ahead, where there is one."""
        if self._ahead is not None:
            self._ahead.close()

    def _views(
        self, images: UInt8[Tensor, "own h w c"], place: slice, count: int, purpose: str, step: int
    ) -> Float[Tensor, "own c h w"]:
        draw = generator(self._images.device, self._seed, self._name, purpose, step)
        return self._augment(images, draw, within=(place, count))
