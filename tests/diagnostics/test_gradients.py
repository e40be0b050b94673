"""Gradients of distances: the lengths, directions and kept parts that the formulas of the sphere promise."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from domainmetric import Chord, ChordSquared, Cosine, Geodesic
from domainmetric.diagnostics.gradients import (
    FORMS,
    Pairwise,
    angle,
    chord,
    chord_squared,
    gradient_angle,
    gradient_norms,
    kept_fraction,
    one_minus_dot,
    tangential,
)
from tests.reference import unit

THETA = torch.tensor([0.01, 0.2, 0.8, 1.5, 2.4, 3.1], dtype=torch.float64)
HALF = THETA / 2
ONES = torch.ones_like(THETA)


@pytest.mark.parametrize(
    ("name", "raw", "along"),
    [
        ("chord^2", 4 * HALF.sin(), 2 * THETA.sin()),
        ("chord", ONES, HALF.cos()),
        ("cosine", ONES, THETA.sin()),
        ("geodesic", ONES, ONES),
    ],
)
def test_norms_of_the_four_distances(name: str, raw: torch.Tensor, along: torch.Tensor) -> None:
    norms = gradient_norms(FORMS[name], THETA)
    assert torch.allclose(norms.raw, raw, rtol=1e-9) and torch.allclose(norms.tangential, along, rtol=1e-9)
    assert torch.allclose(kept_fraction(FORMS[name], THETA), along / raw, rtol=1e-9)


@pytest.mark.parametrize("name", FORMS)
def test_the_tangential_norm_is_the_slope_along_the_great_circle_by_finite_differences(name: str) -> None:
    def along(theta: torch.Tensor) -> torch.Tensor:
        moving = torch.stack([theta.cos(), theta.sin()], 1)
        return FORMS[name](moving, torch.tensor([[1.0, 0.0]]).double().expand(len(theta), 2))

    h = 1e-6
    slope = (along(THETA + h) - along(THETA - h)) / (2 * h)
    assert torch.allclose(gradient_norms(FORMS[name], THETA).tangential, slope, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("distance", [ChordSquared(), Chord(), Cosine(), Geodesic()], ids=str)
def test_the_library_keeps_the_cosine_of_half_the_angle_whatever_the_distance(distance: Cosine) -> None:
    """It writes all four as functions of the squared chord, so their raw gradients all point along the chord."""
    assert torch.allclose(kept_fraction(distance.pairwise, THETA), HALF.cos(), rtol=1e-9)


def test_nothing_is_lost_along_the_sphere_whichever_way_a_distance_is_written() -> None:
    library = {"chord^2": ChordSquared(), "chord": Chord(), "cosine": Cosine(), "geodesic": Geodesic()}
    for name, form in FORMS.items():
        mine = gradient_norms(library[name].pairwise, THETA).tangential
        assert torch.allclose(mine, gradient_norms(form, THETA).tangential, rtol=1e-9)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_normalizing_within_the_graph_keeps_just_the_tangential_part(form: Pairwise) -> None:
    z, other, length = unit(0, 12), unit(1, 12), 3.0
    free = (length * z).requires_grad_()
    (within,) = torch.autograd.grad(form(F.normalize(free, dim=1), other).sum(), free)
    leaf = z.clone().requires_grad_()
    (raw,) = torch.autograd.grad(form(leaf, other).sum(), leaf)
    assert torch.allclose(within * length, tangential(raw, z), atol=1e-12)


@pytest.mark.parametrize(("gamma", "degrees"), [(0.0, 33.7), (0.5, 49.2), (0.9, 71.0)])
def test_angle_between_the_anchor_gradients_of_squared_chord_and_geodesic(gamma: float, degrees: float) -> None:
    th_p, th_n = torch.tensor([0.2]), torch.tensor([1.5])
    found = float(gradient_angle(chord_squared, angle, theta_p=th_p, theta_n=th_n, gamma=gamma))
    assert found == pytest.approx(degrees, abs=0.05)
    # by the directions to the positive and to the negative: sin(th_p) u_p - sin(th_n) u_n against u_p - u_n
    u_p, u_n = (1.0, 0.0), (gamma, math.sqrt(1 - gamma**2))
    one = [math.sin(0.2) * p - math.sin(1.5) * n for p, n in zip(u_p, u_n, strict=True)]
    other = [p - n for p, n in zip(u_p, u_n, strict=True)]
    cosine = sum(x * y for x, y in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))
    assert found == pytest.approx(math.degrees(math.acos(cosine)), abs=1e-4)


def test_squared_chord_and_cosine_agree_in_direction_and_so_do_all_where_the_angles_are_equal() -> None:
    given = {"theta_p": torch.tensor([0.2, 0.9, 1.1]), "theta_n": torch.tensor([1.5, 0.4, 1.1]), "gamma": 0.5}
    assert float(gradient_angle(chord_squared, one_minus_dot, **given).max()) < 1e-6
    assert float(gradient_angle(chord, angle, **given)[2]) < 1e-6
    assert (gradient_angle(chord, angle, **given)[:2] > 1).all()
    assert torch.allclose(
        gradient_angle(ChordSquared().pairwise, Geodesic().pairwise, **given),
        gradient_angle(chord_squared, angle, **given),
    )
