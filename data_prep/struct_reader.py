"""A program of its own that reads a table of annotations from a MATLAB file, within the limits of `mat_reader`.

`python -I struct_reader.py FILE FOLDER BYTES VARIABLE FIELD ...` reads a struct array, such as the annotations of the
Stanford Cars, and writes FIELD.npy for each field: whole numbers or text, one for each element.
"""

from __future__ import annotations

import math
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat, whosmat

from data_prep.mat_reader import limit

MAX_ROWS = 1_000_000


def read(path: Path, variable: str, fields: list[str]) -> dict[str, NDArray[Any]]:
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


def main(path: str, folder: str, most: str, variable: str, *fields: str) -> None:
    """Read the file within the limits; what is wrong with it ends the process with one line on standard error."""
    limit(int(most))
    try:
        for name, array in read(Path(path), variable, list(fields)).items():
            np.save(Path(folder) / f"{name}.npy", array, allow_pickle=False)
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
