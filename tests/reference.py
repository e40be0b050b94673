"""Slow references: triplets, pairs and losses by explicit loops in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from domainmetric.pairs import Role, Roles, StepPairs, label_pairs
from domainmetric.types import Group, Pairs, Triplets

DISTANCES: dict[str, Callable[[float], float]] = {
    "ChordSquared": lambda sq: sq,
    "Chord": math.sqrt,
    "Cosine": lambda sq: sq / 2,
    "Geodesic": lambda sq: math.acos(max(-1.0, min(1.0, 1 - sq / 2))),
}


def unit(seed: int, n: int, d: int = 6, *, dtype: torch.dtype = torch.float64) -> Tensor:
    """Random unit vectors."""
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (x / x.norm(dim=1, keepdim=True)).to(dtype)


def labels(seed: int, n: int, k: int = 3) -> Tensor:
    return torch.randint(k, (n,), generator=torch.Generator().manual_seed(seed))


def square(a: Tensor, b: Tensor) -> float:
    return float(((a - b) ** 2).sum())


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
