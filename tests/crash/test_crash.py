"""A sample of `make crash`, and that it finds what it is there to find."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import cast

import pytest

from tests.crash.__main__ import Done, disturbed, jobs
from tests.crash.campaign import Campaign, Result
from tests.crash.disk import Fault
from tests.crash.same import difference

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="it reads the clock of another process, as Linux has it"),
    pytest.mark.timeout(900),  # on a busy machine
]


def crash(folder: Path, *options: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """The campaign in a process of its own, which forks; `before` is done there first."""
    code = f"import sys\n{before}\nfrom tests.crash.__main__ import main\nsys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *options, "--folder", str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_sample_of_disturbed_runs_ends_as_the_undisturbed_one(tmp_path: Path) -> None:
    done = crash(tmp_path, "--every=300", "--asked=1", "--kills=1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "random kills" in done.stdout
    (results,) = tmp_path.iterdir()
    assert sorted(json.loads(results.read_text()))[0] == "asked-0"


class Unharmed:
    """Stands for a campaign; it makes no runs, and is killed once in each."""

    def name(self, fault: Fault, at: int) -> str:
        return f"operation-{at}-{fault}"

    def faults(self, every: int = 1) -> Iterator[tuple[Fault, int]]:
        yield from (("EIO", at) for at in range(0, 7, every))

    def fault(self, fault: Fault, at: int) -> Result:
        return Result(name=self.name(fault, at), kind=fault)

    def ask(self, number: int) -> Result:
        return Result(name=f"asked-{number}", kind="asked")

    def kill(self, number: int) -> Result:
        return Result(name=f"kill-{number}", kind="kills", kills=1)


def test_parts_do_everything_once_and_go_on_where_they_stopped(tmp_path: Path) -> None:
    options = argparse.Namespace(every=1, asked=2, kills=6, seed=0, minutes=math.inf)
    names = []
    for index in range(2):
        for _ in range(3):  # it is stopped after three runs, and again
            done = Done(tmp_path / f"{index}.json", 0)
            campaign, part = cast(Campaign, Unharmed()), slice(index, None, 2)
            results = islice(disturbed(campaign, jobs(campaign, options, part), done, options, part), 3)
            for result in results:
                done.add(result)
                names.append(result.name)
    everything = [f"operation-{at}-EIO" for at in range(7)] + [f"asked-{n}" for n in range(2)]
    assert sorted(names) == sorted(everything + [f"kill-{number}" for number in range(6)])


def test_results_of_another_seed_are_not_mixed_in(tmp_path: Path) -> None:
    Done(tmp_path / "results.json", 0).add(Result(name="kill-0", kind="kills"))
    with pytest.raises(SystemExit, match="another seed"):
        Done(tmp_path / "results.json", 1)


BREAKS = {
    "the log is not cut back": "from domainmetric.training.tracking import Log; Log.cut_back = lambda *_: None",
    "names are not flushed": "from domainmetric import durable; durable.sync_folder = lambda _: None",
    "a file is written in place": (
        "from domainmetric import durable; import os\n"
        "def write(path, payload, keep=None):\n"
        "    handle = durable.os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)\n"
        "    durable.put(handle, payload)\n"
        "    os.close(handle)\n"
        "durable.write = write"
    ),
    "anchors are forgotten": (
        "from domainmetric.training.state import PhaseState; whole = PhaseState.tensors\n"
        "PhaseState.tensors = lambda s: {k: v for k, v in whole(s).items() if not k.startswith('matcher/')}"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("broken", BREAKS)
def test_what_is_broken_is_found(broken: str, tmp_path: Path) -> None:
    done = crash(tmp_path, "--every=1", "--asked=5", "--kills=5", "--stop", before=BREAKS[broken])
    assert done.returncode == 1, done.stdout + done.stderr
    assert "ended otherwise; those of this part stay in" in done.stderr


@pytest.mark.parametrize(
    ("name", "one", "other", "same"),
    [
        ("a.json", '{"seconds": 1, "a": [{"time": 1}]}', '{"seconds": 2, "a": [{"time": 2}]}', True),
        ("a.json", '{"a": 1}', '{"a": 2}', False),
        ("a.json", '{"a": 1}', '{"a": 1, "b": 1}', False),
        ("a.png", "1", "2", False),
        ("log.jsonl", '{"kind": "end", "time": 1}\n', '{"kind": "event", "name": "resumed", "time": 1}\n', True),
        ("log.jsonl", "", '{"kind": "event", "name": "no matches", "time": 1}\n', False),
    ],
)
def test_what_is_compared(name: str, one: str, other: str, same: bool, tmp_path: Path) -> None:
    for folder, text in (("one", one), ("other", other)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    assert (difference(tmp_path / "one" / name, tmp_path / "other" / name) is None) == same
    (tmp_path / "other" / name).unlink()
    assert difference(tmp_path / "one" / name, tmp_path / "other" / name) is not None
