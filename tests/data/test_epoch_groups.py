"""Every image once per epoch, although batches are made of groups."""

from __future__ import annotations

import math

import pytest
import torch

from domainmetric.data.epoch_groups import EpochGroupRows
from domainmetric.errors import ConfigError

SETS = {
    "equal": torch.arange(10).repeat_interleave(24),
    "unequal": torch.arange(10).repeat_interleave(torch.tensor([70, 9, 11, 13, 25, 31, 8, 16, 40, 22])),
    "small": torch.arange(40).repeat_interleave(torch.arange(40) % 6 + 1),
}


def sampler(name: str, c: int, n: int, seed: int = 0) -> EpochGroupRows:
    labels = SETS[name]
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(5))
    return EpochGroupRows(labels[order], c, n, seed, "x")


SHAPES = [("equal", 8, 3), ("equal", 10, 2), ("equal", 5, 7), ("unequal", 4, 4), ("unequal", 8, 8), ("small", 6, 4)]
shapes = pytest.mark.parametrize(("name", "c", "n"), SHAPES)


@shapes
def test_every_image_is_seen_exactly_once_per_epoch(name: str, c: int, n: int) -> None:
    drawn, total = sampler(name, c, n), len(SETS[name])
    batches = [drawn.rows(step) for step in range(5 * total // (c * n) + 1)]
    assert all(len(rows) == c * n for rows in batches)
    shown = torch.cat(batches)
    epochs = shown[: len(shown) // total * total].view(-1, total)
    assert len(epochs) >= 4
    assert all(sorted(epoch.tolist()) == list(range(total)) for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])


@shapes
def test_batches_are_whole_groups_but_for_the_seams(name: str, c: int, n: int) -> None:
    drawn, total, size = sampler(name, c, n), len(SETS[name]), c * n
    counts = torch.bincount(SETS[name])
    loose = int((counts % n).sum())  # rows that no whole group can hold
    steps, mixed = 5 * total // size, 0
    for step in range(steps):
        rows = drawn.rows(step)
        sizes = torch.bincount(drawn.labels[rows])
        groups = sizes.tolist()
        if any(count % n for count in groups):
            mixed += 1
            continue
        most = math.ceil(int((counts // n).max()) / max(1, (int((counts // n).sum()) // c) - 1))
        assert max(groups) <= n * most, "no class comes more often than its share asks for"
        assert len([count for count in groups if count]) >= 2
        assert len(set(rows.tolist())) == size, "within whole groups no image comes twice"
    assert mixed <= 6 * (math.ceil(loose / size) + 2)
    if name == "equal" and total % size == 0:
        assert mixed == 0


def test_equal_classes_come_at_most_once_in_a_batch() -> None:
    drawn = sampler("equal", 8, 3)
    for step in range(30):
        assert sorted(torch.bincount(drawn.labels[drawn.rows(step)], minlength=10).tolist()) == [0, 0] + [3] * 8


def test_a_class_that_is_more_than_its_share_is_spread_evenly() -> None:
    labels = torch.tensor([0] * 160 + [1, 2, 3, 4] * 40)
    drawn = EpochGroupRows(labels, 4, 4, 0, "x")
    for step in range(40):
        counts = torch.bincount(labels[drawn.rows(step)], minlength=5).tolist()
        assert counts[0] == 8 and sorted(counts[1:]) == [0, 0, 4, 4]


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    forward = [sampler("unequal", 4, 4).rows(step) for step in range(60)]
    one = sampler("unequal", 4, 4)
    for step in (59, 3, 17, 0, 3, 30, 16):
        assert torch.equal(one.rows(step), forward[step])
    assert not torch.equal(torch.cat(forward), torch.cat([sampler("unequal", 4, 4, 1).rows(s) for s in range(60)]))


@pytest.mark.parametrize(
    ("c", "n", "message"),
    [
        (
            11,
            4,
            (
                "A batch cannot hold c = 11 classes: the source set has 10. "
                "Here c (groups of a batch) can be 2 to 10, and n (images of a group) 2 or more."
            ),
        ),
        (
            4,
            25,
            (
                "The source set has 0 groups of 25 images of one class, too few for a batch of 4. "
                "Use smaller groups, or fewer."
            ),
        ),
    ],
)
def test_refused_groups(c: int, n: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        EpochGroupRows(SETS["equal"], c, n, 0, "source")
    assert str(caught.value) == message


def test_a_class_that_would_fill_batches_alone_is_refused() -> None:
    labels = torch.tensor([3] * 90 + [4] * 30)
    with pytest.raises(ConfigError) as caught:
        EpochGroupRows(labels, 2, 5, 0, "source")
    assert str(caught.value) == (
        "Class index 3 has 90 of the 120 images of the source set. Where each image is seen once per epoch, some "
        "batches of 2 groups would hold that class alone. Use more groups in a batch, or draw the classes equally "
        "often."
    )
