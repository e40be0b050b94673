"""Images on the disk, read as Pillow shows them, and folders of them, listed as paths sort."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from domainmetric.data import framing
from domainmetric.data.framing import CentralSquare, Framing, Pad, Resize
from domainmetric.data.pictures import SUFFIXES, batches, names_below, read, stacked, walk
from domainmetric.errors import DataError


@pytest.mark.parametrize(
    ("mode", "suffix", "channels"),
    [
        ("1", "png", 1),
        ("L", "png", 1),
        ("LA", "png", 1),
        ("P", "png", 3),
        ("RGB", "png", 3),
        ("RGBA", "png", 3),
        ("L", "jpg", 1),
        ("RGB", "jpg", 3),
        ("CMYK", "jpg", 3),
        ("P", "gif", 3),
        ("RGB", "tif", 3),
        ("RGB", "webp", 3),
    ],
)
def test_pixels_are_those_that_pillow_shows(mode: str, suffix: str, channels: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 4), dtype=np.uint8)
    Image.fromarray(pixels).convert("RGB").convert(mode).save(tmp_path / f"one.{suffix}")
    found = read(tmp_path / f"one.{suffix}")
    with Image.open(tmp_path / f"one.{suffix}") as image:
        shown = np.array(image.convert("L" if channels == 1 else "RGB")).reshape(9, 7, channels)
    np.testing.assert_array_equal(found.numpy(), shown)
    found.zero_()  # its own memory


def test_a_file_of_no_known_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"GIF")
    with pytest.raises(DataError, match=r"x\.png cannot be read as an image: it is of no kind that Pillow knows\.$"):
        read(str(tmp_path / "x.png"))


@pytest.mark.parametrize("inside", [False, True], ids=["by its path", "from within"])
def test_a_folder_is_listed_as_paths_sort(inside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "b/1.png",
        "b/10.PNG",
        "b/2.png",
        "b.png",
        "b-c/1.jpeg",
        "a/x/y.webp",
        "a/notes.txt",
        "folder.png/z.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    found = [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix.lower() in SUFFIXES]
    expected = [p.relative_to(tmp_path).as_posix() for p in sorted(found)]
    assert names_below(Path() if inside else tmp_path) == expected and len(expected) == 6


@pytest.mark.parametrize("member", [Resize(), CentralSquare()])
@pytest.mark.parametrize("channels", [1, 3])
def test_how_many_are_framed_together_changes_nothing(
    member: Framing, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(0)
    shapes = [(9, 7, 3)] * 5 + [(7, 9, 1)] * 3 + [(9, 7, 3), (7, 9, 3), (12, 12, 1), (8, 8, 3)] * 2
    images = [draw.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]

    def made(given: Any) -> torch.Tensor:
        found = list(batches(given, channels=channels, frame=lambda i: member.apply(i, 8), size=6))
        assert [len(batch) for batch in found[:-1]] == [6] * (len(found) - 1)
        return torch.cat(found)

    alone = torch.cat([made([image]) for image in images])
    assert torch.equal(made(images), alone)
    same = np.stack([images[0], images[1], images[2], images[3], images[4]])
    assert torch.equal(made(same), alone[:5])
    monkeypatch.setattr(framing, "NUMBERS", 2 * 9 * 7 * channels)
    assert torch.equal(made(images), alone) and torch.equal(made(same), alone[:5])


def test_an_image_that_cannot_be_framed_is_named(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(4)]
    for number, file in enumerate(files):
        Image.new("L", (20 if number == 2 else 6, 6)).save(file)

    def made(given: Any) -> None:
        list(batches(given, channels=1, frame=lambda images: Pad().apply(images, 8)))

    with pytest.raises(DataError, match=r"/2\.png: Pad\(\) cannot bring images of 6x20 to 8x8"):
        made(files)
    with pytest.raises(DataError, match=r"^Image 2 \(the first is 0\): Pad\(\) cannot"):
        made([read(file) for file in files])


def test_hidden_files_are_left_out_and_links_followed_but_not_in_circles(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for file in (here / "a.png", here / "._a.png", here / ".cache" / "b.png", here / "c" / "d.png", there / "e.png"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    (here / "linked").symlink_to(there)
    (here / "linked.png").symlink_to(there / "e.png")
    (here / "c" / "up").symlink_to(here)
    (there / "back").symlink_to(here / "c")
    (here / "c" / "over").symlink_to(there)
    names = names_below(here)
    assert {"a.png", "c/d.png", "linked/e.png", "linked.png", "c/over/e.png", "linked/back/d.png"} <= set(names)
    assert len(names) < 12 and not any("/." in f"/{name}" for name in names)
    assert set(names) == {name for name, _ in walk(here)}
    with pytest.raises(DataError, match=r"The folder .*gone cannot be listed: No such file"):
        names_below(tmp_path / "gone")


@pytest.mark.parametrize("shape", [(32, 40, 3), (3, 32, 40), (32, 40, 1), (3, 3, 3)])
def test_an_array_that_is_one_image_or_several_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"one image with its channels or several grey ones\. Give one image as \(1, h"):
        stacked(np.zeros(shape, np.uint8))


def test_arrays_that_can_be_one_thing_alone() -> None:
    for given, expected in (
        ((5, 7), (1, 5, 7, 1)),
        ((1, 5, 7), (1, 5, 7, 1)),
        ((4, 5, 7), (4, 5, 7, 1)),
        ((3, 5, 7, 1), (3, 5, 7, 1)),
        ((1, 5, 7, 3), (1, 5, 7, 3)),
    ):
        assert stacked(np.zeros(given, np.uint8)).shape == expected
    with pytest.raises(DataError, match=r"shape \(n, height, width, 1 or 3\), but came as \(7,\)"):
        stacked(np.zeros(7, np.uint8))
