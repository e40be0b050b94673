"""Samplers: every row once per epoch, balanced counts, and nothing but the step to remember."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest
import torch

from domainmetric.data.sampling import BalancedRows, GroupRows, ShuffledRows, Turns, cycle
from domainmetric.errors import ConfigError

LABELS = torch.tensor([0] * 7 + [1] * 12 + [2] * 5)[torch.randperm(24, generator=torch.Generator().manual_seed(0))]


def test_every_row_comes_once_per_epoch() -> None:
    sampler = ShuffledRows(num_rows=10, batch_size=4, seed=0, name="x")
    rows = torch.cat([sampler.rows(step) for step in range(10)])
    epochs = rows.reshape(4, 10)
    assert all(sorted(epoch.tolist()) == list(range(10)) for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])


def test_balanced_batches_hold_each_class_equally_often_and_each_of_its_rows_once_per_epoch() -> None:
    sampler = BalancedRows(labels=LABELS, num_classes=3, batch_size=6, seed=0, name="x")
    batches = [sampler.rows(step) for step in range(30)]
    assert all(torch.bincount(LABELS[rows], minlength=3).tolist() == [2, 2, 2] for rows in batches)
    rows = torch.cat(batches)
    for k in range(3):
        mine = rows[LABELS[rows] == k]
        size = int((k == LABELS).sum())
        for start in range(0, len(mine) - size + 1, size):
            assert len(set(mine[start : start + size].tolist())) == size


SAMPLERS: dict[str, Callable[[int, str], ShuffledRows | BalancedRows | GroupRows]] = {
    "shuffled": lambda seed, name: ShuffledRows(num_rows=24, batch_size=5, seed=seed, name=name),
    "balanced": lambda seed, name: BalancedRows(labels=LABELS, num_classes=3, batch_size=6, seed=seed, name=name),
    "groups": lambda seed, name: GroupRows(LABELS, 2, 3, seed, name),
}


@pytest.mark.parametrize("kind", SAMPLERS)
def test_a_batch_depends_on_seed_name_and_step_alone(kind: str) -> None:
    def sampler(seed: int = 0, name: str = "x") -> ShuffledRows | BalancedRows | GroupRows:
        return SAMPLERS[kind](seed, name)

    forward = [sampler().rows(step) for step in range(12)]
    one = sampler()
    for step in (11, 3, 7, 0, 3):  # in any order, and twice
        assert torch.equal(one.rows(step), forward[step])
    assert not torch.equal(torch.cat(forward), torch.cat([sampler(seed=1).rows(step) for step in range(12)]))
    assert not torch.equal(torch.cat(forward), torch.cat([sampler(name="y").rows(step) for step in range(12)]))


def test_a_class_smaller_than_its_share_comes_several_times() -> None:
    sampler = BalancedRows(labels=torch.tensor([0, 1, 1, 1, 1, 1]), num_classes=2, batch_size=6, seed=0, name="x")
    rows = sampler.rows(0).tolist()
    assert rows.count(0) == 3
    assert len(set(rows)) == 4


@pytest.mark.parametrize("batch", [2, 7, 10, 13, 30])
def test_a_balanced_batch_of_any_size_shows_classes_equally_often_in_turns(batch: int) -> None:
    sampler = BalancedRows(labels=TEN, num_classes=10, batch_size=batch, seed=0, name="x")
    seen = torch.zeros(10, dtype=torch.int64)
    shown: dict[int, list[int]] = {k: [] for k in range(10)}
    for step in range(40):
        rows = sampler.rows(step)
        counts = torch.bincount(TEN[rows], minlength=10)
        assert len(rows) == batch and counts.max() - counts.min() <= 1
        seen += counts
        assert seen.max() - seen.min() <= 1
        for row in rows.tolist():
            shown[int(TEN[row])].append(row)
    for k, rows in shown.items():  # an image comes again only when its class begins anew
        for start in range(0, len(rows) - (33 + k), 33 + k):
            assert len(set(rows[start : start + 33 + k])) == 33 + k


TEN = torch.arange(10).repeat_interleave(torch.arange(33, 43))
"""Ten classes of 33 to 42 images."""


@pytest.mark.parametrize("c", range(2, 11))
@pytest.mark.parametrize("n", [2, 3, 8, 16, 32, 33])
def test_groups_hold_n_unlike_images_of_c_classes(c: int, n: int) -> None:
    sampler = GroupRows(TEN, c, n, 0, "x")
    rounds = 10 // math.gcd(10, c)  # steps after which each class came equally often
    batches = [sampler.rows(step) for step in range(3 * rounds)]
    for rows in batches:
        counts = torch.bincount(TEN[rows], minlength=10)
        assert sorted(counts.tolist()) == [0] * (10 - c) + [n] * c
        assert len(set(rows.tolist())) == c * n
    for start in range(0, len(batches), rounds):
        shown = torch.bincount(TEN[torch.cat(batches[start : start + rounds])], minlength=10)
        assert shown.tolist() == [c * n * rounds // 10] * 10


def test_within_a_class_no_image_of_a_group_sampler_comes_again_before_the_class_begins_anew() -> None:
    sampler = GroupRows(TEN, 4, 5, 0, "x")
    rows = torch.cat([sampler.rows(step) for step in range(200)])
    for k in range(10):
        mine, size = rows[TEN[rows] == k], 33 + k
        epochs = mine[: len(mine) // (size // 5 * 5) * (size // 5 * 5)].view(-1, size // 5 * 5)
        assert len(epochs) > 5
        assert all(len(set(epoch.tolist())) == len(epoch) for epoch in epochs)
        assert set(mine.tolist()) == set((k == TEN).nonzero().squeeze(1).tolist()), "those that sit out change"


def test_every_choice_of_classes_comes_about_equally_often() -> None:
    turns = Turns(5, 2, seed=0, name="x")
    counts: dict[tuple[int, ...], int] = {}
    for step in range(4000):
        chosen = tuple(k for k, _ in turns.at(step))
        counts[chosen] = counts.get(chosen, 0) + 1
    assert len(counts) == 10
    assert all(320 < count < 480 for count in counts.values()), counts


def test_turns_count_those_before() -> None:
    turns, before = Turns(7, 3, seed=0, name="x"), [0] * 7
    for step in range(40):
        for k, count in turns.at(step):
            assert count == before[k]
            before[k] += 1


def test_classes_that_are_absent_are_not_drawn() -> None:
    labels = torch.tensor([3, 3, 3, 8, 8, 8, 5, 5, 5])
    sampler = GroupRows(labels, 2, 3, 0, "x")
    assert {int(k) for step in range(9) for k in labels[sampler.rows(step)]} == {3, 5, 8}


def test_a_late_step_costs_no_more_than_an_early_one() -> None:
    def seconds(step: int) -> float:
        began = time.perf_counter()
        GroupRows(TEN, 8, 4, 0, "x").rows(step)
        return time.perf_counter() - began

    seconds(0)
    assert seconds(10**9) < 10 * max(seconds(0), 1e-3)


def test_a_group_is_a_whole_one_of_its_epoch() -> None:
    endless = cycle(torch.arange(11), 0, "x")
    groups = [endless.group(index, 4).tolist() for index in range(6)]
    assert all(len(set(groups[i] + groups[i + 1])) == 8 for i in (0, 2, 4))
    assert endless.group(0, 11).tolist() == endless.slice(0, 11).tolist()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: GroupRows(TEN, 11, 4, 0, "source"),
            (
                "A batch cannot hold c = 11 classes: the source set has 10. "
                "Here n (images of a class) can be 2 to 33, and c (classes of a batch) 2 to 10."
            ),
        ),
        (
            lambda: GroupRows(TEN, 1, 4, 0, "source"),
            (
                "A batch must hold at least 2 classes, or no image has a negative, but c is 1. "
                "Here n (images of a class) can be 2 to 33, and c (classes of a batch) 2 to 10."
            ),
        ),
        (
            lambda: GroupRows(TEN, 8, 1, 0, "source"),
            (
                "A group must hold at least 2 images, or none has a positive, but n is 1. "
                "Here n (images of a class) can be 2 to 33, and c (classes of a batch) 2 to 10."
            ),
        ),
        (
            lambda: GroupRows(TEN, 8, 35, 0, "source"),
            (
                "Some classes of the source set have fewer images than the n = 35 of a group: index 0 has 33, "
                "index 1 has 34. Here n (images of a class) can be 2 to 33, and c (classes of a batch) 2 to 10."
            ),
        ),
        (
            lambda: GroupRows(TEN, 8, 41, 0, "source"),
            (
                "Some classes of the source set have fewer images than the n = 41 of a group: index 0 has 33, "
                "index 1 has 34, index 2 has 35, index 3 has 36, index 4 has 37, and 3 more. "
                "Here n (images of a class) can be 2 to 33, and c (classes of a batch) 2 to 10."
            ),
        ),
        (
            lambda: GroupRows(torch.tensor([0, 0, 4, 4, 4]), 2, 3, 0, "source"),
            (
                "Some classes of the source set have fewer images than the n = 3 of a group: index 0 has 2. "
                "Here n (images of a class) can be 2, and c (classes of a batch) 2."
            ),
        ),
        (
            lambda: GroupRows(torch.tensor([0, 0, 0, 1]), 2, 2, 0, "source"),
            (
                "Some classes of the source set have fewer images than the n = 2 of a group: index 1 has 1. "
                "Groups need two classes or more, of two images or more each: leave smaller ones out."
            ),
        ),
        (
            lambda: ShuffledRows(num_rows=10, batch_size=1, seed=0, name="x"),
            "Batch size must be at least 2 (batch norm), but is 1.",
        ),
        (
            lambda: ShuffledRows(num_rows=10, batch_size=11, seed=0, name="adapt/target"),
            "Batch size 11 is above the 10 images of the adapt/target set. Use a smaller one.",
        ),
        (
            lambda: BalancedRows(labels=LABELS, num_classes=3, batch_size=0, seed=0, name="x"),
            "A batch must hold at least one image, but is 0.",
        ),
        (
            lambda: BalancedRows(labels=LABELS, num_classes=4, batch_size=8, seed=0, name="source"),
            (
                "The source set has no image of class index 3; balanced batches need all. Add images, hold out "
                "fewer, or leave the class out."
            ),
        ),
    ],
)
def test_refused_settings(make: type, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message
