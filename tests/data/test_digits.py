"""The stored digit domains and scikit-learn's digits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

from domainmetric.data.digits import DIGIT_CLASSES, Emnist, Mnist, MnistM, Svhn, Usps
from domainmetric.data.domain import Domain, Split
from domainmetric.data.framing import Pad
from domainmetric.data.mnist_likes import FashionMnist, Kmnist
from domainmetric.data.sklearn_digits import SklearnDigits
from domainmetric.data.store import write_store
from domainmetric.errors import DataError, DataNotPrepared
from domainmetric.types import ImageSet

SIDES = {"svhn": 32, "mnist": 28, "usps": 16, "emnist": 28, "mnistm": 28, "kmnist": 28, "fashion": 28}
DOMAINS: list[Domain] = [Svhn(), Mnist(), Usps(), Emnist(), MnistM(), Kmnist(), FashionMnist()]


def write_digits(root: Path, name: str, channels: int, classes: tuple[str, ...] = DIGIT_CLASSES) -> None:
    splits: dict[Split, ImageSet] = {}
    for split, num in (("train", 20), ("test", 10)):
        shape = (num, SIDES[name], SIDES[name], channels)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(num))
        splits[split] = ImageSet(images=images, labels=torch.arange(num) % 10, classes=classes)  # type: ignore[index]
    write_store(root, name, splits, sources=[])


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)
def test_load_frames_and_labels(domain: Domain, tmp_path: Path) -> None:
    write_digits(tmp_path, domain.name, domain.channels, domain.classes or ())
    train = domain.load("train", root=tmp_path, size=32)
    assert train.images.shape == (20, 32, 32, domain.channels)
    assert torch.equal(train.labels, torch.arange(20) % 10)
    assert len(domain.load("test", root=tmp_path, size=32)) == 10
    assert set(domain.hashes(tmp_path, size=32)) == {"train_images", "train_labels", "test_images", "test_labels"}


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)
def test_missing_store_is_said(domain: Domain, tmp_path: Path) -> None:
    with pytest.raises(DataNotPrepared, match=f"data_prep {domain.name}"):
        domain.load("train", root=tmp_path, size=32)


def test_mnist_comes_scale_matched_or_padded(tmp_path: Path) -> None:
    write_digits(tmp_path, "mnist", 1)
    matched, padded = (mnist.load("train", root=tmp_path, size=32).images for mnist in (Mnist(), Mnist(framing=Pad())))
    assert (padded[:, :2] == 0).all()
    assert torch.equal(Mnist().load("train", root=tmp_path, size=24).images, padded[:, 4:28, 4:28])
    assert not torch.equal(matched, padded)


def test_store_of_other_images_is_refused(tmp_path: Path) -> None:
    write_digits(tmp_path, "svhn", 1)
    with pytest.raises(DataError, match=r"3-channel.*--force"):
        Svhn().load("train", root=tmp_path, size=32)
    write_digits(tmp_path, "usps", 1, classes=tuple("abcdefghij"))
    with pytest.raises(DataError, match="'a'"):
        Usps().load("train", root=tmp_path, size=32)


def test_sklearn_digits_are_split_once_and_for_all(tmp_path: Path) -> None:
    train, test = (SklearnDigits().load(split, root=tmp_path, size=8) for split in ("train", "test"))
    assert (len(train), len(test)) == (1297, 500)
    assert int(train.labels.bincount().min()) >= 120
    assert int(test.labels.bincount().min()) >= 45
    both = torch.cat([train.images, test.images]).flatten(1).double()
    original = torch.from_numpy(load_digits().images).flatten(1)
    assert abs(float(both.sum() * 16 / 255 / original.sum()) - 1) < 1e-3
    assert int(both.max()) == 255
    seen = {bytes(row) for row in train.images.flatten(1).numpy()}
    assert not any(bytes(row) in seen for row in test.images.flatten(1).numpy())


def test_sklearn_digits_enlarged(tmp_path: Path) -> None:
    test = SklearnDigits().load("test", root=tmp_path, size=32)
    assert test.images.shape == (500, 32, 32, 1)
    assert SklearnDigits().hashes(tmp_path, size=8) == SklearnDigits().hashes(tmp_path / "elsewhere", size=8)
