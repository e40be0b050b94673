"""How many features a network gives, and whether it takes images of a size at all: by showing it some."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from domainmetric.errors import ConfigError
from domainmetric.models.network import evaluating


def num_features(network: nn.Module, channels: int, image_size: int, what: str) -> int:
    """The number of features f that a network gives for images of this kind. Its mode is put back.

    `what` names it in errors. Raises ConfigError where it does not take such images, or gives something else.
    """
    parameter = next(network.parameters(), None)
    images = torch.zeros(2, channels, image_size, image_size, device=None if parameter is None else parameter.device)
    try:
        with torch.no_grad(), evaluating(network):
            features = network(images)
    except Exception as error:  # each network says in a way of its own what it does not take
        raise ConfigError(
            f"{what} does not take images of {channels} x {image_size} x {image_size}: {type(error).__name__}: "
            f"{str(error).strip() or 'it says nothing more'} Set image_size to one that it takes."
        ) from error
    shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != 2:
        raise ConfigError(f"{what} must turn images (n c s s) into features (n f), but of two images it makes {shape}.")
    return int(features.shape[1])
