"""Permissions that count, also where the tests run as root."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

VERSION = 0x20080522
"""Of Linux' interface to capabilities, in two halves of 32 bits."""
OVERRIDE = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, by which root reads and writes everything."""


class Half(ctypes.Structure):
    """One half of a thread's capabilities."""

    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextmanager
def that_count() -> Iterator[None]:
    """Within it, root has no more than the permissions of its files: this thread, and those that it starts.

    Another user, who would show the same, often cannot read a Python that lies in root's home.
    """
    if os.geteuid() != 0:
        yield
        return
    if sys.platform != "linux":
        pytest.skip("root may read and write everything, and only Linux lets go of that: run it as another user")
    libc = ctypes.CDLL(None, use_errno=True)
    header, halves = (ctypes.c_uint32 * 2)(VERSION, 0), (Half * 2)()
    assert libc.capget(header, halves) == 0, os.strerror(ctypes.get_errno())
    before = halves[0].effective
    halves[0].effective = before & ~OVERRIDE
    assert libc.capset(header, halves) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        halves[0].effective = before
        assert libc.capset(header, halves) == 0, os.strerror(ctypes.get_errno())
