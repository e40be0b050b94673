"""Stretches of training: which terms, for how long, on what batches, and by which optimizer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from domainmetric.data.draws import Balanced, Sampling, Shuffled, TargetSampling
from domainmetric.errors import ConfigError
from domainmetric.schedules import OneCycle, Schedule

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
