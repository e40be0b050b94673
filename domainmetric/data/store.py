"""The prepared store of a domain: plain arrays that are memory-mapped, beside a manifest that says what they are.

`root/<name>/` holds `train_images.npy`, `train_labels.npy`, `test_images.npy`, `test_labels.npy` (uint8 n h w c; int64)
and `manifest.json`. A store appears whole or not at all: it is written to a hidden sibling folder and renamed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from domainmetric import durable
from domainmetric.data.domain import SPLITS, Split
from domainmetric.data.room import check_disk
from domainmetric.data.staging import refuse_foreign, staging, swap, sync
from domainmetric.errors import DataError, DataNotPrepared, DomainMetricError
from domainmetric.types import ImageSet

FORMAT_VERSION = 1
_ARRAY_FILES = tuple(f"{split}_{part}.npy" for split in SPLITS for part in ("images", "labels"))


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
    """True if any source file is not the official one, or if the images were made: say so beside every number."""
    sources: list[dict[str, Any]]
    """The fields of SourceFile."""
    created_by: str
    made: dict[str, Any] = field(default_factory=dict)
    """How the images were made and of what, where they were not read from official files; of a user's own images a
    fingerprint, by which it is noticed that they have changed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """One split as it comes, batch by batch, so that it need never lie in memory whole."""

    shape: tuple[int, int, int, int]
    """Number, height, width and channels."""
    labels: NDArray[np.int64] | None
    batches: Iterable[Tensor]
    """All images in their order, uint8 (b h w c)."""


def write_store(
    root: Path,
    name: str,
    splits: Mapping[Split, ImageSet],
    *,
    sources: Sequence[SourceFile],
    made: Mapping[str, Any] | None = None,
    extras: Mapping[str, bytes] | None = None,
) -> Manifest:
    """Write a store, in place of an earlier one of that name, and return its manifest.

    `splits` holds both splits, labelled; `made` is recorded in the manifest as it is; `extras` are further files (name
    -> content), such as a contact sheet. On any failure, Ctrl-C included, nothing new is left behind and an earlier
    store stays. Raises DataError if the disk refuses or if a folder of that name is no store but holds other files.
    """
    streams = {split: _stream(split, images) for split, images in splits.items()}
    classes = splits["train"].classes
    return write_streams(root, name, streams, classes=classes, sources=sources, made=made, extras=extras)


def write_streams(
    root: Path,
    name: str,
    streams: Mapping[Split, Stream],
    *,
    classes: tuple[str, ...],
    sources: Sequence[SourceFile] = (),
    made: Mapping[str, Any] | None = None,
    extras: Mapping[str, bytes] | None = None,
) -> Manifest:
    """Write a store as its images come; see `write_store`. Streams without labels have no classes."""
    root = Path(root)
    refuse_foreign(root / name, {*_ARRAY_FILES, *(extras or {})})
    needed = sum(math.prod(stream.shape) + 8 * stream.shape[0] for stream in streams.values())
    check_disk(needed, root, f"The store '{name}'", "Free some space, or choose another folder with --root.")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with staging(root, name) as folder:
            arrays: dict[str, dict[str, Any]] = {}
            for split in SPLITS:
                arrays |= _write_split(folder, split, streams[split])
            for file, content in (extras or {}).items():
                (folder / file).write_bytes(content)
            manifest = _describe(name, streams, arrays, classes, sources, made or {})
            (folder / "manifest.json").write_text(json.dumps(asdict(manifest), indent=2) + "\n")
            sync(folder)
            swap(folder, root / name)
            durable.sync_folder(root)
    except OSError as error:
        if isinstance(error, DomainMetricError):  # of an image, not of the store
            raise
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
    labelled = f"{split}_labels" in manifest.arrays
    labels = torch.tensor(_read_array(root, manifest, f"{split}_labels")) if labelled else None
    try:
        return ImageSet(images=torch.from_numpy(images), labels=labels, classes=manifest.classes)
    except DataError as error:
        _damaged(root, name, f"its {split} split is not usable: {error}", error)


def array_file(root: Path, name: str, split: Split) -> Path:
    """Where the images of a split lie as one array."""
    return Path(root) / name / f"{split}_images.npy"


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


def _describe(
    name: str,
    streams: Mapping[Split, Stream],
    arrays: dict[str, dict[str, Any]],
    classes: tuple[str, ...],
    sources: Sequence[SourceFile],
    made: Mapping[str, Any],
) -> Manifest:
    labels = {split: stream.labels for split, stream in streams.items() if stream.labels is not None}
    return Manifest(
        format_version=FORMAT_VERSION,
        name=name,
        classes=classes,
        counts={split: streams[split].shape[0] for split in SPLITS},
        class_counts={split: np.bincount(one, minlength=len(classes)).tolist() for split, one in labels.items()},
        arrays=arrays,
        unofficial=bool(made) or any(source.unofficial for source in sources),
        sources=[asdict(source) for source in sources],
        created_by=_creator(),
        made=dict(made),
    )


def _write_split(folder: Path, split: Split, stream: Stream) -> dict[str, dict[str, Any]]:
    """Write the arrays of a split, images as they come. Returns what the manifest says of them."""
    digest = hashlib.sha256()
    with (folder / f"{split}_images.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": stream.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for batch in stream.batches:
            part = np.ascontiguousarray(batch.numpy()).data
            digest.update(part)
            file.write(part)
    arrays = {f"{split}_images": _entry(stream.shape, "uint8", digest.hexdigest())}
    if stream.labels is not None:
        np.save(folder / f"{split}_labels.npy", stream.labels)
        arrays[f"{split}_labels"] = _entry(stream.labels.shape, str(stream.labels.dtype), _sha256(stream.labels))
    return arrays


def _creator() -> str:
    try:
        return f"domainmetric {version('domainmetric')}"
    except PackageNotFoundError:  # used from a checkout that was not installed
        return "domainmetric (not installed)"


def _stream(split: Split, images: ImageSet) -> Stream:
    if images.labels is None:
        raise DataError(f"A store keeps labelled images, but the {split} split has no labels.")
    n, height, width, channels = images.images.shape
    return Stream(shape=(n, height, width, channels), labels=images.labels.numpy(), batches=[images.images])


def _entry(shape: Sequence[int], dtype: str, sha256: str) -> dict[str, Any]:
    return {"shape": list(shape), "dtype": dtype, "sha256": sha256}


def _sha256(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
