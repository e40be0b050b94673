"""Where triplets lie in the square of their two similarities, and where an update moves them.

S_ap, to the positive, goes to the right and S_an, to the negative, upwards: triplets above the diagonal are hard, and
the way out is down and right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from domainmetric.figures.style import INK, QUIET, RIGHT, SMALL_SIZE, WRONG, new_figure, note, tidy

CELLS = 80
"""Cells along each side of a square in which points are counted."""
MEASURED, PREDICTED = INK, "#e76300"
X, Y = "S_ap, similarity to the positive", "S_an, similarity to the negative"


class Points(NamedTuple):
    """Triplets by their two similarities."""

    s_ap: Float[np.ndarray, " t"]
    s_an: Float[np.ndarray, " t"]


class ArrowField(NamedTuple):
    """Mean moves in the cells of a grid."""

    s_ap: Float[np.ndarray, " c"]
    """Centers of the cells."""
    s_an: Float[np.ndarray, " c"]
    d_ap: Float[np.ndarray, " c"]
    """Measured mean moves."""
    d_an: Float[np.ndarray, " c"]
    num_triplets: Int[np.ndarray, " c"]
    """How many triplets each cell holds."""
    predicted: tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"]] | None = None
    """Predicted mean moves of the same cells."""
    caption: str = ""
    """What is written above the square, such as the shares of the directions."""


def triplet_scatter(rows: Mapping[str, Mapping[str, Points]], *, title: str) -> Figure:
    """A square for each row (what was trained, or looked at) and column (when), all with the same axes.

    The darker a cell, the more triplets lie in it, on a logarithmic scale of its own square.
    """
    figure, grid = _squares(rows, title)
    low = _low([np.concatenate(points) for row in rows.values() for points in row.values()])
    for axes, (name, points) in zip(grid, chain(*(row.items() for row in rows.values())), strict=True):
        hard = points.s_ap <= points.s_an
        share = f"{hard.mean():.1%} of {len(hard):,} hard" if len(hard) else "no triplets"
        axes.set_title(f"{name}: {share}", fontsize=SMALL_SIZE + 0.5, color=INK, loc="left")
        _square(axes, low)
        for mask, shade in ((~hard, RIGHT), (hard, WRONG)):
            cloud = _cloud(Points(points.s_ap[mask], points.s_an[mask]), low, shade)
            axes.imshow(cloud, extent=(low, 1, low, 1), origin="lower", interpolation="nearest", zorder=2)
    handles = [Patch(color=RIGHT, label="correct: S_ap > S_an"), Patch(color=WRONG, label="hard: S_ap <= S_an")]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=SMALL_SIZE + 0.5)
    return figure


def movement_arrows(rows: Mapping[str, Mapping[str, ArrowField]], *, title: str) -> Figure:
    """A square for each row and column, with the measured mean arrows, and the predicted ones where there are any.

    In each square the longest measured and the longest predicted arrow are drawn equally long: directions compare.
    """
    figure, grid = _squares(rows, title, height=2.9)
    every = [field for row in rows.values() for field in row.values()]
    low = _low([np.concatenate([field.s_ap, field.s_an]) for field in every])
    for axes, (name, field) in zip(grid, chain(*(row.items() for row in rows.values())), strict=True):
        caption = f"{name}\n{field.caption}" if field.caption else name
        axes.set_title(caption, fontsize=SMALL_SIZE + 0.5, color=INK, loc="left")
        _square(axes, low)
        if not len(field.num_triplets):
            note(axes, "no triplets")
            continue
        size = 4 + 60 * field.num_triplets / field.num_triplets.max()
        axes.scatter(field.s_ap, field.s_an, s=size, color=RIGHT, alpha=0.35, linewidths=0)
        if field.predicted is not None:
            _arrows(axes, field, *field.predicted, PREDICTED)
        _arrows(axes, field, field.d_ap, field.d_an, MEASURED)
    look: dict[str, Any] = {"linestyle": "", "markersize": 8}
    handles = [Line2D([], [], marker=r"$\rightarrow$", color=MEASURED, label="measured mean move", **look)]
    if any(field.predicted is not None for field in every):
        handles.append(
            Line2D([], [], marker=r"$\rightarrow$", color=PREDICTED, label="predicted for a triplet alone", **look)
        )
    handles.append(Line2D([], [], marker="o", color=RIGHT, alpha=0.35, label="number of triplets (area)", **look))
    columns = len(handles) if figure.get_figwidth() > 7 else 1
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=SMALL_SIZE + 0.5)
    return figure


def _squares(rows: Mapping[str, Mapping[str, Any]], title: str, *, height: float = 2.5) -> tuple[Figure, list[Axes]]:
    """One square for each entry, row by row; those of a shorter row are left blank. The rows are named at the left."""
    num_columns = max([1, *(len(row) for row in rows.values())])
    figure = new_figure(0.7 + 2.35 * num_columns, 0.9 + height * max(1, len(rows)), title=title)
    table = figure.subplots(max(1, len(rows)), num_columns, squeeze=False)
    found: list[Axes] = []
    for number, (name, row) in enumerate(rows.items()):
        for index, axes in enumerate(table[number]):
            if index < len(row):
                tidy(axes, x=X if number == len(rows) - 1 else "", y=f"{name}\n\n{Y}" if index == 0 else "")
                axes.xaxis.label.set_size(SMALL_SIZE)
                axes.yaxis.label.set_size(SMALL_SIZE)
                found.append(axes)
            else:
                axes.set_axis_off()
    if not rows:
        note(table[0, 0], "no triplets were looked at")
    return figure, found


def _square(axes: Axes, low: float) -> None:
    """The same limits both ways, and the diagonal between correct and hard."""
    margin = 0.02 * (1 - low)
    axes.set(xlim=(low - margin, 1 + margin), ylim=(low - margin, 1 + margin), aspect="equal")
    axes.locator_params(nbins=5)
    axes.plot([low, 1], [low, 1], color=QUIET, linewidth=0.8, linestyle=":")


def _low(values: list[np.ndarray]) -> float:
    """Where the axes begin: below all but a thousandth of the similarities, at a quarter, and not above 0."""
    joined = np.concatenate([np.zeros(0), *values])
    smallest = float(np.quantile(joined, 0.001)) if len(joined) else -1.0
    return max(-1.0, min(0.0, math.floor(smallest * 4) / 4))


def _cloud(points: Points, low: float, shade: str) -> np.ndarray:
    """A picture of how many points lie where, rows upwards; those outside of the square are drawn at its border."""
    row, column = (np.clip((s - low) / (1 - low) * CELLS, 0, CELLS - 1).astype(int) for s in (points.s_an, points.s_ap))
    count = np.bincount(row * CELLS + column, minlength=CELLS**2).reshape(CELLS, CELLS)
    picture = np.zeros((CELLS, CELLS, 4))
    picture[..., :3] = to_rgb(shade)
    picture[..., 3] = np.where(count > 0, 0.25 + 0.75 * np.log1p(count) / np.log1p(max(count.max(), 1)), 0)
    return picture


def _arrows(axes: Axes, field: ArrowField, d_ap: np.ndarray, d_an: np.ndarray, shade: str) -> None:
    """The longest arrow spans one and a half cells."""
    longest = float(np.hypot(d_ap, d_an).max())
    if longest == 0:
        return
    sides = np.diff(np.unique(np.concatenate([field.s_ap, field.s_an]).round(6)))
    scale = longest / (1.5 * float(sides.min()) if len(sides) else 0.15)
    # unclipped: in a collapse all arrows start in the corner and point out of the square
    look: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "width": 0.006, "clip_on": False}
    drawn = axes.quiver(field.s_ap, field.s_an, d_ap, d_an, color=shade, scale=scale, **look)
    drawn.set_in_layout(False)  # an arrow that points out makes no room for itself
