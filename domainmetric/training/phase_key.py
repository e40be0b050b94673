"""When a finished source phase may be reused: by all that it depends on, the user's own code among it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from domainmetric.errors import Damaged
from domainmetric.experiment import BestScore, Experiment, SourcePhase
from domainmetric.models.network import Network
from domainmetric.serialize import content_hash, to_json
from domainmetric.training import runtime
from domainmetric.training.circumstances import user_code
from domainmetric.training.session import Session


def reuse_key(session: Session, name: str) -> str | None:
    """Hash of all that a first, source-only phase depends on; None for other phases, which are never reused."""
    shared = reusable(session.experiment)
    if shared is None or next(iter(session.experiment.phases)) != name:
        return None
    machine = runtime.description(session.fabric.device, session.team.size)
    return content_hash(
        {
            **shared,
            "machine": [machine[k] for k in ("device", "processes", "threads", "cpu_capability", "versions", "code")],
            "data hashes": session.data_hashes,
        }
    )


def reusable(experiment: Experiment) -> dict[str, Any] | None:
    """All in an experiment that its first phase depends on, where that one trains on the source alone; else None.

    Nor is a phase reused among whose checkpoints the best is to be chosen: the store holds the last one alone.
    """
    name, phase = next(iter(experiment.phases.items()))
    chosen = len(experiment.phases) == 1 and isinstance(experiment.selection, BestScore)
    if not isinstance(phase, SourcePhase) or chosen:
        return None
    fields = ("seed", "image_size", "source_validation", "model", "data", "evaluation", "alarms")
    parts = {
        **{field: getattr(experiment, field) for field in fields},
        "augmentation": experiment.augmentation.source,
        "phase": [name, phase, {term: experiment.terms[term] for term in phase.terms}],
    }
    code = user_code(parts)
    return {
        **{part: to_json(value) for part, value in parts.items()},
        "runtime": [
            getattr(experiment.runtime, name) for name in ("precision", "memory_format", "deterministic", "compile")
        ],
        **({"user code": code} if code else {}),
    }


def check_fit(network: Network, weights: Mapping[str, Tensor], store: Path) -> None:
    """Raise Damaged unless these are weights of this network, by their names and shapes."""
    if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in network.state_dict().items()}:
        raise Damaged(f"{store} holds another network than this run's. Delete it; the phase is trained anew.")
