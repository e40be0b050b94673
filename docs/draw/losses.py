"""What each distance and each loss does to two points, one triplet, or one pair of a batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from domainmetric import (
    Chord,
    ChordSquared,
    Contrastive,
    Cosine,
    FirstOrder,
    Geodesic,
    Group,
    HingeEmbedding,
    MarginTriplet,
    MetricLoss,
    MultiSimilarity,
    NTXent,
    Pairs,
    SecondOrder,
    SelectivelyContrastive,
    SemiHardTriplet,
    SoftMarginTriplet,
    SphereDistance,
    SupCon,
)
from domainmetric.diagnostics.field import FirstOrderStep, SecondOrderStep, VanillaStep, predicted_move
from domainmetric.figures.field import Field, field_grid
from domainmetric.figures.style import INK, QUIET, SMALL_SIZE, color, new_figure, tidy

DISTANCES: tuple[SphereDistance, ...] = (ChordSquared(), Chord(), Cosine(), Geodesic())
TRIPLETS: Mapping[str, MetricLoss] = {
    "MarginTriplet(margin=0.5)": MarginTriplet(margin=0.5),
    "SemiHardTriplet(margin=0.5)": SemiHardTriplet(margin=0.5),
    "SoftMarginTriplet()": SoftMarginTriplet(),
    "FirstOrder()": FirstOrder(),
    "SecondOrder()": SecondOrder(),
    "SelectivelyContrastive()": SelectivelyContrastive(),
}
PAIRS: Mapping[str, MetricLoss] = {
    "Contrastive": Contrastive(),
    "HingeEmbedding": HingeEmbedding(),
    "NTXent": NTXent(),
    "SupCon": SupCon(),
    "MultiSimilarity": MultiSimilarity(),
}
POSITIVES, NEGATIVES = (0.5,), (0.3, 0.0, -0.3)
"""Similarities of the other positives and negatives of the anchor, beside the one that is looked at."""


def distances() -> Figure:
    """The four distances of the sphere, and how strongly each moves a point, by the angle."""
    figure = new_figure(7.2, 3.1, title="Distances on the sphere")
    left, right = figure.subplots(1, 2)
    angle = torch.linspace(1e-3, math.pi - 1e-3, 400, dtype=torch.float64)
    for index, distance in enumerate(DISTANCES):
        theta = angle.clone().requires_grad_()
        value = distance(2 - 2 * theta.cos())
        (slope,) = torch.autograd.grad(value.sum(), theta)
        left.plot(angle, value.detach(), color=color(index), label=type(distance).__name__)
        right.plot(angle, slope, color=color(index))
    tidy(left, title="Value", x="angle between the embeddings, radians", y="distance")
    tidy(right, title="Pull along the sphere", x="angle between the embeddings, radians", y="slope of the distance")
    left.legend(fontsize=SMALL_SIZE, frameon=False)
    return figure


def one_anchor(similarity: Tensor, positive: Tensor) -> Pairs:
    """An anchor and some others, of which only the similarities to the anchor are known."""
    count = len(similarity)
    nowhere = torch.zeros(1, 1, dtype=similarity.dtype)
    others = Group(z=nowhere.expand(count, 1), labels=torch.where(positive, 0, 1))
    return Pairs(
        rows=Group(z=nowhere, labels=torch.zeros(1, dtype=torch.int64)),
        columns=others,
        row_items=torch.zeros(1, dtype=torch.int64),
        column_items=torch.arange(1, count + 1),
        sq_chord=2 - 2 * similarity[None],
        positive=positive[None],
        negative=~positive[None],
    )


def forces(loss: MetricLoss, s_ap: float, s_an: float) -> tuple[float, float, float]:
    """Value of a loss of one triplet, pull on the positive, push on the negative."""
    similarity = torch.tensor([s_ap, s_an], dtype=torch.float64, requires_grad=True)
    value = loss.of(one_anchor(similarity, torch.tensor([True, False]))).value
    (gradient,) = torch.autograd.grad(value, similarity)
    return float(value.detach()), -float(gradient[0]), float(gradient[1])


def triplets() -> Figure:
    """Each triplet loss over the square of its two similarities, with the direction in which it moves a triplet."""
    figure = new_figure(7.6, 5.5, title="Triplet losses: value (dark is high) and the direction of a step")
    figure.supxlabel(
        "A step should go right (positive nearer) and down (negative farther).", fontsize=SMALL_SIZE, color=QUIET
    )
    cells = np.linspace(-0.975, 0.975, 40)
    for axes, (name, loss) in zip(figure.subplots(2, 3).flat, TRIPLETS.items(), strict=True):
        grid = np.array([[forces(loss, s_ap, s_an) for s_ap in cells] for s_an in cells])
        axes.imshow(grid[..., 0], origin="lower", extent=(-1, 1, -1, 1), cmap="Blues", aspect="equal")
        some = slice(2, None, 4)
        x, y = grid[some, some, 1], -grid[some, some, 2]
        longest = float(np.hypot(x, y).max()) or 1.0
        axes.quiver(cells[some], cells[some], x, y, color=INK, width=0.007, scale=10 * longest)
        axes.plot([-1, 1], [-1, 1], color=QUIET, linewidth=0.8, dashes=(4, 3))
        tidy(axes, title=name, x="$S_{ap}$", y="$S_{an}$", grid=False)
        axes.set_xticks([-1, 0, 1])
        axes.set_yticks([-1, 0, 1])
    return figure


def force_in_batch(loss: MetricLoss, similarity: float, *, positive: bool) -> float:
    """Pull on a positive, or push on a negative, at this similarity, beside the others of the anchor."""
    others = torch.tensor([*POSITIVES, *NEGATIVES], dtype=torch.float64)
    each = torch.cat([torch.tensor([similarity], dtype=torch.float64), others]).requires_grad_()
    mask = torch.tensor([positive, *[True] * len(POSITIVES), *[False] * len(NEGATIVES)])
    (gradient,) = torch.autograd.grad(loss.of(one_anchor(each, mask)).value, each)
    return -float(gradient[0]) if positive else float(gradient[0])


def pairs() -> Figure:
    """How strongly each pair loss pulls one positive and pushes one negative, by its similarity to the anchor."""
    figure = new_figure(7.2, 3.4, title="Losses on pairs: force on one item, by its similarity to the anchor")
    negatives = ", ".join(map(str, NEGATIVES))
    beside = f"Beside it: a positive at {POSITIVES[0]}, negatives at {negatives}. Each line is scaled to 1."
    figure.supxlabel(beside, fontsize=SMALL_SIZE, color=QUIET)
    grid = np.linspace(-0.99, 0.99, 150)
    for axes, positive in zip(figure.subplots(1, 2), (True, False), strict=True):
        for index, (name, loss) in enumerate(PAIRS.items()):
            force = np.array([force_in_batch(loss, float(s), positive=positive) for s in grid])
            dashes = (None, None) if index != 1 else (3, 2)
            axes.plot(grid, force / np.abs(force).max(), color=color(index), label=name, dashes=dashes, linewidth=1.5)
        title = "Pull on a positive (below zero: pushed away)" if positive else "Push on a negative"
        tidy(axes, title=title, x="cosine similarity to the anchor", y="force")
        if not positive:
            axes.legend(fontsize=SMALL_SIZE, frameon=False)
    return figure


def orders() -> Figure:
    """One step of three losses on a triplet whose points also pull each other along (gamma)."""
    rules = {"chord squared": VanillaStep(), "L1": FirstOrderStep(), "L2": SecondOrderStep()}
    cells = (np.arange(40) + 0.5) / 40
    s_ap, s_an = (torch.from_numpy(part) for part in np.meshgrid(cells, cells))
    rows = []
    for rule in rules.values():
        line = []
        for gamma in (0.0, 0.5, 0.9):
            move = predicted_move(s_ap, s_an, rule, gamma=gamma, lr=0.1)
            line.append(
                Field(title=f"$\\gamma$ = {gamma}", s_ap=cells, s_an=cells, d_ap=move.ap.numpy(), d_an=move.an.numpy())
            )
        rows.append(line)
    return field_grid(rows, title="Where one step takes a triplet", rows=list(rules))


def figures() -> Iterator[tuple[str, Figure]]:
    """All figures of the pages on distances and losses."""
    yield "distances", distances()
    yield "triplet_losses", triplets()
    yield "pair_losses", pairs()
    yield "orders", orders()
