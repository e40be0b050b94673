"""Stretches of training: which terms, for how long, on what batches, and by which optimizer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from domainmetric.data.draws import Balanced, Sampling, Shuffled, TargetSampling
from domainmetric.errors import ConfigError
from domainmetric.schedules import OneCycle, Schedule

Trainable = Literal["source_branch", "target_branch", "head", "classifier"]
BRANCHES: tuple[Trainable, ...] = ("source_branch", "target_branch")


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """AdamW (Loshchilov & Hutter 2019) with a learning-rate schedule."""

    lr: float = 2e-3
    """Peak learning rate."""
    weight_decay: float = 1e-3
    """Decoupled weight decay."""
    epsilon: float = 1e-8
    """Added to the root of the mean squared gradient, by which AdamW divides a step. Parameters whose gradients lie far
    above it move by the learning rate, however small the weight of the term that pulls them; those whose gradients lie
    far below it move in proportion to them, as in plain gradient descent, so that weights and schedules count."""
    branch_lr_factor: float = 1.0
    """Factor on the learning rate of the branches that it moves, relative to head, classifier and terms."""
    schedule: Schedule = field(default_factory=OneCycle)
    """Factor on the learning rate over the phase."""

    def __post_init__(self) -> None:
        for name in ("lr", "epsilon", "branch_lr_factor"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"Optimizer.{name} must be positive, but is {getattr(self, name)}.")
        if self.weight_decay < 0:
            raise ConfigError(f"Optimizer.weight_decay must not be negative, but is {self.weight_decay}.")

    def group(self, parameters: list[nn.Parameter], *, branch: bool) -> dict[str, Any]:
        """A parameter group of AdamW; `base_lr` and `schedule` say how its learning rate moves."""
        lr = self.lr * self.branch_lr_factor if branch else self.lr
        more = {"weight_decay": self.weight_decay, "eps": self.epsilon, "base_lr": lr, "schedule": self.schedule}
        return {"params": parameters, "lr": lr, **more}


@dataclass(frozen=True, kw_only=True)
class Phase(ABC):
    """A stretch of training: which terms, for how many steps, on what batches."""

    terms: tuple[str, ...]
    """Names of the experiment's terms that train in this phase."""
    steps: int
    """Number of optimizer steps."""
    source_batch: int = 130
    """Source images in a step. `Groups` and `EpochGroups` ask for a multiple of the classes they put into a batch."""
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

    def optimizer_of(self, part: Trainable) -> Optimizer:
        """The settings by which a part of the network moves."""
        return self.optimizer

    def build_optimizer(
        self, moving: Mapping[Trainable, list[nn.Parameter]], terms: list[nn.Parameter]
    ) -> torch.optim.AdamW:
        """One AdamW over a group for each part of the network, and one for the terms' own weights.

        AdamW keeps its moments for each parameter alone, so a group of other settings is an optimizer of its own. It
        is fused, which is one pass over each parameter, and asks for gradients in the layout of the parameters.
        """
        groups = [
            self.optimizer_of(part).group(parameters, branch=part in BRANCHES) for part, parameters in moving.items()
        ]
        groups.append(self.optimizer.group(terms, branch=False))
        return torch.optim.AdamW([group for group in groups if group["params"]], fused=True)

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
    source_optimizer: Optimizer | None = None
    """Settings of the source branch's own optimizer; None shares `optimizer`."""
    target_optimizer: Optimizer | None = None
    """Settings of the target branch's own optimizer; None shares `optimizer`."""
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
        for part in BRANCHES:
            if self._own(part) is not None and part not in self.trains:
                raise ConfigError(
                    f"The {part.replace('_', ' ')} has an optimizer of its own, but does not move: name it in `trains`."
                )

    @property
    def trainable(self) -> tuple[Trainable, ...]:
        return self.trains

    def optimizer_of(self, part: Trainable) -> Optimizer:
        return self._own(part) or self.optimizer

    def _own(self, part: Trainable) -> Optimizer | None:
        own: dict[Trainable, Optimizer | None] = {
            "source_branch": self.source_optimizer,
            "target_branch": self.target_optimizer,
        }
        return own.get(part)

    @property
    def draws_by_match(self) -> bool:
        return self.target_sampling.needs_matches
