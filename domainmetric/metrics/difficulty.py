"""How hard the triplets of a step are: counts of easy, semi-hard and hard ones (Schroff et al. 2015, section 3.2).

The margin is the same whatever the loss, so that runs with different losses can be compared. Nothing here waits for the
device: terms count at every step.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from domainmetric.types import Pairs, Triplets

MARGIN = 0.2
"""FaceNet's margin on the squared chord, which parts semi-hard from easy triplets."""
NUM_ANCHORS = 16
"""Anchors that speak for all of them where no triplet was chosen and all are meant."""


@torch.no_grad()
def difficulty(pairs: Pairs, triplets: Triplets | None = None) -> Float[Tensor, " 3"]:
    """Number of easy, semi-hard and hard triplets, of the given ones or of all that `pairs` allows.

    Hard: the negative is no farther than the positive. Semi-hard: farther, but by no more than `MARGIN`. Easy: the
    rest. Of all triplets the counts are estimated from at most `NUM_ANCHORS` evenly spaced rows.
    """
    return estimate(pairs) if triplets is None else count(pairs, triplets)


def count(pairs: Pairs, triplets: Triplets) -> Float[Tensor, " 3"]:
    """Counts of the given triplets."""
    gap = pairs.sq_chord[triplets.anchor, triplets.negative] - pairs.sq_chord[triplets.anchor, triplets.positive]
    return _counts(gap.new_tensor(float(len(gap))), within=(gap <= MARGIN).sum(), hard=(gap <= 0).sum())


def estimate(pairs: Pairs) -> Float[Tensor, " 3"]:
    """Counts of all triplets, from some anchors: their negatives are sorted once, and each positive finds its place."""
    num_rows = len(pairs.sq_chord)
    chosen = slice(None, None, -(-num_rows // NUM_ANCHORS) or None)
    d = pairs.sq_chord[chosen].contiguous()
    positive, negative = pairs.positive[chosen], pairs.negative[chosen]
    d_an = d.masked_fill(~negative, torch.inf).sort(1).values
    hard = (torch.searchsorted(d_an, d, right=True) * positive).sum()
    within = (torch.searchsorted(d_an, d + MARGIN, right=True) * positive).sum()
    total = (positive.sum(1) * negative.sum(1)).sum()
    return _counts(total.to(d.dtype), within=within, hard=hard) * (num_rows / max(1, len(d)))


def _counts(total: Tensor, *, within: Tensor, hard: Tensor) -> Float[Tensor, " 3"]:
    return torch.stack([total - within, (within - hard).to(total.dtype), hard.to(total.dtype)])
