"""Folders of images: one folder for each class, as ImageFolder, Office-31 and Office-Home have them, or all in one."""

from __future__ import annotations

import hashlib
import os
from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from domainmetric.data.converted import Converted, Items, as_bytes, check_share, divided, slug, split_by_name, stamp
from domainmetric.data.domain import SPLITS, Split
from domainmetric.data.pictures import walk
from domainmetric.errors import DataError, nearest

UNUSED = frozenset({"val", "valid", "validation", "dev", "training", "testing"})
"""Names of splits that a domain does not have, so that they must not pass for classes, nor be left out unsaid."""


@dataclass(frozen=True, kw_only=True)
class _Folder(Converted, ABC):
    """Images below a folder."""

    path: Path
    """The folder."""
    test_share: float = 0.1
    """Share of the images that is held out as the test split, each by a hash of its name; not used where the folder has
    `train` and `test` folders itself."""
    alias: str | None = None
    """Name of the domain in runs and reports; None takes the folder's own, or of `amazon/images` that of `amazon`."""

    def __post_init__(self) -> None:
        check_share(self.test_share, f"{type(self).__name__}.test_share")

    @property
    def name(self) -> str:
        """The alias, or the name of the folder; of one called `images`, as in Office-31, that of the one above it."""
        place = self.path.absolute()
        return slug(self.alias or (place.parent.name if place.name == "images" else "") or place.name)

    def origin(self) -> str:
        return f"{type(self).__name__} {self.path.absolute()} {self.test_share} {self.classes}"

    def fingerprint(self) -> str:
        """Of the names, sizes and times of change of all files."""
        digest = hashlib.sha256()
        for line in sorted(f"{name}\0{self._stamp(entry)}\n" for name, entry in walk(self.folder())):
            digest.update(as_bytes(line))
        return digest.hexdigest()

    def _stamp(self, entry: os.DirEntry[str]) -> str:
        try:
            return stamp(entry.stat())
        except OSError as error:
            raise DataError(f"{entry.path} cannot be read: {error.strerror}. Repair or remove it.") from error

    def folder(self) -> Path:
        """The folder. Raises DataError where it is not there."""
        if not self.path.is_dir():
            raise DataError(f"There is no folder {self.path} of images for {type(self).__name__}(path=...).")
        return self.path

    def has_splits(self) -> bool:
        """Whether the folder is made of one for each split."""
        return all((self.path / split).is_dir() for split in SPLITS)

    def check_splits(self) -> None:
        """Raise DataError where a third split lies beside `train` and `test`: its images would be left out unsaid."""
        unused = [place.name for place in self.path.iterdir() if place.name.lower() in UNUSED and place.is_dir()]
        if self.has_splits() and unused:
            raise DataError(
                f"{self.path} has a folder '{unused[0]}' beside train and test, and a domain has these two alone. "
                f"Move it elsewhere, or its images to train or test; as '.{unused[0]}' it is left out."
            )

    def in_splits(self, names: Sequence[str], labels: np.ndarray | None) -> dict[Split, Items]:
        """Files below the folder, by their names relative to it, in their splits."""
        if self.has_splits():
            test = np.array([name.split("/")[0] == "test" for name in names], dtype=bool)
        elif names:
            test = split_by_name(names, self.test_share)
        else:
            test = np.zeros(0, bool)
        files = [os.path.join(self.path, name) for name in names]  # text: a million paths would take half a gigabyte
        return divided(files, labels, test, f"{self.path}")


@dataclass(frozen=True, kw_only=True)
class Folder(_Folder):
    """A folder of class folders: `photos/cat/*.jpg`, or `photos/train/cat/*.jpg` beside `photos/test/cat/*.jpg`.

    Images may lie in further folders below those of the classes, and be of any size and kind that Pillow reads.
    """

    classes: tuple[str, ...] | None = None
    """Class folders, in the order of the labels; None takes all there are, by name. Recorded with a run, which then can
    be used where the folder is not."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes is None:
            object.__setattr__(self, "classes", self._found())

    def items(self) -> dict[Split, Items]:
        assert self.classes is not None
        place = {name: label for label, name in enumerate(self.classes)}
        depth = 1 if self.has_splits() else 0
        self._check_classes()
        names, labels = [], []
        for name in sorted(name for name, _ in walk(self.folder())):
            parts = name.split("/")
            if len(parts) > depth + 1 and parts[depth] in place and (not depth or parts[0] in SPLITS):
                names.append(name)
                labels.append(place[parts[depth]])
        return self.in_splits(names, np.array(labels, dtype=np.int64))

    def _found(self) -> tuple[str, ...]:
        """The names of the class folders. Raises DataError where there are none, or where some are splits."""
        names = self._folders()
        if not names:
            raise DataError(
                f"{self.path} has no class folders. For a folder of images without labels, use "
                "UnlabelledFolder(path=...)."
            )
        splits = [name for name in names if name.lower() in UNUSED]
        if not splits and set(names) <= set(SPLITS):
            splits = names
        if splits:
            raise DataError(
                f"{self.path} has a folder '{splits[0]}', which looks like a split, not like a class. A folder of "
                "splits must have one called train and one called test, with class folders in each, and no other: "
                f"rename or move '{splits[0]}'. Where it is a class, say so with Folder(classes=(...))."
            )
        return tuple(names)

    def _folders(self) -> list[str]:
        """The names of the folders where class folders are expected, in order."""
        roots = [self.folder() / split for split in SPLITS] if self.has_splits() else [self.folder()]
        entries = [entry for root in roots for entry in root.iterdir()]
        return sorted({entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")})

    def _check_classes(self) -> None:
        """Raise DataError where a class has no folder, or a split is none of ours."""
        self.check_splits()
        there = self._folders()
        for name in self.classes or ():
            if name not in there:
                raise DataError(
                    f"{self.path} has no folder of the class '{name}' of Folder.classes.{nearest(name, there)}"
                )


@dataclass(frozen=True, kw_only=True)
class UnlabelledFolder(_Folder):
    """All images below a folder, without labels: a target."""

    @property
    def classes(self) -> None:
        """None."""
        return None

    def items(self) -> dict[Split, Items]:
        names = sorted(name for name, _ in walk(self.folder()))
        self.check_splits()
        if self.has_splits():
            names = [name for name in names if name.split("/")[0] in SPLITS]
        return self.in_splits(names, None)
