"""Wall time of work on a device, without waiting for the device when the work is handed over."""

from __future__ import annotations

import time
from types import TracebackType

import torch


class WallTime:
    """Context manager; `seconds` afterwards. On a GPU only who asks for the seconds waits for the device."""

    def __init__(self, device: torch.device) -> None:
        cuda = device.type == "cuda"
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if cuda else []
        self._clock = [0.0, 0.0]

    def __enter__(self) -> WallTime:
        self._mark(0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mark(1)

    @property
    def seconds(self) -> float:
        """Between beginning and end of the block."""
        if self._events:
            self._events[1].synchronize()
            return float(self._events[0].elapsed_time(self._events[1])) / 1e3
        return self._clock[1] - self._clock[0]

    def _mark(self, place: int) -> None:
        if self._events:
            self._events[place].record()
        else:
            self._clock[place] = time.perf_counter()
