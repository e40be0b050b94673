"""Tiny files in the publishers' layouts, and data sets that call them official."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.io import savemat

from data_prep.official import Dataset, known_datasets

NUM = {"train": 30, "test": 20}
DIGITS = {split: np.arange(num) % 10 for split, num in NUM.items()}


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def write_svhn(folder: Path, **changed: np.ndarray) -> None:
    """Both .mat files; `changed` replaces X or y."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, digits in DIGITS.items():
        labels = np.where(digits == 0, 10, digits).astype(np.uint8)[:, None]
        content = {"X": pixels(32, 32, 3, NUM[split]), "y": labels, **changed}
        savemat(folder / f"{split}_32x32.mat", content, do_compression=True)


def mat_bomb(*, declared: int, unpacked: int) -> bytes:
    """A .mat whose X declares a uint8 array of `declared` bytes and holds `unpacked` zeros, packed, and a sound y."""

    def element(code: int, content: bytes) -> bytes:
        return struct.pack("<II", code, len(content)) + content + bytes(-len(content) % 8)

    def variable(name: bytes, shape: tuple[int, ...], data: bytes, size: int) -> bytes:
        flags, dims = struct.pack("<II", 9, 0), struct.pack(f"<{len(shape)}i", *shape)  # 9: an array of uint8
        head = element(6, flags) + element(5, dims) + element(1, name) + struct.pack("<II", 2, size)
        return struct.pack("<II", 14, len(head) + size + -size % 8) + head + data

    packer, zeros = zlib.compressobj(), zlib.compressobj(wbits=-15)
    packed = packer.compress(variable(b"X", (32, 32, 3, declared // 3072), b"", unpacked))
    packed += packer.flush(zlib.Z_FULL_FLUSH)
    million = zeros.compress(bytes(2**20)) + zeros.flush(zlib.Z_FULL_FLUSH)  # means the same wherever it stands
    packed += million * (unpacked // 2**20)
    sound = variable(b"y", (30, 1), bytes(30), 30)
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    return header + struct.pack("<II", 15, len(packed)) + packed + sound + bytes(-len(sound) % 8)


def idx(values: np.ndarray, *, code: int = 8) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, code, values.ndim, *values.shape) + values.tobytes()


def write_mnist(folder: Path, *, packed: bool = True) -> None:
    """All four idx files."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, prefix in (("train", "train"), ("test", "t10k")):
        contents = {
            f"{prefix}-images-idx3-ubyte": idx(pixels(NUM[split], 28, 28)),
            f"{prefix}-labels-idx1-ubyte": idx(DIGITS[split].astype(np.uint8)),
        }
        for name, content in contents.items():
            path = folder / (f"{name}.gz" if packed else name)
            path.write_bytes(gzip.compress(content, mtime=0) if packed else content)


def libsvm(values: np.ndarray, labels: np.ndarray) -> bytes:
    lines = (
        f"{label} " + " ".join(f"{i + 1}:{value:.6f}" for i, value in enumerate(row))
        for row, label in zip(values, labels, strict=True)
    )
    return bz2.compress(("\n".join(lines) + "\n").encode())


def write_usps(folder: Path) -> None:
    """Both .bz2 files."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, name in (("train", "usps.bz2"), ("test", "usps.t.bz2")):
        values = np.random.default_rng(0).uniform(-1, 1, (NUM[split], 256))
        (folder / name).write_bytes(libsvm(values, DIGITS[split] + 1))


def write_all(folder: Path) -> None:
    write_svhn(folder / "svhn")
    write_mnist(folder / "mnist" / "MNIST" / "raw")
    write_usps(folder / "usps")


def made_official(folder: Path) -> dict[str, Dataset]:
    """The known data sets, but with the md5s of the files in `folder`, as write_all leaves them."""
    made = {}
    for name, dataset in known_datasets().items():
        files = []
        for file in dataset.files:
            content = (folder / dataset.folders[0] / file.name).read_bytes()
            unpacked = hashlib.md5(gzip.decompress(content)).hexdigest() if file.unpacked_md5 else None
            files.append(replace(file, md5=hashlib.md5(content).hexdigest(), unpacked_md5=unpacked))
        made[name] = replace(dataset, files=tuple(files))
    return made
