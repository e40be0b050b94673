"""What is written is whole or absent, whatever the disk does; and a passing error is met by trying again."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from domainmetric import durable
from domainmetric.errors import NotRead, NotWritten


class Failing:
    """The module `os`, of which one function fails a number of times."""

    def __init__(self, function: str, error: int, times: int) -> None:
        self.function, self.error, self.left, self.calls = function, error, times, 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return self.fail(real) if name == self.function else real

    def fail(self, real: Any) -> Any:
        def function(*arguments: Any) -> Any:
            self.calls += 1
            if self.left:
                self.left -= 1
                raise OSError(self.error, os.strerror(self.error))
            return real(*arguments)

        return function


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "PAUSES_S", (0.0, 0.0, 0.0))


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "a.json"
    durable.write(path, b"old")
    yield path
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # nothing half-written is left beside it


@pytest.mark.parametrize("function", ["open", "write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(function: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Failing(function, errno.ENOSPC, 1)
    monkeypatch.setattr(durable, "os", fault)
    with pytest.raises(NotWritten, match=r"a\.json: No space left on device\. Make room .* is kept"):
        durable.write(path, b"new")
    assert (path.read_bytes(), fault.calls) == (b"old", 1)


@pytest.mark.parametrize("function", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize("error", sorted(durable.PASSING))
def test_a_passing_error_is_met_by_trying_again(
    function: str, error: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "os", Failing(function, error, len(durable.PAUSES_S)))
    durable.write(path, b"new")
    assert path.read_bytes() == b"new"


def test_it_is_tried_a_bounded_number_of_times(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Failing("write", errno.EIO, 1000)
    monkeypatch.setattr(durable, "os", fault)
    with pytest.raises(NotWritten, match="Input/output error"):
        durable.write(path, b"new")
    assert (path.read_bytes(), fault.calls) == (b"old", 1 + len(durable.PAUSES_S))


def test_what_does_not_read_back_is_not_renamed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "read_back", lambda beside: b"nex")
    with pytest.raises(NotWritten, match="gives back other bytes"):
        durable.write(path, b"new")
    assert path.read_bytes() == b"old"


def test_short_writes_are_continued(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Short(Failing):
        def fail(self, real: Any) -> Any:
            return lambda handle, payload: real(handle, payload[:2])

    monkeypatch.setattr(durable, "os", Short("write", 0, 0))
    durable.write(path, b"some bytes")
    assert path.read_bytes() == b"some bytes"


def test_the_file_before_is_kept_under_another_name(tmp_path: Path) -> None:
    for content in (b"1", b"2", b"3"):
        durable.write(tmp_path / "a", content, keep=tmp_path / "b")
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [b"3", b"2"]


@pytest.mark.parametrize("error", sorted(durable.PASSING_READS))
def test_a_passing_error_of_reading_is_met_by_trying_again(
    error: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "os", Failing("open", error, len(durable.PAUSES_S)))
    assert durable.read(path) == b"old"


@pytest.mark.parametrize(("error", "calls"), [(errno.EIO, 4), (errno.EACCES, 1)])
def test_what_cannot_be_read_is_named_and_stays(
    error: int, calls: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Failing("open", error, 1000)
    monkeypatch.setattr(durable, "os", fault)
    with pytest.raises(NotRead, match=r"Could not read .*a\.json: .*Nothing was deleted"):
        durable.read(path)
    assert (path.read_bytes(), fault.calls) == (b"old", calls)


def test_what_is_not_there_is_told_by_its_usual_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        durable.read(tmp_path / "none")


def test_a_renamed_file_takes_the_place_of_another(tmp_path: Path) -> None:
    for name in "ab":
        durable.write(tmp_path / name, name.encode())
    durable.rename(tmp_path / "a", tmp_path / "b")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("b", b"a")]


def test_what_killed_writers_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in (".a.json.123.partial", "in/.b.png.7.partial", "a.json", ".lock"):
        (tmp_path / name).touch()
    durable.sweep(tmp_path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == [".lock", "a.json", "in"]


def test_a_folder_is_made_once(tmp_path: Path) -> None:
    assert durable.make_folder(tmp_path / "a" / "b")
    assert not durable.make_folder(tmp_path / "a" / "b")


def test_a_line_is_added_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(Failing):
        def fail(self, real: Any) -> Any:
            def function(handle: int, payload: bytes) -> int:
                if not self.left:
                    return int(real(handle, payload))
                self.left -= 1
                if self.left:
                    return int(real(handle, payload[:3]))
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            return function

    file = durable.Growing(tmp_path / "log")
    file.add(b"one\n")
    monkeypatch.setattr(durable, "os", Full("write", 0, 2))
    with pytest.raises(NotWritten, match="No space left"):
        file.add(b"two is lost\n")
    assert file.size == 4
    file.add(b"3\n")
    file.close()
    assert (tmp_path / "log").read_bytes() == b"one\n3\n"


def test_a_torn_line_goes(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"one\ntw")
    file = durable.Growing(tmp_path / "log")
    assert file.size == 4
    file.add(b"2\n")
    file.close()
    assert (tmp_path / "log").read_bytes() == b"one\n2\n"


def test_lines_that_could_not_be_flushed_are_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = durable.Growing(tmp_path / "log")
    file.add(b"one\n")
    before = (tmp_path / "log").stat().st_ino
    monkeypatch.setattr(durable, "os", Failing("fsync", errno.EIO, 2))
    file.sync()
    assert (tmp_path / "log").stat().st_ino != before
    file.add(b"two\n")
    file.close()
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"


def test_one_at_a_time_holds_a_lock(tmp_path: Path) -> None:
    first, second = durable.open_lock(tmp_path / "lock"), durable.open_lock(tmp_path / "lock")
    assert durable.take_lock(first)
    assert not durable.take_lock(second)
    os.close(first)
    assert durable.take_lock(second)
    os.close(second)
