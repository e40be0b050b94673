"""The one place through which a run writes: files that are whole or absent, and files that grow record by record.

A file is written beside its name, flushed to the disk, read back, and only then renamed. So whatever happens, be it
that the process is killed, the power fails or the disk is full, a reader finds the old file or the new one. An error
that may pass is met by trying again a few times, each time from the start: after a failed flush the system may have
dropped what it had not yet written. Nothing else writes into a run folder, so that tests can put faults in place of
`os` here.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

from domainmetric.errors import NotRead, NotWritten

T = TypeVar("T")

PASSING = frozenset({errno.EIO, errno.EINTR, errno.EAGAIN})
"""Errors after which the same may succeed."""
PAUSES_S = (0.05, 0.2, 0.8)
"""How long to wait before each further attempt; then it is given up."""
PASSING_READS = PASSING | {errno.ESTALE, errno.EMFILE, errno.ENFILE}
PARTIAL = ".partial"

_muted: ContextVar[bool] = ContextVar("domainmetric_muted", default=False)


@contextmanager
def muted() -> Iterator[None]:
    """Within it nothing is written, made, deleted or locked: where processes share a run, another does so for all."""
    before = _muted.set(True)
    try:
        yield
    finally:
        _muted.reset(before)


def persist(path: Path, attempt: Callable[[], T]) -> T:
    """Do it, a few times where the error may pass. Raises NotWritten."""
    try:
        return tried(attempt, PASSING)
    except OSError as error:
        raise NotWritten(
            f"Could not write {path}: {error.strerror or error}. Make room there or fix the permissions; what was "
            "written before is kept."
        ) from error


def tried(attempt: Callable[[], T], passing: frozenset[int]) -> T:
    """Do it, again after a pause where the error may pass. Raises the OSError that did not."""
    for pause in PAUSES_S:
        try:
            return attempt()
        except OSError as error:
            if error.errno not in passing:
                raise
        time.sleep(pause)
    return attempt()


def write(path: Path, payload: bytes, *, keep: Path | None = None) -> None:
    """Write a file whole. The file that bore its name becomes `keep`, once the new one is known to be good."""
    if _muted.get():
        return
    beside = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")

    def attempt() -> None:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            put(handle, payload)
            os.fsync(handle)
        finally:
            os.close(handle)
        if read_back(beside) != payload:
            raise OSError(errno.EIO, "The disk gives back other bytes than were written")
        if keep is not None:
            with suppress(FileNotFoundError):
                os.replace(path, keep)
        os.replace(beside, path)
        sync_folder(path.parent)

    try:
        persist(path, attempt)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise


def read(path: Path) -> bytes:
    """What a file holds; tried a few times where the error may pass. Raises FileNotFoundError, and NotRead."""

    def attempt() -> bytes:
        with os.fdopen(os.open(path, os.O_RDONLY), "rb") as file:
            return file.read()

    try:
        return tried(attempt, PASSING_READS)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise NotRead(
            f"Could not read {path}: {error.strerror or error}. Nothing was deleted. Mend the disk, or the "
            "permissions, and try again."
        ) from error


def put(handle: int, payload: bytes) -> None:
    """Write all of it, in as many pieces as the system takes it in."""
    rest = memoryview(payload)
    while rest:
        rest = rest[os.write(handle, rest) :]


def read_back(path: Path) -> bytes:
    """What a file holds: from the disk rather than from memory, where the system can be asked for that."""
    handle = os.open(path, os.O_RDONLY)
    with os.fdopen(handle, "rb") as file:
        if sys.platform == "linux":
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        return file.read()


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path) -> bool:
    """Make a folder, and those above it. Returns whether it is new."""
    if _muted.get():
        return False
    if not path.parent.is_dir():
        make_folder(path.parent)

    def attempt() -> bool:
        try:
            os.mkdir(path)
        except FileExistsError:
            return False
        return True

    new = persist(path, attempt)
    persist(path, lambda: sync_folder(path.parent))
    return new


def remove(path: Path) -> None:
    """Delete a file, if it is there."""
    if _muted.get():
        return

    def attempt() -> None:
        with suppress(FileNotFoundError):
            os.unlink(path)

    persist(path, attempt)


def rename(path: Path, target: Path) -> None:
    """Give a file another name; what bore that one goes."""
    if _muted.get():
        return

    def attempt() -> None:
        os.replace(path, target)
        sync_folder(path.parent)

    persist(path, attempt)


def sweep(folder: Path) -> None:
    """Delete what writers that were killed left half-written below a folder."""
    for path in folder.rglob(f".*{PARTIAL}"):
        remove(path)


class Growing:
    """A file of lines to which whole lines are added. What a failed attempt left of one is taken back."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; a torn last line does not count, and goes with the next line that is added."""
        self.path = Path(os.devnull) if _muted.get() else path
        self._handle: int | None = self._open()
        self.size = read(self.path).rfind(b"\n") + 1
        """Bytes in whole lines."""

    @property
    def closed(self) -> bool:
        """Whether it takes nothing more."""
        return self._handle is None

    def add(self, line: bytes) -> None:
        """Add a line, or nothing. Raises NotWritten."""
        if _muted.get():
            return

        def attempt() -> None:
            os.ftruncate(self._open_handle(), self.size)  # what an attempt before, or a killed process, left
            put(self._open_handle(), line)

        persist(self.path, attempt)
        self.size += len(line)

    def sync(self) -> None:
        """Flush it to the disk. Raises NotWritten, or NotRead."""
        if _muted.get():
            return
        try:
            os.fsync(self._open_handle())
        except OSError:  # the system may have dropped pages: those that are still in memory are written anew
            self.replace(read(self.path)[: self.size])

    def replace(self, content: bytes) -> None:
        """Exchange all lines for others, in one move. Raises NotWritten."""
        if _muted.get():
            return
        self.close()
        try:
            write(self.path, content)
        finally:
            self._handle = self._open()
            self.size = read(self.path).rfind(b"\n") + 1

    def close(self) -> None:
        """Take nothing more. Twice is once."""
        if self._handle is not None:
            os.close(self._handle)
        self._handle = None

    def _open(self) -> int:
        return persist(self.path, lambda: os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666))

    def _open_handle(self) -> int:
        assert self._handle is not None, "the file is closed"
        return self._handle


def open_lock(path: Path) -> int:
    """A handle of a file that serves as a lock; closing it gives the lock back, and so does the end of the process."""
    place = Path(os.devnull) if _muted.get() else path
    return persist(place, lambda: os.open(place, os.O_RDWR | os.O_CREAT, 0o644))


def take_lock(handle: int) -> bool:
    """Whether the lock is ours now."""
    if _muted.get():
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
