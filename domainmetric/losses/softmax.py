"""Contrastive losses with a softmax over each anchor's pairs, which weighs near negatives most: NT-Xent and SupCon."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from domainmetric.geometry import Cosine, Distance
from domainmetric.losses.checks import check_temperature
from domainmetric.losses.known import by_rows
from domainmetric.losses.pairwise import PairLoss, PairSums, num_pairs
from domainmetric.types import Pairs


@dataclass(frozen=True, kw_only=True)
class NTXent(PairLoss):
    """Mean over positive pairs of -log(e^s_ap / (e^s_ap + sum over the anchor's negatives of e^s_an)), s = S / T.

    InfoNCE (van den Oord et al. 2018), NT-Xent (Chen et al. 2020), N-pairs with cosines: each positive against all
    negatives, but not against the other positives. Computed as softplus(logsumexp(s_an) - s_ap), in O(a b). As
    pytorch-metric-learning's `NTXentLoss`; but of given triplets, it counts a positive as often as it is named.
    """

    temperature: float = 0.07
    """T, what cosine similarities are divided by."""

    def __post_init__(self) -> None:
        check_temperature(self, self.temperature)

    @property
    def measure(self) -> Distance:
        return Cosine()

    def of_distances(self, distances: Float[Tensor, "a b"], pairs: Pairs) -> PairSums:
        def rows(
            d: Float[Tensor, "r b"], positive: Bool[Tensor, "r b"], negative: Bool[Tensor, "r b"]
        ) -> Float[Tensor, " r"]:
            s = (1 - d) / self.temperature
            return F.softplus(log_sum_exp(s, negative)[:, None] - s).masked_fill(~positive, 0).sum(1)

        values, gradient = by_rows(rows, distances, pairs)
        num_positives = pairs.positive.count_nonzero()
        used = (num_pairs(pairs) * (pairs.positive.any(1) & pairs.negative.any(1))).sum()
        return PairSums(values.double().sum() / num_positives, used, used, gradient.div_(num_positives))


@dataclass(frozen=True, kw_only=True)
class SupCon(PairLoss):
    """Mean over anchors of the mean over their positives of -log(e^s_ap / sum over all their pairs of e^s), s = S / T.

    L_out of Khosla et al. 2020. Anchors without a loss above zero (no positive) do not count, as in
    pytorch-metric-learning's `SupConLoss` with its default reducer.
    """

    temperature: float = 0.1
    """T, what cosine similarities are divided by."""

    def __post_init__(self) -> None:
        check_temperature(self, self.temperature)

    @property
    def measure(self) -> Distance:
        return Cosine()

    def of_distances(self, distances: Float[Tensor, "a b"], pairs: Pairs) -> PairSums:
        def rows(
            d: Float[Tensor, "r b"], positive: Bool[Tensor, "r b"], negative: Bool[Tensor, "r b"]
        ) -> Float[Tensor, " r"]:
            s = (1 - d) / self.temperature
            num_positives = positive.sum(1)
            attracted = s.masked_fill(~positive, 0).sum(1) / num_positives.clamp_min(1)
            return (log_sum_exp(s, positive | negative) - attracted).masked_fill(num_positives == 0, 0)

        values, gradient = by_rows(rows, distances, pairs)
        counted = values > 0
        num_anchors = counted.sum().clamp_min(1)
        used = (num_pairs(pairs) * counted).sum()
        return PairSums(values.double().sum() / num_anchors, used, used, gradient.div_(num_anchors))


def log_sum_exp(s: Float[Tensor, "r b"], mask: Bool[Tensor, "r b"]) -> Float[Tensor, " r"]:
    """log(sum of e^s) over the masked columns of each row. A huge negative number, with no gradient, where none is."""
    return s.masked_fill(~mask, torch.finfo(s.dtype).min).logsumexp(1)
