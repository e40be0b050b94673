"""What is matched: embeddings of images, made now or read from a file that `domainmetric embed` wrote."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from domainmetric.data.pictures import listed
from domainmetric.embedding.embedder import Embedder
from domainmetric.embedding.files import METADATA
from domainmetric.errors import DataError
from domainmetric.models.network import DomainName

ORIGIN = ("weights", "domain", "folder")
UNREADABLE: tuple[type[Exception], ...] = (
    *(OSError, EOFError, LookupError, AttributeError, TypeError, ValueError, RuntimeError, ArithmeticError),
    *(zipfile.BadZipFile, zlib.error, pa.ArrowException),
)
"""What numpy, zipfile and pyarrow raise for files that are damaged or something else."""
Read = tuple[NDArray[Any], list[str], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Embeddings and what they are of."""

    z: Float[NDArray[np.float32], "n d"]
    names: list[str]
    """Such as paths."""
    folder: Path = Path()
    """Where the paths begin."""


def rows_of(
    embedder: Embedder,
    path: Path,
    domain: DomainName | None,
    default: DomainName,
    begin: Callable[[int, int], None],
    advance: Callable[[int], None],
) -> Rows:
    """Embeddings of a folder or an image, made now as of `domain`, or else `default`; or those that a file holds.

    Raises DataError where the file is none that `Embedding` wrote, or its embeddings are of another network or of
    another domain than `domain`.
    """
    if path.suffix in READERS and not path.is_dir():
        return read(path, embedder.weights, domain)
    files = [str(file) for file in listed(path)]
    begin(len(files), 0)
    return Rows(z=embedder.embed(files, domain=domain or default, advance=advance).z, names=files)


def read(path: Path, weights: str, domain: DomainName | None) -> Rows:
    """The embeddings of a file. Raises DataError, as `rows_of` does."""
    try:
        z, names, found = READERS[path.suffix](path)
        origin = {name: str(found[name]) for name in ORIGIN}
        if z.ndim != 2 or z.dtype.kind != "f" or not np.isfinite(z).all() or len(z) != len(names):
            raise ValueError(f"it has {len(names)} paths beside {z.dtype} of the shape {z.shape}, or infinite numbers")
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}.") from error
    except UNREADABLE as error:
        raise DataError(
            f"{path} is no file of embeddings, as `domainmetric embed` writes them now, or is damaged: "
            f"{type(error).__name__}, {str(error).rstrip('.') or 'no more is known'}. Embed its images anew."
        ) from error
    if origin["weights"] != weights:
        raise DataError(
            f"{path} holds embeddings of another network than this run's (weights {origin['weights']}, not {weights}): "
            "they cannot be compared. Name the run that embedded them, or embed the images by this one."
        )
    if domain not in (None, origin["domain"]):
        raise DataError(
            f"{path} holds images embedded as those of the {origin['domain']}, but is named as of the {domain}. Leave "
            f"that out, or embed them with --domain {domain}."
        )
    inside_home = origin["folder"].partition("/")[0] == "~"
    folder = Path(origin["folder"]).expanduser() if inside_home else Path(origin["folder"])
    return Rows(z=z.astype(np.float32), names=names, folder=folder)


def read_npz(path: Path) -> Read:
    """What an .npz holds. Raises one of UNREADABLE."""
    with path.open("rb") as file:  # opened here, since numpy leaves a damaged one open
        arrays = np.load(file, allow_pickle=False)
        if not isinstance(arrays, NpzFile):
            raise ValueError("it holds a single array")
        with arrays:
            return arrays["z"], [str(name) for name in arrays["path"]], {name: arrays[name][()] for name in ORIGIN}


def read_parquet(path: Path) -> Read:
    """What a Parquet file holds. Raises one of UNREADABLE."""
    with pq.ParquetFile(path) as file:
        table = file.read(columns=["path", "embedding"])
    vectors = table["embedding"].combine_chunks()
    flat = vectors.flatten().to_numpy(zero_copy_only=False)
    if (np.diff(vectors.offsets.to_numpy()) * len(table) != len(flat)).any():
        raise ValueError("its embeddings are not all of one length")
    origin = json.loads((table.schema.metadata or {})[METADATA.encode()])
    if not isinstance(origin, dict):
        raise ValueError("its metadata are no record")
    return flat.reshape(len(table), -1), [str(name) for name in table["path"].to_pylist()], origin


READERS: dict[str, Callable[[Path], Read]] = {".npz": read_npz, ".parquet": read_parquet}
