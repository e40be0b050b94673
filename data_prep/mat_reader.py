"""A program of its own that reads one MATLAB file: `python -I mat_reader.py FILE FOLDER BYTES` writes X.npy and y.npy.

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


def limit(most: int) -> None:
    """Bound this process: memory, processor time, and the size of what it writes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    memory = pages * resource.getpagesize() + MAX_MEMORY if pages else resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (most + 4096, most + 4096))


def main(path: str, folder: str, most: str) -> None:
    """Read the file within the limits; what is wrong with it ends the process with one line on standard error."""
    limit(int(most))
    try:
        for name, array in zip(("X", "y"), read(Path(path), int(most)), strict=True):
            np.save(Path(folder) / f"{name}.npy", array, allow_pickle=False)
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
