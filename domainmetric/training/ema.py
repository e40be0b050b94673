"""The teacher: a copy of the network that moves slowly behind it (Tarvainen & Valpola 2017)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn

from domainmetric.models.network import Network


def teacher_of(network: Network) -> Network:
    """A copy that is never trained and always in evaluation mode."""
    teacher = copy.deepcopy(network)
    teacher.requires_grad_(False).eval()
    return teacher


@torch.no_grad()
def follow(teacher: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the teacher's weights and batch statistics towards the network's: t <- decay t + (1 - decay) n."""
    pairs = zip(values_of(teacher), values_of(network), strict=True)
    own, other = zip(*((t, n) for t, n in pairs if t.is_floating_point()), strict=True)
    torch._foreach_lerp_(own, other, 1 - decay)


def values_of(network: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers, each once: a state dict would name those of tied branches twice, and move them twice."""
    return chain(network.parameters(), network.buffers())
