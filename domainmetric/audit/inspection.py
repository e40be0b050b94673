"""`domainmetric inspect`: the audit without a run, and beside it what the target's labels tell, which is oracle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from domainmetric import durable
from domainmetric.audit.findings import of_target_oracle
from domainmetric.audit.record import audit
from domainmetric.audit.show import table, told
from domainmetric.data.looked_once import looked_once
from domainmetric.experiment import Experiment
from domainmetric.training.batches import data_root, load
from domainmetric.training.circumstances import data_hashes


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What `inspect` has to say."""

    text: str
    sheet: Path
    """The contact sheet."""


@looked_once()
def inspect(experiment: Experiment, sheet: Path | None = None) -> Inspection:
    """Look at the data of an experiment. The contact sheet goes to `sheet`, or under the runs' root.

    Target labels, where there are any, are counted for the reader. Raises DataNotPrepared and DataError.
    """
    hashes = data_hashes(experiment)
    data = load(experiment, data_root(experiment), torch.device("cpu"))
    found = audit(experiment, data, hashes)
    labels = {"train": data.target_train_labels_oracle, "test": data.target_test.labels}
    counts = {split: shared(one, len(experiment.data.classes)) for split, one in labels.items() if one is not None}
    place = sheet or experiment.runs_root / f"{experiment.name}-views.png"
    durable.make_folder(place.absolute().parent)
    durable.write(place, found.sheet)
    oracle = of_target_oracle(found.facts, counts)
    return Inspection(text=f"{table(found, counts)}\n\n{told([*found.findings, *oracle])}", sheet=place)


def shared(labels: Int64[Tensor, " n"], num_classes: int) -> tuple[int, ...]:
    """Images of each class that the source has, too."""
    return tuple(labels[labels < num_classes].bincount(minlength=num_classes).tolist())
