"""The images of a run, from the prepared stores, and sheets of thumbnails made of them.

A run records what its data hashed to. Images whose hashes differ are not shown: they would be the wrong ones.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray
from PIL import Image

from domainmetric.data.domain import Split
from domainmetric.data.pair import Pair
from domainmetric.errors import ConfigError, DomainMetricError
from domainmetric.report.study import RunRecord
from domainmetric.serialize import PATH, content_hash, from_json
from domainmetric.types import ImageSet

MAX_CELL = 48
"""Thumbnails have at most this side, in pixels."""
SIDES = ("source", "target")
QUALITY = 80


@dataclass(kw_only=True, eq=False)
class Images:
    """Opens the domains that runs name. `notes` collects, once each, why images could not be shown."""

    data_root: Path | None
    """Where the prepared stores lie; None goes by the run's record, then by $DOMAINMETRIC_DATA, then data/."""
    names: Mapping[str, Any]
    """Classes that a record may name."""
    notes: list[str]

    def __post_init__(self) -> None:
        self._loaded: dict[str, ImageSet | None] = {}

    def load(self, run: RunRecord, side: str, split: Split) -> ImageSet | None:
        """One split of one side of a run's pair, with the run's class indices, or None and a note."""
        key = self.key(run, side, split)
        if key not in self._loaded:
            try:
                self._loaded[key] = self._open(run, side, split)
            except DomainMetricError as error:
                self._loaded[key] = None
                note = f"The images of the {side} are not shown. {error}"
                self.notes += [] if note in self.notes else [note]
        return self._loaded[key]

    @staticmethod
    def key(run: RunRecord, side: str, split: Split) -> str:
        """The same for equal images."""
        spec, hashes = run.experiment.get("data", {}).get(side), run.written.get("data", {}).get(side)
        return f"{side} {split} {content_hash([spec, hashes, run.experiment.get('image_size')])}"

    def root(self, run: RunRecord) -> Path:
        """The folder of the prepared stores."""
        recorded = run.experiment.get("data_root")
        recorded = from_json(recorded, {}) if isinstance(recorded, Mapping) and set(recorded) == {PATH} else None
        return Path(self.data_root or recorded or os.environ.get("DOMAINMETRIC_DATA") or "data")

    def _open(self, run: RunRecord, side: str, split: Split) -> ImageSet:
        pair, root, size = (
            from_json(run.experiment.get("data"), self.names),
            self.root(run),
            run.experiment["image_size"],
        )
        if not isinstance(pair, Pair):
            raise ConfigError("The run's record does not name a pair of domains.")
        domain = pair.source if side == "source" else pair.target
        if dict(run.written.get("data", {}).get(side, {})) != domain.hashes(root, size=size):
            raise ConfigError(
                f"The data of '{domain.name}' in {self.root(run)} is not what the run was made with (its hashes "
                "differ), so the pictures would be the wrong ones. Name the right folder with --data-root."
            )
        images = domain.load(split, root=root, size=size)
        return images if side == "source" else pair.aligned(images)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sheet:
    """Thumbnails side by side in one picture: cell i lies in row i // columns, column i % columns."""

    webp: bytes
    cell: int
    """Side of a cell in pixels."""
    columns: int
    count: int


def sheet(parts: Sequence[UInt8[torch.Tensor, "_n _h _w _c"]]) -> Sheet:
    """All images of all parts on one sheet, in order, grey ones as RGB."""
    side = min(MAX_CELL, max(part.shape[1] for part in parts))
    cells = np.concatenate([thumbnails(part, side) for part in parts])
    columns = max(1, math.ceil(math.sqrt(len(cells))))
    rows = math.ceil(len(cells) / columns)
    full = np.zeros((columns * rows, side, side, 3), np.uint8)
    full[: len(cells)] = cells
    picture = full.reshape(rows, columns, side, side, 3).swapaxes(1, 2).reshape(rows * side, columns * side, 3)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", quality=QUALITY, method=4)
    return Sheet(webp=file.getvalue(), cell=side, columns=columns, count=len(cells))


def thumbnails(images: UInt8[torch.Tensor, "n h w c"], side: int) -> UInt8[np.ndarray, "n s s 3"]:
    """The images as RGB of side x side: as they are, made smaller by averaging, or enlarged."""
    x = images if images.shape[-1] == 3 else images.expand(-1, -1, -1, 3)
    if tuple(x.shape[1:3]) != (side, side):
        resized = torch.nn.functional.interpolate(
            x.permute(0, 3, 1, 2).float(), size=(side, side), mode="bilinear", antialias=True, align_corners=False
        )
        x = resized.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return x.contiguous().numpy()


class Cells:
    """Numbers the images that a sheet is to hold, each once: first all that are wanted, then their numbers."""

    def __init__(self) -> None:
        self._images: dict[str, ImageSet | None] = {}
        self._rows: dict[str, Int64[np.ndarray, " r"]] = {}

    def want(self, key: str, images: ImageSet | None, rows: Int64[np.ndarray, " r"]) -> None:
        """Have these rows of a set, which goes by the name `key`, on the sheet."""
        self._images[key] = images
        self._rows[key] = np.union1d(self._rows.get(key, rows), rows)

    def of(self, key: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers of rows that were wanted."""
        names = list(self._rows)
        offset = sum(len(self._rows[name]) for name in names[: names.index(key)])
        cells: NDArray[np.int64] = offset + np.searchsorted(self._rows[key], rows)
        return cells

    def rows(self) -> dict[str, Int64[np.ndarray, " r"]]:
        """The rows of each set, in the order of their numbers."""
        return self._rows

    def sheet(self) -> Sheet | None:
        """All of them in one picture, or None where a set's images are not at hand."""
        sets = [(self._images[key], rows) for key, rows in self._rows.items()]
        parts = [images.images[torch.from_numpy(rows)] for images, rows in sets if images is not None]
        return sheet(parts) if parts and len(parts) == len(sets) else None
