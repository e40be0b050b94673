"""Samplers: every row once per epoch, balanced counts, and nothing but the step to remember."""

from __future__ import annotations

import pytest
import torch

from domainmetric.data.sampling import BalancedRows, ShuffledRows
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


@pytest.mark.parametrize("kind", ["shuffled", "balanced"])
def test_a_batch_depends_on_seed_name_and_step_alone(kind: str) -> None:
    def sampler(seed: int = 0, name: str = "x") -> ShuffledRows | BalancedRows:
        if kind == "shuffled":
            return ShuffledRows(num_rows=24, batch_size=5, seed=seed, name=name)
        return BalancedRows(labels=LABELS, num_classes=3, batch_size=6, seed=seed, name=name)

    forward = [sampler().rows(step) for step in range(12)]
    one = sampler()
    for step in (11, 3, 7, 0, 3):  # in any order, and twice
        assert torch.equal(one.rows(step), forward[step])
    assert not torch.equal(torch.cat(forward), torch.cat([sampler(seed=1).rows(step) for step in range(12)]))
    assert not torch.equal(torch.cat(forward), torch.cat([sampler(name="y").rows(step) for step in range(12)]))


def test_a_class_smaller_than_its_share_comes_several_times() -> None:
    sampler = BalancedRows(labels=torch.tensor([0, 1, 1, 1]), num_classes=2, batch_size=6, seed=0, name="x")
    assert sorted(sampler.rows(0).tolist()) == [0, 0, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ShuffledRows(num_rows=10, batch_size=1, seed=0, name="x"),
            "Batch size must be at least 2 (batch norm), but is 1.",
        ),
        (
            lambda: ShuffledRows(num_rows=10, batch_size=11, seed=0, name="adapt/target"),
            "Batch size 11 is above the 10 images of the adapt/target set.",
        ),
        (
            lambda: BalancedRows(labels=LABELS, num_classes=3, batch_size=7, seed=0, name="x"),
            "A class-balanced batch must be a multiple of the 3 classes, but is 7. Use 6, for example.",
        ),
        (
            lambda: BalancedRows(labels=LABELS, num_classes=3, batch_size=0, seed=0, name="x"),
            "A class-balanced batch must be a multiple of the 3 classes, but is 0. Use 3, for example.",
        ),
        (
            lambda: BalancedRows(labels=LABELS, num_classes=4, batch_size=8, seed=0, name="source"),
            "The source set has no image of class index 3; balanced batches need all.",
        ),
    ],
)
def test_refused_settings(make: type, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message
