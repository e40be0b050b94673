"""The only home of the sphere: how far apart two unit vectors are, computed so that nearness survives rounding.

Distances of the sphere are functions of the squared chord |a - b|^2, which lies in [0, 4] for unit vectors. Near
collapse the float32 Gram matrix a.b of raw unit vectors cancels catastrophically, so the mean is subtracted first:
differences do not change, and the products become small numbers that keep their digits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.types import Pairs

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
    """How far apart two embeddings are. Small is near, and two that coincide are at (about) zero."""

    @abstractmethod
    def pairwise(self, x: Float[Tensor, "t d"], y: Float[Tensor, "t d"]) -> Float[Tensor, " t"]:
        """The distance of each row of `x` to the same row of `y`."""

    @abstractmethod
    def matrix(self, pairs: Pairs) -> Float[Tensor, "a b"]:
        """The distances of all rows to all columns."""

    @abstractmethod
    def listed(self, pairs: Pairs, row: Int64[Tensor, " t"], column: Int64[Tensor, " t"]) -> Float[Tensor, " t"]:
        """The distances of chosen rows to chosen columns: elements of the matrix, without the matrix if it can be."""


@dataclass(frozen=True, kw_only=True)
class SphereDistance(Distance, ABC):
    """A distance between unit vectors, as a function of their squared chord, which all losses of a step share."""

    @abstractmethod
    def __call__(self, sq_chord: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        """The distance for each squared chord: 0 where points coincide, growing with it."""

    def pairwise(self, x: Float[Tensor, "t d"], y: Float[Tensor, "t d"]) -> Float[Tensor, " t"]:
        with torch.autocast(x.device.type, enabled=False):
            dtype = torch.promote_types(x.dtype, torch.float32)
            return self((x.to(dtype) - y.to(dtype)).square().sum(1))

    def matrix(self, pairs: Pairs) -> Float[Tensor, "a b"]:
        return self(pairs.sq_chord)

    def listed(self, pairs: Pairs, row: Int64[Tensor, " t"], column: Int64[Tensor, " t"]) -> Float[Tensor, " t"]:
        # a few triplets are cheaper by their vectors, since no gradient then passes through the whole matrix
        if len(row) * pairs.rows.z.shape[1] <= pairs.sq_chord.numel():
            return self.pairwise(pairs.rows.z[row], pairs.columns.z[column])
        return self(pairs.sq_chord[row, column])


@dataclass(frozen=True, kw_only=True)
class ChordSquared(SphereDistance):
    """|a - b|^2 = 2 - 2 cos, in [0, 4] (FaceNet; Schroff et al. 2015)."""

    def __call__(self, sq_chord: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        return sq_chord


@dataclass(frozen=True, kw_only=True)
class Chord(SphereDistance):
    """|a - b|, in [0, 2]."""

    def __call__(self, sq_chord: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        return sq_chord.clamp_min(TINY).sqrt()


@dataclass(frozen=True, kw_only=True)
class Cosine(SphereDistance):
    """1 - cos, in [0, 2]."""

    def __call__(self, sq_chord: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        return sq_chord / 2


@dataclass(frozen=True, kw_only=True)
class Geodesic(SphereDistance):
    """The angle between the vectors, in [0, pi], as 2 atan2(|a - b|, |a + b|).

    `acos` of a float32 cosine loses all digits below 1e-4 and has infinite gradients at both ends; this form does not.
    """

    def __call__(self, sq_chord: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        return 2 * torch.atan2(sq_chord.clamp_min(TINY).sqrt(), (4 - sq_chord).clamp_min(TINY).sqrt())
