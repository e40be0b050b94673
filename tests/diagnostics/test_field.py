"""The vector field of a triplet: closed form, explicit vectors, autograd and the corrected formulas agree."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from domainmetric import MarginTriplet
from domainmetric.diagnostics.field import (
    FirstOrderStep,
    Move,
    SecondOrderStep,
    Shares,
    StepRule,
    VanillaStep,
    Vectors,
    entangled,
    moved,
    place,
    predicted_move,
    shares,
    small_step,
    square,
    tangent_cosine,
    third_similarity,
)
from domainmetric.errors import ConfigError
from domainmetric.geometry import normalize

GAMMAS = (-0.9, 0.0, 0.2, 0.5, 0.8, 1.0)
RULES: tuple[StepRule, ...] = (FirstOrderStep(), SecondOrderStep(), VanillaStep(), VanillaStep(margin=0.3))
every_rule = pytest.mark.parametrize("rule", RULES, ids=str)


def dot(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum(-1)


def plain_loss(rule: StepRule) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The losses as written, on free vectors."""

    def first_order(a: Tensor, p: Tensor, n: Tensor) -> Tensor:
        return -torch.log(dot(a, p).exp() / (dot(a, p).exp() + dot(a, n).exp()))

    def second_order(a: Tensor, p: Tensor, n: Tensor) -> Tensor:
        return torch.log1p(torch.exp(dot(a, n) ** 2 / 2 - (dot(a, p) - dot(a, p) ** 2 / 2)))

    def vanilla(a: Tensor, p: Tensor, n: Tensor) -> Tensor:
        assert isinstance(rule, VanillaStep)
        return F.relu(((a - p) ** 2).sum(-1) - ((a - n) ** 2).sum(-1) + min(rule.margin, 100.0))

    return {FirstOrderStep: first_order, SecondOrderStep: second_order, VanillaStep: vanilla}[type(rule)]


def cells(low: float = -1.0, high: float = 1.0) -> tuple[Tensor, Tensor]:
    return square(low, high, 17)


def similarities(vectors: Vectors) -> tuple[Tensor, Tensor, Tensor]:
    a, p, n = vectors
    return dot(a, p), dot(a, n), dot(p, n)


def stepped_by_autograd(vectors: Vectors, loss: Callable[[Tensor, Tensor, Tensor], Tensor], lr: float) -> Vectors:
    free = [v.clone().requires_grad_() for v in vectors]
    gradients = torch.autograd.grad(loss(*free).sum(), free)
    return Vectors(*(F.normalize(v - lr * g, dim=-1) for v, g in zip(vectors, gradients, strict=True)))


def same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_placed_vectors_have_the_asked_similarities(gamma: float) -> None:
    s_ap, s_an = cells()
    placed = place(s_ap, s_an, gamma)
    assert all(same(v.norm(dim=-1), torch.ones_like(s_ap)) for v in placed)
    ap, an, pn = similarities(placed)
    assert same(ap, s_ap) and same(an, s_an) and same(pn, third_similarity(s_ap, s_an, gamma))
    to_p, to_n = (F.normalize(v - dot(placed.anchor, v).unsqueeze(-1) * placed.anchor, dim=-1) for v in placed[1:])
    assert same(dot(to_p, to_n), torch.full_like(s_ap, gamma))
    assert same(tangent_cosine(ap, an, pn), torch.full_like(s_ap, gamma))


@every_rule
@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("lr", [1e-3, 0.1, 1.0])
def test_the_closed_form_is_what_happens_to_vectors(rule: StepRule, gamma: float, lr: float) -> None:
    s_ap, s_an = cells()
    placed = place(s_ap, s_an, gamma)
    predicted = predicted_move(s_ap, s_an, rule, gamma=gamma, lr=lr)
    for after in (moved(placed, rule, lr=lr), stepped_by_autograd(placed, plain_loss(rule), lr)):
        ap, an, _ = similarities(after)
        assert same(predicted.ap, ap - s_ap) and same(predicted.an, an - s_an)


@every_rule
def test_the_forces_are_the_slopes_of_the_loss_by_finite_differences(rule: StepRule) -> None:
    s_ap, s_an = cells()
    if isinstance(rule, VanillaStep):  # as a function of similarities: |a - b|^2 = 2 - 2 S

        def loss(ap: Tensor, an: Tensor) -> Tensor:
            return F.relu(2 * (an - ap) + min(rule.margin, 100.0))
    else:

        def loss(ap: Tensor, an: Tensor) -> Tensor:
            zero = torch.zeros_like(ap)
            one = torch.ones_like(ap)
            vectors = (torch.stack([ap, an], -1), torch.stack([one, zero], -1), torch.stack([zero, one], -1))
            return plain_loss(rule)(*vectors)

    h = 1e-6
    forces = rule.forces(s_ap, s_an)
    assert torch.allclose(forces.pull, -(loss(s_ap + h, s_an) - loss(s_ap - h, s_an)) / (2 * h), atol=1e-8)
    assert torch.allclose(forces.push, (loss(s_ap, s_an + h) - loss(s_ap, s_an - h)) / (2 * h), atol=1e-8)


@pytest.mark.parametrize("margin", [0.3, 1.0, 4.0])
def test_the_vanilla_step_is_that_of_the_margin_triplet_loss_with_its_hinge(margin: float) -> None:
    s_ap, s_an = (s.reshape(-1) for s in cells())
    placed, loss = place(s_ap, s_an, 0.4), MarginTriplet(margin=margin)

    def total(a: Tensor, p: Tensor, n: Tensor) -> Tensor:
        return loss.explicit(a, p, n) * len(a)

    ap, an, _ = similarities(stepped_by_autograd(placed, total, 0.05))
    predicted = predicted_move(s_ap, s_an, VanillaStep(margin=margin), gamma=0.4, lr=0.05)
    assert same(predicted.ap, ap - s_ap) and same(predicted.an, an - s_an)
    still = (predicted.ap == 0) & (predicted.an == 0)
    assert torch.equal(still, 2 * (s_an - s_ap) + margin <= 0)


def test_gamma_may_differ_from_triplet_to_triplet_and_vectors_may_have_any_dimension() -> None:
    a, p, n = (
        F.normalize(torch.randn(40, 9, generator=torch.Generator().manual_seed(i), dtype=torch.float64), dim=1)
        for i in range(3)
    )
    s_ap, s_an, s_pn = similarities(Vectors(a, p, n))
    gamma = tangent_cosine(s_ap, s_an, s_pn)
    predicted = predicted_move(s_ap, s_an, SecondOrderStep(), gamma=gamma, lr=0.3)
    ap, an, _ = similarities(moved(Vectors(a, p, n), SecondOrderStep(), lr=0.3))
    assert same(predicted.ap, ap - s_ap) and same(predicted.an, an - s_an)


def test_coincident_points_stay_finite() -> None:
    s = torch.tensor([1.0, -1.0, 1.0, -1.0]), torch.tensor([1.0, 1.0, -1.0, -1.0])
    assert torch.equal(tangent_cosine(*s, s[0] * s[1]), torch.zeros(4))
    for rule in RULES:
        for lr in (0.1, 0.5, 1.0):
            assert all(part.isfinite().all() for part in predicted_move(*s, rule, gamma=0.5, lr=lr))


# ---- what the paper prints, and why it cannot be so


def after_step(s_ap: Tensor, s_an: Tensor, gamma: float, rule: StepRule, lr: float) -> tuple[Tensor, Tensor, Tensor]:
    """The three vectors after the step by explicit loops over the triplets, not yet normalized."""
    placed = place(s_ap, s_an, gamma)
    result = []
    for a, p, n in zip(*placed, strict=True):
        pull, push, own_p, own_n = (lr * float(f) for f in rule.forces(dot(a, p), dot(a, n)))
        result.append(
            ((1 - own_p + own_n) * a + pull * p - push * n, (1 - own_p) * p + pull * a, (1 + own_n) * n - push * a)
        )
    a, p, n = (torch.stack(v) for v in zip(*result, strict=True))
    return a, p, n


@pytest.mark.parametrize("rule", [FirstOrderStep(), SecondOrderStep()], ids=str)
def test_18_and_24_need_s_an_in_their_first_term(rule: StepRule) -> None:
    s_ap, s_an = (s.reshape(-1) for s in square(0, 1, 8))
    gamma, lr = 0.5, 0.7
    pull, push, _, _ = (lr * f for f in rule.forces(s_ap, s_an))
    a, _, n = after_step(s_ap, s_an, gamma, rule, lr)
    truth = dot(a, n)
    s_pn = s_ap * s_an + gamma * (1 - s_ap**2).sqrt() * (1 - s_an**2).sqrt()
    rest = -2 * push + pull * s_pn - pull * push * s_ap
    assert same((1 + push**2) * s_an + rest, truth)  # as it must be
    printed = (1 + push**2) * s_ap + rest
    unlike = s_ap != s_an
    assert not torch.isclose(printed, truth, atol=1e-2)[unlike].any()
    # (24) is the same with S_pn written out, so that its gamma-free terms can be collected
    collected = -2 * push + pull * (1 - push) * s_ap * s_an + gamma * pull * (1 - s_ap**2).sqrt() * (1 - s_an**2).sqrt()
    collected = collected + pull * push * s_ap * (s_an - 1)
    assert same((1 + push**2) * s_an + collected, truth)
    assert not torch.isclose((1 + push**2) * s_ap + collected, truth, atol=1e-2)[unlike].any()


@every_rule
def test_30_and_31_need_no_minus_sign(rule: StepRule) -> None:
    """A minus before a change of similarity turns the arrow round, and one before an entangled share splits twins."""
    s_ap, s_an = (s.reshape(-1) for s in square(0, 1, 8))
    a, p, n = (normalize(v) for v in after_step(s_ap, s_an, 0.5, rule, 0.1))
    predicted = predicted_move(s_ap, s_an, rule, gamma=0.5, lr=0.1)
    for change, move in ((dot(a, p) - s_ap, predicted.ap), (dot(a, n) - s_an, predicted.an)):
        assert same(move, change)
        assert not torch.isclose(-move, change, atol=1e-9)[change.abs() > 1e-6].any()
    # the more a positive and a negative look alike (p q near 1), the more they must move alike
    plain, shared = predicted, predicted_move(s_ap, s_an, rule, gamma=0.5, lr=0.1, entanglement=1.0)
    q = (s_ap * s_an).sqrt()
    assert same((shared.ap - shared.an).abs(), (1 - q) * (plain.ap - plain.an).abs())
    with_minus = Move(plain.ap - q * plain.an, plain.an - q * plain.ap)
    apart, together = (with_minus.ap - with_minus.an).abs(), (plain.ap - plain.an).abs()
    assert (apart >= together).all() and (apart > together)[together > 0].all()


def test_the_vanilla_beta_is_twice_the_learning_rate_and_not_two() -> None:
    s_ap, s_an = (s.reshape(-1) for s in square(0, 1, 8))

    def with_beta(beta: float) -> Tensor:
        a, p, n = place(s_ap, s_an, 0.5)
        new_a, new_p = normalize(a + beta * p - beta * n), normalize((1 - beta) * p + beta * a)
        return dot(new_a, new_p) - s_ap

    for lr in (0.01, 0.1):
        truth = similarities(stepped_by_autograd(place(s_ap, s_an, 0.5), plain_loss(VanillaStep()), lr))[0] - s_ap
        assert same(predicted_move(s_ap, s_an, VanillaStep(), gamma=0.5, lr=lr).ap, truth)
        assert same(with_beta(2 * lr), truth)
        assert not torch.isclose(with_beta(2.0), truth, atol=1e-3).any()


# ---- the small-step law, and what follows from it


@every_rule
@pytest.mark.parametrize("entanglement", [0.0, 0.4, 0.8])
def test_small_steps_follow_the_law(rule: StepRule, entanglement: float) -> None:
    s_ap, s_an = cells()
    law = small_step(s_ap, s_an, rule, gamma=0.5, entanglement=entanglement)
    errors = []
    for lr in (1e-2, 1e-3, 1e-4):
        move = predicted_move(s_ap, s_an, rule, gamma=0.5, lr=lr, entanglement=entanglement)
        errors.append(max(float((m / lr - limit).abs().max()) for m, limit in zip(move, law, strict=True)))
    assert errors[0] < 0.5
    assert all(7 < early / late < 13 for early, late in pairwise(errors))  # first order in lr


def test_the_law_is_the_formula_of_the_paper() -> None:
    """By scalars and angles, one triplet at a time."""
    for s_ap, s_an, gamma in ((0.1, 0.9, 0.2), (0.95, 0.3, 0.8), (0.9, 0.97, 0.5), (-0.4, 0.6, 0.7)):
        th_ap, th_an = math.acos(s_ap), math.acos(s_an)
        beta = math.exp(s_an) / (math.exp(s_ap) + math.exp(s_an))
        law = small_step(torch.tensor([s_ap]).double(), torch.tensor([s_an]).double(), FirstOrderStep(), gamma=gamma)
        crossing = gamma * math.sin(th_ap) * math.sin(th_an)
        assert float(law.ap) == pytest.approx(beta * (2 * math.sin(th_ap) ** 2 - crossing), rel=1e-5)
        assert float(law.an) == pytest.approx(-beta * (2 * math.sin(th_an) ** 2 - crossing), rel=1e-5)


@every_rule
def test_the_law_is_also_that_of_vectors_normalized_within_the_graph(rule: StepRule) -> None:
    """And does not depend on how the loss is written off the sphere: `own_p` and `own_n` vanish."""
    s_ap, s_an = (s.reshape(-1) for s in square(0, 1, 9))
    placed, loss, lr = place(s_ap, s_an, 0.6), plain_loss(rule), 1e-6

    def within(a: Tensor, p: Tensor, n: Tensor) -> Tensor:
        return loss(*(F.normalize(v, dim=-1) for v in (a, p, n)))

    ap, an, _ = similarities(stepped_by_autograd(placed, within, lr))
    law = small_step(s_ap, s_an, rule, gamma=0.6)
    assert torch.allclose((ap - s_ap) / lr, law.ap, atol=1e-4) and torch.allclose((an - s_an) / lr, law.an, atol=1e-4)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_l1_loses_the_positive_exactly_where_the_law_says(gamma: float) -> None:
    s_ap, s_an = square(-1, 1, 500)
    law = small_step(s_ap, s_an, FirstOrderStep(), gamma=gamma)
    sin_ap, sin_an = s_ap.acos().sin(), s_an.acos().sin()
    assert torch.equal(law.ap < 0, 2 * sin_ap < gamma * sin_an)
    assert torch.equal(law.an > 0, 2 * sin_an < gamma * sin_ap)
    assert bool((law.ap < 0).any()) == (gamma > 0)


@every_rule
@pytest.mark.parametrize("entanglement", [0.0, 0.4, 0.8, 1.0])
def test_no_triplet_moves_up_and_left(rule: StepRule, entanglement: float) -> None:
    """S_ap to the right, S_an upwards: positive lost and negative nearer at once; by the law, and by real steps.

    L2 draws negatives below S_an = 0 nearer, so for L2 it holds above alone; below it does not (the next test).
    """
    s_ap, s_an = square(-1, 1, 80)
    if isinstance(rule, SecondOrderStep):
        s_an = (s_an + 1) / 2
    for gamma in GAMMAS:
        assert shares(small_step(s_ap, s_an, rule, gamma=gamma, entanglement=entanglement)).up_left == 0
        for lr in (1e-3, 0.1):
            move = predicted_move(s_ap, s_an, rule, gamma=gamma, lr=lr, entanglement=entanglement)
            assert shares(move).up_left == 0


def test_l2_moves_some_up_and_left_below_zero_where_gamma_is_negative() -> None:
    s_ap, s_an = square(-1, 1, 80)
    law = small_step(s_ap, s_an, SecondOrderStep(), gamma=-0.9)
    worst = (law.ap < 0) & (law.an > 0)
    assert 0.05 < float(worst.double().mean()) < 0.06
    assert not worst[s_an > 0].any() and not worst[s_ap < 0].any()


@pytest.mark.parametrize("gamma", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("entanglement", [0.0, 0.4, 0.8])
def test_l2_sends_more_triplets_up_and_right_except_in_the_hard_corner(gamma: float, entanglement: float) -> None:
    def up_right(rule: StepRule, low: float, high: float) -> float:
        return shares(
            predicted_move(*square(low, high, 200), rule, gamma=gamma, lr=0.1, entanglement=entanglement)
        ).up_right

    first, second = FirstOrderStep(), SecondOrderStep()
    assert up_right(second, 0, 1) > up_right(first, 0, 1) + 0.03
    assert up_right(second, -1, 1) > up_right(first, -1, 1) + 0.5  # below S_an = 0 L2 raises S_an by design
    assert up_right(second, 0.8, 1) <= 0.2 * up_right(first, 0.8, 1)


# ---- entanglement, directions, grids, and what is refused


def test_entanglement_shares_the_move_of_what_looks_alike() -> None:
    s_ap, s_an = torch.tensor([0.64, 0.25, -0.5, 0.9]), torch.tensor([0.81, 1.0, 0.9, -0.1])
    move = Move(torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([-0.2, -0.1, -0.3, -0.2]))
    for i, q in enumerate((0.8 * 0.9, 0.5, 0.0, 0.0)):
        both = entangled(move, s_ap, s_an, 0.5)
        assert float(both.ap[i]) == pytest.approx(float(move.ap[i]) + 0.5 * q * float(move.an[i]))
        assert float(both.an[i]) == pytest.approx(float(move.an[i]) + 0.5 * q * float(move.ap[i]))


def test_shares_count_the_directions() -> None:
    move = Move(torch.tensor([1.0, 1, 1, -1, -1, 0, 1, 0]), torch.tensor([1.0, -1, -1, -1, 1, 1, 0, 0]))
    assert shares(move) == Shares(up_right=1 / 8, down_right=2 / 8, up_left=1 / 8, down_left=1 / 8, still=3 / 8)
    assert sum(shares(predicted_move(*cells(), VanillaStep(margin=0.3), gamma=0.8, lr=0.1))) == pytest.approx(1)


def test_a_square_is_given_at_midpoints_with_s_ap_to_the_right() -> None:
    s_ap, s_an = square(-1, 1, 4)
    assert s_ap[2].tolist() == s_an[:, 1].tolist() == [-0.75, -0.25, 0.25, 0.75]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: VanillaStep(margin=0.0), "margin must be positive, but is 0.0"),
        (lambda s: predicted_move(s, s, FirstOrderStep(), gamma=1.5, lr=0.1), r"gamma .* reaches 1.5"),
        (lambda s: predicted_move(s, s, FirstOrderStep(), gamma=s * math.nan, lr=0.1), r"gamma .* reaches nan"),
        (lambda s: predicted_move(s, s, FirstOrderStep(), gamma=0.5, lr=0.0), "learning rate must be positive"),
        (lambda s: small_step(s, s, FirstOrderStep(), gamma=0.5, entanglement=1.1), "entanglement p must lie in"),
        (lambda s: place(s, s, -2.0), r"gamma .* reaches 2"),
        (lambda s: shares(Move(s[:0], s[:0])), "at least one move"),
        (lambda s: square(0.5, 0.5, 3), "low < high"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(call: Callable[[Tensor], object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        call(torch.zeros(3))


def test_no_triplets_give_no_moves() -> None:
    none = torch.zeros(0)
    move = predicted_move(none, none, SecondOrderStep(), gamma=none, lr=0.1)
    assert move.ap.shape == move.an.shape == (0,)
