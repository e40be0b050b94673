"""How far apart two vectors are, computed so that nearness survives rounding.

Distances of the sphere are functions of the squared chord |a - b|^2, which lies in [0, 4] for unit vectors. Near
collapse the float32 Gram matrix a.b of raw unit vectors cancels catastrophically, so the mean is subtracted first:
differences do not change, and the products become small numbers that keep their digits.

Plain calls of miners and losses, and training, normalize embeddings before any distance sees them. But
`TripletLoss.explicit` and `pairs.pair` take vectors as they are: there distances of the sphere expect unit length,
while `Lp` and distances of one's own take what comes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from domainmetric.errors import ConfigError
from domainmetric.types import Pairs

TINY = 1e-12
"""The least length: its square under a root keeps the gradient finite where two points coincide."""
CHUNK_ELEMENTS = 1 << 22
"""Numbers that a distance of one's own is given at a time, for each of its two arguments (16 MB in float32)."""
BACKWARD_ELEMENTS = 1 << 20
"""Elements of a matrix of squared chords whose gradient is looked at together (4 MB in float32: a cache holds them)."""
BLOCK = 64
"""Rows whose distance matrix is formed for the sake of its diagonal."""


def normalize(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Rows of `x` on the unit sphere; a zero row stays zero."""
    return F.normalize(x, dim=-1)


def class_means(z: Float[Tensor, "n d"], labels: Int64[Tensor, " n"], num_classes: int) -> Float[Tensor, "k d"]:
    """The sum of each class's rows on the unit sphere; zero for a class without a row."""
    return normalize(z.new_zeros(num_classes, z.shape[1]).index_add_(0, labels, z))


def at_least_float32(x: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    """The same numbers, no narrower than float32: half-precision distances pick wrong neighbors."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def squared_chord(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """Squared Euclidean distances between rows, from the Gram matrix centred on the mean of `b`. In [0, inf).

    float32 at least, whatever autocast does: mining on half-precision distances picks wrong neighbors.
    """
    with torch.autocast(a.device.type, enabled=False):
        a, b = at_least_float32(a), at_least_float32(b)
        center = b.detach().sum(0) / max(1, len(b))  # the mean, but no NaN where there is no row
        result: Tensor = _SquaredChord.apply(a - center, b - center)
    return result


class _SquaredChord(torch.autograd.Function):
    """|a|^2 - 2 a.b + |b|^2 and its gradient: one matrix of that size in the forward pass, and none in the backward.

    The sums that belong to the squares are taken from the same rows of the gradient as its two products. No gradient
    passes where a square is zero, so that a function with an infinite slope there, such as a root, gives no NaN.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        result = torch.addmm(b.square().sum(1), a, b.T, alpha=-2)
        result.add_(a.square().sum(1, keepdim=True)).relu_()
        ctx.save_for_backward(a, b, result)
        return result

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b, result = ctx.saved_tensors
        rows = max(1, BACKWARD_ELEMENTS // max(1, len(b)))
        of_a, of_b = [], torch.zeros_like(b)
        with torch.autocast(a.device.type, enabled=False):
            for x, at, whole in zip(a.split(rows), result.split(rows), grad[0].split(rows), strict=True):
                g = torch.ops.aten.threshold_backward(whole, at, 0)
                if ctx.needs_input_grad[0]:
                    of_a.append(2 * (x * g.sum(1, keepdim=True) - g @ b))
                if ctx.needs_input_grad[1]:
                    of_b = of_b + 2 * (b * g.sum(0)[:, None] - g.T @ x)
        return torch.cat(of_a) if of_a else None, of_b if ctx.needs_input_grad[1] else None


def cosine(sq_chord: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    """Cosine similarity of unit vectors from their squared chord. In [-1, 1]."""
    return 1 - sq_chord / 2


def length(square: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    """The root of squared lengths, with a gradient of zero instead of infinity where they are zero."""
    return square.clamp_min(TINY**2).sqrt()


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
    """A distance between unit vectors, as a function of their squared chord, which all losses of a step share.

    Its gradient at the vectors points along the chord, off the sphere. Where they are normalized within the graph, what
    passes on is tangential.
    """

    @abstractmethod
    def __call__(self, sq_chord: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        """The distance for each squared chord: 0 where points coincide, growing with it."""

    def pairwise(self, x: Float[Tensor, "t d"], y: Float[Tensor, "t d"]) -> Float[Tensor, " t"]:
        with torch.autocast(x.device.type, enabled=False):
            return self((at_least_float32(x) - at_least_float32(y)).square().sum(1))

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
        return length(sq_chord)


@dataclass(frozen=True, kw_only=True)
class Cosine(SphereDistance):
    """1 - cos, in [0, 2]."""

    def __call__(self, sq_chord: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        return sq_chord / 2


@dataclass(frozen=True, kw_only=True)
class Geodesic(SphereDistance):
    """The angle between the vectors, in [0, pi], as 2 atan2(|a - b|, |a + b|).

    `acos` of a float32 cosine loses all digits below 1e-4 and has infinite gradients at both ends; this form does not.
    From vectors in float64 the relative error is below 5e-8 everywhere, since nothing is rounded but the squares.
    """

    def __call__(self, sq_chord: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        return 2 * torch.atan2(length(sq_chord), length(4 - sq_chord))


@dataclass(frozen=True, kw_only=True)
class Lp(Distance):
    """The norm |x - y + eps|_p of vectors as they are, as in `torch.nn.PairwiseDistance` and `TripletMarginLoss`.

    The eps in every component keeps the gradient finite, and not zero, where two vectors coincide. It also makes the
    distance a little unsymmetric, as torch's is.
    """

    p: float = 2.0
    """The norm's degree, at least 1: 1 is the city block's, 2 Euclid's, infinity the greatest difference's."""
    eps: float = 1e-6
    """What is added to each component of the difference."""

    def __post_init__(self) -> None:
        if not self.p >= 1:
            raise ConfigError(f"Lp.p must be at least 1, but is {self.p}: below it there is no triangle inequality.")
        if not self.eps >= 0:
            raise ConfigError(f"Lp.eps must not be negative, but is {self.eps}.")

    def pairwise(self, x: Float[Tensor, "t d"], y: Float[Tensor, "t d"]) -> Float[Tensor, " t"]:
        with torch.autocast(x.device.type, enabled=False):
            return F.pairwise_distance(at_least_float32(x), at_least_float32(y), p=self.p, eps=self.eps)

    def matrix(self, pairs: Pairs) -> Float[Tensor, "a b"]:
        x, y = at_least_float32(pairs.rows.z), at_least_float32(pairs.columns.z)
        with torch.autocast(x.device.type, enabled=False):  # differences, since the Gram matrix loses nearness
            return torch.cdist(x + self.eps, y, p=self.p, compute_mode="donot_use_mm_for_euclid_dist")

    def listed(self, pairs: Pairs, row: Int64[Tensor, " t"], column: Int64[Tensor, " t"]) -> Float[Tensor, " t"]:
        if len(row) <= pairs.sq_chord.numel():
            return self.pairwise(pairs.rows.z[row], pairs.columns.z[column])
        return self.matrix(pairs)[row, column]


@dataclass(frozen=True, kw_only=True)
class FromPairwise(Distance):
    """A distance of one's own, of each row of one list of vectors to the same row of another.

    `function(x, y)` takes two tensors (t, d), of at least float32, and returns t distances that are differentiable in
    both, each a function of its own two vectors. Where all rows are compared with all columns it is called in chunks,
    and called again in the backward pass rather than keeping what it made on the way.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    """(t, d), (t, d) -> (t). Give it a name at the top of a file, so that a run's record can name it."""

    def pairwise(self, x: Float[Tensor, "t d"], y: Float[Tensor, "t d"]) -> Float[Tensor, " t"]:
        return call(self.function, x, y, (len(x),))

    def matrix(self, pairs: Pairs) -> Float[Tensor, "a b"]:
        x, y = pairs.rows.z, pairs.columns.z

        def against_all(some: Tensor) -> Tensor:
            each, every = some.repeat_interleave(len(y), 0), y.repeat(len(some), 1)
            return self.pairwise(each, every).reshape(len(some), len(y))

        rows = max(1, CHUNK_ELEMENTS // max(1, y.numel()))
        parts = [checkpoint(against_all, some, use_reentrant=False) for some in x.split(rows)]
        return torch.cat(parts) if len(y) else pairs.sq_chord

    def listed(self, pairs: Pairs, row: Int64[Tensor, " t"], column: Int64[Tensor, " t"]) -> Float[Tensor, " t"]:
        if len(row) <= pairs.sq_chord.numel():
            return self.pairwise(pairs.rows.z[row], pairs.columns.z[column])
        return self.matrix(pairs)[row, column]


@dataclass(frozen=True, kw_only=True)
class FromMatrix(Distance):
    """A distance of one's own, of all rows of one list of vectors to all of another.

    `function(x, y)` takes tensors (n, d) and (m, d), of at least float32, and returns (n, m) distances that are
    differentiable in both, element (i, j) a function of x[i] and y[j] alone. Few pairs are cut out of the diagonals of
    small blocks.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    """(n, d), (m, d) -> (n, m). Give it a name at the top of a file, so that a run's record can name it."""

    def pairwise(self, x: Float[Tensor, "t d"], y: Float[Tensor, "t d"]) -> Float[Tensor, " t"]:
        blocks = zip(x.split(BLOCK), y.split(BLOCK), strict=True)
        return torch.cat([call(self.function, some, same, (len(some), len(same))).diagonal() for some, same in blocks])

    def matrix(self, pairs: Pairs) -> Float[Tensor, "a b"]:
        return call(self.function, pairs.rows.z, pairs.columns.z, tuple(pairs.sq_chord.shape))

    def listed(self, pairs: Pairs, row: Int64[Tensor, " t"], column: Int64[Tensor, " t"]) -> Float[Tensor, " t"]:
        if len(row) * BLOCK <= pairs.sq_chord.numel():
            return self.pairwise(pairs.rows.z[row], pairs.columns.z[column])
        return self.matrix(pairs)[row, column]


def call(
    function: Callable[[Tensor, Tensor], Tensor],
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    shape: tuple[int, ...],
) -> Float[Tensor, "*s"]:
    """What a distance of one's own says of some vectors. Raises ConfigError where that is not what it must be."""
    name = getattr(function, "__qualname__", type(function).__name__)
    with torch.autocast(x.device.type, enabled=False):
        x, y = at_least_float32(x), at_least_float32(y)
        result = function(x, y)
    given = f"The distance {name} was given the shapes {tuple(x.shape)} and {tuple(y.shape)} and must return "
    if not isinstance(result, Tensor):
        raise ConfigError(f"{given}a tensor of the shape {shape}, but returned a {type(result).__name__}.")
    if tuple(result.shape) != shape:
        raise ConfigError(f"{given}the shape {shape}, but returned {tuple(result.shape)}.")
    if not result.is_floating_point():
        raise ConfigError(f"{given}floating-point numbers, but returned {str(result.dtype).removeprefix('torch.')}.")
    if torch.is_grad_enabled() and (x.requires_grad or y.requires_grad) and not result.requires_grad:
        raise ConfigError(f"{given}distances with a gradient, but theirs was cut off: nothing would be learned.")
    return result.to(x.dtype)
