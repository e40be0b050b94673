"""A run on albumentations views: the same with any number of workers, resumed or not, and no process stays."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from domainmetric.data.pipelines import DigitViews
from domainmetric.data.view_bank import AlbumentationsViews
from domainmetric.errors import DomainMetricError
from domainmetric.experiment import Augmentation, Experiment
from domainmetric.training.batches import Batches
from tests import tiny
from tests.training.running import after, go_on, report, same, short, told, train, weights, wired

SOURCE, ADAPT = 6, 10


def experiment(root: Path, *, workers: int) -> Experiment:
    views = Augmentation(
        source=AlbumentationsViews(pipeline=DigitViews(invert=0.5, grey=0.5), num_workers=workers, block_steps=4),
        target=AlbumentationsViews(pipeline=DigitViews(), num_workers=workers, block_steps=4),
    )
    return replace(short(tiny.full(root), source=SOURCE, adapt=ADAPT), augmentation=views)


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(experiment(tmp_path_factory.mktemp("views"), workers=0))


def test_workers_change_nothing(in_process: Path, tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    folder = train(experiment(tmp_path, workers=1))
    assert same(weights(folder), weights(in_process))
    assert report(folder) == report(in_process)
    assert len(started) == 3  # one for the source phase, one for each domain in the adaptation
    assert all(process.returncode is not None for process in started)


def test_a_resumed_run_equals_the_undisturbed_one(in_process: Path, tmp_path: Path) -> None:
    folder = train(experiment(tmp_path, workers=0), after(SOURCE + 5))
    go_on(folder)
    assert same(weights(folder), weights(in_process))
    assert told(folder) == told(in_process)


def test_matched_anchors_come_clean_and_calibration_makes_no_views(tmp_path: Path) -> None:
    _, batches = wired(experiment(tmp_path, workers=0), "adapt")
    assert isinstance(batches, Batches)
    images = batches.data.source_train.images
    rows = torch.tensor([3, 3, 0])
    expected = images[rows].permute(0, 3, 1, 2).float() / 255
    assert torch.allclose(batches.matched(0, rows), expected)
    assert batches._target is not None
    assert batches._target._maker is None  # type: ignore[attr-defined]  # no view was asked for yet
    batches.close()


def test_a_dead_worker_ends_the_run_and_the_others(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    def kill_one(done: int) -> bool:
        if done == SOURCE + 2:
            started[-1].kill()
        return False

    with pytest.raises(DomainMetricError, match="A worker process that makes augmented views was ended by signal 9"):
        train(experiment(tmp_path, workers=1), kill_one)
    assert all(process.returncode is not None for process in started)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that were started."""
    found: list[subprocess.Popen[bytes]] = []
    original = subprocess.Popen

    class Recorded(original):  # type: ignore[misc, valid-type]
        def __init__(self, command: list[str], **settings: object) -> None:
            super().__init__(command, **settings)
            if "domainmetric.data.views_worker" in command:
                found.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    return found
