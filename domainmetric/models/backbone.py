"""The backbone family: what turns images of one domain into features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, kw_only=True)
class Backbone(ABC):
    """A network from standardized images (n c s s) to features (n f). A member has its own weights in each branch."""

    @abstractmethod
    def features(self, image_size: int) -> int:
        """The number of features f for images of `image_size` pixels a side."""

    @abstractmethod
    def build(self, channels: int, image_size: int) -> nn.Module:
        """A freshly initialized network for images with `channels` channels."""
