"""A run's data by hand: small sets of images in which nothing is wrong, to be changed by a test in one place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from domainmetric.audit.facts import DataFacts, take
from domainmetric.experiment import Experiment
from domainmetric.training.batches import RunData, load
from domainmetric.types import ImageSet
from tests import tiny


def experiment(runs_root: Path) -> Experiment:
    return tiny.full(runs_root, source_steps=2, adapt_steps=2)


def data(runs_root: Path, **changed: ImageSet) -> RunData:
    """The sets of the tiny pair, some of them changed."""
    return replace(load(experiment(runs_root), Path(), torch.device("cpu")), **changed)


def mapped(images: ImageSet, pixels: Tensor) -> ImageSet:
    """Another set of pixels under the same labels."""
    return replace(images, images=pixels.to(torch.uint8))


def facts(runs_root: Path, **changed: ImageSet) -> DataFacts:
    return take(experiment(runs_root), data(runs_root, **changed))
