"""No target label enters training or selection: with noise in their place, not one bit of the result changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from domainmetric.anchors.base import AnchorStrategy
from domainmetric.anchors.nearest import Nearest
from domainmetric.anchors.oracle import Oracle
from domainmetric.data.draws import MatchedBalanced
from domainmetric.errors import ConfigError
from domainmetric.experiment import AllLabels, BestScore, Experiment
from domainmetric.metrics.selection import InformationMaximization
from tests import tiny
from tests.contracts.family import members
from tests.training.running import report, same, short, told, train, weights

BLIND = [strategy for strategy in members(AnchorStrategy) if not isinstance(strategy, Oracle)]


def recipes(root: Path) -> dict[str, Experiment]:
    return {
        "source only": tiny.experiment(root),
        "alignment": tiny.experiment(root, "dann", "mmd", "information"),
        "full, best score": replace(tiny.full(root), selection=BestScore(score=InformationMaximization())),
        "target batches by matched label": balanced_by_match(tiny.full(root)),
    }


def balanced_by_match(experiment: Experiment) -> Experiment:
    adapt = replace(experiment.phases["adapt"], target_sampling=MatchedBalanced())
    return replace(experiment, phases={**experiment.phases, "adapt": adapt})


def with_and_without_labels(experiment: Experiment) -> tuple[Path, Path]:
    experiment = short(experiment, source=3, adapt=8)
    return train(experiment), train(tiny.with_noise(experiment, 1))


def label_free(folder: Path) -> list[tuple[int, dict[str, float]]]:
    return [(step, {n: v for n, v in values.items() if "oracle" not in n}) for step, values in told(folder)]


def assert_blind(experiment: Experiment) -> None:
    true, noise = with_and_without_labels(experiment)
    assert same(weights(true), weights(noise))
    assert label_free(true) == label_free(noise)
    for fact in ("rule", "step", "scores"):
        assert report(true)["selection"][fact] == report(noise)["selection"][fact]
    assert told(true) != told(noise), "the oracle curves must differ, or the noise did not arrive"


@pytest.mark.parametrize("name", ["source only", "alignment", "full, best score", "target batches by matched label"])
def test_target_labels_do_not_matter(name: str, tmp_path: Path) -> None:
    assert_blind(recipes(tmp_path)[name])


@pytest.mark.parametrize("anchors", BLIND, ids=lambda strategy: type(strategy).__name__)
def test_target_labels_do_not_matter_to_any_strategy(anchors: AnchorStrategy, tmp_path: Path) -> None:
    assert_blind(tiny.experiment(tmp_path, "triplet", anchors=anchors))


def oracle(root: Path) -> Experiment:
    blind = tiny.experiment(root, "triplet", anchors=Nearest())
    return replace(blind, anchors=Oracle(), labelled_target=AllLabels(batch=32))


@pytest.mark.parametrize("drawn", [False, True], ids=["shuffled", "target batches by matched label"])
def test_they_matter_to_the_oracle(drawn: bool, tmp_path: Path) -> None:
    experiment = oracle(tmp_path)
    true, noise = with_and_without_labels(balanced_by_match(experiment) if drawn else experiment)
    assert not same(weights(true), weights(noise))


def test_the_oracle_gets_no_labels_that_were_not_declared(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"labelled_target=AllLabels\(\)"):
        replace(oracle(tmp_path), labelled_target=None)
