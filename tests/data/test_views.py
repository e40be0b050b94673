"""Views: the same pixels whoever makes them and when; errors that say what is wrong; no process left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from domainmetric.data.augment import Augment, to_float
from domainmetric.data.pipelines import DigitViews
from domainmetric.data.sampling import ShuffledRows
from domainmetric.data.view_bank import AlbumentationsViews, BankStream, Pipeline, import_albumentations
from domainmetric.data.view_pool import Pool
from domainmetric.data.views import ViewStream
from domainmetric.data.views_worker import render
from domainmetric.errors import ConfigError, DataError, DomainMetricError
from domainmetric.serialize import from_json, import_name, to_json

A = import_albumentations()
from tests.data.own_transform import Darker, NotTooBright  # noqa: E402  it imports albumentations in its own way

STEPS = 9
SOURCE = DigitViews(invert=0.5, grey=0.5)


def some_images(channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (20, 16, 16, channels), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True, kw_only=True)
class Fixed(Pipeline):
    """Whatever a test wants to run."""

    make: Callable[[], Any]

    def build(self) -> Any:
        return self.make()


def stream(
    pipeline: Pipeline = SOURCE,
    *,
    workers: int = 0,
    block: int = 4,
    seed: int = 0,
    name: str = "source",
    channels: int = 3,
) -> BankStream:
    rows = ShuffledRows(20, 6, 0, "rows").rows
    views = AlbumentationsViews(pipeline=pipeline, num_workers=workers, block_steps=block)
    opened = views.open(some_images(channels), rows, seed=seed, name=name, num_steps=STEPS)
    assert isinstance(opened, BankStream)
    return opened


def images_of(opened: ViewStream, steps: range = range(STEPS)) -> torch.Tensor:
    try:
        return torch.stack([opened.at(step)[1].clone() for step in steps])
    finally:
        opened.close()


@pytest.fixture(scope="module")
def expected() -> torch.Tensor:
    """The views of all steps, made without workers."""
    return images_of(stream())


@pytest.mark.parametrize(("workers", "block"), [(0, 1), (0, 100), (1, 4), (2, 2), (4, 3)])
def test_workers_and_blocks_change_no_pixel(expected: torch.Tensor, workers: int, block: int) -> None:
    assert torch.equal(images_of(stream(workers=workers, block=block)), expected)


def test_a_run_taken_up_at_any_step_sees_the_same_images(expected: torch.Tensor) -> None:
    for start in range(STEPS):
        assert torch.equal(images_of(stream(), range(start, STEPS)), expected[start:])


def test_steps_may_be_asked_for_in_any_order(expected: torch.Tensor) -> None:
    opened = stream(workers=1, block=2)
    try:
        for step in (7, 0, 8, 3, 3, 2, 5):
            assert torch.equal(opened.at(step)[1], expected[step])
    finally:
        opened.close()


def test_views_change_and_follow_from_seed_and_name(expected: torch.Tensor) -> None:
    rows = ShuffledRows(20, 6, 0, "rows").rows
    shown: dict[int, list[torch.Tensor]] = {}
    for step in range(STEPS):
        for row, image in zip(rows(step).tolist(), expected[step], strict=True):
            shown.setdefault(row, []).append(image)
    assert max(len(views) for views in shown.values()) > 1
    for views in shown.values():
        assert len({view.numpy().tobytes() for view in views}) == len(views)
    assert not torch.equal(images_of(stream(seed=1)), expected)
    assert not torch.equal(images_of(stream(name="labelled")), expected)


def test_rows_and_range_and_clean_anchors() -> None:
    opened, images = stream(), some_images()
    rows, views = opened.at(3)
    assert torch.equal(rows, ShuffledRows(20, 6, 0, "rows").rows(3))
    assert views.shape == (6, 3, 16, 16)
    assert 0 <= float(views.min()) < float(views.max()) <= 1
    assert torch.equal(opened.of(torch.tensor([4, 4, 1]), 3), to_float(images[[4, 4, 1]]))


def test_transforms_draw_independently() -> None:
    """albumentations' own set_random_seed fails this: both transforms would always come together."""
    compose, image = A.Compose([A.InvertImg(p=0.5), A.ToGray(p=0.5)]), np.zeros((400, 4, 4, 3), np.uint8)
    image[..., 0] = 60
    render(compose, image, list(range(400)))
    inverted = image.mean((1, 2, 3)) > 128
    grey = np.ptp(image, axis=3).max((1, 2)) == 0
    table = np.array([[np.sum((inverted == i) & (grey == j)) for j in (False, True)] for i in (False, True)])
    assert table.min() > 60  # 100 expected, deviation 9


def test_one_channel() -> None:
    views = images_of(stream(DigitViews(), channels=1), range(3))
    assert views.shape == (3, 6, 1, 16, 16)


def test_wrong_size_or_type_is_a_data_error() -> None:
    for transform, came in ((A.Resize(8, 8), "uint8 of shape \\(8, 8, 3\\)"), (A.Normalize(), "float32")):
        wrong = Fixed(make=lambda transform=transform: A.Compose([transform]))  # type: ignore[misc]
        with pytest.raises(DataError, match=f"shape they came in, \\(16, 16, 3\\), but returned {came}"):
            images_of(stream(wrong), range(1))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_within_a_transform_reaches_the_run(workers: int) -> None:
    views = AlbumentationsViews(
        pipeline=Fixed(make=lambda: A.Compose([NotTooBright(p=1.0)])), num_workers=workers, block_steps=1
    )
    images = torch.zeros(20, 16, 16, 3, dtype=torch.uint8)
    images[15] = 255
    opened = views.open(images, lambda step: torch.arange(10) + 10 * step, seed=0, name="x", num_steps=2)
    try:
        opened.at(0)
        with pytest.raises(DataError, match=r"failed on an image of shape \(16, 16, 3\): RuntimeError: too bright"):
            opened.at(1)
    finally:
        opened.close()


@pytest.mark.filterwarnings("ignore:Using lambda:UserWarning")
def test_a_pipeline_that_no_seed_fixes_is_refused() -> None:
    rng = np.random.default_rng(0)
    noisy = A.Lambda(image=lambda image, **_: rng.integers(0, 256, image.shape, dtype=np.uint8), p=1.0)
    with pytest.raises(ConfigError, match="another view each time"):
        images_of(stream(Fixed(make=lambda: A.Compose([noisy]))), range(1))


@pytest.mark.filterwarnings("ignore:Using lambda:UserWarning")
def test_a_pipeline_that_cannot_be_sent_is_refused() -> None:
    local = A.Compose([A.Lambda(image=lambda image, **_: image, p=1.0)])
    with pytest.raises(ConfigError, match=r"cannot be sent to worker processes.*num_workers=0"):
        images_of(stream(Fixed(make=lambda: local), workers=1), range(1))


def test_a_setting_that_workers_would_not_be_told_is_refused() -> None:
    with pytest.raises(ConfigError, match="a setting that workers are not told"):
        images_of(stream(Fixed(make=lambda: A.Compose([Darker(by=3)])), workers=1), range(1))


def pool_of(opened: BankStream) -> Pool:
    assert isinstance(opened._maker, Pool)
    return opened._maker


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_dead_worker_is_an_error_and_no_hang() -> None:
    opened = stream(workers=2, block=2)
    opened.at(0)
    workers = [process for process, _ in pool_of(opened)._workers]
    workers[1].kill()
    began = time.perf_counter()
    with pytest.raises(DomainMetricError, match="was ended by signal 9"):
        _ = [opened.at(step) for step in range(STEPS)]
    assert time.perf_counter() - began < 5
    opened.close()
    assert not any(is_alive(process.pid) for process in workers)


def test_workers_end_with_their_connection() -> None:
    """As when the training process is killed: nothing tells them but the closed pipe."""
    opened = stream(workers=1)
    opened.at(0)
    process, connection = pool_of(opened)._workers[0]
    pool_of(opened).wait(1)
    connection.close()
    assert process.wait(timeout=5) == 0
    opened.close()


def test_the_spec_survives_json() -> None:
    views = AlbumentationsViews(pipeline=replace(SOURCE, rotate=3.0), num_workers=2)
    classes = {import_name(cls): cls for cls in (AlbumentationsViews, DigitViews)}
    assert from_json(to_json(views), classes) == views


@pytest.mark.parametrize(
    "make",
    [
        lambda: AlbumentationsViews(pipeline=SOURCE, num_workers=-1),
        lambda: AlbumentationsViews(pipeline=SOURCE, block_steps=0),
        lambda: DigitViews(rotate=-1.0),
        lambda: DigitViews(invert=1.5),
        lambda: AlbumentationsViews(pipeline=SOURCE).check(1),
        lambda: Augment(grey=0.5).check(1),
        lambda: Augment(affine=-1.0),
        lambda: Augment(invert=2.0),
    ],
)
def test_impossible_settings_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        make()


@pytest.fixture
def draw() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_augment_leaves_images_alone_where_nothing_is_asked(draw: torch.Generator) -> None:
    images = some_images()
    assert torch.allclose(Augment(affine=0.0)(images, draw), to_float(images), atol=1e-6)


def test_augment_inverts_and_greys(draw: torch.Generator) -> None:
    images = some_images()
    negative = Augment(affine=0.0, invert=1.0)(images, draw)
    assert torch.allclose(negative, 1 - to_float(images), atol=1e-6)
    grey = Augment(affine=0.0, grey=1.0)(images, draw)
    assert torch.allclose(grey, to_float(images).mean(1, keepdim=True).expand_as(grey), atol=1e-6)
    assert grey.is_contiguous(memory_format=torch.channels_last)
    some = Augment(affine=0.0, invert=0.5)(images, draw)
    same = (some - to_float(images)).abs().amax((1, 2, 3)) < 1e-6
    assert 0 < int(same.sum()) < len(images)


def test_augment_moves_each_image_its_own_way(draw: torch.Generator) -> None:
    image = some_images()[:1].expand(5, -1, -1, -1)
    views = Augment(affine=0.1)(image, draw)
    assert len({view.numpy().tobytes() for view in views}) == 5
    assert 0 <= float(views.min()) < float(views.max()) <= 1


def test_device_views_follow_from_the_step() -> None:
    rows, images = ShuffledRows(20, 6, 0, "rows").rows, some_images()
    opened = Augment(invert=0.5).open(images, rows, seed=0, name="source", num_steps=STEPS)
    again = Augment(invert=0.5).open(images, rows, seed=0, name="source", num_steps=STEPS)
    assert torch.equal(opened.at(5)[1], again.at(5)[1])
    assert torch.equal(opened.of(rows(1), 5), again.of(rows(1), 5))
    assert not torch.equal(opened.of(rows(5), 5), opened.at(5)[1])
    other = Augment(invert=0.5).open(images, rows, seed=0, name="target", num_steps=STEPS)
    assert not torch.equal(other.at(5)[1], opened.at(5)[1])
