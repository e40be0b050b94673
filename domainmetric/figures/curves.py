"""How a run went: small multiples over its steps, from the history that the log holds.

A metric's name says where it is drawn: what stands before the slash is the panel (see `PANELS`), what follows is the
line. Each `loss/...` has axes of its own, since losses have no common scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from domainmetric.figures.style import INK, QUIET, SMALL_SIZE, TEXT_SIZE, color, new_figure, note, tidy

History = Mapping[str, tuple[Sequence[int], Sequence[float]]]
COLUMNS = 3
FROM_ZERO = ("factor", "share of the summed norm")
SMOOTHING = 24  # a running mean looks this fraction of the curve to each side
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))  # so that equal curves stay visible


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One small picture: the metrics whose names begin with `prefix`."""

    prefix: str
    title: str
    unit: str


PANELS = (
    Panel(prefix="weight", title="Weight of each term", unit="factor"),
    Panel(prefix="gradient", title="Share of the gradient at the target embeddings", unit="share of the summed norm"),
    Panel(prefix="lr", title="Learning rate", unit="per step"),
    Panel(prefix="score", title="Label-free scores", unit="score"),
    Panel(prefix="validation", title="Source validation", unit="fraction right"),
    Panel(prefix="oracle", title="ORACLE: measured with target labels", unit="fraction right"),
)


def loss_curves(history: History, *, phases: Mapping[str, int] | None = None, title: str = "Training") -> Figure:
    """One small picture per loss, then one for each of `PANELS` that the history has something for.

    `history` maps a name to its steps and values (as `tracking.history` gives it); NaN and infinite values are gaps.
    `phases` maps the name of a phase to its first step, and is drawn as upright lines. Metrics of other names are left
    out.
    """
    losses = sorted(
        (name for name in history if _family(name) == "loss"), key=lambda name: (name != "loss/total", name)
    )
    pictures = [(f"Loss: {name.partition('/')[2]}", "loss", [name]) for name in losses]
    for panel in PANELS:
        names = sorted(name for name in history if _family(name) == panel.prefix)
        if names:
            pictures.append((panel.title, panel.unit, names))
    columns = min(COLUMNS, max(len(pictures), 1))
    rows = max(1, math.ceil(len(pictures) / columns))
    figure = new_figure(0.6 + 3.7 * columns, 0.5 + 2.4 * rows, title=title)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for axes, (heading, unit, names) in zip(grid, pictures, strict=False):
        tidy(axes, title=heading, x="step", y=unit)
        axes.tick_params(labelbottom=True)
        _lines(axes, history, names)
        _mark(axes, phases or {})
        if unit in FROM_ZERO:
            axes.set_ylim(0.0, 1.05 * max(axes.dataLim.ymax, 1e-9))
    for axes in grid[len(pictures) :]:
        axes.set_axis_off()
    if not pictures:
        note(grid[0], "no metrics were logged")
    return figure


def _family(name: str) -> str:
    return name.partition("/")[0]


def _lines(axes: Axes, history: History, names: Sequence[str]) -> None:
    """Each metric as measured, pale, with a running mean over it where it is long enough to need one."""
    for index, name in enumerate(names):
        steps, values = history[name]
        measured = np.where(np.isfinite(np.asarray(values, dtype=float)), values, np.nan)
        smooth = name.startswith("loss/") and len(measured) > 30
        label = name.partition("/")[2] or name
        marker = "o" if len(measured) < 15 else ""
        style: dict[str, Any] = {"color": color(index), "marker": marker, "markersize": 3}
        style["linestyle"] = DASHES[index % len(DASHES)]
        axes.plot(steps, measured, linewidth=1.6, alpha=0.3 if smooth else 1.0, label=label, **style)
        if smooth:
            axes.plot(steps, _running_mean(measured), linewidth=1.6, color=color(index))
    if len(names) > 1:
        axes.legend(frameon=False, fontsize=SMALL_SIZE, labelcolor=INK, handlelength=1.2, labelspacing=0.3)


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Mean over a centered window, shorter at both ends, that steps over gaps."""
    window = np.ones(2 * (len(values) // SMOOTHING) + 1)
    known = np.isfinite(values)
    count = np.convolve(known, window, mode="same")
    total = np.convolve(np.where(known, values, 0.0), window, mode="same")
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _mark(axes: Axes, phases: Mapping[str, int]) -> None:
    for name, step in phases.items():
        axes.axvline(step, color=QUIET, linewidth=0.8, linestyle=":")
        place = axes.get_xaxis_transform()
        axes.text(step, 1.01, name, transform=place, fontsize=SMALL_SIZE - 1, color=QUIET, va="bottom", ha="left")
    if phases:
        axes.set_title(axes.get_title(loc="left"), fontsize=TEXT_SIZE, color=INK, loc="left", pad=14)
