"""Loss layers of pytorch-adapt as alignment terms. `adapt_keys.py` says what its keys mean here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from domainmetric.alignment.adapt_keys import FEATURES, to_adapt
from domainmetric.alignment.base import AlignmentTerm
from domainmetric.errors import ConfigError
from domainmetric.randomness import isolated
from domainmetric.step import PartContext, PartModule, Side, Step

SIDES: dict[str, Side] = {"src_": "source", "target_": "target"}


@dataclass(frozen=True, kw_only=True)
class AdaptLayer(AlignmentTerm, ABC):
    """A loss layer of pytorch-adapt as a spec: derive from it, name the settings as fields, make the layer.

        @dataclass(frozen=True, kw_only=True)
        class Confusion(AdaptLayer):
            temperature: float = 2.5

            @property
            def of(self) -> tuple[str, ...]:
                return ("target_imgs_features_logits",)

            def make(self) -> nn.Module:
                return MCCLoss(T=self.temperature)

    Weights of the layer are trained and saved with the run. Known of pytorch-adapt 0.0.83: `MMDLoss` needs
    `mmd_type="quadratic"` unless both batches have one size, and is no number where all embeddings are equal (the alarm
    `NonFinite` tells); `MMDBatchedLoss` cannot be made without it.
    """

    @property
    def of(self) -> tuple[str, ...]:
        """What the layer is called with, by the keys of `to_adapt`: source and target embeddings."""
        return FEATURES

    @abstractmethod
    def make(self) -> nn.Module:
        """The layer. Called once, when the run begins."""

    def moves(self, progress: float) -> frozenset[Side]:
        return frozenset(side for key, side in SIDES.items() if any(name.startswith(key) for name in self.of))

    def build(self, context: PartContext) -> PartModule:
        return _Layer(self)


class Adapted(PartModule, ABC):
    """Calls what a spec's `make` returned."""

    def __init__(self, spec: Any) -> None:
        super().__init__()
        self.spec = type(spec).__name__
        try:
            self.adapted = spec.make()
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{self.spec}.make failed: {error}.") from error

    def forward(self, step: Step) -> Float[Tensor, ""]:
        draw = step.generator
        seed = 0 if draw is None else int(torch.randint(1 << 62, (), generator=draw, device=draw.device))
        with isolated(seed, "adapt"), torch.autocast(step.z_t.device.type, enabled=False):
            inputs = to_adapt(step)
            try:
                return self.value(inputs)
            except torch.OutOfMemoryError:
                raise
            except (LookupError, TypeError, ValueError, RuntimeError) as error:
                words = (
                    f"What {self.spec} made refuses this step. {type(error).__name__}: {' '.join(str(error).split())}."
                )
                known = f" What it looks for is none of these: {', '.join(inputs)}, nor a model that it was given."
                raise ConfigError(words + known * isinstance(error, KeyError)) from error

    @abstractmethod
    def value(self, inputs: dict[str, Tensor]) -> Float[Tensor, ""]:
        """The loss of what came under their keys."""


class _Layer(Adapted):
    def __init__(self, spec: AdaptLayer) -> None:
        super().__init__(spec)
        self.of = spec.of

    def value(self, inputs: dict[str, Tensor]) -> Float[Tensor, ""]:
        loss: Tensor = self.adapted(*(inputs[key] for key in self.of))
        return loss
