"""Measured moves against finite differences of the similarities, and what the measurement leaves alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from domainmetric.diagnostics.field import Move
from domainmetric.diagnostics.movement import Movement, between, direction_agreement, joined, mean_arrows, measure
from domainmetric.diagnostics.scatter import Scatter
from domainmetric.errors import ConfigError
from domainmetric.losses.margin import MarginTriplet, SoftMarginTriplet
from domainmetric.miners.hard import EasyPositiveHardNegative, HardNegative
from domainmetric.randomness import isolated
from domainmetric.types import Triplets
from tests.reference import labels, unit

EPHN = EasyPositiveHardNegative()


def encoder() -> nn.Sequential:
    with isolated(0, "encoder"):
        net = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 5)
        )
        net(torch.rand(20, 1, 6, 6))  # batch statistics of its own
    return net.train()


def batch(n: int = 14) -> tuple[Tensor, Tensor]:
    return torch.rand(n, 1, 6, 6, generator=torch.Generator().manual_seed(1)), labels(2, n)


def similarities(net: nn.Module, images: Tensor, triplets: Triplets) -> tuple[Tensor, Tensor]:
    z = torch.nn.functional.normalize(net(images))
    a, p, n = z[triplets.anchor], z[triplets.positive], z[triplets.negative]
    return (a * p).sum(1), (a * n).sum(1)


def test_the_move_is_that_of_one_step_of_gradient_descent() -> None:
    net, (images, y), loss, lr = encoder(), batch(), SoftMarginTriplet(), 1e-3
    found = measure(net, images, y, miner=EPHN, losses={"soft": loss}, lr=lr)["soft"]

    net = net.double().eval()
    images = images.double()
    triplets = EPHN(torch.nn.functional.normalize(net(images)).detach(), y)
    before = similarities(net, images, triplets)
    loss(net(images), y, triplets).backward()
    torch.optim.SGD(net.parameters(), lr=lr).step()
    after = similarities(net, images, triplets)
    assert len(found) == len(triplets) > 0
    for side, expected in ((found.before, before), (found.after, after)):
        torch.testing.assert_close(side.s_ap, expected[0].detach(), atol=1e-12, rtol=0)
        torch.testing.assert_close(side.s_an, expected[1].detach(), atol=1e-12, rtol=0)
    assert float(found.move.ap.abs().max()) > 1e-6


def test_small_steps_move_in_proportion_also_where_float32_would_round_them_away() -> None:
    net, (images, y) = encoder(), batch()
    moves = [
        measure(net, images, y, miner=EPHN, losses={"": SoftMarginTriplet()}, lr=lr)[""].move for lr in (1e-7, 1e-9)
    ]
    torch.testing.assert_close(moves[0].ap, 100 * moves[1].ap, rtol=1e-3, atol=1e-12)


def test_the_encoder_is_left_as_it_was() -> None:
    net, (images, y) = encoder(), batch()
    net[0].requires_grad_(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    measure(net, images, y, miner=EPHN, losses={"": SoftMarginTriplet()}, lr=0.1)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(module.training for module in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert [p.requires_grad for p in net[0].parameters()] == [False, False]


def test_losses_move_the_same_triplets_from_the_same_weights() -> None:
    net, (images, y) = encoder(), batch()
    losses = {"soft": SoftMarginTriplet(), "margin": MarginTriplet(margin=2.0)}
    both = measure(net, images, y, miner=HardNegative(), losses=losses)
    alone = measure(net, images, y, miner=HardNegative(), losses={"margin": losses["margin"]})["margin"]
    assert torch.equal(both["soft"].before.s_ap, both["margin"].before.s_ap)
    assert torch.equal(both["margin"].after.s_an, alone.after.s_an)
    assert not torch.equal(both["soft"].after.s_an, both["margin"].after.s_an)


def test_where_there_is_no_triplet_nothing_is_measured() -> None:
    net, (images, y) = encoder(), batch()
    found = measure(net, images, torch.zeros_like(y), miner=EPHN, losses={"soft": SoftMarginTriplet()})["soft"]
    assert len(found) == 0
    with pytest.raises(ConfigError, match="at least one move"):
        found.shares()


def test_gamma_is_the_cosine_between_the_tangents() -> None:
    z, other = unit(0, 12), unit(1, 12)
    triplets = Triplets(anchor=torch.tensor([0, 3]), positive=torch.tensor([1, 4]), negative=torch.tensor([2, 5]))
    found = between(z, other, triplets)
    for i in range(2):
        a, p, n = (z[int(part[i])] for part in (triplets.anchor, triplets.positive, triplets.negative))
        u, v = p - (a @ p) * a, n - (a @ n) * a
        assert float(found.gamma[i]) == pytest.approx(float(u @ v / (u.norm() * v.norm())))


def some_movement(d_ap: list[float], d_an: list[float], s_ap: list[float] | None = None) -> Movement:
    start = torch.tensor(s_ap or [0.0] * len(d_ap)).double()
    before = Scatter(s_ap=start, s_an=torch.zeros_like(start))
    after = Scatter(s_ap=start + torch.tensor(d_ap).double(), s_an=torch.tensor(d_an).double())
    return Movement(before=before, after=after, gamma=torch.zeros_like(start))


def test_shares_of_the_four_directions() -> None:
    shares = some_movement([0.1, 0.1, -0.1, -0.1, 0.2], [0.1, -0.1, 0.1, -0.1, -0.3]).shares()
    assert shares._asdict() == pytest.approx(
        {"up_right": 0.2, "down_right": 0.4, "up_left": 0.2, "down_left": 0.2, "still": 0.0}
    )


def test_joined_batches_are_counted_together() -> None:
    both = joined([some_movement([0.1], [0.1]), some_movement([-0.1, 0.2], [0.1, -0.1])])
    assert len(both) == 3
    torch.testing.assert_close(both.move.ap, torch.tensor([0.1, -0.1, 0.2]).double())


def test_mean_arrows_are_those_of_a_loop() -> None:
    rng = torch.Generator().manual_seed(0)
    s_ap, s_an, d_ap, d_an = (torch.rand(200, generator=rng).double() * 2 - 1 for _ in range(4))
    s_ap[0], s_an[0], s_ap[1], s_an[1] = 1.0, 1.0, -1.0, -1.0
    arrows = mean_arrows(Scatter(s_ap=s_ap, s_an=s_an), Move(d_ap, d_an), cell=0.5, at_least=2)
    cells: dict[tuple[int, int], list[int]] = {}
    for i in range(200):
        cells.setdefault((min(3, int((s_an[i] + 1) / 0.5)), min(3, int((s_ap[i] + 1) / 0.5))), []).append(i)
    expected = [(key, rows) for key, rows in sorted(cells.items()) if len(rows) >= 2]
    assert arrows.count.tolist() == [len(rows) for _, rows in expected]
    for i, ((row, column), rows) in enumerate(expected):
        assert (float(arrows.s_ap[i]), float(arrows.s_an[i])) == pytest.approx((column / 2 - 0.75, row / 2 - 0.75))
        assert float(arrows.move.ap[i]) == pytest.approx(float(d_ap[rows].mean()))
        assert float(arrows.move.an[i]) == pytest.approx(float(d_an[rows].mean()))


def test_agreement_is_the_mean_cosine_and_steps_over_what_stands_still() -> None:
    one = Move(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 2.0, 0.0]))
    other = Move(torch.tensor([3.0, 0.0, 1.0]), torch.tensor([0.0, -1.0, 1.0]))
    assert direction_agreement(one, other) == pytest.approx(0.0)
    assert direction_agreement(one, one) == pytest.approx(1.0)
    assert direction_agreement(Move(torch.zeros(2), torch.zeros(2)), Move(torch.ones(2), torch.ones(2))) == 0.0
