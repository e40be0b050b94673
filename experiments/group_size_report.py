"""Table and figure of `experiments.group_size`, as functions of its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from domainmetric.figures.style import INK, QUIET, SMALL_SIZE, WRONG, color, new_figure, tidy
from experiments.lab import COLLAPSED
from experiments.tables import markdown, spread


@dataclass(frozen=True, kw_only=True)
class Cell:
    """All seeds of one miner, loss and n."""

    recall: list[float]
    cosine: list[float]

    @property
    def collapsed(self) -> int:
        """How many seeds ended collapsed."""
        return sum(cosine > COLLAPSED for cosine in self.cosine)

    def __str__(self) -> str:
        recall = spread([100 * value for value in self.recall], 1)
        return recall + (f" ({self.collapsed} collapsed)" if self.collapsed else "")


Cells = dict[tuple[str, str], dict[int, Cell]]
"""By miner and loss, and by n."""


def table(cells: Cells, untrained: Cell, lrs: Mapping[tuple[str, str], float]) -> str:
    """Markdown: Recall@1 in percent as mean and deviation over the seeds."""
    ns = list(next(iter(cells.values())))
    rows = [[*arm, f"{lrs[arm]:g}", *(by_n[n] for n in ns)] for arm, by_n in cells.items()]
    text = markdown(["miner", "loss", "lr", *(f"n = {n}" for n in ns)], rows)
    return f"{text}\n| | untrained | |{f' {untrained} |' * len(ns)}"


def draw(cells: Cells, untrained: Cell, *, what: str) -> Figure:
    """Recall@1 and mean cosine against n, a column for each miner, a line for each loss."""
    miners = list(dict.fromkeys(miner for miner, _ in cells))
    figure = new_figure(8.4, 6.0, title=f"{finding(cells)}\n{what}")
    grid = figure.subplots(2, len(miners), squeeze=False, sharex=True, sharey="row")
    for column, miner in enumerate(miners):
        tidy(grid[0, column], title=miner, y="Recall@1, %" if column == 0 else "")
        tidy(grid[1, column], x="n, examples of a class", y="mean cosine of test embeddings" if column == 0 else "")
        grid[1, column].axhline(COLLAPSED, color=WRONG, linewidth=0.9, linestyle=":")
        grid[0, column].axhline(100 * fmean(untrained.recall), color=QUIET, linewidth=0.9, linestyle="--")
        for index, loss in enumerate(loss for m, loss in cells if m == miner):
            by_n = cells[miner, loss]
            line(grid[0, column], loss, index, {n: [100 * r for r in cell.recall] for n, cell in by_n.items()}, by_n)
            line(grid[1, column], loss, index, {n: cell.cosine for n, cell in by_n.items()}, by_n)
    ns = list(next(iter(cells.values())))
    for axes in grid[1]:
        axes.set_xscale("log", base=2)
        axes.set_xticks(ns, [str(n) for n in ns])
        axes.minorticks_off()
        axes.set_ylim(top=1.03)
    grid[1, 0].text(ns[0], COLLAPSED - 0.015, "collapsed above", fontsize=SMALL_SIZE, color=WRONG, va="top")
    grid[0, 0].plot([], [], "--", color=QUIET, linewidth=0.9, label="untrained")
    grid[0, 0].plot([], [], "o", color=QUIET, markersize=3, label="a seed")
    grid[0, 0].plot([], [], "x", color=WRONG, markersize=6, label="a seed that collapsed")
    grid[0, 0].legend(frameon=False, fontsize=SMALL_SIZE, labelcolor=INK)
    return figure


def line(axes: Axes, name: str, index: int, values: Mapping[int, list[float]], cells: Mapping[int, Cell]) -> None:
    """Mean over the seeds as a line, each seed as a dot, collapsed ones as crosses."""
    shift = 1.03 ** (2 * index - 1)  # so that the seeds of two losses lie beside each other
    axes.plot([n * shift for n in values], [fmean(v) for v in values.values()], color=color(index), label=name)
    for n, seeds in values.items():
        for value, cosine in zip(seeds, cells[n].cosine, strict=True):
            if cosine > COLLAPSED:
                axes.plot(n * shift, value, "x", color=WRONG, markersize=6)
            else:
                axes.plot(n * shift, value, "o", color=color(index), markersize=3)


def finding(cells: Cells) -> str:
    """The title: how often each loss collapsed, and where Recall@1 was best."""
    counts: list[str] = []
    for loss in dict.fromkeys(loss for _, loss in cells):
        own = [cell for (_, other), by_n in cells.items() if other == loss for cell in by_n.values()]
        counts.append(f"{loss}{'' if counts else ' collapses'} in {sum(cell.collapsed for cell in own)}")
        counts[-1] += f" of {sum(len(cell.recall) for cell in own)}{'' if counts[1:] else ' runs'}"
    flat = {(*arm, n): fmean(cell.recall) for arm, by_n in cells.items() for n, cell in by_n.items()}
    miner, loss, n = max(flat, key=lambda key: flat[key])
    return f"{', '.join(counts)}; best {100 * flat[miner, loss, n]:.1f}% by {miner} and {loss} at n = {n}"
