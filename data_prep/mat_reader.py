"""A program of its own that reads one MATLAB file: `python -I mat_reader.py FILE FOLDER BYTES` writes X.npy and y.npy.

With `VARIABLE FIELD ...` after these it reads a struct array, such as the annotations of the Stanford Cars, and writes
FIELD.npy for each field: whole numbers or text, one for each element.

scipy's reader is not hardened: a damaged or hostile file can make it reserve any memory, run for long, or crash. So it
runs here, in a process with limits, and what it read goes back as plain arrays. It imports no more than it needs.
"""

from __future__ import annotations

import math
import resource
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat, whosmat

MAX_MEMORY = 512 * 2**20
"""Bytes of memory, above what Python and its libraries have when the file is opened."""
MAX_CPU_SECONDS = 60
MAX_ROWS = 1_000_000
"""Elements of a struct array."""
NUMBERS = {
    **{f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "single": 4,
    "double": 8,
    "logical": 1,
}
"""MATLAB's classes of numbers and the bytes of one: nothing else (cells, structs, objects) is looked into."""


def read(path: Path, most: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """X and y, of at most `most` bytes. Raises ValueError where the file declares something else; scipy, anything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what scipy finds odd is judged below
        declared = [(shape, kind) for name, shape, kind in whosmat(path) if name in ("X", "y")]
        if len(declared) != 2:
            raise ValueError("it does not hold X and y, once each")
        if any(kind not in NUMBERS for _, kind in declared):
            raise ValueError(f"X and y should be numbers, but are {' and '.join(kind for _, kind in declared)}")
        size = sum(NUMBERS[kind] * math.prod(shape) for shape, kind in declared)
        if size > most:
            raise ValueError(f"X and y would take {size:,} bytes, but at most {most:,} are read")
        content = loadmat(path, variable_names=("X", "y"))
    return content["X"], content["y"]


def read_table(path: Path, variable: str, fields: list[str]) -> dict[str, NDArray[Any]]:
    """The fields of a struct array. Raises ValueError where the file holds something else; scipy, anything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what scipy finds odd is judged below
        declared = [(shape, kind) for name, shape, kind in whosmat(path) if name == variable]
        if len(declared) != 1 or declared[0][1] != "struct":
            raise ValueError(f"it does not hold '{variable}', a struct array, once")
        if math.prod(declared[0][0]) > MAX_ROWS:
            raise ValueError(f"'{variable}' has {declared[0][0]} elements, but at most {MAX_ROWS:,} are read")
        table = loadmat(path, variable_names=(variable,))[variable]
    missing = [name for name in fields if name not in (table.dtype.names or ())]
    if missing:
        raise ValueError(f"'{variable}' lacks {', '.join(missing)}; it has {', '.join(table.dtype.names or ())}")
    return {name: column([cell.item() for cell in table[name].ravel()], name) for name in fields}


def column(values: list[Any], name: str) -> NDArray[Any]:
    """The values as an array of whole numbers or of text. Raises ValueError where they are neither."""
    array = np.array(values)
    if array.dtype.kind not in "iuU":
        raise ValueError(f"the field '{name}' should hold whole numbers or text, but holds {array.dtype}")
    return array.astype(np.int64) if array.dtype.kind in "iu" else array


def limit(most: int) -> None:
    """Bound this process: memory, processor time, and the size of what it writes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    memory = pages * resource.getpagesize() + MAX_MEMORY if pages else resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (most + 4096, most + 4096))


def main(path: str, folder: str, most: str, variable: str = "", *fields: str) -> None:
    """Read the file within the limits; what is wrong with it ends the process with one line on standard error."""
    limit(int(most))
    try:
        if variable:
            found = read_table(Path(path), variable, list(fields))
        else:
            found = dict(zip(("X", "y"), read(Path(path), int(most)), strict=True))
        for name, array in found.items():
            np.save(Path(folder) / f"{name}.npy", array, allow_pickle=False)
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
