"""A run that two processes share: its numbers, its folder, and how it ends when one of them is stopped or lost."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from domainmetric import runner
from domainmetric.errors import ConfigError, ProcessLost, RunFolderError
from domainmetric.experiment import Experiment, Runtime
from domainmetric.team import ranks
from domainmetric.team.process import follows
from domainmetric.training.phases import CHECKPOINT
from domainmetric.training.tracking import read_log
from tests import tiny
from tests.team.forks import fork
from tests.training.running import NAMES, after, go_on, never, report, same, short, told, train, weights

SOURCE, ADAPT = 2, 5
EXACT = SOURCE + 2
"""Steps in which rounding has not yet grown."""


def experiment(root: Path, devices: int = 2) -> Experiment:
    whole = short(tiny.full(root), source=SOURCE, adapt=ADAPT)
    evaluation = replace(whole.evaluation, every=4, gradient_every=2)
    return replace(whole, runtime=replace(whole.runtime, devices=devices), evaluation=evaluation)


def only(root: Path) -> Path:
    (folder,) = root.glob("tiny-*")
    return folder


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes, and one that was stopped by the second of them; then it was resumed."""
    root = tmp_path_factory.mktemp("shared")

    def work(rank: int) -> None:
        folders = [train(experiment(root / "undisturbed"))]
        folders.append(train(experiment(root / "stopped"), after(SOURCE + 3) if rank == 1 else never))
        assert (folders[-1] / CHECKPOINT).is_file()
        assert not (folders[-1] / "report.json").exists()
        go_on(folders[-1])
        (root / f"folders-{rank}").write_text("\n".join(map(str, folders)))

    assert fork(2, work) == [0, 0]
    assert (root / "folders-0").read_text() == (root / "folders-1").read_text()
    return root


def test_it_is_the_run_of_one_process(shared: Path, tmp_path: Path) -> None:
    alone, together = train(experiment(tmp_path, devices=1)), only(shared / "undisturbed")
    one, other = told(alone), told(together)
    assert [(step, values.keys()) for step, values in one] == [(step, values.keys()) for step, values in other]
    for (step, wanted), (_, found) in zip(one, other, strict=True):
        assert found == pytest.approx(wanted, rel=1e-4 if step <= EXACT else 0.1, abs=1e-5 if step <= EXACT else 0.05)
    alarms, theirs = ([line for line in read_log(f) if line["kind"] == "alarm"] for f in (alone, together))
    assert [(a["name"], a["subject"], a["step"]) for a in alarms] == [
        (a["name"], a["subject"], a["step"]) for a in theirs
    ]
    assert sorted(p.name for p in alone.rglob("*")) == sorted(p.name for p in together.rglob("*"))
    accuracies = [{k: v for k, v in report(f).items() if k.endswith("accuracy")} for f in (alone, together)]
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.03)


def test_stopped_by_one_of_them_and_resumed_it_is_the_undisturbed_run(shared: Path) -> None:
    undisturbed, stopped = only(shared / "undisturbed"), only(shared / "stopped")
    assert any(line.get("name") == "resumed" for line in read_log(stopped))
    assert same(weights(stopped), weights(undisturbed))
    assert told(stopped) == told(undisturbed)
    assert report(stopped) == {**report(undisturbed), "reused": []}


def test_when_one_fails_the_others_end(tmp_path: Path) -> None:
    def fail(step: int) -> bool:
        if step == 3:
            raise ValueError("something else")
        return False

    def work(rank: int) -> None:
        with pytest.raises(ProcessLost if rank == 0 else ValueError, match=r"no longer reaches|something else"):
            train(experiment(tmp_path), fail if rank == 1 else never)

    assert fork(2, work) == [0, 0]
    assert not (only(tmp_path) / "report.json").exists()


@pytest.mark.slow
def test_when_one_does_not_answer_the_others_give_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "STEP", timedelta(seconds=3))

    def hang(step: int) -> bool:
        time.sleep(30 if step == 2 else 0)
        return False

    def work(rank: int) -> None:
        with pytest.raises(ProcessLost, match="does not answer"):
            train(experiment(tmp_path), hang if rank == 1 else never)

    began = time.monotonic()
    assert fork(2, work)[0] == 0
    assert time.monotonic() - began < 60


def started_by_torchrun(monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    names = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "RANK": 0, "LOCAL_RANK": 0}
    for name, value in {**names, "TORCHELASTIC_RUN_ID": "test"}.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.slow
def test_another_number_of_processes_is_refused_or_accepted(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(rank: int) -> None:
        train(experiment(tmp_path), after(SOURCE + 3))

    assert fork(2, work) == [0, 0]
    started_by_torchrun(monkeypatch, 1)
    with pytest.raises(RunFolderError, match="machine: processes was 2 and is 1"):
        runner.resume(only(tmp_path), NAMES)
    folder = runner.resume(only(tmp_path), NAMES, accept_changes=True)
    assert told(folder)[-1][1] == pytest.approx(told(only(shared / "undisturbed"))[-1][1], rel=0.1, abs=0.05)


def test_torchrun_must_have_started_as_many_as_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started_by_torchrun(monkeypatch, 4)
    with pytest.raises(ConfigError, match=r"one of 4 processes that torchrun has started, but .* is 2"):
        runner.run(experiment(tmp_path))
    assert not list(tmp_path.glob("tiny-*"))


@pytest.mark.parametrize("field", ["devices", "num_nodes"])
def test_numbers_of_processes_are_checked(field: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"Runtime.{field} must be at least 1"):
        Runtime(**{field: 0})
    with pytest.raises(ConfigError, match="source_batch is 32, but 33 processes share it"):
        replace(tiny.full(tmp_path), runtime=Runtime(**{field: 33}))


def test_one_process_leads() -> None:
    assert not follows()
