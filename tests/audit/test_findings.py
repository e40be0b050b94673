"""What ruins a transfer is found, each kind by itself; and nothing where nothing is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from domainmetric.audit.findings import findings, of_target_oracle, ratio, shares_apart
from domainmetric.audit.measure import SetFacts
from domainmetric.audit.views import see
from domainmetric.data.augment import Augment
from domainmetric.experiment import Experiment
from domainmetric.training.batches import RunData
from domainmetric.types import ImageSet
from tests.audit.made_data import data, experiment, facts, mapped


def seen(made: Experiment, sets: RunData) -> dict[str, SetFacts]:
    return {side: see(made, sets, side).facts for side in ("source", "target")}  # type: ignore[arg-type]


def found(tmp_path: Path, **changed: ImageSet) -> list[str]:
    return findings(facts(tmp_path, **changed), seen(experiment(tmp_path), data(tmp_path, **changed)))


def test_nothing_is_found_in_sound_data(tmp_path: Path) -> None:
    assert found(tmp_path) == []


def darker(images: ImageSet) -> ImageSet:
    return mapped(images, images.images // 255)


def duller(images: ImageSet) -> ImageSet:
    return mapped(images, images.images // 4 + 96)


def inverted(images: ImageSet) -> ImageSet:
    return mapped(images, 255 - images.images)


def blank(images: ImageSet) -> ImageSet:
    pixels = images.images.clone()
    pixels[:20] = torch.arange(20, dtype=torch.uint8)[:, None, None, None]
    return mapped(images, pixels)


def repeated(images: ImageSet) -> ImageSet:
    return mapped(images, images.images[torch.arange(len(images)) // 2])


def lacking(images: ImageSet) -> ImageSet:
    assert images.labels is not None
    return images.take((images.labels != 2).nonzero().squeeze(1))


CASES: dict[tuple[str, Callable[[ImageSet], ImageSet]], str] = {
    ("target_train", darker): r"'grey' train: its values span 0..1, but images use 0..255. If they were floats in 0..1",
    ("target_train", duller): r"'grey': training images have mean \d+ and deviation \d+, test images \d+ and \d+.",
    (
        "target_test",
        inverted,
    ): r"'grey': the middle is lighter than the border in \d% of the training images, but in \d\d",
    ("source_test", blank): r"'colored' test: 20 of 200 images are of one value only. Leave them out.",
    ("target_train", repeated): r"'grey' train: 160 of 320 images repeat another one exactly.",
    ("source_test", lacking): r"'colored' test: no image of class ring. Nothing can be learned",
}


@pytest.mark.parametrize("case", CASES, ids=[f"{name}-{change.__name__}" for name, change in CASES])
def test_each_kind_is_found(case: tuple[str, Callable[[ImageSet], ImageSet]], tmp_path: Path) -> None:
    name, change = case
    changed = {name: change(getattr(data(tmp_path), name))}
    assert sum(bool(re.match(CASES[case], text)) for text in found(tmp_path, **changed)) == 1


def test_a_class_that_training_lacks_and_shares_that_differ(tmp_path: Path) -> None:
    sets = data(tmp_path)
    told = found(tmp_path, source_train=lacking(sets.source_train), source_validation=lacking(sets.source_validation))
    assert told[0].startswith("'colored' train: no image of class ring.")
    assert told[1].startswith("'colored': the class shares of training and test differ by 25% (total variation).")


def test_test_images_that_are_trained_on(tmp_path: Path) -> None:
    sets = data(tmp_path)
    pixels = torch.cat([sets.target_test.images[:-3], sets.target_train.images[:3]])
    (told,) = found(tmp_path, target_test=mapped(sets.target_test, pixels))
    assert told.startswith("'grey': 3 of 200 test images are in the training split, too")


def test_images_that_both_domains_have_even_in_another_number_of_channels(tmp_path: Path) -> None:
    sets = data(tmp_path)
    pixels = sets.source_validation.images.clone()
    pixels[:5] = sets.target_train.images[:5]
    (told,) = found(tmp_path, source_validation=mapped(sets.source_validation, pixels))
    assert told.startswith("'colored' and 'grey' have 5 images in common.")


def test_another_polarity_is_found_unless_the_views_show_both(tmp_path: Path) -> None:
    sets, made = data(tmp_path), experiment(tmp_path)
    figures = facts(tmp_path)
    light = replace(sets, source_train=mapped(sets.source_train, sets.target_train.images[:288].expand(-1, -1, -1, 3)))
    dark = replace(light, target_train=inverted(sets.target_train))
    for flip, number in ((0.0, 1), (0.5, 0)):
        augmentation = replace(made.augmentation, source=Augment(invert=flip))
        told = findings(figures, seen(replace(made, augmentation=augmentation), dark))
        assert [text for text in told if "another polarity. Show the source both ways" in text] == told
        assert len(told) == number


def test_views_of_another_normalization(tmp_path: Path) -> None:
    sets = data(tmp_path)
    flat = mapped(sets.target_train, sets.target_train.images // 8 + 100)
    views = seen(experiment(tmp_path), replace(sets, target_train=flat))
    (told,) = findings(facts(tmp_path), views)
    assert "another normalization. Bring both to the range 0..255." in told


def test_what_the_labels_of_the_target_tell_is_oracle(tmp_path: Path) -> None:
    figures = facts(tmp_path)
    assert of_target_oracle(figures, {"train": (80, 80, 80, 80), "test": (50, 50, 50, 50)}) == []
    one, two = of_target_oracle(figures, {"train": (160, 160, 0, 0), "test": (50, 50, 50, 50)})
    assert one == "'grey' train (oracle): no image of class ring, slash."
    assert two.startswith("The class shares of 'colored' and 'grey' differ by 50% (oracle, total variation).")


def test_distances_and_ratios() -> None:
    assert shares_apart((1, 1), (5, 5)) == 0
    assert shares_apart((1, 0), (0, 7)) == 1
    assert shares_apart((3, 1), (1, 1)) == 0.25
    assert [ratio(2, 1), ratio(1, 2), ratio(0, 0), ratio(0, 3)] == [2, 2, 1, float("inf")]
