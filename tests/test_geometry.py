"""The sphere: distances against float64 formulas, gradients at the poles, and nearness that survives float32."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from domainmetric.geometry import (
    Chord,
    ChordSquared,
    Cosine,
    Distance,
    Geodesic,
    SphereDistance,
    cosine,
    normalize,
    squared_chord,
)
from tests.contracts.family import classes, members, named
from tests.reference import DISTANCES, square, unit

ALL = pytest.mark.parametrize("distance", members(SphereDistance), ids=named)


def test_squared_chords_are_those_of_a_loop() -> None:
    a, b = unit(0, 7), unit(1, 5)
    expected = torch.tensor([[square(x, y) for y in b] for x in a], dtype=torch.float64)
    torch.testing.assert_close(squared_chord(a, b).double(), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(squared_chord(a.float(), b.float()).double(), expected, rtol=0, atol=2e-6)


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


@pytest.mark.parametrize("angle", [1e-3, 0.5, 1.5, 3.0])
def test_gradient_norms_are_the_known_ones(angle: float) -> None:
    a = torch.tensor([[1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.float64)
    tangential = {ChordSquared: 2 * math.sin(angle), Chord: math.cos(angle / 2), Cosine: math.sin(angle), Geodesic: 1.0}
    for distance, expected in tangential.items():
        (gradient,) = torch.autograd.grad(distance()(squared_chord(normalize(a), b)).sum(), a)
        assert float(gradient.norm()) == pytest.approx(expected, rel=1e-5)


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


def test_a_zero_row_stays_zero() -> None:
    assert torch.equal(normalize(torch.zeros(2, 3)), torch.zeros(2, 3))
