"""The demo: its recipes compare what they say, and its output says what came out and what to do next."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from domainmetric import Experiment, ImageSet, Nearest, PixelNearest
from domainmetric.data.digits import DIGIT_CLASSES
from domainmetric.data.store import write_store
from domainmetric.recipes import load_recipe
from experiments import demo

FILE = Path(demo.__file__)


@pytest.mark.parametrize("name", ["source_only", "pixel_anchors", "semantic_anchors"])
def test_each_recipe_runs_by_its_name(name: str) -> None:
    experiment = load_recipe(f"{FILE}:{name}")
    assert experiment.name == f"demo_{name}"
    assert experiment.tracking.wandb == "off"
    assert experiment.labelled_target is None


def test_anchored_recipes_differ_in_their_anchors_alone() -> None:
    pixel, semantic = demo.pixel_anchors(), demo.semantic_anchors()
    assert isinstance(pixel.anchors, PixelNearest)
    assert isinstance(semantic.anchors, Nearest)
    assert replace(pixel, name=semantic.name, anchors=semantic.anchors) == semantic


def test_source_phase_is_shared() -> None:
    alone, semantic = demo.source_only(), demo.semantic_anchors()
    assert alone.anchors is None
    assert list(alone.phases) == ["source"]
    assert alone.phases["source"] == semantic.phases["source"]
    assert replace(semantic, name=alone.name, anchors=None, terms=alone.terms, phases=alone.phases) == alone


def finished(experiment: Experiment) -> Path:
    """A run folder with a report, as if the experiment had run."""
    share = 0.1 * experiment.seed + 0.01 * len(experiment.name)
    folder = experiment.runs_root / experiment.name
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "embedding_map.png").touch()
    across = {"precision_at_1": share / 2, "map_at_r": share / 3}
    report = {"target_accuracy": share, "seconds": 7.0, "retrieval": {"target_to_source": across}}
    (folder / "report.json").write_text(json.dumps(report))
    return folder


def test_main_prints_the_table_the_folders_and_the_next_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "run", finished)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOMAINMETRIC_DATA", str(tmp_path / "nothing"))
    assert demo.main(["--seed=3"]) == 0
    printed = capsys.readouterr().out
    for name in ("source only", "pixel anchors", "semantic anchors"):
        recipe = f"demo_{name.replace(' ', '_')}"
        share = 0.3 + 0.01 * len(recipe)
        (line,) = [line for line in printed.splitlines() if line.strip().startswith(name)]
        assert line.split()[2:] == [f"{share:.1%}", f"{share / 2:.1%}", f"{share / 3:.1%}", "7", "s"]
        assert f"  runs/{recipe}" in printed.splitlines()
    assert "embedding_map.png" in printed
    assert "data_prep svhn mnist" in printed


@pytest.mark.slow
def test_semantic_anchors_carry_the_transfer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert demo.main([]) == 0
    rows = {folder.name.rpartition("-s0-")[0]: demo.Row.read("", folder) for folder in Path("runs").glob("demo_*")}
    source, pixel, semantic = (rows[f"demo_{name}"] for name in ("source_only", "pixel_anchors", "semantic_anchors"))
    assert 0.6 < source.accuracy < 0.85
    assert semantic.accuracy >= source.accuracy + 0.1
    assert semantic.accuracy >= pixel.accuracy + 0.1
    assert semantic.map_at_r >= max(source.map_at_r, pixel.map_at_r) + 0.1


def test_real_data_is_pointed_at_where_it_is_ready(tmp_path: Path) -> None:
    assert "data_prep svhn mnist" in demo.real_data(tmp_path)
    for name, channels in (("svhn", 3), ("mnist", 1)):
        images = torch.zeros(
            10, 32 if name == "svhn" else 28, 32 if name == "svhn" else 28, channels, dtype=torch.uint8
        )
        split = ImageSet(images=images, labels=torch.arange(10), classes=DIGIT_CLASSES)
        write_store(tmp_path, name, {"train": split, "test": split}, sources=())
    ready = demo.real_data(tmp_path)
    assert "data_prep" not in ready
    assert "svhn_to_mnist.py:quick_full" in ready
    (tmp_path / "svhn" / "manifest.json").write_text("{")
    assert "cannot be used" in demo.real_data(tmp_path)


def test_an_error_is_one_paragraph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(experiment: Experiment) -> Path:
        raise demo.Interrupted("The run was asked to stop.")

    monkeypatch.setattr(demo, "run", refuse)
    assert demo.main([]) == 130
    assert "demo: The run was asked to stop." in capsys.readouterr().err
