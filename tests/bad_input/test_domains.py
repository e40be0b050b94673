"""Domains of a user's own making with one mistake each: `run` refuses them in words, before anything is trained."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from domainmetric import runner
from domainmetric.data.draws import Balanced, EpochGroups, Groups
from domainmetric.data.pair import Pair
from domainmetric.errors import ConfigError, DataError, DomainMetricError
from domainmetric.experiment import AdaptationPhase, Experiment, SourcePhase
from tests import tiny
from tests.bad_input.odd_domain import Odd
from tests.training.running import bare, never

TRAIN, TEST = "The train split of 'odd'", "The test split of 'odd'"

SOURCE: dict[str, tuple[str, ...]] = {
    "floats": (
        TRAIN,
        "Images must be uint8 (0..255), but came as float32 between 0 and 1. Scale finite values to 0..255",
    ),
    "NaN": (TRAIN, "must be uint8", "float32 between nan and nan. Scale finite values"),
    "infinity": (TRAIN, "must be uint8", "and inf. Scale finite values"),
    "numpy": (TRAIN, "must be a torch.Tensor, but came as ndarray. Use torch.from_numpy"),
    "a tuple": (TRAIN, "must be an ImageSet, but Odd.load returned a tuple"),
    "nothing": (TRAIN, "must be an ImageSet, but Odd.load returned a NoneType"),
    "channels first": (TRAIN, "must have the shape (n, height, width, 1 or 3), but came as (40, 3, 16, 16)"),
    "four channels": (TRAIN, "must have the shape (n, height, width, 1 or 3), but came as (40, 16, 16, 4)"),
    "grey": (TRAIN, "height, width and channels (16, 16, 3), but they are (16, 16, 1)"),
    "another size": (TRAIN, "(16, 16, 3), but they are (12, 16, 3). Have `load` frame them"),
    "no images": (TRAIN, "must not be empty"),
    "no images in test": (TEST, "must not be empty"),
    "float labels": (TRAIN, "Labels must be int64, but came as float32. Give class indices"),
    "list of labels": (TRAIN, "Labels must be a torch.Tensor, but came as list"),
    "negative labels": (TRAIN, "Labels must lie in 0..3 (4 classes), but span -1..2"),
    "labels outside": (TRAIN, "Labels must lie in 0..3 (4 classes), but span 1..4"),
    "labels in part": (TRAIN, "Expected 40 labels, one for each image, but their shape is (39,)"),
    "no labels": (TRAIN, "needs labels, but has none. Only the target may be without"),
    "no labels in test": (TEST, "needs labels, but has none"),
    "a class without images": ("source set has no image of class index 3", "Add images, hold out fewer, or leave"),
    "classes in another order": (TRAIN, "names the classes ('slash', 'ring', 'cross', 'bar'), but its domain names"),
    "a failure": (
        TRAIN,
        "could not be loaded: Odd.load failed with KeyError: 'labels.csv'. Fix it; --debug shows where",
    ),
    "one image of a class": ("has 4 images, of which source_validation=0.1 holds out 0", "Add images, or choose"),
    "two images": ("has 2 images, of which source_validation=0.1 holds out 0", "Add images, or choose"),
    "few images": ("Batch size 32 is above the 11 images of the source/source set. Use a smaller one",),
    "one class": ("at least two classes, or nothing has a negative, but 'odd' has 1: bar.",),
    "other classes": (
        "must have the same classes",
        "only in the source: dot; only in the target: slash",
        "WithClasses(domain=..., names={...})",
    ),
}
TARGET: dict[str, tuple[str, ...]] = {
    "NaN": (TRAIN, "float32 between nan and nan"),
    "grey": (TRAIN, "(16, 16, 3), but they are (16, 16, 1)"),
    "labels outside": (TRAIN, "span 1..4"),
    "few images": ("Batch size 48 is above the 12 images of the adapt/target set. Use a smaller one",),
    "other classes": ("must have the same classes", "only in the source: slash; only in the target: dot"),
}


def refused(build: Callable[[], Experiment], *words: str) -> None:
    """That the experiment is refused when it is built or run, in these words."""
    with pytest.raises(DomainMetricError) as told, bare(never):
        runner.run(build())
    assert isinstance(told.value, ConfigError | DataError)
    for word in words:
        assert word in str(told.value)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("mistake", SOURCE)
def test_an_odd_source_is_refused(mistake: str, tmp_path: Path) -> None:
    made = tiny.experiment(tmp_path, source_steps=2)
    refused(lambda: replace(made, data=Pair(source=Odd(mistake=mistake), target=tiny.Grey())), *SOURCE[mistake])


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("mistake", TARGET)
def test_an_odd_target_is_refused(mistake: str, tmp_path: Path) -> None:
    made = tiny.full(tmp_path, source_steps=8, adapt_steps=2)
    refused(lambda: replace(made, data=Pair(source=tiny.Colored(), target=Odd(mistake=mistake))), *TARGET[mistake])


def test_classes_that_cannot_be_told_apart(tmp_path: Path) -> None:
    made = tiny.experiment(tmp_path, source_steps=2)
    for mistake, words in (
        ("one class", "at least two classes, or nothing has a negative, but 'odd' has 1: bar."),
        ("a class named twice", "must have different names, but these come twice: bar."),
    ):
        both = Pair(source=Odd(mistake=mistake), target=Odd(mistake=mistake))
        refused(lambda both=both: replace(made, data=both), words)


def test_a_target_without_training_labels_is_trained_on_all_the_same(tmp_path: Path) -> None:
    made = tiny.full(tmp_path, source_steps=4, adapt_steps=2)
    made = replace(
        made,
        data=Pair(source=tiny.Colored(), target=Unlabelled()),
        phases={
            name: replace(phase, target_batch=16) if isinstance(phase, AdaptationPhase) else phase
            for name, phase in made.phases.items()
        },
    )
    with bare(never):
        assert (runner.run(made) / "report.json").is_file()


class Unlabelled(Odd):
    """Its training images have no labels."""

    def load(self, split: str, *, root: Path, size: int) -> object:
        images = super().load(split, root=root, size=size)  # type: ignore[arg-type]
        return images.unlabelled() if split == "train" else images


SAMPLING = {
    "groups larger than a class": (Groups(num_classes=2), 40, "fewer images than the n = 20 of a group"),
    "more classes than there are": (Groups(num_classes=5), 40, "Groups.num_classes is 5, but there are 4 classes"),
    "no whole groups": (Groups(num_classes=4), 10, "Use 8 (n = 2)"),
    "epochs with too few groups": (EpochGroups(num_classes=4), 80, "too few for a batch of 4"),
    "a batch without a negative": (Balanced(), 1, "must be at least 2, or no image has a negative, but is 1."),
}


@pytest.mark.parametrize("case", SAMPLING)
def test_batches_that_cannot_be_drawn_are_refused(case: str, tmp_path: Path) -> None:
    sampling, batch, words = SAMPLING[case]
    made = tiny.experiment(tmp_path, source_steps=2)
    phase = SourcePhase(terms=("classify",), steps=2, source_batch=batch, sampling=sampling)
    odd = Pair(source=Odd(), target=Odd(name_="other"))
    with warnings.catch_warnings():
        refused(lambda: replace(made, data=odd, phases={"source": phase}), words)
