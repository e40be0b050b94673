"""Table and figure of the experiment `why_alignment_hurts`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from domainmetric.figures.style import INK, QUIET, color, new_figure, save, tidy
from experiments.alignment_loop import Arm
from experiments.tables import markdown

SHOWN = ("DANN", "DANN, weight / 100", "DANN, damped", "DANN, branch also reads the source", "MMD", "MMD, damped")
"""Arms whose way is drawn."""
Done = tuple[Arm, Mapping[str, Any]]


def report(done: Mapping[str, Done], stem: Path) -> None:
    """Write `stem`.md and `stem`.png, and print the table."""
    by_arm: dict[str, list[Done]] = {}
    for name, one in done.items():
        by_arm.setdefault(name.rpartition(", seed ")[0], []).append(one)
    text = table(by_arm)
    stem.with_suffix(".md").write_text(text)
    print(text)
    print(save(draw(by_arm), stem.with_suffix(".png")))


def table(by_arm: Mapping[str, list[Done]]) -> str:
    """Markdown: each arm at its end, beside its start; shares of target training images in percent.

    The A-distance is that of a classifier trained afresh, `right` the share that DANN's own discriminator gets right,
    and `moved` how far the target branch's weights went, relative to their length.
    """
    head = [
        "arm",
        "oracle accuracy, each seed: start",
        "end",
        "best permutation",
        "MMD",
        "A-distance",
        "right",
        "moved",
    ]
    rows = []
    for name, runs in by_arm.items():
        first, last = ([result["looks"][place] for _, result in runs] for place in (0, -1))
        right = [look["discriminator"] for look in last if "discriminator" in look]
        cells = (
            name,
            each(first, "accuracy_oracle"),
            each(last, "accuracy_oracle"),
            each(last, "matched_oracle"),
            f"{fmean(look['mmd'] for look in first):.2f} to {fmean(look['mmd'] for look in last):.2f}",
            f"{fmean(look['proxy_a_distance'] for look in last):.2f}",
            f"{fmean(right):.0%}" if right else "",
            f"{fmean(look['moved'] for look in last):.0%}",
        )
        rows.append(cells)
    return markdown(head, rows) + "\n"


def each(looks: list[Mapping[str, Any]], name: str) -> str:
    """A share in percent, seed by seed."""
    return ", ".join(f"{100 * look[name]:.1f}" for look in looks)


def draw(by_arm: Mapping[str, list[Done]]) -> Figure:
    """Accuracy, and the gap that alignment is to close, over the steps; a line for each seed."""
    figure = new_figure(9.0, 4.2, title="Aligning a warm-started target branch: what happens on the way")
    left, right = figure.subplots(1, 2)
    shown = [name for name in SHOWN if name in by_arm]
    for index, name in enumerate(shown):
        for number, (_, result) in enumerate(by_arm[name]):
            steps = [look["step"] for look in result["looks"]]
            for axes, value in ((left, "accuracy_oracle"), (right, "mmd")):
                heights = [(100 if axes is left else 1) * look[value] for look in result["looks"]]
                label = name if number == 0 else None
                axes.plot(steps, heights, color=color(index), linewidth=1.4, alpha=0.85, label=label)
    tidy(left, title="Target accuracy (oracle)", x="adaptation step", y="%")
    left.set_ylim(0, 100)
    tidy(right, title="Gap between the domains' embeddings", x="adaptation step", y="MMD")
    right.set_ylim(bottom=0)
    starts = [result["looks"][0]["accuracy_oracle"] for runs in by_arm.values() for _, result in runs]
    if starts:
        left.axhline(100 * min(starts), color=QUIET, linewidth=0.8, linestyle=":")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=7.5, labelcolor=INK)
    return figure
