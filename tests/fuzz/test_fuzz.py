"""Damaged inputs for every reader: refused as promised, within five seconds and 512 MB; and a finding would be seen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import __main__ as command
from tests.fuzz.damage import damaged
from tests.fuzz.targets import TARGETS
from tests.fuzz.worker import CONTAINED, REACHED, in_forks

FEW, MANY = 300, 10_000


@pytest.mark.parametrize("name", TARGETS)
def test_sound_inputs_are_accepted_and_most_damaged_ones_are_not(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    assert all(target.check(seed, tmp_path) for seed in target.seeds)
    if target.contained:
        return  # it may crash, and not here
    accepted = [target.check(damaged(target.seeds, number), tmp_path) for number in range(FEW)]
    assert 0 < sum(accepted) < FEW / 2


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_no_reader_crashes_hangs_or_takes_much_memory(name: str, tmp_path: Path) -> None:
    command.fuzz(name, MANY, tmp_path, guided=False)
    assert not list(tmp_path.glob("*.input"))
    assert (tmp_path / f"{name}.json").read_text() == str(MANY)


@pytest.mark.slow
@pytest.mark.parametrize(("defect", "status"), [("while True: pass", -signal.SIGPROF), ("bytearray(2**30)", 1)])
def test_what_hangs_or_takes_much_memory_ends_the_process(defect: str, status: int, tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\nfrom tests.fuzz import worker\n"
        f"worker.SECONDS = 0.2\nworker.limit()\ndef check(data, folder):\n    {defect}\n"
        f"worker.watched(check, 7, Path({str(tmp_path)!r}))(b'')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert ("MemoryError" in done.stderr) == (status == 1)
    assert int.from_bytes((tmp_path / REACHED).read_bytes(), "little") == 7


def test_a_contained_crash_costs_a_fork(tmp_path: Path) -> None:
    def work(first: int, count: int) -> None:
        for number in range(first, first + count):
            (tmp_path / REACHED).write_bytes(number.to_bytes(8, "little"))
            (tmp_path / str(number)).touch(exist_ok=False)
            if number in (2, 5):
                signal.signal(signal.SIGSEGV, signal.SIG_DFL)  # pytest would tell of it
                os.kill(os.getpid(), signal.SIGSEGV)

    in_forks(work, "mat", 0, 7, tmp_path)
    assert (tmp_path / CONTAINED).read_text() == "2\n5\n"
    assert all((tmp_path / str(number)).is_file() for number in range(7))


def test_a_finding_is_kept_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []

    def ended(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command[3:6])
        if len(asked) == 1:  # the input 3 ends the process
            (Path(command[6]) / REACHED).write_bytes((3).to_bytes(8, "little"))
        return subprocess.CompletedProcess(command, -11 if len(asked) == 1 else 0, "", "")

    monkeypatch.setattr(subprocess, "run", ended)
    monkeypatch.setattr(sys, "argv", ["fuzz", "idx", "--count", "10", "--folder", str(tmp_path / "found"), "--random"])
    assert command.main() == 1
    assert asked == [["idx", "0", "10"], ["idx", "4", "6"]]
    assert (tmp_path / "found" / "idx-3.input").read_bytes() == damaged(TARGETS["idx"].seeds, 3)
    assert (tmp_path / "found" / "idx-3.why").read_text() == "ended by signal 11"
    told = capsys.readouterr().out
    assert "drawn at random, unguided" in told
    assert "idx: 10 inputs, 10 of them now" in told
    assert "1 finding in" in told
    assert command.main() == 1  # nothing is left to do, and the finding is still there
    assert len(asked) == 2
