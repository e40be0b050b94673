"""Street digits: deterministic, varied, in contrast, balanced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from domainmetric.data import synthetic
from domainmetric.data.synthetic import StreetDigits
from domainmetric.errors import ConfigError

ROOT = Path("unused")


def test_same_seed_same_images_whatever_the_number() -> None:
    few = StreetDigits(num_train=260).load("train", root=ROOT, size=32)
    more = StreetDigits(num_train=600).load("train", root=ROOT, size=32)
    assert few.images.shape == (260, 32, 32, 3)
    assert torch.equal(few.images, more.images[:260])
    assert torch.equal(few.labels, more.labels[:260])


def test_seed_split_and_block_change_the_images() -> None:
    train = StreetDigits(num_train=500).load("train", root=ROOT, size=32).images
    test = StreetDigits(num_test=250).load("test", root=ROOT, size=32).images
    other = StreetDigits(num_train=250, seed=1).load("train", root=ROOT, size=32).images
    assert not torch.equal(train[:250], train[250:])
    assert not torch.equal(train[:250], test)
    assert not torch.equal(train[:250], other)


def test_classes_are_balanced() -> None:
    images = StreetDigits(num_train=500).load("train", root=ROOT, size=16)
    assert images.labels.bincount().tolist() == [50] * 10


def test_ink_and_ground_differ_in_brightness() -> None:
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    ground, ink = synthetic._colors(np.random.default_rng(0))
    assert min(ground.min(), ink.min()) >= 0
    assert max(ground.max(), ink.max()) <= 1
    assert ((ground - ink) * luma).sum(1).abs().min() > 0.249


def test_contrast_has_both_signs_in_the_images() -> None:
    images = StreetDigits(num_train=500).load("train", root=ROOT, size=32).images.float() / 255
    grey = images.mean(-1)
    middle, border = grey[:, 8:24, 12:20], torch.cat([grey[:, :3].flatten(1), grey[:, -3:].flatten(1)], 1).mean(1)
    ink = middle.flatten(1) - border[:, None]
    lighter, darker = ink.quantile(0.95, dim=1), -ink.quantile(0.05, dim=1)
    assert 0.35 < (lighter > darker).float().mean() < 0.65
    assert torch.maximum(lighter, darker).median() > 0.2


def test_color_is_used() -> None:
    images = StreetDigits(num_train=250).load("train", root=ROOT, size=32).images.float()
    assert (images.mean((1, 2)).std(1) > 8).float().mean() > 0.5


def test_hash_follows_the_spec() -> None:
    first, again, other = (StreetDigits(seed=seed).hashes(ROOT, size=16) for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize("fields", [{"num_train": 0}, {"num_test": 0}, {"seed": -1}])
def test_nonsense_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="at least"):
        StreetDigits(**fields)
