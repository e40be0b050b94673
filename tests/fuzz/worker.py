"""A process with limits that gives one reader damaged inputs: `worker READER FIRST COUNT FOLDER`.

It reads in a fork of itself, so that a crash that is contained costs a fork, and not the imports.
"""

from __future__ import annotations

import mmap
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from tests.fuzz.damage import damaged
from tests.fuzz.targets import TARGETS

SECONDS, MEMORY = 5, 512 * 2**20
REACHED = "reached"
"""A file of eight bytes: the number of the input in hand, which outlives the process."""
CONTAINED = "contained"
"""A file of the numbers of inputs that crashed a reader which is contained, one a line."""


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


def in_forks(work: Callable[[int, int], object], name: str, first: int, count: int, folder: Path) -> None:
    """Have `work(first, count)` done in a fork, and what a contained crash leaves of it in another one.

    Any other end of a fork is the end of this process, too.
    """
    end = first + count
    while first < end:
        child = os.fork()
        if not child:
            work(first, end - first)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 0:
            return
        if not TARGETS[name].contained or -code not in (signal.SIGSEGV, signal.SIGBUS):
            ends_like(code)
        number = int.from_bytes((folder / REACHED).read_bytes(), "little")
        with (folder / CONTAINED).open("a") as file:
            file.write(f"{number}\n")
        first = number + 1


def ends_like(code: int) -> NoReturn:
    """End this process as another one ended."""
    if code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(code)


def work(name: str, first: int, count: int, folder: Path) -> int:
    """Returns how many inputs were accepted."""
    limit()
    target = TARGETS[name]
    one = watched(target.check, first, folder)
    return sum(one(damaged(target.seeds, number)) for number in range(first, first + count))


if __name__ == "__main__":
    reader, begin, number, place = sys.argv[1:]
    in_forks(lambda first, count: work(reader, first, count, Path(place)), reader, int(begin), int(number), Path(place))
