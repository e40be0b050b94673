"""The approximate search: exact where it looks everywhere, nearly so where it does not, and never silently left out."""

from __future__ import annotations

from functools import partial
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from domainmetric.anchors import approximate
from domainmetric.anchors.approximate import CellSearch
from domainmetric.anchors.nearest import Nearest
from domainmetric.anchors.search import nearest
from domainmetric.errors import ConfigError
from domainmetric.geometry import normalize
from tests.anchors.pair_of_sets import M, banks, drawn, match, ready

ALL_ROWS = torch.arange(M)


def unit(count: int, seed: int, size: int = 16) -> Tensor:
    """Points of a hundred wide clusters on the sphere."""
    centers = torch.randn(100, size, generator=drawn(0))
    draw = drawn(seed)
    return normalize(centers[torch.randint(100, (count,), generator=draw)] + torch.randn(count, size, generator=draw))


def test_looking_into_all_cells_is_exact() -> None:
    gallery, queries = unit(3000, 1), unit(200, 2)
    value, place = CellSearch(probed=1.0).among(gallery)(queries, 7)
    expected_value, expected = nearest(queries, gallery, 7)
    assert torch.equal(place, expected)
    torch.testing.assert_close(value, expected_value)


def test_looking_into_few_cells_finds_nearly_all() -> None:
    gallery, queries = unit(20_000, 1), unit(500, 2)
    _, expected = nearest(queries, gallery, 10)
    recall = {}
    for probed in (0.002, 0.02, 0.2):
        _, place = CellSearch(probed=probed).among(gallery)(queries, 10)
        recall[probed] = float((place[:, :, None] == expected[:, None]).any(2).float().mean())
    assert 0.2 < recall[0.002] < recall[0.02] < recall[0.2] and recall[0.02] > 0.8 and recall[0.2] > 0.99


def test_cells_that_hold_too_few_are_not_enough() -> None:
    gallery = torch.cat([unit(500, 1), -unit(3, 3)])
    queries = -unit(3, 3)  # three items far from all others
    value, place = CellSearch(probed=1e-6).among(gallery)(queries, 50)
    expected_value, expected = nearest(queries, gallery, 50)
    assert torch.equal(place, expected)
    torch.testing.assert_close(value, expected_value)


def test_the_strategy_searches_so(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, found = (match(ready(spec), ALL_ROWS) for spec in (Nearest(), Nearest(search=CellSearch(probed=1.0))))
    assert torch.equal(found.source_index, plain.source_index) and torch.equal(found.label, plain.label)
    torch.testing.assert_close(found.confidence, plain.confidence)
    among = Mock(side_effect=partial(CellSearch.among, CellSearch()))
    monkeypatch.setattr(CellSearch, "among", among)
    matcher = ready(Nearest(search=CellSearch()))
    for _ in range(3):
        match(matcher, ALL_ROWS)
    assert among.call_count == 1  # once for a bank, not once for a batch
    matcher.refresh(*banks())
    assert among.call_count == 2
    matcher.memory["z"] = matcher.memory["z"].clone()  # as from a checkpoint
    match(matcher, ALL_ROWS)
    assert among.call_count == 3


def test_without_faiss_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximate, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'not installed: pip install "domainmetric\[faiss\]"'):
        CellSearch()


def test_several_anchors_would_ignore_it() -> None:
    with pytest.raises(ConfigError, match="would save nothing"):
        Nearest(num_anchors=2, search=CellSearch())


@pytest.mark.parametrize("probed", [0.0, 1.1, -1.0])
def test_a_share_is_a_share(probed: float) -> None:
    with pytest.raises(ConfigError, match="probed"):
        CellSearch(probed=probed)
