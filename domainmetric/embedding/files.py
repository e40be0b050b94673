"""Embeddings of a folder as a file: made part by part, so that an interrupted command goes on where it was."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from domainmetric import durable
from domainmetric.data.pictures import listed
from domainmetric.embedding.embedder import Embedded, Embedder
from domainmetric.errors import ConfigError, DataError, RunFolderError
from domainmetric.models.network import DomainName
from domainmetric.serialize import content_hash
from domainmetric.training.checkpoint import read_tensors, write_tensors
from domainmetric.training.final import save_arrays

PART = 4096
"""Images in a part."""
COLUMNS = ("z", "label", "probability")


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Embeddings and what they are of."""

    z: Float[NDArray[np.float32], "n d"]
    names: list[str]
    """Such as paths."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedding:
    """A folder's images on their way into a file."""

    embedder: Embedder
    folder: Path
    domain: DomainName
    output: Path
    """`.npz` (z, label, probability, path, classes) or `.parquet` (path, label, probability, embedding)."""

    def __post_init__(self) -> None:
        if self.output.suffix not in WRITERS:
            raise ConfigError(f"The output must end with {' or '.join(WRITERS)}, but is {self.output}.")
        if not self.output.parent.is_dir():
            raise ConfigError(f"There is no folder {self.output.parent} for the output {self.output.name}.")

    @property
    def parts(self) -> Path:
        """Where finished parts wait for the others."""
        return self.output.with_name(f".{self.output.name}.parts")

    def carry_out(self, begin: Callable[[int, int], None], advance: Callable[[int], None]) -> Path:
        """Embed what is left to embed, and write the output.

        `begin` is told how many images there are and how many were done before, `advance` how many more are done.
        """
        files = [Path(str(file)) for file in listed(self.folder)]
        places = [(part, files[part : part + PART]) for part in range(0, len(files), PART)]
        keys = [content_hash([self.embedder.weights, self.domain, [stamp(file) for file in few]]) for _, few in places]
        done = [self.kept(part, key) for (part, _), key in zip(places, keys, strict=True)]
        begin(len(files), sum(len(few) for (_, few), there in zip(places, done, strict=True) if there))
        self.parts.mkdir(exist_ok=True)
        for (part, few), key, there in zip(places, keys, done, strict=True):
            if not there:
                made = self.embedder.embed(few, domain=self.domain, advance=advance)
                columns = {name: torch.from_numpy(getattr(made, name)) for name in COLUMNS}
                write_tensors(self.path(part), columns, {"key": key})
        columns_of = [read_tensors(self.path(part))[0] for part, _ in places]
        whole = {name: torch.cat([columns[name] for columns in columns_of]).numpy() for name in COLUMNS}
        names = [file.relative_to(self.folder).as_posix() if file != self.folder else file.name for file in files]
        WRITERS[self.output.suffix](self.output, Embedded(**whole), names, self.embedder.classes)
        for path in self.parts.iterdir():
            path.unlink()
        self.parts.rmdir()
        return self.output

    def path(self, part: int) -> Path:
        """The file of the part that begins with that image."""
        return self.parts / f"{part:09d}.safetensors"

    def kept(self, part: int, key: str) -> bool:
        """Whether the part was made before, by these weights from these files."""
        try:
            return bool(read_tensors(self.path(part))[1].get("key") == key)
        except RunFolderError:
            return False


def stamp(file: Path) -> list[Any]:
    """What changes when a file does. Raises DataError where it is gone."""
    try:
        status = file.stat()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.") from error
    return [file.as_posix(), status.st_size, status.st_mtime_ns]


def npz(path: Path, made: Embedded, names: Sequence[str], classes: Sequence[str]) -> None:
    """Arrays z, label, probability, path and classes."""
    columns: dict[str, NDArray[Any]] = {name: getattr(made, name) for name in COLUMNS}
    save_arrays({**columns, "path": np.array(names), "classes": np.array(classes)}, path)


def parquet(path: Path, made: Embedded, names: Sequence[str], classes: Sequence[str]) -> None:
    """Columns path, label (its name), probability and embedding (a list of floats)."""
    table = pa.table(
        {
            "path": pa.array(names, pa.string()),
            "label": pa.array([classes[label] for label in made.label], pa.string()),
            "probability": pa.array(made.probability),
            "embedding": vectors(made.z),
        }
    )
    payload = io.BytesIO()
    pq.write_table(table, payload, compression="zstd")
    durable.write(path, payload.getvalue())


def vectors(z: Float[NDArray[Any], "n d"]) -> pa.ListArray:
    """Embeddings as a column of lists of float32."""
    count, width = z.shape
    flat = pa.array(z.astype(np.float32).ravel())
    return pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32) * width), flat)


WRITERS: dict[str, Callable[[Path, Embedded, Sequence[str], Sequence[str]], None]] = {".npz": npz, ".parquet": parquet}


def rows_of(
    embedder: Embedder,
    path: Path,
    domain: DomainName,
    begin: Callable[[int, int], None],
    advance: Callable[[int], None],
) -> Rows:
    """Embeddings of a folder or an image, made now; or those that an .npz holds, which `Embedding` wrote.

    Raises DataError where the .npz is none of this kind.
    """
    if path.suffix != ".npz":
        files = [str(file) for file in listed(path)]
        begin(len(files), 0)
        return Rows(z=embedder.embed(files, domain=domain, advance=advance).z, names=files)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Rows(z=arrays["z"], names=[str(name) for name in arrays["path"]])
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path} is no file of embeddings, as `domainmetric embed` writes them: {error}.") from error
