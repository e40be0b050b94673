"""Being asked to stop: signals set a flag, the loop looks at it between steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class StopFlag:
    """Context manager that turns SIGINT and SIGTERM into a flag. A SIGINT after either ends at once.

    Outside the main thread Python allows no handlers; then it never stops anything.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[int, signal.Handlers | int | None] = {}

    def __call__(self) -> bool:
        return self._asked

    def __enter__(self) -> StopFlag:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)  # type: ignore[assignment]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        """The handler: it sets the flag and no more, since another signal may come while it works."""
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = True
