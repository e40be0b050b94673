"""Table, picture and pixel baseline of `experiments.svhn_anchors`: how recipes retrieve, how their triplets went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from domainmetric import Domain, Mnist
from domainmetric.anchors.pixel import pixel_search
from domainmetric.figures.style import INK, QUIET, SMALL_SIZE, color, new_figure, tidy
from experiments.tables import markdown, spread

Reports = Mapping[str, Sequence[Mapping[str, Any]]]


def draw(reports: Reports, right: Mapping[str, float]) -> Figure:
    """Left: P@1 of each seed. Right: what share of the triplets is easy, or active, at first (open) and at last.

    `reports` are the runs of each recipe; `right` tells how often a pixel-nearest anchor of a data set is right.
    """
    told = ", ".join(f"{name.upper()} {value:.0%}" for name, value in right.items())
    figure = new_figure(10.5, 4.6, title=f"Most triplets become easy; a pixel-nearest anchor is right in: {told}")
    left, beside = figure.subplots(1, 2, sharey=True)
    tidy(left, title="MNIST test against source train: each seed", x="P@1, %")
    tidy(beside, title="triplets: first tenth of training (open) to last (filled)", x="share, % (mean of seeds)")
    for place, runs in enumerate(reports.values()):
        found = [100 * run["retrieval"]["target_to_source"]["precision_at_1"] for run in runs]
        left.scatter(found, [place] * len(found), color=color(0), s=22, alpha=0.8, linewidths=0)
        left.plot([fmean(found)] * 2, [place - 0.28, place + 0.28], color=INK, linewidth=1.5)
        moved(beside, runs, "triplets/easy", place - 0.15, color(0), "easy" if place == 0 else None)
        moved(beside, runs, "triplets/active_share", place + 0.15, color(1), "hinge active" if place == 0 else None)
    left.set_yticks(range(len(reports)), list(reports))
    left.axvline(10, color=QUIET, linewidth=0.9, linestyle=":")
    left.text(11, len(reports) - 0.55, "chance", fontsize=SMALL_SIZE, color=QUIET, va="bottom")
    left.set_xlim(0, 100)
    left.invert_yaxis()
    beside.set_xlim(-2, 102)
    figure.legend(loc="outside lower right", ncols=2, frameon=False, fontsize=SMALL_SIZE, labelcolor=INK)
    return figure


def moved(
    axes: Axes, runs: Sequence[Mapping[str, Any]], name: str, place: float, shade: str, label: str | None
) -> None:
    """A line from the first to the last share."""
    first, last = (100 * fmean(run[name][end] for run in runs) for end in (0, 1))
    axes.plot([first, last], [place, place], color=shade, linewidth=1.2)
    axes.scatter([first], [place], facecolors="none", edgecolors=shade, s=24)
    axes.scatter([last], [place], color=shade, s=24, label=label)


def table(names: Sequence[str], results: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Markdown: retrieval across and within, and triplets at the end of training."""
    head = ("recipe", "P@1 MNIST -> source, %", "MAP@R, %", "k-NN accuracy, %", "easy at the end, %", "hinge active, %")
    rows: list[list[str]] = []
    for recipe in names:
        reports = list(results.get(recipe, {}).values())
        if not reports:
            rows.append([f"`{recipe}`", "not run", *[""] * (len(head) - 2)])
            continue
        across = [report["retrieval"]["target_to_source"] for report in reports]
        columns = (
            [x["precision_at_1"] for x in across],
            [x["map_at_r"] for x in across],
            [report["target_knn_accuracy"] for report in reports],
            [report["triplets/easy"][1] for report in reports],
            [report["triplets/active_share"][1] for report in reports],
        )
        rows.append([f"`{recipe}`", *(spread([100 * value for value in column]) for column in columns)])
    return markdown(head, rows)


def pixel_precision_oracle(source: Domain, root: Path, num: int = 5000) -> float:
    """Share of MNIST training images whose pixel-nearest source image shows the same digit."""
    target, gallery = (domain.load("train", root=root, size=32) for domain in (Mnist(), source))
    assert target.labels is not None and gallery.labels is not None
    _, index = pixel_search(target.images[:num], gallery.images, num=1)
    return float((gallery.labels[index[:, 0]] == target.labels[:num]).float().mean())
