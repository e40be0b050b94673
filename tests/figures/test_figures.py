"""Every figure shows the numbers that it was given, says what is seen, and copes with little or nothing to show."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from domainmetric.errors import DataError, RunFolderError
from domainmetric.figures.anchors import anchor_sheet
from domainmetric.figures.confusion import confusion_matrix
from domainmetric.figures.curves import loss_curves
from domainmetric.figures.embedding import choose_rows, embedding_map, project
from domainmetric.figures.sheet import image_grid
from domainmetric.figures.style import PALETTE, RIGHT, WRONG, save

CLASSES = ("zero", "one", "two")


def words(figure: Figure) -> list[str]:
    found = [text.get_text() for axes in figure.axes for text in axes.texts]
    return [*found, figure.get_suptitle(), *(axes.get_title(loc="left") for axes in figure.axes)]


def two_domains(n: int, m: int, *, shift: float = 0.0) -> tuple[Any, Any, Any, Any]:
    generator = np.random.default_rng(7)
    centers = 4.0 * np.eye(3, 8)
    labels_s, labels_t = np.arange(n) % 3, np.arange(m) % 3
    z_s = centers[labels_s] + 0.1 * generator.normal(size=(n, 8))
    z_t = centers[labels_t] + shift + 0.1 * generator.normal(size=(m, 8))
    return z_s.astype(np.float32), labels_s, z_t.astype(np.float32), labels_t


def draw_map(n: int, m: int, **changes: Any) -> Figure:
    return embedding_map(*two_domains(n, m), CLASSES, seed=3, **changes)


def some_curves() -> Figure:
    return loss_curves({"loss/triplet": ([0, 1], [1.0, 0.5])})


def some_anchors(labels: Any = (0, 1, 2), **changes: Any) -> Figure:
    given: dict[str, Any] = {
        "target_images": np.zeros((3, 4, 4, 1), np.uint8),
        "target_labels": None if labels is None else np.array(labels),
        "anchor_images": np.full((3, 2, 6, 6, 3), 90, np.uint8),
        "anchor_labels": np.array([[0, 0], [1, 2], [0, 0]]),
        "confidence": np.array([0.9, 0.8, 0.2]),
        "keep": np.array([True, True, False]),
        "classes": CLASSES,
    }
    return anchor_sheet(**(given | changes))


FIGURES: dict[str, Callable[[], Figure]] = {
    "embedding": lambda: draw_map(20, 16),
    "confusion": lambda: confusion_matrix(np.eye(3, dtype=int), CLASSES, "test"),
    "curves": some_curves,
    "anchors": some_anchors,
    "grid": lambda: image_grid(np.zeros((3, 4, 4, 1), np.uint8), CLASSES, title="test"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_numbers_give_the_same_bytes(tmp_path: Path, name: str) -> None:
    before = dict(matplotlib.rcParams)
    first, second = (save(FIGURES[name](), tmp_path / f"{i}.png") for i in range(2))
    assert first.read_bytes() == second.read_bytes()
    with Image.open(first) as picture:
        assert picture.size[0] > 300
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.png", "1.png"]
    assert dict(matplotlib.rcParams) == before


def test_a_figure_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RunFolderError, match="Could not write"):
        save(some_curves(), tmp_path / "file" / "figure.png")
    assert (tmp_path / "file").read_text() == "not a folder"


def test_the_palette_has_ten_different_colors() -> None:
    assert len(set(PALETTE)) == 10


def test_the_map_shows_both_domains_by_class() -> None:
    figure = draw_map(60, 45, target_colors="true class (oracle)")
    assert figure.get_suptitle() == "Embeddings of 60 source and 45 target images"
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["PCA", "t-SNE (perplexity 30)"]
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["source, by true class", "target, by true class (oracle)", *CLASSES]
    for axes in figure.axes:
        source, target = axes.collections
        assert [len(np.asarray(part.get_offsets())) for part in (source, target)] == [60, 45]
        assert np.shape(source.get_paths()[0].vertices) != np.shape(target.get_paths()[0].vertices)  # circle, triangle
        points = np.concatenate([source.get_offsets(), target.get_offsets()])
        label = np.concatenate([np.arange(60) % 3, np.arange(45) % 3])
        inside = max(np.linalg.norm(points[label == c] - points[label == c].mean(0), axis=1).max() for c in range(3))
        centers = np.stack([points[label == c].mean(0) for c in range(3)])
        assert inside < min(np.linalg.norm(centers[a] - centers[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
        assert {text.get_text() for text in axes.texts} == set(CLASSES)


def test_the_first_component_holds_the_variance_that_it_says() -> None:
    z = np.zeros((10, 4), np.float32)
    z[:, 2] = np.arange(10)
    z[::2, 0] = 0.01
    figure = embedding_map(z, np.zeros(10, int), z[:0], np.zeros(0, int), CLASSES, seed=0)
    assert figure.axes[0].get_xlabel() == "first component (100% of variance)"
    assert np.ptp(np.asarray(figure.axes[0].collections[0].get_offsets())[:, 0]) == pytest.approx(9, abs=1e-3)


def test_a_projection_at_hand_is_drawn_as_it_is_and_equal_seeds_choose_equal_rows() -> None:
    z_s, labels_s, z_t, labels_t = two_domains(6, 5)
    projection = project(z_s, z_t, seed=3)
    moved = replace(projection, pca=projection.pca + 7, tsne=projection.tsne - 7)
    figure = embedding_map(z_s, labels_s, z_t, labels_t, CLASSES, seed=3, projection=moved)
    for axes, points in zip(figure.axes, (moved.pca, moved.tsne), strict=True):
        drawn = np.concatenate([np.asarray(part.get_offsets()) for part in axes.collections])
        np.testing.assert_allclose(drawn, points)
    many = [choose_rows(3000, 1500, seed=seed) for seed in (3, 3, 4)]
    assert [len(rows) for rows in many[0]] == [1000, 1000]
    assert all((a == b).all() for a, b in zip(many[0], many[1], strict=True))
    assert not (many[0][0] == many[2][0]).all()


def test_large_domains_are_thinned_to_a_thousand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domainmetric.figures.embedding.TSNE_STEPS", 250)
    monkeypatch.setattr("domainmetric.figures.embedding.MAX_POINTS", 100)
    figure = draw_map(150, 20)
    assert [len(np.asarray(part.get_offsets())) for part in figure.axes[1].collections] == [100, 20]
    assert figure.get_suptitle() == "Embeddings of 100 source and 20 target images"


@pytest.mark.parametrize(("n", "m"), [(0, 0), (1, 0), (2, 1), (3, 3), (12, 0), (0, 12)])
def test_a_map_of_few_images(tmp_path: Path, n: int, m: int) -> None:
    figure = draw_map(n, m)
    save(figure, tmp_path / "map.png")
    assert ("too few images to draw" in words(figure)) == (n + m < 5)


def test_a_map_of_collapsed_embeddings_is_finite() -> None:
    z = np.ones((12, 8), np.float32)
    figure = embedding_map(z, np.full(12, -1), z, np.arange(12) % 3, CLASSES, seed=0)
    for axes in figure.axes:
        for collection in axes.collections:
            assert np.isfinite(np.asarray(collection.get_offsets())).all()


def test_confusion_shows_counts_and_shares() -> None:
    figure = confusion_matrix(np.array([[3, 1, 0], [0, 1000, 0], [0, 0, 0]]), CLASSES, "MNIST test")
    axes = figure.axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["3", "1", "0", "0", "1,000", "0", "0", "0", "0"]
    assert axes.get_title(loc="left") == "99.90% of 1,004 images right"
    assert figure.get_suptitle() == "MNIST test"
    shares = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(shares, np.array([[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0]]))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "actual class")
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(CLASSES)


def test_confusion_without_images_or_with_many_classes(tmp_path: Path) -> None:
    empty = confusion_matrix(np.zeros((3, 3), int), CLASSES, "none")
    assert "no images" in words(empty)
    many = confusion_matrix(np.eye(30, dtype=int), [str(i) for i in range(30)], "many")
    assert not many.axes[0].texts
    save(empty, tmp_path / "empty.png")
    save(many, tmp_path / "many.png")


@pytest.mark.usefixtures("unchecked_shapes")
def test_confusion_must_fit_its_classes() -> None:
    with pytest.raises(DataError, match=r"must have the shape \(3, 3\), but came as \(2, 3\)"):
        confusion_matrix(np.zeros((2, 3), int), CLASSES, "wrong")


def test_curves_have_a_panel_for_each_loss_and_each_kind(tmp_path: Path) -> None:
    steps = list(range(0, 400, 10))
    falling = [1.0 / (1 + step) for step in steps]
    gaps = [math.nan, math.inf, *falling[2:]]
    figure = loss_curves(
        {
            "loss/triplet": (steps, gaps),
            "loss/total": (steps, falling),
            "gradient/target/dann": ([0, 10], [0.4, 0.5]),
            "gradient/target/mmd": ([0, 10], [0.6, 0.5]),
            "eval/target/accuracy_oracle": ([0], [0.9]),
            "score/oracle_gap": ([0], [0.1]),
            "score/snd": ([0], [1.0]),
            "score/entropy": ([0], [2.0]),
            "seconds": ([0], [1.0]),
        },
        phases={"source": 0, "adaptation": 200},
        title="seed 3",
    )
    shown = [axes.get_title(loc="left") for axes in figure.axes if axes.axison]
    assert shown == [
        "Loss: total",
        "Loss: triplet",
        "Gradient share at target embeddings",
        "Label-free score: entropy",
        "Label-free score: snd",
        "ORACLE: measured with target labels",
    ]
    total, triplet, gradient = figure.axes[:3]
    np.testing.assert_array_equal(total.lines[0].get_ydata(), falling)
    assert np.isnan(np.asarray(triplet.lines[0].get_ydata())[:2]).all()
    smooth = np.asarray(triplet.lines[1].get_ydata())
    assert smooth[-1] == pytest.approx(np.mean(falling[-2:]))
    assert smooth[20] == pytest.approx(np.mean(falling[19:22]))
    legend = gradient.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["dann", "mmd"]
    assert gradient.get_ylim()[0] == 0.0
    assert [text.get_text() for text in total.texts] == ["source", "adaptation"]
    assert total.get_xlabel() == "step"
    save(figure, tmp_path / "curves.png")


def test_curves_of_nothing_say_so() -> None:
    assert "no metrics were logged" in words(loss_curves({}))
    assert "no metrics were logged" in words(loss_curves({"seconds": ([0], [1.0])}))


def test_anchors_with_labels_mark_what_is_wrong() -> None:
    figure = some_anchors(similarity=np.array([[0.95, 0.9], [0.8, 0.7], [0.6, 0.5]]))
    (axes,) = figure.axes
    assert figure.get_suptitle().endswith("2 of 3 matched, 2 with the right first anchor (oracle)")
    frames = [matplotlib.colors.to_hex(patch.get_edgecolor()) for patch in axes.patches]
    assert sorted(frames) == sorted([RIGHT, RIGHT, RIGHT, WRONG])
    assert {"zero  conf. 0.90", "two  0.70", "two  not matched"} <= set(words(figure))
    assert len(axes.images) == 9
    assert [image.get_alpha() for image in axes.images].count(0.25) == 2


def test_anchors_without_labels_accuse_nobody() -> None:
    figure = some_anchors(labels=None)
    assert figure.get_suptitle() == "Target images and their source anchors (2 of 3 matched)"
    assert not figure.axes[0].patches
    assert "oracle" not in " ".join([*words(figure), figure.get_supxlabel()])
    assert "oracle" in some_anchors().get_supxlabel()


@pytest.mark.parametrize(("r", "a"), [(0, 2), (3, 0), (9, 1)])
def test_anchors_of_any_number(tmp_path: Path, r: int, a: int) -> None:
    figure = some_anchors(
        labels=np.zeros(r, int),
        target_images=np.zeros((r, 4, 4, 1), np.uint8),
        anchor_images=np.zeros((r, a, 4, 4, 1), np.uint8),
        anchor_labels=np.zeros((r, a), int),
        confidence=np.zeros(r),
        keep=np.ones(r, bool),
    )
    save(figure, tmp_path / "anchors.png")
    assert len(figure.axes[0].images) == r * (a + 1)


@pytest.mark.usefixtures("unchecked_shapes")
def test_anchors_must_have_one_row_for_each_target() -> None:
    with pytest.raises(DataError, match="A sheet of 3 target images with 2 anchors each"):
        some_anchors(confidence=np.zeros(2))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_grid_places_images_in_reading_order(channels: int) -> None:
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((3, 4, 4, channels), np.uint8)
    figure = image_grid(images, CLASSES, title="three", columns=2)
    (axes,) = figure.axes
    corners = [image.get_extent()[::3] for image in axes.images]
    assert corners[0][0] == corners[2][0] < corners[1][0]
    assert corners[0][1] == corners[1][1] < corners[2][1]
    assert [int(np.asarray(image.get_array()).max()) for image in axes.images] == [0, 1, 2]
    assert [text.get_text() for text in axes.texts] == list(CLASSES)


def test_a_grid_of_nothing_says_so(tmp_path: Path) -> None:
    figure = image_grid(np.zeros((0, 4, 4, 3), np.uint8), title="none")
    assert "no images" in words(figure)
    save(figure, tmp_path / "grid.png")
