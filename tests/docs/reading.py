"""Does what a page says, line by line, at sizes without meaning."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import domainmetric as dm
from domainmetric.cli import main
from tests.docs.pages import Block

NOT_HERE = ("make ", ".venv/bin/python -m data_prep ")
"""Commands that install or download."""
EXAMPLE = re.compile(r"(runs/\w+-s\d+)-\d{8}-\d{6}\b")
"""The run folder of an example: that of the last run of this name and seed stands for it."""


def small(experiment: dm.Experiment) -> dm.Experiment:
    """The same experiment at a size without meaning: two steps on a few generated images."""
    phases: dict[str, dm.Phase] = {}
    for name, phase in experiment.phases.items():
        phases[name] = replace(phase, steps=2, source_batch=20)
        if isinstance(phase, dm.AdaptationPhase):
            phases[name] = replace(phase, steps=2, source_batch=20, target_batch=20, calibration_steps=1)
    source, target = experiment.data.source, experiment.data.target
    return replace(
        experiment,
        data=dm.Pair(
            source=source if isinstance(source, dm.Folder) else dm.StreetDigits(num_train=250, num_test=50),
            target=dm.SklearnDigits() if isinstance(target, dm.Mnist) else target,
            unshared=experiment.data.unshared,
        ),
        phases=phases,
        image_size=8,
        model=dm.Model(embedding_dim=8),
        banks=dm.Banks(source_size=100, target_size=100),
        evaluation=dm.Evaluation(num_images=50, retrieval_queries=500),
        runtime=dm.Runtime(device="cpu"),
        tracking=dm.Tracking(wandb="off"),
    )


def small_on_stored(experiment: dm.Experiment) -> dm.Experiment:
    """A small one, which keeps its data where the test has stored some under its name."""
    if not isinstance(experiment.data.source, dm.Svhn):
        return small(experiment)
    return replace(small(experiment), data=experiment.data, image_size=32)


def running_small(run: Callable[[dm.Experiment], Path]) -> Callable[[dm.Experiment], Path]:
    """Stands for `run`, and makes experiments small."""
    return lambda experiment: run(small_on_stored(experiment))


class Reader:
    """Does what a page says."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "page"}
        self.last_run = ""
        self.commands: list[str] = []
        self.left_out: list[str] = []

    def do(self, block: Block) -> None:
        if block.file:
            Path(block.file).write_text(block.body)
        elif block.kind == "python":
            exec(compile(block.body, "page", "exec"), self.names)
        elif block.kind == "console":
            for line in block.body.splitlines():
                self.type(line.removeprefix("$ "))

    def type(self, command: str) -> None:
        """A line in the shell. What `run` prints last is $RUN afterwards."""
        if command.startswith(NOT_HERE):
            self.left_out.append(command)
            return
        words = shlex.split(EXAMPLE.sub(latest, command).replace('"$RUN"', self.last_run))
        assert words[0].removeprefix(".venv/bin/") == "domainmetric", command
        printed = StringIO()
        with redirect_stdout(printed):
            assert main(words[1:]) == 0, command
        self.commands.append(words[1])
        if words[1] == "run":
            self.last_run = printed.getvalue().splitlines()[-1]


def latest(example: re.Match[str]) -> str:
    """The newest run folder of an example's name."""
    folders = sorted(Path().glob(f"{example[1]}-*"))
    assert folders, f"no run of {example[1]} came before"
    return str(folders[-1])
