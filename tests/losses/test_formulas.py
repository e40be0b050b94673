"""What the papers say of the losses' gradients, and what settings are refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from domainmetric.errors import ConfigError
from domainmetric.losses.base import MetricLoss
from domainmetric.losses.contrastive import Contrastive, HingeEmbedding
from domainmetric.losses.margin import MarginTriplet, SemiHardTriplet
from domainmetric.losses.multi_similarity import MultiSimilarity
from domainmetric.losses.order import FirstOrder, SecondOrder
from domainmetric.losses.selective import SelectivelyContrastive
from domainmetric.losses.softmax import NTXent, SupCon
from domainmetric.losses.triplet import TripletLoss
from domainmetric.pairs import label_pairs

GRID = [-0.9, -0.3, 0.0, 0.2, 0.7, 0.95]


def of_similarities(loss: TripletLoss, s_ap: float, s_an: float) -> float:
    d_ap, d_an = (torch.tensor(1 - s, dtype=torch.float64) for s in (s_ap, s_an))
    return float(loss.of_distances(d_ap, d_an))


def slopes(loss: TripletLoss, s_ap: float, s_an: float, step: float = 1e-5) -> tuple[float, float]:
    """By finite differences: how the loss changes with S_ap and with S_an."""
    by_ap = of_similarities(loss, s_ap + step, s_an) - of_similarities(loss, s_ap - step, s_an)
    by_an = of_similarities(loss, s_ap, s_an + step) - of_similarities(loss, s_ap, s_an - step)
    return by_ap / (2 * step), by_an / (2 * step)


@pytest.mark.parametrize("s_ap", GRID)
@pytest.mark.parametrize("s_an", GRID)
@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_the_first_order_loss_pulls_and_pushes_alike(s_ap: float, s_an: float, temperature: float) -> None:
    share = math.exp(s_an / temperature) / (math.exp(s_ap / temperature) + math.exp(s_an / temperature))
    expected = (-share / temperature, share / temperature)
    assert slopes(FirstOrder(temperature=temperature), s_ap, s_an) == pytest.approx(expected, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("s_ap", GRID)
@pytest.mark.parametrize("s_an", GRID)
def test_the_second_order_loss_weighs_by_what_is_left(s_ap: float, s_an: float) -> None:
    near, far = math.exp(s_ap - s_ap**2 / 2), math.exp(s_an**2 / 2)
    share = far / (near + far)
    expected = (-(1 - s_ap) * share, s_an * share)
    assert slopes(SecondOrder(), s_ap, s_an) == pytest.approx(expected, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(
    ("s_ap", "s_an", "value", "slope"),
    [
        (0.5, 0.6, 2 * 0.6, (0.0, 2.0)),  # hard: only the negative is pushed
        (0.95, 0.85, 2 * 0.85, (0.0, 2.0)),  # the negative is too near, although the positive is nearer
        (-0.2, -0.1, 2 * -0.1, (0.0, 2.0)),
        (0.9, 0.5, math.log1p(math.exp(-4)), (-10 / (1 + math.exp(4)), 10 / (1 + math.exp(4)))),
    ],
)
def test_selectively_contrastive_only_pushes_where_a_triplet_is_hard(
    s_ap: float, s_an: float, value: float, slope: tuple[float, float]
) -> None:
    loss = SelectivelyContrastive(strength=2)
    assert of_similarities(loss, s_ap, s_an) == pytest.approx(value)
    assert slopes(loss, s_ap, s_an) == pytest.approx(slope, rel=1e-5)


def test_pairs_of_an_anchor_without_a_positive_are_not_used_by_ntxent() -> None:
    """Of two items of one class and one of another, each of the two has a positive and a negative."""
    z = torch.nn.functional.normalize(torch.tensor([[1.0, 0.2], [0.8, 0.6], [-0.3, 1.0]]))
    assert NTXent().of(label_pairs(z, torch.tensor([0, 0, 1]))).used == 4
    assert NTXent().of(label_pairs(z, torch.tensor([0, 0, 1]), z[:2], torch.tensor([0, 0]))).used == 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MarginTriplet(margin=-1), r"MarginTriplet.margin must be positive, but is -1"),
        (lambda: SemiHardTriplet(margin=0), r"SemiHardTriplet.margin must be positive, but is 0"),
        (lambda: FirstOrder(temperature=0), r"FirstOrder.temperature must be positive, but is 0"),
        (lambda: NTXent(temperature=-0.1), r"NTXent.temperature must be positive, but is -0.1"),
        (lambda: SupCon(temperature=math.nan), r"SupCon.temperature must be positive, but is nan"),
        (lambda: SelectivelyContrastive(strength=0), r"SelectivelyContrastive.strength must be positive"),
        (lambda: SelectivelyContrastive(limit=1.5), r"limit must be a similarity in \(-1, 1\], but is 1.5"),
        (lambda: Contrastive(pos_margin=-0.5), r"Contrastive.pos_margin must not be negative, but is -0.5"),
        (lambda: Contrastive(neg_margin=0), r"Contrastive.neg_margin must be positive, but is 0"),
        (lambda: HingeEmbedding(margin=0), r"HingeEmbedding.margin must be positive, but is 0"),
        (lambda: MultiSimilarity(beta=0), r"MultiSimilarity.beta must be positive, but is 0"),
    ],
)
def test_settings_without_a_meaning_are_refused(make: Callable[[], MetricLoss], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()
