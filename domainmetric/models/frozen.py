"""A backbone that stays as it begins, so that head, classifier and the other branch learn around it."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from domainmetric.models.backbone import Backbone


@dataclass(frozen=True, kw_only=True)
class Frozen(Backbone):
    """Another backbone that no phase trains, not even by its batch statistics, which AdaBN leaves alone, too.

    The head's normalization, one for each domain, still learns and is calibrated. Where the target branch begins as a
    copy of the source branch, it is copied, and then stays.
    """

    backbone: Backbone
    """Which one; as a rule, one that begins with pretrained weights."""

    @property
    def frozen(self) -> bool:
        return True

    def features(self, image_size: int) -> int:
        return self.backbone.features(image_size)

    def build(self, channels: int, image_size: int) -> nn.Module:
        return self.backbone.build(channels, image_size)

    def sees(self, channels: int) -> int:
        return self.backbone.sees(channels)

    def standardize(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return self.backbone.standardize(images)

    def load_pretrained(self, network: nn.Module) -> None:
        self.backbone.load_pretrained(network)
