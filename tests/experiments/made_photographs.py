"""The four retrieval benchmarks in their publishers' layouts: four small photographs of each of a few classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

EACH = 4


def photograph(path: Path, number: int, index: int) -> None:
    """A picture of a class, noisy and of a size of its own; every other one is grey."""
    rng = np.random.default_rng(100 * number + index)
    color = np.random.default_rng(number).integers(60, 200, 3)
    noise = rng.normal(0, 30, (30 + index, 40 - number % 5, 3))
    image = Image.fromarray((color + noise).clip(0, 255).astype(np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    (image.convert("L") if index % 2 else image).save(path)


def cub(root: Path) -> None:
    folder, names, classes = root / "CUB_200_2011", [], []
    for number in (1, 2, 100, 101, 102, 200):
        for index in range(EACH):
            name = f"{number:03d}.Some_Bird/Some_Bird_{index}.jpg"
            photograph(folder / "images" / name, number, index)
            names.append(f"{len(names) + 1} {name}\n")
            classes.append(f"{len(classes) + 1} {number}\n")
    (folder / "images.txt").write_text("".join(names))
    (folder / "image_class_labels.txt").write_text("".join(classes))


def annotations(path: Path, field: str, names: Sequence[str], classes: Sequence[int]) -> None:
    """A struct array with the publisher's other fields, too."""
    table = np.zeros((1, len(names)), dtype=[(name, object) for name in (field, "bbox_x1", "class")])
    table[field], table["bbox_x1"], table["class"] = names, 7.0, np.array(classes, dtype=np.uint8)
    savemat(path, {"annotations": table, "class_names": np.array(["AM General Hummer"], dtype=object)})


def cars(root: Path) -> None:
    names, classes = [], []
    for number in (1, 98, 99, 196):
        for index in range(EACH):
            names.append(f"car_ims/{len(names) + 1:06d}.jpg")
            classes.append(number)
            photograph(root / names[-1], number, index)
    annotations(root / "cars_annos.mat", "relative_im_path", names, classes)


def cars_in_two_parts(root: Path) -> None:
    """The same photographs as published before: half of each class in each part, each with its own list."""
    (root / "devkit").mkdir(parents=True)
    for part, name in enumerate(("devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat")):
        names, classes = [], []
        for number in (1, 98, 99, 196):
            for index in range(part, EACH, 2):
                names.append(f"{len(names) + 1:05d}.jpg")
                classes.append(number)
                photograph(root / ("cars_test" if part else "cars_train") / names[-1], number, index)
        annotations(root / name, "fname", names, classes)


def sop(root: Path) -> None:
    folder, number = root / "Stanford_Online_Products", 0
    for name, items in (("Ebay_train.txt", (1, 2)), ("Ebay_test.txt", (11319, 11320))):
        rows = ["image_id class_id super_class_id path\n"]
        for item in items:
            for index in range(EACH):
                number += 1
                path = f"bicycle_final/{111085122871 + item}_{index}.JPG"
                photograph(folder / path, item, index)
                rows.append(f"{number} {item} 1 {path}\n")
        (folder / name).write_text("".join(rows))


def inshop(root: Path) -> None:
    sides = {2: ["train"] * 4, 7: ["train"] * 4, 9: ["train"], 3: ["query", "query", "gallery", "gallery"]}
    sides[4] = sides[3][::-1]
    rows = [f"{sum(map(len, sides.values()))}\n", "image_name item_id evaluation_status\n"]
    for item, parts in sides.items():
        for index, part in enumerate(parts):
            name = f"img/WOMEN/Dresses/id_{item:08d}/{index:02d}_1_front.jpg"
            photograph(root / "Img" / name, item, index)
            rows.append(f"{name:60} id_{item:08d} {part}\n")
    (root / "Eval").mkdir()
    (root / "Eval" / "list_eval_partition.txt").write_text("".join(rows))


TREES: dict[str, Callable[[Path], None]] = {"cub": cub, "cars": cars, "sop": sop, "inshop": inshop}
