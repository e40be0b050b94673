"""How a run went: small multiples over its steps, from the history that the log holds.

A metric's name says where it is drawn: the beginning of the name chooses the panel (see `PANELS`), and what follows
names the line. Whatever was measured with target labels has "oracle" in its name and is drawn apart.
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
SMOOTHING = 24  # a running mean looks this fraction of the curve to each side
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))  # so that equal curves stay visible


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One small picture of all metrics whose names begin with `prefix`, or one for each of them."""

    prefix: str
    title: str
    """What is seen; with `apart`, the rest of the metric's name is added."""
    unit: str
    apart: bool = False
    """Whether each metric has axes of its own, as values without a common scale need."""
    from_zero: bool = False
    """Whether the axis begins at zero, as shares should."""
    only: tuple[str, ...] = ()
    """What may follow the prefix; empty allows everything."""

    def shows(self, name: str) -> bool:
        """Whether a metric belongs here."""
        rest = name.removeprefix(self.prefix)
        return name.startswith(self.prefix) and (not self.only or rest in self.only)


SHARES = ("easy", "semi_hard", "hard", "active_share")
PANELS = (
    Panel(prefix="loss/", title="Loss: ", unit="weighted loss", apart=True),
    Panel(prefix="weight/", title="Weight of each term", unit="factor", from_zero=True),
    Panel(
        prefix="gradient/target/", title="Gradient share at target embeddings", unit="share of norms", from_zero=True
    ),
    Panel(
        prefix="gradient/source/", title="Gradient share at source embeddings", unit="share of norms", from_zero=True
    ),
    Panel(prefix="triplets/", title="Triplets used, across the domains", unit="share", from_zero=True, only=SHARES),
    Panel(prefix="source_triplets/", title="Triplets used, source", unit="share", from_zero=True, only=SHARES),
    Panel(prefix="learning_rate", title="Learning rate", unit="per step"),
    Panel(prefix="score/", title="Label-free score: ", unit="score", apart=True),
    Panel(prefix="collapse/", title="Collapse: ", unit="value", apart=True),
)
ORACLE = Panel(prefix="", title="ORACLE: measured with target labels", unit="value")


def loss_curves(history: History, *, phases: Mapping[str, int] | None = None, title: str = "Training") -> Figure:
    """The small pictures of `PANELS` that the history has something for, the total loss first and the oracle last.

    `history` maps a name to its steps and values (as `tracking.history` gives it); NaN and infinite values are gaps.
    `phases` maps the name of a phase to its first step, and is drawn as upright lines. Metrics of other names are left
    out.
    """
    pictures = _pictures(history)
    columns = min(COLUMNS, max(len(pictures), 1))
    rows = max(1, math.ceil(len(pictures) / columns))
    figure = new_figure(0.6 + 3.7 * columns, 0.5 + 2.4 * rows, title=title)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for axes, (panel, names) in zip(grid, pictures, strict=False):
        rest = names[0].removeprefix(panel.prefix) if panel.apart else ""
        tidy(axes, title=panel.title + rest, x="step", y=panel.unit)
        axes.tick_params(labelbottom=True)
        _lines(axes, history, panel, names)
        _mark(axes, phases or {})
        if panel.from_zero:
            axes.set_ylim(0.0, 1.05 * max(axes.dataLim.ymax, 1e-9))
    for axes in grid[len(pictures) :]:
        axes.set_axis_off()
    if not pictures:
        note(grid[0], "no metrics were logged")
    return figure


def _pictures(history: History) -> list[tuple[Panel, list[str]]]:
    """Each picture with the names of its metrics."""
    pictures: list[tuple[Panel, list[str]]] = []
    oracle = sorted(name for name in history if "oracle" in name)
    for panel in PANELS:
        names = sorted(name for name in history if panel.shows(name) and name not in oracle)
        names.sort(key=lambda name: name != "loss/total")
        pictures += [(panel, [name]) for name in names] if panel.apart else [(panel, names)]
    return [(panel, names) for panel, names in [*pictures, (ORACLE, oracle)] if names]


def _lines(axes: Axes, history: History, panel: Panel, names: Sequence[str]) -> None:
    """Each metric as measured, pale, with a running mean over it where it is long enough to need one."""
    for index, name in enumerate(names):
        steps, values = history[name]
        measured = np.where(np.isfinite(np.asarray(values, dtype=float)), values, np.nan)
        smooth = name.startswith("loss/") and len(measured) > 30
        label = name.removeprefix(panel.prefix) or name
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
