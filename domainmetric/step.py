"""All that the terms of one training step may look at, and the family of things that turn it into a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from domainmetric.pairs import StepPairs
from domainmetric.types import Encoded, LabelledTargetBatch, Matches, SourceBatch, TargetBatch

Need = Literal["target", "taught", "labelled_target", "pairs", "matches", "matched", "matched_target"]
"""`target`: a target batch; `taught`: what the teacher makes of it; `labelled_target`: the labelled stream; `pairs`:
the pairs among all rows; `matches`: who stands for whom; `matched`: the matched source items, encoded again;
`matched_target`: target items that stand for the random source items, encoded again."""
Side = Literal["source", "target"]
"""Whose embeddings."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One step's batches and what the network made of them."""

    source: SourceBatch
    encoded_source: Encoded
    """The random source rows; cut out of `encoded_by_source`."""
    encoded_by_source: Encoded
    """All rows that the source branch encoded, the random ones and then the matched ones. The gradients of all terms
    meet in its `z`; in that of `encoded_source` they do not, since logits are made before the rows are cut apart."""
    encoded_source_by_target: Encoded | None = None
    """The source images through the target branch, in the source phase of two unlike backbones."""
    target: TargetBatch | None = None
    """None in a phase that trains on the source alone; so are the other target values."""
    encoded_target: Encoded | None = None
    """The target batch; cut out of `encoded_by_target` where other rows were encoded with it."""
    encoded_by_target: Encoded | None = None
    """All rows that the target branch encoded in one pass: those of the target batch, and then the target items that
    stand for source items. The gradients of all terms meet in its `z`."""
    taught: Encoded | None = None
    """The clean target images as the teacher sees them, without gradient; None where neither a term nor the anchors of
    the phase ask it."""
    matches: Matches | None = None
    """Who stands for whom; None where no term of the phase asks for it."""
    pairs: StepPairs | None = None
    """All pairs among the source, matched and target rows; None where no term asks for them."""
    labelled_target: LabelledTargetBatch | None = None
    """The separate stream of labelled target images, where the experiment declares one."""
    encoded_labelled: Encoded | None = None
    progress: float = 0.0
    """Share of the phase that is done, in [0, 1)."""
    generator: torch.Generator | None = None
    """Randomness of this step, for miners that draw."""
    notes: dict[str, Tensor] = field(default_factory=dict)
    """Scalars that terms want logged, by full metric name."""

    @property
    def z_t(self) -> Float[Tensor, "m d"]:
        """Target embeddings."""
        return self.aligned().z

    def aligned(self) -> Encoded:
        """The encoded target; a phase without one has no business with alignment."""
        if self.encoded_target is None:
            raise ValueError("This phase has no target batch: an alignment term belongs in an adaptation phase.")
        return self.encoded_target


@dataclass(frozen=True, kw_only=True)
class PartContext:
    """What a part may know when it builds its module."""

    num_classes: int
    embedding_dim: int


class PartModule(nn.Module, ABC):
    """A built part: maps a step to one scalar loss."""

    @abstractmethod
    def forward(self, step: Step) -> Float[Tensor, ""]:
        """The loss of this step, not yet weighted."""


@dataclass(frozen=True, kw_only=True)
class Part(ABC):
    """A thing that can be trained on: its spec."""

    @abstractmethod
    def build(self, context: PartContext) -> PartModule:
        """The module that computes it, with its weights and running state where it has any."""

    @property
    def needs(self) -> frozenset[Need]:
        """What the step must prepare for it beside the source batch."""
        return frozenset()

    def moves(self, progress: float) -> frozenset[Side]:
        """Whose embeddings should have a gradient of it where `progress` of the phase is done: alarms go by this."""
        return frozenset({"target"}) if "target" in self.needs else frozenset({"source"})
