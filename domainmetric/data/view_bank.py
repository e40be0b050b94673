"""albumentations views of a user's own making, made ahead of time by worker processes.

The samplers tell which rows every future step shows, so the views of a block of steps are made while the block
before is trained on, into one half of a shared buffer. A block becomes visible at its first step, which waits for it.

The seed of a view follows from the experiment's seed, the stream, the step and the place in the batch, and from nothing
else. So the number of workers and the length of a block change no pixel, and a resumed run sees the same images.
Memory: two blocks of uint8 images (`2 x block_steps x batch x height x width x channels` bytes, 6 MB for 130 color
images of 32 x 32 pixels and 8 steps), and about 100 MB for each worker.
"""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from domainmetric.data.augment import to_float
from domainmetric.data.view_pool import InProcess, Pool, packed
from domainmetric.data.views import Rows, Share, Views, ViewStream
from domainmetric.data.views_worker import rebuilt, render
from domainmetric.errors import ConfigError
from domainmetric.randomness import generator

if TYPE_CHECKING:
    import albumentations


@dataclass(frozen=True, kw_only=True)
class Pipeline(ABC):
    """An albumentations pipeline as a value: derive from it in your own file, with fields for what you want to vary."""

    @abstractmethod
    def build(self) -> albumentations.Compose:
        """The pipeline; it gets and returns uint8 images (height, width, channels) of one size."""

    def check(self, channels: int) -> None:  # noqa: B027  nothing to refuse unless a pipeline says so
        """Raise ConfigError where a setting could have no effect on images with `channels` channels."""


@dataclass(frozen=True, kw_only=True)
class AlbumentationsViews(Views):
    """Views by an albumentations pipeline in worker processes.

    Matched anchors are shown clean: which they are is known only within the step, when it is too late for a worker, and
    an anchor stands for its class best as it is.
    """

    pipeline: Pipeline
    """What is done to an image."""
    num_workers: int = 1
    """Processes that make views; 0 makes them in the training process. Changes no pixel."""
    block_steps: int = 8
    """Steps whose views are made at a time. Changes no pixel."""

    def __post_init__(self) -> None:
        if self.num_workers < 0:
            raise ConfigError(f"AlbumentationsViews.num_workers must not be negative, but is {self.num_workers}.")
        if self.block_steps < 1:
            raise ConfigError(f"AlbumentationsViews.block_steps must be at least 1, but is {self.block_steps}.")

    @property
    def looks_ahead(self) -> bool:
        return True

    def check(self, channels: int) -> None:
        self.pipeline.check(channels)

    def open(
        self,
        images: UInt8[Tensor, "n h w c"],
        rows: Rows,
        *,
        seed: int,
        name: str,
        num_steps: int,
        share: Share = slice,
    ) -> ViewStream:
        return BankStream(self, images, rows, seed, name, num_steps, share)


class BankStream(ViewStream):
    """Two halves of a buffer: one is shown, the other is being made. Workers start with the first step asked for."""

    def __init__(
        self,
        views: AlbumentationsViews,
        images: UInt8[Tensor, "n h w c"],
        rows: Rows,
        seed: int,
        name: str,
        num_steps: int,
        share: Share,
    ) -> None:
        self._views, self._images, self._rows = views, images, rows
        self._seed, self._name, self._num_steps, self._share = seed, name, num_steps, share
        self._maker: InProcess | Pool | None = None
        self._held: dict[int, int] = {}  # half of the buffer -> block that it holds, made or in the making

    def at(self, step: int) -> tuple[Int64[Tensor, " b"], Float[Tensor, "own c h w"]]:
        rows, block = self._rows(step), step // self._views.block_steps
        own = len(rows[self._share(len(rows))])
        maker = self._maker = self._maker or self._start(own)
        self._request(maker, block)
        maker.wait(block % 2)
        if (block + 1) * self._views.block_steps < self._num_steps:
            self._request(maker, block + 1)
        place = step % self._views.block_steps * own
        shown = torch.from_numpy(maker.slots[block % 2, place : place + own])
        device = self._images.device
        return rows.to(device, non_blocking=True), to_float(shown.to(device))

    def of(self, rows: Int64[Tensor, " e"], step: int) -> Float[Tensor, "own c h w"]:
        return to_float(self._images[rows[self._share(len(rows))]])

    def close(self) -> None:
        if self._maker is not None:
            self._maker.close()
            self._maker = None
            self._held.clear()

    def _request(self, maker: InProcess | Pool, block: int) -> None:
        """Have a block made in its half of the buffer, unless it is there."""
        half, length = block % 2, self._views.block_steps
        if self._held.get(half) == block:
            return
        maker.wait(half)  # a jump to another step may leave a block behind that nobody asked for
        steps = range(block * length, (block + 1) * length)
        shown = [self._rows(step) for step in steps]
        rows = torch.cat([batch[self._share(len(batch))] for batch in shown])
        seeds = [
            seed
            for step, batch in zip(steps, shown, strict=True)
            for seed in self._seeds(step, len(batch))[self._share(len(batch))]
        ]
        maker.slots[half, : len(rows)] = self._images[rows.to(self._images.device)].cpu().numpy()
        maker.submit(half, seeds)
        self._held[half] = block

    def _seeds(self, step: int, count: int) -> list[int]:
        draw = generator("cpu", self._seed, self._name, "views", step)
        seeds: list[int] = torch.randint(2**63 - 1, (count,), generator=draw).tolist()
        return seeds

    def _start(self, batch: int) -> InProcess | Pool:
        import_albumentations()
        compose = self._views.pipeline.build()
        images, seeds = self._images[:8].cpu().numpy(), self._seeds(0, 8)
        if not same_views(compose, compose, images, seeds):
            raise ConfigError(
                "The albumentations pipeline gives the same image another view each time, though its random state is "
                "set. Let your transforms draw from self.py_random and self.random_generator only."
            )
        height, width, channels = self._images.shape[1:]
        shape, size = (height, width, channels), self._views.block_steps * batch
        if not self._views.num_workers:
            return InProcess(compose, 2, size, shape)
        message = packed(compose)
        if not same_views(compose, rebuilt(message), images, seeds):
            raise ConfigError(
                "A transform of the albumentations pipeline has a setting that workers are not told. Let its arguments "
                "and its attributes have the same names; or make the views with num_workers=0."
            )
        return Pool(message, 2, size, shape, self._views.num_workers)


def import_albumentations() -> Any:
    """The albumentations module, imported without asking the network for a newer version, which it does otherwise."""
    name = "NO_ALBUMENTATIONS_UPDATE"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        return importlib.import_module("albumentations")
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def same_views(one: Any, other: Any, images: np.ndarray[Any, np.dtype[np.uint8]], seeds: list[int]) -> bool:
    """Whether two pipelines, or one twice, make the same views. Raises DataError where they make no images."""
    views = images.copy(), images.copy()
    render(one, views[0], seeds[: len(images)])
    render(other, views[1], seeds[: len(images)])
    return np.array_equal(*views)
