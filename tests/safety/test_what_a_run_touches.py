"""A run as a user starts it, with every socket and write on record: it reaches nobody, and keeps to its folders.

The record is Python's own (audit hooks), of the run and of each Python process that it starts; besides, the folders are
looked at afterwards, which shows what libraries in other languages wrote.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
]  # six processes, one after another
ROOT = Path(__file__).parents[2]
SECRETS = {
    "WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567",
    "AWS_SECRET_ACCESS_KEY": "planted-aws-secret",
    "HF_TOKEN": "hf_plantedtoken",
    "SOME_PASSWORD": "planted-password",
}
USER = "planted-user"
RECIPE = """
from dataclasses import replace
from pathlib import Path
from domainmetric import Experiment, Tracking
from tests import tiny
from tests.tiny import Colored, Grey  # an ablation's workers look for their classes here
from tests.training.running import short

def mine() -> Experiment:
    '''A tiny transfer, tracked as by default.'''
    return replace(short(tiny.full(Path("runs")), source=4, adapt=6), tracking=Tracking())

def arms() -> dict[str, Experiment]:
    return {"one": mine()}
"""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What is left of an audited command."""

    home: Path
    work: Path
    temporary: Path
    events: list[tuple[str, str, str]]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    base = tmp_path_factory.mktemp("watched")
    home, work, temporary, record = base / USER, base / "work", base / "temporary", base / "record"
    for folder in (home, work, temporary):
        folder.mkdir()
    (work / "recipe.py").write_text(RECIPE)
    (home / ".netrc").write_text(f"machine api.wandb.ai\n  login user\n  password {SECRETS['WANDB_API_KEY']}\n")
    (home / ".netrc").chmod(0o600)
    others = ("WANDB_", "TORCHINDUCTOR_", "MPL", "COVERAGE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    environment = {**kept, **SECRETS, "HOME": str(home), "TMPDIR": str(temporary), "AUDIT_RECORD": str(record)}
    environment |= {"PYTHONPATH": f"{ROOT / 'tests' / 'safety' / 'audited'}{os.pathsep}{ROOT}", "WANDB_MODE": "offline"}
    for words in (["run", "recipe.py", f"--data-root={home / 'data'}", f"--runs-root={home / 'runs'}"], ["report"]):
        folder = [str(next((home / "runs").glob("tiny-*")))] if words == ["report"] else []
        command = [sys.executable, "-m", "domainmetric.cli", *words, *folder]
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    (home / "runs" / "arms.py").write_text(RECIPE)
    ablate = ["ablate", f"{home}/runs/arms.py", f"--folder={home}/runs/arms", f"--data-root={home / 'data'}"]
    for words in (["--seeds=1,2", "--tracking.wandb=off"], ["--sweep=terms.dann.weight=0.1:1"]):
        command = [sys.executable, "-m", "domainmetric.cli", *ablate, *words]
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    events = [tuple(json.loads(line)) for line in record.read_text().splitlines()]
    return Watched(home=home, work=work, temporary=temporary, events=events)


def test_the_record_sees_both_processes(watched: Watched) -> None:
    programs = {program for program, _, _ in watched.events}
    assert any("domainmetric.cli run" in program for program in programs)
    assert any("wandb_mirror" in program for program in programs)
    assert any(event == "open" and path.endswith("log.jsonl") for _, event, path in watched.events)


def test_nobody_is_reached(watched: Watched) -> None:
    sockets = [(program, what) for program, event, what in watched.events if event.startswith("socket.")]
    assert [one for one in sockets if "wandb_mirror" not in one[0]] == []
    # W&B's library talks to a process of its own, through a file.
    assert all(Path(what).is_relative_to(watched.temporary) for _, what in sockets)


def test_nothing_is_written_elsewhere(watched: Watched) -> None:
    config = watched.home / ".config"  # Matplotlib makes its folder there, and leaves it empty
    allowed = (watched.home / "runs", watched.home / ".cache", config, watched.temporary, Path("/dev"))
    written = [path for _, event, path in watched.events if not event.startswith("socket.")]
    assert {
        p for p in written if not any(Path(p).is_relative_to(a) for a in allowed) and "__pycache__" not in p
    } == set()
    assert {path.name for path in watched.home.iterdir()} <= {".netrc", "runs", ".cache", ".config"}
    assert {path.name for path in watched.work.iterdir()} <= {"recipe.py", "__pycache__"}
    assert [path for path in config.rglob("*") if path.is_file()] == []


def test_no_secret_is_kept(watched: Watched) -> None:
    files = {path: path.read_bytes() for path in (watched.home / "runs").rglob("*") if path.is_file()}
    assert {"report.html", "report.json", "log.jsonl", "ablation.json", "sweep.yaml"} <= {path.name for path in files}
    assert any(path.suffix == ".wandb" for path in files), "there must be a W&B payload to look into"
    assert [path for path, content in files.items() for word in SECRETS.values() if word.encode() in content] == []
    # The one exception: W&B's store on this disk says where the tables lie that `wandb sync` would send.
    assert [path for path, content in files.items() if USER.encode() in content and path.suffix != ".wandb"] == []
