"""EMNIST's digits (Cohen et al. 2017), read inside the publisher's one archive: nothing is unpacked to the disk."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.formats import STREAM_ERRORS, idx_in, image_set, named, unreadable
from domainmetric.data.domain import SPLITS, Split
from domainmetric.errors import DataError
from domainmetric.types import ImageSet

ARCHIVE = "gzip.zip"
"""The publisher's file. It holds six splittings of EMNIST; here that of the digits is read, four members of it."""
EXPECTED = "a zip archive with EMNIST's digits in it"
MAX_DIRECTORY = 2**20
"""Bytes of the list of members; the official one names a few dozen."""


def read_emnist(paths: Mapping[str, Path]) -> dict[Split, ImageSet]:
    """EMNIST's digits from `gzip.zip`, as upright as MNIST's. Raises DataError."""
    path = paths[ARCHIVE]
    try:
        with _Bounded(path) as file, zipfile.ZipFile(file) as archive:
            return {split: _split(archive, path, split) for split in SPLITS}
    except DataError:
        raise
    # RuntimeError: a member is encrypted, or packed in a way that zipfile does not know
    except (*STREAM_ERRORS, zipfile.BadZipFile, RuntimeError, ValueError, OverflowError) as error:
        unreadable(path, EXPECTED, named(error), error)


class _Bounded(io.FileIO):
    """A file of which little is read at once: ZipFile reads the list of members whole, however long it says it is."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY:
            raise OSError(f"{size:,} bytes of it, such as its list of members, are above {MAX_DIRECTORY:,}")
        return super().read(size) or b""


def _split(archive: zipfile.ZipFile, path: Path, split: Split) -> ImageSet:
    images = _member(archive, path, f"emnist-digits-{split}-images-idx3-ubyte.gz", (28, 28))
    labels = f"emnist-digits-{split}-labels-idx1-ubyte.gz"
    return image_set(
        np.ascontiguousarray(images.transpose(0, 2, 1))[..., None],  # the file writes images column by column
        _member(archive, path, labels, ()).astype(np.int64),
        path / labels,
    )


def _member(archive: zipfile.ZipFile, path: Path, name: str, item_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    try:
        info = archive.getinfo(f"gzip/{name}")
    except KeyError as error:
        raise DataError(f"{path} should hold gzip/{name}, but does not. Fetch the file again.") from error
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unpack without a bound
        unreadable(path, EXPECTED, f"{name} is packed in the unusual way {info.compress_type}")
    with archive.open(info) as packed, gzip.open(packed) as stream:
        return idx_in(stream, path / name, item_shape)
