"""The collapse toy: 32 Gaussian classes, a small MLP, and which triplet losses draw all of them into one point.

Inputs of all classes share an offset, so that at the start the embeddings already lie in one half of the sphere (mean
cosine about 0.5), as those of images do behind rectified features. From there a loss has to push them apart. A part of
`experiments.geodesic_or_chord`, which runs it and draws it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from domainmetric import Chord, ChordSquared, EasyPositiveHardNegative, Geodesic, MarginTriplet, MetricLoss, Miner
from domainmetric.geometry import normalize
from domainmetric.losses.order import FirstOrder, SecondOrder
from domainmetric.losses.selective import SelectivelyContrastive
from domainmetric.metrics.collapse import mean_cosine
from domainmetric.metrics.retrieval import retrieval
from domainmetric.miners.hard import HardPositiveHardNegative
from domainmetric.pairs import label_pairs
from domainmetric.randomness import generator, isolated

MARGIN = 0.2
LOSSES: Mapping[str, MetricLoss] = {
    "chord^2": MarginTriplet(margin=MARGIN, distance=ChordSquared()),
    "chord": MarginTriplet(margin=MARGIN, distance=Chord()),
    "geodesic": MarginTriplet(margin=MARGIN, distance=Geodesic()),
    "L1": FirstOrder(),
    "L1, T = 0.1": FirstOrder(temperature=0.1),
    "L2": SecondOrder(),
    "SCT": SelectivelyContrastive(),
}
"""The margin is 0.2 in the unit of each distance, and so not the same angle."""
MINERS: Mapping[str, Miner] = {"HPHN": HardPositiveHardNegative(), "EPHN": EasyPositiveHardNegative()}
CLASSES, INPUTS, HIDDEN, DIM = 32, 64, 128, 32
NOISE, OFFSET = 1.5, 6 / sqrt(INPUTS)
TEST_PER_CLASS = 20
LOOKS = 30
"""How often during a run the mean cosine of the test embeddings is noted."""


@dataclass(frozen=True, kw_only=True)
class ToyRun:
    """One training on the toy."""

    loss: str
    miner: str
    n: int
    """Examples of a class in a batch."""
    classes: int
    """Classes in a batch, of 32; drawn anew for each."""
    lr: float
    seed: int
    steps: int = 300

    @property
    def name(self) -> str:
        """What a result is kept under."""
        batch = f"{self.classes} classes x {self.n}"
        return f"{self.miner}/{batch}/{self.loss}/lr{self.lr:g}/seed{self.seed}/{self.steps} steps"


class Toy:
    """The data of one seed: x = tanh(z A) + offset, where z is a class mean and Gaussian noise."""

    def __init__(self, seed: int) -> None:
        draw = generator("cpu", seed, "toy")
        self.seed = seed
        self.means = torch.randn(CLASSES, INPUTS, generator=draw)
        self.mixing = torch.randn(INPUTS, INPUTS, generator=draw) / sqrt(INPUTS)

    def draw(
        self, per_class: int, *name: str | int, classes: int = CLASSES
    ) -> tuple[Float[Tensor, "b f"], Int64[Tensor, " b"]]:
        """Fresh inputs and their labels, class by class; the same name gives the same inputs."""
        chosen = torch.randperm(CLASSES, generator=generator("cpu", self.seed, "classes", *name))[:classes]
        labels = chosen.sort().values.repeat_interleave(per_class)
        noise = torch.randn(len(labels), INPUTS, generator=generator("cpu", self.seed, "toy", *name))
        return torch.tanh((self.means[labels] + NOISE * noise) @ self.mixing) + OFFSET, labels


def work(run: ToyRun) -> dict[str, Any]:
    """Train by plain SGD and tell how far the embeddings of fresh inputs spread, on the way and at the end."""
    toy, loss, miner = Toy(run.seed), LOSSES[run.loss], MINERS[run.miner]
    with isolated(run.seed, "toy encoder"):
        encoder = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, DIM))
    optimizer = torch.optim.SGD(encoder.parameters(), lr=run.lr)
    test, test_labels = toy.draw(TEST_PER_CLASS, "test")
    spread, active = [], []
    for step in range(run.steps):
        if step % max(1, run.steps // LOOKS) == 0:
            spread.append(spread_of(encoder, test))
        inputs, labels = toy.draw(run.n, "train", step, classes=run.classes)
        pairs = label_pairs(encoder(inputs), labels)
        result = loss.of(pairs, miner.select(pairs))
        optimizer.zero_grad(set_to_none=True)
        result.value.backward()
        optimizer.step()
        active.append(float(result.active / result.used.clamp_min(1)))
    with torch.no_grad():
        z = normalize(encoder(test))
    found = retrieval(z, test_labels, z, test_labels, exclude_self=True, recall_at=(1,))
    return {
        "mean_cosine": round(mean_cosine(z), 5),
        "recall_at_1": round(found["recall_at_1"], 4),
        "active": round(sum(active[-20:]) / len(active[-20:]), 3),
        "spread": spread,
    }


@torch.no_grad()
def spread_of(encoder: nn.Module, inputs: Float[Tensor, "b f"]) -> float:
    """Mean cosine of the embeddings of some inputs."""
    return round(mean_cosine(normalize(encoder(inputs))), 4)
