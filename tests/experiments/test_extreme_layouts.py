"""The benchmarks' official folders: what is trained on, what retrieved, and what is said where a folder is another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from data_prep import mat_reader
from domainmetric.errors import DataError
from experiments.extreme_layouts import CARS, CUB, INSHOP, LAYOUTS, SOP, Photographs, groupable
from tests.experiments import made_photographs
from tests.experiments.made_photographs import TREES

LAYOUT = {"cub": CUB, "cars": CARS, "sop": SOP, "inshop": INSHOP}


def told(photographs: Photographs) -> dict[int, list[str]]:
    """The files of each class."""
    found: dict[int, list[str]] = {}
    for file, label in zip(photographs.files, photographs.labels.tolist(), strict=True):
        found.setdefault(label, []).append(f"{file.parent.name}/{file.name}")
    return found


def test_cub(tmp_path: Path) -> None:
    made_photographs.cub(tmp_path)
    for root in (tmp_path, tmp_path / "CUB_200_2011"):
        benchmark = LAYOUTS["cub"](root)
        assert told(benchmark.train).keys() == {1, 2, 100} and told(benchmark.query).keys() == {101, 102, 200}
        assert told(benchmark.query)[101] == [f"101.Some_Bird/Some_Bird_{i}.jpg" for i in range(4)]
        assert benchmark.gallery is None


def test_cars_in_either_layout(tmp_path: Path) -> None:
    made_photographs.cars(tmp_path / "one")
    made_photographs.cars_in_two_parts(tmp_path / "two")
    one, two = LAYOUTS["cars"](tmp_path / "one"), LAYOUTS["cars"](tmp_path / "two")
    for benchmark in (one, two):
        assert told(benchmark.train).keys() == {1, 98} and told(benchmark.query).keys() == {99, 196}
    assert told(one.query)[99] == [f"car_ims/{i:06d}.jpg" for i in range(9, 13)]
    assert told(two.query)[99] == [f"{part}/{i:05d}.jpg" for part in ("cars_train", "cars_test") for i in (5, 6)]


def test_sop(tmp_path: Path) -> None:
    made_photographs.sop(tmp_path)
    benchmark = LAYOUTS["sop"](tmp_path)
    assert told(benchmark.train).keys() == {1, 2} and told(benchmark.query).keys() == {11319, 11320}
    assert told(benchmark.train)[2] == [f"bicycle_final/111085122873_{i}.JPG" for i in range(4)]


@pytest.mark.parametrize("unpacked_flat", [False, True])
def test_inshop(unpacked_flat: bool, tmp_path: Path) -> None:
    made_photographs.inshop(tmp_path)
    if unpacked_flat:
        (tmp_path / "Img" / "img").rename(tmp_path / "img")
        (tmp_path / "Img").rmdir()
        (tmp_path / "Eval" / "list_eval_partition.txt").rename(tmp_path / "list_eval_partition.txt")
    benchmark = LAYOUTS["inshop"](tmp_path)
    assert benchmark.gallery is not None
    assert [len(told(side)) for side in (benchmark.train, benchmark.query, benchmark.gallery)] == [3, 2, 2]
    assert told(benchmark.query).keys() == told(benchmark.gallery).keys()
    (query,) = {tuple(v) for v in told(benchmark.query).values() if v[0].startswith("id_00000003")}
    assert query == ("id_00000003/00_1_front.jpg", "id_00000003/01_1_front.jpg")


def test_classes_that_fill_no_group_are_left_out(tmp_path: Path) -> None:
    made_photographs.inshop(tmp_path)
    kept, left_out = groupable(LAYOUTS["inshop"](tmp_path).train, 2)
    assert left_out == 1 and len(kept) == 8 and len(told(kept)) == 2


@pytest.mark.parametrize("name", list(TREES))
def test_an_empty_folder_and_a_missing_photograph_are_told_with_the_layout(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not as published: there is no") as caught:
        LAYOUTS[name](tmp_path)
    assert str(caught.value).endswith(f"Expected below it:\n{LAYOUT[name]}")
    TREES[name](tmp_path)
    photographs = sorted(p for p in tmp_path.rglob("*") if p.suffix.lower() == ".jpg")
    photographs[3].unlink()
    with pytest.raises(DataError, match=r"1 of \d+ photographs are missing, such as .*" + photographs[3].name):
        LAYOUTS[name](tmp_path)


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "said"),
    [
        ("cub", "CUB_200_2011/images.txt", "1 001.Some_Bird/Some", "1 ../001.Some_Bird/Some", "which lies elsewhere"),
        ("cub", "CUB_200_2011/images.txt", "1 001.Some_Bird/Some", "1 /001.Some_Bird/Some", "which lies elsewhere"),
        ("cub", "CUB_200_2011/image_class_labels.txt", "24 200\n", "", "has 24 numbers and image_class_labels.txt 23"),
        ("cub", "CUB_200_2011/image_class_labels.txt", "24 200\n", "24 x\n", "a class should be a number"),
        ("sop", "Stanford_Online_Products/Ebay_test.txt", "11319 1 ", "11319 ", "should have 4 words, but one has 3"),
        (
            "inshop",
            "Eval/list_eval_partition.txt",
            " train",
            " test",
            "names gallery, query, test, not train, query and",
        ),
    ],
)
def test_lists_that_are_not_as_published(name: str, file: str, old: str, new: str, said: str, tmp_path: Path) -> None:
    TREES[name](tmp_path)
    replaced(tmp_path / file, old, new)
    with pytest.raises(DataError) as caught:
        LAYOUTS[name](tmp_path)
    assert said in str(caught.value)


def with_cells(path: Path) -> None:
    table = np.zeros((1, 2), dtype=[("relative_im_path", object), ("class", object)])
    table["relative_im_path"], table["class"] = "a.jpg", 1.5
    savemat(path, {"annotations": table})


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: savemat(path, {"annotations": np.arange(3)}), "does not hold 'annotations', a struct array"),
        (lambda path: made_photographs.annotations(path, "fname", ["a"], [1]), "'annotations' lacks relative_im_path"),
        (with_cells, "the field 'class' should hold whole numbers or text, but holds float64"),
    ],
)
def test_annotations_that_are_not_as_published(write: Callable[[Path], None], said: str, tmp_path: Path) -> None:
    write(tmp_path / "cars_annos.mat")
    with pytest.raises(ValueError, match=said):
        mat_reader.read_table(tmp_path / "cars_annos.mat", "annotations", ["relative_im_path", "class"])


def test_annotations_that_are_no_matlab_file(tmp_path: Path) -> None:
    (tmp_path / "cars_annos.mat").write_bytes(b"no MATLAB file")
    with pytest.raises(DataError, match="expected a MATLAB file with the struct array 'annotations'"):
        LAYOUTS["cars"](tmp_path)


def test_a_table_of_too_many_rows_is_refused_by_what_it_declares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mat_reader, "MAX_ROWS", 1)
    made_photographs.annotations(tmp_path / "table.mat", "fname", ["a", "b"], [1, 2])
    with pytest.raises(ValueError, match=r"'annotations' has \(1, 2\) elements, but at most 1 are read"):
        mat_reader.read_table(tmp_path / "table.mat", "annotations", ["fname"])


def test_a_mask_takes_files_and_labels_alike() -> None:
    whole = Photographs(files=(Path("a"), Path("b"), Path("c")), labels=torch.tensor([5, 6, 7]))
    some = whole.where(torch.tensor([True, False, True]))
    assert some.files == (Path("a"), Path("c")) and some.labels.tolist() == [5, 7]
