"""The same seed on the same machine gives the same numbers: weights and metrics bit for bit, times aside."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from domainmetric.data.pipelines import DigitViews
from domainmetric.data.view_bank import AlbumentationsViews
from domainmetric.experiment import Augmentation, Experiment, Runtime
from domainmetric.tracking import Tracking
from domainmetric.training import runtime
from tests import tiny
from tests.training.running import report, same, short, told, train, weights

SOURCE, ADAPT = 4, 10


def experiment(root: Path) -> Experiment:
    return short(tiny.full(root), source=SOURCE, adapt=ADAPT)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(experiment(tmp_path_factory.mktemp("reference")))


def assert_equal(one: Path, other: Path) -> None:
    assert same(weights(one), weights(other))
    assert told(one) == told(other)
    assert report(one) == report(other)


def test_twice_in_one_process(reference: Path, tmp_path: Path) -> None:
    train(replace(experiment(tmp_path / "between"), seed=1))  # what another run draws must not matter
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)
        assert_equal(train(experiment(tmp_path)), reference)


def test_in_another_process(reference: Path, tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from tests.training.test_determinism import experiment, train; "
        "print(train(experiment(pathlib.Path(sys.argv[1]))))"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}  # sets of words come in another order
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_equal(Path(done.stdout.splitlines()[-1]), reference)


def with_workers(root: Path, workers: int) -> Experiment:
    views = AlbumentationsViews(pipeline=DigitViews(invert=0.5), num_workers=workers, block_steps=2)
    return replace(experiment(root), augmentation=Augmentation(source=views, target=views))


@pytest.mark.slow
def test_with_any_number_of_view_workers(tmp_path: Path) -> None:
    none = train(with_workers(tmp_path / "0", 0))
    for workers in (1, 2, 4):
        assert_equal(train(with_workers(tmp_path / str(workers), workers)), none)


@pytest.mark.slow
def test_with_weights_and_biases(reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = train(replace(experiment(tmp_path), tracking=Tracking(wandb="offline")))
    assert list(folder.glob("wandb/offline-run-*/*.wandb"))
    assert_equal(folder, reference)


@pytest.mark.parametrize("every", [1, 1000])
def test_looking_changes_nothing(every: int, reference: Path, tmp_path: Path) -> None:
    plain = experiment(tmp_path)
    looks = replace(plain.evaluation, every=every, gradient_every=every)
    folder = train(replace(plain, evaluation=looks))
    assert same(weights(folder), weights(reference))
    assert len(told(folder)) != len(told(reference))


def test_saving_changes_nothing(reference: Path, tmp_path: Path) -> None:
    plain = experiment(tmp_path)
    assert_equal(train(replace(plain, runtime=replace(plain.runtime, checkpoint_every=1))), reference)


def test_another_seed_changes_the_weights(reference: Path, tmp_path: Path) -> None:
    assert not same(weights(train(replace(experiment(tmp_path), seed=1))), weights(reference))


def test_the_deterministic_mode_is_on_within_a_run_alone(tmp_path: Path) -> None:
    plain = experiment(tmp_path)
    seen = []

    def look(step: int) -> bool:
        seen.append((torch.are_deterministic_algorithms_enabled(), os.environ.get(runtime.CUBLAS_WORKSPACE)))
        return False

    train(replace(plain, runtime=replace(plain.runtime, deterministic=True)), look)
    assert set(seen) == {(True, ":4096:8")}
    assert not torch.are_deterministic_algorithms_enabled() and runtime.CUBLAS_WORKSPACE not in os.environ


def test_a_workspace_that_the_user_chose_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(runtime.CUBLAS_WORKSPACE, ":16:8")
    with runtime.arithmetic(Runtime(deterministic=True)):
        assert os.environ[runtime.CUBLAS_WORKSPACE] == ":16:8"
    assert os.environ[runtime.CUBLAS_WORKSPACE] == ":16:8"
