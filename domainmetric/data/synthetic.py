"""Street digits rendered on the spot: a source domain that needs no download.

Each image imitates what makes street numbers hard: color, several fonts, contrast of either sign, uneven light,
neighboring digits that are cut off, slant, blur and noise. The images follow from the seed alone: they come by blocks,
and each block has a generator of its own, so that asking for more images never changes the earlier ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from domainmetric.data.digits import DIGIT_CLASSES
from domainmetric.data.domain import SPLITS, Domain, Split, spec_hash
from domainmetric.data.room import check_memory
from domainmetric.errors import ConfigError
from domainmetric.types import ImageSet

_VERSION = 1  # of the generator: raise it when the same seed comes to mean other images
_BLOCK = 250  # images of one generator; a multiple of ten, so that each block holds every class equally often
_CELL, _DIGIT = 64, 48  # pixels: side of a glyph's cell, height of the digit in it
_LUMA = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
_FONTS = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSans-BoldOblique.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "DejaVuSerif-BoldItalic.ttf",
    "STIXGeneral.ttf",
    "STIXGeneralBol.ttf",
    "STIXGeneralBolIta.ttf",
    "cmb10.ttf",
    "cmss10.ttf",
    "cmtt10.ttf",
)  # they come with matplotlib; the monospaced DejaVu is left out, because its 0 has a dot in it


@dataclass(frozen=True, kw_only=True)
class StreetDigits(Domain):
    """Synthetic street numbers in color, ten classes, rendered at load."""

    num_train: int = 6000
    """Training images."""
    num_test: int = 1000
    """Test images."""
    seed: int = 0
    """The same seed renders the same images."""

    def __post_init__(self) -> None:
        if min(self.num_train, self.num_test) < 1 or self.seed < 0:
            raise ConfigError(
                f"StreetDigits needs num_train and num_test of at least 1 and a seed of at least 0, but got "
                f"num_train={self.num_train}, num_test={self.num_test}, seed={self.seed}."
            )

    @property
    def name(self) -> str:
        """street_digits."""
        return "street_digits"

    @property
    def channels(self) -> int:
        """3."""
        return 3

    @property
    def classes(self) -> tuple[str, ...]:
        """The ten digits; label i is digit i."""
        return DIGIT_CLASSES

    def load(self, split: Split, *, root: Path, size: int) -> ImageSet:
        """Render one split at size x size; `root` is not read."""
        total = self.num_train if split == "train" else self.num_test
        check_memory(
            2 * 3 * total * size**2,
            f"{total:,} street digits of {size}x{size} pixels",
            "Ask for fewer, or smaller ones.",
        )
        blocks = []
        for block in range(math.ceil(total / _BLOCK)):
            rng = np.random.default_rng(np.random.SeedSequence((self.seed, SPLITS.index(split), block)))
            blocks.append(_render_block(rng, size))
        images, labels = (torch.cat(parts)[:total] for parts in zip(*blocks, strict=True))
        return ImageSet(images=images, labels=labels, classes=self.classes)

    def hashes(self, root: Path, *, size: int) -> dict[str, str]:
        """A hash over the spec; the images follow from it."""
        return {"spec": spec_hash(self, version=_VERSION)}


def _render_block(
    rng: np.random.Generator, size: int
) -> tuple[UInt8[Tensor, "b {size} {size} 3"], Int64[Tensor, " b"]]:
    """One block of images and their labels."""
    labels = rng.permutation(np.arange(_BLOCK) % 10)
    mask = _number_masks(rng, labels, 2 * size)  # twice as fine, for smooth edges
    ground, ink = _colors(rng)
    image = _uneven(rng, ground, 2 * size) * (1 - mask) + _uneven(rng, ink, 2 * size) * mask
    image = _blur(rng, F.avg_pool2d(image, 2))
    sigma = _uniform(rng, 0.0, 0.08)
    image = image + sigma * torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
    pixels = image.clamp(0, 1).mul(255).round_().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous(), torch.from_numpy(labels)


def _number_masks(rng: np.random.Generator, labels: NDArray[Any], side: int) -> Float[Tensor, "b 1 {side} {side}"]:
    """Where the ink is, in 0..1: the digit near the center, and neighbors of the same font cut off by the frame."""
    glyphs, widths = _glyphs()
    font = rng.integers(len(_FONTS), size=_BLOCK)
    grid = _glyph_grid(rng, side)
    mask = F.grid_sample(glyphs[font, labels], grid, align_corners=False)
    for direction in (-1, 1):
        neighbor = rng.integers(10, size=_BLOCK)
        gap = rng.uniform(2, 14, size=_BLOCK)  # pixels of the cell
        offset = direction * ((widths[font, labels] + widths[font, neighbor]) / 2 + gap) / (_CELL / 2)
        shifted = grid.clone()
        shifted[..., 0] -= torch.from_numpy(offset).float().view(-1, 1, 1)
        present = torch.from_numpy(rng.random(_BLOCK) < 0.7).float().view(-1, 1, 1, 1)
        mask = torch.maximum(mask, present * F.grid_sample(glyphs[font, neighbor], shifted, align_corners=False))
    return mask


def _glyph_grid(rng: np.random.Generator, side: int) -> Float[Tensor, "b {side} {side} 2"]:
    """For each pixel of the image, where in the glyph's cell it lies; size, aspect, slant, turn and position vary."""
    height = rng.uniform(0.55, 0.95, _BLOCK)  # of the digit, as a part of the frame
    stretch = height / (_DIGIT / _CELL)
    aspect = rng.uniform(0.8, 1.25, _BLOCK)
    angle = rng.normal(0, math.radians(7), _BLOCK)
    shear = rng.normal(0, 0.12, _BLOCK)
    cos, sin = np.cos(angle), np.sin(angle)
    inverse = np.stack(
        [
            np.stack([(cos + shear * -sin) / (stretch * aspect), (sin + shear * cos) / (stretch * aspect)], axis=1),
            np.stack([-sin / stretch, cos / stretch], axis=1),
        ],
        axis=1,
    )
    shift = rng.uniform(-0.12, 0.12, (_BLOCK, 2, 1))
    theta = np.concatenate([inverse, -inverse @ shift], axis=2)
    return F.affine_grid(torch.from_numpy(theta).float(), [_BLOCK, 1, side, side], align_corners=False)


def _colors(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Colors (b 3 1 1) of ground and ink, whose brightness differs by at least 0.25; either may be the lighter one."""
    contrast = _uniform(rng, 0.25, 0.75)
    darker = _uniform(rng, 0.05, 0.95) * (1 - contrast)
    swap = torch.from_numpy(rng.random(_BLOCK) < 0.5).view(-1, 1, 1, 1)
    ground = torch.where(swap, darker + contrast, darker)
    ink = torch.where(swap, darker, darker + contrast)
    return _tinted(rng, ground), _tinted(rng, ink)


def _tinted(rng: np.random.Generator, brightness: Tensor) -> Tensor:
    """A random color of the given brightness."""
    tint = torch.from_numpy(rng.standard_normal((_BLOCK, 3, 1, 1), dtype=np.float32))
    tint = tint - (tint * _LUMA).sum(1, keepdim=True)
    room = torch.minimum(brightness, 1 - brightness) / tint.abs().amax(1, keepdim=True)
    return brightness + tint * room * _uniform(rng, 0.0, 0.6)


def _uneven(rng: np.random.Generator, color: Tensor, side: int) -> Float[Tensor, "b 3 {side} {side}"]:
    """The color over the whole frame, with a gradient of light and coarse texture."""
    corners = torch.from_numpy(rng.standard_normal((_BLOCK, 1, 2, 2), dtype=np.float32)) * 0.06
    coarse = torch.from_numpy(rng.standard_normal((_BLOCK, 3, 6, 6), dtype=np.float32)) * _uniform(rng, 0.0, 0.06)
    light = F.interpolate(corners, size=(side, side), mode="bilinear", align_corners=True)
    return color + light + F.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=True)


def _blur(rng: np.random.Generator, image: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b 3 s s"]:
    """Each image blurred by its own amount, from none to about 1.5 pixels: a blend with its blurred self."""
    taps = torch.exp(-torch.arange(-4.0, 5.0).square() / (2 * 1.5**2))
    taps = (taps / taps.sum()).repeat(3, 1)
    padded = F.pad(image, (4, 4, 4, 4), mode="replicate")
    blurred = F.conv2d(F.conv2d(padded, taps.view(3, 1, 1, 9), groups=3), taps.view(3, 1, 9, 1), groups=3)
    return torch.lerp(image, blurred, _uniform(rng, 0.0, 1.0))


def _uniform(rng: np.random.Generator, low: float, high: float) -> Float[Tensor, "b 1 1 1"]:
    return torch.from_numpy(rng.uniform(low, high, _BLOCK)).float().view(-1, 1, 1, 1)


@cache
def _glyphs() -> tuple[Float[Tensor, "fonts 10 1 cell cell"], NDArray[Any]]:
    """Masks in 0..1 of every digit in every font, all of one height, and their widths in pixels."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    masks = np.zeros((len(_FONTS), 10, 1, _CELL, _CELL), dtype=np.float32)
    widths = np.zeros((len(_FONTS), 10))
    for row, file in enumerate(_FONTS):
        _, top, _, bottom = ImageFont.truetype(folder / file, 100).getbbox("0123456789")
        font = ImageFont.truetype(folder / file, 100 * _DIGIT / (bottom - top))
        _, top, _, bottom = font.getbbox("0123456789")
        for digit in range(10):
            left, _, right, _ = font.getbbox(str(digit))
            cell = Image.new("L", (_CELL, _CELL))
            corner = ((_CELL - right - left) / 2, (_CELL - bottom - top) / 2)
            ImageDraw.Draw(cell).text(corner, str(digit), fill=255, font=font)
            masks[row, digit, 0] = np.asarray(cell, dtype=np.float32) / 255
            widths[row, digit] = right - left
    return torch.from_numpy(masks), widths
