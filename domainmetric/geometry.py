"""The only home of the sphere: how far apart two unit vectors are, computed so that nearness survives rounding.

All distances are functions of the squared chord |a - b|^2, which lies in [0, 4] for unit vectors. Near collapse the
float32 Gram matrix a.b of raw unit vectors cancels catastrophically, so the mean is subtracted first: differences do
not change, and the products become small numbers that keep their digits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

TINY = 1e-12
"""Floor under square roots (of squared chords): keeps gradients finite where two points coincide."""


def normalize(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Rows of `x` on the unit sphere; a zero row stays zero."""
    return F.normalize(x, dim=-1)


def squared_chord(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """Squared Euclidean distances between rows, from the Gram matrix centred on the mean of `b`. In [0, inf).

    float32 at least, whatever autocast does: mining on half-precision distances picks wrong neighbors.
    """
    with torch.autocast(a.device.type, enabled=False):
        a, b = a.to(torch.promote_types(a.dtype, torch.float32)), b.to(torch.promote_types(b.dtype, torch.float32))
        center = b.detach().mean(0)
        a, b = a - center, b - center
        square_a, square_b = a.square().sum(1, keepdim=True), b.square().sum(1)
        return torch.addmm(square_b, a, b.T, alpha=-2).add(square_a).clamp_min(0)


def cosine(sq_chord: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    """Cosine similarity of unit vectors from their squared chord. In [-1, 1]."""
    return 1 - sq_chord / 2


@dataclass(frozen=True, kw_only=True)
class Distance(ABC):
    """A distance between unit vectors, as a function of their squared chord."""

    @abstractmethod
    def __call__(self, sq_chord: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        """The distance for each squared chord: 0 where points coincide, growing with it."""


@dataclass(frozen=True, kw_only=True)
class ChordSquared(Distance):
    """|a - b|^2 = 2 - 2 cos, in [0, 4] (FaceNet; Schroff et al. 2015)."""

    def __call__(self, sq_chord: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        return sq_chord


@dataclass(frozen=True, kw_only=True)
class Chord(Distance):
    """|a - b|, in [0, 2]."""

    def __call__(self, sq_chord: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        return sq_chord.clamp_min(TINY).sqrt()


@dataclass(frozen=True, kw_only=True)
class Cosine(Distance):
    """1 - cos, in [0, 2]."""

    def __call__(self, sq_chord: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        return sq_chord / 2


@dataclass(frozen=True, kw_only=True)
class Geodesic(Distance):
    """The angle between the vectors, in [0, pi], as 2 atan2(|a - b|, |a + b|).

    `acos` of a float32 cosine loses all digits below 1e-4 and has infinite gradients at both ends; this form does not.
    """

    def __call__(self, sq_chord: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        return 2 * torch.atan2(sq_chord.clamp_min(TINY).sqrt(), (4 - sq_chord).clamp_min(TINY).sqrt())
