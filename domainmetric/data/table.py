"""Images that a table lists: a CSV or Parquet file of paths, labels and splits."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from domainmetric.data.converted import Converted, Items, check_share, divided, slug, split_by_name, stamp
from domainmetric.data.domain import SPLITS, Split
from domainmetric.errors import DataError, nearest


@dataclass(frozen=True, kw_only=True)
class Table(Converted):
    """Images listed in a CSV or Parquet file, one in each row."""

    path: Path
    """The file: `.csv` with a header, whose values are taken as they are written, or `.parquet`."""
    image: str = "path"
    """Column of the images' paths, relative to the file's folder unless they are absolute."""
    label: str | None = "label"
    """Column of the class names; None for images without labels."""
    split: str | None = None
    """Column that says `train` or `test`; None holds out a share of the rows."""
    test_share: float = 0.1
    """Share that is held out as the test split, each image by a hash of its path; not used with a `split` column."""
    classes: tuple[str, ...] | None = None
    """Class names, in the order of the labels; None takes all in the column, by name. Recorded with a run."""
    alias: str | None = None
    """Name of the domain in runs and reports; None takes the file's own."""

    def __post_init__(self) -> None:
        check_share(self.test_share, "Table.test_share")
        if self.label is None and self.classes is not None:
            raise DataError("Table.classes are given, but Table.label names no column of labels.")
        if self.label is not None and self.classes is None:
            names = self._column(self._table(self._content()), self.label)
            object.__setattr__(self, "classes", tuple(sorted(set(names))))

    @property
    def name(self) -> str:
        """The alias, or the name of the file."""
        return slug(self.alias or self.path.stem)

    def origin(self) -> str:
        fields = (self.path.absolute(), self.image, self.label, self.split, self.test_share, self.classes)
        return f"Table {fields}"

    def fingerprint(self) -> str:
        """Of the table, and of the sizes and times of change of the images."""
        content = self._content()
        places = self._places(self._column(self._table(content), self.image))
        digest = hashlib.sha256(content)
        for place in places:
            try:
                found = stamp(os.stat(place))
            except OSError as error:
                raise DataError(f"{self.path} lists {place}, which cannot be found: {error.strerror}.") from error
            digest.update(f"{found}\n".encode())
        return digest.hexdigest()

    def items(self) -> dict[Split, Items]:
        table = self._table(self._content())
        paths = self._column(table, self.image)
        labels = None if self.label is None else self._labels(self._column(table, self.label))
        places, test = self._places(paths), self._test(table, paths)
        return divided(places, labels, test, f"{self.path}")

    def _content(self) -> bytes:
        if self.path.suffix.lower() not in (".csv", ".parquet"):
            raise DataError(f"A Table must be a .csv or .parquet file, but is {self.path}.")
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise DataError(f"{self.path} cannot be read as a table: {error}.") from error

    def _table(self, content: bytes) -> Any:
        import pyarrow as pa
        from pyarrow import csv, parquet

        text = {name: pa.string() for name in (self.image, self.label, self.split) if name is not None}
        try:
            if self.path.suffix.lower() == ".parquet":
                return parquet.read_table(pa.BufferReader(content))
            as_written = csv.ConvertOptions(column_types=text)  # else a class `01` would become the number 1
            return csv.read_csv(pa.BufferReader(content), convert_options=as_written)
        except pa.ArrowException as error:
            raise DataError(f"{self.path} cannot be read as a table: {error}.") from error

    def _column(self, table: Any, name: str) -> list[str]:
        """A column as text. Raises DataError where it is missing, or a row has nothing in it."""
        if name not in table.column_names:
            raise DataError(f"{self.path} has no column '{name}'.{nearest(name, table.column_names)}")
        values = table.column(name).to_pylist()
        if None in values or "" in values:
            row = next(row for row, value in enumerate(values) if value in (None, ""))
            raise DataError(f"Column '{name}' of {self.path} is empty in row {row + 1}. Fill it, or leave the row out.")
        return [str(value) for value in values]

    def _places(self, paths: list[str]) -> list[str]:
        return [os.path.join(self.path.parent, path) for path in paths]

    def _test(self, table: Any, paths: list[str]) -> np.ndarray:
        """Which rows are the test split."""
        if self.split is None:
            return split_by_name(paths, self.test_share)
        said = self._column(table, self.split)
        for value in said:
            if value not in SPLITS:
                raise DataError(f"Column '{self.split}' of {self.path} must say train or test, but says '{value}'.")
        return np.array([value == "test" for value in said])

    def _labels(self, names: list[str]) -> np.ndarray:
        assert self.classes is not None
        place = {name: label for label, name in enumerate(self.classes)}
        for name in names:
            if name not in place:
                raise DataError(f"{self.path} has the class '{name}', which Table.classes lacks.{nearest(name, place)}")
        return np.array([place[name] for name in names], dtype=np.int64)
