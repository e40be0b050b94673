"""The anchor family: strategies that match target items to source items.

A strategy sees the target through the EMA teacher on clean views. `refresh` is given banks (stored teacher embeddings)
of both training sets from time to time; `forward` matches one batch. There are two kinds: a `Picker` picks source items
by itself, and a modifier (`modifier.py`) changes what another strategy picked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from domainmetric.anchors.source_bank import SourceBank
from domainmetric.errors import ConfigError
from domainmetric.types import Bank, ImageSet, Matches


@dataclass(frozen=True, kw_only=True, eq=False)
class AnchorContext:
    """What a strategy may know when it is built."""

    source: ImageSet
    """The labelled source training set."""
    target: ImageSet
    """The target training set, without labels."""
    seed: int
    oracle_labels: Int64[Tensor, " m"] | None = None
    """Target labels, where the experiment declares a labelled stream of all of them; only the oracle reads them."""


class AnchorMatcher(nn.Module, ABC):
    """A built strategy. What `refresh` keeps lives in `memory`, a flat dict of tensors that checkpoints save.

    `forward` changes nothing: matches depend on what the last refresh left behind, and not on who asked in between.
    """

    by_row = False
    """Whether the match of a target item is the same whatever others it is asked with: then processes that share a run
    divide a batch among them, and otherwise each of them matches all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.memory: dict[str, Tensor] = {}

    @abstractmethod
    def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None:
        """Take in new banks. `target_bank` is None unless the strategy's spec has `needs_target_bank`."""

    @abstractmethod
    def forward(
        self, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"], logits_t: Float[Tensor, "m k"]
    ) -> Matches:
        """Match target rows, given the teacher's embeddings and logits of their clean views."""

    def keep_source(self, bank: Bank) -> None:
        """Remember the source bank, for matchers that search it in `forward`."""
        if bank.labels is None:
            raise ConfigError("The source bank needs labels.")
        self.memory |= {"rows": bank.rows, "z": bank.z, "labels": bank.labels}

    def num_candidates(self, num_source: int) -> int:
        """How many of `num_source` source items can be chosen: those of the remembered bank, or all without a bank."""
        return len(self.memory["rows"]) if "rows" in self.memory else num_source

    @property
    def source(self) -> SourceBank:
        """The remembered source bank."""
        return SourceBank(rows=self.memory["rows"], z=self.memory["z"], labels=self.memory["labels"])


@dataclass(frozen=True, kw_only=True)
class AnchorStrategy(ABC):
    """Decides which source items stand for which target items."""

    @property
    def needs_target_bank(self) -> bool:
        """Whether `refresh` wants a bank of target embeddings."""
        return False

    @property
    def needs_target_labels(self) -> bool:
        """Whether it reads the labelled target stream: true of oracles alone."""
        return False

    @abstractmethod
    def build(self, context: AnchorContext) -> AnchorMatcher:
        """The matcher for this pair of training sets."""


@dataclass(frozen=True, kw_only=True)
class Picker(AnchorStrategy, ABC):
    """A strategy that picks the source items by itself, and therefore says how many."""

    num_anchors: int = 1
    """Source items chosen for each target item, the best first. The target item takes the first one's label; where a
    strategy picks items rather than a class, the others may have other labels, and keep them."""

    def __post_init__(self) -> None:
        if self.num_anchors < 1:
            raise ConfigError(f"{type(self).__name__}.num_anchors must be at least 1, but is {self.num_anchors}.")


def required(target_bank: Bank | None, what: str) -> Bank:
    """The target bank, which `what` asked for. Raises ConfigError where there is none."""
    if target_bank is None:
        raise ConfigError(f"{what} anchors need a target bank.")
    return target_bank


def all_kept(target_index: Int64[Tensor, " m"]) -> Tensor:
    """The mask of a strategy that never abstains."""
    return torch.ones_like(target_index, dtype=torch.bool)
