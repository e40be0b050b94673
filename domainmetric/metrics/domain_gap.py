"""How far apart two domains lie in the embedding, without any label.

A small gap alone proves little (a collapsed embedding has none), so read it beside `collapse` and the accuracies.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from domainmetric.metrics.checks import check_rows, check_widths
from domainmetric.statistics import mmd2

MAX_ITEMS = 2_000
"""Rows of each domain that a gap is measured on; more change the third digit and cost their square."""


@torch.no_grad()
def mmd(z_s: Float[Tensor, "n d"], z_t: Float[Tensor, "m d"], *, seed: int = 0) -> float:
    """Maximum mean discrepancy between the domains, the root of `statistics.mmd2` (V-statistic). In [0, sqrt(2)].

    On a sample of at most 2,000 rows of each domain, drawn by `seed`. Equal sets, and a collapsed embedding, have 0.
    """
    x, y = _samples(z_s, z_t, seed=seed, at_least=1)
    return float(mmd2(x, y).clamp_min(0).sqrt())


@torch.no_grad()
def proxy_a_distance(z_s: Float[Tensor, "n d"], z_t: Float[Tensor, "m d"], *, seed: int) -> float:
    """2 (1 - 2 err) of a linear classifier that tells the domains apart (Ben-David et al. 2007, section 5). In [0, 2].

    0: it cannot (err one half or worse, clipped); 2: always. The classifier (least squares on standardized columns)
    learns on one half of at most 2,000 rows of each domain, equally many, and `err` is its error on the other half.
    `seed` draws the rows. Raises DataError for fewer than two rows in a domain.
    """
    x, y = _samples(z_s, z_t, seed=seed, at_least=2)
    size = min(len(x), len(y))
    half = size // 2
    rows_s, rows_t = x[:size].float().cpu().numpy(), y[:size].float().cpu().numpy()
    classifier = make_pipeline(StandardScaler(), RidgeClassifier())
    classifier.fit(np.concatenate([rows_s[:half], rows_t[:half]]), np.repeat([0, 1], half))
    held_out = np.concatenate([rows_s[half:], rows_t[half:]])
    error = float(np.mean(classifier.predict(held_out) != np.repeat([0, 1], size - half)))
    return min(max(2 * (1 - 2 * error), 0.0), 2.0)


def _samples(z_s: Tensor, z_t: Tensor, *, seed: int, at_least: int) -> tuple[Tensor, Tensor]:
    """At most MAX_ITEMS rows of each, shuffled by `seed` alike, so that equal sets give equal samples."""
    check_rows(z_s, name="Source embeddings", at_least=at_least)
    check_rows(z_t, name="Target embeddings", at_least=at_least)
    check_widths(z_s, z_t, names="Source and target embeddings")
    picked = []
    for z in (z_s, z_t):
        rows = torch.randperm(len(z), generator=torch.Generator().manual_seed(seed))[:MAX_ITEMS]
        picked.append(z[rows.to(z.device)])
    return picked[0], picked[1]
