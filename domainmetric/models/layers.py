"""Changes to networks that others have written: the input layer for other channels, and no classifier."""

from __future__ import annotations

import torch
from torch import nn

from domainmetric.models.network import convert_input


@torch.no_grad()
def with_channels(network: nn.Module, channels: int) -> nn.Module:
    """The network for images of `channels` channels: its first convolution answers alike to a grey image."""
    if channels == 3:
        return network
    name, first = next((n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d) and m.in_channels == 3)
    wanted = nn.Conv2d(
        channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]
        stride=first.stride,  # type: ignore[arg-type]
        padding=first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    wanted.weight.copy_(convert_input(first.weight, channels))
    if wanted.bias is not None and first.bias is not None:
        wanted.bias.copy_(first.bias)
    network.set_submodule(name, wanted)
    return network


def without_classifier(network: nn.Module) -> nn.Module:
    """The network up to what its classifier, its last linear layer or convolution, is fed."""
    name = [n for n, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    network.set_submodule(name, nn.Identity())
    return network
