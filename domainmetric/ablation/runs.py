"""Runs that an ablation's folder holds already, found again by their content: finished, or to be continued."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domainmetric.ablation.plan import Job, content, without_code
from domainmetric.errors import RunFolderError
from domainmetric.serialize import from_json, known_names, to_json
from domainmetric.training.checkpoint import read_json
from domainmetric.training.folder import EXPERIMENT, REPORT
from domainmetric.training.phases import CHECKPOINT


@dataclass(frozen=True, kw_only=True)
class Found:
    """A run folder of a content."""

    folder: Path
    finished: bool
    begun: bool
    """Whether there is a checkpoint to continue from."""

    def rank(self) -> tuple[bool, bool, str]:
        """The most finished is the best, then the newest."""
        return self.finished, self.begun, self.folder.name


def find(runs_root: Path, jobs: Iterable[Job], names: Mapping[str, Any]) -> dict[str, Found]:
    """For each content among the jobs the best run folder, where there is one; the same for other code of the user's.

    `names` are the classes and functions of the user's file. Folders that are no runs, or of other contents, are left
    alone.
    """
    wanted, found = {without_code(job.content) for job in jobs}, dict[str, Found]()
    known: dict[str, Any] = {}
    for file in sorted(runs_root.glob(f"*/{EXPERIMENT}")):
        known = known or known_names() | dict(names)
        key = content_of(file, known)
        if key is None or without_code(key) not in wanted:
            continue
        folder = file.parent
        one = Found(folder=folder, finished=(folder / REPORT).is_file(), begun=(folder / CHECKPOINT).is_file())
        if key not in found or one.rank() > found[key].rank():
            found[key] = one
    return found


def outdated(jobs: Iterable[Job], found: Mapping[str, Found]) -> int:
    """How many jobs are not among the runs that were found but for an edit of the user's code."""
    before = {without_code(key) for key in found}
    return sum(job.content not in found and without_code(job.content) in before for job in jobs)


def content_of(file: Path, names: Mapping[str, Any]) -> str | None:
    """The content that a run folder records, None where that cannot be read.

    It is read as an experiment where it can be, so that fields which have come since count as their defaults.
    """
    try:
        record = read_json(file)
        experiment, hashes, code = record["experiment"], record["data"], dict(record.get("user code", {}))
        with suppress(ValueError):  # of a class or a value that this version does not know
            experiment = to_json(from_json(experiment, names))
        return content(experiment, hashes, code)
    except (RunFolderError, KeyError, TypeError, AttributeError, ValueError):
        return None
