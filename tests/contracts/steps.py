"""Steps made by hand: what parts look at, without a network."""

from __future__ import annotations

import torch

from domainmetric.geometry import normalize
from domainmetric.pairs import StepPairs
from domainmetric.step import Step
from domainmetric.types import Encoded, Group, LabelledTargetBatch, Matches, SourceBatch, TargetBatch

K, D = 4, 8


def encoded(n: int, seed: int, shift: float = 0.0) -> Encoded:
    """Leaves that can be asked for their gradient: `z` is unit, and logits follow from it."""
    draw = torch.Generator().manual_seed(seed)
    offset = torch.zeros(D)
    offset[0] = shift
    z = normalize(torch.randn(n, D, generator=draw) + offset).requires_grad_()
    directions = normalize(torch.randn(K, D, generator=torch.Generator().manual_seed(99)))
    return Encoded(z=z, logits=5 * z @ directions.T)


def aligned_step(*, n: int = 12, m: int = 17, shift: float = 0.5, one_class: bool = False) -> Step:
    """A step with every batch that a part may need; the batches have unlike sizes."""
    source, target, matched, labelled = encoded(n, 0), encoded(m, 1, shift), encoded(m, 2), encoded(9, 3)
    source_labels = torch.zeros(n, dtype=torch.int64) if one_class else torch.arange(n) % K
    matched_labels = torch.zeros(m, dtype=torch.int64) if one_class else torch.arange(m) % K
    keep = torch.arange(m) % 5 != 0
    taught = encoded(m, 4)
    images = torch.zeros(n, 1, 4, 4)
    return Step(
        source=SourceBatch(rows=torch.arange(n), images=images, labels=source_labels),
        encoded_source=source,
        encoded_by_source=source,
        target=TargetBatch(rows=torch.arange(m), images=torch.zeros(m, 1, 4, 4), clean=torch.zeros(m, 1, 4, 4)),
        encoded_target=target,
        taught=Encoded(z=taught.z.detach(), logits=10 * taught.logits.detach()),
        matches=Matches(
            source_index=torch.zeros(m, 1, dtype=torch.int64), label=matched_labels, confidence=torch.ones(m), keep=keep
        ),
        pairs=StepPairs(
            {
                "source": Group(z=source.z, labels=source_labels),
                "target": Group(z=target.z, labels=matched_labels, keep=keep),
                "matched": Group(z=matched.z, labels=matched_labels, keep=keep),
            }
        ),
        labelled_target=LabelledTargetBatch(
            rows=torch.arange(9), images=torch.zeros(9, 1, 4, 4), labels=torch.arange(9) % K
        ),
        encoded_labelled=labelled,
        progress=0.5,
        generator=torch.Generator().manual_seed(0),
    )
