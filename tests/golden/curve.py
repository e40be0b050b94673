"""The golden curve: every loss of the whole method over 50 steps on the tiny pair.

Make it again, after a change that is meant to change it, with: python -m tests.golden.curve
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

from tests import tiny
from tests.training.running import short, told, train

FILE = Path(__file__).with_name("losses.json")
EVERY = 5


def curve(root: Path) -> dict[str, dict[str, float]]:
    """Step -> loss -> its mean over the last five steps: 20 steps of the source phase, 30 of the adaptation."""
    experiment = short(tiny.full(root), source=20, adapt=30)
    experiment = replace(experiment, evaluation=replace(experiment.evaluation, every=1000, gradient_every=EVERY))
    found: dict[str, dict[str, float]] = {}
    for step, values in told(train(experiment)):
        losses = {name: value for name, value in values.items() if name.startswith("loss/")}
        if losses:
            found[str(step)] = losses
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        rounded = {s: {n: round(v, 5) for n, v in values.items()} for s, values in curve(Path(folder)).items()}
    FILE.write_text(json.dumps(rounded, indent=1) + "\n")
