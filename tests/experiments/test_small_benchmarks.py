"""Benchmarks of random views, growth and streaming, on small sizes: what they measure and write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from experiments.benchmarks import augmentation, growth, streaming, whole_sets


def test_the_exponent_is_that_of_the_largest_sizes() -> None:
    sizes = (10, 100, 1000, 10_000)
    assert growth.exponent(sizes, [7.0, *(3e-6 * n**1.5 for n in sizes[1:])]) == pytest.approx(1.5)


def test_all_ways_make_views_of_the_same_kind() -> None:
    for channels in (1, 3):
        images = torch.full((4, 16, 16, channels), 204, dtype=torch.uint8)
        for way in (augmentation.ours, augmentation.with_albumentations, augmentation.with_torchvision):
            with torch.random.fork_rng():  # torchvision draws from the global generator
                views = way(images)
            assert views.shape == (4, channels, 16, 16) and views.dtype == torch.float32
            middle = views[:, :, 8, 8].flatten().tolist()
            assert all(min(abs(value - 0.8), abs(value - 0.2)) < 0.01 for value in middle), way


@pytest.mark.slow
def test_tables_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augmentation, "BATCH", 8)
    monkeypatch.setattr(augmentation, "REPEATS", 2)
    monkeypatch.setattr(growth, "SIZES", {"batch": (16, 32), "images": (300, 600), "classes": (4, 8)})
    with torch.random.fork_rng():
        assert augmentation.main(["--results", str(tmp_path)]) == 0
    assert growth.main(["--results", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "growth.json").read_text())["rows"]
    assert [row["what"] for row in rows] == [kernel[0] for kernel in growth.KERNELS]
    assert all(min(row["seconds"]) > 0 and len(row["seconds"]) == 2 for row in rows)
    found = json.loads((tmp_path / "augmentation.json").read_text())["rows"]
    assert [row["ratio"] for row in found if row["what"].startswith("domainmetric")] == [1, 1]
    for name in ("augmentation", "growth"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5000


def test_whole_sets_are_timed_turn_by_turn(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        assert whole_sets.main(["--share", "0.002", "--repeats", "2", "--results", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "whole_sets.json").read_text())["seconds"]
    assert set(found) == {"exact pixel search", "bank refresh and semantic match"}
    assert all(len(times) == 2 and min(times) > 0 for times in found.values())
    assert "120 x 147" in (tmp_path / "whole_sets.md").read_text()


@pytest.mark.slow
def test_streaming_tells_memory(tmp_path: Path) -> None:
    words = ["--images", "3000", "--steps", "2", "--ways", "stored", "--results", str(tmp_path)]
    assert streaming.main(words) == 0
    (row,) = json.loads((tmp_path / "streaming.json").read_text())["rows"]
    assert row["data"] == "stored" and 200 < row["peak_mb"] < 3000 and row["cpu_ms"] > 0
