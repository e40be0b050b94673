"""What plain DANN did to the target on SVHN -> MNIST, read off the finished runs of `experiments.ladder`.

Question: did DANN align the domains under a wrong assignment of the classes, or did it not align them?
Command: `python -m experiments.alignment_ladder` (trains nothing). Results: `experiments/results/why_alignment_hurts/`.

Finding: it did not align them. The gap is as wide at the end as before, a classifier tells the domains apart as well as
before, the predicted classes have shares of 0 to 25%, and no permutation of the classes brings the accuracy above 46%.
A permutation of aligned classes would show the opposite in all four. MMD, alone or beside DANN, closes the gap.

All of it is *oracle*: MNIST's test labels explain finished runs here, and choose nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import linear_sum_assignment

from domainmetric.figures.style import INK, QUIET, color, new_figure, save, tidy
from experiments.ladder import RESULTS as LADDER
from experiments.ladder import read
from experiments.tables import markdown

FOLDER = Path(__file__).parent / "results" / "why_alignment_hurts"
RECIPES = {
    "quick_source_only": "source only",
    "quick_dann_unguarded": "DANN",
    "quick_mmd_unguarded": "MMD",
    "quick_dann_mmd_unguarded": "DANN + MMD",
}
Report = dict[str, Any]


def facts(report: Report) -> dict[str, float]:
    """Of one run: accuracies in percent, shares of predicted classes in percent, and the gap."""
    table = np.array(report["confusion"])
    shares = 100 * table.sum(0) / table.sum()
    return {
        "accuracy": 100 * table.trace() / table.sum(),
        "best permutation": 100 * table[linear_sum_assignment(-table)].sum() / table.sum(),
        "rarest class": shares.min(),
        "commonest class": shares.max(),
        "MMD": report["gap/mmd"],
        "proxy A-distance": report["gap/proxy_a_distance"],
    }


def found(results: dict[str, dict[str, Report]]) -> dict[str, list[dict[str, float]]]:
    """The facts of each recipe, seed by seed."""
    return {name: [facts(report) for _, report in sorted(results[name].items())] for name in RECIPES}


def table(rows: dict[str, list[dict[str, float]]]) -> str:
    """Markdown, every seed in its cell."""
    columns = list(next(iter(rows.values()))[0])
    digits = {column: 2 if column in ("MMD", "proxy A-distance") else 1 for column in columns}
    cells = [
        [RECIPES[name], *(", ".join(f"{one[column]:.{digits[column]}f}" for one in seeds) for column in columns)]
        for name, seeds in rows.items()
    ]
    return markdown(["terms", *columns], cells) + "\n"


def draw(results: dict[str, dict[str, Report]]) -> Figure:
    """Accuracies, the gap, and the confusion of one ruined run."""
    rows = found(results)
    figure = new_figure(
        11.0, 3.9, title="SVHN -> MNIST, three seeds: DANN alone scatters the target and aligns nothing"
    )
    accuracies, gap, confusion = figure.subplots(1, 3, width_ratios=(1.1, 1.1, 1))
    dots(accuracies, rows, ("accuracy", "best permutation"))
    tidy(accuracies, title="MNIST test accuracy", y="%")
    accuracies.set_ylim(0, 100)
    dots(gap, rows, ("proxy A-distance",))
    tidy(gap, title="How well the domains can be told apart", y="proxy A-distance (0: not at all, 2: always)")
    gap.set_ylim(0, 2.05)
    seed, report = next(iter(sorted(results["quick_dann_unguarded"].items())))
    matrix = np.array(report["confusion"])
    confusion.imshow(matrix / matrix.sum(1, keepdims=True), cmap="Blues", vmin=0, vmax=1)
    tidy(confusion, title=f"DANN, seed {seed}: where each digit goes", x="predicted", y="true digit", grid=False)
    confusion.set_xticks(range(len(matrix)))
    confusion.set_yticks(range(len(matrix)))
    return figure


def dots(axes: Axes, rows: dict[str, list[dict[str, float]]], names: tuple[str, ...]) -> None:
    """A dot for each seed, side by side for each of the names."""
    for index, name in enumerate(names):
        for place, seeds in enumerate(rows.values()):
            at = place + 0.24 * (index - (len(names) - 1) / 2)
            label = name if place == 0 else None
            axes.scatter([at] * len(seeds), [one[name] for one in seeds], s=22, color=color(2 * index), label=label)
    axes.set_xticks(range(len(rows)), [RECIPES[name] for name in rows])
    axes.set_xlim(-0.5, len(rows) - 0.5)
    if len(names) > 1:
        axes.legend(fontsize=7.5, labelcolor=INK, edgecolor=QUIET, loc="lower right")


def main() -> int:
    """Print and write the table, and draw."""
    results = read(LADDER)
    FOLDER.mkdir(parents=True, exist_ok=True)
    text = table(found(results))
    (FOLDER / "ladder.md").write_text(text)
    print(text)
    print(save(draw(results), FOLDER / "ladder.png"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
