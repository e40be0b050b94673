"""The teacher: a copy of the network that moves slowly behind it (Tarvainen & Valpola 2017)."""

from __future__ import annotations

import copy

import torch
from torch import nn

from domainmetric.models.network import Network


def teacher_of(network: Network) -> Network:
    """A copy that is never trained and always in evaluation mode."""
    teacher = copy.deepcopy(network)
    teacher.requires_grad_(False).eval()
    return teacher


@torch.no_grad()
def follow(teacher: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the teacher's weights and batch statistics towards the network's: t <- decay t + (1 - decay) n."""
    state = network.state_dict()
    own = {name: value for name, value in teacher.state_dict().items() if value.is_floating_point()}
    torch._foreach_lerp_(list(own.values()), [state[name] for name in own], 1 - decay)
