"""Target batches by matched label: equal shares as far as rows go, and a memory that can be written down."""

from __future__ import annotations

import pytest
import torch

from domainmetric.data.matched_rows import MatchedRows, level

NUM = 400


def refreshed(counts: list[int], batch: int, *, since: int = 0, seed: int = 0) -> MatchedRows:
    """Rows 100, 101, ... are matched to class 0, then 1 and so on, in these numbers, and told in a random order."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(2))
    sampler = MatchedRows(NUM, batch, seed, "x")
    sampler.refresh(torch.arange(100, 100 + len(labels))[order], labels[order], since)
    return sampler


def shown(sampler: MatchedRows, counts: list[int], step: int) -> list[int]:
    """How many rows of each class a batch holds; the last number is of rows that are not matched."""
    ends = 100 + torch.tensor(counts).cumsum(0)
    rows = sampler.rows(step)
    assert len(rows) == sampler.batch_size
    labels = torch.where(rows < 100, len(counts), torch.searchsorted(ends, rows, right=True))
    return torch.bincount(labels, minlength=len(counts) + 1).tolist()


@pytest.mark.parametrize("counts", [[30, 30, 30, 30], [9, 40, 8, 70]])
def test_classes_with_enough_rows_get_equal_shares_of_unlike_rows(counts: list[int]) -> None:
    sampler = refreshed(counts, 32)
    for step in range(20):
        assert shown(sampler, counts, step) == [8, 8, 8, 8, 0]
        assert len(set(sampler.rows(step).tolist())) == 32


def test_a_batch_that_is_no_multiple_lets_the_classes_take_turns() -> None:
    sampler = refreshed([30, 30, 30, 30], 30)
    found = torch.tensor([shown(sampler, [30] * 4, step)[:4] for step in range(8)])
    assert ((found == 7) | (found == 8)).all()
    assert found.sum(0).tolist() == [60] * 4


def test_fewer_places_than_classes_are_shared_by_turns() -> None:
    sampler = refreshed([30, 30, 30, 30], 2)
    assert sum(torch.tensor(shown(sampler, [30] * 4, step)) for step in range(2)).tolist() == [1, 1, 1, 1, 0]


def test_a_small_class_gives_all_it_has_and_an_absent_one_nothing() -> None:
    counts = [3, 0, 50, 60]
    sampler = refreshed(counts, 33)
    for step in range(10):
        assert shown(sampler, counts, step) == [3, 0, 15, 15, 0]


def test_every_row_of_a_class_is_shown_before_one_comes_again() -> None:
    sampler = refreshed([24, 24], 16)
    rows = torch.stack([sampler.rows(step) for step in range(4)])
    for column, first in ((rows[:, :8], 100), (rows[:, 8:], 124)):
        # groups of one row more than the share: two whole ones are unlike, and six rows sit out until the next epoch
        assert len(set(column[:2].flatten().tolist())) == 16
        assert set(column.flatten().tolist()) <= set(range(first, first + 24))


def test_places_without_matched_rows_are_filled_as_if_shuffled() -> None:
    sampler = refreshed([4, 5], 20)
    for step in range(5):
        rows = sampler.rows(step)
        assert sorted(rows[:9].tolist()) == list(range(100, 109))
    filled = torch.cat([sampler.rows(step)[9:] for step in range(20)])
    assert len(set(filled.tolist())) == 220, "no row of the rest comes twice within an epoch"


def test_without_matches_batches_are_shuffled() -> None:
    blank, none = MatchedRows(NUM, 20, 0, "x"), MatchedRows(NUM, 20, 0, "x")
    none.refresh(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64), 0)
    for sampler in (blank, none):
        rows = torch.cat([sampler.rows(step) for step in range(20)])
        assert sorted(rows.tolist()) == list(range(NUM))


def test_batches_follow_from_memory_and_step() -> None:
    sampler = refreshed([30, 10, 50], 32, since=40)
    forward = [sampler.rows(step) for step in range(40, 60)]
    other = MatchedRows(NUM, 32, 0, "x")
    other.restore({name: value.clone() for name, value in sampler.memory.items()})
    for step in (59, 41, 50, 40, 41):
        assert torch.equal(other.rows(step), forward[step - 40])
    assert not torch.equal(refreshed([30, 10, 50], 32, since=40, seed=1).rows(40), forward[0])
    assert not torch.equal(refreshed([30, 10, 50], 32, since=20).rows(40), forward[20 - 20])
    other.restore({})
    assert other.memory == {} and not torch.equal(other.rows(40), forward[0])


@pytest.mark.parametrize(
    ("counts", "size"), [([5, 9, 2], 9), ([5, 9, 2], 16), ([5, 9, 2], 15), ([5, 9, 2], 2), ([], 4)]
)
def test_the_level_is_the_highest_that_fits(counts: list[int], size: int) -> None:
    found = level(torch.tensor(counts, dtype=torch.int64), size)
    held = [sum(min(count, share) for count in counts) for share in range(11)]
    assert found == max((share for share in range(max(counts, default=0) + 1) if held[share] <= size), default=0)
