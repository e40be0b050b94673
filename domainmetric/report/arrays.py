"""Arrays that a run kept for its page, where they can be read: one damaged file must not take the page down."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domainmetric.report.study import RunRecord

UNREADABLE = (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error)
"""What numpy raises for a file that was cut off or altered, or that lacks an array."""


def read_arrays(
    run: RunRecord, file: str, names: Sequence[str], notes: list[str], *, without: str
) -> dict[str, NDArray[Any]] | None:
    """These arrays of a run's file; None where they cannot be read, and a note that says what the page is `without`."""
    try:
        with (run.folder / file).open("rb") as opened, np.load(opened) as kept:
            return {name: kept[name] for name in names}
    except UNREADABLE as error:
        told = " ".join(str(error).split())
        notes.append(f"{file} of {run.variant}, seed {run.seed}, cannot be read ({told}), so {without}.")
        return None
