"""Convolutional backbones for small images: one of CPU size, and DTN."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from domainmetric.errors import ConfigError
from domainmetric.models.backbone import Backbone


def strided(image_size: int, num_layers: int) -> int:
    """The side that `num_layers` convolutions of stride 2 leave of an image."""
    for _ in range(num_layers):
        image_size = (image_size + 1) // 2
    return image_size


def layers(widths: tuple[int, ...], dropouts: tuple[float, ...]) -> Iterator[nn.Module]:
    """5x5 stride-2 convolutions with batch norm, ReLU and, where it is above zero, channel dropout."""
    for (width_in, width_out), dropout in zip(pairwise(widths), dropouts, strict=True):
        yield nn.Conv2d(width_in, width_out, 5, stride=2, padding=2, bias=False)
        yield nn.BatchNorm2d(width_out)
        if dropout:
            yield nn.Dropout2d(dropout)
        yield nn.ReLU(inplace=True)
    yield nn.Flatten()


@dataclass(frozen=True, kw_only=True)
class SmallCnn(Backbone):
    """Three 5x5 stride-2 convolutions with batch norm: about 0.25 M parameters, for CPUs."""

    widths: tuple[int, ...] = (32, 64, 128)
    """Channels of each convolution."""

    def __post_init__(self) -> None:
        if not self.widths or min(self.widths) < 1:
            raise ConfigError(f"SmallCnn.widths must name at least one positive width, but is {self.widths}.")

    def features(self, image_size: int) -> int:
        return self.widths[-1] * strided(image_size, len(self.widths)) ** 2

    def build(self, channels: int, image_size: int) -> nn.Module:
        return nn.Sequential(*layers((channels, *self.widths), (0.0,) * len(self.widths)))


@dataclass(frozen=True, kw_only=True)
class Dtn(Backbone):
    """The digit network of SHOT (Liang et al. 2020): 64-128-256 channels, dropout .1/.3/.5, 256 features."""

    features_out: int = 256
    """Width of the last fully connected layer."""

    def features(self, image_size: int) -> int:
        return self.features_out

    def build(self, channels: int, image_size: int) -> nn.Module:
        flat = 256 * strided(image_size, 3) ** 2
        trunk = layers((channels, 64, 128, 256), (0.1, 0.3, 0.5))
        return nn.Sequential(*trunk, nn.Linear(flat, self.features_out, bias=False), nn.BatchNorm1d(self.features_out))
