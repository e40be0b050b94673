"""A run on another machine, without the other machine: its folder, its process, its news, and what it leaves."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import domainmetric
from domainmetric.ablation import sandbox, worker
from domainmetric.ablation.luggage import pack_code
from domainmetric.ablation.parcel import Sender, names
from domainmetric.ablation.sandbox import News, Order, Sandbox

RUN = """
import json, os, sys
from pathlib import Path
folder = Path(sys.argv[4])
(folder.parent / ".phases" / "new.safetensors").write_bytes(b"new")
(folder / "log.jsonl").write_text("begun\\n")
os.read(0, 1)
told = {"words": sys.argv[4:], "data": os.environ.get("DATA"), "path": os.environ["PYTHONPATH"], "cwd": os.getcwd()}
(folder / "checkpoint.safetensors").unlink()
(folder / "told.json").write_text(json.dumps(told))
print("the reason")
raise SystemExit(CODE)
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another machine: its temporary folder, and the code that Ray has put into the working folder."""
    for name in ("temporary", "code"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path / "code")
    return tmp_path


@pytest.fixture
def order(tmp_path: Path) -> Order:
    home = tmp_path / "home"
    for name in ("run/checkpoint.safetensors", "run/previous", "phases/old.safetensors"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(name.encode())
    return Order(
        name="nearest-s0",
        run=Sender(home / "run", without={"previous"}).pack(),
        phases=Sender(home / "phases").pack(),
        without=frozenset({"previous"}),
        file="file/mine.py",
        threads=1,
        work_folder=str(tmp_path / "nowhere"),
        variables={"DATA": "home's"},
    )


@pytest.fixture
def python(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """In place of Python, a program that acts as a run does and ends with this status."""

    def use(code: int) -> None:
        program = machine / "python"
        program.write_text(f"#!{sys.executable} -S\n" + RUN.replace("CODE", str(code)))
        program.chmod(0o755)
        monkeypatch.setattr(worker.sys, "executable", str(program))

    return use


def wait(run: Sandbox, until: str) -> list[News]:
    """All news until this file is among them."""
    found, deadline = [run.look()], time.monotonic() + 30
    while not any(piece.name == until for piece in found[-1].run.pieces):
        assert time.monotonic() < deadline
        time.sleep(0.01)
        found.append(run.look())
    return found


def test_a_run_goes_on_in_a_folder_of_its_own_and_tells_what_it_writes(
    machine: Path, order: Order, python: Any
) -> None:
    python(130)
    run = Sandbox(order)
    (root,) = (machine / "temporary").iterdir()
    first = wait(run, "log.jsonl")[-1]
    assert first.code is None
    assert "checkpoint.safetensors" in first.run.names
    assert not any(piece.name == "checkpoint.safetensors" for piece in first.run.pieces)
    assert [piece.name for piece in first.phases.pieces] == ["new.safetensors"]
    run.stop()
    news = wait(run, "told.json")
    while news[-1].code is None:
        news.append(run.look())
    assert news[-1].code == 130
    assert news[-1].error is not None and news[-1].error.endswith(": the reason")
    assert news[-1].run.names == {"log.jsonl", "told.json", "worker.log"}
    told = json.loads((root / "runs" / "nearest-s0" / "told.json").read_text())
    assert told["words"] == [str(root / "runs" / "nearest-s0"), str(machine / "code" / "file" / "mine.py")]
    assert (told["data"], told["cwd"]) == ("home's", str(root))
    assert told["path"].split(":")[0] == str(machine / "code")
    run.close()
    assert not list((machine / "temporary").iterdir())


def test_a_machine_s_own_variables_and_the_folder_of_the_ablation_come_first(
    machine: Path, order: Order, python: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    python(0)
    monkeypatch.setenv("DATA", "the machine's")
    (machine / "nowhere").mkdir()
    run = Sandbox(order)
    (root,) = (machine / "temporary").iterdir()
    run.stop()
    wait(run, "told.json")
    told = json.loads((root / "runs" / "nearest-s0" / "told.json").read_text())
    assert (told["data"], told["cwd"]) == ("the machine's", str(machine / "nowhere"))
    run.close()


def test_what_killed_processes_left_is_deleted_and_nothing_else(machine: Path, order: Order, python: Any) -> None:
    python(0)
    run = Sandbox(order)
    (used,) = (machine / "temporary").iterdir()
    dead = Path(tempfile.mkdtemp(prefix=sandbox.PREFIX))
    (dead / ".lock").touch()
    new = Path(tempfile.mkdtemp(prefix=sandbox.PREFIX))  # another one, just being made
    other = Path(tempfile.mkdtemp())
    os.close(run._lock)  # as when its actor is killed; the process of the run holds it, too, as long as it saves
    run._lock = os.open(os.devnull, os.O_RDONLY)
    sandbox.delete_abandoned()
    assert {path for path in (used, dead, new, other) if path.exists()} == {used, new, other}
    run.close()


def test_the_code_that_travels_is_the_package_and_what_the_user_s_file_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("import helper_of_mine")
    (tmp_path / "helper_of_mine.py").write_text("VALUE = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__("helper_of_mine")
    monkeypatch.delitem(sys.modules, "tests", raising=False)  # large, and of no interest here
    assert pack_code(tmp_path / "code", tmp_path / "mine.py") == "file/mine.py"
    monkeypatch.delitem(sys.modules, "helper_of_mine")
    found = set(names(tmp_path / "code"))
    package = Path(domainmetric.__file__).parent
    assert {f"domainmetric/{name}" for name in names(package) if name.endswith(".py")} <= found
    assert {"file/mine.py", "helper_of_mine.py"} <= found
    assert not any(name.startswith(("torch/", "json/", "numpy/")) or not name.endswith(".py") for name in found)
