"""Augmentation: views in range, from a seed, doing what each setting says and nothing else."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from domainmetric.data.augment import Augment, affine_grid, to_float
from domainmetric.errors import ConfigError

NONE = Augment(affine=0)


def images(n: int = 40, channels: int = 3) -> torch.Tensor:
    return torch.randint(256, (n, 8, 8, channels), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def views(augment: Augment, seed: int = 0, channels: int = 3) -> torch.Tensor:
    return augment(images(channels=channels), torch.Generator().manual_seed(seed))


def test_floats_are_the_bytes_over_255() -> None:
    given = images()
    assert torch.equal(to_float(given), given.permute(0, 3, 1, 2) / 255)


@pytest.mark.parametrize("augment", [Augment(), Augment(affine=0.5, invert=0.5, grey=0.5, erase=0.4)])
def test_views_are_in_range_and_follow_from_the_seed(augment: Augment) -> None:
    one, again, other = views(augment), views(augment), views(augment, 1)
    assert one.shape == (40, 3, 8, 8) and one.dtype == torch.float32
    assert one.min() >= 0 and one.max() <= 1
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert one.is_contiguous(memory_format=torch.channels_last)


def test_the_given_images_are_not_changed() -> None:
    given = images()
    Augment(affine=0.3, invert=1.0, grey=1.0, erase=0.5)(given, torch.Generator().manual_seed(0))
    assert torch.equal(given, images())


def test_the_grid_is_that_of_torch() -> None:
    theta = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0))
    for shape in ((5, 1, 8, 8), (5, 3, 6, 11)):
        expected = F.affine_grid(theta, list(shape), align_corners=False)
        torch.testing.assert_close(affine_grid(theta, torch.zeros(shape)), expected, atol=1e-6, rtol=1e-6)


def test_without_settings_the_view_is_the_image() -> None:
    torch.testing.assert_close(views(NONE), to_float(images()), atol=1e-6, rtol=0)


def test_grey_is_the_mean_of_the_channels_in_that_share_of_images() -> None:
    every, some = views(Augment(affine=0, grey=1.0)), views(Augment(affine=0, grey=0.5))
    expected = to_float(images()).mean(1, keepdim=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(every, expected)
    is_grey = (some - some[:, :1]).abs().flatten(1).amax(1) < 1e-6
    assert 10 <= int(is_grey.sum()) <= 30
    torch.testing.assert_close(some[~is_grey], to_float(images())[~is_grey], atol=1e-6, rtol=0)


def test_a_square_of_one_of_the_images_colors_is_painted_over() -> None:
    given = to_float(images())
    found = views(Augment(affine=0, erase=0.5))
    counts = []
    for before, after in zip(given, found, strict=True):
        changed = (before - after).abs().amax(0) > 1e-6
        rows, columns = changed.any(1).nonzero()[:, 0], changed.any(0).nonzero()[:, 0]
        assert len(rows.unique()) and rows[-1] - rows[0] < 4 and columns[-1] - columns[0] < 4
        color = after[:, changed].unique(dim=1)
        assert color.shape == (3, 1), "one color"
        assert ((before - color[:, :, None]).abs().amax(0) < 1e-6).any(), "which the image has"
        counts.append(int(changed.sum()))
    assert max(counts) >= 15 and min(counts) < 12, "whole in the middle, cut off at a border"


def test_painting_draws_after_the_motion() -> None:
    """So that views without it stay what they were, and those of a share are those of the whole batch."""
    augment = Augment(affine=0.1, erase=0.3, invert=0.5)
    draw = torch.Generator().manual_seed(3)
    part = augment(images()[10:25], draw, within=(slice(10, 25), 40))
    torch.testing.assert_close(part, augment(images(), torch.Generator().manual_seed(3))[10:25])


def test_inversion_is_one_minus_the_image_in_that_share_of_images() -> None:
    every, some = views(Augment(affine=0, invert=1.0)), views(Augment(affine=0, invert=0.5))
    plain = to_float(images())
    torch.testing.assert_close(every, 1 - plain, atol=1e-6, rtol=0)
    inverted = (some - 1 + plain).abs().flatten(1).amax(1) < 1e-6
    assert 10 <= int(inverted.sum()) <= 30
    torch.testing.assert_close(some[~inverted], plain[~inverted], atol=1e-6, rtol=0)


def test_the_affine_map_is_the_identity_plus_noise_of_that_deviation() -> None:
    draw = torch.Generator().manual_seed(5)
    theta = torch.randn(40, 2, 3, generator=draw) * 0.2 + torch.eye(2, 3)
    grid = F.affine_grid(theta, [40, 3, 8, 8], align_corners=False)
    expected = F.grid_sample(to_float(images()), grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(views(Augment(affine=0.2), seed=5), expected)


def test_each_image_gets_a_view_of_its_own() -> None:
    twins = images(1).expand(2, -1, -1, -1)
    one, other = Augment(affine=0.2)(twins, torch.Generator().manual_seed(0))
    assert not torch.allclose(one, other)


def test_grey_of_grey_images_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        Augment(grey=0.5).check(1)
    assert str(caught.value) == "Augment.grey does nothing to images with one channel. Leave it at 0 for this domain."
    Augment(grey=0.5).check(3)
    Augment(invert=0.5).check(1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Augment(affine=-0.1), "Augment.affine must not be negative, but is -0.1."),
        (lambda: Augment(invert=1.1), "Augment.invert must lie in [0, 1], but is 1.1."),
        (lambda: Augment(grey=-0.5), "Augment.grey must lie in [0, 1], but is -0.5."),
    ],
)
def test_refused_settings(make: type, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message
