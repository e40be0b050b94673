"""Framing: what each member does to shapes and pixels, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from domainmetric.data import framing
from domainmetric.data.framing import CenterCrop, Framing, Pad, Resize
from domainmetric.errors import ConfigError, DataError


def images(height: int, width: int, channels: int = 1, num: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (num, height, width, channels), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("member", [Pad(), Resize(), CenterCrop(side=6)])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_framing_gives_squares_of_the_size(member: Framing, channels: int) -> None:
    framed = member.apply(images(8, 7, channels), 12)
    assert framed.shape == (3, 12, 12, channels)
    assert framed.dtype == torch.uint8


def test_pad_keeps_the_image_in_the_center_and_zeros_around() -> None:
    given = images(8, 6)
    framed = Pad().apply(given, 12)
    assert torch.equal(framed[:, 2:10, 3:9], given)
    assert framed.sum() == given.sum()


@pytest.mark.parametrize("member", [Pad(), Resize()])
def test_images_of_the_size_are_not_copied(member: Framing) -> None:
    given = images(8, 8)
    assert member.apply(given, 8) is given


@pytest.mark.parametrize("size", [5, 8, 21])
def test_resize_agrees_with_pillow(size: int) -> None:
    given = images(12, 12)
    expected = [Image.fromarray(each[..., 0].numpy()).resize((size, size), Image.Resampling.BILINEAR) for each in given]
    difference = Resize().apply(given, size)[..., 0].int() - torch.from_numpy(np.stack(expected)).int()
    assert difference.abs().max() <= 1
    assert difference.float().mean().abs() < 0.1


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    given = images(9, 9, 3, num=7)
    whole = Resize().apply(given, 6)
    monkeypatch.setattr(framing, "NUMBERS", 2 * 9 * 9 * 3)
    assert torch.equal(Resize().apply(given, 6), whole)


def test_center_crop_takes_the_central_square() -> None:
    given = images(10, 8)
    assert torch.equal(CenterCrop(side=4).apply(given, 4), given[:, 3:7, 2:6])
    assert torch.equal(CenterCrop(side=4).apply(given, 9), Resize().apply(given[:, 3:7, 2:6].contiguous(), 9))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="larger"):
        Pad().apply(images(8, 8), 7)
    with pytest.raises(DataError, match="at most 6"):
        CenterCrop(side=7).apply(images(8, 6), 32)
    with pytest.raises(ConfigError, match="at least 1"):
        CenterCrop(side=0)
