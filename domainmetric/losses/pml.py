"""Losses of pytorch-metric-learning, and of whoever keeps to its calls, in place of ours."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from domainmetric.errors import ConfigError
from domainmetric.geometry import at_least_float32
from domainmetric.losses.base import LossValue, MetricLoss
from domainmetric.randomness import isolated
from domainmetric.types import Pairs, Triplets

ARGUMENTS = ("embeddings", "labels", "indices_tuple", "ref_emb", "ref_labels")
"""What such a loss is called with."""


@dataclass(frozen=True, kw_only=True)
class PmlLoss(MetricLoss, ABC):
    """A loss of pytorch-metric-learning as a spec: derive from it, name the settings as fields, make the loss.

        @dataclass(frozen=True, kw_only=True)
        class Circle(PmlLoss):
            gamma: float = 80

            def make(self) -> nn.Module:
                return CircleLoss(gamma=self.gamma)

    It is given the triplets, or else the pairs that are allowed (none, where these are all pairs of equal and of
    unequal labels, as it would list them itself). A loss that cannot take what it is given refuses it in its own words.
    It does not tell which of them have a gradient: unless the loss is zero, all count as active.
    """

    @abstractmethod
    def make(self) -> nn.Module:
        """The loss. Called for each step, so that nothing is kept from one to the next; it has no weights."""

    def of(self, pairs: Pairs, triplets: Triplets | None = None) -> LossValue:
        loss = self._made()
        if triplets is None:
            used = pairs.positive.sum() + pairs.negative.sum()
        else:
            used = torch.tensor(len(triplets), device=pairs.rows.z.device)
        rows, columns = pairs.rows.kept(), pairs.columns.kept()
        z, ref_emb = at_least_float32(pairs.rows.z[rows]), at_least_float32(pairs.columns.z[columns])
        used = used.to(z.dtype)
        if not used:
            return LossValue(pairs.rows.z.to(z.dtype).sum() * 0, used, used)
        alone = torch.equal(pairs.row_items[rows], pairs.column_items[columns])
        reference = () if alone else (ref_emb, pairs.columns.labels[columns])
        with isolated(0, "loss"), torch.autocast(z.device.type, enabled=False):
            try:
                value = loss(z, pairs.rows.labels[rows], indices(pairs, triplets), *reference)
            except ValueError as error:  # among them: no reference set, no indices, another distance
                raise ConfigError(f"{type(loss).__name__} of {type(self).__name__} refuses this: {error}") from error
        return LossValue(value, used, used * (value.detach() != 0))

    def _made(self) -> nn.Module:
        loss = self.make()
        missing = set(ARGUMENTS) - set(inspect.signature(loss.forward).parameters)
        if missing:
            raise ConfigError(
                f"{type(self).__name__}.make must return a loss that is called with ({', '.join(ARGUMENTS)}), but "
                f"{type(loss).__name__} does not take {', '.join(sorted(missing))}."
            )
        if any(True for _ in loss.parameters()):
            raise ConfigError(
                f"{type(loss).__name__} has weights of its own, which a metric loss would neither train nor save. "
                "Write a Part whose build() returns a PartModule that holds it: its weights are then the experiment's."
            )
        return loss


def indices(pairs: Pairs, triplets: Triplets | None) -> tuple[Int64[Tensor, " _"], ...] | None:
    """The triplets or else the allowed pairs, counted among the rows and columns that take part; None for all pairs."""
    rows, columns = pairs.rows.kept(), pairs.columns.kept()
    row, column = rows.cumsum(0) - 1, columns.cumsum(0) - 1
    if triplets is not None:
        return row[triplets.anchor], column[triplets.positive], column[triplets.negative]
    both, same = rows[:, None] & columns, pairs.rows.labels[:, None] == pairs.columns.labels
    positive, negative = both & same, both & ~same
    if torch.equal(pairs.row_items[rows], pairs.column_items[columns]):
        positive &= pairs.row_items[:, None] != pairs.column_items
    if torch.equal(pairs.positive, positive) and torch.equal(pairs.negative, negative):
        return None
    (a1, p), (a2, n) = pairs.positive.nonzero(as_tuple=True), pairs.negative.nonzero(as_tuple=True)
    return row[a1], column[p], row[a2], column[n]
