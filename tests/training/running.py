"""Runs without their final figures, stopped and continued at will, and what they left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from domainmetric import reporting, runner
from domainmetric.errors import Interrupted
from domainmetric.experiment import Experiment
from domainmetric.serialize import user_names
from domainmetric.training import runtime
from domainmetric.training.batches import Batches, load
from domainmetric.training.checkpoint import read_json, read_tensors
from domainmetric.training.phases import MODEL, build, new_network
from domainmetric.training.state import PhaseState
from domainmetric.training.stop import StopFlag
from domainmetric.training.tracking import TIMES, read_log
from tests import tiny

NAMES = user_names(vars(tiny))


def never(step: int) -> bool:
    return False


def train(experiment: Experiment, stopping: Callable[[int], bool] = never) -> Path:
    """The run folder. `stopping` is asked after each step, given the steps done by this process."""
    before = set(experiment.runs_root.glob("tiny-*"))
    with bare(stopping):
        try:
            return runner.run(experiment)
        except (Interrupted, Killed):
            (folder,) = set(experiment.runs_root.glob("tiny-*")) - before
            return folder


def go_on(folder: Path, stopping: Callable[[int], bool] = never) -> Path:
    """The same folder, after its run was resumed."""
    with bare(stopping):
        try:
            return runner.resume(folder, NAMES)
        except (Interrupted, Killed):
            return folder


class Killed(Exception):
    """Stands for the end of the process."""


def after(steps: int) -> Callable[[int], bool]:
    """Asks to stop after so many steps."""
    return lambda done: done == steps


def killed_after(steps: int) -> Callable[[int], bool]:
    """Ends everything after so many steps, without a word."""

    def stopping(done: int) -> bool:
        if done == steps:
            raise Killed
        return False

    return stopping


@contextmanager
def bare(stopping: Callable[[int], bool]) -> Iterator[None]:
    """Within it, runs make a short report and no pictures, and ask `stopping` after each step."""

    class Flag(StopFlag):
        done = 0

        def __call__(self) -> bool:
            self.done += 1
            return stopping(self.done)

    def summarize(session: Any, record: Any, final: Any, *_: Any) -> dict[str, Any]:
        return {
            "seconds": sum(record.seconds.values()),
            "reused": record.reused,
            "selection": reporting.selection(session, record),
            **final.classification(),
        }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "StopFlag", Flag)
        patch.setattr(runner, "summarize", summarize)
        patch.setattr(runner, "draw", lambda *_: None)
        yield


def weights(folder: Path) -> dict[str, Tensor]:
    """The reported checkpoint."""
    return read_tensors(folder / MODEL)[0]


def report(folder: Path) -> dict[str, Any]:
    """The short report, time aside."""
    return {name: value for name, value in read_json(folder / "report.json").items() if name != "seconds"}


def told(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """Steps and values of the log, times aside."""
    return [
        (record["step"], {name: value for name, value in record["values"].items() if name not in TIMES})
        for record in read_log(folder)
        if record["kind"] == "metrics"
    ]


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether the tensors agree in name and in every bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def wired(experiment: Experiment, phase: str) -> tuple[PhaseState, Batches]:
    """The moving parts at the start of a phase, as a run would build them over a fresh network."""
    fabric = runtime.fabric(experiment.runtime)
    data = load(experiment, Path(), fabric.device)
    network = new_network(experiment, fabric.device)
    return build(experiment, network, data, phase, experiment.phases[phase])


def short(experiment: Experiment, *, source: int = 12, adapt: int = 20) -> Experiment:
    """The experiment with fewer steps, and with looks and refreshes to match."""
    phases = {
        name: replace(phase, steps=source if name == "source" else adapt) for name, phase in experiment.phases.items()
    }
    return replace(
        experiment,
        phases=phases,
        banks=replace(experiment.banks, refresh_every=10),
        evaluation=replace(experiment.evaluation, every=8, num_images=60, retrieval_queries=50),
    )
