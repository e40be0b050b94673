"""The four retrieval benchmarks as their publishers lay them out: what is trained on, and what is retrieved.

Nothing is converted: the lists of the publishers are read, and the photographs stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from data_prep.formats import read_struct
from domainmetric import DataError

CUB = """CUB_200_2011/images.txt              (lines: number path)
CUB_200_2011/image_class_labels.txt  (lines: number class)
CUB_200_2011/images/001.Black_footed_Albatross/*.jpg ..."""
CARS = """cars_annos.mat   (annotations: relative_im_path, class)
car_ims/*.jpg
or, as it was published before,
devkit/cars_train_annos.mat, cars_test_annos_withlabels.mat, here or in devkit/   (annotations: fname, class)
cars_train/*.jpg
cars_test/*.jpg"""
SOP = """Stanford_Online_Products/Ebay_train.txt  (lines: image_id class_id super_class_id path)
Stanford_Online_Products/Ebay_test.txt
Stanford_Online_Products/bicycle_final/*.JPG ..."""
INSHOP = """Eval/list_eval_partition.txt, or without Eval/  (lines: image_name item_id evaluation_status)
Img/img/WOMEN/Dresses/id_00000002/*.jpg ..., or without Img/"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Photographs:
    """Files and their classes."""

    files: tuple[Path, ...]
    labels: Int64[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.files)

    def where(self, mask: Bool[Tensor, " n"]) -> Photographs:
        """Those that the mask names."""
        rows = mask.nonzero().squeeze(1)
        return Photographs(files=tuple(self.files[row] for row in rows.tolist()), labels=self.labels[rows])


@dataclass(frozen=True, kw_only=True, eq=False)
class Benchmark:
    """What is trained on and what is retrieved: no class is in both."""

    train: Photographs
    query: Photographs
    gallery: Photographs | None
    """None: each query is searched among the others."""


def cub(root: Path) -> Benchmark:
    """CUB-200-2011 (Wah et al. 2011): birds of 200 kinds. The first 100 are trained on, the others retrieved."""
    folder = first(root, CUB, "CUB_200_2011/images.txt", "images.txt").parent
    names = dict(lines(folder / "images.txt", 2, CUB))
    classes = dict(lines(folder / "image_class_labels.txt", 2, CUB))
    if names.keys() != classes.keys():
        raise wrong(root, CUB, f"images.txt has {len(names)} numbers and image_class_labels.txt {len(classes)} others")
    labels = numbers((classes[number] for number in names), root, CUB)
    return by_class(photographs(folder / "images", names.values(), labels, CUB), 100, root, CUB)


def cars(root: Path) -> Benchmark:
    """Cars-196 (Krause et al. 2013). The first 98 models are trained on, the others retrieved."""
    if (root / "cars_annos.mat").is_file():
        paths, labels = read_struct(root / "cars_annos.mat", "annotations", ("relative_im_path", "class"))
        return by_class(photographs(root, paths.tolist(), torch.from_numpy(labels), CARS), 98, root, CARS)
    parts = []
    for images, name in (("cars_train", "cars_train_annos.mat"), ("cars_test", "cars_test_annos_withlabels.mat")):
        paths, labels = read_struct(first(root, CARS, f"devkit/{name}", name), "annotations", ("fname", "class"))
        parts.append(photographs(root / images, paths.tolist(), torch.from_numpy(labels), CARS))
    files, labels = [file for part in parts for file in part.files], torch.cat([part.labels for part in parts])
    return by_class(Photographs(files=tuple(files), labels=labels), 98, root, CARS)


def sop(root: Path) -> Benchmark:
    """Stanford Online Products (Song et al. 2016), trained on and retrieved as its two lists say."""
    folder = first(root, SOP, "Stanford_Online_Products/Ebay_train.txt", "Ebay_train.txt").parent
    parts = []
    for name in ("Ebay_train.txt", "Ebay_test.txt"):
        _, classes, _, paths = zip(*lines(folder / name, 4, SOP, skip=1), strict=True)
        parts.append(photographs(folder, paths, numbers(classes, root, SOP), SOP))
    return Benchmark(train=parts[0], query=parts[1], gallery=None)


def inshop(root: Path) -> Benchmark:
    """In-shop Clothes Retrieval (DeepFashion; Liu et al. 2016): queries are searched in a gallery of its own."""
    listed = first(root, INSHOP, "Eval/list_eval_partition.txt", "list_eval_partition.txt")
    names, items, parts = zip(*lines(listed, 3, INSHOP, skip=2), strict=True)
    folder = root / "Img" if (root / "Img").is_dir() else root
    order = {item: index for index, item in enumerate(sorted(set(items)))}
    whole = photographs(folder, names, torch.tensor([order[item] for item in items]), INSHOP)
    sides = [whole.where(torch.tensor([part == side for part in parts])) for side in ("train", "query", "gallery")]
    if not all(len(side) for side in sides):
        raise wrong(root, INSHOP, f"{listed.name} names {', '.join(sorted(set(parts)))}, not train, query and gallery")
    return Benchmark(train=sides[0], query=sides[1], gallery=sides[2])


LAYOUTS: dict[str, Callable[[Path], Benchmark]] = {"cub": cub, "cars": cars, "sop": sop, "inshop": inshop}


def wrong(root: Path, layout: str, what: str) -> DataError:
    """The error of a folder that is not laid out so."""
    return DataError(f"{root} is not as published: {what}. Expected below it:\n{layout}")


def first(root: Path, layout: str, *names: str) -> Path:
    """The first of these files that is there."""
    found = [root / name for name in names if (root / name).is_file()]
    if not found:
        raise wrong(root, layout, f"there is no {' and no '.join(names)}")
    return found[0]


def lines(path: Path, width: int, layout: str, *, skip: int = 0) -> list[list[str]]:
    """The words of each line, `width` of them; the first `skip` lines are headings."""
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()[skip:] if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise wrong(path.parent, layout, f"{path.name} cannot be read ({error})") from error
    odd = [row for row in rows if len(row) != width]
    if odd or not rows:
        came = f"one has {len(odd[0])}" if odd else "there are none"
        raise wrong(path.parent, layout, f"the lines of {path.name} should have {width} words, but {came}")
    return rows


def numbers(words: Iterable[str], root: Path, layout: str) -> Int64[Tensor, " n"]:
    """Words as class numbers."""
    try:
        return torch.tensor([int(word) for word in words])
    except ValueError as error:
        raise wrong(root, layout, f"a class should be a number ({error})") from error


def photographs(folder: Path, names: Iterable[str], labels: Int64[Tensor, " n"], layout: str) -> Photographs:
    """The named files below a folder. Raises DataError where one is missing, or lies elsewhere."""
    given = list(names)
    outside = [name for name in given if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]
    if outside:
        raise wrong(folder, layout, f"a list names {outside[0]}, which lies elsewhere")
    files = tuple(folder / name for name in given)
    missing = absent(files)
    if missing:
        raise wrong(folder, layout, f"{len(missing)} of {len(files)} photographs are missing, such as {missing[0]}")
    return Photographs(files=files, labels=labels)


def absent(files: Sequence[Path]) -> list[Path]:
    """The files that are not there."""
    return [file for file in files if not file.is_file()]


def by_class(whole: Photographs, last: int, root: Path, layout: str) -> Benchmark:
    """Classes 1 to `last` are trained on, the others retrieved, each among the others."""
    known = whole.labels <= last
    if not known.any() or known.all():
        raise wrong(root, layout, f"there must be classes up to {last}, to train on, and others, to retrieve")
    return Benchmark(train=whole.where(known), query=whole.where(~known), gallery=None)


def groupable(photographs: Photographs, per_class: int) -> tuple[Photographs, int]:
    """The photographs of classes that fill a group of `per_class`, and how many others there are."""
    _, inverse, counts = photographs.labels.unique(return_inverse=True, return_counts=True)
    enough = counts[inverse] >= per_class
    return photographs.where(enough), int((~enough).sum())
