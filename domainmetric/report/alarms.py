"""The alarms of every run, those of unfinished runs too: what was seen, what it means, and what to try."""

from __future__ import annotations

from typing import Any

from domainmetric.errors import RunFolderError
from domainmetric.report.study import Study
from domainmetric.training.tracking import LOG_NAME, read_log

FIELDS = ("name", "phase", "step", "text", "meaning", "advice", "action", "exchanged")


def raised(study: Study) -> list[dict[str, Any]]:
    """Each alarm in the logs, with the number of its run; its step is that of the run."""
    found = []
    for index, run in enumerate(study.runs):
        try:
            records = read_log(run.folder) if (run.folder / LOG_NAME).is_file() else []
        except RunFolderError:  # the page shows what can be read
            continue
        told = (record for record in records if record["kind"] == "alarm")
        found += [{"run": index, **{name: record.get(name) for name in FIELDS}} for record in told]
    return found
