"""Anchors by optimal transport from target items to source classes, with a prior on the classes (Cuturi 2013; POT)."""

from __future__ import annotations

from dataclasses import dataclass

import ot
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher, AnchorStrategy
from domainmetric.errors import ConfigError
from domainmetric.geometry import normalize
from domainmetric.types import Bank, Matches


@dataclass(frozen=True, kw_only=True)
class Transport(AnchorStrategy):
    """Sinkhorn plan between the target bank and the source class means under a class prior.

    The plan's class potentials are kept, so that a batch is assigned as the whole bank was. Confidence is the share of
    an item's mass that goes to its class.
    """

    regularization: float = 0.05
    """Entropic regularization, in units of cosine distance."""
    prior: tuple[float, ...] | None = None
    """Share of each class in the target; None assumes equal shares."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.regularization > 0:
            raise ConfigError(f"Transport.regularization must be positive, but is {self.regularization}.")
        if self.prior is not None and (min(self.prior) <= 0 or abs(sum(self.prior) - 1) > 1e-6):
            raise ConfigError(f"Transport.prior must hold positive shares that sum to 1, but is {self.prior}.")

    @property
    def needs_target_bank(self) -> bool:
        return True

    def build(self, context: AnchorContext) -> AnchorMatcher:
        num_classes = len(context.source.classes)
        if self.prior is not None and len(self.prior) != num_classes:
            raise ConfigError(f"Transport.prior names {len(self.prior)} classes, but the pair has {num_classes}.")
        return _Transport(self)


class _Transport(AnchorMatcher):
    def __init__(self, spec: Transport) -> None:
        super().__init__()
        self.spec = spec

    def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None:
        if target_bank is None:
            raise ConfigError("Transport anchors need a target bank.")
        self.keep_source(source_bank)
        num_classes = source_bank.logits.shape[1]
        member = torch.nn.functional.one_hot(self.memory["labels"], num_classes).to(source_bank.z)
        means = normalize(member.T @ source_bank.z)
        cost = (1 - target_bank.z @ means.T).double()
        items = cost.new_full((len(cost),), 1 / len(cost))
        prior = cost.new_tensor(self.spec.prior or [1 / num_classes] * num_classes)
        _, log = ot.sinkhorn(
            items, prior, cost, self.spec.regularization, method="sinkhorn_log", log=True, numItermax=500, warn=False
        )
        potential = log["log_v"].to(means.dtype)
        self.memory |= {"means": means, "potential": potential}

    def forward(
        self, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"], logits_t: Float[Tensor, "m k"]
    ) -> Matches:
        cost = 1 - z_t @ self.memory["means"].T
        plan = (self.memory["potential"] - cost / self.spec.regularization).softmax(1)
        confidence, label = plan.max(1)
        index = self.member(z_t, label, self.spec.num_anchors)
        keep = torch.ones_like(target_index, dtype=torch.bool)
        return Matches(source_index=index, label=label, confidence=confidence, keep=keep)
