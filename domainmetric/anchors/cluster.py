"""Anchors by clusters of the target, assigned to classes one to one: spherical k-means (Dhillon & Modha 2001)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher, Picker, all_kept, required
from domainmetric.anchors.by_class import ClassMatcher, Decision
from domainmetric.anchors.search import product
from domainmetric.errors import ConfigError
from domainmetric.geometry import class_means
from domainmetric.types import Bank


@dataclass(frozen=True, kw_only=True)
class Cluster(Picker):
    """As many clusters of the target bank as the source bank has classes, started from the source's class means.

    When the clusters have settled, each is given a class, no class twice, so that the sum of the cosines between
    clusters and class means is largest (Kuhn 1955). A target item takes the class of its nearest cluster. Confidence is
    the softmax over cosine / temperature.
    """

    rounds: int = 20
    """Most times that items are assigned to the clusters and their centers computed again."""
    temperature: float = 0.1
    """Temperature of the confidence."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounds < 1:
            raise ConfigError(f"Cluster.rounds must be at least 1, but is {self.rounds}.")
        if not self.temperature > 0:
            raise ConfigError(f"Cluster.temperature must be positive, but is {self.temperature}.")

    @property
    def needs_target_bank(self) -> bool:
        return True

    def build(self, context: AnchorContext) -> AnchorMatcher:
        return _Cluster(self)


class _Cluster(ClassMatcher):
    by_row = True

    def __init__(self, spec: Cluster) -> None:
        super().__init__(spec.num_anchors)
        self.spec = spec

    def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None:
        target_bank = required(target_bank, "Cluster")
        self.keep_source(source_bank)
        classes = self.source.labels.unique()
        means = self.source.means(source_bank.logits.shape[1])[classes]
        centers = spherical_k_means(target_bank.z, means, self.spec.rounds)
        _, column = linear_sum_assignment(product(centers, means.T).cpu().numpy(), maximize=True)
        self.memory |= {"centers": centers, "classes": classes[torch.as_tensor(column, device=classes.device)]}

    def decide(
        self, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"], logits_t: Float[Tensor, "m k"]
    ) -> Decision:
        similarity = product(z_t, self.memory["centers"].T)
        confidence, cluster = (similarity / self.spec.temperature).softmax(1).max(1)
        return Decision(self.memory["classes"][cluster], confidence, all_kept(target_index))


def spherical_k_means(z: Float[Tensor, "m d"], centers: Float[Tensor, "c d"], rounds: int) -> Float[Tensor, "c d"]:
    """Cluster centers on the sphere, from the given ones, until no item changes its cluster or for so many rounds."""
    before = None
    for _ in range(rounds):
        nearest = product(z, centers.T).argmax(1)
        if before is not None and torch.equal(nearest, before):
            break
        before = nearest
        chosen = nearest.bincount(minlength=len(centers)) > 0  # a cluster that nobody chose keeps its place
        centers = torch.where(chosen[:, None], class_means(z, nearest, len(centers)), centers)
    return centers
