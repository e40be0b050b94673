"""What a user's file would hold: parts of pytorch-adapt and pytorch-metric-learning as specs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from domainmetric.alignment.adapt_hook import AdaptHook
from domainmetric.alignment.adapt_keys import FEATURES
from domainmetric.alignment.adapt_layer import AdaptLayer
from domainmetric.losses.pml import PmlLoss
from domainmetric.metrics.adapt import AdaptScore
from domainmetric.miners.pml import PmlMiner
from domainmetric.step import PartContext

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorch_adapt import hooks, layers, validators
    from pytorch_metric_learning import losses, miners

LOGITS_OF_TARGET = "target_imgs_features_logits"


@dataclass(frozen=True, kw_only=True)
class Layer(AdaptLayer):
    """Any layer, called with the given keys."""

    make_layer: Callable[[], nn.Module]
    keys: tuple[str, ...] = FEATURES

    @property
    def of(self) -> tuple[str, ...]:
        return self.keys

    def make(self) -> nn.Module:
        return self.make_layer()


@dataclass(frozen=True, kw_only=True)
class Hook(AdaptHook):
    """Any hook that needs no model."""

    make_hook: Callable[[], Any]

    def make(self) -> Any:
        return self.make_hook()


@dataclass(frozen=True, kw_only=True)
class Reversed(AdaptHook):
    """DANN by their hooks: a domain loss behind a reversal, with a discriminator."""

    strength: float = 1.0

    def make(self) -> Any:
        return hooks.GradientReversalLocallyHook(list(FEATURES), hooks.DomainLossHook(), weight=self.strength)

    def models(self, context: PartContext) -> dict[str, nn.Module]:
        return {"D": nn.Sequential(nn.Linear(context.embedding_dim, 1), nn.Flatten(0))}


@dataclass(frozen=True, kw_only=True)
class Confusion(AdaptLayer):
    """Minimum class confusion (MCC) of the target."""

    temperature: float = 2.5

    @property
    def of(self) -> tuple[str, ...]:
        return (LOGITS_OF_TARGET,)

    def make(self) -> nn.Module:
        return layers.MCCLoss(T=self.temperature)


@dataclass(frozen=True, kw_only=True)
class Score(AdaptScore):
    """Any validator."""

    make_validator: Callable[[], Any]

    def make(self) -> Any:
        return self.make_validator()


@dataclass(frozen=True, kw_only=True)
class Gap(AdaptScore):
    """Their MMD, which must be told that it is quadratic."""

    def make(self) -> Any:
        return validators.MMDValidator(mmd_kwargs={"mmd_type": "quadratic"})


@dataclass(frozen=True, kw_only=True)
class Circle(PmlLoss):
    """Circle loss."""

    gamma: float = 16

    def make(self) -> nn.Module:
        return losses.CircleLoss(gamma=self.gamma)


@dataclass(frozen=True, kw_only=True)
class Mined(PmlMiner):
    """Pairs that multi-similarity finds hard."""

    def make(self) -> nn.Module:
        return miners.MultiSimilarityMiner()
