"""A contact sheet of both domains after augmentation: the views, and beside them what enters the network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from domainmetric.audit.views import SeenViews
from domainmetric.data.contact_sheet import contact_sheet
from domainmetric.experiment import Experiment
from domainmetric.training.batches import RunData

ROWS, COLUMNS = 10, 5
STANDARDIZED = "as it enters the network"


def views_sheet(experiment: Experiment, data: RunData, seen: Mapping[str, SeenViews]) -> bytes:
    """A PNG. The source's rows are its (first ten) classes; the target's images are mixed: their labels are unknown."""
    source, target = seen["source"], seen["target"]
    assert data.source_train.labels is not None
    labels = data.source_train.labels.cpu()[source.rows].numpy()
    rows = data.source_train.classes[:ROWS]
    of_class = [np.flatnonzero(labels == label)[:COLUMNS] for label in range(len(rows))]
    mixed = np.array_split(np.arange(min(len(rows) * COLUMNS, len(target.rows))), len(rows))
    blocks = {}
    for name, views, chosen in (
        (f"{experiment.data.source.name}, by class", source, of_class),
        (f"{experiment.data.target.name}, mixed", target, mixed),
    ):
        blocks[name] = (COLUMNS, taken(views.views, chosen))
        blocks[f"{name}: {STANDARDIZED}"] = (COLUMNS, taken(views.standardized, chosen))
    title = f"{experiment.name}, seed {experiment.seed}: random views of both domains, and how they enter the network"
    return contact_sheet(title, rows, blocks)


def taken(images: NDArray[np.uint8], chosen: list[NDArray[np.intp]]) -> list[list[NDArray[np.uint8]]]:
    """The chosen images, row by row."""
    return [list(images[row]) for row in chosen]
