"""Distances against formulas, loops and torch; gradients at the poles; and nearness that survives float32."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from domainmetric import geometry
from domainmetric.errors import ConfigError
from domainmetric.geometry import (
    Chord,
    ChordSquared,
    Cosine,
    Distance,
    FromMatrix,
    FromPairwise,
    Geodesic,
    Lp,
    SphereDistance,
    class_means,
    cosine,
    normalize,
    squared_chord,
)
from domainmetric.pairs import label_pairs, pair
from domainmetric.types import Group, Pairs
from tests.contracts.family import classes, members, named
from tests.reference import DISTANCES, apart, cases, city_block, every_distance, inner, labels, square, unit

ALL = pytest.mark.parametrize("distance", members(SphereDistance), ids=named)
EVERY = pytest.mark.parametrize("distance", [*every_distance(), Lp(p=1), Lp(p=3.5, eps=1e-3)], ids=named)


def test_class_means_are_those_of_a_loop() -> None:
    z, y = normalize(torch.randn(40, 5, generator=torch.Generator().manual_seed(0))), torch.arange(40) % 3
    found = class_means(z, y, 4)
    for label in range(3):
        mean = torch.stack([row for row, own in zip(z, y, strict=True) if own == label]).mean(0)
        torch.testing.assert_close(found[label], mean / mean.norm())
    assert not found[3].any()  # no item


def test_class_means_take_no_matrix_of_items_by_classes() -> None:
    """A one-hot matrix of these would take a terabyte."""
    z, y = normalize(torch.ones(1_000_000, 1)), torch.zeros(1_000_000, dtype=torch.int64)
    assert class_means(z, y, 1_000_000)[0] == 1


def test_squared_chords_are_those_of_a_loop() -> None:
    a, b = unit(0, 7), unit(1, 5)
    expected = torch.tensor([[square(x, y) for y in b] for x in a], dtype=torch.float64)
    torch.testing.assert_close(squared_chord(a, b).double(), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(squared_chord(a.float(), b.float()).double(), expected, rtol=0, atol=2e-6)


def by_differences(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, None] - b).square().sum(2)


@pytest.mark.parametrize("elements", [1, 13, 1 << 20])
def test_squared_chords_have_the_gradient_of_differences(elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "BACKWARD_ELEMENTS", elements)
    a, b = unit(0, 7).requires_grad_(), unit(1, 5).requires_grad_()
    with torch.random.fork_rng():  # from which these two draw
        small = unit(0, 4, 3).requires_grad_(), unit(1, 3, 3).requires_grad_()
        assert torch.autograd.gradcheck(squared_chord, small)
        assert torch.autograd.gradgradcheck(squared_chord, small)
    weights = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    expected = torch.autograd.grad((weights * by_differences(a, b)).sum(), (a, b))
    for inputs in ((a, b), (a, b.detach()), (a.detach(), b)):
        wanted = [(x, g) for x, g in zip(inputs, expected, strict=True) if x.requires_grad]
        found = torch.autograd.grad((weights * squared_chord(*inputs)).sum(), [x for x, _ in wanted])
        for gradient, (_, right) in zip(found, wanted, strict=True):
            torch.testing.assert_close(gradient, right, rtol=0, atol=1e-13)


def test_a_root_of_squared_chords_gives_no_nan_where_points_coincide() -> None:
    z = unit(0, 5, dtype=torch.float32).repeat(2, 1).requires_grad_()
    squared_chord(z, z).sqrt().sum().backward()
    assert z.grad is not None and z.grad.isfinite().all()


def test_squared_chords_are_never_negative() -> None:
    z = unit(0, 40, 64, dtype=torch.float32).repeat(3, 1)
    found = squared_chord(z, z)
    assert (found >= 0).all() and (found == 0).any()


def test_squared_chords_of_nothing_are_none() -> None:
    a, none = unit(0, 3).requires_grad_(), unit(1, 3)[:0].requires_grad_()
    assert squared_chord(a, none).shape == (3, 0) and squared_chord(none, a).shape == (0, 3)
    (squared_chord(a, none).sum() + squared_chord(none, a).sum()).backward()
    assert torch.equal(a.grad, torch.zeros_like(a))
    assert none.grad.shape == (0, 6)


@ALL
@pytest.mark.parametrize("angle", [1e-5, 1e-3, 0.1, 1.0, 2.0, 3.0, 3.1415])
def test_distances_are_those_of_the_formulas(distance: SphereDistance, angle: float) -> None:
    sq = 4 * math.sin(angle / 2) ** 2
    known = {"ChordSquared": sq, "Chord": math.sqrt(sq), "Cosine": 1 - math.cos(angle), "Geodesic": angle}
    expected = known[named(distance)]  # a new distance adds its formula here
    assert float(distance(torch.tensor(sq, dtype=torch.float64))) == pytest.approx(expected, rel=1e-4, abs=1e-9)
    assert float(distance(torch.tensor(sq))) == pytest.approx(expected, rel=1e-4)


@ALL
def test_distances_grow_with_the_chord_and_begin_at_zero(distance: SphereDistance) -> None:
    values = distance(torch.linspace(0, 4, 101))
    assert (values.diff() > 0).all()
    assert float(values[0]) == pytest.approx(0, abs=1e-5)


def test_the_references_of_other_tests_know_every_distance() -> None:
    assert DISTANCES.keys() == {cls.__name__ for cls in classes(Distance)}


def test_cosine_is_the_inner_product() -> None:
    a, b = unit(0, 4), unit(1, 6)
    torch.testing.assert_close(cosine(squared_chord(a, b)), a @ b.T, rtol=0, atol=1e-12)


@settings(max_examples=50, deadline=None, database=None)
@given(st.integers(0, 10_000))
def test_geodesics_obey_the_triangle_inequality(seed: int) -> None:
    z = unit(seed, 3, 3)
    d = Geodesic()(squared_chord(z, z))
    assert d[0, 2] <= d[0, 1] + d[1, 2] + 1e-6


@ALL
@pytest.mark.parametrize("sign", [1, -1], ids=["coincident", "antipodal"])
def test_gradients_are_finite_at_coincident_and_antipodal_points(distance: SphereDistance, sign: int) -> None:
    a = unit(0, 3, dtype=torch.float32).requires_grad_()
    b = (sign * a.detach()).clone().requires_grad_()
    distance(squared_chord(normalize(a), normalize(b))).sum().backward()
    assert a.grad is not None and b.grad is not None
    assert a.grad.isfinite().all() and b.grad.isfinite().all()


GRADIENT_NORMS: dict[type[SphereDistance], tuple[Callable[[float], float], Callable[[float], float]]] = {
    ChordSquared: (lambda angle: 4 * math.sin(angle / 2), lambda angle: 2 * math.sin(angle)),
    Chord: (lambda angle: 1.0, lambda angle: math.cos(angle / 2)),
    Cosine: (lambda angle: 2 * math.sin(angle / 2), math.sin),
    Geodesic: (lambda angle: 1 / math.cos(angle / 2), lambda angle: 1.0),
}
"""At one of two unit vectors: raw, as a function of the squared chord; and tangential, which training follows."""


@pytest.mark.parametrize("angle", [1e-6, 1e-3, 0.5, 1.5, 3.0])
@pytest.mark.parametrize("cls", classes(SphereDistance), ids=lambda cls: cls.__name__)
def test_gradient_norms_are_the_known_ones(cls: type[SphereDistance], angle: float) -> None:
    a = torch.tensor([[1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.float64)
    for project, expected in zip((lambda x: x, normalize), GRADIENT_NORMS[cls], strict=True):
        (gradient,) = torch.autograd.grad(cls().pairwise(project(a), b).sum(), a)
        assert float(gradient.norm()) == pytest.approx(expected(angle), rel=1e-9)
        if project is normalize:
            assert float(gradient[0, 0]) == pytest.approx(0, abs=1e-9), "nothing along the vector itself"
        if angle >= 1e-3:  # below, the Gram matrix keeps fewer digits
            (gradient,) = torch.autograd.grad(cls()(squared_chord(project(a), b)).sum(), a)
            assert float(gradient.norm()) == pytest.approx(expected(angle), rel=1e-7)


ANGLES = [
    0.0,
    *(10.0**-k for k in range(11, 0, -1)),
    0.5,
    1.0,
    2.0,
    3.0,
    *(math.pi - 10.0**-k for k in range(1, 12)),
    math.pi,
]


@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 5e-8), (torch.float32, 1e-4)])
def test_geodesics_are_right_and_their_gradients_finite_from_coincident_to_antipodal(
    dtype: torch.dtype, near: float
) -> None:
    angle = torch.tensor(ANGLES, dtype=torch.float64)
    a = torch.tensor([[1.0, 0.0]], dtype=dtype).repeat(len(ANGLES), 1).requires_grad_()
    b = torch.stack([angle.cos(), angle.sin()], 1).to(dtype).requires_grad_()
    distance = Geodesic().pairwise(normalize(a), normalize(b))
    assert float(distance[0].detach()) < 1e-11
    error = (distance.detach().double() - angle)[1:] / angle[1:]
    assert float(error.abs().max()) < near
    for gradient in torch.autograd.grad(distance.sum(), (a, b)):
        assert gradient.isfinite().all()
        inside = (angle > 1e-10) & (angle < math.pi - 0.01)  # at the antipode itself there is no direction
        torch.testing.assert_close(
            gradient.norm(dim=1)[inside],
            torch.ones(int(inside.sum()), dtype=dtype),
            rtol=0,
            atol=1e-7 if dtype == torch.float64 else 1e-3,
        )


@pytest.mark.parametrize(("gamma", "degrees"), [(0.0, 33.7), (0.5, 49.2), (0.9, 71.0)])
def test_chord_squared_and_geodesic_pull_the_anchor_of_a_triplet_in_different_directions(
    gamma: float, degrees: float
) -> None:
    angle_p, angle_n = 0.2, 1.5  # gamma is the cosine of the angle, at the anchor, between the ways to p and n
    p = torch.tensor([[math.cos(angle_p), math.sin(angle_p), 0.0]], dtype=torch.float64)
    way_n = (gamma, math.sqrt(1 - gamma**2))
    n = torch.tensor([[math.cos(angle_n), *(math.sin(angle_n) * part for part in way_n)]], dtype=torch.float64)
    a = torch.tensor([[1.0, 0, 0]], dtype=torch.float64, requires_grad=True)
    directions = []
    for distance in (ChordSquared(), Geodesic()):
        loss = distance.pairwise(normalize(a), p) - distance.pairwise(normalize(a), n)
        (gradient,) = torch.autograd.grad(loss.sum(), a)
        directions.append(normalize(gradient)[0])
    between = math.degrees(math.acos(float(directions[0] @ directions[1])))
    assert between == pytest.approx(degrees, abs=0.05)


def test_near_collapse_the_hardest_negatives_are_all_right_in_float32() -> None:
    spread, y = 1e-3, torch.arange(200) % 4
    center = unit(5, 1, 64)
    noise = torch.randn(200, 64, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    z = normalize(center + spread * noise / 8).float()
    exact = z.double()
    truth = (exact[:, None] - exact).square().sum(2)
    same = y[:, None] == y
    right = truth.masked_fill(same, torch.inf).argmin(1)
    assert torch.equal(squared_chord(z, z).masked_fill(same, torch.inf).argmin(1), right)
    plain = (2 - 2 * z @ z.T).masked_fill(same, torch.inf).argmin(1)
    assert (plain != right).float().mean() > 0.3, "the plain Gram matrix fails here, or the test shows nothing"


def test_autocast_does_not_touch_squared_chords() -> None:
    z = unit(0, 8, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = squared_chord(z, z)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, squared_chord(z, z))
    assert squared_chord(z.bfloat16(), z.bfloat16()).dtype == torch.float32
    x = z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(squared_chord(x, z).sqrt().sum(), x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (backward_inside,) = torch.autograd.grad(squared_chord(x, z).sqrt().sum(), x)
    assert torch.equal(backward_inside, gradient)


def test_a_zero_row_stays_zero() -> None:
    assert torch.equal(normalize(torch.zeros(2, 3)), torch.zeros(2, 3))


@EVERY
@pytest.mark.parametrize("case", cases())
def test_all_three_ways_of_measuring_agree_with_each_other_and_with_loops(distance: Distance, case: str) -> None:
    pairs = cases()[case]
    matrix = distance.matrix(pairs)
    assert matrix.shape == pairs.sq_chord.shape and matrix.dtype == torch.float64
    if distance in every_distance():
        torch.testing.assert_close(matrix, torch.tensor(apart(distance, pairs), dtype=torch.float64), rtol=0, atol=1e-7)
    draw = torch.Generator().manual_seed(0)
    for few_or_many in (3, 3 * matrix.numel()):
        row = torch.randint(len(pairs.rows), (few_or_many,), generator=draw)
        column = torch.randint(len(pairs.columns), (few_or_many,), generator=draw)
        expected = matrix[row, column]
        torch.testing.assert_close(distance.listed(pairs, row, column), expected, rtol=0, atol=1e-7)
        vectors = pairs.rows.z[row], pairs.columns.z[column]
        torch.testing.assert_close(distance.pairwise(*vectors), expected, rtol=0, atol=1e-7)
        nothing = row[:0]
        assert (
            distance.listed(pairs, nothing, nothing).shape
            == distance.pairwise(vectors[0][:0], vectors[1][:0]).shape
            == (0,)
        )


@EVERY
def test_all_three_ways_of_measuring_have_the_same_gradient(distance: Distance) -> None:
    z, other = unit(0, 9).requires_grad_(), unit(1, 7).requires_grad_()
    y, other_y = labels(0, 9), labels(1, 7)
    row, column = (part.flatten() for part in torch.meshgrid(torch.arange(9), torch.arange(7), indexing="ij"))
    weights = torch.randn(63, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    gradients = []
    for way in ("matrix", "listed", "pairwise"):
        pairs = pair(Group(z=z, labels=y), Group(z=other, labels=other_y))
        values = {
            "matrix": lambda pairs=pairs: distance.matrix(pairs).flatten(),
            "listed": lambda pairs=pairs: distance.listed(pairs, row, column),
            "pairwise": lambda: distance.pairwise(z[row], other[column]),
        }[way]()
        gradients.append(torch.autograd.grad((weights * values).sum(), (z, other)))
    for found in gradients[1:]:
        torch.testing.assert_close(found, gradients[0], rtol=0, atol=1e-7)


@EVERY
def test_distances_are_at_least_float32_whatever_autocast_does(distance: Distance) -> None:
    z, y = unit(0, 8, dtype=torch.float32), labels(0, 8)
    rows = torch.arange(8)

    def measured(z: Tensor) -> list[Tensor]:
        pairs = pair(Group(z=z, labels=y))
        return [distance.matrix(pairs), distance.listed(pairs, rows, rows.flip(0)), distance.pairwise(z, z.flip(0))]

    outside = measured(z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = measured(z)
    for one, two in zip(outside, inside, strict=True):
        assert two.dtype == torch.float32 and torch.equal(one, two)
    assert all(part.dtype == torch.float32 for part in measured(z.bfloat16()))


@EVERY
def test_gradients_are_finite_where_all_points_coincide(distance: Distance) -> None:
    z = unit(0, 1, dtype=torch.float32).repeat(6, 1).requires_grad_()
    pairs = label_pairs(z, labels(0, 6))
    for values in (distance.matrix(pairs), distance.pairwise(z, z.flip(0))):
        (gradient,) = torch.autograd.grad(values.sum(), z, retain_graph=True)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("eps", [0.0, 1e-6, 0.1])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, math.inf])
def test_lp_is_the_one_of_torch(p: float, eps: float) -> None:
    distance, x, y = Lp(p=p, eps=eps), 3 * unit(0, 9), 2 * unit(1, 9)
    assert torch.equal(distance.pairwise(x, y), F.pairwise_distance(x, y, p=p, eps=eps))
    assert torch.equal(distance.pairwise(x, y), torch.nn.PairwiseDistance(p=p, eps=eps)(x, y))
    pairs = pair(Group(z=x, labels=labels(0, 9)), Group(z=y, labels=labels(1, 9)))
    expected = torch.stack([F.pairwise_distance(row, y, p=p, eps=eps) for row in x])
    torch.testing.assert_close(distance.matrix(pairs), expected, rtol=1e-12, atol=0)


def test_lp_near_collapse_loses_no_digits() -> None:
    z = (unit(5, 1, 64) + 1e-4 * unit(6, 40, 64)).float()
    matrix = Lp(eps=0.0).matrix(pair(Group(z=z, labels=labels(0, 40))))
    exact = by_differences(z.double(), z.double()).sqrt()
    torch.testing.assert_close(matrix.double(), exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Lp(p=0.5), "Lp.p must be at least 1, but is 0.5: below it there is no triangle inequality."),
        (lambda: Lp(p=math.nan), "Lp.p must be at least 1, but is nan: below it there is no triangle inequality."),
        (lambda: Lp(eps=-1e-6), "Lp.eps must not be negative, but is -1e-06."),
    ],
)
def test_norms_that_are_none_are_refused(make: Callable[[], Distance], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message


def some_pairs(z: Tensor) -> Pairs:
    return pair(Group(z=z, labels=labels(0, len(z))), Group(z=unit(1, 11), labels=labels(1, 11)))


@pytest.mark.parametrize("elements", [1, 200, 1 << 22])
def test_a_distance_of_pairs_is_given_all_pairs_in_chunks_and_keeps_none_of_them(
    elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geometry, "CHUNK_ELEMENTS", elements)
    given: list[int] = []

    def function(x: Tensor, y: Tensor) -> Tensor:
        given.append(x.numel())
        return city_block(x, y)

    z = unit(0, 13).requires_grad_()
    matrix = FromPairwise(function=function).matrix(some_pairs(z))
    expected = torch.cdist(z, unit(1, 11), p=1)
    torch.testing.assert_close(matrix, expected)
    per_row = 11 * 6
    rows = max(1, elements // per_row)
    assert given == [per_row * min(rows, 13 - start) for start in range(0, 13, rows)]
    forward = len(given)
    weights = torch.randn(13, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    (gradient,) = torch.autograd.grad((weights * matrix).sum(), z)
    (right,) = torch.autograd.grad((weights * expected).sum(), z)
    torch.testing.assert_close(gradient, right)
    assert len(given) == 2 * forward, "what a chunk made on the way is made again"


@pytest.mark.parametrize("block", [1, 4, 64])
def test_a_distance_of_matrices_is_given_lists_in_blocks(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "BLOCK", block)
    given: list[tuple[int, int]] = []

    def function(x: Tensor, y: Tensor) -> Tensor:
        given.append((len(x), len(y)))
        return inner(x, y)

    distance, x, y = FromMatrix(function=function), unit(0, 130), unit(1, 130)
    torch.testing.assert_close(distance.pairwise(x, y), 1 - (x * y).sum(1))
    assert max(given) == (block, block) and len(given) == math.ceil(130 / block)
    pairs = some_pairs(unit(0, 13))
    row = torch.arange(13).repeat(50)
    given.clear()
    distance.listed(pairs, row, row % 11)
    assert given == [(13, 11)], "a long list is cut out of the whole matrix"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x, y: (x - y).abs(), "must return the shape (4,), but returned (4, 6)."),
        (lambda x, y: (x - y).sum(), "must return the shape (4,), but returned ()."),
        (lambda x, y: torch.cdist(x, y, p=1), "must return the shape (4,), but returned (4, 4)."),
        (lambda x, y: 1.0, "must return a tensor of the shape (4,), but returned a float."),
        (lambda x, y: (x - y).detach().numpy(), "must return a tensor of the shape (4,), but returned a ndarray."),
        (lambda x, y: (x == y).all(1), "must return floating-point numbers, but returned bool."),
        (
            lambda x, y: (x - y).detach().square().sum(1),
            "must return distances with a gradient, but theirs was cut off: nothing would be learned.",
        ),
    ],
)
def test_a_function_that_is_no_distance_of_pairs_is_refused(function: Callable[..., Tensor], message: str) -> None:
    x = unit(0, 4).requires_grad_()
    with pytest.raises(ConfigError) as caught:
        FromPairwise(function=function).pairwise(x, unit(1, 4))
    assert str(caught.value) == f"The distance <lambda> was given the shapes (4, 6) and (4, 6) and {message}"


def test_a_function_that_is_no_distance_of_matrices_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        FromMatrix(function=F.cosine_similarity).matrix(label_pairs(unit(0, 4), labels(0, 4)))
    assert "was given the shapes (4, 6) and (4, 6) and must return the shape (4, 4), but returned (4,)." in str(
        caught.value
    )


def test_a_module_can_be_a_distance() -> None:
    x, y = unit(0, 4), unit(1, 4)
    distance = FromPairwise(function=torch.nn.PairwiseDistance())
    assert torch.equal(distance.pairwise(x, y), Lp().pairwise(x, y))
    assert distance.pairwise(x.float(), y.float()).dtype == torch.float32


def test_a_function_may_compute_in_a_type_of_its_own() -> None:
    distance = FromPairwise(function=lambda x, y: city_block(x.double(), y.double()))
    assert distance.pairwise(unit(0, 4).float(), unit(1, 4).float()).dtype == torch.float32
