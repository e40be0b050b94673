"""Cross-domain metric learning: two branches, one embedding head, semantic anchors.

Everything that a recipe needs is here. A name is loaded when it is first used (PEP 562), so that importing the package,
and with it the command line's help, costs no import of torch. Type checkers read the imports, Python reads the table
below them, and a test holds the two together.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from domainmetric.alignment.base import AlignmentTerm
    from domainmetric.alignment.dann import Dann
    from domainmetric.alignment.information import InformationMaximization
    from domainmetric.alignment.mmd import Mmd
    from domainmetric.anchors.base import AnchorContext, AnchorMatcher, AnchorStrategy
    from domainmetric.anchors.nearest import Nearest
    from domainmetric.anchors.oracle import Oracle
    from domainmetric.anchors.pixel import PixelNearest
    from domainmetric.anchors.prototype import Prototype
    from domainmetric.anchors.quota import ClassQuota
    from domainmetric.anchors.random import RandomAnchors
    from domainmetric.anchors.transport import Transport
    from domainmetric.data.augment import Augment
    from domainmetric.data.digits import Mnist, Svhn, Usps
    from domainmetric.data.domain import Domain
    from domainmetric.data.framing import CenterCrop, Framing, Pad, Resize
    from domainmetric.data.pair import Pair
    from domainmetric.data.pipelines import DigitViews
    from domainmetric.data.sklearn_digits import SklearnDigits
    from domainmetric.data.synthetic import StreetDigits
    from domainmetric.data.view_bank import AlbumentationsViews, Pipeline
    from domainmetric.data.views import Views, ViewStream
    from domainmetric.errors import (
        ChecksumMismatch,
        ConfigError,
        DataError,
        DataNotPrepared,
        DomainMetricError,
        Interrupted,
        RunFolderError,
        UsageError,
    )
    from domainmetric.experiment import (
        AdaptationPhase,
        AllLabels,
        Augmentation,
        Banks,
        BestScore,
        Evaluation,
        Experiment,
        LastCheckpoint,
        Optimizer,
        Phase,
        Runtime,
        Selection,
        SourcePhase,
    )
    from domainmetric.geometry import Chord, ChordSquared, Cosine, Distance, Geodesic
    from domainmetric.losses.base import LossValue, MetricLoss
    from domainmetric.losses.margin import MarginTriplet
    from domainmetric.metrics.selection import SelectionScore
    from domainmetric.miners.base import Miner
    from domainmetric.miners.hard import EasyPositiveHardNegative, HardNegative
    from domainmetric.miners.semi_hard import SemiHard
    from domainmetric.models.backbone import Backbone
    from domainmetric.models.cnn import Dtn, SmallCnn
    from domainmetric.models.network import Branches, Model, Separate, Tied
    from domainmetric.pairs import Roles
    from domainmetric.runner import resume, run
    from domainmetric.schedules import Constant, OneCycle, Schedule, SigmoidRamp
    from domainmetric.step import Part, PartContext, PartModule, Step
    from domainmetric.terms import Classify, ClassifyLabelledTarget, Metric, Term
    from domainmetric.tracking import Tracking
    from domainmetric.types import Bank, ImageSet, Matches, Pairs, Triplets

__all__ = [
    "AdaptationPhase",
    "AlbumentationsViews",
    "AlignmentTerm",
    "AllLabels",
    "AnchorContext",
    "AnchorMatcher",
    "AnchorStrategy",
    "Augment",
    "Augmentation",
    "Backbone",
    "Bank",
    "Banks",
    "BestScore",
    "Branches",
    "CenterCrop",
    "ChecksumMismatch",
    "Chord",
    "ChordSquared",
    "ClassQuota",
    "Classify",
    "ClassifyLabelledTarget",
    "ConfigError",
    "Constant",
    "Cosine",
    "Dann",
    "DataError",
    "DataNotPrepared",
    "DigitViews",
    "Distance",
    "Domain",
    "DomainMetricError",
    "Dtn",
    "EasyPositiveHardNegative",
    "Evaluation",
    "Experiment",
    "Framing",
    "Geodesic",
    "HardNegative",
    "ImageSet",
    "InformationMaximization",
    "Interrupted",
    "LastCheckpoint",
    "LossValue",
    "MarginTriplet",
    "Matches",
    "Metric",
    "MetricLoss",
    "Miner",
    "Mmd",
    "Mnist",
    "Model",
    "Nearest",
    "OneCycle",
    "Optimizer",
    "Oracle",
    "Pad",
    "Pair",
    "Pairs",
    "Part",
    "PartContext",
    "PartModule",
    "Phase",
    "Pipeline",
    "PixelNearest",
    "Prototype",
    "RandomAnchors",
    "Resize",
    "Roles",
    "RunFolderError",
    "Runtime",
    "Schedule",
    "Selection",
    "SelectionScore",
    "SemiHard",
    "Separate",
    "SigmoidRamp",
    "SklearnDigits",
    "SmallCnn",
    "SourcePhase",
    "Step",
    "StreetDigits",
    "Svhn",
    "Term",
    "Tied",
    "Tracking",
    "Transport",
    "Triplets",
    "UsageError",
    "Usps",
    "ViewStream",
    "Views",
    "resume",
    "run",
]

_HOMES = {
    "alignment.base": ("AlignmentTerm",),
    "alignment.dann": ("Dann",),
    "alignment.information": ("InformationMaximization",),
    "alignment.mmd": ("Mmd",),
    "anchors.base": ("AnchorContext", "AnchorMatcher", "AnchorStrategy"),
    "anchors.nearest": ("Nearest",),
    "anchors.oracle": ("Oracle",),
    "anchors.pixel": ("PixelNearest",),
    "anchors.prototype": ("Prototype",),
    "anchors.quota": ("ClassQuota",),
    "anchors.random": ("RandomAnchors",),
    "anchors.transport": ("Transport",),
    "data.augment": ("Augment",),
    "data.digits": ("Mnist", "Svhn", "Usps"),
    "data.domain": ("Domain",),
    "data.framing": ("CenterCrop", "Framing", "Pad", "Resize"),
    "data.pair": ("Pair",),
    "data.pipelines": ("DigitViews",),
    "data.sklearn_digits": ("SklearnDigits",),
    "data.synthetic": ("StreetDigits",),
    "data.view_bank": ("AlbumentationsViews", "Pipeline"),
    "data.views": ("ViewStream", "Views"),
    "errors": (
        "ChecksumMismatch",
        "ConfigError",
        "DataError",
        "DataNotPrepared",
        "DomainMetricError",
        "Interrupted",
        "RunFolderError",
        "UsageError",
    ),
    "experiment": (
        "AdaptationPhase",
        "AllLabels",
        "Augmentation",
        "Banks",
        "BestScore",
        "Evaluation",
        "Experiment",
        "LastCheckpoint",
        "Optimizer",
        "Phase",
        "Runtime",
        "Selection",
        "SourcePhase",
    ),
    "geometry": ("Chord", "ChordSquared", "Cosine", "Distance", "Geodesic"),
    "losses.base": ("LossValue", "MetricLoss"),
    "losses.margin": ("MarginTriplet",),
    "metrics.selection": ("SelectionScore",),
    "miners.base": ("Miner",),
    "miners.hard": ("EasyPositiveHardNegative", "HardNegative"),
    "miners.semi_hard": ("SemiHard",),
    "models.backbone": ("Backbone",),
    "models.cnn": ("Dtn", "SmallCnn"),
    "models.network": ("Branches", "Model", "Separate", "Tied"),
    "pairs": ("Roles",),
    "runner": ("resume", "run"),
    "schedules": ("Constant", "OneCycle", "Schedule", "SigmoidRamp"),
    "step": ("Part", "PartContext", "PartModule", "Step"),
    "terms": ("Classify", "ClassifyLabelledTarget", "Metric", "Term"),
    "tracking": ("Tracking",),
    "types": ("Bank", "ImageSet", "Matches", "Pairs", "Triplets"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'domainmetric' has no attribute '{name}'")
    with warnings.catch_warnings():  # of the torchmetrics that pytorch-adapt pins, whoever imports it first
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
        value = getattr(importlib.import_module(f"domainmetric.{_HOME[name]}"), name)
    globals()[name] = value  # the next time it is found without coming here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
