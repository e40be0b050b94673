"""What a page is about: one run, or the runs of an ablation, as the folders tell it.

Everything is read as plain data. A run that failed, was interrupted or is missing is part of the study, too: the page
lists it, and shows what there is of it.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from domainmetric.ablation.record import RECORD as ABLATION
from domainmetric.errors import RunFolderError
from domainmetric.training.checkpoint import read_json
from domainmetric.training.folder import EXPERIMENT, REPORT
from domainmetric.training.tracking import LOG_NAME, history

TABLES = {
    "table.csv": "All numbers of the table",
    "differences.csv": "Paired differences to the baseline",
    "scores.csv": "Which label-free score may be trusted",
}
FINISHED = "finished"


@dataclass(frozen=True, kw_only=True, eq=False)
class RunRecord:
    """One run: what it was to do, how it ended, and where its files lie."""

    variant: str
    seed: int | None
    folder: Path
    shown_folder: str
    """The folder's name, as the page gives it."""
    status: str
    error: str = ""
    written: Mapping[str, Any] = field(default_factory=dict)
    """What `experiment.json` holds; empty where there is none."""
    report: Mapping[str, Any] = field(default_factory=dict)
    """What `report.json` holds; empty unless the run is finished."""

    @property
    def finished(self) -> bool:
        """Whether there is a report."""
        return bool(self.report)

    @property
    def experiment(self) -> Mapping[str, Any]:
        """The experiment as JSON."""
        experiment: Mapping[str, Any] = self.written.get("experiment", {})
        return experiment

    @property
    def code(self) -> str | None:
        """Hash of the code that trained it, where it was recorded."""
        code: str | None = self.written.get("machine", {}).get("code")
        return code

    @cached_property
    def curves(self) -> dict[str, tuple[list[int], list[float]]]:
        """Each metric's steps and values; nothing where the run has no log, or a damaged one."""
        if not (self.folder / LOG_NAME).is_file():
            return {}
        try:
            return history(self.folder)
        except RunFolderError:
            return {}

    def phase_starts(self) -> dict[str, int]:
        """The first step of each phase."""
        starts, step = {}, 0
        for name, phase in self.experiment.get("phases", {}).items():
            starts[str(name)] = step
            step += int(phase["steps"])
        return starts


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """The runs that a page shows together."""

    name: str
    folder: Path
    kind: str
    """`run` or `ablation`."""
    variants: tuple[str, ...]
    baseline: str | None
    runs: tuple[RunRecord, ...]
    about: Mapping[str, Any]
    """What the ablation records beside its runs, or the run's own record."""
    tables: Mapping[str, list[list[str]]]
    """Tables that the ablation wrote, by title, the head first."""

    def shown(self) -> list[RunRecord]:
        """One finished run of each variant, all of the same seed where possible: maps and anchors show these."""
        finished = [run for run in self.runs if run.finished]
        seeds = [run.seed for run in finished]
        chosen = []
        for variant in self.variants:
            own = [run for run in finished if run.variant == variant]
            if own:
                chosen.append(max(own, key=lambda run: (seeds.count(run.seed), -(run.seed or 0))))
        return chosen


def read(folder: Path) -> Study:
    """The study in a folder. Raises RunFolderError if it is neither a run nor an ablation."""
    if (folder / ABLATION).is_file():
        return read_ablation(folder)
    if not (folder / EXPERIMENT).is_file():
        raise RunFolderError(
            f"{folder} is neither a run folder (no {EXPERIMENT} is in it) nor that of an ablation (no {ABLATION}). "
            "Name one that `domainmetric run` or `domainmetric ablate` printed."
        )
    written = read_json(folder / EXPERIMENT)
    name = str(written.get("experiment", {}).get("name", folder.name))
    run = read_run(folder, variant=name, shown_folder=folder.resolve().name)
    return Study(
        name=name,
        folder=folder,
        kind="run",
        variants=(name,),
        baseline=None,
        runs=(run,),
        about={},
        tables={},
    )


def read_ablation(folder: Path) -> Study:
    """The study of an ablation's folder. Raises RunFolderError where its record is damaged."""
    about = read_json(folder / ABLATION)
    try:
        variants = tuple(str(name) for name in about["variants"])
        runs = tuple(
            read_run(
                folder / entry["folder"] if entry.get("folder") else folder / "nowhere",
                variant=str(entry["variant"]),
                shown_folder=str(entry.get("folder") or ""),
                seed=entry["seed"],
                status=str(entry["status"]),
                error=str(entry.get("error") or ""),
            )
            for entry in about["runs"]
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise RunFolderError(
            f"{folder / ABLATION} is not an ablation's record: {type(error).__name__} {error}. "
            "Run `domainmetric ablate` again, which writes it anew and keeps the finished runs."
        ) from error
    return Study(
        name=str(about.get("name", folder.name)),
        folder=folder,
        kind="ablation",
        variants=variants,
        baseline=about.get("baseline"),
        runs=runs,
        about=about,
        tables={title: read_table(folder / file) for file, title in TABLES.items() if (folder / file).is_file()},
    )


def read_run(
    folder: Path, *, variant: str, shown_folder: str, seed: int | None = None, status: str = FINISHED, error: str = ""
) -> RunRecord:
    """A run as its folder has it; one without a report is not finished, whatever its `status` says."""
    written = read_json(folder / EXPERIMENT) if (folder / EXPERIMENT).is_file() else {}
    report = read_json(folder / REPORT) if (folder / REPORT).is_file() else {}
    if status == FINISHED and not report:
        status = "unfinished" if written else "missing"
    return RunRecord(
        variant=variant,
        seed=written.get("experiment", {}).get("seed") if seed is None else seed,
        folder=folder,
        shown_folder=shown_folder,
        status=status,
        error=error,
        written=written,
        report=report,
    )


def read_table(path: Path) -> list[list[str]]:
    """The rows of a CSV file."""
    with path.open(newline="") as file:
        return [row for row in csv.reader(file) if row]
