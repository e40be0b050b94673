"""The embedding map: where the test images of both domains lie, run by run, with a thumbnail of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from domainmetric.data.domain import Split
from domainmetric.figures.embedding import choose_rows, principal
from domainmetric.report.arrays import read_arrays
from domainmetric.report.images import SIDES, Cells, Images, Sheet
from domainmetric.report.study import RunRecord, Study
from domainmetric.reporting import PROJECTION
from domainmetric.training.final import EMBEDDINGS

SPLIT: Split = "test"
DRAWN = ("source_rows", "target_rows", "pca", "tsne")
SCALE = 10_000
"""Coordinates are whole numbers up to this."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """The rows of one run that the map shows, source before target, and where they lie."""

    run: RunRecord
    domain: Int64[np.ndarray, " p"]
    """0 source, 1 target."""
    row: Int64[np.ndarray, " p"]
    """In the domain's test split."""
    z: Float[np.ndarray, "p d"]
    label: Int64[np.ndarray, " p"]
    prediction: Int64[np.ndarray, " p"]
    pca: Float[np.ndarray, "p 2"]
    tsne: Float[np.ndarray, "p 2"] | None
    """None where the run did not keep it."""


def place(run: RunRecord, notes: list[str]) -> Placed | None:
    """The chosen rows of a run, or None where it kept no embeddings. What it kept of its own map is used as it is."""
    if not (run.folder / EMBEDDINGS).is_file():
        return None
    names = ("z", "label", "prediction", "domain")
    kept = read_arrays(run, EMBEDDINGS, names, notes, without="the embedding map lacks it")
    if kept is None:
        return None
    first_target = int((kept["domain"] == 0).sum())
    drawn = None
    if (run.folder / PROJECTION).is_file():
        drawn = read_arrays(run, PROJECTION, DRAWN, notes, without="its map is by PCA")
    if drawn is not None:
        source, target, pca, tsne = (drawn[name] for name in DRAWN)
    else:
        source, target = choose_rows(first_target, len(kept["domain"]) - first_target, seed=run.seed or 0)
        pca = tsne = np.zeros((0, 2))
    rows = np.concatenate([source, target + first_target])
    pca = pca if len(pca) else principal(kept["z"][rows].astype(np.float64))[0]
    if len(pca) != len(rows):  # too few images to project
        return None
    return Placed(
        run=run,
        domain=kept["domain"][rows],
        row=np.concatenate([source, target]),
        z=kept["z"][rows],
        label=kept["label"][rows],
        prediction=kept["prediction"][rows],
        pca=pca,
        tsne=tsne if len(tsne) == len(rows) else None,
    )


def embedding_map(study: Study, images: Images) -> tuple[dict[str, Any] | None, Sheet | None, list[Placed], Cells]:
    """The map as plain data, the thumbnails, and what they were made of."""
    placed = [found for run in study.shown() if (found := place(run, images.notes)) is not None]
    cells = Cells()
    for part in placed:
        for side, name in enumerate(SIDES):
            cells.want(
                images.key(part.run, name, SPLIT), images.load(part.run, name, SPLIT), part.row[part.domain == side]
            )
    if not placed:
        return None, None, placed, cells
    variants, labels = [], np.full(sum(map(len, cells.rows().values())), -1)
    for part in placed:
        number = numbers(part, images, cells)
        labels[number] = part.label
        variants.append(
            {
                "run": study.runs.index(part.run),
                "cells": number.tolist(),
                "prediction": part.prediction.tolist(),
                "pca": scaled(part.pca),
                "tsne": None if part.tsne is None else scaled(part.tsne),
            }
        )
    sides = np.concatenate([np.full(len(rows), SIDES.index(key.split()[0])) for key, rows in cells.rows().items()])
    items = {
        "side": sides.tolist(),
        "row": np.concatenate(list(cells.rows().values())).tolist(),
        "label": labels.tolist(),
    }
    return {"items": items, "variants": variants}, cells.sheet(), placed, cells


def numbers(part: Placed, images: Images, cells: Cells) -> Int64[np.ndarray, " p"]:
    """The cell of each row."""
    found = np.zeros(len(part.row), np.int64)
    for side, name in enumerate(SIDES):
        mine = part.domain == side
        found[mine] = cells.of(images.key(part.run, name, SPLIT), part.row[mine])
    return found


def scaled(points: Float[np.ndarray, "p 2"]) -> list[int]:
    """x and y in turn as whole numbers 0..SCALE, the same scale for both, in the middle of the square."""
    low, high = points.min(0), points.max(0)
    middle, size = (low + high) / 2, max(float((high - low).max()), 1e-12)
    whole: list[int] = np.rint(SCALE * ((points - middle) / size + 0.5)).astype(int).ravel().tolist()
    return whole
