"""`domainmetric inspect`: the audit without a run, and beside it what the target's labels tell, which is oracle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from domainmetric import durable
from domainmetric.audit.facts import class_counts
from domainmetric.audit.findings import of_target_oracle
from domainmetric.audit.record import audit
from domainmetric.audit.show import table, told
from domainmetric.experiment import Experiment
from domainmetric.training.batches import data_root, load
from domainmetric.training.circumstances import data_hashes


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What `inspect` has to say."""

    text: str
    sheet: Path
    """The contact sheet."""


def inspect(experiment: Experiment, sheet: Path | None = None) -> Inspection:
    """Look at the data of an experiment. The contact sheet goes to `sheet`, or under the runs' root.

    Target labels, where there are any, are counted for the reader. Raises DataNotPrepared and DataError.
    """
    hashes = data_hashes(experiment)
    data = load(experiment, data_root(experiment), torch.device("cpu"))
    found = audit(experiment, data, hashes)
    counts: dict[str, tuple[int, ...]] = {}
    if data.target_train_labels_oracle is not None:
        train = data.target_train_labels_oracle.bincount(minlength=len(experiment.data.classes))
        counts["train"] = tuple(train.tolist())
    if data.target_test.labels is not None:
        counts["test"] = class_counts([data.target_test])
    place = sheet or experiment.runs_root / f"{experiment.name}-views.png"
    durable.make_folder(place.absolute().parent)
    durable.write(place, found.sheet)
    oracle = of_target_oracle(found.facts, counts)
    return Inspection(text=f"{table(found, counts)}\n\n{told([*found.findings, *oracle])}", sheet=place)
