"""Worker processes that turn images in a shared buffer into views, in place.

Own processes instead of multiprocessing's: those import the caller's main module, and with it torch (500 MB each).
A worker ends when its connection closes, so none outlives the run, however that ends.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from contextlib import suppress
from itertools import pairwise
from mmap import mmap
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domainmetric.data.views_worker import rebuilt, render
from domainmetric.errors import ConfigError, DataError, DomainMetricError

Shape = tuple[int, int, int]


class InProcess:
    """The same work without workers, when it is waited for."""

    def __init__(self, compose: Any, num_slots: int, slot_size: int, shape: Shape) -> None:
        self._compose = compose
        self.slots: NDArray[np.uint8] = np.zeros((num_slots, slot_size, *shape), np.uint8)
        self._due: dict[int, list[int]] = {}

    def submit(self, slot: int, seeds: list[int]) -> None:
        """Make views of the first len(seeds) images of a slot."""
        self._due[slot] = seeds

    def wait(self, slot: int) -> None:
        """Return when the views of a slot are made."""
        if slot in self._due:
            seeds = self._due.pop(slot)
            render(self._compose, self.slots[slot, : len(seeds)], seeds)

    def close(self) -> None:
        """Nothing to end."""


class Pool:
    """`num_workers` processes that share the images of each slot.

    Raises DataError where the pipeline fails, and DomainMetricError where a worker died.
    """

    def __init__(self, message: bytes, num_slots: int, slot_size: int, shape: Shape, num_workers: int) -> None:
        self._shape, self._slot_size = shape, slot_size
        self._pending: dict[int, list[int]] = {}  # slot -> how many answers each worker still owes for it
        self._workers: list[tuple[subprocess.Popen[bytes], Connection]] = []
        with buffer_file() as file:
            file.truncate(num_slots * slot_size * int(np.prod(shape)))
            self.slots: NDArray[np.uint8] = np.frombuffer(mmap(file.fileno(), 0), np.uint8).reshape(
                num_slots, slot_size, *shape
            )
            try:
                for _ in range(num_workers):
                    self._workers.append(start(file.fileno()))
                for worker in range(num_workers):
                    self._workers[worker][1].send_bytes(message)
                for worker in range(num_workers):
                    self._answer(worker)
            except BaseException:
                self.close()
                raise

    def submit(self, slot: int, seeds: list[int]) -> None:
        """Have views made of the first len(seeds) images of a slot; each worker gets a stretch of them."""
        bounds = np.linspace(0, len(seeds), len(self._workers) + 1).astype(int).tolist()
        for worker, (first, last) in enumerate(pairwise(bounds)):
            offset = slot * self._slot_size * int(np.prod(self._shape))
            try:
                task = (first, offset, self._shape, seeds[first:last])
                self._workers[worker][1].send_bytes(json.dumps(task).encode())
            except OSError:
                raise self._died(worker) from None
        self._pending[slot] = list(range(len(self._workers)))

    def wait(self, slot: int) -> None:
        """Return when the views of a slot are made. Slots are answered in the order in which they were submitted."""
        while slot in self._pending:
            oldest = next(iter(self._pending))
            for worker in self._pending[oldest]:
                self._answer(worker)
            del self._pending[oldest]

    def close(self) -> None:
        """End the workers."""
        for _, connection in self._workers:
            connection.close()
        for process, _ in self._workers:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.2)
            process.kill()  # it holds nothing that could be lost
            process.wait()
        self._workers.clear()
        self._pending.clear()

    def _answer(self, worker: int) -> None:
        try:
            problem = self._workers[worker][1].recv_bytes().decode()
        except (EOFError, OSError):
            raise self._died(worker) from None
        if problem:
            raise DataError(problem)

    def _died(self, worker: int) -> DomainMetricError:
        process = self._workers[worker][0]
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=2)
        status = process.returncode
        how = f"was ended by signal {-status}" if status is not None and status < 0 else f"ended with status {status}"
        return DomainMetricError(
            f"A worker process that makes augmented views {how} (signal 9 often means: out of memory). Continue the "
            "run with `domainmetric resume`, or start it again with fewer num_workers."
        )


def packed(compose: Any) -> bytes:
    """A pipeline as a message to a worker: its transforms and their settings as JSON. Raises ConfigError."""
    import albumentations

    try:
        message = json.dumps(albumentations.to_dict(compose)).encode()
        rebuilt(message)
    except Exception as error:  # whatever a user's transform raises
        raise ConfigError(
            f"This albumentations pipeline cannot be sent to worker processes ({error}). Use classes that can be "
            "imported, with arguments that JSON has, and no Lambda; or make the views with num_workers=0."
        ) from error
    return message


def buffer_file() -> Any:
    """An open file without a name: in memory on Linux, in the temporary folder elsewhere."""
    if platform.system() == "Linux":
        return os.fdopen(os.memfd_create("domainmetric-views"), "r+b")
    return tempfile.TemporaryFile()


def start(buffer: int) -> tuple[subprocess.Popen[bytes], Connection]:
    """A worker that sees the buffer, and the connection to it. Ctrl-C in the terminal does not reach it."""
    mine, theirs = Pipe()
    with theirs:
        package_root = str(Path(__file__).resolve().parents[2])
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([package_root, *(path for path in sys.path if path)]),
            "OMP_NUM_THREADS": "1",
            "NO_ALBUMENTATIONS_UPDATE": "1",
        }
        command = [sys.executable, "-m", "domainmetric.data.views_worker", str(theirs.fileno()), str(buffer)]
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), buffer),
            start_new_session=True,
        )
    return process, mine
