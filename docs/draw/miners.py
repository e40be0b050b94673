"""Which triplets each miner takes, of one anchor with four positives and seven negatives on a circle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

from domainmetric import (
    Disjoint,
    DistanceWeighted,
    EasyPositiveEasyNegative,
    EasyPositiveHardNegative,
    EasyPositiveSemiHardNegative,
    HardNegative,
    HardPositiveHardNegative,
    MarginViolating,
    Miner,
    RandomTriplets,
    SemiHard,
    Triplets,
)
from domainmetric.figures.style import INK, QUIET, RIGHT, SMALL_SIZE, WRONG, new_figure, tidy

POSITIVES, NEGATIVES = (25, 50, 75, 110), (38, 58, 66, 88, 125, 145, 165)
MINERS: Mapping[str, Miner] = {
    "EasyPositiveHardNegative": EasyPositiveHardNegative(),
    "EasyPositiveSemiHardNegative": EasyPositiveSemiHardNegative(),
    "HardPositiveHardNegative": HardPositiveHardNegative(),
    "EasyPositiveEasyNegative": EasyPositiveEasyNegative(),
    "HardNegative": HardNegative(),
    "SemiHard(margin=0.4)": SemiHard(margin=0.4),
    "MarginViolating(margin=0.4)": MarginViolating(margin=0.4),
    "RandomTriplets(num_per_anchor=3)": RandomTriplets(num_per_anchor=3),
    "DistanceWeighted": DistanceWeighted(),
    "Disjoint(miner=HardNegative())": Disjoint(miner=HardNegative()),
}


def on_circle(degrees: Tensor) -> Tensor:
    """Unit vectors at these angles."""
    return torch.stack([degrees.deg2rad().cos(), degrees.deg2rad().sin()], 1)


def chosen(miner: Miner) -> Triplets:
    """What the miner takes for the anchor at 0 degrees."""
    angles = torch.tensor([*POSITIVES, *NEGATIVES], dtype=torch.float32)
    labels = torch.tensor([0] * len(POSITIVES) + [1] * len(NEGATIVES))
    return miner(on_circle(torch.zeros(1)), torch.zeros(1, dtype=torch.int64), on_circle(angles), labels)


def figure_of_miners() -> Figure:
    """A line for each miner, along which the others lie by their angle to the anchor."""
    figure = new_figure(7.6, 6.2, title="Which triplets a miner takes for one anchor")
    axes = figure.subplots()
    axes.set_yticks(range(len(MINERS)), list(MINERS))
    angles = (*POSITIVES, *NEGATIVES)
    for row, miner in enumerate(MINERS.values()):
        triplets = chosen(miner)
        positives, negatives = set(triplets.positive.tolist()), set(triplets.negative.tolist())
        axes.plot([0, 170], [row, row], color=QUIET, linewidth=0.5, zorder=0)
        axes.scatter([0], [row], marker="*", s=90, color=INK)
        for place, angle in enumerate(angles):
            ink, mine = (RIGHT, positives) if place < len(POSITIVES) else (WRONG, negatives)
            face = ink if place in mine else "white"
            axes.scatter([angle], [row], s=55, facecolors=face, edgecolors=ink, linewidths=1.1, zorder=2)
        for number, (p, n) in enumerate(zip(triplets.positive.tolist(), triplets.negative.tolist(), strict=True)):
            height = row - 0.18 - 0.42 * number / max(1, len(triplets))
            axes.plot([angles[p], angles[n]], [height, height], color=QUIET, linewidth=1.0)
            axes.scatter([angles[p], angles[n]], [height, height], s=6, color=(RIGHT, WRONG))
    axes.invert_yaxis()
    tidy(axes, x="angle to the anchor, degrees", grid=False)
    legend = "Star: anchor. Blue: positives. Red: negatives. Filled: taken. Each bar joins one triplet's two."
    figure.supxlabel(legend, fontsize=SMALL_SIZE, color=QUIET)
    return figure


def figures() -> Iterator[tuple[str, Figure]]:
    """The figure of the page on miners."""
    yield "miners", figure_of_miners()
