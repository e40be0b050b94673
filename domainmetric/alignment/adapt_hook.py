"""Loss hooks of pytorch-adapt as alignment terms. `adapt_keys.py` says what its keys mean here."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from domainmetric.alignment.adapt_layer import Adapted
from domainmetric.alignment.base import AlignmentTerm
from domainmetric.errors import ConfigError
from domainmetric.step import PartContext, PartModule


@dataclass(frozen=True, kw_only=True)
class AdaptHook(AlignmentTerm, ABC):
    """A loss hook of pytorch-adapt as a spec: derive from it, name the settings as fields, make the hook.

    The value is the mean of its losses, each the mean of its items, as their trainers have it by default. A hook that
    steps an optimizer is refused: it would train past the run.
    """

    @abstractmethod
    def make(self) -> Any:
        """The hook. Called once, when the run begins."""

    def models(self, context: PartContext) -> dict[str, nn.Module]:
        """What the hook needs beside features and logits, by its key, such as a discriminator `D`: trained, too."""
        return {}

    def build(self, context: PartContext) -> PartModule:
        return _Hook(self, context)


class _Hook(Adapted):
    def __init__(self, spec: AdaptHook, context: PartContext) -> None:
        super().__init__(spec)
        self.held = nn.ModuleList(layers(self.adapted, self.spec))
        self.models = nn.ModuleDict(spec.models(context))

    def value(self, inputs: dict[str, Tensor]) -> Float[Tensor, ""]:
        losses: dict[str, Tensor] = self.adapted({**inputs, **self.models})[1]
        if not losses:
            raise ValueError("it returned no loss")
        return torch.stack([loss.mean() for loss in losses.values()]).mean()


def layers(hook: Any, spec: str) -> Iterator[nn.Module]:
    """The layers that a hook and the hooks inside it hold. Raises ConfigError where one of them steps an optimizer."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
        from pytorch_adapt.hooks.base import BaseHook
        from pytorch_adapt.hooks.optimizer import OptimizerHook
    if isinstance(hook, OptimizerHook):
        raise ConfigError(f"The hook of {spec} steps an optimizer of its own. Give the loss hook inside it alone.")
    for value in vars(hook).values():
        for each in value if isinstance(value, list | tuple) else [value]:
            if isinstance(each, nn.Module):
                yield each
            elif isinstance(each, BaseHook):
                yield from layers(each, spec)
