"""The exact search, by tiles of the stored embeddings."""

from __future__ import annotations

import pytest
import torch

from domainmetric.anchors import search
from domainmetric.geometry import normalize


@pytest.mark.parametrize("num", [1, 4, 9, 50])
@pytest.mark.parametrize("tile", [1, 7, 8, 40])
def test_tiles_do_not_change_what_is_found(num: int, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(0)
    gallery, queries = (normalize(torch.randn(count, 6, generator=draw)) for count in (40, 23))
    expected = (queries @ gallery.T).sort(dim=1, descending=True)
    monkeypatch.setattr(search, "TILE", tile)
    monkeypatch.setattr(search, "CHUNK_ELEMENTS", 5 * tile)
    similarity, place = search.nearest(queries, gallery, num)
    assert torch.equal(place, expected.indices[:, :num])
    torch.testing.assert_close(similarity, expected.values[:, :num])


def test_nothing_is_found_among_nothing() -> None:
    similarity, place = search.nearest(torch.ones(3, 2), torch.ones(0, 2), 5)
    assert similarity.shape == place.shape == (3, 0)
