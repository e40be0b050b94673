"""The audit of a run's data: taken, and written into the run's folder and log. No label of the target is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from domainmetric import durable
from domainmetric.audit.facts import DataFacts, data_facts
from domainmetric.audit.findings import findings
from domainmetric.audit.measure import SetFacts
from domainmetric.audit.sheet import views_sheet
from domainmetric.audit.views import SeenViews, see
from domainmetric.experiment import Experiment
from domainmetric.models.network import DOMAINS
from domainmetric.training.batches import RunData
from domainmetric.training.checkpoint import write_json
from domainmetric.training.session import Session
from domainmetric.training.tracking import Log

AUDIT, SHEET = "audit.json", Path("figures") / "views.png"
"""In a run folder."""
EVENT = "audit"
SOUND = "Nothing that is known to ruin a transfer was found in the data."


@dataclass(frozen=True, kw_only=True, eq=False)
class Audit:
    """What was seen of a run's data."""

    facts: DataFacts
    views: dict[str, SetFacts]
    """Figures of the random views, by side."""
    findings: tuple[str, ...]
    """What is known to ruin a transfer, in sentences."""
    sheet: bytes
    """A PNG of both domains' views, and of what enters the network."""


def audit(experiment: Experiment, data: RunData, hashes: Mapping[str, Any]) -> Audit:
    """Look at a run's data; `hashes` are those of its record. Follows from the experiment and the data alone."""
    facts = data_facts(experiment, data, hashes)
    seen: dict[str, SeenViews] = {side: see(experiment, data, side) for side in DOMAINS}
    views = {side: views.facts for side, views in seen.items()}
    sheet = views_sheet(experiment, data, seen)
    return Audit(facts=facts, views=views, findings=tuple(findings(facts, views)), sheet=sheet)


def audit_run(session: Session) -> None:
    """Audit a run that begins: tell what was found on screen, in the log and in the folder."""
    found = audit(session.experiment, session.data, session.data_hashes)
    write_down(found, session.folder, session.log)
    for text in found.findings:
        session.progress.tell(f"Data: {text}")


def write_down(audit: Audit, folder: Path, log: Log) -> None:
    """Into a run's folder and log. Done again, it writes the same."""
    written = {"data": asdict(audit.facts), "views": {side: asdict(facts) for side, facts in audit.views.items()}}
    write_json(folder / AUDIT, {**written, "findings": audit.findings})
    durable.make_folder((folder / SHEET).parent)
    durable.write(folder / SHEET, audit.sheet)
    for text in audit.findings or (SOUND,):
        log.event(EVENT, text)
    log.figure("views", folder / SHEET)
