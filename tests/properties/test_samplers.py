"""What holds for every sampler, whatever the labels, sizes, seeds and steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from domainmetric.data.epoch_groups import EpochGroupRows
from domainmetric.data.matched_rows import MatchedRows
from domainmetric.data.sampling import BalancedRows, GroupRows, ShuffledRows
from domainmetric.errors import ConfigError
from tests.properties.looks import look

counts = st.lists(st.integers(1, 15), min_size=2, max_size=6)
seeds = st.integers(0, 2**31)


def labels_of(sizes: list[int], seed: int) -> torch.Tensor:
    """So many labels of each class, shuffled."""
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]


def made(build: Callable[[], object]) -> object:
    """The sampler; combinations that it refuses are passed over."""
    try:
        return build()
    except ConfigError:
        assume(False)
        raise


@look
@given(st.integers(2, 40), st.integers(2, 40), seeds, st.integers(0, 1000))
def test_shuffled_batches_are_slices_of_epochs(rows: int, batch: int, seed: int, start: int) -> None:
    assume(batch <= rows)
    sampler = ShuffledRows(num_rows=rows, batch_size=batch, seed=seed, name="x")
    epoch = torch.cat([sampler.rows(step) for step in range(start * rows, (start + 1) * rows)])
    assert torch.equal(epoch.view(batch, rows).sort(1).values, torch.arange(rows).expand(batch, rows))
    assert torch.equal(sampler.rows(3), ShuffledRows(num_rows=rows, batch_size=batch, seed=seed, name="x").rows(3))


@look
@given(counts, st.integers(1, 5), seeds, st.integers(0, 10**9))
def test_balanced_batches_hold_every_class_equally_often(sizes: list[int], each: int, seed: int, step: int) -> None:
    labels = labels_of(sizes, seed)
    batch = each * len(sizes)
    assume(batch <= len(labels))
    rows = BalancedRows(labels=labels, num_classes=len(sizes), batch_size=batch, seed=seed, name="x").rows(step)
    assert torch.bincount(labels[rows], minlength=len(sizes)).tolist() == [each] * len(sizes)
    times = Counter(rows.tolist())
    for k, size in enumerate(sizes):  # rows of a class come equally often, give or take one of each seam
        mine = [count for row, count in times.items() if labels[row] == k]
        assert max(mine) <= -(-each // size) + 1


@look
@given(counts, st.integers(2, 6), st.integers(2, 6), seeds, st.integers(0, 10**9))
def test_groups_are_unlike_rows_of_unlike_classes(sizes: list[int], c: int, n: int, seed: int, step: int) -> None:
    labels = labels_of(sizes, seed)
    sampler = made(lambda: GroupRows(labels, c, n, seed, "x"))
    rows = sampler.rows(step)  # type: ignore[attr-defined]
    assert len(set(rows.tolist())) == c * n
    assert sorted(torch.bincount(labels[rows], minlength=len(sizes)).tolist()) == [0] * (len(sizes) - c) + [n] * c


@look
@given(counts, st.integers(2, 4), st.integers(2, 4), seeds)
def test_epoch_groups_show_every_row_once_per_epoch(sizes: list[int], c: int, n: int, seed: int) -> None:
    labels = labels_of(sizes, seed)
    sampler = made(lambda: EpochGroupRows(labels, c, n, seed, "x"))
    rows = torch.cat([sampler.rows(step) for step in range(len(labels))])  # type: ignore[attr-defined]
    assert torch.equal(rows.view(c * n, -1).sort(1).values, torch.arange(len(labels)).expand(c * n, -1))


@look
@given(st.integers(2, 30), st.integers(2, 30), st.lists(st.integers(0, 3), max_size=30), seeds, st.integers(0, 10**6))
def test_matched_batches_have_their_size_and_level_classes(
    total: int, batch: int, matched: list[int], seed: int, step: int
) -> None:
    assume(batch <= total and len(matched) <= total)
    labels = torch.tensor(matched, dtype=torch.int64)
    chosen = torch.randperm(total, generator=torch.Generator().manual_seed(seed))[: len(matched)]
    sampler = MatchedRows(total, batch, seed, "x")
    sampler.refresh(chosen, labels, since=0)
    rows = sampler.rows(step)
    assert rows.shape == (batch,) and int(rows.min()) >= 0 and int(rows.max()) < total
    label_of = dict(zip(chosen.tolist(), matched, strict=True))
    drawn = [row for row in rows.tolist()[: min(batch, len(matched))] if row in label_of]
    held, shown = Counter(matched), Counter(label_of[row] for row in drawn)
    assert len(set(drawn)) == len(drawn) == min(batch, len(matched))
    short = [shown[k] for k in held if shown[k] < held[k]]  # classes that could have given more
    assert not short or max(shown.values()) - min(short) <= 1
