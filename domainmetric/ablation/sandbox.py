"""A run on another machine: a folder of its own there, the process that works in it, and news of what it has written.

The process is the same as on the machine of the ablation (`worker.py`), and is stopped the same way: it ends when the
process that started it ends, in whatever way. Folders that such ends left behind are deleted by the next run on the
machine. What is here knows neither Ray nor torch.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import final

from domainmetric import durable
from domainmetric.ablation.parcel import Parcel, Sender
from domainmetric.ablation.worker import LOG, launch, why

PREFIX = "domainmetric-run-"
PHASES = ".phases"


@dataclass(frozen=True, kw_only=True)
class Order:
    """What another machine needs in order to continue a run, new or not."""

    name: str
    """Of the run folder."""
    run: Parcel
    phases: Parcel
    """Finished phases that the run may reuse."""
    without: frozenset[str]
    """Files of the run folder that do not travel."""
    file: str | None
    """The file of the user's classes, in the folder of the code."""
    threads: int
    work_folder: str
    """Where the ablation was started: the run is there, too, if the machine has such a folder."""
    variables: Mapping[str, str]
    """Of the environment, where the machine has none of its own by these names."""


@dataclass(frozen=True, kw_only=True)
class News:
    """What has come of a run since the last news."""

    code: int | None
    """Exit status of the process, once it has ended."""
    error: str | None
    """Why it failed, in words."""
    run: Parcel
    phases: Parcel


@final
class Sandbox:
    """A run at work on this machine for another."""

    def __init__(self, order: Order) -> None:
        """Unpack and start it. The code that came with it lies in the working folder of this process."""
        delete_abandoned()
        self._root = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = durable.open_lock(self._root / ".lock")
        durable.take_lock(self._lock)
        runs = self._root / "runs"
        self._run = Sender(runs / order.name, without=order.without)
        self._phases = Sender(runs / PHASES)
        for sender, parcel in ((self._run, order.run), (self._phases, order.phases)):
            parcel.unpack(sender.folder)
            sender.knows(parcel)
        code = Path.cwd()
        own = {name: value for name, value in order.variables.items() if name not in os.environ}
        self._process = launch(
            self._run.folder,
            None if order.file is None else code / order.file,
            threads=order.threads,
            cwd=Path(order.work_folder) if Path(order.work_folder).is_dir() else self._root,
            variables=own,
            search=[str(code), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))],
            keep_open=(self._lock,),
        )

    def look(self) -> News:
        """What has come of it."""
        code = self._process.poll()  # asked before reading: what was written before the end is still read
        error = f"on {platform.node()}: {why(code, self._run.folder / LOG)}" if code else None
        run = self._run.pack()
        return News(code=code, error=error, run=run, phases=self._phases.pack())  # phases last: the log tells of them

    def stop(self) -> None:
        """Ask the run to save its state and stop. Twice is once."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def close(self) -> None:
        """End the run where it still goes on, and delete everything."""
        self.stop()
        self._process.kill()
        self._process.wait()
        os.close(self._lock)
        shutil.rmtree(self._root, ignore_errors=True)


def delete_abandoned() -> None:
    """Delete what runs left here whose processes have all been killed: the lock of such a folder is held by nobody."""
    for root in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            if root.stat().st_uid != os.getuid():
                continue
            lock = os.open(root / ".lock", os.O_RDWR)
            try:
                if durable.take_lock(lock):
                    shutil.rmtree(root, ignore_errors=True)
            finally:
                os.close(lock)
