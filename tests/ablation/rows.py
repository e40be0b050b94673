"""Finished runs made up of numbers: rows, and folders that look like those of the runner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from domainmetric.ablation.results import COLUMNS, Row


def row(variant: str, seed: int, accuracy: float, **values: float | None) -> Row:
    """A run that is only an accuracy, and what is given besides."""
    every: dict[str, float | None] = {**dict.fromkeys(COLUMNS, 0.5), "accuracy": accuracy, **values}
    scores = {"good": accuracy, "bad": -accuracy, "constant": 1.0}
    return Row(variant=variant, seed=seed, folder=Path("none"), values=every, num_test=1000, scores=scores, code=None)


def report(accuracy: float, scores: dict[str, float], *, matches: bool = True) -> dict[str, Any]:
    """What the runner writes, as far as an ablation reads it."""
    quality = {"anchors/precision_oracle": 0.75, "anchors/coverage": 0.9}
    return {
        "target_accuracy": accuracy,
        "source_accuracy": 0.97,
        "seconds": 12.5,
        "anchors": quality if matches else {},
        "retrieval": {"target_to_source": {"precision_at_1": 0.6, "map_at_r": 0.4}},
        "selection": {"scores": scores, "gap_oracle": 0.01},
        "confusion": [[60, 20], [10, 110]],
    }


def finish(folder: Path, accuracy: float, scores: dict[str, float], curves: dict[str, list[float]]) -> None:
    """Give a run folder a report and a log: values of each name at steps 10, 20, 30 and so on."""
    (folder / "report.json").write_text(json.dumps(report(accuracy, scores)))
    length = max(map(len, curves.values()), default=0)
    lines = [
        {"kind": "metrics", "time": 1.0 + i, "step": 10 * (i + 1), "values": {n: v[i] for n, v in curves.items()}}
        for i in range(length)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
