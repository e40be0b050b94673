"""The benchmark of preparation, on a few files: what it makes and writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from experiments.benchmarks import preparation


def test_the_files_are_of_the_size_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "PER_FOLDER", 2)
    for kind in preparation.KINDS:
        preparation.write(tmp_path / kind.suffix, kind, 3)
        files = sorted((tmp_path / kind.suffix).rglob(f"*{kind.suffix}"))
        assert [path.parent.name for path in files] == ["0000", "0000", "0001"]
        with Image.open(files[0]) as image:
            assert (image.mode, image.size) == ("RGB", (kind.width, kind.height))


@pytest.mark.slow
def test_the_benchmark_tells_throughput_and_memory(tmp_path: Path) -> None:
    words = ["--small", "60", "--large", "40", "--repeats", "1", "--results", str(tmp_path)]
    assert preparation.main(words) == 0
    rows = json.loads((tmp_path / "preparation.json").read_text())["rows"]
    assert [(row["what"], row["images"]) for row in rows] == [("PNG, 32x32", 60), ("JPEG, 640x480", 40)]
    assert all(len(row["shares"]) == 1 and row["shares"][0] > 0 for row in rows)
    assert all(50 < row["before_mb"] <= row["peak_mb"] < 1500 for row in rows)
    assert (tmp_path / "preparation.md").read_text().count("\n") >= 5
