"""A trained network as it is used: one domain's images in, embeddings, probabilities and familiarity out.

`Embedder` runs it, and `domainmetric export` writes the same thing down, so that the two cannot come apart.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from domainmetric.data.augment import to_float
from domainmetric.models.network import DomainName, Network
from domainmetric.training.confidence import Confidence

OUTPUTS = ("embedding", "probability", "familiarity")


class Deployed(nn.Module):
    """From images as their domain frames them (uint8, channels last) to what a user wants of them.

    * embedding (n, d), of length 1: products are cosine similarities, across the domains, too.
    * probability (n, k) of each class, calibrated where the run has fitted a `Confidence`, else the plain softmax.
    * familiarity (n): cosine to the nearest class mean of the domain; without a `Confidence`, to the nearest prototype.
    """

    def __init__(self, network: Network, domain: DomainName, confidence: Confidence | None) -> None:
        super().__init__()
        self.domain = domain
        self.branch = fused(network.branches[domain])
        self.head, self.classifier = network.head, network.classifier
        self.temperature = 1.0 if confidence is None else confidence.temperature
        means = network.classifier.prototypes if confidence is None else confidence.means
        present = means[(means != 0).any(1)].detach().float()
        self.register_buffer("means", present.to(network.classifier.weight.device), persistent=False)
        self.means: Tensor

    def forward(
        self, images: UInt8[Tensor, "n h w c"]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n k"], Float[Tensor, " n"]]:
        z = self.head(self.domain, self.branch(to_float(images))).float()
        probability = (self.classifier(z).float() / self.temperature).softmax(1)
        return z, probability, (z @ self.means.T).amax(1)

    @torch.inference_mode()
    def run(self, images: UInt8[Tensor, "n h w c"]) -> tuple[Tensor, Tensor, Tensor]:
        """The same without gradients, from and to the CPU."""
        z, probability, familiarity = self(images.to(self.means.device))
        return z.cpu(), probability.cpu(), familiarity.cpu()


def fused(module: nn.Module) -> nn.Module:
    """A copy for use alone, where batch normalizations that follow a convolution are part of its weights.

    The same numbers up to rounding, by one pass less over what the convolution gives. Looks at plain nn.Sequential
    alone: elsewhere nothing says in which order the children are called.
    """
    module = copy.deepcopy(module).eval()
    for block in module.modules():
        if not isinstance(block, nn.Sequential) or type(block).forward is not nn.Sequential.forward:
            continue
        for (name, convolution), (after, norm) in pairwise(list(block.named_children())):
            if type(convolution) is nn.Conv2d and type(norm) is nn.BatchNorm2d and norm.track_running_stats:
                setattr(block, name, fuse_conv_bn_eval(convolution, norm))
                setattr(block, after, nn.Identity())
    return module
