"""What holds for every backbone."""

from __future__ import annotations

import pytest
import torch

from domainmetric.models.backbone import Backbone
from domainmetric.randomness import isolated
from tests.contracts.family import members, named
from tests.reference import BACKBONE_FACTORIES

SLOW = {"TimmBackbone": [pytest.mark.slow, pytest.mark.timeout(600)]}  # importing timm takes longer than all others
BACKBONES = [pytest.param(b, marks=SLOW.get(named(b), ()), id=named(b)) for b in members(Backbone, BACKBONE_FACTORIES)]
every_backbone = pytest.mark.parametrize("backbone", BACKBONES)


@every_backbone
@pytest.mark.parametrize(("channels", "size"), [(1, 16), (3, 20)])
def test_a_backbone_gives_the_features_that_it_says(backbone: Backbone, channels: int, size: int) -> None:
    images = torch.randn(5, channels, size, size, generator=torch.Generator().manual_seed(0))
    with isolated(0, "backbone"):
        network = backbone.build(channels, size)
        features = network(images)
        features.square().sum().backward()
    assert features.shape == (5, backbone.features(size))
    assert features.isfinite().all()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert gradients and all(g is not None and g.isfinite().all() for g in gradients)
    with isolated(0, "backbone"):
        again = backbone.build(channels, size)
    assert all(torch.equal(one, two) for one, two in zip(network.parameters(), again.parameters(), strict=True))


@every_backbone
def test_what_is_fed_has_the_channels_that_are_seen_and_nothing_is_drawn_for_it(backbone: Backbone) -> None:
    before = torch.get_rng_state()
    images = torch.rand(3, backbone.sees(1), 16, 16, generator=torch.Generator().manual_seed(0))
    assert backbone.standardize(images).shape == images.shape
    backbone.features(24)
    assert torch.equal(torch.get_rng_state(), before)
