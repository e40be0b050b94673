"""Rendered letters: whole, of the size of a digit, and each its own."""

from __future__ import annotations

import pytest

from experiments.unknown_letters import LETTERS, SIDES, letters


@pytest.mark.parametrize("name", SIDES)
def test_letters_are_as_large_as_digits(name: str) -> None:
    side, figure = SIDES[name]
    images = letters(len(LETTERS), side, figure)
    assert images.shape == (len(LETTERS), side, side, 1) and images.amax() > 250
    assert len({image.numpy().tobytes() for image in images}) == len(LETTERS)
    if side > figure:
        inked = images[..., 0] > 128
        extent = inked.any(1).sum(1).maximum(inked.any(2).sum(1))
        assert extent.float().mean() == pytest.approx(figure, abs=2.5)
        border = inked[:, [0, -1]].any() or inked[:, :, [0, -1]].any()
        assert not border, "none is cut off"
