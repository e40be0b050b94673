"""Filling the banks: the teacher's view of part of the training sets, shown to the anchor strategy."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from domainmetric.anchors.base import AnchorMatcher
from domainmetric.data.matched_rows import MatchedRows
from domainmetric.experiment import Experiment
from domainmetric.models.network import DomainName, Network
from domainmetric.randomness import generator
from domainmetric.team.base import ALONE, Team
from domainmetric.training.batches import RunData
from domainmetric.training.evaluation import encode
from domainmetric.training.objective import agreed
from domainmetric.training.target_anchors import TargetAnchors
from domainmetric.types import Bank, ImageSet, Matches


class Refreshed(NamedTuple):
    """What came of a refresh."""

    taken: bool
    """Whether the strategy now remembers this source bank. A strategy may keep an older one, or none."""
    matches: Matches | None
    """Of the target bank, where something goes by its labels."""


def refresh(
    matcher: AnchorMatcher,
    teacher: Network,
    experiment: Experiment,
    data: RunData,
    generation: int,
    matched_rows: MatchedRows | None = None,
    target_anchors: TargetAnchors | None = None,
    team: Team = ALONE,
) -> Refreshed:
    """Give the matcher freshly encoded banks; each generation draws its own rows.

    Then the target rows of the bank are matched, where their labels decide on target batches or on target anchors.

    A `team` divides the encoding, which is nearly all of the work, and then each of it has the whole bank: a strategy
    looks at it as a set, and at 8,190 rows of 128 numbers it takes 4 MB, so that dividing it would save nothing.
    """
    assert experiment.anchors is not None
    draw = generator("cpu", experiment.seed, "bank", generation)
    source_rows = balanced_rows(data.source_train, experiment.banks.source_size, draw)
    target_bank = None
    if experiment.anchors.needs_target_bank or matched_rows is not None or target_anchors is not None:
        count = min(experiment.banks.target_size, len(data.target_train))
        rows = torch.randperm(len(data.target_train), generator=draw)[:count].to(source_rows.device)
        target_bank = fill(teacher, "target", data.target_train, rows, team)
    source_bank = fill(teacher, "source", data.source_train, source_rows, team)
    matcher.refresh(source_bank, target_bank if experiment.anchors.needs_target_bank else None)
    taken = "z" in matcher.memory and torch.equal(matcher.memory["z"], source_bank.z)
    if target_bank is None or (matched_rows is None and target_anchors is None):
        return Refreshed(taken=taken, matches=None)
    matches = agreed(team, labels_of_bank(matcher, target_bank))
    if target_anchors is not None:
        target_anchors.refresh(target_bank, matches)
    if matched_rows is not None:
        since = generation * experiment.banks.refresh_every
        matched_rows.refresh(target_bank.rows[matches.keep], matches.label[matches.keep], since)
    return Refreshed(taken=taken, matches=matches)


@torch.no_grad()
def labels_of_bank(matcher: AnchorMatcher, bank: Bank) -> Matches:
    """What the matcher makes of the rows of a target bank, as one batch."""
    matches: Matches = matcher(bank.rows, bank.z, bank.logits)
    return matches


def fill(teacher: Network, domain: DomainName, images: ImageSet, rows: Int64[Tensor, " b"], team: Team = ALONE) -> Bank:
    """The teacher's embeddings and logits of some rows."""
    encoded = encode(teacher, domain, images.images, team, rows)
    labels = None if images.labels is None else images.labels[rows]
    return Bank(rows=rows, z=encoded.z, logits=encoded.logits, labels=labels)


def balanced_rows(images: ImageSet, size: int, draw: torch.Generator) -> Int64[Tensor, " b"]:
    """About `size` random rows, the same number of every class as far as it has them; all rows if `size` allows."""
    assert images.labels is not None
    if size >= len(images):
        return torch.arange(len(images), device=images.images.device)
    labels = images.labels.cpu()
    per_class = max(1, size // len(images.classes))
    order = torch.randperm(len(labels), generator=draw)
    rank = torch.empty_like(order)
    for k in range(len(images.classes)):  # ranks within each class of one shuffled order
        mine = (labels[order] == k).nonzero().squeeze(1)
        rank[order[mine]] = torch.arange(len(mine))
    return (rank < per_class).nonzero().squeeze(1).to(images.images.device)
