"""Where the random views of a domain's images come from.

A view is never chosen by who makes it or when: it follows from the seed, the stream's name, the step and the place in
the batch. So a run that is resumed at any step, or whose views are made by other processes, sees the same images.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float, Int64, UInt8
from torch import Tensor

Rows = Callable[[int], Int64[Tensor, " b"]]
"""The rows of a step, on the CPU: a pure function, and the same number of rows at every step."""


Share = Callable[[int], slice]
"""The places of a batch of so many images whose views are to be made here: all, or the share of this process."""


class ViewStream(ABC):
    """The views of one phase and domain, step by step; it may be asked for any step at any time."""

    @abstractmethod
    def at(self, step: int) -> tuple[Int64[Tensor, " b"], Float[Tensor, "own c h w"]]:
        """All rows of a step, and the views in [0, 1] of its share of them, on the images' device."""

    @abstractmethod
    def of(self, rows: Int64[Tensor, " e"], step: int) -> Float[Tensor, "own c h w"]:
        """Images in [0, 1] of its share of rows that nobody could know beforehand: the matched anchors of a step."""

    @abstractmethod
    def close(self) -> None:
        """Give back what the stream holds beside memory."""


@dataclass(frozen=True, kw_only=True)
class Views(ABC):
    """How random views are made: the spec."""

    @abstractmethod
    def check(self, channels: int) -> None:
        """Raise ConfigError where a setting could have no effect on images with `channels` channels."""

    @property
    def looks_ahead(self) -> bool:
        """Whether the rows of a step are asked for before that step, which must then know them."""
        return False

    @abstractmethod
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
        """The views of `rows(0)` .. `rows(num_steps - 1)` of `images`; `name` tells this stream from all others.

        Where several processes share a run, `share` tells which places of a batch this one makes; a view is the same
        whoever makes it.
        """
