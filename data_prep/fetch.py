"""Getting one official file, from a folder or from its publisher, and proving by its md5 that it is official."""

from __future__ import annotations

import errno
import gzip
import hashlib
import logging
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch
from rich.progress import Progress, TaskID

from data_prep.limits import MAX_CONTENT, MAX_DOWNLOAD, pieces
from data_prep.official import Dataset, OfficialFile
from domainmetric.data.store import SourceFile
from domainmetric.errors import ChecksumMismatch, DataError


@dataclass(frozen=True, kw_only=True)
class Found:
    """A file at hand, and what is recorded about it."""

    path: Path
    source: SourceFile


def find(file: OfficialFile, dataset: Dataset, folder: Path) -> Path:
    """Where the file lies in `folder` or in the usual folders below it. Raises DataError if it does not."""
    names = [file.name] if file.unpacked_md5 is None else [file.name, file.name.removesuffix(".gz")]
    places = [folder, *(folder / below for below in dataset.folders)]
    for place in places:
        for name in names:
            if (place / name).is_file():
                return place / name
    searched = ", ".join(str(place) for place in places)
    raise DataError(
        f"{' or '.join(names)} of '{dataset.name}' was not found in any of {searched}. "
        f"Put it there, name another folder with --from, or leave --from out to download it.{file.instead}"
    )


def download(file: OfficialFile, folder: Path, progress: Progress, *, unofficial: bool) -> Found:
    """The file, downloaded into `folder` from the first address with a good copy, or already there.

    Raises ChecksumMismatch if only copies that are not official came (none is kept), DataError if none came at all.
    """
    failures: list[Exception] = []
    for url in file.urls:
        try:
            path = _retrieve(url, file.name, folder, progress)
        except (OSError, ValueError) as error:  # errors of requests are OSErrors too; a header may hold no number
            why = getattr(error, "strerror", None) or type(error).__name__
            failures.append(DataError(f"{url}: {why}."))
            continue
        try:
            return verify(file, path, unofficial=unofficial)
        except ChecksumMismatch as error:
            path.unlink()
            failures.append(error)
    only_wrong = all(isinstance(failure, ChecksumMismatch) for failure in failures)
    raise (ChecksumMismatch if only_wrong else DataError)(
        f"{file.name} could not be downloaded. {' '.join(map(str, failures))} "
        f"Check the network, or fetch the file by other means and name its folder with --from.{file.instead}"
    )


def _retrieve(url: str, name: str, folder: Path, progress: Progress) -> Path:
    pooch.get_logger().setLevel(logging.WARNING)  # it would announce each download
    task = progress.add_task(f"download {name}", total=None)
    bar = pooch.HTTPDownloader(progressbar=_Bar(progress, task), timeout=30)
    try:
        # no known_hash: the md5 is checked by `verify`, whose message is ours and which --unofficial can tell to accept
        return Path(pooch.retrieve(url, known_hash=None, fname=name, path=folder, downloader=bar))
    finally:
        progress.remove_task(task)


def verify(file: OfficialFile, path: Path, *, unofficial: bool) -> Found:
    """The file with its md5 on record. Raises ChecksumMismatch if it is not official and `unofficial` is false."""
    md5 = _md5(path)
    official = file.unpacked_md5 if file.unpacked_md5 and path.name != file.name else file.md5
    same = md5 == official or (file.unpacked_md5 is not None and _content_md5(path) == file.unpacked_md5)
    if not same and not unofficial:
        raise ChecksumMismatch(
            f"{path} is not the official {path.name}: its md5 is {md5}, the official one is {official}. "
            f"It may be damaged or from another source. Fetch it again, or, if an unofficial copy is meant, "
            f"say --unofficial (the manifest will record it)."
        )
    source = SourceFile(file=path.name, md5=md5, official_md5=official, url=file.urls[0], unofficial=not same)
    return Found(path=path, source=source)


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


def _content_md5(path: Path) -> str | None:
    """md5 of a .gz file's content, or None where there is none: the bytes of a .gz depend on who packed it."""
    if path.suffix != ".gz":
        return None
    total = hashlib.md5(usedforsecurity=False)
    try:
        with gzip.open(path) as stream:
            for piece in pieces(stream, MAX_CONTENT):
                total.update(piece)
    except (OSError, EOFError, zlib.error):
        return None
    return total.hexdigest()


class _Bar:
    """What pooch expects of a progress bar (tqdm's interface), drawn by rich."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._total = self._came = 0

    @property
    def total(self) -> int:
        """Bytes in all; 0 where the server does not say."""
        return self._total

    @total.setter
    def total(self, value: int) -> None:
        self._total = value
        self._progress.update(self._task, total=value or None)

    def update(self, advance: int) -> None:
        """So many bytes more. Raises OSError, which ends the download, where they are more than any official file."""
        self._came += advance
        if self._came > MAX_DOWNLOAD:
            raise OSError(errno.EFBIG, f"more than {MAX_DOWNLOAD:,} bytes came")
        self._progress.update(self._task, advance=advance)

    def reset(self, **_: Any) -> None:
        """Pooch resets the bar at the end and then adds all of it."""
        self._came = 0
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        """The task is removed by whoever made it."""
