"""One process at a time computes a phase that several runs share; the others wait, and then take its result."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from domainmetric import durable
from domainmetric.errors import Interrupted

POLL_SECONDS = 0.2


@contextmanager
def alone(store: Path, stopping: Callable[[], bool], waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock that belongs to the file `store`, which need not exist; its folder is made.

    Where another process holds it, `waiting` is called once, and `stopping` now and then: Interrupted is raised when it
    says so. The lock goes with the process that holds it, so a dead one keeps nobody waiting.
    """
    durable.make_folder(store.parent)
    handle = durable.open_lock(store.with_name(f".{store.name}.lock"))
    try:
        if not durable.take_lock(handle):
            waiting()
            while not durable.take_lock(handle):
                if stopping():
                    raise Interrupted("The run was asked to stop. It was waiting for a phase that another run trains.")
                time.sleep(POLL_SECONDS)
        yield
    finally:
        os.close(handle)
