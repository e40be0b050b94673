"""An experiment is a value: one frozen dataclass that says everything about a run before it starts.

A recipe is a function that returns one; a variant is `dataclasses.replace` of another. Whatever cannot be done, or
would be ignored, is refused here, before anything is loaded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from domainmetric.anchors.base import AnchorStrategy
from domainmetric.data.augment import Augment
from domainmetric.data.draws import Balanced, Sampling, Shuffled, TargetSampling
from domainmetric.data.pair import Pair
from domainmetric.data.views import Views
from domainmetric.errors import ConfigError, nearest
from domainmetric.metrics.selection import SelectionScore
from domainmetric.models.network import Model
from domainmetric.schedules import OneCycle, Schedule
from domainmetric.step import Need
from domainmetric.terms import Metric, Term
from domainmetric.tracking import Tracking

Trainable = Literal["source_branch", "target_branch", "head", "classifier"]


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """AdamW (Loshchilov & Hutter 2019) with a learning-rate schedule."""

    lr: float = 2e-3
    """Peak learning rate."""
    weight_decay: float = 1e-3
    """Decoupled weight decay."""
    branch_lr_factor: float = 1.0
    """Factor on the learning rate of the branches, relative to head, classifier and terms."""
    schedule: Schedule = field(default_factory=OneCycle)
    """Factor on the learning rate over the phase."""

    def __post_init__(self) -> None:
        for name in ("lr", "branch_lr_factor"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"Optimizer.{name} must be positive, but is {getattr(self, name)}.")
        if self.weight_decay < 0:
            raise ConfigError(f"Optimizer.weight_decay must not be negative, but is {self.weight_decay}.")

    def build(self, branches: list[nn.Parameter], rest: list[nn.Parameter]) -> torch.optim.AdamW:
        """The optimizer over two groups of parameters: those of the branches, and all others."""
        groups = [
            {"params": branches, "factor": self.branch_lr_factor},
            {"params": rest, "factor": 1.0},
        ]
        return torch.optim.AdamW([g for g in groups if g["params"]], lr=self.lr, weight_decay=self.weight_decay)


@dataclass(frozen=True, kw_only=True)
class Phase(ABC):
    """A stretch of training: which terms, for how many steps, on what batches."""

    terms: tuple[str, ...]
    """Names of the experiment's terms that train in this phase."""
    steps: int
    """Number of optimizer steps."""
    source_batch: int = 130
    """Source images in a step; a multiple of the number of classes that `sampling` puts into a batch."""
    sampling: Sampling = field(default_factory=Balanced)
    """How source batches are drawn: `Balanced()`, `Groups(num_classes=8)`, `EpochGroups(num_classes=8)`."""
    optimizer: Optimizer = field(default_factory=Optimizer)
    """Optimizer settings."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"A phase needs at least one step, but has {self.steps}. To leave it out, remove it.")
        if not self.terms:
            raise ConfigError("A phase needs at least one term to train on.")

    @property
    @abstractmethod
    def trainable(self) -> tuple[Trainable, ...]:
        """The parts of the network that move."""

    @property
    def draws_by_match(self) -> bool:
        """Whether its target batches are drawn by matched label."""
        return False


@dataclass(frozen=True, kw_only=True)
class SourcePhase(Phase):
    """Training on labelled source images alone; the target branch starts from its result."""

    @property
    def trainable(self) -> tuple[Trainable, ...]:
        return ("source_branch", "target_branch", "head", "classifier")


@dataclass(frozen=True, kw_only=True)
class AdaptationPhase(Phase):
    """Training with target images beside the source."""

    target_batch: int = 256
    """Target images in a step."""
    target_sampling: TargetSampling = field(default_factory=Shuffled)
    """How target batches are drawn: `Shuffled()`, or `MatchedBalanced()`, the same number of every matched class."""
    trains: tuple[Trainable, ...] = ("target_branch", "head", "classifier")
    """What moves; a source branch left out is frozen, batch statistics too, and holds the target's place."""
    ema: float = 0.99
    """Decay of the teacher, the slowly moving copy of the network through whose eyes anchors are matched."""
    calibration_steps: int = 20
    """Target batches from which the target's batch statistics are estimated anew before the first step (AdaBN, Li et
    al. 2016); 0 keeps those of the warm start."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.ema < 1:
            raise ConfigError(f"AdaptationPhase.ema must lie in [0, 1), but is {self.ema}.")
        if self.calibration_steps < 0:
            raise ConfigError(
                f"AdaptationPhase.calibration_steps must not be negative, but is {self.calibration_steps}."
            )
        if not self.trains:
            raise ConfigError("AdaptationPhase.trains must name at least one part of the network.")

    @property
    def trainable(self) -> tuple[Trainable, ...]:
        return self.trains

    @property
    def draws_by_match(self) -> bool:
        return self.target_sampling.needs_matches


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """The random views that each domain is trained on."""

    source: Views = field(default_factory=lambda: Augment(invert=0.5, grey=0.5))
    """Views of source images."""
    target: Views = field(default_factory=Augment)
    """Views of target images."""


@dataclass(frozen=True, kw_only=True)
class Banks:
    """Stored teacher embeddings that anchor strategies search."""

    source_size: int = 8190
    """Source items in the bank, the same number of every class; at least the training set means all of it."""
    target_size: int = 4096
    """Target items in the bank of strategies that look at the target as a set."""
    refresh_every: int = 50
    """Steps between refreshes."""

    def __post_init__(self) -> None:
        for name in ("source_size", "target_size", "refresh_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"Banks.{name} must be at least 1, but is {getattr(self, name)}.")


@dataclass(frozen=True, kw_only=True)
class AllLabels:
    """The labels of the whole target training set, as a stream of its own. For upper bounds, said to be *oracle*."""

    batch: int = 130
    """Labelled target images in a step; a multiple of the number of classes."""


@dataclass(frozen=True, kw_only=True)
class Selection(ABC):  # noqa: B024 (members are told apart by their class)
    """Which checkpoint of the last phase is reported."""


@dataclass(frozen=True, kw_only=True)
class LastCheckpoint(Selection):
    """The last one: nothing is chosen, so nothing can leak."""


@dataclass(frozen=True, kw_only=True)
class BestScore(Selection):
    """The one with the highest score that uses no target label."""

    score: SelectionScore
    """The label-free score."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Looks at the model during a run: label-free scores for selection, oracle accuracy for the curves."""

    every: int = 100
    """Steps between evaluations; the end of each phase is always evaluated."""
    num_images: int = 2000
    """Images of each domain in a look: target training images, and held-out source images."""
    gradient_every: int = 25
    """Steps between measurements of each term's share of the gradient at the embeddings."""
    retrieval_queries: int = 10_000
    """Largest number of queries of the retrieval figures at the end; the galleries are always whole."""

    def __post_init__(self) -> None:
        for name in ("every", "num_images", "gradient_every", "retrieval_queries"):
            if getattr(self, name) < 1:
                raise ConfigError(f"Evaluation.{name} must be at least 1, but is {getattr(self, name)}.")


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Where and how the arithmetic is done."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU where there is one."""
    precision: Literal["32", "bf16"] = "32"
    """`bf16` runs the networks in bfloat16 autocast; distances and losses stay in float32."""
    memory_format: Literal["channels_last", "contiguous"] = "channels_last"
    """Layout of images and convolutions."""
    threads: int | None = None
    """CPU threads; None takes torch's default. Sums are rounded differently with another number."""
    checkpoint_every: int = 250
    """Steps between checkpoints for `resume`."""

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"Runtime.threads must be at least 1, but is {self.threads}.")
        if self.checkpoint_every < 1:
            raise ConfigError(f"Runtime.checkpoint_every must be at least 1, but is {self.checkpoint_every}.")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that a run does."""

    name: str
    """What the run folder and the report call it; by custom the recipe's name."""
    data: Pair
    """Source and target domain."""
    terms: dict[str, Term]
    """The objective: named terms. A term that is not here does not exist."""
    phases: dict[str, Phase]
    """What trains when, in order."""
    anchors: AnchorStrategy | None = None
    """Who stands for whom; None where no term asks."""
    seed: int = 0
    """Seed of everything random."""
    image_size: int = 32
    """Side of the images in pixels, for both domains."""
    source_validation: float = 0.1
    """Share of the source training set that is held out, drawn by the seed."""
    model: Model = field(default_factory=Model)
    """Branches, head and classifier."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Random views of each domain."""
    banks: Banks = field(default_factory=Banks)
    """Sizes and refreshing of the embedding banks."""
    labelled_target: AllLabels | None = None
    """A separate stream of labelled target images. None: no target label enters the training."""
    selection: Selection = field(default_factory=LastCheckpoint)
    """Which checkpoint is reported."""
    evaluation: Evaluation = field(default_factory=Evaluation)
    """Looks at the model during and after the run."""
    runtime: Runtime = field(default_factory=Runtime)
    """Device, precision, threads."""
    tracking: Tracking = field(default_factory=Tracking)
    """Weights & Biases."""
    data_root: Path | None = None
    """Prepared data; None looks in $DOMAINMETRIC_DATA, then in data/."""
    runs_root: Path = Path("runs")
    """Folder in which run folders are made."""

    def __post_init__(self) -> None:
        self.data.check()
        if not 0 < self.source_validation < 1:
            raise ConfigError(f"source_validation must lie strictly between 0 and 1, but is {self.source_validation}.")
        if self.image_size < 8:
            raise ConfigError(f"image_size must be at least 8, but is {self.image_size}.")
        if not self.phases:
            raise ConfigError("An experiment needs at least one phase.")
        self.augmentation.source.check(self.data.source.channels)
        self.augmentation.target.check(self.data.target.channels)
        self._check_terms()
        self._check_needs()
        self._check_batches()
        self._check_memory()

    def _check_terms(self) -> None:
        named = {name for phase in self.phases.values() for name in phase.terms}
        for name in sorted(named - self.terms.keys()):
            raise ConfigError(
                f"A phase names the term '{name}', which the experiment lacks.{nearest(name, self.terms)}"
            )
        for name in sorted(self.terms.keys() - named):
            raise ConfigError(
                f"The term '{name}' is in no phase, so it would be ignored. Name it in one, or leave it out."
            )

    def _check_needs(self) -> None:
        for name, phase in self.phases.items():
            needs = self.needs(phase.terms)
            if isinstance(phase, SourcePhase) and needs - {"pairs"}:
                raise ConfigError(f"Phase '{name}' trains on the source alone, but its terms need {sorted(needs)}.")
        needs = self.needs(self.terms)
        if "matches" in needs and self.anchors is None:
            raise ConfigError("A term needs anchor matches, but the experiment has no anchors. Set anchors=Nearest().")
        self._check_target_sampling()
        drawn = any(phase.draws_by_match for phase in self.phases.values())
        if "matches" not in needs and not drawn and self.anchors is not None:
            raise ConfigError("No term uses anchor matches, so `anchors` would be ignored. Set anchors=None.")
        self._check_labelled("labelled_target" in needs)

    def _check_target_sampling(self) -> None:
        for name in (name for name, phase in self.phases.items() if phase.draws_by_match):
            if self.anchors is None:
                raise ConfigError(
                    f"Phase '{name}' draws target batches by matched label, but the experiment has no anchors. "
                    "Set anchors=Nearest()."
                )
            if self.augmentation.target.looks_ahead:
                raise ConfigError(
                    f"Phase '{name}' draws target batches by matched labels, which each bank refresh makes anew, but "
                    f"{type(self.augmentation.target).__name__} makes views ahead. Use Augment() for the target."
                )

    def _check_labelled(self, term_reads: bool) -> None:
        anchors_read = self.anchors is not None and self.anchors.needs_target_labels
        if term_reads and self.labelled_target is None:
            raise ConfigError("A term needs labelled target images: set labelled_target=AllLabels().")
        if anchors_read and self.labelled_target is None:
            raise ConfigError("The anchors read target labels (oracle): declare them with labelled_target=AllLabels().")
        if self.labelled_target is not None and not (term_reads or anchors_read):
            raise ConfigError(
                "Nothing reads labelled target images, so labelled_target would be ignored. Leave it out."
            )

    def _check_batches(self) -> None:
        num_classes = len(self.data.classes)
        for name, phase in self.phases.items():
            phase.sampling.check(phase.source_batch, num_classes, f"Phase '{name}': source_batch")
        if self.labelled_target is not None:
            Balanced().check(self.labelled_target.batch, num_classes, "labelled_target.batch")

    def _check_memory(self) -> None:
        for name, phase in self.phases.items():
            for term in phase.terms:
                part = self.terms[term].part
                if isinstance(part, Metric) and part.memory is not None and part.memory.warmup >= phase.steps:
                    raise ConfigError(
                        f"The memory of the term '{term}' is offered after {part.memory.warmup} batches, but phase "
                        f"'{name}' has {phase.steps} steps, so it would be ignored. Shorten Memory.warmup."
                    )

    def needs(self, terms: Iterable[str]) -> frozenset[Need]:
        """What the steps of these terms must prepare."""
        return frozenset().union(*(self.terms[name].part.needs for name in terms))

    def without(self, term: str) -> Experiment:
        """The same experiment without one term (and without anchors, where that was the last term to use them)."""
        if term not in self.terms:
            raise ConfigError(f"The experiment has no term '{term}'.{nearest(term, self.terms)}")
        terms = {name: value for name, value in self.terms.items() if name != term}
        phases = {k: replace(p, terms=tuple(t for t in p.terms if t != term)) for k, p in self.phases.items()}
        matched = any("matches" in value.part.needs for value in terms.values())
        drawn = any(phase.draws_by_match for phase in phases.values())
        anchors = self.anchors if matched or drawn else None
        return replace(self, name=f"{self.name}-without-{term}", terms=terms, phases=phases, anchors=anchors)
