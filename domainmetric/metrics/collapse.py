"""Whether an embedding still spreads: the numbers that show a collapse, which losses near zero hide."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from domainmetric.geometry import normalize
from domainmetric.metrics.checks import check_rows
from domainmetric.statistics import entropy


@torch.no_grad()
def mean_cosine(z: Float[Tensor, "n d"]) -> float:
    """Mean cosine similarity over all pairs of different rows. In [-1/(n-1), 1]; above 0.95 reads as collapsed.

    From the length of the summed unit rows, in O(n d). Raises DataError for fewer than two rows.
    """
    check_rows(z, name="Embeddings", at_least=2)
    unit = normalize(z.double())
    return float((unit.sum(0).square().sum() - unit.square().sum()) / (len(z) * (len(z) - 1)))


@torch.no_grad()
def effective_rank(z: Float[Tensor, "n d"]) -> float:
    """Exp of the entropy of the singular values of the centered rows, scaled to sum 1 (Roy and Vetterli 2007).

    In [1, min(n - 1, d)]: how many directions the embedding spreads over, softly counted. Where all rows are equal,
    nothing spreads and the result is 0. Raises DataError for fewer than two rows.
    """
    check_rows(z, name="Embeddings", at_least=2)
    z = z.double()
    singular = torch.linalg.svdvals(z - z.mean(0))
    rounding = torch.finfo(z.dtype).eps * max(z.shape) * torch.linalg.matrix_norm(z)
    singular = singular.where(singular > rounding, torch.zeros_like(singular))
    total = singular.sum()
    return float(entropy((singular / total).unsqueeze(0)).exp().squeeze()) if total > 0 else 0.0
