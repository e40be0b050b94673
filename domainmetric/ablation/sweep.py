"""A W&B sweep over numeric fields: each trial is an ordinary run of one variant, with values that W&B chooses.

Started by `wandb sweep FILE`, then `wandb agent` with the name that this prints, on as many machines as wanted. What is
maximized is a label-free score: a search that looked at target labels would have trained on them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domainmetric.ablation.scores import PREFIX
from domainmetric.errors import UsageError, nearest
from domainmetric.metrics.selection import scores
from domainmetric.serialize import without_home

SCORE = "information_maximization"
HOME = "${envvar:HOME}"
"""The home folder of whoever runs an agent, as W&B's sweep files spell it."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """A field and the numbers to be tried for it."""

    field: str
    """Its flag: `--terms.triplet.weight`."""
    low: str
    high: str
    log: bool
    """Whether the numbers are spread evenly over their logarithms."""

    @staticmethod
    def read(text: str) -> Range:
        """`FIELD=LOW:HIGH` or `FIELD=LOW:HIGH:log`. Raises UsageError for anything else."""
        field, _, span = text.partition("=")
        parts = span.split(":")
        try:
            low, high = float(parts[0]), float(parts[1])
        except (ValueError, IndexError):
            low, high = 1.0, 0.0
        log = parts[2:] == ["log"]
        if not field or low >= high or (parts[2:] and not log) or (log and low <= 0):
            raise UsageError(
                f"--sweep takes FIELD=LOW:HIGH or FIELD=LOW:HIGH:log, such as terms.triplet.weight=0.1:2.0, with LOW "
                f"below HIGH (and above zero for log), but came with '{text}'."
            )
        return Range(field=f"--{field.lstrip('-').replace('_', '-')}", low=parts[0], high=parts[1], log=log)

    def parameter(self, *, whole: bool) -> dict[str, Any]:
        """The field's entry in a sweep file; `whole` where it takes whole numbers."""
        if whole and self.log:  # W&B may then choose numbers such as 99.0, which no whole-number field takes
            raise UsageError(f"{self.field} takes whole numbers, which are searched evenly: leave out :log.")
        low, high = float(self.low), float(self.high)
        if whole:
            return {"distribution": "int_uniform", "min": round(low), "max": round(high)}
        return {"distribution": "log_uniform_values" if self.log else "uniform", "min": low, "max": high}


def check_score(name: str) -> None:
    """Raise UsageError unless this is a label-free score that every run logs."""
    if name not in scores():
        raise UsageError(f"A sweep maximizes a label-free score, and '{name}' is none.{nearest(name, scores())}")


def sweep_file(
    ranges: Mapping[str, dict[str, Any]], *, target: str, fixed: Sequence[str], score: str, python: str
) -> str:
    """A sweep file's text: YAML, each value of which is written as JSON, which YAML includes.

    `ranges` are parameters by their flags, `target` is the recipe of a trial, `fixed` are further words for it.
    """
    words = (without_home(word, called=HOME) for word in (python, "-m", "domainmetric.cli", "run", target, *fixed))
    command = ["${env}", *words, "${args}"]
    entries: dict[str, Any] = {
        "name": f"{without_home(target)} by {score}",
        "method": "bayes",
        "metric": {"name": f"{PREFIX}{score}", "goal": "maximize"},
        "program": "domainmetric",
    }
    lines = ["# Start it with `wandb sweep` and this file; then run the `wandb agent` command that it prints."]
    lines += [f"{name}: {json.dumps(value)}" for name, value in entries.items()]
    lines += ["parameters:", *(f"  {json.dumps(k.lstrip('-'))}: {json.dumps(v)}" for k, v in ranges.items())]
    return "\n".join([*lines, "command:", *(f"  - {json.dumps(word)}" for word in command)]) + "\n"
