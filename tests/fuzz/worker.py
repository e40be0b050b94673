"""A process with limits that gives one reader damaged inputs: `worker READER FIRST COUNT FOLDER`."""

from __future__ import annotations

import mmap
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.damage import damaged
from tests.fuzz.targets import TARGETS

SECONDS, MEMORY = 5, 512 * 2**20
REACHED = "reached"
"""A file of eight bytes: the number of the input in hand, which outlives the process."""


def limit() -> None:
    """Bound the memory of this process, from now on, to 512 MB more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def watched(check: Callable[[bytes, Path], bool], first: int, folder: Path) -> Callable[[bytes], bool]:
    """A reader's check that counts its inputs. One that takes too long ends the process, by SIGPROF."""
    path = folder / REACHED
    path.write_bytes(bytes(8))
    with path.open("r+b") as file:
        reached = mmap.mmap(file.fileno(), 8)
    number = first

    def one(data: bytes) -> bool:
        nonlocal number
        reached[:] = number.to_bytes(8, "little")
        number += 1
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            return check(data, folder)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    return one


def work(name: str, first: int, count: int, folder: Path) -> int:
    """Returns how many inputs were accepted."""
    target = TARGETS[name]
    one = watched(target.check, first, folder)
    return sum(one(damaged(target.seeds, number)) for number in range(first, first + count))


if __name__ == "__main__":
    reader, begin, number, place = sys.argv[1:]
    limit()
    work(reader, int(begin), int(number), Path(place))
