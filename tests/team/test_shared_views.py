"""An image's view is the same whichever process makes it."""

from __future__ import annotations

import pytest
import torch

from domainmetric.data.augment import Augment
from domainmetric.data.pipelines import DigitViews
from domainmetric.data.view_bank import AlbumentationsViews
from domainmetric.data.views import Views
from domainmetric.team.layout import spans


@pytest.mark.parametrize(
    "views",
    [
        pytest.param(Augment(invert=0.5, grey=0.5), id="on the device"),
        pytest.param(
            AlbumentationsViews(pipeline=DigitViews(invert=0.5, grey=0.5), num_workers=0, block_steps=2),
            id="albumentations",
        ),
    ],
)
def test_shares_of_views_are_parts_of_the_whole(views: Views) -> None:
    images = torch.randint(256, (40, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def rows(step: int) -> torch.Tensor:
        return (torch.arange(11) * 7 + step) % 40

    shown = {"seed": 3, "name": "test", "num_steps": 4}
    whole = views.open(images, rows, **shown)
    shares = [views.open(images, rows, share=lambda n, r=rank: spans(n, 3)[r], **shown) for rank in range(3)]
    for step in (0, 3):
        wanted, made = whole.at(step)
        parts = [share.at(step) for share in shares]
        assert all(torch.equal(drawn, wanted) for drawn, _ in parts)
        assert torch.allclose(torch.cat([part for _, part in parts]), made, atol=1e-6)
        assert torch.allclose(torch.cat([s.of(rows(9), step) for s in shares]), whole.of(rows(9), step), atol=1e-6)
    for stream in (whole, *shares):
        stream.close()
