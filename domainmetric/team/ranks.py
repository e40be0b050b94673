"""The processes of a run as `torch.distributed` connects them: gloo between CPUs, NCCL between GPUs."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import Tensor, nn

from domainmetric.errors import ProcessLost
from domainmetric.team.base import Portion, Team
from domainmetric.team.layout import Layout, spans
from domainmetric.team.together import Together
from domainmetric.types import Encoded

T = TypeVar("T")

STEP = timedelta(minutes=10)
"""How long a process waits for the others within a step before it gives up. Those that have ended are noticed at once,
except on GPUs."""
AWAKE = 0.02
"""Seconds that a process asks for a message of another CPU before it sleeps."""
FEW = 1 << 14
"""Numbers of which gloo rather brings all to everyone than a sum: that takes one round and not two."""
PATIENCE = timedelta(hours=6)
"""How long it waits for what the leading process does alone: the audit, the report, a phase that another run trains."""


def connect(fabric: Fabric) -> Team:
    """Start the processes that nobody has started yet, and connect all. Raises ProcessLost where that fails."""
    logger = logging.getLogger("lightning_fabric")
    before = logger.level
    logger.setLevel(logging.WARNING)  # it tells of every process on standard error
    try:
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        raise ProcessLost(f"The processes of this run did not find each other: {error}") from error
    finally:
        logger.setLevel(before)
    return Ranks()


class Ranks(Team):
    """The one of this process, and how it reaches the others. All call every method, in the same order."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._by_gloo = dist.get_backend() == "gloo"
        self._asked: tuple[Tensor, dist.Work] | None = None
        with reaching(self):
            self._quick: Any = None if self._by_gloo else dist.new_group(backend="gloo", timeout=STEP)
            self._patient: Any = dist.new_group(backend="gloo", timeout=PATIENCE)

    def share(self, count: int) -> slice:
        return spans(count, self.size)[self.rank]

    def encode(self, network: nn.Module, domain: str, portions: Sequence[Portion]) -> Encoded:
        images = [portion.images for portion in portions]
        layout = layout_of(tuple(portion.total for portion in portions), self.size, self.rank, images[0].device)
        shown = images[0] if len(images) == 1 else torch.cat(images)
        with Together(self, layout):
            encoded: Encoded = network(domain, shown, lambda own: self._whole((own,), layout)[0])
        return encoded

    def gather(self, own: Sequence[Tensor], count: int) -> list[Tensor]:
        return list(self._whole(tuple(own), layout_of((count,), self.size, self.rank, own[0].device)))

    def sum_gradients(self, divided: Iterable[nn.Parameter], whole: Iterable[nn.Parameter]) -> None:
        own = [p.grad for p in divided if p.grad is not None]
        every = [p.grad for p in whole if p.grad is not None]
        for gradient in every:
            gradient.div_(self.size)
        gradients = [*own, *every]
        parts = self.sum(torch.cat([g.flatten() for g in gradients])).split([g.numel() for g in gradients])
        torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])

    def align(self, tensors: Iterable[Tensor]) -> None:
        with reaching(self), torch.no_grad():
            for tensor in tensors:
                sent = tensor.detach().contiguous()
                dist.broadcast(sent, 0)
                tensor.copy_(sent)

    def same(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        sent = torch.cat([as_bytes(tensor).flatten() for tensor in tensors])
        with reaching(self):
            dist.broadcast(sent, 0)
        parts = sent.split([tensor.numel() * tensor.element_size() for tensor in tensors])
        return [from_bytes(part, tensor, tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def any(self, asked: bool) -> bool:
        """Whether any process said so the time before: what is said now is on its way while the next step is made."""
        flag, before = torch.tensor(int(asked)), self._asked
        with reaching(self):
            sent = dist.all_reduce(flag, dist.ReduceOp.MAX, group=self._quick, async_op=True)
            assert sent is not None  # this process is of the group
            self._asked = flag, sent
            if before is not None:
                before[1].wait()
        return before is not None and bool(before[0])

    def told(self, work: Callable[[], T]) -> T:
        text = json.dumps(work()).encode() if self.leads else b""
        length = torch.tensor(len(text))
        with reaching(self):
            dist.broadcast(length, 0, group=self._patient)
            sent = torch.tensor(list(text) if self.leads else [0] * int(length), dtype=torch.uint8)
            dist.broadcast(sent, 0, group=self._patient)
        told: T = json.loads(bytes(sent.tolist()))
        return told

    def wait(self) -> None:
        with reaching(self):
            dist.all_reduce(torch.zeros(1), group=self._patient)

    def collect(self, own: Tensor) -> Tensor:
        """The tensors of all processes, of one shape, in their order."""
        received = own.new_empty(self.size * own.shape[0], *own.shape[1:])
        with reaching(self):
            self._arrive(dist.all_gather_into_tensor(received, own.contiguous(), async_op=True))
        return received.view(self.size, *own.shape)

    def sum(self, own: Tensor) -> Tensor:
        """The sum of the tensors of all processes. What is given may be changed."""
        if self._by_gloo and own.numel() <= FEW:
            return self.collect(own).sum(0)
        with reaching(self):
            self._arrive(dist.all_reduce(own, async_op=True))
        return own

    def _arrive(self, sent: dist.Work | None) -> None:
        """Wait for a message.

        Between CPUs it is asked for a while before this process sleeps: to be woken takes longer than most messages do.
        """
        assert sent is not None  # it is of this group
        if self._by_gloo:
            until = time.perf_counter() + AWAKE
            while not sent.is_completed() and time.perf_counter() < until:
                os.sched_yield()
        sent.wait()

    def _whole(self, own: tuple[Tensor, ...], layout: Layout) -> tuple[Tensor, ...]:
        """The rows of all processes in the order of the whole. Each then has the gradient at its own rows."""
        whole: tuple[Tensor, ...] = _Gather.apply(self, layout, *own)
        return whole


class _Gather(torch.autograd.Function):
    """Rows of all processes, in one message. The loss is one and the same in each process, so the gradient of a
    process' rows is what stands at their places: nothing is exchanged on the way back.
    """

    @staticmethod
    def forward(ctx: Any, ranks: Ranks, layout: Layout, *own: Tensor) -> tuple[Tensor, ...]:
        ctx.layout = layout
        ctx.set_materialize_grads(False)
        rows = torch.cat([as_bytes(tensor) for tensor in own], 1)
        sent = nn.functional.pad(rows, (0, 0, 0, layout.longest - len(rows)))
        whole = ranks.collect(sent).flatten(0, 1)[layout.order]
        parts = whole.split([as_bytes(tensor).shape[1] for tensor in own], 1)
        return tuple(from_bytes(p, t, (layout.total, *t.shape[1:])) for p, t in zip(parts, own, strict=True))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        return (None, None, *(None if g is None else ctx.layout.cut(g) for g in gradients))


@contextmanager
def reaching(team: Team) -> Iterator[None]:
    """Within it, what goes wrong between processes is said so. Raises ProcessLost."""
    try:
        yield
    except RuntimeError as error:
        said = re.sub(r"^\[\S+:\d+\] ", "", (str(error) or "no reason").splitlines()[0]).split(". ")[0]
        raise ProcessLost(
            f"Process {team.rank} of the {team.size} of this run no longer reaches the others: one has ended, whose "
            f"own message says why, or does not answer ({said})."
        ) from error


@lru_cache(maxsize=64)
def layout_of(counts: tuple[int, ...], size: int, rank: int, device: torch.device) -> Layout:
    """The layout of a pass; those of a phase are a handful."""
    return Layout(counts, size, rank, device)


def as_bytes(tensor: Tensor) -> Tensor:
    """The bytes of each row."""
    rows = tensor.detach()[:, None] if tensor.ndim == 1 else tensor.detach().flatten(1)
    return rows.contiguous().view(torch.uint8)


def from_bytes(sent: Tensor, like: Tensor, shape: Sequence[int]) -> Tensor:
    """The tensor that these are the bytes of, of the type of `like`."""
    apart = sent.clone(memory_format=torch.contiguous_format)  # so that it begins where numbers may begin
    return apart.flatten().view(like.dtype).view(*shape)
