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
    from domainmetric.alarms.anchors import DeadAnchors
    from domainmetric.alarms.base import Alarm, Finding
    from domainmetric.alarms.below_source import BelowSource
    from domainmetric.alarms.collapse import Collapse, OneClass
    from domainmetric.alarms.default import default_alarms
    from domainmetric.alarms.discriminator import ChanceDiscriminator, PerfectDiscriminator
    from domainmetric.alarms.divergence import Divergence
    from domainmetric.alarms.idle_term import IdleTerm
    from domainmetric.alarms.miswired import Miswired
    from domainmetric.alarms.non_finite import NonFinite
    from domainmetric.alarms.sight import Sight
    from domainmetric.alarms.stuck_loss import StuckLoss
    from domainmetric.alignment.adapt_hook import AdaptHook
    from domainmetric.alignment.adapt_keys import from_adapt, to_adapt
    from domainmetric.alignment.adapt_layer import AdaptLayer
    from domainmetric.alignment.base import AlignmentTerm
    from domainmetric.alignment.consistency import Consistency
    from domainmetric.alignment.coral import Coral
    from domainmetric.alignment.dann import Dann
    from domainmetric.alignment.information import InformationMaximization
    from domainmetric.alignment.mmd import Mmd
    from domainmetric.anchors.adaptive import AdaptiveThreshold
    from domainmetric.anchors.agreement import PixelAgreement
    from domainmetric.anchors.approximate import CellSearch
    from domainmetric.anchors.base import AnchorContext, AnchorMatcher, AnchorStrategy
    from domainmetric.anchors.cluster import Cluster
    from domainmetric.anchors.confident import Confident
    from domainmetric.anchors.member import Member
    from domainmetric.anchors.mutual import Mutual
    from domainmetric.anchors.nearest import Nearest
    from domainmetric.anchors.oracle import Oracle
    from domainmetric.anchors.pixel import PixelNearest
    from domainmetric.anchors.propagation import Propagation
    from domainmetric.anchors.prototype import Prototype
    from domainmetric.anchors.quota import ClassQuota
    from domainmetric.anchors.random import RandomAnchors
    from domainmetric.anchors.search import ExactSearch
    from domainmetric.anchors.threshold import Threshold
    from domainmetric.anchors.transport import Transport
    from domainmetric.data.augment import Augment
    from domainmetric.data.converted import Converted, Items
    from domainmetric.data.digits import Emnist, Mnist, MnistM, Svhn, Usps
    from domainmetric.data.domain import Domain
    from domainmetric.data.draws import (
        Balanced,
        EpochGroups,
        Groups,
        MatchedBalanced,
        Sampling,
        Shuffled,
        TargetSampling,
    )
    from domainmetric.data.folder import Folder, UnlabelledFolder
    from domainmetric.data.framing import CenterCrop, CentralSquare, Framing, Pad, Resize
    from domainmetric.data.from_dataset import FromDataset
    from domainmetric.data.imbalanced import Imbalanced
    from domainmetric.data.loaders import TorchImages
    from domainmetric.data.mnist_likes import FashionMnist, Kmnist
    from domainmetric.data.pair import Pair
    from domainmetric.data.pipelines import DigitViews
    from domainmetric.data.sklearn_digits import SklearnDigits
    from domainmetric.data.synthetic import StreetDigits
    from domainmetric.data.table import Table
    from domainmetric.data.view_bank import AlbumentationsViews, Pipeline
    from domainmetric.data.views import Views, ViewStream
    from domainmetric.data.with_classes import WithClasses
    from domainmetric.embedding.embedder import Embedded, Embedder, Found, match
    from domainmetric.errors import (
        Alarmed,
        ChecksumMismatch,
        ConfigError,
        DataError,
        DataNotPrepared,
        DomainMetricError,
        Interrupted,
        ProcessLost,
        RunFolderError,
        UsageError,
    )
    from domainmetric.experiment.phases import AdaptationPhase, Optimizer, Phase, SourcePhase
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
    from domainmetric.geometry import (
        Chord,
        ChordSquared,
        Cosine,
        Distance,
        FromMatrix,
        FromPairwise,
        Geodesic,
        Lp,
        SphereDistance,
    )
    from domainmetric.losses.base import LossValue, MetricLoss
    from domainmetric.losses.contrastive import Contrastive, HingeEmbedding
    from domainmetric.losses.margin import MarginTriplet, SemiHardTriplet, SoftMarginTriplet
    from domainmetric.losses.multi_similarity import MultiSimilarity
    from domainmetric.losses.order import FirstOrder, SecondOrder
    from domainmetric.losses.pml import PmlLoss
    from domainmetric.losses.selective import SelectivelyContrastive
    from domainmetric.losses.softmax import NTXent, SupCon
    from domainmetric.losses.triplet import TripletLoss
    from domainmetric.memory import CrossBatchMemory, Memory
    from domainmetric.metrics.adapt import AdaptScore
    from domainmetric.metrics.selection import SelectionScore
    from domainmetric.miners.base import Miner
    from domainmetric.miners.disjoint import Disjoint
    from domainmetric.miners.distance_weighted import DistanceWeighted
    from domainmetric.miners.hard import (
        EasyPositiveEasyNegative,
        EasyPositiveHardNegative,
        EasyPositiveSemiHardNegative,
        HardNegative,
        HardPositiveHardNegative,
    )
    from domainmetric.miners.pml import PmlMiner
    from domainmetric.miners.random import RandomTriplets
    from domainmetric.miners.semi_hard import MarginViolating, SemiHard
    from domainmetric.models.backbone import Backbone
    from domainmetric.models.cnn import Dtn, SmallCnn
    from domainmetric.models.frozen import Frozen
    from domainmetric.models.network import Branches, Model, Separate, Tied
    from domainmetric.models.own import OwnBackbone
    from domainmetric.models.timm_backbone import TimmBackbone
    from domainmetric.models.torchvision_backbone import SmallResNet18, TorchvisionBackbone
    from domainmetric.pairs import Roles
    from domainmetric.runner import resume, run
    from domainmetric.schedules import Constant, OneCycle, Schedule, SigmoidRamp
    from domainmetric.step import Part, PartContext, PartModule, Step
    from domainmetric.terms import Classify, ClassifyLabelledTarget, Metric, Term
    from domainmetric.tracking import Tracking
    from domainmetric.types import Bank, Group, ImageSet, Matches, Pairs, Triplets

__all__ = [
    "AdaptHook",
    "AdaptLayer",
    "AdaptScore",
    "AdaptationPhase",
    "AdaptiveThreshold",
    "Alarm",
    "Alarmed",
    "AlbumentationsViews",
    "AlignmentTerm",
    "AllLabels",
    "AnchorContext",
    "AnchorMatcher",
    "AnchorStrategy",
    "Augment",
    "Augmentation",
    "Backbone",
    "Balanced",
    "Bank",
    "Banks",
    "BelowSource",
    "BestScore",
    "Branches",
    "CellSearch",
    "CenterCrop",
    "CentralSquare",
    "ChanceDiscriminator",
    "ChecksumMismatch",
    "Chord",
    "ChordSquared",
    "ClassQuota",
    "Classify",
    "ClassifyLabelledTarget",
    "Cluster",
    "Collapse",
    "Confident",
    "ConfigError",
    "Consistency",
    "Constant",
    "Contrastive",
    "Converted",
    "Coral",
    "Cosine",
    "CrossBatchMemory",
    "Dann",
    "DataError",
    "DataNotPrepared",
    "DeadAnchors",
    "DigitViews",
    "Disjoint",
    "Distance",
    "DistanceWeighted",
    "Divergence",
    "Domain",
    "DomainMetricError",
    "Dtn",
    "EasyPositiveEasyNegative",
    "EasyPositiveHardNegative",
    "EasyPositiveSemiHardNegative",
    "Embedded",
    "Embedder",
    "Emnist",
    "EpochGroups",
    "Evaluation",
    "ExactSearch",
    "Experiment",
    "FashionMnist",
    "FewLabels",
    "Finding",
    "FirstOrder",
    "Folder",
    "Found",
    "Framing",
    "FromDataset",
    "FromMatrix",
    "FromPairwise",
    "Frozen",
    "Geodesic",
    "Group",
    "Groups",
    "HardNegative",
    "HardPositiveHardNegative",
    "HingeEmbedding",
    "IdleTerm",
    "ImageSet",
    "Imbalanced",
    "InformationMaximization",
    "Interrupted",
    "Items",
    "Kmnist",
    "LabelledTarget",
    "LastCheckpoint",
    "LossValue",
    "Lp",
    "MarginTriplet",
    "MarginViolating",
    "MatchedBalanced",
    "Matches",
    "Member",
    "Memory",
    "Metric",
    "MetricLoss",
    "Miner",
    "Miswired",
    "Mmd",
    "Mnist",
    "MnistM",
    "Model",
    "MultiSimilarity",
    "Mutual",
    "NTXent",
    "Nearest",
    "NonFinite",
    "OneClass",
    "OneCycle",
    "Optimizer",
    "Oracle",
    "OwnBackbone",
    "Pad",
    "Pair",
    "Pairs",
    "Part",
    "PartContext",
    "PartModule",
    "PerfectDiscriminator",
    "Phase",
    "Pipeline",
    "PixelAgreement",
    "PixelNearest",
    "PmlLoss",
    "PmlMiner",
    "ProcessLost",
    "Propagation",
    "Prototype",
    "RandomAnchors",
    "RandomTriplets",
    "Resize",
    "Roles",
    "RunFolderError",
    "Runtime",
    "Sampling",
    "Schedule",
    "SecondOrder",
    "Selection",
    "SelectionScore",
    "SelectivelyContrastive",
    "SemiHard",
    "SemiHardTriplet",
    "Separate",
    "Shuffled",
    "Sight",
    "SigmoidRamp",
    "SklearnDigits",
    "SmallCnn",
    "SmallResNet18",
    "SoftMarginTriplet",
    "SourcePhase",
    "SphereDistance",
    "Step",
    "StreetDigits",
    "StuckLoss",
    "SupCon",
    "Svhn",
    "Table",
    "TargetSampling",
    "Term",
    "Threshold",
    "Tied",
    "TimmBackbone",
    "TorchImages",
    "TorchvisionBackbone",
    "Tracking",
    "Transport",
    "TripletLoss",
    "Triplets",
    "UnlabelledFolder",
    "UsageError",
    "Usps",
    "ViewStream",
    "Views",
    "WithClasses",
    "default_alarms",
    "from_adapt",
    "match",
    "resume",
    "run",
    "to_adapt",
]

_HOMES = {
    "alarms.anchors": ("DeadAnchors",),
    "alarms.base": ("Alarm", "Finding"),
    "alarms.below_source": ("BelowSource",),
    "alarms.collapse": ("Collapse", "OneClass"),
    "alarms.default": ("default_alarms",),
    "alarms.discriminator": ("ChanceDiscriminator", "PerfectDiscriminator"),
    "alarms.divergence": ("Divergence",),
    "alarms.idle_term": ("IdleTerm",),
    "alarms.miswired": ("Miswired",),
    "alarms.non_finite": ("NonFinite",),
    "alarms.sight": ("Sight",),
    "alarms.stuck_loss": ("StuckLoss",),
    "alignment.adapt_hook": ("AdaptHook",),
    "alignment.adapt_keys": (
        "from_adapt",
        "to_adapt",
    ),
    "alignment.adapt_layer": ("AdaptLayer",),
    "alignment.base": ("AlignmentTerm",),
    "alignment.consistency": ("Consistency",),
    "alignment.coral": ("Coral",),
    "alignment.dann": ("Dann",),
    "alignment.information": ("InformationMaximization",),
    "alignment.mmd": ("Mmd",),
    "anchors.adaptive": ("AdaptiveThreshold",),
    "anchors.agreement": ("PixelAgreement",),
    "anchors.approximate": ("CellSearch",),
    "anchors.base": (
        "AnchorContext",
        "AnchorMatcher",
        "AnchorStrategy",
    ),
    "anchors.cluster": ("Cluster",),
    "anchors.confident": ("Confident",),
    "anchors.member": ("Member",),
    "anchors.mutual": ("Mutual",),
    "anchors.nearest": ("Nearest",),
    "anchors.oracle": ("Oracle",),
    "anchors.pixel": ("PixelNearest",),
    "anchors.propagation": ("Propagation",),
    "anchors.prototype": ("Prototype",),
    "anchors.quota": ("ClassQuota",),
    "anchors.random": ("RandomAnchors",),
    "anchors.search": ("ExactSearch",),
    "anchors.threshold": ("Threshold",),
    "anchors.transport": ("Transport",),
    "data.augment": ("Augment",),
    "data.converted": ("Converted", "Items"),
    "data.digits": (
        "Emnist",
        "Mnist",
        "MnistM",
        "Svhn",
        "Usps",
    ),
    "data.domain": ("Domain",),
    "data.draws": (
        "Balanced",
        "EpochGroups",
        "Groups",
        "MatchedBalanced",
        "Sampling",
        "Shuffled",
        "TargetSampling",
    ),
    "data.folder": ("Folder", "UnlabelledFolder"),
    "data.framing": (
        "CenterCrop",
        "CentralSquare",
        "Framing",
        "Pad",
        "Resize",
    ),
    "data.from_dataset": ("FromDataset",),
    "data.imbalanced": ("Imbalanced",),
    "data.loaders": ("TorchImages",),
    "data.mnist_likes": (
        "FashionMnist",
        "Kmnist",
    ),
    "data.pair": ("Pair",),
    "data.pipelines": ("DigitViews",),
    "data.sklearn_digits": ("SklearnDigits",),
    "data.synthetic": ("StreetDigits",),
    "data.table": ("Table",),
    "data.view_bank": (
        "AlbumentationsViews",
        "Pipeline",
    ),
    "data.views": (
        "ViewStream",
        "Views",
    ),
    "data.with_classes": ("WithClasses",),
    "embedding.embedder": (
        "Embedded",
        "Embedder",
        "Found",
        "match",
    ),
    "errors": (
        "Alarmed",
        "ChecksumMismatch",
        "ConfigError",
        "DataError",
        "DataNotPrepared",
        "DomainMetricError",
        "Interrupted",
        "ProcessLost",
        "RunFolderError",
        "UsageError",
    ),
    "experiment.phases": (
        "AdaptationPhase",
        "Optimizer",
        "Phase",
        "SourcePhase",
    ),
    "experiment.settings": (
        "AllLabels",
        "Augmentation",
        "Banks",
        "BestScore",
        "Evaluation",
        "FewLabels",
        "LabelledTarget",
        "LastCheckpoint",
        "Runtime",
        "Selection",
    ),
    "experiment.whole": ("Experiment",),
    "geometry": (
        "Chord",
        "ChordSquared",
        "Cosine",
        "Distance",
        "FromMatrix",
        "FromPairwise",
        "Geodesic",
        "Lp",
        "SphereDistance",
    ),
    "losses.base": (
        "LossValue",
        "MetricLoss",
    ),
    "losses.contrastive": (
        "Contrastive",
        "HingeEmbedding",
    ),
    "losses.margin": (
        "MarginTriplet",
        "SemiHardTriplet",
        "SoftMarginTriplet",
    ),
    "losses.multi_similarity": ("MultiSimilarity",),
    "losses.order": (
        "FirstOrder",
        "SecondOrder",
    ),
    "losses.pml": ("PmlLoss",),
    "losses.selective": ("SelectivelyContrastive",),
    "losses.softmax": (
        "NTXent",
        "SupCon",
    ),
    "losses.triplet": ("TripletLoss",),
    "memory": (
        "CrossBatchMemory",
        "Memory",
    ),
    "metrics.adapt": ("AdaptScore",),
    "metrics.selection": ("SelectionScore",),
    "miners.base": ("Miner",),
    "miners.disjoint": ("Disjoint",),
    "miners.distance_weighted": ("DistanceWeighted",),
    "miners.hard": (
        "EasyPositiveEasyNegative",
        "EasyPositiveHardNegative",
        "EasyPositiveSemiHardNegative",
        "HardNegative",
        "HardPositiveHardNegative",
    ),
    "miners.pml": ("PmlMiner",),
    "miners.random": ("RandomTriplets",),
    "miners.semi_hard": (
        "MarginViolating",
        "SemiHard",
    ),
    "models.backbone": ("Backbone",),
    "models.cnn": (
        "Dtn",
        "SmallCnn",
    ),
    "models.frozen": ("Frozen",),
    "models.network": (
        "Branches",
        "Model",
        "Separate",
        "Tied",
    ),
    "models.own": ("OwnBackbone",),
    "models.timm_backbone": ("TimmBackbone",),
    "models.torchvision_backbone": (
        "SmallResNet18",
        "TorchvisionBackbone",
    ),
    "pairs": ("Roles",),
    "runner": (
        "resume",
        "run",
    ),
    "schedules": (
        "Constant",
        "OneCycle",
        "Schedule",
        "SigmoidRamp",
    ),
    "step": (
        "Part",
        "PartContext",
        "PartModule",
        "Step",
    ),
    "terms": (
        "Classify",
        "ClassifyLabelledTarget",
        "Metric",
        "Term",
    ),
    "tracking": ("Tracking",),
    "types": (
        "Bank",
        "Group",
        "ImageSet",
        "Matches",
        "Pairs",
        "Triplets",
    ),
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
