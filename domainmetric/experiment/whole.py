"""All specs together, and what is refused before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from domainmetric.alarms.base import Alarm
from domainmetric.alarms.default import default_alarms
from domainmetric.alarms.fallback import calmer
from domainmetric.anchors.base import AnchorStrategy
from domainmetric.data.draws import Balanced
from domainmetric.data.pair import Pair
from domainmetric.errors import ConfigError, nearest
from domainmetric.experiment.phases import BRANCHES, AdaptationPhase, Phase, SourcePhase
from domainmetric.experiment.settings import (
    AllLabels,
    Augmentation,
    Banks,
    Evaluation,
    FewLabels,
    LabelledTarget,
    LastCheckpoint,
    Runtime,
    Selection,
)
from domainmetric.experiment.values import check_values
from domainmetric.models.network import DOMAINS, Model
from domainmetric.step import Need
from domainmetric.terms import ClassifyLabelledTarget, Metric, Term
from domainmetric.tracking import Tracking

MATCHED: frozenset[Need] = frozenset({"matches", "matched_target"})
"""What only an anchor strategy can prepare."""
FEW_LABELS, ALL_LABELS = "few_labels", "all_labels"
"""Names of the terms that a few labelled target images add, and all of them."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that a run does."""

    name: str
    """What the run folder and the report call it; by custom the recipe's name."""
    data: Pair
    """Source and target domain."""
    terms: dict[str, Term]
    """The objective: named terms. A term that is not here does not exist."""
    phases: dict[str, Phase]
    """What trains when, in order."""
    anchors: AnchorStrategy | None = None
    """Who stands for whom; None where no term asks."""
    seed: int = 0
    """Seed of everything random."""
    image_size: int = 32
    """Side of the images in pixels, for both domains."""
    source_validation: float = 0.1
    """Share of the source training set that is held out, drawn by the seed."""
    model: Model = field(default_factory=Model)
    """Branches, head and classifier."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Random views of each domain."""
    banks: Banks = field(default_factory=Banks)
    """Sizes and refreshing of the embedding banks."""
    labelled_target: LabelledTarget | None = None
    """A separate stream of labelled target images: `FewLabels(per_class=5)`, or `AllLabels()` (*oracle*). None: no
    target label enters the training."""
    selection: Selection = field(default_factory=LastCheckpoint)
    """Which checkpoint is reported."""
    evaluation: Evaluation = field(default_factory=Evaluation)
    """Looks at the model during and after the run."""
    alarms: dict[str, Alarm] = field(default_factory=default_alarms)
    """What watches the training, by name; the default is all there is, and an empty mapping is silence. A mapping of
    one's own replaces the default, and a run begins by naming those that it leaves out."""
    runtime: Runtime = field(default_factory=Runtime)
    """Device, precision, threads."""
    tracking: Tracking = field(default_factory=Tracking)
    """Weights & Biases."""
    data_root: Path | None = None
    """Prepared data; None looks in $DOMAINMETRIC_DATA, then in data/."""
    runs_root: Path = Path("runs")
    """Folder in which run folders are made."""

    def __post_init__(self) -> None:
        check_values(self, "Experiment")
        if Path(self.name).name != self.name or not self.name.isprintable():
            raise ConfigError(f"name becomes part of a folder's name, so it cannot be {self.name!r}: leave out '/'.")
        self.data.check()
        if not 0 < self.source_validation < 1:
            raise ConfigError(f"source_validation must lie strictly between 0 and 1, but is {self.source_validation}.")
        if self.image_size < 8:
            raise ConfigError(f"image_size must be at least 8, but is {self.image_size}.")
        if not self.phases:
            raise ConfigError("An experiment needs at least one phase.")
        self.augmentation.source.check(self.data.source.channels)
        self.augmentation.target.check(self.data.target.channels)
        self._check_terms()
        self._check_needs()
        self._check_batches()
        self._check_memory()
        self._check_optimizers()
        self._check_alarms()

    def _check_terms(self) -> None:
        named = {name for phase in self.phases.values() for name in phase.terms}
        for name in sorted(named - self.terms.keys()):
            raise ConfigError(
                f"A phase names the term '{name}', which the experiment lacks.{nearest(name, self.terms)}"
            )
        for name in sorted(self.terms.keys() - named):
            raise ConfigError(
                f"The term '{name}' is in no phase, so it would be ignored. Name it in one, or leave it out."
            )

    def _check_needs(self) -> None:
        for name, phase in self.phases.items():
            needs = self.needs(self.terms_of(phase))
            if isinstance(phase, SourcePhase) and needs - {"pairs"}:
                raise ConfigError(f"Phase '{name}' trains on the source alone, but its terms need {sorted(needs)}.")
        needs = self.needs(self.terms)
        if needs & MATCHED and self.anchors is None:
            raise ConfigError("A term needs anchor matches, but the experiment has no anchors. Set anchors=Nearest().")
        self._check_target_sampling()
        if self.anchors is not None and not any(self.uses_anchors(phase) for phase in self.phases.values()):
            raise ConfigError("No term uses anchor matches, so `anchors` would be ignored. Set anchors=None.")
        self._check_labelled("labelled_target" in needs)

    def _check_target_sampling(self) -> None:
        for name in (name for name, phase in self.phases.items() if phase.draws_by_match):
            if self.anchors is None:
                raise ConfigError(
                    f"Phase '{name}' draws target batches by matched label, but the experiment has no anchors. "
                    "Set anchors=Nearest()."
                )
            if self.augmentation.target.looks_ahead:
                raise ConfigError(
                    f"Phase '{name}' draws target batches by matched labels, which each bank refresh makes anew, but "
                    f"{type(self.augmentation.target).__name__} makes views ahead. Use Augment() for the target."
                )

    def _check_labelled(self, term_reads: bool) -> None:
        if term_reads and self.labelled_target is None:
            raise ConfigError("A term needs labelled target images: set labelled_target=AllLabels().")
        if self._anchors_read_labels() and not isinstance(self.labelled_target, AllLabels):
            raise ConfigError("The anchors read target labels (oracle): declare them with labelled_target=AllLabels().")
        for name in self.labelled_term().keys() & self.terms.keys():
            raise ConfigError(
                f"{type(self.labelled_target).__name__} adds a term named '{name}', so call yours otherwise."
            )
        adapts = any(isinstance(phase, AdaptationPhase) for phase in self.phases.values())
        if self.labelled_target is not None and not adapts:
            raise ConfigError(
                "Labelled target images are read in adaptation phases alone, and there is none, so labelled_target "
                "would be ignored. Leave it out."
            )
        if self.labelled_target is not None and self.data.target.classes is None:
            raise ConfigError(f"labelled_target asks for labels, but '{self.data.target.name}' has none.")

    def _check_batches(self) -> None:
        num_classes = len(self.data.classes)
        for name, phase in self.phases.items():
            phase.sampling.check(phase.source_batch, num_classes, f"Phase '{name}': source_batch")
            self._check_share(phase.source_batch, f"Phase '{name}': source_batch")
            if isinstance(phase, AdaptationPhase):
                self._check_share(phase.target_batch, f"Phase '{name}': target_batch")
        if self.labelled_target is not None:
            Balanced().check(self.labelled_target.size(num_classes), num_classes, "labelled_target.batch")

    def _check_share(self, batch: int, what: str) -> None:
        processes = self.runtime.devices * self.runtime.num_nodes
        if batch < processes:
            raise ConfigError(
                f"{what} is {batch}, but {processes} processes share it. Use more images or fewer devices."
            )

    def _check_memory(self) -> None:
        for name, phase in self.phases.items():
            for term in phase.terms:
                part = self.terms[term].part
                if isinstance(part, Metric) and part.memory is not None and part.memory.warmup >= phase.steps:
                    raise ConfigError(
                        f"The memory of the term '{term}' is offered after {part.memory.warmup} batches, but phase "
                        f"'{name}' has {phase.steps} steps, so it would be ignored. Shorten Memory.warmup."
                    )

    def _check_optimizers(self) -> None:
        for name, phase in self.phases.items():
            own = {phase.optimizer_of(part) for part in BRANCHES} - {phase.optimizer}
            if own and self.model.branches.target_start == "shared":
                raise ConfigError(
                    f"Phase '{name}' gives a branch an optimizer of its own, but {type(self.model.branches).__name__} "
                    "has one branch for both domains. Set `optimizer` alone."
                )
            backbones = dict(zip(BRANCHES, map(self.model.branches.backbone, DOMAINS), strict=True))
            still = {part for part, backbone in backbones.items() if backbone.frozen}
            for part in sorted(still):
                if phase.optimizer_of(part) != phase.optimizer:
                    raise ConfigError(
                        f"Phase '{name}' gives the {part.replace('_', ' ')} an optimizer of its own, but its backbone "
                        "is Frozen. Leave the optimizer out, or train the backbone."
                    )
            if not set(phase.trainable) - still:
                raise ConfigError(f"Nothing moves in phase '{name}': what it trains is Frozen. Train the head, too.")

    def _check_alarms(self) -> None:
        calmed = any(calmer(term) is not None for term in self.terms.values())
        for name in (name for name, alarm in self.alarms.items() if alarm.action == "fallback" and not calmed):
            raise ConfigError(
                f"The alarm '{name}' would fall back, but no term has what is exchanged then: HPHN, L1 or Dann. Set "
                "its action to 'warn' or 'stop'."
            )

    def uses_anchors(self, phase: Phase) -> bool:
        """Whether a phase asks the anchor strategy anything."""
        return phase.draws_by_match or bool(self.needs(self.terms_of(phase)) & MATCHED)

    def terms_of(self, phase: Phase) -> dict[str, Term]:
        """The terms that train in a phase: those that it names, and the one that `labelled_target` adds."""
        named = {name: self.terms[name] for name in phase.terms}
        return {**named, **self.labelled_term()} if isinstance(phase, AdaptationPhase) else named

    def labelled_term(self) -> dict[str, Term]:
        """The term, by its name, that `labelled_target` adds to each adaptation phase, where it adds one.

        A few labels always do; all of them where no term and no anchors of the experiment read them.
        """
        if isinstance(self.labelled_target, FewLabels):
            return {FEW_LABELS: Term(part=ClassifyLabelledTarget(), weight=self.labelled_target.weight)}
        if isinstance(self.labelled_target, AllLabels) and not self._reads_labels():
            return {ALL_LABELS: Term(part=ClassifyLabelledTarget())}
        return {}

    def _anchors_read_labels(self) -> bool:
        return self.anchors is not None and self.anchors.needs_target_labels

    def _reads_labels(self) -> bool:
        """Whether a term or the anchors of the experiment read labelled target images."""
        return self._anchors_read_labels() or "labelled_target" in self.needs(self.terms)

    def needs(self, terms: Mapping[str, Term]) -> frozenset[Need]:
        """What the steps of these terms must prepare."""
        return frozenset().union(*(term.part.needs for term in terms.values()))

    def without(self, term: str) -> Experiment:
        """The same experiment without one term, and without the anchors or labels that no other part of it uses."""
        if term not in self.terms:
            raise ConfigError(f"The experiment has no term '{term}'.{nearest(term, self.terms)}")
        terms = {name: value for name, value in self.terms.items() if name != term}
        phases = {k: replace(p, terms=tuple(t for t in p.terms if t != term)) for k, p in self.phases.items()}
        matched = any(value.part.needs & MATCHED for value in terms.values())
        drawn = any(phase.draws_by_match for phase in phases.values())
        anchors = self.anchors if matched or drawn else None
        read = "labelled_target" in self.needs(terms) or (anchors is not None and anchors.needs_target_labels)
        return replace(
            self,
            name=f"{self.name}-without-{term}",
            terms=terms,
            phases=phases,
            anchors=anchors,
            labelled_target=self.labelled_target if read or self.labelled_term() else None,
        )
