"""A run that was stopped and resumed is the undisturbed run: weights, metrics and log, bit by bit."""

from __future__ import annotations

import errno
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domainmetric import durable, runner
from domainmetric.errors import Interrupted, NotRead, RunFolderError
from domainmetric.experiment import BestScore, Experiment
from domainmetric.metrics.selection import InformationMaximization
from domainmetric.models.cnn import Dtn
from domainmetric.models.network import Separate
from domainmetric.training.checkpoint import read_json, read_tensors, write_json, write_tensors
from domainmetric.training.folder import EXPERIMENT, lock
from domainmetric.training.phases import CHECKPOINT, MODEL, PREVIOUS
from domainmetric.training.tracking import LOG_NAME, of_process, read_log
from tests import tiny
from tests.training.running import NAMES, after, bare, go_on, killed_after, report, same, short, told, train, weights

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


def test_a_run_of_running_means_and_a_teacher_alone_resumes_exactly(tmp_path: Path) -> None:
    def taught(root: Path) -> Experiment:
        terms = ("consistency", "weighted_dann", "weighted_mmd")
        return short(tiny.experiment(root, *terms), source=2, adapt=ADAPT)

    whole = train(taught(tmp_path / "whole"))
    folder = train(taught(tmp_path / "cut"), after(2 + 13))
    assert not (folder / "report.json").exists()
    go_on(folder)
    assert_same_run(folder, whole)


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


def events(folder: Path) -> list[str]:
    """Names of the events that tell of processes."""
    return [record["name"] for record in read_log(folder) if of_process(record)]


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(("damaged", "expected"), [((CHECKPOINT,), 10), ((CHECKPOINT, PREVIOUS), None)])
def test_instead_of_a_damaged_checkpoint_the_one_before_is_used(
    damaged: tuple[str, ...], expected: int | None, undisturbed: Path, tmp_path: Path
) -> None:
    often = experiment(tmp_path)
    often = replace(often, runtime=replace(often.runtime, checkpoint_every=5))
    folder = train(often, killed_after(SOURCE + 17))
    assert read_tensors(folder / CHECKPOINT)[1]["step"] == 15
    for name in damaged:
        damage(folder / name)
    go_on(folder, killed_after(1))
    told = [record["text"] for record in read_log(folder) if record.get("name") == "resumed"]
    assert told == ([f"From step {expected} of the phase 'adapt'."] if expected else [])
    assert (folder / CHECKPOINT).exists() is not bool(expected)  # a damaged one does not become the one before
    assert all((folder / f"{name}.damaged").is_file() for name in damaged)
    go_on(folder)
    assert events(folder) == ["checkpoint damaged"] * len(damaged) + ["resumed"] * (2 if expected else 1)
    assert_same_run(folder, undisturbed)


class Unreadable:
    """The module `os` of a disk that refuses a number of times to give a file of this name."""

    def __init__(self, name: str, times: float, error: int = errno.EIO) -> None:
        self.name, self.left, self.error = name, times, error

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        if Path(path).name == self.name and flags == os.O_RDONLY and self.left > 0:
            self.left -= 1
            raise OSError(self.error, os.strerror(self.error))
        return os.open(path, flags, mode)


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Any:
    def begin(*arguments: Any) -> None:
        monkeypatch.setattr(durable, "os", Unreadable(*arguments))

    monkeypatch.setattr(durable, "PAUSES_S", (0.0,))
    return begin


@pytest.mark.parametrize("error", [errno.EIO, errno.EACCES])
def test_a_checkpoint_that_the_disk_does_not_give_stays(
    error: int, unreadable: Any, undisturbed: Path, tmp_path: Path
) -> None:
    often = experiment(tmp_path)
    often = replace(often, runtime=replace(often.runtime, checkpoint_every=5))
    folder = train(often, killed_after(SOURCE + 17))
    files = {path.name: path.read_bytes() for path in folder.glob("checkpoint*")}
    assert set(files) == {CHECKPOINT, PREVIOUS}
    unreadable(CHECKPOINT, math.inf, error)
    with pytest.raises(NotRead, match=r"Could not read .*checkpoint\.safetensors.*Nothing was deleted.*Continue with:"):
        go_on(folder)
    assert {path.name: path.read_bytes() for path in folder.glob("checkpoint*")} == files
    unreadable(CHECKPOINT, 1 if error in durable.PASSING_READS else 0)
    go_on(folder, killed_after(1))
    assert [line["text"] for line in read_log(folder) if line.get("name") == "resumed"] == [
        "From step 15 of the phase 'adapt'."
    ]
    go_on(folder)
    assert_same_run(folder, undisturbed)


def test_a_model_that_the_disk_does_not_give_at_a_checkpoint_says_how_to_go_on(
    unreadable: Any, undisturbed: Path, tmp_path: Path
) -> None:
    often = experiment(tmp_path)
    often = replace(often, runtime=replace(often.runtime, checkpoint_every=5))
    unreadable(MODEL, math.inf)
    with pytest.raises(NotRead, match=r"Could not read .*model\.safetensors.*Continue with: domainmetric resume"):
        train(often)
    (folder,) = tmp_path.glob("tiny-*")
    unreadable(MODEL, 1)
    go_on(folder)
    assert_same_run(folder, undisturbed)


def test_the_weights_that_are_reported_are_those_that_the_checkpoint_knows(undisturbed: Path, tmp_path: Path) -> None:
    folder = train(experiment(tmp_path), after(SOURCE + ADAPT))
    damage(folder / MODEL)
    go_on(folder)
    assert_same_run(folder, undisturbed)


def test_a_finished_run_is_tidied(undisturbed: Path) -> None:
    (undisturbed / CHECKPOINT).touch()
    go_on(undisturbed)
    assert not list(undisturbed.glob("checkpoint*"))


def test_only_one_process_at_a_time_works_in_a_folder(undisturbed: Path) -> None:
    with lock(undisturbed), pytest.raises(RunFolderError, match="is in use by another process"):
        go_on(undisturbed)


CHANGES = {
    "machine: threads was 1 and is 2": ("machine", "threads", 2),
    "machine: versions: torch was": ("machine", "versions", {"torch": "1.0"}),
    "machine: cpu_capability was": ("machine", "cpu_capability", "NONE"),
    "machine: code was": ("machine", "code", "other"),
    "data: target: spec was": ("data", "target", {"spec": "other"}),
    "user code: tiny.py was": ("user code", "tiny.py", "other"),
}


@pytest.mark.parametrize("expected", CHANGES)
def test_what_has_changed_is_refused_or_accepted_in_the_log(expected: str, tmp_path: Path) -> None:
    folder = train(experiment(tmp_path), after(5))
    record = read_json(folder / EXPERIMENT)
    where, name, value = CHANGES[expected]
    now = record[where][name]
    record[where][name] = {**now, **value} if isinstance(value, dict) else value
    expected = expected.replace("was 1 and is 2", "was 2 and is 1")
    write_json(folder / EXPERIMENT, record)
    before = (folder / "log.jsonl").read_bytes()
    with pytest.raises(RunFolderError, match=f"cannot be continued as it was begun: {expected}.*--accept-changes"):
        go_on(folder)
    assert (folder / "log.jsonl").read_bytes() == before
    with bare(after(1)), pytest.raises(Interrupted):
        runner.resume(folder, NAMES, accept_changes=True)
    assert events(folder) == ["changes accepted", "resumed"]
    assert read_json(folder / EXPERIMENT)[where][name] == now
    go_on(folder, after(1))  # what was accepted is accepted


def test_an_experiment_that_was_edited_is_refused(tmp_path: Path) -> None:
    folder = train(experiment(tmp_path), after(5))
    record = read_json(folder / EXPERIMENT)
    record["experiment"]["evaluation"]["every"] = 9
    write_json(folder / EXPERIMENT, record)
    with pytest.raises(RunFolderError, match="experiment hash was"):
        go_on(folder)


def test_before_the_first_checkpoint_another_machine_may_begin(tmp_path: Path) -> None:
    folder = train(experiment(tmp_path), killed_after(3))
    record = read_json(folder / EXPERIMENT)
    write_json(folder / EXPERIMENT, {**record, "machine": {**record["machine"], "threads": 2}})
    go_on(folder, after(1))
    assert read_json(folder / EXPERIMENT)["machine"]["threads"] == 1
    assert events(folder) == []


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path) -> None:
    folder = train(experiment(tmp_path), after(5))
    tensors, facts = read_tensors(folder / CHECKPOINT)
    write_tensors(folder / CHECKPOINT, tensors, {**facts, "of another version": 1})
    with pytest.raises(RunFolderError, match="was written by another version"):
        go_on(folder)


def test_a_checkpoint_of_another_experiment_is_refused(tmp_path: Path) -> None:
    folder = train(experiment(tmp_path / "wide"), after(5))
    narrow = experiment(tmp_path / "narrow")
    narrow = replace(narrow, model=replace(narrow.model, embedding_dim=8))
    other = train(narrow, after(5))
    for name in (CHECKPOINT, LOG_NAME):
        (other / name).write_bytes((folder / name).read_bytes())
    assert read_tensors(other / CHECKPOINT)
    with pytest.raises(RunFolderError, match="does not fit"):
        go_on(other)
