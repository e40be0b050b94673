"""Backbones from torchvision: ResNet-18 for small images, and any of its classification models."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from domainmetric.errors import ConfigError, nearest
from domainmetric.models.backbone import Backbone
from domainmetric.models.hub import official_weights
from domainmetric.models.layers import with_channels, without_classifier
from domainmetric.models.measured import num_features
from domainmetric.models.standardize import by_statistics
from domainmetric.randomness import isolated

AUXILIARY: dict[str, dict[str, Any]] = {
    name: {"aux_logits": False, "init_weights": False} for name in ("googlenet", "inception_v3")
}
"""Options of the two that would answer a training image thrice."""


@dataclass(frozen=True, kw_only=True)
class SmallResNet18(Backbone):
    """ResNet-18 (He et al. 2016) for images of about 32 pixels: a 3x3 stem of stride 1, and no max-pooling.

    The ImageNet stem leaves 8x8 cells of an image of 32 pixels, of which one is left at the end; with this one 4x4 are,
    as is usual on CIFAR. 11.2 M parameters, 512 features, always from random weights.
    """

    def features(self, image_size: int) -> int:
        return 512

    def build(self, channels: int, image_size: int) -> nn.Module:
        from torchvision.models import resnet18

        network = resnet18()
        network.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        network.maxpool = nn.Identity()
        return without_classifier(network)


@dataclass(frozen=True, kw_only=True)
class TorchvisionBackbone(Backbone):
    """A classification model of torchvision, up to what its classifier is fed.

    With pretrained weights it sees three channels always, grey images thrice the same, and images are standardized by
    the channels' means and deviations that it was trained with; without, each image by itself.
    """

    name: str = "resnet18"
    """As torchvision.models.list_models() names it."""
    weights: str | None = None
    """Pretrained weights to begin with, as torchvision names them, such as IMAGENET1K_V1: from torch's hub cache, or
    fetched into it. None begins at random."""

    def __post_init__(self) -> None:
        from torchvision import models

        known = models.list_models(module=models)
        if self.name not in known:
            raise ConfigError(
                f"TorchvisionBackbone.name must be a classification model of torchvision, but is '{self.name}'."
                f"{nearest(self.name, known)}"
            )
        offered = [w.name for w in models.get_model_weights(self.name)]
        if self.weights is not None and self.weights not in offered:
            raise ConfigError(
                f"torchvision has no weights '{self.weights}' of {self.name}.{nearest(self.weights, offered)}"
            )

    def features(self, image_size: int) -> int:
        return _features(self, image_size)

    def build(self, channels: int, image_size: int) -> nn.Module:
        from torchvision import models

        options = dict(AUXILIARY.get(self.name, {}))
        if options and self.weights is not None:
            options["transform_input"] = True  # their weights are of another standardization, which they then make
        return with_channels(without_classifier(models.get_model(self.name, **options)), channels)

    def sees(self, channels: int) -> int:
        return channels if self.weights is None else 3

    def standardize(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        if self.weights is None:
            return super().standardize(images)
        return by_statistics(images, *_statistics(self))

    def load_pretrained(self, network: nn.Module) -> None:
        if self.weights is None:
            return
        state = official_weights(_entry(self).url)
        own = network.state_dict()
        try:
            network.load_state_dict({name: value for name, value in state.items() if name in own})
        except RuntimeError as error:
            raise ConfigError(
                f"torchvision's file of '{self.weights}' does not fit its {self.name} as it is: {error} Take it from "
                "timm, with TimmBackbone(pretrained=True), or take another model."
            ) from error


def _entry(spec: TorchvisionBackbone) -> Any:
    """What torchvision knows of the weights."""
    from torchvision import models

    return models.get_model_weights(spec.name)[spec.weights]


@cache
def _statistics(spec: TorchvisionBackbone) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel, as the weights were trained with."""
    preset = _entry(spec).transforms()
    return tuple(preset.mean), tuple(preset.std)


@cache
def _features(spec: TorchvisionBackbone, image_size: int) -> int:
    """The number of features, found out once."""
    with isolated(0, "features"):
        return num_features(spec.build(3, image_size), 3, image_size, f"torchvision's {spec.name}")
