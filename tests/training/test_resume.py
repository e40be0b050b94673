"""A run that was stopped and resumed is the undisturbed run: weights, metrics and log, bit by bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from domainmetric.errors import RunFolderError
from domainmetric.experiment import BestScore, Experiment
from domainmetric.metrics.selection import InformationMaximization
from domainmetric.models.cnn import Dtn
from domainmetric.models.network import Separate
from domainmetric.training.checkpoint import read_tensors
from domainmetric.training.phases import CHECKPOINT
from tests import tiny
from tests.training.running import after, go_on, killed_after, report, same, short, told, train, weights

SOURCE, ADAPT = 12, 24


def experiment(root: Path) -> Experiment:
    whole = short(tiny.full(root), source=SOURCE, adapt=ADAPT)
    return replace(whole, selection=BestScore(score=InformationMaximization()))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(experiment(tmp_path_factory.mktemp("undisturbed")))


def assert_same_run(folder: Path, undisturbed: Path) -> None:
    assert same(weights(folder), weights(undisturbed))
    assert told(folder) == told(undisturbed)
    assert {**report(folder), "reused": []} == {**report(undisturbed), "reused": []}


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(5, id="in the source phase"),
        pytest.param(SOURCE, id="at the end of the source phase"),
        pytest.param(SOURCE + 10, id="at a report and a refresh"),
        pytest.param(SOURCE + 13, id="between reports"),
        pytest.param(SOURCE + ADAPT, id="at the end"),
    ],
)
def test_a_resumed_run_equals_the_undisturbed_one(step: int, undisturbed: Path, tmp_path: Path) -> None:
    folder = train(experiment(tmp_path), after(step))
    assert not (folder / "report.json").exists()
    go_on(folder)
    assert_same_run(folder, undisturbed)


def test_two_stops_are_like_none(undisturbed: Path, tmp_path: Path) -> None:
    folder = train(experiment(tmp_path), after(SOURCE + 3))
    go_on(folder, after(4))
    go_on(folder)
    assert_same_run(folder, undisturbed)


@pytest.mark.parametrize("killed", [SOURCE + 4, SOURCE + 11])
def test_a_killed_run_goes_on_from_its_last_checkpoint(killed: int, undisturbed: Path, tmp_path: Path) -> None:
    often = experiment(tmp_path)
    often = replace(often, runtime=replace(often.runtime, checkpoint_every=10))
    folder = train(often, killed_after(killed))
    assert not (folder / "report.json").exists()
    go_on(folder)
    assert_same_run(folder, undisturbed)


def test_dropout_is_resumed_too(tmp_path: Path) -> None:
    def with_dropout(name: str) -> Experiment:
        small = short(tiny.experiment(tmp_path / name, "mmd"), source=2, adapt=4)
        return replace(small, model=replace(small.model, branches=Separate(source=Dtn(), target=Dtn())))

    assert_same_run(go_on(train(with_dropout("stopped"), after(4))), train(with_dropout("undisturbed")))


def test_a_finished_run_is_left_alone(undisturbed: Path) -> None:
    before = (undisturbed / "log.jsonl").read_bytes()
    go_on(undisturbed)
    assert (undisturbed / "log.jsonl").read_bytes() == before


@pytest.mark.parametrize("damage", ["flipped", "cut short"])
def test_a_damaged_checkpoint_is_refused(damage: str, tmp_path: Path) -> None:
    folder = train(experiment(tmp_path), after(5))
    path = folder / CHECKPOINT
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-100] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(content[: len(content) // 2])
    with pytest.raises(RunFolderError, match=f"{CHECKPOINT} is damaged"):
        go_on(folder)


def test_a_checkpoint_of_another_experiment_is_refused(tmp_path: Path) -> None:
    folder = train(experiment(tmp_path / "wide"), after(5))
    narrow = experiment(tmp_path / "narrow")
    narrow = replace(narrow, model=replace(narrow.model, embedding_dim=8))
    other = train(narrow, after(5))
    (other / CHECKPOINT).write_bytes((folder / CHECKPOINT).read_bytes())
    assert read_tensors(other / CHECKPOINT)
    with pytest.raises(RunFolderError, match="does not fit"):
        go_on(other)
