"""What the page says in numbers: the table, curves, confusions, triplet scatters and oracle gaps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from domainmetric.ablation.results import COLUMNS as PATHS
from domainmetric.ablation.results import reach
from domainmetric.errors import RunFolderError
from domainmetric.report.study import RunRecord, Study
from domainmetric.training import scatters

CURVE_POINTS = 120
"""More points of a curve than this are averaged in bins of equal length."""
SCATTER_POINTS = 700
"""More points of a scatter than this are thinned evenly; its shares are those of all."""
UNSHOWN = ("seconds",)

COLUMNS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("target accuracy", PATHS["accuracy"], "percent"),
    ("source test accuracy", ("source_test_accuracy",), "percent"),
    ("match precision (oracle)", PATHS["match_precision_oracle"], "percent"),
    ("coverage", PATHS["coverage"], "percent"),
    ("hubness", ("anchors", "anchors/hubness"), "number"),
    ("P@1 target to source", PATHS["precision_at_1"], "percent"),
    ("MAP@R target to source", PATHS["map_at_r"], "percent"),
    ("oracle gap", PATHS["gap_oracle"], "points"),
    ("training", PATHS["seconds"], "seconds"),
)
"""Title, place in a run's report, and unit of each column of the table."""


def dig(report: Mapping[str, Any], path: Sequence[str]) -> float | None:
    """A number in nested mappings, or None where it is absent or not finite."""
    value = reach(report, path)
    return round4(value) if isinstance(value, int | float) else None


def round4(value: float) -> float | None:
    """Five significant digits, or None for what is no finite number."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def runs(study: Study) -> list[dict[str, Any]]:
    """Each run with the numbers of the table, its confusion and its end."""
    return [
        {
            "variant": study.variants.index(run.variant) if run.variant in study.variants else None,
            "seed": run.seed,
            "status": run.status,
            "error": run.error,
            "folder": run.shown_folder,
            "values": [dig(run.report, path) for _, path, _ in COLUMNS],
            "confusion": run.report.get("confusion"),
        }
        for run in study.runs
    ]


def curves(study: Study) -> dict[str, list[dict[str, Any]]]:
    """Metric -> the curve of each run that has it."""
    found: dict[str, list[dict[str, Any]]] = {}
    for index, run in enumerate(study.runs):
        for name, (steps, values) in run.curves.items():
            if name not in UNSHOWN:
                x, y = thin(np.asarray(steps, float), np.asarray(values, float))
                entry = {"run": index, "x": [round(step) for step in x], "y": [round4(value) for value in y]}
                found.setdefault(name, []).append(entry)
    return found


def thin(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most CURVE_POINTS points: the means of bins of equally many; a bin with a value that is no number is one."""
    if len(steps) <= CURVE_POINTS:
        return steps, values
    edges = np.linspace(0, len(steps), CURVE_POINTS + 1).astype(int)
    count = np.diff(edges)
    return np.add.reduceat(steps, edges[:-1]) / count, np.add.reduceat(values, edges[:-1]) / count


def phases(study: Study) -> dict[str, int]:
    """The first step of each phase, where all runs agree."""
    starts = [run.phase_starts() for run in study.runs if run.written]
    return starts[0] if starts and all(start == starts[0] for start in starts) else {}


def triplet_scatters(study: Study) -> list[dict[str, Any]]:
    """Of each shown run the first and the last scatter that it kept, by kind."""
    found = []
    for run in study.shown():
        try:
            kept = scatters.kept(run.folder)
        except RunFolderError:
            continue
        for step in sorted({min(kept), max(kept)}) if kept else []:
            for kind, points in kept[step].items():
                found.append({"run": study.runs.index(run), "step": step, "kind": kind, **_points(points.numpy())})
    return found


def _points(points: np.ndarray) -> dict[str, Any]:
    """A scatter's points as thousandths (S_ap, S_an, S_ap, ...), thinned; with number and share of hard ones."""
    chosen = np.linspace(0, len(points) - 1, min(len(points), SCATTER_POINTS)).astype(int)
    hard = float((points[:, 0] <= points[:, 1]).mean()) if len(points) else 0.0
    return {
        "total": len(points),
        "hard": round4(hard),
        "points": np.rint(1000 * points[chosen]).astype(int).ravel().tolist(),
    }


def gaps(study: Study) -> dict[str, Any]:
    """What each label-free score would have chosen in each run, and its oracle accuracy and gap."""
    chosen = [(index, run, run.report.get("selection", {})) for index, run in enumerate(study.runs)]
    chosen = [(index, run, selection) for index, run, selection in chosen if "would_choose" in selection]
    scores = sorted({name for _, _, selection in chosen for name in selection["would_choose"]})
    rows = [
        {
            "run": index,
            "rule": selection["rule"],
            "reported": _choice(selection),
            "values": [dig(selection, ("scores", score)) for score in scores],
            "scores": [_choice(selection["would_choose"].get(score, {})) for score in scores],
        }
        for index, _, selection in chosen
    ]
    return {"scores": scores, "rows": rows}


def _choice(choice: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "step": choice.get("step"),
        "accuracy": dig(choice, ("accuracy_oracle",)),
        "gap": dig(choice, ("gap_oracle",)),
    }


def how(study: Study, run: RunRecord | None) -> list[tuple[str, str]]:
    """What a reader must know to repeat it: name and value, in order."""
    machine: Mapping[str, Any] = (run and run.written.get("machine")) or study.about.get("machine") or {}
    hashes: Mapping[str, Any] = run.written.get("data", {}) if run else {}
    about = study.about
    facts = [
        ("command", about.get("command") or machine.get("command")),
        ("file", about.get("file")),
        ("commit", about.get("commit") or machine.get("commit")),
        ("code of the training", machine.get("code")),
        ("seeds", ", ".join(map(str, about.get("seeds", []))) or (run and run.seed)),
        ("device", machine.get("device")),
        ("processor", machine.get("processor")),
        ("instructions of the processor", machine.get("cpu_capability")),
        ("python", machine.get("python")),
        *((f"version of {name}", version) for name, version in machine.get("versions", {}).items()),
        *((f"{side} data, {name}", value) for side, found in hashes.items() for name, value in found.items()),
    ]
    return [(name, str(value)) for name, value in facts if value not in (None, "")]
