"""Targets as users have them: without labels, with classes in another order or of their own, with a few labels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from domainmetric import usage
from domainmetric.ablation.plan import Ablation
from domainmetric.anchors.oracle import Oracle
from domainmetric.audit.inspection import inspect
from domainmetric.data.domain import Split
from domainmetric.data.pair import Pair
from domainmetric.errors import ConfigError, DataError
from domainmetric.experiment import AllLabels, FewLabels, LabelledTarget
from domainmetric.runner import resume, run
from domainmetric.terms import ClassifyLabelledTarget, Term
from domainmetric.training.batches import load
from domainmetric.training.checkpoint import read_json
from domainmetric.training.evaluation import Look, judge
from domainmetric.training.phases import build_matcher, new_network
from domainmetric.training.tracking import history
from domainmetric.types import ImageSet, Matches
from tests import tiny
from tests.training.running import NAMES, report, same, short, train, weights, wired


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


def test_images_of_a_class_that_the_source_lacks_are_left_out_of_oracle_curves(tmp_path: Path) -> None:
    experiment = on(Turned(names=("slash", "ring", "cross", "star")), tmp_path, "keep")
    data = load(experiment, Path(), torch.device("cpu"))
    look, labels = Look.choose(experiment, data), data.target_train_labels_oracle
    assert labels is not None and look.target_labels_oracle is not None and 4 in look.target_labels_oracle
    network = new_network(experiment, torch.device("cpu"))
    evidence = look.evidence(network)
    right, seen = evidence.target_logits.argmax(1) == look.target_labels_oracle, look.target_labels_oracle < 4
    assert look.scores(evidence)["eval/target/accuracy_oracle"] == pytest.approx(float(right[seen].double().mean()))
    perfect = Matches(
        source_index=torch.zeros(len(labels), 1, dtype=torch.int64),
        label=labels.clamp(max=3),
        confidence=torch.ones(len(labels)),
        keep=torch.ones(len(labels), dtype=torch.bool),
    )
    judged = judge(perfect, build_matcher(experiment, data), data.source_train, labels)
    assert judged["anchors/precision_oracle"] == 1


def test_where_no_image_is_of_a_class_of_the_source_there_is_no_oracle_curve(tmp_path: Path) -> None:
    """As in a target of which only test images were labelled."""
    target = LabelledTests(names=(*reversed(tiny.CLASSES), "unlabelled"))
    told = read_json(run(on(target, tmp_path, "keep")) / "report.json")
    assert 0 <= told["target_accuracy"] <= 1 and "gap_oracle" not in told["selection"]
    assert "anchors/precision_oracle" not in told["anchors"]
    text = inspect(on(target, tmp_path, "keep"), tmp_path / "views.png").text
    assert "0 (0.0%)" in text and "no image of class bar, cross, ring, slash" in text
    assert "total variation" not in text


@dataclass(frozen=True, kw_only=True)
class LabelledTests(Turned):
    """The target with labels of its test images alone: all that it is trained on is of a class of its own."""

    def load(self, split: Split, *, root: Path, size: int) -> ImageSet:
        images = super().load(split, root=root, size=size)
        assert images.labels is not None
        return images if split == "test" else replace(images, labels=torch.full_like(images.labels, 4))


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
    rows = drawn.rows(labels, tiny.CLASSES)
    changed = torch.randint(4, labels.shape, generator=torch.Generator().manual_seed(5))
    changed[rows] = labels[rows]

    class Fixed(FewLabels):
        def rows(self, labels: torch.Tensor, classes: Sequence[str]) -> torch.Tensor:
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
    rows = FewLabels(per_class=7).rows(labels, tiny.CLASSES)
    assert labels[rows].bincount().tolist() == [7] * 4 and torch.equal(rows, rows.sort().values)
    assert torch.equal(rows, FewLabels(per_class=7).rows(labels, tiny.CLASSES))
    assert not torch.equal(rows, FewLabels(per_class=7, seed=1).rows(labels, tiny.CLASSES))
    assert torch.equal(AllLabels().rows(labels, tiny.CLASSES), (labels < 4).nonzero()[:, 0])


def test_classes_with_fewer_labels_than_asked_for_are_named() -> None:
    labels = torch.tensor([0] * 9 + [1] * 3 + [3] * 2 + [4] * 9)  # none of class 2; class 4: not of the source
    assert FewLabels(per_class=2).rows(labels, tiny.CLASSES).tolist()[-2:] == [12, 13]
    with pytest.raises(DataError, match=r"of each class, but '\w+' has 3, '\w+' has 2\. Ask for 2 at most") as told:
        FewLabels(per_class=5).rows(labels, tiny.CLASSES)
    assert f"'{tiny.CLASSES[1]}' has 3, '{tiny.CLASSES[3]}' has 2" in str(told.value)
    for stream in (FewLabels(), AllLabels()):
        with pytest.raises(DataError, match="no training image of the target is of a class that is learned"):
            stream.rows(torch.full((9,), 4), tiny.CLASSES)


@pytest.mark.parametrize("stream", [FewLabels(per_class=3), AllLabels(batch=16)], ids=["few", "all"])
def test_a_class_that_the_target_lacks_has_no_labels(stream: LabelledTarget, tmp_path: Path) -> None:
    target = Turned(names=("star", "ring", "cross", "slash"))
    experiment = on(target, tmp_path, "keep", labelled_target=stream)
    _, batches = wired(experiment, "adapt")
    with closing(batches):
        drawn = torch.cat([batches.labelled_target(step).labels for step in range(6)])
    absent = tiny.CLASSES.index("bar")
    assert sorted(drawn.unique().tolist()) == [label for label in range(4) if label != absent]
    folder = train(experiment)
    assert history(folder)[f"loss/{next(iter(experiment.labelled_term()))}"][1]


def test_all_labels_by_the_field_train_as_by_a_term(tmp_path: Path) -> None:
    base = short(tiny.full(tmp_path / "base"))
    adapt = replace(base.phases["adapt"], terms=(*base.phases["adapt"].terms, "labelled"))
    spelled = replace(
        base,
        terms={**base.terms, "labelled": Term(part=ClassifyLabelledTarget())},
        phases={**base.phases, "adapt": adapt},
        labelled_target=AllLabels(batch=16),
        runs_root=tmp_path / "spelled",
    )
    field = replace(base, labelled_target=AllLabels(batch=16), runs_root=tmp_path / "field")
    by_field, by_term, without = train(field), train(spelled), train(base)
    assert same(weights(by_field), weights(by_term)) and report(by_field) == report(by_term)
    assert history(by_field)["loss/all_labels"] == history(by_term)["loss/labelled"]
    assert not same(weights(by_field), weights(without))


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
    with pytest.raises(ConfigError, match="read in adaptation phases alone"):
        replace(tiny.experiment(tmp_path), labelled_target=FewLabels())
