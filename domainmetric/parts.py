"""Names for the parts of a training step, so that `domainmetric profile` can tell where the time goes.

`with part("backward"):` does nothing unless a stopwatch is running in this context; then the time of the block goes to
that name, and no longer to the part that it lies in.
"""

from __future__ import annotations

import time
from collections import defaultdict
from contextvars import ContextVar
from types import TracebackType

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle


class Stopwatch:
    """Adds up the time of each part, in seconds; on a GPU it waits for the device at each boundary."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._cuda = device.type == "cuda"
        self._device = device
        self._open: list[str] = []
        self._since = 0.0

    def start(self) -> None:
        """Run: what no part claims is the `host`'s: Python, and the small things between the parts."""
        _running.set(self)
        self.push("host")

    def stop(self) -> None:
        """Stop running; the times stay."""
        self.pop()
        _running.set(None)

    def push(self, name: str) -> None:
        """From now on, time goes to `name`."""
        self._turn()
        self._open.append(name)

    def pop(self) -> None:
        """From now on, time goes to the part that was running before the last one."""
        self._turn()
        self._open.pop()

    def _turn(self) -> None:
        if self._cuda:
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now


_running: ContextVar[Stopwatch | None] = ContextVar("domainmetric_stopwatch", default=None)


class part:
    """Context manager that names a part of the step."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._watch = _running.get()
        if self._watch is not None:
            self._watch.push(self._name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._watch.pop()


def name_module(module: nn.Module, name: str) -> list[RemovableHandle]:
    """Give the forward passes of a module a name, until the handles are removed."""
    block = part(name)
    before = module.register_forward_pre_hook(lambda *_: block.__enter__())
    after = module.register_forward_hook(lambda *_: block.__exit__(None, None, None))
    return [before, after]
