"""Thresholds that follow how confident the matches of each class have become (FlexMatch, FreeMatch)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher, required
from domainmetric.anchors.modifier import Modifier, ModifierMatcher
from domainmetric.errors import ConfigError
from domainmetric.types import Bank, Matches


@dataclass(frozen=True, kw_only=True)
class AdaptiveThreshold(Modifier):
    """Another strategy's matches, of which those below the threshold of their class are dropped.

    As in FreeMatch (Wang et al. 2023, eqs. 5 to 8), the threshold of class c is tau * status(c) / max status: tau
    follows the mean confidence of all matches, and status(c) that of the matches of class c, so that a class which is
    hard has a lower one. Both are measured on the target bank when it is refreshed. Unlike there, status is a mean and
    not a sum over the class, since a class must not get a low threshold for being rare. A class without a match so far
    has threshold 0. Confidence is the inner strategy's.
    """

    momentum: float = 0.5
    """Weight of the past in both running means, from one refresh to the next; 0 forgets it."""

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"AdaptiveThreshold.momentum must lie in [0, 1), but is {self.momentum}.")

    @property
    def needs_target_bank(self) -> bool:
        return True

    def build(self, context: AnchorContext) -> AnchorMatcher:
        return _AdaptiveThreshold(self, context)


class _AdaptiveThreshold(ModifierMatcher):
    by_row = True

    def __init__(self, spec: AdaptiveThreshold, context: AnchorContext) -> None:
        super().__init__(spec, context)
        self.momentum, self.num_classes = spec.momentum, len(context.source.classes)

    def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None:
        target_bank = required(target_bank, "AdaptiveThreshold")
        super().refresh(source_bank, target_bank)
        matches: Matches = self.inner(target_bank.rows, target_bank.z, target_bank.logits)
        label, confidence = matches.label[matches.keep], matches.confidence[matches.keep].double()
        count = label.bincount(minlength=self.num_classes)
        status = torch.zeros_like(count, dtype=torch.float64).index_add_(0, label, confidence) / count.clamp_min(1)
        self.follow("status", status)
        self.follow("tau", confidence.sum() / max(1, len(confidence)))

    def follow(self, name: str, measured: Float64[Tensor, ...]) -> None:
        """Move a running mean; where it is 0 it has not begun, and where the measurement is 0 there was none."""
        past = self.memory.get(self.own(name), torch.zeros_like(measured))
        moved = torch.where(past > 0, self.momentum * past + (1 - self.momentum) * measured, measured)
        self.memory[self.own(name)] = torch.where(measured > 0, moved, past)

    def thresholds(self) -> Float64[Tensor, " k"]:
        """The least confidence of each class. In [0, 1]."""
        status: Tensor = self.memory[self.own("status")]
        tiny = torch.finfo(status.dtype).tiny
        return self.memory[self.own("tau")] * status / status.max().clamp_min(tiny)

    def modify(self, matches: Matches, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"]) -> Matches:
        # compared in the precision of the confidences: a mean of equal ones must not come out above them
        least = self.thresholds().to(matches.confidence)[matches.label]
        return replace(matches, keep=matches.keep & (matches.confidence >= least))
