"""Miners of pytorch-metric-learning, and of whoever keeps to its calls, in place of ours."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from domainmetric.errors import ConfigError
from domainmetric.geometry import at_least_float32
from domainmetric.miners.base import Miner
from domainmetric.miners.listing import ranges
from domainmetric.randomness import isolated
from domainmetric.types import Pairs, Triplets

ARGUMENTS = ("embeddings", "labels", "ref_emb", "ref_labels")
"""What such a miner is called with."""


@dataclass(frozen=True, kw_only=True)
class PmlMiner(Miner, ABC):
    """A miner of pytorch-metric-learning as a spec: derive from it, name the settings as fields, make the miner.

        @dataclass(frozen=True, kw_only=True)
        class TripletMargin(PmlMiner):
            margin: float = 0.2

            def make(self) -> nn.Module:
                return TripletMarginMiner(margin=self.margin, type_of_triplets="all")

    It sees the rows and columns that take part, and what it chooses is kept where `pairs` allows it. Within a set,
    across two sets, and for a batch against itself and a memory, that is all. Where roles cut the columns (a positive
    from one domain, a negative from another), it still ranks all of them: a miner that judges each triplet for itself
    is exact there, but one that takes the extreme of an anchor loses the anchor whose extreme the roles do not allow.
    Ours do not.
    """

    @abstractmethod
    def make(self) -> nn.Module:
        """The miner. Called for each selection, so that nothing is kept from one step to the next."""

    @torch.no_grad()
    def select(self, pairs: Pairs, generator: torch.Generator | None = None) -> Triplets:
        rows, columns = pairs.rows.kept().nonzero().squeeze(1), pairs.columns.kept().nonzero().squeeze(1)
        seed = 0 if generator is None else int(torch.randint(1 << 62, (), generator=generator, device=generator.device))
        anchor = positive = negative = rows.new_empty(0)
        if len(rows) and len(columns):
            with isolated(seed, "mining"), torch.autocast(rows.device.type, enabled=False):
                anchor, positive, negative = self._choose(pairs, rows, columns)
        keep = pairs.positive[anchor, positive] & pairs.negative[anchor, negative]
        return Triplets(anchor=anchor[keep], positive=positive[keep], negative=negative[keep])

    def _choose(
        self, pairs: Pairs, rows: Int64[Tensor, " r"], columns: Int64[Tensor, " c"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        miner = self._made()
        ref_emb, ref_labels = at_least_float32(pairs.columns.z[columns]), pairs.columns.labels[columns]
        own = pairs.column_items[columns][:, None] == pairs.row_items[rows]
        if own.any(
            0
        ).all():  # each row is a column, too: within one set the miner knows that no item is its own positive
            anchor, positive, negative = triplets_of(miner(ref_emb, ref_labels))
            asked = own.any(1)[anchor]
            row = own.byte().argmax(1)[anchor[asked]]
            return rows[row], columns[positive[asked]], columns[negative[asked]]
        z, labels = at_least_float32(pairs.rows.z[rows]), pairs.rows.labels[rows]
        anchor, positive, negative = triplets_of(miner(z, labels, ref_emb, ref_labels))
        return rows[anchor], columns[positive], columns[negative]

    def _made(self) -> nn.Module:
        miner = self.make()
        missing = set(ARGUMENTS) - set(inspect.signature(miner.forward).parameters)
        if missing:
            raise ConfigError(
                f"{type(self).__name__}.make must return a miner that is called with ({', '.join(ARGUMENTS)}), but "
                f"{type(miner).__name__} does not take {', '.join(sorted(missing))}."
            )
        return miner


def triplets_of(chosen: Sequence[Int64[Tensor, " _"]]) -> tuple[Tensor, Tensor, Tensor]:
    """Anchors, positives and negatives of what a miner of pytorch-metric-learning returned.

    Triplets are taken as they are. Of pairs (anchors, positives, anchors, negatives) each positive pair is joined with
    each negative pair of the same anchor; a pair whose anchor has none of the other kind falls away.
    """
    if not isinstance(chosen, tuple | list) or len(chosen) not in (3, 4):
        raise ConfigError(
            "A miner must return index tensors: three (anchors, positives, negatives) or four (anchors, positives, "
            f"anchors, negatives), but this one returned {type(chosen).__name__}; subsets of a batch are no triplets."
        )
    if len(chosen) == 3:
        anchor, positive, negative = chosen
        return anchor, positive, negative
    a1, positive, a2, negative = chosen
    order = a2.argsort(stable=True)
    begin, end = (torch.searchsorted(a2[order], a1.contiguous(), right=right) for right in (False, True))
    which, place = ranges(begin, end - begin)
    return a1[which], positive[which], negative[order[place]]
