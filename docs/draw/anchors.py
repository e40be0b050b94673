"""What each anchor strategy chooses: on two small sets of points with a gap between them, and by pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

from domainmetric import (
    AdaptiveThreshold,
    AnchorContext,
    AnchorStrategy,
    Bank,
    ClassQuota,
    Cluster,
    Confident,
    ImageSet,
    Matches,
    Member,
    Mutual,
    Nearest,
    Oracle,
    PixelNearest,
    Propagation,
    Prototype,
    RandomAnchors,
    SklearnDigits,
    StreetDigits,
    Threshold,
    Transport,
)
from domainmetric.figures.anchors import anchor_sheet
from domainmetric.figures.style import QUIET, RIGHT, SMALL_SIZE, WRONG, color, new_figure, tidy

CENTERS = torch.tensor([[0.0, 1.0], [-0.95, -0.55], [0.95, -0.55]])
GAP = torch.tensor([0.85, -0.3])
SHARES = (16, 24, 20)
LEGEND = "Dots: source. Triangles: target, hollow where not matched. Lines: anchors, red where of another class."
CLASSES = ("a", "b", "c")
HEIGHT = 1.6
"""A point (x, y) is the direction of (x, y, HEIGHT): neighbors in the plane are neighbors on the sphere."""

STRATEGIES: Mapping[str, AnchorStrategy] = {
    "RandomAnchors": RandomAnchors(),
    "Nearest": Nearest(k=5),
    "Mutual": Mutual(k=8),
    "Confident": Confident(probability=0.8),
    "Prototype": Prototype(),
    "Cluster": Cluster(),
    "Transport": Transport(),
    "Propagation": Propagation(k=5),
    "Oracle": Oracle(),
}
MODIFIERS: Mapping[str, AnchorStrategy] = {
    "Threshold(confidence=0.9)": Threshold(inner=Nearest(k=5), confidence=0.9),
    "AdaptiveThreshold()": AdaptiveThreshold(inner=Nearest(k=5)),
    "ClassQuota(share=0.25)": ClassQuota(inner=Nearest(k=5), share=0.25),
    "Member(policy='nearest')": Member(inner=Cluster()),
    "Member(policy='hardest')": Member(inner=Cluster(), policy="hardest"),
    "Member(policy='random')": Member(inner=Cluster(), policy="random"),
}


def scene() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Source points with labels, and target points with labels: the same three classes, moved."""
    random = torch.Generator().manual_seed(4)
    labels = torch.arange(3).repeat_interleave(20)
    truth = torch.arange(3).repeat_interleave(torch.tensor(SHARES))
    source = CENTERS[labels] + 0.2 * torch.randn(len(labels), 2, generator=random)
    target = CENTERS[truth] + GAP + 0.22 * torch.randn(len(truth), 2, generator=random)
    return source, labels, target, truth


def lifted(points: Tensor) -> Tensor:
    """The points as directions in space."""
    raised = torch.cat([points, torch.full_like(points[:, :1], HEIGHT)], 1)
    return torch.nn.functional.normalize(raised, dim=1)


def matches(strategy: AnchorStrategy) -> Matches:
    """What a strategy chooses for all target points at once."""
    source, labels, target, truth = scene()
    z_s, z_t = lifted(source), lifted(target)
    classifier = 12 * torch.nn.functional.normalize(lifted(CENTERS), dim=1).T
    context = AnchorContext(source=blank(labels), target=blank(None, len(target)), seed=0, oracle_labels=truth)
    matcher = strategy.build(context)
    bank = Bank(rows=torch.arange(len(z_s)), z=z_s, logits=z_s @ classifier, labels=labels)
    others = Bank(rows=torch.arange(len(z_t)), z=z_t, logits=z_t @ classifier, labels=None)
    matcher.refresh(bank, others if strategy.needs_target_bank else None)
    found: Matches = matcher(others.rows, others.z, others.logits)
    return found


def blank(labels: Tensor | None, count: int = 0) -> ImageSet:
    """Images of one pixel: the points have no pictures."""
    images = torch.zeros(count if labels is None else len(labels), 1, 1, 1, dtype=torch.uint8)
    return ImageSet(images=images, labels=labels, classes=CLASSES)


def picture(axes: Axes, name: str, strategy: AnchorStrategy) -> None:
    """Source points, target points, and a line from each target to its anchor."""
    source, labels, target, truth = scene()
    found = matches(strategy)
    keep, right = found.keep, found.label == truth
    share = f"{float((right & keep).sum()) / float(keep.sum()):.0%} right"
    tidy(axes, title=f"{name}\n{share}" + ("" if keep.all() else f" of the {float(keep.float().mean()):.0%} matched"))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.set_aspect("equal")
    for wrong, ink in ((False, RIGHT), (True, WRONG)):
        rows = (keep & (right != wrong)).nonzero().flatten()
        ends = torch.stack([target[rows], source[found.source_index[rows, 0]]], 1)
        axes.add_collection(LineCollection(list(ends.numpy()), colors=ink, linewidths=0.8, alpha=0.55))
    inks = [color((0, 1, 4)[label]) for label in labels.tolist()]
    axes.scatter(*source.T, s=9, c=inks, linewidths=0)
    inks = [color((0, 1, 4)[label]) for label in truth.tolist()]
    axes.scatter(
        *target[keep].T, s=17, marker="^", c=[i for i, k in zip(inks, keep.tolist(), strict=True) if k], linewidths=0
    )
    axes.scatter(*target[~keep].T, s=15, marker="^", facecolors="none", edgecolors=QUIET, linewidths=0.7)


def grid(panels: Mapping[str, AnchorStrategy], title: str) -> Figure:
    """One panel for each strategy."""
    rows = -(-len(panels) // 3)
    figure = new_figure(7.6, 2.65 * rows + 0.6, title=title)
    figure.supxlabel(LEGEND, fontsize=SMALL_SIZE, color=QUIET)
    for axes, (name, strategy) in zip(figure.subplots(rows, 3).flat, panels.items(), strict=True):
        picture(axes, name, strategy)
    return figure


def by_pixels() -> Figure:
    """Handwritten digits, and the street digits nearest to them in pixels."""
    source = StreetDigits(num_train=2000, num_test=10).load("train", root=Path(), size=16)
    target = SklearnDigits().load("test", root=Path(), size=16)
    rows = torch.tensor([int((target.labels == label).nonzero()[3]) for label in range(1, 6)])
    images = target.take(rows)
    matcher = PixelNearest(num_anchors=3).build(AnchorContext(source=source, target=images.unlabelled(), seed=0))
    nothing = torch.zeros(5, 1)
    found: Matches = matcher(torch.arange(5), nothing, nothing)
    return anchor_sheet(
        images.images.numpy(),
        images.labels.numpy(),
        source.images[found.source_index].numpy(),
        source.labels[found.source_index].numpy(),
        found.confidence.numpy(),
        found.keep.numpy(),
        classes=source.classes,
    )


def figures() -> Iterator[tuple[str, Figure]]:
    """All figures of the page on anchors."""
    yield "anchors", grid(STRATEGIES, "Who stands for whom, on one toy pair")
    yield "modifiers", grid(MODIFIERS, "The same pair with modifiers of Nearest and of Cluster")
    yield "pixels", by_pixels()
