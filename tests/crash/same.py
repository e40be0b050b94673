"""What is different between two run folders that should hold the same: every file, times aside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from domainmetric.errors import Damaged
from domainmetric.training.checkpoint import read_tensors
from domainmetric.training.tracking import LOG_NAME, of_process, read_log, timeless


def differences(one: Path, other: Path) -> list[str]:
    """Names of the files in two run folders that differ, with the first different piece where it can be named."""
    names = {p.relative_to(folder).as_posix() for folder in (one, other) for p in folder.rglob("*") if p.is_file()}
    return [f"{name}: {found}" for name in sorted(names) if (found := difference(one / name, other / name))]


def difference(one: Path, other: Path) -> str | None:
    """How two files differ."""
    for path in (one, other):
        if not path.is_file():
            return f"is missing in {path.parent}"
    if one.read_bytes() == other.read_bytes():
        return None
    if one.name == LOG_NAME:
        return first(training(one.parent), training(other.parent))
    if one.suffix == ".json":
        parts = (timeless(json.loads(path.read_text())) for path in (one, other))
        return first(*([{name: value} for name, value in sorted(part.items())] for part in parts))
    return "other bytes"


def training(folder: Path) -> list[dict[str, Any]]:
    """The log without times, and without what tells of processes."""
    return [timeless(record) for record in read_log(folder) if not of_process(record) and record["kind"] != "end"]


def first(one: list[Any], other: list[Any]) -> str | None:
    """The first place where two lists differ; NaN is NaN."""
    for index in range(max(len(one), len(other))):
        left, right = (json.dumps(part[index : index + 1], sort_keys=True) for part in (one, other))
        if left != right:
            return f"{left[:300]} and {right[:300]}"
    return None


def phases_differ(one: Path, other: Path) -> list[str]:
    """Phases that two folders of runs both keep to be reused, and that are not the same weights and the same log."""
    found = []
    for path in (one / ".phases").glob("*.safetensors"):
        try:
            (left, facts), (right, others) = read_tensors(path), read_tensors(other / ".phases" / path.name)
        except Damaged as damage:
            found.append(str(damage))
            continue
        same = left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
        if not same or timeless(facts["log"]) != timeless(others["log"]):
            found.append(path.name)
    return found
