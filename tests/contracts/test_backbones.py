"""What holds for every backbone."""

from __future__ import annotations

import pytest
import torch

from domainmetric.models.backbone import Backbone
from domainmetric.randomness import isolated
from tests.contracts.family import members, named


@pytest.mark.parametrize("backbone", members(Backbone), ids=named)
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
