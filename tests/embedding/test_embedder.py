"""A finished run in use: the same embeddings from raw pictures of any kind as the run itself wrote down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from domainmetric.anchors.approximate import CellSearch
from domainmetric.data.digits import Mnist
from domainmetric.data.framing import CenterCrop
from domainmetric.data.imbalanced import Imbalanced
from domainmetric.embedding.embedder import BATCH, Embedder, match
from domainmetric.errors import ConfigError, DataError, RunFolderError
from tests import tiny
from tests.training.running import NAMES


@pytest.fixture(scope="module")
def embedder(folder: Path) -> Embedder:
    return Embedder.load(folder, names=NAMES)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return tiny.experiment(Path(), "mmd").data.target.load("test", root=Path(), size=tiny.SIZE).images.numpy()


@pytest.mark.parametrize("domain", ["source", "target"])
def test_the_embeddings_are_those_of_the_run(folder: Path, embedder: Embedder, domain: str) -> None:
    side = embedder.domains[domain]  # type: ignore[index]
    made = embedder.embed(side.load("test", root=Path(), size=tiny.SIZE).images, domain=domain)  # type: ignore[arg-type]
    with np.load(folder / "embeddings.npz") as written:
        rows = written["domain"] == (0 if domain == "source" else 1)
        np.testing.assert_allclose(made.z, written["z"][rows], atol=1e-6)
        assert (made.label == written["prediction"][rows]).all()
    np.testing.assert_allclose(np.linalg.norm(made.z, axis=1), 1, atol=1e-6)
    assert (made.probability >= 1 / len(tiny.CLASSES) - 1e-6).all() and (made.probability <= 1).all()


def test_every_kind_of_picture_gives_the_same(embedder: Embedder, images: np.ndarray, tmp_path: Path) -> None:
    few = images[:5]
    expected = embedder.embed(few).z
    pil = [Image.fromarray(image[:, :, 0]) for image in few]
    (tmp_path / "deeper").mkdir()
    paths = [tmp_path / "deeper" / f"{row}.png" if row % 2 else tmp_path / f"e{row}.PNG" for row in range(5)]
    for path, image in zip(paths, pil, strict=True):
        image.save(path)
    (tmp_path / "notes.txt").write_text("no picture")
    kinds = {
        "tensor": torch.from_numpy(few),
        "without channel": few[:, :, :, 0],
        "pil": pil,
        "paths": paths,
        "grey as color": np.repeat(few, 3, axis=3),
        "rgba files and arrays mixed": [pil[0].convert("RGBA"), *few[1:]],
    }
    for name, pictures in kinds.items():
        np.testing.assert_allclose(embedder.embed(pictures).z, expected, atol=1e-6, err_msg=name)
    of_folder = embedder.embed(tmp_path).z
    np.testing.assert_allclose(of_folder, expected[[1, 3, 0, 2, 4]], atol=1e-6, err_msg="a folder goes by its names")
    np.testing.assert_allclose(embedder.embed(str(paths[2])).z, expected[2:3], atol=1e-6)
    assert embedder.classify(pil) == [tiny.CLASSES[label] for label in embedder.embed(few).label]


def test_batches_do_not_change_what_comes_out(embedder: Embedder, images: np.ndarray) -> None:
    told: list[int] = []
    many = np.concatenate([images] * 4)
    whole = embedder.embed(many, advance=told.append).z
    assert len(many) > BATCH
    assert told == [len(part) for part in np.split(many, range(BATCH, len(many), BATCH))]
    np.testing.assert_allclose(whole[: len(images)], embedder.embed(images).z, atol=1e-6)


def test_a_domain_frames_what_comes_from_elsewhere_as_its_own() -> None:
    raw = torch.randint(0, 256, (3, 28, 28, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    framed = Mnist().framing.apply(raw, 32)
    assert torch.equal(Mnist().frame(raw, 32), framed) and torch.equal(Imbalanced().frame(raw, 32), framed)
    assert not torch.equal(tiny.experiment(Path(), "mmd").data.source.frame(raw, 32), framed)


def test_what_is_framed_already_goes_to_the_network_as_it_is(embedder: Embedder, images: np.ndarray) -> None:
    cropping = replace(embedder, domains={**embedder.domains, "target": Mnist(framing=CenterCrop(side=8))})
    z, probability, _ = embedder.deployed("target").run(torch.from_numpy(images))
    made = cropping.embed(images, framed=True)
    assert (made.z == z.numpy()).all() and (made.label == probability.argmax(1).numpy()).all()
    assert cropping.classify(images, framed=True) == [tiny.CLASSES[label] for label in made.label]
    assert np.abs(cropping.embed(images).z - made.z).max() > 0.1, "cropped again"
    with pytest.raises(DataError, match=r"framed=True is for images of 16x16, .* but one of 16x12 came"):
        cropping.embed(images[:, :, 2:14], framed=True)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (np.zeros((2, 16, 16, 1)), "must be uint8 .* came as float64"),
        (np.zeros((2, 16, 16, 4), np.uint8), r"shape \(n, height, width, 1 or 3\)"),
        ([], "at least one image"),
        ("nowhere.png", "There is no image nowhere.png"),
        (Path(__file__), "cannot be read as an image"),
        (Image.fromarray(np.zeros((4, 4), np.uint16)), "8 bits a channel"),
        (Path(__file__).parents[1] / "golden", "holds no images"),
    ],
)
def test_what_is_no_image_is_refused(embedder: Embedder, pictures: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        embedder.embed(pictures)  # type: ignore[arg-type]


def test_matches_are_those_of_every_product(embedder: Embedder, images: np.ndarray) -> None:
    queries, gallery = embedder.embed(images[:20]).z, embedder.embed(images[20:]).z
    found = match(queries, gallery, k=3)
    products = queries @ gallery.T
    assert (found.index == np.argsort(-products, axis=1, kind="stable")[:, :3]).all()
    np.testing.assert_allclose(found.similarity, -np.sort(-products, axis=1)[:, :3], atol=1e-6)
    assert match(queries, gallery[:2], k=5).index.shape == (20, 2)


def test_cells_that_are_all_looked_into_give_the_same(embedder: Embedder, images: np.ndarray) -> None:
    queries, gallery = embedder.embed(images[:20]).z, embedder.embed(images[20:]).z
    exact, cells = match(queries, gallery, k=3), match(queries, gallery, k=3, search=CellSearch(probed=1.0))
    assert (cells.index == exact.index).all()
    np.testing.assert_allclose(cells.similarity, exact.similarity, atol=1e-6)
    few = match(queries, gallery, k=3, search=CellSearch(probed=0.02))
    assert (few.similarity <= exact.similarity + 1e-6).all() and (few.index != exact.index).any()


@pytest.mark.usefixtures("unchecked_shapes")
def test_what_cannot_be_matched_is_refused() -> None:
    z = np.ones((3, 4), np.float32)
    with pytest.raises(DataError, match=r"have the shapes \(3, 4\) and \(3, 3\)"):
        match(z, z[:, :3])
    with pytest.raises(ConfigError, match="k must be at least 1"):
        match(z, z, k=0)


@pytest.mark.usefixtures("unchecked_shapes")
def test_only_a_run_can_be_loaded_and_only_its_domains_asked(
    embedder: Embedder, images: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(RunFolderError, match="is not a run folder"):
        Embedder.load(tmp_path)
    with pytest.raises(ConfigError, match="must be 'source' or 'target', but is 'svhn'"):
        embedder.embed(images, domain="svhn")  # type: ignore[arg-type]
