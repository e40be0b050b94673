"""Runs on a real Ray: two nodes of which one is killed, a run that is killed, and a Ray that is stopped by Ctrl-C."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.ablation.two_nodes import SECOND

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
FILE = '''
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import domainmetric as dm


@dataclass(frozen=True, kw_only=True)
class Fatal(dm.Schedule):
    """Always 1; but in its middle, each once: a run of the second node kills the node, another run itself."""

    marks: Path

    def at(self, progress: float) -> float:
        if 0.5 < progress < 0.6 and (self.marks / "armed").exists():
            second = "SECOND" in os.environ
            try:
                (self.marks / ("node" if second else "run")).touch(exist_ok=False)
            except FileExistsError:
                return 1.0
            time.sleep(6)  # so that what has been done so far comes back
            os.kill(raylet() if second else os.getpid(), signal.SIGKILL)
            time.sleep(60)
        return 1.0


def raylet() -> int:
    """The process of the node that this one belongs to."""
    pid = os.getppid()
    while "raylet" not in Path(f"/proc/{pid}/comm").read_text():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid


def base(anchors: dm.AnchorStrategy) -> dm.Experiment:
    terms = {
        "classify": dm.Term(part=dm.Classify()),
        "triplet": dm.Term(part=dm.Metric(), schedule=Fatal(marks=Path("MARKS"))),
    }
    return dm.Experiment(
        name="tiny",
        data=dm.Pair(source=dm.StreetDigits(num_train=250, num_test=50), target=dm.SklearnDigits()),
        terms=terms,
        anchors=anchors,
        phases={
            "source": dm.SourcePhase(terms=("classify",), steps=4, source_batch=10),
            "adapt": dm.AdaptationPhase(terms=tuple(terms), steps=20, source_batch=10, target_batch=10),
        },
        image_size=8,
        model=dm.Model(branches=dm.Tied(shared=dm.SmallCnn(widths=(4,))), embedding_dim=8),
        evaluation=dm.Evaluation(every=5, num_images=50, retrieval_queries=50),
        runtime=dm.Runtime(device="cpu", threads=1, checkpoint_every=2),
    )


def strategies() -> dict[str, dm.Experiment]:
    """Two ways of choosing anchors."""
    return {"nearest": base(dm.Nearest()), "random": base(dm.RandomAnchors())}
'''


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the ablation's file, whose runs kill when it is armed."""
    (tmp_path / "marks").mkdir()
    (tmp_path / "marks" / "armed").touch()
    text = FILE.replace('"SECOND"', repr(SECOND)).replace('"MARKS"', repr(str(tmp_path / "marks")))
    (tmp_path / "mine.py").write_text(text)
    return tmp_path


def environment(place: Path) -> dict[str, str]:
    """A home of its own, since Ray keeps a secret there; and no cluster beyond this machine."""
    return {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "HOME": str(place),
        "OMP_NUM_THREADS": "1",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "domainmetric.cli", "ablate", "mine.py", *words]


def ablate(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), cwd=place, env=environment(place), capture_output=True, text=True, check=False
    )


@pytest.fixture
def address(place: Path) -> Iterator[str]:
    """A cluster of two nodes."""
    program = [sys.executable, "-m", "tests.ablation.two_nodes"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        (place / "cluster.log").open("w") as log,
        subprocess.Popen(program, env=environment(place), stderr=log, text=True, **pipes) as process,
    ):
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()  # its input ends


def results(folder: Path) -> list[dict[str, str]]:
    """The table of runs, without what tells a time."""
    rows = csv.DictReader((folder / "runs.csv").read_text().splitlines())
    timed = ("seconds", "match_ms", "folder")
    return [{name: value for name, value in row.items() if name not in timed} for row in rows]


def events(folder: Path) -> list[str]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["name"] for line in lines if line["kind"] == "event"]


def test_a_killed_run_and_a_killed_node_leave_the_table_that_processes_make(place: Path, address: str) -> None:
    done = ablate(place, "--seeds", "2", "--folder=away", "--executor=ray", f"--address={address}")
    told = " ".join(done.stderr.split())
    assert done.returncode == 0, told
    assert {path.name for path in (place / "marks").iterdir()} == {"armed", "node", "run"}
    assert "Ray: 2 nodes, room for 2 at a time." in told
    assert told.count("It goes on from what came back.") == 2
    assert "ended by SIGKILL" in told and "its node has died" in told
    assert "(raylet)" not in done.stdout + done.stderr  # Ray keeps its own messages to itself
    local = ablate(place, "--seeds", "2", "--folder=local", "--workers=1")
    assert local.returncode == 0, local.stderr
    assert results(place / "away") == results(place / "local")
    assert len(results(place / "away")) == 4
    for folder in (place / "local" / "runs").glob("*-s?-*"):
        (other,) = (place / "away" / "runs").glob(f"{folder.name.rpartition('-20')[0]}-*")
        assert (folder / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
        missing = {path.name for path in folder.iterdir()} - {path.name for path in other.iterdir()}
        assert not {name for name in missing if not name.startswith(".")}
    runs = [events(folder) for folder in (place / "away" / "runs").glob("*-s?-*")]
    assert sum("resumed" in run for run in runs) == 2
    assert sum("phase reused" in run for run in runs) == 2
    again = ablate(place, "--seeds", "2", "--folder=away", "--executor=ray", f"--address={address}")
    assert "4 finished; on Ray" in " ".join(again.stderr.split())


def test_ctrl_c_leaves_no_ray_behind_and_runs_that_processes_continue(place: Path) -> None:
    (place / "marks" / "armed").unlink()
    words = ["--seeds", "1", "--folder=out", "--phases.adapt.steps=400"]
    with subprocess.Popen(
        command(*words, "--executor=ray"), cwd=place, env=environment(place), stderr=subprocess.PIPE, text=True
    ) as process:
        while not list(place.glob("out/runs/*/checkpoint.safetensors")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        family = descendants(process.pid)
        assert any("raylet" in name for name in family.values())
        assert set(listening(family)) == {"127.0.0.1"}
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=200)
    assert process.returncode == 130, told
    assert "interrupted, its state is saved" in told
    deadline = time.monotonic() + 30
    while alive := {pid: name for pid, name in family.items() if name == comm(pid)}:
        assert time.monotonic() < deadline, alive
        time.sleep(0.1)
    record = json.loads((place / "out" / "ablation.json").read_text())
    assert {run["status"] for run in record["runs"]} <= {"interrupted", "missing"}
    done = ablate(place, *words, "--workers=1")
    assert done.returncode == 0, done.stderr
    assert "1 to be continued" in " ".join(done.stderr.split())
    assert all("resumed" in events(folder) for folder in (place / "out" / "runs").glob("nearest-*"))


def comm(pid: int) -> str | None:
    """The name of a process, None where there is none."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return None


def descendants(root: int) -> dict[int, str]:
    """The processes that a process has started, and those have started, with their names."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return {pid: name for pid in found if (name := comm(pid)) is not None}


def listening(family: dict[int, str]) -> Iterator[str]:
    """The addresses at which these processes wait for connections."""
    sockets = set()
    for pid in family:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            with suppress(OSError):
                sockets.add(os.readlink(link))
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = [*line.split()[:4], line.split()[9]]
            if state == "0A" and f"socket:[{inode}]" in sockets:
                number = bytes.fromhex(local.partition(":")[0][-8:])[::-1]
                yield ".".join(map(str, number))
