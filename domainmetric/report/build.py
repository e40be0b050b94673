"""From a folder to its page: what `domainmetric report` does."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domainmetric.ablation.results import versions_note
from domainmetric.data.looked_once import looked_once
from domainmetric.figures.style import PALETTE
from domainmetric.report import numbers, page, parquet
from domainmetric.report.alarms import raised
from domainmetric.report.anchors import anchor_browser
from domainmetric.report.audit import audits
from domainmetric.report.embedding import embedding_map
from domainmetric.report.images import SIDES, Images
from domainmetric.report.study import RunRecord, Study, read
from domainmetric.serialize import known_names

PAGE = "report.html"


@dataclass(frozen=True, kw_only=True)
class Made:
    """What was written."""

    page: Path
    embeddings: Path | None
    """None where no run kept embeddings."""
    notes: tuple[str, ...]
    """What could not be shown, and why."""


@looked_once()
def make(
    folder: Path, *, output: Path | None = None, data_root: Path | None = None, names: Mapping[str, Any] | None = None
) -> Made:
    """Write the page of a run or an ablation, and `embeddings.parquet` beside it.

    `output` is the page's file; None puts `report.html` into the folder. `data_root` names the prepared stores, where
    they are not where the runs found them. `names` are the classes of a user's file, where the runs used one
    (`serialize.user_names`). Raises RunFolderError if the folder is neither, or the page cannot be written.
    """
    study = read(folder)
    output = output or folder / PAGE
    images = Images(data_root=data_root, names=known_names() | dict(names or {}), notes=[])
    chart, chart_sheet, placed, _ = embedding_map(study, images)
    browser, browser_sheet = anchor_browser(study, images)
    classes = class_names(study, images)
    versions = versions_note(run.code for run in study.runs if run.finished)
    notes = [*([versions] if versions else []), *images.notes]
    data = {**facts(study), "notes": notes, "classes": classes, "map": chart, "anchors": browser}
    written = page.write(output, page.render(data, {"map": chart_sheet, "anchors": browser_sheet}))
    table = parquet.write(placed, images, classes, written.parent) if placed else None
    return Made(page=written, embeddings=table, notes=tuple(notes))


def facts(study: Study) -> dict[str, Any]:
    """Everything on the page that needs no images."""
    return {
        "name": study.name,
        "kind": study.kind,
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "domains": domains(study),
        "palette": PALETTE,
        "variants": study.variants,
        "baseline": study.baseline,
        "oracle": sorted({run.variant for run in study.runs if run.experiment.get("labelled_target")}),
        "columns": [{"title": title, "unit": unit} for title, _, unit in numbers.COLUMNS],
        "runs": numbers.runs(study),
        "shown": [study.runs.index(run) for run in study.shown()],
        "curves": numbers.curves(study),
        "phases": numbers.phases(study),
        "scatters": numbers.triplet_scatters(study),
        "gaps": numbers.gaps(study),
        "alarms": raised(study),
        "audits": audits(study),
        "tables": [{"title": title, "rows": rows} for title, rows in study.tables.items()],
        "how": numbers.how(study, some_run(study)),
    }


def some_run(study: Study) -> RunRecord | None:
    """A run to speak for all: a finished one where there is one."""
    return next((run for run in study.shown()), next((run for run in study.runs if run.written), None))


def domains(study: Study) -> list[str]:
    """The names of source and target, as their classes are called."""
    run = some_run(study)
    data = run.experiment.get("data", {}) if run else {}
    return [str(data.get(side, {}).get("class", side)).rpartition(".")[2] for side in SIDES]


def class_names(study: Study, images: Images) -> list[str]:
    """The names of the classes, or their numbers where the domain cannot be asked."""
    for run in study.shown():
        for side in SIDES:
            for split in ("test", "train"):
                loaded = images.load(run, side, split)
                if loaded is not None:
                    return list(loaded.classes)
        if run.report.get("confusion"):
            return [str(index) for index in range(len(run.report["confusion"]))]
    return []
