"""SVHN -> MNIST's settings on other pairs: what a user gets who changes the domains and nothing else.

Recipes for USPS -> MNIST, MNIST -> USPS, MNIST -> SVHN, generated street digits -> SVHN, and two folders of images
(`folders`: MNIST and USPS as PNG files in class folders, which `python -m experiments.other_pairs FOLDER` writes from
the prepared data). Weights, schedules, steps and networks are `quick_full`'s; only the views of grey sources are never
made grey, since that would do nothing. Beside each its source-only bound.

Command: `python -m experiments.ladder other_pairs --seeds 21 22 23` (30 runs of two to five minutes of one thread).
Needs `python -m data_prep svhn mnist usps`.

Finding (seeds 21 to 23, target test accuracy and source only): USPS -> MNIST 99.2 (95.0), MNIST -> USPS 97.8 (96.5),
generated street digits -> SVHN 83.0 (78.6), MNIST -> SVHN 67.4 (51.0), folders of USPS and MNIST files 99.1 (89.6).
Every seed ends above its bound. Street digits gain 4.5 points, and not the ten that were hoped for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from domainmetric import (
    Augment,
    Augmentation,
    Domain,
    Experiment,
    Folder,
    Mnist,
    Pair,
    Resize,
    StreetDigits,
    Svhn,
    Usps,
)
from domainmetric.data.domain import SPLITS
from experiments.svhn_to_mnist import quick_full, quick_source_only

FOLDERS = Path(os.environ.get("DOMAINMETRIC_FOLDERS") or "digit_folders")
"""Where `folders` finds `mnist/` and `usps/`."""


def on(base: Experiment, source: Domain, target: Domain, name: str) -> Experiment:
    """A recipe on another pair, and nothing else changed."""
    grey = 0.5 if source.channels == 3 else 0.0
    views = Augmentation(source=Augment(invert=0.5, grey=grey), target=base.augmentation.target)
    return replace(base, name=name, data=Pair(source=source, target=target), augmentation=views)


def usps_to_mnist() -> Experiment:
    """`quick_full` from envelopes to MNIST."""
    return on(quick_full(), Usps(), Mnist(), "usps_to_mnist")


def usps_to_mnist_source_only() -> Experiment:
    """Trained on USPS alone."""
    return on(quick_source_only(), Usps(), Mnist(), "usps_to_mnist_source_only")


def mnist_to_usps() -> Experiment:
    """`quick_full` the other way."""
    return on(quick_full(), Mnist(), Usps(), "mnist_to_usps")


def mnist_to_usps_source_only() -> Experiment:
    """Trained on MNIST alone, read on USPS."""
    return on(quick_source_only(), Mnist(), Usps(), "mnist_to_usps_source_only")


def mnist_to_svhn() -> Experiment:
    """`quick_full` from MNIST to house numbers: the hard direction, since the source has one background."""
    return on(quick_full(), Mnist(), Svhn(), "mnist_to_svhn")


def mnist_to_svhn_source_only() -> Experiment:
    """Trained on MNIST alone, read on SVHN."""
    return on(quick_source_only(), Mnist(), Svhn(), "mnist_to_svhn_source_only")


def street_to_svhn() -> Experiment:
    """`quick_full` from generated street digits to real ones."""
    return on(quick_full(), StreetDigits(), Svhn(), "street_to_svhn")


def street_to_svhn_source_only() -> Experiment:
    """Trained on generated street digits alone."""
    return on(quick_source_only(), StreetDigits(), Svhn(), "street_to_svhn_source_only")


def folders() -> Experiment:
    """`quick_full` on two folders of PNG files."""
    return on(quick_full(), folder("usps"), folder("mnist"), "folders")


def folders_source_only() -> Experiment:
    """Trained on one of the folders alone."""
    return on(quick_source_only(), folder("usps"), folder("mnist"), "folders_source_only")


def folder(name: str) -> Folder:
    """A folder of grey images."""
    return Folder(path=FOLDERS / name, channels=1, classes=tuple("0123456789"))


def write_folders(place: Path, root: Path) -> None:
    """The prepared images of MNIST and USPS as PNG files, in a folder for each split and class."""
    for domain, size in ((Mnist(), 28), (Usps(), 16)):
        for split in SPLITS:
            images = replace(domain, framing=Resize()).load(split, root=root, size=size)
            assert images.labels is not None
            for label in images.classes:
                (place / domain.name / split / label).mkdir(parents=True, exist_ok=True)
            for row, (image, label) in enumerate(zip(images.images.numpy(), images.labels.tolist(), strict=True)):
                Image.fromarray(image[..., 0]).save(place / domain.name / split / str(label) / f"{row:05d}.png")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the folders of the recipe `folders`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if len(words) != 1:
        print("Usage: python -m experiments.other_pairs FOLDER", file=sys.stderr)
        return 2
    write_folders(Path(words[0]), Path(os.environ.get("DOMAINMETRIC_DATA") or "data"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
