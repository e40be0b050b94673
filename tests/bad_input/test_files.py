"""Damaged, hostile and misplaced files for `python -m data_prep`: each refused in a sentence, and nothing is left."""

from __future__ import annotations

import bz2
import gzip
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from data_prep import formats, mat_reader
from data_prep.__main__ import main
from data_prep.limits import MAX_CONTENT
from tests.bad_input import permissions
from tests.data_prep.official_files import idx, libsvm, mat_bomb, pixels, write_all

Damage = Callable[[Path], object]


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """MATLAB files are read here: that a process of their own bounds it, `tests/data_prep` tests."""
    monkeypatch.setattr(formats, "read_apart", read_here)


def read_here(path: Path) -> object:
    try:
        return mat_reader.read(path, MAX_CONTENT)
    except Exception as error:
        formats.unreadable(path, formats.MAT, formats.named(error))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_all(tmp_path / "files")
    return tmp_path / "files"


def cut(share: float) -> Damage:
    return lambda path: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def flipped(share: float) -> Damage:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        for place in range(int(share * len(content)), int(share * len(content)) + 4):
            content[place] ^= 0xFF
        path.write_bytes(content)

    return damage


def holds(content: bytes) -> Damage:
    return lambda path: path.write_bytes(content)


def mat(**changed: np.ndarray) -> Damage:
    y = np.ones((5, 1), np.uint8)
    return lambda path: savemat(path, {"X": pixels(32, 32, 3, 5), "y": y, **changed}, do_compression=True)


def lying(count: int) -> bytes:
    return gzip.compress(struct.pack(">HBB3I", 0, 8, 3, count, 28, 28) + bytes(784))


HTML = holds(b"<html>404 Not Found</html>")
PLAIN = idx(pixels(30, 28, 28))
GREY = np.zeros((4, 256))
LABELS = "mnist/MNIST/raw/train-labels-idx1-ubyte.gz"
IMAGES = "mnist/MNIST/raw/train-images-idx3-ubyte.gz"
SVHN, USPS = "svhn/train_32x32.mat", "usps/usps.bz2"
MAT, IDX, TEXT = "a MATLAB file with X and y", "an idx file of unsigned bytes", "bz2-packed libsvm text"
AGAIN = "Fetch the file again."

CASES: dict[str, tuple[str, Damage, tuple[str, ...]]] = {
    "mat: empty": (SVHN, holds(b""), (MAT, AGAIN)),
    "mat: cut in its header": (SVHN, cut(0.001), (MAT, AGAIN)),
    "mat: cut in the middle": (SVHN, cut(0.5), (MAT, AGAIN)),
    "mat: cut at the end": (SVHN, cut(0.99), (MAT, AGAIN)),
    "mat: flipped bytes": (SVHN, flipped(0.4), (MAT, "decompressing", AGAIN)),
    "mat: another format": (SVHN, HTML, (MAT, AGAIN)),
    "mat: of version 7.3": (SVHN, holds(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM"), (MAT, "HDF", AGAIN)),
    "mat: 512 MB in half a one": (
        SVHN,
        holds(mat_bomb(declared=2**29, unpacked=2**29)),
        (MAT, "536,868,894 bytes, but"),
    ),
    "mat: without y": (SVHN, lambda path: savemat(path, {"X": pixels(32, 32, 3, 5)}), ("X and y, once each", AGAIN)),
    "mat: cells": (SVHN, mat(X=np.array([["a"]], dtype=object)), ("should be numbers, but are", "cell")),
    "mat: floats with NaN": (
        SVHN,
        mat(X=np.full((32, 32, 3, 5), np.nan)),
        ("X as uint8 (32, 32, 3, n), but it is float64",),
    ),
    "mat: channels first": (SVHN, mat(X=pixels(3, 32, 32, 5)), ("X as uint8 (32, 32, 3, n)", "(3, 32, 32, 5)")),
    "mat: labels in part": (SVHN, mat(y=np.ones((3, 1))), ("y as 5 numbers, one for each image", "(3, 1)")),
    "mat: no images": (SVHN, mat(X=pixels(32, 32, 3, 0), y=np.ones((0, 1))), ("must not be empty",)),
    "mat: fractions as labels": (SVHN, mat(y=np.full((5, 1), 1.5)), ("whole numbers 1..10", "one of them is 1.5")),
    "mat: NaN as label": (SVHN, mat(y=np.full((5, 1), np.nan)), ("whole numbers 1..10", "one of them is nan")),
    "mat: negative labels": (SVHN, mat(y=np.full((5, 1), -3, np.int16)), ("Labels must lie in 0..9", "span -3..-3")),
    "mat: labels outside": (SVHN, mat(y=np.full((5, 1), 11)), ("Labels must lie in 0..9", "span 11..11")),
    "idx: empty": (IMAGES, holds(gzip.compress(b"")), (IDX, AGAIN)),
    "idx: cut": (IMAGES, cut(0.7), (IDX, "EOFError", AGAIN)),
    "idx: flipped bytes": (IMAGES, flipped(0.5), (IDX, AGAIN)),
    "idx: not packed": (IMAGES, holds(PLAIN), (IDX, "Not a gzipped file", AGAIN)),
    "idx: another format": (IMAGES, HTML, (IDX, "Not a gzipped file", AGAIN)),
    "idx: of floats": (
        IMAGES,
        holds(gzip.compress(idx(pixels(30, 28, 28), code=13))),
        (IDX, "its header says type 0x0d"),
    ),
    "idx: of other size": (IMAGES, holds(gzip.compress(idx(pixels(30, 27, 28)))), (IDX, "shape (30, 27, 28)")),
    "idx: labels for images": (IMAGES, holds(gzip.compress(idx(pixels(30)))), (IDX, "shape (30,)")),
    "idx: fewer than it says": (IMAGES, holds(lying(9)), ("its header says (9, 28, 28), 7056 bytes, but 784 follow",)),
    "idx: says terabytes": (
        IMAGES,
        holds(lying(2**32 - 1)),
        ("3,367,254,359,280 bytes, but at most 268,435,456 are read",),
    ),
    "idx: more than it says": (IMAGES, holds(gzip.compress(PLAIN + bytes(2**24))), ("23520 bytes, but more follow",)),
    "idx: labels in part": (LABELS, holds(gzip.compress(idx(np.ones(29, np.uint8)))), ("Expected 30 labels", "(29,)")),
    "idx: labels outside": (
        LABELS,
        holds(gzip.compress(idx(np.full(30, 10, np.uint8)))),
        ("must lie in 0..9", "10..10"),
    ),
    "bz2: empty": (USPS, holds(b""), (TEXT, AGAIN)),
    "bz2: cut": (USPS, cut(0.6), (TEXT, "EOFError", AGAIN)),
    "bz2: flipped bytes": (USPS, flipped(0.5), (TEXT, AGAIN)),
    "bz2: not packed": (USPS, HTML, (TEXT, "Invalid data stream", AGAIN)),
    "bz2: gigabytes of lines": (
        USPS,
        holds(bz2.compress(b"1\n" * 2**16)),
        ("at most 67,108,864 bytes and 30,000 lines",),
    ),
    "bz2: a word for a value": (USPS, holds(bz2.compress(b"1 1:abc\n")), (TEXT, "ValueError", AGAIN)),
    "bz2: too many values": (USPS, holds(bz2.compress(b"1 257:0.5\n")), (TEXT, "ValueError", AGAIN)),
    "bz2: no labels": (USPS, holds(bz2.compress(b" 1:0.5 2:0.5\n")), (TEXT, AGAIN)),
    "bz2: labels outside": (USPS, holds(libsvm(GREY, np.arange(8, 12))), ("must lie in 0..9", "span 7..10")),
    "bz2: label zero": (USPS, holds(libsvm(GREY, np.arange(4))), ("must lie in 0..9", "span -1..2")),
    "bz2: fractions as labels": (USPS, holds(libsvm(GREY, np.arange(4) + 1.5)), ("whole numbers 1..10", "is 1.5")),
    "bz2: infinite label": (USPS, holds(bz2.compress(b"inf 1:0.5\n")), ("whole numbers 1..10", "is inf")),
    "bz2: NaN as value": (USPS, holds(bz2.compress(b"1 1:nan\n")), ("values in -1..1", "nan")),
    "bz2: infinite value": (USPS, holds(bz2.compress(b"1 1:inf\n")), ("values in -1..1", "inf")),
    "bz2: values of 0..255": (USPS, holds(libsvm(GREY + 255, np.arange(1, 5))), ("values in -1..1", "255.0..255.0")),
    "a file is missing": (USPS, Path.unlink, ("usps.bz2 of 'usps' was not found in any of", "--from")),
    "a folder in its place": (USPS, lambda path: (path.unlink(), path.mkdir()), ("was not found in any of", "--from")),
    "a device in its place": (USPS, lambda path: (path.unlink(), path.symlink_to("/dev/zero")), ("was not found",)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_damaged_file_is_refused(
    case: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    if case == "idx: labels in part":
        request.getfixturevalue("unchecked_shapes")
    file, damage, words = CASES[case]
    damage(folder / file)
    root = tmp_path / "data"
    name = file.partition("/")[0]
    assert main([name, "--root", str(root), "--from", str(folder), "--unofficial"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("Error: ") and told.count("\n") == 1
    assert Path(file).name.removesuffix(".gz") in told
    for word in words:
        assert word in told
    assert not root.exists()


def test_where_nothing_can_be_read_or_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_file").write_text("")
    (tmp_path / "full" / "usps").mkdir(parents=True)
    (tmp_path / "full" / "usps" / "thesis.tex").write_text("precious")
    cases = {
        (tmp_path / "data", tmp_path / "nowhere"): "The folder given with --from does not exist",
        (tmp_path / "data", tmp_path / "a_file"): "The folder given with --from does not exist",
        (tmp_path / "a_file", folder): "choose another folder with --root",
        (tmp_path / "full", folder): "has other files in it (thesis.tex), which would be lost. Move them away",
    }
    for (root, where), words in cases.items():
        assert main(["usps", "--root", str(root), "--from", str(where), "--unofficial"]) == 1
        assert words in capsys.readouterr().err
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2**30, 2**30, 1000))
    assert main(["usps", "--root", str(tmp_path / "data"), "--from", str(folder), "--unofficial"]) == 1
    assert "The store 'usps' needs 0.0 MiB in" in (told := capsys.readouterr().err)
    assert "0.0 MiB are free. Free some space, or choose another folder with --root." in told
    assert not (tmp_path / "data").exists()


def test_without_permission(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with permissions.that_count():
        (folder / USPS).chmod(0)
        assert main(["usps", "--root", str(tmp_path / "data"), "--from", str(folder), "--unofficial"]) == 1
        assert "usps.bz2: Permission denied. Change that, or choose other folders with --from and --root." in (
            capsys.readouterr().err
        )
        (folder / USPS).chmod(0o644)
        (tmp_path / "closed").mkdir(mode=0o500)
        assert main(["usps", "--root", str(tmp_path / "closed" / "data"), "--from", str(folder), "--unofficial"]) == 1
        assert "choose another folder with --root" in capsys.readouterr().err
