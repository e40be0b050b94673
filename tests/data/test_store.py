"""The prepared store: it comes whole or not at all, and what is wrong with it is said."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from domainmetric.data import store
from domainmetric.data.domain import Split
from domainmetric.data.store import SourceFile, content_hashes, read_manifest, read_split, verify_store, write_store
from domainmetric.errors import DataError, DataNotPrepared
from domainmetric.types import ImageSet

CLASSES = ("cat", "dog", "owl")
SOURCE = SourceFile(file="a.mat", md5="1", official_md5="2", url="http://a/a.mat", unofficial=True)


def image_set(num: int, *, fill: int | None = None) -> ImageSet:
    generator = torch.Generator().manual_seed(num)
    images = torch.randint(0, 256, (num, 4, 5, 3), dtype=torch.uint8, generator=generator)
    images = images if fill is None else torch.full_like(images, fill)
    return ImageSet(images=images, labels=torch.arange(num) % 3, classes=CLASSES)


def splits(fill: int | None = None) -> dict[Split, ImageSet]:
    return {"train": image_set(7, fill=fill), "test": image_set(4, fill=fill)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_store(tmp_path, "pets", splits(), sources=[SOURCE], extras={"sheet.png": b"png"})
    return tmp_path


def test_what_was_written_is_read_back(root: Path) -> None:
    for split, expected in splits().items():
        found = read_split(root, "pets", split)
        assert torch.equal(found.images, expected.images)
        assert torch.equal(found.labels, expected.labels)
        assert found.classes == CLASSES
    assert (root / "pets" / "sheet.png").read_bytes() == b"png"


def test_images_are_memory_mapped_and_the_file_is_never_written(root: Path) -> None:
    images = read_split(root, "pets", "train").images
    images.zero_()
    assert torch.equal(read_split(root, "pets", "train").images, splits()["train"].images)


def test_manifest_tells_counts_hashes_and_provenance(root: Path) -> None:
    manifest = read_manifest(root, "pets")
    assert manifest.counts == {"train": 7, "test": 4}
    assert manifest.class_counts == {"train": [3, 2, 2], "test": [2, 1, 1]}
    assert manifest.unofficial
    assert manifest.sources[0]["official_md5"] == "2"
    assert set(content_hashes(root, "pets")) == {"train_images", "train_labels", "test_images", "test_labels"}
    assert verify_store(root, "pets") == manifest


def test_hashes_follow_the_content(root: Path, tmp_path: Path) -> None:
    write_store(tmp_path / "other", "pets", splits(fill=3), sources=[])
    before, after = content_hashes(root, "pets"), content_hashes(tmp_path / "other", "pets")
    assert before["train_labels"] == after["train_labels"]
    assert before["train_images"] != after["train_images"]


def test_missing_store_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(DataNotPrepared, match="python -m data_prep pets --root"):
        read_split(tmp_path, "pets", "train")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def other_shape(path: Path) -> None:
    np.save(path, np.zeros((7, 4, 4, 3), np.uint8))


def other_dtype(path: Path) -> None:
    np.save(path, np.zeros((7, 4, 5, 3), np.float32))


@pytest.mark.parametrize("damage", [Path.unlink, truncate, other_shape, other_dtype])
def test_damaged_array_is_refused_with_file_and_command(root: Path, damage: object) -> None:
    damage(root / "pets" / "train_images.npy")  # type: ignore[operator]
    with pytest.raises(DataError, match=r"train_images\.npy.*data_prep pets --root .* --force"):
        read_split(root, "pets", "train")
    assert len(read_split(root, "pets", "test")) == 4


def test_labels_outside_the_classes_are_refused(root: Path) -> None:
    np.save(root / "pets" / "train_labels.npy", np.full(7, 3))
    with pytest.raises(DataError, match=r"0\.\.2 \(3 classes\).*--force"):
        read_split(root, "pets", "train")


def test_changed_pixels_are_found_by_verifying(root: Path) -> None:
    array = np.load(root / "pets" / "test_images.npy")
    array[0, 0, 0, 0] ^= 1
    np.save(root / "pets" / "test_images.npy", array)
    with pytest.raises(DataError, match="sha256"):
        verify_store(root, "pets")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"classes": ["a"]}', '{"classes": 3}'])
def test_damaged_manifest_is_refused(root: Path, content: str) -> None:
    (root / "pets" / "manifest.json").write_text(content)
    with pytest.raises(DataError, match=r"manifest.*--force"):
        read_split(root, "pets", "train")


def test_other_format_version_is_refused(root: Path) -> None:
    path = root / "pets" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 99}))
    with pytest.raises(DataError, match="format 99"):
        read_manifest(root, "pets")


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "save", no_space)
    with pytest.raises(DataError, match="No space left on device"):
        write_store(tmp_path, "pets", splits(), sources=[])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["sync", "swap"])
def test_interrupt_leaves_the_earlier_store(root: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, where, interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_store(root, "pets", splits(fill=9), sources=[])
    assert [path.name for path in root.iterdir()] == ["pets"]
    assert verify_store(root, "pets").unofficial


def test_failure_between_the_renames_brings_the_earlier_store_back(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, calls = Path.rename, []

    def second_fails(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises(DataError, match="Input/output error"):
        write_store(root, "pets", splits(fill=9), sources=[])
    assert [path.name for path in root.iterdir()] == ["pets"]
    assert verify_store(root, "pets").unofficial


def test_writing_again_replaces_the_store(root: Path) -> None:
    write_store(root, "pets", splits(fill=9), sources=[])
    assert (read_split(root, "pets", "train").images == 9).all()
    assert [path.name for path in root.iterdir()] == ["pets"]


def test_leftovers_of_killed_writers_go_but_young_ones_stay(root: Path) -> None:
    old, young = root / ".pets.partial-old", root / ".pets.partial-young"
    for folder in (old, young):
        shutil.copytree(root / "pets", folder)
    os.utime(old, (0, time.time() - 2 * 3600))
    write_store(root, "pets", splits(), sources=[])
    assert not old.exists()
    assert young.exists()


def test_folder_with_other_files_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "original.mat").write_bytes(b"precious")
    with pytest.raises(DataNotPrepared):
        read_split(tmp_path, "pets", "train")
    with pytest.raises(DataError, match=r"original\.mat.*--root"):
        write_store(tmp_path, "pets", splits(), sources=[])
    assert (tmp_path / "pets" / "original.mat").read_bytes() == b"precious"


def test_unlabelled_images_cannot_be_stored(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no labels"):
        write_store(tmp_path, "pets", {**splits(), "test": image_set(4).unlabelled()}, sources=[])
    assert list(tmp_path.iterdir()) == []
