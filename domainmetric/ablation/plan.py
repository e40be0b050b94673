"""What an ablation runs: its variants times its seeds, checked before anything is trained."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from domainmetric.ablation.comparison import MOST_SEEDS
from domainmetric.data.looked_once import looked_once
from domainmetric.errors import ConfigError
from domainmetric.escaping import csv_cell
from domainmetric.experiment import Experiment
from domainmetric.serialize import CLASS, content_hash, to_json
from domainmetric.training.circumstances import data_hashes, user_code
from domainmetric.training.phase_key import reusable

BASELINE = "baseline"
LONGEST_NAME = 80
NO_CONTENT = ("name", "tracking", "runs_root", "data_root")
"""Fields that change nothing about what a run reaches. Where the data lies does not matter: its hashes do."""
CODE = "+"
"""Stands in a content between the hash of the experiment and that of the user's code."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run: a variant with a seed."""

    variant: str
    seed: int
    experiment: Experiment
    content: str
    """The same for runs that do the same, with the same code of the user's."""
    source: str | None
    """The same for runs that share their source phase; None where a run has none to share."""

    def __str__(self) -> str:
        return f"{self.variant}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """Named variants of one experiment, each to be run with every seed."""

    name: str
    folder: Path
    """Everything that belongs to the ablation; its runs lie in `runs/`."""
    variants: dict[str, Experiment]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.variants:
            raise ConfigError(f"The ablation '{self.name}' has no variants.")
        check_seeds(self.seeds)
        for variant in self.variants:
            check_name(variant)
        check_domains(self.variants, self.baseline)

    @property
    def baseline(self) -> str:
        """The variant that the others are compared with: the one named "baseline", else the first."""
        return BASELINE if BASELINE in self.variants else next(iter(self.variants))

    @looked_once()
    def jobs(self, threads: int) -> list[Job]:
        """All runs, seed by seed within each variant; `threads` is for those that set none themselves.

        Raises DataNotPrepared where data is missing, and ConfigError where two variants are the same experiment.
        """
        tags = tuple(dict.fromkeys((*self.variants[self.baseline].tracking.tags, "ablation", self.name)))
        jobs, known = [], dict[str, str]()
        for variant, experiment in self.variants.items():
            hashes, code = data_hashes(experiment), user_code(experiment)
            for seed in self.seeds:
                one = replace(
                    experiment,
                    name=variant,
                    seed=seed,
                    runs_root=self.folder / "runs",
                    runtime=replace(experiment.runtime, threads=experiment.runtime.threads or threads),
                    tracking=replace(experiment.tracking, group=self.folder.name, tags=tags),
                )
                shared = reusable(one)
                job = Job(
                    variant=variant,
                    seed=seed,
                    experiment=one,
                    content=content(to_json(one), hashes, code),
                    source=None if shared is None else content_hash([shared, one.runtime.threads, hashes]),
                )
                if known.setdefault(job.content, variant) != variant:
                    raise ConfigError(
                        f"The variants '{known[job.content]}' and '{variant}' are the same experiment, so they would "
                        "be run twice to no end. Leave one out, or see whether an override made them equal."
                    )
                jobs.append(job)
        return jobs


def content(record: Any, hashes: Mapping[str, Any], code: Mapping[str, str]) -> str:
    """A hash of what a run does and with which data, from the JSON of its experiment; one of the user's code behind it.

    `code` is empty for a run that uses none.
    """
    fields = {name: value for name, value in record.items() if name not in NO_CONTENT}
    runtime = {name: value for name, value in record["runtime"].items() if name != "checkpoint_every"}
    does = content_hash([plain_names({**fields, "runtime": runtime}), hashes])
    return f"{does}{CODE}{content_hash(code)}" if code else does


def without_code(content: str) -> str:
    """The part of a content that edits of the user's code leave as it is."""
    return content.partition(CODE)[0]


def plain_names(data: Any) -> Any:
    """JSON whose classes go by their own names alone, wherever the package keeps them today."""
    if isinstance(data, list):
        return [plain_names(item) for item in data]
    if not isinstance(data, dict):
        return data
    return {
        key: item.rpartition(".")[2] if key == CLASS and isinstance(item, str) else plain_names(item)
        for key, item in data.items()
    }


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise ConfigError unless there is a seed, none twice or below zero, and not more than a test takes."""
    if len(seeds) > MOST_SEEDS:
        raise ConfigError(
            f"An ablation takes at most {MOST_SEEDS} seeds, since its test goes through all their signs, but there are "
            f"{len(seeds)}. Take fewer. One number after --seeds is a count (--seeds 5 means 0 to 4), several are the "
            "seeds themselves (--seeds 11 12 13)."
        )
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ConfigError(f"Seeds must be different numbers from 0 up, and at least one, but are {list(seeds)}.")


def check_name(variant: str) -> None:
    """Raise ConfigError for a name that a run folder could not bear, or that a CSV file would change."""
    if len(variant) > LONGEST_NAME or not re.fullmatch(r"[\w+(][\w+.,=()-]*", variant):
        raise ConfigError(
            f"The variant {variant!r} gives its name to run folders, so it must be made of letters, digits and any of "
            f"_ + - . , = ( ), must not begin with a dot or a dash, and have at most {LONGEST_NAME} characters."
        )
    if csv_cell(variant) != variant:
        raise ConfigError(
            f"The name of the variant {variant!r} begins with a {variant[0]}, by which spreadsheets know a formula, so "
            f"the tables could not show it as it is. Put a word before it, such as 'base{variant}'."
        )


def check_domains(variants: Mapping[str, Experiment], baseline: str) -> None:
    """Raise ConfigError where variants transfer between different domains, or to one without labels to compare by."""
    for experiment in variants.values():
        if experiment.data.target.classes is None:
            raise ConfigError(
                f"An ablation compares accuracies on the target's test images, but '{experiment.data.target.name}' has "
                "no labels. Label some and give them as its test split, or compare single runs by their label-free "
                "scores: domainmetric show RUN."
            )
    pairs = {name: f"{e.data.source.name} -> {e.data.target.name}" for name, e in variants.items()}
    for name, pair in pairs.items():
        if pair != pairs[baseline]:
            raise ConfigError(
                f"The variant '{name}' is about {pair}, but the baseline '{baseline}' about {pairs[baseline]}: their "
                "numbers do not compare. Write an ablation for each pair of domains."
            )


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
