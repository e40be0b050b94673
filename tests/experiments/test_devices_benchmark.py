"""The benchmark of several processes, on a tiny pair: what it measures and writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from domainmetric.experiment import Experiment
from domainmetric.training.batches import RunData, load
from experiments.benchmarks import devices
from tests import tiny


@pytest.mark.slow
def test_blocks_of_both_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def small() -> Experiment:
        return tiny.full(tmp_path)

    def images(experiment: Experiment, root: Path, device: torch.device) -> RunData:
        return load(experiment, Path(), device)

    monkeypatch.setattr(devices.svhn_to_mnist, "quick_full", small)
    monkeypatch.setattr(devices, "load", images)
    monkeypatch.setattr(torch, "set_num_threads", lambda num: None)
    words = ["--recipes", "quick_full", "--blocks", "2", "--steps", "3", "--results", str(tmp_path)]
    assert devices.main(words) == 0
    found = json.loads((tmp_path / "devices.json").read_text())
    (row,) = found["rows"]
    assert len(row["alone_ms"]) == len(row["together_ms"]) == len(row["ratios"]) == 2
    assert row["ratios"][0] == row["alone_ms"][0] / row["together_ms"][0]
    assert min(row["alone_ms"] + row["together_ms"]) > 0
    assert "`quick_full`" in (tmp_path / "devices.md").read_text()
