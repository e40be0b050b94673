"""The benchmark of matching, on a few images: what it writes, and that the searches agree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.benchmarks import matching


def test_the_benchmark_writes_a_table_and_its_searches_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOMAINMETRIC_DATA", str(tmp_path / "nothing is prepared here"))
    assert matching.main(["--share", "0.002", "--top", "1", "3", "--results", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "matching.json").read_text())
    assert found["images"] == "random images"
    against = [row["against"] for row in found["rows"]]
    assert against[0] == "bare product with top 10" and against[1:3] == ["bare product"] * 2
    assert all(name.startswith("double loop, ") for name in against[3:6])
    assert found["rows"][6]["note"] == "the same neighbor for 100.00%"
    assert all(row["cpu_s"] > 0 for row in found["rows"][:1]) and (tmp_path / "matching.md").read_text().count("\n") > 8
