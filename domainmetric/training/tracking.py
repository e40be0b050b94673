"""The local truth about a run: `log.jsonl` in the run folder, one JSON object on each line.

Everything that a run tells (metrics, figures, tables, the final summary) is written here first, and every other view
of it, Weights & Biases included, is made from this file. A line is written whole or, when the machine dies, torn at the
end of the file, where it is recognized and dropped.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from domainmetric import durable
from domainmetric.errors import Damaged, DataError, RunFolderError
from domainmetric.serialize import without_home

LOG_NAME = "log.jsonl"
TIMES = frozenset({"time", "seconds", "anchors/match_ms", "anchors/refresh_seconds", "peak_memory_mb"})
"""Names of values that tell a time, or how much memory was used. They alone may differ between two runs of one
experiment on one machine."""
OF_PROCESS = frozenset({"resumed", "checkpoint damaged", "changes accepted", "phase awaited", "phase reused", "wandb"})
"""Events that tell of a process rather than of the training."""
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Log:
    """Writes `log.jsonl` in the folder `run`; each call appends one record.

    A log that exists is continued, after its torn last line (if any) is dropped. One process writes at a time.
    Raises NotWritten when the file cannot be written, for example on a full disk.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.path = run / LOG_NAME
        durable.make_folder(run)
        self._file = durable.Growing(self.path)

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
        """Something that happened, in one sentence; the user's home folder is not named in it."""
        self._write("event", name=name, text=without_home(text, prose=True))

    def alarm(self, step: int, told: Mapping[str, object]) -> None:
        """An alarm that was raised at a step of the run: a record of its own kind."""
        self._write("alarm", **{**told, "step": step})

    def again(self, record: Mapping[str, Any]) -> None:
        """Write a record of another log, under the time of now."""
        self._write(**{name: value for name, value in record.items() if name != "time"})

    def save(self) -> int:
        """Flush the log to the disk. Returns its size, by which `cut_back` finds this moment again."""
        self._file.sync()
        return self._file.size

    def cut_back(self, size: int) -> None:
        """Forget what was written after the first `size` bytes, before a run is resumed; what tells of processes stays.

        The file is replaced in one move, so a crash leaves the old log or the new one; with nothing to forget it stays.
        Raises Damaged where the log is shorter, or where a line does not end there.
        """
        content = durable.read(self.path)
        if len(content) < size or (size and content[size - 1 : size] != b"\n"):
            raise Damaged(
                f"{self.path} is damaged: its checkpoint knows {size} bytes of it in whole lines, but it has "
                f"{len(content)}."
            )
        later = _whole_lines(content[size:])
        kept = content[:size] + b"".join(line + b"\n" for line in later if _of_process(line))
        if kept != content:
            self._file.replace(kept)

    def close(self) -> None:
        """Write the `end` record, which tells readers that nothing follows, and close the file. Twice is once."""
        if not self._file.closed:
            try:
                self._write("end")
                self._file.sync()
            finally:
                self._file.close()

    def _write(self, kind: str, **fields: object) -> None:
        if self._file.closed:
            raise RunFolderError(f"The log {self.path} is closed; make a new Log of that folder to add to it.")
        record = {"kind": kind, "time": round(time.time(), 3), **fields}
        self._file.add(json.dumps(_plain(record), allow_nan=False, ensure_ascii=False).encode() + b"\n")

    def _relative(self, path: Path) -> str:
        full = path.resolve()
        root = self.run.resolve()
        return full.relative_to(root).as_posix() if full.is_relative_to(root) else str(full)


def read_log(run: Path, begin: int = 0) -> list[dict[str, Any]]:
    """All records of a run, in order, from the byte `begin` on.

    Raises RunFolderError if there is no log, the disk does not give it, or one of its whole lines is damaged.
    """
    path = run / LOG_NAME
    if not path.is_file():
        raise RunFolderError(f"{run} is not a run folder: it holds no {LOG_NAME}.")
    return [_decode(path, line) for line in _whole_lines(durable.read(path)[begin:])]


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


def of_process(record: Mapping[str, Any]) -> bool:
    """Whether a record tells of a process rather than of the training: it stays when a run is resumed, as it happened.

    These apart, and times, the log of a run that was resumed is that of the undisturbed one.
    """
    return record["kind"] == "event" and record["name"] in OF_PROCESS


def timeless(value: Any) -> Any:
    """A record or a report without what tells a time."""
    if isinstance(value, Mapping):
        return {name: timeless(item) for name, item in value.items() if name not in TIMES}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def _decode(path: Path, line: bytes) -> dict[str, Any]:
    try:
        return decode_line(line)
    except ValueError as error:
        raise RunFolderError(f"{path} is damaged: {line[:60]!r} is not a record ({error}).") from error


def _of_process(line: bytes) -> bool:
    try:
        return of_process(decode_line(line))
    except ValueError:
        return False


def _whole_lines(content: bytes) -> list[bytes]:
    return [line for line in content.split(b"\n")[:-1] if line]


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
