"""What `domainmetric ablate` was asked for: an ablation to be carried out, or a sweep file to be written."""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domainmetric.ablation.engine import Outcome, ablate
from domainmetric.ablation.executor import Executor
from domainmetric.ablation.plan import Ablation, check_seeds
from domainmetric.ablation.processes import Processes
from domainmetric.ablation.ray_cluster import RayCluster
from domainmetric.ablation.sweep import SCORE, Range, check_score, sweep_file
from domainmetric.errors import ConfigError, UsageError, nearest
from domainmetric.experiment import Experiment
from domainmetric.recipes import call_ablation, find_ablation
from domainmetric.serialize import user_names
from domainmetric.usage import fields, fraction, number, numbers, option, options

Change = Callable[[Experiment, list[str], str, str], Experiment]
"""An experiment with the fields that words change; also takes the command and its description, for its help."""
SEEDS, WORKERS = 5, 2
EXECUTORS = ("local", "ray")
OF_THE_ABLATION = {
    "--seed": "every variant is run with each of --seeds.",
    "--name": "runs are called after their variants.",
    "--runs-root": "runs lie in the folder of the ablation; say which with --folder.",
    "--tracking.group": "its runs are grouped under the name of the ablation's folder; say which with --folder.",
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """The words of the command, understood."""

    words: list[str]
    """As they were typed."""
    ablation: Ablation
    names: dict[str, Any]
    """Classes and functions of the user's file."""
    executor: Executor
    """Where the runs take place."""
    changes: list[str]
    """The words that change fields."""
    ranges: list[str]
    """What a sweep is to search; empty where none is asked for."""
    score: str
    """What a sweep maximizes."""
    change: Change

    @staticmethod
    def read(words: list[str], *, change: Change) -> Request:
        """Understand `FILE[:ABLATION]` and the options behind it. Raises UsageError and ConfigError."""
        seeds, rest = numbers(words[1:], "--seeds")
        executor, rest = executor_of(rest)
        folder, rest = option(rest, "--folder")
        ranges, rest = options(rest, "--sweep")
        score, rest = option(rest, "--score")
        if score is not None and not ranges:
            raise UsageError("--score is what a sweep maximizes: give it with --sweep FIELD=LOW:HIGH.")
        if ranges and isinstance(executor, RayCluster):
            raise UsageError("A sweep is run by W&B's agents, wherever they are started: leave out --executor.")
        module, function = find_ablation(words[0])
        about, given = function.__doc__ or "", call_ablation(function, words[0])
        ablation = Ablation(
            name=function.__name__,
            folder=Path(folder or f"ablations/{function.__name__}"),
            variants=changed(given, rest, lambda e: change(e, rest, f"domainmetric ablate {words[0]}", about)),
            seeds=seeds_of(seeds),
        )
        return Request(
            words=words,
            ablation=ablation,
            names=user_names(vars(module)),
            executor=executor,
            changes=rest,
            ranges=ranges,
            score=score or SCORE,
            change=change,
        )

    @property
    def file(self) -> Path:
        """The user's file."""
        return Path(self.words[0].partition(":")[0])

    def carry_out(self) -> Outcome:
        """Run what is missing and compare. Raises DataNotPrepared."""
        return ablate(
            self.ablation,
            file=self.file,
            names=self.names,
            executor=self.executor,
            command=shlex.join(["domainmetric", "ablate", *self.words]),
            tell=lambda text: print(textwrap.fill(text, 110), file=sys.stderr),
        )

    def write_sweep(self, *, python: str) -> Path:
        """Write a W&B sweep of the baseline into the ablation's folder, with the interpreter for its trials."""
        ablation, parameters = self.ablation, dict[str, dict[str, Any]]()
        check_score(self.score)
        experiment = ablation.variants[ablation.baseline]
        known = dict(fields(experiment))
        for one in map(Range.read, self.ranges):
            for value in (one.low, one.high):  # refused where there is no such field, or not with such values
                self.change(experiment, [f"{one.field}={value}"], f"domainmetric ablate {self.words[0]}", "")
            if type(known[one.field]) not in (int, float):
                raise UsageError(f"A sweep is over numbers, but {one.field} is {known[one.field]!r}.")
            parameters[one.field] = one.parameter(whole=isinstance(known[one.field], int))
        target = f"{self.file.resolve()}:{ablation.name}/{ablation.baseline}"
        shown = [] if any(word.startswith("--tracking.wandb") for word in self.changes) else ["--tracking.wandb=online"]
        ablation.folder.mkdir(parents=True, exist_ok=True)
        path = ablation.folder / "sweep.yaml"
        fixed = [*self.changes, *shown]
        path.write_text(sweep_file(parameters, target=target, fixed=fixed, score=self.score, python=python))
        return path


def seeds_of(numbers: list[int] | None) -> tuple[int, ...]:
    """The seeds that `--seeds` means: one number is a count from 0 up, several are the seeds themselves."""
    if numbers is None:
        return tuple(range(SEEDS))
    if len(numbers) > 1:
        return tuple(numbers)
    check_seeds(range(numbers[0]))  # before a count of billions is written out
    return tuple(range(numbers[0]))


def executor_of(words: list[str]) -> tuple[Executor, list[str]]:
    """Where `--executor`, `--workers`, `--address` and `--gpus-per-run` put the runs, and the other words."""
    kind, rest = option(words, "--executor")
    workers, rest = number(rest, "--workers")
    address, rest = option(rest, "--address")
    gpus, rest = fraction(rest, "--gpus-per-run")
    if kind not in (None, *EXECUTORS):
        raise UsageError(f"There is no executor '{kind}'.{nearest(str(kind), EXECUTORS)}")
    if kind == "ray":
        return RayCluster(address=address, workers=workers, gpus_per_run=gpus or 0.0), rest
    for name, value in (("--address", address), ("--gpus-per-run", gpus)):
        if value is not None:
            raise UsageError(f"{name} is for runs on a Ray cluster: give it with --executor ray.")
    return Processes(workers=WORKERS if workers is None else workers), rest


def changed(
    variants: dict[str, Experiment], words: list[str], change: Callable[[Experiment], Experiment]
) -> dict[str, Experiment]:
    """All variants with the fields that `words` change in each of them."""
    for word in words:
        for field, instead in OF_THE_ABLATION.items():
            if word.partition("=")[0].replace("_", "-") == field:
                raise UsageError(f"{field} is not a field to change in an ablation: {instead}")
    result = {}
    for name, experiment in variants.items():
        try:
            result[name] = change(experiment)
        except (UsageError, ConfigError) as error:
            raise UsageError(f"In the variant '{name}': {error}") from error
    return result
