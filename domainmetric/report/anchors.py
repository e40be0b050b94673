"""The anchor browser: which source images each strategy chose for the same target images.

Read from what each run wrote of its final matches, and shown beside the source images that are nearest in pixels.
Whether an anchor is right is an oracle's word: it takes the target's labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray

from domainmetric.anchors.pixel import pixel_search
from domainmetric.report.arrays import read_arrays
from domainmetric.report.images import Cells, Images, Sheet
from domainmetric.report.study import RunRecord, Study
from domainmetric.training.final import MATCHES
from domainmetric.types import ImageSet

MAX_ANCHORS = 4
"""Anchors shown of each match, the best first."""
NUM_PIXEL = 4
"""Pixel-nearest images shown."""
MAX_TARGETS = 400
MAX_PICTURES = 8000
"""Fewer target images are shown where there are many strategies, so that the page stays light."""

ARRAYS = ("rows", "source_index", "label", "confidence", "keep", "similarity")
WITHOUT = "the anchor browser lacks it"

Kept = Mapping[str, NDArray[Any]]


def anchor_browser(study: Study, images: Images) -> tuple[dict[str, Any] | None, Sheet | None]:
    """The browser as plain data, and its thumbnails; None where no run kept its matches, or the images are not there.

    Runs that matched other target images than the first one does are left out, with a note.
    """
    kept = comparable(found_matches(study, images), images)
    if not kept:
        return None, None
    first = kept[0][0]
    target, source = images.load(first, "target", "train"), images.load(first, "source", "train")
    if target is None or source is None:
        return None, None
    chosen = choose(kept)
    rows = kept[0][1]["rows"][chosen]
    similarity, nearest = pixel_search(target.images[torch.from_numpy(rows)], source.images, num=NUM_PIXEL)
    cells = Cells()
    cells.want("target", target, rows)
    for index in [nearest.numpy(), *(matches["source_index"][chosen, :MAX_ANCHORS] for _, matches in kept)]:
        cells.want("source", source, index.ravel())
    shown = [(images_of, cells.rows()[side]) for side, images_of in (("target", target), ("source", source))]
    data = {
        "targets": {"cell": cells.of("target", rows).tolist(), "row": rows.tolist(), "label": labels(target, rows)},
        "pixel": {
            "cells": cells.of("source", nearest.numpy()).tolist(),
            "similarity": hundredths(similarity.numpy()),
        },
        "strategies": [strategy(study, run, matches, chosen, cells) for run, matches in kept],
        "label": [label for images_of, which in shown for label in labels(images_of, which)],
        "row": [row for _, which in shown for row in which.tolist()],
    }
    return data, cells.sheet()


def found_matches(study: Study, images: Images) -> list[tuple[RunRecord, Kept]]:
    """The shown runs that kept their matches; a note names those that should have."""
    kept = [run for run in study.shown() if (run.folder / MATCHES).is_file()]
    without = [run.variant for run in study.shown() if run.report.get("anchors") and run not in kept]
    if without:
        names = ", ".join(without)
        images.notes.append(f"These runs did not keep their matches, so the anchor browser lacks them: {names}.")
    found = [(run, read_arrays(run, MATCHES, ARRAYS, images.notes, without=WITHOUT)) for run in kept]
    return [(run, matches) for run, matches in found if matches is not None]


def comparable(kept: list[tuple[RunRecord, Kept]], images: Images) -> list[tuple[RunRecord, Kept]]:
    """The runs whose matches are of the first one's target images, and anchors of its source."""

    def like_first(run: RunRecord, matches: Kept) -> bool:
        same_images = all(
            images.key(run, s, "train") == images.key(kept[0][0], s, "train") for s in ("source", "target")
        )
        return same_images and np.array_equal(matches["rows"], kept[0][1]["rows"])

    others = [run.variant for run, matches in kept if not like_first(run, matches)]
    if others:
        images.notes.append(f"The anchor browser leaves out runs that matched other images: {', '.join(others)}.")
    return [(run, matches) for run, matches in kept if run.variant not in others]


def choose(kept: list[tuple[RunRecord, Kept]]) -> Int64[np.ndarray, " r"]:
    """Evenly spaced ones of the matched rows, so many that the pictures of all strategies together are not too many."""
    pictures = 1 + NUM_PIXEL + sum(min(MAX_ANCHORS, matches["source_index"].shape[1]) for _, matches in kept)
    available = len(kept[0][1]["rows"])
    count = min(available, MAX_TARGETS, max(1, MAX_PICTURES // pictures))
    return np.linspace(0, available - 1, count).astype(np.int64)


def strategy(
    study: Study, run: RunRecord, matches: Kept, chosen: Int64[np.ndarray, " r"], cells: Cells
) -> dict[str, Any]:
    """The matches of one run, with cells for rows."""
    name = (run.experiment.get("anchors") or {}).get("class", "")
    return {
        "run": study.runs.index(run),
        "name": str(name).rpartition(".")[2],
        "label": matches["label"][chosen].tolist(),
        "confidence": hundredths(matches["confidence"][chosen]),
        "keep": matches["keep"][chosen].astype(int).tolist(),
        "cells": cells.of("source", matches["source_index"][chosen, :MAX_ANCHORS]).tolist(),
        "similarity": hundredths(matches["similarity"][chosen, :MAX_ANCHORS]),
    }


def labels(images: ImageSet, rows: Int64[np.ndarray, " r"]) -> list[int | None]:
    """The labels of the rows, each None where the set has none."""
    if images.labels is None:
        return [None] * len(rows)
    found: list[int | None] = images.labels[torch.from_numpy(rows)].tolist()
    return found


def hundredths(values: NDArray[Any]) -> Any:
    """The values to two digits; what is no finite number is None."""
    rounded = np.round(values.astype(float), 2)
    return np.where(np.isfinite(rounded), rounded.astype(object), np.array(None)).tolist()
