"""A labelled source set and a target set with embeddings in clusters: what anchor strategies look at."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher, AnchorStrategy
from domainmetric.geometry import normalize
from domainmetric.types import Bank, ImageSet, Matches

K, D, N, M = 4, 8, 60, 40
CLASSES = tuple("abcd")

FACTORIES: dict[str, Callable[[], AnchorStrategy]] = {}
"""Factories of strategies with required arguments."""


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def source_labels() -> Tensor:
    return torch.arange(N) % K


def target_labels() -> Tensor:
    return torch.randint(K, (M,), generator=drawn(1))


def embeddings(labels: Tensor, seed: int, spread: float = 0.25) -> Tensor:
    centers = torch.randn(K, D, generator=drawn(2))
    return normalize(normalize(centers)[labels] + spread * torch.randn(len(labels), D, generator=drawn(seed)))


def logits_of(z: Tensor) -> Tensor:
    centers = torch.randn(K, D, generator=drawn(2))
    return 10 * z @ normalize(centers).T


def context(seed: int = 0, labels: Tensor | None = None) -> AnchorContext:
    source = torch.randint(256, (N, 6, 6, 3), generator=drawn(3), dtype=torch.uint8)
    target = torch.randint(256, (M, 6, 6, 1), generator=drawn(4), dtype=torch.uint8)
    return AnchorContext(
        source=ImageSet(images=source, labels=source_labels() if labels is None else labels, classes=CLASSES),
        target=ImageSet(images=target, labels=None, classes=CLASSES),
        seed=seed,
        oracle_labels=target_labels(),
    )


def banks(labels: Tensor | None = None) -> tuple[Bank, Bank]:
    z_s, z_t = embeddings(source_labels(), 5), embeddings(target_labels(), 6)
    y = source_labels() if labels is None else labels
    rows = torch.arange(N)
    source = Bank(rows=rows, z=z_s, logits=logits_of(z_s), labels=y)
    return source, Bank(rows=torch.arange(M), z=z_t, logits=logits_of(z_t), labels=None)


def ready(strategy: AnchorStrategy, seed: int = 0) -> AnchorMatcher:
    """The strategy built and shown its banks."""
    matcher = strategy.build(context(seed))
    source, target = banks()
    matcher.refresh(source, target if strategy.needs_target_bank else None)
    return matcher


def match(matcher: AnchorMatcher, rows: Tensor) -> Matches:
    z = embeddings(target_labels(), 6)[rows]
    matches: Matches = matcher(rows, z, logits_of(z))
    return matches
