"""The benchmark of embedding, on a few images: what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.benchmarks import embedding


@pytest.mark.slow
def test_the_benchmark_tells_throughput_and_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "ARRAYS", 100)
    monkeypatch.setattr(embedding, "PER_FOLDER", 20)
    monkeypatch.setattr(embedding, "TURN", 40)
    assert embedding.main(["--images", "50", "--repeats", "2", "--results", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "embedding.json").read_text())
    arrays, folder = found["rows"]
    assert (arrays["images"], folder["images"]) == (100, 50) and arrays["peak_mb"] is None
    assert len(arrays["shares"]) == 3 and len(folder["shares"]) == 2
    assert all(0 < share < 3 for share in arrays["shares"] + folder["shares"])
    assert 100 < folder["peak_mb"] < 1500
    assert (tmp_path / "embedding.md").read_text().count("\n") >= 5
