"""Where each alignment term pushes two clouds of points, and how weights move over a phase."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from domainmetric import Constant, OneCycle, Schedule, SigmoidRamp
from domainmetric.alignment.coral import coral
from domainmetric.figures.style import SMALL_SIZE, color, new_figure, tidy
from domainmetric.randomness import isolated
from domainmetric.statistics import information, mmd2

CENTERS = torch.tensor([[1.0, 0.0], [-0.5, 0.87], [-0.5, -0.87]])


def clouds() -> tuple[Tensor, Tensor]:
    """Source and target points of three classes; the target is narrower, and moved."""
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(36) % 3
    source = CENTERS[labels] + 0.22 * torch.randn(36, 2, generator=random)
    target = 0.6 * CENTERS[labels] + torch.tensor([0.9, 0.5]) + 0.16 * torch.randn(36, 2, generator=random)
    return source, target


def reversed_discriminator(source: Tensor, target: Tensor) -> Tensor:
    """Minus the loss of a discriminator that was trained to tell the two apart."""
    with isolated(0, "discriminator"):
        network = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.02)

    def loss() -> Tensor:
        return (F.softplus(network(source)).mean() + F.softplus(-network(target)).mean()) / 2

    points = source.detach(), target.detach()
    for _ in range(60):
        optimizer.zero_grad()
        value = (F.softplus(network(points[0])).mean() + F.softplus(-network(points[1])).mean()) / 2
        value.backward()
        optimizer.step()
    return -loss()


def decided(source: Tensor, target: Tensor) -> Tensor:
    """Minus the information between target points and classes whose prototypes are the source's centers."""
    return -information((3 * target @ CENTERS.T).softmax(1)) + 0 * source.sum()


def panel(axes: Axes, name: str, value: Tensor, source: Tensor, target: Tensor) -> None:
    """Both clouds, with the direction in which the term moves each point."""
    pulls = torch.autograd.grad(value, (source, target))
    longest = max(float(pull.norm(dim=1).max()) for pull in pulls)
    for index, (points, pull) in enumerate(zip((source, target), pulls, strict=True)):
        at, by = points.detach(), -0.6 * pull / longest
        axes.scatter(*at.T, s=16, color=color(index), marker="o^"[index], linewidths=0)
        axes.quiver(*at.T, *by.T, color=color(index), angles="xy", scale_units="xy", scale=1, width=0.006)
    tidy(axes, title=name, grid=False)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])


def directions() -> Figure:
    """One panel for each term."""
    figure = new_figure(7.4, 6.6, title="Where each term moves the points of a batch")
    figure.supxlabel(
        "Dots: source. Triangles: target. Arrows: one step, each panel on a scale of its own.", fontsize=SMALL_SIZE
    )
    terms = {
        "Dann: out of the discriminator's sight": reversed_discriminator,
        "Mmd: towards equal densities": mmd2,
        "Coral: towards equal covariances": coral,
        "InformationMaximization: to a class, all used": decided,
    }
    for axes, (name, term) in zip(figure.subplots(2, 2).flat, terms.items(), strict=True):
        source, target = (points.requires_grad_() for points in clouds())
        panel(axes, name, term(source, target), source, target)
    return figure


def schedules() -> Figure:
    """Each schedule over a phase."""
    figure = new_figure(5.4, 2.7, title="Schedules")
    axes = figure.subplots()
    progress = torch.linspace(0, 1, 300).tolist()
    each: tuple[Schedule, ...] = (Constant(), SigmoidRamp(), OneCycle())
    for index, schedule in enumerate(each):
        axes.plot(progress, [schedule.at(p) for p in progress], color=color(index), label=type(schedule).__name__)
    tidy(axes, x="progress of the phase", y="factor")
    axes.legend(fontsize=SMALL_SIZE, frameon=False)
    return figure


def figures() -> Iterator[tuple[str, Figure]]:
    """The figures of the page on alignment terms."""
    yield "alignment", directions()
    yield "schedules", schedules()
