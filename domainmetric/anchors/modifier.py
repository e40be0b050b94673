"""Modifiers: strategies that change what another strategy, their `inner` one, picked. They nest to any depth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher, AnchorStrategy
from domainmetric.anchors.nearest import Nearest
from domainmetric.types import Bank, Matches


@dataclass(frozen=True, kw_only=True)
class Modifier(AnchorStrategy, ABC):
    """Another strategy's matches, changed. It wants what the inner strategy wants."""

    inner: AnchorStrategy = field(default_factory=Nearest)
    """The strategy that matches, which may be modified itself."""

    @property
    def needs_target_bank(self) -> bool:
        return self.inner.needs_target_bank

    @property
    def needs_target_labels(self) -> bool:
        return self.inner.needs_target_labels


class ModifierMatcher(AnchorMatcher, ABC):
    """A built modifier around the built inner strategy. Both share one memory, so that checkpoints hold all of it."""

    def __init__(self, spec: Modifier, context: AnchorContext) -> None:
        super().__init__()
        self.inner = spec.inner.build(context)
        self.by_row = type(self).by_row and self.inner.by_row
        self.inner_needs_target_bank = spec.inner.needs_target_bank
        self.memory = self.inner.memory
        self.depth: int = self.inner.depth + 1 if isinstance(self.inner, ModifierMatcher) else 0

    def own(self, name: str) -> str:
        """The key in the memory of what this modifier keeps, whatever others keep under the same name."""
        return f"modifier{self.depth}/{name}"

    def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None:
        self.inner.refresh(source_bank, target_bank if self.inner_needs_target_bank else None)

    @abstractmethod
    def modify(self, matches: Matches, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"]) -> Matches:
        """The inner strategy's matches of these target rows, changed."""

    def forward(
        self, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"], logits_t: Float[Tensor, "m k"]
    ) -> Matches:
        return self.modify(self.inner(target_index, z_t, logits_t), target_index, z_t)
