"""What all phases of a run share, and what it has done so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from domainmetric.experiment import Experiment
from domainmetric.models.network import Network
from domainmetric.team.base import Team
from domainmetric.training.batches import RunData
from domainmetric.training.evaluation import Look
from domainmetric.training.progress import Progress
from domainmetric.training.stop import StopFlag
from domainmetric.training.tracking import Log


@dataclass(frozen=True, kw_only=True, eq=False)
class Session:
    """What all phases of a run share."""

    folder: Path
    experiment: Experiment
    fabric: Fabric
    team: Team
    """The processes of the run. The leading one's folder, log, progress and checkpoints are those of the run."""
    data: RunData
    data_hashes: Mapping[str, Any]
    look: Look
    network: Network
    log: Log
    progress: Progress
    stop: StopFlag


@dataclass
class Record:
    """What a run has done so far, as checkpoints write it down."""

    phase: int = 0
    """Index of the phase in progress."""
    step: int = 0
    """Steps done in it."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Training time of each phase, of those taken from the cache too."""
    reused: list[str] = field(default_factory=list)
    """Phases taken from the cache."""
    start: float | None = None
    """Selection score of the last phase's first look."""
    best: float | None = None
    """That of the checkpoint that is reported so far."""
    selected_step: int | None = None
    """Step, within the last phase, of the checkpoint that is reported."""
    phase_began: int = 0
    """Bytes of the log before the phase in progress."""
    log_size: int = 0
    """Bytes of the log that tell of it; what follows was written after the checkpoint."""
