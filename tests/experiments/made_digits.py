"""Ten classes of generated 32x32 images in the place of real digits: a bright square whose place is the class."""

from __future__ import annotations

from pathlib import Path

import torch

from domainmetric import ImageSet
from domainmetric.data.digits import DIGIT_CLASSES
from domainmetric.data.store import write_store
from domainmetric.randomness import generator


def made_digits(count: int, *, seed: int, channels: int = 3) -> ImageSet:
    """Noise with a square in one of ten places, moved by a few pixels; the classes in turn."""
    rng = generator("cpu", seed, "made digits")
    labels = torch.arange(count) % 10
    pixels = torch.randint(0, 120, (count, 32, 32, channels), generator=rng)
    moved = torch.randint(-1, 2, (count, 2), generator=rng)
    y, x = 3 + 20 * (labels // 5) + moved[:, 0], 2 + 6 * (labels % 5) + moved[:, 1]
    axis = torch.arange(32)
    inside = ((axis - y[:, None]).abs() <= 3)[:, :, None] & ((axis - x[:, None]).abs() <= 3)[:, None, :]
    pixels[inside] += 100
    return ImageSet(images=pixels.to(torch.uint8), labels=labels, classes=DIGIT_CLASSES)


def write_digits(root: Path) -> None:
    """Stores of them under the names of real domains."""
    for name, channels in (("svhn", 3), ("mnist", 1)):
        splits = {
            "train": made_digits(400, seed=0, channels=channels),
            "test": made_digits(120, seed=1, channels=channels),
        }
        write_store(root, name, splits, sources=())
