"""The vector field of a triplet: where a step takes its two similarities, over a square of them.

S_ap lies on x and S_an on y, so a good step points down and right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from domainmetric.errors import DataError
from domainmetric.figures.style import INK, PAPER, QUIET, SMALL_SIZE, color, new_figure, tidy

DIRECTIONS: Mapping[str, tuple[str, str]] = {
    "down_right": ("down-right (DR): positive nearer, negative farther", "#3f90da"),
    "up_right": ("up-right (UR): both nearer", "#ffa90e"),
    "down_left": ("down-left (DL): both farther", "#832db6"),
    "up_left": ("up-left (UL): positive farther, negative nearer", "#bd1f01"),
}
"""The four directions of a step, by the color that stands for each and what it does."""
S_AP, S_AN = "$S_{ap}$", "$S_{an}$"
TINT = 0.3
ARROWS = 11


@dataclass(frozen=True, kw_only=True, eq=False)
class Field:
    """Moves over a square of similarities, at the midpoints of equal cells; the finer, the smoother its regions."""

    title: str
    s_ap: Float[np.ndarray, " c"]
    """Of the columns, rising by equal steps."""
    s_an: Float[np.ndarray, " r"]
    """Of the rows, rising by equal steps."""
    d_ap: Float[np.ndarray, "r c"]
    d_an: Float[np.ndarray, "r c"]

    def __post_init__(self) -> None:
        shape = (len(self.s_an), len(self.s_ap))
        if min(shape) < 2 or self.d_ap.shape != shape or self.d_an.shape != shape:
            raise DataError(
                f"A field on {shape[1]} similarities S_ap and {shape[0]} S_an needs two or more of each, and moves of "
                f"the shape {shape}, but they came with {self.d_ap.shape} and {self.d_an.shape}."
            )

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """The square that the cells fill: left, right, bottom, top."""
        half_x, half_y = (self.s_ap[1] - self.s_ap[0]) / 2, (self.s_an[1] - self.s_an[0]) / 2
        low_x, high_x = float(self.s_ap[0] - half_x), float(self.s_ap[-1] + half_x)
        return low_x, high_x, float(self.s_an[0] - half_y), float(self.s_an[-1] + half_y)


def draw_regions(axes: Axes, field: Field) -> None:
    """Tint the square by the direction of the moves; what does not move stays white."""
    right, up = np.sign(field.d_ap), np.sign(field.d_an)
    image = np.ones((*right.shape, 3))
    for name, (_, ink) in DIRECTIONS.items():
        where = (up == (1 if name.startswith("up") else -1)) & (right == (1 if name.endswith("right") else -1))
        image[where] = 1 - TINT * (1 - np.array(to_rgb(ink)))
    axes.imshow(image, extent=field.extent, origin="lower", interpolation="nearest", aspect="equal", zorder=0)


def draw_arrows(axes: Axes, field: Field, *, arrows: int = ARROWS, ink: str = INK) -> None:
    """About `arrows` x `arrows` of the moves as arrows, their lengths as the square root of the moves' lengths.

    The root, since moves near the border are a hundred times shorter than those in the middle; the longest is as long
    as the arrows are apart.
    """
    left, right, bottom, top = field.extent
    columns, rows = (_spread(len(s), arrows) for s in (field.s_ap, field.s_an))
    x, y = np.meshgrid(field.s_ap[columns], field.s_an[rows])
    d_x, d_y = field.d_ap[np.ix_(rows, columns)], field.d_an[np.ix_(rows, columns)]
    length = np.hypot(d_x, d_y)
    shown = np.sqrt(length / max(float(length.max()), 1e-300)) * (right - left) / max(1, len(columns))
    factor = shown / np.maximum(length, 1e-300)
    look: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1.0, "pivot": "middle", "width": 0.0055}
    axes.quiver(x, y, d_x * factor, d_y * factor, color=ink, headwidth=4.2, headlength=4.2, headaxislength=3.8, **look)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


def field_grid(fields: Sequence[Sequence[Field]], *, title: str, rows: Sequence[str]) -> Figure:
    """Fields in rows and columns, tinted by direction, with arrows. `rows` names each row.

    Raises DataError unless all rows have the same number of fields, at least one.
    """
    columns = {len(row) for row in fields}
    if len(columns) != 1 or 0 in columns or len(rows) != len(fields):
        raise DataError(
            f"A grid of fields needs rows of one length, each with a name, but came with rows of "
            f"{sorted(columns)} fields and the names {list(rows)}."
        )
    width = columns.pop()
    figure = new_figure(2.3 * width + 0.5, 2.35 * len(fields) + 1.2, title=title)
    grid = figure.subplots(len(fields), width, squeeze=False)
    for row, (name, line) in enumerate(zip(rows, fields, strict=True)):
        for column, field in enumerate(line):
            last, first = row == len(fields) - 1, column == 0
            x, y = f"{S_AP} (anchor, positive)" if last else "", f"{name}\n{S_AN} (anchor, negative)" if first else ""
            axes = tidy(grid[row, column], title=field.title, x=x, y=y, grid=False)
            axes.title.set_fontsize(SMALL_SIZE + 0.5)
            draw_regions(axes, field)
            draw_arrows(axes, field)
            left, right, bottom, top = field.extent
            ends = [max(left, bottom), min(right, top)]
            axes.plot(ends, ends, color=QUIET, linewidth=0.8, dashes=(4, 3))
    _direction_legend(figure, [field for line in fields for field in line])
    return figure


def share_bars(shares: Mapping[str, Mapping[str, Float[np.ndarray, " 4"]]], *, title: str) -> Figure:
    """Stacked bars of the shares of the four directions, in the order of `DIRECTIONS`: one panel for each group.

    `shares[panel][bar]`; what is left to 1 does not move and stays white.
    """
    longest = max((len(bars) for bars in shares.values()), default=1)
    figure = new_figure(3.1 * max(1, len(shares)) + 1.0, 0.27 * longest + 1.7, title=title)
    grid = figure.subplots(1, max(1, len(shares)), squeeze=False, sharey=True)[0]
    for axes, (panel, bars) in zip(grid, shares.items(), strict=False):
        tidy(axes, title=panel, x="share of the square's area (%)")
        axes.grid(visible=False, axis="y")
        places = np.arange(len(bars))
        start = np.zeros(len(bars))
        for index, (_, ink) in enumerate(DIRECTIONS.values()):
            part = 100 * np.array([bar[index] for bar in bars.values()])
            axes.barh(places, part, left=start, color=ink, height=0.74)
            for place, value, left in zip(places, part, start, strict=True):
                if value >= 9:
                    look: dict[str, Any] = {"fontsize": SMALL_SIZE, "color": INK if index == 1 else PAPER}
                    axes.text(left + value / 2, place, f"{value:.0f}", ha="center", va="center", **look)
            start = start + part
        axes.set_yticks(places, labels=list(bars))
        axes.set_xlim(0, 100)
        axes.set_ylim(len(bars) - 0.5, -0.5)
    _legend(figure, [_patch(name, tint=1.0) for name in DIRECTIONS if name != "up_left" or _any(shares, 3)])
    return figure


@dataclass(frozen=True, kw_only=True, eq=False)
class Boundary:
    """Where a law says that a direction changes, and where it did."""

    title: str
    s_ap: Float[np.ndarray, " c"]
    s_an: Float[np.ndarray, " r"]
    falls: Bool[np.ndarray, "r c"]
    """Where the step lowered S_ap."""
    rises: Bool[np.ndarray, "r c"]
    """Where the step raised S_an."""
    law_falls: Float[np.ndarray, "r c"]
    """Below zero where the law says that S_ap falls."""
    law_rises: Float[np.ndarray, "r c"]
    """Above zero where the law says that S_an rises."""


def law_figure(
    lr: Float[np.ndarray, " l"],
    errors: Mapping[str, Float[np.ndarray, " l"]],
    boundaries: Sequence[Boundary],
    *,
    title: str,
) -> Figure:
    """How far steps of each size are from the small-step law, and its boundaries against those of real steps."""
    figure = new_figure(3.5 * (1 + len(boundaries)), 4.3, title=title)
    axes, *others = figure.subplots(1, 1 + len(boundaries), squeeze=False)[0]
    tidy(axes, title="error of the law", x="learning rate", y="largest deviation of \u0394S / lr from the law")
    for index, (name, values) in enumerate(errors.items()):
        axes.loglog(lr, values, marker="osD^v"[index % 5], markersize=4, color=color(index), label=name)
    lowest = min((float(values[0]) for values in errors.values()), default=1.0)
    axes.loglog(lr, 0.4 * lowest * lr / lr[0], color=QUIET, linestyle=":", label="proportional to lr")
    axes.legend(frameon=False, fontsize=SMALL_SIZE, labelcolor=INK)
    for panel, boundary in zip(others, boundaries, strict=True):
        _boundary(panel, boundary)
    if boundaries:
        falls, rises = (_patch(name, tint=TINT) for name in ("down_left", "up_right"))
        falls.set_label(f"the step lowers {S_AP}")
        rises.set_label(f"the step raises {S_AN}")
        _legend(figure, [falls, rises, Line2D([], [], color=INK, linewidth=1.2, label="boundary by the law")])
    return figure


def _boundary(axes: Axes, boundary: Boundary) -> None:
    tidy(axes, title=boundary.title, x=S_AP, y=S_AN, grid=False)
    field = Field(
        title="",
        s_ap=boundary.s_ap,
        s_an=boundary.s_an,
        d_ap=np.where(boundary.falls, -1.0, 1.0),
        d_an=np.where(boundary.rises, 1.0, -1.0),
    )
    draw_regions(axes, field)
    for values in (boundary.law_falls, boundary.law_rises):
        if values.min() < 0 < values.max():
            axes.contour(boundary.s_ap, boundary.s_an, values, levels=[0.0], colors=[INK], linewidths=1.2)


def _spread(count: int, arrows: int) -> np.ndarray:
    """Indices of about `arrows` cells at equal distances, with half a distance free at both ends."""
    chosen = min(count, arrows)
    result: np.ndarray = ((np.arange(chosen) + 0.5) * count / chosen).astype(int)
    return result


def _any(shares: Mapping[str, Mapping[str, np.ndarray]], index: int) -> bool:
    return any(bar[index] > 0 for bars in shares.values() for bar in bars.values())


def _patch(name: str, *, tint: float) -> Patch:
    label, ink = DIRECTIONS[name]
    red, green, blue = (1 - tint * (1 - part) for part in to_rgb(ink))
    return Patch(facecolor=(red, green, blue), label=label)


def _direction_legend(figure: Figure, fields: Sequence[Field]) -> None:
    worst = any(bool(((f.d_ap < 0) & (f.d_an > 0)).any()) for f in fields)
    handles: list[Any] = [_patch(name, tint=TINT) for name in DIRECTIONS if name != "up_left" or worst]
    diagonal = Line2D([], [], color=QUIET, linewidth=0.8, dashes=(4, 3), label=f"{S_AP} = {S_AN}")
    words = Line2D([], [], linestyle="none", label="arrows: root of the move's length, scaled in each panel")
    _legend(figure, [*handles, diagonal, words], columns=2)


def _legend(figure: Figure, handles: Sequence[Any], *, columns: int = 4) -> None:
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=SMALL_SIZE + 0.5,
        labelcolor=INK,
    )
