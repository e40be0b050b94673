"""Targets as users have them: without labels, with classes in another order or of their own, with a few labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from domainmetric import usage
from domainmetric.ablation.plan import Ablation
from domainmetric.anchors.oracle import Oracle
from domainmetric.data.domain import Split
from domainmetric.data.pair import Pair
from domainmetric.errors import ConfigError, DataError
from domainmetric.experiment import AllLabels, FewLabels
from domainmetric.runner import resume, run
from domainmetric.training.batches import load
from domainmetric.training.checkpoint import read_json
from domainmetric.training.tracking import history
from domainmetric.types import ImageSet
from tests import tiny
from tests.training.running import NAMES, report, same, short, train, weights


@dataclass(frozen=True, kw_only=True)
class Turned(tiny.Grey):
    """The target with its classes in another order, under other names where told."""

    names: tuple[str, ...] = tuple(reversed(tiny.CLASSES))

    @property
    def classes(self) -> tuple[str, ...]:
        return self.names

    def load(self, split: Split, *, root: Path, size: int) -> ImageSet:
        images = tiny.Grey().load(split, root=root, size=size)
        assert images.labels is not None
        return ImageSet(images=images.images, labels=3 - images.labels, classes=self.names)


def on(target: tiny.Strokes, root: Path, unshared: str = "refuse", **changes: Any) -> Any:
    data = Pair(source=tiny.Colored(), target=target, unshared=unshared)  # type: ignore[arg-type]
    return replace(short(tiny.full(root)), data=data, **changes)


def test_a_target_without_labels_from_training_to_the_report(tmp_path: Path) -> None:
    folder = run(on(tiny.Unlabelled(), tmp_path))
    told = read_json(folder / "report.json")
    assert not [name for name in told if name.startswith("target_")] and "confusion" not in told
    assert set(told["retrieval"]) == {"within_source"} and "gap_oracle" not in told["selection"]
    assert told["selection"]["scores"] and "anchors/precision_oracle" not in told["anchors"]
    assert not [name for name in history(folder) if "oracle" in name]
    with np.load(folder / "embeddings.npz") as kept:
        target = kept["domain"] == 1
        assert (kept["label"][target] == -1).all() and (kept["label"][~target] >= 0).all()
    assert not (folder / "figures" / "confusion_matrix.png").exists()
    assert (folder / "figures" / "embedding_map.png").stat().st_size > 10_000
    assert "unknown: its test images have no labels" in usage.summary(told)
    assert resume(folder, NAMES) == folder


def test_it_is_trained_as_one_whose_labels_are_not_read(tmp_path: Path) -> None:
    without, reference = train(on(tiny.Unlabelled(), tmp_path / "a")), train(on(tiny.Grey(), tmp_path / "b"))
    assert same(weights(without), weights(reference))


def test_an_ablation_says_that_it_has_nothing_to_compare_by(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"compares accuracies .* but 'grey' has no labels"):
        Ablation(name="a", folder=tmp_path, variants={"one": on(tiny.Unlabelled(), tmp_path)}, seeds=(0,))


def test_classes_in_another_order_are_matched_by_name(tmp_path: Path) -> None:
    turned, reference = train(on(Turned(), tmp_path / "a")), train(on(tiny.Grey(), tmp_path / "b"))
    assert same(weights(turned), weights(reference)) and report(turned) == report(reference)


def test_images_of_a_class_that_the_source_lacks_are_left_out_of_accuracies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("domainmetric.runner.draw", lambda *_: None)
    names = ("bar", "cross", "ring", "star")
    experiment = on(Turned(names=(*reversed(names),)), tmp_path, "keep")
    data = load(experiment, Path(), torch.device("cpu"))
    assert data.target_test.classes == (*tiny.CLASSES, "star") and len(data.target_train) == 320
    folder = run(experiment)
    confusion = np.array(read_json(folder / "report.json")["confusion"])
    assert confusion.shape == (4, 4) and confusion.sum(1).tolist() == [50, 50, 50, 0]
    with np.load(folder / "embeddings.npz") as kept:
        assert (kept["label"][kept["domain"] == 1] == -1).sum() == 50


def few(root: Path, **settings: Any) -> Any:
    return replace(short(tiny.full(root)), labelled_target=FewLabels(**settings))


def test_a_few_labels_add_a_term_to_the_same_recipe(tmp_path: Path) -> None:
    folder = train(few(tmp_path / "a", per_class=3))
    steps, values = history(folder)["loss/few_labels"]
    assert len(steps) == len(values) > 0 and steps[0] > 12  # in the adaptation alone
    assert not same(weights(folder), weights(train(short(tiny.full(tmp_path / "b")))))


def test_no_other_label_of_the_target_is_read(tmp_path: Path) -> None:
    """With the labels of all other images changed, the run is the same bit for bit."""
    drawn = FewLabels(per_class=3)
    labels = tiny.draw("grey", "train", 320)[1]
    rows = drawn.rows(labels, 4)
    changed = torch.randint(4, labels.shape, generator=torch.Generator().manual_seed(5))
    changed[rows] = labels[rows]

    class Fixed(FewLabels):
        def rows(self, labels: torch.Tensor, num_classes: int) -> torch.Tensor:
            return rows

    folders = []
    for name, one in (("a", labels), ("b", changed)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FewLabels, "rows", Fixed.rows)
            target = Relabelled(labels=tuple(one.tolist()))
            folders.append(train(replace(few(tmp_path / name, per_class=3), data=replace(tiny.pair(), target=target))))
    assert same(*map(weights, folders))


@dataclass(frozen=True, kw_only=True)
class Relabelled(tiny.Grey):
    """The target with other training labels."""

    labels: tuple[int, ...]

    def load(self, split: Split, *, root: Path, size: int) -> ImageSet:
        images = tiny.Grey().load(split, root=root, size=size)
        return images if split == "test" else replace(images, labels=torch.tensor(self.labels))


def test_the_drawn_labels_are_as_many_of_each_class_and_the_same_for_every_run() -> None:
    labels = torch.randint(5, (500,), generator=torch.Generator().manual_seed(0))  # class 4: not of the source
    rows = FewLabels(per_class=7).rows(labels, 4)
    assert labels[rows].bincount().tolist() == [7] * 4 and torch.equal(rows, rows.sort().values)
    assert torch.equal(rows, FewLabels(per_class=7).rows(labels, 4))
    assert not torch.equal(rows, FewLabels(per_class=7, seed=1).rows(labels, 4))
    assert torch.equal(AllLabels().rows(labels, 4), (labels < 4).nonzero()[:, 0])
    with pytest.raises(DataError, match="asks for 200 labelled target images of each class, but class index"):
        FewLabels(per_class=200).rows(labels, 4)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"anchors": Oracle()}, "declare them with labelled_target=AllLabels"),
        ({"data": Pair(source=tiny.Colored(), target=tiny.Unlabelled())}, "asks for labels, but 'grey' has none"),
    ],
)
def test_a_few_labels_are_refused_where_they_cannot_serve(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        replace(few(tmp_path), **change)
    with pytest.raises(ConfigError, match="per_class >= 1"):
        FewLabels(per_class=0)
    with pytest.raises(ConfigError, match="Nothing reads labelled target images"):
        replace(tiny.experiment(tmp_path), labelled_target=FewLabels())
