"""The publishers' file formats, read into image sets: MATLAB (SVHN), idx (MNIST and its likes), libsvm text (USPS)."""

from __future__ import annotations

import bz2
import gzip
import io
import math
import os
import signal
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_svmlight_file

from data_prep import mat_reader
from data_prep.limits import MAX_CONTENT, read_at_most
from domainmetric.data.digits import DIGIT_CLASSES
from domainmetric.data.domain import Split
from domainmetric.errors import DataError
from domainmetric.types import ImageSet

_IDX_UINT8 = 8  # the type code of unsigned bytes in an idx header
IDX = "an idx file of unsigned bytes"
STREAM_ERRORS = (OSError, EOFError, zlib.error, struct.error)
"""What reading a plain or packed stream raises where it is damaged."""
MAT = "a MATLAB file with X and y"
MAT_SECONDS = 120
MAX_LIBSVM, MAX_LIBSVM_LINES = 64 * 2**20, 30_000
"""Bytes and lines of libsvm text; USPS has 14 million and 7,291."""


def read_svhn(paths: Mapping[str, Path]) -> dict[Split, ImageSet]:
    """SVHN's cropped digits from `train_32x32.mat` and `test_32x32.mat`. Raises DataError."""
    return {"train": read_mat(paths["train_32x32.mat"]), "test": read_mat(paths["test_32x32.mat"])}


def read_mnist(paths: Mapping[str, Path], *, classes: tuple[str, ...] = DIGIT_CLASSES) -> dict[Split, ImageSet]:
    """MNIST, or a set in its layout, from its four idx files, packed or not. Raises DataError."""
    prefixes: dict[Split, str] = {"train": "train", "test": "t10k"}
    return {
        split: image_set(
            read_idx(paths[f"{prefix}-images-idx3-ubyte.gz"], (28, 28))[..., None],
            read_idx(paths[f"{prefix}-labels-idx1-ubyte.gz"], ()).astype(np.int64),
            paths[f"{prefix}-labels-idx1-ubyte.gz"],
            classes,
        )
        for split, prefix in prefixes.items()
    }


def read_usps(paths: Mapping[str, Path]) -> dict[Split, ImageSet]:
    """USPS from `usps.bz2` and `usps.t.bz2`. Raises DataError."""
    return {"train": read_libsvm(paths["usps.bz2"]), "test": read_libsvm(paths["usps.t.bz2"])}


def read_mat(path: Path) -> ImageSet:
    """One SVHN file: `X` uint8 (32, 32, 3, n), `y` (n, 1), where the digit 0 is written as 10. Raises DataError."""
    images, labels = read_apart(path)
    if images.dtype != np.uint8 or images.shape[:3] != (32, 32, 3) or images.ndim != 4:
        raise DataError(f"{path} should hold X as uint8 (32, 32, 3, n), but it is {images.dtype} {images.shape}.")
    if labels.dtype.kind not in "uif" or labels.size != images.shape[3]:
        raise DataError(
            f"{path} should hold y as {images.shape[3]} numbers, one for each image of X, but it is {labels.dtype} "
            f"{labels.shape}."
        )
    digits = _whole(labels.reshape(-1), path)
    if (digits == 0).any():
        raise DataError(f"{path} writes labels as 1..10, where 10 is the digit 0, but one of them is 0.")
    digits[digits == 10] = 0
    return image_set(np.ascontiguousarray(images.transpose(3, 0, 1, 2)), digits, path)


def read_apart(path: Path) -> tuple[NDArray[Any], ...]:
    """X and y of a MATLAB file. Raises DataError."""
    return apart(path, names=("X", "y"), expected=MAT)


def read_struct(path: Path, variable: str, fields: tuple[str, ...]) -> tuple[NDArray[Any], ...]:
    """Fields of a struct array in a MATLAB file, one value for each element: numbers or text. Raises DataError."""
    expected = f"a MATLAB file with the struct array '{variable}'"
    return apart(path, variable, *fields, names=fields, expected=expected)


def apart(path: Path, *arguments: str, names: tuple[str, ...], expected: str) -> tuple[NDArray[Any], ...]:
    """Arrays of a MATLAB file, read by a process of its own with limits on memory and time. Raises DataError."""
    program = [sys.executable, "-I", mat_reader.__file__, str(path.absolute())]
    with tempfile.TemporaryDirectory(prefix="mat-") as folder:
        try:
            done = subprocess.run(
                [*program, folder, str(MAX_CONTENT), *arguments],
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # each thread would reserve memory
                capture_output=True,
                text=True,
                errors="replace",
                timeout=MAT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            unreadable(path, expected, f"it took longer than {MAT_SECONDS} s", error)
        if done.returncode < 0:
            unreadable(path, expected, f"the reader was ended by {signal.Signals(-done.returncode).name}")
        if done.returncode:
            unreadable(path, expected, (done.stderr.strip().splitlines() or ["it said nothing"])[-1])
        return tuple(np.load(Path(folder) / f"{name}.npy", allow_pickle=False) for name in names)


def read_idx(path: Path, item_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An idx file of unsigned bytes, packed (.gz) or not: uint8 (n, *item_shape). Raises DataError."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            return idx_in(stream, path, item_shape)
    except STREAM_ERRORS as error:
        unreadable(path, IDX, named(error), error)


def idx_in(stream: io.BufferedIOBase, path: Path, item_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The same from an open stream, which `path` names. Raises DataError, and the STREAM_ERRORS as they come."""
    zeros, code, num_dims = struct.unpack(">HBB", stream.read(4))
    shape = struct.unpack(f">{num_dims}I", stream.read(4 * num_dims))
    if zeros != 0 or code != _IDX_UINT8 or shape[1:] != item_shape or num_dims != 1 + len(item_shape):
        raise DataError(
            f"{path} should be {IDX}, each item {item_shape}, but its header says type {code:#04x} and shape {shape}."
        )
    size = math.prod(shape)
    if size > MAX_CONTENT:
        raise DataError(
            f"{path} is damaged: its header says {shape}, {size:,} bytes, but at most {MAX_CONTENT:,} are read."
        )
    content = read_at_most(stream, size + 1)
    if len(content) != size:
        came = f"{len(content)}" if len(content) < size else "more"
        raise DataError(f"{path} is truncated or damaged: its header says {shape}, {size} bytes, but {came} follow.")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def read_libsvm(path: Path) -> ImageSet:
    """One USPS file: bz2-packed lines `label index:value ...` of 16x16 pixels; labels 1..10, values -1..1.

    Raises DataError.
    """
    try:
        with bz2.open(path) as stream:
            text = read_at_most(stream, MAX_LIBSVM + 1)
        num_lines = text.count(b"\n") + 1
        if len(text) > MAX_LIBSVM or num_lines > MAX_LIBSVM_LINES:
            raise DataError(
                f"{path} unpacks to more than USPS has: at most {MAX_LIBSVM:,} bytes and {MAX_LIBSVM_LINES:,} lines "
                f"are read. Fetch the file again."
            )
        sparse, labels = load_svmlight_file(io.BytesIO(text), n_features=256, zero_based=False)
    except (OSError, EOFError, ValueError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        unreadable(path, "bz2-packed libsvm text with 256 values a line", named(error), error)
    values = sparse.astype(np.float32).toarray()
    if not (np.abs(values) <= 1).all():
        raise DataError(f"{path} should hold values in -1..1, but they span {values.min()}..{values.max()}.")
    images = ((values + 1) / 2 * 255).astype(np.uint8)  # rounded down, as torchvision does
    return image_set(images.reshape(-1, 16, 16, 1), _whole(labels, path) - 1, path)


def _whole(labels: NDArray[Any], path: Path) -> NDArray[np.int64]:
    """Labels as integers. Raises DataError for what is none, before it would be rounded or wrapped to one."""
    if not ((np.round(labels) == labels) & (np.abs(labels.astype(np.float64)) < 2**31)).all():
        odd = labels[~(np.round(labels) == labels) | ~(np.abs(labels.astype(np.float64)) < 2**31)][0]
        raise DataError(f"{path} should hold whole numbers 1..10 as labels, but one of them is {odd}.")
    return labels.astype(np.int64)


def image_set(
    images: NDArray[Any], labels: NDArray[Any], path: Path, classes: tuple[str, ...] = DIGIT_CLASSES
) -> ImageSet:
    """What a file held, checked. Raises DataError, which names it."""
    try:
        return ImageSet(images=torch.from_numpy(images), labels=torch.from_numpy(labels), classes=classes)
    except DataError as error:
        raise DataError(f"{path} is not what it should be. {error}") from error


def unreadable(path: Path, expected: str, why: str, cause: Exception | None = None) -> NoReturn:
    """Raise DataError for a file that does not hold what it should."""
    raise DataError(
        f"{path} is damaged or truncated: expected {expected}, but reading it failed ({why}). Fetch the file again."
    ) from cause


def named(error: Exception) -> str:
    """Its class and its words."""
    return f"{type(error).__name__}: {error}"
