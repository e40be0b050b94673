"""What each label-free score says of five targets whose truth is known here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from domainmetric.figures.style import INK, SMALL_SIZE, new_figure, tidy
from domainmetric.geometry import normalize
from domainmetric.metrics.selection import Evidence, all_scores

CLASSES, ITEMS, DIM = 5, 300, 8


def drawn(seed: int, *shape: int) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def situations() -> Mapping[str, tuple[Tensor, Tensor]]:
    """Embeddings and logits of a target, by what has happened to it."""
    labels, prototypes = torch.arange(ITEMS) % CLASSES, normalize(drawn(0, CLASSES, DIM))
    swapped = torch.tensor([1, 0, *range(2, CLASSES)])[labels]

    def around(classes: Tensor, spread: float) -> Tensor:
        return normalize(prototypes[classes] + spread * drawn(1, ITEMS, DIM))

    point = normalize(prototypes[:1] + 0.02 * drawn(2, ITEMS, DIM))
    sets = {
        "right and sure": around(labels, 0.15),
        "right, not sure": around(labels, 0.45),
        "two classes swapped": around(swapped, 0.15),
        "all in one class": point,
        "noise": normalize(drawn(3, ITEMS, DIM)),
    }
    return {name: (z, 14 * z @ prototypes.T) for name, z in sets.items()}


def table() -> Figure:
    """Scores in columns, situations in rows; the best of a column is dark."""
    source, logits = situations()["right and sure"]
    seen = normalize(drawn(4, CLASSES, DIM)[torch.arange(ITEMS) % CLASSES] + 0.4 * drawn(5, ITEMS, DIM))
    neighbors = (seen @ seen.T).fill_diagonal_(-torch.inf).topk(10).indices
    values = []
    for z, target_logits in situations().values():
        evidence = Evidence(
            target_z=z,
            target_logits=target_logits,
            source_z=source,
            source_logits=logits,
            source_labels=torch.arange(ITEMS) % CLASSES,
            target_neighbors=neighbors,
        )
        values.append(list(all_scores(evidence).values()))
        names = list(all_scores(evidence))
    scores = np.array(values)
    low, high = scores.min(0), scores.max(0)
    shade = (scores - low) / np.where(high > low, high - low, 1)
    figure = new_figure(8.2, 3.1, title="What each score says (higher is better; the darkest of a column is chosen)")
    axes = figure.subplots()
    axes.imshow(shade, cmap="Blues", vmin=0, vmax=1.6, aspect="auto")
    for row, line in enumerate(scores):
        for column, value in enumerate(line):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=SMALL_SIZE + 1, color=INK)
    axes.set_yticks(range(len(scores)), list(situations()))
    axes.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names])
    tidy(axes, grid=False)
    return figure


def figures() -> Iterator[tuple[str, Figure]]:
    """The figure of the page on scores."""
    yield "scores", table()
