"""The pictures of `experiments.geodesic_or_chord`, as functions of its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from domainmetric.diagnostics.gradients import FORMS, gradient_norms
from domainmetric.figures.style import INK, QUIET, SMALL_SIZE, WRONG, color, new_figure, tidy
from experiments.collapse_toy import LOSSES, ToyRun
from experiments.geodesic_angles import angle_map
from experiments.geodesic_recall import COMPARISONS, EQUIVALENT, Arm, Outcome
from experiments.lab import COLLAPSED

Row = dict[str, Any]
NAMES = {**{name: index for index, name in enumerate(LOSSES)}, "cosine": 8}
"""Each loss and distance with the number of its color, the same in all pictures."""


def toy(runs: Sequence[ToyRun], found: Mapping[str, Row]) -> Figure:
    """For each miner: the mean cosine on the way, and where each run ends."""
    settings = list(dict.fromkeys((run.miner, run.n, run.classes) for run in runs))
    figure = new_figure(8.6, 2.7 * len(settings) + 0.7, title=toy_finding(runs, found))
    grid = figure.subplots(len(settings), 2, squeeze=False, sharex="col", sharey="col")
    for (way, end), (miner, n, classes) in zip(grid, settings, strict=True):
        own = [run for run in runs if (run.miner, run.n, run.classes) == (miner, n, classes)]
        tidy(way, title=f"{miner}, {classes} classes x {n}: on the way (mean of runs)", x="step", y="mean cosine")
        tidy(end, title="at the end: each run", x="mean cosine of fresh inputs", y="Recall@1, %")
        for loss in LOSSES:
            records = [found[run.name] for run in own if run.loss == loss]
            shade, looks = color(NAMES[loss]), len(records[0]["spread"])
            steps = [own[0].steps * k / looks for k in range(looks)]
            mean = [fmean(record["spread"][k] for record in records) for k in range(looks)]
            way.plot(steps, mean, color=shade, linewidth=1.6, label=loss)
            cosines, recalls = zip(*((r["mean_cosine"], 100 * r["recall_at_1"]) for r in records), strict=True)
            end.scatter(cosines, recalls, color=shade, s=16, alpha=0.85, linewidths=0)
        way.axhline(COLLAPSED, color=WRONG, linewidth=0.9, linestyle=":")
        end.axvline(COLLAPSED, color=WRONG, linewidth=0.9, linestyle=":")
        end.set_xlim(-0.05, 1.05)
        way.set_ylim(-0.05, 1.05)
    grid[0, 0].legend(frameon=False, fontsize=SMALL_SIZE, labelcolor=INK, ncols=2)
    place = grid[0, 1].get_xaxis_transform()
    grid[0, 1].text(COLLAPSED - 0.01, 0.02, "collapsed", color=WRONG, fontsize=SMALL_SIZE, ha="right", transform=place)
    return figure


def toy_finding(runs: Sequence[ToyRun], found: Mapping[str, Row]) -> str:
    """The title: which losses collapse with hard positives and hard negatives of 32 classes."""
    counts = {}
    for loss in LOSSES:
        first = [run for run in runs if run.loss == loss and (run.miner, run.classes) == ("HPHN", 32)]
        own = [found[run.name]["mean_cosine"] > COLLAPSED for run in first]
        counts[loss] = f"{loss} {sum(own)} of {len(own)}"
    return f"Toy, runs that collapse under HPHN, 32 classes x 2: {'; '.join(counts.values())}"


def angles(measured: Sequence[Row]) -> Figure:
    """Strength and kept share by formula, the angle at the anchor, and what batches of digits show."""
    last = measured[-1]["step"]
    near = next(row for row in measured if row["step"] == last and row["distance"] == "chord^2")
    figure = new_figure(
        9.0,
        6.8,
        title="Gradients of chord^2 and geodesic differ most for a near positive and a far negative; in batches of "
        f"digits by {near['item']:.0f}° at an embedding, {near['weights']:.0f}° at the weights",
    )
    (strength, kept, corner), (item, weights, share) = figure.subplots(2, 3)
    theta = torch.linspace(0.02, torch.pi - 0.02, 120)
    tidy(strength, title="Gradient along the sphere", x="angle of a pair, rad", y="length")
    tidy(kept, title="Share of the raw gradient along it", x="angle of a pair, rad", y="kept share")
    for name, form in FORMS.items():
        norms, style = gradient_norms(form, theta), {"color": color(NAMES[name]), "linewidth": 1.8, "label": name}
        strength.plot(theta.numpy(), norms.tangential.numpy(), **style)
        share_kept = (norms.tangential / norms.raw).numpy()
        kept.plot(theta.numpy(), share_kept, linestyle="--" if name == "chord" else "-", **style)
    strength.legend(frameon=False, fontsize=SMALL_SIZE, labelcolor=INK)
    grid, degrees = (values.numpy() for values in angle_map("chord^2", "geodesic", 0.5))
    tidy(corner, title="chord^2 against geodesic, gamma 0.5", x="angle to positive, rad", y="angle to negative, rad")
    shades = corner.pcolormesh(grid, grid, degrees, cmap="magma", vmin=0, vmax=90, rasterized=True)
    bar = figure.colorbar(shades, ax=corner, label="degrees at the anchor")
    bar.ax.tick_params(labelsize=SMALL_SIZE)
    over_training(item, measured, "item", "Digits: angle at an embedding (median)", "degrees to the geodesic's")
    over_training(weights, measured, "weights", "Digits: angle at all weights", "degrees to the geodesic's")
    over_training(share, measured, "kept", "Digits: share of the raw gradient", "kept share")
    return figure


def over_training(axes: Axes, measured: Sequence[Row], key: str, title: str, unit: str) -> None:
    """One measured number of every distance against the step."""
    tidy(axes, title=title, x="step", y=unit)
    for name in dict.fromkeys(row["distance"] for row in measured):
        own = [row for row in measured if row["distance"] == name]
        dashes = "--" if name == "cosine" else "-"
        axes.plot(
            [row["step"] for row in own], [row[key] for row in own], marker="o", markersize=3, linestyle=dashes,
            color=color(NAMES[name]), label=name,
        )  # fmt: skip
    axes.set_ylim(bottom=0)


def collapse(rows: Sequence[Row]) -> Figure:
    """A field for each setting: how many runs collapsed, and the Recall@1 that was left."""
    settings = list(dict.fromkeys((row["miner"], row["n"], row["lr"]) for row in rows))
    losses = list(dict.fromkeys(row["loss"] for row in rows))
    worst = {loss: [sum(r[k] for r in rows if r["loss"] == loss) for k in ("collapsed", "runs")] for loss in losses}
    counts = "; ".join(f"{loss} {a} of {b}" for loss, (a, b) in worst.items())
    figure = new_figure(8.6, 1.6 + 0.42 * len(settings), title=f"SVHN digits, runs that collapse: {counts}")
    axes = tidy(figure.subplots(), grid=False, title="runs collapsed of those made; below, mean Recall@1 in %")
    share = [
        [next(r["collapsed"] / r["runs"] for r in rows if setting_of(r) == s and r["loss"] == loss) for loss in losses]
        for s in settings
    ]
    axes.imshow(share, cmap="Reds", vmin=0, vmax=2, aspect="auto")
    for y, setting in enumerate(settings):
        for x, loss in enumerate(losses):
            row = next(r for r in rows if setting_of(r) == setting and r["loss"] == loss)
            text = f"{row['collapsed']} of {row['runs']}\n{100 * row['Recall@1']:.0f}%"
            axes.text(x, y, text, ha="center", va="center", fontsize=SMALL_SIZE, color=INK)
    axes.set_xticks(range(len(losses)), losses)
    axes.set_yticks(range(len(settings)), [f"{miner}, n = {n}, lr {lr:g}" for miner, n, lr in settings])
    return figure


def setting_of(row: Row) -> tuple[Any, ...]:
    """What a row of the collapse table is about, but for the loss."""
    return row["miner"], row["n"], row["lr"]


def recall(outcome: Outcome) -> Figure:
    """Recall@1 of every run, and the paired differences with their intervals against the band of equivalence."""
    figure = new_figure(10.0, 0.9 + 0.33 * len(outcome.recalls), title=recall_finding(outcome))
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
    tidy(left, title="each seed (dots) and the mean (line)", x="Recall@1 among unseen digits, %")
    arms = list(outcome.recalls)
    for y, arm in enumerate(arms):
        values = list(outcome.recalls[arm].values())
        left.scatter(values, [y] * len(values), s=14, color=color(NAMES[arm.distance]), alpha=0.8, linewidths=0)
        left.plot([fmean(values)] * 2, [y - 0.32, y + 0.32], color=INK, linewidth=1.6)
    left.set_yticks(range(len(arms)), [label(arm) for arm in arms])
    left.invert_yaxis()
    tidy(right, title="paired difference, 95% t-interval; grey: equivalent", x="points of Recall@1")
    right.axvspan(-EQUIVALENT, EQUIVALENT, color=QUIET, alpha=0.18, linewidth=0)
    right.axvline(0, color=QUIET, linewidth=0.9)
    for y, row in enumerate(outcome.differences):
        right.plot([row["low"], row["high"]], [y, y], color=INK, linewidth=1.4)
        right.plot(row["points"], y, "o", color=INK, markersize=4)
    right.set_yticks(
        range(len(COMPARISONS)), [f"{label(a)}\nminus {label(b)}" for a, b in COMPARISONS], fontsize=SMALL_SIZE - 1.5
    )
    right.invert_yaxis()
    return figure


def label(arm: Arm) -> str:
    """An arm in few words."""
    where = {"in the graph": "", "after": ", normalized after", "free": ", lengths free"}[arm.normalized]
    return f"{arm.distance}{', Adam' if arm.optimizer == 'adam' else ''}{where}"


def recall_finding(outcome: Outcome) -> str:
    """The title: what the main comparison says."""
    row = next(r for r in outcome.differences if r["arm"].startswith("geodesic, matched, in"))
    size = f"{row['points']:+.2f} points [{row['low']:+.2f}, {row['high']:+.2f}]"
    return f"Geodesic minus chord^2 at matched gradients: {size}, {row['verdict']} ({row['seeds']} seeds)"
