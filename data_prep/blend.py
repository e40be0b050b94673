"""MNIST-M made anew, as Ganin et al. 2016 describe it: each digit of MNIST inverts a patch of a color photograph.

The authors took the photographs of BSDS500 (Arbelaez et al. 2011). Which patch a digit gets follows from the seed and
from its place in MNIST alone: neither from the order in which photographs are read, nor from who reads them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from domainmetric.data.domain import SPLITS, Split
from domainmetric.data.pictures import listed, read, to_channels
from domainmetric.data.store import content_hashes, read_split
from domainmetric.errors import DataError
from domainmetric.randomness import generator
from domainmetric.types import ImageSet

METHOD = "|patch - digit| in each channel (Ganin et al. 2016)"


@dataclass(frozen=True, kw_only=True)
class Photographs:
    """What digits are blended with."""

    folder: Path
    """Photographs, in any image format, at any depth."""
    seed: int = 0
    """Draws a photograph and a place in it for each digit."""


def make_mnistm(root: Path, photographs: Photographs) -> tuple[dict[Split, ImageSet], dict[str, Any]]:
    """Both splits, from the prepared MNIST in `root`, and how they were made. Photographs are read one at a time.

    Raises DataNotPrepared where MNIST is not prepared, DataError for a photograph that cannot be read or is too small.
    """
    digits = {split: read_split(root, "mnist", split) for split in SPLITS}
    files = [Path(str(file)) for file in listed(photographs.folder)]
    blended = {split: torch.empty((*found.images.shape[:3], 3), dtype=torch.uint8) for split, found in digits.items()}
    draws = {split: generator("cpu", photographs.seed, "mnistm", split) for split in SPLITS}
    chosen = {split: torch.randint(len(files), (len(digits[split]),), generator=draws[split]) for split in SPLITS}
    places = {split: torch.rand(len(digits[split]), 2, generator=draws[split], dtype=torch.float64) for split in SPLITS}
    for number, file in enumerate(files):
        photograph = to_channels(read(file), 3)
        for split in SPLITS:
            rows = (chosen[split] == number).nonzero().squeeze(1)
            ink = digits[split].images[rows]
            ground = patches(photograph, places[split][rows], side=ink.shape[1], name=str(file))
            blended[split][rows] = (ground.short() - ink.short()).abs().to(torch.uint8)
    made = {
        split: ImageSet(images=blended[split], labels=found.labels, classes=found.classes)
        for split, found in digits.items()
    }
    return made, {
        "method": METHOD,
        "seed": photographs.seed,
        "mnist": content_hashes(root, "mnist"),
        "photographs": {str(file.relative_to(photographs.folder)): _sha256(file) for file in files},
    }


def patches(
    photograph: UInt8[Tensor, "h w c"], places: Float[Tensor, "n 2"], *, side: int, name: str
) -> UInt8[Tensor, "n {side} {side} c"]:
    """Squares cut from a photograph at `places`, shares in [0, 1) of the way down and to the right."""
    height, width = photograph.shape[:2]
    if min(height, width) < side:
        raise DataError(
            f"{name} has {height}x{width} pixels, but a patch needs {side}x{side}. Take it out of the folder."
        )
    top, left = (places * torch.tensor([height - side + 1, width - side + 1])).long().unbind(1)
    along = torch.arange(side)
    return photograph[(top[:, None] + along)[:, :, None], (left[:, None] + along)[:, None]]


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
