"""A pair of domains: its name, and the refusal of classes that differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from domainmetric.data.digits import Mnist, Svhn, Usps
from domainmetric.data.domain import Domain, Split
from domainmetric.data.pair import Pair
from domainmetric.errors import ConfigError
from domainmetric.types import ImageSet


@dataclass(frozen=True, kw_only=True)
class Named(Domain):
    labels: tuple[str, ...]

    @property
    def name(self) -> str:
        return "named"

    @property
    def channels(self) -> int:
        return 1

    @property
    def classes(self) -> tuple[str, ...]:
        return self.labels

    def load(self, split: Split, *, root: Path, size: int) -> ImageSet:
        raise NotImplementedError

    def hashes(self, root: Path) -> dict[str, str]:
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
    with pytest.raises(ConfigError, match="owl"):
        _ = pair.classes


def test_another_order_is_refused() -> None:
    with pytest.raises(ConfigError, match="another order"):
        Pair(source=Named(labels=("cat", "dog")), target=Named(labels=("dog", "cat"))).check()
