"""The benchmark of a training step, on the tiny pair: what it measures and writes."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch

from experiments.benchmarks import step, step_adapt, step_limit
from experiments.benchmarks.step_limit import Turns, figures
from tests import tiny


def turns(ours: list[float], bare: list[float]) -> Turns:
    made = Turns(lambda: None, len(ours), torch.device("cpu"))
    made.ours, made.bare = [(2 * one, one) for one in ours], [(one, one) for one in bare]
    return made


def test_what_is_rare_is_spread_over_the_steps() -> None:
    seen = turns([3.0, 3.0, 3.0, 11.0], [1.5, 1.5, 1.5, 1.5])  # the fourth step does what only it does
    milliseconds, limit, share, quartiles = figures([seen, seen], {4}, 1)
    assert (milliseconds, limit) == (5000.0, 1500.0)
    assert share == pytest.approx(0.3) and quartiles == pytest.approx((0.3, 0.3))
    assert figures([seen], {4}, 0)[0] == 10_000.0


@pytest.mark.slow
def test_the_benchmark_tells_share_memory_and_the_other_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiments = {"quick_full": tiny.full(tmp_path), "quick_dann_mmd": tiny.experiment(tmp_path, "dann", "mmd")}
    monkeypatch.setattr(step, "recipe", lambda name, *settings: experiments[name])
    monkeypatch.setattr(step_limit, "peak", lambda part, name, experiment: {"step": 12.0, "limit": 10.0}[part])
    monkeypatch.setattr(step_adapt, "STEPS", 2)
    handler = signal.getsignal(signal.SIGCHLD)
    with torch.random.fork_rng():  # torch's DataLoader draws from the global generator, and watches its children
        assert step.main(["--recipes", *experiments, "--repeats", "1", "--results", str(tmp_path)]) == 0
    signal.signal(signal.SIGCHLD, handler)
    found = json.loads((tmp_path / "step.json").read_text())
    assert [row["recipe"] for row in found["rows"]] == list(experiments)
    for row in found["rows"]:
        assert row["images"] == 80 and 0 < row["share_cpu"] < 1.5 and row["memory"] == pytest.approx(1.2)
        low, high = row["quartiles_cpu"]
        assert low <= row["share_cpu"] <= high and row["wall_ms"] > 0
    (other,) = found["pytorch-adapt"]
    assert other["recipe"] == "quick_full" and other["ratio"] > 0 and other["theirs_cpu_ms"] > 0
    assert "`quick_full`" in (tmp_path / "step.md").read_text()
    assert (tmp_path / "step.png").stat().st_size > 5000


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA")
def test_without_cuda_nothing_is_measured_on_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert step.main(["--device", "cuda", "--results", str(tmp_path)]) == 1
    assert "There is no CUDA here" in capsys.readouterr().out and not list(tmp_path.iterdir())
