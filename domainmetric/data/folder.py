"""Folders of images: one folder for each class, as ImageFolder, Office-31 and Office-Home have them, or all in one."""

from __future__ import annotations

import hashlib
import os
from abc import ABC
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from domainmetric.data.converted import Converted, Items, check_share, divided, slug, split_by_name, stamp
from domainmetric.data.domain import SPLITS, Split
from domainmetric.data.pictures import SUFFIXES
from domainmetric.errors import DataError


@dataclass(frozen=True, kw_only=True)
class _Folder(Converted, ABC):
    """Images below a folder."""

    path: Path
    """The folder."""
    test_share: float = 0.1
    """Share of the images that is held out as the test split, each by a hash of its name; not used where the folder has
    `train` and `test` folders itself."""
    alias: str | None = None
    """Name of the domain in runs and reports; None takes the folder's own."""

    def __post_init__(self) -> None:
        check_share(self.test_share, f"{type(self).__name__}.test_share")

    @property
    def name(self) -> str:
        """The alias, or the name of the folder."""
        return slug(self.alias or self.path.absolute().name)

    def origin(self) -> str:
        return f"{type(self).__name__} {self.path.absolute()} {self.test_share} {self.classes}"

    def fingerprint(self) -> str:
        """Of the names, sizes and times of change of all files."""
        digest = hashlib.sha256()
        for line in sorted(f"{name}\0{stamp(entry.stat())}\n" for name, entry in walk(self.folder())):
            digest.update(line.encode())
        return digest.hexdigest()

    def folder(self) -> Path:
        """The folder. Raises DataError where it is not there."""
        if not self.path.is_dir():
            raise DataError(f"There is no folder {self.path} of images for {type(self).__name__}(path=...).")
        return self.path

    def has_splits(self) -> bool:
        """Whether the folder is made of one for each split."""
        return all((self.path / split).is_dir() for split in SPLITS)

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
        names, labels = [], []
        for name in sorted(name for name, _ in walk(self.folder())):
            parts = name.split("/")
            if len(parts) > depth + 1 and parts[depth] in place and (not depth or parts[0] in SPLITS):
                names.append(name)
                labels.append(place[parts[depth]])
        return self.in_splits(names, np.array(labels, dtype=np.int64))

    def _found(self) -> tuple[str, ...]:
        """The names of the class folders. Raises DataError where there are none."""
        roots = [self.folder() / split for split in SPLITS] if self.has_splits() else [self.folder()]
        names = {
            entry.name
            for root in roots
            for entry in root.iterdir()
            if entry.is_dir() and not entry.name.startswith(".")
        }
        if not names:
            raise DataError(
                f"{self.path} has no class folders. For a folder of images without labels, use "
                "UnlabelledFolder(path=...)."
            )
        return tuple(sorted(names))


@dataclass(frozen=True, kw_only=True)
class UnlabelledFolder(_Folder):
    """All images below a folder, without labels: a target."""

    @property
    def classes(self) -> None:
        """None."""
        return None

    def items(self) -> dict[Split, Items]:
        names = sorted(name for name, _ in walk(self.folder()))
        if self.has_splits():
            names = [name for name in names if name.split("/")[0] in SPLITS]
        return self.in_splits(names, None)


def walk(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every image below a folder with its name relative to it, parts joined by slashes; hidden folders are left out."""
    waiting = [("", folder)]
    while waiting:
        prefix, place = waiting.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    waiting.append((f"{prefix}{entry.name}/", Path(entry.path)))
                elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                    yield prefix + entry.name, entry
