"""Tiny files in the publishers' layouts, and data sets that call them official."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import struct
import tarfile
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
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


def emnist_members() -> dict[str, bytes]:
    """Name -> content of what is read of EMNIST's archive, and of one that is not."""
    members = {"gzip/emnist-letters-mapping.txt": b"1 65 97"}
    for split, digits in DIGITS.items():
        images, labels = pixels(NUM[split], 28, 28).transpose(0, 2, 1), digits.astype(np.uint8)
        members[f"gzip/emnist-digits-{split}-images-idx3-ubyte.gz"] = gzip.compress(idx(images), mtime=0)
        members[f"gzip/emnist-digits-{split}-labels-idx1-ubyte.gz"] = gzip.compress(idx(labels), mtime=0)
    return members


def zipped(members: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, packing)
    return file.getvalue()


def write_emnist(folder: Path) -> None:
    """The one archive."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gzip.zip").write_bytes(zipped(emnist_members()))


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def mnistm_members() -> dict[str, bytes]:
    """Name -> content of what MNIST-M's archive holds. The labels come in another order than the pictures."""
    members = {}
    for split, digits in DIGITS.items():
        images, place = pixels(NUM[split], 32, 32, 3), f"mnist_m/mnist_m_{split}"
        names = [f"{row:08}.png" for row in range(NUM[split])]
        members |= {f"{place}/{name}": png(image) for name, image in zip(names, images, strict=True)}
        lines = [f"{name} {digit}" for name, digit in zip(names, digits, strict=True)]
        members[f"{place}_labels.txt"] = ("\n".join(lines[::-1]) + "\n").encode()
    return members


def tarred(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(file.getvalue(), mtime=0)


def write_mnistm(folder: Path) -> None:
    """The one archive."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mnist_m.tar.gz").write_bytes(tarred(mnistm_members()))


def write_all(folder: Path) -> None:
    write_svhn(folder / "svhn")
    write_mnist(folder / "mnist" / "MNIST" / "raw")
    write_usps(folder / "usps")
    write_mnist(folder / "kmnist")
    write_mnist(folder / "fashion")
    write_emnist(folder / "emnist")
    write_mnistm(folder / "mnistm")


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
