"""The publishers' file formats, read into image sets: MATLAB (SVHN), idx (MNIST) and libsvm text (USPS)."""

from __future__ import annotations

import bz2
import gzip
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.io import loadmat
from sklearn.datasets import load_svmlight_file

from domainmetric.data.digits import DIGIT_CLASSES
from domainmetric.data.domain import Split
from domainmetric.errors import DataError
from domainmetric.types import ImageSet

_IDX_UINT8 = 8  # the type code of unsigned bytes in an idx header


def read_svhn(paths: Mapping[str, Path]) -> dict[Split, ImageSet]:
    """SVHN's cropped digits from `train_32x32.mat` and `test_32x32.mat`. Raises DataError."""
    return {"train": read_mat(paths["train_32x32.mat"]), "test": read_mat(paths["test_32x32.mat"])}


def read_mnist(paths: Mapping[str, Path]) -> dict[Split, ImageSet]:
    """MNIST from its four idx files, packed or not. Raises DataError."""
    prefixes: dict[Split, str] = {"train": "train", "test": "t10k"}
    return {
        split: _image_set(
            read_idx(paths[f"{prefix}-images-idx3-ubyte.gz"], (28, 28))[..., None],
            read_idx(paths[f"{prefix}-labels-idx1-ubyte.gz"], ()).astype(np.int64),
            paths[f"{prefix}-labels-idx1-ubyte.gz"],
        )
        for split, prefix in prefixes.items()
    }


def read_usps(paths: Mapping[str, Path]) -> dict[Split, ImageSet]:
    """USPS from `usps.bz2` and `usps.t.bz2`. Raises DataError."""
    return {"train": read_libsvm(paths["usps.bz2"]), "test": read_libsvm(paths["usps.t.bz2"])}


def read_mat(path: Path) -> ImageSet:
    """One SVHN file: `X` uint8 (32, 32, 3, n), `y` (n, 1), where the digit 0 is written as 10. Raises DataError."""
    try:
        content = loadmat(path, variable_names=("X", "y"))
        images, labels = content["X"], content["y"]
    except Exception as error:
        _unreadable(path, "a MATLAB file with X and y", error)
    if images.dtype != np.uint8 or images.shape[:3] != (32, 32, 3) or images.ndim != 4:
        raise DataError(f"{path} should hold X as uint8 (32, 32, 3, n), but it is {images.dtype} {images.shape}.")
    if labels.dtype.kind not in "uif" or labels.size != images.shape[3]:
        raise DataError(
            f"{path} should hold y as {images.shape[3]} numbers, one for each image of X, but it is {labels.dtype} "
            f"{labels.shape}."
        )
    digits = labels.reshape(-1).astype(np.int64)
    if (digits == 0).any():
        raise DataError(f"{path} writes labels as 1..10, where 10 is the digit 0, but one of them is 0.")
    digits[digits == 10] = 0
    return _image_set(np.ascontiguousarray(images.transpose(3, 0, 1, 2)), digits, path)


def read_idx(path: Path, item_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An idx file of unsigned bytes, packed (.gz) or not: uint8 (n, *item_shape). Raises DataError."""
    what = f"an idx file of unsigned bytes, each item {item_shape}"
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zeros, code, num_dims = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{num_dims}I", content, 4)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        _unreadable(path, what, error)
    if zeros != 0 or code != _IDX_UINT8 or shape[1:] != item_shape or num_dims != 1 + len(item_shape):
        raise DataError(f"{path} should be {what}, but its header says type {code:#04x} and shape {shape}.")
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * num_dims)
    if values.size != np.prod(shape):
        raise DataError(f"{path} is truncated or damaged: its header says {shape}, but {values.size} bytes follow.")
    return values.reshape(shape).copy()


def read_libsvm(path: Path) -> ImageSet:
    """One USPS file: bz2-packed lines `label index:value ...` of 16x16 pixels; labels 1..10, values -1..1.

    Raises DataError.
    """
    try:
        with bz2.open(path) as file:
            sparse, labels = load_svmlight_file(file, n_features=256, zero_based=False)
    except (OSError, EOFError, ValueError) as error:
        _unreadable(path, "bz2-packed libsvm text with 256 values a line", error)
    values = sparse.toarray().astype(np.float32)
    if not (np.abs(values) <= 1).all():
        raise DataError(f"{path} should hold values in -1..1, but they span {values.min()}..{values.max()}.")
    if not np.equal(labels, np.round(labels)).all():
        raise DataError(f"{path} should hold whole numbers 1..10 as labels, but some are fractions.")
    images = ((values + 1) / 2 * 255).astype(np.uint8)  # rounded down, as torchvision does
    return _image_set(images.reshape(-1, 16, 16, 1), labels.astype(np.int64) - 1, path)


def _image_set(images: NDArray[Any], labels: NDArray[Any], path: Path) -> ImageSet:
    try:
        return ImageSet(images=torch.from_numpy(images), labels=torch.from_numpy(labels), classes=DIGIT_CLASSES)
    except DataError as error:
        raise DataError(f"{path} is not what it should be. {error}") from error


def _unreadable(path: Path, expected: str, error: Exception) -> NoReturn:
    raise DataError(
        f"{path} is damaged or truncated: expected {expected}, but reading it failed "
        f"({type(error).__name__}: {error}). Fetch the file again."
    ) from error
