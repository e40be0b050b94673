"""Two branches, one head: images of either domain to unit embeddings and class logits.

Each domain has its own backbone and its own normalization; the projection onto the sphere and the prototypes are
shared, so that both domains are judged by the same directions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from domainmetric.errors import ConfigError
from domainmetric.geometry import normalize
from domainmetric.models.backbone import Backbone
from domainmetric.models.classifier import CosineClassifier
from domainmetric.models.cnn import SmallCnn
from domainmetric.types import Encoded

DomainName = Literal["source", "target"]
DOMAINS: tuple[DomainName, ...] = ("source", "target")


@dataclass(frozen=True, kw_only=True)
class Branches(ABC):
    """Whether the domains have backbones of their own."""

    @abstractmethod
    def backbone(self, domain: DomainName) -> Backbone:
        """The backbone spec of a domain."""

    @property
    @abstractmethod
    def target_start(self) -> Literal["copied", "trained beside", "random", "shared"]:
        """How the target branch comes to its first weights."""

    @abstractmethod
    def build(self, channels: dict[DomainName, int], image_size: int) -> nn.ModuleDict:
        """A branch for each domain, possibly the same one twice."""


@dataclass(frozen=True, kw_only=True)
class Separate(Branches):
    """A branch with its own weights and batch statistics for each domain (the default)."""

    source: Backbone = field(default_factory=SmallCnn)
    """Backbone of the source branch."""
    target: Backbone = field(default_factory=SmallCnn)
    """Backbone of the target branch."""
    start: Literal["warm", "cold"] = "warm"
    """`warm`: the target branch begins as a copy of the trained source branch (where the backbones differ, it trains on
    source images beside it). `cold`: it begins at random; expect chance level, since nothing then tells two branches
    which cluster is which class."""

    def backbone(self, domain: DomainName) -> Backbone:
        return self.source if domain == "source" else self.target

    @property
    def target_start(self) -> Literal["copied", "trained beside", "random", "shared"]:
        if self.start == "cold":
            return "random"
        return "copied" if self.source == self.target else "trained beside"

    def build(self, channels: dict[DomainName, int], image_size: int) -> nn.ModuleDict:
        return nn.ModuleDict({d: Branch(self.backbone(d), channels[d], image_size) for d in DOMAINS})


@dataclass(frozen=True, kw_only=True)
class Tied(Branches):
    """One branch for both domains; grey images are repeated to the larger number of channels."""

    shared: Backbone = field(default_factory=SmallCnn)
    """The one backbone."""

    def backbone(self, domain: DomainName) -> Backbone:
        return self.shared

    @property
    def target_start(self) -> Literal["copied", "trained beside", "random", "shared"]:
        return "shared"

    def build(self, channels: dict[DomainName, int], image_size: int) -> nn.ModuleDict:
        branch = Branch(self.shared, max(channels.values()), image_size)
        return nn.ModuleDict(dict.fromkeys(DOMAINS, branch))


@dataclass(frozen=True, kw_only=True)
class Model:
    """The whole network: branches, embedding size and the prototype classifier's scale."""

    branches: Branches = field(default_factory=Separate)
    """Separate or tied backbones."""
    embedding_dim: int = 128
    """Dimensions d of the embedding."""
    scale: float = 10.0
    """Logits are `scale` times the cosine to each class prototype."""

    def __post_init__(self) -> None:
        if self.embedding_dim < 2:
            raise ConfigError(f"Model.embedding_dim must be at least 2, but is {self.embedding_dim}.")
        if not self.scale > 0:
            raise ConfigError(f"Model.scale must be positive, but is {self.scale}.")

    def build(self, channels: dict[DomainName, int], image_size: int, num_classes: int) -> Network:
        """A freshly initialized network for these domains."""
        branches = self.branches.build(channels, image_size)
        widths: dict[DomainName, int] = {d: self.branches.backbone(d).features(image_size) for d in DOMAINS}
        head = Head(widths, self.embedding_dim)
        return Network(branches, head, CosineClassifier(num_classes, self.embedding_dim, self.scale))


class Branch(nn.Module):
    """Standardization, then a backbone. Accepts images with any of 1 or 3 channels and converts them."""

    def __init__(self, backbone: Backbone, channels: int, image_size: int) -> None:
        super().__init__()
        self.spec, self.channels = backbone, backbone.sees(channels)
        self.backbone = backbone.build(self.channels, image_size)
        self.compiled = False

    def load_pretrained(self) -> None:
        """Take the weights that the backbone begins with, where these are not random."""
        self.spec.load_pretrained(self.backbone)

    def compile_training(self, *, graphs: bool) -> None:
        """Compile the backbone for training batches, which keep their size; with CUDA `graphs` on a GPU.

        Other batches go through it as it is, since each new size would be compiled anew. Copies are not compiled.
        """
        if not self.compiled:
            self.compiled = True
            self.backbone.compile(dynamic=False, mode="reduce-overhead" if graphs else None)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        run = self.backbone.forward if self.compiled and not self.training else self.backbone
        return run(self.spec.standardize(to_channels(images, self.channels)))  # type: ignore[no-any-return]


def to_channels(images: Float[Tensor, "n c h w"], channels: int) -> Float[Tensor, "n c2 h w"]:
    """Grey images repeated to color, color averaged to grey, or the same images."""
    if images.shape[1] == channels:
        return images
    return images.mean(1, keepdim=True).expand(-1, channels, -1, -1)


class Head(nn.Module):
    """The shared projection onto the unit sphere, with batch normalization per domain before the sphere."""

    def __init__(self, widths: dict[DomainName, int], embedding_dim: int) -> None:
        super().__init__()
        if len(set(widths.values())) > 1:
            raise ConfigError(f"Both branches feed one head, so their features must agree, but they are {widths}.")
        self.project = nn.Linear(widths["source"], embedding_dim, bias=False)
        self.norms = nn.ModuleDict({d: nn.BatchNorm1d(embedding_dim) for d in DOMAINS})

    def forward(self, domain: DomainName, features: Float[Tensor, "n f"]) -> Float[Tensor, "n d"]:
        return normalize(self.norms[domain](self.project(features)).float())


class Network(nn.Module):
    """Branches, head and classifier together."""

    def __init__(self, branches: nn.ModuleDict, head: Head, classifier: CosineClassifier) -> None:
        super().__init__()
        self.branches = branches
        self.head = head
        self.classifier = classifier

    def forward(
        self,
        domain: DomainName,
        images: Float[Tensor, "n c h w"],
        gather: Callable[[Tensor], Tensor] | None = None,
    ) -> Encoded:
        """Unit embeddings and logits of images (in [0, 1]) of one domain.

        `gather` adds the embeddings that other processes made. Logits are made of all of them here, so
        that in `z` the gradients of all terms meet, those of the logits too.
        """
        z = self.head(domain, self.branches[domain](images))
        if gather is not None:
            z = gather(z)
        return Encoded(z=z, logits=self.classifier(z))

    def before_gathering(self) -> Iterator[nn.Parameter]:
        """The parameters that see images one by one; those after them see the embeddings of all processes."""
        yield from self.branches.parameters()
        yield from self.head.parameters()

    def load_pretrained(self) -> None:
        """Give each branch the weights that its backbone begins with: once, before anything is trained."""
        for branch in set(self.branches.values()):
            assert isinstance(branch, Branch)
            branch.load_pretrained()

    @torch.no_grad()
    def copy_source_to_target(self) -> None:
        """Give the target branch and its normalization the source's weights; the input layer is converted.

        Raises ConfigError where the branches differ in more than that, as networks of a user's own may.
        """
        source, target = self.branches["source"], self.branches["target"]
        values = source.state_dict()
        for name, own in target.state_dict().items():
            if name not in values or values[name].shape != own.shape:
                values[name] = convert_input(input_layer(name, values.get(name), own), own.shape[1])
        target.load_state_dict(values)
        self.head.norms["target"].load_state_dict(self.head.norms["source"].state_dict())


def input_layer(name: str, weight: Tensor | None, own: Tensor) -> Float[Tensor, "o c h w"]:
    """The source's weights of a first convolution, or ConfigError where `name` is none of both branches."""
    if weight is not None and weight.ndim == 4 and (len(weight), *weight.shape[2:]) == (len(own), *own.shape[2:]):
        return weight
    came = "is missing" if weight is None else f"has the shape {tuple(weight.shape)}"
    raise ConfigError(
        f"The target branch begins as a copy of the source branch, so they may differ in the channels of the first "
        f"convolution alone, but '{name}' {came} in the source branch, and has the shape {tuple(own.shape)} in the "
        "target branch. Give both domains images of the same channels, or the branches backbones of their own."
    )


def convert_input(weight: Float[Tensor, "o c h w"], channels: int) -> Float[Tensor, "o c2 h w"]:
    """A first convolution's weights for another number of channels, answering alike to a grey image."""
    return weight.sum(1, keepdim=True).expand(-1, channels, -1, -1) / channels


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode within the block; afterwards each module has its own mode again."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
