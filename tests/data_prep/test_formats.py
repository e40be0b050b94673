"""The publishers' formats: read as torchvision reads them, and refused with a clear word where they are damaged."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets

from data_prep.formats import read_idx, read_libsvm, read_mat, read_mnist, read_svhn, read_usps
from domainmetric.data.domain import SPLITS
from domainmetric.errors import DataError
from tests.data_prep.official_files import idx, libsvm, pixels, write_mnist, write_svhn, write_usps


def paths(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in folder.iterdir()}


def test_svhn_as_torchvision_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_svhn(tmp_path)
    monkeypatch.setattr(datasets.SVHN, "_check_integrity", lambda _: True)
    for split, found in read_svhn(paths(tmp_path)).items():
        expected = datasets.SVHN(tmp_path, split=split)
        assert torch.equal(found.images, torch.from_numpy(expected.data).permute(0, 2, 3, 1))
        assert torch.equal(found.labels, torch.from_numpy(expected.labels))


def test_mnist_as_torchvision_reads_it(tmp_path: Path) -> None:
    write_mnist(tmp_path / "packed")
    write_mnist(tmp_path / "MNIST" / "raw", packed=False)
    splits = read_mnist(paths(tmp_path / "packed"))
    for split in SPLITS:
        expected = datasets.MNIST(tmp_path, train=split == "train")
        assert torch.equal(splits[split].images[..., 0], expected.data)
        assert torch.equal(splits[split].labels, expected.targets)


def test_usps_as_torchvision_reads_it(tmp_path: Path) -> None:
    write_usps(tmp_path)
    for split, found in read_usps(paths(tmp_path)).items():
        expected = datasets.USPS(tmp_path, train=split == "train")
        assert torch.equal(found.images[..., 0], torch.from_numpy(expected.data))
        assert found.labels.tolist() == expected.targets


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"X": pixels(28, 28, 3, 30)}, r"uint8 \(32, 32, 3, n\), but it is uint8 \(28, 28, 3, 30\)"),
        ({"X": pixels(32, 32, 3)}, r"\(32, 32, 3\)"),
        ({"X": pixels(32, 32, 3, 30).astype(np.float64)}, "float64"),
        ({"y": np.ones((7, 1), np.uint8)}, r"30 numbers, one for each image of X, but it is uint8 \(7, 1\)"),
        ({"y": np.full((30, 1), 11, np.uint8)}, r"0\.\.9 .*span 11\.\.11"),
        ({"y": np.zeros((30, 1), np.uint8)}, "one of them is 0"),
        ({"y": np.array([["1"] * 30], dtype=object)}, "one for each image"),
    ],
)
def test_wrong_svhn_arrays_are_refused(tmp_path: Path, changed: dict[str, np.ndarray], message: str) -> None:
    write_svhn(tmp_path, **changed)
    with pytest.raises(DataError, match=rf"train_32x32\.mat.*{message}"):
        read_mat(tmp_path / "train_32x32.mat")


@pytest.mark.parametrize("keep", [0, 50, 200, 5000])
def test_truncated_mat_is_refused(tmp_path: Path, keep: int) -> None:
    write_svhn(tmp_path)
    path = tmp_path / "train_32x32.mat"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"train_32x32\.mat is damaged or truncated"):
        read_mat(path)


IMAGES = pixels(5, 28, 28)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        idx(IMAGES)[:3],
        idx(IMAGES)[:-1],
        idx(IMAGES) + b"x",
        idx(IMAGES, code=13),
        idx(IMAGES[:, :27]),
        idx(IMAGES[0]),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_damaged_idx_is_refused(tmp_path: Path, content: bytes, packed: bool) -> None:
    path = tmp_path / ("images.gz" if packed else "images")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataError, match=str(path)):
        read_idx(path, (28, 28))


def test_damaged_gz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    packed = gzip.compress(idx(IMAGES))
    for content in (packed[:-30], b"<html>not found</html>", packed[:40] + b"\xff" * 40 + packed[80:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="damaged or truncated"):
            read_idx(path, (28, 28))


def test_mnist_labels_outside_the_classes_are_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.full(20, 10, np.uint8))))
    with pytest.raises(DataError, match=r"t10k-labels.*0\.\.9.*10"):
        read_mnist(paths(tmp_path))


VALUES = np.zeros((4, 256))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged or truncated"),
        (libsvm(VALUES, np.arange(1, 5))[:-20], "damaged or truncated"),
        (b"plain text", "damaged or truncated"),
        (bz2.compress(b"1 1:abc\n"), "damaged or truncated"),
        (bz2.compress(b"1 257:0.5\n"), "damaged or truncated"),
        (libsvm(VALUES + 1.5, np.arange(1, 5)), "-1..1"),
        (libsvm(VALUES, np.arange(4)), "span -1..2"),
        (libsvm(VALUES, np.arange(8, 12)), "span 7..10"),
        (libsvm(VALUES, np.arange(4) + 1.5), "whole numbers"),
        (bz2.compress(b""), "not be empty"),
    ],
)
def test_damaged_libsvm_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "usps.bz2"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"usps\.bz2.*{message}"):
        read_libsvm(path)
