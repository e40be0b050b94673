"""What the matcher chose: target images, and the source images that stand for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from domainmetric.errors import DataError
from domainmetric.figures.sheet import frame, outline, place
from domainmetric.figures.style import INK, QUIET, RIGHT, SMALL_SIZE, WRONG, blank, class_name, new_figure, note

MAX_ROWS_PER_BLOCK = 8
STEP_X, STEP_Y, GAP = 1.15, 1.42, 0.5
CROSS = "\N{MULTIPLICATION SIGN}"


def anchor_sheet(
    target_images: UInt8[np.ndarray, "r h w c"],
    target_labels: Int64[np.ndarray, " r"] | None,
    anchor_images: UInt8[np.ndarray, "r a hs ws cs"],
    anchor_labels: Int64[np.ndarray, "r a"],
    confidence: Float[np.ndarray, " r"],
    keep: Bool[np.ndarray, " r"],
    *,
    classes: Sequence[str],
    similarity: Float[np.ndarray, "r a"] | None = None,
) -> Figure:
    """Each row is a target image and its anchors, best first, with their class and cosine similarity.

    With target labels (an oracle, and the title says so) wrong anchors are framed and marked. Rows that the matcher did
    not keep are pale. Raises DataError if the numbers of rows or anchors differ.
    """
    r, a = len(target_images), anchor_images.shape[1]
    _check(
        r, a, grids=(anchor_images[..., 0, 0, 0], anchor_labels, similarity), columns=(target_labels, confidence, keep)
    )
    blocks = max(1, math.ceil(r / MAX_ROWS_PER_BLOCK))
    rows = max(1, math.ceil(r / blocks))
    block_width = STEP_X * (a + 1) + 2 * GAP
    width, height = block_width * blocks - GAP, STEP_Y * rows
    figure = new_figure(max(0.72 * width, 5.4), 0.72 * height + 0.75, title=_title(target_labels, anchor_labels, keep))
    figure.supxlabel(_explanation(target_labels, similarity), fontsize=SMALL_SIZE, color=QUIET)
    axes = blank(figure.subplots())
    if r == 0:
        note(axes, "no target images")
        return figure
    for index in range(r):
        block, row = divmod(index, rows)
        x, y = block * block_width, row * STEP_Y
        kept = bool(keep[index])
        truth = None if target_labels is None else int(target_labels[index])
        name = "" if truth is None else f"{class_name(classes, truth)}  "
        found = f"conf. {confidence[index]:.2f}" if kept else "not matched"
        _target(axes, target_images[index], x, y, caption=name + found, keep=kept)
        for column, label in enumerate(anchor_labels[index]):
            cosine = "" if similarity is None else f"  {similarity[index, column]:.2f}"
            caption = class_name(classes, int(label)) + cosine
            wrong = None if truth is None else int(label) != truth
            left = x + STEP_X * (column + 1) + GAP
            _anchor(axes, anchor_images[index, column], left, y, caption=caption, keep=kept, wrong=wrong)
    frame(axes, width=width, height=height - STEP_Y + 1.05, above=0.36)
    return figure


def _check(r: int, a: int, *, grids: Sequence[np.ndarray | None], columns: Sequence[np.ndarray | None]) -> None:
    shapes = (
        [array.shape for array in grids if array is not None],
        [array.shape for array in columns if array is not None],
    )
    if set(shapes[0]) != {(r, a)} or set(shapes[1]) != {(r,)}:
        raise DataError(
            f"A sheet of {r} target images with {a} anchors each needs anchor images, labels and similarities of shape "
            f"({r}, {a}), and {r} target labels, confidences and keeps, but came with {shapes[0]} and {shapes[1]}."
        )


def _title(
    target_labels: Int64[np.ndarray, " r"] | None, anchor_labels: Int64[np.ndarray, "r a"], keep: Bool[np.ndarray, " r"]
) -> str:
    kept = f"{int(keep.sum())} of {len(keep)} matched"
    if target_labels is None or not anchor_labels.size:
        return f"Target images and their source anchors ({kept})"
    right = int((anchor_labels[:, 0] == target_labels)[keep].sum())
    return f"Target images and their source anchors\n{kept}, {right} with the right first anchor (oracle)"


def _explanation(target_labels: np.ndarray | None, similarity: np.ndarray | None) -> str:
    cosine = "" if similarity is None else " and cosine similarity"
    wrong = "" if target_labels is None else "; red and dashed: wrong class (oracle)"
    return f"Above a target: the matcher's confidence. Above an anchor: its class{cosine}.\nPale: not matched{wrong}."


def _target(axes: Axes, image: UInt8[np.ndarray, "h w c"], x: float, y: float, *, caption: str, keep: bool) -> None:
    place(axes, image, x=x, y=y, caption=caption, ink=INK if keep else QUIET)
    tip, tail = (x + 1 + GAP + 0.08, y + 0.5), (x + 1.08, y + 0.5)
    axes.annotate("", xy=tip, xytext=tail, arrowprops={"arrowstyle": "->", "color": QUIET})


def _anchor(
    axes: Axes, image: UInt8[np.ndarray, "h w c"], x: float, y: float, *, caption: str, keep: bool, wrong: bool | None
) -> None:
    ink = QUIET if not keep else WRONG if wrong else INK
    place(axes, image, x=x, y=y, caption=caption, ink=ink)
    if not keep:
        axes.images[-1].set_alpha(0.25)
    elif wrong is not None:
        outline(axes, x=x, y=y, ink=WRONG if wrong else RIGHT, dashed=wrong)
    if wrong and keep:
        corner: dict[str, Any] = {"ha": "right", "va": "top"}
        axes.text(x + 0.95, y + 0.03, CROSS, fontsize=SMALL_SIZE + 6, fontweight="bold", color=WRONG, **corner)
