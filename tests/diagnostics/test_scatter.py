"""The triplet scatter against explicit loops: per batch, in chunks, across sets, with dropped items, near collapse."""

from __future__ import annotations

import pytest
import torch

from domainmetric.diagnostics import scatter as module
from domainmetric.diagnostics.scatter import Scatter, points, scatter
from domainmetric.miners.hard import EasyPositiveHardNegative, HardNegative
from domainmetric.pairs import label_pairs
from domainmetric.types import Group
from tests.reference import labels, unit

EPHN = EasyPositiveHardNegative()


def easiest_and_hardest(rows: Group, columns: Group, *, same: bool) -> list[tuple[float, float]]:
    """S of the nearest positive and of the nearest negative of each anchor that has both."""
    found = []
    for i in range(len(rows)):
        to: dict[bool, list[float]] = {True: [], False: []}
        for j in range(len(columns)):
            if rows.kept()[i] and columns.kept()[j] and not (same and i == j):
                to[bool(rows.labels[i] == columns.labels[j])].append(float(rows.z[i] @ columns.z[j]))
        if to[True] and to[False]:
            found.append((max(to[True]), max(to[False])))
    return found


def group(seed: int, n: int, *, every: int = 1) -> Group:
    return Group(z=unit(seed, n), labels=labels(seed + 1, n), keep=torch.arange(n) % every == 0 if every > 1 else None)


def pairs_of(found: Scatter) -> torch.Tensor:
    return torch.stack([found.s_ap, found.s_an], 1)


@pytest.mark.parametrize("chunk", [1, 60, 1 << 22])
@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("every", [1, 2])
def test_points_are_those_of_a_loop(monkeypatch: pytest.MonkeyPatch, chunk: int, across: bool, every: int) -> None:
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", chunk)
    rows, columns = group(0, 21, every=every), group(5, 13, every=every)
    found = scatter(rows, EPHN, columns=columns if across else None)
    expected = easiest_and_hardest(rows, columns if across else rows, same=not across)
    torch.testing.assert_close(pairs_of(found), torch.tensor(expected, dtype=torch.float64))


def test_a_list_of_triplets_has_its_points() -> None:
    z, y = unit(3, 9), labels(4, 9)
    pairs = label_pairs(z, y)
    triplets = HardNegative().select(pairs)
    found = points(pairs, triplets)
    for i, (a, p, n) in enumerate(zip(triplets.anchor, triplets.positive, triplets.negative, strict=True)):
        assert found.s_ap[i] == pytest.approx(float(z[a] @ z[p]))
        assert found.s_an[i] == pytest.approx(float(z[a] @ z[n]))


def test_the_summary_counts_ties_as_hard() -> None:
    s = Scatter(s_ap=torch.tensor([0.5, 0.5, 1.0]).double(), s_an=torch.tensor([0.4, 0.5, -0.3]).double())
    assert s.correct.tolist() == [True, False, True]
    summary = s.summary()
    assert summary["num_triplets"] == 3
    assert summary["hard"] == pytest.approx(1 / 3)
    assert (summary["s_ap_mean"], summary["s_an_mean"]) == pytest.approx((2 / 3, 0.2))
    assert summary["s_ap_std"] == pytest.approx(0.2357, abs=1e-4)


@pytest.mark.parametrize("n", [0, 1, 6])
def test_without_a_triplet_there_are_zeros_and_no_nan(n: int) -> None:
    found = scatter(Group(z=unit(0, n), labels=torch.zeros(n, dtype=torch.int64)), EPHN)
    assert len(found) == 0
    assert set(found.summary().values()) == {0.0}


def test_near_collapse_correct_and_hard_are_still_told_apart() -> None:
    center = torch.nn.functional.normalize(torch.ones(1, 16), dim=1)
    z = torch.nn.functional.normalize(center + 1e-3 * torch.randn(60, 16, generator=torch.Generator().manual_seed(0)))
    y = labels(2, 60)
    exact = scatter(Group(z=torch.nn.functional.normalize(z.double()), labels=y), EPHN)
    found = scatter(Group(z=z, labels=y), EPHN)
    assert torch.equal(found.correct, exact.correct)
    assert 0 < float(found.correct.double().mean()) < 1


def test_squared_chords_that_float32_similarities_could_not_tell_apart() -> None:
    pairs = label_pairs(unit(0, 3, dtype=torch.float32), torch.tensor([0, 0, 1]))
    pairs.sq_chord.copy_(torch.tensor([0.0, 1e-9, 3e-9]))
    found = points(pairs, EPHN.select(pairs))
    assert found.correct[0]
    assert float(found.s_ap[0] - found.s_an[0]) == pytest.approx(1e-9, rel=1e-3)
