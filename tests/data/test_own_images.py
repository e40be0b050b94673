"""Images of a user's own: folders, tables, and what Python code has; converted once, and anew when they change."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import albumentations
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from torchvision.datasets import ImageFolder

from domainmetric.data.converted import Converted, split_by_name
from domainmetric.data.domain import SPLITS
from domainmetric.data.folder import Folder, UnlabelledFolder
from domainmetric.data.framing import CentralSquare, Resize
from domainmetric.data.from_dataset import FromDataset
from domainmetric.data.loading import load_split
from domainmetric.data.pair import Pair
from domainmetric.data.table import Table
from domainmetric.data.view_bank import Pipeline
from domainmetric.data.with_classes import WithClasses
from domainmetric.errors import ConfigError, DataError
from domainmetric.serialize import from_json, known_names, to_json
from tests.data.own import KINDS, folder, picture

SIZE = 8


def loaded(domain: Converted | WithClasses, root: Path) -> dict[str, Any]:
    return {s: load_split(domain, s, root=root, size=SIZE, labelled=domain.classes is not None) for s in SPLITS}


def test_class_folders_become_labels_and_a_share_is_held_out(tmp_path: Path) -> None:
    domain = Folder(path=folder(tmp_path / "My Pets", count=40))
    assert domain.name == "my_pets" and domain.classes == KINDS
    sets = loaded(domain, tmp_path / "data")
    assert len(sets["train"]) + len(sets["test"]) == 80 and 2 <= len(sets["test"]) <= 20
    for one in sets.values():
        left = one.images[:, :, : SIZE // 2 - 1].float().mean((1, 2, 3))
        right = one.images[:, :, SIZE // 2 + 1 :].float().mean((1, 2, 3))
        assert torch.equal((right > left).long(), one.labels)
    hidden = [p for p in (tmp_path / "data").iterdir() if p.name.startswith(".")]
    assert not hidden and domain.hashes(tmp_path / "data", size=SIZE).keys() == {
        "train_images", "train_labels", "test_images", "test_labels"
    }  # fmt: skip


def test_what_is_held_out_depends_on_names_alone() -> None:
    names = [f"cat/{i}.png" for i in range(400)]
    first, more = split_by_name(names, 0.25), split_by_name([*names, "dog/1.png"], 0.25)
    assert np.array_equal(first, more[:-1]) and 0.18 < first.mean() < 0.32
    with pytest.raises(DataError, match=r"Of 1 images a share of 0\.25 cannot be held out"):
        split_by_name(names[:1], 0.25)


def test_names_that_are_no_utf8_have_their_place_too(tmp_path: Path) -> None:
    path = folder(tmp_path / "pets", count=8)
    name = os.fsdecode(b"caf\xe9.png")
    try:
        picture(0, 99).save(path / "cat" / name)
    except OSError:
        pytest.skip("this disk refuses such names")
    found = loaded(Folder(path=path, test_share=0.3), tmp_path / "data")
    assert sum(map(len, found.values())) == 17 and split_by_name([f"cat/{name}", "a", "b", "c"], 0.3).any()


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    path = folder(tmp_path / "pets")
    (path / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match=r"gone\.png cannot be read: No such file"):
        Folder(path=path).load("train", root=tmp_path / "data", size=SIZE)


def test_folders_of_splits_are_taken_as_they_are(tmp_path: Path) -> None:
    domain = Folder(path=folder(tmp_path / "pets", count=3, splits=("train", "test")))
    sets = loaded(domain, tmp_path / "data")
    assert [len(sets[split]) for split in SPLITS] == [6, 6]


@pytest.mark.parametrize("splits", [("train", "val"), ("train", "Validation"), ("training", "testing"), ("train",)])
def test_splits_are_not_taken_for_classes(splits: tuple[str, ...], tmp_path: Path) -> None:
    path = folder(tmp_path / "pets", count=8, splits=splits)
    with pytest.raises(DataError, match=r"looks like a split, not like a class.*must have one called train and one"):
        Folder(path=path)
    said = Folder(path=path, classes=splits)
    assert loaded(said, tmp_path / "data")["train"].classes == splits


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    path = folder(tmp_path / "vehicles")
    (path / "cat").rename(path / "train")
    assert Folder(path=path).classes == ("dog", "train")


def test_a_third_split_is_not_left_out_unsaid(tmp_path: Path) -> None:
    path = folder(tmp_path / "pets", count=3, splits=("train", "test", "val"))
    for domain in (Folder(path=path), UnlabelledFolder(path=path)):
        with pytest.raises(DataError, match=r"has a folder 'val' beside train and test.* as '\.val' it is left out"):
            domain.load("train", root=tmp_path / "data", size=SIZE)
    (path / "val").rename(path / ".val")
    assert len(loaded(Folder(path=path), tmp_path / "data")["train"]) == 6


def test_a_class_without_a_folder_is_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "pets")
    with pytest.raises(DataError, match=r"no folder of the class 'dgo' of Folder\.classes\. Did you mean 'dog'"):
        Folder(path=path, classes=("cat", "dgo")).load("train", root=tmp_path / "data", size=SIZE)


@pytest.mark.parametrize(
    ("source", "target", "file", "names"),
    [
        ("amazon/images", "webcam/images", "frame_{:04d}.jpg", "amazon_to_webcam"),
        ("Real World", "Art", "{:05d}.jpg", "real_world_to_art"),
    ],
    ids=["Office-31", "OfficeHome"],
)
def test_official_layouts_are_pairs_as_they_are(
    source: str, target: str, file: str, names: str, tmp_path: Path
) -> None:
    for place in (source, target):
        for kind, name in enumerate(("back_pack", "bike")):
            (tmp_path / place / name).mkdir(parents=True)
            for number in range(1, 13):
                picture(kind, number).save(tmp_path / place / name / file.format(number))
    source_domain, target_domain = (Folder(path=tmp_path / place, test_share=0.3) for place in (source, target))
    pair = Pair(source=source_domain, target=target_domain)
    pair.check()
    assert pair.name == names and pair.classes == ("back_pack", "bike")
    for side in (source_domain, target_domain):
        assert sum(map(len, loaded(side, tmp_path / "data").values())) == 24


def test_a_folder_without_labels(tmp_path: Path) -> None:
    path = folder(tmp_path / "found", count=20, color=False)
    domain = UnlabelledFolder(path=path, channels=1, test_share=0.3, alias="street")
    assert domain.classes is None and domain.name == "street"
    sets = loaded(domain, tmp_path / "data")
    assert sum(map(len, sets.values())) == 40 and sets["train"].labels is None and sets["train"].classes == ()
    assert set(domain.hashes(tmp_path / "data", size=SIZE)) == {"train_images", "test_images"}
    with pytest.raises(DataError, match=r"has no class folders.*UnlabelledFolder\(path=...\)"):
        Folder(path=path / "cat")


def test_it_is_converted_once_and_anew_when_an_image_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, root = folder(tmp_path / "pets"), tmp_path / "data"
    domain = Folder(path=path, test_share=0.3)
    before = domain.hashes(root, size=SIZE)
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "items", lambda self: pytest.fail("converted again"))
        assert domain.hashes(root, size=SIZE) == before
    picture(1, 99).save(path / "dog" / "003.png")
    os.utime(path / "dog" / "003.png", ns=(1, 1))
    assert domain.hashes(root, size=SIZE) != before
    assert domain.hashes(root, size=2 * SIZE) != domain.hashes(root, size=SIZE)
    assert len(list(root.iterdir())) == 2  # one store for each size: the old one was replaced


def test_a_run_on_another_machine_knows_the_classes_without_the_folder(tmp_path: Path) -> None:
    domain = Folder(path=folder(tmp_path / "pets"))
    written = to_json(domain)
    (tmp_path / "pets").rename(tmp_path / "gone")
    again = from_json(written, known_names())
    assert again == domain and again.classes == KINDS
    with pytest.raises(DataError, match="There is no folder"):
        again.load("train", root=tmp_path / "data", size=SIZE)


def test_an_image_that_is_none_is_named_and_nothing_is_left_behind(tmp_path: Path) -> None:
    path, root = folder(tmp_path / "pets"), tmp_path / "data"
    (path / "cat" / "zzz.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"zzz\.png cannot be read as an image"):
        Folder(path=path).load("train", root=root, size=SIZE)
    assert not root.exists() or list(root.iterdir()) == []


def test_a_damaged_store_is_told_and_removed_by_hand(tmp_path: Path) -> None:
    domain, root = Folder(path=folder(tmp_path / "pets")), tmp_path / "data"
    store = root / domain.convert(root, SIZE)
    (store / "train_images.npy").write_bytes(b"")
    with pytest.raises(DataError, match="Remove that folder, and the next run converts them anew"):
        domain.load("train", root=root, size=SIZE)


def write_table(path: Path, columns: Mapping[str, list[Any]]) -> Path:
    writer = pyarrow.csv.write_csv if path.suffix == ".csv" else pyarrow.parquet.write_table
    writer(pa.table(dict(columns)), path)
    return path


@pytest.mark.parametrize("names", [("01", "10", "2"), ("true", "false", "NA"), ("2024-01-02", "1.50", "1e3")])
def test_classes_of_a_csv_are_named_as_they_are_written(tmp_path: Path, names: tuple[str, ...]) -> None:
    files = [f"{number}.png" for number in range(6)]
    for number, file in enumerate(files):
        picture(0, number).save(tmp_path / file)
    rows = [f"{file},{name},{part}" for file, name, part in zip(files, names * 2, ["train", "test"] * 3, strict=True)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,split", *rows]))
    domain = Table(path=tmp_path / "list.csv", split="split")
    assert domain.classes == tuple(sorted(names))
    assert len(loaded(domain, tmp_path / "data")["train"]) == 3


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_list_images(tmp_path: Path, suffix: str) -> None:
    path = folder(tmp_path / "pets", count=4)
    files = sorted(p.relative_to(tmp_path).as_posix() for p in path.rglob("*.png"))
    columns = {"file": files, "kind": [f.split("/")[1] for f in files], "part": ["train", "test"] * 4}
    place = write_table(tmp_path / f"list{suffix}", columns)
    domain = Table(path=place, image="file", label="kind", split="part")
    assert domain.name == "list" and domain.classes == KINDS
    sets = loaded(domain, tmp_path / "data")
    whole = loaded(Folder(path=path, test_share=0.5), tmp_path / "data")
    assert [len(sets[split]) for split in SPLITS] == [4, 4]
    assert sets["train"].labels.tolist() == [0, 0, 1, 1]
    same = torch.cat([one.images for one in whole.values()]).flatten(1).unique(dim=0)
    assert torch.equal(torch.cat([one.images for one in sets.values()]).flatten(1).unique(dim=0), same)
    unlabelled = Table(path=place, image="file", label=None, test_share=0.4)
    assert unlabelled.classes is None and loaded(unlabelled, tmp_path / "data")["train"].labels is None


@pytest.mark.parametrize(
    ("columns", "settings", "told"),
    [
        ({"path": ["a.png"], "label": ["x"]}, {}, "lists .*a.png, which cannot be found"),
        ({"file": ["a.png"], "label": ["x"]}, {}, "has no column 'path'"),
        ({"path": ["a.png", None], "label": ["x", "y"]}, {}, "Column 'path' of .* is empty in row 2"),
        ({"path": ["own.png"], "label": ["x"], "s": ["valid"]}, {"split": "s"}, "must say train or test, but says 'v"),
        ({"path": ["own.png"] * 2, "label": ["x", "z"]}, {"classes": ("x", "y")}, "has the class 'z', which Table.cla"),
    ],
)
def test_a_table_that_is_not_as_it_should_be(
    tmp_path: Path, columns: dict[str, Any], settings: dict[str, Any], told: str
) -> None:
    picture(0, 0).save(tmp_path / "own.png")
    with pytest.raises(DataError, match=told):
        Table(path=write_table(tmp_path / "list.csv", columns), **settings).load("train", root=tmp_path, size=SIZE)


def arrays(split: str) -> Any:
    """Arrays with labels."""
    count = 6 if split == "train" else 4
    pixels = [np.asarray(picture(i % 2, i, color=False)) for i in range(count)]
    return np.stack(pixels), np.arange(count) % 2


def pictures(split: str) -> Any:
    """Items as torchvision has them."""
    images, labels = arrays(split)
    return [(image, int(label)) for image, label in zip(images, labels, strict=True)]


def hub(split: str) -> Any:
    """A data set as Hugging Face has it."""
    datasets = pytest.importorskip("datasets")
    images, labels = arrays(split)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(KINDS))})
    return datasets.Dataset.from_dict({"image": list(images), "label": labels.tolist()}, features=features)


@pytest.mark.parametrize("get", [arrays, pictures, hub])
def test_python_code_gives_images(tmp_path: Path, get: Any) -> None:
    domain = FromDataset(get=get, classes=KINDS, channels=1, alias="made")
    sets = loaded(domain, tmp_path)
    reference = loaded(FromDataset(get=arrays, classes=KINDS, channels=1, alias="reference"), tmp_path)
    for split in SPLITS:
        assert torch.equal(sets[split].images, reference[split].images)
        assert torch.equal(sets[split].labels, reference[split].labels)
    with pytest.raises(DataError, match=r"FromDataset\.classes is None"):
        FromDataset(get=arrays, channels=1).load("train", root=tmp_path, size=SIZE)


def test_a_torchvision_data_set_without_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "pets")
    monkeypatch.chdir(tmp_path)
    found = loaded(FromDataset(get=of_torchvision), tmp_path / "data")
    assert found["train"].labels is None and len(found["train"]) == 24


def of_torchvision(split: str) -> Any:
    """torchvision's own."""
    return ImageFolder("pets")


def wrong_labels(split: str) -> Any:
    """One label too many."""
    images, labels = arrays(split)
    return images, labels + 1


def number(split: str) -> Any:
    """Nothing that has images."""
    return 7


def test_python_code_that_gives_something_else(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"6 whole-number labels in 0\.\.1.*from 1 to 2"):
        FromDataset(get=wrong_labels, classes=KINDS, channels=1).load("train", root=tmp_path, size=SIZE)
    with pytest.raises(DataError, match=r"must return \(images, labels\) or a data set.*returned a int"):
        FromDataset(get=number, classes=KINDS).load("train", root=tmp_path, size=SIZE)


@dataclass(frozen=True, kw_only=True)
class Negative(Pipeline):
    """Turns light into dark."""

    def build(self) -> albumentations.Compose:
        return albumentations.Compose([albumentations.InvertImg(p=1.0)])


def test_a_pipeline_is_applied_before_the_framing_and_to_images_from_elsewhere(tmp_path: Path) -> None:
    path = folder(tmp_path / "pets", count=3, splits=("train", "test"))
    plain, negative = Folder(path=path), Folder(path=path, pipeline=Negative())
    before, after = loaded(plain, tmp_path / "data"), loaded(negative, tmp_path / "data")
    assert (before["train"].images.int() + after["train"].images.int() - 255).abs().max() <= 1
    assert torch.equal(negative.frame(torch.zeros(2, 5, 5, 3, dtype=torch.uint8), SIZE).unique(), torch.tensor([255]))


def test_the_central_square_keeps_proportions() -> None:
    wide = torch.zeros(1, 8, 20, 1, dtype=torch.uint8)
    wide[:, :, :6] = 255
    assert CentralSquare().apply(wide, SIZE).max() == 0 and Resize().apply(wide, SIZE).max() == 255


def test_classes_are_chosen_renamed_and_merged(tmp_path: Path) -> None:
    domain = Folder(path=folder(tmp_path / "pets", count=3, splits=("train", "test")))
    merged = WithClasses(domain=domain, names={"dog": "animal", "cat": "animal"})
    assert merged.classes == ("animal",) and len(loaded(merged, tmp_path / "data")["train"]) == 6
    one = WithClasses(domain=domain, names={"dog": "hound"})
    found, whole = loaded(one, tmp_path / "data")["train"], loaded(domain, tmp_path / "data")["train"]
    assert found.classes == ("hound",) and torch.equal(found.images, whole.images[whole.labels == 1])
    assert one.hashes(tmp_path / "data", size=SIZE) != merged.hashes(tmp_path / "data", size=SIZE)
    with pytest.raises(ConfigError, match=r"'pets' has no class 'dgo'\. Did you mean 'dog'"):
        WithClasses(domain=domain, names={"dgo": "dog"})
    with pytest.raises(ConfigError, match="has no labels"):
        WithClasses(domain=UnlabelledFolder(path=tmp_path / "pets"), names={"dog": "dog"})
