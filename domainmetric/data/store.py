"""The prepared store of a domain: plain arrays that are memory-mapped, beside a manifest that says what they are.

`root/<name>/` holds `train_images.npy`, `train_labels.npy`, `test_images.npy`, `test_labels.npy` (uint8 n h w c; int64)
and `manifest.json`. A store appears whole or not at all: it is written to a hidden sibling folder and renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from domainmetric import durable
from domainmetric.data.domain import SPLITS, Split
from domainmetric.data.room import check_disk
from domainmetric.errors import DataError, DataNotPrepared
from domainmetric.types import ImageSet

FORMAT_VERSION = 1
_ARRAY_FILES = tuple(f"{split}_{part}.npy" for split in SPLITS for part in ("images", "labels"))
_LEFTOVER_SECONDS = 3600.0  # writing takes seconds: a hidden folder of this age belongs to a writer that was killed


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file that a store was made from."""

    file: str
    """Its name, without folders."""
    md5: str
    """What was found."""
    official_md5: str
    """What the publisher's file has."""
    url: str
    """The official address, whether it was downloaded or taken from a folder."""
    unofficial: bool
    """True if the file's content is not the official one."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a store holds and where it came from, as written in `manifest.json`."""

    format_version: int
    name: str
    classes: tuple[str, ...]
    counts: dict[str, int]
    """Split -> number of images."""
    class_counts: dict[str, list[int]]
    """Split -> number of images of each class."""
    arrays: dict[str, dict[str, Any]]
    """Array name -> shape, dtype and sha256 (over the array's bytes in C order)."""
    unofficial: bool
    """True if any source file is not the official one: say so beside every number made with it."""
    sources: list[dict[str, Any]]
    """The fields of SourceFile."""
    created_by: str


def write_store(
    root: Path,
    name: str,
    splits: Mapping[Split, ImageSet],
    *,
    sources: Sequence[SourceFile],
    extras: Mapping[str, bytes] | None = None,
) -> Manifest:
    """Write a store, in place of an earlier one of that name, and return its manifest.

    `splits` holds both splits, labelled; `extras` are further files (name -> content), such as a contact sheet. On any
    failure, Ctrl-C included, nothing new is left behind and an earlier store stays. Raises DataError if the disk
    refuses or if a folder of that name is no store but holds other files.
    """
    root = Path(root)
    _refuse_foreign(root / name, {*_ARRAY_FILES, *(extras or {})})
    manifest = _describe(name, splits, sources)
    needed = sum(array.nbytes for split in SPLITS for array in _arrays(split, splits[split]).values())
    check_disk(needed, root, f"The store '{name}'", "Free some space, or choose another folder with --root.")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _staging(root, name) as folder:
            for split in SPLITS:
                for array_name, array in _arrays(split, splits[split]).items():
                    np.save(folder / f"{array_name}.npy", array)
            for file, content in (extras or {}).items():
                (folder / file).write_bytes(content)
            (folder / "manifest.json").write_text(json.dumps(asdict(manifest), indent=2) + "\n")
            _sync(folder)
            _swap(folder, root / name)
            durable.sync_folder(root)
    except OSError as error:
        raise DataError(
            f"The store '{name}' could not be written to {root}: {error.strerror or error}. Nothing was left "
            f"half-written. Free some space or choose another folder with --root, then prepare it again."
        ) from error
    return manifest


def read_split(root: Path, name: str, split: Split) -> ImageSet:
    """One split of a prepared store, its images memory-mapped (copy on write).

    Raises DataNotPrepared if the store is absent, DataError if a file is missing, truncated or not what it should be.
    """
    manifest = read_manifest(root, name)
    images = _read_array(root, manifest, f"{split}_images")
    labels = _read_array(root, manifest, f"{split}_labels")
    try:
        return ImageSet(images=torch.from_numpy(images), labels=torch.tensor(labels), classes=manifest.classes)
    except DataError as error:
        _damaged(root, name, f"its {split} split is not usable: {error}", error)


def read_manifest(root: Path, name: str) -> Manifest:
    """The manifest of a prepared store. Raises DataNotPrepared if absent, DataError if it cannot be read."""
    path = Path(root) / name / "manifest.json"
    if not path.exists() and not any(path.with_name(file).exists() for file in _ARRAY_FILES):
        raise DataNotPrepared(name, root)
    try:
        fields = json.loads(path.read_text())
        manifest = Manifest(**{**fields, "classes": tuple(fields["classes"])})
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        _damaged(root, name, f"{path} is missing or not a manifest ({type(error).__name__})", error)
    if manifest.name != name:  # it makes paths
        _damaged(root, name, f"{path} is that of '{manifest.name}'", None)
    if manifest.format_version != FORMAT_VERSION:
        _damaged(
            root, name, f"{path} has format {manifest.format_version}, but this version reads {FORMAT_VERSION}", None
        )
    return manifest


def content_hashes(root: Path, name: str) -> dict[str, str]:
    """Array name -> sha256, as the manifest records them."""
    return {array: str(entry["sha256"]) for array, entry in read_manifest(root, name).arrays.items()}


def verify_store(root: Path, name: str) -> Manifest:
    """Read every array in full and compare it with the manifest's hashes. Raises as read_split does."""
    manifest = read_manifest(root, name)
    for split in SPLITS:
        read_split(root, name, split)
    for array, entry in manifest.arrays.items():
        if _sha256(_read_array(root, manifest, array)) != entry["sha256"]:
            _damaged(
                root, name, f"{Path(root) / name / array}.npy is not what its manifest says (sha256 differs)", None
            )
    return manifest


def _read_array(root: Path, manifest: Manifest, array_name: str) -> NDArray[Any]:
    path = Path(root) / manifest.name / f"{array_name}.npy"
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="c")
        expected = (tuple(manifest.arrays[array_name]["shape"]), manifest.arrays[array_name]["dtype"])
    except Exception as error:  # numpy reads headers as Python, so that damage may raise anything, TokenError among it
        _damaged(root, manifest.name, f"{path} is missing, truncated or not an array", error)
    found = (array.shape, str(array.dtype))
    if found != expected:
        _damaged(root, manifest.name, f"{path} holds {found}, but its manifest says {expected} (shape, dtype)", None)
    return array


def _damaged(root: Path, name: str, what: str, cause: Exception | None) -> NoReturn:
    raise DataError(
        f"The prepared store of '{name}' is damaged: {what}. "
        f"Prepare it again with: python -m data_prep {name} --root {root} --force"
    ) from cause


def _describe(name: str, splits: Mapping[Split, ImageSet], sources: Sequence[SourceFile]) -> Manifest:
    classes = splits["train"].classes
    arrays: dict[str, dict[str, Any]] = {}
    class_counts: dict[str, list[int]] = {}
    for split in SPLITS:
        for array_name, array in _arrays(split, splits[split]).items():
            arrays[array_name] = {"shape": list(array.shape), "dtype": str(array.dtype), "sha256": _sha256(array)}
        class_counts[split] = np.bincount(
            _arrays(split, splits[split])[f"{split}_labels"], minlength=len(classes)
        ).tolist()
    return Manifest(
        format_version=FORMAT_VERSION,
        name=name,
        classes=classes,
        counts={split: len(splits[split]) for split in SPLITS},
        class_counts=class_counts,
        arrays=arrays,
        unofficial=any(source.unofficial for source in sources),
        sources=[asdict(source) for source in sources],
        created_by=_creator(),
    )


def _creator() -> str:
    try:
        return f"domainmetric {version('domainmetric')}"
    except PackageNotFoundError:  # used from a checkout that was not installed
        return "domainmetric (not installed)"


def _arrays(split: Split, images: ImageSet) -> dict[str, NDArray[Any]]:
    if images.labels is None:
        raise DataError(f"A store keeps labelled images, but the {split} split has no labels.")
    return {f"{split}_images": images.images.numpy(), f"{split}_labels": images.labels.numpy()}


def _sha256(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def _refuse_foreign(place: Path, ours: set[str]) -> None:
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
def _staging(root: Path, name: str) -> Iterator[Path]:
    """A hidden sibling folder, gone at the end whatever happens; leftovers of killed writers go too."""
    for leftover in root.glob(f".{name}.partial-*"):
        if time.time() - leftover.stat().st_mtime > _LEFTOVER_SECONDS:
            shutil.rmtree(leftover, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{name}.partial-", dir=root))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _swap(folder: Path, place: Path) -> None:
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


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    durable.sync_folder(folder)
