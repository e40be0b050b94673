"""Terms of an objective: a part, its weight, and how the weight moves over a phase."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from domainmetric.errors import ConfigError
from domainmetric.losses.base import LossValue, MetricLoss
from domainmetric.losses.margin import MarginTriplet
from domainmetric.memory import CrossBatchMemory, Memory
from domainmetric.metrics.difficulty import difficulty
from domainmetric.miners.base import Miner
from domainmetric.miners.hard import HardNegative
from domainmetric.pairs import Role, Roles, StepPairs, extend
from domainmetric.parts import part
from domainmetric.schedules import Constant, Schedule
from domainmetric.step import Need, Part, PartContext, PartModule, Side, Step
from domainmetric.types import Encoded, Pairs

BOTH_DIRECTIONS = (Roles(), Roles(anchor="target", positive="matched", negative="matched"))
"""Matched source anchors against targets, and targets against their matched source items."""
SOURCE_DIRECTIONS = (
    Roles(anchor="source", positive="target", negative="target"),
    Roles(anchor="target", positive="source", negative="source"),
)
"""The same with random source items: classes are balanced and labels true, so that a whole class pulls."""
TARGET_ANCHORS = (Roles(anchor="matched_target", positive="source", negative="source"),)
"""The reverse direction: for each random source item the nearest target item that is matched to its class, as anchor
of triplets with true labels. Beside the others: `roles=BOTH_DIRECTIONS + TARGET_ANCHORS`."""


SIDES: dict[Role, tuple[Side, ...]] = {
    "source": ("source",),
    "matched": ("source",),
    "target": ("target",),
    "matched_target": ("target",),
    "both": ("source", "target"),
}
"""Whose embeddings the rows of a role are."""


def check_smoothing(value: float) -> None:
    """Raise ConfigError unless `value` can be a label smoothing."""
    if not 0 <= value < 1:
        raise ConfigError(f"label_smoothing must lie in [0, 1), but is {value}.")


@dataclass(frozen=True, kw_only=True)
class Classify(Part):
    """Cross-entropy of the prototype classifier on labelled source images."""

    label_smoothing: float = 0.1
    """Share of the label spread over all classes."""

    def __post_init__(self) -> None:
        check_smoothing(self.label_smoothing)

    def build(self, context: PartContext) -> PartModule:
        return _Classify(self.label_smoothing)


class _Classify(PartModule):
    def __init__(self, label_smoothing: float) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, step: Step) -> Float[Tensor, ""]:
        loss = self._loss(step.encoded_source, step.source.labels)
        if step.encoded_source_by_target is None:
            return loss
        return (loss + self._loss(step.encoded_source_by_target, step.source.labels)) / 2

    def _loss(self, encoded: Encoded, labels: Int64[Tensor, " n"]) -> Float[Tensor, ""]:
        return F.cross_entropy(encoded.logits, labels, label_smoothing=self.label_smoothing)


@dataclass(frozen=True, kw_only=True)
class ClassifyLabelledTarget(Part):
    """Cross-entropy on the stream of labelled target images: the supervised bound, and few-shot training."""

    label_smoothing: float = 0.1
    """Share of the label spread over all classes."""

    def __post_init__(self) -> None:
        check_smoothing(self.label_smoothing)

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"labelled_target"})

    def moves(self, progress: float) -> frozenset[Side]:
        return frozenset({"target"})

    def build(self, context: PartContext) -> PartModule:
        return _ClassifyLabelledTarget(self.label_smoothing)


class _ClassifyLabelledTarget(PartModule):
    def __init__(self, label_smoothing: float) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, step: Step) -> Float[Tensor, ""]:
        if step.labelled_target is None or step.encoded_labelled is None:
            raise ConfigError("ClassifyLabelledTarget needs labels: give the experiment a labelled_target stream.")
        logits = step.encoded_labelled.logits
        return F.cross_entropy(logits, step.labelled_target.labels, label_smoothing=self.label_smoothing)


@dataclass(frozen=True, kw_only=True)
class Metric(Part):
    """A metric loss on mined triplets whose members come from given row groups; the mean over `roles`."""

    loss: MetricLoss = field(default_factory=lambda: MarginTriplet(margin=0.3))
    """The loss on the triplets."""
    miner: Miner | None = field(default_factory=HardNegative)
    """Which triplets; None gives the loss all pairs that the roles allow."""
    roles: tuple[Roles, ...] = BOTH_DIRECTIONS
    """Where anchors, positives and negatives come from; several entries are averaged by their weights."""
    memory: Memory | None = None
    """Embeddings of earlier batches of a domain, as further positives and negatives where the roles take them from it
    (XBM; Wang et al. 2020): source items with their labels, target items with the labels they were matched to. None
    compares within the batch alone."""

    def __post_init__(self) -> None:
        if not self.roles:
            raise ConfigError("Metric.roles must name at least one (anchor, positive, negative) combination.")
        weights = {roles.weight for roles in self.roles}
        if len(weights) == 1 and weights != {1}:
            raise ConfigError(
                f"Roles.weight compares the entries of Metric.roles, and here all weigh {weights.pop()}, so it would "
                "be ignored. Set weight=1, or scale the whole term by Term.weight."
            )
        if self.memory is not None and not remembered(self.roles):
            raise ConfigError(
                "Metric.memory remembers source and target items, but `roles` take no positives or negatives from "
                "these, so it would be ignored. Set memory=None."
            )

    @property
    def needs(self) -> frozenset[Need]:
        groups = {group for roles in self.roles for group in (roles.anchor, roles.positive, roles.negative)}
        needs: set[Need] = {"pairs"}
        if groups - {"source", "matched_target"}:
            needs |= {"target", "matches"}
        if "matched" in groups:
            needs.add("matched")
        if "matched_target" in groups:
            needs.add("matched_target")
        return frozenset(needs)

    def moves(self, progress: float) -> frozenset[Side]:
        groups = {group for roles in self.roles for group in (roles.anchor, roles.positive, roles.negative)}
        return frozenset(side for group in groups for side in SIDES[group])

    def build(self, context: PartContext) -> PartModule:
        memories = _Memories(self.roles, self.memory, context.embedding_dim) if self.memory is not None else None
        return _Metric(self, memories)


REMEMBERED: dict[str, tuple[Role, ...]] = {"source": ("source",), "target": ("target",), "both": ("source", "target")}
"""Domains whose memory adds to the rows of a role."""


def remembered(roles: tuple[Roles, ...]) -> list[Role]:
    """The domains of which a memory would be used."""
    return sorted({d for r in roles for role in (r.positive, r.negative) for d in REMEMBERED.get(role, ())})


class _Memories(nn.Module):
    """A memory for each domain that the positives or negatives of some roles come from."""

    def __init__(self, roles: tuple[Roles, ...], spec: Memory, dim: int) -> None:
        super().__init__()
        self.of_domain = nn.ModuleDict({domain: spec.build(dim) for domain in remembered(roles)})
        self.size = spec.size

    def beside(self, step: StepPairs, pairs: Pairs, roles: Roles) -> Pairs:
        """The pairs of the batch, and its anchors against what is remembered of the domains of their columns."""
        for place, (domain, memory) in enumerate(self.of_domain.items()):
            positive, negative = (domain in REMEMBERED.get(role, ()) for role in (roles.positive, roles.negative))
            assert isinstance(memory, CrossBatchMemory)
            if positive or negative:
                group = memory.group()
                items = step.num_items + place * self.size + torch.arange(self.size, device=group.z.device)
                pairs = extend(pairs, group, items, positive=positive, negative=negative)
        return pairs

    def take_in(self, step: StepPairs) -> None:
        """Remember the rows of this step."""
        for domain, memory in self.of_domain.items():
            assert isinstance(memory, CrossBatchMemory)
            group = step.group("source" if domain == "source" else "target")
            memory.enqueue(group.z, group.labels, group.keep)


class _Metric(PartModule):
    def __init__(self, spec: Metric, memories: _Memories | None) -> None:
        super().__init__()
        self.spec, self.memories = spec, memories

    def forward(self, step: Step) -> Float[Tensor, ""]:
        if step.pairs is None:
            raise ConfigError("A Metric term needs pairs, but this phase builds none.")
        results, counts = [], []
        for roles in self.spec.roles:
            pairs = step.pairs.of(roles)
            if self.memories is not None:
                pairs = self.memories.beside(step.pairs, pairs, roles)
            with part("mining"):
                triplets = None if self.spec.miner is None else self.spec.miner.select(pairs, step.generator)
            results.append(self.spec.loss.of(pairs, triplets))
            counts.append(difficulty(pairs, triplets))
        if self.memories is not None:
            self.memories.take_in(step.pairs)
        self._note(step, results, counts)
        weights = [roles.weight for roles in self.spec.roles]
        weighted = (weight * r.value for weight, r in zip(weights, results, strict=True))
        return sum(weighted, results[0].value * 0) / sum(weights)

    def _note(self, step: Step, results: list[LossValue], counts: list[Float[Tensor, " 3"]]) -> None:
        """How much of the batch was used, and how hard it was; over all roles, and left on the device."""
        prefix = "triplets" if self.spec.needs & {"matches", "matched_target"} else "source_triplets"
        used = torch.stack([r.used.detach() for r in results]).sum()
        active = torch.stack([r.active.detach() for r in results]).sum()
        total = torch.stack(counts).sum(0)
        easy, semi_hard, hard = total / total.sum().clamp_min(1)
        step.notes.update(
            {
                f"{prefix}/used": used,
                f"{prefix}/active": active,
                f"{prefix}/active_share": active / used.clamp_min(1),
                f"{prefix}/easy": easy,
                f"{prefix}/semi_hard": semi_hard,
                f"{prefix}/hard": hard,
            }
        )


@dataclass(frozen=True, kw_only=True)
class Term:
    """A part of the objective with its weight."""

    part: Part
    """What is computed."""
    weight: float = 1.0
    """Its weight at full schedule."""
    schedule: Schedule = field(default_factory=Constant)
    """How the weight moves over the phase, as a factor."""

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ConfigError(
                f"Term.weight must be positive, but is {self.weight}. To switch a term off, leave it out."
            )
