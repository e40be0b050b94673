"""What a run asks of the processes that share it, and the one process that has all to itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from domainmetric.types import Encoded

T = TypeVar("T")


class Portion(NamedTuple):
    """Images of a batch that this process encodes."""

    images: Float[Tensor, "own c h w"]
    total: int
    """Images of the whole batch."""


class Team(ABC):
    """The processes of a run: `size` of them, of which this one is `rank`. The first leads."""

    rank: int
    size: int

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes, shows and reports."""
        return self.rank == 0

    @abstractmethod
    def share(self, count: int) -> slice:
        """The places that this process handles in a batch of `count` images."""

    @abstractmethod
    def encode(self, network: nn.Module, domain: str, portions: Sequence[Portion]) -> Encoded:
        """One pass over the images of all processes, so that batch statistics are those of all: the whole of it."""

    @abstractmethod
    def gather(self, own: Sequence[Tensor], count: int) -> list[Tensor]:
        """Tensors of `count` rows, of which this process has its share. Without gradients."""

    @abstractmethod
    def sum_gradients(self, divided: Iterable[nn.Parameter], whole: Iterable[nn.Parameter]) -> None:
        """After a backward pass: give every parameter its gradient, the same in each process.

        Of the `divided` ones each process has what its own rows add; of the others it has the whole.
        """

    @abstractmethod
    def align(self, tensors: Iterable[Tensor]) -> None:
        """Give tensors, in place, the values that they have in the leading process."""

    @abstractmethod
    def same(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The leading process' tensors, of the same shapes as here."""

    @abstractmethod
    def any(self, asked: bool) -> bool:
        """Whether any process said so, this time or, where there are others, the time before: nobody waits for them."""

    @abstractmethod
    def told(self, work: Callable[[], T]) -> T:
        """What `work` gives in the leading process, where alone it is done: anything that JSON can say."""

    @abstractmethod
    def wait(self) -> None:
        """Until all processes are here."""


class Alone(Team):
    """One process: everything is its own, and there is nobody to tell."""

    rank, size = 0, 1

    def share(self, count: int) -> slice:
        return slice(count)

    def encode(self, network: nn.Module, domain: str, portions: Sequence[Portion]) -> Encoded:
        images = [portion.images for portion in portions]
        encoded: Encoded = network(domain, images[0] if len(images) == 1 else torch.cat(images))
        return encoded

    def gather(self, own: Sequence[Tensor], count: int) -> list[Tensor]:
        return list(own)

    def sum_gradients(self, divided: Iterable[nn.Parameter], whole: Iterable[nn.Parameter]) -> None:
        """Each parameter has it already."""

    def align(self, tensors: Iterable[Tensor]) -> None:
        """They are."""

    def same(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return list(tensors)

    def any(self, asked: bool) -> bool:
        return asked

    def told(self, work: Callable[[], T]) -> T:
        return work()

    def wait(self) -> None:
        """There is nobody to wait for."""


ALONE = Alone()
"""It remembers nothing, so one serves all."""
