"""Quantities that are both trained on and reported. Each exists once, here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from domainmetric.geometry import squared_chord

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Factors on the mean squared distance: five Gaussian kernels (Long et al. 2015, DAN)."""


def entropy(p: Float[Tensor, "*n k"]) -> Float[Tensor, "*n"]:
    """Shannon entropy of each row of probabilities, in nats: [0, ln k]."""
    # at p = 0 the gradient of p log p is infinite, and its product with 0 not a number
    floor = torch.finfo(p.dtype).tiny
    return -(p * p.clamp_min(floor).log()).sum(-1)


def information(p: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    """Mutual information between item and predicted class, H(mean p) - mean H(p), in nats: [0, ln k].

    High when every item is decided and all classes are used (Krause et al. 2010; the IM term of Liang et al. 2020).
    """
    return entropy(p.mean(0)) - entropy(p).mean()


class _Kernel(torch.autograd.Function):
    """The mean of Gaussian kernels exp(-square / factor). Keeps one matrix for the backward pass, not some for each."""

    @staticmethod
    def forward(ctx: Any, squares: Tensor, factors: tuple[float, ...]) -> Tensor:
        kernel, slope = torch.zeros_like(squares), torch.zeros_like(squares)
        for factor in factors:
            one = torch.exp(squares / -factor)
            kernel += one
            slope.sub_(one, alpha=1 / factor)
        ctx.save_for_backward(slope.div_(len(factors)))
        return kernel.div_(len(factors))

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return grad[0] * slope, None


def mmd2(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    *,
    bandwidths: Sequence[float] = BANDWIDTHS,
    unbiased: bool = False,
    weights: Float[Tensor, " n"] | None = None,
) -> Float[Tensor, ""]:
    """Squared maximum mean discrepancy between two samples (Gretton et al. 2012), with a mean of Gaussian kernels.

    Kernels are exp(-|a - b|^2 / (factor * s)), s being the mean squared distance over all distinct pairs of both
    samples, taken as a constant (no gradient). The default is the V-statistic, in [0, 2], zero for equal samples;
    `unbiased` leaves the diagonals out (U-statistic; can be slightly negative). Samples may differ in size.
    `weights` of the rows of `x`, which sum to 1, take the place of 1/n in the V-statistic (Yan et al. 2017).
    A collapsed sample gives zero, with zero gradient.
    """
    n, m = len(x), len(y)
    if unbiased and weights is not None:
        raise ValueError("Weights are those of the V-statistic: leave `unbiased` or `weights` out.")
    both = torch.cat([x, y])
    squares = squared_chord(both, both)
    diagonal = torch.eye(n + m, dtype=torch.bool, device=x.device)
    squares = squares.masked_fill(diagonal, 0)
    scale = squares.detach().sum() / ((n + m) * (n + m - 1))
    unit = squares / scale.clamp_min(torch.finfo(squares.dtype).tiny ** 0.5)
    kernel: Tensor = _Kernel.apply(unit, tuple(bandwidths))
    if weights is not None:
        w = torch.cat([weights, weights.new_full((m,), -1 / m)])
        return w @ kernel @ w
    if unbiased:
        kernel = kernel.masked_fill(diagonal, 0)
        within_x, within_y = kernel[:n, :n].sum() / (n * (n - 1)), kernel[n:, n:].sum() / (m * (m - 1))
    else:
        within_x, within_y = kernel[:n, :n].mean(), kernel[n:, n:].mean()
    return within_x + within_y - 2 * kernel[:n, n:].mean()
