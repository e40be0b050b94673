"""How the pulls of distances differ: in strength, in direction at the anchor, and in what of it lies along the sphere.

All distances of the sphere pull a pair along the same great circle and differ in strength only. At the anchor of a
triplet two pulls are added, so there they differ in direction, too. And off the sphere a distance can be written in
several ways: the part of its gradient that points out of the tangent space is dropped by autograd where the vectors are
normalized within the graph, and changes the step's length where they are normalized after the update.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from domainmetric.diagnostics.field import place
from domainmetric.geometry import TINY, normalize

Pairwise: TypeAlias = Callable[[Float[Tensor, "t d"], Float[Tensor, "t d"]], Float[Tensor, " t"]]
"""The distance of each row to the same row of another matrix, such as `Geodesic().pairwise`."""


def chord_squared(x: Float[Tensor, "t d"], y: Float[Tensor, "t d"]) -> Float[Tensor, " t"]:
    """|x - y|^2."""
    return (x - y).square().sum(1)


def chord(x: Float[Tensor, "t d"], y: Float[Tensor, "t d"]) -> Float[Tensor, " t"]:
    """|x - y|."""
    length: Tensor = torch.linalg.vector_norm(x - y, dim=1)
    return length


def one_minus_dot(x: Float[Tensor, "t d"], y: Float[Tensor, "t d"]) -> Float[Tensor, " t"]:
    """1 - x.y, the cosine distance as it is mostly written; its raw gradient has the length of y, however near x is."""
    return 1 - (x * y).sum(1)


def angle(x: Float[Tensor, "t d"], y: Float[Tensor, "t d"]) -> Float[Tensor, " t"]:
    """2 atan2(|x - y|, |x + y|), the geodesic distance of unit vectors."""
    return 2 * torch.atan2(chord(x, y), chord(x, -y))


FORMS: Mapping[str, Pairwise] = {
    "chord^2": chord_squared, "chord": chord, "cosine": one_minus_dot, "geodesic": angle,
}  # fmt: skip
"""The four distances, as papers write them on vectors."""


class GradientNorms(NamedTuple):
    """How long the gradient of a distance is at one of its two unit vectors."""

    raw: Float[Tensor, " t"]
    """As the formula has it, for a vector that is free to move: normalized after the update."""
    tangential: Float[Tensor, " t"]
    """Its part along the sphere, for a vector that is normalized within the graph."""


def gradient_norms(distance: Pairwise, theta: Float[Tensor, " t"]) -> GradientNorms:
    """The lengths of a distance's gradient for two unit vectors at the angles `theta`, in radians in (0, pi)."""
    x, y = place(theta.double().cos(), theta.double().cos(), 0.0)[:2]
    raw = _gradient(lambda free: distance(free, y), x)
    return GradientNorms(raw.norm(dim=1), tangential(raw, x).norm(dim=1))


def kept_fraction(distance: Pairwise, theta: Float[Tensor, " t"]) -> Float[Tensor, " t"]:
    """How much of a distance's raw gradient lies along the sphere, in [0, 1], at the angles `theta` in (0, pi)."""
    norms = gradient_norms(distance, theta)
    return norms.tangential / norms.raw.clamp_min(TINY)


def gradient_angle(
    first: Pairwise,
    second: Pairwise,
    *,
    theta_p: Float[Tensor, " t"],
    theta_n: Float[Tensor, " t"],
    gamma: float | Float[Tensor, " t"],
) -> Float[Tensor, " t"]:
    """The angle in degrees between the anchor's gradients of d_ap - d_an under two distances, along the sphere.

    `theta_p` and `theta_n` in (0, pi) are the triplet's angles, `gamma` the cosine between the directions to the
    positive and to the negative. The hinge is taken to be open, and no gradient to be zero.
    """
    anchor, positive, negative = place(theta_p.double().cos(), theta_n.double().cos(), gamma)

    def direction(distance: Pairwise) -> Float[Tensor, "t d"]:
        raw = _gradient(lambda free: distance(free, positive) - distance(free, negative), anchor)
        return normalize(tangential(raw, anchor))

    # by atan2, which keeps its digits where the gradients (nearly) agree, as acos does not
    return angle(direction(first), direction(second)) * (180 / math.pi)


def tangential(gradient: Float[Tensor, "t d"], z: Float[Tensor, "t d"]) -> Float[Tensor, "t d"]:
    """The part of gradients along the sphere at unit vectors `z`; autograd through `normalize` leaves just this."""
    return gradient - (gradient * z).sum(1, keepdim=True) * z


def _gradient(function: Callable[[Tensor], Tensor], at: Float[Tensor, "t d"]) -> Float[Tensor, "t d"]:
    with torch.enable_grad():
        free = at.detach().clone().requires_grad_()
        return torch.autograd.grad(function(free).sum(), free)[0]
