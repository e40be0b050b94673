"""The figures of a run's data: both domains, both splits, and what they have in common. No label of the target."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from domainmetric import durable
from domainmetric.audit.measure import Hashes, SetFacts, measure
from domainmetric.data.domain import SPLITS
from domainmetric.experiment import Experiment
from domainmetric.models.network import DOMAINS
from domainmetric.serialize import content_hash, from_json, import_name, to_json
from domainmetric.training.batches import RunData
from domainmetric.types import ImageSet

_VERSION = 1  # raise it when the same images come to have other figures
CACHE = ".audits"
"""Folder of the figures below the runs' root."""


@dataclass(frozen=True, kw_only=True)
class DomainFacts:
    """Figures of one domain."""

    name: str
    classes: tuple[str, ...]
    splits: dict[str, SetFacts]
    class_counts: dict[str, tuple[int, ...]] | None
    """Split -> images of each class; None for the target, whose labels are not looked at."""
    overlap: int
    """Different images of the test split that are in the training split, too."""


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """Figures of both domains."""

    domains: dict[str, DomainFacts]
    """By side, `source` and `target`."""
    shared: int
    """Different images that both domains have."""


def data_facts(experiment: Experiment, data: RunData, hashes: Mapping[str, Any]) -> DataFacts:
    """The figures of a run's data, from the cache where they have been taken of the same data before."""
    key = content_hash([_VERSION, to_json(experiment.data), experiment.image_size, dict(hashes)])
    kept = experiment.runs_root / CACHE / f"{key}.json"
    found = read(kept)
    if found is None:
        found = take(experiment, data)
        durable.make_folder(kept.parent)
        durable.write(kept, json.dumps(to_json(found)).encode())
    return found


def take(experiment: Experiment, data: RunData) -> DataFacts:
    """The figures, taken anew."""
    parts: dict[str, dict[str, Sequence[ImageSet]]] = {
        "source": {"train": (data.source_train, data.source_validation), "test": (data.source_test,)},
        "target": {"train": (data.target_train,), "test": (data.target_test.unlabelled(),)},
    }
    domains: dict[str, DomainFacts] = {}
    different = {}
    for side in DOMAINS:
        taken = {split: measure(part.images for part in parts[side][split]) for split in SPLITS}
        train, test = (taken[split][1] for split in SPLITS)
        different[side] = np.union1d(train, test)
        domains[side] = DomainFacts(
            name=getattr(experiment.data, side).name,
            classes=experiment.data.classes,
            splits={split: facts for split, (facts, _) in taken.items()},
            class_counts={split: class_counts(parts[side][split]) for split in SPLITS} if side == "source" else None,
            overlap=common(train, test),
        )
    return DataFacts(domains=domains, shared=common(different["source"], different["target"]))


def class_counts(parts: Sequence[ImageSet]) -> tuple[int, ...]:
    """Images of each class in a labelled set."""
    labels = torch.cat([part.labels.cpu() for part in parts if part.labels is not None])
    return tuple(labels.bincount(minlength=len(parts[0].classes)).tolist())


def common(one: Hashes, other: Hashes) -> int:
    """How many hashes are in both."""
    return len(np.intersect1d(one, other, assume_unique=True))


def read(path: Path) -> DataFacts | None:
    """Figures that were kept, or None where there are none that can be read."""
    names = {import_name(cls): cls for cls in (DataFacts, DomainFacts, SetFacts)}
    try:
        found = from_json(json.loads(path.read_text()), names)
    except (OSError, ValueError, RecursionError):  # no file, no JSON, or that of another version
        return None
    return found if isinstance(found, DataFacts) else None
