"""Whether a probability means what it says, what to divide the logits by so that it does, and what is unlike any class.

Temperature scaling (Guo et al. 2017, section 4.2) wants labelled images of the domain in question. The target has none,
and a temperature of the source does not carry over. Pseudo-calibration (Hu et al. 2024, "Pseudo-Calibration: Improving
Predictive Uncertainty Estimation in Unsupervised Domain Adaptation") makes some of its own images: two of different
predicted classes are mixed, and the class of the larger share is taken for the label. Mixtures are as hard near the
border of two classes as real images are that the network confuses, and so one temperature serves both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64, UInt8
from scipy.optimize import minimize_scalar
from torch import Tensor

from domainmetric.errors import ConfigError, DataError
from domainmetric.metrics.checks import check_labelled, check_paired, check_rows, check_widths

BINS = 15
"""Of equal width, as in Guo et al."""
SHARE = 0.65
"""Of the first of two mixed images, as Hu et al. recommend for all data sets."""
COLDEST, HOTTEST = 0.05, 20.0
"""Between which a temperature is looked for: where no label is missed, the likelihood has no best one."""
REJECT = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Shares of a domain's own images that one may be ready to lose when what is unknown is turned away."""


@torch.no_grad()
def expected_calibration_error(
    logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"], *, temperature: float = 1.0
) -> float:
    """Mean distance between the largest probability and how often it is right, over 15 bins of it. In [0, 1].

    With target labels it is an *oracle* number.
    """
    check_labelled(logits, labels, name="Logits")
    probability, predicted = (logits.double() / temperature).softmax(1).max(1)
    bins = (probability * BINS).long().clamp_max(BINS - 1)
    off = probability - (predicted == labels).double()
    return float(off.new_zeros(BINS).index_add_(0, bins, off).abs().sum()) / len(labels)


@torch.no_grad()
def fit_temperature(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> float:
    """What to divide the logits by so that the labels are likeliest. Within [0.05, 20]; 1 leaves them as they are."""
    check_labelled(logits, labels, name="Logits")
    logits = logits.double().cpu()
    right = logits.gather(1, labels.cpu()[:, None]).squeeze(1)

    def surprise(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        return float((scaled.logsumexp(1) - right / math.exp(log_temperature)).mean())

    bounds = (math.log(COLDEST), math.log(HOTTEST))
    return math.exp(minimize_scalar(surprise, bounds=bounds, method="bounded", options={"xatol": 1e-4}).x)


def mixtures(
    images: UInt8[Tensor, "n h w c"], predicted: Int64[Tensor, " n"], *, generator: torch.Generator
) -> tuple[UInt8[Tensor, "m h w c"], Int64[Tensor, " m"]]:
    """Mixtures of images of different predicted classes, and the class of the larger share; none of one class alone.

    The generator lives on the CPU.
    """
    check_paired(predicted, len(images), name="Predicted classes")
    other = torch.randperm(len(images), generator=generator).to(images.device)
    rows = (predicted != predicted[other]).nonzero().squeeze(1)
    mixed = images[rows].float().mul_(SHARE).add_(images[other[rows]].float(), alpha=1 - SHARE)
    return mixed.round_().to(torch.uint8), predicted[rows]


@torch.no_grad()
def familiarity(z: Float[Tensor, "n d"], means: Float[Tensor, "k d"]) -> Float[Tensor, " n"]:
    """Cosine of each embedding to the nearest class mean of its own domain. In [-1, 1]; low for what is of no class.

    Rows have length 1; a mean of zeros stands for no class.
    """
    check_rows(z, name="Embeddings")
    check_rows(means, name="Class means")
    check_widths(z, means, names="Embeddings and class means")
    absent = (means == 0).all(1)
    with torch.autocast(z.device.type, enabled=False):
        return (z.float() @ means.float().T).masked_fill(absent, -1).amax(1)


def thresholds(familiar: Float[Tensor, " n"], rates: Sequence[float] = REJECT) -> dict[float, float]:
    """Below which familiarity each share of these images lies."""
    if not len(familiar):
        raise DataError("At least one familiarity is needed, but came none.")
    if not all(0 < rate < 1 for rate in rates):
        raise ConfigError(f"Shares must lie between 0 and 1, but are {tuple(rates)}.")
    return {rate: float(familiar.double().quantile(rate)) for rate in rates}
