"""On the tiny pair the method learns: better than source only and than random anchors, and not from a cold start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from domainmetric.anchors.random import RandomAnchors
from domainmetric.experiment import Experiment
from domainmetric.models.cnn import SmallCnn
from domainmetric.models.network import Separate
from tests import tiny
from tests.training.running import report, train

SEEDS = (0, 1)


def few_looks(experiment: Experiment) -> Experiment:
    return replace(experiment, evaluation=replace(experiment.evaluation, every=1000, num_images=50))


def accuracies(make: Callable[[int], Experiment]) -> list[float]:
    return [report(train(few_looks(make(seed))))["target_accuracy"] for seed in SEEDS]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("learning")  # one root, so that the variants share their source phases


@pytest.fixture(scope="module")
def source_only(root: Path) -> list[float]:
    return accuracies(lambda seed: tiny.experiment(root, seed=seed))


@pytest.fixture(scope="module")
def semantic(root: Path) -> list[float]:
    return accuracies(lambda seed: tiny.experiment(root, "triplet", seed=seed))


def test_semantic_anchors_beat_source_only_by_five_points(source_only: list[float], semantic: list[float]) -> None:
    assert 0.4 < fmean(source_only) < 0.9, "there must be something to learn, and something to start from"
    assert fmean(semantic) > fmean(source_only) + 0.05


def test_semantic_anchors_beat_random_ones_by_twenty_points(root: Path, semantic: list[float]) -> None:
    random = accuracies(lambda seed: tiny.experiment(root, "triplet", anchors=RandomAnchors(), seed=seed))
    assert fmean(semantic) > fmean(random) + 0.2


def test_the_whole_method_beats_source_only_by_ten_points(root: Path, source_only: list[float]) -> None:
    assert fmean(accuracies(lambda seed: tiny.full(root, seed=seed))) > fmean(source_only) + 0.1


def test_two_branches_never_agree_on_the_classes_from_a_cold_start(root: Path, semantic: list[float]) -> None:
    backbone = SmallCnn(widths=(8, 16, 32))

    def cold(seed: int) -> Experiment:
        warm = tiny.experiment(root, "triplet", "dann", "mmd", seed=seed)
        branches = Separate(source=backbone, target=backbone, start="cold")
        return replace(warm, model=replace(warm.model, branches=branches))

    assert fmean(accuracies(cold)) < fmean(semantic) - 0.25
