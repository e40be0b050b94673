"""The publishers' formats: read as torchvision reads them, and refused with a clear word where they are damaged."""

from __future__ import annotations

import bz2
import gzip
import resource
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torchvision import datasets

from data_prep import formats, mat_reader
from data_prep.formats import read_idx, read_libsvm, read_mat, read_mnist, read_svhn, read_usps
from data_prep.limits import MAX_CONTENT
from domainmetric.data.domain import SPLITS
from domainmetric.errors import DataError
from tests.data_prep.official_files import idx, libsvm, mat_bomb, pixels, write_mnist, write_svhn, write_usps


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """MATLAB files are read here, and not by a process of their own, which costs half a second."""
    monkeypatch.setattr(formats, "read_apart", lambda path: mat_reader.read(path, MAX_CONTENT))


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
        ({"y": np.full((30, 1), np.nan)}, "whole numbers 1..10 as labels, but one of them is nan"),
        ({"y": np.full((30, 1), 1.5)}, "one of them is 1.5"),
        ({"y": np.full((30, 1), 1e300)}, r"one of them is 1e\+300"),
    ],
)
@pytest.mark.usefixtures("in_process")
def test_wrong_svhn_arrays_are_refused(tmp_path: Path, changed: dict[str, np.ndarray], message: str) -> None:
    write_svhn(tmp_path, **changed)
    with pytest.raises(DataError, match=rf"train_32x32\.mat.*{message}"):
        read_mat(tmp_path / "train_32x32.mat")


def refusal(path: Path) -> str:
    """Why the process that reads MATLAB files refuses one."""
    with pytest.raises(
        DataError, match=rf"{path} is damaged or truncated: expected a MATLAB file with X and y"
    ) as told:
        read_mat(path)
    return str(told.value)


def test_truncated_mat_is_refused(tmp_path: Path) -> None:
    write_svhn(tmp_path)
    path = tmp_path / "train_32x32.mat"
    path.write_bytes(path.read_bytes()[:5000])
    assert "Error" in refusal(path)


def test_what_is_no_number_is_not_looked_into(tmp_path: Path) -> None:
    write_svhn(tmp_path, y=np.array([["1"] * 30], dtype=object))
    assert "X and y should be numbers, but are uint8 and cell" in refusal(tmp_path / "train_32x32.mat")


def test_a_mat_on_which_scipy_crashes_is_refused(tmp_path: Path) -> None:
    """The type of X's values, here 0x8012, is taken as an index by scipy 1.17, without a look at its size."""
    path = tmp_path / "crash.mat"
    savemat(path, {"X": pixels(32, 32, 3, 1), "y": np.ones((1, 1), np.uint8)})
    content = bytearray(path.read_bytes())
    assert content[184:188] == struct.pack("<I", 2)  # after the headers: the values are uint8
    content[184:188] = struct.pack("<I", 0x8012)
    path.write_bytes(content)
    told = refusal(path)
    assert "the reader was ended by SIG" in told or "Error" in told  # what lies at a wrong address differs: SEGV, BUS


def test_a_mat_that_unpacks_to_too_much_is_refused_by_what_it_declares(tmp_path: Path) -> None:
    path = tmp_path / "bomb.mat"
    path.write_bytes(mat_bomb(declared=512 * 2**20, unpacked=512 * 2**20))
    assert path.stat().st_size < 700_000
    assert "X and y would take 536,868,894 bytes, but at most 268,435,456 are read" in refusal(path)


def test_a_mat_that_unpacks_to_more_than_it_declares_meets_the_limit_on_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.mat"
    path.write_bytes(mat_bomb(declared=3072, unpacked=1024 * 2**20))
    assert "MemoryError" in refusal(path)


def test_a_mat_whose_reading_crashes_or_hangs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_svhn(tmp_path)
    for program, why in (
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the reader was ended by SIGSEGV"),
        ("import time; time.sleep(60)", "it took longer than 0.5 s"),
        ("import sys; sys.exit(1)", "it said nothing"),
    ):
        (tmp_path / "reader.py").write_text(program)
        monkeypatch.setattr(mat_reader, "__file__", str(tmp_path / "reader.py"))
        monkeypatch.setattr(formats, "MAT_SECONDS", 0.5 if "sleep" in program else 60)
        assert why in refusal(tmp_path / "train_32x32.mat")


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


def test_an_idx_whose_size_lies_reserves_no_memory(tmp_path: Path) -> None:
    for name, pack in (("images", bytes), ("images.gz", gzip.compress)):
        path = tmp_path / name
        header = idx(IMAGES)[:4]
        path.write_bytes(pack(header + struct.pack(">3I", 2**32 - 1, 28, 28) + bytes(100)))
        with pytest.raises(DataError, match="3,367,254,359,280 bytes, but at most 268,435,456 are read"):
            read_idx(path, (28, 28))
        path.write_bytes(pack(header + struct.pack(">3I", 300_000, 28, 28) + bytes(100)))
        with pytest.raises(DataError, match="235200000 bytes, but 100 follow"):
            read_idx(path, (28, 28))


def test_a_gz_that_unpacks_to_more_than_its_header_says_is_not_unpacked_further(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(idx(IMAGES) + bytes(2**26)))
    began = memory_peak()
    with pytest.raises(DataError, match="3920 bytes, but more follow"):
        read_idx(path, (28, 28))
    assert memory_peak() - began < 2**25


def memory_peak() -> int:
    """Bytes that this process has held at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


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
        (libsvm(VALUES, np.arange(4) + 1.5), "whole numbers 1..10 as labels, but one of them is 1.5"),
        (bz2.compress(b"nan 1:0.5\n"), "one of them is nan"),
        (bz2.compress(b"inf 1:0.5\n"), "one of them is inf"),
        (bz2.compress(b"1 1:nan\n"), "-1..1"),
        (bz2.compress(b"1\n" * 2**24), "unpacks to more than USPS has"),
        (bz2.compress(bytes(2**27)), "unpacks to more than USPS has"),
        (bz2.compress(b""), "not be empty"),
    ],
)
def test_damaged_libsvm_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "usps.bz2"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"usps\.bz2.*{message}"):
        read_libsvm(path)
