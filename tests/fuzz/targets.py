"""The readers, each as a function of bytes: what must hold for any bytes at all.

The first byte says how the others are wrapped: as they are, or packed, so that damage also reaches what stands behind
a checksum.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.io import savemat

from data_prep import mat_reader
from data_prep.emnist import read_emnist
from data_prep.formats import read_idx, read_libsvm
from data_prep.limits import MAX_CONTENT
from data_prep.mnistm import read_mnistm
from domainmetric.data.store import read_split, write_store
from domainmetric.errors import DataError, DataNotPrepared
from domainmetric.types import ImageSet
from tests.data_prep.official_files import idx, libsvm, pixels, png, tarred, zipped


@dataclass(frozen=True)
class Target:
    """One reader."""

    seeds: tuple[bytes, ...]
    """Sound inputs, to be damaged."""
    check: Callable[[bytes, Path], bool]
    """Read the input, with a folder for files. True if it was accepted, false if it was refused in the promised way;
    anything else that happens is a finding."""
    contained: bool = False
    """Whether it runs in a process of its own also outside of these tests: there a crash is a refusal."""


def check_mat(data: bytes, folder: Path) -> bool:
    """scipy's reader, as the process with limits calls it: there any exception is a refusal."""
    path = folder / "input.mat"
    path.write_bytes(packed_mat(data[1:]) if data[:1] == b"\1" else data[1:])
    try:
        mat_reader.read(path, MAX_CONTENT)
    except Exception:
        return False
    return True


def packed_mat(inner: bytes) -> bytes:
    """A .mat whose first element is packed, and holds `inner`."""
    packed = zlib.compress(inner, 1)
    return HEADER + struct.pack("<II", 15, len(packed)) + packed + SOUND_Y


def check_idx(data: bytes, folder: Path) -> bool:
    """idx files: plain, packed, and damaged in their packing."""
    path = folder / ("input.gz" if data[:1] in (b"\1", b"\2") else "input")
    path.write_bytes(gzip.compress(data[1:], 1) if data[:1] == b"\1" else data[1:])
    return accepted(lambda: read_idx(path, (4, 4)))


def check_libsvm(data: bytes, folder: Path) -> bool:
    """libsvm text: packed, and damaged in its packing."""
    path = folder / "input.bz2"
    path.write_bytes(bz2.compress(data[1:], 1) if data[:1] == b"\1" else data[1:])
    return accepted(lambda: read_libsvm(path))


def check_zip(data: bytes, folder: Path) -> bool:
    """EMNIST's archive."""
    path = folder / "gzip.zip"
    path.write_bytes(data)
    return accepted(lambda: read_emnist({path.name: path}))


def check_tar(data: bytes, folder: Path) -> bool:
    """MNIST-M's archive: packed, and damaged in its packing."""
    path = folder / "mnist_m.tar.gz"
    path.write_bytes(gzip.compress(data[1:], 1) if data[:1] == b"\1" else data[1:])
    return accepted(lambda: read_mnistm({path.name: path}))


def check_store(data: bytes, folder: Path) -> bool:
    """A prepared store, in which one file is another."""
    if not (folder / "made").is_dir():
        images = ImageSet(
            images=torch.zeros(3, 4, 4, 1, dtype=torch.uint8), labels=torch.arange(3), classes=("a", "b", "c")
        )
        write_store(folder, "made", {"train": images, "test": images}, sources=[])
    files = {b"\1": "train_images.npy", b"\2": "train_labels.npy"}
    path = folder / "made" / files.get(data[:1], "manifest.json")
    before = path.read_bytes()
    path.write_bytes(data[1:])
    try:
        return accepted(lambda: read_split(folder, "made", "train"))
    finally:
        path.write_bytes(before)


def accepted(read: Callable[[], object]) -> bool:
    """Whether it is read, or else refused as promised."""
    try:
        read()
    except (DataError, DataNotPrepared):
        return False
    return True


def _mat(*, compressed: bool) -> bytes:
    file = io.BytesIO()
    savemat(file, {"X": pixels(32, 32, 3, 1), "y": np.ones((1, 1), np.uint8)}, do_compression=compressed)
    return file.getvalue()


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _emnist() -> dict[str, bytes]:
    images, labels = gzip.compress(idx(pixels(2, 28, 28)), 1), gzip.compress(idx(np.arange(2, dtype=np.uint8)), 1)
    name = "gzip/emnist-digits-{}-{}-idx{}-ubyte.gz"
    members = {name.format(split, "images", 3): images for split in ("train", "test")}
    return members | {name.format(split, "labels", 1): labels for split in ("train", "test")}


def _mnistm() -> bytes:
    members = {}
    for split in ("train", "test"):
        members[f"mnist_m/mnist_m_{split}/0.png"] = png(pixels(4, 4, 3))
        members[f"mnist_m/mnist_m_{split}_labels.txt"] = b"0.png 7\n"
    return tarred(members)


_PLAIN = _mat(compressed=False)
HEADER = _PLAIN[:128]
SOUND_Y = _PLAIN[-56:]
_MANIFEST = {
    "format_version": 1, "name": "made", "classes": ["a", "b", "c"], "counts": {"train": 3}, "class_counts": {},
    "arrays": {"train_images": {"shape": [3, 4, 4, 1], "dtype": "uint8", "sha256": ""},
               "train_labels": {"shape": [3], "dtype": "int64", "sha256": ""}},
    "unofficial": False, "sources": [], "created_by": "",
}  # fmt: skip

TARGETS = {
    "mat": Target((b"\0" + _mat(compressed=True), b"\0" + _PLAIN, b"\1" + _PLAIN[128:-56]), check_mat, contained=True),
    "idx": Target(
        (b"\0" + idx(pixels(3, 4, 4)), b"\1" + idx(pixels(3, 4, 4)), b"\2" + gzip.compress(idx(pixels(3, 4, 4)))),
        check_idx,
    ),
    "libsvm": Target(
        (
            b"\0" + libsvm(np.zeros((2, 256)), np.array([1, 2])),
            b"\1" + b"1 1:-1 2:0.5 256:1\n10 3:-0.25\n",
            b"\1" + bz2.decompress(libsvm(np.zeros((1, 256)), np.array([3]))),
        ),
        check_libsvm,
    ),
    "zip": Target((zipped(_emnist()), zipped(_emnist(), zipfile.ZIP_STORED)), check_zip),
    "tar": Target((b"\0" + _mnistm(), b"\1" + gzip.decompress(_mnistm())), check_tar),
    "store": Target(
        (
            b"\0" + json.dumps(_MANIFEST).encode(),
            b"\1" + _npy(np.zeros((3, 4, 4, 1), np.uint8)),
            b"\2" + _npy(np.arange(3)),
        ),
        check_store,
    ),
}
