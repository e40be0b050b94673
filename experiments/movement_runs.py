"""The trainings of the experiment `triplet_movement`, and what is looked at on their way."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from torch import Tensor

from domainmetric import EasyPositiveHardNegative, MetricLoss, Miner
from domainmetric.data.augment import to_float
from domainmetric.data.sampling import GroupRows
from domainmetric.diagnostics.movement import Movement, joined, measure
from domainmetric.diagnostics.scatter import Scatter, scatter
from domainmetric.losses.base import LossValue
from domainmetric.losses.order import FirstOrder, SecondOrder
from domainmetric.miners.disjoint import Disjoint
from domainmetric.miners.hard import EasyPositiveEasyNegative, HardPositiveHardNegative
from domainmetric.types import Group
from experiments.lab import Encoder, Recipe, Task, digits, embed, train

LOSSES: dict[str, MetricLoss] = {"L1": FirstOrder(), "L2": SecondOrder()}
MINERS: dict[str, Miner] = {
    "HPHN": Disjoint(miner=HardPositiveHardNegative()),
    "EPEN": Disjoint(miner=EasyPositiveEasyNegative()),
}
LR = 1e-5
"""Learning rate of the measured update, plain gradient descent."""
Arm = tuple[int, str, str]
"""Step of training, miner, and the loss of the measured update."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training by EPHN triplets, and what is looked at on its way."""

    domain: str
    loss: str
    n: int
    seed: int
    steps: int
    root: Path
    num_test: int | None
    batches: int
    """Batches of n examples of each digit on which updates are measured; without any, the test set is looked at."""

    @property
    def times(self) -> tuple[int, ...]:
        """Steps at which training is looked at: five for a scatter, early and late for the movement."""
        parts = (1 / 16, 1) if self.batches else (0, 1 / 16, 1 / 4, 1 / 2, 1)
        return tuple(int(part * self.steps) for part in parts)

    @property
    def recipe(self) -> Recipe:
        """The training."""
        return Recipe(
            loss=LOSSES[self.loss],
            miner=EasyPositiveHardNegative(),
            per_class=self.n,
            steps=self.steps,
            seed=self.seed,
            widths=(16, 32, 64),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What a run showed."""

    movements: dict[Arm, Movement]
    scatters: dict[int, Scatter]


@cache
def task_of(domain: str, root: Path, num_test: int | None) -> Task:
    """The images, loaded once in a process."""
    return digits(domain, root, num_test=num_test)


def work(run: Run) -> Seen:
    """Train, and look at the due times."""
    task, seen = task_of(run.domain, run.root, run.num_test), Seen(movements={}, scatters={})

    def look(step: int, encoder: Encoder, *_: Tensor | LossValue) -> None:
        if step not in run.times:
            return
        if run.batches:
            seen.movements.update({(step, *arm): found for arm, found in moves(task, encoder, run).items()})
        else:
            assert task.test.labels is not None
            test = Group(z=embed(encoder, task.test), labels=task.test.labels)
            seen.scatters[step] = scatter(test, EasyPositiveHardNegative())

    look(run.steps, train(task, run.recipe, watch=look).encoder)
    return seen


def moves(task: Task, encoder: Encoder, run: Run) -> dict[tuple[str, str], Movement]:
    """{(miner, loss): movement} by one update each, from the encoder as it is, over some batches of training images."""
    labels = task.train.labels
    assert labels is not None
    sampler = GroupRows(labels, len(labels.unique()), run.n, run.seed, "movement")
    found: dict[tuple[str, str], list[Movement]] = {}
    for batch in range(run.batches):
        rows = sampler.rows(batch)
        images = to_float(task.train.images[rows])
        for name, miner in MINERS.items():
            for loss, moved in measure(encoder, images, labels[rows], miner=miner, losses=LOSSES, lr=LR).items():
                found.setdefault((name, loss), []).append(moved)
    return {arm: joined(parts) for arm, parts in found.items()}
