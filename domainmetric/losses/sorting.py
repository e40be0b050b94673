"""Sums of hinges over all triplets by sorting, without listing one of them."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from domainmetric.losses.known import blocks
from domainmetric.losses.triplet import Sums
from domainmetric.types import Pairs


def hinge_sums(distances: Float[Tensor, "a b"], pairs: Pairs, margin: float, *, beyond_positive: bool) -> Sums:
    """The sum of hinges over all triplets with d_an <= d_ap + margin, and its gradient at the distances.

    Negatives are sorted once per anchor; each positive asks how many are too near, and prefix sums tell how near. The
    gradient counts k for a positive with k such negatives, and for a negative minus the number of positives that it is
    too near for. With `beyond_positive` only negatives farther than the positive count (semi-hard), and `used` with
    them; otherwise `used` is all triplets. Time O(a b log b), memory O(a b) in all and O(block) beside the result.
    """
    gradient = torch.empty_like(distances)
    totals = distances.new_zeros(3, dtype=torch.float64)
    for rows in blocks(distances):
        totals += _hinge_block(
            distances[rows], pairs.positive[rows], pairs.negative[rows], margin, beyond_positive, gradient[rows]
        )
    value, used, active = totals
    return Sums(value, used, active, gradient)


def _hinge_block(
    d: Float[Tensor, "r b"],
    positive: Bool[Tensor, "r b"],
    negative: Bool[Tensor, "r b"],
    margin: float,
    beyond_positive: bool,
    gradient: Float[Tensor, "r b"],
) -> Float[Tensor, " 3"]:
    """Value, used and active of some anchors' triplets, in float64; their gradient is written into `gradient`."""
    d_an, place = d.masked_fill(~negative, torch.inf).sort(1)
    count = negative.sum(1, keepdim=True)
    r, c = positive.nonzero(as_tuple=True)
    num_positives = positive.sum(1)
    slot = torch.arange(len(r), device=d.device) - (num_positives.cumsum(0) - num_positives)[r]
    d_ap = d.new_full((len(d), max(1, int(num_positives.max()))), -torch.inf)  # an empty slot is nearer than anything
    d_ap[r, slot] = d[r, c]

    high = torch.searchsorted(d_an, d_ap + margin).minimum(count)  # negatives nearer than the limit
    low = torch.searchsorted(d_an, d_ap, right=True).minimum(count) if beyond_positive else torch.zeros_like(high)
    near = (high - low)[r, slot]
    prefix = torch.zeros(len(d), d.shape[1] + 1, dtype=torch.float64, device=d.device)
    torch.cumsum(d_an.masked_fill(d_an.isinf(), 0), 1, dtype=torch.float64, out=prefix[:, 1:])
    sums = prefix.gather(1, high) - prefix.gather(1, low)
    value = (near * (d[r, c].double() + margin) - sums[r, slot]).sum()
    if beyond_positive:  # those at the limit itself are semi-hard, with a loss of zero
        used = (torch.searchsorted(d_an, d_ap + margin, right=True).minimum(count) - low)[r, slot].sum()
    else:
        used = (num_positives * count.squeeze(1)).sum()

    # a positive is too near for the ranks from low to high - 1: minus one begins at low and ends at high
    steps, ones = d.new_zeros(len(d), d.shape[1] + 1), torch.ones_like(d_ap)
    steps.scatter_add_(1, low, -ones).scatter_add_(1, high, ones)  # empty slots begin and end at 0
    gradient.scatter_(1, place, steps.cumsum(1)[:, :-1])
    gradient[r, c] += near.to(d.dtype)
    return torch.stack([value, used.double(), near.sum().double()])
