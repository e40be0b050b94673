"""Anchors by class centroids, refined on the target itself as in SHOT (Liang et al. 2020, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher, Picker, all_kept, required
from domainmetric.anchors.by_class import ClassMatcher, Decision
from domainmetric.anchors.cluster import spherical_k_means
from domainmetric.anchors.search import product
from domainmetric.errors import ConfigError
from domainmetric.geometry import normalize
from domainmetric.types import Bank


@dataclass(frozen=True, kw_only=True)
class Prototype(Picker):
    """The nearest class centroid of the target: centroids are means of target embeddings weighted by their predictions.

    Confidence is the softmax over cosine / temperature.
    """

    rounds: int = 1
    """Times that items are assigned to the centroids and the centroids computed again."""
    temperature: float = 0.1
    """Temperature of the confidence."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounds < 0:
            raise ConfigError(f"Prototype.rounds must not be negative, but is {self.rounds}.")
        if not self.temperature > 0:
            raise ConfigError(f"Prototype.temperature must be positive, but is {self.temperature}.")

    @property
    def needs_target_bank(self) -> bool:
        return True

    def build(self, context: AnchorContext) -> AnchorMatcher:
        return _Prototype(self)


class _Prototype(ClassMatcher):
    by_row = True

    def __init__(self, spec: Prototype) -> None:
        super().__init__(spec.num_anchors)
        self.spec = spec

    def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None:
        target_bank = required(target_bank, "Prototype")
        self.keep_source(source_bank)
        centroids = normalize(product(target_bank.logits.float().softmax(1).T, target_bank.z))
        self.memory["centroids"] = spherical_k_means(target_bank.z, centroids, self.spec.rounds)

    def decide(
        self, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"], logits_t: Float[Tensor, "m k"]
    ) -> Decision:
        similarity = product(z_t, self.memory["centroids"].T)
        confidence, label = (similarity / self.spec.temperature).softmax(1).max(1)
        return Decision(label, confidence, all_kept(target_index))
