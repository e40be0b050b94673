"""Backbones from timm, PyTorch Image Models (Wightman 2019): an optional extra."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from domainmetric.errors import ConfigError, nearest
from domainmetric.models.backbone import Backbone
from domainmetric.models.measured import num_features
from domainmetric.models.standardize import by_statistics
from domainmetric.randomness import isolated


@dataclass(frozen=True, kw_only=True)
class TimmBackbone(Backbone):
    """A model of timm without its classifier (`num_classes=0`). Needs the extra: pip install "domainmetric[timm]".

    With pretrained weights it sees three channels always, grey images thrice the same, and images are standardized by
    the channels' means and deviations that it was trained with; without, each image by itself. timm fetches weights
    into the cache of Hugging Face's hub: safetensors wherever the hub has them, and else tensors alone
    (`weights_only=True`).
    """

    name: str = "resnet18"
    """As timm.list_models() names it; with pretrained weights also their tag, such as resnet50.a1_in1k."""
    pretrained: bool = False
    """Whether it begins with pretrained weights."""

    def __post_init__(self) -> None:
        if find_spec("timm") is None:
            raise ConfigError(
                'TimmBackbone needs timm, which is not installed: pip install "domainmetric[timm]". Or take '
                "TorchvisionBackbone()."
            )
        if "." in self.name and not self.pretrained:
            raise ConfigError(
                f"'{self.name}' names pretrained weights, which pretrained=False would ignore: set it to True, or name "
                f"the model alone, '{self.name.partition('.')[0]}'."
            )

    def features(self, image_size: int) -> int:
        return _features(self, image_size)

    def build(self, channels: int, image_size: int) -> nn.Module:
        return _make(self, channels, pretrained=False)

    def sees(self, channels: int) -> int:
        return 3 if self.pretrained else channels

    def standardize(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        if not self.pretrained:
            return super().standardize(images)
        known = _known(self)
        return by_statistics(images, known.mean, known.std)

    def load_pretrained(self, network: nn.Module) -> None:
        if not self.pretrained:
            return
        known = _known(self)
        try:
            with isolated(0, "pretrained"):
                state = _make(self, 3, pretrained=True).state_dict()
        except Exception as error:  # of the hub's client, which has many
            raise ConfigError(
                f"The pretrained weights of timm's {self.name} are not in the cache of Hugging Face's hub, and "
                f"fetching them ({known.hf_hub_id or known.url}) failed ({type(error).__name__}: {error}). Fetch them "
                "where there is a network, and copy that cache (~/.cache/huggingface, or $HF_HOME); or begin at "
                "random, with pretrained=False."
            ) from error
        network.load_state_dict(state)


def _make(spec: TimmBackbone, channels: int, *, pretrained: bool) -> nn.Module:
    """The model. Raises ConfigError for a name that timm does not know."""
    import timm

    _known(spec)
    network: nn.Module = timm.create_model(spec.name, pretrained=pretrained, num_classes=0, in_chans=channels)
    return network


def _known(spec: TimmBackbone) -> Any:
    """What timm knows of the weights, or of the model. Raises ConfigError where it knows neither."""
    import timm

    if not timm.is_model(spec.name):
        raise ConfigError(f"timm has no model '{spec.name}'.{nearest(spec.name, timm.list_models())}")
    bare = spec.name.partition(".")[0]
    tagged = timm.list_pretrained(f"{bare}.*")
    if spec.pretrained and (spec.name not in tagged if "." in spec.name else not tagged):
        raise ConfigError(f"timm has no pretrained weights '{spec.name}'.{nearest(spec.name, tagged)}")
    return timm.get_pretrained_cfg(spec.name)


@cache
def _features(spec: TimmBackbone, image_size: int) -> int:
    """The number of features, found out once."""
    with isolated(0, "features"):
        return num_features(spec.build(3, image_size), 3, image_size, f"timm's {spec.name}")
