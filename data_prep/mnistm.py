"""MNIST-M as its authors published it (Ganin et al. 2016): one archive of small pictures and two lists of labels.

Layout: `mnist_m/mnist_m_train/*.png`, `mnist_m/mnist_m_train_labels.txt` (lines `name digit`), and the same for `test`.
The authors' own address is gone; ours is that of pytorch-adapt's copy, with its md5.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_prep.formats import STREAM_ERRORS, image_set, named, unreadable
from domainmetric.data.domain import SPLITS, Split
from domainmetric.errors import DataError
from domainmetric.types import ImageSet

ARCHIVE = "mnist_m.tar.gz"
URL = "https://cornell.box.com/shared/static/jado7quprg6hzzdubvwzh9umr75damwi"
MD5 = "859df31c91afe82e80e5012ba928f279"
INSTEAD = " Or have it made of the prepared MNIST and photographs of yours, with --photographs FOLDER."
EXPECTED = "a packed tar archive with mnist_m/mnist_m_train, mnist_m/mnist_m_test and their labels"

MAX_MEMBERS, MAX_PICTURE, MAX_LABELS, MAX_SIDE = 100_000, 2**14, 2**22, 64
"""Members of the archive, bytes of a picture and of a list of labels, pixels of a side. The official archive has some
68,000 members, 32x32 pictures of some 3,000 bytes, and lists of less than a million."""
MAX_HEADER = 2**16
"""Bytes of what stands beside a member, such as a long name; the official archive has none."""
MAX_ARCHIVE = MAX_MEMBERS * 2**12
"""Bytes of the unpacked archive; the official one has some 270 million."""

READ_ERRORS = (
    *(*STREAM_ERRORS, tarfile.TarError, ValueError, OverflowError),
    RecursionError,  # headers of tar that announce one another without end
    *(SyntaxError, Image.DecompressionBombError),  # Pillow's words for a broken picture, and for one of vast size
)

Pictures = dict[str, NDArray[np.uint8]]
_MEMBER = re.compile(r"(?:\./)?mnist_m/mnist_m_(train|test)(?:/(\d+\.png)|_labels\.txt)")
_LINE = re.compile(r"(\d+\.png) ([0-9])")


def read_mnistm(paths: Mapping[str, Path]) -> dict[Split, ImageSet]:
    """Both splits from `mnist_m.tar.gz`, in the order of their lists of labels. Raises DataError."""
    path = paths[ARCHIVE]
    pictures: dict[str, Pictures] = {split: {} for split in SPLITS}
    labels: dict[str, str] = {}
    try:
        for split, name, content in _members(path):
            if name is None:
                labels[split] = content.decode("ascii")
            else:
                pictures[split][name] = _picture(content)
    except DataError:
        raise
    except READ_ERRORS as error:
        unreadable(path, EXPECTED, named(error), error)
    return {split: _joined(path, split, pictures[split], labels.get(split)) for split in SPLITS}


def _members(path: Path) -> Iterator[tuple[str, str | None, bytes]]:
    """Split, name (None for the list of labels) and content of each member that belongs here, in one pass."""
    with (
        gzip.open(path) as unpacked,
        tarfile.open(fileobj=cast(Any, _Bounded(unpacked)), mode="r|", tarinfo=_Member) as archive,
    ):
        for number, member in enumerate(archive):
            if number >= MAX_MEMBERS:
                raise DataError(f"{path} holds more than {MAX_MEMBERS:,} members. Fetch the file again.")
            found = _MEMBER.fullmatch(member.name)
            if found is None or not member.isreg():
                continue
            split, name = found.groups()
            if member.size > (MAX_LABELS if name is None else MAX_PICTURE):
                raise DataError(f"{path} holds {member.name} of {member.size:,} bytes, too many. Fetch the file again.")
            stream = archive.extractfile(member)
            assert stream is not None  # a regular file
            yield split, name, stream.read()


class _Member(tarfile.TarInfo):
    """A header; one that is followed by a long name or by other additions must be short, since those are read whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        found = super().frombuf(buf, encoding, errors)
        if found.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("a member is sparse")
        if found.type not in tarfile.REGULAR_TYPES and found.size > MAX_HEADER:
            raise tarfile.ReadError(f"a header has {found.size:,} bytes, above {MAX_HEADER:,}")
        return found


class _Bounded:
    """A stream that ends in an OSError after MAX_ARCHIVE bytes."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream, self._left = stream, MAX_ARCHIVE

    def read(self, size: int) -> bytes:
        content = self._stream.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise OSError(f"more than {MAX_ARCHIVE:,} bytes came")
        return content


def _picture(content: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        if max(image.size) > MAX_SIDE or image.mode != "RGB":
            raise ValueError(f"a picture is {image.size} in mode {image.mode}")
        return np.array(image)


def _joined(path: Path, split: Split, pictures: Pictures, text: str | None) -> ImageSet:
    lines = [_LINE.fullmatch(line.rstrip()) for line in (text or "").splitlines()]
    names = [line[1] for line in lines if line is not None]
    missing = [name for name in names if name not in pictures]
    if len(names) < len(lines) or not names or missing or len({one.shape for one in pictures.values()}) != 1:
        what = f"{missing[0]} of the {split} labels is missing" if missing else f"its {split} set is not sound"
        unreadable(path, EXPECTED, what)
    digits = np.array([int(line[2]) for line in lines if line is not None], dtype=np.int64)
    return image_set(np.stack([pictures[name] for name in names]), digits, path)
