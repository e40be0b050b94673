"""`ablation.json`: what an ablation is, how it was run, and where each of its runs lies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from domainmetric.ablation.executor import Work
from domainmetric.ablation.plan import Ablation
from domainmetric.errors import RunFolderError
from domainmetric.serialize import to_json, without_home
from domainmetric.training.checkpoint import read_json, write_json

RECORD = "ablation.json"


def write_record(
    ablation: Ablation,
    works: Sequence[Work],
    *,
    file: Path,
    command: str,
    threads: int,
    machine: dict[str, Any],
) -> None:
    """Write the record, whole or not at all."""
    write_json(
        ablation.folder / RECORD,
        {
            "name": ablation.name,
            "file": without_home(str(file)),
            "command": without_home(command),
            "commit": machine["commit"],
            "baseline": ablation.baseline,
            "seeds": list(ablation.seeds),
            "threads": threads,
            "variants": {name: to_json(experiment) for name, experiment in ablation.variants.items()},
            "runs": [run(work, ablation.folder) for work in works],
            "machine": machine,
        },
    )


def run(work: Work, folder: Path) -> dict[str, Any]:
    """One run's entry."""
    return {
        "variant": work.job.variant,
        "seed": work.job.seed,
        "folder": None if work.folder is None else work.folder.relative_to(folder).as_posix(),
        "status": work.status,
        "error": None if work.error is None else without_home(work.error),
    }


def threads_before(folder: Path) -> int | None:
    """The threads that runs in this folder were given by default before: others would round sums differently."""
    try:
        threads = read_json(folder / RECORD).get("threads")
    except RunFolderError:
        return None
    return threads if isinstance(threads, int) and threads > 0 else None
