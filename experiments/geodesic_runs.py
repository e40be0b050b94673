"""The trainings on digits of `experiments.geodesic_or_chord`: one loop in which the gradient can be seen and changed.

`lab.train` hides the one place that this question is about, the way of the gradient from the loss to the network. Here
it is open: the loss gives a gradient at the vectors before they are normalized (`raw`), that gradient is matched in
length or not, and then handed to the network.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric import (
    Augment,
    Chord,
    ChordSquared,
    Cosine,
    Distance,
    Geodesic,
    MarginTriplet,
    MetricLoss,
    Pairs,
    Svhn,
)
from domainmetric.data.sampling import GroupRows
from domainmetric.diagnostics.gradients import FORMS
from domainmetric.geometry import TINY, FromPairwise, normalize
from domainmetric.metrics.collapse import mean_cosine
from domainmetric.pairs import pair
from domainmetric.randomness import generator, isolated
from domainmetric.types import Group
from experiments.collapse_toy import LOSSES, MINERS
from experiments.lab import Encoder, Task, head, scores, validation

DISTANCES: Mapping[str, Distance] = {
    "chord^2": ChordSquared(), "chord": Chord(), "cosine": Cosine(), "geodesic": Geodesic(),
}  # fmt: skip
RIGHT_ANGLE: Mapping[str, float] = {"chord^2": 2.0, "chord": math.sqrt(2), "cosine": 1.0, "geodesic": math.pi / 2}
"""Each distance of two orthogonal vectors: the unit in which margins are comparable."""
NUM_CLASSES, DIM, WIDTHS = 5, 64, (16, 32, 64)
NUM_TEST, NUM_VALIDATION = 4000, 2000
LOOKS = 30
"""How often during a run the mean cosine of the batch is noted."""


@dataclass(frozen=True, kw_only=True)
class DigitRun:
    """One training on the SVHN digits 0 to 4, and on what it is judged."""

    loss: str
    """A distance, or a loss of the toy that has no margin."""
    margin: float | None
    """In the unit of the distance; None for a loss without one."""
    miner: str
    """`all` triplets, or a miner of the toy."""
    n: int
    """Examples of each of the 5 digits in a batch."""
    optimizer: str
    """`matched`: SGD with momentum 0.9 on gradients that have length 1 in every batch, at the vectors that the loss
    sees; `adam`; both with a rate that falls linearly to zero. `sgd`: plain, at a constant rate, as on the toy."""
    lr: float
    seed: int
    steps: int
    normalized: str = "in the graph"
    """`in the graph`: the gradient passes through the normalization, which leaves its part along the sphere alone and
    divides it by the length. `after`: the loss sees unit vectors, but the whole gradient of the distance's plain
    formula is handed to the network, and the next forward pass normalizes again. `free`: the loss sees the vectors
    as they are, whatever their lengths; after each update the last layer is divided by the mean length of the batch."""
    judge: str = "validation"
    """`validation`: 2,000 other images of the digits 0 to 4. `test`: also 4,000 images of the digits 5 to 9."""

    @property
    def name(self) -> str:
        """What a result is kept under."""
        kind = f"{self.judge}/{self.optimizer}/{self.normalized}/{self.miner}/n{self.n}"
        margin = "" if self.margin is None else f" margin {self.margin:.3f}"
        return f"{kind}/{self.loss}{margin}/lr{self.lr:g}/seed{self.seed}/{self.steps} steps"


@cache
def tasks(root: Path) -> tuple[Task, Task]:
    """The validation task and the test task, both from SVHN's training file: no digit 5 to 9 is ever trained on."""
    images = Svhn().load("train", root=root, size=32)
    assert images.labels is not None
    seen = images.take((images.labels < NUM_CLASSES).nonzero()[:, 0])
    unseen = head(images.take((images.labels >= NUM_CLASSES).nonzero()[:, 0]), NUM_TEST)
    held = validation(Task(name="svhn", train=seen, test=unseen), min(NUM_VALIDATION, len(seen) // 4))
    return held, Task(name="svhn 5-9", train=held.train, test=unseen)


def loss_of(run: DigitRun) -> MetricLoss:
    """The loss that a run minimizes."""
    if run.margin is None:
        return LOSSES[run.loss]
    in_graph = run.normalized == "in the graph"
    distance = DISTANCES[run.loss] if in_graph else FromPairwise(function=FORMS[run.loss])
    return MarginTriplet(margin=run.margin, distance=distance)


def seen_by_loss(raw: Float[Tensor, "b d"], normalized: str) -> Float[Tensor, "b d"]:
    """The vectors that the loss is given, see `DigitRun.normalized`."""
    if normalized == "free":
        return raw
    unit = normalize(raw)
    return unit if normalized == "in the graph" else raw + (unit - raw).detach()


def pairs_of(z: Float[Tensor, "b d"], labels: Int64[Tensor, " b"]) -> Pairs:
    """All pairs of a batch, of vectors as they are."""
    group, items = Group(z=z, labels=labels), torch.arange(len(z))
    return pair(group, group, items, items)


Watch = Callable[[int, Encoder, Float[Tensor, "b d"], Int64[Tensor, " b"]], None]
"""Called before each update with the step, the encoder, its raw vectors and their labels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedDigits:
    """A trained encoder and how its training went."""

    encoder: Encoder
    active: list[float]
    spread: list[float]
    """Mean cosine within the batch, LOOKS times."""
    length: float
    """Mean length of the last batch's raw vectors."""


def train(run: DigitRun, task: Task, watch: Watch | None = None) -> TrainedDigits:
    """Train an encoder. The same run gives the same encoder."""
    labels = task.train.labels
    assert labels is not None
    sampler = GroupRows(labels, NUM_CLASSES, run.n, run.seed, "digits")
    with isolated(run.seed, "encoder"):
        encoder = Encoder(task.train.images.shape[-1], DIM, WIDTHS)
    optimizer, augment, loss = optimizer_of(run, encoder), Augment(), loss_of(run)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, float(run.optimizer == "sgd"), total_iters=run.steps)
    active, spread, length = [], [], 0.0
    for step in range(run.steps):
        rows = sampler.rows(step)
        raw = encoder.raw(augment(task.train.images[rows], generator("cpu", run.seed, "views", step)))
        pairs = pairs_of(seen_by_loss(raw, run.normalized), labels[rows])
        result = loss.of(pairs, None if run.miner == "all" else MINERS[run.miner].select(pairs))
        (gradient,) = torch.autograd.grad(result.value, raw)
        if watch is not None:
            watch(step, encoder, raw, labels[rows])
        if run.optimizer == "matched":
            gradient = gradient / seen_length(gradient, raw.detach(), run.normalized).clamp_min(TINY)
        optimizer.zero_grad(set_to_none=True)
        raw.backward(gradient)
        optimizer.step()
        falling.step()
        length = float(raw.detach().norm(dim=1).mean())
        if run.normalized == "free":
            shorten(encoder, length)
        active.append(float(result.active / result.used.clamp_min(1)))
        if step % max(1, run.steps // LOOKS) == 0:
            spread.append(round(mean_cosine(normalize(raw.detach())), 4))
    return TrainedDigits(encoder=encoder, active=active, spread=spread, length=length)


def seen_length(gradient: Float[Tensor, "b d"], raw: Float[Tensor, "b d"], normalized: str) -> Float[Tensor, ""]:
    """The length of a batch's gradient where the loss sees the vectors, from the one at the raw vectors.

    The way back through the normalization divides it by the vectors' lengths. That is left to act: lengths grow with
    every step along the sphere, and gradients of length 1 at the raw vectors would make them grow without end.
    """
    return (gradient * raw.norm(dim=1, keepdim=True)).norm() if normalized == "in the graph" else gradient.norm()


def optimizer_of(run: DigitRun, encoder: Encoder) -> torch.optim.Optimizer:
    """The run's optimizer over an encoder."""
    if run.optimizer == "adam":
        return torch.optim.Adam(encoder.parameters(), lr=run.lr)
    return torch.optim.SGD(encoder.parameters(), lr=run.lr, momentum=0.9 if run.optimizer == "matched" else 0.0)


@torch.no_grad()
def shorten(encoder: Encoder, length: float) -> None:
    """Divide the last layer by a length, so that vectors of that length become unit vectors."""
    for parameter in encoder.project.parameters():
        parameter.div_(max(length, TINY))


def work(run: DigitRun, root: Path) -> dict[str, Any]:
    """Train and judge one run."""
    held, test = tasks(root)
    began = time.perf_counter()
    trained = train(run, held)
    seconds = time.perf_counter() - began
    result = {
        "active": round(fmean(trained.active[-20:]), 3),
        "length": round(trained.length, 3),
        "spread": trained.spread,
        "seconds": round(seconds, 1),
    }
    for task in (held, test) if run.judge == "test" else (held,):
        found = scores(task, trained.encoder)
        kind = "validation" if task is held else "test"
        result |= {f"{kind}_{k}": round(found[k], 5) for k in ("recall_at_1", "map_at_r", "mean_cosine")}
    return result
