"""Images side by side: what a domain looks like, or what a batch holds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from domainmetric.figures.style import INK, SMALL_SIZE, blank, new_figure, note


def image_grid(
    images: UInt8[np.ndarray, "n h w c"],
    captions: Sequence[str] | None = None,
    *,
    title: str,
    columns: int = 10,
) -> Figure:
    """Images in reading order, each with its caption above it. c is 1 or 3; n may be zero."""
    columns = max(1, min(columns, len(images)))
    rows = max(1, math.ceil(len(images) / columns))
    step = 1.3 if captions is not None else 1.08
    figure = new_figure(max(0.8 * columns, 4.0), 0.74 * rows * step + 0.4, title=title)
    axes = blank(figure.subplots())
    if not len(images):
        note(axes, "no images")
        return figure
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        place(axes, image, x=1.08 * column, y=step * row, caption="" if captions is None else captions[index])
    frame(axes, width=1.08 * columns - 0.08, height=step * rows - step + 1, above=step - 1.08)
    return figure


def place(
    axes: Axes, image: UInt8[np.ndarray, "h w c"], *, x: float, y: float, caption: str = "", ink: str = INK
) -> None:
    """Draw one image with its upper left corner at (x, y), one unit wide, y downward, and a caption above it."""
    shown = np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image
    axes.imshow(shown, extent=(x, x + 1, y + 1, y), interpolation="nearest", aspect="equal")
    if caption:
        axes.text(x + 0.5, y - 0.04, caption, ha="center", va="bottom", fontsize=SMALL_SIZE, color=ink)


def outline(axes: Axes, *, x: float, y: float, ink: str, dashed: bool = False) -> None:
    """A colored frame around the image whose upper left corner is (x, y)."""
    style = (0, (2, 1.5)) if dashed else "solid"
    box = Rectangle((x, y), 1, 1, fill=False, edgecolor=ink, linewidth=1.8, linestyle=style, clip_on=False)
    axes.add_patch(box)


def frame(axes: Axes, *, width: float, height: float, above: float) -> None:
    """Show exactly the area from (0, -above) to (width, height), y downward."""
    axes.set_xlim(-0.03, width + 0.03)
    axes.set_ylim(height + 0.03, -above - 0.03)
    axes.set_anchor("N")
