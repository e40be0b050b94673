"""The command line starts the processes, or torchrun does; a signal to one ends all, and so does the end of one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RECIPE = """
from dataclasses import replace
from pathlib import Path

from domainmetric import Experiment
from tests import tiny
from tests.tiny import Colored, Grey
from tests.training.running import short


def small() -> Experiment:
    whole = short(tiny.full(Path({runs!r})), source=4, adapt={steps})
    return replace(whole, evaluation=replace(whole.evaluation, every=1000), runtime=replace(whole.runtime, devices=2))
"""
ROOT = Path(__file__).parents[2]


def start(*words: str) -> subprocess.Popen[str]:
    variables = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": os.environ["PATH"]}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-m", *words], env=variables, cwd=ROOT, start_new_session=True, **pipes)


def recipe(folder: Path, steps: int) -> str:
    file = folder / "recipe.py"
    file.write_text(RECIPE.format(runs=str(folder / "runs"), steps=steps))
    return f"{file}:small"


def second_of(process: subprocess.Popen[str]) -> int:
    """The process that the command has started, once the run is in its second phase."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("adapt:"):
            return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
    raise AssertionError("the run ended before")


def ended(pid: int) -> bool:
    """Whether a process is no more, within a minute."""
    for _ in range(120):
        if not Path(f"/proc/{pid}").exists() or "State:\tZ" in Path(f"/proc/{pid}/status").read_text():
            return True
        time.sleep(0.5)
    return False


def test_a_signal_to_one_process_stops_all_and_the_run_goes_on(tmp_path: Path) -> None:
    process = start("domainmetric.cli", "run", recipe(tmp_path, 300))
    second = second_of(process)
    os.kill(second, signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (130, "")
    assert len(re.findall("asked to stop", err)) == 1
    assert ended(second)
    (folder,) = (tmp_path / "runs").glob("tiny-*")
    again = start("domainmetric.cli", "resume", str(folder), "--file", str(tmp_path / "recipe.py"))
    os.kill(second_of(again), signal.SIGKILL)  # a worse end
    out, err = again.communicate(timeout=300)
    assert again.returncode in (1, -signal.SIGKILL)  # the leader noticed it, or was ended by what watches over both
    assert (folder / "checkpoint.safetensors").is_file() and not (folder / "report.json").exists()


@pytest.mark.parametrize(
    "device",
    [
        pytest.param("cpu", id="gloo"),
        pytest.param(
            "cuda",
            id="NCCL",
            marks=[pytest.mark.gpu, pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are no two GPUs")],
        ),
    ],
)
def test_torchrun_starts_a_run_and_its_folder_is_told_once(device: str, tmp_path: Path) -> None:
    words = ["--standalone", "--nproc-per-node=2", "-m", "domainmetric.cli", "run", recipe(tmp_path, 4)]
    words.append(f"--runtime.device={device}")
    out, err = (process := start("torch.distributed.run", *words)).communicate(timeout=600)
    assert process.returncode == 0, err
    (folder,) = (tmp_path / "runs").glob("tiny-*")
    assert out.splitlines()[-1] == str(folder)
    assert out.count(str(folder)) == 1 and (folder / "report.json").is_file()
