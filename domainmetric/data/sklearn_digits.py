"""scikit-learn's handwritten digits: a real target domain that comes with the dependencies.

1,797 images of 8x8 (Alpaydin and Kaynak 1998, the test part of the UCI optical recognition set), split once and for all
into 1,297 for training and 500 for the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from domainmetric.data.digits import DIGIT_CLASSES
from domainmetric.data.domain import Domain, Split, spec_hash
from domainmetric.data.framing import Framing, Resize
from domainmetric.types import ImageSet

_VERSION = 1  # of the split and the conversion
_NUM_TEST = 500
_SPLIT_SEED = 0


@dataclass(frozen=True, kw_only=True)
class SklearnDigits(Domain):
    """Handwritten digits of scikit-learn, grey, ten classes, enlarged from 8x8; 1,297 train / 500 test, stratified."""

    @property
    def name(self) -> str:
        """sklearn_digits."""
        return "sklearn_digits"

    @property
    def channels(self) -> int:
        """1."""
        return 1

    @property
    def classes(self) -> tuple[str, ...]:
        """The ten digits; label i is digit i."""
        return DIGIT_CLASSES

    def load(self, split: Split, *, root: Path, size: int) -> ImageSet:
        """One split, resized to size x size; `root` is not read."""
        digits = load_digits()
        every = np.arange(len(digits.target))
        train, test = train_test_split(every, test_size=_NUM_TEST, random_state=_SPLIT_SEED, stratify=digits.target)
        rows = np.sort(train if split == "train" else test)
        pixels = np.rint(digits.images[rows] * (255 / 16)).astype(np.uint8)  # they come as 0..16
        framing: Framing = Resize()
        images = framing.apply(torch.from_numpy(pixels)[..., None], size)
        labels = torch.from_numpy(digits.target[rows].astype(np.int64))
        return ImageSet(images=images, labels=labels, classes=self.classes)

    def hashes(self, root: Path, *, size: int) -> dict[str, str]:
        """A hash over the spec and its version; the images come with scikit-learn."""
        return {"spec": spec_hash(self, version=_VERSION)}
