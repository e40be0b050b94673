"""Domains of one's own: images wherever they lie, brought to one size once and kept beside the prepared ones.

The first run that names such a domain converts it, with a progress bar and in bounded memory; later ones read the
store, as long as neither the images nor the settings have changed.
"""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from domainmetric.data.conversion import described, piped
from domainmetric.data.domain import SPLITS, Domain, Split
from domainmetric.data.framing import Framing, Resize
from domainmetric.data.looked_once import up_to_date
from domainmetric.data.pictures import Picture, batches
from domainmetric.data.store import Stream, array_file, content_hashes, read_manifest, read_split, write_streams
from domainmetric.data.view_bank import Pipeline
from domainmetric.errors import ConfigError, DataError, DataNotPrepared
from domainmetric.types import ImageSet

_VERSION = 1  # of the conversion: raise it when the same images come to be stored otherwise


@dataclass(frozen=True, kw_only=True, eq=False)
class Items:
    """The images of one split, not yet read."""

    pictures: Sequence[Picture] | NDArray[np.uint8] | Tensor
    labels: Int64[NDArray[np.int64], " n"] | None


@dataclass(frozen=True, kw_only=True)
class Converted(Domain, ABC):
    """Images of a user's own; a member says where they lie."""

    channels: Literal[1, 3] = 3
    """1 stores grey, 3 color; images of the other kind are converted."""
    framing: Framing = field(default_factory=Resize)
    """How an image of any shape comes to the size of the networks."""
    pipeline: Pipeline | None = None
    """An albumentations pipeline through which each image goes before it is framed, once, as it is stored. An edit of
    the file in which its class stands, or that of a framing of yours, converts the images anew."""

    @abstractmethod
    def items(self) -> dict[Split, Items]:
        """Both splits. Raises DataError where there is nothing, or something that is not as it should be."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A text that is another one when the images have changed, and quickly found."""

    def load(self, split: Split, *, root: Path, size: int) -> ImageSet:
        """One split, converted first where that has not been done. Raises DataError, naming an image that is none."""
        name = self.convert(root, size)
        try:
            return read_split(root, name, split)
        except DataError as error:
            raise DataError(
                f"The images of '{self.name}' as they were converted to {root / name} are damaged. Remove that folder, "
                "and the next run converts them anew."
            ) from error

    def array(self, split: Split, *, root: Path, size: int) -> Path | None:
        return array_file(root, self.convert(root, size), split)

    def frame(self, images: UInt8[Tensor, "n h w c"], size: int) -> UInt8[Tensor, "n {size} {size} c"]:
        """Images from elsewhere, as its own are converted."""
        if self.pipeline is None:
            return self.framing.apply(images, size)
        return torch.cat([self.framing.apply(piped(self.pipeline, image)[None], size) for image in images])

    def hashes(self, root: Path, *, size: int) -> dict[str, str]:
        """Array name -> sha256, from the store's manifest; the images are converted first where that is needed."""
        return content_hashes(root, self.convert(root, size))

    def convert(self, root: Path, size: int) -> str:
        """See to it that `root` has a store of these images as they are now. Returns its name."""
        name, known = self.store_name(size), up_to_date()
        if (place := (root / name).absolute()) not in known:
            self.bring_up_to_date(root, name, size)
            known.add(place)
        return name

    def bring_up_to_date(self, root: Path, name: str, size: int) -> None:
        """Convert the images unless the store is one of these images as they are now."""
        made = {
            "images": self.fingerprint(),
            "conversion": described(self.framing, self.channels, self.pipeline),
        }
        with suppress(DataNotPrepared, DataError):  # no store, or a damaged one, is made anew
            if read_manifest(root, name).made == made:
                return
        items = self.items()
        with bar() as progress:
            number = sum(len(items[split].pictures) for split in SPLITS)
            task = progress.add_task(f"converting the images of '{self.name}'", total=number)

            def stream(split: Split) -> Stream:
                return self._stream(items[split], size, lambda done: progress.advance(task, done))

            write_streams(root, name, {s: stream(s) for s in SPLITS}, classes=self.classes or (), made=made)

    def store_name(self, size: int) -> str:
        """The folder of the store: that of another size, framing or origin is another one."""
        spec = json.dumps([_VERSION, size, self.origin(), self.channels, repr(self.framing), repr(self.pipeline)])
        return f"{self.name}-{hashlib.sha256(spec.encode()).hexdigest()[:8]}"

    @abstractmethod
    def origin(self) -> str:
        """What tells one such domain from another of the same name."""

    def _stream(self, items: Items, size: int, advance: Callable[[int], None]) -> Stream:
        def counted() -> Iterator[Tensor]:
            for batch in batches(items.pictures, channels=self.channels, frame=lambda images: self.frame(images, size)):
                yield batch
                advance(len(batch))

        return Stream(shape=(len(items.pictures), size, size, self.channels), labels=items.labels, batches=counted())


def bar() -> Progress:
    """Progress on standard error, gone when it is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def split_by_name(names: Sequence[str], test_share: float) -> NDArray[np.bool_]:
    """Which items go to the test split: each by a hash of its name, so that a new item moves no other.

    Raises DataError where a split would be empty.
    """
    order = [int.from_bytes(hashlib.blake2b(as_bytes(name), digest_size=8).digest(), "big") for name in names]
    test = np.array(order, dtype=np.float64) < test_share * 2.0**64
    if not 0 < test.sum() < len(names):
        raise DataError(
            f"Of {len(names)} images a share of {test_share} cannot be held out for the test split. Add images, choose "
            "another test_share, or give the splits apart."
        )
    return test


def as_bytes(text: str) -> bytes:
    """Text in UTF-8; parts of a file's name that are none, as old archives have them, by the bytes that they are."""
    return text.encode(errors="surrogateescape")


def stamp(stat: os.stat_result) -> str:
    """What changes when a file does."""
    return f"{stat.st_size}\0{stat.st_mtime_ns}"


def check_share(value: float, what: str) -> None:
    """Raise ConfigError unless `value` is a share that leaves something on both sides."""
    if not 0 < value < 1:
        raise ConfigError(f"{what} must lie strictly between 0 and 1, but is {value}.")


def slug(text: str) -> str:
    """A name as a lower-case word that can stand in a folder's name."""
    return "".join(letter if letter.isalnum() else "_" for letter in text.lower()).strip("_") or "images"


def divided(
    pictures: Sequence[Picture], labels: Int64[NDArray[np.int64], " n"] | None, test: NDArray[np.bool_], what: str
) -> dict[Split, Items]:
    """The items in their splits. Raises DataError where a split has no image."""
    rows: dict[Split, NDArray[np.int64]] = {"train": (~test).nonzero()[0], "test": test.nonzero()[0]}
    items = {
        split: Items(pictures=[pictures[row] for row in chosen], labels=None if labels is None else labels[chosen])
        for split, chosen in rows.items()
    }
    return checked_splits(items, what)


def checked_splits(items: dict[Split, Items], what: str) -> dict[Split, Items]:
    """Raise DataError where a split has no image."""
    for split in SPLITS:
        if split not in items or not len(items[split].pictures):
            raise DataError(f"{what} has no images in its {split} split.")
    return items
