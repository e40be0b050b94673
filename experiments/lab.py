"""The bench of the triplet laboratory: one encoder, one metric loss, one set of real digits, and how well it retrieves.

What the experiments on triplets share. They ask about a loss, a miner or a batch, and not about transfer, so their
training is a loop that can be read in one look; runs on the two domains use `domainmetric.run`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from domainmetric import Augment, Domain, ImageSet, MarginTriplet, MetricLoss, Miner, Mnist, Pairs, SmallCnn, Svhn, Usps
from domainmetric.data.augment import to_float
from domainmetric.data.sampling import GroupRows
from domainmetric.geometry import normalize
from domainmetric.losses.base import LossValue
from domainmetric.metrics.collapse import mean_cosine
from domainmetric.metrics.retrieval import retrieval
from domainmetric.models.network import Branch
from domainmetric.pairs import label_pairs
from domainmetric.randomness import generator, isolated

DOMAINS: dict[str, Callable[[], Domain]] = {"svhn": Svhn, "mnist": Mnist, "usps": Usps}
COLLAPSED = 0.95
"""Mean cosine of test embeddings above which an embedding counts as collapsed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Images to train on, and images among which each is a query and the others are its gallery."""

    name: str
    train: ImageSet
    test: ImageSet


def data_root() -> Path:
    """Where the prepared digits lie: $DOMAINMETRIC_DATA, then data/."""
    return Path(os.environ.get("DOMAINMETRIC_DATA") or "data")


def digits(
    name: str, root: Path, *, held_out: bool = False, num_train: int | None = None, num_test: int | None = 2000
) -> Task:
    """SVHN, MNIST or USPS at 32x32. With `held_out` 0 to 4 are trained on, and 5 to 9 are retrieved.

    `num_train` and `num_test` take the first of the official order; None takes all.
    """
    domain = DOMAINS[name]()
    train, test = (domain.load(split, root=root, size=32) for split in ("train", "test"))
    if held_out:
        assert train.labels is not None and test.labels is not None
        train, test = train.take((train.labels < 5).nonzero()[:, 0]), test.take((test.labels >= 5).nonzero()[:, 0])
    return Task(name=name, train=head(train, num_train), test=head(test, num_test))


def head(images: ImageSet, count: int | None) -> ImageSet:
    """The first `count` images; all of them if it is None."""
    return images if count is None else images.take(torch.arange(min(count, len(images))))


def validation(task: Task, count: int) -> Task:
    """A task for choosing settings: its test images are the last `count` training images, which it does not train on.

    The last and not random ones, since neighbors in SVHN's order are often digits of one and the same photograph.
    """
    rows = torch.arange(len(task.train))
    return Task(
        name=f"{task.name} validation", train=task.train.take(rows[:-count]), test=task.train.take(rows[-count:])
    )


class Encoder(nn.Module):
    """A backbone, a linear layer, and the sphere."""

    def __init__(self, channels: int, dim: int, widths: tuple[int, ...] = (32, 64, 128)) -> None:
        super().__init__()
        backbone = SmallCnn(widths=widths)
        self.branch = Branch(backbone, channels, 32)
        self.project = nn.Linear(backbone.features(32), dim)

    def raw(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """Vectors before they are normalized."""
        result: Tensor = self.project(self.branch(images))
        return result

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """Unit embeddings."""
        return normalize(self.raw(images))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training: what is minimized, on what batches, for how long."""

    loss: MetricLoss = field(default_factory=MarginTriplet)
    miner: Miner | None = None
    """None gives the loss all pairs of the batch."""
    num_classes: int = 8
    """Classes in a batch."""
    per_class: int = 8
    """Examples n of each of them."""
    steps: int = 300
    lr: float = 1e-3
    optimizer: str = "adam"
    """`adam` or `sgd` (momentum 0.9)."""
    seed: int = 0
    dim: int = 64
    widths: tuple[int, ...] = (32, 64, 128)
    """Channels of the encoder's convolutions."""
    augment: Augment = field(default_factory=Augment)


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A trained encoder and how its training went."""

    encoder: Encoder
    seconds: float
    loss: list[float]
    active: list[float]
    """Share of the used triplets (or pairs) of each step that had a gradient."""
    used: list[float]


Watch = Callable[[int, Encoder, Float[Tensor, "b d"], Int64[Tensor, " b"], LossValue], None]
"""Called after each step's loss, before its update: step, encoder, embeddings, labels, loss."""
PairsOf = Callable[[Float[Tensor, "b d"], Int64[Tensor, " b"]], Pairs]
"""Makes the pairs of a batch from its embeddings and labels, which come class by class."""


def train(
    task: Task,
    recipe: Recipe,
    *,
    watch: Watch | None = None,
    seconds: float | None = None,
    pairs_of: PairsOf = label_pairs,
) -> Trained:
    """Train an encoder; stop early after `seconds` where they are given. The same seed gives the same encoder.

    `pairs_of` says who is a positive and a negative for whom; by default the labels alone do.
    """
    labels = task.train.labels
    assert labels is not None
    sampler = GroupRows(labels, recipe.num_classes, recipe.per_class, recipe.seed, "lab")
    with isolated(recipe.seed, "encoder"):
        encoder = Encoder(task.train.images.shape[-1], recipe.dim, recipe.widths)
    optimizer = optimizer_of(recipe, encoder)
    losses, used, active = [], [], []
    began = time.perf_counter()
    for step in range(recipe.steps):
        rows = sampler.rows(step)
        images = recipe.augment(task.train.images[rows], generator("cpu", recipe.seed, "views", step))
        z, y = encoder(images), labels[rows]
        pairs = pairs_of(z, y)
        draw = generator("cpu", recipe.seed, "mining", step)
        result = recipe.loss.of(pairs, None if recipe.miner is None else recipe.miner.select(pairs, draw))
        if watch is not None:
            watch(step, encoder, z, y, result)
        optimizer.zero_grad(set_to_none=True)
        result.value.backward()
        optimizer.step()
        losses.append(float(result.value.detach()))
        used.append(float(result.used))
        active.append(float(result.active) / max(1.0, float(result.used)))
        if seconds is not None and time.perf_counter() - began > seconds:
            break
    return Trained(encoder=encoder, seconds=time.perf_counter() - began, loss=losses, active=active, used=used)


def optimizer_of(recipe: Recipe, encoder: Encoder) -> torch.optim.Optimizer:
    """The recipe's optimizer over an encoder."""
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(encoder.parameters(), lr=recipe.lr, momentum=0.9)
    return torch.optim.Adam(encoder.parameters(), lr=recipe.lr)


@torch.no_grad()
def embed(encoder: Encoder, images: ImageSet, chunk: int = 1000) -> Float[Tensor, "n d"]:
    """Embeddings of a set, in evaluation mode; the mode is put back."""
    mode = encoder.training
    encoder.eval()
    z = torch.cat([encoder(to_float(part)) for part in images.images.split(chunk)])
    encoder.train(mode)
    return z


def scores(task: Task, encoder: Encoder) -> dict[str, float]:
    """Retrieval within the test set, each image against all others, and the mean cosine that tells a collapse."""
    z = embed(encoder, task.test)
    assert task.test.labels is not None
    return {
        **retrieval(z, task.test.labels, z, task.test.labels, exclude_self=True),
        "mean_cosine": mean_cosine(z),
    }
