"""An experiment is a value: one frozen dataclass that says everything about a run before it starts.

A recipe is a function that returns one; a variant is `dataclasses.replace` of another. Whatever cannot be done, or
would be ignored, is refused here, before anything is loaded.
"""

from domainmetric.experiment.phases import AdaptationPhase, Optimizer, Phase, SourcePhase, Trainable
from domainmetric.experiment.settings import (
    AllLabels,
    Augmentation,
    Banks,
    BestScore,
    Evaluation,
    FewLabels,
    LabelledTarget,
    LastCheckpoint,
    Runtime,
    Selection,
)
from domainmetric.experiment.whole import Experiment

__all__ = [
    "AdaptationPhase",
    "AllLabels",
    "Augmentation",
    "Banks",
    "BestScore",
    "Evaluation",
    "Experiment",
    "FewLabels",
    "LabelledTarget",
    "LastCheckpoint",
    "Optimizer",
    "Phase",
    "Runtime",
    "Selection",
    "SourcePhase",
    "Trainable",
]
