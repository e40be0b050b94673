"""What alarms are shown: numbers that a run has read anyway, and no target label among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from domainmetric.metrics.selection import Evidence
from domainmetric.step import Side
from domainmetric.terms import Term
from domainmetric.types import Matches

Curves = Mapping[str, Sequence[tuple[int, float]]]


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """A step's weighted losses, and what each term does to the embeddings."""

    progress: float
    """Share of the phase that was done before it."""
    losses: Mapping[str, float]
    """Each term's weighted loss; exactly zero where its schedule is."""
    shares: Mapping[Side, Mapping[str, float]]
    """For each side with embeddings that can be moved, each term's share of the summed gradient norms there. A term
    whose loss has no graph is left out."""


@dataclass(frozen=True, kw_only=True)
class Movement:
    """What one step did to one part of the network."""

    trains: bool
    """Whether the phase trains it."""
    asked: bool
    """Whether some term should reach it, at this step."""
    gradient: bool
    """Whether any gradient arrived."""
    weights: bool
    """Whether any weight changed."""
    statistics: bool | None
    """Whether any batch statistics changed; None where it has none."""


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What one of the first steps did to everything that can move."""

    parts: Mapping[str, Movement]
    """By name, as in `AdaptationPhase.trains`."""
    teacher: float | None
    """How far the teacher is from where its decay should have taken it, as a share of the way; None without one."""
    teacher_trains: bool
    """Whether any part of the teacher is in training mode."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """A look at the model on fixed images."""

    evidence: Evidence
    matches: Matches | None
    """Who stands for whom among the target images of the look; None without anchors."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sight:
    """What there is to see at one moment of a phase. What was not looked at just now is None."""

    step: int
    """Steps of the phase that are done."""
    steps: int
    """Steps that it has."""
    terms: Mapping[str, Term]
    """The terms that train in it, as they are now."""
    num_classes: int
    curves: Curves = field(default_factory=dict)
    """All that the phase has logged so far, by name: steps and values. Oracle metrics are left out."""
    read: bool = False
    """Whether the losses since the last reading were just added to the curves."""
    gradients: Gradients | None = None
    wiring: Wiring | None = None
    seen: Seen | None = None
    unsound: str = ""
    """What was not finite in the last step, in one sentence."""

    @property
    def progress(self) -> float:
        """Share of the phase that is done."""
        return self.step / self.steps

    @property
    def adapts(self) -> bool:
        """Whether any term looks at target images without labels."""
        return any("target" in term.part.needs for term in self.terms.values())

    def values(self, name: str) -> list[float]:
        """The values of a metric in this phase, in order; none where there is no such metric."""
        return [value for _, value in self.curves.get(name, ())]

    def raw_losses(self, name: str) -> list[float]:
        """A term's mean loss at each reading, without its weight and schedule; readings of schedule zero left out."""
        term, found, before = self.terms[name], [], 0
        for step, value in self.curves.get(f"loss/{name}", ()):
            factors = [term.schedule.at(s / self.steps) for s in range(before, step)]
            mean, before = sum(factors) / max(1, len(factors)), step
            if mean > 0:
                found.append(value / (term.weight * mean))
        return found
