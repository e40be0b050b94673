"""Images that stay where they lie: whoever picks rows of them gets those rows, on the device.

For sets that the device has no room for. They look like a tensor of all images on the device, so that nothing else need
know; but only picking rows, cutting along the first dimension and asking for shape and device cost nothing. Whatever
else is done with them is done with the images themselves, which are then all read.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.utils._pytree import tree_map_only

aten = torch.ops.aten


class Streamed(Tensor):
    """Rows of an array in a file, or of a tensor in the host's memory, as uint8 images (n h w c) on a device.

    A file is mapped for as long as rows are read, so that the pages that it takes do not add up in this process.
    """

    stored: Path | Tensor
    rows: Int64[Tensor, " n"]
    """Rows of what is stored, on the CPU."""

    @staticmethod
    def __new__(cls, stored: Path | Tensor, rows: Int64[Tensor, " n"], device: torch.device) -> Streamed:
        shape = stored.shape if isinstance(stored, Tensor) else np.load(stored, mmap_mode="r").shape
        new: Streamed = torch.Tensor._make_wrapper_subclass(
            cls, (len(rows), *shape[1:]), dtype=torch.uint8, device=device
        )
        new.stored, new.rows = stored, rows
        return new

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"Streamed({tuple(self.shape)}, device='{self.device}')"

    def read(self, rows: Int64[Tensor, " r"]) -> UInt8[Tensor, "r h w c"]:
        """Some of the images, on the CPU; for a GPU in memory from which it takes them without waiting."""
        chosen = self.rows[rows.cpu()]
        if isinstance(self.stored, Tensor):
            images = self.stored[chosen]
        else:
            images = torch.from_numpy(np.asarray(np.load(self.stored, mmap_mode="r")[chosen.numpy()]))
        return images.pin_memory() if self.device.type == "cuda" else images

    def pick(self, rows: Int64[Tensor, " r"]) -> UInt8[Tensor, "r h w c"]:
        """Some of the images, on the device."""
        return self.read(rows).to(self.device, non_blocking=True)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in CHEAP and isinstance(args[0], Streamed):
            found = CHEAP[func](args[0], *args[1:], **(kwargs or {}))
            if found is not None:
                return found
        whole = tree_map_only(Streamed, lambda images: images.pick(torch.arange(len(images))), (args, kwargs or {}))
        return func(*whole[0], **whole[1])


def _index(images: Streamed, indices: list[Tensor | None]) -> Tensor | None:
    """`images[rows]`, by numbers or by a mask."""
    if len(indices) > 1 or indices[0] is None or indices[0].ndim != 1:
        return None
    rows = indices[0].cpu()
    return images.pick(rows.nonzero()[:, 0] if rows.dtype == torch.bool else rows)


def _slice(
    images: Streamed, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Streamed | None:
    return Streamed(images.stored, images.rows[start:end:step], images.device) if dim == 0 else None


def _split(images: Streamed, size: int, dim: int = 0) -> list[Streamed] | None:
    if dim != 0:
        return None
    return [Streamed(images.stored, rows, images.device) for rows in images.rows.split(size)]


def _same(images: Streamed) -> Streamed:
    return Streamed(images.stored, images.rows, images.device)


def _moved(images: Streamed, *, device: torch.device | None = None, **others: object) -> Streamed | None:
    others.pop("non_blocking", None)
    if device is None or any(other is not None for other in others.values()):
        return None
    return Streamed(images.stored, images.rows, device)


CHEAP: dict[Any, Callable[..., Any]] = {
    aten.index.Tensor: _index,
    aten.slice.Tensor: _slice,
    aten.split.Tensor: _split,
    aten.detach.default: _same,
    aten.alias.default: _same,
    aten._to_copy.default: _moved,
}
"""What reads no more rows than are asked for; None where that does not hold for what was given."""


class Ahead:
    """Reads the rows of the next step in a thread, while this one is computed. A wrong guess costs time alone."""

    def __init__(self, images: Streamed) -> None:
        self._images, self._pool = images, ThreadPoolExecutor(1, thread_name_prefix="images")
        self._guess: tuple[Tensor, Future[Tensor]] | None = None

    def __call__(self, rows: Int64[Tensor, " r"], following: Int64[Tensor, " r"]) -> UInt8[Tensor, "r h w c"]:
        """The images of `rows`, on the device; `following` are those that are expected next. Both lie on the CPU."""
        guess, self._guess = self._guess, None
        known = guess is not None and torch.equal(guess[0], rows)
        found = guess[1].result() if guess is not None and known else self._images.read(rows)
        self._guess = following, self._pool.submit(self._images.read, following)
        return found.to(self._images.device, non_blocking=True)

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(cancel_futures=True)
