"""A network of the user's own as a backbone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from domainmetric.errors import ConfigError
from domainmetric.models.backbone import Backbone
from domainmetric.models.measured import num_features


@dataclass(frozen=True, kw_only=True)
class OwnBackbone(Backbone):
    """Whatever `nn.Module` a function of the user's makes.

    The run folder records the function by its name in its file, never the network itself; the run is continued and used
    with `--file FILE`. What the function needs beside channels and size, such as weights of its own, is its own affair,
    but its weights end up in the run folder like all others.
    """

    function: Callable[[int, int], nn.Module]
    """function(channels, image_size) -> a module that turns standardized images (n channels s s) into features (n f).
    It draws from torch's own generator, which the run has seeded. Give it a name at the top of a file."""
    num_features: int
    """The number of features f that the module gives, for every size."""

    def __post_init__(self) -> None:
        if self.num_features < 1:
            raise ConfigError(f"OwnBackbone.num_features must be at least 1, but is {self.num_features}.")

    def features(self, image_size: int) -> int:
        return self.num_features

    def build(self, channels: int, image_size: int) -> nn.Module:
        name = getattr(self.function, "__qualname__", type(self.function).__name__)
        network = self.function(channels, image_size)
        if not isinstance(network, nn.Module):
            raise ConfigError(
                f"The function {name}({channels}, {image_size}) must return an nn.Module, but returned a "
                f"{type(network).__name__}."
            )
        came = num_features(network, channels, image_size, f"The network of {name}({channels}, {image_size})")
        if came != self.num_features:
            raise ConfigError(
                f"The network of {name} gives {came} features of an image, but OwnBackbone.num_features says "
                f"{self.num_features}. Set it to {came}."
            )
        return network
