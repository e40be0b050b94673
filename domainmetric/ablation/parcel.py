"""Files of a folder, sent to another machine as they stand, and from then on what has changed.

A file's bytes travel with a digest of the whole file, which the receiver compares before anything bears the file's
name. What a run writes is whole or absent, so a folder can be packed while the run goes on: the report is read before
what it reports and the log after what counts its bytes, and they are written in the opposite order. So whatever is lost
on the way, the folder that is left can be continued from. No name leads out of the folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from domainmetric import durable
from domainmetric.errors import Damaged
from domainmetric.training.folder import REPORT
from domainmetric.training.tracking import LOG_NAME

PLACE = {REPORT: 0, LOG_NAME: 2}
"""When a file is read, before or after all others (1)."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A file, or what has come to its end."""

    name: str
    """Relative to the folder."""
    begin: int
    """So many bytes of the file are those that were sent before."""
    content: bytes
    digest: str
    """Of the whole file."""


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """What has changed in a folder."""

    pieces: tuple[Piece, ...]
    """In the order in which they were read."""
    names: frozenset[str]
    """All files there."""

    def unpack(self, folder: Path) -> None:
        """Write the files. Raises Damaged where one did not arrive as it was sent; then it is not written."""
        for piece in reversed(self.pieces):
            path = inside(folder, piece.name)
            before = path.read_bytes()[: piece.begin] if piece.begin else b""
            content = before + piece.content
            if digest(content) != piece.digest:
                raise Damaged(f"{path} did not arrive as it was sent: its digest does not fit.")
            durable.make_folder(path.parent)
            durable.write(path, content)

    def sweep(self, folder: Path) -> None:
        """Delete files that are not there any more."""
        for name in set(names(folder)) - self.names:
            durable.remove(folder / name)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What a receiver has of a file."""

    size: int
    digest: str
    status: tuple[int, int, int] | None
    """Inode, size and time of the file when it was read; None where another machine read it."""


class Sender:
    """Packs a folder, and remembers what it has sent of it."""

    def __init__(self, folder: Path, *, without: Collection[str] = ()) -> None:
        """`without` are names of files that do not travel."""
        self.folder, self._without = folder, frozenset(without)
        self._sent: dict[str, Sent] = {}

    def knows(self, parcel: Parcel) -> None:
        """Take note that the receiver has what came from there."""
        for piece in parcel.pieces:
            size = piece.begin + len(piece.content)
            self._sent[piece.name] = Sent(size=size, digest=piece.digest, status=None)

    def pack(self) -> Parcel:
        """What has changed since the last time."""
        found = [name for name in names(self.folder) if name not in self._without]
        pieces: list[Piece] = []
        for name in sorted(found, key=lambda name: (PLACE.get(name, 1), name)):
            with suppress(FileNotFoundError):  # deleted meanwhile
                pieces += self._changed(name)
        return Parcel(pieces=tuple(pieces), names=frozenset(found))

    def _changed(self, name: str) -> Iterator[Piece]:
        path, before = self.folder / name, self._sent.get(name)
        found = path.stat()
        status = found.st_ino, found.st_size, found.st_mtime_ns
        if before is not None and before.status == status:
            return
        content = path.read_bytes()
        now = self._sent[name] = Sent(size=len(content), digest=digest(content), status=status)
        if before is None or now.digest != before.digest:
            grown = before is not None and digest(content[: before.size]) == before.digest
            begin = before.size if before is not None and grown else 0
            yield Piece(name=name, begin=begin, content=content[begin:], digest=now.digest)


def names(folder: Path) -> list[str]:
    """The files below a folder that travel: neither hidden ones, such as locks and what is half written, nor links."""
    found = []
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        name = path.relative_to(folder)
        if path.is_file() and not path.is_symlink() and not any(part.startswith(".") for part in name.parts):
            found.append(name.as_posix())
    return found


def inside(folder: Path, name: str) -> Path:
    """The file of this name in a folder. Raises Damaged for a name that leads elsewhere."""
    parts = PurePosixPath(name).parts
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts:
        raise Damaged(f"{name!r} is no name of a file in {folder}.")
    return folder.joinpath(*parts)


def digest(content: bytes) -> str:
    """A digest of bytes."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
