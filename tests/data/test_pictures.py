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
from domainmetric.data.pictures import SUFFIXES, batches, names_below, read
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
