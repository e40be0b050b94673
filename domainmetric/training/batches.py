"""The data of a run on its device, and the batches of each step: an index, a view, nothing copied."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.data.augment import to_float
from domainmetric.data.sampling import BalancedRows, ShuffledRows
from domainmetric.experiment import AdaptationPhase, Experiment, Phase
from domainmetric.randomness import derive, generator
from domainmetric.types import ImageSet, LabelledTargetBatch, SourceBatch, TargetBatch


@dataclass(frozen=True, kw_only=True, eq=False)
class RunData:
    """All sets of a run. The target's training labels live apart, and only the named readers get them."""

    source_train: ImageSet
    source_validation: ImageSet
    source_test: ImageSet
    target_train: ImageSet
    """Without labels."""
    target_test: ImageSet
    """With labels, for the final report."""
    target_train_labels_oracle: Int64[Tensor, " m"] | None
    """For oracle curves, the oracle strategy and the labelled stream."""


def load(experiment: Experiment, root: Path, device: torch.device) -> RunData:
    """Load both domains onto `device`, hold out the source validation rows, and put the target labels aside."""
    size = experiment.image_size
    source = experiment.data.source.load("train", root=root, size=size)
    target = experiment.data.target.load("train", root=root, size=size)
    order = torch.randperm(len(source), generator=generator("cpu", experiment.seed, "source validation"))
    held_out = round(experiment.source_validation * len(source))
    return RunData(
        source_train=source.take(order[held_out:].sort().values).to(device),
        source_validation=source.take(order[:held_out].sort().values).to(device),
        source_test=experiment.data.source.load("test", root=root, size=size).to(device),
        target_train=target.unlabelled().to(device),
        target_test=experiment.data.target.load("test", root=root, size=size).to(device),
        target_train_labels_oracle=None if target.labels is None else target.labels.to(device),
    )


class Batches:
    """The batches of one phase, each a pure function of the step."""

    def __init__(self, experiment: Experiment, phase_name: str, phase: Phase, data: RunData) -> None:
        self.data, self.augmentation = data, experiment.augmentation
        self.seed, self.phase_name = experiment.seed, phase_name
        self.device = data.source_train.images.device
        num_classes = len(data.source_train.classes)
        assert data.source_train.labels is not None
        self._source = BalancedRows(
            data.source_train.labels.cpu(), num_classes, phase.source_batch, self.seed, f"{phase_name}/source"
        )
        self._target, self._labelled = None, None
        if isinstance(phase, AdaptationPhase):
            rows = len(data.target_train)
            self._target = ShuffledRows(rows, phase.target_batch, self.seed, f"{phase_name}/target")
            if "labelled_target" in experiment.needs(phase.terms):
                assert experiment.labelled_target is not None and data.target_train_labels_oracle is not None
                self._labels = data.target_train_labels_oracle
                self._labelled = BalancedRows(
                    self._labels.cpu(),
                    num_classes,
                    experiment.labelled_target.batch,
                    self.seed,
                    f"{phase_name}/labelled",
                )

    def step_seed(self, step: int) -> int:
        """Seed of what draws from torch's own generator in a step (dropout)."""
        return derive(self.seed, self.phase_name, "step", step)

    def generator(self, step: int, name: str) -> torch.Generator:
        """Randomness of one purpose in one step."""
        return generator(self.device, self.seed, self.phase_name, name, step)

    def source(
        self, step: int, extra: Int64[Tensor, " e"] | None = None
    ) -> tuple[SourceBatch, Float[Tensor, "e c h w"] | None]:
        """The random source rows of a step, and views of the `extra` (matched) rows, augmented together."""
        labels = self.data.source_train.labels
        assert labels is not None
        rows = self._source.rows(step).to(self.device, non_blocking=True)
        wanted = rows if extra is None else torch.cat([rows, extra])
        images = self.augmentation.source(self.data.source_train.images[wanted], self.generator(step, "source"))
        batch = SourceBatch(rows=rows, images=images[: len(rows)], labels=labels[rows])
        return batch, None if extra is None else images[len(rows) :]

    def target(self, step: int) -> TargetBatch:
        """Target images of a step, augmented and clean."""
        assert self._target is not None
        rows = self._target.rows(step).to(self.device, non_blocking=True)
        images = self.data.target_train.images[rows]
        return TargetBatch(
            rows=rows, images=self.augmentation.target(images, self.generator(step, "target")), clean=to_float(images)
        )

    def labelled_target(self, step: int) -> LabelledTargetBatch:
        """Labelled target images of a step, from the stream that only oracle and supervised experiments have."""
        assert self._labelled is not None
        rows = self._labelled.rows(step).to(self.device, non_blocking=True)
        images = self.augmentation.target(self.data.target_train.images[rows], self.generator(step, "labelled"))
        return LabelledTargetBatch(rows=rows, images=images, labels=self._labels[rows])
