"""`embeddings.parquet`: the images of the embedding map as a table, for tools that look at embeddings.

One row for each image and variant. `x` and `y` are the map's coordinates (t-SNE where the run kept it, PCA otherwise,
as `projection` says); `image` is a struct of PNG bytes and path, as Hugging Face's datasets have it. Renumics Spotlight
opens the file as it is, and so does embedding-atlas (with `--x x --y y --disable-projection`). FiftyOne reads images
from files alone: write the bytes to their paths first.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from domainmetric import durable
from domainmetric.embedding.files import vectors
from domainmetric.report.embedding import SPLIT, Placed
from domainmetric.report.images import SIDES, Images
from domainmetric.types import ImageSet

NAME = "embeddings.parquet"
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
DICTIONARY_BYTES = 1 << 26
"""Room for each image's bytes to be written once, however many variants show it."""


def write(placed: Sequence[Placed], images: Images, classes: Sequence[str], folder: Path) -> Path:
    """Write the table into a folder, whole or not at all."""
    path = folder / NAME
    pictures: dict[tuple[str, int], dict[str, Any]] = {}
    table = pa.concat_tables([_table(part, images, classes, pictures) for part in placed])
    payload = io.BytesIO()
    pq.write_table(table, payload, compression="zstd", dictionary_pagesize_limit=DICTIONARY_BYTES)
    durable.write(path, payload.getvalue())
    return path


def _table(
    part: Placed, images: Images, classes: Sequence[str], pictures: dict[tuple[str, int], dict[str, Any]]
) -> pa.Table:
    xy = part.pca if part.tsne is None else part.tsne
    count = len(part.z)
    names = np.array([*classes, None], dtype=object)
    label, prediction = (np.where((v >= 0) & (v < len(classes)), v, -1) for v in (part.label, part.prediction))
    domains = [str(part.run.experiment["data"][side].get("class", side)).rpartition(".")[2] for side in SIDES]
    columns = {
        "variant": pa.array([part.run.variant] * count),
        "seed": pa.array([part.run.seed] * count, pa.int64()),
        "x": pa.array(xy[:, 0].astype(np.float32)),
        "y": pa.array(xy[:, 1].astype(np.float32)),
        "projection": pa.array(["PCA" if part.tsne is None else "t-SNE"] * count),
        "embedding": vectors(part.z),
        "label": pa.array(names[label], pa.string()),
        "prediction": pa.array(names[prediction], pa.string()),
        "correct": pa.array(part.label == part.prediction, mask=part.label < 0),
        "domain": pa.array([SIDES[side] for side in part.domain]),
        "dataset": pa.array([domains[side] for side in part.domain]),
        "split": pa.array([SPLIT] * count),
        "row": pa.array(part.row.astype(np.int64)),
        "image": pa.array(_pictures(part, images, pictures), IMAGE),
    }
    return pa.table(columns)


def _pictures(
    part: Placed, images: Images, pictures: dict[tuple[str, int], dict[str, Any]]
) -> list[dict[str, Any] | None]:
    """Each row's image; an image that several variants show is encoded once."""
    sets = [images.load(part.run, side, SPLIT) for side in SIDES]
    keys = [images.key(part.run, side, SPLIT) for side in SIDES]
    found: list[dict[str, Any] | None] = []
    for side, row in zip(part.domain.tolist(), part.row.tolist(), strict=True):
        shown = sets[side]
        if shown is not None and (keys[side], row) not in pictures:
            pictures[keys[side], row] = {"bytes": _png(shown, row), "path": f"{SIDES[side]}-{SPLIT}-{row}.png"}
        found.append(pictures.get((keys[side], row)))
    return found


def _png(images: ImageSet, row: int) -> bytes:
    file = io.BytesIO()
    pixels = images.images[row].numpy()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
    return file.getvalue()
