"""Small pictures of two kinds, in folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

KINDS = ("cat", "dog")


def picture(kind: int, number: int, *, side: int = 12, color: bool = True) -> Image.Image:
    """A light square at the left (cat) or at the right (dog), of a shade that tells the number."""
    pixels = np.full((side, side + 2, 3), 20, np.uint8)
    pixels[:, : side // 2] = pixels[:, : side // 2] + (200 - number if kind == 0 else 0)
    pixels[:, side // 2 :] = pixels[:, side // 2 :] + (200 - number if kind == 1 else 0)
    image = Image.fromarray(pixels)
    return image if color else image.convert("L")


def folder(path: Path, *, count: int = 12, splits: tuple[str, ...] = ("",), color: bool = True) -> Path:
    """A folder of class folders, or one for each split."""
    for split in splits:
        for kind, name in enumerate(KINDS):
            place = path / split / name
            place.mkdir(parents=True)
            for number in range(count):
                picture(kind, number, color=color).save(place / f"{number:03d}.png")
    return path
