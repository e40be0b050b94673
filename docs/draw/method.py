"""The way of a batch through the network, as a picture."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from domainmetric.figures.style import INK, QUIET, TEXT_SIZE, blank, color, new_figure

WIDTH, HEIGHT = 1.9, 0.7


def box(axes: Axes, x: float, y: float, text: str, ink: str) -> None:
    """A named box, by its middle."""
    shape = FancyBboxPatch(
        (x - WIDTH / 2, y - HEIGHT / 2), WIDTH, HEIGHT, boxstyle="round,pad=0.05", facecolor="white", edgecolor=ink
    )
    axes.add_patch(shape)
    axes.text(x, y, text, ha="center", va="center", fontsize=TEXT_SIZE, color=INK)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], *, ink: str = QUIET) -> None:
    """From one box to the next."""
    axes.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "->", "color": ink, "shrinkA": 2, "shrinkB": 2})


def picture() -> Figure:
    """Two branches, one head, the teacher's anchors, and the terms."""
    figure = new_figure(7.6, 3.0)
    axes = blank(figure.subplots())
    source, target, teacher = color(0), color(1), color(4)
    box(axes, 1, 2.6, "source images\nwith labels", source)
    box(axes, 1, 0.4, "target images\nwithout", target)
    box(axes, 3.6, 2.6, "source branch", source)
    box(axes, 3.6, 0.4, "target branch", target)
    box(axes, 6.0, 1.5, "shared head,\nunit sphere", INK)
    box(axes, 8.7, 2.6, "classify, metric,\nalignment terms", INK)
    box(axes, 3.6, 1.5, "teacher: anchors", teacher)
    for y in (2.6, 0.4):
        arrow(axes, (2.0, y), (2.6, y))
        arrow(axes, (4.6, y), (5.5, 1.1 if y < 1 else 1.9))
    arrow(axes, (7.0, 1.75), (7.75, 2.3))
    arrow(axes, (1.6, 0.8), (2.6, 1.4), ink=teacher)
    arrow(axes, (2.6, 1.6), (1.6, 2.2), ink=teacher)
    axes.text(
        1.35,
        1.5,
        "which source image\nstands for which\ntarget image",
        ha="center",
        va="center",
        fontsize=TEXT_SIZE - 1,
        color=teacher,
    )
    axes.set_xlim(-0.1, 9.8)
    axes.set_ylim(-0.1, 3.1)
    return figure


def figures() -> Iterator[tuple[str, Figure]]:
    """The figure of the page on the method."""
    yield "method", picture()
