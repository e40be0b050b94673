"""What an experiment refuses, word for word, and its variants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domainmetric.anchors.nearest import Nearest
from domainmetric.anchors.oracle import Oracle
from domainmetric.data.augment import Augment
from domainmetric.data.draws import EpochGroups, Groups, MatchedBalanced
from domainmetric.data.pair import Pair
from domainmetric.data.pipelines import DigitViews
from domainmetric.data.sklearn_digits import SklearnDigits
from domainmetric.data.view_bank import AlbumentationsViews
from domainmetric.errors import ConfigError
from domainmetric.experiment import (
    AdaptationPhase,
    AllLabels,
    Augmentation,
    Banks,
    Evaluation,
    Experiment,
    Optimizer,
    Runtime,
    SourcePhase,
)
from domainmetric.memory import Memory
from domainmetric.models.network import Model, Tied
from domainmetric.terms import ClassifyLabelledTarget, Metric, Term
from tests import tiny


def full(**changes: Any) -> Experiment:
    return replace(tiny.full(Path("runs")), **changes)


def phases(**changes: Any) -> dict[str, Any]:
    made = dict(full().phases)
    return {name: replace(phase, **changes.get(name, {})) for name, phase in made.items()}


def drawn_by_match(experiment: Experiment) -> Experiment:
    adapt = replace(experiment.phases["adapt"], target_sampling=MatchedBalanced())
    return replace(experiment, phases={**experiment.phases, "adapt": adapt})


REFUSED: dict[str, Callable[[], Any]] = {
    "source_validation must lie strictly between 0 and 1, but is 0.": lambda: full(source_validation=0),
    "image_size must be at least 8, but is 4.": lambda: full(image_size=4),
    "An experiment needs at least one phase.": lambda: full(phases={}),
    "Augment.grey does nothing to images with one channel. Leave it at 0 for this domain.": lambda: full(
        augmentation=Augmentation(target=Augment(grey=0.5))
    ),
    "A phase names the term 'clasify', which the experiment lacks. Did you mean 'classify'? "
    "Known: classify, dann, information, mmd, triplet.": lambda: full(phases=phases(source={"terms": ("clasify",)})),
    "The term 'mmd' is in no phase, so it would be ignored. Name it in one, or leave it out.": lambda: full(
        phases=phases(adapt={"terms": ("classify", "triplet", "dann", "information")})
    ),
    "Phase 'source' trains on the source alone, but its terms need ['target'].": lambda: full(
        phases=phases(source={"terms": ("classify", "mmd")})
    ),
    "A term needs anchor matches, but the experiment has no anchors. Set anchors=Nearest().": lambda: full(
        anchors=None
    ),
    "No term uses anchor matches, so `anchors` would be ignored. Set anchors=None.": lambda: replace(
        tiny.experiment(Path("runs"), "mmd"), anchors=Nearest()
    ),
    "A term needs labelled target images: set labelled_target=AllLabels().": lambda: full(
        terms={**full().terms, "supervised": Term(part=ClassifyLabelledTarget())},
        phases=phases(adapt={"terms": (*full().phases["adapt"].terms, "supervised")}),
    ),
    "The anchors read target labels (oracle): declare them with labelled_target=AllLabels().": lambda: full(
        anchors=Oracle()
    ),
    "Labelled target images are read in adaptation phases alone, and there is none, so labelled_target would be "
    "ignored. Leave it out.": lambda: replace(tiny.experiment(Path("runs")), labelled_target=AllLabels(batch=32)),
    "AllLabels adds a term named 'all_labels', so call yours otherwise.": lambda: full(
        terms={**full().terms, "all_labels": full().terms["mmd"]},
        phases=phases(adapt={"terms": (*full().phases["adapt"].terms, "all_labels")}),
        labelled_target=AllLabels(),
    ),
    "Phase 'adapt': source_batch must be at least 2, or no image has a negative, but is 1.": lambda: full(
        phases=phases(adapt={"source_batch": 1})
    ),
    "labelled_target.batch must be at least 2, or no image has a negative, but is 1.": lambda: full(
        anchors=Oracle(), labelled_target=AllLabels(batch=1)
    ),
    "Phase 'adapt': source_batch must hold n >= 2 images of each of c = 3 classes (Groups.num_classes), but is 32. "
    "Use 33 (n = 11).": lambda: full(phases=phases(adapt={"sampling": Groups(num_classes=3)})),
    "Phase 'adapt': source_batch must hold n >= 2 images of each of c = 4 classes (EpochGroups.num_classes), but is 4. "
    "Use 8 (n = 2).": lambda: full(phases=phases(adapt={"sampling": EpochGroups(num_classes=4), "source_batch": 4})),
    "Groups.num_classes is 8, but there are 4 classes. Use 2 to 4.": lambda: full(
        phases=phases(source={"sampling": Groups()})
    ),
    "Groups.num_classes must be at least 2, or no image has a negative, but is 1.": lambda: Groups(num_classes=1),
    "EpochGroups.num_classes must be at least 2, or no image has a negative, but is 0.": lambda: EpochGroups(
        num_classes=0
    ),
    "Phase 'adapt' draws target batches by matched label, but the experiment has no anchors. Set anchors=Nearest().": (
        lambda: drawn_by_match(tiny.experiment(Path("runs"), "mmd"))
    ),
    "Phase 'adapt' draws target batches by matched labels, which each bank refresh makes anew, but AlbumentationsViews "
    "makes views ahead. Use Augment() for the target.": lambda: drawn_by_match(
        full(augmentation=Augmentation(target=AlbumentationsViews(pipeline=DigitViews())))
    ),
    "The memory of the term 'triplet' is offered after 80 batches, but phase 'adapt' has 80 steps, so it would be "
    "ignored. Shorten Memory.warmup.": lambda: full(
        terms={**full().terms, "triplet": Term(part=Metric(memory=Memory(warmup=80)))}
    ),
    "The experiment has no term 'triplets'. Did you mean 'triplet'? "
    "Known: classify, dann, information, mmd, triplet.": lambda: full().without("triplets"),
    "A phase needs at least one step, but has 0. To leave it out, remove it.": lambda: SourcePhase(
        terms=("classify",), steps=0
    ),
    "A phase needs at least one term to train on.": lambda: SourcePhase(terms=(), steps=1),
    "AdaptationPhase.ema must lie in [0, 1), but is 1.": lambda: AdaptationPhase(terms=("a",), steps=1, ema=1),
    "AdaptationPhase.calibration_steps must not be negative, but is -1.": lambda: AdaptationPhase(
        terms=("a",), steps=1, calibration_steps=-1
    ),
    "AdaptationPhase.trains must name at least one part of the network.": lambda: AdaptationPhase(
        terms=("a",), steps=1, trains=()
    ),
    "The source branch has an optimizer of its own, but does not move: name it in `trains`.": lambda: AdaptationPhase(
        terms=("a",), steps=1, source_optimizer=Optimizer()
    ),
    "Phase 'adapt' gives a branch an optimizer of its own, but Tied has one branch for both domains. Set `optimizer` "
    "alone.": lambda: full(
        model=Model(branches=Tied()),
        phases={**full().phases, "adapt": replace(full().phases["adapt"], target_optimizer=Optimizer(lr=1e-5))},
    ),
    "Optimizer.lr must be positive, but is 0.": lambda: Optimizer(lr=0),
    "Optimizer.branch_lr_factor must be positive, but is -1.": lambda: Optimizer(branch_lr_factor=-1),
    "Optimizer.weight_decay must not be negative, but is -0.1.": lambda: Optimizer(weight_decay=-0.1),
    "Optimizer.epsilon must be positive, but is 0.": lambda: Optimizer(epsilon=0),
    "Banks.source_size must be at least 1, but is 0.": lambda: Banks(source_size=0),
    "Banks.target_size must be at least 1, but is 0.": lambda: Banks(target_size=0),
    "Banks.refresh_every must be at least 1, but is 0.": lambda: Banks(refresh_every=0),
    "Evaluation.every must be at least 1, but is 0.": lambda: Evaluation(every=0),
    "Evaluation.num_images must be at least 1, but is 0.": lambda: Evaluation(num_images=0),
    "Evaluation.gradient_every must be at least 1, but is 0.": lambda: Evaluation(gradient_every=0),
    "Evaluation.retrieval_queries must be at least 1, but is 0.": lambda: Evaluation(retrieval_queries=0),
    "Runtime.threads must be at least 1, but is 0.": lambda: Runtime(threads=0),
    "Runtime.checkpoint_every must be at least 1, but is 0.": lambda: Runtime(checkpoint_every=0),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused_experiments(message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        REFUSED[message]()
    assert str(caught.value) == message


def test_a_pair_of_unlike_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match="must have the same classes"):
        full(data=Pair(source=tiny.Colored(), target=SklearnDigits()))


@pytest.mark.parametrize("term", tiny.ADAPTATION)
def test_leaving_out_a_term_leaves_all_else(term: str) -> None:
    whole, variant = full(), full().without(term)
    assert term not in variant.terms and term not in variant.phases["adapt"].terms
    assert variant.name == f"tiny-without-{term}"
    assert (variant.anchors is None) == (term == "triplet")
    assert variant.terms.keys() | {term} == whole.terms.keys()
    assert variant.phases["source"] == whole.phases["source"]


def test_the_labelled_stream_can_be_declared() -> None:
    terms = {"classify": full().terms["classify"], "supervised": Term(part=ClassifyLabelledTarget())}
    names = {"source": {"terms": ("classify",)}, "adapt": {"terms": ("classify", "supervised")}}
    experiment = full(terms=terms, phases=phases(**names), anchors=None, labelled_target=AllLabels(batch=8))
    assert "labelled_target" in experiment.needs(experiment.terms)
    assert experiment.terms_of(experiment.phases["adapt"]).keys() == {"classify", "supervised"}


def test_all_labels_add_a_term_where_nothing_reads_them() -> None:
    experiment = full(labelled_target=AllLabels())
    source, adapt = experiment.phases.values()
    assert experiment.terms_of(source).keys() == {"classify"}
    assert experiment.terms_of(adapt) == {**full().terms, "all_labels": Term(part=ClassifyLabelledTarget())}
    oracle = full(anchors=Oracle(), labelled_target=AllLabels())
    assert oracle.terms_of(oracle.phases["adapt"]) == full().terms


def test_leaving_out_what_read_labels_leaves_them_unread() -> None:
    oracle = full(anchors=Oracle(), labelled_target=AllLabels())
    assert oracle.without("mmd").labelled_target == AllLabels()
    bare = oracle.without("triplet")
    assert bare.anchors is None and bare.labelled_target is None
    added = full(labelled_target=AllLabels()).without("mmd")
    assert "all_labels" in added.terms_of(added.phases["adapt"])
