"""torch's data loaders, in and out: what goes out comes back, bit by bit, and others' images are taken or refused."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision import transforms

from domainmetric.alignment.adapt_keys import from_adapt
from domainmetric.data.loaders import TorchImages, loaded
from domainmetric.data.pictures import batches
from domainmetric.errors import DataError
from domainmetric.types import ImageSet
from tests import tiny

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorch_adapt.datasets import CombinedSourceAndTargetDataset, SourceDataset, TargetDataset


def images(count: int, channels: int = 3) -> ImageSet:
    draw = torch.Generator().manual_seed(count)
    pixels = torch.randint(0, 256, (count, 6, 5, channels), dtype=torch.uint8, generator=draw)
    return ImageSet(images=pixels, labels=torch.arange(count) % 2, classes=("a", "b"))


def loader(dataset: Dataset[Any], size: int = 4) -> DataLoader[Any]:
    return DataLoader(dataset, batch_size=size, generator=torch.Generator().manual_seed(0))


def test_what_goes_out_comes_back() -> None:
    given = images(10)
    out = list(loader(TorchImages(given)))
    assert [len(batch[0]) for batch in out] == [4, 4, 2]
    assert torch.equal(torch.cat([batch[1] for batch in out]), given.labels)
    assert torch.equal(torch.cat(list(loaded(out))), given.images)


def test_items_are_those_of_torchvision() -> None:
    given = images(3)
    for row in range(3):
        image, label = TorchImages(given)[row]
        expected = transforms.ToTensor()(Image.fromarray(given.images[row].numpy()))
        assert torch.equal(image, expected) and label == int(given.labels[row])
    alone = TorchImages(given.unlabelled())[2]
    assert isinstance(alone, Tensor) and torch.equal(alone, TorchImages(given)[2][0])


def test_every_byte_survives_the_way_through_floats() -> None:
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)
    given = ImageSet(images=every, labels=None, classes=("a",))
    assert torch.equal(next(loaded(loader(TorchImages(given)))), every)
    between = torch.tensor([10.4, 10.6]).reshape(2, 1, 1, 1) / 255
    assert next(loaded([between])).flatten().tolist() == [10, 11]


def test_uint8_images_of_torchvision_are_taken_as_they_are() -> None:
    given = images(5)
    first = TensorDataset(given.images.permute(0, 3, 1, 2), given.labels)
    assert torch.equal(torch.cat(list(loaded(loader(first)))), given.images)


def test_a_loader_is_framed_and_colored_as_other_pictures_are() -> None:
    given, domain = images(9), tiny.Grey()

    def frame(raw: Tensor) -> Tensor:
        return domain.frame(raw, 4)

    from_loader, from_array = (
        torch.cat(list(batches(pictures, channels=1, frame=frame)))
        for pictures in (loader(TorchImages(given)), given.images.numpy())
    )
    assert from_loader.shape == (9, 4, 4, 1) and torch.equal(from_loader, from_array)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (torch.randn(2, 3, 6, 6), r"floats must lie in \[0, 1\], but span -.*Take the normalization out"),
        (torch.full((2, 3, 6, 6), torch.nan), r"span nan..nan"),
        (torch.zeros(2, 6, 6), r"\(b c h w\), or begin with one, but it is \(2, 6, 6\)"),
        (torch.zeros(2, 6, 6, 3), r"shape \(n, height, width, 1 or 3\), but came as \(2, 6, 3, 6\)"),
        (torch.zeros(2, 3, 6, 6, dtype=torch.int64), "must be uint8"),
        ({"image": torch.zeros(2, 3, 6, 6)}, "but it is dict"),
        ([], "but it is list"),
    ],
)
def test_what_is_no_batch_of_images_is_refused(batch: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        list(loaded([batch]))


def test_a_loader_without_batches_is_refused() -> None:
    with pytest.raises(DataError, match="at least one batch"):
        list(loaded([]))


def test_image_sets_in_loaders_of_pytorch_adapt() -> None:
    source, target = images(7), images(8, channels=1)
    both = CombinedSourceAndTargetDataset(SourceDataset(TorchImages(source)), TargetDataset(TorchImages(target)))
    before = np.random.get_state()
    batch = next(iter(loader(both, 5)))
    np.random.set_state(before)  # theirs draws source items from numpy's global state
    assert set(batch["src_domain"].tolist()) == {0} and set(batch["target_domain"].tolist()) == {1}
    ours, theirs = from_adapt(batch)
    assert torch.equal(next(loaded([ours.images])), source.images[ours.rows])
    assert torch.equal(ours.labels, source.labels[ours.rows])
    assert torch.equal(next(loaded([theirs.images])), target.images[theirs.rows]) and len(theirs.rows) == 5
