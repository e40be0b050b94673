"""The alignment ablations: arms differ in their terms alone, and share the source phase."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from domainmetric.data.imbalanced import Imbalanced
from domainmetric.experiment import AdaptationPhase, Experiment
from experiments import ablate_alignment as ablation

FUNCTIONS = (ablation.alignment, ablation.unbalanced)


def adapt(experiment: Experiment) -> AdaptationPhase:
    phase = experiment.phases["adapt"]
    assert isinstance(phase, AdaptationPhase)
    return phase


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_arms_differ_from_the_baseline_in_their_terms_alone(function: Callable[[], dict[str, Experiment]]) -> None:
    arms = function()
    baseline = arms["none"]
    assert next(iter(arms)) == "none" and set(baseline.terms) == {"classify"}
    assert len({tuple(sorted(arm.terms.items(), key=str)) for arm in arms.values()}) == len(arms)
    for name, arm in arms.items():
        assert arm.name == name
        assert arm.phases["source"] == baseline.phases["source"]
        changed: dict[str, Any] = {"name": name, "terms": arm.terms, "anchors": arm.anchors}
        phases = {**baseline.phases, "adapt": replace(adapt(baseline), terms=adapt(arm).terms)}
        assert replace(baseline, **changed, phases=phases) == arm
        assert ("triplet" in arm.terms) == name.endswith("anchors") == (arm.anchors is not None)


def test_each_alignment_comes_without_and_with_anchors() -> None:
    arms = ablation.alignment()
    for name in ablation.ARMS:
        anchored = arms["anchors" if name == "none" else f"{name}+anchors"]
        assert set(anchored.terms) - set(arms[name].terms) == {"triplet"}


def test_the_unbalanced_arms_differ_in_the_target_alone() -> None:
    balanced = ablation.alignment()
    unbalanced = ablation.unbalanced()
    for name, arm in unbalanced.items():
        assert isinstance(arm.data.target, Imbalanced) and arm.data.target.ratio == 10
        plain = name.removesuffix("_weighted")
        if plain == name:
            assert replace(arm, data=balanced[name].data) == balanced[name]
        else:
            parts = {
                term: replace(one.part, class_weighted=False) for term, one in arm.terms.items() if term != "classify"
            }
            assert {k: unbalanced[plain].terms[k].part for k in parts} == parts
            assert all(arm.terms[k].part.class_weighted for k in parts)
    assert set(unbalanced) - set(balanced) == set(ablation.WEIGHTED)
