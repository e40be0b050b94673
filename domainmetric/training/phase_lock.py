"""One process at a time computes a phase that several runs share; the others wait, and then take its result."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from domainmetric.errors import Interrupted

POLL_SECONDS = 0.2


@contextmanager
def alone(store: Path, stopping: Callable[[], bool], waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock that belongs to the file `store`, which need not exist; its folder is made.

    Where another process holds it, `waiting` is called once, and `stopping` now and then: Interrupted is raised when it
    says so. The lock goes with the process that holds it, so a dead one keeps nobody waiting.
    """
    store.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(store.with_name(f".{store.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _taken(handle):
            waiting()
            while not _taken(handle):
                if stopping():
                    raise Interrupted("The run was asked to stop. It was waiting for a phase that another run trains.")
                time.sleep(POLL_SECONDS)
        yield
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    """Whether the lock is ours now."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
