"""The contact sheet of a store: images of each class in a row, so that a person sees at a glance what was prepared."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from domainmetric.data.contact_sheet import Row, contact_sheet
from domainmetric.data.domain import SPLITS, Split
from domainmetric.types import ImageSet

_PER_SPLIT: dict[Split, int] = {"train": 10, "test": 5}


def store_sheet(title: str, splits: Mapping[Split, ImageSet]) -> bytes:
    """A PNG: a row for each class, 10 training and 5 test images in it, taken at even distances through the set."""
    classes = splits["train"].classes
    blocks = {
        f"{split} ({len(splits[split]):,})": (
            _PER_SPLIT[split],
            [_chosen(splits[split], label, _PER_SPLIT[split]) for label in range(len(classes))],
        )
        for split in SPLITS
    }
    return contact_sheet(title, classes, blocks)


def _chosen(images: ImageSet, label: int, num: int) -> Row:
    assert images.labels is not None  # stores are labelled
    rows = np.flatnonzero(images.labels.numpy() == label)
    rows = rows[np.linspace(0, len(rows) - 1, min(num, len(rows))).astype(int)]
    return [images.images[int(row)].numpy() for row in rows]
