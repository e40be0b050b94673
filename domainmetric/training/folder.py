"""Run folders: made, locked, recognized."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from domainmetric import durable
from domainmetric.errors import NotWritten, RunFolderError

if TYPE_CHECKING:  # a process that only moves run folders about need not load torch
    from domainmetric.experiment import Experiment

EXPERIMENT, REPORT = "experiment.json", "report.json"


def create(experiment: Experiment) -> Path:
    """A new, empty run folder: name, seed and time, with a number where that is taken."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for attempt in range(1000):
        suffix = f"-{attempt}" if attempt else ""
        folder = experiment.runs_root / f"{experiment.name}-s{experiment.seed}-{stamp}{suffix}"
        try:
            if durable.make_folder(folder):
                return folder
        except NotWritten as error:
            raise RunFolderError(f"{error} Or choose another place with --runs-root.") from error
    raise RunFolderError(f"{experiment.runs_root} holds a thousand runs of this second already.")


def check(folder: Path) -> Path:
    """The folder itself, if it is a run. Raises RunFolderError otherwise."""
    if not folder.is_dir():
        raise RunFolderError(f"{folder} is not a folder. Name a run folder, as `domainmetric run` prints it last.")
    if not (folder / EXPERIMENT).is_file():
        raise RunFolderError(
            f"{folder} is not a run folder: it has no {EXPERIMENT}. Name one that `domainmetric run` printed."
        )
    return folder


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the folder for this process. The lock goes with the process, so a dead one holds nothing."""
    handle = durable.open_lock(folder / ".lock")
    try:
        if not durable.take_lock(handle):
            raise RunFolderError(f"{folder} is in use by another process. Wait for it, or stop it first.")
        yield
    finally:
        os.close(handle)
