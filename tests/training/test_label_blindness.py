"""No target label enters training or selection: permuted, all the same or absent, not one bit of the result changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
import torch

from domainmetric.anchors.base import AnchorStrategy
from domainmetric.anchors.nearest import Nearest
from domainmetric.anchors.oracle import Oracle
from domainmetric.data.domain import Domain, Split
from domainmetric.data.draws import MatchedBalanced
from domainmetric.data.view_bank import AlbumentationsViews
from domainmetric.data.views import Views
from domainmetric.errors import ConfigError
from domainmetric.experiment import AdaptationPhase, AllLabels, Augmentation, BestScore, Experiment, Phase
from domainmetric.metrics.selection import InformationMaximization
from domainmetric.models.cnn import SmallCnn
from domainmetric.models.network import Model, Separate
from domainmetric.recipes import load_file, recipes
from domainmetric.training.tracking import TIMES, read_log
from domainmetric.types import ImageSet
from tests import tiny
from tests.contracts.family import members, named
from tests.training.running import report, same, short, train, weights

Labels = Literal["permuted", "constant", "absent"]
LABELS: tuple[Labels, ...] = get_args(Labels)
STRATEGIES = members(AnchorStrategy)
BLIND = [strategy for strategy in STRATEGIES if not strategy.needs_target_labels]
EXPERIMENTS = Path(__file__).parents[2] / "experiments"
FILES = [file for file in sorted(EXPERIMENTS.glob("*.py")) if "-> Experiment:" in file.read_text()]
RECIPES = [f"{file.stem}:{name}" for file in FILES for name in recipes(load_file(file))]
DECLARED = ("svhn_to_mnist:target_supervised", "svhn_to_mnist:quick_target_supervised", "svhn_anchors:")
"""Recipes that declare target labels: upper bounds, and a published supervised experiment."""
SAMPLE = ["demo:semantic_anchors", "svhn_to_mnist:quick_full", "svhn_to_mnist:quick_albumentations"]


@dataclass(frozen=True, kw_only=True)
class Relabelled(Domain):
    """A domain whose labels, training and test, go to other images, become one class, or (training) are left out."""

    inner: Domain
    labels: Labels

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def channels(self) -> int:
        return self.inner.channels

    @property
    def classes(self) -> tuple[str, ...]:
        return self.inner.classes

    def hashes(self, root: Path, *, size: int) -> dict[str, str]:
        return {**self.inner.hashes(root, size=size), "labels": self.labels}

    def load(self, split: Split, *, root: Path, size: int) -> ImageSet:
        loaded = self.inner.load(split, root=root, size=size)
        assert loaded.labels is not None
        if self.labels == "absent":
            return loaded.unlabelled() if split == "train" else loaded
        moved = loaded.labels[torch.randperm(len(loaded), generator=torch.Generator().manual_seed(1))]
        return replace(loaded, labels=moved if self.labels == "permuted" else torch.full_like(moved, 2))


def relabelled(experiment: Experiment, labels: Labels) -> Experiment:
    data = replace(experiment.data, target=Relabelled(inner=experiment.data.target, labels=labels))
    return replace(experiment, data=data, runs_root=experiment.runs_root / labels)


def label_free(folder: Path) -> list[dict[str, Any]]:
    """All that was logged while the run trained, times and what is called oracle aside; alarms and events included."""
    return list(_label_free(folder))


def _label_free(folder: Path) -> Iterator[dict[str, Any]]:
    for record in read_log(folder):
        if record["kind"] in ("figure", "table", "confusion", "summary"):
            continue
        kept = {name: value for name, value in record.items() if name != "time"}
        if kept["kind"] == "metrics":
            values = kept["values"].items()
            kept["values"] = {n: v for n, v in values if "oracle" not in n and n not in TIMES}
        yield kept


def oracle_curves(folder: Path) -> list[float]:
    metrics = [record["values"] for record in read_log(folder) if record["kind"] == "metrics"]
    return [value for values in metrics for name, value in values.items() if "oracle" in name]


def assert_blind(experiment: Experiment, *labels: Labels) -> None:
    experiment = short(experiment, source=3, adapt=8)
    true = train(experiment)
    for one in labels:
        other = train(relabelled(experiment, one))
        assert same(weights(true), weights(other))
        assert label_free(true) == label_free(other)
        for fact in ("rule", "step", "scores"):
            assert report(true)["selection"][fact] == report(other)["selection"][fact]
        assert oracle_curves(true) != oracle_curves(other), "they must differ, or the other labels did not arrive"


def balanced_by_match(experiment: Experiment) -> Experiment:
    adapt = replace(experiment.phases["adapt"], target_sampling=MatchedBalanced())
    return replace(experiment, phases={**experiment.phases, "adapt": adapt})


def made(name: str, root: Path) -> Experiment:
    return {
        "source only": tiny.experiment(root),
        "alignment": tiny.experiment(root, "dann", "mmd", "information"),
        "taught and weighted": tiny.experiment(root, "consistency", "weighted_dann", "weighted_mmd"),
        "full, best score": replace(tiny.full(root), selection=BestScore(score=InformationMaximization())),
        "target batches by matched label": balanced_by_match(tiny.full(root)),
    }[name]


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("source only", "absent"),
        ("alignment", "constant"),
        ("taught and weighted", "permuted"),
        ("full, best score", "permuted"),
        ("full, best score", "absent"),
        ("target batches by matched label", "permuted"),
    ],
)
def test_target_labels_do_not_matter(name: str, labels: Labels, tmp_path: Path) -> None:
    assert_blind(made(name, tmp_path), labels)


@pytest.mark.parametrize("anchors", BLIND, ids=named)
def test_target_labels_do_not_matter_to_any_strategy(anchors: AnchorStrategy, tmp_path: Path) -> None:
    assert_blind(tiny.experiment(tmp_path, "triplet", anchors=anchors), LABELS[BLIND.index(anchors) % len(LABELS)])


@pytest.mark.slow
@pytest.mark.parametrize("anchors", BLIND, ids=named)
def test_no_labels_at_all_matter_to_any_strategy(anchors: AnchorStrategy, tmp_path: Path) -> None:
    assert_blind(balanced_by_match(tiny.experiment(tmp_path, "triplet", anchors=anchors)), *LABELS)


def small(experiment: Experiment, root: Path) -> Experiment:
    """A recipe of `experiments/` with its own terms, anchors, views and phases, on a few small images."""

    def batches(phase: Phase) -> Phase:
        phase = replace(phase, source_batch=32)
        return replace(phase, target_batch=48, calibration_steps=2) if isinstance(phase, AdaptationPhase) else phase

    def views(views: Views) -> Views:
        return replace(views, num_workers=0, block_steps=2) if isinstance(views, AlbumentationsViews) else views

    backbone, augmentation = SmallCnn(widths=(8, 16, 32)), experiment.augmentation
    plain = tiny.experiment(root)
    return replace(
        plain,
        terms=experiment.terms,
        anchors=experiment.anchors,
        selection=experiment.selection,
        phases={name: batches(phase) for name, phase in experiment.phases.items()},
        augmentation=Augmentation(source=views(augmentation.source), target=views(augmentation.target)),
        model=Model(branches=Separate(source=backbone, target=backbone), scale=experiment.model.scale),
        labelled_target=None if experiment.labelled_target is None else AllLabels(batch=32),
    )


@pytest.mark.parametrize("recipe", [pytest.param(r, marks=() if r in SAMPLE else pytest.mark.slow) for r in RECIPES])
def test_target_labels_do_not_matter_to_any_recipe_that_does_not_declare_them(recipe: str, tmp_path: Path) -> None:
    file, _, name = recipe.partition(":")
    experiment = small(recipes(load_file(EXPERIMENTS / f"{file}.py"))[name](), tmp_path)
    if experiment.labelled_target is None:
        assert_blind(experiment, *(LABELS if recipe not in SAMPLE else LABELS[SAMPLE.index(recipe) :][:1]))
    else:
        assert recipe.startswith(DECLARED), "no other recipe declares target labels"
        assert_labels_matter(experiment)


def oracle(root: Path) -> Experiment:
    blind = tiny.experiment(root, "triplet", anchors=Nearest())
    return replace(blind, anchors=Oracle(), labelled_target=AllLabels(batch=32))


def assert_labels_matter(experiment: Experiment) -> None:
    experiment = short(experiment, source=3, adapt=8)
    assert not same(weights(train(experiment)), weights(train(relabelled(experiment, "permuted"))))


@pytest.mark.parametrize("drawn", [False, True], ids=["shuffled", "target batches by matched label"])
def test_they_matter_to_the_oracle(drawn: bool, tmp_path: Path) -> None:
    assert_labels_matter(balanced_by_match(oracle(tmp_path)) if drawn else oracle(tmp_path))


def test_only_the_oracle_declares_that_it_reads_them() -> None:
    assert [type(strategy) for strategy in STRATEGIES if strategy.needs_target_labels] == [Oracle]


def test_the_oracle_gets_no_labels_that_were_not_declared(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"labelled_target=AllLabels\(\)"):
        replace(oracle(tmp_path), labelled_target=None)
