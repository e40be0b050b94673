"""What an experiment sets beside its terms and phases: views, banks, selection, evaluation, runtime."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from jaxtyping import Int64
from torch import Tensor

from domainmetric.data.augment import Augment
from domainmetric.data.views import Views
from domainmetric.errors import ConfigError, DataError
from domainmetric.metrics.selection import NeighborAgreement, SelectionScore
from domainmetric.randomness import generator


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
class LabelledTarget(ABC):
    """Labels of the target, as a stream of their own beside its unlabelled images: the only way for one to enter."""

    @abstractmethod
    def rows(self, labels: Int64[Tensor, " n"], classes: Sequence[str]) -> Int64[Tensor, " r"]:
        """The training rows whose labels may be read, in ascending order. `classes` names those that are learned.

        Other labels are of classes that the source lacks. Raises DataError where there are too few.
        """

    @abstractmethod
    def size(self, num_classes: int) -> int:
        """Labelled images in a step, where so many classes have any."""


@dataclass(frozen=True, kw_only=True)
class AllLabels(LabelledTarget):
    """The labels of the whole target training set: supervised training, an upper bound. Said to be *oracle*.

    They are for the terms and anchors that ask. Where none does, it adds the term `all_labels`, the classifier's
    cross-entropy on them, to every adaptation phase, so that any recipe that adapts becomes a supervised one.
    """

    batch: int = 130
    """Labelled target images in a step."""

    def rows(self, labels: Int64[Tensor, " n"], classes: Sequence[str]) -> Int64[Tensor, " r"]:
        rows = (labels < len(classes)).nonzero()[:, 0]
        check_some(len(rows), classes)
        return rows

    def size(self, num_classes: int) -> int:
        return self.batch


@dataclass(frozen=True, kw_only=True)
class FewLabels(LabelledTarget):
    """A few labelled images of each class: semi-supervised training, with any recipe that adapts.

    It adds the term `few_labels`, the classifier's cross-entropy on them, to every adaptation phase. The images stay in
    the target's training set too, without their labels. No other label of the target is read. A class of which the
    target has no image has none.
    """

    per_class: int = 5
    """Labelled images of each class, at least 1."""
    weight: float = 1.0
    """Weight of the term."""
    seed: int = 0
    """Draws the images. No business of the run's seed: runs share them, as if a person had labelled them once."""

    LARGEST: ClassVar[int] = 16
    """Images of a class in a step, at most."""

    def __post_init__(self) -> None:
        if self.per_class < 1 or not self.weight > 0:
            raise ConfigError(
                f"FewLabels needs per_class >= 1 and weight > 0, but they are {self.per_class} and {self.weight}. For "
                "no labels, leave labelled_target out."
            )

    def rows(self, labels: Int64[Tensor, " n"], classes: Sequence[str]) -> Int64[Tensor, " r"]:
        found = [(labels.cpu() == label).nonzero()[:, 0] for label in range(len(classes))]
        check_some(sum(map(len, found)), classes)
        few = {name: len(rows) for name, rows in zip(classes, found, strict=True) if 0 < len(rows) < self.per_class}
        if few:
            told = ", ".join(f"'{name}' has {count}" for name, count in few.items())
            raise DataError(
                f"FewLabels.per_class asks for {self.per_class} labelled target images of each class, but {told}. Ask "
                f"for {min(few.values())} at most, or add images."
            )
        return torch.cat([self._drawn(rows, label) for label, rows in enumerate(found)]).sort().values.to(labels.device)

    def _drawn(self, rows: Int64[Tensor, " r"], label: int) -> Int64[Tensor, " s"]:
        order = torch.randperm(len(rows), generator=generator("cpu", self.seed, "few labels", label))
        return rows[order[: self.per_class]]

    def size(self, num_classes: int) -> int:
        return num_classes * min(self.per_class, self.LARGEST)


def check_some(count: int, classes: Sequence[str]) -> None:
    """Raise DataError where the target has no training image of a class that is learned."""
    if not count:
        raise DataError(
            f"labelled_target asks for labels, but no training image of the target is of a class that is learned "
            f"({', '.join(classes)}). Leave labelled_target out, or add images."
        )


@dataclass(frozen=True, kw_only=True)
class Selection(ABC):  # noqa: B024 (members are told apart by their class)
    """Which checkpoint of the last phase is reported."""


@dataclass(frozen=True, kw_only=True)
class LastCheckpoint(Selection):
    """The last one: nothing is chosen, so nothing can leak."""


@dataclass(frozen=True, kw_only=True)
class BestScore(Selection):
    """The one with the highest score that uses no target label, the start of the last phase among them."""

    score: SelectionScore = field(default_factory=NeighborAgreement)
    """The label-free score."""
    margin: float | None = None
    """By more than this a later checkpoint must be better than what the phase began from, or that is reported: scores
    are noisy and can be deceived, and the start of an adaptation is a safe choice. From 0 on, in the units of the
    score. None: the score's own, 0.08 for `NeighborAgreement`, where none of 80 runs ended below its start (the study
    is `experiments/guard.py`), and 0 where it was not measured."""

    def __post_init__(self) -> None:
        if self.margin is not None and not 0 <= self.margin < float("inf"):
            raise ConfigError(f"BestScore.margin must be a number from 0 on, but is {self.margin}.")

    @property
    def least_gain(self) -> float:
        """The margin, be it given or the score's own."""
        return self.score.margin if self.margin is None else self.margin

    def prefers(self, score: float, best: float, start: float) -> bool:
        """Whether a checkpoint takes the place of the best one so far, by their scores and that of the first one."""
        return score > best and score > start + self.least_gain


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
    devices: int = 1
    """Processes on each machine that share every batch, each on a GPU of its own or, with `device="cpu"`, on the CPU.
    Batch sizes are those of all together, and the numbers are those of one process but for rounding."""
    num_nodes: int = 1
    """Machines that take part, all of which see one run folder and one data folder. The command is given on each, by
    torchrun or the cluster's own launcher; with one machine none is needed."""
    precision: Literal["32", "bf16"] = "32"
    """`bf16` runs the networks in bfloat16 autocast; distances and losses stay in float32. It makes a CPU faster only
    where that has instructions for it (AVX512-BF16, AMX)."""
    data: Literal["auto", "device", "stored"] = "auto"
    """Where the training images lie: whole on the `device`; or `stored`, on disk or in the host's memory, from where
    each batch is picked, the next one while this one is computed. `auto` leaves them there where they would take more
    than half of the device's free memory. The numbers are the same."""
    memory_format: Literal["channels_last", "contiguous"] = "channels_last"
    """Layout of images and convolutions."""
    compile: bool = False
    """Whether the branches' training passes are compiled (torch.compile), on a GPU into CUDA graphs. It takes half a
    minute a phase; on a CPU it gained nothing (1.01 of the processor time), on a GPU it has not been run."""
    threads: int | None = None
    """CPU threads of each process; None takes torch's default. Sums are rounded differently with another number."""
    deterministic: bool = False
    """Whether a GPU, too, must give the same bits twice: slower, and an error where it cannot. A CPU always does."""
    checkpoint_every: int = 250
    """Steps between checkpoints for `resume`."""

    def __post_init__(self) -> None:
        for name in ("devices", "num_nodes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"Runtime.{name} must be at least 1, but is {getattr(self, name)}.")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"Runtime.threads must be at least 1, but is {self.threads}.")
        if self.checkpoint_every < 1:
            raise ConfigError(f"Runtime.checkpoint_every must be at least 1, but is {self.checkpoint_every}.")
