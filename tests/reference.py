"""Slow references: triplets, pairs and losses by explicit loops in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from domainmetric.geometry import Distance, FromMatrix, FromPairwise
from domainmetric.models.backbone import Backbone
from domainmetric.models.cnn import SmallCnn
from domainmetric.models.frozen import Frozen
from domainmetric.models.own import OwnBackbone
from domainmetric.pairs import Role, Roles, StepPairs, label_pairs
from domainmetric.types import Group, Pairs, Triplets
from tests.contracts.family import members, named


def square(a: Tensor, b: Tensor) -> float:
    return float(((a - b) ** 2).sum())


def city_block(x: Tensor, y: Tensor) -> Tensor:
    """A user's distance of two lists."""
    return (x - y).abs().sum(1)


def inner(x: Tensor, y: Tensor) -> Tensor:
    """A user's distance of all to all."""
    return 1 - x @ y.T


def one_layer(channels: int, image_size: int) -> nn.Module:
    """A user's network."""
    return nn.Sequential(nn.Conv2d(channels, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


BACKBONE_FACTORIES: dict[str, Callable[[], Backbone]] = {
    "Frozen": lambda: Frozen(backbone=SmallCnn()),
    "OwnBackbone": lambda: OwnBackbone(function=one_layer, num_features=6),
}
DISTANCE_FACTORIES: dict[str, Callable[[], Distance]] = {
    "FromMatrix": lambda: FromMatrix(function=inner),
    "FromPairwise": lambda: FromPairwise(function=city_block),
}
DISTANCES: dict[str, Callable[[Tensor, Tensor], float]] = {
    "ChordSquared": square,
    "Chord": lambda x, y: math.sqrt(square(x, y)),
    "Cosine": lambda x, y: square(x, y) / 2,
    "Geodesic": lambda x, y: math.acos(max(-1.0, min(1.0, 1 - square(x, y) / 2))),
    "Lp": lambda x, y: math.sqrt(sum((float(a) - float(b) + 1e-6) ** 2 for a, b in zip(x, y, strict=True))),
    "FromMatrix": lambda x, y: 1 - sum(float(a) * float(b) for a, b in zip(x, y, strict=True)),
    "FromPairwise": lambda x, y: sum(abs(float(a) - float(b)) for a, b in zip(x, y, strict=True)),
}
"""Each distance of `every_distance`, of two vectors."""


def every_distance() -> list[Distance]:
    """One of each class, by name: the user's are `inner` and `city_block`."""
    return members(Distance, DISTANCE_FACTORIES)


def apart(distance: Distance, pairs: Pairs) -> list[list[float]]:
    """The distance of each row to each column, from their vectors: `d[row][column]`."""
    measure = DISTANCES[named(distance)]
    return [[measure(x, y) for y in pairs.columns.z.double()] for x in pairs.rows.z.double()]


def unit(seed: int, n: int, d: int = 6, *, dtype: torch.dtype = torch.float64) -> Tensor:
    """Random unit vectors."""
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (x / x.norm(dim=1, keepdim=True)).to(dtype)


def labels(seed: int, n: int, k: int = 3) -> Tensor:
    return torch.randint(k, (n,), generator=torch.Generator().manual_seed(seed))


def cases(dtype: torch.dtype = torch.float64) -> dict[str, Pairs]:
    """Pairs of every kind: within a set, across two sets of unlike size, and with roles and dropped rows."""
    z, y = unit(0, 14, dtype=dtype), labels(1, 14)
    other, other_y = unit(2, 9, dtype=dtype), labels(3, 9)
    keep = torch.arange(9) % 4 != 0
    groups: dict[Role, Group] = {
        "source": Group(z=z, labels=y),
        "target": Group(z=other, labels=other_y, keep=keep),
        "matched": Group(z=unit(4, 9, dtype=dtype), labels=other_y, keep=keep),
    }
    step = StepPairs(groups)
    return {
        "within": label_pairs(z, y),
        "across": label_pairs(z, y, other, other_y),
        "roles": step.of(Roles()),
        "roles of three groups": step.of(Roles(anchor="target", positive="matched", negative="source")),
        "one class": label_pairs(z, torch.zeros_like(y)),
        "no class twice": label_pairs(z[:5], torch.arange(5)),
    }


def columns(mask: Tensor, row: int) -> list[int]:
    return [c for c in range(mask.shape[1]) if mask[row, c]]


def all_triplets(pairs: Pairs) -> list[tuple[int, int, int]]:
    rows = range(len(pairs.positive))
    return [(a, p, n) for a in rows for p in columns(pairs.positive, a) for n in columns(pairs.negative, a)]


def listed(triplets: Triplets) -> list[tuple[int, int, int]]:
    parts = (triplets.anchor.tolist(), triplets.positive.tolist(), triplets.negative.tolist())
    return list(zip(*parts, strict=True))


def no_images(split: str) -> tuple[()]:
    """What a user's function that gives images would be, without any."""
    return ()
