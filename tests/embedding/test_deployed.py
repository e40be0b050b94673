"""Batch normalizations that are made part of convolutions: fewer passes, the same numbers."""

from __future__ import annotations

import torch
from torch import nn

from domainmetric.embedding.deployed import fused
from domainmetric.models.backbone import Backbone
from domainmetric.models.cnn import Dtn, SmallCnn
from domainmetric.models.torchvision_backbone import SmallResNet18
from domainmetric.randomness import isolated


def trained(backbone: Backbone) -> nn.Module:
    """A network where every running mean, deviation, scale and shift is its own."""
    with isolated(0, "network"):
        module = backbone.build(3, 32)
    draw = torch.Generator().manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d | nn.BatchNorm1d):
            for tensor in (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data):
                tensor.copy_(torch.rand(tensor.shape, generator=draw) + 0.5)
    return module.eval()


def count(module: nn.Module) -> int:
    return sum(isinstance(each, nn.BatchNorm2d) for each in module.modules())


def test_the_numbers_stay_and_the_normalizations_go() -> None:
    images = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    for spec, before, after in ((SmallCnn(), 3, 0), (Dtn(), 3, 0)):
        network = trained(spec)
        weights = {name: value.clone() for name, value in network.state_dict().items()}
        used = fused(network)
        assert (count(network), count(used)) == (before, after)
        expected = network(images)
        assert expected.abs().max() > 1
        torch.testing.assert_close(used(images), expected, rtol=1e-4, atol=1e-5)
        assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items()), "a copy"


def test_what_no_sequence_orders_is_left_alone() -> None:
    network = trained(SmallResNet18())
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    used = fused(network)
    assert 0 < count(used) < count(network), "shortcuts are sequences, blocks are not"
    torch.testing.assert_close(used(images), network(images), rtol=1e-3, atol=1e-4)


def test_a_normalization_by_the_batch_itself_stays() -> None:
    with isolated(0, "network"):
        block = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False))
    assert count(fused(block)) == 1
