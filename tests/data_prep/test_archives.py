"""EMNIST's zip and MNIST-M's tar: read as others read them, unpacked nowhere, and refused where they are damaged."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets

from data_prep import mnistm
from data_prep.emnist import read_emnist
from data_prep.formats import read_mnist
from data_prep.mnistm import read_mnistm
from domainmetric.data.domain import SPLITS
from domainmetric.data.mnist_likes import FASHION_CLASSES, KMNIST_CLASSES
from domainmetric.errors import DataError
from tests.data_prep.official_files import (
    emnist_members,
    idx,
    mnistm_members,
    pixels,
    png,
    tarred,
    write_emnist,
    write_mnist,
    write_mnistm,
    zipped,
)

ZIP, TAR = "gzip.zip", "mnist_m.tar.gz"
IMAGES = "gzip/emnist-digits-train-images-idx3-ubyte.gz"
LABELS = "gzip/emnist-digits-test-labels-idx1-ubyte.gz"
LIST, PICTURE = "mnist_m/mnist_m_train_labels.txt", "mnist_m/mnist_m_test/00000003.png"


@pytest.mark.parametrize(
    ("kind", "classes"), [(datasets.KMNIST, KMNIST_CLASSES), (datasets.FashionMNIST, FASHION_CLASSES)]
)
def test_likes_of_mnist_are_as_torchvision_reads_them(
    kind: type[datasets.MNIST], classes: tuple[str, ...], tmp_path: Path
) -> None:
    write_mnist(tmp_path / "packed")
    write_mnist(tmp_path / kind.__name__ / "raw", packed=False)
    splits = read_mnist({path.name: path for path in (tmp_path / "packed").iterdir()}, classes=classes)
    for split in SPLITS:
        expected = kind(tmp_path, train=split == "train")
        assert torch.equal(splits[split].images[..., 0], expected.data)
        assert torch.equal(splits[split].labels, expected.targets)
        assert list(splits[split].classes) == expected.classes


def test_emnist_is_as_torchvision_reads_it_but_upright(tmp_path: Path) -> None:
    write_emnist(tmp_path)
    raw = tmp_path / "EMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in emnist_members().items():
        if name.endswith(".gz"):
            (raw / Path(name).stem).write_bytes(gzip.decompress(content))
    for split, found in read_emnist({ZIP: tmp_path / ZIP}).items():
        expected = datasets.EMNIST(tmp_path, split="digits", train=split == "train")
        assert torch.equal(found.images[..., 0], expected.data.transpose(1, 2))
        assert torch.equal(found.images[..., 0], torch.from_numpy(pixels(len(found), 28, 28)))
        assert torch.equal(found.labels, expected.targets)
        assert list(found.classes) == expected.classes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["EMNIST", ZIP]


@pytest.mark.filterwarnings("ignore:pkg_resources is deprecated:UserWarning")
def test_mnistm_is_as_pytorch_adapt_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pytorch_adapt.datasets import mnistm as theirs

    write_mnistm(tmp_path)
    for name, content in mnistm_members().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(theirs, "check_length", lambda *_: None)
    for split, found in read_mnistm({TAR: tmp_path / TAR}).items():
        expected = theirs.MNISTM(tmp_path, train=split == "train", transform=np.array)
        assert found.labels.tolist() == expected.labels
        assert all(np.array_equal(found.images[row], expected[row][0]) for row in range(len(expected)))


def of_zip(**changed: bytes | None) -> dict[str, bytes]:
    """EMNIST's members with others in place of those named; None takes one out."""
    return {name: content for name, content in {**emnist_members(), **changed}.items() if content is not None}


def of_tar(**changed: bytes | None) -> bytes:
    return tarred({name: content for name, content in {**mnistm_members(), **changed}.items() if content is not None})


def encrypted() -> bytes:
    """The archive with the flag of encryption on each member."""
    content = bytearray(zipped(emnist_members()))
    for signature, flag in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = content.find(signature)
        while at >= 0:
            content[at + flag] |= 1
            at = content.find(signature, at + 4)
    return bytes(content)


def announcing(kind: bytes) -> bytes:
    """A tar with a header of a megabyte, which tells of the member after it."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = kind, 2**20
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(header, io.BytesIO(bytes(header.size)))
    return packed.getvalue()


FEW = idx(np.zeros((5, 28, 28), np.uint8))
CASES = {
    "zip: empty": (ZIP, b"", "not a zip file"),
    "zip: a page": (ZIP, b"<html>not found</html>", "not a zip file"),
    "zip: cut": (ZIP, zipped(emnist_members())[:-40], "not a zip file"),
    "zip: a member is missing": (ZIP, zipped(of_zip(**{IMAGES: None})), f"should hold {IMAGES}, but does not"),
    "zip: a member is no gz": (ZIP, zipped(of_zip(**{IMAGES: b"plain"})), "Not a gzipped file"),
    "zip: a member is cut": (ZIP, zipped(of_zip(**{IMAGES: gzip.compress(FEW)[:-9]})), "EOFError"),
    "zip: other sizes": (ZIP, zipped(of_zip(**{IMAGES: gzip.compress(idx(pixels(5, 9, 9)))})), "(5, 9, 9)"),
    "zip: a label too high": (
        ZIP, zipped(of_zip(**{LABELS: gzip.compress(idx(np.full(20, 10, np.uint8)))})), "must lie in 0..9"
    ),
    "zip: packed by bzip2": (ZIP, zipped(emnist_members(), zipfile.ZIP_BZIP2), "packed in the unusual way 12"),
    "zip: encrypted": (ZIP, encrypted(), "password required"),
    "zip: more than it says": (
        ZIP, zipped(of_zip(**{IMAGES: gzip.compress(FEW + bytes(2**24))})), "3920 bytes, but more follow"
    ),
    "zip: a size that lies": (
        ZIP,
        zipped(of_zip(**{IMAGES: gzip.compress(idx(pixels(1, 28, 28))[:4] + struct.pack(">3I", 2**32 - 1, 28, 28))})),
        "at most 268,435,456 are read",
    ),
    "zip: a long list of members": (
        ZIP, zipped({**emnist_members(), **{f"{number:060000}": b"" for number in range(20)}}), "are above 1,048,576"
    ),
    "tar: a long name": (TAR, announcing(tarfile.GNUTYPE_LONGNAME), "a header has 1,048,576 bytes, above 65,536"),
    "tar: a long addition": (TAR, announcing(tarfile.XHDTYPE), "a header has 1,048,576 bytes, above 65,536"),
    "tar: empty": (TAR, b"", "damaged or truncated"),
    "tar: a page": (TAR, b"<html>not found</html>", "Not a gzipped file"),
    "tar: no tar": (TAR, gzip.compress(b"plain" * 1000), "ReadError"),
    "tar: nothing in it": (TAR, tarred({}), "its train set is not sound"),
    "tar: cut": (TAR, of_tar()[:-5000], "EOFError"),
    "tar: no labels": (TAR, of_tar(**{LIST: None}), "its train set is not sound"),
    "tar: a picture is missing": (TAR, of_tar(**{PICTURE: None}), "00000003.png of the test labels is missing"),
    "tar: a picture is none": (TAR, of_tar(**{PICTURE: b"plain"}), "cannot identify image file"),
    "tar: a picture is cut": (TAR, of_tar(**{PICTURE: png(pixels(32, 32, 3))[:900]}), "damaged or truncated"),
    "tar: a grey picture": (TAR, of_tar(**{PICTURE: png(pixels(32, 32))}), "in mode L"),
    "tar: a larger picture": (TAR, of_tar(**{PICTURE: png(pixels(40, 40, 3))}), "its test set is not sound"),
    "tar: a vast picture": (
        TAR, of_tar(**{PICTURE: png(np.zeros((600, 600, 3), np.uint8))}), "a picture is (600, 600)"
    ),
    "tar: a picture of many bytes": (TAR, of_tar(**{PICTURE: bytes(2**15)}), "of 32,768 bytes, too many"),
    "tar: labels that are none": (TAR, of_tar(**{LIST: b"00000000.png seven\n"}), "its train set is not sound"),
    "tar: labels outside ASCII": (TAR, of_tar(**{LIST: b"\xff"}), "UnicodeDecodeError"),
    "tar: a list of other files": (TAR, of_tar(**{LIST: b"../../secret.png 1\n"}), "its train set is not sound"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_damaged_archive_is_refused(case: str, tmp_path: Path) -> None:
    name, content, words = CASES[case]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as told:
        (read_emnist if name == ZIP else read_mnistm)({name: path})
    assert str(told.value).startswith(str(path)) and words in str(told.value)
    assert list(tmp_path.iterdir()) == [path], "nothing is unpacked to the disk"


@pytest.mark.usefixtures("unchecked_shapes")
def test_fewer_images_than_labels_are_refused(tmp_path: Path) -> None:
    (tmp_path / ZIP).write_bytes(zipped(of_zip(**{IMAGES: gzip.compress(FEW)})))
    with pytest.raises(DataError, match=r"train-labels.*Expected 5 labels, one for each image"):
        read_emnist({ZIP: tmp_path / ZIP})


def test_an_archive_that_unpacks_without_end_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnistm, "MAX_ARCHIVE", 2**20)
    monkeypatch.setattr(mnistm, "MAX_MEMBERS", 60)
    for members, words in (
        ({"big": bytes(2**21)}, "more than 1,048,576 bytes came"),
        ({f"{number}": b"" for number in range(61)}, "holds more than 60 members"),
    ):
        (tmp_path / TAR).write_bytes(tarred(members))
        with pytest.raises(DataError, match=words):
            read_mnistm({TAR: tmp_path / TAR})


def test_members_that_belong_elsewhere_are_not_read(tmp_path: Path) -> None:
    extra = {"../../escape.png": b"x", "/etc/passwd": b"x", "mnist_m/mnist_m_train/../../up.png": b"x"}
    (tmp_path / TAR).write_bytes(tarred({**extra, **mnistm_members()}))
    assert len(read_mnistm({TAR: tmp_path / TAR})["train"]) == 30
    assert [path.name for path in tmp_path.iterdir()] == [TAR]
