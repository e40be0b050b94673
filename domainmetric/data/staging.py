"""A folder that appears whole or not at all: written to a hidden sibling and renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from domainmetric import durable
from domainmetric.errors import DataError

LEFTOVER_SECONDS = 3600.0
"""Writing takes less: a hidden folder of this age belongs to a writer that was killed."""


def refuse_foreign(place: Path, ours: set[str]) -> None:
    """A folder without a manifest but with other files, such as the publisher's own, must not be replaced."""
    if not place.is_dir() or (place / "manifest.json").exists():
        return
    foreign = sorted(path.name for path in place.iterdir() if path.name not in ours)
    if foreign:
        raise DataError(
            f"{place} is to hold a prepared store, but has other files in it ({', '.join(foreign[:5])}), which would "
            f"be lost. Move them away, or choose another folder with --root."
        )


@contextmanager
def staging(root: Path, name: str) -> Iterator[Path]:
    """A hidden sibling folder, gone at the end whatever happens; leftovers of killed writers go too."""
    for leftover in root.glob(f".{name}.partial-*"):
        if time.time() - leftover.stat().st_mtime > LEFTOVER_SECONDS:
            shutil.rmtree(leftover, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{name}.partial-", dir=root))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def swap(folder: Path, place: Path) -> None:
    """Put `folder` at `place`; what stood there goes, or comes back if that fails."""
    if not place.exists():
        folder.rename(place)
        return
    old = folder.with_name(folder.name + "-old")
    place.rename(old)
    try:
        folder.rename(place)
    except BaseException:
        old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def sync(folder: Path) -> None:
    """Have the disk keep every file of the folder."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    durable.sync_folder(folder)
