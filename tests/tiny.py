"""A pair of generated domains on which transfer can be learned within seconds, and experiments of that size.

Four classes of strokes in 16x16 pixels. The source is colored, of either contrast, thick and noisy; the target is grey,
thin, slanted and dark on light. Trained on the source alone, a small network reads part of the target.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch

from domainmetric.alignment.consistency import Consistency
from domainmetric.alignment.dann import Dann
from domainmetric.alignment.information import InformationMaximization
from domainmetric.alignment.mmd import Mmd
from domainmetric.anchors.base import AnchorStrategy
from domainmetric.anchors.nearest import Nearest
from domainmetric.data.augment import Augment
from domainmetric.data.domain import Domain, Split, spec_hash
from domainmetric.data.pair import Pair
from domainmetric.experiment import (
    AdaptationPhase,
    Augmentation,
    Banks,
    Evaluation,
    Experiment,
    Optimizer,
    Runtime,
    SourcePhase,
)
from domainmetric.models.cnn import SmallCnn
from domainmetric.models.network import Model, Separate
from domainmetric.randomness import derive
from domainmetric.schedules import SigmoidRamp
from domainmetric.terms import Classify, Metric, Term
from domainmetric.tracking import Tracking
from domainmetric.types import ImageSet

CLASSES = ("bar", "cross", "ring", "slash")
SIZE = 16


@dataclass(frozen=True, kw_only=True)
class Strokes(Domain):
    """What both domains share: the classes, and how a set is drawn from a seed."""

    num_train: int = 320
    num_test: int = 200
    label_noise: int | None = None
    """Where given, the training labels are random ones drawn from this seed: for tests that labels are not read."""

    @property
    def classes(self) -> tuple[str, ...]:
        return CLASSES

    def load(self, split: Split, *, root: Path, size: int) -> ImageSet:
        assert size == SIZE, f"these domains are drawn at {SIZE}x{SIZE}"
        images, labels = draw(self.name, split, self.num_train if split == "train" else self.num_test)
        if self.label_noise is not None and split == "train":
            noise = torch.Generator().manual_seed(self.label_noise)
            labels = torch.randint(len(CLASSES), labels.shape, generator=noise)
        return ImageSet(images=images, labels=labels, classes=self.classes)

    def hashes(self, root: Path, *, size: int) -> dict[str, str]:
        return {"spec": spec_hash(self, version=1)}


@dataclass(frozen=True, kw_only=True)
class Colored(Strokes):
    """The labelled source."""

    @property
    def name(self) -> str:
        return "colored"

    @property
    def channels(self) -> int:
        return 3


@dataclass(frozen=True, kw_only=True)
class Grey(Strokes):
    """The target."""

    @property
    def name(self) -> str:
        return "grey"

    @property
    def channels(self) -> int:
        return 1


@dataclass(frozen=True, kw_only=True)
class Unlabelled(Grey):
    """The target as it usually is."""

    @property
    def classes(self) -> None:  # type: ignore[override]
        return None

    def load(self, split: Split, *, root: Path, size: int) -> ImageSet:
        return ImageSet(images=Grey().load(split, root=root, size=size).images, labels=None, classes=())


@cache
def draw(domain: str, split: Split, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels, the classes in turn."""
    rng = torch.Generator().manual_seed(derive(0, domain, split))
    labels = torch.arange(count) % len(CLASSES)
    source = domain == "colored"
    ink = strokes(labels, rng, width=0.28 if source else 0.16, slant=0.1 if source else 0.7)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand(count, *shape, 1, 1, generator=rng) * (high - low) + low

    if source:
        ground, color = uniform(0.1, 0.4, 3), uniform(0.6, 0.9, 3)
        swap = uniform(0, 1, 1) < 0.5
        ground, color = torch.where(swap, color, ground), torch.where(swap, ground, color)
        noise = 0.12
    else:
        ground, color, noise = uniform(0.75, 0.95, 1), uniform(0.3, 0.5, 1), 0.08
    pixels = ground + (color - ground) * ink[:, None]
    pixels = pixels + noise * torch.randn(pixels.shape, generator=rng)
    return pixels.clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous(), labels


def strokes(labels: torch.Tensor, rng: torch.Generator, *, width: float, slant: float) -> torch.Tensor:
    """Masks (n SIZE SIZE) in [0, 1] of each label's figure, jittered."""
    n = len(labels)
    axis = (torch.arange(SIZE) + 0.5) / SIZE * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")

    def normal(scale: float) -> torch.Tensor:
        return torch.randn(n, 1, 1, generator=rng) * scale

    x, y = x + normal(0.12), y + normal(0.12)
    x = x + (normal(slant / 2) + slant) * y
    size = 1 + normal(0.1)
    bar, flat = x.abs(), y.abs()
    figures = torch.stack(
        [bar, torch.minimum(bar, flat), ((x.square() + y.square()).sqrt() - 0.55 * size).abs(), (x + y).abs() * 0.7], 1
    )
    distance = figures[torch.arange(n), labels]
    inside = torch.maximum(x.abs(), y.abs()) < 0.85 * size
    return torch.sigmoid((width / 2 - distance) * 20) * inside


def pair(*, label_noise: int | None = None) -> Pair:
    """The colored source and the grey target."""
    return Pair(source=Colored(), target=Grey(label_noise=label_noise))


ADAPTATION = {
    "triplet": Term(part=Metric(), schedule=SigmoidRamp()),
    "dann": Term(part=Dann(hidden=16), weight=0.3),
    "mmd": Term(part=Mmd(), schedule=SigmoidRamp()),
    "information": Term(part=InformationMaximization()),
}
"""The terms of the whole method, beside the source cross-entropy."""
MORE = {
    "consistency": Term(part=Consistency(confidence=0.3), weight=0.5),
    "weighted_dann": Term(part=Dann(hidden=16, class_weighted=True), weight=0.3),
    "weighted_mmd": Term(part=Mmd(class_weighted=True), schedule=SigmoidRamp()),
}
"""Terms that it leaves out."""


def experiment(
    runs_root: Path,
    *names: str,
    anchors: AnchorStrategy | None = None,
    source_steps: int = 80,
    adapt_steps: int = 80,
    seed: int = 0,
) -> Experiment:
    """A source phase and an adaptation with the named terms of both; without names, the source phase alone."""
    terms = {"classify": Term(part=Classify()), **{name: (ADAPTATION | MORE)[name] for name in names}}
    if "triplet" in names and anchors is None:
        anchors = Nearest()
    phases: dict[str, SourcePhase | AdaptationPhase] = {
        "source": SourcePhase(terms=("classify",), steps=source_steps, source_batch=32, optimizer=Optimizer(lr=1e-2))
    }
    if names:
        phases["adapt"] = AdaptationPhase(
            terms=tuple(terms),
            steps=adapt_steps,
            source_batch=32,
            target_batch=48,
            ema=0.9,
            calibration_steps=5,
            optimizer=Optimizer(lr=5e-3),
        )
    backbone = SmallCnn(widths=(8, 16, 32))
    return Experiment(
        name="tiny",
        data=pair(),
        terms=terms,
        phases=dict(phases),
        anchors=anchors,
        seed=seed,
        image_size=SIZE,
        model=Model(branches=Separate(source=backbone, target=backbone), embedding_dim=16),
        augmentation=Augmentation(source=Augment(invert=0.5, grey=0.5), target=Augment(affine=0.05)),
        banks=Banks(source_size=200, target_size=200, refresh_every=20),
        evaluation=Evaluation(every=40, num_images=200, gradient_every=10),
        runtime=Runtime(device="cpu", threads=1),
        tracking=Tracking(wandb="off"),
        runs_root=runs_root,
    )


def full(runs_root: Path, **settings: int) -> Experiment:
    """The whole method."""
    return experiment(runs_root, *ADAPTATION, **settings)


def with_noise(original: Experiment, noise: int) -> Experiment:
    """The same experiment with noise for the target's training labels, in a folder of its own."""
    data = replace(original.data, target=Grey(label_noise=noise))
    return replace(original, data=data, runs_root=original.runs_root / f"noise-{noise}")
