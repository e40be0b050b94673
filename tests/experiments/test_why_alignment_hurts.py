"""The experiment on ruined target branches: arms that differ in one thing, the loop, the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import alignment_loop
from experiments.alignment_loop import Arm, start, work
from experiments.alignment_report import draw, table
from experiments.why_alignment_hurts import arms
from tests import tiny


def test_arms_differ_from_theirs_in_one_thing() -> None:
    made = arms(pair="digits", seed=0, steps=10)
    dann, mmd = made["DANN"], made["MMD"]
    for name, arm in made.items():
        base = mmd if name.startswith("MMD,") else dann if name.startswith("DANN,") else None
        if base is None:
            continue
        changed = {field for field, value in asdict(arm).items() if value != asdict(base)[field]}
        assert len(changed) == (2 if name == "MMD, damped, weight / 5" else 1), name
    assert not made["no alignment"].terms() and list(dann.terms()) == ["dann"]


def test_table_and_figure_tell_each_seed() -> None:
    def looks(end: float) -> Mapping[str, Any]:
        common = {"mmd": 0.1, "proxy_a_distance": 1.0, "moved": 0.25}
        first = {"step": 0, "accuracy_oracle": 0.75, "matched_oracle": 0.75, **common}
        return {"looks": [first, {**first, "step": 25, "accuracy_oracle": end, "discriminator": 0.5}]}

    by_arm = {"DANN": [(Arm(pair="digits", seed=s, steps=25, dann=0.4), looks(0.1 + s / 10)) for s in (0, 1)]}
    assert "| DANN | 75.0, 75.0 | 10.0, 20.0 | 75.0, 75.0 | 0.10 to 0.10 | 1.00 | 50% | 25% |" in table(by_arm)
    assert [len(axes.lines) for axes in draw(by_arm).axes] == [3, 2]  # two seeds, and the start on the left


@pytest.mark.slow
def test_every_arm_begins_at_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(alignment_loop.PAIRS, "tiny", lambda: tiny.full(tmp_path))
    common: dict[str, Any] = {"pair": "tiny", "seed": 0, "steps": 3}
    first = work(Arm(**common, dann=0.4, reads_source=True), runs_root=tmp_path)["looks"]
    again = work(Arm(**common, mmd=5.0, fixed_norms=True), runs_root=tmp_path)["looks"]
    assert [look["step"] for look in first] == [0, 3]
    assert first[0] == again[0] and first[0]["moved"] == 0 < first[1]["moved"]
    network = start("tiny", 0, tmp_path).network
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)]
    assert all(norm.momentum == 0.1 for norm in norms)
