"""One look for all pictures: quiet axes, a light ground, ten colors that color-blind readers can tell apart.

Figures are made without pyplot, so drawing one neither opens a window nor changes anything global.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from domainmetric import durable

# M. A. Petroff, "Accessible color sequences for data visualization", arXiv 2107.02270 (ten-color set).
PALETTE = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
INK, QUIET, GRID, PAPER = "#22272e", "#6b7280", "#e6e8eb", "#ffffff"
RIGHT, WRONG = "#3f90da", "#bd1f01"
DPI = 150
TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 11.0, 9.0, 7.5


def color(index: int) -> str:
    """The color of a class or a line; after ten they repeat."""
    return PALETTE[index % len(PALETTE)]


def new_figure(width: float, height: float, *, title: str = "") -> Figure:
    """An empty figure of the given size in inches, whose parts are laid out without overlap."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=PAPER, layout="constrained")
    if title:
        lines = [wrap(line, int(10.2 * width)) for line in title.splitlines()]
        title = "\n".join(part for line in lines for part in line)
        figure.suptitle(title, fontsize=TITLE_SIZE, color=INK, fontweight="bold")
    return figure


def tidy(axes: Axes, *, title: str = "", x: str = "", y: str = "", grid: bool = True) -> Axes:
    """Give axes the common look, a title that says what is seen, and names with units for x and y."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(QUIET)
    axes.tick_params(labelsize=SMALL_SIZE, colors=QUIET, labelcolor=INK, length=3)
    axes.set_title(title, fontsize=TEXT_SIZE, color=INK, loc="left")
    axes.set_xlabel(x, fontsize=TEXT_SIZE, color=INK)
    axes.set_ylabel(y, fontsize=TEXT_SIZE, color=INK)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(visible=True, color=GRID, linewidth=0.8)
    return axes


def blank(axes: Axes) -> Axes:
    """Axes that carry pictures or words only: no frame, no ticks."""
    axes.set_axis_off()
    return axes


def note(axes: Axes, text: str) -> None:
    """Say in the middle of empty axes why nothing is drawn there."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=TEXT_SIZE, color=QUIET)


def save(figure: Figure, path: Path) -> Path:
    """Write the figure as a PNG; the file appears whole or not at all. Raises NotWritten if it cannot be written.

    The same figure gives the same bytes: no date and no version goes into the file.
    """
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=DPI, facecolor=PAPER, metadata={"Software": None})
    durable.make_folder(path.parent)
    durable.write(path, picture.getvalue())
    return path


def class_name(classes: Sequence[str], label: int) -> str:
    """The name of a class, or "?" for a label that is none."""
    return classes[label] if 0 <= label < len(classes) else "?"
