"""The embeddings of both domains on one map: do images that mean the same lie together, whichever domain they are from?

Two projections side by side, since each misleads in its own way: PCA keeps large distances, t-SNE (van der Maaten &
Hinton 2008) keeps neighborhoods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from sklearn.manifold import TSNE

from domainmetric.figures import style
from domainmetric.figures.style import GRID, INK, PAPER, QUIET, SMALL_SIZE, TEXT_SIZE, color

MAX_POINTS = 1000
PERPLEXITY = 30.0
TSNE_STEPS = 500
SOURCE_MARKER, TARGET_MARKER = "o", "^"


@dataclass(frozen=True, kw_only=True, eq=False)
class Projection:
    """Where the chosen rows of both domains lie in the plane, source rows first."""

    source_rows: Int64[np.ndarray, " n"]
    target_rows: Int64[np.ndarray, " m"]
    pca: Float[np.ndarray, "p 2"]
    """No rows where there are fewer than two images or dimensions."""
    share: tuple[float, float]
    """Of the variance, on the two principal axes."""
    tsne: Float[np.ndarray, "q 2"]
    """No rows where there are fewer than five images."""


def project(z_source: Float[np.ndarray, "n d"], z_target: Float[np.ndarray, "m d"], *, seed: int) -> Projection:
    """Both projections of at most 1,000 rows of each domain, chosen by `seed`: equal seeds choose equal rows."""
    chosen = choose_rows(len(z_source), len(z_target), seed=seed)
    z = np.concatenate([z_source[chosen[0]], z_target[chosen[1]]]).astype(np.float64)
    plane, share = principal(z)
    return Projection(source_rows=chosen[0], target_rows=chosen[1], pca=plane, share=share, tsne=_tsne(z, plane, seed))


def embedding_map(
    z_source: Float[np.ndarray, "n d"],
    labels_source: Int64[np.ndarray, " n"],
    z_target: Float[np.ndarray, "m d"],
    labels_target: Int64[np.ndarray, " m"],
    classes: Sequence[str],
    *,
    seed: int,
    target_colors: str = "predicted class",
    projection: Projection | None = None,
) -> Figure:
    """Both domains by PCA and by t-SNE: circles are source, triangles target, colors are classes.

    At most 1,000 rows of each domain are drawn, chosen by `seed`. `target_colors` says what `labels_target` are: the
    predicted classes, or "true class (oracle)". Labels outside the classes are gray. Either domain may be empty.
    `projection` is what `project` makes of the same embeddings and seed, where it is at hand.
    """
    projection = projection or project(z_source, z_target, seed=seed)
    chosen_source, chosen_target = projection.source_rows, projection.target_rows
    labels = np.concatenate([labels_source[chosen_source], labels_target[chosen_target]])
    is_target = np.arange(len(labels)) >= len(chosen_source)
    counts = f"{len(chosen_source):,} source and {len(chosen_target):,} target images"
    figure = style.new_figure(11.0, 5.2, title=f"Embeddings of {counts}")
    left, right = figure.subplots(1, 2)
    share = projection.share
    style.tidy(left, title="PCA", x=f"first component ({share[0]:.0%} of variance)", y=f"second ({share[1]:.0%})")
    style.tidy(
        right,
        title=f"t-SNE (perplexity {_perplexity(len(labels)):.0f})",
        x="no unit: neighborhoods alone mean something",
    )
    right.set_xticks([])
    right.set_yticks([])
    for axes, points in ((left, projection.pca), (right, projection.tsne)):
        if len(points):
            _scatter(axes, points, labels, is_target, classes)
        else:
            style.note(axes, "too few images to draw")
    _legend(figure, classes, target_colors)
    return figure


def choose_rows(
    num_source: int, num_target: int, *, seed: int
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " m"]]:
    """The rows that are shown of each domain, in order."""
    generator = np.random.default_rng(seed)
    return _choose(num_source, generator), _choose(num_target, generator)


def _choose(count: int, generator: np.random.Generator) -> Int64[np.ndarray, " c"]:
    return np.sort(generator.permutation(count)[:MAX_POINTS])


def principal(z: Float[np.ndarray, "n d"]) -> tuple[Float[np.ndarray, "p 2"], tuple[float, float]]:
    """Coordinates on the first two principal axes, and their shares of the variance; no rows without two rows."""
    if len(z) < 2 or z.shape[1] < 2:
        return np.zeros((0, 2)), (0.0, 0.0)
    centered = z - z.mean(axis=0)
    _, values, axes = np.linalg.svd(centered, full_matrices=False)
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]  # a sign that repeats
    power = values**2
    first, second = power[:2] / power.sum() if power.sum() > 0 else np.zeros(2)
    return centered @ axes[:2].T, (float(first), float(second))


def _perplexity(count: int) -> float:
    return max(1.0, min(PERPLEXITY, (count - 1) / 3))


def _tsne(z: Float[np.ndarray, "n d"], start: Float[np.ndarray, "p 2"], seed: int) -> Float[np.ndarray, "q 2"]:
    """t-SNE started from the PCA map, as its authors advise for a stable layout; no rows below five."""
    if len(z) < 5 or not len(start):
        return np.zeros((0, 2))
    spread = max(float(start[:, 0].std()), 1e-12)
    model = TSNE(
        init=(start / spread * 1e-4).astype(np.float32),
        perplexity=_perplexity(len(z)),
        max_iter=TSNE_STEPS,
        random_state=seed,
    )
    points: Float[np.ndarray, "q 2"] = model.fit_transform(z.astype(np.float32))
    return points


def _scatter(
    axes: Axes,
    points: Float[np.ndarray, "p 2"],
    labels: Int64[np.ndarray, " p"],
    is_target: np.ndarray,
    classes: Sequence[str],
) -> None:
    colors = np.array([color(int(label)) if 0 <= label < len(classes) else GRID for label in labels])
    pale: dict[str, Any] = {"marker": SOURCE_MARKER, "s": 12, "alpha": 0.4, "linewidths": 0.0}
    sharp: dict[str, Any] = {"marker": TARGET_MARKER, "s": 13, "alpha": 0.9, "linewidths": 0.35, "edgecolors": INK}
    for rows, name, look in ((~is_target, "source", pale), (is_target, "target", sharp)):
        axes.scatter(points[rows, 0], points[rows, 1], c=colors[rows], label=name, **look)
    for label in np.unique(labels[(labels >= 0) & (labels < len(classes))]):
        x, y = np.median(points[labels == label], axis=0)
        axes.text(
            x,
            y,
            style.class_name(classes, int(label)),
            ha="center",
            va="center",
            fontsize=TEXT_SIZE,
            fontweight="bold",
            color=INK,
        ).set_path_effects([withStroke(linewidth=2.5, foreground=PAPER)])


def _legend(figure: Figure, classes: Sequence[str], target_colors: str) -> None:
    look: dict[str, Any] = {"linestyle": "none", "markersize": 6}
    domains = [
        Line2D([], [], marker=SOURCE_MARKER, color=QUIET, alpha=0.5, label="source, by true class", **look),
        Line2D(
            [], [], marker=TARGET_MARKER, color=QUIET, markeredgecolor=INK, label=f"target, by {target_colors}", **look
        ),
    ]
    kinds = [Line2D([], [], marker="s", color=color(i), label=name, **look) for i, name in enumerate(classes)]
    shown = domains + kinds if len(classes) <= 20 else domains
    figure.legend(
        handles=shown,
        loc="outside right upper",
        frameon=False,
        fontsize=SMALL_SIZE + 0.5,
        labelcolor=INK,
        labelspacing=0.6,
    )
