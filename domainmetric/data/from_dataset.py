"""Images that Python code has: arrays, a torch data set such as torchvision's, or one of Hugging Face's `datasets`."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from domainmetric.data.converted import Converted, Items, checked_splits, slug
from domainmetric.data.domain import SPLITS, Split
from domainmetric.data.pictures import Picture
from domainmetric.errors import DataError


@dataclass(frozen=True, kw_only=True)
class FromDataset(Converted):
    """Images that a function of yours gives, called with `"train"` and with `"test"`.

    It returns arrays or tensors `(images, labels)`, images uint8 (n h w) or (n h w c), labels whole numbers or None; or
    anything with a length whose items are `(image, label)`, an image alone, or mappings with `image` and `label`: a
    torchvision data set, or one of Hugging Face's. An image is a PIL image, a path, or a uint8 array (h w) or (h w c).

    The images are converted once. They are converted anew when the file of the function changes; data that changes
    without it, remove from the data folder yourself.
    """

    get: Callable[[str], Any]
    """The function, defined at the top of a file, so that the run's record can name it."""
    classes: tuple[str, ...] | None = None
    """Class names, in the order of the labels; None for images without labels."""
    alias: str | None = None
    """Name of the domain in runs and reports; None takes the function's."""

    @property
    def name(self) -> str:
        """The alias, or the name of the function."""
        return slug(self.alias or self.get.__name__)

    def origin(self) -> str:
        return f"{self.get.__module__} {self.get.__qualname__} {self.classes}"

    def fingerprint(self) -> str:
        """Of the file in which the function stands."""
        return hashlib.sha256(Path(inspect.getfile(self.get)).read_bytes()).hexdigest()

    def items(self) -> dict[Split, Items]:
        return checked_splits({split: self._split(split) for split in SPLITS}, f"'{self.name}'")

    def _split(self, split: Split) -> Items:
        found = self.get(split)
        if isinstance(found, tuple) and len(found) == 2 and is_array(found[0]):
            images, labels = found
        elif hasattr(found, "__len__") and hasattr(found, "__getitem__"):
            images, labels = Lazy(found, self.name), None
            if self.classes is not None:
                labels = labels_in(found, self.name)
        else:
            raise DataError(
                f"{self.get.__qualname__}('{split}') must return (images, labels) or a data set with a length and "
                f"items, but returned a {type(found).__name__}."
            )
        if (labels is None) != (self.classes is None):
            raise DataError(
                f"'{self.name}' {split} has {'no ' if labels is None else ''}labels, but FromDataset.classes "
                f"{'names classes' if labels is None else 'is None'}. Give both or neither."
            )
        return Items(pictures=images, labels=None if labels is None else self._checked(labels, len(images)))

    def _checked(self, labels: Any, count: int) -> np.ndarray:
        found, most = np.asarray(labels), len(self.classes or ())
        if found.shape != (count,) or found.dtype.kind not in "iu" or not ((found >= 0) & (found < most)).all():
            raise DataError(
                f"'{self.name}' must have {count} whole-number labels in 0..{most - 1}, one for each image, but they "
                f"are {found.dtype} {found.shape}" + (f", from {found.min()} to {found.max()}." if found.size else ".")
            )
        return found.astype(np.int64)


class Lazy(Sequence[Picture]):
    """The images of a data set, each taken when it is asked for."""

    def __init__(self, dataset: Any, name: str) -> None:
        self.dataset, self.name = dataset, name

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return image_of(self.dataset[index], self.name)


def image_of(item: Any, name: str) -> Any:
    """The image of an item. Raises DataError where a mapping has none."""
    if isinstance(item, Mapping):
        if "image" not in item:
            raise DataError(f"Items of '{name}' must have an `image`, but have {', '.join(item)}. Rename the column.")
        return item["image"]
    return item[0] if isinstance(item, tuple | list) else item


def labels_in(dataset: Any, name: str) -> Any:
    """All labels of a data set: its column or its `targets`, where it has one, else item by item."""
    columns = getattr(dataset, "column_names", None)
    if columns is not None:
        if "label" not in columns:
            raise DataError(f"Items of '{name}' must have a `label`, but have {', '.join(columns)}. Rename the column.")
        return np.asarray(dataset["label"])
    for known in ("targets", "labels"):
        found = getattr(dataset, known, None)
        if found is not None and len(found) == len(dataset):
            return np.asarray(found)
    try:
        return np.array([int(dataset[index][1]) for index in range(len(dataset))])
    except (TypeError, IndexError, KeyError, ValueError) as error:
        raise DataError(f"Items of '{name}' must be (image, label), but have no label: {error}.") from error


def is_array(value: Any) -> bool:
    """Whether this is an array or tensor of images."""
    return isinstance(value, np.ndarray | Tensor)
