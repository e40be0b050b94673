"""What bears the name of an image and is none, or has no end: refused at once, by its name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from domainmetric.data.domain import SPLITS
from domainmetric.data.folder import Folder
from domainmetric.data.pictures import MAX_BYTES, read
from domainmetric.errors import DataError


def vast(path: Path) -> None:
    path.touch()
    os.truncate(path, MAX_BYTES + 1)


ODD: dict[str, tuple[Callable[[Path], None], str]] = {
    "a pipe": (os.mkfifo, "but is none. Take it out"),
    "a device without end": (lambda path: path.symlink_to("/dev/zero"), "but is none. Take it out"),
    "a folder": (Path.mkdir, "but is none. Take it out"),
    "a vast file": (vast, "but is one of 536,870,913. Take it out"),
    "a link to nothing": (lambda path: path.symlink_to("nowhere"), "There is no image"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_file_of_a_bounded_size_is_refused(kind: str, tmp_path: Path) -> None:
    make, words = ODD[kind]
    make(tmp_path / "x.png")
    with pytest.raises(DataError) as told:
        read(tmp_path / "x.png")
    assert "x.png" in str(told.value) and words in str(told.value)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["a pipe", "a device without end"])
def test_a_domain_of_a_folder_with_one_is_refused(kind: str, tmp_path: Path) -> None:
    for split in SPLITS:
        for name in ("bar", "ring"):
            (tmp_path / "own" / split / name).mkdir(parents=True)
            Image.new("L", (8, 8)).save(tmp_path / "own" / split / name / "1.png")
    ODD[kind][0](tmp_path / "own" / "train" / "bar" / "x.png")
    with pytest.raises(DataError, match=r"x\.png.*Take it out"):
        Folder(path=tmp_path / "own").load("train", root=tmp_path / "root", size=16)
