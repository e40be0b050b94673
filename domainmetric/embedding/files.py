"""Embeddings of a folder as a file: made part by part, so that an interrupted command goes on where it was."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from domainmetric import durable
from domainmetric.data.pictures import names_below
from domainmetric.embedding.embedder import BATCH, Embedded, Embedder, joined
from domainmetric.errors import ConfigError, DataError, RunFolderError
from domainmetric.models.network import DomainName
from domainmetric.serialize import content_hash, without_home
from domainmetric.training.checkpoint import read_tensors, write_tensors

PART = 16 * BATCH
"""Images in a part."""
COLUMNS = ("z", "label", "probability", "familiarity")
METADATA = "domainmetric"
"""Key of what a Parquet file says of its origin, as JSON."""
Known = Bool[NDArray[np.bool_], " n"] | None
"""Which images are of a class that the network knows, where that was asked."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Content:
    """What goes into a file: `made` row by row, and what it is of."""

    made: Embedded
    names: Sequence[str]
    """Paths within the folder."""
    classes: Sequence[str]
    known: Known
    origin: Mapping[str, str]
    """weights (a hash), domain and folder: by what network the images were embedded, as whose, and where they lie."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedding:
    """A folder's images on their way into a file."""

    embedder: Embedder
    folder: Path
    domain: DomainName
    output: Path
    """`.npz` (z, label, probability, familiarity, path, classes, weights, domain, folder) or `.parquet` (path, label,
    probability, familiarity, embedding; the other facts in its metadata)."""
    reject: float | None = None
    """Where given, a column `known` is false for images that are like no class, as `Embedder.known` tells."""

    def __post_init__(self) -> None:
        if self.reject is not None:
            self.embedder.threshold(self.domain, self.reject)
        if self.output.suffix not in WRITERS:
            raise ConfigError(f"The output must end with {' or '.join(WRITERS)}, but is {self.output}.")
        if not self.output.parent.is_dir():
            raise ConfigError(f"There is no folder {self.output.parent} for the output {self.output.name}.")

    @property
    def parts(self) -> Path:
        """Where finished parts wait for the others."""
        return self.output.with_name(f".{self.output.name}.parts")

    @property
    def origin(self) -> dict[str, str]:
        """What the file says of where its rows come from; the home folder is called `~`."""
        folder = (self.folder if self.folder.is_dir() else self.folder.parent).absolute()
        return {"weights": self.embedder.weights, "domain": self.domain, "folder": without_home(str(folder))}

    def carry_out(self, begin: Callable[[int, int], None], advance: Callable[[int], None]) -> Path:
        """Embed what is left to embed, and write the output.

        `begin` is told how many images there are and how many were done before, `advance` how many more are done.
        """
        names, files = [self.folder.name], [str(self.folder)]
        if self.folder.is_dir():
            names = names_below(self.folder)
            files = [os.path.join(self.folder, name) for name in names]
        places = [(part, files[part : part + PART]) for part in range(0, len(files), PART)]
        by = [self.embedder.weights, self.domain in self.embedder.confidence, self.domain]
        keys = [content_hash([*by, [stamp(file) for file in few]]) for _, few in places]
        done = [self.kept(part, key) for (part, _), key in zip(places, keys, strict=True)]
        begin(len(files), sum(len(few) for (_, few), there in zip(places, done, strict=True) if there))
        self.parts.mkdir(exist_ok=True)
        left = [(place, key) for place, key, there in zip(places, keys, done, strict=True) if not there]
        if left:
            self.make(left, advance)
        columns_of = [read_tensors(self.path(part))[0] for part, _ in places]
        whole = {name: torch.cat([columns[name] for columns in columns_of]).numpy() for name in COLUMNS}
        made = Embedded(**whole)
        known = None if self.reject is None else self.embedder.known(made, domain=self.domain, reject=self.reject)
        content = Content(made=made, names=names, classes=self.embedder.classes, known=known, origin=self.origin)
        durable.write(self.output, WRITERS[self.output.suffix](content))
        for path in self.parts.iterdir():
            path.unlink()
        self.parts.rmdir()
        return self.output

    def make(self, left: Sequence[tuple[tuple[int, list[str]], str]], advance: Callable[[int], None]) -> None:
        """Embed these parts and keep each under its key. All are one stream: while one ends, the next is being read."""
        size = min(BATCH, PART)
        coming = self.embedder.stream([file for (_, few), _ in left for file in few], domain=self.domain, size=size)
        for (part, few), key in left:
            batches = []
            for _ in range(0, len(few), size):
                batches.append(next(coming))
                advance(len(batches[-1].z))
            made = joined(batches)
            columns = {name: torch.from_numpy(getattr(made, name)) for name in COLUMNS}
            write_tensors(self.path(part), columns, {"key": key})

    def path(self, part: int) -> Path:
        """The file of the part that begins with that image."""
        return self.parts / f"{part:09d}.safetensors"

    def kept(self, part: int, key: str) -> bool:
        """Whether the part was made before, by these weights from these files."""
        try:
            return bool(read_tensors(self.path(part))[1].get("key") == key)
        except RunFolderError:
            return False


def stamp(file: str) -> list[Any]:
    """What changes when a file does. Raises DataError where it is gone."""
    try:
        status = os.stat(file)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.") from error
    return [file, status.st_size, status.st_mtime_ns]


def npz(content: Content) -> bytes:
    """Arrays z, label, probability, familiarity, path, classes, known where asked for, weights, domain and folder."""
    columns: dict[str, Any] = {name: getattr(content.made, name) for name in COLUMNS}
    columns |= {} if content.known is None else {"known": content.known}
    columns |= {"path": np.array(content.names), "classes": np.array(content.classes)}
    columns |= {name: np.array(value) for name, value in content.origin.items()}
    payload = io.BytesIO()  # not compressed: of numbers such as these hardly a tenth would go, and take long
    np.savez(payload, **columns)
    return payload.getvalue()


def parquet(content: Content) -> bytes:
    """Columns path, label (its name), probability, familiarity, known where asked for, and embedding (floats).

    Parquet holds UTF-8 alone: in a path that is none, the bytes that are not are spelled out.
    """
    made = content.made
    columns = {
        "path": pa.array([name.encode(errors="backslashreplace").decode() for name in content.names], pa.string()),
        "label": pa.array([content.classes[label] for label in made.label], pa.string()),
        "probability": pa.array(made.probability),
        "familiarity": pa.array(made.familiarity),
        **({} if content.known is None else {"known": pa.array(content.known)}),
        "embedding": vectors(made.z),
    }
    table = pa.table(columns).replace_schema_metadata({METADATA: json.dumps(dict(content.origin))})
    payload = io.BytesIO()
    pq.write_table(table, payload, compression="zstd")
    return payload.getvalue()


def vectors(z: Float[NDArray[Any], "n d"]) -> pa.ListArray:
    """Embeddings as a column of lists of float32."""
    count, width = z.shape
    flat = pa.array(z.astype(np.float32).ravel())
    return pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32) * width), flat)


WRITERS: dict[str, Callable[[Content], bytes]] = {".npz": npz, ".parquet": parquet}
