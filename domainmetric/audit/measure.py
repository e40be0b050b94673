"""Figures of one set of images, in one pass and in bounded memory; no figure depends on the order of the images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import chain

import numpy as np
import torch
from jaxtyping import UInt8, UInt64
from numpy.typing import NDArray
from torch import Tensor

_CHUNK = 512
"""Images at once: some 25 MB at 32x32x3, when they are widened to be hashed."""
_LEVELS = np.arange(256)

Hashes = UInt64[np.ndarray, " _"]


@dataclass(frozen=True, kw_only=True)
class SetFacts:
    """Figures of a set of images. Values are as stored, 0 to 255."""

    count: int
    size: tuple[int, int, int]
    """Height, width and channels."""
    low: int
    high: int
    mean: float
    deviation: float
    channel_means: tuple[float, ...]
    channel_deviations: tuple[float, ...]
    light_middle: float
    """Polarity: the share of images whose middle is lighter than their border. Near 1: light on dark."""
    blank: int
    """Images of one value only."""
    duplicates: int
    """Images that are equal to another one of the set, one of each kind not counted."""


def measure(parts: Iterable[UInt8[Tensor, "_n h w c"]]) -> tuple[SetFacts, Hashes]:
    """The figures of a set that is given in parts, and a hash for each different image, in ascending order."""
    chunks = (part[rows].cpu().numpy() for part in parts for rows in torch.arange(len(part)).split(_CHUNK))
    first = next(chunks)
    size: tuple[int, int, int] = first.shape[1:]
    levels = np.zeros((size[2], 256), np.int64)
    hashes: list[Hashes] = []
    light = blank = 0
    for images in chain([first], chunks):
        flat = images.reshape(len(images), -1)
        levels += [np.bincount(images[..., channel].ravel(), minlength=256) for channel in range(size[2])]
        light += int(light_middle(images).sum())
        blank += int((flat.min(1) == flat.max(1)).sum())
        hashes.append(flat.astype(np.uint64) @ weights(size))
    different = np.unique(np.concatenate(hashes))
    count = sum(map(len, hashes))
    every = levels.sum(0)
    means, deviations = zip(*map(moments, levels), strict=True)
    mean, deviation = moments(every)
    facts = SetFacts(
        count=count,
        size=size,
        low=int(every.nonzero()[0][0]),
        high=int(every.nonzero()[0][-1]),
        mean=mean,
        deviation=deviation,
        channel_means=means,
        channel_deviations=deviations,
        light_middle=light / count,
        blank=blank,
        duplicates=count - len(different),
    )
    return facts, different


def moments(levels: NDArray[np.int64]) -> tuple[float, float]:
    """Mean and deviation of values that occur so many times each, exactly summed."""
    total, first, second = int(levels.sum()), int(levels @ _LEVELS), int(levels @ _LEVELS**2)
    return first / total, math.sqrt(total * second - first**2) / total


def light_middle(images: UInt8[np.ndarray, "n h w c"]) -> NDArray[np.bool_]:
    """Whether the middle of each image (half its height and width) is lighter on average than its border."""
    height, width = images.shape[1:3]
    top, left = height // 4, width // 4
    edge = max(1, min(height, width) // 8)
    middle = images[:, top : height - top, left : width - left]
    inner = images[:, edge : height - edge, edge : width - edge]
    axes = (1, 2, 3)
    border = images.sum(axes, dtype=np.int64) - inner.sum(axes, dtype=np.int64)
    size = images[0].size - inner[0].size
    light: NDArray[np.bool_] = middle.sum(axes, dtype=np.int64) * size > border * middle[0].size
    return light


@cache
def weights(size: tuple[int, int, int]) -> UInt64[np.ndarray, " p"]:
    """A random number for each value of an image: the sum of the products, modulo 2^64, is the image's hash.

    Two different images have the same hash with a chance below 2^-56. A grey image has the hash of its color version.
    """
    height, width, channels = size
    drawn = np.random.default_rng(0).integers(2**64, size=(height, width, 3), dtype=np.uint64)
    return (drawn if channels == 3 else drawn.sum(2)).ravel()
