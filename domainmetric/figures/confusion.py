"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from domainmetric.errors import DataError
from domainmetric.figures.style import INK, PAPER, SMALL_SIZE, TEXT_SIZE, new_figure, tidy

MAX_CLASSES_WITH_COUNTS = 20


def confusion_matrix(matrix: Int64[np.ndarray, "k k"], classes: Sequence[str], title: str) -> Figure:
    """Counts `matrix[actual, predicted]` as numbers, and the share of each actual class as color (on a root scale).

    The overall accuracy stands under `title`, which says what was classified. Classes without images have a pale row.
    Raises DataError unless the matrix is square and fits the classes.
    """
    k = len(classes)
    if matrix.shape != (k, k) or k == 0:
        raise DataError(
            f"A confusion matrix of {k} classes must have the shape ({k}, {k}), but came as {matrix.shape}."
        )
    total = int(matrix.sum())
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(1.6 + 0.42 * k, 4.2, 10.0))
    figure = new_figure(side + 0.6, side + 0.1, title=title)
    right = f"{np.trace(matrix) / total:.2%} of {total:,} images right" if total else "no images"
    axes = tidy(figure.subplots(), title=right, x="predicted class", y="actual class", grid=False)
    image = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, vmin=0.0, vmax=1.0))  # so that rare confusions show
    slanted: dict[str, Any] = {"rotation": 45, "ha": "right"} if max(map(len, classes)) > 3 else {}
    axes.set_xticks(range(k), labels=classes, **slanted)
    axes.set_yticks(range(k), labels=classes)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if k <= MAX_CLASSES_WITH_COUNTS:
        for (row, column), count in np.ndenumerate(matrix):
            ink = PAPER if share[row, column] > 0.3 else INK if count else "#c3c8ce"
            axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=SMALL_SIZE, color=ink)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1])
    bar.set_label("share of the actual class", fontsize=TEXT_SIZE, color=INK)
    bar.ax.tick_params(labelsize=SMALL_SIZE, length=0)
    bar.outline.set_visible(False)
    return figure
