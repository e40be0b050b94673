"""The backbone family: what turns images of one domain into features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from domainmetric.models.standardize import standardize


@dataclass(frozen=True, kw_only=True)
class Backbone(ABC):
    """A network from standardized images (n c s s) to features (n f). A member has its own weights in each branch.

    One that can begin pretrained also overrides `sees`, `standardize` and `load_pretrained`.
    """

    @abstractmethod
    def features(self, image_size: int) -> int:
        """The number of features f for images of `image_size` pixels a side."""

    @abstractmethod
    def build(self, channels: int, image_size: int) -> nn.Module:
        """A freshly initialized network for images with `channels` channels."""

    @property
    def frozen(self) -> bool:
        """Whether it stays as it begins, in weights and in batch statistics, whatever a phase trains."""
        return False

    def sees(self, channels: int) -> int:
        """The number of channels that its network is built for, where the domain has `channels`."""
        return channels

    def standardize(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """What its network is fed, of images in [0, 1]: each standardized by itself, so that contrast does not count.

        A network that was trained before must be fed as it was then: its first layer and its batch statistics are made
        for the mean and deviation of that data set.
        """
        return standardize(images)

    def load_pretrained(self, network: nn.Module) -> None:  # noqa: B027 (most begin at random)
        """Give a network of `build` the weights that it begins with, where these are not random.

        Apart from `build`, since a run that is resumed and a finished one in use take their weights from the run
        folder, and need no file of pretrained ones. Raises ConfigError where the weights cannot be had.
        """
