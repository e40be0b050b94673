"""A pair of domains: its name, classes matched by their names, and the refusal of those that differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from domainmetric.data.digits import Mnist, Svhn, Usps
from domainmetric.data.domain import Domain, Split
from domainmetric.data.pair import Pair
from domainmetric.errors import ConfigError
from domainmetric.types import ImageSet


@dataclass(frozen=True, kw_only=True)
class Named(Domain):
    labels: tuple[str, ...] | None

    @property
    def name(self) -> str:
        return "named"

    @property
    def channels(self) -> int:
        return 1

    @property
    def classes(self) -> tuple[str, ...] | None:
        return self.labels

    def load(self, split: Split, *, root: Path, size: int) -> ImageSet:
        raise NotImplementedError

    def hashes(self, root: Path, *, size: int) -> dict[str, str]:
        return {}


@pytest.mark.parametrize(
    ("pair", "name"),
    [
        (Pair(source=Svhn(), target=Mnist()), "svhn_to_mnist"),
        (Pair(source=Svhn(), target=Usps()), "svhn_to_usps"),
    ],
)
def test_digit_domains_pair_with_each_other(pair: Pair, name: str) -> None:
    pair.check()
    assert pair.name == name
    assert pair.classes == tuple("0123456789")


def test_classes_that_differ_are_named() -> None:
    pair = Pair(source=Named(labels=("cat", "dog")), target=Named(labels=("dog", "owl")))
    with pytest.raises(ConfigError, match="only in the source: cat; only in the target: owl"):
        pair.check()
    Pair(source=pair.source, target=pair.target, unshared="keep").check()
    with pytest.raises(ConfigError, match="only in the source: cat, dog; only in the target: owl"):
        Pair(source=pair.source, target=Named(labels=("owl",)), unshared="keep").check()


def images(classes: tuple[str, ...], labels: list[int] | None) -> ImageSet:
    pixels = torch.arange(4, dtype=torch.uint8)[:, None, None, None].expand(4, 2, 2, 1)
    return ImageSet(images=pixels, labels=None if labels is None else torch.tensor(labels), classes=classes)


def test_classes_are_matched_by_name_and_others_stand_behind() -> None:
    pair = Pair(source=Named(labels=("cat", "dog")), target=Named(labels=("dog", "cat")))
    pair.check()
    assert pair.classes == ("cat", "dog")
    found = pair.aligned(images(("dog", "cat"), [0, 1, 1, 0]))
    assert found.classes == ("cat", "dog") and found.labels is not None and found.labels.tolist() == [1, 0, 0, 1]
    more = pair.aligned(images(("ape", "dog", "owl"), [0, 1, 2, 1]))
    assert more.classes == ("cat", "dog", "ape", "owl") and more.labels is not None
    assert more.labels.tolist() == [2, 1, 3, 1]


def test_a_target_may_be_without_labels_and_a_source_may_not() -> None:
    pair = Pair(source=Named(labels=("cat", "dog")), target=Named(labels=None))
    pair.check()
    found = pair.aligned(images((), None))
    assert found.labels is None and found.classes == ("cat", "dog")
    with pytest.raises(ConfigError, match="The source of a pair needs labels, but 'named' has none"):
        Pair(source=Named(labels=None), target=Named(labels=("cat", "dog"))).check()
