"""A thinned domain: its shares, what it leaves alone, and that nothing but the data tells them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from domainmetric.data.digits import Mnist
from domainmetric.data.domain import Domain, Split, spec_hash
from domainmetric.data.imbalanced import Imbalanced
from domainmetric.data.sklearn_digits import SklearnDigits
from domainmetric.errors import ConfigError, DataError, DataNotPrepared
from domainmetric.types import ImageSet

ROOT = Path("unused")


@dataclass(frozen=True, kw_only=True)
class Numbered(Domain):
    """Images that tell their row, so that it can be seen which of them stay."""

    counts: tuple[int, ...] = (100, 100, 100)
    labelled: bool = True

    @property
    def name(self) -> str:
        return "numbered"

    @property
    def channels(self) -> int:
        return 3

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple("abcdefgh"[: len(self.counts)])

    def load(self, split: Split, *, root: Path, size: int) -> ImageSet:
        labels = torch.cat([torch.full((count,), label) for label, count in enumerate(self.counts)])
        labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(len(split)))]
        row = torch.arange(len(labels))
        pixels = torch.stack([row % 256, row // 256, torch.zeros_like(row)], 1).to(torch.uint8)
        images = pixels[:, None, None, :].expand(-1, size, size, -1).contiguous()
        return ImageSet(images=images, labels=labels if self.labelled else None, classes=self.classes)

    def hashes(self, root: Path, *, size: int) -> dict[str, str]:
        return {"spec": spec_hash(self, version=1)}


def rows_of(images: ImageSet) -> list[int]:
    """Which rows of `Numbered` these are."""
    corner = images.images[:, 0, 0].long()
    return (corner[:, 0] + 256 * corner[:, 1]).tolist()


def counts_of(images: ImageSet) -> list[int]:
    assert images.labels is not None
    return images.labels.bincount(minlength=len(images.classes)).tolist()


@pytest.mark.parametrize("ratio", [2.0, 10.0, 50.0])
def test_shares_fall_geometrically_from_one_to_the_inverse_ratio(ratio: float) -> None:
    domain = Imbalanced(domain=Numbered(counts=(500,) * 6), ratio=ratio)
    counts = counts_of(domain.load("train", root=ROOT, size=4))
    for place, label in enumerate(domain.order):
        assert counts[label] == pytest.approx(500 * ratio ** (-place / 5), abs=0.5)
    assert sorted(domain.order) == list(range(6))


def test_the_scarcest_class_decides_how_many_there_are() -> None:
    plain = Imbalanced(domain=Numbered(counts=(100, 100, 100)), ratio=4)
    common, middle, rare = plain.order
    available = [0, 0, 0]
    available[common], available[middle], available[rare] = 1000, 40, 500
    counts = Imbalanced(domain=Numbered(counts=tuple(available)), ratio=4).counts(available)
    assert (counts[common], counts[middle], counts[rare]) == (80, 40, 20)


def test_the_rows_are_a_part_of_the_domain_in_its_order_with_their_labels() -> None:
    whole, thinned = Numbered(), Imbalanced(domain=Numbered(), ratio=5)
    every, kept = whole.load("train", root=ROOT, size=4), thinned.load("train", root=ROOT, size=4)
    rows = rows_of(kept)
    assert rows == sorted(set(rows)) and 0 < len(rows) < len(every)
    assert every.labels is not None and kept.labels is not None
    assert torch.equal(kept.labels, every.labels[rows])
    assert torch.equal(kept.images, every.images[rows])
    assert (kept.classes, thinned.classes, thinned.channels) == (every.classes, every.classes, 3)


def test_the_test_split_is_left_whole() -> None:
    thinned = Imbalanced(domain=Numbered(), ratio=5)
    one, two = (domain.load("test", root=ROOT, size=4) for domain in (Numbered(), thinned))
    assert torch.equal(one.images, two.images)
    assert one.labels is not None and two.labels is not None and torch.equal(one.labels, two.labels)


def test_the_seed_draws_order_and_rows_and_the_same_seed_the_same_ones() -> None:
    def rows(seed: int, size: int = 4) -> list[int]:
        return rows_of(Imbalanced(domain=Numbered(), ratio=5, seed=seed).load("train", root=ROOT, size=size))

    assert rows(3) == rows(3) == rows(3, size=8)
    assert rows(3) != rows(4)
    orders = Counter(Imbalanced(domain=Numbered(), seed=seed).order for seed in range(60))
    assert len(orders) == 6, "every order of three classes comes up"


def test_the_rows_of_a_class_are_not_its_first_ones() -> None:
    thinned, whole = Imbalanced(domain=Numbered(), ratio=5).load("train", root=ROOT, size=4), Numbered()
    every = whole.load("train", root=ROOT, size=4)
    assert every.labels is not None and thinned.labels is not None
    rare = Imbalanced(domain=Numbered(), ratio=5).order[-1]
    first = (every.labels == rare).nonzero()[:, 0].tolist()
    kept = [row for row, label in zip(rows_of(thinned), thinned.labels.tolist(), strict=True) if label == rare]
    assert set(kept) < set(first) and kept != first[: len(kept)]


def test_names_and_hashes_tell_it_from_the_domain_and_from_other_thinnings() -> None:
    assert Imbalanced().name == "mnist_imbalanced" and Imbalanced().domain == Mnist()
    found = [
        Imbalanced(domain=SklearnDigits(), ratio=r, seed=s).hashes(ROOT, size=16) for r, s in ((10, 0), (5, 0), (10, 1))
    ]
    assert all(one["spec"] == SklearnDigits().hashes(ROOT, size=16)["spec"] for one in found)
    assert len({one["imbalance"] for one in found}) == 3


def test_real_digits() -> None:
    kept = Imbalanced(domain=SklearnDigits()).load("train", root=ROOT, size=8)
    counts = counts_of(kept)
    assert max(counts) / min(counts) == pytest.approx(10, rel=0.05)


def test_what_cannot_be_thinned_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'numbered' has no training labels"):
        Imbalanced(domain=Numbered(labelled=False)).load("train", root=ROOT, size=4)
    with pytest.raises(DataError, match=r"too few for a ratio of 10.*Choose a smaller Imbalanced.ratio"):
        Imbalanced(domain=Numbered(counts=(3, 3, 3))).load("train", root=ROOT, size=4)
    with pytest.raises(DataNotPrepared, match="data_prep mnist"):
        Imbalanced().load("train", root=tmp_path, size=32)


@pytest.mark.parametrize("ratio", [1.0, 0.1, -3.0, float("nan"), float("inf")])
def test_a_ratio_that_thins_nothing_is_refused(ratio: float) -> None:
    with pytest.raises(ConfigError, match=r"Imbalanced\.ratio must be a number above 1"):
        Imbalanced(ratio=ratio)


def test_other_nonsense_is_refused() -> None:
    with pytest.raises(ConfigError, match="seed must not be negative, but is -1"):
        Imbalanced(seed=-1)
    with pytest.raises(ConfigError, match="Thin the domain once"):
        Imbalanced(domain=Imbalanced())
    with pytest.raises(ConfigError, match="at least two classes, but 'numbered' has 1"):
        Imbalanced(domain=Numbered(counts=(9,)))
