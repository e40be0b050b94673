"""The local truth about a run: `log.jsonl` in the run folder, one JSON object on each line.

Everything that a run tells (metrics, figures, tables, the final summary) is written here first, and every other view
of it, Weights & Biases included, is made from this file. A line is written whole or, when the machine dies, torn at the
end of the file, where it is recognized and dropped.
"""

from __future__ import annotations

import errno
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from domainmetric.errors import DataError, RunFolderError

LOG_NAME = "log.jsonl"
TIMES = frozenset({"seconds", "anchors/match_ms", "anchors/refresh_seconds"})
"""Metrics that tell a time: these alone may differ between two runs of one experiment on one machine."""
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Log:
    """Writes `log.jsonl` in the folder `run`; each call appends one record.

    A log that exists is continued, after its torn last line (if any) is dropped. One process writes at a time.
    Raises RunFolderError when the file cannot be written, for example on a full disk.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.path = run / LOG_NAME
        try:
            run.mkdir(parents=True, exist_ok=True)
            _drop_torn_line(self.path)
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers measured at one step (the run's own count, 0 and up). NaN and infinities are kept."""
        self._write("metrics", step=step, values={name: float(value) for name, value in values.items()})

    def figure(self, name: str, path: Path) -> None:
        """A picture that was saved at `path`, best inside the run folder."""
        self._write("figure", name=name, path=self._relative(path))

    def table(self, name: str, path: Path) -> None:
        """An .npz file of embeddings: z (float, n d), and label, domain and prediction (each n)."""
        self._write("table", name=name, path=self._relative(path))

    def confusion(self, name: str, matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> None:
        """Counts, shape (k, k): `matrix[actual][predicted]`. Raises DataError if it does not fit the classes."""
        rows = [[int(count) for count in row] for row in matrix]
        if any(len(row) != len(classes) for row in rows) or len(rows) != len(classes):
            shape = (len(rows), *sorted({len(row) for row in rows}))
            raise DataError(f"A confusion matrix of {len(classes)} classes must be square, but its shape is {shape}.")
        self._write("confusion", name=name, matrix=rows, classes=list(classes))

    def summary(self, values: Mapping[str, object]) -> None:
        """Final results, of any type that JSON has; a later summary adds to an earlier one."""
        self._write("summary", values=dict(values))

    def event(self, name: str, text: str) -> None:
        """Something that happened, in one sentence."""
        self._write("event", name=name, text=text)

    @property
    def size(self) -> int:
        """Bytes written so far, all in whole lines."""
        return os.fstat(self._file.fileno()).st_size

    def cut_back(self, size: int) -> None:
        """Forget what was written after the first `size` bytes; used before a run is resumed.

        The file is replaced in one move, so a crash leaves the old log or the new one; with nothing to forget it stays.
        Raises RunFolderError where the log is shorter, or where a line does not end there.
        """
        fresh = path_beside(self.path)
        content = self.path.read_bytes()
        if len(content) < size or (size and content[size - 1 : size] != b"\n"):
            raise RunFolderError(
                f"{self.path} is damaged: its checkpoint knows {size} bytes of it in whole lines, but it has "
                f"{len(content)}. Put the log of this checkpoint back, or begin the run anew."
            )
        if len(content) == size:
            return
        self._file.close()
        try:
            with fresh.open("wb") as file:
                file.write(content[:size])
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
        except OSError as error:
            with suppress(OSError):
                fresh.unlink()
            raise _cannot_write(self.path, error) from error
        finally:
            self._file = self.path.open("ab", buffering=0)

    def close(self) -> None:
        """Write the `end` record, which tells readers that nothing follows, and close the file. Twice is once."""
        if not self._file.closed:
            try:
                self._write("end")
            finally:
                self._file.close()

    def _write(self, kind: str, **fields: object) -> None:
        if self._file.closed:
            raise RunFolderError(f"The log {self.path} is closed; make a new Log of that folder to add to it.")
        record = {"kind": kind, "time": round(time.time(), 3), **fields}
        line = json.dumps(_plain(record), allow_nan=False, ensure_ascii=False).encode() + b"\n"
        try:
            written = self._file.write(line)
            if written != len(line):  # the disk filled up inside this record: leave none rather than a half
                os.ftruncate(self._file.fileno(), os.fstat(self._file.fileno()).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def _relative(self, path: Path) -> str:
        full = path.resolve()
        root = self.run.resolve()
        return full.relative_to(root).as_posix() if full.is_relative_to(root) else str(full)


def read_log(run: Path) -> list[dict[str, Any]]:
    """All records of a run, in order. Raises RunFolderError if there is no log or one of its whole lines is damaged."""
    path = run / LOG_NAME
    if not path.is_file():
        raise RunFolderError(f"{run} is not a run folder: it holds no {LOG_NAME}.")
    return [_decode(path, line) for line in _whole_lines(path)]


def history(run: Path) -> dict[str, tuple[list[int], list[float]]]:
    """For each metric its steps and its values, in the order in which they were written."""
    curves: dict[str, tuple[list[int], list[float]]] = {}
    for record in read_log(run):
        if record["kind"] == "metrics":
            for name, value in record["values"].items():
                steps, values = curves.setdefault(name, ([], []))
                steps.append(record["step"])
                values.append(value)
    return curves


def decode_line(line: bytes) -> dict[str, Any]:
    """One line of a log as a record; raises ValueError if it is none."""
    record = _restore(json.loads(line))
    if not isinstance(record, dict) or "kind" not in record:
        raise ValueError("a record is a JSON object with a 'kind'")
    return record


def path_beside(path: Path) -> Path:
    """Where a file is written before it takes its name, so that a half-written one never bears it."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def _decode(path: Path, line: bytes) -> dict[str, Any]:
    try:
        return decode_line(line)
    except ValueError as error:
        raise RunFolderError(f"{path} is damaged: {line[:60]!r} is not a record ({error}).") from error


def _whole_lines(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().split(b"\n")[:-1] if line]


def _drop_torn_line(path: Path) -> None:
    if path.is_file():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)


def _plain(value: object) -> object:
    """The value in JSON's types, where a float that JSON cannot write becomes a word that reads back."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return value.as_posix()
    item = getattr(value, "item", None)  # a number of numpy or torch
    return _plain(item()) if callable(item) else str(value)


def _restore(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _restore(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_restore(item) for item in value]
    return _NON_FINITE.get(value, value) if isinstance(value, str) else value


def _cannot_write(path: Path, error: OSError) -> RunFolderError:
    return RunFolderError(
        f"Could not write {path}: {error.strerror or error}. "
        "Free space on that disk and resume the run, or choose another run folder; what was written before is kept."
    )
