"""MNIST-M made of MNIST and photographs: the formula, the draw, the record, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data_prep.__main__ import main
from data_prep.blend import Photographs, make_mnistm, patches
from domainmetric.data.digits import DIGIT_CLASSES, MnistM
from domainmetric.data.store import read_manifest, read_split, write_store
from domainmetric.errors import DataError, DataNotPrepared
from domainmetric.types import ImageSet
from tests.data_prep.official_files import DIGITS, NUM, pixels


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A prepared MNIST of few digits; the first of each split is empty."""
    splits = {}
    for split, digits in DIGITS.items():
        images = torch.from_numpy(pixels(NUM[split], 28, 28, 1))
        images[0] = 0
        splits[split] = ImageSet(images=images, labels=torch.from_numpy(digits), classes=DIGIT_CLASSES)
    write_store(tmp_path / "data", "mnist", splits, sources=[])  # type: ignore[arg-type]
    return tmp_path / "data"


@pytest.fixture
def photographs(tmp_path: Path) -> Photographs:
    """Three photographs, one of them grey and just large enough."""
    folder = tmp_path / "photographs"
    (folder / "deeper").mkdir(parents=True)
    for name, shape in (("a.png", (40, 60, 3)), ("deeper/b.png", (31, 29, 3)), ("c.png", (28, 28))):
        Image.fromarray(pixels(*shape)).save(folder / name)
    return Photographs(folder=folder)


def test_each_digit_inverts_a_patch_of_a_photograph(root: Path, photographs: Photographs) -> None:
    sources = [np.array(Image.open(path).convert("RGB")).astype(int) for path in photographs.folder.rglob("*.png")]
    windows = np.concatenate(
        [np.lib.stride_tricks.sliding_window_view(one, (28, 28, 3)).reshape(-1, 28, 28, 3) for one in sources]
    )
    digits = read_split(root, "mnist", "train")
    made, _ = make_mnistm(root, photographs)
    used = set()
    for digit, blended in zip(digits.images.numpy().astype(int), made["train"].images.numpy(), strict=True):
        fits = [place for place, patch in enumerate(windows) if np.array_equal(abs(patch - digit), blended)]
        assert len(fits) == 1, "exactly one patch of one photograph gives this image"
        used.add(fits[0])
    assert len(used) > 15 and torch.equal(made["train"].labels, digits.labels)
    assert made["test"].images.shape == (NUM["test"], 28, 28, 3)


def test_the_seed_and_the_place_in_mnist_decide(root: Path, photographs: Photographs) -> None:
    first, again = (make_mnistm(root, photographs)[0]["train"].images for _ in range(2))
    other = make_mnistm(root, replace(photographs, seed=1))[0]["train"].images
    assert torch.equal(first, again) and not torch.equal(first[0], other[0])


def test_patches_reach_every_border() -> None:
    photograph = torch.arange(6 * 8).reshape(6, 8, 1).to(torch.uint8)
    corners = torch.tensor([[0.0, 0.0], [0.999, 0.999]], dtype=torch.float64)
    found = patches(photograph, corners, side=4, name="made")
    assert torch.equal(found[0], photograph[:4, :4]) and torch.equal(found[1], photograph[2:, 4:])


def test_the_command_makes_it_and_records_of_what(
    root: Path, photographs: Photographs, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["mnistm", "--root", str(root), "--photographs", str(photographs.folder), "--seed", "3"]
    assert main(words) == 0
    assert "'mnistm' was made here and is not its authors' file: say so beside any number." in capsys.readouterr().out
    manifest = read_manifest(root, "mnistm")
    assert manifest.unofficial and manifest.made["seed"] == 3
    assert sorted(manifest.made["photographs"]) == ["a.png", "c.png", "deeper/b.png"]
    assert manifest.made["mnist"] == {n: e["sha256"] for n, e in read_manifest(root, "mnist").arrays.items()}
    made = make_mnistm(root, replace(photographs, seed=3))[0]
    assert torch.equal(MnistM().load("test", root=root, size=24).images, made["test"].images[:, 2:26, 2:26])


def test_what_cannot_be_blended_is_refused(root: Path, photographs: Photographs, tmp_path: Path) -> None:
    with pytest.raises(DataNotPrepared, match="data_prep mnist "):
        make_mnistm(tmp_path / "elsewhere", photographs)
    Image.fromarray(pixels(27, 90, 3)).save(photographs.folder / "narrow.png")
    with pytest.raises(DataError, match=r"narrow.png has 27x90 pixels, but a patch needs 28x28"):
        make_mnistm(root, photographs)
    (photographs.folder / "narrow.png").write_text("no picture")
    with pytest.raises(DataError, match=r"narrow.png cannot be read as an image"):
        make_mnistm(root, photographs)


def test_options_without_an_effect_are_refused(
    root: Path, photographs: Photographs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["usps", "--root", str(root), "--photographs", str(photographs.folder)]) == 2
    assert "Photographs are for 'mnistm', which is not among the data sets named" in capsys.readouterr().err
    assert main(["mnistm", "--root", str(root), "--photographs", str(root / "nowhere")]) == 1
    assert "The folder given with --photographs does not exist" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["mnistm", "--root", str(root), "--seed", "3"])
    assert "give --photographs FOLDER, too" in capsys.readouterr().err


def test_where_the_archive_cannot_be_had_photographs_are_named(
    photographs: Photographs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mnistm", "--root", str(tmp_path / "none"), "--from", str(photographs.folder)]) == 1
    told = capsys.readouterr().err
    assert "mnist_m.tar.gz of 'mnistm' was not found" in told and "with --photographs FOLDER." in told
