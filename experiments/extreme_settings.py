"""What a run of `experiments.extreme_triplet` can be asked for, and what the paper asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Int64
from torch import Tensor

from domainmetric import EasyPositiveHardNegative, FirstOrder, MetricLoss, Miner, SecondOrder
from domainmetric.miners.hard import EasyPositiveSemiHardNegative

MINERS: dict[str, Miner] = {"EPHN": EasyPositiveHardNegative(), "EPSHN": EasyPositiveSemiHardNegative()}
LOSSES: dict[str, MetricLoss] = {"L1": FirstOrder(), "L2": SecondOrder()}
RECALL_AT: dict[str, tuple[int, ...]] = {
    "cub": (1, 2, 4), "cars": (1, 2, 4), "sop": (1, 10, 100), "inshop": (1, 10, 20),
}  # fmt: skip
PER_CLASS = {"cub": 8, "cars": 16, "sop": 2, "inshop": 2}
"""n, images of a class in a batch of 128."""
LR = {"cub": 0.0025, "cars": 0.005, "sop": 0.005, "inshop": 0.005}
PAPER = {
    ("EPHN", "L1"): {"cub": 64.9, "cars": 82.7, "sop": 78.0, "inshop": 87.1},
    ("EPHN", "L2"): {"cub": 65.2, "cars": 83.2, "sop": 78.8, "inshop": 89.0},
}
"""Recall@1 in % that the paper reports for ResNet-50, by miner and loss."""
COMMON: dict[str, Any] = {
    "network": "resnet50",
    "weights": "IMAGENET1K_V1",
    "momentum": 0.0,
    "epochs": 40,
    "batch": 128,
    "dim": 512,
    "size": 256,
}
"""What all of these have in common."""


def papers_recall(settings: Mapping[str, Any]) -> float | None:
    """Recall@1 in % that the paper reports for these settings; None where it reports none."""
    name = settings["benchmark"]
    wanted = {**COMMON, "per_class": PER_CLASS[name], "lr": LR[name]}
    if any(settings[key] != value for key, value in wanted.items()):
        return None
    return PAPER.get((settings["miner"], settings["loss"]), {}).get(name)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one run does."""

    benchmark: str
    network: str
    """`resnet18` or `resnet50`."""
    weights: str | None
    """torchvision's name of the pretrained weights; None begins at random."""
    miner: str
    loss: str
    seed: int
    per_class: int
    """n: images of each class in a batch."""
    lr: float
    """Learning rate of the first half; a tenth of it after half of the epochs, a hundredth after three quarters."""
    momentum: float
    epochs: int
    batch: int
    dim: int
    """Dimensions of the embedding."""
    size: int
    """Side of the images in pixels."""
    every: int
    """Epochs between two looks at the recall."""

    @property
    def name(self) -> str:
        """What its folder is called."""
        return f"{self.benchmark}-{self.network}-{self.miner}-{self.loss}-s{self.seed}"

    def lr_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        return self.lr * 0.1 ** ((2 * epoch >= self.epochs) + (4 * epoch >= 3 * self.epochs))

    def steps_of_epoch(self, labels: Int64[Tensor, " n"]) -> int:
        """Batches in an epoch, as the authors count (see `experiments.extreme_triplet`)."""
        counts = labels.unique(return_counts=True)[1]
        seen = int(counts.max()) if self.benchmark in ("cub", "cars") else self.per_class
        return max(1, len(counts) * seen // self.batch)
