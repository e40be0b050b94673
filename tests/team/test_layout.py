"""Rows are divided among processes and found again, against explicit loops."""

from __future__ import annotations

import pytest
import torch

from domainmetric.team.layout import Layout, spans


@pytest.mark.parametrize(("count", "size"), [(8, 2), (7, 3), (2, 4), (130, 8), (5, 1)])
def test_shares_are_consecutive_and_differ_by_one_at_most(count: int, size: int) -> None:
    places = [list(range(span.start, span.stop)) for span in spans(count, size)]
    assert [place for share in places for place in share] == list(range(count))
    assert max(map(len, places)) - min(map(len, places)) <= 1


@pytest.mark.parametrize("counts", [(7,), (5, 9), (4, 4, 3)])
@pytest.mark.parametrize("size", [2, 4])
def test_what_processes_send_is_put_in_the_order_of_the_whole(counts: tuple[int, ...], size: int) -> None:
    whole = torch.arange(float(sum(counts)))[:, None] + torch.tensor([0.0, 0.5])
    layouts = [Layout(counts, size, rank) for rank in range(size)]
    sent = []
    for layout in layouts:
        own = layout.cut(whole)
        assert len(own) == layout.rows[layout.rank]
        sent.append(torch.cat([own, torch.full((layout.longest - len(own), 2), torch.nan)]))
    for layout in layouts:
        assert torch.equal(torch.cat(sent)[layout.order], whole)
    begin = 0
    for number, count in enumerate(counts):  # each batch is divided by itself
        for layout in layouts:
            share = spans(count, size)[layout.rank]
            assert (layout.mine[number].start, layout.mine[number].stop) == (begin + share.start, begin + share.stop)
        begin += count
