"""What a fault is, and the ways in which one can be caught."""

from __future__ import annotations

import inspect
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from domainmetric.errors import DomainMetricError
from domainmetric.experiment import Experiment
from domainmetric.training.tracking import read_log
from tests import tiny
from tests.training.running import after, short, train

SOURCE, ADAPT = 2, 3
"""Steps of the run in which an alarm has to be raised."""


def whole(root: Path) -> Experiment:
    """The whole method, looked at after every second step."""
    experiment = short(tiny.full(root), source=SOURCE, adapt=ADAPT)
    return often(experiment, 2)


def often(experiment: Experiment, every: int) -> Experiment:
    """The experiment with readings and looks at such intervals."""
    evaluation = replace(experiment.evaluation, every=every, gradient_every=every, num_images=100)
    return replace(experiment, evaluation=evaluation)


class Detector(ABC):
    """Something that notices a fault."""

    @abstractmethod
    def catch(self, root: Path) -> str | None:
        """What was noticed, or None. Called while the fault is in the code; may write into `root`."""


@dataclass(frozen=True, kw_only=True)
class Raised(Detector):
    """An alarm is raised in a run of some steps."""

    alarm: str
    subject: str = ""
    """What its subject contains."""
    experiment: Callable[[Path], Experiment] = whole
    within: int | None = 1
    """Steps of a phase within which it is raised, one more where a schedule begins at zero; None: at any step."""

    def catch(self, root: Path) -> str | None:
        experiment = self.experiment(root)
        try:
            folder = train(experiment, after(sum(phase.steps for phase in experiment.phases.values())))
        except DomainMetricError as error:
            if self.alarm not in str(error):
                raise
            (folder,) = experiment.runs_root.glob("tiny-*")
        told = [r for r in read_log(folder) if r["kind"] == "alarm"]
        phases = list(experiment.phases.items())
        began = {name: sum(p.steps for _, p in phases[:i]) for i, (name, _) in enumerate(phases)}
        for record in told:
            if record["name"] == self.alarm and self.subject in record["subject"]:
                step = record["step"] - began[record["phase"]]
                if self.within is None or step <= self.within + 1:
                    return f"alarm {self.alarm} at step {step} of {record['phase']}"
        return None


@dataclass(frozen=True, kw_only=True)
class Test(Detector):
    """A test of the suite fails."""

    __test__ = False
    test: Callable[..., None]
    arguments: Callable[[Path], dict[str, Any]] = lambda root: {}
    """What pytest would give it beside `tmp_path`."""

    def catch(self, root: Path) -> str | None:
        given = self.arguments(root)
        if "tmp_path" in inspect.signature(self.test).parameters:
            given["tmp_path"] = root
        try:
            self.test(**given)
        except (AssertionError, DomainMetricError, RuntimeError, pytest.fail.Exception) as error:
            return f"test {self.test.__module__.rpartition('.')[2]}.{self.test.__name__}: {type(error).__name__}"
        return None


@dataclass(frozen=True, kw_only=True)
class Refused(Detector):
    """An error before the training begins, or at once."""

    make: Callable[[Path], object]

    def catch(self, root: Path) -> str | None:
        try:
            self.make(root)
        except DomainMetricError as error:
            return f"{type(error).__name__} at the start"
        return None


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something wrong with the code, the data or the settings."""

    name: str
    caught_by: Detector
    inject: Callable[[pytest.MonkeyPatch], None] = lambda patch: None
    """Puts it in; nothing where the detector itself makes what is wrong."""
    wiring: bool = False
    """Whether it is a fault of wiring or gradients, which must be caught within one step."""

    def try_it(self) -> str | None:
        """What caught it, or None."""
        with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
            self.inject(patch)
            return self.caught_by.catch(Path(root))
