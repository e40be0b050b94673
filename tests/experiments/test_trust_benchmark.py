"""The benchmark of what alarms, audit and checkpoints cost: which steps it compares, and what it writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from domainmetric.experiment import Experiment
from domainmetric.training.alarm_board import AlarmBoard
from domainmetric.training.wandb_mirror import Mirror
from experiments.benchmarks import trust
from experiments.benchmarks.trust_turns import CPU, WALL, Switched, Turns
from tests import tiny


def test_neighbors_with_and_without_the_alarms_are_pairs_and_rare_steps_are_in_none() -> None:
    turns = Turns(switch=Switched(board=cast(AlarmBoard, None)), steps=16, rare=10)
    for step in range(16):
        turns.begin(step)
        on = turns.switch.on
        turns.times.append((on, 2.0 if on else 1.0, 3.0 if on else 1.0, 0.0))
    assert [on for on, *_ in turns.times[:2]] == [True, True]  # the wiring is looked at
    assert turns.times[9][0] and turns.times[10][0]  # values are read, and gradient shares taken
    assert turns.pairs(WALL) == [2.0] * 5  # 2 and 3, 4 and 5, 6 and 7, 12 and 13, 14 and 15
    assert turns.pairs(CPU) == [3.0] * 5
    assert turns.plain_ms == 1000.0


def test_alarms_that_are_off_are_not_asked() -> None:
    switch = Switched(board=cast(AlarmBoard, SimpleNamespace(settle=None)), on=False)
    assert switch.sound("a loss", "a step", {})
    switch.settle()
    switch.show(3)
    assert switch.cpu_s == 0.0


@pytest.mark.slow
def test_it_tells_each_share_and_all_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def small() -> Experiment:
        whole = tiny.full(tmp_path)
        return replace(whole, evaluation=replace(whole.evaluation, gradient_every=5))

    monkeypatch.setattr(trust, "quick_full", small)
    monkeypatch.setattr(trust, "start_mirror", lambda *_: Mirror(tmp_path, None))
    assert trust.main(["--pairs", "10", "--results", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "trust.json").read_text())
    shares = {one["what"]: one["ms"] / one["every"] / found["step_ms"] for one in found["shares"]}
    assert len(shares) == 9 and shares["alarms: every step"] > 0
    assert found["together"] == pytest.approx(sum(s for what, s in shares.items() if what not in trust.NOT_COUNTED))
    assert (tmp_path / "trust.md").read_text().count("|\n") == 12
