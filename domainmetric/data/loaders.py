"""torch's data loaders, in and out: images that a `DataLoader` yields, and image sets that a `DataLoader` can take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from domainmetric.data.augment import to_float
from domainmetric.errors import DataError
from domainmetric.types import ImageSet, check_images


class TorchImages(Dataset[Any]):
    """An image set as torchvision's would be: items (image, label), an image float (c h w) in [0, 1], or it alone.

        loader = DataLoader(TorchImages(Mnist().load("train", root=Path("data"), size=32)), batch_size=64, shuffle=True)

    pytorch-adapt's `SourceDataset` and `TargetDataset` take it, too.
    """

    def __init__(self, images: ImageSet) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[Float[Tensor, "c h w"], int] | Float[Tensor, "c h w"]:
        image = to_float(self.images.images[row][None])[0]
        return image if self.images.labels is None else (image, int(self.images.labels[row]))


def loaded(loader: DataLoader[Any] | Iterable[Any]) -> Iterator[UInt8[Tensor, "b h w c"]]:
    """The images of each batch in turn. A batch is a tensor of images, or begins with one, as (images, labels) does.

    Images are channels first, (b c h w), as torchvision's `ToTensor` and `PILToTensor` leave them: floats in [0, 1], or
    uint8. Raises DataError for others; floats outside, such as normalized ones, have lost what 0..1 means.
    """
    empty = True
    for batch in loader:
        empty = False
        images = batch[0] if isinstance(batch, tuple | list) and batch else batch
        if not isinstance(images, Tensor) or images.ndim != 4:
            came = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise DataError(
                f"A loader's batch must be a tensor of images (b c h w), or begin with one, but it is {came}."
            )
        if images.is_floating_point():
            images = _to_uint8(images)
        images = images.permute(0, 2, 3, 1)
        check_images(images)
        yield images
    if empty:
        raise DataError("Expected a loader with at least one batch, but it has none.")


def _to_uint8(images: Float[Tensor, "b c h w"]) -> UInt8[Tensor, "b c h w"]:
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):
        raise DataError(
            f"A loader's floats must lie in [0, 1], but span {low:g}..{high:g}. Take the normalization out of its "
            "transform: networks here are trained on 0..1."
        )
    return images.mul(255).round().to(torch.uint8)
