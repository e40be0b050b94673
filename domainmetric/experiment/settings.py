"""What an experiment sets beside its terms and phases: views, banks, selection, evaluation, runtime."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, field
from typing import Literal

from domainmetric.data.augment import Augment
from domainmetric.data.views import Views
from domainmetric.errors import ConfigError
from domainmetric.metrics.selection import SelectionScore


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
    deterministic: bool = False
    """Whether a GPU, too, must give the same bits twice: slower, and an error where it cannot. A CPU always does."""
    checkpoint_every: int = 250
    """Steps between checkpoints for `resume`."""

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"Runtime.threads must be at least 1, but is {self.threads}.")
        if self.checkpoint_every < 1:
            raise ConfigError(f"Runtime.checkpoint_every must be at least 1, but is {self.checkpoint_every}.")
