"""Within a run, files of a user's own are looked for once, and taken to be what they were then.

Between runs nothing is remembered, so that what has changed is noticed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_seen: ContextVar[set[Path] | None] = ContextVar("stores that were found up to date", default=None)


@contextmanager
def looked_once() -> Iterator[None]:
    """Within it, also within another one, a `Converted` domain looks for its images once."""
    if _seen.get() is not None:
        yield
        return
    token = _seen.set(set())
    try:
        yield
    finally:
        _seen.reset(token)


def up_to_date() -> set[Path]:
    """The stores that need not be asked about again; outside of `looked_once` none is remembered."""
    found = _seen.get()
    return set() if found is None else found
