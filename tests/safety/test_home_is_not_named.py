"""What fails in a run folder names the user's home folder no more than what goes well."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from domainmetric.ablation import worker
from domainmetric.serialize import without_home
from domainmetric.tracking import Tracking
from domainmetric.training.folder import EXPERIMENT
from domainmetric.training.phases import CHECKPOINT
from domainmetric.training.tracking import LOG_NAME, Log, read_log
from domainmetric.training.wandb_mirror import start_mirror
from tests import tiny
from tests.training.running import after, go_on, short, train

USER = "planted-user"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / USER
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


def naming(folder: Path) -> list[str]:
    """Files that name the home folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path.name for path in files if USER.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Could not read '{}': no.", "Could not read '~': no."),
        ('File "{}/a.py", line 1', 'File "~/a.py", line 1'),
        ("It lies in {}.", "It lies in ~."),
        ("{}-else, {}.else and {}else are other folders", None),
    ],
)
def test_home_in_a_sentence(text: str, expected: str | None, home: Path) -> None:
    assert without_home(text.replace("{}", str(home)), prose=True) == (expected or text.replace("{}", str(home)))


def test_a_damaged_checkpoint(home: Path) -> None:
    folder = train(short(tiny.experiment(home / "runs", "mmd"), source=4, adapt=6), after(2))
    (folder / CHECKPOINT).write_bytes(b"other")
    go_on(folder)
    told = [record["text"] for record in read_log(folder) if record.get("name") == "checkpoint damaged"]
    assert len(told) == 1 and told[0].startswith("~/runs/")
    assert naming(folder) == []


FROZEN = """
import os, pathlib, sys, time
class Error(Exception):
    pass
def Settings(**settings):
    return settings
def init(dir, **settings):
    for name in ("offline-run-1/logs", "tmp", "cache"):
        (pathlib.Path(dir) / "wandb" / name).mkdir(parents=True, exist_ok=True)
        (pathlib.Path(dir) / "wandb" / name / "one").write_text(os.environ["HOME"])
    print("in", os.environ["HOME"], flush=True)
    pathlib.Path(dir, "begun").touch()
"""
ENDS = {"frozen": "time.sleep(600)", "failing": "raise ValueError(os.environ['HOME'] + '/secret')"}


@pytest.mark.parametrize("end", ENDS)
def test_a_wandb_that_freezes_or_fails(end: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = home / "fake"
    fake.mkdir()
    (fake / "wandb.py").write_text(f"{FROZEN}    {ENDS[end]}\n")
    monkeypatch.setenv("PYTHONPATH", str(fake))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    run = home / "runs" / "one"
    log = Log(run)
    mirror = start_mirror(run, Tracking(wandb="offline"))
    log.close()
    for _ in range(600):
        if (run / "begun").exists():
            break
        time.sleep(0.05)
    outcome = mirror.close(deadline_s=0.5 if end == "frozen" else 30.0)
    assert ("ended after" if end == "frozen" else "failed with status 1 (ValueError: ~/secret)") in outcome
    assert "in ~" in (run / "wandb" / "mirror.log").read_text()
    assert naming(run) == []
    assert not [name for name in ("tmp", "cache", "offline-run-1/logs") if (run / "wandb" / name).exists()]
    assert (run / LOG_NAME).is_file()


@pytest.mark.parametrize("broken", ["{", '{"experiment": {"class": "user.None"}}'])
def test_a_failing_arm(broken: str, home: Path) -> None:
    folder = home / "runs" / "arm"
    folder.mkdir(parents=True)
    (folder / EXPERIMENT).write_text(broken)
    root = str(Path(__file__).parents[2])
    with worker.launch(folder, None, threads=1, search=[root]) as process:
        code = process.wait(timeout=120)
    assert code == 1 and worker.why(code, folder / worker.LOG) != "no message"
    assert naming(folder) == []
