"""Photographs on their way into a network: decoded by worker processes, flipped and cropped where the network is.

What a worker makes of a file depends on the file alone. Views are drawn afterwards, for a whole batch and from a
generator that is derived from seed and step: no worker repeats those of another, and their number changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from domainmetric import ConfigError, Resize
from domainmetric.data.augment import to_float
from domainmetric.data.pictures import read, to_channels
from domainmetric.randomness import generator


class Decoded(Dataset[UInt8[Tensor, "s s 3"]]):
    """The photographs in color, resized to squares of one size."""

    def __init__(self, files: tuple[Path, ...], size: int) -> None:
        self.files, self.size = files, size

    def __getitem__(self, row: int) -> UInt8[Tensor, "s s 3"]:
        return Resize().apply(to_channels(read(self.files[row]), 3)[None], self.size)[0].contiguous()

    def __len__(self) -> int:
        return len(self.files)


def load(
    photographs: Decoded, rows: list[list[int]], device: torch.device, workers: int
) -> Iterator[UInt8[Tensor, "b s s 3"]]:
    """The batches of the given rows, on the device, `workers` processes ahead."""
    loader = DataLoader(
        photographs,
        batch_sampler=rows,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        generator=generator("cpu", 0, "workers"),  # of seeds that the workers do not use; else it were the global one
    )
    for images in loader:
        yield images.to(device, non_blocking=True)


@dataclass(frozen=True, kw_only=True)
class FlipAndCrop:
    """A random view: mirrored or not, and cut at random, at full size, from the image within a black frame."""

    pad: int = 10
    """Width of the frame in pixels."""

    def __post_init__(self) -> None:
        if self.pad < 0:
            raise ConfigError(f"FlipAndCrop.pad must not be negative, but is {self.pad}.")

    def __call__(self, images: UInt8[Tensor, "n h w c"], generator: torch.Generator) -> Float[Tensor, "n c h w"]:
        """Views in [0, 1]; `generator` must live on the images' device."""
        n, height, width, _ = images.shape
        draw = {"device": images.device, "generator": generator}
        y, x = torch.randint(2 * self.pad + 1, (2, n, 1), **draw)
        flip = torch.rand(n, 1, **draw) < 0.5
        rows = y + torch.arange(height, device=images.device)
        columns = x + torch.arange(width, device=images.device)
        columns = torch.where(flip, columns.flip(1), columns)
        framed = F.pad(images, (0, 0, self.pad, self.pad, self.pad, self.pad))
        every = torch.arange(n, device=images.device)[:, None, None]
        return to_float(framed[every, rows[:, :, None], columns[:, None, :]])
