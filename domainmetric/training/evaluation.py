"""Looks at a model during a run: label-free scores, and curves that are oracle because they use target labels."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from domainmetric.anchors.base import AnchorMatcher
from domainmetric.anchors.pixel import pixel_neighbors
from domainmetric.data.augment import to_float
from domainmetric.experiment import Experiment
from domainmetric.metrics.anchor_quality import anchor_quality, match_precision_oracle
from domainmetric.metrics.classification import accuracy
from domainmetric.metrics.collapse import effective_rank, mean_cosine
from domainmetric.metrics.selection import Evidence, all_scores
from domainmetric.models.network import DomainName, Network, evaluating
from domainmetric.randomness import generator
from domainmetric.team.base import ALONE, Team
from domainmetric.training.batches import RunData
from domainmetric.training.wall_time import WallTime
from domainmetric.types import Encoded, ImageSet, Matches

BATCH, NEIGHBORS = 128, 10


@torch.no_grad()
def encode(
    network: Network,
    domain: DomainName,
    images: UInt8[Tensor, "n h w c"],
    team: Team = ALONE,
    rows: Int64[Tensor, " r"] | None = None,
) -> Encoded:
    """Clean images through the network in evaluation mode, all or some; the mode is restored.

    A `team` divides the work, and each of it has all that came of it. Batches are so small that they need no more
    memory than a training step.
    """
    rows = torch.arange(len(images), device=images.device) if rows is None else rows
    z, logits = [], []
    with evaluating(network):
        for part in rows[team.share(len(rows))].split(BATCH):
            encoded = network(domain, to_float(images[part]))
            z.append(encoded.z)
            logits.append(encoded.logits)
    return Encoded(*team.gather([torch.cat(z), torch.cat(logits)], len(rows)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """The fixed images that every evaluation of a run looks at."""

    source_images: UInt8[Tensor, "n h w c"]
    source_labels: Int64[Tensor, " n"]
    target_rows: Int64[Tensor, " m"]
    """Rows of the target training set."""
    target_images: UInt8[Tensor, "m h w c2"]
    target_labels_oracle: Int64[Tensor, " m"] | None
    target_neighbors: Int64[Tensor, "m j"]
    """For each of these target images those most like it in pixels."""
    team: Team = ALONE
    """The processes that look, all of them at the same time."""

    @staticmethod
    def choose(experiment: Experiment, data: RunData, team: Team = ALONE) -> Look:
        """A seeded subset of the held-out source images and of the target training images."""

        def rows(count: int, name: str) -> Int64[Tensor, " r"]:
            order = torch.randperm(count, generator=generator("cpu", experiment.seed, "look", name))
            return order[: experiment.evaluation.num_images].to(data.source_train.images.device)

        source, target = rows(len(data.source_validation), "source"), rows(len(data.target_train), "target")
        images = data.target_train.images[target]
        held_out, oracle = data.source_validation.take(source), data.target_train_labels_oracle
        assert held_out.labels is not None
        return Look(
            source_images=held_out.images,
            source_labels=held_out.labels,
            target_rows=target,
            target_images=images,
            target_labels_oracle=None if oracle is None else oracle[target],
            target_neighbors=pixel_neighbors(images, num=NEIGHBORS),
            team=team,
        )

    def evidence(self, network: Network) -> Evidence:
        """What the network makes of these images, without a target label."""
        source = encode(network, "source", self.source_images, self.team)
        target = encode(network, "target", self.target_images, self.team)
        return Evidence(
            target_z=target.z,
            target_logits=target.logits,
            source_z=source.z,
            source_logits=source.logits,
            source_labels=self.source_labels,
            target_neighbors=self.target_neighbors,
        )

    def scores(self, evidence: Evidence) -> dict[str, float]:
        """Label-free scores under `score/`, collapse measures, and oracle accuracy where there are labels.

        The accuracy is over the images of the source's classes, as that of the report is.
        """
        values = {f"score/{name}": value for name, value in all_scores(evidence).items()}
        values["collapse/target_mean_cosine"] = float(mean_cosine(evidence.target_z))
        values["collapse/target_effective_rank"] = float(effective_rank(evidence.target_z))
        rows = known(self.target_labels_oracle, evidence.target_logits.shape[1])
        if rows is not None:
            assert self.target_labels_oracle is not None
            right = accuracy(evidence.target_logits[rows], self.target_labels_oracle[rows])
            values["eval/target/accuracy_oracle"] = float(right)
        return values

    def matches(self, teacher: Network, matcher: AnchorMatcher, batch: int) -> tuple[Matches, float]:
        """The matches of these target images, as the strategy stands, and the seconds that it takes to match a batch.

        The time is that of the matching alone, the middle one of three, with what the teacher sees at hand.
        """
        seen = encode(teacher, "target", self.target_images, self.team)
        matches: Matches = matcher(self.target_rows, seen.z, seen.logits)
        few, times = (self.target_rows[:batch], seen.z[:batch], seen.logits[:batch]), []
        for _ in range(3):
            with WallTime(seen.z.device) as spent:
                matcher(*few)
            times.append(spent.seconds)
        return matches, sorted(times)[1]


def judge(
    matches: Matches, matcher: AnchorMatcher, source: ImageSet, target_labels_oracle: Int64[Tensor, " m"] | None
) -> dict[str, float]:
    """Quality of a strategy's matches, under `anchors/`; their precision is oracle, and absent without target labels.

    `source` is the source training set that it chooses from. The precision is over the target items of its classes:
    whatever an item of another one is matched to is neither right nor wrong.
    """
    quality = anchor_quality(matches, len(source), matcher.num_candidates(len(source)), len(source.classes))
    report = {f"anchors/{name}": value for name, value in quality.items()}
    rows = known(target_labels_oracle, len(source.classes))
    if rows is not None:
        assert target_labels_oracle is not None
        judged = Matches(**{each.name: getattr(matches, each.name)[rows] for each in fields(Matches)})
        report["anchors/precision_oracle"] = match_precision_oracle(judged, target_labels_oracle[rows])
    return report


def known(target_labels_oracle: Int64[Tensor, " m"] | None, num_classes: int) -> Int64[Tensor, " r"] | None:
    """The target items of a class that the source has, too; None where none is known to be."""
    if target_labels_oracle is None:
        return None
    rows = (target_labels_oracle < num_classes).nonzero()[:, 0]
    return rows if len(rows) else None
