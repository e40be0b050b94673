"""Anchors by optimal transport from target items to source classes, with a prior on the classes (Cuturi 2013; POT)."""

from __future__ import annotations

from dataclasses import dataclass

import ot
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher, Picker, all_kept, required
from domainmetric.anchors.by_class import ClassMatcher, Decision
from domainmetric.anchors.search import product
from domainmetric.errors import ConfigError
from domainmetric.types import Bank

ROUNDS = 500
TOLERANCE = 1e-9
"""Change of the relaxed potentials, in natural logarithms, below which they are taken to be found."""


@dataclass(frozen=True, kw_only=True)
class Transport(Picker):
    """Sinkhorn plan between the target bank and the source class means under a class prior.

    The plan's class potentials are kept, so that a batch is assigned as the whole bank was. Confidence is the share of
    an item's mass that goes to its class. A class without a source item takes no mass: the others share its prior.
    """

    regularization: float = 0.05
    """Entropic regularization, in units of cosine distance."""
    prior: tuple[float, ...] | None = None
    """Share of each class in the target; None assumes equal shares."""
    marginal_relaxation: float | None = None
    """Price of leaving the prior, on the scale of `regularization`: weight of KL(class shares, prior) in unbalanced
    transport (Chizat et al. 2018). Near 0 the prior only breaks ties; None holds the plan to it exactly."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.regularization > 0:
            raise ConfigError(f"Transport.regularization must be positive, but is {self.regularization}.")
        if self.prior is not None and (min(self.prior, default=0) <= 0 or abs(sum(self.prior) - 1) > 1e-6):
            raise ConfigError(f"Transport.prior must hold positive shares that sum to 1, but is {self.prior}.")
        if self.marginal_relaxation is not None and not 0 < self.marginal_relaxation < float("inf"):
            raise ConfigError(
                f"Transport.marginal_relaxation must be positive and finite, but is {self.marginal_relaxation}. "
                "None holds the plan to its prior."
            )

    @property
    def needs_target_bank(self) -> bool:
        return True

    def build(self, context: AnchorContext) -> AnchorMatcher:
        num_classes = len(context.source.classes)
        if self.prior is not None and len(self.prior) != num_classes:
            raise ConfigError(f"Transport.prior names {len(self.prior)} classes, but the pair has {num_classes}.")
        return _Transport(self)


class _Transport(ClassMatcher):
    by_row = True

    def __init__(self, spec: Transport) -> None:
        super().__init__(spec.num_anchors)
        self.spec = spec

    def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None:
        target_bank = required(target_bank, "Transport")
        self.keep_source(source_bank)
        num_classes = source_bank.logits.shape[1]
        means = self.source.means(num_classes)
        there = self.source.labels.bincount(minlength=num_classes) > 0
        cost = (1 - product(target_bank.z, means[there].T)).double()
        prior = cost.new_tensor(self.spec.prior or [1 / num_classes] * num_classes)[there]
        prior = prior if there.all() else prior / prior.sum()
        potential = means.new_full((num_classes,), -torch.inf)
        potential[there] = self.potential(cost, prior).to(means)
        self.memory |= {"means": means, "potential": potential}

    def potential(self, cost: Float64[Tensor, "m k"], prior: Float64[Tensor, " k"]) -> Float64[Tensor, " k"]:
        """Logarithms of the plan's scaling factors of the classes."""
        regularization, relaxation = self.spec.regularization, self.spec.marginal_relaxation
        if relaxation is not None:
            return relaxed_potential(cost, prior, regularization, relaxation)
        items = cost.new_full((len(cost),), 1 / len(cost))
        _, log = ot.sinkhorn(
            items, prior, cost, regularization, method="sinkhorn_log", log=True, numItermax=ROUNDS, warn=False
        )
        found: Tensor = log["log_v"]
        return found

    def decide(
        self, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"], logits_t: Float[Tensor, "m k"]
    ) -> Decision:
        cost = 1 - product(z_t, self.memory["means"].T)
        plan = (self.memory["potential"] - cost / self.spec.regularization).softmax(1)
        confidence, label = plan.max(1)
        return Decision(label, confidence, all_kept(target_index))


def relaxed_potential(
    cost: Float64[Tensor, "m k"], prior: Float64[Tensor, " k"], regularization: float, relaxation: float
) -> Float64[Tensor, " k"]:
    """Class potentials of min <cost, P> + regularization KL(P, items x prior) + relaxation KL(class shares, prior).

    Every item gives all of its mass, so that P is a softmax over classes for each item, and the scaling iteration
    (Chizat et al. 2018, section 3) is one on the classes alone.
    """
    power = relaxation / (relaxation + regularization)
    log_prior, potential = prior.log(), prior.log()
    for _ in range(ROUNDS):
        shares = (potential - cost / regularization).softmax(1).mean(0)
        # no class takes less than a rounding error, so that its logarithm is a number
        scaling = power * (potential - shares.clamp_min(torch.finfo(shares.dtype).tiny).log())
        moved = log_prior + scaling
        moved = moved - moved.mean()  # what all potentials share does not touch the plan, but would settle slowly
        change = (moved - potential).abs().max()
        potential = moved
        if change < TOLERANCE:
            break
    return potential
