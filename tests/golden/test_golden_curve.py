"""Fifty steps of the whole method give the recorded losses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.golden.curve import FILE, curve

TOLERANCE = 0.02
"""Sums are rounded otherwise on other machines, and 50 steps let that grow; a changed term moves far more."""


def test_the_losses_are_the_recorded_ones(tmp_path: Path) -> None:
    recorded, found = json.loads(FILE.read_text()), curve(tmp_path)
    assert found.keys() == recorded.keys()
    for step, losses in recorded.items():
        assert found[step] == pytest.approx(losses, abs=TOLERANCE), f"at step {step}; see tests/golden/curve.py"
