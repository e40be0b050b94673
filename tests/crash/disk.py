"""A disk with one fault: stands for `os` in `domainmetric.durable`, counts what it does, and fails once or on.

What has not been flushed is remembered with the way to undo it, so that the power can fail, too: then names and content
are lost that were not flushed. On some file systems the names survive and the content does not ("lost data").

A run that loses all its names begins anew and ends the same, so its end does not show that they were never flushed.
Therefore each file that `durable.write` has written is a promise, and one that a sudden end breaks is told.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

Fault = Literal["kill", "power", "lost data", "EIO", "passing EIO", "ENOSPC", "short write"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
ENDING: tuple[Fault, ...] = ("kill", "power", "lost data")
"""Faults that end the process without a word."""
LOST = "Lost, although it had been written:"
NEED_ROOM = ("open", "write", "fsync", "mkdir", "replace")
Key = tuple[str, object]


def fits(fault: Fault, operation: str) -> bool:
    """Whether an operation can meet a fault."""
    if fault == "short write":
        return operation == "write"
    if operation == "read":
        return fault in ("EIO", "passing EIO")
    return fault != "ENOSPC" or operation in NEED_ROOM


class Disk:
    """The module `os`; the operation number `at` meets the `fault`. A full disk stays full, a broken one broken."""

    def __init__(self, fault: Fault | None = None, at: int = -1) -> None:
        self.fault, self.at = fault, at
        self.operations: list[str] = []
        self.busy = False
        self._failing: tuple[int, tuple[str, ...]] | None = None
        self._unflushed: list[tuple[Key, Callable[[], object]]] = []
        self._paths: dict[int, Path] = {}
        self._promised: dict[Path, bytes] = {}

    def promising(self, write: Callable[..., None]) -> Callable[..., None]:
        """`durable.write`, after which a file must stay, whatever happens, until it is written anew or removed."""

        def kept(path: Path, payload: bytes, *, keep: Path | None = None) -> None:
            for name in (path, keep):
                self._promised.pop(Path(name or path).absolute(), None)
            write(path, payload, keep=keep)
            self._promised[path.absolute()] = payload

        return kept

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        path = Path(path).absolute()
        if not flags & os.O_CREAT:
            handle = self._do("read", lambda: os.open(path, flags)) if path.is_file() else os.open(path, flags)
        else:
            before = path.read_bytes() if path.exists() else None
            handle = self._do("open", lambda: os.open(path, flags, mode))
            if before is None:
                self._remember(("folder", path.parent), lambda: path.unlink(missing_ok=True))
            elif flags & os.O_TRUNC:
                self._remember(("file", os.fstat(handle).st_ino), lambda: path.write_bytes(before))
        self._paths[handle] = path
        return handle

    def write(self, handle: int, payload: bytes) -> int:
        path, size = self._paths[handle], os.fstat(handle).st_size
        self._remember(self._key(handle), lambda: os.truncate(path, size))
        return int(
            self._do(
                "write", lambda: os.write(handle, payload), lambda: os.write(handle, payload[: -(-len(payload) // 2)])
            )
        )

    def ftruncate(self, handle: int, size: int) -> None:
        path = self._paths[handle]
        before = path.read_bytes()
        self._do("ftruncate", lambda: os.ftruncate(handle, size))
        if len(before) != size:
            self._remember(self._key(handle), lambda: path.write_bytes(before))

    def fsync(self, handle: int) -> None:
        self._do("fsync", lambda: os.fsync(handle))
        self._unflushed = [entry for entry in self._unflushed if entry[0] != self._key(handle)]

    def replace(self, source: Path, target: Path) -> None:
        source, target = Path(source).absolute(), Path(target).absolute()
        before = target.read_bytes() if target.exists() else None

        def undo() -> None:
            os.replace(target, source)
            if before is not None:
                target.write_bytes(before)

        self._do("replace", lambda: os.replace(source, target))
        self._remember(("folder", target.parent), undo)

    def unlink(self, path: Path) -> None:
        path = Path(path).absolute()
        before = path.read_bytes() if path.exists() else None
        self._promised.pop(path, None)
        self._do("unlink", lambda: os.unlink(path))
        if before is not None:
            self._remember(("folder", path.parent), lambda: path.write_bytes(before))

    def mkdir(self, path: Path) -> None:
        path = Path(path).absolute()
        self._do("mkdir", lambda: os.mkdir(path))
        self._remember(("folder", path.parent), path.rmdir)

    def _key(self, handle: int) -> Key:
        path = self._paths[handle]
        return ("folder", path) if path.is_dir() else ("file", os.fstat(handle).st_ino)

    def _remember(self, key: Key, undo: Callable[[], object]) -> None:
        self._unflushed.append((key, undo))

    def _do(self, operation: str, act: Callable[[], Any], half: Callable[[], Any] | None = None) -> Any:
        """Carry out an operation, unless the fault is due; `half` is how far a write comes before a sudden end."""
        number, self.busy = len(self.operations), True
        self.operations.append(operation)
        try:
            if number == self.at:
                return self._meet_fault(half)
            if self._failing is not None and operation in self._failing[1]:
                raise OSError(self._failing[0], os.strerror(self._failing[0]))
            return act()
        finally:
            self.busy = False

    def _meet_fault(self, half: Callable[[], Any] | None) -> Any:
        if self.fault in ENDING:
            if half is not None:
                half()
            self._end()
        everything = (*NEED_ROOM, "ftruncate", "unlink", "read")
        number = errno.ENOSPC if self.fault in ("ENOSPC", "short write") else errno.EIO
        if self.fault != "passing EIO":
            self._failing = (number, everything if number == errno.EIO else NEED_ROOM)
        if self.fault == "short write" and half is not None:
            return half()
        raise OSError(number, os.strerror(number))

    def _end(self) -> NoReturn:
        for (where, _), undo in reversed(self._unflushed):
            if self.fault == "power" or (self.fault == "lost data" and where == "file"):
                with suppress(FileNotFoundError):  # its name is lost already
                    undo()
        for path, payload in self._promised.items():  # a log may have grown since
            if not path.is_file() or not path.read_bytes().startswith(payload):
                print(LOST, path.name, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("killed")
