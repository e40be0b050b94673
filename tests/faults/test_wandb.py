"""W&B killed, frozen, slow, or on a full disk: the run does not wait for it, ends in ten seconds, and keeps its log.

How a killed or a stopped mirror is met, and one that hangs while it is imported, is tested in
`tests/training/test_tracking.py`; here the wandb module itself is faulty.
"""

from __future__ import annotations

import inspect
import time
from pathlib import Path

import pytest

from domainmetric.tracking import Tracking
from domainmetric.training.tracking import Log, history
from domainmetric.training.wandb_mirror import Mirror, start_mirror

FAKE = """
import time

class Error(Exception):
    pass

def Settings(**settings):
    return settings

def init(**settings):
    {init}
    return Run()

class Run:
    summary = {{}}
    def define_metric(self, *names, **settings):
        pass
    def log(self, values):
        {log}
    def finish(self):
        {finish}
"""
FAULTS = {
    "slow": {"log": "time.sleep(0.5)"},
    "frozen while it starts": {"init": "time.sleep(600)"},
    "frozen while it ends": {"finish": "time.sleep(600)"},
    "disk full": {"log": "raise OSError(28, 'No space left on device')"},
    "killed": {"log": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"},
}
ENOUGH_S = 2.0


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_wandb_never_holds_up_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    (tmp_path / "fake").mkdir()
    parts = {"init": "pass", "log": "pass", "finish": "pass", **FAULTS[fault]}
    (tmp_path / "fake" / "wandb.py").write_text(FAKE.format(**parts))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    run = tmp_path / "run"
    log = Log(run)
    mirror = start_mirror(run, Tracking(wandb="offline"))
    for step in range(200):
        log.metrics(step, {"loss": 1.0})
    log.close()
    began = time.monotonic()
    outcome = mirror.close(deadline_s=ENOUGH_S)
    assert time.monotonic() - began < 10.0
    assert history(run)["loss"][0] == list(range(200))
    if fault != "disk full":  # such records are counted by the mirror and left out of the view
        assert "the local log is complete" in outcome


def test_without_being_told_a_run_waits_for_ten_seconds_at_most() -> None:
    assert inspect.signature(Mirror.close).parameters["deadline_s"].default <= 10.0
