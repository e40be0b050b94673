"""The data of a run on its device, and the batches of each step: an index, a view, nothing copied."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.data.augment import to_float
from domainmetric.data.draws import Balanced
from domainmetric.data.loading import load_split
from domainmetric.data.matched_rows import MatchedRows
from domainmetric.data.room import free_memory
from domainmetric.data.sampling import ShuffledRows
from domainmetric.data.streamed import Streamed
from domainmetric.data.views import Rows, Views, ViewStream
from domainmetric.errors import ConfigError, DataError
from domainmetric.experiment import AdaptationPhase, Experiment, LabelledTarget, Phase
from domainmetric.models.network import DOMAINS
from domainmetric.parts import part
from domainmetric.randomness import derive, generator
from domainmetric.team.base import ALONE, Team
from domainmetric.types import ImageSet, LabelledTargetBatch, SourceBatch, TargetBatch

ROOM_SHARE = 0.5
"""Of the device's free memory; training images that need more stay where they are stored."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RunData:
    """All sets of a run. The target's training labels live apart, and only the named readers get them."""

    source_train: ImageSet
    source_train_rows: Int64[Tensor, " n"]
    """Row of each of its items in the source's training split as the domain loads it, held-out items included."""
    source_validation: ImageSet
    source_test: ImageSet
    target_train: ImageSet
    """Without labels."""
    target_test: ImageSet
    """For the final report; with labels where there are any. Classes that the source lacks stand after its own."""
    target_train_labels_oracle: Int64[Tensor, " m"] | None
    """For oracle curves, the oracle strategy and the labelled stream. Classes that the source lacks stand after its
    own."""


def data_root(experiment: Experiment) -> Path:
    """Where the prepared data lies: the experiment's field, then $DOMAINMETRIC_DATA, then data/."""
    return experiment.data_root or Path(os.environ.get("DOMAINMETRIC_DATA") or "data")


def load(experiment: Experiment, root: Path, device: torch.device) -> RunData:
    """Load both domains onto `device`, hold out the source validation rows, and put the target labels aside.

    Training images for which there is no room stay where they are stored (`Runtime.data`).
    """
    size = experiment.image_size
    pair, needs_labels = experiment.data, experiment.labelled_target is not None
    source = load_split(pair.source, "train", root=root, size=size, labelled=True)
    target = pair.aligned(load_split(pair.target, "train", root=root, size=size, labelled=needs_labels))
    order = torch.randperm(len(source), generator=generator("cpu", experiment.seed, "source validation"))
    held_out = round(experiment.source_validation * len(source))
    if not 0 < held_out < len(source):
        raise DataError(
            f"The training split of '{pair.source.name}' has {len(source)} images, of which source_validation="
            f"{experiment.source_validation} holds out {held_out}: some must be held out, and some left to train on. "
            "Add images, or choose another share."
        )
    train_rows, held = order[held_out:].sort().values, order[:held_out].sort().values
    arrays = [domain.array("train", root=root, size=size) for domain in (pair.source, pair.target)]
    stay = stays(experiment, source, target, arrays, device)
    return RunData(
        source_train=placed(source, train_rows, arrays[0], device, stay=stay),
        source_train_rows=train_rows.to(device),
        source_validation=placed(source, held, arrays[0], device, stay=stay),
        source_test=load_split(pair.source, "test", root=root, size=size, labelled=True).to(device),
        target_train=placed(target.unlabelled(), None, arrays[1], device, stay=stay),
        target_test=pair.aligned(load_split(pair.target, "test", root=root, size=size, labelled=False)).to(device),
        target_train_labels_oracle=None if target.labels is None else target.labels.to(device),
    )


def stays(
    experiment: Experiment, source: ImageSet, target: ImageSet, arrays: Sequence[Path | None], device: torch.device
) -> bool:
    """Whether the training images stay where they are stored, and are picked from there step by step."""
    if experiment.runtime.data != "stored":
        needed, room = sum(each.images.numel() for each in (source, target)), free_memory(device)
        return experiment.runtime.data == "auto" and room is not None and needed > ROOM_SHARE * room
    if device.type == "cpu" and None in arrays:
        sides = [name for name, array in zip(DOMAINS, arrays, strict=True) if array is None]
        raise ConfigError(
            f"runtime.data is 'stored', but the training images of the {' and the '.join(sides)} are made or changed "
            "when they are loaded, so that they lie in memory anyway. Leave it at 'auto', or prepare a store of them."
        )
    return True


def placed(
    images: ImageSet, rows: Int64[Tensor, " r"] | None, array: Path | None, device: torch.device, *, stay: bool
) -> ImageSet:
    """Some rows of a split, or all, on the device; or, to the same effect, where they are stored."""
    if not stay:
        return (images if rows is None else images.take(rows)).to(device)
    rows = torch.arange(len(images)) if rows is None else rows
    labels = None if images.labels is None else images.labels[rows].to(device)
    return replace(images, images=Streamed(array or images.images, rows, device), labels=labels)


class Batches:
    """The batches of one phase, each a function of the step. Close it: other processes may be making its views.

    Only `matched_rows` remembers something, where the phase draws its target batches by matched label. All of a `team`
    draw the same rows, but what is said of images below is said of the share of this process.
    """

    def __init__(
        self, experiment: Experiment, phase_name: str, phase: Phase, data: RunData, team: Team = ALONE
    ) -> None:
        self.data, self.team = data, team
        self.seed, self.phase_name, self._num_steps = experiment.seed, phase_name, phase.steps
        self.device = data.source_train.images.device
        num_classes, views = len(data.source_train.classes), experiment.augmentation
        assert data.source_train.labels is not None
        source = phase.sampling.open(
            data.source_train.labels.cpu(),
            num_classes,
            phase.source_batch,
            seed=self.seed,
            name=f"{phase_name}/source",
        )
        self._source = self._open(views.source, data.source_train, source, "source")
        self.matched_rows: MatchedRows | None = None
        self._target: ViewStream | None = None
        self._labelled: ViewStream | None = None
        self.target_batch = phase.target_batch if isinstance(phase, AdaptationPhase) else 0
        if isinstance(phase, AdaptationPhase):
            sizes = (len(data.target_train), phase.target_batch, self.seed, f"{phase_name}/target")
            self._shuffled_rows = rows = ShuffledRows(*sizes).rows
            if phase.draws_by_match:
                self.matched_rows = MatchedRows(*sizes)
                rows = self.matched_rows.rows
            self._target = self._open(views.target, data.target_train, rows, "target")
            if "labelled_target" in experiment.needs(experiment.terms_of(phase)):
                assert experiment.labelled_target is not None and data.target_train_labels_oracle is not None
                self._labels = data.target_train_labels_oracle
                self._labelled = self._open(
                    views.target, data.target_train, self._labelled_rows(experiment.labelled_target), "labelled"
                )

    def _labelled_rows(self, shown: LabelledTarget) -> Rows:
        """As many labelled target images of each class that has any: others cannot be drawn from."""
        readable = shown.rows(self._labels, self.data.source_train.classes).cpu()
        there, labels = self._labels.cpu()[readable].unique(return_inverse=True)
        drawn = Balanced().open(
            labels, len(there), shown.size(len(there)), seed=self.seed, name=f"{self.phase_name}/labelled"
        )
        return lambda step: readable[drawn(step)]

    def _open(self, views: Views, images: ImageSet, rows: Rows, name: str) -> ViewStream:
        name = f"{self.phase_name}/{name}"
        return views.open(
            images.images, rows, seed=self.seed, name=name, num_steps=self._num_steps, share=self.team.share
        )

    def close(self) -> None:
        """End the processes that make views, where there are any."""
        for stream in (self._source, self._target, self._labelled):
            if stream is not None:
                stream.close()

    def step_seed(self, step: int) -> int:
        """Seed of what draws from torch's own generator in a step (dropout)."""
        return derive(self.seed, self.phase_name, "step", step)

    def generator(self, step: int, name: str) -> torch.Generator:
        """Randomness of one purpose in one step."""
        return generator(self.device, self.seed, self.phase_name, name, step)

    def source(self, step: int) -> SourceBatch:
        """Views of the random source rows of a step."""
        labels = self.data.source_train.labels
        assert labels is not None
        with part("augmentation"):
            rows, images = self._source.at(step)
        with part("data"):
            return SourceBatch(rows=rows, images=images, labels=labels[rows])

    def matched(self, step: int, rows: Int64[Tensor, " e"]) -> Float[Tensor, "own c h w"]:
        """Images of the source rows that were matched in a step."""
        with part("augmentation"):
            return self._source.of(rows, step)

    def clean_source(self, rows: Int64[Tensor, " n"]) -> Float[Tensor, "own c h w"]:
        """Source images without augmentation, as the teacher sees them."""
        with part("data"):
            return self._clean(self.data.source_train, rows)

    def matched_target(self, step: int, rows: Int64[Tensor, " n"]) -> Float[Tensor, "own c h w"]:
        """Images of the target rows that stand for the source items of a step."""
        assert self._target is not None
        with part("augmentation"):
            return self._target.of(rows, step)

    def target(self, step: int) -> TargetBatch:
        """Target images of a step, augmented and clean."""
        assert self._target is not None
        with part("augmentation"):
            rows, images = self._target.at(step)
        with part("data"):
            return TargetBatch(rows=rows, images=images, clean=self._clean(self.data.target_train, rows))

    def clean_target(self, step: int) -> Float[Tensor, "own c h w"]:
        """Target images without augmentation, shuffled, each of the set once per epoch of such batches."""
        assert self._target is not None
        with part("data"):
            return self._clean(self.data.target_train, self._shuffled_rows(step).to(self.device, non_blocking=True))

    def _clean(self, images: ImageSet, rows: Int64[Tensor, " r"]) -> Float[Tensor, "own c h w"]:
        return to_float(images.images[rows[self.team.share(len(rows))]])

    def labelled_target(self, step: int) -> LabelledTargetBatch:
        """Labelled target images of a step, from the stream that only oracle and supervised experiments have."""
        assert self._labelled is not None
        with part("augmentation"):
            rows, images = self._labelled.at(step)
        with part("data"):
            return LabelledTargetBatch(rows=rows, images=images, labels=self._labels[rows])
