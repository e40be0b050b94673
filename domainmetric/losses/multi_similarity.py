"""The multi-similarity loss (Wang et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from domainmetric.geometry import Cosine, Distance
from domainmetric.losses.checks import check_positive
from domainmetric.losses.known import by_rows
from domainmetric.losses.pairwise import PairLoss, PairSums, num_pairs
from domainmetric.losses.softmax import log_sum_exp
from domainmetric.types import Pairs


@dataclass(frozen=True, kw_only=True)
class MultiSimilarity(PairLoss):
    """Mean over anchors of log(1 + sum e^(alpha (base - S_ap))) / alpha + log(1 + sum e^(beta (S_an - base))) / beta.

    The loss of the paper without its pair mining. The mean is over all anchors that take part, also those without a
    pair, as in pytorch-metric-learning's `MultiSimilarityLoss`.
    """

    alpha: float = 2.0
    """How sharply far positives are weighted above near ones."""
    beta: float = 50.0
    """How sharply near negatives are weighted above far ones."""
    base: float = 0.5
    """Cosine similarity that positives should be above, and negatives below."""

    def __post_init__(self) -> None:
        check_positive(self, "alpha", self.alpha)
        check_positive(self, "beta", self.beta)

    @property
    def measure(self) -> Distance:
        return Cosine()

    def of_distances(self, distances: Float[Tensor, "a b"], pairs: Pairs) -> PairSums:
        def rows(
            d: Float[Tensor, "r b"], positive: Bool[Tensor, "r b"], negative: Bool[Tensor, "r b"]
        ) -> Float[Tensor, " r"]:
            above = 1 - d - self.base
            pull = F.softplus(log_sum_exp(-self.alpha * above, positive)) / self.alpha
            push = F.softplus(log_sum_exp(self.beta * above, negative)) / self.beta
            return pull + push

        values, gradient = by_rows(rows, distances, pairs)
        num_anchors, used = pairs.rows.kept().sum(), num_pairs(pairs).sum()
        return PairSums(values.double().sum() / num_anchors, used, used, gradient.div_(num_anchors))
