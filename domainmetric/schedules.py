"""Numbers that change over a phase: functions of its progress in [0, 1], known without asking the device."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from domainmetric.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """A factor for each moment of a phase."""

    @abstractmethod
    def at(self, progress: float) -> float:
        """The factor at `progress` in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """Always 1."""

    def at(self, progress: float) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class SigmoidRamp(Schedule):
    """2 / (1 + exp(-sharpness p)) - 1: from 0 to nearly 1 (Ganin et al. 2016, DANN)."""

    sharpness: float = 10.0
    """How fast it rises; at 10, half way after a tenth of the phase."""

    def __post_init__(self) -> None:
        if not self.sharpness > 0:
            raise ConfigError(f"SigmoidRamp.sharpness must be positive, but is {self.sharpness}.")

    def at(self, progress: float) -> float:
        return 2 / (1 + math.exp(-self.sharpness * progress)) - 1


@dataclass(frozen=True, kw_only=True)
class OneCycle(Schedule):
    """Cosine from 1/25 up to 1, then down to nearly 0 (Smith & Topin 2018)."""

    warmup: float = 0.3
    """Share of the phase spent rising."""

    def __post_init__(self) -> None:
        if not 0 < self.warmup < 1:
            raise ConfigError(f"OneCycle.warmup must lie strictly between 0 and 1, but is {self.warmup}.")

    def at(self, progress: float) -> float:
        if progress < self.warmup:
            return _cosine(1 / 25, 1.0, progress / self.warmup)
        return _cosine(1.0, 1e-4, (progress - self.warmup) / (1 - self.warmup))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
