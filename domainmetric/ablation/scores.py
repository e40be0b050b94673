"""Which label-free score may be trusted: how its order agrees with that of the (oracle) accuracy.

Two questions. Within a run: do checkpoints with a higher score have a higher accuracy? Across an ablation: does the
score put the variants in the right order, and what would have been lost by letting it choose?
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from domainmetric.ablation.comparison import spearman
from domainmetric.ablation.results import Row
from domainmetric.reporting import ORACLE, since
from domainmetric.training.checkpoint import read_json
from domainmetric.training.folder import EXPERIMENT
from domainmetric.training.tracking import history

PREFIX = "score/"

Curves = Mapping[str, tuple[list[int], list[float]]]


@dataclass(frozen=True, kw_only=True)
class ScoreSummary:
    """One label-free score over an ablation. Correlations are Spearman's; NaN where undefined everywhere."""

    score: str
    over_checkpoints: float
    """Correlation with oracle accuracy over the checkpoints of the last phase: of each run, then averaged."""
    num_runs: int
    """Runs in which that correlation is defined."""
    over_variants: float
    """Correlation with final accuracy over the variants, by their reported checkpoints: of each seed, then averaged."""
    num_seeds: int
    """Seeds in which that correlation is defined."""
    num_shared: int
    """Seeds that every variant has finished: over these alone variants are compared, below."""
    chooses: str | None
    """The variant with the highest mean score; None where no seed is shared."""
    accuracy: float
    """That variant's mean accuracy, as a fraction."""
    gap: float
    """Mean accuracy of the best variant (oracle) minus that of the chosen one, in percentage points."""
    best: str | None
    """The best variant, by labels (oracle)."""


def summarize_scores(rows: Sequence[Row]) -> list[ScoreSummary]:
    """Every score that all these runs have, by name. Leave out the runs that were trained with target labels."""
    if not rows:
        return []
    names = sorted(set.intersection(*(set(row.scores) for row in rows)))
    correlations = [over_checkpoints(row.folder) for row in rows]
    common = of_shared_seeds(rows)
    accuracy = means(common, lambda row: row.accuracy)
    best = max(accuracy, key=accuracy.__getitem__, default=None)

    def of(variant: str | None) -> float:
        return math.nan if variant is None else accuracy[variant]

    result = []
    for name in names:
        within = [found[name] for found in correlations if not math.isnan(found.get(name, math.nan))]
        across = over_variants(rows, name)
        score = means(common, lambda row, name=name: row.scores[name])
        chosen = max(score, key=score.__getitem__, default=None)
        result.append(
            ScoreSummary(
                score=name,
                over_checkpoints=fmean(within) if within else math.nan,
                num_runs=len(within),
                over_variants=fmean(across) if across else math.nan,
                num_seeds=len(across),
                num_shared=len({row.seed for row in common}),
                chooses=chosen,
                accuracy=of(chosen),
                gap=100 * (of(best) - of(chosen)),
                best=best,
            )
        )
    return result


def of_shared_seeds(rows: Sequence[Row]) -> list[Row]:
    """The rows of the seeds that every variant has: means over unequal seeds would compare seeds, not variants."""
    seeds: dict[str, set[int]] = {}
    for row in rows:
        seeds.setdefault(row.variant, set()).add(row.seed)
    shared = set.intersection(*seeds.values())
    return [row for row in rows if row.seed in shared]


def means(rows: Sequence[Row], value: Any) -> dict[str, float]:
    """The mean of a value of rows, for each variant."""
    return {name: fmean(value(r) for r in rows if r.variant == name) for name in dict.fromkeys(r.variant for r in rows)}


def over_variants(rows: Sequence[Row], name: str) -> list[float]:
    """For each seed the correlation of a score with final accuracy over its variants, where it is defined."""
    found = []
    for seed in sorted({row.seed for row in rows}):
        same = [row for row in rows if row.seed == seed]
        found.append(spearman([row.scores[name] for row in same], [row.accuracy for row in same]))
    return [value for value in found if not math.isnan(value)]


def over_checkpoints(folder: Path) -> dict[str, float]:
    """For each score of a run its correlation with oracle accuracy over the checkpoints of the last phase."""
    phases = read_json(folder / EXPERIMENT)["experiment"]["phases"]
    begin = sum(phase["steps"] for phase in list(phases.values())[:-1])
    return correlations(history(folder), begin)


def correlations(curves: Curves, begin: int) -> dict[str, float]:
    """For each score its correlation with oracle accuracy over the steps from `begin` on that have both."""
    oracle = since(curves.get(ORACLE, ([], [])), begin)
    result = {}
    for name, series in curves.items():
        if name.startswith(PREFIX):
            score = since(series, begin)
            steps = sorted(score.keys() & oracle.keys())
            result[name.removeprefix(PREFIX)] = spearman([score[s] for s in steps], [oracle[s] for s in steps])
    return result
